-- One database, a schema per service. Ledger and catalogue rows are insert-only for their services.
-- Times are bigint milliseconds since 1970 UTC, as they stand in leaves; digests are 32-byte bytea.

create schema trust;
create schema storage;
create schema ingest;
create schema gateway;
create schema jobs;

create table public.schema_version (
  only_row boolean primary key default true check (only_row),
  version integer not null,
  oldest_compatible integer not null
);
insert into public.schema_version (version, oldest_compatible) values (1, 1);

-- trust ------------------------------------------------------------------------------------------
create table trust.log (
  log_id bigint generated always as identity primary key,
  tenant text not null,              -- '_' archive-wide
  stream text not null,
  epoch integer not null default 1,
  origin text not null unique,
  verifier_key text not null,
  next_index bigint not null default 0 check (next_index >= 0),  -- durable leaves: the head that fences sequencers
  last_time bigint not null default 0,                            -- of the latest leaf; times never go back
  unique (tenant, stream, epoch)
);

-- No foreign key to trust.log here and in trust.node: rows come only with the fenced update of trust.log in the same
-- statement, and the check costs a third of the append rate.
create table trust.leaf (
  log_id bigint not null,
  leaf_index bigint not null check (leaf_index >= 0),
  body bytea not null check (length(body) <= 65535),
  leaf_hash bytea not null check (length(leaf_hash) = 32),
  idempotency_key bytea not null check (length(idempotency_key) = 32),
  recorded_at bigint not null,
  primary key (log_id, leaf_index),
  unique (log_id, idempotency_key)
);

-- Every complete subtree's hash, so that a proof reads O(log n) rows.
create table trust.node (
  log_id bigint not null,
  level smallint not null check (level > 0),
  node_index bigint not null check (node_index >= 0),
  hash bytea not null check (length(hash) = 32),
  primary key (log_id, level, node_index)
);

-- What was signed and published, in order; mirrors heads/LOG/<ordinal>.
create table trust.checkpoint (
  log_id bigint not null references trust.log,
  ordinal bigint not null check (ordinal >= 0),
  size bigint not null check (size > 0),
  root bytea not null check (length(root) = 32),
  note text not null,
  published_at bigint not null,
  primary key (log_id, ordinal)
);

-- Wrapping keys, protected by the KEK; also in the objects kek/<tenant>/<version>.
create table trust.wrapping_key (
  tenant text not null,
  kek_version integer not null,
  protected bytea not null check (length(protected) = 40),
  primary key (tenant, kek_version)
);

-- storage ----------------------------------------------------------------------------------------
create table storage.pack (
  pack_id uuid primary key,
  tenant text not null,
  class text not null,
  object_key text not null unique,
  version_id text not null,
  sha256 bytea not null check (length(sha256) = 32),
  length bigint not null check (length > 0),
  key_file_key text not null,
  lock_until bigint,
  created_at bigint not null,
  leaf_index bigint                  -- null until its pack leaf is durable
);

create table storage.pack_entry (
  pack_id uuid not null references storage.pack,
  ordinal integer not null check (ordinal > 0),   -- 0 is the footer
  tenant text not null,
  class text not null,
  kind smallint not null,
  digest bytea not null check (length(digest) = 32),
  raw_length bigint not null check (raw_length >= 0),
  body_offset bigint not null check (body_offset >= 0),
  body_length bigint not null check (body_length > 0),
  kek_version integer not null,
  wrapped_dek bytea check (length(wrapped_dek) = 40),  -- null: shredded
  primary key (pack_id, ordinal)
);
-- Deduplication: one live copy of a blob in its (tenant, class, kind).
create unique index pack_entry_blob on storage.pack_entry (tenant, kind, digest, class);

create table storage.outbox (
  outbox_id bigint generated always as identity primary key,
  pack_id uuid not null references storage.pack,
  idempotency_key bytea not null,
  body text not null
);

-- ingest -----------------------------------------------------------------------------------------
create table ingest.message (
  ordinal bigint generated always as identity unique,  -- catalogue order
  tenant text not null,
  message bytea not null check (length(message) = 32),
  length bigint not null,
  class text not null,
  skeleton bytea not null check (length(skeleton) = 32),
  flags text[] not null default '{}',
  subject text not null default '',
  header_from text not null default '',
  header_to text[] not null default '{}',
  header_cc text[] not null default '{}',
  header_date bigint,
  message_id text not null default '',
  attachments text[] not null default '{}',
  archived_at bigint not null,
  primary key (tenant, message)
);

create table ingest.message_part (
  tenant text not null,
  message bytea not null,
  part bytea not null check (length(part) = 32),
  length bigint not null,
  primary key (tenant, message, part),
  foreign key (tenant, message) references ingest.message
);
create index message_part_part on ingest.message_part (tenant, part);

-- Who took part, from envelope and headers: what holds and scopes will ask.
create table ingest.participant (
  tenant text not null,
  message bytea not null,
  role text not null check (role in ('envelope-from', 'envelope-to', 'from', 'to', 'cc', 'bcc')),
  address text not null,
  primary key (tenant, message, role, address),
  foreign key (tenant, message) references ingest.message
);
create index participant_address on ingest.participant (tenant, address);

create table ingest.observation (
  tenant text not null,
  agent text not null,
  instance uuid not null,
  agent_epoch numeric(20) not null,  -- u64
  seq bigint not null check (seq > 0),
  message bytea not null,
  state text not null check (state in ('stored', 'duplicate', 'quarantined')),
  reason text not null default '',
  class text not null,
  record bytea not null check (length(record) = 32),  -- digest of the observation blob, which holds envelope and salt
  occurred_at bigint not null,
  recorded_at bigint not null,
  idempotency_key bytea not null,
  leaf_index bigint,                 -- null until its leaf is durable
  primary key (tenant, agent, instance, agent_epoch, seq),
  foreign key (tenant, message) references ingest.message
);
create index observation_message on ingest.observation (tenant, message);

create table ingest.agent (
  tenant text not null,
  agent text not null,
  instance uuid not null,
  agent_epoch numeric(20) not null,
  announced_seq bigint not null default 0,
  buffered_messages bigint not null default 0,
  version text not null default '',
  last_seen bigint not null,
  primary key (tenant, agent, instance, agent_epoch)
);

create table ingest.outbox (
  outbox_id bigint generated always as identity primary key,
  tenant text not null,
  agent text not null,
  instance uuid not null,
  agent_epoch numeric(20) not null,
  seq bigint not null,
  idempotency_key bytea not null,
  body text not null,
  foreign key (tenant, agent, instance, agent_epoch, seq) references ingest.observation
);

-- gateway ----------------------------------------------------------------------------------------
create table gateway.token (
  token_id text primary key,         -- shown in audit leaves: not a secret, not a person
  tenant text not null,
  sha256 bytea not null unique check (length(sha256) = 32),
  created_at bigint not null,
  revoked_at bigint
);

-- What an audit leaf's commitment opens to; personal data, so it stands here and not in the ledger.
create table gateway.audit_record (
  tenant text not null,
  request text not null,
  action text not null,
  token_id text not null,
  object text not null,
  salt bytea not null check (length(salt) = 32),
  leaf_index bigint not null,
  recorded_at bigint not null,
  primary key (tenant, request, action)
);

-- jobs -------------------------------------------------------------------------------------------
create table jobs.job (
  job_id bigint generated always as identity primary key,
  kind text not null,
  tenant text not null,
  payload jsonb not null,
  state text not null default 'ready' check (state in ('ready', 'running', 'done', 'dead')),
  attempts integer not null default 0,
  run_at timestamptz not null default now(),
  lease_until timestamptz,
  lease_owner uuid,
  last_error text,
  created_at timestamptz not null default now(),
  finished_at timestamptz,
  unique_key text
);
create unique index job_unique on jobs.job (kind, tenant, unique_key) where state <> 'done';
create index job_due on jobs.job (run_at, job_id) where state in ('ready', 'running');

create function jobs.notify_job() returns trigger language plpgsql as $$
begin
  perform pg_notify('job', '');
  return null;
end $$;
create trigger job_inserted after insert on jobs.job for each statement execute function jobs.notify_job();
