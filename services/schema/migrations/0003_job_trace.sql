-- A job goes on in the trace of the request that made it (W3C Trace Context). Null: it was made outside of a trace.
alter table jobs.job add column traceparent text check (length(traceparent) <= 256);

update public.schema_version set version = 3;
