//! An attacker with the data directory and every tool but the keys: takes the log apart, changes
//! it, and puts hashes, units and tiles right again as far as that needs no signature.

use crate::support::world::{HandClock, config, world};
use chancery::base::entry::Entry;
use chancery::base::event::Draft;
use chancery::base::id::Hash32;
use chancery::base::secret::Key;
use chancery::base::unit::{ClassDay, EntryIndex, NANOS_PER_SECOND, TreeSize};
use chancery::crypto::hash::leaf_hash;
use chancery::crypto::lanes::Lanes;
use chancery::crypto::merkle::Compact;
use chancery::crypto::sign::SigningKey;
use chancery::format::entry;
use chancery::format::seal::sample::Sample;
use chancery::format::trust::Trust;
use chancery::format::unit::{self, UnitHead};
use chancery::format::vkey::{Algorithm, Signer};
use chancery::store::disk::{Disk, OsDisk};
use chancery::store::kek::{Kek, open_secret};
use chancery::vault::Vault;
use chancery::vault::config::{Config, Places, VaultFile};
use chancery::vault::verify::{Options, Report, verify_data};
use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// A vault on a real disk, with the trust its auditor pinned.
pub(crate) struct Site {
    _dir: tempfile::TempDir,
    pub(crate) config: Config,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) trust: Trust,
    /// Every opening draws other randomness.
    seed: Cell<u64>,
}

/// An event about one patient by one nurse.
pub(crate) fn visit(seq: u64, nurse: &str, patient: &str) -> String {
    format!(
        r#"{{"time":"2026-11-21T08:00:00Z","source_seq":{seq},"actor":{{"id":"{nurse}","type":"user","email":"{nurse}@clinic.example"}},"action":"record.open","category":"data","verb":"read","outcome":"success","severity":3,"targets":[{{"type":"patient","id":"{patient}","name":"Patient {patient}"}}],"subjects":[{{"role":"target","identifiers":[{{"kind":"patient_id","value":"{patient}"}}]}}],"origin":{{"ip":"192.0.2.7"}},"reason":"ward round","data":{{"ward":"3b","note":"bed {patient}"}}}}"#
    )
}

impl Site {
    /// A vault with `batches` units of five events each, numbered by their source from 1.
    pub(crate) fn with(batches: u64) -> Site {
        Site::seeded(1, batches)
    }

    /// As `with`, from another seed.
    pub(crate) fn seeded(seed: u64, batches: u64) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let clock = HandClock::at("2026-11-21T08:00:00Z");
        let config = config(dir.path());
        let own = world(Arc::new(OsDisk), &clock, seed);
        let vault = Vault::init(own, &config, "vault.example").unwrap();
        let trust =
            Trust::of(&[vault.log_key().clone()], &[vault.report_signer().verifier().clone()]);
        let seed = Cell::new(seed * 1_000);
        let site = Site { _dir: dir, config, clock, trust: trust.unwrap(), seed };
        site.append(&vault, 1, batches);
        site
    }

    /// Appends batches of five events from number `first` on.
    pub(crate) fn append(&self, vault: &Vault, first: u64, batches: u64) {
        for batch in 0..batches {
            self.clock.pass(NANOS_PER_SECOND);
            let number = first + batch * 5;
            let texts: Vec<String> = (number..number + 5)
                .map(|n| visit(n, &format!("n{}", n % 3), &format!("p{}", n % 4)))
                .collect();
            let drafts: Vec<Draft<'_>> =
                texts.iter().map(|t| Draft { source: "ehr", json: t.as_bytes() }).collect();
            vault.append(&drafts).unwrap();
        }
    }

    pub(crate) fn open(&self) -> Result<Vault, chancery::vault::error::Error> {
        self.seed.set(self.seed.get() + 1);
        Vault::open(world(Arc::new(OsDisk), &self.clock, self.seed.get()), &self.config)
    }

    pub(crate) fn places(&self) -> Places {
        let file = VaultFile::read(&OsDisk, &self.config.data).unwrap();
        Places::of(&self.config.data, &self.config.keys, &file.tenant)
    }

    pub(crate) fn verify(&self) -> Report {
        self.verify_with(&Options { replay_seals: Some(Sample::all()), ..Options::default() })
    }

    pub(crate) fn verify_with(&self, options: &Options) -> Report {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let trust = Some(&self.trust);
        verify_data(&disk, &self.config.data, trust, options, &mut |_, _| {}).unwrap()
    }

    pub(crate) fn checkpoint(&self) -> String {
        fs::read_to_string(self.places().checkpoint()).unwrap()
    }

    pub(crate) fn body_file(&self, class_day: ClassDay) -> PathBuf {
        let class = self.places().bodies().join(class_day.class.to_string());
        class.join(format!("{}.seg", class_day.day))
    }
}

/// Failing verdicts with their places, sorted.
pub(crate) fn failures(report: &Report) -> Vec<(&'static str, Option<u64>)> {
    let failing = report.verdicts.iter().filter(|v| v.fails);
    let mut found: Vec<_> = failing.map(|v| (v.name, v.index.map(|i| i.0))).collect();
    found.sort_unstable();
    found
}

/// A log taken apart.
pub(crate) struct Raw {
    pub(crate) units: Vec<(UnitHead, Vec<Vec<u8>>)>,
    places: Places,
    /// The log key, if the attacker stole that too.
    pub(crate) stolen: Option<Signer>,
}

/// The log key of a site, as somebody who may read the key directory finds it.
pub(crate) fn steal(site: &Site) -> Signer {
    let kek = Kek::open(&OsDisk, &site.config.keys, None).unwrap();
    let path = site.places().signing.join("log.key");
    let seed = open_secret(&OsDisk, &path, &kek, "chancery/v1/signing/log").unwrap();
    let file = VaultFile::read(&OsDisk, &site.config.data).unwrap();
    let key = SigningKey::new(&Key::from_slice(&seed).unwrap());
    Signer::new(&file.origin(), Algorithm::Ed25519, key).unwrap()
}

impl Raw {
    pub(crate) fn of(site: &Site) -> Raw {
        let places = site.places();
        let mut units = Vec::new();
        for segment in segments(&places) {
            let bytes = fs::read(segment).unwrap();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let len = u64::from_be_bytes(rest[4..12].try_into().unwrap()) as usize;
                let unit = unit::decode(&rest[..len]).unwrap();
                let entries = unit.entries.iter().map(|e| e.to_vec()).collect();
                units.push((unit.head, entries));
                rest = &rest[len..];
            }
        }
        Raw { units, places, stolen: None }
    }

    pub(crate) fn entries(&self) -> Vec<Vec<u8>> {
        self.units.iter().flat_map(|(_, entries)| entries.clone()).collect()
    }

    pub(crate) fn entry(&self, index: u64) -> Entry {
        entry::decode(&self.entries()[index as usize]).unwrap()
    }

    /// Unit and position of an entry.
    pub(crate) fn find(&self, index: u64) -> (usize, usize) {
        let mut left = index as usize;
        for (number, (_, entries)) in self.units.iter().enumerate() {
            if left < entries.len() {
                return (number, left);
            }
            left -= entries.len();
        }
        panic!("no entry {index}");
    }

    pub(crate) fn entry_mut(&mut self, index: u64) -> &mut Vec<u8> {
        let (unit, at) = self.find(index);
        &mut self.units[unit].1[at]
    }

    /// Rewrites an entry by its meaning.
    pub(crate) fn edit(&mut self, index: u64, edit: impl FnOnce(&mut Entry)) {
        let mut entry = self.entry(index);
        edit(&mut entry);
        *self.entry_mut(index) = entry::encode(&entry).unwrap();
    }

    /// Gives every entry the index of its place, and with `prev` the hash of its predecessor.
    pub(crate) fn renumber(&mut self, prev: bool) {
        let (mut index, mut last) = (0, Hash32::ZERO);
        for (_, entries) in &mut self.units {
            for bytes in entries {
                let tail = bytes.len() - entry::TAIL_BYTES;
                bytes[tail..tail + 8].copy_from_slice(&u64::to_be_bytes(index));
                if prev {
                    bytes[tail + 16..].copy_from_slice(&last.0);
                }
                last = leaf_hash(bytes);
                index += 1;
            }
        }
    }

    /// Recomputes places, roots and hashes of all units.
    pub(crate) fn relink(&mut self) {
        let (mut tree, lanes) = (Compact::new(), Lanes::detect());
        let mut prev = Hash32::ZERO;
        for (number, (head, entries)) in self.units.iter_mut().enumerate() {
            let leaves: Vec<Hash32> = entries.iter().map(|e| leaf_hash(e)).collect();
            head.first = EntryIndex(tree.size().0);
            tree.extend(&lanes, &leaves, &mut |_, _| {});
            (head.number, head.prev, head.end) = (number as u64, prev, tree.size());
            head.root = tree.root();
            if head.state_before.is_some_and(|s| s.0 >= head.first.0) {
                head.state_before = None;
            }
            encode(head, entries, self.stolen.as_ref());
            prev = head.hash();
        }
    }

    /// Writes the units as they are, in one segment.
    pub(crate) fn write(&mut self) {
        let key = self.stolen.as_ref();
        let units = self.units.iter_mut();
        let bytes: Vec<u8> = units.flat_map(|(h, e)| encode(h, e, key)).collect();
        for segment in segments(&self.places) {
            fs::remove_file(segment).unwrap();
        }
        fs::write(self.places.log().join("00000000.seg"), bytes).unwrap();
    }

    /// Writes tiles that fit the entries.
    pub(crate) fn write_tiles(&self) {
        let leaves: Vec<Hash32> = self.entries().iter().map(|e| leaf_hash(e)).collect();
        let mut levels: Vec<Vec<u8>> = vec![leaves.iter().flat_map(|h| h.0).collect()];
        Compact::new().extend(&Lanes::detect(), &leaves, &mut |level, hash| {
            levels.resize_with(levels.len().max(usize::from(level) + 1), Vec::new);
            levels[usize::from(level)].extend_from_slice(&hash.0);
        });
        fs::create_dir_all(self.places.tiles()).unwrap();
        for (level, bytes) in levels.iter().enumerate() {
            fs::write(self.places.tiles().join(level.to_string()), bytes).unwrap();
        }
    }

    /// Everything an attacker without the log key can put right.
    pub(crate) fn cover_up(&mut self) {
        self.renumber(true);
        self.relink();
        self.write();
        self.write_tiles();
    }

    pub(crate) fn size(&self) -> TreeSize {
        TreeSize(self.units.iter().map(|(_, e)| e.len() as u64).sum())
    }
}

/// The bytes of a unit.
fn encode(head: &mut UnitHead, entries: &[Vec<u8>], key: Option<&Signer>) -> Vec<u8> {
    let mut framed = Vec::new();
    for entry in entries {
        framed.extend_from_slice(&(entry.len() as u16).to_be_bytes());
        framed.extend_from_slice(entry);
    }
    // Without a key the best he can do is to leave the place of the signature empty.
    unit::encode(head, &framed, |message| key.map_or([0; 64], |key| key.sign_unit(message))).0
}

fn segments(places: &Places) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(places.log()).unwrap().map(|e| e.unwrap().path()).collect();
    found.sort();
    found
}
