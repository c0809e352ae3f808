//! What a dishonest vault could publish under its own, right signature: ambiguous entries, wrong
//! seals, acts without cause, keys that do not hand over, tiles that lie.

use crate::attacks::forge::{Forge, key};
use crate::attacks::raw::failures;
use chancery::base::entry::{FieldHead, GroupHead, GroupPolicy, Kind};
use chancery::base::id::{CaseId, Hash32, JobId, SubjectTag};
use chancery::base::unit::{
    ClassDay, ClassId, Day, EntryIndex, Generation, NANOS_PER_DAY, TreeSize, UtcNanos,
};
use chancery::format::complete::range;
use chancery::format::control::{self, RootChange};
use chancery::format::entry::{TAIL_BYTES, encode_head};
use chancery::format::roll::KeyRoll;
use chancery::format::seal::epoch::EpochTables;
use chancery::format::seal::payload::{DaySealPayload, SealPayload};
use chancery::format::seal::sample::Sample;
use chancery::format::trust::Trust;
use chancery::store::disk::{Disk, OsDisk};
use chancery::vault::verify::{Options, seal_evidence, verify_data};
use std::fs;
use std::sync::Arc;

/// Entries of an epoch.
const EPOCH: u64 = 65_536;

#[test]
fn an_honest_forge_verifies() {
    let mut forge = Forge::new();
    forge.events(0..300);
    let report = forge.verify();
    assert_eq!((failures(&report), report.exit_code()), (vec![], 0), "{report:?}");
}

/// The seal of epoch 0 as its entries bear it out.
fn seal(forge: &Forge) -> SealPayload {
    let entries: Vec<_> = (0..EPOCH).map(|i| forge.entry(i)).collect();
    let tables = EpochTables::build(0, &entries).unwrap();
    tables.payload(&tables.tables(), forge.root(0, EPOCH as usize)).unwrap()
}

#[test]
fn attack_31_a_seal_with_wrong_counts_or_none() {
    let mut forge = Forge::new();
    forge.events(1..EPOCH);
    let honest = seal(&forge);
    let at = forge.act(Kind::Seal, honest.encode());
    let report = forge.verify();
    assert_eq!((failures(&report), report.seals_replayed), (vec![], 1));
    let wrong = [
        SealPayload { count_root: Hash32([1; 32]), ..honest },
        SealPayload { index_root: Hash32([1; 32]), ..honest },
        SealPayload { source_rows: honest.source_rows + 1, ..honest },
        SealPayload { root: Hash32([1; 32]), ..honest },
    ];
    for wrong in wrong {
        forge.pop();
        forge.act(Kind::Seal, wrong.encode());
        let found = failures(&forge.verify());
        assert!(!found.is_empty());
        assert_eq!(found, [("SEAL_MISMATCH", Some(at))], "one wrong seal, one finding");
        assert_eq!(transferred(&forge, at), "SEAL_MISMATCH");
    }
    // Log times are compared also by who computes no table again.
    for wrong in [
        SealPayload { t_first: UtcNanos(honest.t_first.0 - 1), ..honest },
        SealPayload { t_last: UtcNanos(honest.t_last.0 + 1), ..honest },
    ] {
        forge.pop();
        forge.act(Kind::Seal, wrong.encode());
        forge.expect(&[("SEAL_MISMATCH", Some(at))]);
        let trust = forge.trust(&[forge.signer.verifier().clone()]);
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let options = Options::default();
        let report = verify_data(&disk, forge.dir.path(), Some(&trust), &options, &mut |_, _| {});
        assert_eq!(failures(&report.unwrap()), [("SEAL_MISMATCH", Some(at))]);
    }
    forge.pop();
    forge.act(Kind::Seal, honest.encode());
    forge.verify();
    assert_eq!(transferred(&forge, at), "VERIFIED");
    forge.pop();
    forge.events(EPOCH..2 * EPOCH);
    forge.expect(&[("SEAL_MISSING", Some(2 * EPOCH))]);
    // One that comes late is there; a second one is one too many.
    let late = forge.act(Kind::Seal, honest.encode());
    let report = forge.verify();
    assert!(failures(&report).is_empty() && report.has("SEAL_LATE", Some(EntryIndex(late))));
    let again = forge.act(Kind::Seal, honest.encode());
    forge.expect(&[("SEAL_DUPLICATE", Some(again))]);
}

/// What somebody elsewhere finds in the evidence about the seal at `at`, with pinned trust alone.
fn transferred(forge: &Forge, at: u64) -> &'static str {
    let mut file = Vec::new();
    let dir = forge.dir.path();
    seal_evidence(&OsDisk, dir, EntryIndex(at), &mut file).unwrap();
    let trust = forge.trust(&[forge.signer.verifier().clone()]);
    let found = range::verify(&mut &*file, Some(&trust), Some(&Sample::all()));
    match found {
        Ok(found) => {
            assert_eq!(found.replayed.unwrap().agree, [(0, EntryIndex(at))]);
            "VERIFIED"
        }
        Err(fault) => fault.verdict().unwrap(),
    }
}

#[test]
fn attack_31_a_day_seal_that_leaves_entries_out() {
    let mut forge = Forge::new();
    forge.events(0..9);
    let day = Day((forge.time / NANOS_PER_DAY) as u32);
    forge.time += NANOS_PER_DAY;
    let end = EntryIndex(forge.next());
    for (first, end, right) in [
        (EntryIndex(0), end, true),
        (EntryIndex(0), EntryIndex(end.0 - 1), false),
        (EntryIndex(1), end, false),
    ] {
        let payload = DaySealPayload { day, first, end };
        let at = forge.act(Kind::DaySeal, payload.encode());
        match right {
            true => forge.expect(&[]),
            false => forge.expect(&[("SEAL_MISMATCH", Some(at))]),
        }
        forge.pop();
    }
}

#[test]
fn attack_36_a_key_roll_without_both_signatures_and_a_retired_key() {
    let mut forge = Forge::new();
    forge.events(0..9);
    let origin = forge.file.origin();
    let (old, new, thief) = (key(&origin, 1), key(&origin, 3), key(&origin, 4));
    let names = (old.verifier().to_string(), new.verifier().to_string());
    let until = TreeSize(forge.next() + 1);
    let honest = KeyRoll::sign(&old, &new, until).unwrap();
    // The last signature line goes: one of the two keys has not signed.
    let (one_sided, _) = honest.trim_end().rsplit_once('\n').unwrap();
    let foreign = KeyRoll::sign(&thief, &new, until).unwrap();
    let early = KeyRoll::sign(&old, &new, TreeSize(until.0 - 1)).unwrap();
    for (note, fails) in [
        (honest.clone(), None),
        (format!("{one_sided}\n"), Some("UNTRUSTED_KEY")),
        (foreign, Some("UNTRUSTED_KEY")),
        (early, Some("MALFORMED")),
        ("no note".to_owned(), Some("MALFORMED")),
    ] {
        let roll = control::KeyRoll::LogKey { note, mode: control::Mode::TwoPerson };
        let at = forge.act(Kind::KeyRoll, control::encode(&roll).unwrap());
        forge.expect(&fails.map(|name| (name, Some(at))).into_iter().collect::<Vec<_>>());
        forge.pop();
    }
    // The old key may sign up to size 5.
    let id: String = old.verifier().id().iter().map(|b| format!("{b:02x}")).collect();
    let text = format!("log {}\nlog {}\nuntil {id} 5\nquorum none\n", names.0, names.1);
    let trust = Trust::parse(&text).unwrap();
    forge.publish(&[&old]);
    assert_eq!(failures(&forge.verify_with(&trust)), [("KEY_RETIRED", None)]);
    forge.publish(&[&new]);
    assert_eq!(failures(&forge.verify_with(&trust)), []);
    let only_old = forge.trust(&[old.verifier().clone()]);
    let report = forge.verify_with(&only_old);
    assert!(report.has("UNTRUSTED_KEY", None), "{report:?}");
    assert_eq!((failures(&report), report.exit_code()), (vec![], 4));
}

#[test]
fn attack_38_tiles_that_lie() {
    let mut forge = Forge::new();
    forge.events(0..599);
    forge.publish(&[&forge.signer]);
    let trust = forge.trust(&[forge.signer.verifier().clone()]);
    let check = |level: &str, edit: &dyn Fn(&mut Vec<u8>), names: &[(&str, u64)], code: u8| {
        let path = forge.places().tiles().join(level);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        edit(&mut bad);
        fs::write(&path, bad).unwrap();
        let report = forge.verify_with(&trust);
        let found: Vec<_> =
            report.verdicts.iter().map(|v| (v.name, v.index.map_or(0, |i| i.0))).collect();
        assert_eq!((found, report.exit_code()), (names.to_vec(), code), "level {level}");
        fs::write(&path, good).unwrap();
    };
    check("0", &|_| {}, &[], 0);
    check("0", &|b| b[32 * 77] ^= 1, &[("TILE_MISMATCH", 77)], 1);
    check("1", &|b| b[32] ^= 1, &[("TILE_MISMATCH", 256)], 1);
    check("0", &|b| b.truncate(32 * 590 + 7), &[("TILE_MISSING", 590)], 0);
    check("1", &|b| b.truncate(32), &[("TILE_MISSING", 256)], 0);
    // Hashes of a tile that is not full yet, or of leaves that are not there, are never read.
    check("1", &|b| b.extend_from_slice(&[7; 32]), &[], 0);
    check("0", &|b| b.extend_from_slice(&[7; 64]), &[], 0);
}

/// Entries that could be read in two ways, each signed.
#[test]
fn attack_39_ambiguous_entries() {
    let mut forge = Forge::new();
    forge.events(0..5);
    let mut head = forge.head(Kind::Event, Vec::new());
    head.tags = vec![SubjectTag([1; 16]), SubjectTag([2; 16])];
    let bucket = Day((forge.time / NANOS_PER_DAY) as u32);
    let tags = vec![0];
    let policy = GroupPolicy::AnySubject;
    head.groups = vec![GroupHead { policy, class: ClassId(1), bucket, tags }];
    let field = |name: &str| FieldHead { name: name.into(), group: 0, commitment: Hash32([3; 32]) };
    head.fields = vec![field("actor.id"), field("reason")];
    let good = encode_head(&head).unwrap();
    let edit = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        bad
    };
    // The encoder refuses these three, so they are cut from good bytes.
    let same_tags = [&good[..112], &good[96..112], &good[128..]].concat();
    let (first, second) = (&good[137..179], &good[179..219]);
    let swapped = [&good[..137], second, first, &good[219..]].concat();
    let twice = [&good[..137], first, first, &good[219..good.len() - 2]].concat();
    let heads = [
        [&good[..], &[0; 64]].concat(),
        edit(4, 99),
        edit(5, 0x81),
        edit(93, 2),
        edit(95, 1),
        edit(95, 3),
        edit(128 + 8, 255),
        edit(good.len() - 1, 1),
        same_tags,
        swapped,
        twice,
    ];
    for (case, mut bytes) in heads.into_iter().enumerate() {
        let index = forge.next();
        bytes.extend_from_slice(&index.to_be_bytes());
        bytes.extend_from_slice(&forge.time.to_be_bytes());
        bytes.extend_from_slice(&forge.last_leaf().0);
        assert_eq!(bytes.len() % 64, 64 - 17, "{TAIL_BYTES} bytes of tail");
        forge.push_bytes(bytes);
        forge.event(1, 5);
        let found = failures(&forge.verify());
        assert_eq!(found, [("MALFORMED", Some(index))], "case {case}");
        forge.pop();
        forge.pop();
    }
    let mut odd = encode_head(&head).unwrap();
    odd.extend_from_slice(&[0; 49]);
    let index = forge.push_bytes(odd);
    forge.expect(&[("MALFORMED", Some(index))]);
}

#[test]
fn acts_without_cause_are_named() {
    let change = |from: u64, to: u64, old: u8, new: u8| RootChange {
        from: Generation(from),
        to: Generation(to),
        old_root: Hash32([old; 32]),
        new_root: Hash32([new; 32]),
    };
    let grow = |root: RootChange| control::encode(&control::KeyRoll::GrowthDone { root }).unwrap();
    let mut forge = Forge::new();
    forge.act(Kind::KeyRoll, grow(change(1, 2, 1, 2)));
    forge.expect(&[]);
    for bad in [change(1, 2, 1, 3), change(2, 4, 2, 3), change(2, 3, 9, 3), change(2, 2, 2, 2)] {
        let at = forge.act(Kind::KeyRoll, grow(bad));
        forge.expect(&[("ROOT_HASH_MISMATCH", Some(at))]);
        forge.pop();
    }
    let days = vec![ClassDay { class: ClassId(1), day: Day(20_000) }];
    let done = control::PruneDone {
        job: JobId([4; 16]),
        intent: EntryIndex(1),
        class_days: days,
        root: change(2, 3, 2, 3),
        missed: None,
    };
    let at = forge.act(Kind::PruneDone, control::encode(&done).unwrap());
    forge.expect(&[("INTENT_MISSING", Some(at))]);
    forge.pop();
    // One that names another entry than the intent of its job, an intent of another job, or one
    // that was carried out before.
    let due = control::Due { class: ClassId(1), day: Day(20_000), due: UtcNanos(1), groups: 0 };
    let plan = |job: u8| {
        let (class_days, policy) = (vec![due.clone()], Hash32([1; 32]));
        let (job, generation) = (JobId([job; 16]), Generation(2));
        control::encode(&control::PruneIntent { job, class_days, policy, generation }).unwrap()
    };
    let own = forge.act(Kind::PruneIntent, plan(4));
    let other = forge.act(Kind::PruneIntent, plan(5));
    for (named, right) in [(0, false), (other, false), (other + 1, false), (own, true)] {
        let done = control::PruneDone { intent: EntryIndex(named), ..done.clone() };
        let at = forge.act(Kind::PruneDone, control::encode(&done).unwrap());
        match right {
            true => forge.expect(&[]),
            false => forge.expect(&[("INTENT_MISSING", Some(at))]),
        }
        forge.pop();
    }
    let done = control::PruneDone { intent: EntryIndex(0), ..done };
    let at = forge.act(Kind::PruneDone, control::encode(&done).unwrap());
    let release = control::HoldRelease { case: CaseId([1; 16]), mode: control::Mode::TwoPerson };
    let mut clear = control::encode(&release).unwrap();
    clear.push(b' ');
    let spaced = forge.act(Kind::HoldRelease, clear);
    let mut found = failures(&forge.verify());
    found.sort_unstable_by_key(|(_, at)| *at);
    assert_eq!(found, [("INTENT_MISSING", Some(at)), ("MALFORMED", Some(spaced))]);
}

#[test]
fn a_log_without_its_genesis_or_with_two_is_malformed() {
    let mut forge = Forge::new();
    let clear = forge.entry(0).head.clear;
    let second = forge.act(Kind::Genesis, clear);
    forge.expect(&[("MALFORMED", Some(second))]);
    forge.pop();
    forge.pop();
    forge.event(1, 1);
    let found = failures(&forge.verify());
    assert!(found.contains(&("MALFORMED", Some(0))), "{found:?}");
}
