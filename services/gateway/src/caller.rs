//! Who calls: taken from the bearer token (RFC 6750), and from nowhere else.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use openarchive_domain::{Digest, Tenant};

use crate::{
    gateway::Services,
    problem::{Kind, Problem},
    refusal,
    request_id::{self, RequestId},
};

/// First characters of every token; 43 characters of base64url follow.
pub const TOKEN_PREFIX: &str = "oa_";
/// Base64url characters of 32 bytes.
const SECRET_CHARACTERS: usize = 43;

/// A known token's owner, and the request it came with. Whatever reads mail takes one, so nothing can forget to ask.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) tenant: Tenant,
    pub(crate) token_id: String,
    pub(crate) request: RequestId,
}

impl FromRequestParts<Arc<Services>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, services: &Arc<Services>) -> Result<Self, Problem> {
        let unauthorized = || {
            Problem::new(
                Kind::Unauthorized,
                "send the header `Authorization: Bearer <token>` with a valid token",
            )
        };
        let token = bearer(&parts.headers).ok_or_else(unauthorized)?;
        let digest = Digest::of(token.as_bytes());
        // The tenant is what is asked for, so there is no scope yet: a function of the database looks for us.
        let row = sqlx::query!(
            r#"select token_id as "token_id!", tenant as "tenant!" from gateway.token_owner($1)"#,
            digest.as_bytes().as_slice()
        )
        .fetch_optional(&services.pool)
        .await
        .map_err(|error| refusal::database(&error))?
        .ok_or_else(unauthorized)?;
        let tenant = row.tenant.parse().map_err(|_| {
            tracing::error!(token = row.token_id, "a token's tenant is no tenant's name");
            Problem::new(Kind::Internal, "this token's row is damaged: issue another token")
        })?;
        Ok(Self { tenant, token_id: row.token_id, request: request_id::of_extensions(&parts.extensions) })
    }
}

/// The token, if there is exactly one and it has the form of one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let secret = token.strip_prefix(TOKEN_PREFIX)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let formed = scheme.eq_ignore_ascii_case("bearer")
        && secret.len() == SECRET_CHARACTERS
        && secret.bytes().all(plain);
    formed.then_some(token)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_bearer_token_is_taken_only_in_its_exact_form_and_once() {
        let secret = "a".repeat(SECRET_CHARACTERS);
        let check = |values: &[String], found: bool| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(bearer(&headers).is_some(), found, "{values:?}");
        };
        let good = format!("Bearer oa_{secret}");
        check(std::slice::from_ref(&good), true);
        check(&[format!("bearer oa_{secret}")], true);
        check(&[], false);
        check(&[good.clone(), good], false);
        check(&[format!("Bearer oa_{secret}a")], false);
        check(&[format!("Bearer oa_{}", &secret[1..])], false);
        check(&[format!("Bearer {secret}xxx")], false);
        check(&[format!("Basic oa_{secret}")], false);
        check(&[format!("Bearer oa_{}/", &secret[1..])], false);
        check(&[format!("oa_{secret}")], false);
    }
}
