-- A login role per service, with only the grants it needs, and row-level security by tenant on every table.
--
-- Roles belong to the cluster, so they may be there already. They get no password here: `openarchive migrate` sets
-- passwords from files; the private cluster of `openarchive dev` lets its UNIX socket decide.
--
-- For version 1: unchanged. It knows only the private cluster, where it is the superuser, whom none of this binds.

do $$
declare
  name text;
begin
  foreach name in array array['openarchive_all_tenants', 'openarchive_ingest', 'openarchive_storage', 'openarchive_trust',
                              'openarchive_gateway', 'openarchive_worker'] loop
    if not exists (select from pg_roles where rolname = name) then
      begin
        execute format('create role %I %s', name,
          case name when 'openarchive_all_tenants' then 'nologin' else 'login' end);
      exception when duplicate_object or unique_violation then
        null;  -- another database of the cluster was migrated at the same moment
      end;
    end if;
  end loop;
  -- Who may say '*'. Not the gateway: it answers people, and each person belongs to one tenant. The migrating role does,
  -- so that functions that it owns can look a tenant up.
  foreach name in array array['openarchive_ingest', 'openarchive_storage', 'openarchive_trust', 'openarchive_worker',
                              current_user::text] loop
    if not pg_has_role(name, 'openarchive_all_tenants', 'usage') then
      execute format('grant openarchive_all_tenants to %I', name);
    end if;
  end loop;
  execute format('revoke all on database %I from public', current_database());
  execute format('grant connect on database %I to openarchive_ingest, openarchive_storage, openarchive_trust,
    openarchive_gateway, openarchive_worker', current_database());
end $$;

revoke all on schema public from public;
alter default privileges revoke execute on functions from public;
revoke execute on function jobs.notify_job() from public;

-- What every service may do ------------------------------------------------------------------------
grant usage on schema public, jobs
  to openarchive_ingest, openarchive_storage, openarchive_trust, openarchive_gateway, openarchive_worker;
grant select on public.schema_version
  to openarchive_ingest, openarchive_storage, openarchive_trust, openarchive_gateway, openarchive_worker;
-- INSERT alone: `on conflict do nothing` without a target needs no SELECT.
grant insert on jobs.job
  to openarchive_ingest, openarchive_storage, openarchive_trust, openarchive_gateway, openarchive_worker;

-- trust --------------------------------------------------------------------------------------------
grant usage on schema trust to openarchive_trust;
grant select, insert (tenant, stream, epoch, origin, verifier_key), update (next_index, last_time)
  on trust.log to openarchive_trust;
grant select, insert on trust.leaf, trust.node, trust.checkpoint, trust.wrapping_key to openarchive_trust;

-- storage ------------------------------------------------------------------------------------------
grant usage on schema storage to openarchive_storage;
grant select, insert, update (leaf_index) on storage.pack to openarchive_storage;
grant select, insert on storage.pack_entry to openarchive_storage;
grant select, insert, delete on storage.outbox to openarchive_storage;

-- ingest -------------------------------------------------------------------------------------------
grant usage on schema ingest to openarchive_ingest;
grant select, insert on ingest.message, ingest.message_part, ingest.participant to openarchive_ingest;
grant usage on sequence ingest.message_ordinal_seq to openarchive_ingest;
grant select, insert, update (leaf_index) on ingest.observation to openarchive_ingest;
grant select, insert, update (announced_seq, buffered_messages, version, last_seen)
  on ingest.agent to openarchive_ingest;
grant select, insert, delete on ingest.outbox to openarchive_ingest;

-- gateway ------------------------------------------------------------------------------------------
-- No grant on gateway.token: whoever holds the gateway's password neither lists tokens nor makes one.
grant usage on schema gateway to openarchive_gateway;
grant select, insert on gateway.audit_record to openarchive_gateway;

-- worker -------------------------------------------------------------------------------------------
grant select, update (state, attempts, run_at, lease_until, lease_owner, last_error, finished_at), delete
  on jobs.job to openarchive_worker;

-- Tenants ------------------------------------------------------------------------------------------
-- Puts `target` under row-level security, for its owner too. A transaction names its tenant in the setting
-- `openarchive.tenant`; without it no row is there. `own` says which rows are the tenant's.
-- The setting is read once for a statement, not once for a row. Of the two policies the last by name is asked first: `own`
-- is not looked at where all tenants are.
create function public.separate_tenants(
  target regclass,
  own text default $$tenant = (select current_setting('openarchive.tenant', true))$$
) returns void language plpgsql as $$
begin
  execute format('alter table %s enable row level security', target);
  execute format('alter table %s force row level security', target);
  execute format('create policy all_tenants on %s to openarchive_all_tenants
    using ((select current_setting(''openarchive.tenant'', true)) = ''*'')', target);
  execute format('create policy a_tenant on %s using (%s)', target, own);
end $$;

select public.separate_tenants(target::regclass)
from unnest(array['trust.log', 'trust.wrapping_key', 'storage.pack', 'storage.pack_entry', 'ingest.message',
  'ingest.message_part', 'ingest.participant', 'ingest.observation', 'ingest.agent', 'ingest.outbox', 'gateway.token',
  'gateway.audit_record', 'jobs.job']) as target;

-- Tables whose tenant stands in another table. The logs of a tenant are few and found by index, once for a statement;
-- the sequencer works for all tenants, so that no append pays for it.
select public.separate_tenants(target::regclass, $$log_id in (select l.log_id from trust.log l
  where l.tenant = (select current_setting('openarchive.tenant', true)))$$)
from unnest(array['trust.leaf', 'trust.node', 'trust.checkpoint']) as target;

select public.separate_tenants('storage.outbox', $$exists (select from storage.pack p
  where p.pack_id = outbox.pack_id and p.tenant = (select current_setting('openarchive.tenant', true)))$$);

-- A leaf's index is written once.
create policy leaf_once on ingest.observation as restrictive for update
  using (leaf_index is null) with check (leaf_index is not null);
create policy leaf_once on storage.pack as restrictive for update
  using (leaf_index is null) with check (leaf_index is not null);

-- Under row security a condition is an index condition only where its operator is leakproof, which numeric's are not:
-- seats are found without their epoch, of which an instance has few.
create index observation_seat on ingest.observation (tenant, agent, instance, seq);

-- Whose token is it? Asked before the tenant is known, so it looks through all of them; only who has the token's
-- SHA-256 gets an answer.
create function gateway.token_owner(token_sha256 bytea) returns table (token_id text, tenant text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  -- Not a SET clause of the function: PostgreSQL lets only superusers write one for a setting of our own.
  scope text := coalesce(current_setting('openarchive.tenant', true), '');
begin
  perform set_config('openarchive.tenant', '*', true);
  return query select t.token_id, t.tenant from gateway.token t where t.sha256 = token_sha256 and t.revoked_at is null;
  perform set_config('openarchive.tenant', scope, true);
end $$;
grant execute on function gateway.token_owner(bytea) to openarchive_gateway;

update public.schema_version set version = 2;
