-- Agents come in by a one-time token, and may be shut out.

-- Of a token only its SHA-256 is kept. It is used by one certificate request; the same request may be answered again.
create table ingest.enrolment (
  token_sha256 bytea primary key check (length(token_sha256) = 32),
  tenant text not null,
  agent text not null,
  created_at bigint not null,
  expires_at bigint not null,
  csr_sha256 bytea check (length(csr_sha256) = 32),
  used_at bigint,
  check (expires_at > created_at),
  check ((csr_sha256 is null) = (used_at is null))
);
select public.separate_tenants('ingest.enrolment');
-- Neither read nor changed except by ingest.use_enrolment.
grant insert on ingest.enrolment to openarchive_ingest;

-- An agent that was revoked stays revoked: its certificates are refused until they end, and its name is not given again.
create table ingest.revoked_agent (
  tenant text not null,
  agent text not null,
  revoked_at bigint not null,
  reason text not null check (length(reason) between 1 and 200),
  primary key (tenant, agent)
);
select public.separate_tenants('ingest.revoked_agent');
grant select, insert on ingest.revoked_agent to openarchive_ingest;

-- Whose token is it? Takes it for the certificate request of this SHA-256, in the caller's transaction; no row: it is
-- unknown, over, or was taken for another request. Asked before the tenant is known, so it looks through all of them;
-- only who has the token's SHA-256 gets an answer.
create function ingest.use_enrolment(token bytea, csr bytea, at bigint) returns table (tenant text, agent text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  -- Not a SET clause of the function: PostgreSQL lets only superusers write one for a setting of our own.
  scope text := coalesce(current_setting('openarchive.tenant', true), '');
begin
  perform set_config('openarchive.tenant', '*', true);
  return query update ingest.enrolment e set csr_sha256 = csr, used_at = coalesce(e.used_at, at)
  where e.token_sha256 = token and e.expires_at > at and (e.csr_sha256 is null or e.csr_sha256 = csr)
    and not exists (select from ingest.revoked_agent r where r.tenant = e.tenant and r.agent = e.agent)
  returning e.tenant, e.agent;
  perform set_config('openarchive.tenant', scope, true);
end $$;
grant execute on function ingest.use_enrolment(bytea, bytea, bigint) to openarchive_ingest;

update public.schema_version set version = 5;
