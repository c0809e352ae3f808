//! What must hold of a vault opened after a crash, from inside and from outside: nothing that was
//! acknowledged is lost, nothing that was erased is back, nobody else's key is gone, and what was
//! not acknowledged happened whole or not at all.

use super::scenes::calm;
use super::told::{Act, HOME, MIRROR, Sure, Teller, named, send, version_text};
use crate::support::clinic::{
    Visit, append_json, assert_sound, data_fate, patient, read, read_all, text,
};
use crate::support::keyhole::Keyhole;
use crate::support::sim::SimDisk;
use chancery::base::record::{Fate, Record};
use chancery::format::roll::KeyRoll;
use chancery::store::disk::Disk;
use chancery::vault::Vault;
use chancery::vault::prove::verify_proof;
use chancery::vault::scrub::Scrub;
use chancery::vault::verify::{Options, verify_data};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Opens what a crash left; none when no vault was ever acknowledged there.
pub(super) fn reopen(
    told: &mut Teller,
    instant: u64,
    disk: &SimDisk,
    context: &str,
) -> Option<Vault> {
    match told.open_on(disk) {
        Ok(vault) => {
            // A seal that is owed is asked for in the background: it is part of the recovery.
            calm(&vault).unwrap_or_else(|e| panic!("{context}: {e}"));
            // No crash looks like a log that somebody put back.
            let ahead = vault.notices().iter().find(|n| n.code == "SNAPSHOT_AHEAD");
            assert!(ahead.is_none(), "{context}: {ahead:?}");
            Some(vault)
        }
        Err(error) if !told.made(instant) => {
            let known = ["STORE_MISSING", "STORE_CORRUPT"].contains(&error.code());
            assert!(known, "{context}: {error}");
            None
        }
        Err(error) => panic!("{context}: cannot be opened again: {error}"),
    }
}

/// Numbers from here on belong to `goes_on`.
const AFTERWARDS: u64 = 1_000_000;

/// How deep to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Depth {
    /// Facts, fates, batches, receipts.
    Inside,
    /// Also proofs, the outsider's verification, and what an attacker reaches.
    Whole,
}

/// Checks everything that was told up to an instant.
pub(super) fn check(
    told: &Teller,
    instant: u64,
    vault: &Vault,
    disk: &SimDisk,
    depth: Depth,
    context: &str,
) {
    assert_sound(vault, context);
    assert_eq!(vault.read_only(), None, "{context}");
    roots(vault, disk, context);
    succession(told, instant, vault, disk, context);
    receipts(told, instant, vault, depth, context);
    fates(told, instant, vault, context);
    facts(told, instant, vault, disk, context);
    documents(told, instant, vault, context);
    if depth == Depth::Whole {
        scrubbed(vault, context);
        outside(told, instant, vault, disk, context);
        forgotten(told, instant, vault, disk, context);
    }
}

/// Exactly one root slot holds anything, and a mirror that follows is the same to the byte.
fn roots(vault: &Vault, disk: &SimDisk, context: &str) {
    let tenant = vault.tenant().to_string();
    let own = Path::new(HOME).join("keys");
    let of = |dir: &Path, name: &str| disk.bytes(&dir.join(&tenant).join(name));
    let slots = ["root.0", "root.1"]
        .map(|name| of(&own, name).is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0)));
    assert_ne!(slots[0], slots[1], "{context}: exactly one root slot holds anything");
    let replicas = vault.key_replicas();
    if replicas.paired.is_none() || replicas.away.is_some() {
        return;
    }
    let mirror = Path::new(MIRROR);
    for name in ["root.0", "root.1", "nodes.seg"] {
        assert!(of(&own, name) == of(mirror, name), "{context}: the mirror's {name} differs");
    }
    for name in ["kek", "signing/log.key", "signing/report.key"] {
        let same = disk.bytes(&own.join(name)) == disk.bytes(&mirror.join(name));
        assert!(same, "{context}: the mirror's {name} differs");
    }
    assert_eq!(vault.facts_now().partial(), 0, "{context}: the mirror has missed nothing");
}

/// Which key signs the log: as often handed over as was told, and no successor in waiting.
fn succession(told: &Teller, instant: u64, vault: &Vault, disk: &SimDisk, context: &str) {
    let count = |sure: Sure| {
        let rolls = told.deeds.iter().filter(|deed| matches!(deed.act, Act::Roll));
        rolls.filter(|deed| deed.at(instant) == sure).count()
    };
    let (certain, maybe, rolls) = (count(Sure::Certain), count(Sure::Maybe), vault.key_rolls());
    let right = (certain..=certain + maybe).contains(&rolls.len());
    assert!(right, "{context}: {} rolls, {certain} acknowledged", rolls.len());
    if let Some(last) = rolls.last() {
        let last = KeyRoll::open(last.as_bytes()).expect("a roll");
        assert_eq!(*vault.log_key(), last.new, "{context}: the key in force");
    }
    let live = vault.key_replicas().away.is_none();
    let left = disk.files().into_iter().filter(|path| path.ends_with("log-next.key"));
    let left: Vec<_> = left.filter(|path| live || path.starts_with(HOME)).collect();
    assert!(left.is_empty(), "{context}: {left:?}");
    if told.continues.is_some() {
        let genesis = vault.facts_now().genesis.expect("a genesis");
        assert_eq!(genesis.continues, told.continues, "{context}: whom it takes up after");
    }
}

/// Every acknowledged event lies where its receipt says, and can be proven.
fn receipts(told: &Teller, instant: u64, vault: &Vault, depth: Depth, context: &str) {
    let mut last = Vec::new();
    for deed in told.deeds.iter().filter(|deed| deed.at(instant) == Sure::Certain) {
        let (Act::Append { receipts, .. } | Act::Named { receipts, .. }) = &deed.act else {
            continue;
        };
        for (index, leaf) in receipts {
            let found = vault.leaf(*index);
            assert_eq!(found, Some(*leaf), "{context}: acknowledged entry {index}");
        }
        last.extend(receipts.last());
    }
    let Some(trust) = told.trust(vault).filter(|_| depth == Depth::Whole) else { return };
    // The newest six are as many as any operation appends; the tree vouches for the rest.
    for (index, _) in last.iter().rev().take(6) {
        let proof = vault.prove(*index).unwrap_or_else(|e| panic!("{context}: {e}"));
        let proved = verify_proof(&proof, &trust).unwrap_or_else(|e| panic!("{context}: {e}"));
        assert_eq!(proved.entry.index, *index, "{context}");
    }
}

fn fates(told: &Teller, instant: u64, vault: &Vault, context: &str) {
    let records = read_all(vault);
    let of = |r: &Record| r.entry.head.source_seq.filter(|seq| *seq < AFTERWARDS);
    let found: BTreeMap<u64, &Record> = records.iter().filter_map(|r| Some((of(r)?, r))).collect();
    let counted = records.iter().filter(|r| of(r).is_some()).count();
    assert_eq!(found.len(), counted, "{context}: an event twice");
    let expected = told.expected(instant);
    for seq in found.keys() {
        assert!(expected.contains_key(seq), "{context}: nobody had sent {seq} yet");
    }
    let mut batches: BTreeMap<usize, BTreeSet<bool>> = BTreeMap::new();
    let mut seen: BTreeMap<(String, &str), BTreeSet<Fate>> = BTreeMap::new();
    for (seq, (batch, visit, fates)) in &expected {
        batches.entry(*batch).or_default().insert(found.contains_key(seq));
        let Some(record) = found.get(seq) else { continue };
        let fate = data_fate(record);
        assert!(fates.contains(&fate), "{context}: {visit:?} is {fate:?}, not {fates:?}");
        let open = text(record).contains(&visit.secret);
        assert_eq!(open, fate == Fate::Open, "{context}: {visit:?} is {fate:?}");
        if fates.len() > 1 {
            seen.entry((visit.patient.clone(), visit.class)).or_default().insert(fate);
        }
        let nurse = record.groups.contains(&Fate::Open);
        assert!(nurse || fate == Fate::Expired, "{context}: the nurse lives: {record:?}");
    }
    for (number, there) in batches {
        assert_eq!(there.len(), 1, "{context}: half a batch");
        let certain = told.deeds[number].at(instant) == Sure::Certain;
        assert!(!certain || there.contains(&true), "{context}: acknowledged batch {number} lost");
    }
    for (whom, fates) in seen {
        let halves = fates.contains(&Fate::Open) && fates.contains(&Fate::Erased);
        assert!(!halves, "{context}: {whom:?} is half erased");
    }
}

/// Links, holds, expiries, policies.
fn facts(told: &Teller, instant: u64, vault: &Vault, disk: &SimDisk, context: &str) {
    let facts = vault.facts_now();
    for (number, deed) in told.deeds.iter().enumerate() {
        if deed.at(instant) != Sure::Certain {
            continue;
        }
        match &deed.act {
            Act::Link { names } => {
                let erased = |act: &Act| match act {
                    Act::Erase { names: gone, .. } => gone.contains(&names[0]),
                    _ => false,
                };
                if !told.may_follow(number, instant).any(erased) {
                    assert!(linked(vault, names), "{context}: {names:?} were linked");
                }
            }
            Act::Hold { case: Some(case), .. } => {
                let release = |d: &Act| matches!(d, Act::Release { case: of } if of == case);
                let released = told.may_follow(number, instant).any(release);
                assert!(released || facts.holds.contains_key(case), "{context}: hold {case}");
            }
            Act::Release { case } => {
                assert!(!facts.holds.contains_key(case), "{context}: {case} was released");
            }
            Act::Expire { days } => {
                for day in days {
                    assert!(facts.expired.contains_key(day), "{context}: expiry undone");
                }
            }
            Act::Policies { version: Some(version) } => {
                let now = facts.policies.as_ref().map(|(at, ..)| *at);
                assert!(now >= Some(*version), "{context}: policies of {version}");
            }
            _ => {}
        }
    }
    for class_day in facts.expired.keys() {
        let file = Path::new("bodies").join(class_day.class.to_string());
        let file = file.join(format!("{}.seg", class_day.day));
        let left = disk.files().into_iter().any(|path| path.ends_with(&file));
        assert!(!left, "{context}: body file of an expired day is still there");
    }
}

/// Documents: every acknowledged version is there, one that was not acknowledged whole or not at
/// all, and the body of each is gone exactly when somebody it is about was erased.
fn documents(told: &Teller, instant: u64, vault: &Vault, context: &str) {
    let mut versions: BTreeMap<_, BTreeMap<u64, (Sure, Sure)>> = BTreeMap::new();
    for (number, deed) in told.deeds.iter().enumerate() {
        let Act::Document { key, version, about } = &deed.act else { continue };
        let later = told.deeds[number..].iter().filter(|later| match &later.act {
            Act::Erase { names, .. } => about.as_ref().is_some_and(|who| names.contains(who)),
            _ => false,
        });
        let erased = later.map(|deed| deed.at(instant)).max().unwrap_or(Sure::Never);
        versions.entry(*key).or_default().insert(*version, (deed.at(instant), erased));
    }
    for ((kind, id), versions) in &versions {
        let history = vault.document_history(*kind, *id);
        let history = history.unwrap_or_else(|e| panic!("{context}: {e}"));
        let numbers: Vec<u64> = history.iter().map(|document| document.version).collect();
        let least = versions.values().filter(|(sure, _)| *sure == Sure::Certain).count();
        let most = versions.values().filter(|(sure, _)| *sure != Sure::Never).count();
        assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{context}: {numbers:?}");
        assert!((least..=most).contains(&numbers.len()), "{context}: {least} {numbers:?} {most}");
        for document in &history {
            let body = document.body.as_ref().map(|body| String::from_utf8(body.to_vec()).unwrap());
            let right = body.as_ref().is_none_or(|body| *body == version_text(document.version));
            assert!(right, "{context}: {document:?}");
            match versions[&document.version].1 {
                Sure::Certain => assert_eq!(body, None, "{context}: {document:?} is back"),
                Sure::Never => assert!(body.is_some(), "{context}: {document:?} is gone"),
                Sure::Maybe => {}
            }
        }
        let newest = vault.document(*kind, *id).unwrap_or_else(|e| panic!("{context}: {e}"));
        assert_eq!(newest.as_ref(), history.last(), "{context}");
    }
}

/// Whether two names are one person.
pub(super) fn linked(vault: &Vault, names: &[String; 2]) -> bool {
    let of = |name: &String| vault.persons_named(&[patient(name)]).ok();
    let persons = |name: &String| -> BTreeSet<_> { of(name).into_iter().flatten().collect() };
    let (one, other) = (persons(&names[0]), persons(&names[1]));
    !one.is_empty() && one == other
}

/// The outsider's verification, with nothing but the trust file and the checkpoints kept.
fn outside(told: &Teller, instant: u64, vault: &Vault, disk: &SimDisk, context: &str) {
    let Some(trust) = &told.trust(vault) else { return };
    vault.checkpoint().unwrap_or_else(|e| panic!("{context}: {e}"));
    let kept = told.notes.iter().filter(|(at, _)| *at <= instant);
    let retained = kept.map(|(_, note)| note.clone()).collect();
    let options = Options { retained, ..Options::default() };
    let outside: Arc<dyn Disk> = Arc::new(disk.clone());
    let data = Path::new(HOME).join("data");
    let report = verify_data(&outside, &data, Some(trust), &options, &mut |_, _| {})
        .unwrap_or_else(|e| panic!("{context}: {e}"));
    assert_eq!(report.exit_code(), 0, "{context}: {report:?}");
    assert_eq!(report.failures, 0, "{context}: {report:?}");
}

/// No key of an erased person can be reached from anything ever written.
fn forgotten(told: &Teller, instant: u64, vault: &Vault, disk: &SimDisk, context: &str) {
    let certain = told.deeds.iter().filter(|deed| deed.at(instant) == Sure::Certain);
    let secrets: Vec<[u8; 32]> = certain
        .filter_map(|deed| match &deed.act {
            Act::Erase { secrets, .. } => Some(secrets.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    if secrets.is_empty() {
        return;
    }
    let replicas = vault.key_replicas();
    let follows = replicas.paired.is_some() && replicas.away.is_none();
    let mirror = follows.then(|| Path::new(MIRROR).to_owned());
    for dir in [Some(Path::new(HOME).join("keys")), mirror].into_iter().flatten() {
        let known = Keyhole::new(&dir, vault.tenant()).reachable_by_name(disk);
        let dead = secrets.iter().any(|secret| known.contains(secret));
        assert!(!dead, "{context}: a dead key is reachable in {}", dir.display());
    }
}

/// Everything read again, from where a pass before the crash had come: nothing is damaged.
fn scrubbed(vault: &Vault, context: &str) {
    let mut scrub = Scrub::resume(vault, false, None);
    loop {
        let progress = scrub.tick(vault, vault.clock().now());
        let progress = progress.unwrap_or_else(|e| panic!("{context}: {e}"));
        assert_eq!(progress.findings, [], "{context}: scrub");
        if progress.finished.is_some() {
            return;
        }
    }
}

/// Ids that a window of the smallest size must know: the youngest eight.
fn known_ids(told: &Teller, instant: u64, vault: &Vault, context: &str) {
    let certain = told.deeds.iter().filter(|deed| deed.at(instant) == Sure::Certain);
    let named_deeds = certain.filter_map(|deed| match &deed.act {
        Act::Named { ids, receipts } => Some(ids.iter().zip(receipts)),
        _ => None,
    });
    let all: Vec<_> = named_deeds.flatten().collect();
    // Those that were asked and not answered may be among the youngest, too.
    let open = told.deeds.iter().filter(|deed| deed.at(instant) == Sure::Maybe);
    let open = open.map(|deed| match &deed.act {
        Act::Named { ids, .. } => ids.len(),
        _ => 0,
    });
    let sure = 8_usize.saturating_sub(open.sum());
    for (id, (index, _)) in all.into_iter().rev().take(sure) {
        let again = append_json(vault, "app", &[named(*id)]);
        let again = again.unwrap_or_else(|e| panic!("{context}: id {id}: {e}"));
        assert_eq!((again[0].index, again[0].duplicate), (*index, true), "{context}: id {id}");
    }
}

/// The vault goes on: new and known people, a retry of what was not answered, a checkpoint.
pub(super) fn goes_on(told: &Teller, instant: u64, vault: &Vault, context: &str) {
    known_ids(told, instant, vault, context);
    let seq = AFTERWARDS + vault.size().0;
    let visits = [Visit::new(seq, "n1", "afterwards"), Visit::new(seq + 1, "n1", "living")];
    let texts: Vec<String> = visits.iter().map(Visit::json).collect();
    let receipts = crate::support::clinic::append_json(vault, "after", &texts)
        .unwrap_or_else(|e| panic!("{context}: takes no appends: {e}"));
    assert_eq!(data_fate(&read(vault, receipts[1].index)), Fate::Open, "{context}");
    assert!(text(&read(vault, receipts[0].index)).contains(&visits[0].secret), "{context}");
    for deed in told.deeds.iter().filter(|deed| deed.at(instant) == Sure::Maybe) {
        let Act::Append { sources, visits, .. } = &deed.act else { continue };
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        // Whoever got no answer sends again, and gets the receipts of the first time or new ones.
        let again = send(vault, &sources, visits).unwrap_or_else(|e| panic!("{context}: {e}"));
        let once: BTreeSet<bool> = again.iter().map(|receipt| receipt.duplicate).collect();
        assert_eq!(once.len(), 1, "{context}: all of it had been there, or nothing");
    }
    vault.checkpoint().unwrap_or_else(|e| panic!("{context}: {e}"));
    if let Some(trust) = &told.trust(vault) {
        let proof = vault.prove(receipts[0].index).unwrap();
        assert!(verify_proof(&proof, trust).is_ok(), "{context}");
    }
}
