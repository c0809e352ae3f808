//! An attacker with the data directory and every tool but the keys: takes the log apart, changes
//! it, and puts hashes, units and tiles right again as far as that needs no signature.

use crate::base::entry::Entry;
use crate::base::id::Hash32;
use crate::base::secret::Key;
use crate::base::unit::{EntryIndex, TreeSize};
use crate::cli::bench::attacks::ground::Ground;
use crate::crypto::hash::leaf_hash;
use crate::crypto::lanes::Lanes;
use crate::crypto::merkle::Compact;
use crate::crypto::sign::SigningKey;
use crate::format::checkpoint::Checkpoint;
use crate::format::entry;
use crate::format::unit::{self, UnitHead};
use crate::format::vkey::{Algorithm, Signer};
use crate::store::disk::OsDisk;
use crate::store::kek::{Kek, open_secret};
use crate::vault::config::{Places, VaultFile};
use anyhow::{Context, Result, anyhow, bail};
use std::fs;
use std::path::PathBuf;

/// A log taken apart.
pub(crate) struct Raw {
    pub(crate) units: Vec<(UnitHead, Vec<Vec<u8>>)>,
    places: Places,
    /// The log key, if the attacker stole that too.
    pub(crate) stolen: Option<Signer>,
}

/// The log key, as somebody who may read the key directory finds it.
pub(crate) fn steal(ground: &Ground) -> Result<Signer> {
    let kek = Kek::open(&OsDisk, &ground.dir.join("keys"), None)?;
    let path = ground.places()?.signing.join("log.key");
    let seed = open_secret(&OsDisk, &path, &kek, "chancery/v1/signing/log")?;
    let file = VaultFile::read(&OsDisk, &ground.dir.join("data"))?;
    let key = SigningKey::new(&Key::from_slice(&seed).context("32 bytes")?);
    Signer::new(&file.origin(), Algorithm::Ed25519, key).map_err(|e| anyhow!("{e}"))
}

impl Raw {
    pub(crate) fn of(ground: &Ground) -> Result<Raw> {
        let places = ground.places()?;
        let mut units = Vec::new();
        for segment in segments(&places)? {
            let bytes = fs::read(segment)?;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (_, after) = rest.split_at_checked(4).context("a unit's magic")?;
                let (len, _) = after.split_first_chunk::<8>().context("a unit's length")?;
                let len = usize::try_from(u64::from_be_bytes(*len))?;
                let (one, more) = rest.split_at_checked(len).context("a whole unit")?;
                let unit = unit::decode(one)?;
                let entries = unit.entries.iter().map(|e| e.to_vec()).collect();
                units.push((unit.head, entries));
                rest = more;
            }
        }
        Ok(Raw { units, places, stolen: None })
    }

    pub(crate) fn entries(&self) -> Vec<&Vec<u8>> {
        self.units.iter().flat_map(|(_, entries)| entries).collect()
    }

    pub(crate) fn size(&self) -> TreeSize {
        TreeSize(self.units.iter().map(|(_, e)| e.len() as u64).sum())
    }

    pub(crate) fn entry(&self, index: u64) -> Result<Entry> {
        let entries = self.entries();
        let bytes = entries.get(usize::try_from(index)?).context("an entry")?;
        Ok(entry::decode(bytes)?)
    }

    /// The unit of an entry, and the entry's place in it.
    pub(crate) fn find(&mut self, index: u64) -> Result<(&mut Vec<Vec<u8>>, usize)> {
        let mut left = usize::try_from(index)?;
        for (_, entries) in &mut self.units {
            if left < entries.len() {
                return Ok((entries, left));
            }
            left -= entries.len();
        }
        bail!("no entry {index}")
    }

    pub(crate) fn entry_mut(&mut self, index: u64) -> Result<&mut Vec<u8>> {
        let (entries, at) = self.find(index)?;
        entries.get_mut(at).context("an entry")
    }

    /// Rewrites an entry by its meaning.
    pub(crate) fn edit(&mut self, index: u64, edit: impl FnOnce(&mut Entry)) -> Result<()> {
        let mut entry = self.entry(index)?;
        edit(&mut entry);
        *self.entry_mut(index)? = entry::encode(&entry)?;
        Ok(())
    }

    /// Adds a copy of an entry at the end.
    pub(crate) fn repeat(&mut self, index: u64) -> Result<u64> {
        let bytes = self.entry_mut(index)?.clone();
        self.units.last_mut().context("a unit")?.1.push(bytes);
        Ok(self.size().0 - 1)
    }

    /// Gives every entry the index of its place, and with `prev` the hash of its predecessor.
    pub(crate) fn renumber(&mut self, prev: bool) {
        let (mut index, mut last) = (0u64, Hash32::ZERO);
        for bytes in self.units.iter_mut().flat_map(|(_, entries)| entries) {
            let tail = bytes.len().saturating_sub(entry::TAIL_BYTES);
            let number = index.to_be_bytes();
            let places = bytes.iter_mut().skip(tail).zip(number);
            places.for_each(|(byte, new)| *byte = new);
            if prev {
                let places = bytes.iter_mut().skip(tail + 16).zip(last.0);
                places.for_each(|(byte, new)| *byte = new);
            }
            last = leaf_hash(bytes);
            index += 1;
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
    pub(crate) fn write(&mut self) -> Result<()> {
        let key = self.stolen.as_ref();
        let bytes: Vec<u8> =
            self.units.iter_mut().flat_map(|(head, e)| encode(head, e, key)).collect();
        for segment in segments(&self.places)? {
            fs::remove_file(segment)?;
        }
        Ok(fs::write(self.places.log().join("00000000.seg"), bytes)?)
    }

    /// Writes tiles that fit the entries.
    pub(crate) fn write_tiles(&self) -> Result<()> {
        let leaves: Vec<Hash32> = self.entries().iter().map(|e| leaf_hash(e)).collect();
        write_tiles(&self.places, &leaves)
    }

    /// Everything an attacker without the log key can put right.
    pub(crate) fn cover_up(&mut self) -> Result<()> {
        self.renumber(true);
        self.relink();
        self.write()?;
        self.write_tiles()
    }

    /// What only the thief of the log key can do: a checkpoint of what is written now.
    pub(crate) fn sign(&self) -> Result<String> {
        let signer = self.stolen.as_ref().context("a stolen key")?;
        let leaves: Vec<Hash32> = self.entries().iter().map(|e| leaf_hash(e)).collect();
        let mut tree = Compact::new();
        tree.extend(&Lanes::detect(), &leaves, &mut |_, _| {});
        let origin = signer.verifier().name().to_owned();
        let checkpoint = Checkpoint { origin, size: tree.size(), root: tree.root() };
        let note = checkpoint.sign(&[signer]).map_err(|e| anyhow!("{e}"))?;
        fs::write(self.places.checkpoint(), &note)?;
        Ok(note)
    }
}

/// Writes the level files of a tree.
pub(crate) fn write_tiles(places: &Places, leaves: &[Hash32]) -> Result<()> {
    let mut levels: Vec<Vec<u8>> = vec![leaves.iter().flat_map(|h| h.0).collect()];
    Compact::new().extend(&Lanes::detect(), leaves, &mut |level, hash| {
        let level = usize::from(level);
        levels.resize_with(levels.len().max(level + 1), Vec::new);
        levels.iter_mut().skip(level).take(1).for_each(|l| l.extend_from_slice(&hash.0));
    });
    fs::create_dir_all(places.tiles())?;
    for (level, bytes) in levels.iter().enumerate() {
        fs::write(places.tiles().join(level.to_string()), bytes)?;
    }
    Ok(())
}

/// The bytes of a unit. Without a key the place of the signature stays empty.
pub(crate) fn encode(head: &mut UnitHead, entries: &[Vec<u8>], key: Option<&Signer>) -> Vec<u8> {
    let mut framed = Vec::new();
    for entry in entries {
        framed.extend_from_slice(&u16::try_from(entry.len()).unwrap_or(u16::MAX).to_be_bytes());
        framed.extend_from_slice(entry);
    }
    unit::encode(head, &framed, |message| key.map_or([0; 64], |key| key.sign_unit(message))).0
}

fn segments(places: &Places) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(places.log())? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "seg") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
