//! Row-level security by tenant, on every table and for every role.

use openarchive_schema::{DatabaseRole, TenantScope, Transaction, begin};
use sqlx::{AssertSqlSafe, PgPool};

use crate::cluster::{Cluster, TENANTS, tables, tenant};

/// Which role reads which tables: written out by hand.
const READS: [(DatabaseRole, &[&str]); 5] = [
    (
        DatabaseRole::Ingest,
        &[
            "ingest.agent",
            "ingest.message",
            "ingest.message_part",
            "ingest.observation",
            "ingest.outbox",
            "ingest.participant",
        ],
    ),
    (DatabaseRole::Storage, &["storage.outbox", "storage.pack", "storage.pack_entry"]),
    (
        DatabaseRole::Trust,
        &["trust.checkpoint", "trust.leaf", "trust.log", "trust.node", "trust.wrapping_key"],
    ),
    (DatabaseRole::Gateway, &["gateway.audit_record"]),
    (DatabaseRole::Worker, &["jobs.job"]),
];

async fn count(tx: &mut Transaction, table: &str) -> i64 {
    let sql = format!("select count(*) from {table}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut **tx).await.unwrap()
}

async fn seen(pool: &PgPool, table: &str, scope: TenantScope<'_>) -> i64 {
    count(&mut begin(pool, scope).await.unwrap(), table).await
}

async fn readable(role: DatabaseRole, admin: &PgPool) -> Vec<String> {
    let mut readable = Vec::new();
    for table in tables(admin).await {
        let may = sqlx::query_scalar::<_, bool>("select has_table_privilege($1, $2, 'select')");
        if may.bind(role.as_str()).bind(&table).fetch_one(admin).await.unwrap() {
            readable.push(table);
        }
    }
    readable
}

#[tokio::test]
async fn a_role_sees_the_rows_of_its_scope_and_no_others() {
    let cluster = Cluster::with_rows().await;
    for (role, tables) in READS {
        let pool = cluster.pool(role).await;
        // The gateway answers people: whatever it says, it is never all tenants.
        let all = if role == DatabaseRole::Gateway { 0 } else { 2 };
        for table in tables {
            assert_eq!(seen(&pool, table, TenantScope::All).await, all, "{role} {table}");
            assert_eq!(seen(&pool, table, TenantScope::Archive).await, 0, "{role} {table}");
            for (name, rows) in [("stranger", 0), (TENANTS[0], 1), (TENANTS[1], 1)] {
                let scope = tenant(name);
                assert_eq!(seen(&pool, table, TenantScope::One(&scope)).await, rows, "{role} {table} {name}");
            }
        }
    }
}

#[tokio::test]
async fn a_query_that_forgets_its_tenant_finds_and_changes_nothing() {
    let cluster = Cluster::with_rows().await;
    for role in DatabaseRole::ALL {
        let pool = cluster.pool(role).await;
        let mut tx = pool.begin().await.unwrap();
        for table in readable(role, &cluster.admin).await {
            assert_eq!(count(&mut tx, &table).await, 0, "{role} {table}");
        }
    }
    let worker = cluster.pool(DatabaseRole::Worker).await;
    let deleted = sqlx::query!("delete from jobs.job").execute(&worker).await.unwrap();
    assert_eq!(deleted.rows_affected(), 0);
    let inserted =
        sqlx::query!("insert into jobs.job (kind, tenant, payload) values ('index', 'acme', '{}')")
            .execute(&worker)
            .await;
    assert!(inserted.unwrap_err().to_string().contains("row-level security"));
}

#[tokio::test]
async fn nobody_writes_rows_of_another_tenant() {
    let cluster = Cluster::with_rows().await;
    for (role, statement) in [
        (
            DatabaseRole::Ingest,
            "insert into ingest.message_part values ('other', '\\x0a', repeat('a', 32)::bytea, 1)",
        ),
        (
            DatabaseRole::Ingest,
            "insert into jobs.job (kind, tenant, payload) values ('index', 'other', '{}')",
        ),
        (
            DatabaseRole::Gateway,
            "insert into jobs.job (kind, tenant, payload) values ('index', 'other', '{}')",
        ),
        (
            DatabaseRole::Storage,
            "insert into storage.outbox (pack_id, idempotency_key, body)
           values ('00000000-0000-0000-0000-000000000002', 'key', 'body')",
        ),
        (DatabaseRole::Trust, "insert into trust.node values (2, 1, 1, repeat('a', 32)::bytea)"),
        (
            DatabaseRole::Trust,
            "insert into trust.leaf values (2, 1, 'b', repeat('a', 32)::bytea, repeat('a', 32)::bytea, 1)",
        ),
    ] {
        let pool = cluster.pool(role).await;
        let acme = tenant("acme");
        let mut tx = begin(&pool, TenantScope::One(&acme)).await.unwrap();
        let refused = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut *tx).await;
        assert!(refused.unwrap_err().to_string().contains("row-level security"), "{role}: {statement}");
    }
    // What is there already is not found, so nothing happens to it.
    let ingest = cluster.pool(DatabaseRole::Ingest).await;
    let acme = tenant("acme");
    let mut tx = begin(&ingest, TenantScope::One(&acme)).await.unwrap();
    let changed = sqlx::query!("update ingest.observation set leaf_index = 1 where tenant = 'other'");
    assert_eq!(changed.execute(&mut *tx).await.unwrap().rows_affected(), 0);
    let deleted = sqlx::query!("delete from ingest.outbox where tenant = 'other'");
    assert_eq!(deleted.execute(&mut *tx).await.unwrap().rows_affected(), 0);
}

#[tokio::test]
async fn the_index_of_a_leaf_is_written_once() {
    let cluster = Cluster::with_rows().await;
    for (role, table) in
        [(DatabaseRole::Ingest, "ingest.observation"), (DatabaseRole::Storage, "storage.pack")]
    {
        let pool = cluster.pool(role).await;
        let acme = tenant("acme");
        for (value, expected) in [("5", Some(1)), ("6", Some(0)), ("null", Some(0))] {
            let mut tx = begin(&pool, TenantScope::One(&acme)).await.unwrap();
            let sql = format!("update {table} set leaf_index = {value}");
            let changed = sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await.ok();
            assert_eq!(changed.map(|changed| changed.rows_affected()), expected, "{table} {value}");
            tx.commit().await.unwrap();
        }
    }
}

/// A table that somebody adds later and forgets to protect fails here.
#[tokio::test]
async fn every_table_is_under_forced_row_security_with_both_policies() {
    let cluster = Cluster::migrated().await;
    let unprotected: Vec<String> = sqlx::query_scalar(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
           and c.oid::regclass::text not in ('schema_version', '_sqlx_migrations')
           and not (c.relrowsecurity and c.relforcerowsecurity and exists (
               select from pg_policy p where p.polrelid = c.oid and p.polname = 'a_tenant' and p.polcmd = '*'
                 and pg_get_expr(p.polqual, p.polrelid) like '%openarchive.tenant%')
             and exists (
               select from pg_policy p where p.polrelid = c.oid and p.polname = 'all_tenants'
                 and p.polroles = array['openarchive_all_tenants'::regrole::oid])
             and not exists (
               select from pg_policy p where p.polrelid = c.oid and p.polpermissive
                 and p.polname not in ('a_tenant', 'all_tenants')))",
    )
    .fetch_all(&cluster.admin)
    .await
    .unwrap();
    assert_eq!(unprotected, Vec::<String>::new());
    assert!(tables(&cluster.admin).await.len() >= 17);
}

#[tokio::test]
async fn every_tenant_is_for_background_work_and_no_role_passes_row_security() {
    let cluster = Cluster::migrated().await;
    for role in DatabaseRole::ALL {
        let row: (bool, bool, bool, bool, bool) = sqlx::query_as(
            "select pg_has_role($1, 'openarchive_all_tenants', 'usage'), rolsuper, rolbypassrls, rolcreaterole, rolcreatedb
             from pg_roles where rolname = $1",
        )
        .bind(role.as_str())
        .fetch_one(&cluster.admin)
        .await
        .unwrap();
        assert_eq!(row, (role != DatabaseRole::Gateway, false, false, false, false), "{role}");
    }
}

#[tokio::test]
async fn a_token_is_found_by_its_digest_before_the_tenant_is_known() {
    let cluster = Cluster::with_rows().await;
    let gateway = cluster.pool(DatabaseRole::Gateway).await;
    let owner = async |byte: u8| {
        sqlx::query_as::<_, (String, String)>("select token_id, tenant from gateway.token_owner($1)")
            .bind([byte; 32].as_slice())
            .fetch_optional(&gateway)
            .await
            .unwrap()
    };
    assert_eq!(owner(1).await, Some(("token-1".to_owned(), "acme".to_owned())));
    assert_eq!(owner(2).await, Some(("token-2".to_owned(), "other".to_owned())));
    assert_eq!(owner(3).await, None);
    cluster.sql("update gateway.token set revoked_at = 1 where tenant = 'acme'").await;
    assert_eq!(owner(1).await, None);
}
