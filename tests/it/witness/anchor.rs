//! Verification with witnesses: the quorum of a data directory, times from outside, anchors.

use crate::support::clinic::{Visit, append};
use crate::support::sim::SimDisk;
use crate::support::witness::{Near, outside, tenant_file, trust_text};
use crate::support::world::{HandClock, config, world};
use chancery::base::unit::{EntryIndex, NANOS_PER_SECOND, TreeSize, UtcNanos};
use chancery::format::control::{self, Sight};
use chancery::format::trust::Trust;
use chancery::store::disk::Disk;
use chancery::vault::Vault;
use chancery::vault::config::Config;
use chancery::vault::prove::verify_proof;
use chancery::vault::verify::{Options, Report, verify_data};
use std::path::PathBuf;
use std::sync::Arc;

const HOUR: u64 = 3_600 * NANOS_PER_SECOND;

struct Site {
    disk: SimDisk,
    clock: Arc<HandClock>,
    witness_clock: Arc<HandClock>,
    near: Vec<Arc<Near>>,
    config: Config,
    next: u64,
}

fn home() -> PathBuf {
    PathBuf::from("/home")
}

impl Site {
    fn new(witnesses: u8, quorum: usize) -> (Site, Vault) {
        let clock = HandClock::at("2026-11-27T08:00:00Z");
        let witness_clock = HandClock::at("2026-11-27T08:00:00Z");
        let near: Vec<Arc<Near>> = (1..=witnesses).map(|n| Near::new(n, &witness_clock)).collect();
        let mut config = config(&home());
        config.outside = outside(&near, quorum);
        let disk = SimDisk::new();
        let vault =
            Vault::init(world(Arc::new(disk.clone()), &clock, 7), &config, "v.example").unwrap();
        near.iter().for_each(|near| near.watch(vault.log_key()));
        (Site { disk, clock, witness_clock, near, config, next: 1 }, vault)
    }

    fn pass(&self, nanos: u64) {
        self.clock.pass(nanos);
        self.witness_clock.pass(nanos);
    }

    fn add(&mut self, vault: &Vault, count: u64) -> EntryIndex {
        let visits: Vec<Visit> =
            (self.next..self.next + count).map(|n| Visit::new(n, "n", &format!("p{n}"))).collect();
        self.next += count;
        append(vault, &visits).unwrap()[0].index
    }

    fn verify(&self, trust: &str) -> Report {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let trust = Trust::parse(trust).unwrap();
        let (data, options) = (self.config.data.clone(), Options::default());
        verify_data(&disk, &data, Some(&trust), &options, &mut |_, _| {}).unwrap()
    }
}

fn names(report: &Report) -> Vec<&'static str> {
    report.verdicts.iter().filter(|v| v.fails).map(|v| v.name).collect()
}

#[test]
fn a_directory_meets_the_quorum_of_a_trust_file_by_its_cosigned_note() {
    let (mut site, vault) = Site::new(2, 2);
    site.add(&vault, 4);
    let seen = vault.seek_witnesses().unwrap();
    assert!(seen.is_met());
    site.near[1].set_down(true);
    site.add(&vault, 3);
    vault.seek_witnesses().unwrap();
    let size = vault.size();
    let trust = trust_text(&vault, &site.near, 2);
    drop(vault);
    let report = site.verify(&trust);
    assert_eq!((report.exit_code(), names(&report)), (0, vec![]), "{:?}", report.verdicts);
    assert_eq!(report.witnessed, Some(seen.size));
    assert!(report.has("UNWITNESSED_TAIL", Some(EntryIndex(seen.size.0))));
    assert_eq!(report.signed_by.as_ref().unwrap().witnesses.len(), 2);
    assert_eq!(report.signed_by.as_ref().unwrap().size, size);
    // Without the note there is nobody's word but the log's.
    let path = tenant_file(&site.disk, &home(), "checkpoint.witnessed").unwrap();
    let note = site.disk.durable_bytes(&path).unwrap();
    site.disk.remove(&path).unwrap();
    let report = site.verify(&trust);
    assert_eq!((report.exit_code(), names(&report)), (4, vec![]), "{:?}", report.verdicts);
    assert!(report.has("QUORUM_MISSING", None));
    // A line that was changed is found.
    let mut bad = note.clone();
    let at = bad.len() - 20;
    bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
    site.disk.plant(&path, &bad);
    assert_eq!(names(&site.verify(&trust)), ["BAD_SIGNATURE"]);
    // A trust file that asks for none is content without.
    site.disk.remove(&path).unwrap();
    let none = trust.replace("quorum all\n", "quorum none\n");
    assert_eq!(site.verify(&none).exit_code(), 0);
}

#[test]
fn a_cosigned_note_beyond_the_checkpoint_or_beside_it_is_named() {
    let (mut site, vault) = Site::new(1, 1);
    site.add(&vault, 3);
    vault.seek_witnesses().unwrap();
    drop(vault);
    let image = site.disk.fork();
    let world = world(Arc::new(site.disk.clone()), &site.clock, 9);
    let vault = Vault::open(world, &site.config).unwrap();
    site.add(&vault, 3);
    vault.seek_witnesses().unwrap();
    let trust = trust_text(&vault, &site.near, 1);
    drop(vault);
    let path = tenant_file(&site.disk, &home(), "checkpoint.witnessed").unwrap();
    let note = site.disk.durable_bytes(&path).unwrap();
    site.disk = image;
    site.disk.plant(&path, &note);
    assert!(names(&site.verify(&trust)).contains(&"ROLLED_BACK"));
}

#[test]
fn proofs_carry_the_cosignatures_and_meet_the_quorum() {
    let (mut site, vault) = Site::new(2, 2);
    let index = site.add(&vault, 4);
    vault.seek_witnesses().unwrap();
    let late = site.add(&vault, 2);
    let trust = Trust::parse(&trust_text(&vault, &site.near, 2)).unwrap();
    let proved = verify_proof(&vault.prove(index).unwrap(), &trust).unwrap();
    assert_eq!(proved.trusted.unwrap().witnesses.len(), 2);
    let unwitnessed = vault.prove(late).unwrap();
    assert_eq!(verify_proof(&unwitnessed, &trust).err().unwrap().code(), "QUORUM_MISSING");
    let newest = vault.prove_newest(index).unwrap();
    assert_eq!(verify_proof(&newest, &trust).err().unwrap().code(), "QUORUM_MISSING");
    vault.seek_witnesses().unwrap();
    assert!(verify_proof(&vault.prove(late).unwrap(), &trust).is_ok());
}

#[test]
fn attack_9_a_log_time_beyond_the_witness_s_sight_is_named() {
    let (mut site, vault) = Site::new(1, 1);
    site.add(&vault, 2);
    // The vault's clock runs an hour ahead of the witness's.
    site.clock.pass(HOUR);
    let forged = site.add(&vault, 1);
    vault.seek_witnesses().unwrap();
    let trust = trust_text(&vault, &site.near, 1);
    drop(vault);
    let report = site.verify(&trust);
    assert!(report.has("TIME_BRACKET", Some(forged)), "{:?}", report.verdicts);
    assert!(!report.has("TIME_BRACKET", Some(EntryIndex(forged.0 - 1))));
    assert_eq!(report.exit_code(), 1);
}

/// Writes the day-seal of a day that has passed, and waits for the sight that is owed then.
fn next_day(site: &mut Site, vault: &Vault) -> (EntryIndex, EntryIndex) {
    site.pass(24 * HOUR);
    let first = site.add(vault, 1);
    vault.settle();
    // The seal is committed by now or on its way; the next checkpoint covers it.
    for _ in 0..1000 {
        vault.seek_witnesses().unwrap();
        let anchor = (first.0..vault.size().0).find(|n| anchor(vault, EntryIndex(*n)).is_some());
        if let Some(at) = anchor {
            return (first, EntryIndex(at));
        }
        vault.settle();
        std::thread::yield_now();
    }
    panic!("no anchor in {} entries", vault.size());
}

fn anchor(vault: &Vault, index: EntryIndex) -> Option<(Sight, TreeSize, UtcNanos)> {
    let entry = vault.entry(index).ok()?;
    match control::decode(&entry.head.clear).ok()? {
        control::Config::Anchor { sight, size, time, .. } => Some((sight, size, time)),
        _ => None,
    }
}

#[test]
fn after_a_day_seal_the_cosigned_checkpoint_is_kept_and_bounds_what_lies_around_it() {
    let (mut site, vault) = Site::new(2, 2);
    let early = site.add(&vault, 3);
    let (first, at) = next_day(&mut site, &vault);
    let (sight, size, time) = anchor(&vault, at).unwrap();
    assert_eq!(sight, Sight::Cosigned);
    assert!(size.0 > first.0 && size.0 <= at.0);
    let name = format!("anchors/{:020}.note", size.0);
    assert!(tenant_file(&site.disk, &home(), &name).is_some());
    site.pass(HOUR);
    let late = site.add(&vault, 1);
    // Below the size that was seen: bounded above by it. Behind the naming entry: below.
    let bounds = vault.bounds(early).unwrap();
    assert!(bounds.not_before.is_none());
    assert!(bounds.not_after.unwrap().time <= time);
    let bounds = vault.bounds(late).unwrap();
    let below = bounds.not_before.unwrap();
    assert_eq!((below.time, below.named, below.size), (time, Some(at), size));
    // Whether a witness was asked about it meanwhile is for the background to know.
    assert!(bounds.not_after.is_none_or(|after| after.time > time));
    vault.seek_witnesses().unwrap();
    assert!(vault.bounds(late).unwrap().not_after.unwrap().time > time);
    // It is done once a day.
    site.add(&vault, 1);
    vault.seek_witnesses().unwrap();
    let all = (0..vault.size().0).filter(|n| anchor(&vault, EntryIndex(*n)).is_some()).count();
    assert_eq!(all, 1);
    let trust = trust_text(&vault, &site.near, 2);
    drop(vault);
    let report = site.verify(&trust);
    assert_eq!((report.exit_code(), report.anchors, report.anchors_verified), (0, 1, 1));
    assert_eq!(report.seen.unwrap().size, size);
    // The same after another opening, and the next day brings the next one.
    let world = world(Arc::new(site.disk.clone()), &site.clock, 11);
    let vault = Vault::open(world, &site.config).unwrap();
    vault.seek_witnesses().unwrap();
    let size = vault.size().0;
    assert_eq!((at.0 + 1..size).filter(|n| anchor(&vault, EntryIndex(*n)).is_some()).count(), 0);
    next_day(&mut site, &vault);
}

#[test]
fn an_anchor_that_is_gone_or_exchanged_is_named() {
    let (mut site, vault) = Site::new(1, 1);
    site.add(&vault, 3);
    let (_, at) = next_day(&mut site, &vault);
    let (_, size, _) = anchor(&vault, at).unwrap();
    let trust = trust_text(&vault, &site.near, 1);
    drop(vault);
    let name = format!("anchors/{:020}.note", size.0);
    let path = tenant_file(&site.disk, &home(), &name).unwrap();
    let note = site.disk.durable_bytes(&path).unwrap();
    site.disk.remove(&path).unwrap();
    let report = site.verify(&trust);
    assert!(report.has("ANCHOR_MISSING", Some(at)));
    assert_eq!(report.exit_code(), 0, "the log does not depend on it");
    // The same checkpoint without its witness's line verifies as nothing.
    let text = String::from_utf8(note).unwrap();
    let lines: Vec<&str> = text.lines().filter(|l| !l.contains("witness.example")).collect();
    site.disk.plant(&path, format!("{}\n", lines.join("\n")).as_bytes());
    let report = site.verify(&trust);
    assert!(report.has("ANCHOR_MISMATCH", Some(at)) && report.exit_code() == 1);
    assert_eq!((report.anchors, report.anchors_verified), (1, 0));
}

#[test]
fn attack_9_a_log_time_before_a_sight_that_is_named_earlier_is_named() {
    let (mut site, vault) = Site::new(1, 1);
    site.add(&vault, 3);
    // The witness's clock is right; the vault's stands two hours behind.
    site.witness_clock.pass(2 * HOUR);
    let (_, at) = next_day(&mut site, &vault);
    let backdated = site.add(&vault, 1);
    vault.seek_witnesses().unwrap();
    let trust = trust_text(&vault, &site.near, 1);
    drop(vault);
    let report = site.verify(&trust);
    assert!(report.has("TIME_BRACKET", Some(backdated)), "{:?}", report.verdicts);
    assert!(report.has("TIME_BRACKET", Some(at)), "the naming entry itself came after the sight");
    assert!(!report.has("TIME_BRACKET", Some(EntryIndex(at.0 - 1))));
}
