//! A database that version 1 made and filled, brought up to date.

use openarchive_schema::{DatabaseRole, TenantScope, begin, check, migrate, migrations};
use sqlx::migrate::Migrator;

use crate::cluster::{Cluster, TENANTS, tables, tenant};

async fn version_1() -> Cluster {
    let cluster = Cluster::empty().await;
    let first = migrations().iter().filter(|migration| migration.version == 1).cloned().collect();
    Migrator::with_migrations(first).run(&cluster.admin).await.unwrap();
    cluster.insert_rows().await;
    cluster
}

/// Every row of every table, as text.
async fn rows(cluster: &Cluster, tables: &[String]) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    for table in tables {
        let sql = format!("select r::text from {table} r order by 1");
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&cluster.admin).await.unwrap();
        all.push((table.clone(), rows));
    }
    all
}

#[tokio::test]
async fn a_database_of_version_1_keeps_its_rows_and_serves_the_roles() {
    let cluster = version_1().await;
    let before = tables(&cluster.admin).await;
    let counts = |rows: Vec<(String, Vec<String>)>| {
        rows.into_iter().map(|(table, rows)| (table, rows.len())).collect::<Vec<_>>()
    };
    let kept = counts(rows(&cluster, &before).await);
    assert!(kept.iter().all(|(_, rows)| *rows == 2), "{kept:?}");
    migrate(&cluster.admin).await.unwrap();
    assert_eq!(counts(rows(&cluster, &before).await), kept);

    // A service of this version finds the old rows, in their tenant's scope, and goes on from them.
    let ingest = cluster.pool(DatabaseRole::Ingest).await;
    check(&ingest).await.unwrap();
    for name in TENANTS {
        let tenant = tenant(name);
        let mut tx = begin(&ingest, TenantScope::One(&tenant)).await.unwrap();
        let settled = sqlx::query!("update ingest.observation set leaf_index = 7 where seq = 1");
        assert_eq!(settled.execute(&mut *tx).await.unwrap().rows_affected(), 1);
        sqlx::query!("delete from ingest.outbox").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }
    let trust = cluster.pool(DatabaseRole::Trust).await;
    let mut tx = begin(&trust, TenantScope::All).await.unwrap();
    let next = sqlx::query!("update trust.log set next_index = 2 where next_index = 1");
    assert_eq!(next.execute(&mut *tx).await.unwrap().rows_affected(), 2);
}

/// The rows of version 1 are inserted by its statements, by the superuser and without a scope: as its binary works,
/// when somebody goes back to it.
#[tokio::test]
async fn version_1_works_on_after_a_rollback() {
    let cluster = Cluster::migrated().await;
    cluster.insert_rows().await;
    let oldest = sqlx::query_scalar!("select oldest_compatible from public.schema_version");
    assert_eq!(oldest.fetch_one(&cluster.admin).await.unwrap(), 1);
    let seen = sqlx::query_scalar!(r#"select count(*) as "count!" from ingest.observation"#);
    assert_eq!(seen.fetch_one(&cluster.admin).await.unwrap(), 2);
}

#[tokio::test]
async fn databases_of_one_cluster_may_be_migrated_at_once() {
    let cluster = Cluster::empty().await;
    let mut migrated = Vec::new();
    for number in 0..4 {
        cluster.sql(&format!("create database db{number}")).await;
        let options = (*cluster.admin.connect_options()).clone().database(&format!("db{number}"));
        migrated.push(tokio::spawn(async move {
            let pool = sqlx::PgPool::connect_with(options).await.unwrap();
            migrate(&pool).await
        }));
    }
    for task in migrated {
        task.await.unwrap().unwrap();
    }
}
