//! Attacks on forgetting, numbered as in the design notes. The attacker holds every byte ever
//! written to the disk, deleted and overwritten ones too, and the newest keys.

use crate::support::clinic::{Visit, append, data_fate, identifier, patient, read, read_all, text};
use crate::support::keyhole::Keyhole;
use crate::support::sim::SimDisk;
use crate::support::world::{HandClock, config, two_people, world};
use chancery::base::entry::Kind;
use chancery::base::event::Identifier;
use chancery::base::id::{Hash32, SubjectTag, TenantId};
use chancery::base::record::Fate;
use chancery::base::secret::Key;
use chancery::base::unit::EntryIndex;
use chancery::crypto::kdf::{expand, label};
use chancery::format::node::BLOB_BYTES;
use chancery::format::slot::Slot;
use chancery::store::disk::{Disk, OsDisk};
use chancery::vault::Vault;
use chancery::vault::config::Config;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const KEYS: &str = "/sim/keys";

struct Scene {
    disk: SimDisk,
    clock: Arc<HandClock>,
    tenant: TenantId,
}

impl Scene {
    fn open(&self, disk: &SimDisk) -> chancery::vault::error::Result<Vault> {
        Vault::open(world(Arc::new(disk.clone()), &self.clock, 77), &config(Path::new("/sim")))
    }

    fn hole(&self) -> Keyhole {
        Keyhole::new(Path::new(KEYS), self.tenant)
    }

    fn root(&self, slot: usize) -> PathBuf {
        self.hole().root(slot)
    }

    fn kek(&self, disk: &SimDisk) -> Key {
        self.hole().kek(disk)
    }

    fn slot(&self, disk: &SimDisk) -> Slot {
        self.hole().slot(disk)
    }

    fn secrets(&self, disk: &SimDisk, identifier: &Identifier) -> Vec<[u8; 32]> {
        self.hole().secrets(disk, identifier)
    }

    fn reachable(&self, disk: &SimDisk) -> BTreeSet<[u8; 32]> {
        let known = self.hole().reachable(disk);
        assert!(self.hole().reachable_by_name(disk).is_subset(&known));
        known
    }
}

/// Forty persons, so that the tree has split; Grete is the one to be forgotten.
fn scene() -> (Scene, Vault, EntryIndex) {
    let (disk, clock) = (SimDisk::new(), HandClock::at("2026-11-21T08:00:00Z"));
    let home = Path::new("/sim");
    let world = world(Arc::new(disk.clone()), &clock, 1);
    let vault = Vault::init(world, &config(home), "vault.example").unwrap();
    let grete = Visit { secret: "pin-4711".into(), ..Visit::new(1, "nora", "grete-xq7") };
    let at = append(&vault, &[grete]).unwrap()[0].index;
    let others: Vec<Visit> =
        (2..80).map(|n| Visit::new(n, "nora", &format!("other-{n}"))).collect();
    append(&vault, &others).unwrap();
    append(&vault, &[Visit::new(80, "nora", "grete-xq7").class("90d")]).unwrap();
    let tenant = vault.tenant();
    (Scene { disk, clock, tenant }, vault, at)
}

fn grete() -> Identifier {
    patient("grete-xq7")
}

fn forget(vault: &Vault) -> chancery::vault::erase::Erased {
    vault.erase(&[grete()], "gdpr-17-1", &two_people()).unwrap()
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn attack_19_no_oracle_is_left_for_a_short_value() {
    let (scene, vault, at) = scene();
    let secrets = scene.secrets(&scene.disk, &grete());
    assert!(secrets.len() >= 7, "two classes and a token");
    let before = scene.reachable(&scene.disk);
    assert!(secrets.iter().any(|s| before.contains(s)), "before it, the attack succeeds");
    let head = vault.entry(at).unwrap().head;
    let field = head.fields.iter().position(|f| &*f.name == "data").unwrap();
    forget(&vault);
    drop(vault);
    let known = scene.reachable(&scene.disk);
    for secret in &secrets {
        assert!(!known.contains(secret), "a key of the erased person is reachable");
        assert!(!known.iter().any(|k| expand(&Key::new(*k), label::SEAL).expose() == secret));
    }
    // With any reachable string as seed, no four-digit value explains the commitment.
    let field_head = &head.fields[field];
    for seed in known.iter().take(30) {
        let preimage = chancery::format::body::salt_preimage(seed, field as u16);
        let salt: [u8; 32] = Sha256::digest(&preimage[..]).into();
        for pin in 0..10_000 {
            let value = format!(r#"{{"note":"pin-{pin:04}"}}"#);
            let mut bytes = Vec::new();
            let (name, value) = (&*field_head.name, value.as_bytes());
            let group = field_head.group;
            chancery::format::body::commit_preimage(
                &mut bytes,
                &head.record,
                group,
                &salt,
                name,
                value,
            );
            let commitment = Hash32(Sha256::digest(&bytes).into());
            assert_ne!(commitment, field_head.commitment);
        }
    }
}

#[test]
fn attack_20_an_old_data_backup_beside_current_keys_reveals_nothing() {
    let (scene, vault, at) = scene();
    vault.checkpoint().unwrap();
    let backup = scene.disk.fork();
    forget(&vault);
    drop(vault);
    let restored = SimDisk::new();
    for (disk, below) in [(&backup, "/sim/data"), (&scene.disk, "/sim/keys")] {
        for path in disk.files().into_iter().filter(|p| p.starts_with(below)) {
            restored.create_dir(path.parent().unwrap()).unwrap();
            restored.plant(&path, &disk.bytes(&path).unwrap());
        }
    }
    let vault = scene.open(&restored).unwrap();
    assert_eq!(vault.read_only(), Some("LOG_BEHIND_KEYS"));
    assert!(!text(&read(&vault, at)).contains("4711"));
    let open = read_all(&vault).iter().filter(|r| text(r).contains("other-5")).count();
    assert!(open > 0, "everybody else is readable");
}

#[test]
fn attack_21_and_28_old_roots_are_refused_and_scrubbed_before_anything_is_served() {
    let (scene, vault, at) = scene();
    drop(vault);
    let old = scene.disk.fork();
    let old_slot = [0, 1].map(|n| old.bytes(&scene.root(n)));
    let vault = scene.open(&scene.disk).unwrap();
    forget(&vault);
    drop(vault);
    // 21: the whole key plane of before.
    let rolled = scene.disk.fork();
    for path in old.files().into_iter().filter(|p| p.starts_with(KEYS)) {
        rolled.plant(&path, &old.bytes(&path).unwrap());
    }
    for slot in [0, 1] {
        rolled.plant(&scene.root(slot), old_slot[slot].as_deref().unwrap_or(&[0; BLOB_BYTES]));
    }
    assert_eq!(scene.open(&rolled).err().unwrap().code(), "ROOT_GEN_ROLLBACK");
    // 28: the old slot as a crash before the scrub leaves it.
    let left = scene.disk.fork();
    let now = scene.slot(&left);
    let other = usize::try_from((now.generation.0 + 1) % 2).unwrap();
    if let Some(bytes) = &old_slot[other] {
        left.plant(&scene.root(other), bytes);
    }
    let vault = scene.open(&left).unwrap();
    assert!(left.bytes(&scene.root(other)).unwrap().iter().all(|byte| *byte == 0));
    assert_eq!(data_fate(&read(&vault, at)), Fate::Erased);
}

#[test]
fn attack_23_a_planted_root_of_a_higher_generation_is_refused() {
    let (scene, vault, _) = scene();
    drop(vault);
    let old = scene.slot(&scene.disk);
    let vault = scene.open(&scene.disk).unwrap();
    forget(&vault);
    drop(vault);
    let now = scene.slot(&scene.disk);
    let kek = scene.kek(&scene.disk);
    // The attacker even holds the key-encryption key and re-seals the old root.
    let planted =
        Slot { generation: chancery::base::unit::Generation(now.generation.0 + 1), ..old };
    let at = usize::try_from(planted.generation.0 % 2).unwrap();
    let bytes = planted.seal(&kek, &[3; 12]).unwrap();
    scene.disk.plant(&scene.root(at), &bytes[..]);
    let error = scene.open(&scene.disk).err().unwrap();
    assert_eq!(error.code(), "ROOT_HASH_MISMATCH", "{error}");
}

/// Needles that must be nowhere once Grete is forgotten.
fn needles(secrets: &[[u8; 32]]) -> Vec<Vec<u8>> {
    let mut needles: Vec<Vec<u8>> = secrets.iter().map(|s| s.to_vec()).collect();
    needles.extend([&b"grete"[..], b"xq7", b"pin-4711", b"Z3JldGUt"].map(<[u8]>::to_vec));
    needles
}

#[test]
fn attack_25_and_45_no_file_ever_held_what_was_erased() {
    let (scene, vault, _) = scene();
    let mut secrets = scene.secrets(&scene.disk, &grete());
    secrets.push(*scene.slot(&scene.disk).root_key.expose());
    let erased = forget(&vault);
    let receipt = vault.erasure_receipt(erased.job).unwrap();
    let ledger = vault.erasure_ledger().unwrap();
    let again = vault.erase(&[grete()], "gdpr-17-1", &two_people()).unwrap_err();
    let duplicate = append(&vault, &[Visit::new(1, "nora", "grete-xq7")]).unwrap_err();
    let differs = append(&vault, &[Visit::new(2, "nora", "grete-xq7")]).unwrap_err();
    let records = read_all(&vault);
    let facts = format!("{:?}", vault.facts_now());
    let said = [
        receipt,
        ledger,
        format!("{again} {again:?} {duplicate} {duplicate:?} {differs} {differs:?}"),
        format!("{records:?} {:?} {erased:?} {facts}", vault.notices()),
        format!("{:?}", vault.retention_plan().unwrap()),
    ];
    drop(vault);
    for needle in needles(&secrets) {
        let hit = |bytes: &[u8]| contains(bytes, &needle);
        let written = scene.disk.all_bytes_ever(Path::new("/sim"));
        assert!(!written.iter().any(|bytes| hit(bytes)), "on disk: {} bytes", needle.len());
        assert!(!said.iter().any(|text| hit(text.as_bytes())), "said aloud");
    }
    let vault = scene.open(&scene.disk).unwrap();
    for record in read_all(&vault) {
        let open = text(&record);
        for name in ["grete", "xq7", "4711"] {
            assert!(!open.contains(name), "{} still holds it", record.entry.index);
        }
    }
}

#[test]
fn attack_25_on_the_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let clock = HandClock::at("2026-11-21T08:00:00Z");
    let config = Config { index_on_disk: true, ..config(dir.path()) };
    let vault = Vault::init(world(Arc::new(OsDisk), &clock, 1), &config, "vault.example").unwrap();
    let visit = Visit { secret: "pin-4711".into(), ..Visit::new(1, "nora", "grete-xq7") };
    append(&vault, &[visit]).unwrap();
    forget(&vault);
    vault.settle();
    drop(vault);
    let (mut todo, mut files) = (vec![dir.path().to_owned()], 0);
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&path).unwrap();
            for needle in needles(&[]) {
                assert!(!contains(&bytes, &needle), "{}", path.display());
            }
        }
    }
    assert!(files > 8, "{files} files");
}

#[test]
fn attack_26_a_split_before_the_erasure_leaves_no_way_back() {
    let (scene, vault, _) = scene();
    let victims: Vec<Identifier> =
        (2..80).step_by(16).map(|n| patient(&format!("other-{n}"))).collect();
    for (round, victim) in victims.iter().enumerate() {
        let secrets = scene.secrets(&scene.disk, victim);
        assert!(!secrets.is_empty());
        let base = 1_000 + round as u64 * 10;
        let more: Vec<Visit> =
            (base..base + 8).map(|n| Visit::new(n, "nora", &format!("late-{n}"))).collect();
        append(&vault, &more).unwrap();
        vault.erase(std::slice::from_ref(victim), "gdpr-17-1", &two_people()).unwrap();
        let known = scene.reachable(&scene.disk);
        assert!(secrets.iter().all(|s| !known.contains(s)), "round {round}");
    }
}

#[test]
fn attack_27_hold_twice_unknown_and_born_again() {
    let (scene, vault, at) = scene();
    let person = vault.persons_named(&[grete()]).unwrap()[0];
    let scope = chancery::format::control::Scope::Person { person };
    let (case, _) = vault.set_hold(None, "c", scope, &two_people()).unwrap();
    let refused = vault.erase(&[grete()], "gdpr-17-1", &two_people()).unwrap_err();
    assert_eq!(refused.code(), "HOLD_BLOCKED");
    vault.release_hold(case, &two_people()).unwrap();
    let secrets = scene.secrets(&scene.disk, &grete());
    forget(&vault);
    let twice = vault.erase(&[grete()], "gdpr-17-1", &two_people()).unwrap_err();
    let unknown = vault.erase(&[identifier("email", "x@y")], "gdpr-17-1", &two_people());
    assert_eq!(twice.to_string(), unknown.unwrap_err().to_string());
    let again = append(&vault, &[Visit::new(900, "nora", "grete-xq7")]).unwrap()[0].index;
    let tags =
        |at| -> BTreeSet<SubjectTag> { vault.entry(at).unwrap().head.tags.into_iter().collect() };
    let nora = vault.entry(EntryIndex(at.0 + 3)).unwrap().head.tags;
    let shared: Vec<SubjectTag> = tags(at).intersection(&tags(again)).copied().collect();
    assert!(shared.iter().all(|tag| nora.contains(tag)), "only the nurse is the same");
    let born = scene.secrets(&scene.disk, &grete());
    assert!(!born.is_empty() && born.iter().all(|s| !secrets.contains(s)));
    assert_eq!(vault.persons_named(&[grete()]).unwrap().len(), 1);
}

#[test]
fn attack_41_no_checkpoint_runs_ahead_of_what_is_durable() {
    for operation in 1..90 {
        let (disk, clock) = (SimDisk::new(), HandClock::at("2026-11-21T08:00:00Z"));
        let config = config(Path::new("/sim"));
        let open = |disk: &SimDisk, seed| {
            Vault::open(world(Arc::new(disk.clone()), &clock, seed), &config)
        };
        drop(Vault::init(world(Arc::new(disk.clone()), &clock, 1), &config, "v.example").unwrap());
        let vault = open(&disk, 2).unwrap();
        disk.fail_at(operation);
        let mut shown = vec![vault.checkpoint()];
        for n in 1..4 {
            let receipts = append(&vault, &[Visit::new(n, "nora", &format!("p{n}"))]);
            shown.extend(receipts.ok().map(|r| Ok(r[0].checkpoint.clone())));
            shown.push(vault.checkpoint());
        }
        let key = vault.log_key().clone();
        drop(vault);
        let vault = open(&disk.crash(operation), 3).unwrap();
        for note in shown.into_iter().flatten() {
            let note = chancery::format::checkpoint::Checkpoint::open(note.as_bytes(), &key);
            let note = note.unwrap();
            assert!(note.size <= vault.size(), "operation {operation}: {} shown", note.size);
        }
        assert_eq!(vault.entry(EntryIndex(0)).unwrap().head.kind, Kind::Genesis);
    }
}
