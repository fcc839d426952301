-- How long, under which hold, and until when: locks that are extended, copies of a blob beyond the one in use.

-- Locks --------------------------------------------------------------------------------------------
-- A pack whose lock was extended since it was made: storage.pack.lock_until stays what it was then, for it says how far
-- the lock may be extended.
create table storage.pack_lock (
  pack_id uuid primary key references storage.pack,
  tenant text not null,
  lock_until bigint not null
);
select public.separate_tenants('storage.pack_lock');
grant select, insert, update (lock_until) on storage.pack_lock to openarchive_storage;

-- Copies of a blob beyond the one that storage.pack_entry has: of two cores that raced, or in an older pack whose lock
-- cannot be extended any further. They are listed because their keys must go, too, when the blob is shredded.
create table storage.pack_copy (
  pack_id uuid not null references storage.pack,
  ordinal integer not null check (ordinal > 0),
  tenant text not null,
  class text not null,
  kind smallint not null,
  digest bytea not null check (length(digest) = 32),
  raw_length bigint not null check (raw_length >= 0),
  body_offset bigint not null check (body_offset >= 0),
  body_length bigint not null check (body_length > 0),
  kek_version integer not null,
  wrapped_dek bytea check (length(wrapped_dek) = 40),  -- null: shredded
  shred_leaf bigint,                 -- the evidence leaf that orders its shredding; its key goes, or is gone
  primary key (pack_id, ordinal)
);
create index pack_copy_blob on storage.pack_copy (tenant, kind, digest, class);
select public.separate_tenants('storage.pack_copy');
grant select, insert on storage.pack_copy to openarchive_storage;

-- Makes room in storage.pack_entry for blobs of a new pack: what stands there in a pack that was first locked until
-- before `lock_floor` becomes a copy. Called in the transaction that inserts the new entries.
create function storage.supersede(
  of_tenant text, of_class text, kinds smallint[], digests bytea[], lock_floor bigint
) returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
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
grant execute on function storage.supersede(text, text, smallint[], bytea[], bigint) to openarchive_storage;


-- Shredding: first the entry leaves the live ones, then its key leaves the key file, then the row.
create function storage.begin_shred(of_tenant text, of_pack uuid, ordinals integer[], of_leaf bigint) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
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
grant execute on function storage.begin_shred(text, uuid, integer[], bigint) to openarchive_storage;

create function storage.end_shred(of_tenant text, of_pack uuid, ordinals integer[], of_leaf bigint) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  update storage.pack_copy c set wrapped_dek = null
  where c.tenant = of_tenant and c.pack_id = of_pack and c.ordinal = any(ordinals) and c.shred_leaf = of_leaf
$$;
grant execute on function storage.end_shred(text, uuid, integer[], bigint) to openarchive_storage;

-- Acts ---------------------------------------------------------------------------------------------
-- What is done to mail that is archived: each act is a leaf of the evidence log, decided in the transaction that
-- changes the rows, by the functions below and by nothing else.
create table ingest.act (
  act_id bigint generated always as identity primary key,
  tenant text not null,
  idempotency_key bytea not null check (length(idempotency_key) = 32),
  body text not null,
  leaf_index bigint,                 -- null until its leaf is durable
  unique (tenant, idempotency_key)
);
create index act_unsent on ingest.act (act_id) where leaf_index is null;
select public.separate_tenants('ingest.act');
create policy leaf_once on ingest.act as restrictive for update
  using (leaf_index is null) with check (leaf_index is not null);
grant select, update (leaf_index) on ingest.act to openarchive_ingest;

-- Holds --------------------------------------------------------------------------------------------
create table ingest.hold (
  tenant text not null,
  hold text not null,
  reason text not null,
  query text not null,               -- what its mail was found by; empty where it was named
  record bytea not null check (length(record) = 32),  -- the state blob that all this can be restored from
  created_at bigint not null,
  created_by text not null,
  created_act bigint not null references ingest.act,
  released_at bigint,
  released_by text,
  released_act bigint references ingest.act,
  primary key (tenant, hold)
);
create table ingest.hold_message (
  tenant text not null,
  hold text not null,
  message bytea not null,
  primary key (tenant, hold, message),
  foreign key (tenant, hold) references ingest.hold,
  foreign key (tenant, message) references ingest.message
);
create index hold_message_message on ingest.hold_message (tenant, message);
select public.separate_tenants(t::regclass) from unnest(array['ingest.hold', 'ingest.hold_message']) as t;
grant select on ingest.hold, ingest.hold_message to openarchive_ingest;

-- Shredding ----------------------------------------------------------------------------------------
create table ingest.shred (
  tenant text not null,
  shred uuid not null,
  generation bigint generated always as identity,  -- later shreds have greater ones
  cause text not null check (cause in ('erasure', 'expiry')),
  state text not null check (state in ('shredding', 'shredded')),
  ordered_by text not null,
  ordered_at bigint not null,
  finished_at bigint,
  act_id bigint not null references ingest.act,
  primary key (tenant, shred)
);
create table ingest.shred_message (
  tenant text not null,
  shred uuid not null,
  message bytea not null,
  primary key (tenant, shred, message),
  foreign key (tenant, shred) references ingest.shred,
  foreign key (tenant, message) references ingest.message
);
create index shred_message_message on ingest.shred_message (tenant, message);
-- The observations whose salt goes with the mail, by their leaves.
create table ingest.shred_observation (
  tenant text not null,
  leaf_index bigint not null,
  shred uuid not null,
  primary key (tenant, leaf_index),
  foreign key (tenant, shred) references ingest.shred
);
create table ingest.shred_blob (
  tenant text not null,
  shred uuid not null,
  kind smallint not null,
  digest bytea not null check (length(digest) = 32),
  class text not null,
  primary key (tenant, shred, kind, digest, class),
  foreign key (tenant, shred) references ingest.shred
);
create index shred_blob_digest on ingest.shred_blob (tenant, digest);
-- While it has a row with a time, nothing is shredded: after a rebuild, until a person lifts it.
create table ingest.suspension (
  tenant text primary key,
  suspended_at bigint,
  lifted_act bigint references ingest.act
);
select public.separate_tenants(t::regclass) from unnest(array['ingest.shred', 'ingest.shred_message',
  'ingest.shred_observation', 'ingest.shred_blob', 'ingest.suspension']) as t;
grant select on ingest.shred, ingest.shred_message, ingest.shred_observation, ingest.shred_blob, ingest.suspension
  to openarchive_ingest;

-- The shred that a message's content went with. Its row stays for its observations; what it said is cleared.
alter table ingest.message add column shred uuid;

-- Everything that decides whether mail goes or stays takes this lock for its transaction; commits take it shared.
create function ingest.lock_purge(of_tenant text) returns void language sql
set search_path = pg_catalog, pg_temp as $$
  select pg_advisory_xact_lock(hashtextextended('openarchive purge ' || of_tenant, 0))
$$;

create function ingest.set_hold(
  of_tenant text, of_hold text, of_reason text, of_query text, of_messages bytea[], of_record bytea, at bigint,
  by_token text, act_key bytea, act_body text
) returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  new_act bigint;
begin
  perform ingest.lock_purge(of_tenant);
  if exists (select from ingest.hold h where h.tenant = of_tenant and h.hold = of_hold) then
    return 'exists';
  end if;
  if (select count(*) from ingest.message m where m.tenant = of_tenant and m.message = any(of_messages))
    <> cardinality(of_messages) then
    return 'unknown';
  end if;
  if exists (select from ingest.message m
    where m.tenant = of_tenant and m.message = any(of_messages) and m.shred is not null) then
    return 'shredding';
  end if;
  insert into ingest.act (tenant, idempotency_key, body) values (of_tenant, act_key, act_body)
    returning act_id into new_act;
  insert into ingest.hold (tenant, hold, reason, query, record, created_at, created_by, created_act)
    values (of_tenant, of_hold, of_reason, of_query, of_record, at, by_token, new_act);
  insert into ingest.hold_message (tenant, hold, message)
    select of_tenant, of_hold, message from unnest(of_messages) as message;
  return 'set';
end $$;

create function ingest.release_hold(
  of_tenant text, of_hold text, at bigint, by_token text, act_key bytea, act_body text
) returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  new_act bigint;
begin
  perform ingest.lock_purge(of_tenant);
  if not exists (select from ingest.hold h where h.tenant = of_tenant and h.hold = of_hold) then
    return 'absent';
  end if;
  if exists (select from ingest.hold h
    where h.tenant = of_tenant and h.hold = of_hold and h.released_at is not null) then
    return 'released before';
  end if;
  insert into ingest.act (tenant, idempotency_key, body) values (of_tenant, act_key, act_body)
    returning act_id into new_act;
  update ingest.hold h set released_at = at, released_by = by_token, released_act = new_act
    where h.tenant = of_tenant and h.hold = of_hold;
  return 'released';
end $$;

-- Marks mail for shredding, or says why not. `blobs` are those that no other mail needs: one that is shared by now, or
-- one that is not shared any more and is not among them, means that the world has changed since they were listed.
create function ingest.mark_shredding(
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
    cross join lateral (
      select exists (
        select from ingest.message_part other
        join ingest.message m on m.tenant = other.tenant and m.message = other.message and m.shred is null
        join ingest.observation seen on seen.tenant = m.tenant and seen.message = m.message and seen.class = o.class
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

-- The keys are gone: so is what the rows said of the mail. May be repeated.
create function ingest.finish_shred(of_tenant text, of_shred uuid, at bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform ingest.lock_purge(of_tenant);
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

-- Mail that came again after it was shredded: its row speaks again. Answers which.
create function ingest.revive_messages(of_tenant text, rows jsonb) returns setof bytea
language sql security definer set search_path = pg_catalog, pg_temp as $$
  update ingest.message m set shred = null, class = r.class, skeleton = r.skeleton, flags = r.flags,
    subject = r.subject, header_from = r.header_from, header_to = r.header_to, header_cc = r.header_cc,
    header_date = r.header_date, message_id = r.message_id, attachments = r.attachments, archived_at = r.archived_at
  from jsonb_to_recordset(rows) as r(message bytea, class text, skeleton bytea, flags text[], subject text,
    header_from text, header_to text[], header_cc text[], header_date bigint, message_id text, attachments text[],
    archived_at bigint)
  where m.tenant = of_tenant and m.message = r.message and m.shred is not null
  returning m.message
$$;

create function ingest.lift_suspension(of_tenant text, act_key bytea, act_body text) returns text
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
  return 'lifted';
end $$;

grant execute on function
  ingest.set_hold(text, text, text, text, bytea[], bytea, bigint, text, bytea, text),
  ingest.release_hold(text, text, bigint, text, bytea, text),
  ingest.mark_shredding(text, uuid, text, text, bigint, bytea[], bigint[], smallint[], bytea[], text[], smallint, bytea,
    text),
  ingest.finish_shred(text, uuid, bigint),
  ingest.revive_messages(text, jsonb),
  ingest.lift_suspension(text, bytea, text)
to openarchive_ingest;

update public.schema_version set version = 4;
