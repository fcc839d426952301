//! A database of a test's own, with rows of two tenants.

use openarchive_domain::Tenant;
use openarchive_schema::DatabaseRole;
use openarchive_testkit::database::TestDatabase;
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};

/// One row in every table, of tenant `TENANT`, whose log is `LOG`, and `NUMBER` tells its keys from the other tenant's.
/// As version 1 had the tables: the rows of an upgraded database.
const ROWS: &str = "
  insert into trust.log (tenant, stream, origin, verifier_key, next_index)
    values ('TENANT', 'evidence', 'a.example/main/TENANT/evidence/1', 'key', 1);
  insert into trust.leaf values (LOG, 0, 'body', decode(repeat('0NUMBER', 32), 'hex'),
    decode(repeat('0NUMBER', 32), 'hex'), 1);
  insert into trust.node values (LOG, 1, 0, decode(repeat('0NUMBER', 32), 'hex'));
  insert into trust.checkpoint values (LOG, 0, 1, decode(repeat('0NUMBER', 32), 'hex'), 'note', 1);
  insert into trust.wrapping_key values ('TENANT', 1, decode(repeat('0NUMBER', 40), 'hex'));
  insert into storage.pack values ('00000000-0000-0000-0000-00000000000NUMBER', 'TENANT', 'class', 'packs/TENANT', 'v',
    decode(repeat('0NUMBER', 32), 'hex'), 1, 'keys/TENANT', null, 1, null);
  insert into storage.pack_entry values ('00000000-0000-0000-0000-00000000000NUMBER', 1, 'TENANT', 'class', 1,
    decode(repeat('0a', 32), 'hex'), 1, 1, 1, 1, null);
  insert into storage.outbox (pack_id, idempotency_key, body)
    values ('00000000-0000-0000-0000-00000000000NUMBER', 'key', 'body');
  insert into ingest.message (tenant, message, length, class, skeleton, archived_at)
    values ('TENANT', decode(repeat('0a', 32), 'hex'), 1, 'class', decode(repeat('0a', 32), 'hex'), 1);
  insert into ingest.message_part values ('TENANT', decode(repeat('0a', 32), 'hex'), decode(repeat('0a', 32), 'hex'), 1);
  insert into ingest.participant values ('TENANT', decode(repeat('0a', 32), 'hex'), 'to', 'a@example.org');
  insert into ingest.observation values ('TENANT', 'mx1', '00000000-0000-0000-0000-000000000001', 1, 1,
    decode(repeat('0a', 32), 'hex'), 'stored', '', 'class', decode(repeat('0a', 32), 'hex'), 1, 1, 'key', null);
  insert into ingest.agent (tenant, agent, instance, agent_epoch, last_seen)
    values ('TENANT', 'mx1', '00000000-0000-0000-0000-000000000001', 1, 1);
  insert into ingest.outbox (tenant, agent, instance, agent_epoch, seq, idempotency_key, body)
    values ('TENANT', 'mx1', '00000000-0000-0000-0000-000000000001', 1, 1, 'key', 'body');
  insert into gateway.token values ('token-NUMBER', 'TENANT', decode(repeat('0NUMBER', 32), 'hex'), 1, null);
  insert into gateway.audit_record values ('TENANT', 'request', 'search', 'token-NUMBER', 'object',
    decode(repeat('0a', 32), 'hex'), 0, 1);
  insert into jobs.job (kind, tenant, payload) values ('index', 'TENANT', '{}');
";

/// One row in every table that migrations 0004, 0006 and 0007 added.
const LATER_ROWS: &str = "
  insert into storage.pack_lock values ('00000000-0000-0000-0000-00000000000NUMBER', 'TENANT', 2);
  insert into storage.pack_copy values ('00000000-0000-0000-0000-00000000000NUMBER', 2, 'TENANT', 'class', 1,
    decode(repeat('0a', 32), 'hex'), 1, 1, 1, 1, null);
  insert into ingest.act (tenant, idempotency_key, body) values ('TENANT', decode(repeat('0a', 32), 'hex'), 'body');
  insert into ingest.hold values ('TENANT', 'hold', 'reason', '', decode(repeat('0a', 32), 'hex'), 1, 'token', NUMBER);
  insert into ingest.hold_message values ('TENANT', 'hold', decode(repeat('0a', 32), 'hex'));
  insert into ingest.shred (tenant, shred, cause, state, ordered_by, ordered_at, act_id)
    values ('TENANT', '00000000-0000-0000-0000-000000000001', 'expiry', 'shredding', 'token', 1, NUMBER);
  insert into ingest.shred_message
    values ('TENANT', '00000000-0000-0000-0000-000000000001', decode(repeat('0a', 32), 'hex'));
  insert into ingest.shred_observation values ('TENANT', 1, '00000000-0000-0000-0000-000000000001');
  insert into ingest.shred_blob values ('TENANT', '00000000-0000-0000-0000-000000000001', 1,
    decode(repeat('0a', 32), 'hex'), 'class');
  insert into ingest.suspension values ('TENANT', null, null);
  insert into storage.pack_deletion values ('00000000-0000-0000-0000-00000000000NUMBER', 'TENANT', 2);
  insert into ingest.quarantine_release values ('TENANT', 1, 1, NUMBER);
  insert into ingest.policy_set values ('TENANT', 1, sha256('body'), 'body', 1, NUMBER);
";

pub(crate) const TENANTS: [&str; 2] = ["acme", "other"];

pub(crate) fn tenant(name: &str) -> Tenant {
    name.parse().unwrap()
}

pub(crate) struct Cluster {
    /// The superuser's.
    pub(crate) admin: PgPool,
    pub(crate) database: TestDatabase,
}

impl Cluster {
    pub(crate) async fn empty() -> Self {
        let database = TestDatabase::start();
        let admin = PgPoolOptions::new().max_connections(8).connect(&database.url()).await.unwrap();
        Self { admin, database }
    }

    pub(crate) async fn migrated() -> Self {
        let cluster = Self::empty().await;
        openarchive_schema::migrate(&cluster.admin).await.unwrap();
        cluster
    }

    /// Migrated, with one row for each of [`TENANTS`] in every table.
    pub(crate) async fn with_rows() -> Self {
        let cluster = Self::migrated().await;
        cluster.insert_rows().await;
        for (number, tenant) in (1..).zip(TENANTS) {
            let rows = LATER_ROWS.replace("TENANT", tenant).replace("NUMBER", &format!("{number}"));
            cluster.sql(&rows).await;
        }
        cluster
    }

    pub(crate) async fn insert_rows(&self) {
        for (number, tenant) in (1..).zip(TENANTS) {
            let number = format!("{number}");
            let rows = ROWS.replace("TENANT", tenant).replace("NUMBER", &number).replace("LOG", &number);
            self.sql(&rows).await;
        }
    }

    pub(crate) async fn pool(&self, role: DatabaseRole) -> PgPool {
        let url = self.database.url_as(role.as_str());
        PgPoolOptions::new().max_connections(2).connect(&url).await.unwrap()
    }

    /// Runs statements that nobody but a test may run.
    pub(crate) async fn sql(&self, statements: &str) {
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&self.admin).await.unwrap();
    }
}

/// Every table of the services, as the database lists them.
pub(crate) async fn tables(admin: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p') and n.nspname in ('trust', 'storage', 'ingest', 'gateway', 'jobs') order by 1",
    )
    .fetch_all(admin)
    .await
    .unwrap()
}
