//! The description of the service: a golden copy that shows every change in a review, and a fuzzer
//! that reads it and holds the running service to it. `UPDATE=1` rewrites the copy.

use crate::service::person::{Person, in_days};
use crate::service::stage::Service;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn description() -> Value {
    let text = chancery::server::router::description().to_json().unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Every operation with its path and method.
fn operations(description: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            found.push((format!("{method} {path}"), operation.clone()));
        }
    }
    found
}

#[test]
fn the_description_is_its_golden_copy() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/openapi.json");
    let text = serde_json::to_string_pretty(&description()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    let line = text.lines().zip(golden.lines()).position(|(new, old)| new != old);
    assert!(text == golden, "line {line:?}: read the change, then UPDATE=1 cargo test openapi");
}

#[test]
fn the_description_is_openapi_3_1_and_whole() {
    let description = description();
    let version = description["openapi"].as_str().unwrap();
    assert!(version.starts_with("3.1."), "{version}");
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut names = BTreeSet::new();
    for (what, operation) in operations(&description) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "{what}: {name} is taken");
        assert!(operation["summary"].is_string() || operation["description"].is_string(), "{what}");
        let responses = operation["responses"].as_object().unwrap();
        let (kind, shape) = match what.contains(" /services/") {
            true => ("application/json", "Reply"),
            false => ("application/problem+json", "Problem"),
        };
        let refused = &responses["default"]["content"][kind]["schema"]["$ref"];
        assert_eq!(*refused, format!("#/components/schemas/{shape}"), "{what}");
        for (status, response) in responses.iter().filter(|(status, _)| status.as_str() >= "4") {
            if status == "default" || what == "get /readyz" {
                continue;
            }
            let content = response["content"].as_object().unwrap();
            assert!(content.contains_key(kind), "{what} {status}");
        }
        assert!(responses.keys().any(|status| status.starts_with('2')), "{what}");
        for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
            let said = parameter["description"].as_str().unwrap_or_default();
            assert!(!said.is_empty(), "{what}: {parameter}");
        }
    }
    assert_references(&description, &description);
}

/// Every reference leads somewhere.
fn assert_references(whole: &Value, part: &Value) {
    match part {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(whole.pointer(pointer).is_some(), "{reference}");
            }
            members.values().for_each(|member| assert_references(whole, member));
        }
        Value::Array(items) => items.iter().for_each(|item| assert_references(whole, item)),
        _ => {}
    }
}

/// `CHANCERY_EXAMPLES` sets how many a route, `CHANCERY_SEED` which.
#[test]
#[ignore = "needs schemathesis"]
fn a_fuzzer_that_reads_the_description_finds_no_500_and_no_violation() {
    let service = Service::start(&["--single-operator", "--cooling-off", "0s"]);
    let dana = Person::first(&service);
    let more = json!({"expires": in_days(30)});
    let roles = ["ingest", "privacy-officer", "admin", "operations", "readonly"];
    let token = dana.token(&service, &roles, &more);
    let event = json!({"id": "e1", "action": "user.login", "actor": {"id": "u1"}});
    let token_of = crate::service::stage::As::Token(&token);
    service.post(token_of, "/v1/events?source=clinic", &event);
    let set = |name: &str, other: &str| std::env::var(name).unwrap_or_else(|_| other.to_owned());
    let (examples, seed) = (set("CHANCERY_EXAMPLES", "15"), set("CHANCERY_SEED", "4"));
    println!("seed {seed}, {examples} examples a route");
    let mut command = Command::new("schemathesis");
    command.arg("run").arg(format!("https://{}/openapi.json", service.admin));
    command.args(["--tls-verify".as_ref(), service.path("h/tls/ca.pem").as_os_str()]);
    command.args(["--header", &format!("Authorization: Bearer {token}")]);
    command.args(["--max-examples", &examples, "--seed", &seed, "--no-color"]);
    // What it would call a failure and is none: a wish that its schema allows may still be
    // refused, for what is stored says no. Its own caller is known: it sends no other token.
    command.args(["--exclude-checks", "positive_data_acceptance,ignored_auth"]);
    // An answer before the end of a body closes the connection, which a client may reuse too late.
    command.args(["--rate-limit", "80/s", "--request-retries", "2"]);
    command.current_dir(service.path(""));
    let ran = command.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let end: Vec<&str> = said.lines().collect();
    let end = end[end.len().saturating_sub(250)..].join("\n");
    assert!(ran.status.success(), "{end}\n{}", String::from_utf8_lossy(&ran.stderr));
    service.stop();
}
