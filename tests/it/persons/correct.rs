//! A correction is an entry of its own, under the same persons as what it corrects, found from both
//! ends and taken by the same erasure; the event stays as it is.

use super::{WHO, again, clock, code, init};
use crate::support::clinic::{Visit, append, assert_sound, patient, read, text};
use crate::support::sim::SimDisk;
use crate::support::world::two_people;
use chancery::base::limits::CORRECTIONS_OF_ONE_MAX;
use chancery::base::record::Fate;
use chancery::base::unit::EntryIndex;
use chancery::format::control::Cause;
use chancery::vault::Vault;
use chancery::vault::correct::corrects;
use std::collections::BTreeMap;

const REASON: &str = "the patient has shown that it was Quellmalz";

fn values(of: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    of.iter().map(|(name, text)| (name.to_string(), text.as_bytes().to_vec())).collect()
}

fn correct(vault: &Vault, event: EntryIndex, of: &[(&str, &str)]) -> EntryIndex {
    vault.correct(event, &values(of), REASON, WHO).unwrap()
}

#[test]
fn a_correction_is_found_from_both_ends_and_leaves_the_event_as_it_is() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let at = append(&vault, &[Visit::new(1, "n1", "p1").class("6y")]).unwrap()[0].index;
    let before = read(&vault, at);
    let fields = [("data", r#"{"note":"right-1"}"#), ("actor.email", r#""n2@clinic.example""#)];
    let first = correct(&vault, at, &fields);
    let second = correct(&vault, at, &[("data", r#"{"note":"right-2"}"#)]);
    let check = |vault: &Vault| {
        assert_eq!(vault.corrections_of(at), [first, second]);
        assert_eq!(vault.corrections_of(first), []);
        let (event, one) = (read(vault, at), read(vault, first));
        assert_eq!((corrects(&event.entry), corrects(&one.entry)), (None, Some(at)));
        assert_eq!((event.leaf, text(&event)), (before.leaf, text(&before)));
        assert_eq!(one.value("data").unwrap(), br#"{"note":"right-1"}"#);
        assert_eq!(one.value("actor.email").unwrap(), br#""n2@clinic.example""#);
        assert!(text(&one).contains("Quellmalz"), "the reason is there, sealed");
        // As the event: class, persons, and each field under the same ones.
        assert_eq!(one.entry.head.class, event.entry.head.class);
        assert_eq!(one.entry.head.tags, event.entry.head.tags);
        for name in ["data", "actor.email"] {
            let tags = |record: &chancery::base::record::Record| {
                let field = record.fields.iter().find(|field| &*field.name == name).unwrap();
                let group = &record.entry.head.groups[usize::from(field.group)];
                group.tags.iter().map(|at| record.entry.head.tags[usize::from(*at)]).collect()
            };
            let (was, is): (Vec<_>, Vec<_>) = (tags(&event), tags(&one));
            assert_eq!(was, is, "{name}");
        }
        let clear = String::from_utf8(one.entry.head.clear.clone()).unwrap();
        assert_eq!(clear, format!(r#"{{"corrects":{at},"what":"correction"}}"#));
    };
    check(&vault);
    let vault = again(vault, &disk, &clock);
    check(&vault);
    assert_sound(&vault, "corrected");
}

#[test]
fn an_erasure_takes_the_event_and_its_corrections() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let at = append(&vault, &[Visit::new(1, "n1", "p1")]).unwrap()[0].index;
    let by = correct(&vault, at, &[("data", r#""right""#)]);
    vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    for index in [at, by] {
        let record = read(&vault, index);
        let field = record.fields.iter().find(|field| &*field.name == "data").unwrap();
        assert_eq!(record.groups[usize::from(field.group)], Fate::Erased, "{index}");
        assert!(!text(&record).contains("right") && !text(&record).contains("Quellmalz"));
    }
    assert_eq!(vault.corrections_of(at), [by], "that there was one stays");
    let late = vault.correct(at, &values(&[("data", "1")]), REASON, WHO);
    assert_eq!(code(late), "FIELD_ERASED");
    assert_eq!(code(vault.persons_named(&[patient("p1")])), "SUBJECT_UNKNOWN");
}

#[test]
fn a_correction_goes_on_under_a_restriction_and_is_closed_by_it() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let at = append(&vault, &[Visit::new(1, "n1", "p1")]).unwrap()[0].index;
    let person = super::whom(&vault, patient("p1"));
    vault.restrict(&person, Cause::AccuracyContested, REASON, WHO).unwrap();
    let by = correct(&vault, at, &[("data", r#""right""#)]);
    assert!(!text(&read(&vault, by)).contains("right"));
    vault.lift_restriction(&person, "corrected", WHO).unwrap();
    assert!(text(&read(&vault, by)).contains("right"));
}

#[test]
fn what_cannot_be_corrected_is_refused_by_name() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let at = append(&vault, &[Visit::new(1, "n1", "p1").class("6y")]).unwrap()[0].index;
    let by = correct(&vault, at, &[("data", "1")]);
    let size = vault.size();
    let check = |index: EntryIndex, of: &[(&str, &str)], reason: &str, expect: &str| {
        let got = vault.correct(index, &values(of), reason, WHO);
        assert_eq!(code(got), expect, "{index} {of:?}");
    };
    check(EntryIndex(99), &[("data", "1")], REASON, "ENTRY_UNKNOWN");
    check(EntryIndex(0), &[("data", "1")], REASON, "CORRECTION_KIND");
    check(by, &[("data", "1")], REASON, "CORRECTION_KIND");
    check(at, &[], REASON, "FIELD_REQUIRED");
    check(at, &[("data", "1"), ("patient.name", "1")], REASON, "FIELD_UNKNOWN");
    check(at, &[("purpose", r#""research""#)], REASON, "FIELD_CLEAR");
    check(at, &[("data", "{")], REASON, "JSON_SYNTAX");
    check(at, &[("data", r#"{"a":1,"a":2}"#)], REASON, "JSON_DUPLICATE_KEY");
    check(at, &[("data", "1")], " ", "FIELD_VALUE");
    assert_eq!(vault.size(), size, "nothing was written");
    for _ in 1..CORRECTIONS_OF_ONE_MAX {
        correct(&vault, at, &[("data", "1")]);
    }
    check(at, &[("data", "1")], REASON, "CORRECTIONS_TOO_MANY");
    clock.pass_days(2_300);
    vault.expire(None).unwrap();
    check(at, &[("data", "1")], REASON, "FIELD_EXPIRED");
}
