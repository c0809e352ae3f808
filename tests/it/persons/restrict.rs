//! A restriction closes what is sealed under a person, under every handle, for every reader but the
//! one who names a ground; an erasure takes what it says; nothing else changes.

use super::{WHO, again, clock, code, init, whom};
use crate::support::clinic::{
    Visit, append, assert_sound, data_fate, identifier, patient, read, read_all, text,
};
use crate::support::sim::SimDisk;
use crate::support::world::two_people;
use chancery::base::entry::Kind;
use chancery::base::record::Fate;
use chancery::base::unit::EntryIndex;
use chancery::format::control::{self, Cause, Ground};
use chancery::vault::Vault;
use chancery::vault::disclose::{Look, Told};
use chancery::vault::read::Reading;

const REASON: &str = "she says the diagnosis is Quellmalz's";

fn restrict(vault: &Vault, id: &str) -> EntryIndex {
    let person = whom(vault, patient(id));
    vault.restrict(&person, Cause::AccuracyContested, REASON, WHO).unwrap()
}

/// A reading that the log knows of, of entries up to `last`.
fn reading(vault: &Vault, last: EntryIndex, ground: Option<Ground>) -> Reading<'static> {
    let recorded = vault.record_look(&Look {
        act: "read",
        range: EntryIndex(0)..EntryIndex(last.0 + 1),
        records: 1,
        fields: &["data"],
        purpose: "a complaint",
        who: "auditor",
        by: None,
        order: None,
        ground,
    });
    vault.reading_of(recorded.unwrap()).unwrap()
}

fn fate_by(vault: &Vault, index: EntryIndex, reading: Reading<'_>) -> Fate {
    let record = vault.record(index, reading).unwrap();
    let fate = data_fate(&record);
    assert_eq!(fate == Fate::Open, record.value("data").is_some());
    fate
}

#[test]
fn fields_of_a_restricted_person_open_on_a_ground_alone() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let visits = [Visit::new(1, "n1", "p1"), Visit::new(2, "n1", "p2"), Visit::new(3, "n1", "p1")];
    let at: Vec<EntryIndex> =
        append(&vault, &visits).unwrap().into_iter().map(|receipt| receipt.index).collect();
    assert_eq!(data_fate(&read(&vault, at[0])), Fate::Open);
    let since = restrict(&vault, "p1");
    let check = |vault: &Vault| {
        for (at, expect) in at.iter().zip([Fate::Restricted, Fate::Open, Fate::Restricted]) {
            assert_eq!(data_fate(&read(vault, *at)), expect, "{at}");
            assert_eq!(fate_by(vault, *at, reading(vault, *at, None)), expect);
        }
        let all: String = read_all(vault).iter().map(text).collect();
        assert!(all.contains("secret-2-of-p2"), "others are read as before");
        assert!(!all.contains("secret-1-of-p1") && !all.contains("Quellmalz"), "{all}");
        let size = vault.size();
        assert_eq!(code(vault.disclose(at[0], &["data"], "why", "whom", WHO)), "FIELD_RESTRICTED");
        assert_eq!(vault.size(), size, "what was refused is not said to be disclosed");
    };
    check(&vault);
    let vault = again(vault, &disk, &clock);
    check(&vault);
    let standing = vault.restriction_of(&[whom(&vault, patient("p1"))]).unwrap().unwrap();
    assert_eq!((standing.since, standing.cause), (since, Some(Cause::AccuracyContested)));
    assert_sound(&vault, "restricted");
}

#[test]
fn a_ground_opens_what_its_entry_says_and_stands_in_that_entry() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let visits = [Visit::new(1, "n1", "p1"), Visit::new(2, "n1", "p1")];
    let at: Vec<EntryIndex> =
        append(&vault, &visits).unwrap().into_iter().map(|receipt| receipt.index).collect();
    restrict(&vault, "p1");
    for (ground, name) in [
        (Ground::LegalClaims, "legal-claims"),
        (Ground::Consent, "consent"),
        (Ground::RightsOfOthers, "rights-of-others"),
        (Ground::PublicInterest, "public-interest"),
    ] {
        let open = reading(&vault, at[0], Some(ground));
        assert_eq!(fate_by(&vault, at[0], open), Fate::Open, "{name}");
        assert_eq!(fate_by(&vault, at[1], open), Fate::Restricted, "beyond the entry's range");
        let look = vault.entry(EntryIndex(vault.size().0 - 1)).unwrap().head;
        assert_eq!(look.kind, Kind::Disclose);
        let said: control::Disclose = control::decode(&look.clear).unwrap();
        assert_eq!(said.ground, Some(ground));
        let clear = String::from_utf8(look.clear.clone()).unwrap();
        assert!(clear.contains(&format!("\"ground\":\"{name}\"")), "{clear}");
    }
    let told = Told { purpose: "claim 4 C 118", who: "court", by: WHO };
    let made = vault.disclose_on(at[1], &["data"], told, Some(Ground::LegalClaims)).unwrap();
    assert!(made.text.contains("secret-2-of-p1"));
    // Nothing but a disclose entry makes a reading.
    assert_eq!(code(vault.reading_of(at[0])), "MALFORMED");
}

#[test]
fn pseudonyms_of_a_restricted_person_are_not_exported() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let at = append(&vault, &[Visit::new(1, "n1", "p1")]).unwrap()[0].index;
    let tokens = |vault: &Vault| {
        let reading = Reading { destination: Some(b"siem"), ..Reading::default() };
        vault.record(at, reading).unwrap().tokens.len()
    };
    assert_eq!(tokens(&vault), 2);
    restrict(&vault, "p1");
    assert_eq!(tokens(&vault), 1, "the nurse's stays");
}

#[test]
fn a_restriction_is_of_the_human_under_every_handle_and_is_lifted_for_all() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let visits = [Visit::new(1, "n1", "p1"), Visit::new(2, "n1", "p2"), Visit::new(3, "n1", "p3")];
    let at: Vec<EntryIndex> =
        append(&vault, &visits).unwrap().into_iter().map(|receipt| receipt.index).collect();
    restrict(&vault, "p1");
    restrict(&vault, "p2");
    vault.link(&[patient("p1"), patient("p2"), patient("p3")], &two_people()).unwrap();
    let fates =
        |vault: &Vault| -> Vec<Fate> { at.iter().map(|at| data_fate(&read(vault, *at))).collect() };
    assert_eq!(fates(&vault), [Fate::Restricted; 3]);
    let p3 = whom(&vault, patient("p3"));
    let again_ = vault.restrict(&p3, Cause::ObjectionPending, REASON, WHO);
    assert_eq!(code(again_), "SUBJECT_RESTRICTED");
    let lifted = vault.lift_restriction(&p3, "checked: it is right", WHO).unwrap();
    assert_eq!(lifted.len(), 2, "one entry for each handle that was restricted");
    assert_eq!(fates(&vault), [Fate::Open; 3]);
    assert_eq!(code(vault.lift_restriction(&p3, "once more", WHO)), "SUBJECT_NOT_RESTRICTED");
    let vault = again(vault, &disk, &clock);
    assert_eq!(fates(&vault), [Fate::Open; 3]);
    // It can begin anew, and each entry says why under the person's own keys.
    let since = restrict(&vault, "p3");
    assert_eq!(fates(&vault), [Fate::Restricted; 3]);
    let head = vault.entry(since).unwrap().head;
    let clear = String::from_utf8(head.clear.clone()).unwrap();
    assert!(!clear.contains("Quellmalz") && !clear.contains("accuracy"), "{clear}");
    assert_eq!((head.tags.len(), head.groups.len()), (1, 2));
}

#[test]
fn an_erasure_takes_a_restricted_person_and_what_the_restriction_says() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let kept = Visit::new(2, "n1", "p1").class("6y");
    let at: Vec<EntryIndex> = append(&vault, &[Visit::new(1, "n1", "p1"), kept])
        .unwrap()
        .into_iter()
        .map(|receipt| receipt.index)
        .collect();
    let person = whom(&vault, patient("p1"));
    let since = restrict(&vault, "p1");
    let erased = vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    assert_eq!(erased.deferred.len(), 1, "a legal floor keeps the other class");
    let check = |vault: &Vault| {
        assert_eq!(data_fate(&read(vault, at[0])), Fate::Erased);
        assert_eq!(data_fate(&read(vault, at[1])), Fate::Restricted, "what stays, stays closed");
        let on = reading(vault, at[1], Some(Ground::LegalClaims));
        assert_eq!(fate_by(vault, at[1], on), Fate::Open);
        let said = read(vault, since);
        assert!(!text(&said).contains("Quellmalz"), "{}", text(&said));
        assert_eq!(said.groups[0], Fate::Erased);
        assert_eq!(code(vault.handles_of(&person)), "SUBJECT_UNKNOWN");
        let lift = vault.lift_restriction(&person, "gone", WHO);
        assert_eq!(code(lift), "SUBJECT_UNKNOWN");
    };
    check(&vault);
    let vault = again(vault, &disk, &clock);
    check(&vault);
    // Nobody was made known again by asking.
    assert_eq!(code(vault.persons_named(&[patient("p1")])), "SUBJECT_UNKNOWN");
    let late = vault.restrict(&person, Cause::UnlawfulUse, REASON, WHO);
    assert_eq!(code(late), "SUBJECT_UNKNOWN");
    assert_eq!(code(vault.persons_named(&[patient("p1")])), "SUBJECT_UNKNOWN");
    let report = vault.verify_bodies(&mut |_, _| {}).unwrap();
    assert_eq!(report.exit_code(), 0, "{report:?}");
    // Who comes back is another person to the vault, and is not restricted.
    let new = append(&vault, &[Visit::new(3, "n1", "p1")]).unwrap()[0].index;
    assert_eq!(data_fate(&read(&vault, new)), Fate::Open);
}

#[test]
fn what_reads_without_showing_goes_on_and_what_says_nothing_is_refused() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let visit = Visit::new(1, "n1", "p1");
    let first = append(&vault, std::slice::from_ref(&visit)).unwrap()[0].index;
    restrict(&vault, "p1");
    // The same event once more is known for the same, and another is told apart.
    let second = append(&vault, std::slice::from_ref(&visit)).unwrap();
    assert_eq!((second[0].index, second[0].duplicate), (first, true));
    let other = Visit { secret: "another".into(), ..visit };
    assert_eq!(code(append(&vault, &[other])), "DUPLICATE_DIFFERS");
    assert_eq!(vault.verify_bodies(&mut |_, _| {}).unwrap().exit_code(), 0);
    let person = whom(&vault, patient("p1"));
    let long = "x".repeat(1_025);
    for reason in ["", "  ", &long] {
        assert_eq!(code(vault.lift_restriction(&person, reason, WHO)), "FIELD_VALUE");
    }
    assert_eq!(data_fate(&read(&vault, first)), Fate::Restricted);
    // A nurse's own fields in the same record are hers.
    let nurse = read(&vault, first);
    assert!(nurse.value("actor.email").is_some(), "{:?}", nurse.fields);
    let nobody = whom(&vault, identifier("email", "n1@clinic.example"));
    assert!(vault.restriction_of(&[nobody]).unwrap().is_none());
}

/// Whoever is erased while somebody restricts or corrects is not brought back by that, whichever
/// came first.
#[test]
fn an_act_that_races_an_erasure_makes_nobody_known_again() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let ids: Vec<String> = (0..60).map(|n| format!("p{n}")).collect();
    let visits = (1..).zip(&ids).map(|(seq, id)| Visit::new(seq, "n1", id));
    let visits: Vec<Visit> = visits.collect();
    let receipts = append(&vault, &visits).unwrap();
    let (mut won, mut lost) = (0, 0);
    for (id, receipt) in ids.iter().zip(receipts) {
        let person = whom(&vault, patient(id));
        let acted = std::thread::scope(|scope| {
            let erase = || vault.erase(&[patient(id)], "gdpr-17-1", &two_people()).map(drop);
            let erasing = scope.spawn(erase);
            let restricted = vault.restrict(&person, Cause::UnlawfulUse, REASON, WHO);
            let values = [("data".to_owned(), b"1".to_vec())].into_iter().collect();
            let corrected = vault.correct(receipt.index, &values, REASON, WHO);
            erasing.join().unwrap().unwrap();
            [restricted, corrected]
        });
        for act in acted {
            match act {
                Ok(index) => {
                    won += 1;
                    assert!(!text(&read(&vault, index)).contains("Quellmalz"), "{index}");
                }
                Err(error) => {
                    lost += 1;
                    assert!(["SUBJECT_UNKNOWN", "FIELD_ERASED"].contains(&error.code()), "{error}");
                }
            }
        }
        assert_eq!(code(vault.persons_named(&[patient(id)])), "SUBJECT_UNKNOWN", "{id}");
    }
    println!("{won} acts before the erasure, {lost} after it");
    assert_eq!(vault.facts_now().restricted.len(), 0, "nothing is left of anybody");
    assert_eq!(vault.verify_bodies(&mut |_, _| {}).unwrap().exit_code(), 0);
}
