//! A log made up from nothing, with keys of its own: what a dishonest vault could publish. Every
//! hash and signature in it is right; only what it says may be wrong.

use crate::attacks::raw::failures;
use chancery::base::entry::{Entry, Head, Kind};
use chancery::base::event::{EventCode, Outcome, Severity};
use chancery::base::id::{EventIdTag, Hash32, RecordId, SourceHandle, TenantId};
use chancery::base::secret::Key;
use chancery::base::unit::{ClassId, EntryIndex, Generation, UtcNanos};
use chancery::crypto::hash::leaf_hash;
use chancery::crypto::lanes::Lanes;
use chancery::crypto::merkle::Compact;
use chancery::crypto::sign::SigningKey;
use chancery::format::checkpoint::Checkpoint;
use chancery::format::control;
use chancery::format::entry;
use chancery::format::seal::sample::Sample;
use chancery::format::trust::Trust;
use chancery::format::unit::{self, UnitHead};
use chancery::format::vkey::{Algorithm, Signer, Verifier};
use chancery::store::disk::{Disk, OsDisk};
use chancery::vault::config::{Places, VaultFile};
use chancery::vault::verify::{Options, Report, verify_data};
use std::fs;
use std::ops::Range;
use std::sync::Arc;

/// Entries of one unit.
const UNIT: usize = 4_096;

/// The log being made up.
pub(crate) struct Forge {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) file: VaultFile,
    pub(crate) signer: Signer,
    pub(crate) time: u64,
    entries: Vec<Vec<u8>>,
    leaves: Vec<Hash32>,
}

/// A key of the forger.
pub(crate) fn key(name: &str, seed: u8) -> Signer {
    Signer::new(name, Algorithm::Ed25519, SigningKey::new(&Key::new([seed; 32]))).unwrap()
}

impl Forge {
    /// An empty log with its genesis.
    pub(crate) fn new() -> Forge {
        let file = VaultFile::new("forge.example", TenantId([7; 16]));
        let dir = tempfile::tempdir().unwrap();
        file.write(&OsDisk, dir.path()).unwrap();
        let signer = key(&file.origin(), 1);
        let time = UtcNanos::parse("2026-11-21T08:00:00Z").unwrap().0;
        let mut forge = Forge { dir, file, signer, time, entries: Vec::new(), leaves: Vec::new() };
        let genesis = control::Genesis {
            format: 1,
            origin: forge.file.origin(),
            tenant: forge.file.tenant,
            log_key: forge.signer.verifier().to_string(),
            report_key: key(&forge.file.report_name(), 2).verifier().to_string(),
            generation: Generation(1),
            root: Hash32([1; 32]),
        };
        forge.act(Kind::Genesis, control::encode(&genesis).unwrap());
        forge
    }

    /// The head of an entry without sealed fields.
    pub(crate) fn head(&self, kind: Kind, clear: Vec<u8>) -> Head {
        let mut record = [9; 16];
        record[..8].copy_from_slice(&(self.entries.len() as u64).to_be_bytes());
        Head {
            kind,
            class: ClassId(10),
            time: UtcNanos(self.time),
            tenant: self.file.tenant,
            record: RecordId(record),
            event_id: EventIdTag::ZERO,
            source: SourceHandle::ZERO,
            source_seq: None,
            code: EventCode::from_value(0).unwrap(),
            outcome: Outcome::Success,
            severity: Severity::default(),
            tags: Vec::new(),
            groups: Vec::new(),
            fields: Vec::new(),
            clear,
        }
    }

    pub(crate) fn last_leaf(&self) -> Hash32 {
        *self.leaves.last().unwrap()
    }

    /// Takes the last entry back.
    pub(crate) fn pop(&mut self) {
        self.entries.pop();
        self.leaves.pop();
    }

    pub(crate) fn next(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Appends an entry.
    pub(crate) fn push(&mut self, head: Head) -> u64 {
        let index = EntryIndex(self.next());
        let prev = self.leaves.last().copied().unwrap_or(Hash32::ZERO);
        let entry = Entry { head, index, time_log: UtcNanos(self.time), prev };
        let bytes = entry::encode(&entry).unwrap();
        self.push_bytes(bytes)
    }

    /// Appends what need not be an entry.
    pub(crate) fn push_bytes(&mut self, bytes: Vec<u8>) -> u64 {
        self.leaves.push(leaf_hash(&bytes));
        self.entries.push(bytes);
        self.next() - 1
    }

    pub(crate) fn act(&mut self, kind: Kind, clear: Vec<u8>) -> u64 {
        self.push(self.head(kind, clear))
    }

    /// Appends a bare event of a counting source.
    pub(crate) fn event(&mut self, source: u8, number: u64) -> u64 {
        let mut head = self.head(Kind::Event, Vec::new());
        (head.source, head.source_seq) = (SourceHandle([source; 16]), Some(number));
        self.push(head)
    }

    /// Appends bare events of source 1 with these numbers.
    pub(crate) fn events(&mut self, numbers: Range<u64>) {
        for number in numbers {
            self.event(1, number);
        }
    }

    /// Root of the leaves of a range.
    pub(crate) fn root(&self, from: usize, to: usize) -> Hash32 {
        let mut tree = Compact::new();
        tree.extend(&Lanes::detect(), &self.leaves[from..to], &mut |_, _| {});
        tree.root()
    }

    pub(crate) fn entry(&self, index: u64) -> Entry {
        entry::decode(&self.entries[index as usize]).unwrap()
    }

    pub(crate) fn places(&self) -> Places {
        Places::of(self.dir.path(), self.dir.path(), &self.file.tenant)
    }

    /// Trust in these keys.
    pub(crate) fn trust(&self, keys: &[Verifier]) -> Trust {
        Trust::of(keys, &[]).unwrap()
    }

    /// Writes everything, signed, and verifies it.
    pub(crate) fn verify(&self) -> Report {
        let trust = self.trust(&[self.signer.verifier().clone()]);
        self.publish(&[&self.signer]);
        self.verify_with(&trust)
    }

    pub(crate) fn verify_with(&self, trust: &Trust) -> Report {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let options = Options { replay_seals: Some(Sample::all()), ..Options::default() };
        verify_data(&disk, self.dir.path(), Some(trust), &options, &mut |_, _| {}).unwrap()
    }

    /// Writes log, tiles and a checkpoint signed by `signers`.
    pub(crate) fn publish(&self, signers: &[&Signer]) {
        let places = self.places();
        fs::create_dir_all(places.log()).unwrap();
        fs::create_dir_all(places.tiles()).unwrap();
        let (lanes, mut tree) = (Lanes::detect(), Compact::new());
        let mut levels: Vec<Vec<u8>> = vec![self.leaves.iter().flat_map(|h| h.0).collect()];
        let (mut bytes, mut prev) = (Vec::new(), Hash32::ZERO);
        let units = self.entries.chunks(UNIT).zip(self.leaves.chunks(UNIT)).enumerate();
        for (number, (entries, leaves)) in units {
            let first = EntryIndex(tree.size().0);
            tree.extend(&lanes, leaves, &mut |level, hash| {
                levels.resize_with(levels.len().max(usize::from(level) + 1), Vec::new);
                levels[usize::from(level)].extend_from_slice(&hash.0);
            });
            let (end, root) = (tree.size(), tree.root());
            let number = number as u64;
            let (len, epoch, state_before, spans) = (0, 0, None, Vec::new());
            let mut head =
                UnitHead { len, number, epoch, prev, first, end, root, state_before, spans };
            let mut framed = Vec::new();
            for entry in entries {
                framed.extend_from_slice(&(entry.len() as u16).to_be_bytes());
                framed.extend_from_slice(entry);
            }
            let sign = |message: &[u8]| self.signer.sign_unit(message);
            let (unit, hash) = unit::encode(&mut head, &framed, sign);
            bytes.extend_from_slice(&unit);
            prev = hash;
        }
        fs::write(places.log().join("00000000.seg"), bytes).unwrap();
        for (level, bytes) in levels.iter().enumerate() {
            fs::write(places.tiles().join(level.to_string()), bytes).unwrap();
        }
        let (origin, size, root) = (self.file.origin(), tree.size(), tree.root());
        let note = Checkpoint { origin, size, root }.sign(signers).unwrap();
        fs::write(places.checkpoint(), note).unwrap();
    }

    /// Requires exactly these failures.
    pub(crate) fn expect(&self, expected: &[(&'static str, Option<u64>)]) {
        let report = self.verify();
        assert_eq!(failures(&report), expected, "{:?}", report.verdicts);
    }
}
