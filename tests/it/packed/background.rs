//! A vault that is open packs by itself: while others append, erase and let expire, to any step of
//! it with a power loss, and it stops when told to. Nobody waits for it, and it loses nothing.

use super::gate::Gate;
use super::story::Site;
use crate::support::clinic::{Visit, append, assert_sound, data_fate, patient, read_all, text};
use crate::support::sim::SimDisk;
use crate::support::world::{two_people, world};
use chancery::base::record::Fate;
use chancery::vault::Vault;
use chancery::vault::error::Error;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A filled vault on a gate.
fn scene() -> (SimDisk, Gate, Site) {
    let disk = SimDisk::new();
    let gate = Gate::new(Arc::new(disk.clone()));
    let site = Site::filled(Arc::new(gate.clone()), Path::new("/sim"));
    (disk, gate, site)
}

fn ending(disk: &SimDisk, end: &str) -> Vec<PathBuf> {
    disk.files().into_iter().filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

/// Body files in packed form.
fn packed_bodies(disk: &SimDisk) -> usize {
    let bytes = ending(disk, ".seg").into_iter().map(|path| disk.bytes(&path).unwrap());
    bytes.filter(|bytes| bytes.starts_with(b"CHB2")).count()
}

#[test]
fn an_open_vault_packs_by_itself() {
    let (disk, _, site) = scene();
    let vault = site.open();
    let before = site.records(&vault);
    assert!(!vault.packing().on, "the tests' vaults pack when they are asked");
    drop(vault);
    let mut config = site.config.clone();
    config.tuning.pack = true;
    let vault = Vault::open(world(site.disk.clone(), &site.clock, 9), &config).unwrap();
    let done = vault.packing_settled();
    assert!(done.on && done.failed.is_none() && done.running.is_none(), "{done:?}");
    assert!(done.done.files > 15 && done.done.damaged == 0, "{done:?}");
    assert_eq!(site.records(&vault), before);
    let (bodies, segments) = (packed_bodies(&disk), ending(&disk, ".pak").len());
    assert!(bodies > 8 && segments > 3, "{bodies} {segments}");
    // What is closed later is packed too, as soon as a checkpoint covers it; and a past day's
    // bodies once the day has passed.
    site.clock.pass_days(2);
    let visits: Vec<Visit> = (0..30).map(|n| Visit::new(700 + n, "n0", "p2")).collect();
    for visit in visits.chunks(3) {
        append(&vault, visit).unwrap();
    }
    vault.checkpoint().unwrap();
    let more = vault.packing_settled();
    assert!(more.done.files > done.done.files + 3, "{more:?}");
    assert!(ending(&disk, ".pak").len() > segments && packed_bodies(&disk) > bodies);
    let (log, kept) = vault.room().unwrap();
    assert_eq!((kept.damaged, kept.packed as usize), (0, packed_bodies(&disk)));
    assert_eq!(kept.plain, more.done.no_smaller, "what is left would be no smaller");
    assert!(log.packed >= segments as u64 && log.packed_to < log.packed_from, "{log:?}");
    assert_sound(&vault, "packed by itself");
    drop(vault);
    assert_eq!(site.failures(), Vec::<String>::new());
}

#[test]
fn nothing_waits_for_it_and_it_stops_within_a_file() {
    for (kind, ending_of) in [("bodies", ".seg.new"), ("log", ".pak.new")] {
        let (disk, gate, site) = scene();
        let vault = site.open();
        let before = site.records(&vault);
        gate.hold(ending_of, 2);
        vault.pack_in_background(true);
        gate.is_reached();
        let running = vault.packing();
        assert!(running.running.is_some(), "{kind}: {running:?}");
        append(&vault, &[Visit::new(800, "n0", "p3")]).unwrap();
        vault.checkpoint().unwrap();
        vault.erase(&[patient("p2")], "gdpr-17-1", &two_people()).unwrap();
        let after = site.records(&vault);
        assert_ne!(after[..before.len()], before[..], "{kind}: somebody was erased");
        vault.pack_in_background(false);
        let writes = gate.writes();
        gate.release();
        let stopped = vault.packing_settled();
        assert_eq!(stopped.failed, None, "{kind}");
        // The write that was held is made; at most the block's own follows.
        assert!(gate.writes() <= writes + 1, "{kind}: goes on after it was told to stop");
        assert_eq!(stopped.done, running.done, "{kind}: no file more");
        assert_eq!(ending(&disk, ".new"), Vec::<PathBuf>::new(), "{kind}");
        assert_eq!(site.records(&vault), after, "{kind}");
        // Wanted again, it does the rest.
        vault.pack_in_background(true);
        let done = vault.packing_settled();
        assert!(done.done.files > stopped.done.files && done.failed.is_none(), "{done:?}");
        assert_eq!(site.records(&vault), after, "{kind}: packed");
        drop(vault);
        assert_eq!(site.failures(), Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn closing_a_vault_ends_it_at_once() {
    let (disk, gate, site) = scene();
    let vault = site.open();
    let before = site.records(&vault);
    gate.hold(".pak.new", 1);
    vault.pack_in_background(true);
    gate.is_reached();
    let closing = std::thread::spawn(move || drop(vault));
    gate.release();
    closing.join().unwrap();
    assert_eq!(ending(&disk, ".new"), Vec::<PathBuf>::new());
    assert_eq!(site.failures(), Vec::<String>::new());
    assert_eq!(site.records(&site.open()), before);
}

/// A group that is being sealed anew when its person is erased is gone like any other.
#[test]
fn an_erasure_reaches_what_is_just_being_packed() {
    let (disk, gate, site) = scene();
    let vault = site.open();
    // The block's write: its groups were opened and sealed anew before the erasure.
    gate.hold(".seg.new", 2);
    vault.pack_in_background(true);
    gate.is_reached();
    vault.erase(&[patient("p2"), patient("p3")], "gdpr-17-1", &two_people()).unwrap();
    gate.release();
    let done = vault.packing_settled();
    assert!(done.failed.is_none() && done.done.files > 10, "{done:?}");
    assert!(packed_bodies(&disk) > 8);
    let (mut erased, mut open, mut floors) = (0, 0, BTreeSet::new());
    for record in read_all(&vault).iter().filter(|r| r.fields.iter().any(|f| &*f.name == "data")) {
        let (fate, text) = (data_fate(record), text(record));
        let named = ["-of-p2-end", "-of-p3-end"].iter().any(|end| text.contains(end));
        // Class 6y has a floor: those records stay by law.
        match fate {
            Fate::Erased => erased += 1,
            Fate::Open if named => drop(floors.insert(record.entry.head.class)),
            Fate::Open => open += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(erased > 15 && open > 5 && floors.len() == 1, "{erased} {open} {floors:?}");
    drop(vault);
    assert_eq!(site.failures(), Vec::<String>::new());
}

/// A class-day that expires while its file is being packed frees its room and does not come back.
#[test]
fn an_expiry_takes_what_is_just_being_packed() {
    for write in 1..=3 {
        let (disk, gate, site) = scene();
        site.clock.pass_days(120);
        let mut config = site.config.clone();
        config.accept_time = true;
        let vault = Vault::open(world(site.disk.clone(), &site.clock, 8), &config).unwrap();
        append(&vault, &[Visit::new(901, "n0", "p3")]).unwrap();
        let now = vault.clock().now();
        let plan = vault.retention_plan().unwrap();
        let due = plan.iter().filter(|p| p.bytes > 0 && p.due.is_some_and(|due| due <= now));
        let days: Vec<_> = due.map(|p| p.class_day).collect();
        let day = days[days.len() / 2];
        gate.hold(&format!("/{}/{}.seg.new", day.class, day.day), write);
        vault.pack_in_background(true);
        gate.is_reached();
        let expired = vault.expire(Some(now.day())).unwrap();
        assert!(expired.class_days.contains(&day) && expired.bytes_freed > 0, "{expired:?}");
        let left = |end: &str| {
            let of = |d: &chancery::base::unit::ClassDay| format!("/{}/{}{end}", d.class, d.day);
            days.iter().map(of).filter(|end| !ending(&disk, end).is_empty()).collect::<Vec<_>>()
        };
        assert_eq!(left(".seg"), Vec::<String>::new(), "write {write}: gone before it is told");
        assert_eq!(left(".seg.new"), Vec::<String>::new(), "write {write}");
        gate.release();
        let done = vault.packing_settled();
        assert_eq!(done.failed, None, "write {write}: an expiry is no failure");
        assert_eq!((left(".seg"), left(".seg.new")), (vec![], vec![]), "write {write}: came back");
        assert_eq!(ending(&disk, ".new"), Vec::<PathBuf>::new(), "write {write}");
        vault.settle();
        drop(vault);
        assert_eq!(site.failures(), Vec::<String>::new(), "write {write}");
    }
}

#[test]
fn a_failure_is_told_and_costs_nothing_but_room() {
    let (disk, gate, site) = scene();
    let vault = site.open();
    let before = site.records(&vault);
    gate.fail(Some(".seg.new"));
    vault.pack_in_background(true);
    let failed = vault.packing_settled();
    let why = failed.failed.clone().unwrap();
    assert!(why.contains("no room") && why.contains("bodies of"), "{why}");
    assert_eq!((failed.done.files, ending(&disk, ".new").len()), (0, 0), "{failed:?}");
    append(&vault, &[Visit::new(800, "n0", "p3")]).unwrap();
    vault.checkpoint().unwrap();
    assert_eq!(site.records(&vault)[..before.len()], before[..]);
    // It is not tried again at every checkpoint, but when the next day begins.
    let writes = gate.writes();
    append(&vault, &[Visit::new(801, "n0", "p3")]).unwrap();
    vault.checkpoint().unwrap();
    assert_eq!(vault.packing_settled().failed, Some(why));
    assert!(gate.writes() <= writes + 2, "a full disk is not helped by trying");
    gate.fail(None);
    site.clock.pass_days(1);
    append(&vault, &[Visit::new(802, "n0", "p3")]).unwrap();
    vault.checkpoint().unwrap();
    let done = vault.packing_settled();
    assert!(done.failed.is_none() && done.done.files > 15, "{done:?}");
    assert_eq!(site.records(&vault)[..before.len()], before[..]);
}

#[test]
fn what_may_still_be_written_to_is_not_packed() {
    let (_, _, site) = scene();
    let vault = site.open();
    let closed = vault.packable_segments().unwrap();
    let refused = vault.pack_segment(closed.last().unwrap() + 1);
    let early = |e: &Error| matches!(e, Error::Conflict { code: "PACK_TOO_EARLY", .. });
    assert!(refused.as_ref().is_err_and(early), "{refused:?}");
    append(&vault, &[Visit::new(800, "n0", "p3")]).unwrap();
}

#[test]
fn a_crash_at_any_step_of_the_background_changes_nothing() {
    let disk = SimDisk::new();
    let site = Site::filled(Arc::new(disk.clone()), Path::new("/sim"));
    let vault = site.open();
    let before = site.records(&vault);
    vault.checkpoint().unwrap();
    drop(vault);
    let at = |fork: &SimDisk| {
        let site = Site::new(Arc::new(fork.clone()), Path::new("/sim"));
        site.clock.pass_days(6);
        site
    };
    let steps = {
        let fork = disk.fork();
        let vault = at(&fork).open();
        let from = fork.operations();
        vault.pack_in_background(true);
        let done = vault.packing_settled();
        assert!(done.failed.is_none() && done.done.files > 15, "{done:?}");
        fork.operations() - from
    };
    assert!(steps > 100, "{steps}");
    for step in (1..=steps).step_by(3) {
        let fork = disk.fork();
        let vault = at(&fork).open();
        fork.fail_at(step);
        vault.pack_in_background(true);
        let failed = vault.packing_settled();
        assert!(failed.failed.is_some(), "step {step}: {failed:?}");
        drop(vault);
        for seed in 0..2 {
            let after = fork.crash(step * 10 + seed);
            let site = at(&after);
            let vault = site.open();
            assert_eq!(site.records(&vault), before, "step {step} seed {seed}");
            assert_eq!(ending(&after, ".new"), Vec::<PathBuf>::new(), "step {step} seed {seed}");
            vault.pack_in_background(true);
            let done = vault.packing_settled();
            assert_eq!(done.failed, None, "step {step} seed {seed}");
            assert_eq!(site.records(&vault), before, "step {step} seed {seed}, packed again");
            drop(vault);
            assert_eq!(site.failures(), Vec::<String>::new(), "step {step} seed {seed}");
        }
    }
}
