use openarchive_schema::{TenantScope, VERSION, run_tx};

use crate::cluster::Cluster;

#[tokio::test]
async fn a_transaction_that_conflicts_runs_again_and_then_commits() {
    let cluster = Cluster::migrated().await;
    let pool = &cluster.admin;
    let increments = (0..8).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move {
            run_tx(&pool, "increment", TenantScope::All, |tx| {
                Box::pin(async move {
                    sqlx::query!("set transaction isolation level serializable").execute(&mut **tx).await?;
                    let row = sqlx::query!("select version from public.schema_version")
                        .fetch_one(&mut **tx)
                        .await?;
                    sqlx::query!("update public.schema_version set version = $1", row.version + 1)
                        .execute(&mut **tx)
                        .await?;
                    Ok(())
                })
            })
            .await
        })
    });
    let mut committed = 0;
    for task in increments.collect::<Vec<_>>() {
        committed += i32::from(task.await.unwrap().is_ok());
    }
    let row = sqlx::query!("select version from public.schema_version").fetch_one(pool).await.unwrap();
    assert_eq!(row.version, VERSION + committed);
    assert!(committed > 0);
}

#[tokio::test]
async fn a_scope_ends_with_its_transaction() {
    let cluster = Cluster::migrated().await;
    // One connection: the next transaction takes over whatever the last one left behind.
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1);
    let pool = pool.connect(&cluster.database.url()).await.unwrap();
    let setting = || {
        let pool = pool.clone();
        async move {
            let sql = "select coalesce(current_setting('openarchive.tenant', true), '')";
            sqlx::query_scalar::<_, String>(sql).fetch_one(&pool).await.unwrap()
        }
    };
    let tenant = crate::cluster::tenant("acme");
    drop(openarchive_schema::begin(&pool, TenantScope::One(&tenant)).await.unwrap());
    assert_eq!(setting().await, "");
    openarchive_schema::begin(&pool, TenantScope::All).await.unwrap().commit().await.unwrap();
    assert_eq!(setting().await, "");
}
