-- What an agent reports beside its numbers: with which certificate, and whether it takes new mail.

alter table ingest.agent
  add column draining boolean not null default false,
  add column certificate_not_after bigint,   -- milliseconds; null where no certificate was shown or kept
  add column certificate_sha256 bytea check (octet_length(certificate_sha256) = 32);  -- of the DER
grant update (draining, certificate_not_after, certificate_sha256) on ingest.agent to openarchive_ingest;

update public.schema_version set version = 8;
