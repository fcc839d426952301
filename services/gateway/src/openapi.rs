//! The OpenAPI 3.1 document: made from the routes themselves, committed as `docs/openapi.json`, proven fresh by a test.

use std::sync::Arc;

use axum::{Router, http::header, response::IntoResponse, routing};
use utoipa::{
    Modify, OpenApi, PartialSchema, ToSchema,
    openapi::{
        ContentBuilder, HeaderBuilder, Ref, Response, ResponseBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{
    gateway::Services,
    problem::{PROBLEM_MEDIA_TYPE, ProblemDocument},
    routes,
};

/// What the routes do not say themselves.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "OpenArchive",
        description = "Search, read and prove archived mail; hold it, shred it, let it expire. Every read is recorded \
                       in the tenant's audit log before it is answered, every act before it is done; a request id names \
                       one request and cannot be used for another.",
    ),
    components(schemas(ProblemDocument)),
    security(("token" = [])),
    modifiers(&Token),
)]
pub(crate) struct Document;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API token, `oa_` and 43 characters; it decides the tenant."))
            .build();
        let components = document.components.get_or_insert_default();
        components.security_schemes.insert("token".to_owned(), SecurityScheme::Http(scheme).into());
    }
}

/// What can go wrong at every route that needs a token: status, name in the document, description.
const COMMON_PROBLEMS: [(&str, &str, &str); 5] = [
    ("400", "Invalid", "The request is not valid."),
    ("401", "Unauthorized", "No valid token."),
    (
        "409",
        "Conflict",
        "The request id was used before; or the index was rebuilt since the cursor was made; or several observations \
         match; or a hold, a shred or the retention stands against it (the problem's type says which).",
    ),
    ("500", "Failed", "The archive failed, or found damage."),
    ("503", "Unavailable", "A part of the archive does not answer, or the read could not be recorded."),
];

fn problem(description: &str) -> Response {
    let id =
        HeaderBuilder::new().schema(Some(String::schema())).description(Some("Names the request.")).build();
    ResponseBuilder::new()
        .description(description)
        .header("X-Request-Id", id)
        .content(
            PROBLEM_MEDIA_TYPE,
            ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemDocument::name()))).build(),
        )
        .build()
}

fn document() -> utoipa::openapi::OpenApi {
    let (_, mut document) = routes::all().split_for_parts();
    let components = document.components.get_or_insert_default();
    for (_, name, description) in COMMON_PROBLEMS {
        components.responses.insert(name.to_owned(), problem(description).into());
    }
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            // An operation with its own security is open to everybody.
            if operation.security.is_none() {
                let known = &mut operation.responses.responses;
                for (status, name, _) in COMMON_PROBLEMS {
                    known.entry(status.to_owned()).or_insert_with(|| Ref::from_response_name(name).into());
                }
            }
        }
    }
    document
}

/// The document as it is committed and served: pretty JSON with a final line break.
pub fn openapi_document() -> String {
    let mut text = document().to_pretty_json().expect("the document is plain strings and numbers");
    text.push('\n');
    text
}

/// `GET /api/v1/openapi.json`.
pub(crate) fn route() -> Router<Arc<Services>> {
    let text: Arc<str> = openapi_document().into();
    let answer =
        async move || ([(header::CONTENT_TYPE, "application/json")], text.to_string()).into_response();
    Router::new().route("/api/v1/openapi.json", routing::get(answer))
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    #[test]
    fn the_committed_document_is_the_one_that_the_routes_make() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
        let made = openapi_document();
        if env::var_os("OPENARCHIVE_WRITE_GENERATED").is_some() {
            fs::write(&path, &made).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(made == committed, "{} is stale: run `make gen`", path.display());
    }

    #[test]
    fn every_operation_has_its_own_name_and_says_what_goes_wrong_and_only_health_is_open() {
        let document: serde_json::Value = serde_json::from_str(&openapi_document()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let (mut open, mut names) = (Vec::new(), Vec::new());
        for (path, item) in document["paths"].as_object().unwrap() {
            assert!(path.starts_with("/api/v1/"), "{path}");
            for operation in item.as_object().unwrap().values() {
                names.push(operation["operationId"].as_str().unwrap());
                if operation["security"].is_array() {
                    open.push(path.as_str());
                } else {
                    assert_eq!(operation["responses"]["401"]["$ref"], "#/components/responses/Unauthorized");
                    assert_eq!(operation["responses"]["503"]["$ref"], "#/components/responses/Unavailable");
                }
            }
        }
        assert_eq!(open, ["/api/v1/health"]);
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        let problem = &document["components"]["responses"]["Unavailable"]["content"][PROBLEM_MEDIA_TYPE];
        assert_eq!(problem["schema"]["$ref"], "#/components/schemas/Problem");
    }
}
