//! The definitions at the real API server: it accepts and refuses what `validate` does.

use kube::client::Body;
use openarchive_operator_api::{
    GROUP, VERSION,
    table::{Row, Verdict, rows},
};
use serde_json::Value;

use crate::support::{Site, site};

#[tokio::test]
async fn the_api_server_accepts_and_refuses_what_the_table_says() {
    let Some(site) = site("definitions").await else { return };
    let mut wrong = Vec::new();
    for row in rows() {
        let answer = submit(&site, &row).await;
        match (&row.verdict, answer) {
            (Verdict::Accepted, Ok(_)) => {}
            (Verdict::Accepted, Err(error)) => wrong.push(format!("{}: refused: {error}", row.name)),
            (Verdict::Refused { .. }, Ok(_)) => wrong.push(format!("{}: accepted", row.name)),
            (Verdict::Refused { path, message }, Err(text)) => {
                if !text.contains(path.as_str()) || !text.contains(message.as_str()) {
                    wrong.push(format!("{}: not at {path:?} with {message:?}, but: {text}", row.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows().len(), wrong.join("\n"));
}

/// Creates the object, or puts it in place of the old one, and removes it again. The bytes are the table's: typed objects would
/// lose unknown fields on the way.
async fn submit(site: &Site, row: &Row) -> Result<Value, String> {
    let name = row.object["metadata"]["name"].as_str().unwrap_or("none").to_owned();
    let all = format!("/apis/{GROUP}/{VERSION}/namespaces/{}/{}", site.namespace, row.kind.plural());
    let one = format!("{all}/{name}");
    let object = |value: &Value| {
        let mut value = value.clone();
        if value["metadata"].is_object() {
            value["metadata"]["namespace"] = site.namespace.clone().into();
        }
        value
    };
    let answer = match &row.old {
        None => send(site, "POST", &all, &object(&row.object)).await,
        Some(old) => {
            let stored = send(site, "POST", &all, &object(old)).await.unwrap();
            let mut new = object(&row.object);
            new["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"].clone();
            send(site, "PUT", &one, &new).await
        }
    };
    let _ = send(site, "DELETE", &one, &Value::Null).await;
    answer
}

async fn send(site: &Site, method: &str, path: &str, body: &Value) -> Result<Value, String> {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
    let request = http::Request::builder()
        .method(method)
        .uri(format!("{path}?fieldValidation=Strict"))
        .header("content-type", "application/json")
        .body(Body::from(body))
        .unwrap();
    let answer = site.admin.send(request).await.map_err(|error| error.to_string())?;
    let is_good = answer.status().is_success();
    let text = answer.into_body().collect_bytes().await.map_err(|error| error.to_string())?;
    let value: Value = serde_json::from_slice(&text).unwrap();
    if is_good { Ok(value) } else { Err(value["message"].as_str().unwrap_or_default().to_owned()) }
}
