//! A vault that is packed is the same vault: same records, same fates, same proofs, on both
//! disks, before and after erasures, an expiry, reopenings and a crash at every step of it.

use crate::support::clinic::{Visit, append, assert_sound, data_fate, patient, read_all, text};
use crate::support::sim::SimDisk;
use crate::support::world::{HandClock, config, two_people, world};
use chancery::base::record::{Fate, Record};
use chancery::format::seal::sample::Sample;
use chancery::store::disk::{Disk, OsDisk};
use chancery::vault::Vault;
use chancery::vault::config::Config;
use chancery::vault::verify::{Options, verify_data};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A vault of six days, three classes and small segments; patient p1 is erased before the last
/// day.
pub(super) struct Site {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<HandClock>,
    pub(super) config: Config,
}

impl Site {
    pub(super) fn new(disk: Arc<dyn Disk>, home: &Path) -> Site {
        let mut config = config(home);
        config.tuning.segment_bytes = 6_000;
        Site { disk, clock: HandClock::at("2026-11-21T08:00:00Z"), config }
    }

    pub(super) fn filled(disk: Arc<dyn Disk>, home: &Path) -> Site {
        let site = Site::new(disk, home);
        let world = world(site.disk.clone(), &site.clock, 1);
        let vault = Vault::init(world, &site.config, "vault.example").unwrap();
        for day in 0..6u64 {
            if day == 5 {
                vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
            }
            let visit = |n: u64| {
                let class = ["90d", "1y", "6y"][(n % 3) as usize];
                let (nurse, patient) = (format!("n{}", n % 2), format!("p{}", n % 4));
                Visit::new(day * 20 + n, &nurse, &patient).class(class)
            };
            let visits: Vec<Visit> = (0..10).map(visit).collect();
            append(&vault, &visits).unwrap();
            append(&vault, &[visit(10)]).unwrap();
            site.clock.pass_days(1);
        }
        vault.settle();
        site
    }

    pub(super) fn open(&self) -> Vault {
        Vault::open(world(self.disk.clone(), &self.clock, 7), &self.config).unwrap()
    }

    /// What is true of every record: fates, values, leaf.
    pub(super) fn records(&self, vault: &Vault) -> Vec<(Vec<Fate>, String, String)> {
        let what = |r: &Record| (r.groups.clone(), text(r), r.leaf.to_string());
        read_all(vault).iter().map(what).collect()
    }

    /// Verifies from outside; returns the names of what fails.
    pub(super) fn failures(&self) -> Vec<String> {
        let options = Options { replay_seals: Some(Sample::all()), ..Options::default() };
        let report = verify_data(&self.disk, &self.config.data, None, &options, &mut |_, _| {});
        let report = report.unwrap();
        let failing = report.verdicts.iter().filter(|v| v.fails);
        failing.map(|v| format!("{} {:?}: {}", v.name, v.index, v.detail)).collect()
    }

    fn names(&self, dir: PathBuf) -> Vec<String> {
        self.disk.list(&dir).unwrap().into_iter().map(|e| e.name).collect()
    }

    fn log_names(&self) -> Vec<String> {
        let tenants = self.config.data.join("tenants");
        let tenant = self.names(tenants.clone()).remove(0);
        self.names(tenants.join(tenant).join("log"))
    }
}

#[test]
fn a_packed_vault_is_the_same_vault() {
    let dir = tempfile::tempdir().unwrap();
    same_vault(Arc::new(OsDisk), dir.path());
    same_vault(Arc::new(SimDisk::new()), Path::new("/sim"));
}

fn same_vault(disk: Arc<dyn Disk>, home: &Path) {
    let site = Site::filled(disk, home);
    let vault = site.open();
    let before = site.records(&vault);
    assert!(before.iter().any(|(fates, ..)| fates.contains(&Fate::Erased)));
    let packed = vault.pack().unwrap();
    assert!(packed.files > 15 && packed.damaged == 0, "{packed:?}");
    assert!(packed.compressed > 60 && packed.kept > 5, "{packed:?}");
    assert!(packed.packed_bytes < packed.plain_bytes * 7 / 10, "{packed:?}");
    assert_eq!(site.records(&vault), before);
    assert_sound(&vault, "packed");
    // A seal may have closed one more segment meanwhile; then nothing is left.
    vault.settle();
    vault.pack().unwrap();
    let again = vault.pack().unwrap();
    assert_eq!(again.files, 0, "what is packed is not packed again: {again:?}");
    assert!(site.log_names().iter().filter(|n| n.ends_with(".pak")).count() > 3);
    // What comes after goes on in plain files, and forgetting reaches what was packed.
    append(&vault, &[Visit::new(900, "n0", "p2")]).unwrap();
    vault.erase(&[patient("p2")], "gdpr-17-1", &two_people()).unwrap();
    let gone = |records: &[(Vec<Fate>, String, String)]| {
        records.iter().filter(|(_, text, _)| text.contains("-of-p2-end")).count()
    };
    // Class 6y has a floor: those records stay by law.
    let kept = before.iter().zip(read_all(&vault)).filter(|((_, text, _), record)| {
        text.contains("-of-p2-end") && data_fate(record) == Fate::Open
    });
    let kept = kept.count();
    assert_eq!(gone(&site.records(&vault)), kept);
    let after = site.records(&vault);
    vault.settle();
    drop(vault);
    assert_eq!(site.failures(), Vec::<String>::new());
    let vault = site.open();
    assert_eq!(site.records(&vault), after, "after reopening");
    // A class-day expires in its packed file like in a plain one.
    site.clock.pass_days(120);
    let mut config = site.config.clone();
    config.accept_time = true;
    drop(vault);
    let vault = Vault::open(world(site.disk.clone(), &site.clock, 8), &config).unwrap();
    append(&vault, &[Visit::new(901, "n0", "p3")]).unwrap();
    let today = vault.clock().now().day();
    let expired = vault.expire(Some(today)).unwrap();
    assert!(expired.groups > 15 && expired.bytes_freed > 0, "{expired:?}");
    vault.settle();
    drop(vault);
    assert_eq!(site.failures(), Vec::<String>::new());
}

#[test]
fn a_crash_at_any_step_of_packing_changes_nothing() {
    let disk = SimDisk::new();
    let site = Site::filled(Arc::new(disk.clone()), Path::new("/sim"));
    let vault = site.open();
    let before = site.records(&vault);
    vault.checkpoint().unwrap();
    drop(vault);
    let steps = {
        let fork = disk.fork();
        let site = Site {
            disk: Arc::new(fork.clone()),
            ..Site::new(Arc::new(fork.clone()), Path::new("/sim"))
        };
        site.clock.pass_days(6);
        let vault = site.open();
        let from = fork.operations();
        vault.pack().unwrap();
        fork.operations() - from
    };
    assert!(steps > 100, "{steps}");
    for step in (1..=steps).step_by(3) {
        let fork = disk.fork();
        let site = Site::new(Arc::new(fork.clone()), Path::new("/sim"));
        site.clock.pass_days(6);
        let vault = site.open();
        fork.fail_at(step);
        assert!(vault.pack().is_err(), "step {step}");
        drop(vault);
        for seed in 0..2 {
            let after = fork.crash(step * 10 + seed);
            let site = Site::new(Arc::new(after.clone()), Path::new("/sim"));
            site.clock.pass_days(6);
            let vault = site.open();
            assert_eq!(site.records(&vault), before, "step {step} seed {seed}");
            let left =
                after.files().iter().filter(|p| p.to_string_lossy().ends_with(".new")).count();
            assert_eq!(left, 0, "step {step} seed {seed}: nothing unfinished stays");
            vault.pack().unwrap();
            assert_eq!(site.records(&vault), before, "step {step} seed {seed}, packed again");
            drop(vault);
            assert_eq!(site.failures(), Vec::<String>::new(), "step {step} seed {seed}");
        }
    }
}

#[test]
fn damage_in_packed_files_is_named_and_reaches_no_further() {
    let disk = SimDisk::new();
    let site = Site::filled(Arc::new(disk.clone()), Path::new("/sim"));
    let vault = site.open();
    vault.pack().unwrap();
    drop(vault);
    assert_eq!(site.failures(), Vec::<String>::new());
    let packed: Vec<PathBuf> = disk
        .files()
        .into_iter()
        .filter(|path| {
            let bytes = disk.bytes(path).unwrap();
            bytes.starts_with(b"CHP1") || bytes.starts_with(b"CHB2")
        })
        .collect();
    assert!(packed.len() > 15);
    for (number, path) in packed.iter().enumerate() {
        let len = disk.bytes(path).unwrap().len();
        for at in [4, 30, len / 3, len / 2, len - 40, len - 9, len - 1] {
            let fork = disk.fork();
            fork.flip(path, at, 1 << (number % 8));
            let site = Site::new(Arc::new(fork), Path::new("/sim"));
            let found = site.failures();
            assert!(!found.is_empty(), "{} byte {at} of {len} is not noticed", path.display());
        }
    }
}

#[test]
fn without_a_checkpoint_packed_segments_are_still_read() {
    let disk = SimDisk::new();
    let site = Site::filled(Arc::new(disk.clone()), Path::new("/sim"));
    site.open().pack().unwrap();
    let checkpoint = disk.files().into_iter().find(|path| path.ends_with("checkpoint")).unwrap();
    disk.plant(&checkpoint, b"no checkpoint\n");
    let found = site.failures();
    // Every unit lies beyond what is signed now: each is read for its own signature.
    assert!(found.iter().any(|verdict| verdict.starts_with("MALFORMED")), "{found:?}");
    assert!(!found.iter().any(|verdict| verdict.contains("FORGED_TAIL")), "{found:?}");
}
