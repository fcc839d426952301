//! `openarchive migrate`: brings the database to this version, and gives the login roles their passwords.

use std::path::Path;

use anyhow::Context;
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::config::{self, Environment, MigrationConfig};

pub(crate) async fn run(path: &Path) -> anyhow::Result<()> {
    let (config, pool) = admin(path).await?;
    openarchive_schema::migrate(&pool).await?;
    for (role, password) in &config.passwords {
        openarchive_schema::set_role_password(&pool, *role, password.as_str()).await?;
    }
    println!(
        "the database has schema version {}; passwords set for {} login roles",
        openarchive_schema::VERSION,
        config.passwords.len()
    );
    pool.close().await;
    Ok(())
}

/// The database as its owner: for what no service may do.
pub(crate) async fn admin(path: &Path) -> anyhow::Result<(MigrationConfig, PgPool)> {
    let config = config::load_migration(path, &Environment::of_process())?;
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .connect(config.admin.as_str())
        .await
        .context("cannot connect to the database of `database.urlFile`")?;
    Ok((config, pool))
}
