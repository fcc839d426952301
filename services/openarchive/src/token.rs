//! `openarchive token`: API tokens, made and revoked with the database's own credentials. No service can do either.

use std::path::Path;

use anyhow::bail;
use openarchive_domain::{SystemClock, Tenant};
use openarchive_gateway::Gateway;

use crate::migrate::admin;

/// Prints the token, and nothing else: it cannot be had again.
pub(crate) async fn issue(config: &Path, tenant: &Tenant) -> anyhow::Result<()> {
    let (_, pool) = admin(config).await?;
    println!("{}", Gateway::issue_token(&pool, tenant, &SystemClock).await?);
    pool.close().await;
    Ok(())
}

/// One line a token: its id, when it was made, and whether it is still good.
pub(crate) async fn list(config: &Path, tenant: &Tenant) -> anyhow::Result<()> {
    let (_, pool) = admin(config).await?;
    for token in Gateway::list_tokens(&pool, tenant).await? {
        let state = token.revoked_at.map_or_else(|| "good".to_owned(), |at| format!("revoked {at}"));
        println!("{}  made {}  {state}", token.id, token.created_at);
    }
    pool.close().await;
    Ok(())
}

/// From the next request on the token is refused. Revoking it again changes nothing.
pub(crate) async fn revoke(config: &Path, tenant: &Tenant, id: &str) -> anyhow::Result<()> {
    let (_, pool) = admin(config).await?;
    let known = Gateway::revoke_token(&pool, tenant, id, &SystemClock).await?;
    pool.close().await;
    if !known {
        bail!("tenant {tenant} has no token {id}: `openarchive token list` shows them");
    }
    println!("token {id} is revoked");
    Ok(())
}
