//! Scrub: a clean vault passes and says so; rot in any file is found by name and place, recorded,
//! and not mended; a pass goes on after a stop; a pace is kept.

use crate::support::clinic::{Visit, append};
use crate::support::sim::{Rng, SimDisk};
use crate::support::world::{self, HandClock, two_people, world};
use chancery::base::unit::{EntryIndex, UtcNanos};
use chancery::format::control::Scan;
use chancery::format::unit;
use chancery::format::wire::Reader;
use chancery::store::disk::Disk;
use chancery::vault::Vault;
use chancery::vault::config::Config;
use chancery::vault::read::Reading;
use chancery::vault::scrub::{Finding, Scrub};
use chancery::vault::verify::{Options, verify_data};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

struct Scene {
    disk: SimDisk,
    clock: Arc<HandClock>,
    config: Config,
}

impl Scene {
    /// 700 events, so that a tile is full; an erasure; a mirror.
    fn new(seed: u64) -> (Scene, Vault) {
        let (disk, clock) = (SimDisk::new(), HandClock::at("2026-11-21T08:00:00Z"));
        let mirror = Some(PathBuf::from("/mirror"));
        let config = Config { mirror, ..world::config(Path::new("/sim")) };
        let scene = Scene { disk, clock, config };
        let vault = Vault::init(scene.world(seed), &scene.config, "vault.example").unwrap();
        for batch in 0..7u64 {
            let visits: Vec<Visit> = (1..=100)
                .map(|n| Visit::new(batch * 100 + n, "nurse", &format!("p{}", n % 9)))
                .collect();
            append(&vault, &visits).unwrap();
        }
        vault.erase(&[crate::support::clinic::patient("p3")], "gdpr-17-1", &two_people()).unwrap();
        vault.settle();
        vault.checkpoint().unwrap();
        (scene, vault)
    }

    fn world(&self, seed: u64) -> chancery::vault::World {
        world(Arc::new(self.disk.clone()), &self.clock, seed)
    }

    fn file(&self, end: &str) -> PathBuf {
        let found = self.disk.files().into_iter().find(|p| p.to_string_lossy().ends_with(end));
        found.unwrap_or_else(|| panic!("no {end} in {:?}", self.disk.files()))
    }
}

/// A whole pass.
fn pass(vault: &Vault, full: bool) -> (Vec<Finding>, EntryIndex) {
    let mut scrub = Scrub::resume(vault, full, None);
    let mut found = Vec::new();
    for _ in 0..10_000 {
        let progress = scrub.tick(vault, vault.clock().now()).unwrap();
        found.extend(progress.findings);
        if let Some(index) = progress.finished {
            return (found, index);
        }
    }
    panic!("a pass without end");
}

/// An outsider finds nothing wrong with what the vault leaves.
fn assert_verifies(scene: &Scene, vault: Vault) {
    vault.checkpoint().unwrap();
    drop(vault);
    let disk: Arc<dyn Disk> = Arc::new(scene.disk.clone());
    let data = &scene.config.data;
    let report = verify_data(&disk, data, None, &Options::default(), &mut |_, _| {}).unwrap();
    assert_eq!(report.failures, 0, "{:?}", report.verdicts);
}

#[test]
fn a_clean_vault_passes_and_an_entry_says_what_was_covered() {
    let (scene, vault) = Scene::new(1);
    let (before, none) = vault.last_scrub().unwrap();
    assert!(before.is_none() && none == 0);
    let size = vault.size();
    let (found, index) = pass(&vault, true);
    assert_eq!(found, []);
    let (passed, findings) = vault.last_scrub().unwrap();
    let passed = passed.unwrap();
    assert_eq!((passed.index, findings), (index, 0));
    let Scan::Pass { bytes, end, groups, opened, full, findings, .. } = passed.scan else {
        panic!("no pass")
    };
    assert_eq!((end, full, findings), (size, true, 0));
    // Two groups a visit, the erased person's do not open, and the acts have sealed groups too.
    assert!(groups > 1_400 && opened < groups && opened > 1_200, "{groups}, {opened}");
    let stored: usize = scene
        .disk
        .files()
        .iter()
        .filter(|p| !p.to_string_lossy().ends_with("lock"))
        .filter(|p| {
            let name = p.to_string_lossy();
            ["/log/", "/bodies/", "nodes.seg"].iter().any(|part| name.contains(part))
        })
        .map(|p| scene.disk.bytes(p).unwrap().len())
        .sum();
    assert!(bytes as usize + 100_000 > stored, "{bytes} of {stored}");
    assert_verifies(&scene, vault);
}

/// Nothing rests on the signature of a unit that the checkpoint covers, and verifiers pass over it
/// (docs/format.md, section 12): the scrub is who finds that it rotted.
#[test]
fn a_signature_that_nothing_rests_on_is_looked_at_by_the_scrub() {
    let (scene, vault) = Scene::new(3);
    let path = scene.file("log/00000000.seg");
    let log = scene.disk.bytes(&path).unwrap();
    let head = unit::decode_head(&mut Reader::new(&log)).unwrap();
    scene.disk.write_through(&path, head.len as usize - 1, 1);
    let (found, _) = pass(&vault, true);
    let named: Vec<_> = found.iter().map(|f| (f.part, f.verdict, f.index)).collect();
    assert_eq!(named, [("log", "BAD_SIGNATURE", Some(EntryIndex(0)))], "{found:?}");
    assert_verifies(&scene, vault);
}

/// Bytes rot under an open vault; the scrub finds every one of them, wherever it is.
#[test]
fn rot_anywhere_is_found_named_and_left_as_it_is() {
    let (scene, vault) = Scene::new(2);
    drop(vault);
    let tenant = VaultTenant::of(&scene);
    let cases: Vec<(PathBuf, &[&str])> = vec![
        (scene.file("log/00000000.seg"), &["log"]),
        (scene.file("tile/0"), &["tile"]),
        (scene.file("tile/1"), &["tile"]),
        (scene.file(&format!("/sim/keys/{}/nodes.seg", tenant.0)), &["keys", "mirror"]),
        (scene.file(&format!("/mirror/{}/nodes.seg", tenant.0)), &["mirror"]),
        (scene.file("checkpoint"), &["checkpoint"]),
        (tenant.body(&scene), &["body"]),
    ];
    let mut rng = Rng::new(7);
    for (path, parts) in cases {
        for round in 0..4 {
            let disk = scene.disk.fork();
            let attempt = Scene { disk, clock: scene.clock.clone(), config: scene.config.clone() };
            let vault = Vault::open(attempt.world(30 + round), &attempt.config).unwrap();
            let len = attempt.disk.bytes(&path).unwrap().len();
            // Not in what an opening appends to and a pass does not cover.
            let at = rng.below(len * 9 / 10);
            attempt.disk.write_through(&path, at, 1 << rng.below(8));
            let (found, _) = pass(&vault, true);
            let context = format!("{} byte {at} of {len}, round {round}", path.display());
            assert!(!found.is_empty(), "{context}: not found");
            let seen: BTreeSet<&str> = found.iter().map(|f| f.part).collect();
            assert!(seen.iter().any(|part| parts.contains(part)), "{context}: {found:?}");
            // Where unit heads rotted, the entries in that segment cannot be read back.
            if let Ok((_, recorded)) = vault.last_scrub() {
                assert!(recorded as usize >= found.len().min(100), "{context}: recorded");
            }
            // Named again, since nothing was mended.
            assert!(!pass(&vault, true).0.is_empty(), "{context}: mended in silence");
        }
    }
}

struct VaultTenant(String);

impl VaultTenant {
    fn of(scene: &Scene) -> Self {
        let text = scene.disk.bytes(&scene.config.data.join("vault.toml")).unwrap();
        let text = String::from_utf8(text).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix("tenant = ")).unwrap().to_owned();
        VaultTenant(line.trim_matches('"').to_owned())
    }

    /// The largest body file.
    fn body(&self, scene: &Scene) -> PathBuf {
        let bodies = scene.disk.files().into_iter().filter(|p| {
            let name = p.to_string_lossy();
            name.contains(&self.0) && name.contains("/bodies/")
        });
        bodies.max_by_key(|p| scene.disk.bytes(p).unwrap().len()).unwrap()
    }
}

#[test]
fn a_pass_goes_on_where_it_was_and_keeps_its_pace() {
    let (scene, vault) = Scene::new(3);
    let rate = 64 << 10;
    let mut now = vault.clock().now();
    let mut scrub = Scrub::resume(&vault, false, Some(rate));
    assert_eq!(scrub.tick(&vault, now).unwrap().bytes, 0, "no time has passed");
    let mut read = 0;
    let mut vault = vault;
    let mut finished = None;
    for round in 0..200u64 {
        now = UtcNanos(now.0 + 500_000_000);
        let progress = scrub.tick(&vault, now).unwrap();
        // The last step may be one unit more than the share.
        assert!(progress.bytes <= rate / 2 + (1 << 20), "{}", progress.bytes);
        assert_eq!(scrub.tick(&vault, now).unwrap().bytes, 0, "twice at one instant");
        read += progress.bytes;
        if progress.finished.is_some() {
            finished = progress.finished;
            break;
        }
        assert_eq!(progress.pass_bytes, read, "nothing is read twice");
        if round % 3 == 2 {
            drop(vault);
            vault = Vault::open(scene.world(100 + round), &scene.config).unwrap();
            scrub = Scrub::resume(&vault, false, Some(rate));
            let first = scrub.tick(&vault, now).unwrap();
            assert_eq!(first.bytes, 0);
        }
    }
    assert!(finished.is_some(), "{read} bytes read");
}

/// The name of a source lies in the entry that registered it. When that cannot be read, a record
/// without a name would be a wrong answer, for good once it has left the house.
#[test]
fn a_source_whose_registration_cannot_be_read_is_an_error_and_no_nameless_record() {
    let reading = Reading::OPEN;
    let (scene, vault) = Scene::new(40);
    let events = (0..vault.size().0).map(EntryIndex);
    let event = events.rev().find(|at| vault.entry(*at).unwrap().head.source_seq == Some(700));
    let event = event.expect("the last event");
    let registered = *vault.facts_now().sources.values().next().unwrap();
    drop(vault);
    let vault = Vault::open(scene.world(41), &scene.config).unwrap();
    let whole = vault.record(event, reading).unwrap();
    assert_eq!(whole.source.as_deref(), Some("ehr"));
    drop(vault);
    // The name is not known yet when the sector rots.
    let vault = Vault::open(scene.world(42), &scene.config).unwrap();
    let entry = vault.entry_bytes(registered).unwrap();
    let segment = scene.file("/log/00000000.seg");
    let bytes = scene.disk.bytes(&segment).unwrap();
    let at = bytes.windows(entry.len()).position(|window| window == entry).expect("the entry");
    scene.disk.write_through(&segment, at, 0xff);
    let error = vault.record(event, reading).expect_err("a record that has lost its source");
    assert_eq!(error.code(), vault.entry(registered).expect_err("damaged").code());
    // The scrub names what is damaged, and not every record that came from there.
    let (found, _) = pass(&vault, true);
    assert!(!found.is_empty());
    assert!(found.iter().all(|f| f.part == "log"), "{found:?}");
}
