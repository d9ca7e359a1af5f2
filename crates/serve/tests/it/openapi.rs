//! The OpenAPI document: complete, and nothing in it that is not there.

use std::fs;

use serde_json::Value;

use super::fake::Fixture;
use super::http::send;

/// What `/api/v1` must have, by method.
const GET: &str = "openapi.json health/live health/ready metrics project dashboards views/{name} \
    live live/{view} sources topics topics/{topic}/records streams tables sinks views quarantine late ledger gaps \
    layer_diff jobs runs runs/{run}/logs runs/{run}/tasks/{task}/logs tasks models versions evaluations alerts \
    graph audit";
const POST: &str = "sql jobs/{job}/runs jobs/{job}/backfills jobs/{job}/pause jobs/{job}/resume \
    runs/{run}/cancel runs/{run}/retry runs/{run}/mark streams/{stream}/pause \
    streams/{stream}/resume tables/{table}/compact tables/{table}/vacuum \
    models/{model}/train models/{model}/evaluate models/{model}/promote models/{model}/rollback \
    sources/{source}/pause sources/{source}/resume sources/{source}/records sinks/{sink}/adopt sinks/{sink}/reset";

#[tokio::test]
async fn the_document_and_the_routes_are_the_same() {
    let fixture = Fixture::start().await;
    let document = fixture.get("/api/v1/openapi.json").await.json();
    let mut documented = operations(&document);
    documented.sort();
    let of_api = |method: &'static str, names: &'static str| {
        names.split_whitespace().map(move |name| format!("{method} /api/v1/{name}"))
    };
    let mut expected: Vec<String> = of_api("GET", GET).chain(of_api("POST", POST)).collect();
    expected.extend(["GET /login", "POST /login", "POST /logout"].map(str::to_owned));
    expected.sort();
    assert_eq!(documented, expected);

    for operation in documented {
        let (method, path) = operation.split_once(' ').unwrap();
        let path: Vec<&str> = path
            .split('/')
            .map(|segment| if segment.starts_with('{') { "x" } else { segment })
            .collect();
        let path = path.join("/");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}",
            fixture.token
        );
        let answer = send(fixture.address(), &head, b"").await;
        assert_ne!(answer.status, 405, "{operation}");
        let unknown = format!("there is no `{path}`");
        assert!(
            answer.status != 404 || !answer.text().contains(&unknown),
            "{operation} is not routed"
        );
    }
}

#[test]
fn the_document_in_the_repository_is_fresh() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");
    let document = thalweg_serve::openapi_json() + "\n";
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        fs::write(path, document).unwrap();
    } else {
        assert!(
            fs::read_to_string(path).unwrap() == document,
            "{path} is old: UPDATE_TRANSCRIPTS=1"
        );
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document: Value = serde_json::from_str(&thalweg_serve::openapi_json()).unwrap();
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 40, "{} references", references.len());
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("references are local");
        assert!(document.pointer(pointer).is_some(), "{reference} is missing");
    }
    for name in ["Problem", "RowsBody", "LiveRequest", "LiveFrame", "Dashboard", "Health"] {
        assert!(document.pointer(&format!("/components/schemas/{name}")).is_some(), "{name}");
    }
}

#[test]
fn every_operation_says_what_it_does_and_how_it_fails() {
    let document: Value = serde_json::from_str(&thalweg_serve::openapi_json()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
            let is_open = path == "/api/v1/health/live";
            assert!(
                is_open || operation["responses"]["default"].is_object(),
                "{method} {path} has no problem"
            );
        }
    }
}

fn operations(document: &Value) -> Vec<String> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| -> Vec<String> {
        let methods = item.as_object().unwrap().keys();
        methods.map(|method| format!("{} {path}", method.to_uppercase())).collect()
    };
    paths.iter().flat_map(of_path).collect()
}

fn collect_references(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str() {
                    Some(reference) if name == "$ref" => references.push(reference.to_owned()),
                    _ => collect_references(member, references),
                }
            }
        }
        Value::Array(elements) => {
            for element in elements {
                collect_references(element, references);
            }
        }
        _ => {}
    }
}
