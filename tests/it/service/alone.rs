//! The story of one operator, from the token that a first start leaves to a receipt that outsiders
//! verify: what the README tells in `curl` lines.

use crate::service::person::Person;
use crate::service::stage::{As, Home, Service, is_private};
use serde_json::json;
use std::path::Path;
use std::process::Command;

const EVENT: &str = r#"{"id":"e1","action":"patient.record.read","actor":{"id":"u42",
    "email":"ann@example.org"},"targets":[{"type":"patient","id":"P-Quellmalz-9"}]}"#;

/// A person in no log entry, no receipt and no problem.
const PERSON: &str = "Quellmalz";

/// Tells the story; leaves the home with `entry.proof`, `receipt` and `trust.policy` in it.
fn told() -> Home {
    let service = Service::start(&["--single-operator", "--cooling-off", "0s"]);
    let bootstrap = service.path("h/chancery-data/others/system/bootstrap.token");
    assert!(is_private(&bootstrap));
    let dana = Person::first(&service);
    let me = service.get(dana.who(), "/v1/session");
    assert_eq!(
        (&me["kind"], &me["name"], &me["tenant"]),
        (&json!("human"), &json!("dana"), &json!("main"))
    );
    assert_eq!(me["roles"], json!(["admin", "privacy-officer", "approver"]));
    used_up(&service, &bootstrap);
    let token = dana.token(&service, &["ingest"], &json!({"sources": ["clinic"]}));
    let event = reads(&service, &dana, As::Token(&token));
    let job = erases(&service, &dana, &event);
    let proof = service.ask(dana.who(), "GET", &format!("{event}/proof"), None);
    let receipt = service.ask(dana.who(), "GET", &format!("/v1/erasures/{job}/receipt"), None);
    assert_eq!((proof.status, receipt.status), (200, 200));
    assert!(receipt.text().contains("single-operator"), "{}", receipt.text());
    for text in [proof.text(), receipt.text()] {
        assert!(!text.contains(PERSON), "{text}");
    }
    let home = service.stop();
    std::fs::write(home.path("entry.proof"), proof.body).unwrap();
    std::fs::write(home.path("receipt"), receipt.body).unwrap();
    home.trust();
    home
}

/// The bootstrap token lets one person in, once.
fn used_up(service: &Service, bootstrap: &Path) {
    let token = std::fs::read_to_string(bootstrap).unwrap_or_default();
    let wish =
        json!({"token": token.trim(), "login": "eve", "password": "eve's own long password"});
    let refused = service.refused(As::Nobody, "/v1/enrolment", &wish);
    assert_eq!(refused, (403, "ENROLMENT_REFUSED".to_owned()));
}

/// One event in, read masked, opened under a purpose that the log keeps first; its path.
fn reads(service: &Service, dana: &Person, sender: As<'_>) -> String {
    let event: serde_json::Value = serde_json::from_str(EVENT).unwrap();
    let taken = service.post(sender, "/v1/events", &event);
    let receipt = &taken["receipts"][0];
    assert_eq!(receipt["duplicate"], false);
    let path = format!("/v1/events/{}", receipt["index"].as_str().unwrap());
    assert!(taken["checkpoint"].as_str().unwrap().contains("\u{2014} "), "a signed note");
    let again = service.post(sender, "/v1/events", &event);
    assert_eq!(again["receipts"][0]["leaf"], receipt["leaf"]);
    assert_eq!(again["receipts"][0]["duplicate"], true);
    let reply = service.ask(sender, "GET", &path, None);
    assert_eq!((reply.status, reply.code()), (403, "FORBIDDEN".to_owned()));

    let masked = service.ask(dana.who(), "GET", &path, None);
    assert_eq!((masked.status, masked.header("etag").is_empty()), (200, false));
    let text = masked.text();
    assert!(!text.contains(PERSON) && !text.contains("ann@example.org"), "{text}");
    assert_eq!(masked.json()["leaf"], receipt["leaf"]);
    let page = service.get(dana.who(), "/v1/events?source=clinic");
    assert_eq!(page["events"][0]["leaf"], receipt["leaf"]);
    assert_eq!(page["events"].as_array().unwrap().len(), 1);

    let wish = json!({"purpose": "a complaint of the patient"});
    let opened = service.post(dana.who(), &format!("{path}/open"), &wish);
    assert!(opened.to_string().contains(PERSON), "{opened}");
    let recorded = opened["recorded"].as_str().unwrap();
    let look = service.get(dana.who(), &format!("/v1/events/{recorded}"));
    assert_eq!(look["kind"], "disclose");
    assert!(!look.to_string().contains("complaint"), "sealed: {look}");
    path
}

/// Plans, finds the patient, and erases her; the erasure's handle.
fn erases(service: &Service, dana: &Person, path: &str) -> String {
    let until = crate::service::person::in_days(365 * 40);
    let plan = service.get(dana.who(), &format!("/v1/retention/plan?until={until}"));
    let days = plan["class_days"].as_array().unwrap();
    let mut known = ["kept-for-ever", "not-due", "held", "due"].iter();
    assert!(!days.is_empty());
    assert!(days.iter().all(|day| known.clone().any(|state| day["state"] == *state)), "{plan}");
    assert!(known.next().is_some() && days.iter().any(|day| day["state"] == "due"), "{plan}");

    let named = json!([{"kind": "patient_id", "value": "P-Quellmalz-9"}]);
    let found = service.post(dana.who(), "/v1/subjects/lookup", &json!({"identifiers": named}));
    let handle = found["handles"][0].as_str().unwrap();
    let preview = service.get(dana.who(), &format!("/v1/subjects/{handle}/preview"));
    assert_eq!(preview["possible"], true);
    let wish = json!({"act": "erase", "identifiers": named, "basis": "gdpr-17-1"});
    let order = service.post(dana.who(), "/v1/orders", &wish);
    assert_eq!((&order["state"], &order["mode"]), (&json!("executed"), &json!("single-operator")));
    assert!(!order.to_string().contains(PERSON), "{order}");
    let job = order["job"].as_str().unwrap();

    let gone = service.refused(dana.who(), "/v1/subjects/lookup", &json!({"identifiers": named}));
    assert_eq!(gone.0, 404);
    let preview = service.ask(dana.who(), "GET", &format!("/v1/subjects/{handle}/preview"), None);
    assert_eq!((preview.status, preview.code()), (404, "SUBJECT_UNKNOWN".to_owned()));
    let event = service.get(dana.who(), path);
    let states: Vec<_> = event["fields"].as_array().unwrap().iter().map(|f| &f["state"]).collect();
    assert!(states.iter().any(|state| **state == "erased"), "{event}");
    let erasure = service.get(dana.who(), &format!("/v1/erasures/{job}"));
    assert_eq!((&erasure["state"], &erasure["mode"]), (&json!("done"), &json!("single-operator")));
    let wish = json!({"purpose": "to see whether it is gone"});
    let opened = service.post(dana.who(), &format!("{path}/open"), &wish);
    assert!(!opened.to_string().contains(PERSON), "{opened}");
    job.to_owned()
}

#[test]
fn one_operator_goes_from_the_first_token_to_a_receipt_that_verifies_offline() {
    let home = told();
    for paper in ["entry.proof", "receipt", "h/chancery-data"] {
        let said = home.ok(&["verify", paper, "--trust", "trust.policy"]);
        assert!(!said.contains(PERSON), "{said}");
    }
    // A verdict that could not be otherwise would be none.
    for paper in ["entry.proof", "receipt"] {
        let mut bytes = std::fs::read(home.path(paper)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(home.path("spoiled"), bytes).unwrap();
        let judged = home.run(&["verify", "spoiled", "--trust", "trust.policy"]);
        assert_ne!(judged.status.code(), Some(0), "{paper}");
    }
    // Everything on disk but the keys' own files: nothing names the erased.
    let mut folders = vec![home.path("h")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let bytes = std::fs::read(entry.path()).unwrap();
            let found = bytes.windows(PERSON.len()).any(|window| window == PERSON.as_bytes());
            assert!(!found, "{}", entry.path().display());
        }
    }
}

#[test]
#[ignore = "needs node"]
fn the_second_verifier_takes_the_papers_of_the_service() {
    let home = told();
    let verifier = Path::new(env!("CARGO_MANIFEST_DIR")).join("verify/chancery-verify.mjs");
    for paper in ["entry.proof", "receipt", "h/chancery-data"] {
        let mut node = Command::new("node");
        node.args(["--no-warnings"]).arg(&verifier).arg(home.path(paper));
        node.arg("--trust").arg(home.path("trust.policy"));
        let judged = node.output().unwrap();
        let said = String::from_utf8_lossy(&judged.stdout);
        assert_eq!(judged.status.code(), Some(0), "{paper}: {said}");
    }
}
