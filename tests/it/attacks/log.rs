//! Attacks on the log: changed, removed, moved and repeated entries, cut and restored files.

use crate::attacks::raw::{Raw, Site, failures};
use chancery::base::id::RecordId;
use chancery::base::unit::{EntryIndex, NANOS_PER_DAY, NANOS_PER_SECOND, UtcNanos};
use chancery::format::checkpoint::Checkpoint;
use chancery::vault::prove::verify_consistency;
use chancery::vault::verify::Options;
use std::fs;

/// An entry in the middle of the log of `Site::with(4)`.
const MIDDLE: u64 = 8;

#[test]
fn an_honest_log_verifies() {
    let site = Site::with(4);
    let report = site.verify();
    assert_eq!((failures(&report), report.exit_code()), (vec![], 0), "{report:?}");
    assert!(report.entries > 20 && report.unsigned_tail == 0);
    assert_eq!(report.bodies, report.groups);
}

#[test]
fn attack_01_a_bit_flipped_in_an_entry() {
    let site = Site::with(4);
    let size = Raw::of(&site).size().0;
    for index in [0, MIDDLE, size - 1] {
        let len = Raw::of(&site).entry_mut(index).len();
        // In the event time, in a commitment or padding, and in the place.
        for (byte, names) in [
            (15, &["LEAF_MISMATCH"][..]),
            (len - 41, &["INDEX_OR_PREV_MISMATCH", "LEAF_MISMATCH"]),
            (len - 60, &["LEAF_MISMATCH", "MALFORMED"]),
        ] {
            let mut raw = Raw::of(&site);
            raw.entry_mut(index)[byte] ^= 1;
            raw.write();
            let report = site.verify();
            assert!(report.has("LEAF_MISMATCH", Some(EntryIndex(index))), "{report:?}");
            for (name, at) in failures(&report) {
                assert_eq!(at, Some(index), "others are fine: {name} {report:?}");
                assert!(names.contains(&name) || name == "MALFORMED", "{name} byte {byte}");
            }
            raw.entry_mut(index)[byte] ^= 1;
            raw.write();
        }
    }
    assert_eq!(site.verify().exit_code(), 0);
}

#[test]
fn attack_02_an_entry_and_its_leaf_hash_replaced() {
    let site = Site::with(4);
    let mut raw = Raw::of(&site);
    raw.edit(MIDDLE, |entry| entry.head.time = UtcNanos(entry.head.time.0 + 1));
    raw.write();
    raw.write_tiles();
    let first = raw.units[raw.find(MIDDLE).0].0.first.0;
    let found = failures(&site.verify());
    // The unit's root, the successor's chain, and the signed root all say so.
    assert!(found.contains(&("ROOT_MISMATCH", Some(first))), "{found:?}");
    assert!(found.contains(&("ROOT_MISMATCH", None)), "{found:?}");
    assert!(found.contains(&("INDEX_OR_PREV_MISMATCH", Some(MIDDLE + 1))), "{found:?}");
    // With everything put right but the signature, the signed root alone says so.
    raw.cover_up();
    assert_eq!(failures(&site.verify()), [("ROOT_MISMATCH", None)]);
    assert_eq!(site.open().err().map(|e| e.code()), Some("ROOT_MISMATCH"));
}

#[test]
fn attack_04_a_middle_entry_deleted_and_the_rest_renumbered() {
    let site = Site::with(4);
    let mut raw = Raw::of(&site);
    let (unit, at) = raw.find(MIDDLE);
    raw.units[unit].1.remove(at);
    raw.renumber(false);
    raw.relink();
    raw.write();
    raw.write_tiles();
    let report = site.verify();
    assert!(report.has("INDEX_OR_PREV_MISMATCH", Some(EntryIndex(MIDDLE))), "{report:?}");
    assert!(report.has("ROLLED_BACK", Some(EntryIndex(raw.size().0))), "{report:?}");
    // Chained anew, and with a made-up entry at the end so that the size is right.
    let more = raw.entries().pop().unwrap();
    raw.units.last_mut().unwrap().1.push(more);
    raw.cover_up();
    let found = failures(&site.verify());
    assert!(found.contains(&("ROOT_MISMATCH", None)), "{found:?}");
}

#[test]
fn attack_05_two_entries_swapped() {
    let site = Site::with(4);
    let mut raw = Raw::of(&site);
    let (unit, at) = raw.find(MIDDLE);
    raw.units[unit].1.swap(at, at + 1);
    raw.relink();
    raw.write();
    raw.write_tiles();
    let report = site.verify();
    for index in [MIDDLE, MIDDLE + 1] {
        assert!(report.has("INDEX_OR_PREV_MISMATCH", Some(EntryIndex(index))), "{report:?}");
    }
    assert!(report.has("ROOT_MISMATCH", None));
    raw.cover_up();
    let report = site.verify();
    assert!(report.has("ROOT_MISMATCH", None), "{report:?}");
    assert!(!report.counts.contains_key("INDEX_OR_PREV_MISMATCH"), "{report:?}");
}

#[test]
fn attack_06_the_log_cut_below_the_checkpoint() {
    let site = Site::with(4);
    let mut raw = Raw::of(&site);
    raw.units.pop();
    raw.cover_up();
    let report = site.verify();
    assert_eq!(failures(&report), [("ROLLED_BACK", Some(raw.size().0))]);
    assert_eq!(site.open().err().map(|e| e.code()), Some("ROLLED_BACK"));
    // Checkpoint and log both put back: only who kept the newer checkpoint can tell.
    let site = Site::with(2);
    let (old, before) = (Raw::of(&site), site.checkpoint());
    let vault = site.open().unwrap();
    site.append(&vault, 11, 2);
    drop(vault);
    let kept = site.checkpoint();
    let mut old = old;
    old.write();
    old.write_tiles();
    fs::write(site.places().checkpoint(), &before).unwrap();
    let options = Options { retained: vec![kept.clone()], ..Options::default() };
    let report = site.verify_with(&options);
    assert!(report.has("ROLLED_BACK", Some(EntryIndex(old.size().0))), "{report:?}");
    let (kept, before) = (kept.as_bytes(), before.as_bytes());
    let error = verify_consistency(kept, before, &[], &site.trust).unwrap_err();
    assert_eq!(error.code(), "ROLLED_BACK");
}

#[test]
fn attack_07_acknowledged_entries_dropped_before_the_checkpoint() {
    let site = Site::with(2);
    let before = site.checkpoint();
    let kept = Raw::of(&site);
    let vault = site.open().unwrap();
    site.append(&vault, 11, 1);
    let receipt = vault.checkpoint().unwrap();
    drop(vault);
    // The unit and every trace of its checkpoint go; the source counts on.
    let mut raw = kept;
    raw.write();
    raw.write_tiles();
    fs::write(site.places().checkpoint(), before).unwrap();
    let vault = site.open().unwrap();
    site.append(&vault, 16, 1);
    drop(vault);
    let first = raw.size().0;
    let report = site.verify();
    assert_eq!((report.gaps, report.failures), (5, 0), "{report:?}");
    let gap = report.verdicts.iter().find(|v| v.name == "SOURCE_GAP").unwrap();
    assert_eq!(gap.index, Some(EntryIndex(first)));
    assert!(gap.detail.contains("numbers 11 to 15"), "{}", gap.detail);
    let strict = Options { strict: true, ..Options::default() };
    assert_eq!(site.verify_with(&strict).exit_code(), 1);
    // And the sender's receipt contradicts the log.
    let options = Options { retained: vec![receipt.to_string()], ..Options::default() };
    let found = failures(&site.verify_with(&options));
    let verdicts = ["INCONSISTENT", "EQUIVOCATION"];
    assert!(found.iter().any(|(name, _)| verdicts.contains(name)), "{found:?}");
    let opened = Checkpoint::open(receipt.as_bytes(), &site.trust.logs()[0].verifier).unwrap();
    let error =
        verify_consistency(receipt.as_bytes(), site.checkpoint().as_bytes(), &[], &site.trust)
            .unwrap_err();
    assert!(verdicts.contains(&error.code()), "{} {error}", opened.size);
}

#[test]
fn attack_08_an_old_event_appended_again() {
    let site = Site::with(4);
    let mut raw = Raw::of(&site);
    let size = raw.size().0;
    let old = raw.entries()[MIDDLE as usize].clone();
    raw.units.last_mut().unwrap().1.push(old.clone());
    raw.units.last_mut().unwrap().1.push(old);
    // Log time may not fall, so the attacker gives the copies the last entry's.
    let time = raw.entry(size - 1).time_log;
    for index in [size, size + 1] {
        raw.edit(index, |entry| entry.time_log = time);
    }
    raw.edit(size + 1, |entry| entry.head.record = RecordId([5; 16]));
    raw.cover_up();
    let report = site.verify();
    assert!(report.has("DUP_RID", Some(EntryIndex(size))), "{report:?}");
    assert!(report.has("DUP_SOURCE_SEQ", Some(EntryIndex(size))), "{report:?}");
    assert!(report.has("DUP_SOURCE_SEQ", Some(EntryIndex(size + 1))), "{report:?}");
    assert!(!report.has("DUP_RID", Some(EntryIndex(size + 1))), "{report:?}");
    assert_eq!(report.unsigned_tail, 2);
}

#[test]
fn attack_09_an_entry_dated_back() {
    let site = Site::with(4);
    let mut raw = Raw::of(&site);
    let before = raw.entry(MIDDLE).time_log;
    raw.edit(MIDDLE + 1, |entry| entry.time_log = UtcNanos(before.0 - NANOS_PER_DAY));
    raw.cover_up();
    let found = failures(&site.verify());
    assert!(found.contains(&("TIME_REGRESSION", Some(MIDDLE + 1))), "{found:?}");
    let falls = found.iter().filter(|(name, _)| *name == "TIME_REGRESSION").count();
    assert_eq!(falls, 1, "one entry is back-dated, not all after it");
}

#[test]
fn attack_10_the_clock_set_back_a_day() {
    let site = Site::with(1);
    let vault = site.open().unwrap();
    let before = vault.entry(EntryIndex(vault.size().0 - 1)).unwrap().time_log;
    site.clock.set_wall(UtcNanos(before.0 - NANOS_PER_DAY));
    site.append(&vault, 6, 1);
    assert!(vault.clock().alarm().is_some_and(|apart| apart > NANOS_PER_DAY / 2));
    drop(vault);
    // Nor does a start with the wrong clock turn log time back.
    let vault = site.open().unwrap();
    site.append(&vault, 11, 1);
    let last = vault.entry(EntryIndex(vault.size().0 - 1)).unwrap().time_log;
    assert!(last.0 >= before.0 + NANOS_PER_SECOND, "{last} after {before}");
    drop(vault);
    let report = site.verify();
    assert_eq!((failures(&report), report.exit_code()), (vec![], 0), "{report:?}");
}

#[test]
fn attack_11_an_entry_of_another_tenant() {
    let (site, other) = (Site::with(4), Site::seeded(2, 1));
    let foreign = Raw::of(&other).entries().pop().unwrap();
    let mut raw = Raw::of(&site);
    *raw.entry_mut(MIDDLE) = foreign;
    raw.write();
    let report = site.verify();
    for name in ["TENANT_MISMATCH", "LEAF_MISMATCH", "INDEX_OR_PREV_MISMATCH"] {
        assert!(report.has(name, Some(EntryIndex(MIDDLE))), "{name} {report:?}");
    }
    raw.cover_up();
    let report = site.verify();
    assert!(report.has("TENANT_MISMATCH", Some(EntryIndex(MIDDLE))), "{report:?}");
    assert_eq!(report.counts.get("TENANT_MISMATCH"), Some(&1));
    assert!(report.has("ROOT_MISMATCH", None));
}

#[test]
fn attack_43_the_index_deleted_damaged_or_stale() {
    let mut site = Site::with(3);
    site.config.index_on_disk = true;
    let find = |site: &Site| {
        let vault = site.open().unwrap();
        vault.settle();
        let named =
            chancery::base::event::Identifier { kind: "patient_id".into(), value: "p1".into() };
        let preview = vault.preview_erasure(&[named]).unwrap();
        preview.records.values().sum::<u64>()
    };
    let found = find(&site);
    assert!(found > 2);
    let index = site.places().index();
    let stale = tempfile::tempdir().unwrap();
    copy(&index, stale.path());
    fs::remove_dir_all(&index).unwrap();
    assert_eq!(find(&site), found, "deleted");
    for file in fs::read_dir(&index).unwrap().map(|f| f.unwrap().path()) {
        if file.is_file() {
            fs::write(file, [0x5a; 512]).unwrap();
        }
    }
    assert_eq!(find(&site), found, "damaged");
    let vault = site.open().unwrap();
    site.append(&vault, 16, 4);
    vault.settle();
    drop(vault);
    let more = find(&site);
    assert!(more > found);
    fs::remove_dir_all(&index).unwrap();
    copy(stale.path(), &index);
    assert_eq!(find(&site), more, "last week's");
    assert_eq!(site.verify().exit_code(), 0);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}
