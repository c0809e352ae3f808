//! History rewritten by somebody who can write to the data directory and has no key: forged acts
//! beyond the checkpoint, changed acts within it, stray files, a missing checkpoint. What the
//! vault is not shown a signature for, it does not carry out.

use crate::attacks::raw::{Raw, Site, failures, steal};
use crate::support::world::two_people;
use chancery::base::entry::{Entry, Kind};
use chancery::base::id::{JobId, RecordId};
use chancery::base::unit::{ClassId, Day, EntryIndex, UtcNanos};
use chancery::format::control::{self, Due, PruneIntent, Scope};
use chancery::format::entry;
use chancery::format::unit::UnitHead;
use std::fs;

/// A unit of one entry that orders the expiry of the first class-day, appended at the end.
fn order_expiry(raw: &mut Raw) {
    let last = raw.entry(raw.size().0 - 1);
    let group = raw.entry(raw.size().0 / 2).head.groups[0].clone();
    let due = UtcNanos(1);
    let plan = PruneIntent {
        job: JobId([7; 16]),
        class_days: vec![Due { class: group.class, day: group.bucket, due, groups: 1 }],
        policy: Default::default(),
        generation: Default::default(),
    };
    let mut head = last.head.clone();
    head.kind = Kind::PruneIntent;
    head.record = RecordId([9; 16]);
    (head.source_seq, head.tags) = (None, Vec::new());
    (head.groups, head.fields) = (Vec::new(), Vec::new());
    head.clear = control::encode(&plan).unwrap();
    let index = EntryIndex(raw.size().0);
    let forged = Entry { head, index, ..last };
    let unit = raw.units.last().unwrap().0.clone();
    let unit = UnitHead { number: unit.number + 1, spans: Vec::new(), ..unit };
    raw.units.push((unit, vec![entry::encode(&forged).unwrap()]));
}

#[test]
fn a_forged_expiry_beyond_the_checkpoint_is_not_carried_out() {
    let site = Site::with(3);
    let checkpoint = site.checkpoint();
    let mut raw = Raw::of(&site);
    let size = raw.size();
    order_expiry(&mut raw);
    raw.cover_up();
    fs::write(site.places().checkpoint(), &checkpoint).unwrap();
    assert!(site.verify().has("TAIL_TORN", Some(EntryIndex(size.0))));
    let vault = site.open().unwrap();
    assert_eq!(vault.size(), size, "the forged act is not part of the log");
    assert!(vault.facts_now().prunes.is_empty());
    assert!(vault.notices().iter().any(|n| n.code == "TAIL_DROPPED"));
}

#[test]
fn two_forged_units_are_refused_and_nothing_is_changed() {
    let site = Site::with(3);
    let checkpoint = site.checkpoint();
    let mut raw = Raw::of(&site);
    order_expiry(&mut raw);
    order_expiry(&mut raw);
    raw.cover_up();
    fs::write(site.places().checkpoint(), &checkpoint).unwrap();
    let segment = site.places().log().join("00000000.seg");
    let before = fs::read(&segment).unwrap();
    assert!(failures(&site.verify()).iter().any(|(name, _)| *name == "FORGED_TAIL"));
    assert!(site.open().err().unwrap().to_string().contains("CORRUPT_TAIL"));
    assert_eq!(fs::read(&segment).unwrap(), before);
}

#[test]
fn a_thief_of_the_log_key_is_believed_which_is_why_witnesses_exist() {
    let site = Site::with(2);
    let checkpoint = site.checkpoint();
    let mut raw = Raw::of(&site);
    raw.stolen = Some(steal(&site));
    let size = raw.size().0;
    order_expiry(&mut raw);
    raw.cover_up();
    fs::write(site.places().checkpoint(), &checkpoint).unwrap();
    assert!(!site.verify().has("TAIL_TORN", Some(EntryIndex(size))));
}

#[test]
fn a_hold_changed_within_the_signed_part_is_not_believed() {
    let site = Site::with(2);
    let vault = site.open().unwrap();
    let scope = Scope::ClassDays { class: ClassId(4), from: Day(1), to: Day(99_999) };
    let (_, index) = vault.set_hold(None, "case", scope, &two_people()).unwrap();
    vault.checkpoint().unwrap();
    drop(vault);
    let mut raw = Raw::of(&site);
    let clear = raw.entry(index.0).head.clear;
    let segment = site.places().log().join("00000000.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(clear.len()).position(|w| w == clear).unwrap();
    let case = at + clear.windows(8).position(|w| w == b"\"case\":\"").unwrap() + 8;
    bytes[case] = if bytes[case] == b'0' { b'1' } else { b'0' };
    fs::write(&segment, &bytes).unwrap();
    assert_eq!(site.open().err().unwrap().code(), "ROOT_MISMATCH");
    assert_eq!(fs::read(&segment).unwrap(), bytes, "nothing is cut");
    raw.write();
    assert!(site.open().is_ok(), "the true bytes put back open");
}

#[test]
fn a_stray_copy_in_the_log_directory_costs_nothing() {
    let site = Site::with(3);
    let log = site.places().log();
    let segment = log.join("00000000.seg");
    let before = fs::read(&segment).unwrap();
    fs::write(log.join("0.seg"), b"").unwrap();
    fs::write(log.join("copy.seg"), &before).unwrap();
    drop(site.open().unwrap());
    fs::write(log.join("00000009.seg"), &before).unwrap();
    assert!(site.open().err().unwrap().to_string().contains("CORRUPT_TAIL"));
    assert_eq!(fs::read(&segment).unwrap()[..before.len()], before);
    fs::remove_file(log.join("00000009.seg")).unwrap();
    assert!(site.open().is_ok());
}

#[test]
fn a_log_that_lost_its_checkpoint_is_not_continued() {
    let site = Site::with(3);
    fs::remove_file(site.places().checkpoint()).unwrap();
    assert_eq!(site.open().err().unwrap().code(), "CHECKPOINT_MISSING");
}
