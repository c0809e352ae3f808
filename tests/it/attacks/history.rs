//! History rewritten by somebody who can write to the data directory and has no key: forged acts
//! beyond the checkpoint, changed acts within it, stray files, a missing checkpoint. What the
//! vault is not shown a signature for, it does not carry out.

use crate::attacks::raw::{Raw, Site, failures, steal};
use crate::support::world::two_people;
use chancery::base::entry::{Entry, Kind};
use chancery::base::id::{Hash32, JobId, RecordId};
use chancery::base::unit::{ClassDay, ClassId, Day, EntryIndex, Generation, UtcNanos};
use chancery::format::control::{self, Due, Genesis, PruneDone, PruneIntent, RootChange, Scope};
use chancery::format::entry;
use chancery::format::unit::UnitHead;
use std::fs;
use std::path::PathBuf;

/// A unit of acts, appended at the end. Nobody without the log key can sign it.
fn append(raw: &mut Raw, acts: Vec<(Kind, Vec<u8>)>) {
    let last = raw.entry(raw.size().0 - 1);
    let unit = raw.units.last().unwrap().0.clone();
    let unit = UnitHead { number: unit.number + 1, spans: Vec::new(), ..unit };
    raw.units.push((unit, Vec::new()));
    for (number, (kind, clear)) in acts.into_iter().enumerate() {
        let mut head = last.head.clone();
        head.kind = kind;
        head.record = RecordId([9 + number as u8; 16]);
        (head.source_seq, head.tags) = (None, Vec::new());
        (head.groups, head.fields) = (Vec::new(), Vec::new());
        head.clear = clear;
        let forged = Entry { head, index: EntryIndex(raw.size().0), ..last.clone() };
        raw.units.last_mut().unwrap().1.push(entry::encode(&forged).unwrap());
    }
}

/// The first class-day that an entry in the middle of the log has a body of.
fn some_class_day(raw: &Raw) -> ClassDay {
    let group = raw.entry(raw.size().0 / 2).head.groups[0].clone();
    ClassDay { class: group.class, day: group.bucket }
}

/// What orders the expiry of a class-day.
fn intent(raw: &Raw) -> PruneIntent {
    let ClassDay { class, day } = some_class_day(raw);
    let class_days = vec![Due { class, day, due: UtcNanos(1), groups: 1 }];
    let job = JobId([7; 16]);
    PruneIntent { job, class_days, policy: Default::default(), generation: Default::default() }
}

/// A unit of one entry that orders the expiry of the first class-day, appended at the end.
fn order_expiry(raw: &mut Raw) {
    let clear = control::encode(&intent(raw)).unwrap();
    append(raw, vec![(Kind::PruneIntent, clear)]);
}

/// The same with the entry that says it was done. Everything in it is right: places, chain, root,
/// and the generations of the key tree, which the log announces to everybody.
fn claim_expiry(raw: &mut Raw) {
    let plan = intent(raw);
    let genesis: Genesis = control::decode(&raw.entry(0).head.clear).unwrap();
    let to = Generation(genesis.generation.0 + 1);
    let (from, old_root, new_root) = (genesis.generation, genesis.root, Hash32([8; 32]));
    let done = PruneDone {
        job: plan.job,
        intent: EntryIndex(raw.size().0),
        class_days: vec![some_class_day(raw)],
        root: RootChange { from, to, old_root, new_root },
        missed: None,
    };
    let (plan, done) = (control::encode(&plan).unwrap(), control::encode(&done).unwrap());
    append(raw, vec![(Kind::PruneIntent, plan), (Kind::PruneDone, done)]);
}

#[test]
fn bodies_deleted_under_a_forged_expiry_are_missed() {
    let site = Site::with(3);
    let checkpoint = site.checkpoint();
    let mut raw = Raw::of(&site);
    let (size, class_day) = (raw.size(), some_class_day(&raw));
    claim_expiry(&mut raw);
    raw.cover_up();
    fs::write(site.places().checkpoint(), &checkpoint).unwrap();
    fs::remove_file(site.body_file(class_day)).unwrap();
    let report = site.verify();
    assert_eq!(report.exit_code(), 1, "{report:?}");
    let failed = failures(&report);
    assert!(failed.iter().all(|(name, _)| *name == "BODY_MISSING_UNJUSTIFIED"), "{failed:?}");
    assert!(report.has("TAIL_TORN", Some(EntryIndex(size.0))));
    assert_eq!((report.entries, report.kinds.get("prune-done")), (size.0, None));
    // Who has the log key is believed: that is what witnesses are for.
    raw.stolen = Some(steal(&site));
    raw.cover_up();
    let report = site.verify();
    assert_eq!((failures(&report), report.exit_code()), (vec![], 0));
    assert_eq!((report.entries, report.kinds.get("prune-done")), (size.0 + 2, Some(&1)));
}

#[test]
fn a_forged_unit_that_takes_in_signed_entries_is_forged_and_not_torn() {
    let site = Site::with(3);
    let checkpoint = site.checkpoint();
    let mut raw = Raw::of(&site);
    order_expiry(&mut raw);
    let (_, forged) = raw.units.pop().unwrap();
    let (head, entries) = raw.units.last_mut().unwrap();
    entries.extend(forged);
    let first = head.first.0;
    raw.cover_up();
    fs::write(site.places().checkpoint(), &checkpoint).unwrap();
    let report = site.verify();
    assert_eq!(failures(&report), [("FORGED_TAIL", Some(first))], "{:?}", report.verdicts);
}

#[test]
fn a_last_unit_with_a_flipped_byte_is_torn_and_convicts_nobody() {
    let site = Site::with(2);
    let checkpoint = site.checkpoint();
    let vault = site.open().unwrap();
    site.append(&vault, 11, 2);
    drop(vault);
    let raw = Raw::of(&site);
    let first = raw.units.last().unwrap().0.first.0;
    fs::write(site.places().checkpoint(), &checkpoint).unwrap();
    // As a crash leaves it: one sector of the unit not written, its hashes not in the tiles.
    let record = raw.entry(first).head.record.0;
    let segment = last_segment(&site);
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(16).rposition(|window| window == record).unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let tiles = site.places().tiles().join("0");
    let hashes = fs::read(&tiles).unwrap();
    fs::write(&tiles, &hashes[..32 * first as usize]).unwrap();
    let report = site.verify();
    assert_eq!((failures(&report), report.exit_code()), (vec![], 0), "{:?}", report.verdicts);
    assert!(report.has("TAIL_TORN", Some(EntryIndex(first))));
    assert_eq!(report.entries, first);
    // What the tiles still show was there.
    fs::write(&tiles, &hashes).unwrap();
    let failed = failures(&site.verify());
    assert!(failed.contains(&("LEAF_MISMATCH", Some(first))), "{failed:?}");
}

/// The segment with the newest unit.
fn last_segment(site: &Site) -> PathBuf {
    let files = fs::read_dir(site.places().log()).unwrap();
    let mut found: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| fs::metadata(path).unwrap().len() > 0);
    found.sort();
    found.pop().unwrap()
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
