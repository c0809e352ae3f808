//! A log made up from nothing, with keys of its own: what a dishonest vault could publish. Every
//! hash and signature in it is right; only what it says may be wrong.

use crate::base::entry::{Entry, Head, Kind};
use crate::base::event::{EventCode, Outcome, Severity};
use crate::base::id::{EventIdTag, Hash32, RecordId, SourceHandle, TenantId};
use crate::base::secret::Key;
use crate::base::unit::{ClassId, EntryIndex, Generation, UtcNanos};
use crate::cli::bench::attacks::raw::{encode, write_tiles};
use crate::crypto::hash::leaf_hash;
use crate::crypto::lanes::Lanes;
use crate::crypto::merkle::Compact;
use crate::crypto::sign::SigningKey;
use crate::format::checkpoint::Checkpoint;
use crate::format::control;
use crate::format::entry;
use crate::format::seal::sample::Sample;
use crate::format::trust::Trust;
use crate::format::unit::UnitHead;
use crate::format::vkey::{Algorithm, Signer};
use crate::store::disk::{Disk, OsDisk};
use crate::vault::config::{Places, VaultFile};
use crate::vault::verify::{Options, Report, verify_data};
use anyhow::{Context, Result, anyhow};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Entries of one unit.
const UNIT: usize = 4_096;

/// The log being made up.
pub(crate) struct Forge {
    dir: PathBuf,
    pub(crate) file: VaultFile,
    pub(crate) signer: Signer,
    pub(crate) time: u64,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) leaves: Vec<Hash32>,
}

/// A key of the forger.
pub(crate) fn key(name: &str, seed: u8) -> Result<Signer> {
    let key = SigningKey::new(&Key::new([seed; 32]));
    Signer::new(name, Algorithm::Ed25519, key).map_err(|e| anyhow!("{e}"))
}

impl Forge {
    /// A log with its genesis.
    pub(crate) fn new(dir: &Path) -> Result<Forge> {
        let file = VaultFile::new("forge.local", TenantId([7; 16]));
        fs::create_dir_all(dir)?;
        file.write(&OsDisk, dir)?;
        let signer = key(&file.origin(), 1)?;
        let time = UtcNanos::parse("2026-11-21T08:00:00Z").context("a morning")?.0;
        let (dir, entries, leaves) = (dir.to_owned(), Vec::new(), Vec::new());
        let mut forge = Forge { dir, file, signer, time, entries, leaves };
        let genesis = control::Genesis {
            format: 1,
            origin: forge.file.origin(),
            tenant: forge.file.tenant,
            log_key: forge.signer.verifier().to_string(),
            report_key: key(&forge.file.report_name(), 2)?.verifier().to_string(),
            generation: Generation(1),
            root: Hash32([1; 32]),
            continues: None,
        };
        forge.act(Kind::Genesis, control::encode(&genesis)?)?;
        Ok(forge)
    }

    /// The head of an entry without sealed fields.
    pub(crate) fn head(&self, kind: Kind, clear: Vec<u8>) -> Result<Head> {
        Ok(Head {
            kind,
            class: ClassId(10),
            time: UtcNanos(self.time),
            tenant: self.file.tenant,
            record: RecordId((self.next() as u128 + 1).to_be_bytes()),
            event_id: EventIdTag::ZERO,
            source: SourceHandle::ZERO,
            source_seq: None,
            code: EventCode::from_value(0).context("a code")?,
            outcome: Outcome::Success,
            severity: Severity::default(),
            tags: Vec::new(),
            groups: Vec::new(),
            fields: Vec::new(),
            clear,
        })
    }

    pub(crate) fn next(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Takes the last entry back.
    pub(crate) fn pop(&mut self) {
        self.entries.pop();
        self.leaves.pop();
    }

    /// Appends an entry.
    pub(crate) fn push(&mut self, head: Head) -> Result<u64> {
        let index = EntryIndex(self.next());
        let prev = self.leaves.last().copied().unwrap_or(Hash32::ZERO);
        let entry = Entry { head, index, time_log: UtcNanos(self.time), prev };
        Ok(self.push_bytes(entry::encode(&entry)?))
    }

    /// Appends what need not be an entry.
    pub(crate) fn push_bytes(&mut self, bytes: Vec<u8>) -> u64 {
        self.leaves.push(leaf_hash(&bytes));
        self.entries.push(bytes);
        self.next() - 1
    }

    pub(crate) fn act(&mut self, kind: Kind, clear: Vec<u8>) -> Result<u64> {
        self.push(self.head(kind, clear)?)
    }

    /// Appends bare events of a counting source.
    pub(crate) fn events(&mut self, numbers: std::ops::Range<u64>) -> Result<()> {
        for number in numbers {
            let mut head = self.head(Kind::Event, Vec::new())?;
            (head.source, head.source_seq) = (SourceHandle([1; 16]), Some(number));
            self.push(head)?;
        }
        Ok(())
    }

    /// Root of the first leaves.
    pub(crate) fn root(&self, size: usize) -> Hash32 {
        let mut tree = Compact::new();
        let leaves = self.leaves.get(..size).unwrap_or_default();
        tree.extend(&Lanes::detect(), leaves, &mut |_, _| {});
        tree.root()
    }

    pub(crate) fn places(&self) -> Places {
        Places::of(&self.dir, &self.dir, &self.file.tenant)
    }

    /// Writes everything, signed with the log's own key, and verifies it with that key pinned.
    pub(crate) fn verify(&self) -> Result<Report> {
        self.publish(&self.signer)?;
        let keys = [self.signer.verifier().clone()];
        self.verify_with(&Trust::of(&keys, &[]).map_err(|e| anyhow!("{e}"))?)
    }

    pub(crate) fn verify_with(&self, trust: &Trust) -> Result<Report> {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let options = Options { replay_seals: Some(Sample::all()), ..Options::default() };
        Ok(verify_data(&disk, &self.dir, Some(trust), &options, &mut |_, _| {})?)
    }

    /// Writes log, tiles and a checkpoint.
    pub(crate) fn publish(&self, signer: &Signer) -> Result<()> {
        let places = self.places();
        fs::create_dir_all(places.log())?;
        let (lanes, mut tree) = (Lanes::detect(), Compact::new());
        let (mut bytes, mut prev) = (Vec::new(), Hash32::ZERO);
        let units = self.entries.chunks(UNIT).zip(self.leaves.chunks(UNIT));
        for (number, (entries, leaves)) in units.enumerate() {
            let first = EntryIndex(tree.size().0);
            tree.extend(&lanes, leaves, &mut |_, _| {});
            let mut head = UnitHead {
                len: 0,
                number: number as u64,
                epoch: 0,
                prev,
                first,
                end: tree.size(),
                root: tree.root(),
                state_before: None,
                spans: Vec::new(),
            };
            bytes.extend(encode(&mut head, entries, Some(&self.signer)));
            prev = head.hash();
        }
        fs::write(places.log().join("00000000.seg"), bytes)?;
        write_tiles(&places, &self.leaves)?;
        let (origin, size, root) = (self.file.origin(), tree.size(), tree.root());
        let note = Checkpoint { origin, size, root }.sign(&[signer]);
        Ok(fs::write(places.checkpoint(), note.map_err(|e| anyhow!("{e}"))?)?)
    }
}
