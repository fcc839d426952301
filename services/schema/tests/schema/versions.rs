use openarchive_schema::{DatabaseRole, SchemaError, VERSION, check, migrate, migrations};
use sqlx::PgPool;

use crate::cluster::Cluster;

async fn set(pool: &PgPool, version: i32, oldest_compatible: i32) {
    sqlx::query!(
        "update public.schema_version set version = $1, oldest_compatible = $2",
        version,
        oldest_compatible
    )
    .execute(pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn migration_is_idempotent_and_a_foreign_version_is_refused() {
    let cluster = Cluster::empty().await;
    let pool = &cluster.admin;
    assert!(matches!(check(pool).await, Err(SchemaError::Read(_))));
    migrate(pool).await.unwrap();
    migrate(pool).await.unwrap();
    set(pool, VERSION - 1, VERSION - 1).await;
    assert!(matches!(check(pool).await, Err(SchemaError::TooOld { .. })));
    // A newer schema that still serves older binaries is accepted: that is what makes a rollback work.
    set(pool, VERSION + 1, VERSION).await;
    check(pool).await.unwrap();
    set(pool, VERSION + 2, VERSION + 1).await;
    assert!(matches!(check(pool).await, Err(SchemaError::TooNew { .. })));
}

#[tokio::test]
async fn every_role_may_ask_for_the_version() {
    let cluster = Cluster::migrated().await;
    for role in DatabaseRole::ALL {
        check(&cluster.pool(role).await).await.unwrap();
    }
}

#[tokio::test]
async fn after_a_rollback_the_older_binary_passes_over_migrations_that_it_does_not_know() {
    let cluster = Cluster::migrated().await;
    cluster
        .sql(
            "insert into public._sqlx_migrations (version, description, success, checksum, execution_time)
             values (9999, 'of a newer binary', true, 'x', 1)",
        )
        .await;
    set(&cluster.admin, 9999, VERSION).await;
    migrate(&cluster.admin).await.unwrap();
    set(&cluster.admin, 9999, 9999).await;
    assert!(matches!(migrate(&cluster.admin).await, Err(SchemaError::TooNew { .. })));
}

#[tokio::test]
async fn the_version_is_the_number_of_the_last_migration_and_stands_in_the_database() {
    let last = migrations().iter().map(|migration| migration.version).max();
    assert_eq!(last, Some(i64::from(VERSION)));
    let cluster = Cluster::migrated().await;
    let row = sqlx::query!("select version, oldest_compatible from public.schema_version");
    let row = row.fetch_one(&cluster.admin).await.unwrap();
    assert_eq!(row.version, VERSION);
    assert!(row.oldest_compatible <= VERSION);
}
