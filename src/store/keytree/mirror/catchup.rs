//! Bringing a mirror's tree up to the primary's: what both have in common is kept, the rest written
//! from the primary, and every slot but the current one destroyed. It never changes the primary;
//! unless forced, it leaves a mirror alone that has a later root, or more under the same root.

use crate::base::id::TenantId;
use crate::base::unit::Generation;
use crate::base::world::Entropy;
use crate::format::node::BLOB_BYTES;
use crate::store::disk::{Disk, DiskFile, Mode};
use crate::store::error::{Error, Result};
use crate::store::keytree::mirror::{Live, MirrorPlace, PARTED, Source};
use crate::store::keytree::segment::{Segment, Shared, fresh_name};
use crate::store::root::RootStore;
use std::path::Path;
use std::sync::Arc;

/// Bytes copied at once.
const COPY_BYTES: u64 = 1 << 20;

pub(in crate::store::keytree::mirror) enum Brought {
    Up { live: Box<Live>, changed: bool },
    Ahead,
}

pub(in crate::store::keytree::mirror) fn bring_up(
    disk: &Arc<dyn Disk>,
    place: &MirrorPlace,
    source: &Source<'_>,
    forced: bool,
    entropy: &dyn Entropy,
) -> Result<Brought> {
    let Source { segment, store, slot, kek } = source;
    let dir = place.dir.as_path();
    let tenant: TenantId = slot.tenant;
    disk.create_dir(dir)?;
    let lock = disk.lock(&dir.join("lock"))?;
    // A name that is there may not be durable: see `KeyTree::open`.
    disk.sync_dir(dir)?;
    let mine = RootStore::new(disk.clone(), dir, tenant);
    let sealed = store.lies_at(slot.generation)?;
    let same_slot = mine.lies_at(slot.generation)? == sealed;
    let found = mine.read(kek).ok();
    if !forced && found.as_ref().is_some_and(|found| found.generation > slot.generation) {
        return Ok(Brought::Ahead);
    }
    let path = dir.join("nodes.seg");
    let mut shared = segment.shared_with(&path, tenant)?;
    // Of another generation only the slot counts: the older one is destroyed.
    let peer = found.as_ref().filter(|found| found.root_hash == slot.root_hash && !forced);
    match shared {
        Shared::Ahead if peer.is_some() => return Ok(Brought::Ahead),
        Shared::Parted if peer.is_some() => {
            let what = format!("{PARTED}: this replica and {} were written apart", dir.display());
            return Err(Error::corrupt(segment.path(), what));
        }
        Shared::Ahead | Shared::Parted => shared = Shared::Nothing,
        Shared::Nothing | Shared::To(_) => {}
    }
    // A replica that was away may be read from a cache that a failed sync left behind, in any of
    // its commits: nothing of it is taken for durable.
    if forced || disk.exists(&place.marker)? {
        shared = Shared::Nothing;
    }
    let (file, was) = match shared {
        Shared::To(at) => catch_up(disk, &path, segment, at)?,
        _ => (copy_whole(disk, &path, segment)?, 0),
    };
    if !same_slot {
        let old = mine.lies_at(slot.generation)?;
        if old.iter().any(|byte| *byte != 0) {
            mine.destroy(slot.generation, entropy)?;
        }
        mine.put(slot.generation, &sealed)?;
    }
    let other = mine.lies_at(Generation(slot.generation.0 + 1))?;
    let clean = other.len() == BLOB_BYTES && other.iter().all(|byte| *byte == 0);
    mine.settle(slot.generation, entropy)?;
    let changed = !(same_slot && clean && was == segment.bytes());
    let live = Live { path, file, store: mine, _lock: lock };
    Ok(Brought::Up { live: Box::new(live), changed })
}

/// Writes what is missing from `at` on; the last commit is written again, since it may have been
/// read from a cache. Also gives the length found.
fn catch_up(
    disk: &Arc<dyn Disk>,
    path: &Path,
    source: &Segment,
    at: u64,
) -> Result<(Arc<dyn DiskFile>, u64)> {
    let file = disk.open(path, Mode::Write)?;
    let was = file.len()?;
    copy(source, &*file, at)?;
    if was > source.bytes() {
        file.set_len(source.bytes())?;
    }
    file.sync()?;
    Ok((file, was))
}

/// Writes the whole file beside the old one and swaps it in.
pub(in crate::store::keytree::mirror) fn copy_whole(
    disk: &Arc<dyn Disk>,
    path: &Path,
    source: &Segment,
) -> Result<Arc<dyn DiskFile>> {
    let fresh = fresh_name(path);
    let file = disk.open(&fresh, Mode::Create)?;
    file.set_len(0)?;
    copy(source, &*file, 0)?;
    file.sync()?;
    disk.rename(&fresh, path)?;
    path.parent().map_or(Ok(()), |dir| disk.sync_dir(dir))?;
    Ok(file)
}

fn copy(source: &Segment, file: &dyn DiskFile, from: u64) -> Result<()> {
    let mut at = from;
    while at < source.bytes() {
        let len = (source.bytes() - at).min(COPY_BYTES);
        let bytes = source.read_at(at, usize::try_from(len).unwrap_or(0))?;
        file.write_at(at, &bytes)?;
        at += len;
    }
    Ok(())
}
