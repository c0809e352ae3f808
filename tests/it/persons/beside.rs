//! Who may be the same person, and what no erasure reaches: against counts made by hand.

use super::{clock, init, whom};
use crate::support::clinic::{append_json, identifier, patient};
use crate::support::sim::SimDisk;
use chancery::format::control::Cause;
use chancery::vault::Vault;
use std::time::Instant;

/// An event about persons, each by an identifier of their own.
fn event(id: u64, persons: &[(&str, &str)]) -> String {
    let subject = |(kind, value): &(&str, &str)| {
        format!(r#"{{"role":"target","identifiers":[{{"kind":"{kind}","value":"{value}"}}]}}"#)
    };
    let subjects: Vec<String> = persons.iter().map(subject).collect();
    format!(
        r#"{{"id":"e{id}","action":"record.open","actor":{{"id":"job","type":"service"}},"subjects":[{}]}}"#,
        subjects.join(",")
    )
}

/// So many events about these persons.
fn send(vault: &Vault, persons: &[(&str, &str)], count: u64) {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let id = || NEXT.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let texts: Vec<String> = (0..count).map(|_| event(id(), persons)).collect();
    for texts in texts.chunks(5_000) {
        append_json(vault, "app", texts).unwrap();
    }
}

const ALICE: (&str, &str) = ("username", "alice");
const MAIL: (&str, &str) = ("email", "alice@home.example");
const DOCTOR: (&str, &str) = ("employee_id", "d1");
const RARE: (&str, &str) = ("phone", "+4930123");

#[test]
fn who_shares_most_of_the_own_records_is_likely_and_nobody_is_linked() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let other = ("patient_id", "p9");
    // Alice in 10 records; her mail in 6 of them and in 2 others; a doctor in all 10 and in 11
    // others; a phone in 2 and nowhere else.
    send(&vault, &[ALICE, MAIL, DOCTOR], 6);
    send(&vault, &[ALICE, DOCTOR, RARE], 2);
    send(&vault, &[ALICE, DOCTOR], 2);
    send(&vault, &[MAIL, other], 2);
    send(&vault, &[DOCTOR, other], 11);
    let alice = whom(&vault, identifier(ALICE.0, ALICE.1));
    let found = vault.beside(&[alice]).unwrap();
    let mail = whom(&vault, identifier(MAIL.0, MAIL.1));
    assert_eq!((found.looked_at, found.complete), (10, true));
    let likely: Vec<_> =
        found.likely.iter().map(|l| (l.persons.clone(), l.shared, l.own)).collect();
    assert_eq!(likely, [(vec![mail], 6, 8)]);
    let kinds: Vec<_> = found.likely[0].kinds.iter().map(|(k, n)| (k.to_string(), *n)).collect();
    assert_eq!(kinds, [("email".to_owned(), 1)]);
    assert_ne!(alice, mail, "not linked");
    assert_eq!(vault.handles_of(&alice).unwrap(), [alice]);
    // The other way round it is the same pair.
    let back = vault.beside(&[mail]).unwrap();
    assert_eq!((back.likely[0].persons[0], back.likely[0].shared), (alice, 6));
    // At 10 others a doctor is on the edge: half of the own records are shared.
    let edge = init(&SimDisk::new(), &clock);
    send(&edge, &[ALICE, DOCTOR], 10);
    send(&edge, &[DOCTOR, other], 10);
    let likely = edge.beside(&[whom(&edge, identifier(ALICE.0, ALICE.1))]).unwrap().likely;
    assert_eq!((likely.len(), likely[0].shared, likely[0].own), (1, 10, 20));
    // Linked, or erased: no suggestion any more.
    let both = [identifier(ALICE.0, ALICE.1), identifier(MAIL.0, MAIL.1)];
    vault.link(&both, &crate::support::world::two_people()).unwrap();
    assert_eq!(vault.beside(&vault.handles_of(&alice).unwrap()).unwrap().likely, []);
}

#[test]
fn bodies_under_the_tenant_are_counted_by_source() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let windows = |n: u64| {
        format!(
            concat!(
                r#"{{"@timestamp":"2026-11-21T07:00:0{n}Z","EventID":4624,"Channel":"Security","#,
                r#""RecordNumber":{n},"Hostname":"dc1","TargetUserName":"alice","#,
                r#""TargetDomainName":"CLINIC","TargetUserSid":"S-1-5-21-1-2-3-1001"}}"#
            ),
            n = n
        )
    };
    let texts: Vec<String> = (0..3).map(windows).collect();
    append_json(&vault, "windows-security", &texts).unwrap();
    send(&vault, &[("sid", "S-1-5-21-1-2-3-1001")], 4);
    let alice = whom(&vault, identifier("sid", "S-1-5-21-1-2-3-1001"));
    let count = |vault: &Vault| -> Vec<(Option<String>, u64)> {
        let found = vault.beside(&vault.handles_of(&alice).unwrap()).unwrap().tenant_sealed;
        found.iter().map(|(name, n)| (name.as_deref().map(str::to_owned), *n)).collect()
    };
    assert_eq!(count(&vault), [(Some("windows-security".to_owned()), 3)]);
    // Who restricted her is sealed under the tenant: a body of an act of the vault.
    vault.restrict(&alice, Cause::UnlawfulUse, "because", "priva").unwrap();
    assert_eq!(count(&vault), [(None, 1), (Some("windows-security".to_owned()), 3)]);
    assert!(vault.preview_erasure(&[patient("nobody")]).is_err());
}

/// A person with more records than are looked at: the newest count, and the answer says so.
#[test]
#[ignore = "needs a quarter of a minute"]
fn a_person_with_very_many_records_is_looked_at_within_bounds() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    send(&vault, &[ALICE, MAIL], 100_000);
    let alice = whom(&vault, identifier(ALICE.0, ALICE.1));
    let before = Instant::now();
    let found = vault.beside(&[alice]).unwrap();
    println!("100,000 records beside: {:?}", before.elapsed());
    assert_eq!((found.looked_at, found.complete), (100_000, true));
    assert_eq!((found.likely[0].shared, found.likely[0].own), (100_000, 100_000));
    send(&vault, &[ALICE][..], 3);
    let found = vault.beside(&[alice]).unwrap();
    assert_eq!((found.looked_at, found.complete), (100_000, false));
    assert_eq!(found.likely[0].shared, 99_997);
    let before = Instant::now();
    let whole = vault.preview_erasure(&[identifier(ALICE.0, ALICE.1)]).unwrap();
    println!("counts of an erasure: {:?}", before.elapsed());
    assert_eq!(whole.records.values().sum::<u64>(), 100_003);
}
