-- Retention policies: every set that was ever in force. The latest one counts.

create table ingest.policy_set (
  tenant text not null,              -- '_': policies are the archive's, whichever tenant they speak of
  version bigint not null check (version > 0),
  record bytea not null check (record = sha256(body)),  -- digest of the state blob that the set can be restored from
  body bytea not null,               -- what that blob holds
  applied_at bigint not null,
  act_id bigint not null references ingest.act,
  primary key (tenant, version)
);
select public.separate_tenants('ingest.policy_set');
grant select on ingest.policy_set to openarchive_ingest;

-- Puts a set in force, if it was put together over the one that stands. Sets come one after another and stay.
create function ingest.apply_policies(
  of_tenant text, of_version bigint, of_body bytea, at bigint, act_key bytea, act_body text
) returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  new_act bigint;
begin
  perform public.require_tenant(of_tenant);
  perform pg_advisory_xact_lock(hashtextextended('openarchive policies ' || of_tenant, 0));
  if of_version <> 1 + coalesce((select max(s.version) from ingest.policy_set s where s.tenant = of_tenant), 0) then
    return 'changed';
  end if;
  insert into ingest.act (tenant, idempotency_key, body) values (of_tenant, act_key, act_body)
    returning act_id into new_act;
  insert into ingest.policy_set (tenant, version, record, body, applied_at, act_id)
    values (of_tenant, of_version, sha256(of_body), of_body, at, new_act);
  return 'applied';
end $$;
grant execute on function ingest.apply_policies(text, bigint, bytea, bigint, bytea, text) to openarchive_ingest;

update public.schema_version set version = 7;
