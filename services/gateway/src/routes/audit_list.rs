use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use openarchive_ledger::{
    commitment::{Field, Salt},
    origin::LogId,
};
use openarchive_proto::trust::v1::{Leaf, ListLeavesRequest, ListLeavesResponse};
use openarchive_schema::{TenantScope, begin};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tonic::Code;
use utoipa::{IntoParams, ToSchema};

use crate::{
    audit::Action, caller::Caller, extract::Parameters, gateway::Services, problem::Problem, refusal,
    refusal::Service,
};

/// Most leaves of one answer.
pub const AUDIT_LEAVES_MAX: u32 = 1_000;
/// Leaves of an answer if the caller does not say.
pub const AUDIT_LEAVES_DEFAULT: u32 = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// Leaves after this index; the newest ones if absent.
    after: Option<u64>,
    /// 1 to 1,000; 100 if absent.
    limit: Option<u32>,
    /// Whether to show what the leaves were about, which the log itself does not say: queries, ids of mail.
    #[serde(default)]
    objects: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditAnswer {
    /// Leaves in the whole log.
    size: u64,
    /// Newest last. Without the leaf of this very request.
    leaves: Vec<AuditEntry>,
}

/// A leaf, in parts and as it is hashed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEntry {
    index: u64,
    kind: Option<String>,
    /// By the sequencer's clock.
    time: Option<String>,
    action: Option<String>,
    /// Id of a token.
    actor: Option<String>,
    /// Id of the request.
    request: Option<String>,
    /// What the leaf's commitment opens to: a query, a message's id, what was asked for. Only if objects are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    /// Opens the commitment together with the object's bytes: HMAC-SHA-256(key, object). Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    object_key: Option<String>,
    /// The whole leaf; in its canonical form (RFC 8785) it is what is hashed. No personal data.
    #[schema(value_type = Object)]
    leaf: Value,
}

/// List who read what.
#[utoipa::path(
    get,
    path = "/api/v1/audit/",
    operation_id = "listAuditLeaves",
    tag = "evidence",
    params(Asked),
    responses((status = 200, description = "Leaves of the tenant's audit log.", body = AuditAnswer)),
)]
pub(crate) async fn list(
    caller: Caller,
    Parameters(asked): Parameters<Asked>,
    State(services): State<Arc<Services>>,
) -> Result<Json<AuditAnswer>, Problem> {
    let limit = asked.limit.unwrap_or(AUDIT_LEAVES_DEFAULT);
    if limit == 0 || limit > AUDIT_LEAVES_MAX {
        return Err(Problem::invalid(format!("limit must be from 1 to {AUDIT_LEAVES_MAX}")));
    }
    let after = asked.after.map_or_else(|| "newest".to_owned(), |index| index.to_string());
    let object = format!("after={after} limit={limit} objects={}", asked.objects);
    let read = async {
        let found = leaves(&caller, &services, asked.after, limit).await?;
        let openings =
            if asked.objects { openings(&caller, &services, &found.leaves).await? } else { Openings::new() };
        let entries = found.leaves.iter().map(|leaf| entry(leaf, &openings)).collect();
        Ok(AuditAnswer { size: found.size, leaves: entries })
    };
    services.audited_after(&caller, Action::AuditList, &object, read).await.map(Json)
}

async fn leaves(
    caller: &Caller,
    services: &Services,
    after: Option<u64>,
    limit: u32,
) -> Result<ListLeavesResponse, Problem> {
    let list = async |start, limit| {
        let request = ListLeavesRequest { log: Some(caller.log(LogId::AUDIT)), start, limit };
        match services.backends.trust.clone().list_leaves(caller.call(request)).await {
            Ok(answer) => Ok(answer.into_inner()),
            // The log begins with its first leaf.
            Err(status) if status.code() == Code::NotFound => Ok(ListLeavesResponse::default()),
            Err(status) => Err(Service::Trust.refused(&status)),
        }
    };
    let start = match after {
        Some(after) => after.saturating_add(1),
        None => list(u64::MAX, 1).await?.size.saturating_sub(limit.into()),
    };
    list(start, limit).await
}

/// What opens a leaf's commitment, by its index.
type Openings = BTreeMap<u64, (String, Salt)>;

async fn openings(caller: &Caller, services: &Services, leaves: &[Leaf]) -> Result<Openings, Problem> {
    let requests: Vec<String> = leaves.iter().filter_map(|leaf| text(&parse(leaf), "request")).collect();
    let database = |error| refusal::database(&error);
    let mut tx = begin(&services.pool, TenantScope::One(&caller.tenant)).await.map_err(database)?;
    // By request id, which the table is keyed with.
    let rows = sqlx::query!(
        "select leaf_index, object, salt from gateway.audit_record where tenant = $1 and request = any($2)",
        caller.tenant.as_str(),
        &requests
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(database)?;
    let opening = |salt: Vec<u8>| salt.try_into().map(Salt::new).ok();
    let rows = rows
        .into_iter()
        .filter_map(|row| Some((row.leaf_index.cast_unsigned(), (row.object, opening(row.salt)?))));
    Ok(rows.collect())
}

fn parse(leaf: &Leaf) -> Value {
    serde_json::from_slice(&leaf.body).unwrap_or_default()
}

fn text(leaf: &Value, field: &str) -> Option<String> {
    leaf.get(field).and_then(Value::as_str).map(str::to_owned)
}

fn entry(leaf: &Leaf, openings: &Openings) -> AuditEntry {
    let parsed = parse(leaf);
    let committed = text(&parsed, "object");
    // Only what opens the leaf is shown as its object.
    let opened = openings.get(&leaf.index).and_then(|(object, salt)| {
        let (commitment, opening) = salt.commit(Field::Object, object.as_bytes().to_vec());
        (Some(commitment.to_string()) == committed)
            .then(|| (object.clone(), STANDARD.encode(opening.key.as_bytes())))
    });
    let (object, object_key) = opened.unzip();
    AuditEntry {
        index: leaf.index,
        kind: text(&parsed, "kind"),
        time: text(&parsed, "time"),
        action: text(&parsed, "action"),
        actor: text(&parsed, "actor"),
        request: text(&parsed, "request"),
        object,
        object_key,
        leaf: parsed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_shown_only_if_it_opens_the_leaf() {
        let salt = Salt::new([3; 32]);
        let (commitment, opening) = salt.commit(Field::Object, b"subject:x".to_vec());
        let body =
            serde_json::json!({ "action": "search", "kind": "audit", "object": commitment.to_string() });
        let leaf = || Leaf { index: 4, body: body.to_string().into_bytes().into() };
        let shown =
            |index, object: &str| entry(&leaf(), &Openings::from([(index, (object.to_owned(), salt))]));
        let genuine = shown(4, "subject:x");
        assert_eq!(genuine.object.as_deref(), Some("subject:x"));
        assert_eq!(genuine.object_key, Some(STANDARD.encode(opening.key.as_bytes())));
        assert_eq!((genuine.action.as_deref(), &genuine.leaf), (Some("search"), &body));
        for hidden in [shown(4, "subject:y"), shown(5, "subject:x")] {
            assert_eq!((hidden.object, hidden.object_key), (None, None));
        }
    }
}
