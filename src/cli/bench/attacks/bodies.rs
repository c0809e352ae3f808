//! Attacks on bodies: swapped, moved, planted, damaged and deleted. Damage is never mistaken for
//! forgetting.

use crate::base::entry::Entry;
use crate::base::id::Hash32;
use crate::base::secret::Key;
use crate::base::unit::{ClassDay, ClassId};
use crate::cli::bench::attacks::Found;
use crate::cli::bench::attacks::ground::{Ground, event, failing};
use crate::cli::bench::attacks::raw::Raw;
use crate::cli::bench::attacks::salamander::two_keys;
use crate::cli::world::OsEntropy;
use crate::crypto::aead;
use crate::crypto::hash::sha256;
use crate::crypto::kdf::{HmacKey, derive, label, tag};
use crate::format::cell::{self, Cell};
use crate::format::{body, wire::Reader};
use crate::store::disk::OsDisk;
use crate::store::kek::Kek;
use crate::store::keytree::KeyTree;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a frame before its nonce.
const NAMES: usize = 34;

/// A frame in its file.
struct Place {
    file: PathBuf,
    at: Range<usize>,
}

impl Place {
    fn of(ground: &Ground, entry: &Entry, group: u8) -> Result<Place> {
        let head = entry.head.groups.get(usize::from(group)).context("a group")?;
        let class = ground.places()?.bodies().join(head.class.to_string());
        let file = class.join(format!("{}.seg", head.bucket));
        let bytes = fs::read(&file)?;
        let mut reader = Reader::new(&bytes);
        reader.take(body::FILE_HEAD_BYTES as usize, "head")?;
        loop {
            let start = reader.offset();
            let frame = body::read_frame(&mut reader)?;
            if (frame.index, frame.group) == (entry.index, group) {
                return Ok(Place { file, at: start..reader.offset() });
            }
        }
    }

    fn get(&self) -> Result<Vec<u8>> {
        Ok(fs::read(&self.file)?.get(self.at.clone()).context("a frame")?.to_vec())
    }

    /// Puts a frame there, its checksum right: that is no secret.
    fn put(&self, frame: &[u8]) -> Result<()> {
        let mut frame = frame.to_vec();
        let crc = crc32fast::hash(frame.get(16..).context("a frame")?);
        frame.get_mut(4..8).context("a frame")?.copy_from_slice(&crc.to_be_bytes());
        let mut bytes = fs::read(&self.file)?;
        bytes.get_mut(self.at.clone()).context("the place")?.copy_from_slice(&frame);
        Ok(fs::write(&self.file, bytes)?)
    }
}

/// Two events about one patient whose first bodies have one length.
fn pair(ground: &Ground) -> Result<(Entry, Entry)> {
    let vault = ground.open()?;
    let one = vault.entry(event(&vault, 1)?)?;
    let other = vault.entry(event(&vault, 13)?)?;
    ensure!(one.head.tags == other.head.tags, "of the same people");
    Ok((one, other))
}

/// 12: bodies of two records of one subject swapped.
pub(crate) fn swapped(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 6)?;
    let (one, other) = pair(&ground)?;
    let (a, b) = (Place::of(&ground, &one, 0)?, Place::of(&ground, &other, 0)?);
    let (left, right) = (a.get()?, b.get()?);
    ensure!(left.len() == right.len(), "one length");
    let sealed = |names: &[u8], from: &[u8]| -> Result<Vec<u8>> {
        let names = names.get(..NAMES).context("names")?;
        Ok([names, from.get(NAMES..).context("a body")?].concat())
    };
    a.put(&sealed(&left, &right)?)?;
    b.put(&sealed(&right, &left)?)?;
    let outside = failing(&ground.verify()?);
    ensure!(outside.is("VERIFIED"), "nothing that shows without keys: {outside:?}");
    ground.open_bodies()
}

/// 13: two groups of one record swapped.
pub(crate) fn groups(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 6)?;
    let (entry, _) = pair(&ground)?;
    let (a, b) = (Place::of(&ground, &entry, 0)?, Place::of(&ground, &entry, 1)?);
    let (mut one, mut two) = (a.get()?, b.get()?);
    *one.get_mut(16).context("group")? = 1;
    *two.get_mut(16).context("group")? = 0;
    ensure!(a.file == b.file && a.at.end == b.at.start, "side by side");
    let first = Place { file: a.file.clone(), at: a.at.start..a.at.start + two.len() };
    let second = Place { file: a.file, at: first.at.end..b.at.end };
    first.put(&two)?;
    second.put(&one)?;
    ground.open_bodies()
}

fn digest(entry: &Entry, group: u8) -> Hash32 {
    let of = entry.head.fields.iter().filter(|f| f.group == group);
    let commits: Vec<u8> = of.flat_map(|f| f.commitment.0).collect();
    sha256(&[&tag::COMMITS, &commits])
}

/// The true key of a tenant's group, out of the key tree.
fn tenant_key(ground: &Ground, entry: &Entry) -> Result<Key> {
    let head = entry.head.groups.first().context("a group")?;
    let class_day = ClassDay { class: head.class, day: head.bucket };
    let kek = Kek::open(&OsDisk, &ground.dir.join("keys"), None)?;
    let (entropy, dir) = (OsEntropy::new(), ground.places()?.tree);
    let tree = KeyTree::open(Arc::new(OsDisk), &dir, entry.head.tenant, kek.key(), &entropy)?;
    let directory = HmacKey::new(tree.directory_key());
    let found = tree.get(&cell::class_day_key(&directory, class_day))?.context("a day's key")?;
    let Cell::ClassDay(_, day_key) = Cell::decode(&found)? else { bail!("no key of a day") };
    let mut info = [label::GROUP, &entry.head.tenant.0, &[0]].concat();
    info.extend_from_slice(&class_day.class.0.to_be_bytes());
    info.extend_from_slice(&class_day.day.0.to_be_bytes());
    let base = HmacKey::new(&derive(&day_key, label::NO_SUBJECT, &info));
    let preimage = body::group_key_preimage(&entry.head.record, 0, &digest(entry, 0));
    Ok(Key::new(base.mac(&preimage).0))
}

/// 14: a ciphertext whose tag is valid under the true key and under a second one.
pub(crate) fn two_keyed(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 2)?;
    let raw = Raw::of(&ground)?;
    let entries: Result<Vec<Entry>> = (0..raw.size().0).map(|i| raw.entry(i)).collect();
    let of_tenant = |e: &Entry| e.head.groups.first().is_some_and(|g| g.tags.is_empty());
    let entry = entries?.into_iter().find(of_tenant).context("sealed to the tenant")?;
    let (place, key) = (Place::of(&ground, &entry, 0)?, tenant_key(&ground, &entry)?);
    let frame = place.get()?;
    let (names, sealed) = frame.split_at_checked(NAMES + 12).context("a frame")?;
    let nonce: [u8; 12] = *names.last_chunk().context("a nonce")?;
    let aad = body::aad(&entry.head, 0, &digest(&entry, 0));
    let plain = aead::open(&key, &nonce, &aad, sealed).ok().context("the true key")?;
    let mut forged = plain.to_vec();
    let at = forged.iter().rposition(u8::is_ascii_alphabetic).context("a letter")?;
    *forged.get_mut(at).context("a letter")? ^= 1;
    let other = Key::new([0x42; 32]);
    let both = two_keys(&key, &other, &nonce, &aad, &forged).context("whole blocks")?;
    for key in [&key, &other] {
        ensure!(aead::open(key, &nonce, &aad, &both).is_ok(), "valid under both keys");
    }
    place.put(&[names, &both].concat())?;
    ground.open_bodies()
}

/// 15: a body's byte flipped, its algorithm changed, its file cut.
pub(crate) fn damaged(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 2)?;
    let (entry, _) = {
        let vault = ground.open()?;
        (vault.entry(event(&vault, 1)?)?, ())
    };
    let place = Place::of(&ground, &entry, 0)?;
    let (good, whole) = (place.get()?, fs::read(&place.file)?);
    for byte in [17, NAMES, NAMES + 12, good.len() - 1] {
        let mut bad = good.clone();
        *bad.get_mut(byte).context("a byte")? ^= 3;
        place.put(&bad)?;
        let found = ground.open_bodies()?;
        ensure!(found.is("BODY_AUTH_FAIL"), "byte {byte}: {found:?}");
        fs::write(&place.file, &whole)?;
    }
    fs::write(&place.file, whole.get(..whole.len() - 9).context("a file")?)?;
    ground.open_bodies()
}

/// 16: a body deleted, and no entry says so.
pub(crate) fn deleted(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 2)?;
    let vault = ground.open()?;
    let entry = vault.entry(event(&vault, 1)?)?;
    drop(vault);
    fs::remove_file(Place::of(&ground, &entry, 0)?.file)?;
    ground.open_bodies()
}

/// 13, its other half: what the class in the entry says is bound into the seal.
pub(crate) fn longer_class(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 2)?;
    let vault = ground.open()?;
    let entry = vault.entry(event(&vault, 1)?)?;
    drop(vault);
    let honest = body::aad(&entry.head, 0, &digest(&entry, 0));
    let mut head = entry.head.clone();
    head.groups.first_mut().context("a group")?.class = ClassId(7);
    ensure!(body::aad(&head, 0, &digest(&entry, 0)) != honest, "the class is bound");
    groups(&dir.join("swapped"))
}
