use std::sync::Arc;

use axum::{Json, extract::State};
use openarchive_proto::index::v1::{ExplainRequest, QueryNode, QueryNodeKind, TextForm, TextMeaning};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{present, search::check_query};
use crate::{
    backends::everything, caller::Caller, extract::JsonBody, gateway::Services, problem::Problem,
    refusal::Service,
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainBody {
    /// At most 4,096 bytes.
    #[schema(example = "\"annual report\"~3 size:>1mb -from:alice")]
    query: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplainAnswer {
    /// Of the query language.
    version: u32,
    /// The query as it was understood; means the same for ever.
    canonical_query: String,
    /// The tree: parents before their children, children in order.
    nodes: Vec<NodeAnswer>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeAnswer {
    /// 0 is the root; a node's children follow it, one deeper.
    depth: u32,
    /// all, text, date, size, has-attachment, not, and, or.
    kind: &'static str,
    /// Of a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<TextAnswer>,
    /// Of a date (YYYY-MM-DD) or size (bytes, as text: they may be more than a JSON number holds everywhere): the first
    /// of the range, itself included; absent if open.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<String>,
    /// The last of the range, itself included; absent if open.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TextAnswer {
    /// As it was written.
    written: String,
    /// Fields of a mail that are looked into.
    fields: Vec<String>,
    /// whole: side by side; prefix: side by side, the last one only a beginning; near: in any order.
    form: &'static str,
    /// Of near: most other words among those that are looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    distance: Option<u32>,
    /// After analysis.
    words: Vec<String>,
    /// Or one of these as a whole: addresses, domains (with their @), identifiers, names.
    whole: Vec<String>,
}

/// Say how a query is understood. Reads no mail and is not recorded.
#[utoipa::path(
    post,
    path = "/api/v1/search/explain/",
    operation_id = "explainQuery",
    tag = "mail",
    request_body = ExplainBody,
    responses((status = 200, description = "What the query means.", body = ExplainAnswer)),
)]
pub(crate) async fn explain(
    caller: Caller,
    State(services): State<Arc<Services>>,
    JsonBody(body): JsonBody<ExplainBody>,
) -> Result<Json<ExplainAnswer>, Problem> {
    check_query(&body.query)?;
    let request =
        ExplainRequest { scope: Some(everything()), tenant: caller.tenant.to_string(), query: body.query };
    let found = services.backends.index.clone().explain(caller.call(request)).await;
    let found = found.map_err(|status| Service::Index.refused(&status))?.into_inner();
    Ok(Json(ExplainAnswer {
        version: found.version,
        canonical_query: found.canonical_query,
        nodes: found.nodes.into_iter().map(node).collect(),
    }))
}

fn node(node: QueryNode) -> NodeAnswer {
    let kind = match node.kind() {
        QueryNodeKind::Unspecified => "unknown",
        QueryNodeKind::All => "all",
        QueryNodeKind::Text => "text",
        QueryNodeKind::Date => "date",
        QueryNodeKind::Size => "size",
        QueryNodeKind::HasAttachment => "has-attachment",
        QueryNodeKind::Not => "not",
        QueryNodeKind::And => "and",
        QueryNodeKind::Or => "or",
    };
    NodeAnswer {
        depth: node.depth,
        kind,
        text: node.text.map(text),
        first: present(node.first),
        last: present(node.last),
    }
}

fn text(meaning: TextMeaning) -> TextAnswer {
    let (form, distance) = match meaning.form() {
        TextForm::Unspecified => ("unknown", None),
        TextForm::Whole => ("whole", None),
        TextForm::Prefix => ("prefix", None),
        TextForm::Near => ("near", Some(meaning.distance)),
    };
    TextAnswer {
        written: meaning.text,
        fields: meaning.fields,
        form,
        distance,
        words: meaning.words,
        whole: meaning.whole,
    }
}
