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
    check(
        "okta",
        &records("Okta.SystemLog"),
        [68, 63, 0, 10],
        "FIELD_REQUIRED=2 TIME_INVALID=3",
        "denied=3 failure=11 success=43 unknown=11",
        "access.deny=1 authentication.disable=3 authentication.grant=1 \
         authentication.login=22 authentication.logout=1 authentication.update=2 \
         authentication.verify=8 authorization.grant=3 configuration.create=2 \
         configuration.disable=1 configuration.update=2 detection.alert=5 \
         identity.disable=1 identity.update=2 key.create=1 key.read=3 key.revoke=1 \
         session.grant=1 system.alert=8",
        &[(".actor.alternateId", 1), (".actor.displayName", 1)],
    );
}

#[test]
#[ignore = "needs ../shared"]
fn real_github() {
    check(
        "github",
        &records("GitHub.Audit"),
        [94, 88, 1, 30],
        "TIME_INVALID=4",
        "failure=1 success=93",
        "authorization.execute=1 authorization.grant=6 authorization.other=1 \
         authorization.revoke=2 authorization.update=4 configuration.create=6 \
         configuration.delete=3 configuration.disable=14 configuration.enable=5 \
         configuration.update=4 data.create=6 data.delete=2 data.disable=3 data.disclose=4 \
         data.enable=1 data.export=2 data.read=1 data.update=12 detection.alert=1 \
         detection.approve=1 detection.delete=1 identity.create=1 identity.delete=1 \
         identity.grant=6 identity.revoke=1 key.create=1 key.delete=1 process.start=2 \
         process.stop=1",
        &[],
    );
}

#[test]
#[ignore = "needs ../shared"]
fn real_kubernetes() {
    check(
        "kubernetes",
        &records("Amazon.EKS.Audit"),
        [186, 98, 11, 170],
        "",
        "denied=37 failure=4 success=139 unknown=6",
        "access.list=1 access.other=7 access.read=4 authorization.create=27 \
         authorization.read=2 authorization.update=10 configuration.create=3 \
         configuration.list=1 configuration.read=3 configuration.update=1 identity.create=1 \
         identity.grant=10 identity.read=1 key.create=6 key.list=10 key.read=10 \
         network.create=7 network.list=9 network.read=3 network.update=1 process.create=39 \
         process.execute=15 process.list=2 process.other=4 process.read=7 process.stop=1 \
         process.update=1",
        &[],
    );
}

#[test]
#[ignore = "needs ../shared"]
fn real_azure_activity() {
    check(
        "azure",
        &records("Azure.MonitorActivity"),
        [247, 11, 0, 35],
        "",
        "denied=2 failure=8 success=192 unknown=45",
        "application.execute=3 application.read=1 authorization.grant=4 \
         authorization.update=5 configuration.delete=8 configuration.execute=5 \
         configuration.update=3 configuration.verify=3 data.delete=14 data.grant=4 \
         data.read=12 data.update=30 database.delete=2 database.update=1 detection.update=3 \
         key.create=3 key.delete=8 key.read=9 key.rotate=2 key.update=4 network.connect=1 \
         network.delete=10 network.read=6 network.start=2 network.update=6 \
         process.delete=13 process.enable=1 process.execute=6 process.read=4 \
         process.update=20 session.connect=1 system.delete=11 system.disable=2 \
         system.execute=1 system.read=34 system.update=5",
        &[],
    );
}

#[test]
#[ignore = "needs ../shared"]
fn real_entra() {
    check(
        "azure",
        &records("Azure.Audit"),
        [47, 39, 0, 0],
        "",
        "failure=11 success=35 unknown=1",
        "authentication.login=26 authentication.update=4 authorization.grant=4 \
         authorization.revoke=1 configuration.create=1 configuration.delete=1 \
         configuration.update=4 identity.create=1 identity.grant=4 key.create=1",
        &[],
    );
}

#[test]
#[ignore = "needs ../shared"]
fn real_intune() {
    check(
        "azure",
        &records("MicrosoftIntune.AuditLogs"),
        [3, 3, 0, 0],
        "TIME_INVALID=1",
        "success=3",
        "configuration.update=1 identity.create=1 identity.grant=1",
        &[],
    );
}

#[test]
#[ignore = "needs ../shared"]
fn real_google_cloud() {
    check(
        "google-cloud",
        &records("GCP.AuditLog"),
        [190, 143, 6, 45],
        "FIELD_REQUIRED=5 TIME_INVALID=1",
        "denied=18 failure=6 success=166",
        "application.create=3 application.delete=1 application.other=1 application.update=1 \
         authentication.grant=7 authentication.verify=1 authorization.create=6 \
         authorization.grant=23 authorization.update=1 configuration.create=32 \
         configuration.delete=3 configuration.list=3 configuration.other=5 \
         configuration.read=1 configuration.update=6 data.create=4 data.delete=2 \
         data.list=1 data.read=4 data.update=2 database.execute=5 identity.create=7 \
         identity.delete=3 identity.grant=2 identity.update=3 key.create=5 key.delete=1 \
         key.encrypt=5 key.list=1 key.read=1 key.update=2 network.create=1 network.delete=1 \
         network.read=1 network.update=1 process.create=21 process.execute=6 process.list=4 \
         process.read=4 session.connect=1 system.delete=1 system.disable=1 system.list=1 \
         system.read=2 system.update=3",
        &[
            (".protoPayload.metadata.event[].parameter[].value", 2),
            (".protoPayload.request.policy.bindings[].members[]", 10),
            (".protoPayload.response.bindings[].members[]", 10),
            (".protoPayload.response.supportEmail", 1),
            (".resource.labels.email_id", 1),
        ],
    );
}

#[test]
#[ignore = "needs ../shared"]
fn real_microsoft_365() {
    let mut all = records("Microsoft365.Audit.AzureActiveDirectory");
    all.extend(records("Microsoft365.Audit.Exchange"));
    all.extend(records("Microsoft365.Audit.SharePoint"));
    check(
        "microsoft-365",
        &all,
        [19, 19, 0, 0],
        "",
        "failure=1 success=13 unknown=5",
        "authentication.login=2 configuration.create=3 configuration.update=7 \
         file.disclose=5 identity.update=2",
        &[],
    );
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
    // Named by identifiers alone: a person, but not the workstation that DICOM calls a source.
    assert_eq!(people[2], ["fhir_identifier:|95"]);
    check(
        "fhir",
        &all,
        [3, 3, 0, 0],
        "",
        "success=3",
        "authorization.grant=1 data.disclose=1 data.list=1",
        &[],
    );
}

/// Records read by hand, by their place in the file: every person in them, and nobody else.
const PEOPLE: [(&str, &str, usize, &[&str]); 15] = [
    (
        "okta",
        "Okta.SystemLog",
        3,
        &[
            "email:jack@acme.io okta_user:00uu1uuuuIlllaaaa356",
            "email:alice@acme.io okta_user:00u6eup97mAJZWYmP357",
        ],
    ),
    (
        "okta",
        "Okta.SystemLog",
        46,
        &[
            "email:marge@springfield.gov okta_user:1111",
            "email:homer@springfield.gov okta_user:1.1.1.1",
        ],
    ),
    ("github", "GitHub.Audit", 26, &["github_login:sarah78", "github_login:john1987"]),
    (
        "github",
        "GitHub.Audit",
        56,
        &["github_id:1234567 github_id:1270063 github_login:badger", "email:badger@acme.com"],
    ),
    (
        "kubernetes",
        "Amazon.EKS.Audit",
        17,
        &[
            "email:admin@example.com kubernetes_user:admin@example.com",
            "email:readonly-user@example.com kubernetes_user:readonly-user@example.com",
        ],
    ),
    // Its binding is for a service account.
    (
        "kubernetes",
        "Amazon.EKS.Audit",
        16,
        &["email:suspicious-user@example.com kubernetes_user:suspicious-user@example.com"],
    ),
    ("azure", "Azure.MonitorActivity", 137, &["email:compromised-admin@company.com"]),
    ("azure", "Azure.MonitorActivity", 153, &["entra_object:6b6d44f0-b13a-46a0-bfde-161324d4c34d"]),
    (
        "azure",
        "Azure.Audit",
        8,
        &[
            "email:secadmin@company.com entra_object:user-security-777",
            "email:former@company.com entra_object:user-former-888",
        ],
    ),
    ("azure", "Azure.Audit", 3, &["email:aragorn@lotr.com entra_object:user-victim-123"]),
    (
        "google-cloud",
        "GCP.AuditLog",
        1,
        &["email:bob@example.com", "email:cat@example.com", "email:dog@example.com"],
    ),
    // Who gained the role, not who stands in the policy as well.
    (
        "google-cloud",
        "GCP.AuditLog",
        96,
        &["email:test@runpanther.com", "email:username@gmail.com"],
    ),
    (
        "microsoft-365",
        "Microsoft365.Audit.AzureActiveDirectory",
        2,
        &["email:sample.user@yourorg.onmicrosoft.com"],
    ),
    (
        "microsoft-365",
        "Microsoft365.Audit.Exchange",
        1,
        &[
            "email:homer.simpson@simpsons.com m365_user:12345 m365_user:homer.simpson@simpsons.com",
            "email:marge.simpson@simpsons.onmicrosoft.com",
            "email:marge.simpson@simpsons.com",
        ],
    ),
    (
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
    ),
];

#[test]
#[ignore = "needs ../shared"]
fn real_people() {
    for (source, kind, at, expect) in PEOPLE {
        assert_eq!(persons(&event(source, &records(kind)[at])), expect, "{kind} {at}");
    }
}
