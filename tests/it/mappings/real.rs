//! Real records of the shared data: each is accepted or refused for a reason that is named here,
//! and each mail address that stands alone in one is a person whom an erasure reaches, or counted.

use crate::policy::{POLICIES, check_tally, persons, tally};
use crate::support::shared;
use chancery::base::event::{Draft, Event};
use chancery::policy::classify::Scratch;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The records of one kind as their product wrote them: the warehouse's own members taken off.
fn records(kind: &str) -> Vec<String> {
    let file = format!("data/panther-analysis-tests/by-log-type/{kind}.ndjson");
    let text = std::fs::read_to_string(shared().join(file)).unwrap();
    let record = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let mut record = line["log"].take();
        record.as_object_mut().unwrap().retain(|name, _| !name.starts_with("p_"));
        record.to_string()
    };
    text.lines().map(record).collect()
}

fn event<'a>(source: &'a str, json: &'a str) -> Event<'a> {
    let draft = Draft { source, json: json.as_bytes() };
    POLICIES.event(draft, &mut Scratch::default()).unwrap()
}

/// Where in a record a text stands that is a mail address and nothing else.
fn addresses(value: &Value, path: &str, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, v)| addresses(v, &format!("{path}.{name}"), into));
        }
        Value::Array(values) => {
            values.iter().for_each(|v| addresses(v, &format!("{path}[]"), into));
        }
        Value::String(text) => {
            let text = text.strip_prefix("user:").unwrap_or(text);
            let alone = |c: char| c.is_ascii_alphanumeric() || ".-_+@".contains(c);
            let machine = ["gserviceaccount.com", "serviceaccount.gcp.com"];
            let mail = text.split_once('@').is_some_and(|(_, host)| host.contains('.'));
            if mail && text.chars().all(alone) && !machine.iter().any(|m| text.ends_with(m)) {
                into.push((path.to_owned(), text.to_lowercase()));
            }
        }
        _ => {}
    }
}

/// The places of addresses that are nobody's, and how many.
fn unreached(source: &str, records: &[String]) -> BTreeMap<String, usize> {
    let mut missed = BTreeMap::new();
    for json in records {
        let draft = Draft { source, json: json.as_bytes() };
        let Ok(event) = POLICIES.event(draft, &mut Scratch::default()) else { continue };
        let mut found = Vec::new();
        addresses(&serde_json::from_str(json).unwrap(), "", &mut found);
        for (path, address) in found {
            let mut known = event.subjects.iter().flat_map(|subject| &subject.identifiers);
            if !known.any(|id| *id.value == *address) {
                *missed.entry(path).or_default() += 1;
            }
        }
    }
    missed
}

/// Prints what there is, then compares.
fn check(
    source: &str,
    records: &[String],
    counts: [u64; 4],
    refused: &str,
    outcomes: &str,
    codes: &str,
    missed: &[(&str, usize)],
) {
    let found = tally(source, &records.join("\n"));
    println!("{source}: {} records, {found:?}", records.len());
    let nobody = unreached(source, records);
    println!("{source}: mail addresses that are nobody's: {nobody:?}");
    check_tally(&found, counts, refused, outcomes, codes);
    let nobody: Vec<(&str, usize)> = nobody.iter().map(|(path, n)| (path.as_str(), *n)).collect();
    assert_eq!(nobody, missed);
}

#[test]
#[ignore = "needs ../shared"]
fn real_okta() {
    check("okta", &records("Okta.SystemLog"), [0, 0, 0, 0], "", "", "", &[]);
}

#[test]
#[ignore = "needs ../shared"]
fn real_github() {
    check("github", &records("GitHub.Audit"), [0, 0, 0, 0], "", "", "", &[]);
}

#[test]
#[ignore = "needs ../shared"]
fn real_kubernetes() {
    check("kubernetes", &records("Amazon.EKS.Audit"), [0, 0, 0, 0], "", "", "", &[]);
}

#[test]
#[ignore = "needs ../shared"]
fn real_azure_activity() {
    check("azure", &records("Azure.MonitorActivity"), [0, 0, 0, 0], "", "", "", &[]);
}

#[test]
#[ignore = "needs ../shared"]
fn real_entra() {
    check("azure", &records("Azure.Audit"), [0, 0, 0, 0], "", "", "", &[]);
}

#[test]
#[ignore = "needs ../shared"]
fn real_intune() {
    check("azure", &records("MicrosoftIntune.AuditLogs"), [0, 0, 0, 0], "", "", "", &[]);
}

#[test]
#[ignore = "needs ../shared"]
fn real_google_cloud() {
    check("google-cloud", &records("GCP.AuditLog"), [0, 0, 0, 0], "", "", "", &[]);
}

#[test]
#[ignore = "needs ../shared"]
fn real_microsoft_365() {
    let mut all = records("Microsoft365.Audit.AzureActiveDirectory");
    all.extend(records("Microsoft365.Audit.Exchange"));
    all.extend(records("Microsoft365.Audit.SharePoint"));
    check("microsoft-365", &all, [0, 0, 0, 0], "", "", "", &[]);
}

/// FHIR's XML as its JSON: an element is a member, `value` its value; some members are lists.
fn fhir_json(xml: &str) -> String {
    const LISTS: [&str; 10] = [
        "subtype",
        "agent",
        "entity",
        "coding",
        "securityLabel",
        "authorization",
        "policy",
        "category",
        "detail",
        "basedOn",
    ];
    let mut open: Vec<(String, Value)> = Vec::new();
    for tag in xml.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap();
        let (closes, single) = (tag.starts_with('/'), tag.ends_with('/'));
        let name = tag.trim_matches('/').split_whitespace().next().unwrap().to_owned();
        if !closes {
            let text = tag.split_once("value=\"").map(|(_, rest)| rest.split_once('"').unwrap().0);
            let value = match text {
                Some(word @ ("true" | "false")) => json!(word == "true"),
                Some(text) => json!(text),
                None => Value::Object(Map::new()),
            };
            open.push((name, value));
        }
        if closes || single {
            let (name, value) = open.pop().unwrap();
            let Some((_, Value::Object(parent))) = open.last_mut() else {
                let mut whole = value;
                whole["resourceType"] = json!(name);
                return whole.to_string();
            };
            if LISTS.contains(&name.as_str()) {
                let list = parent.entry(name).or_insert_with(|| json!([]));
                list.as_array_mut().unwrap().push(value);
            } else {
                parent.insert(name, value);
            }
        }
    }
    panic!("not closed");
}

/// The chart and its version are one patient's. `What.id` is what the example calls an identifier.
const PATIENT: &str = "fhir_identifier:|What.id fhir_reference:Patient/example";

#[test]
#[ignore = "needs ../shared"]
fn real_fhir() {
    let read = |name: &str| {
        let path = shared().join("data/fhir-auditevent").join(format!("example-{name}.xml"));
        fhir_json(&std::fs::read_to_string(path).unwrap())
    };
    let all = [read("disclosure"), read("breakglass-start"), read("search")];
    let people = all.each_ref().map(|json| persons(&event("fhir", json)));
    assert_eq!(people[0], ["fhir_reference:Practitioner/example", PATIENT]);
    assert_eq!(people[1], ["fhir_reference:Practitioner/f001", "fhir_reference:Patient/example"]);
    // Named by identifiers alone: the person by "95", not the workstation that DICOM calls a source.
    assert_eq!(people[2], ["fhir_identifier:|95"]);
    check("fhir", &all, [0, 0, 0, 0], "", "", "", &[]);
}

/// Records read by hand: every person in them, and nobody else.
#[test]
#[ignore = "needs ../shared"]
fn real_people() {
    let check = |source: &str, kind: &str, at: usize, expect: &[&str]| {
        assert_eq!(persons(&event(source, &records(kind)[at])), expect, "{kind} {at}");
    };
    check(
        "okta",
        "Okta.SystemLog",
        3,
        &[
            "email:jack@acme.io okta_user:00uu1uuuuIlllaaaa356",
            "email:alice@acme.io okta_user:00u6eup97mAJZWYmP357",
        ],
    );
    check(
        "okta",
        "Okta.SystemLog",
        46,
        &[
            "email:marge@springfield.gov okta_user:1111",
            "email:homer@springfield.gov okta_user:1.1.1.1",
        ],
    );
    check("github", "GitHub.Audit", 26, &["github_login:sarah78", "github_login:john1987"]);
    check(
        "github",
        "GitHub.Audit",
        56,
        &["github_id:1234567 github_id:1270063 github_login:badger", "email:badger@acme.com"],
    );
    check(
        "kubernetes",
        "Amazon.EKS.Audit",
        17,
        &[
            "email:admin@example.com kubernetes_user:admin@example.com",
            "email:readonly-user@example.com kubernetes_user:readonly-user@example.com",
        ],
    );
    // Its binding is for a service account.
    check(
        "kubernetes",
        "Amazon.EKS.Audit",
        16,
        &["email:suspicious-user@example.com kubernetes_user:suspicious-user@example.com"],
    );
    check("azure", "Azure.MonitorActivity", 137, &["email:compromised-admin@company.com"]);
    check(
        "azure",
        "Azure.MonitorActivity",
        153,
        &["entra_object:6b6d44f0-b13a-46a0-bfde-161324d4c34d"],
    );
    check(
        "azure",
        "Azure.Audit",
        8,
        &[
            "email:secadmin@company.com entra_object:user-security-777",
            "email:former@company.com entra_object:user-former-888",
        ],
    );
    check("azure", "Azure.Audit", 3, &["email:aragorn@lotr.com entra_object:user-victim-123"]);
    check(
        "google-cloud",
        "GCP.AuditLog",
        1,
        &["email:bob@example.com", "email:cat@example.com", "email:dog@example.com"],
    );
    // Who gained the role, not who stands in the policy as well.
    check(
        "google-cloud",
        "GCP.AuditLog",
        96,
        &["email:test@runpanther.com", "email:username@gmail.com"],
    );
    check(
        "microsoft-365",
        "Microsoft365.Audit.AzureActiveDirectory",
        2,
        &["email:sample.user@yourorg.onmicrosoft.com"],
    );
    check(
        "microsoft-365",
        "Microsoft365.Audit.Exchange",
        1,
        &[
            "email:homer.simpson@simpsons.com m365_user:12345 m365_user:homer.simpson@simpsons.com",
            "email:marge.simpson@simpsons.onmicrosoft.com",
            "email:marge.simpson@simpsons.com",
        ],
    );
    check(
        "microsoft-365",
        "Microsoft365.Audit.SharePoint",
        0,
        &[
            concat!(
                "email:my.user@yourorg.onmicrosoft.com ",
                "m365_user:i:0h.f|membership|12345@live.com ",
                "m365_user:my.user@yourorg.onmicrosoft.com"
            ),
            "email:outsider@alloweddomain.com",
        ],
    );
}
