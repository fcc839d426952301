//! API tokens: shown once, kept as their SHA-256.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openarchive_domain::{Clock, Digest, Tenant, Timestamp, random};
use openarchive_schema::{TenantScope, Transaction, TransactionError, begin, run_tx};
use sqlx::PgPool;

use crate::caller::TOKEN_PREFIX;

/// Serialises the making of first tokens, so that two starts at once make one.
const FIRST_TOKEN_LOCK: i64 = 0x6f61_2074_6f6b_656e; // "oa token"

/// A token that was just made. The text cannot be had again.
struct NewToken {
    text: String,
    /// Stands in audit leaves: neither a secret nor a person.
    id: String,
}

impl NewToken {
    fn of(secret: [u8; 32], id: [u8; 8]) -> Self {
        let id: u64 = u64::from_be_bytes(id);
        Self {
            text: format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(secret)),
            id: format!("token-{id:016x}"),
        }
    }
}

async fn insert(
    tx: &mut Transaction,
    token: &NewToken,
    tenant: &Tenant,
    now: i64,
) -> Result<(), sqlx::Error> {
    let digest = Digest::of(token.text.as_bytes());
    sqlx::query!(
        "insert into gateway.token (token_id, tenant, sha256, created_at) values ($1, $2, $3, $4)",
        token.id,
        tenant.as_str(),
        digest.as_bytes().as_slice(),
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// See [`crate::Gateway::issue_token`].
pub(crate) async fn issue(
    pool: &PgPool,
    tenant: &Tenant,
    clock: &dyn Clock,
) -> Result<String, TransactionError> {
    let (secret, id, now) = (random::bytes(), random::bytes(), clock.now().as_millis());
    run_tx(pool, "issue a token", TenantScope::One(tenant), move |tx| {
        let (token, tenant) = (NewToken::of(secret, id), tenant.clone());
        Box::pin(async move {
            insert(tx, &token, &tenant, now).await?;
            Ok(token.text)
        })
    })
    .await
}

/// See [`crate::Gateway::ensure_first_token`].
pub(crate) async fn ensure_first(
    pool: &PgPool,
    tenant: &Tenant,
    clock: &dyn Clock,
) -> Result<Option<String>, TransactionError> {
    let (secret, id, now) = (random::bytes(), random::bytes(), clock.now().as_millis());
    run_tx(pool, "first token", TenantScope::One(tenant), move |tx| {
        let (token, tenant) = (NewToken::of(secret, id), tenant.clone());
        Box::pin(async move {
            sqlx::query!("select pg_advisory_xact_lock($1)", FIRST_TOKEN_LOCK).execute(&mut **tx).await?;
            let known = sqlx::query_scalar!(
                r#"select exists (select from gateway.token where tenant = $1) as "known!""#,
                tenant.as_str()
            )
            .fetch_one(&mut **tx)
            .await?;
            if known {
                return Ok(None);
            }
            insert(tx, &token, &tenant, now).await?;
            Ok(Some(token.text))
        })
    })
    .await
}

/// A token as its owner's administrator may know it: never its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSummary {
    pub id: String,
    pub created_at: Timestamp,
    /// `None`: still good.
    pub revoked_at: Option<Timestamp>,
}

/// See [`crate::Gateway::list_tokens`].
pub(crate) async fn list(pool: &PgPool, tenant: &Tenant) -> Result<Vec<TokenSummary>, sqlx::Error> {
    let mut tx = begin(pool, TenantScope::One(tenant)).await?;
    let rows = sqlx::query!(
        "select token_id, created_at, revoked_at from gateway.token where tenant = $1 order by created_at, token_id",
        tenant.as_str()
    )
    .fetch_all(&mut *tx)
    .await?;
    let summary = |token_id, created_at, revoked_at: Option<i64>| TokenSummary {
        id: token_id,
        created_at: Timestamp::from_millis(created_at),
        revoked_at: revoked_at.map(Timestamp::from_millis),
    };
    Ok(rows.into_iter().map(|row| summary(row.token_id, row.created_at, row.revoked_at)).collect())
}

/// See [`crate::Gateway::revoke_token`].
pub(crate) async fn revoke(
    pool: &PgPool,
    tenant: &Tenant,
    id: &str,
    clock: &dyn Clock,
) -> Result<bool, TransactionError> {
    let now = clock.now().as_millis();
    run_tx(pool, "revoke a token", TenantScope::One(tenant), move |tx| {
        let (tenant, id) = (tenant.clone(), id.to_owned());
        Box::pin(async move {
            // The first revocation's time stays.
            let revoked = sqlx::query!(
                "update gateway.token set revoked_at = coalesce(revoked_at, $3) where tenant = $1 and token_id = $2",
                tenant.as_str(),
                id,
                now
            )
            .execute(&mut **tx)
            .await?;
            Ok(revoked.rows_affected() == 1)
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_oa_and_43_base64url_characters() {
        let token = NewToken::of([0xff; 32], [1; 8]);
        assert_eq!(token.text, "oa___________________________________________8");
        assert_eq!(token.text.len(), TOKEN_PREFIX.len() + 43);
        assert_eq!(token.id, "token-0101010101010101");
    }
}
