//! What each login role may do and what it is refused: the whole table, written out by hand.

use std::collections::BTreeSet;

use openarchive_schema::{
    DatabaseRole,
    DatabaseRole::{Gateway, Ingest, Storage, Trust, Worker},
    TenantScope, begin,
};
use sqlx::AssertSqlSafe;

use crate::cluster::{Cluster, tenant};

const NOBODY: &[DatabaseRole] = &[];
const EVERYBODY: &[DatabaseRole] = &DatabaseRole::ALL;

/// A statement, and the roles that it is allowed to. It is refused to all others.
const TABLE: &[(&str, &[DatabaseRole])] = &[
    // trust: the ledger grows and is read.
    ("select log_id from trust.log", &[Trust]),
    ("insert into trust.log (tenant, stream, epoch, origin, verifier_key) values ('acme', 'audit', 1, 'o', 'k')", &[Trust]),
    ("insert into trust.log (tenant, stream, origin, verifier_key, next_index) values ('acme', 'b', 'o', 'k', 9)", NOBODY),
    ("update trust.log set next_index = 2, last_time = 2", &[Trust]),
    ("update trust.log set verifier_key = 'other'", NOBODY),
    ("update trust.log set origin = 'other'", NOBODY),
    ("delete from trust.log", NOBODY),
    ("select body from trust.leaf", &[Trust]),
    ("insert into trust.leaf values (1, 1, 'b', repeat('b', 32)::bytea, repeat('b', 32)::bytea, 1)", &[Trust]),
    ("update trust.leaf set body = 'other'", NOBODY),
    ("update trust.leaf set leaf_index = 9", NOBODY),
    ("delete from trust.leaf", NOBODY),
    ("truncate trust.leaf", NOBODY),
    ("select hash from trust.node", &[Trust]),
    ("insert into trust.node values (1, 1, 1, repeat('b', 32)::bytea)", &[Trust]),
    ("update trust.node set hash = repeat('c', 32)::bytea", NOBODY),
    ("delete from trust.node", NOBODY),
    ("select note from trust.checkpoint", &[Trust]),
    ("insert into trust.checkpoint values (1, 1, 2, repeat('b', 32)::bytea, 'n', 1)", &[Trust]),
    ("update trust.checkpoint set note = 'other'", NOBODY),
    ("delete from trust.checkpoint", NOBODY),
    ("select protected from trust.wrapping_key", &[Trust]),
    ("insert into trust.wrapping_key values ('acme', 2, repeat('b', 40)::bytea)", &[Trust]),
    ("update trust.wrapping_key set protected = repeat('c', 40)::bytea", NOBODY),
    ("delete from trust.wrapping_key", NOBODY),
    // storage: packs are catalogued, and get the index of their leaf.
    ("select object_key from storage.pack", &[Storage]),
    (
        "insert into storage.pack values ('00000000-0000-0000-0000-000000000009', 'acme', 'c', 'p', 'v',
           repeat('b', 32)::bytea, 1, 'k', null, 1, null)",
        &[Storage],
    ),
    ("update storage.pack set leaf_index = 1", &[Storage]),
    ("update storage.pack set sha256 = repeat('c', 32)::bytea", NOBODY),
    ("update storage.pack set object_key = 'other'", NOBODY),
    ("delete from storage.pack", NOBODY),
    ("select digest from storage.pack_entry", &[Storage]),
    (
        "insert into storage.pack_entry values ('00000000-0000-0000-0000-000000000001', 2, 'acme', 'c', 1,
           repeat('b', 32)::bytea, 1, 1, 1, 1, null)",
        &[Storage],
    ),
    ("update storage.pack_entry set digest = repeat('c', 32)::bytea", NOBODY),
    ("update storage.pack_entry set body_offset = 7", NOBODY),
    ("delete from storage.pack_entry", NOBODY),
    ("select body from storage.outbox", &[Storage]),
    (
        "insert into storage.outbox (pack_id, idempotency_key, body)
           values ('00000000-0000-0000-0000-000000000001', 'k', 'b')",
        &[Storage],
    ),
    ("update storage.outbox set body = 'other'", NOBODY),
    ("delete from storage.outbox", &[Storage]),
    // ingest: the catalogue grows; an observation gets the index of its leaf; agents report.
    ("select subject from ingest.message", &[Ingest]),
    (
        "insert into ingest.message (tenant, message, length, class, skeleton, archived_at)
           values ('acme', repeat('b', 32)::bytea, 1, 'c', repeat('b', 32)::bytea, 1)",
        &[Ingest],
    ),
    ("update ingest.message set subject = 'other'", NOBODY),
    ("delete from ingest.message", NOBODY),
    ("truncate ingest.message cascade", NOBODY),
    ("select part from ingest.message_part", &[Ingest]),
    (
        "insert into ingest.message_part values ('acme', decode(repeat('0a', 32), 'hex'), repeat('b', 32)::bytea, 1)",
        &[Ingest],
    ),
    ("update ingest.message_part set length = 2", NOBODY),
    ("delete from ingest.message_part", NOBODY),
    ("select address from ingest.participant", &[Ingest]),
    (
        "insert into ingest.participant values ('acme', decode(repeat('0a', 32), 'hex'), 'cc', 'b@example.org')",
        &[Ingest],
    ),
    ("update ingest.participant set address = 'other'", NOBODY),
    ("delete from ingest.participant", NOBODY),
    ("select record from ingest.observation", &[Ingest]),
    (
        "insert into ingest.observation values ('acme', 'mx1', '00000000-0000-0000-0000-000000000001', 1, 2,
           decode(repeat('0a', 32), 'hex'), 'duplicate', '', 'c', repeat('b', 32)::bytea, 1, 1, 'k', null)",
        &[Ingest],
    ),
    ("update ingest.observation set leaf_index = 3", &[Ingest]),
    ("update ingest.observation set leaf_index = null", NOBODY),
    ("update ingest.observation set state = 'duplicate'", NOBODY),
    ("update ingest.observation set record = repeat('c', 32)::bytea", NOBODY),
    ("delete from ingest.observation", NOBODY),
    ("select announced_seq from ingest.agent", &[Ingest]),
    (
        "insert into ingest.agent (tenant, agent, instance, agent_epoch, last_seen)
           values ('acme', 'mx2', '00000000-0000-0000-0000-000000000001', 1, 1)",
        &[Ingest],
    ),
    ("update ingest.agent set announced_seq = 2, buffered_messages = 2, version = '2', last_seen = 2", &[Ingest]),
    (
        "update ingest.agent set draining = true, certificate_not_after = 1, certificate_sha256 = repeat('b', 32)::bytea",
        &[Ingest],
    ),
    ("update ingest.agent set agent = 'other'", NOBODY),
    ("delete from ingest.agent", NOBODY),
    ("select body from ingest.outbox", &[Ingest]),
    (
        "insert into ingest.outbox (tenant, agent, instance, agent_epoch, seq, idempotency_key, body)
           values ('acme', 'mx1', '00000000-0000-0000-0000-000000000001', 1, 1, 'k', 'b')",
        &[Ingest],
    ),
    ("update ingest.outbox set body = 'other'", NOBODY),
    ("delete from ingest.outbox", &[Ingest]),
    // Of tokens ingest makes them, and takes one whose text it was shown; who was revoked stays revoked.
    ("select * from ingest.use_enrolment(repeat('b', 32)::bytea, repeat('c', 32)::bytea, 1)", &[Ingest]),
    ("select token_sha256 from ingest.enrolment", NOBODY),
    ("insert into ingest.enrolment values (repeat('b', 32)::bytea, 'acme', 'mx1', 1, 2)", &[Ingest]),
    ("update ingest.enrolment set used_at = null", NOBODY),
    ("update ingest.enrolment set expires_at = 9", NOBODY),
    ("delete from ingest.enrolment", NOBODY),
    ("select revoked_at from ingest.revoked_agent", &[Ingest]),
    ("insert into ingest.revoked_agent values ('acme', 'mx1', 1, 'r')", &[Ingest]),
    ("update ingest.revoked_agent set reason = 'other'", NOBODY),
    ("delete from ingest.revoked_agent", NOBODY),
    ("select nextval('ingest.message_ordinal_seq')", &[Ingest]),
    ("select setval('ingest.message_ordinal_seq', 1)", NOBODY),
    // storage: locks that were extended, and copies; entries become copies, and keys go, by functions alone.
    ("select lock_until from storage.pack_lock", &[Storage]),
    ("insert into storage.pack_lock values ('00000000-0000-0000-0000-000000000001', 'acme', 9) on conflict (pack_id) do nothing", &[Storage]),
    ("update storage.pack_lock set lock_until = 9", &[Storage]),
    ("update storage.pack_lock set pack_id = '00000000-0000-0000-0000-000000000009'", NOBODY),
    ("delete from storage.pack_lock", NOBODY),
    ("select digest from storage.pack_copy", &[Storage]),
    (
        "insert into storage.pack_copy values ('00000000-0000-0000-0000-000000000001', 3, 'acme', 'c', 1,
           repeat('b', 32)::bytea, 1, 1, 1, 1, null)",
        &[Storage],
    ),
    ("update storage.pack_copy set wrapped_dek = null", NOBODY),
    ("delete from storage.pack_copy", NOBODY),
    ("update storage.pack_entry set wrapped_dek = null", NOBODY),
    ("select deleted_at from storage.pack_deletion", &[Storage]),
    ("insert into storage.pack_deletion values ('00000000-0000-0000-0000-000000000001', 'acme', 9) on conflict (pack_id) do nothing", &[Storage]),
    ("update storage.pack_deletion set deleted_at = 9", NOBODY),
    ("delete from storage.pack_deletion", NOBODY),
    ("select storage.supersede('acme', 'c', '{1}', '{}', 1)", &[Storage]),
    ("select storage.begin_shred('acme', '00000000-0000-0000-0000-000000000001', '{1}', 1)", &[Storage]),
    ("select storage.end_shred('acme', '00000000-0000-0000-0000-000000000001', '{1}', 1)", &[Storage]),
    // ingest: what is done to archived mail happens in functions alone.
    ("select body from ingest.act", &[Ingest]),
    ("insert into ingest.act (tenant, idempotency_key, body) values ('acme', repeat('b', 32)::bytea, 'b')", NOBODY),
    ("update ingest.act set leaf_index = 9", &[Ingest]),
    ("update ingest.act set body = 'other'", NOBODY),
    ("delete from ingest.act", NOBODY),
    ("select reason from ingest.hold", &[Ingest]),
    ("insert into ingest.hold values ('acme', 'h', 'r', '', repeat('b', 32)::bytea, 1, 't', 1)", NOBODY),
    ("update ingest.hold set released_at = 1", NOBODY),
    ("delete from ingest.hold", NOBODY),
    ("select message from ingest.hold_message", &[Ingest]),
    ("insert into ingest.hold_message values ('acme', 'h', 'm')", NOBODY),
    ("update ingest.hold_message set hold = 'other'", NOBODY),
    ("delete from ingest.hold_message", NOBODY),
    ("select state from ingest.shred", &[Ingest]),
    (
        "insert into ingest.shred (tenant, shred, cause, state, ordered_by, ordered_at, act_id)
           values ('acme', '00000000-0000-0000-0000-000000000009', 'erasure', 'shredding', 't', 1, 1)",
        NOBODY,
    ),
    ("update ingest.shred set state = 'shredded'", NOBODY),
    ("delete from ingest.shred", NOBODY),
    ("select message from ingest.shred_message", &[Ingest]),
    ("insert into ingest.shred_message values ('acme', '00000000-0000-0000-0000-000000000009', 'm')", NOBODY),
    ("update ingest.shred_message set message = 'other'", NOBODY),
    ("delete from ingest.shred_message", NOBODY),
    ("select leaf_index from ingest.shred_observation", &[Ingest]),
    ("insert into ingest.shred_observation values ('acme', 9, '00000000-0000-0000-0000-000000000009')", NOBODY),
    ("update ingest.shred_observation set leaf_index = 9", NOBODY),
    ("delete from ingest.shred_observation", NOBODY),
    ("select digest from ingest.shred_blob", &[Ingest]),
    (
        "insert into ingest.shred_blob values ('acme', '00000000-0000-0000-0000-000000000009', 1,
           repeat('b', 32)::bytea, 'c')",
        NOBODY,
    ),
    ("update ingest.shred_blob set class = 'other'", NOBODY),
    ("delete from ingest.shred_blob", NOBODY),
    ("select suspended_at from ingest.suspension", &[Ingest]),
    ("insert into ingest.suspension values ('acme', 1)", NOBODY),
    ("update ingest.suspension set suspended_at = null", NOBODY),
    ("delete from ingest.suspension", NOBODY),
    (
        "select ingest.set_hold('acme', 'n', 'r', '', '{}', repeat('b', 32)::bytea, 1, 't', repeat('d', 32)::bytea, '{}')",
        &[Ingest],
    ),
    ("select ingest.release_hold('acme', 'absent', 1, 't', repeat('d', 32)::bytea, '{}')", &[Ingest]),
    (
        "select ingest.mark_shredding('acme', '00000000-0000-0000-0000-000000000009', 'erasure', 't', 1, '{}', '{}', '{}',
           '{}', '{}', 1::smallint, repeat('d', 32)::bytea, '{}')",
        &[Ingest],
    ),
    ("select ingest.finish_shred('acme', '00000000-0000-0000-0000-000000000009', 1)", &[Ingest]),
    ("select ingest.revive_messages('acme', '[]')", &[Ingest]),
    ("select ingest.lift_suspension('acme', repeat('d', 32)::bytea, '{}')", &[Ingest]),
    ("select ingest.lock_purge('acme')", NOBODY),
    ("select public.require_tenant('acme')", NOBODY),
    ("select leaf_index from ingest.quarantine_release", &[Ingest]),
    ("insert into ingest.quarantine_release values ('acme', 9, 1, 1)", NOBODY),
    ("update ingest.quarantine_release set released_at = 9", NOBODY),
    ("delete from ingest.quarantine_release", NOBODY),
    ("select ingest.release_quarantine('acme', 'm', '{}', 1, repeat('d', 32)::bytea, '{}')", &[Ingest]),
    ("select version from ingest.policy_set", &[Ingest]),
    ("insert into ingest.policy_set values ('acme', 9, sha256('b'), 'b', 1, 1)", NOBODY),
    ("update ingest.policy_set set body = 'other'", NOBODY),
    ("delete from ingest.policy_set", NOBODY),
    ("select ingest.apply_policies('acme', 2, 'b', 1, repeat('d', 32)::bytea, '{}')", &[Ingest]),
    // Nobody acts for a tenant whose transaction it is not in.
    ("select ingest.apply_policies('other', 2, 'b', 1, repeat('d', 32)::bytea, '{}')", NOBODY),
    ("select ingest.apply_policies('_', 1, 'b', 1, repeat('d', 32)::bytea, '{}')", NOBODY),
    ("select ingest.release_hold('other', 'hold', 1, 't', repeat('d', 32)::bytea, '{}')", NOBODY),
    ("select ingest.finish_shred('other', '00000000-0000-0000-0000-000000000001', 1)", NOBODY),
    ("select ingest.revive_messages('other', '[]')", NOBODY),
    ("select ingest.lift_suspension('other', repeat('d', 32)::bytea, '{}')", NOBODY),
    ("select ingest.release_quarantine('other', 'm', '{}', 1, repeat('d', 32)::bytea, '{}')", NOBODY),
    ("select storage.supersede('other', 'c', '{1}', '{}', 1)", NOBODY),
    ("select storage.begin_shred('other', '00000000-0000-0000-0000-000000000002', '{1}', 1)", NOBODY),
    ("select storage.end_shred('other', '00000000-0000-0000-0000-000000000002', '{1}', 1)", NOBODY),
    (
        "select ingest.set_hold('other', 'n', 'r', '', '{}', repeat('b', 32)::bytea, 1, 't', repeat('d', 32)::bytea, '{}')",
        NOBODY,
    ),
    (
        "select ingest.mark_shredding('other', '00000000-0000-0000-0000-000000000009', 'erasure', 't', 1, '{}', '{}', '{}',
           '{}', '{}', 1::smallint, repeat('d', 32)::bytea, '{}')",
        NOBODY,
    ),
    // gateway: what it audited; of tokens only whose they are.
    ("select * from gateway.token_owner(repeat('b', 32)::bytea)", &[Gateway]),
    ("select sha256 from gateway.token", NOBODY),
    ("insert into gateway.token values ('t', 'acme', repeat('b', 32)::bytea, 1, null)", NOBODY),
    ("update gateway.token set revoked_at = null", NOBODY),
    ("delete from gateway.token", NOBODY),
    ("select object from gateway.audit_record", &[Gateway]),
    (
        "insert into gateway.audit_record values ('acme', 'r', 'search', 't', 'o', repeat('b', 32)::bytea, 1, 1)",
        &[Gateway],
    ),
    ("update gateway.audit_record set object = 'other'", NOBODY),
    ("delete from gateway.audit_record", NOBODY),
    // jobs: every service leaves one; the worker does them.
    ("insert into jobs.job (kind, tenant, payload) values ('index', 'acme', '{}')", EVERYBODY),
    (
        "insert into jobs.job (kind, tenant, payload, unique_key) values ('index', 'acme', '{}', 'a')
           on conflict do nothing",
        EVERYBODY,
    ),
    ("insert into jobs.job (kind, tenant, payload) values ('index', 'acme', '{}') returning job_id", &[Worker]),
    ("select payload from jobs.job", &[Worker]),
    ("select job_id from jobs.job for update skip locked", &[Worker]),
    (
        "update jobs.job set state = 'dead', attempts = 1, run_at = now(), lease_until = null, lease_owner = null,
           last_error = '', finished_at = now()",
        &[Worker],
    ),
    ("update jobs.job set payload = '{\"message\": \"\"}'", NOBODY),
    ("update jobs.job set tenant = 'other'", NOBODY),
    ("update jobs.job set kind = 'other'", NOBODY),
    ("delete from jobs.job", &[Worker]),
    ("truncate jobs.job", NOBODY),
    // What is the administrator's.
    ("select version from public.schema_version", EVERYBODY),
    ("update public.schema_version set version = 99", NOBODY),
    ("select * from public._sqlx_migrations", NOBODY),
    ("create table public.mine (a integer)", NOBODY),
    ("create table ingest.mine (a integer)", NOBODY),
    ("create table jobs.mine (a integer)", NOBODY),
    ("create temporary table mine (a integer)", NOBODY),
    ("create schema mine", NOBODY),
    ("create role mine", NOBODY),
    ("create function jobs.mine() returns void language sql as ''", NOBODY),
    ("create policy mine on ingest.message using (true)", NOBODY),
    ("drop policy a_tenant on ingest.message", NOBODY),
    ("alter table ingest.message no force row level security", NOBODY),
    ("alter table jobs.job disable trigger all", NOBODY),
    ("select public.separate_tenants('jobs.job')", NOBODY),
    ("set local row_security = off; select * from ingest.message", NOBODY),
    ("set local row_security = off; select * from jobs.job", NOBODY),
    ("set session_replication_role = replica", NOBODY),
    ("alter role openarchive_gateway superuser", NOBODY),
    ("alter role openarchive_gateway bypassrls", NOBODY),
    // PostgreSQL lets every role change its own password, and knows no way to refuse that.
    ("alter role openarchive_trust password 'mine'", &[Trust]),
    ("grant openarchive_all_tenants to openarchive_gateway", NOBODY),
    ("alter table ingest.message owner to openarchive_gateway", NOBODY),
    ("set local role openarchive_ingest", &[Ingest]),
    ("set local role postgres", NOBODY),
    ("select rolpassword from pg_authid", NOBODY),
    ("select pg_read_file('postgresql.conf')", NOBODY),
    ("copy public.schema_version to '/tmp/openarchive-must-not-be'", NOBODY),
    ("copy public.schema_version to program 'true'", NOBODY),
    ("create extension pg_stat_statements", NOBODY),
];

/// insufficient_privilege (PostgreSQL, Appendix A): what a missing grant and row security answer alike.
const REFUSED: &str = "42501";

#[tokio::test]
async fn each_role_may_do_what_the_table_says_and_nothing_else() {
    let cluster = Cluster::with_rows().await;
    let acme = tenant("acme");
    let mut wrong = Vec::new();
    for role in DatabaseRole::ALL {
        let pool = cluster.pool(role).await;
        for (statement, allowed) in TABLE {
            let mut tx = begin(&pool, TenantScope::One(&acme)).await.unwrap();
            let outcome = sqlx::raw_sql(AssertSqlSafe((*statement).to_owned())).execute(&mut *tx).await;
            tx.rollback().await.unwrap();
            let code = match &outcome {
                Ok(_) => "",
                Err(error) => &error.as_database_error().unwrap().code().unwrap(),
            };
            let expected = if allowed.contains(&role) { "" } else { REFUSED };
            if code != expected {
                wrong.push(format!("{role} gets {code:?} instead of {expected:?}: {statement}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// So that a table cannot be added without a line for it here.
#[tokio::test]
async fn the_table_speaks_of_every_table_that_there_is() {
    let cluster = Cluster::migrated().await;
    for table in crate::cluster::tables(&cluster.admin).await {
        let spoken: BTreeSet<&str> = ["select", "insert", "update", "delete"]
            .into_iter()
            .filter(|verb| {
                TABLE.iter().any(|(statement, _)| {
                    let mut words = statement.split([' ', '(']);
                    words.next() == Some(verb) && words.any(|word| word == table)
                })
            })
            .collect();
        assert_eq!(spoken.len(), 4, "{table}: only {spoken:?} have a line");
    }
}
