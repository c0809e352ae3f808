//! The scenes every demo day holds, whatever its seed: what an auditor, a security engineer and
//! a privacy officer look for afterwards. It plays them first, so no limit can cut them off.

use crate::base::event::{Category, Outcome, Verb};
use crate::cli::demo::cast::{Cast, Role};
use crate::cli::demo::scenes;
use crate::cli::demo::shape::Canonical;
use crate::cli::demo::stage::Stage;
use serde_json::json;

/// Attempts in the password attack of the story.
pub const GUESSES: usize = 25;
/// Times the snoop opens the celebrity's chart.
pub const LOOKS: usize = 6;

/// Plays the story.
pub fn play(stage: &mut Stage<'_>) {
    leaver(stage);
    snooping(stage);
    break_glass(stage);
    password_attack(stage);
    bulk_export(stage);
    litigation(stage);
}

/// Everybody appears once in a way that ties two of their identifiers together.
pub fn everybody(stage: &mut Stage<'_>) {
    let cast: &Cast = stage.cast;
    for person in &cast.people {
        if stage.is_full() {
            return;
        }
        match person.role {
            Role::Patient => known_everywhere(stage, person.number),
            Role::Customer => scenes::customer_visit_of(stage, person.number),
            _ => scenes::portal_visit_of(stage, person.number),
        }
    }
}

/// A patient becomes known to all three sources, each by two identifiers.
fn known_everywhere(stage: &mut Stage<'_>, patient: usize) {
    let clerk = stage.somebody(Role::Clerk);
    let mut desk = stage.visit("ehr", clerk);
    scenes::admission(stage, &mut desk, patient);
    let mut desk = desk.at_source("crm");
    scenes::billing(stage, &mut desk, patient);
    scenes::portal_visit_of(stage, patient);
}

/// The person who will ask to be forgotten: in every source, ending with consent withdrawn.
fn leaver(stage: &mut Stage<'_>) {
    let leaver = stage.cast.leaver;
    for _ in 0..3 {
        known_everywhere(stage, leaver);
    }
    let mut visit = stage.visit_clock("idp", leaver, 20, 40);
    let event = Canonical::new("consent.withdraw", Category::Data, Verb::Revoke)
        .lawful("research", "consent")
        .severity(4)
        .because("I no longer want to take part and ask you to delete what you hold about me")
        .data(json!({"consent": "research-registry-2024", "version": 3, "channel": "portal"}));
    stage.act(&mut visit, event);
}

/// A nurse of another ward opens a well-known patient's chart at night, without a reason.
fn snooping(stage: &mut Stage<'_>) {
    let (snoop, celebrity) = (stage.cast.snoop, stage.cast.celebrity);
    for look in 0..LOOKS {
        let mut visit = stage.visit_clock("ehr", snoop, 2, 5 + 7 * look as u64);
        let about = stage.patient(celebrity, false);
        let event = Canonical::new("chart.open", Category::Data, Verb::Read)
            .target("chart", stage.chart(celebrity))
            .about(about)
            .severity(6)
            .data(json!({"tab": "history", "relation": "none", "flag": "vip"}));
        stage.act_after(&mut visit, 1, 20, event);
    }
}

/// An emergency: access without the usual right, with a reason, then what was read.
fn break_glass(stage: &mut Stage<'_>) {
    let doctor = stage.somebody(Role::Doctor);
    let patient = stage.somebody(Role::Patient);
    let mut visit = stage.visit_clock("ehr", doctor, 3, 12);
    let reason = "unconscious on arrival, allergies and medication needed at once";
    for (action, category, verb) in [
        ("breakglass.open", Category::Authorization, Verb::Grant),
        ("chart.open", Category::Data, Verb::Read),
        ("breakglass.close", Category::Authorization, Verb::Revoke),
    ] {
        let about = stage.patient(patient, false);
        let event = Canonical::new(action, category, verb)
            .target("chart", stage.chart(patient))
            .about(about)
            .lawful("emergency", "vital_interests")
            .because(reason)
            .severity(8)
            .data(json!({"relation": "break-glass", "review_due_hours": 24}));
        stage.act_after(&mut visit, 5, 60, event);
    }
}

/// Somebody outside guesses a clerk's password until the account is locked.
fn password_attack(stage: &mut Stage<'_>) {
    let victim = stage.cast.victim;
    let visit = stage.visit_clock("idp", victim, 4, 30);
    let mut visit = visit.from("198.51.100.77", "python-requests/2.32");
    for attempt in 1..=GUESSES {
        let event = Canonical::new("user.session.start", Category::Authentication, Verb::Login)
            .failed(Outcome::Failure, "INVALID_CREDENTIALS", "password does not match")
            .severity(7)
            .data(json!({"factor": "password", "attempt": attempt, "risk": 70 + attempt}));
        stage.act_after(&mut visit, 1, 4, event);
    }
    let event = Canonical::new("user.account.lock", Category::Identity, Verb::Disable)
        .severity(8)
        .data(json!({"rule": "25 failures in 5 minutes", "unlock": "manual"}));
    stage.act_after(&mut visit, 1, 2, event);
}

/// A list of contacts leaves the CRM shortly before the end of the working day.
fn bulk_export(stage: &mut Stage<'_>) {
    let clerk = stage.somebody(Role::Clerk);
    let mut visit = stage.visit_clock("crm", clerk, 17, 52);
    let event = Canonical::new("contacts.export", Category::Data, Verb::Export)
        .target("list", "all-contacts".to_owned())
        .severity(8)
        .to("removable medium")
        .because("newsletter")
        .data(json!({"format": "csv", "rows": stage.cast.people.len(), "bytes": 1_482_113}));
    stage.act(&mut visit, event);
}

/// Records are put together for a court and disclosed: the case a hold will name.
fn litigation(stage: &mut Stage<'_>) {
    let litigant = stage.cast.litigant;
    let clerk = stage.somebody(Role::Clerk);
    let mut visit = stage.visit_clock("ehr", clerk, 10, 15);
    let about = stage.patient(litigant, true);
    let event = Canonical::new("record.disclose", Category::Data, Verb::Disclose)
        .target("chart", stage.chart(litigant))
        .about(about)
        .to("district court")
        .lawful("legal", "legal_obligation")
        .severity(6)
        .because("order of the court, file 4 C 118/26")
        .data(json!({"documents": 42, "pages": 318, "redacted": false}));
    stage.act(&mut visit, event);
}
