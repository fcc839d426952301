//! The schema's owner as a site has it: no superuser, but the database's owner, who may make roles.

use openarchive_schema::{DatabaseRole, TenantScope, begin, migrate, set_role_password};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::cluster::{Cluster, TENANTS, tenant};

async fn pool(cluster: &Cluster, role: &str) -> PgPool {
    let options: PgConnectOptions = cluster.database.url_as(role).parse().unwrap();
    PgPoolOptions::new().max_connections(2).connect_with(options.database("archive")).await.unwrap()
}

#[tokio::test]
async fn an_owner_who_is_no_superuser_migrates_and_is_bound_by_row_security_too() {
    let cluster = Cluster::empty().await;
    cluster.sql("create role openarchive_migrate login createrole").await;
    cluster.sql("create database archive owner openarchive_migrate").await;
    let owner = pool(&cluster, "openarchive_migrate").await;
    migrate(&owner).await.unwrap();
    migrate(&owner).await.unwrap();
    for role in DatabaseRole::ALL {
        set_role_password(&owner, role, "a-password-of-some-length").await.unwrap();
    }
    for (number, name) in (1u8..).zip(TENANTS) {
        let (tenant, digest) = (tenant(name), [number; 32]);
        let mut tx = begin(&owner, TenantScope::One(&tenant)).await.unwrap();
        sqlx::query!(
            "insert into gateway.token values ($1, $2, $3, 1, null)",
            format!("token-{number}"),
            name,
            digest.as_slice()
        )
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }
    let tokens = || sqlx::query_scalar!(r#"select count(*) as "count!" from gateway.token"#);
    assert_eq!(tokens().fetch_one(&owner).await.unwrap(), 0, "the owner forgot whose tokens it looks for");
    let mut tx = begin(&owner, TenantScope::All).await.unwrap();
    assert_eq!(tokens().fetch_one(&mut *tx).await.unwrap(), 2);
    drop(tx);
    // The function that looks a token up works with this owner's rights.
    let gateway = pool(&cluster, DatabaseRole::Gateway.as_str()).await;
    let digest = [2u8; 32];
    let found =
        sqlx::query_scalar!(r#"select tenant as "tenant!" from gateway.token_owner($1)"#, digest.as_slice());
    assert_eq!(found.fetch_optional(&gateway).await.unwrap().as_deref(), Some(TENANTS[1]));
}
