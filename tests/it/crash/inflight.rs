//! Two commits on their way: the bodies of the second are durable while the first one's unit is
//! still being synced. Whichever then fails, nobody is told what the disk does not bear out:
//! nothing is acknowledged before its unit is synced, nothing behind a failure is, and a failure
//! of the second takes nothing from the first.

use super::matrix::seed;
use crate::support::clinic::{Visit, append, assert_sound, data_fate, read_all};
use crate::support::passed::passed_on;
use crate::support::sim::{FailedSync, SimDisk, Survivors};
use crate::support::world::{self, HandClock, world};
use chancery::base::record::Fate;
use chancery::store::disk::{Disk, DiskFile, Mode};
use chancery::store::error::Result as StoreResult;
use chancery::vault::Vault;
use chancery::vault::append::Receipt;
use chancery::vault::error::{Error, Result};
use chancery::vault::verify::{Options, verify_data};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};

const HOME: &str = "/sim";

/// What the gate has seen, and what it does.
#[derive(Default)]
struct Gate {
    closed: bool,
    /// Syncs of units that wait.
    waiting: usize,
    /// Units that may still pass.
    pass: usize,
    /// Syncs of bodies since it was closed.
    bodies: usize,
    /// Which sync of a unit, or of bodies, since it was closed fails, and how.
    unit_fails: Option<(usize, FailedSync)>,
    body_fails: Option<(usize, FailedSync)>,
    units: usize,
}

/// A disk on which the syncs of units wait until they are let through.
#[derive(Clone)]
struct Gated {
    disk: SimDisk,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

struct GatedFile {
    file: Arc<dyn DiskFile>,
    gated: Gated,
    path: PathBuf,
}

impl Gated {
    fn new() -> Self {
        Gated { disk: SimDisk::new(), gate: Arc::default() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Gate) -> T) -> T {
        let done = act(&mut self.gate.0.lock().unwrap());
        self.gate.1.notify_all();
        done
    }

    fn until(&self, reached: impl Fn(&Gate) -> bool) {
        let gate = self.gate.0.lock().unwrap();
        drop(self.gate.1.wait_while(gate, |gate| !reached(gate)).unwrap());
    }

    /// Waits at the gate; whether the sync that was let through fails.
    fn unit(&self) -> Option<FailedSync> {
        let mut gate = self.gate.0.lock().unwrap();
        if !gate.closed {
            return None;
        }
        gate.waiting += 1;
        gate.units += 1;
        let number = gate.units;
        self.gate.1.notify_all();
        gate = self.gate.1.wait_while(gate, |gate| gate.closed && gate.pass == 0).unwrap();
        gate.waiting -= 1;
        gate.pass = gate.pass.saturating_sub(1);
        gate.unit_fails.filter(|(n, _)| *n == number).map(|(_, how)| how)
    }

    fn body(&self) -> Option<FailedSync> {
        self.with(|gate| {
            gate.bodies += usize::from(gate.closed);
            gate.body_fails.filter(|(n, _)| gate.closed && *n == gate.bodies).map(|(_, how)| how)
        })
    }
}

impl DiskFile for GatedFile {
    fn sync(&self) -> StoreResult<()> {
        let path = self.path.to_string_lossy();
        let fails = match () {
            () if path.contains("/log/") => self.gated.unit(),
            () if path.contains("/bodies/") => {
                let fails = self.gated.body();
                if fails.is_none() {
                    return self.file.sync();
                }
                fails
            }
            () => None,
        };
        if let Some(how) = fails {
            self.gated.disk.fail_sync(1, how);
        }
        self.file.sync()
    }

    passed_on!(file: read_exact_at write_at set_len len);
}

impl Disk for Gated {
    fn open(&self, path: &Path, mode: Mode) -> StoreResult<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(GatedFile { file, gated: self.clone(), path: path.to_owned() }))
    }

    passed_on!(disk: exists list create_dir rename remove sync_dir is_private lock);
}

/// A vault behind a gate that knows everybody, so that only bodies and units are written.
struct Scene {
    gated: Gated,
    clock: Arc<HandClock>,
    seed: u64,
}

type Answer = Receiver<Result<Vec<Receipt>>>;

impl Scene {
    fn new(seed: u64) -> (Scene, Arc<Vault>) {
        let scene =
            Scene { gated: Gated::new(), clock: HandClock::at("2026-11-21T08:00:00Z"), seed };
        let world = world(Arc::new(scene.gated.clone()), &scene.clock, seed);
        let config = world::config(Path::new(HOME));
        let vault = Vault::init(world, &config, "vault.example").unwrap();
        append(&vault, &batch(0)).unwrap();
        vault.settle();
        vault.checkpoint().unwrap();
        scene.gated.with(|gate| gate.closed = true);
        (scene, Arc::new(vault))
    }

    /// Sends batch `n` from a thread of its own.
    fn send(&self, vault: &Arc<Vault>, n: u64) -> Answer {
        let (answer, told) = channel();
        let vault = vault.clone();
        std::thread::spawn(move || answer.send(append(&vault, &batch(n))));
        told
    }

    /// Both are on their way: the first waits at the gate, the bodies of the second are synced.
    fn two(&self, vault: &Arc<Vault>) -> (Answer, Answer) {
        let first = self.send(vault, 1);
        self.gated.until(|gate| gate.waiting == 1);
        let before = self.gated.with(|gate| gate.bodies);
        let second = self.send(vault, 2);
        self.gated.until(|gate| gate.bodies > before);
        assert!(first.try_recv().is_err(), "acknowledged before its unit was synced");
        assert!(second.try_recv().is_err(), "acknowledged before its unit was synced");
        (first, second)
    }

    /// What each batch came to at the next opening after a crash: all of it or none.
    fn after(&self, survivors: Survivors, told: &[&Receipt], context: &str) -> BTreeSet<u64> {
        let disk = self.gated.disk.still().crash(survivors);
        let config = world::config(Path::new(HOME));
        let world = world(Arc::new(disk.clone()), &self.clock, self.seed + 1);
        let vault = Vault::open(world, &config).unwrap_or_else(|e| panic!("{context}: {e}"));
        assert_sound(&vault, context);
        for receipt in told {
            let found = vault.leaf(receipt.index);
            assert_eq!(found, Some(receipt.leaf), "{context}: {}", receipt.index);
        }
        let here = |vault: &Vault| -> BTreeSet<u64> {
            let records = read_all(vault);
            let events = records.iter().filter(|r| r.entry.head.source_seq.is_some());
            let seqs = events.inspect(|r| assert_eq!(data_fate(r), Fate::Open, "{context}"));
            seqs.filter_map(|r| r.entry.head.source_seq).collect()
        };
        let found = here(&vault);
        let whole = |n: &u64| {
            let there = batch(*n).iter().filter(|v| found.contains(&v.seq)).count();
            assert!([0, batch(*n).len()].contains(&there), "{context}: half of batch {n}");
            there > 0
        };
        let batches: BTreeSet<u64> = (0..=3).filter(whole).collect();
        // Whoever was refused sends again, and nothing is there twice.
        for n in 1..=3 {
            let again = append(&vault, &batch(n)).unwrap_or_else(|e| panic!("{context}: {e}"));
            assert!(again.iter().all(|r| r.duplicate == batches.contains(&n)), "{context}: {n}");
        }
        assert_eq!(here(&vault).len(), 4 * batch(0).len(), "{context}");
        vault.checkpoint().unwrap();
        drop(vault);
        let (disk, options): (Arc<dyn Disk>, _) = (Arc::new(disk), Options::default());
        let data = Path::new(HOME).join("data");
        let report = verify_data(&disk, &data, None, &options, &mut |_, _| {}).unwrap();
        assert_eq!(report.failures, 0, "{context}: {report:?}");
        batches
    }
}

fn batch(n: u64) -> Vec<Visit> {
    (1..=3).map(|at| Visit::new(n * 3 + at, "n1", "p1")).collect()
}

fn kinds(seed: u64) -> [FailedSync; 3] {
    [FailedSync::Lost, FailedSync::Kept, FailedSync::Torn(seed)]
}

fn losses(seed: u64) -> [Survivors; 4] {
    let random = |n| Survivors::Random(seed * 31 + n);
    [Survivors::Nothing, Survivors::Everything, random(1), random(2)]
}

fn refused(answer: &Answer, context: &str) {
    let answer = answer.recv().unwrap();
    assert!(matches!(answer, Err(Error::Unavailable(_))), "{context}: {answer:?}");
}

#[test]
fn the_first_of_two_commits_fails_and_neither_is_acknowledged() {
    for kind in kinds(seed()) {
        for survivors in losses(3) {
            let context = format!("{kind:?}, {survivors:?}");
            let (scene, vault) = Scene::new(seed());
            scene.gated.with(|gate| gate.unit_fails = Some((1, kind)));
            let (first, second) = scene.two(&vault);
            let third = scene.send(&vault, 3);
            scene.gated.with(|gate| gate.closed = false);
            for answer in [&first, &second, &third] {
                refused(answer, &context);
            }
            // The process lives on for a moment and writes nothing more.
            assert!(append(&vault, &batch(4)).is_err(), "{context}: goes on after a failed sync");
            assert!(vault.checkpoint().is_err(), "{context}: publishes after a failed sync");
            drop(vault);
            let found = scene.after(survivors, &[], &context);
            assert!(found.contains(&0) && !found.contains(&2) && !found.contains(&3), "{context}");
            let kept = matches!(kind, FailedSync::Kept) || survivors == Survivors::Everything;
            let lost = matches!(kind, FailedSync::Lost) && survivors == Survivors::Nothing;
            assert!(found.contains(&1) || !kept || matches!(kind, FailedSync::Lost), "{context}");
            assert!(!found.contains(&1) || !lost, "{context}");
        }
    }
}

#[test]
fn the_second_of_two_commits_fails_and_the_first_stands() {
    for kind in kinds(seed()) {
        for survivors in losses(5) {
            let context = format!("{kind:?}, {survivors:?}");
            let (scene, vault) = Scene::new(seed());
            scene.gated.with(|gate| gate.unit_fails = Some((2, kind)));
            let (first, second) = scene.two(&vault);
            scene.gated.with(|gate| gate.pass = 1);
            let receipts = first.recv().unwrap().unwrap_or_else(|e| panic!("{context}: {e}"));
            scene.gated.until(|gate| gate.waiting == 1 && gate.units == 2);
            assert!(second.try_recv().is_err(), "{context}: acknowledged before its sync");
            scene.gated.with(|gate| gate.closed = false);
            refused(&second, &context);
            drop(vault);
            let told: Vec<&Receipt> = receipts.iter().collect();
            let found = scene.after(survivors, &told, &context);
            assert!(found.contains(&0) && found.contains(&1), "{context}: {found:?}");
        }
    }
}

#[test]
fn bodies_of_the_second_fail_while_the_first_is_synced() {
    for kind in kinds(seed()) {
        for survivors in losses(7) {
            let context = format!("{kind:?}, {survivors:?}");
            let (scene, vault) = Scene::new(seed());
            scene.gated.with(|gate| gate.body_fails = Some((2, kind)));
            let (first, second) = scene.two(&vault);
            let third = scene.send(&vault, 3);
            scene.gated.with(|gate| gate.closed = false);
            let receipts = first.recv().unwrap().unwrap_or_else(|e| panic!("{context}: {e}"));
            refused(&second, &context);
            refused(&third, &context);
            drop(vault);
            let told: Vec<&Receipt> = receipts.iter().collect();
            let found = scene.after(survivors, &told, &context);
            assert_eq!(found, BTreeSet::from([0, 1]), "{context}");
        }
    }
}

#[test]
fn the_power_goes_while_two_commits_are_on_their_way() {
    for survivors in losses(9) {
        let context = format!("{survivors:?}");
        let (scene, vault) = Scene::new(seed());
        let (first, second) = scene.two(&vault);
        let found = scene.after(survivors, &[], &context);
        assert!(found.contains(&0) && !found.contains(&2), "{context}: {found:?}");
        assert_eq!(found.contains(&1), survivors == Survivors::Everything || found.len() > 1);
        scene.gated.with(|gate| gate.closed = false);
        let told = [first.recv().unwrap().unwrap(), second.recv().unwrap().unwrap()].concat();
        drop(vault);
        let told: Vec<&Receipt> = told.iter().collect();
        let found = scene.after(Survivors::Nothing, &told, &context);
        assert_eq!(found, BTreeSet::from([0, 1, 2]), "{context}");
    }
}
