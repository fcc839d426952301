-- Quarantined mail that somebody let go; packs in which nothing is left; functions that act for a tenant do so only in a transaction of that tenant.

-- Row security does not bind a superuser, and where one owns the functions, it does not bind them: they ask themselves
-- what its policies ask.
create function public.require_tenant(of_tenant text) returns void language plpgsql stable
set search_path = pg_catalog, pg_temp as $$
declare
  scope text := coalesce(current_setting('openarchive.tenant', true), '');
begin
  if scope = of_tenant
    or (scope = '*' and pg_has_role(session_user, 'openarchive_all_tenants', 'usage')) then
    return;
  end if;
  raise exception 'this transaction is not one of tenant %', of_tenant using errcode = 'insufficient_privilege';
end $$;

-- Every function that decides over mail begins with it: set_hold, release_hold, mark_shredding, finish_shred,
-- lift_suspension, release_quarantine.
create or replace function ingest.lock_purge(of_tenant text) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  perform public.require_tenant(of_tenant);
  perform pg_advisory_xact_lock(hashtextextended('openarchive purge ' || of_tenant, 0));
end $$;

create or replace function ingest.revive_messages(of_tenant text, rows jsonb) returns setof bytea
language sql security definer set search_path = pg_catalog, pg_temp as $$
  select public.require_tenant(of_tenant);
  update ingest.message m set shred = null, class = r.class, skeleton = r.skeleton, flags = r.flags,
    subject = r.subject, header_from = r.header_from, header_to = r.header_to, header_cc = r.header_cc,
    header_date = r.header_date, message_id = r.message_id, attachments = r.attachments, archived_at = r.archived_at
  from jsonb_to_recordset(rows) as r(message bytea, class text, skeleton bytea, flags text[], subject text,
    header_from text, header_to text[], header_cc text[], header_date bigint, message_id text, attachments text[],
    archived_at bigint)
  where m.tenant = of_tenant and m.message = r.message and m.shred is not null
  returning m.message
$$;

create or replace function storage.supersede(
  of_tenant text, of_class text, kinds smallint[], digests bytea[], lock_floor bigint
) returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
  select public.require_tenant(of_tenant);
  with old as (
    delete from storage.pack_entry e
    using storage.pack p, unnest(kinds, digests) as blob(kind, digest)
    where e.tenant = of_tenant and e.class = of_class and e.kind = blob.kind and e.digest = blob.digest
      and p.pack_id = e.pack_id and p.lock_until < lock_floor
    returning e.*
  )
  insert into storage.pack_copy (pack_id, ordinal, tenant, class, kind, digest, raw_length, body_offset, body_length,
    kek_version, wrapped_dek)
  select pack_id, ordinal, tenant, class, kind, digest, raw_length, body_offset, body_length, kek_version, wrapped_dek
  from old
$$;

create or replace function storage.begin_shred(of_tenant text, of_pack uuid, ordinals integer[], of_leaf bigint)
returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
  select public.require_tenant(of_tenant);
  with live as (
    delete from storage.pack_entry e
    where e.tenant = of_tenant and e.pack_id = of_pack and e.ordinal = any(ordinals)
    returning e.*
  ), moved as (
    insert into storage.pack_copy (pack_id, ordinal, tenant, class, kind, digest, raw_length, body_offset, body_length,
      kek_version, wrapped_dek, shred_leaf)
    select pack_id, ordinal, tenant, class, kind, digest, raw_length, body_offset, body_length, kek_version,
      wrapped_dek, of_leaf
    from live
  )
  update storage.pack_copy c set shred_leaf = of_leaf
  where c.tenant = of_tenant and c.pack_id = of_pack and c.ordinal = any(ordinals) and c.shred_leaf is null
$$;

create or replace function storage.end_shred(of_tenant text, of_pack uuid, ordinals integer[], of_leaf bigint)
returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
  select public.require_tenant(of_tenant);
  update storage.pack_copy c set wrapped_dek = null
  where c.tenant = of_tenant and c.pack_id = of_pack and c.ordinal = any(ordinals) and c.shred_leaf = of_leaf
$$;

-- Quarantine ---------------------------------------------------------------------------------------
-- Quarantined observations that somebody looked at, by their leaves. If the same mail is quarantined again, that is a
-- new observation, and it is on the list again.
create table ingest.quarantine_release (
  tenant text not null,
  leaf_index bigint not null,
  released_at bigint not null,
  act_id bigint not null references ingest.act,
  primary key (tenant, leaf_index)
);
select public.separate_tenants('ingest.quarantine_release');
grant select on ingest.quarantine_release to openarchive_ingest;
create index observation_quarantined on ingest.observation (tenant, message) where state = 'quarantined';

create function ingest.release_quarantine(
  of_tenant text, of_message bytea, of_leaves bigint[], at bigint, act_key bytea, act_body text
) returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  new_act bigint;
begin
  perform ingest.lock_purge(of_tenant);
  if (select count(*) from ingest.observation o
      join ingest.message m on m.tenant = o.tenant and m.message = o.message and m.shred is null
      where o.tenant = of_tenant and o.message = of_message and o.state = 'quarantined'
        and o.leaf_index = any(of_leaves)
        and not exists (select from ingest.quarantine_release r
          where r.tenant = o.tenant and r.leaf_index = o.leaf_index))
    <> cardinality(of_leaves) then
    return 'changed';
  end if;
  insert into ingest.act (tenant, idempotency_key, body) values (of_tenant, act_key, act_body)
    returning act_id into new_act;
  insert into ingest.quarantine_release (tenant, leaf_index, released_at, act_id)
    select of_tenant, leaf_index, at, new_act from unnest(of_leaves) as leaf_index;
  return 'released';
end $$;
grant execute on function ingest.release_quarantine(text, bytea, bigint[], bigint, bytea, text) to openarchive_ingest;

-- Shredding ----------------------------------------------------------------------------------------
-- Marks mail for shredding, or says why not. `blobs` are those that no other mail needs: one that is shared by now, or
-- one that is not shared any more and is not among them, means that the world has changed since they were listed. An
-- observation that was shredded needs nothing, also where its mail came again, perhaps in another class.
create or replace function ingest.mark_shredding(
  of_tenant text, of_shred uuid, of_cause text, by_token text, at bigint, of_messages bytea[], of_leaves bigint[],
  kinds smallint[], digests bytea[], classes text[], part_kind smallint, act_key bytea, act_body text
) returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  new_act bigint;
begin
  perform ingest.lock_purge(of_tenant);
  if exists (select from ingest.suspension s where s.tenant = of_tenant and s.suspended_at is not null) then
    return 'suspended';
  end if;
  if (select count(*) from ingest.message m where m.tenant = of_tenant and m.message = any(of_messages))
    <> cardinality(of_messages) then
    return 'unknown';
  end if;
  if exists (select from ingest.message m
    where m.tenant = of_tenant and m.message = any(of_messages) and m.shred is not null) then
    return 'shredding';
  end if;
  if exists (select from ingest.hold_message hm join ingest.hold h using (tenant, hold)
    where hm.tenant = of_tenant and hm.message = any(of_messages) and h.released_at is null) then
    return 'held';
  end if;
  -- Exactly the observations that were looked at, each with a durable leaf.
  if (select coalesce(array_agg(coalesce(o.leaf_index, -1) order by o.leaf_index), '{}') from ingest.observation o
      where o.tenant = of_tenant and o.message = any(of_messages)
        and not exists (select from ingest.shred_observation s
          where s.tenant = o.tenant and s.leaf_index = o.leaf_index)) <> of_leaves then
    return 'changed';
  end if;
  if exists (
    select from ingest.message_part p
    join ingest.observation o on o.tenant = p.tenant and o.message = p.message
      and not exists (select from ingest.shred_observation s
        where s.tenant = o.tenant and s.leaf_index = o.leaf_index)
    cross join lateral (
      select exists (
        select from ingest.message_part other
        join ingest.message m on m.tenant = other.tenant and m.message = other.message and m.shred is null
        join ingest.observation seen on seen.tenant = m.tenant and seen.message = m.message and seen.class = o.class
          and not exists (select from ingest.shred_observation s
            where s.tenant = seen.tenant and s.leaf_index = seen.leaf_index)
        where other.tenant = of_tenant and other.part = p.part and other.message <> all(of_messages)
      ) as shared, exists (
        select from unnest(kinds, digests, classes) as b(kind, digest, class)
        where b.kind = part_kind and b.digest = p.part and b.class = o.class
      ) as listed
    ) is_
    where p.tenant = of_tenant and p.message = any(of_messages) and is_.shared = is_.listed
  ) then
    return 'changed';
  end if;
  insert into ingest.act (tenant, idempotency_key, body) values (of_tenant, act_key, act_body)
    returning act_id into new_act;
  insert into ingest.shred (tenant, shred, cause, state, ordered_by, ordered_at, act_id)
    values (of_tenant, of_shred, of_cause, 'shredding', by_token, at, new_act);
  insert into ingest.shred_message (tenant, shred, message)
    select of_tenant, of_shred, message from unnest(of_messages) as message;
  insert into ingest.shred_observation (tenant, leaf_index, shred)
    select of_tenant, leaf_index, of_shred from unnest(of_leaves) as leaf_index;
  insert into ingest.shred_blob (tenant, shred, kind, digest, class)
    select of_tenant, of_shred, kind, digest, class from unnest(kinds, digests, classes) as b(kind, digest, class);
  update ingest.message m set shred = of_shred where m.tenant = of_tenant and m.message = any(of_messages);
  insert into jobs.job (kind, tenant, payload, unique_key)
    values ('shred', of_tenant, jsonb_build_object('shred', of_shred), of_shred::text) on conflict do nothing;
  return 'marked';
end $$;

-- The keys are gone: so is what the rows said of the mail. May be repeated. Mail that came again while it was shredded
-- lives, and whoever calls may have taken it out of the index a moment ago: each call has it indexed anew, by a job of
-- its own, since one that runs already may have written to the index before.
create or replace function ingest.finish_shred(of_tenant text, of_shred uuid, at bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform ingest.lock_purge(of_tenant);
  insert into jobs.job (kind, tenant, payload, unique_key)
    select 'index', of_tenant, jsonb_build_object('message', encode(m.message, 'hex')),
      encode(m.message, 'hex') || '+' || gen_random_uuid()
    from ingest.shred_message o
    join ingest.message m on m.tenant = o.tenant and m.message = o.message and m.shred is null
    where o.tenant = of_tenant and o.shred = of_shred;
  update ingest.shred s set state = 'shredded', finished_at = at
    where s.tenant = of_tenant and s.shred = of_shred and s.state = 'shredding';
  if not found then
    return;
  end if;
  delete from ingest.message_part p using ingest.message m
    where m.tenant = of_tenant and m.shred = of_shred and p.tenant = m.tenant and p.message = m.message;
  delete from ingest.participant p using ingest.message m
    where m.tenant = of_tenant and m.shred = of_shred and p.tenant = m.tenant and p.message = m.message;
  update ingest.message m set subject = '', header_from = '', header_to = '{}', header_cc = '{}', header_date = null,
      message_id = '', attachments = '{}', flags = '{}'
    where m.tenant = of_tenant and m.shred = of_shred;
end $$;

-- Shredding that was ordered before a rebuild goes on when somebody lets it, at once, whatever became of its job.
create or replace function ingest.lift_suspension(of_tenant text, act_key bytea, act_body text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  new_act bigint;
begin
  perform ingest.lock_purge(of_tenant);
  if not exists (select from ingest.suspension s where s.tenant = of_tenant and s.suspended_at is not null) then
    return 'not suspended';
  end if;
  insert into ingest.act (tenant, idempotency_key, body) values (of_tenant, act_key, act_body)
    returning act_id into new_act;
  update ingest.suspension s set suspended_at = null, lifted_act = new_act where s.tenant = of_tenant;
  insert into jobs.job (kind, tenant, payload, unique_key)
    select 'shred', of_tenant, jsonb_build_object('shred', s.shred), s.shred::text
    from ingest.shred s where s.tenant = of_tenant and s.state = 'shredding'
    on conflict (kind, tenant, unique_key) where state <> 'done' do update
      set state = 'ready', attempts = 0, run_at = now(), finished_at = null
      where jobs.job.state in ('ready', 'dead');
  return 'lifted';
end $$;

-- Packs in which nothing is left ---------------------------------------------------------------------
-- Pack objects that were deleted: every key in them was destroyed by order, and their lock was over. Row and key file stay.
create table storage.pack_deletion (
  pack_id uuid primary key references storage.pack,
  tenant text not null,
  deleted_at bigint not null
);
select public.separate_tenants('storage.pack_deletion');
grant select, insert on storage.pack_deletion to openarchive_storage;

update public.schema_version set version = 6;
