//! The outsider's verification: what an honest vault looks like, and what it cannot say.

use crate::attacks::raw::{Raw, Site, failures};
use crate::support::world::two_people;
use chancery::base::event::Identifier;
use chancery::base::secret::Key;
use chancery::base::unit::{EntryIndex, UtcNanos};
use chancery::crypto::hash::sha256;
use chancery::crypto::sign::SigningKey;
use chancery::format::note::cosign;
use chancery::format::trust::Trust;
use chancery::format::vkey::{Algorithm, Signer};
use chancery::store::disk::{Disk, OsDisk};
use chancery::vault::verify::{Options, Report, exit_code_of, verify_data};
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn without_trust(data: &Path) -> Result<Report, chancery::vault::error::Error> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    verify_data(&disk, data, None, &Options::default(), &mut |_, _| {})
}

#[test]
fn a_vault_that_erased_and_expired_verifies() {
    let site = Site::with(4);
    let vault = site.open().unwrap();
    let patient = Identifier { kind: "patient_id".into(), value: "p1".into() };
    vault.erase(&[patient], "gdpr-17-1", &two_people()).unwrap();
    drop(vault);
    for day in 1..=5 {
        site.clock.pass_days(1);
        let vault = site.open().unwrap();
        site.append(&vault, 16 + day * 5, 1);
        vault.settle();
    }
    let report = site.verify();
    assert_eq!((failures(&report), report.exit_code()), (vec![], 0), "{report:?}");
    assert_eq!((report.erasures, report.expired), (1, 0));
    assert!(report.day_seals >= 4, "{report:?}");
    // Years later everything but what has a longer class is gone, and each loss is justified.
    let mut config = site.config.clone();
    config.accept_time = true;
    site.clock.pass_days(365 * 12);
    let seed = crate::support::world::world(Arc::new(OsDisk), &site.clock, 77);
    let vault = chancery::vault::Vault::open(seed, &config).unwrap();
    site.append(&vault, 100, 1);
    let today = vault.clock().now().day();
    let expired = vault.expire(Some(today)).unwrap();
    assert!(expired.groups > 20, "{expired:?}");
    let opened = vault.verify_bodies(&mut |_, _| {}).unwrap();
    assert_eq!((opened.failures, opened.fates["expired"]), (0, expired.groups), "{opened:?}");
    drop(vault);
    let report = site.verify();
    assert_eq!((failures(&report), report.exit_code()), (vec![], 0), "{report:?}");
    assert_eq!((report.expired, report.bodies), (expired.groups, report.groups - expired.groups));
    assert_eq!(report.generation.0, 1 + 1 + expired.runs.len() as u64);
}

#[test]
fn without_pinned_trust_it_is_inconclusive_and_never_zero() {
    let site = Site::with(2);
    let report = without_trust(&site.config.data).unwrap();
    assert_eq!((failures(&report), report.exit_code()), (vec![], 4));
    assert!(report.signed_by.is_some_and(|s| !s.pinned));
    // Signed by a key that is not the log's.
    let other = Site::seeded(2, 2);
    let foreign = fs::read_to_string(other.places().checkpoint()).unwrap();
    fs::write(site.places().checkpoint(), foreign).unwrap();
    let report = without_trust(&site.config.data).unwrap();
    assert_eq!((failures(&report), report.exit_code()), (vec![("TENANT_MISMATCH", None)], 1));
    fs::remove_file(site.places().checkpoint()).unwrap();
    assert_eq!(failures(&site.verify()), [("CHECKPOINT_MISSING", None)]);
    fs::remove_dir_all(site.places().log()).unwrap();
    let report = site.verify();
    assert_eq!((report.entries, report.exit_code()), (0, 4), "{report:?}");
    let empty = tempfile::tempdir().unwrap();
    let error = without_trust(empty.path()).unwrap_err();
    assert_eq!((error.code(), exit_code_of(&error)), ("STORE_MISSING", 3));
    fs::write(empty.path().join("vault.toml"), "format = 9\n").unwrap();
    assert_eq!(exit_code_of(&without_trust(empty.path()).unwrap_err()), 4);
}

#[test]
fn a_vault_just_made_may_lack_its_checkpoint_and_no_other() {
    for (batches, exit) in [(0, 4), (1, 1)] {
        let site = Site::with(batches);
        fs::remove_file(site.places().checkpoint()).unwrap();
        let report = site.verify();
        assert_eq!(report.exit_code(), exit, "{report:?}");
        assert_eq!(report.counts.get("CHECKPOINT_MISSING"), Some(&1), "{report:?}");
    }
}

#[test]
fn without_the_quorum_it_is_inconclusive_whichever_note_is_there() {
    let site = Site::with(1);
    let log = site.trust.logs()[0].verifier.to_string();
    let key = SigningKey::new(&Key::new([9; 32]));
    let witness = Signer::new("w.example/1", Algorithm::CosignatureV1, key).unwrap();
    let trust = format!("log {log}\nwitness w {}\nquorum w\n", witness.verifier());
    let trust = Trust::parse(&trust).unwrap();
    let judged = || {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let (data, options) = (&site.config.data, Options::default());
        verify_data(&disk, data, Some(&trust), &options, &mut |_, _| {}).unwrap()
    };
    let open = |report: &Report| {
        assert_eq!((failures(report), report.exit_code()), (vec![], 4), "{report:?}");
        assert_eq!(report.counts.get("QUORUM_MISSING"), Some(&1), "{report:?}");
    };
    open(&judged());
    // One that nobody cosigned either.
    fs::write(site.places().witnessed(), site.checkpoint()).unwrap();
    open(&judged());
    let note = cosign(site.checkpoint().as_bytes(), &witness, UtcNanos(4_000_000_000_000_000_000));
    fs::write(site.places().witnessed(), note.unwrap()).unwrap();
    let report = judged();
    assert_eq!((failures(&report), report.exit_code()), (vec![], 0), "{report:?}");
}

/// A length that nobody signed sizes nothing, also where seals are computed again.
#[test]
fn an_end_that_no_file_can_hold_takes_no_memory() {
    let site = Site::with(3);
    let segment = site.places().log().join("00000000.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let last = bytes.windows(4).rposition(|window| window == b"CHU1").unwrap();
    bytes[last + 68..last + 76].copy_from_slice(&(1_u64 << 52).to_be_bytes());
    let spans = usize::from(u16::from_be_bytes(bytes[last + 116..last + 118].try_into().unwrap()));
    let end = last + 118 + spans * 22;
    let hash = sha256(&[b"chancery/v1/unit\0", &bytes[last..end]]);
    let trailer = bytes.len() - 96;
    bytes[trailer..trailer + 32].copy_from_slice(&hash.0);
    fs::write(&segment, &bytes).unwrap();
    assert_eq!(site.verify().exit_code(), 1);
    let vault_of_nobody = fs::remove_file(site.places().checkpoint());
    assert!(vault_of_nobody.is_ok() && site.verify().exit_code() == 1);
}

#[test]
fn it_writes_nothing_takes_no_lock_and_tells_its_progress() {
    let site = Site::with(3);
    let vault = site.open().unwrap();
    site.append(&vault, 16, 2);
    let size = vault.size().0;
    // Nobody writes in the background, and somebody holds the vault's lock.
    drop(vault);
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let _held = disk.lock(&site.config.data.join("lock")).unwrap();
    let before = snapshot(&site.config.data);
    let mut told = Vec::new();
    let report = verify_data(
        &disk,
        &site.config.data,
        Some(&site.trust),
        &Options::default(),
        &mut |done, all| told.push((done, all)),
    );
    let report = report.unwrap();
    assert_eq!(snapshot(&site.config.data), before);
    assert_eq!((failures(&report), report.exit_code()), (vec![], 0), "{report:?}");
    assert!(report.entries >= size);
    let size = report.entries;
    assert_eq!(told.last(), Some(&(size, size)));
    assert!(told.is_sorted());
    let json: serde_json::Value = serde_json::to_value(&report).unwrap();
    assert_eq!(json["entries"], size);
    assert_eq!(json["signed_by"]["pinned"], true);
    assert_eq!(json["kinds"]["event"], 25);
    assert_eq!(json["verdicts"].as_array().map(Vec::len), Some(0));
}

fn snapshot(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for path in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
        match path.is_dir() {
            true => found.extend(snapshot(&path)),
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn a_torn_end_beyond_the_checkpoint_asks_for_attention_only() {
    let site = Site::with(2);
    let old = site.checkpoint();
    let vault = site.open().unwrap();
    site.append(&vault, 11, 2);
    drop(vault);
    let size = Raw::of(&site).size().0;
    fs::write(site.places().checkpoint(), old).unwrap();
    let report = site.verify();
    assert_eq!((failures(&report), report.unsigned_tail), (vec![], 10));
    let mut segments: Vec<_> =
        fs::read_dir(site.places().log()).unwrap().map(|e| e.unwrap().path()).collect();
    segments.sort();
    let last = segments.iter().rfind(|p| fs::metadata(p).unwrap().len() > 0).unwrap();
    let bytes = fs::read(last).unwrap();
    for cut in [1, 40, 500] {
        fs::write(last, &bytes[..bytes.len() - cut]).unwrap();
        let report = site.verify();
        assert_eq!(report.exit_code(), 0, "{report:?}");
        assert!(report.has("TAIL_TORN", Some(EntryIndex(size - 5))), "{report:?}");
        assert!(report.counts["BODY_UNCOMMITTED"] > 0);
    }
    // Damage with a whole unit after it is no torn end.
    let mut raw = bytes.clone();
    let second = raw.windows(4).enumerate().filter(|(_, w)| w == b"CHU1").map(|(at, _)| at);
    let second: Vec<usize> = second.collect();
    raw[second[second.len() - 2] + 20] ^= 1;
    fs::write(last, &raw).unwrap();
    assert_eq!(site.verify().exit_code(), 1);
}

/// A flipped bit in a unit's head claims 2^36 entries: `verify` names it and takes no memory for
/// them.
#[test]
fn a_head_that_claims_more_entries_than_a_unit_can_hold_is_named() {
    let site = Site::with(3);
    let tenants = site.config.data.join("tenants");
    let tenant = fs::read_dir(tenants).unwrap().next().unwrap().unwrap().path();
    let segment = tenant.join("log/00000000.seg");
    let whole = fs::read(&segment).unwrap();
    // The end stands behind magic, length, number, epoch, hash before and first index.
    let (first, end) = (4 + 3 * 8 + 32, 4 + 3 * 8 + 32 + 8);
    assert_eq!(whole[first..first + 8], [0; 8], "the first unit begins with entry 0");
    for bit in 0..64 {
        let mut bytes = whole.clone();
        bytes[end + bit / 8] ^= 1 << (bit % 8);
        fs::write(&segment, &bytes).unwrap();
        let report = without_trust(&site.config.data).unwrap();
        assert_eq!(report.exit_code(), 1, "bit {bit}: {report:?}");
    }
}
