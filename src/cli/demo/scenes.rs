//! The ordinary day: rounds on the wards, portal visits, offices, customers, administration.
//! Every free text names only people the same event names as subjects: an erasure must be able
//! to reach all of it.

use crate::base::event::{Category, Outcome, Verb};
use crate::cli::demo::cast::Role;
use crate::cli::demo::prng::Dice;
use crate::cli::demo::shape::Canonical;
use crate::cli::demo::stage::{Stage, Visit};
use serde_json::{Value, json};

const DRUGS: &[&str] = &[
    "amoxicillin",
    "metoprolol",
    "paracetamol",
    "enoxaparin",
    "insulin glargine",
    "ondansetron",
    "salbutamol",
    "morphine",
    "furosemide",
    "atorvastatin",
];
const NOTES: &[&str] = &[
    "Slept well, no pain at rest. Mobilised to the chair with one assistant; ate half a meal.",
    "Complains of nausea since the morning round. Fluids continued, to be reviewed at noon.",
    "Wound dry and without redness, dressing changed. Explained aftercare; understands and agrees.",
    "Blood pressure above target twice. Called the doctor on duty, dose adjusted as ordered.",
    "Family asked about discharge date. Told that the results of the control are awaited.",
    "Chest clear on auscultation, oxygen reduced to 1 l/min, saturation stable at 96 %.",
    "Anxious before the procedure. Talked through each step; consent form already signed.",
];
const TICKETS: &[&str] = &[
    "The invoice of last month shows the old address, please correct it and send it again.",
    "Cannot sign in since the phone was replaced; the second factor still goes to the old one.",
    "Please confirm in writing which of my data you hold and for how long you will keep it.",
    "Export stops at 10,000 rows although our plan should allow more. Screenshot attached.",
    "We would like to add three colleagues to the workspace before the end of the week.",
];

/// Plays itself on a stage.
pub type Scene = fn(&mut Stage<'_>);

/// A share of the ordinary day: `(weight, scene)`.
pub const SCENES: &[(u64, Scene)] = &[
    (40, nursing_round),
    (22, doctor_round),
    (14, portal_visit),
    (13, customer_visit),
    (10, office_hour),
    (4, failed_login),
    (2, administration),
];

fn login(stage: &mut Stage<'_>, visit: &mut Visit) {
    let factor = stage.dice.word(&["totp", "push", "webauthn", "smartcard"]);
    let event = Canonical::new("user.session.start", Category::Authentication, Verb::Login)
        .data(json!({"factor": factor, "client": "sso", "risk": stage.dice.below(30)}));
    stage.act(visit, event);
}

fn logout(stage: &mut Stage<'_>, visit: &mut Visit) {
    let event =
        Canonical::new("user.session.end", Category::Authentication, Verb::Logout).severity(0);
    stage.act_after(visit, 20, 600, event);
}

/// Signs on at the identity provider, then works in `ehr` under the same session.
fn sign_on(stage: &mut Stage<'_>, actor: usize) -> Visit {
    let mut visit = stage.visit("idp", actor);
    login(stage, &mut visit);
    visit.at_source("ehr")
}

fn nursing_round(stage: &mut Stage<'_>) {
    let nurse = stage.somebody(Role::Nurse);
    let mut visit = sign_on(stage, nurse);
    for _ in 0..stage.dice.between(4, 12) {
        let patient = stage.patient_of(nurse);
        read_chart(stage, &mut visit, patient);
        if stage.dice.chance(60) {
            vital_signs(stage, &mut visit, patient);
        }
        if stage.dice.chance(45) {
            medication(stage, &mut visit, patient);
        }
        if stage.dice.chance(20) {
            note(stage, &mut visit, patient, "nursing");
        }
    }
    logout(stage, &mut visit.at_source("idp"));
}

fn doctor_round(stage: &mut Stage<'_>) {
    let doctor = stage.somebody(Role::Doctor);
    let mut visit = sign_on(stage, doctor);
    for _ in 0..stage.dice.between(3, 9) {
        let patient = stage.patient_of(doctor);
        read_chart(stage, &mut visit, patient);
        if stage.dice.chance(50) {
            laboratory(stage, &mut visit, patient);
        }
        if stage.dice.chance(40) {
            note(stage, &mut visit, patient, "progress");
        }
        if stage.dice.chance(15) {
            discharge_letter(stage, &mut visit, patient);
        }
    }
    logout(stage, &mut visit.at_source("idp"));
}

/// Looks at a chart for treatment.
fn read_chart(stage: &mut Stage<'_>, visit: &mut Visit, patient: usize) {
    let with_phone = stage.dice.chance(15);
    let about = stage.patient(patient, with_phone);
    let tab = stage.dice.word(&["summary", "medication", "results", "allergies", "history"]);
    let event = Canonical::new("chart.open", Category::Data, Verb::Read)
        .target("chart", stage.chart(patient))
        .about(about)
        .lawful("treatment", "public_task")
        .data(json!({"tab": tab, "relation": "ward"}));
    stage.act(visit, event);
}

fn vital_signs(stage: &mut Stage<'_>, visit: &mut Visit, patient: usize) {
    let about = stage.patient(patient, false);
    let dice = &mut stage.dice;
    let data = json!({
        "pulse": dice.between(52, 118),
        "systolic": dice.between(96, 178),
        "diastolic": dice.between(55, 102),
        "temperature": dice.between(361, 394) as f64 / 10.0,
        "saturation": dice.between(89, 100),
        "pain": dice.below(9),
    });
    let event = Canonical::new("observation.record", Category::Data, Verb::Create)
        .target("chart", stage.chart(patient))
        .about(about)
        .lawful("treatment", "public_task")
        .data(data);
    stage.act(visit, event);
}

fn medication(stage: &mut Stage<'_>, visit: &mut Visit, patient: usize) {
    let about = stage.patient(patient, false);
    let data = json!({
        "drug": stage.dice.word(DRUGS),
        "dose_mg": stage.dice.between(1, 40) * 25,
        "route": stage.dice.word(&["oral", "iv", "sc", "inhaled"]),
        "scanned": true,
    });
    let event = Canonical::new("medication.administer", Category::Data, Verb::Create)
        .target("medication_order", format!("rx-{}", stage.dice.between(100_000, 999_999)))
        .about(about)
        .lawful("treatment", "public_task")
        .data(data);
    let refused = stage.dice.chance(2);
    let event = if refused {
        let message = "dose interval not reached";
        event.failed(Outcome::Denied, "RX-INTERVAL", message).severity(4)
    } else {
        event
    };
    stage.act(visit, event);
}

fn laboratory(stage: &mut Stage<'_>, visit: &mut Visit, patient: usize) {
    let about = stage.patient(patient, false);
    let event = Canonical::new("result.open", Category::Data, Verb::Read)
        .target("result", format!("lab-{}", stage.dice.between(1_000_000, 9_999_999)))
        .about(about)
        .lawful("treatment", "public_task")
        .data(json!({
            "panel": stage.dice.word(&["crp", "troponin", "blood count", "electrolytes", "tsh"]),
            "value": stage.dice.between(1, 4_000) as f64 / 10.0,
            "flag": stage.dice.word(&["normal", "normal", "high", "low", "critical"]),
        }));
    stage.act(visit, event);
}

/// Writes a note in free text.
fn note(stage: &mut Stage<'_>, visit: &mut Visit, patient: usize, kind: &str) {
    let about = stage.patient(patient, false);
    let name = stage.cast.person(patient).map_or("", |p| &p.name);
    let text = format!("{name}: {}", stage.dice.word(NOTES));
    let event = Canonical::new("note.write", Category::Data, Verb::Create)
        .target("chart", stage.chart(patient))
        .about(about)
        .lawful("treatment", "public_task")
        .data(json!({"kind": kind, "text": text}));
    stage.act_after(visit, 30, 240, event);
}

fn discharge_letter(stage: &mut Stage<'_>, visit: &mut Visit, patient: usize) {
    let about = stage.patient(patient, true);
    let event = Canonical::new("letter.print", Category::Data, Verb::Print)
        .target("document", format!("doc-{}", stage.dice.between(10_000, 99_999)))
        .about(about)
        .lawful("treatment", "public_task")
        .to("general practitioner")
        .severity(3)
        .data(json!({"pages": stage.dice.between(1, 6), "printer": "prn-ward-2", "copies": 1}));
    stage.act(visit, event);
}

/// A patient reads their own record in the portal.
pub fn portal_visit(stage: &mut Stage<'_>) {
    let patient = stage.somebody(Role::Patient);
    portal_visit_of(stage, patient);
}

/// This patient reads their own record in the portal: `idp` learns e-mail and user id together.
pub fn portal_visit_of(stage: &mut Stage<'_>, patient: usize) {
    let mut visit = stage.visit("idp", patient);
    login(stage, &mut visit);
    for _ in 0..stage.dice.between(1, 4) {
        let page = stage.dice.word(&["results", "appointments", "letters", "messages", "consents"]);
        let event = Canonical::new("portal.page.view", Category::Access, Verb::Read)
            .target("portal_page", page.to_owned())
            .lawful("patient_request", "legal_obligation")
            .data(json!({"page": page, "locale": stage.dice.word(&["en", "de", "es", "sv"])}));
        stage.act(&mut visit, event);
    }
    logout(stage, &mut visit);
}

/// A customer works with the software service.
pub fn customer_visit(stage: &mut Stage<'_>) {
    let customer = stage.somebody(Role::Customer);
    customer_visit_of(stage, customer);
}

/// This customer works with the software service.
pub fn customer_visit_of(stage: &mut Stage<'_>, customer: usize) {
    let mut visit = stage.visit("idp", customer);
    login(stage, &mut visit);
    let mut visit = visit.at_source("crm");
    for _ in 0..stage.dice.between(2, 8) {
        let event = customer_act(stage, customer);
        stage.act(&mut visit, event);
    }
}

fn customer_act(stage: &mut Stage<'_>, customer: usize) -> Canonical {
    let plan = stage.cast.person(customer).map_or("", |p| p.unit);
    let dice = &mut stage.dice;
    let project = format!("prj-{}", dice.between(1_000, 4_999));
    match dice.weighted(&[40, 25, 10, 8, 5]) {
        0 => Canonical::new("project.view", Category::Application, Verb::Read)
            .target("project", project)
            .data(json!({"plan": plan, "rows": dice.below(900)})),
        1 => Canonical::new("document.update", Category::Data, Verb::Update)
            .target("document", format!("doc-{}", dice.between(1, 99_999)))
            .data(json!({"project": project, "bytes": dice.between(200, 90_000),
                "fields": ["title", "body"], "revision": dice.between(2, 60)})),
        2 => Canonical::new("report.export", Category::Data, Verb::Export)
            .target("report", project)
            .severity(4)
            .data(json!({"format": dice.word(&["csv", "xlsx"]), "rows": dice.between(10, 9_000)})),
        3 => Canonical::new("apikey.create", Category::Key, Verb::Create)
            .target("api_key", format!("key-{}", dice.hex(8)))
            .severity(5)
            .data(json!({"scopes": ["read", "export"], "expires_days": 90})),
        _ => Canonical::new("plan.change", Category::Configuration, Verb::Update)
            .target("subscription", project)
            .severity(3)
            .lawful("contract", "contract")
            .data(json!({"from": plan, "to": "business", "seats": dice.between(2, 80)})),
    }
}

/// Admissions and billing.
fn office_hour(stage: &mut Stage<'_>) {
    let clerk = stage.somebody(Role::Clerk);
    let mut visit = sign_on(stage, clerk);
    for _ in 0..stage.dice.between(2, 6) {
        let patient = stage.somebody(Role::Patient);
        admission(stage, &mut visit, patient);
        let mut desk = visit.at_source("crm");
        billing(stage, &mut desk, patient);
        visit = desk.at_source("ehr");
    }
    logout(stage, &mut visit.at_source("idp"));
}

/// `ehr` learns patient number and telephone together.
pub fn admission(stage: &mut Stage<'_>, visit: &mut Visit, patient: usize) {
    let about = stage.patient(patient, true);
    let ward = stage.cast.person(patient).map_or("", |p| p.unit);
    let event = Canonical::new("patient.admit", Category::Data, Verb::Create)
        .target("chart", stage.chart(patient))
        .about(about)
        .lawful("treatment", "public_task")
        .severity(2)
        .data(
            json!({"ward": ward, "insurer": stage.dice.word(&["Northmed", "Caritas Plus", "AOV"]),
            "bed": format!("{}{}", stage.dice.between(1, 40), stage.dice.word(&["a", "b"]))}),
        );
    stage.act(visit, event);
}

/// `crm` learns e-mail and telephone together.
pub fn billing(stage: &mut Stage<'_>, visit: &mut Visit, contact: usize) {
    let about = stage.contact(contact, true);
    let event = if stage.dice.chance(35) {
        Canonical::new("ticket.create", Category::Application, Verb::Create)
            .target("ticket", format!("t-{}", stage.dice.between(10_000, 99_999)))
            .data(ticket(stage.cast.person(contact).map_or("", |p| &p.name), &mut stage.dice))
    } else {
        let cents = stage.dice.between(1_500, 480_000);
        Canonical::new("invoice.issue", Category::Data, Verb::Create)
            .target("invoice", format!("inv-2026-{:06}", stage.dice.below(1_000_000)))
            .data(json!({"total": cents as f64 / 100.0, "currency": "EUR", "due_days": 14,
                "lines": stage.dice.between(1, 9)}))
    };
    stage.act(visit, event.about(about).lawful("contract", "contract"));
}

fn ticket(name: &str, dice: &mut Dice) -> Value {
    json!({"channel": dice.word(&["mail", "phone", "portal"]), "priority": dice.below(4),
        "text": format!("{} {name}", dice.word(TICKETS))})
}

fn failed_login(stage: &mut Stage<'_>) {
    let number = stage.dice.below(stage.cast.people.len() as u64) as usize;
    let mut visit = stage.visit("idp", number);
    for _ in 0..stage.dice.between(1, 3) {
        let event = Canonical::new("user.session.start", Category::Authentication, Verb::Login)
            .failed(Outcome::Failure, "INVALID_CREDENTIALS", "password does not match")
            .severity(4)
            .data(
                json!({"factor": "password", "client": "sso", "risk": stage.dice.between(10, 70)}),
            );
        stage.act_after(&mut visit, 4, 30, event);
    }
    if stage.dice.chance(70) {
        login(stage, &mut visit);
    }
}

/// Engineers grant roles, change settings and rotate keys; nobody's record is touched.
fn administration(stage: &mut Stage<'_>) {
    let engineer = stage.somebody(Role::Engineer);
    let mut visit = stage.visit("idp", engineer);
    login(stage, &mut visit);
    let colleague = stage.somebody(Role::Nurse);
    let account = stage.account(colleague);
    let grant = Canonical::new("role.grant", Category::Authorization, Verb::Grant)
        .about(account)
        .severity(6)
        .because("ticket OPS-4412, approved by the ward manager")
        .data(json!({"role": "ward-lead", "expires_days": stage.dice.between(1, 90)}));
    stage.act(&mut visit, grant);
    let setting = Canonical::new("policy.update", Category::Configuration, Verb::Update)
        .target("setting", "session.idle_minutes".to_owned())
        .severity(5)
        .data(json!({"from": 20, "to": stage.dice.between(10, 30)}));
    stage.act(&mut visit, setting);
    let key = Canonical::new("signing_key.rotate", Category::Key, Verb::Rotate)
        .target("key", format!("k-{}", stage.dice.hex(8)))
        .severity(5);
    stage.act(&mut visit, key);
}
