//! Evidence that leaves the place where it was found: a seal that says other than its entries
//! do, as a range file with the whole epoch and the seal under the signed checkpoint. Whoever
//! pins the log's key replays it and comes to the same verdict. It signs nothing itself.

use crate::base::entry::Kind;
use crate::base::id::Hash32;
use crate::base::unit::EntryIndex;
use crate::crypto::merkle::perfect_root;
use crate::format::checkpoint::Checkpoint;
use crate::format::complete::part::{Step, layout};
use crate::format::complete::range;
use crate::format::complete::scope::Scope;
use crate::format::note::Note;
use crate::format::seal::payload::SealPayload;
use crate::format::wire::{Write as _, len_of};
use crate::format::{entry, unit};
use crate::store::disk::Disk;
use crate::store::error::Error as StoreError;
use crate::vault::config::{Places, VaultFile};
use crate::vault::error::{Error, Result};
use crate::vault::verify::chain::Stored;
use crate::vault::verify::report::Report;
use crate::vault::verify::walk::{Found, Reading, walk};
use std::io::Write;
use std::ops::Range;
use std::path::Path;

/// Writes a range file with the epoch that the seal at `index` covers, and the seal.
///
/// # Errors
/// `NotFound` when there is no seal, or the checkpoint does not reach it: then nothing binds the
/// vault to it yet; `Evidence` `TILE_MISSING` without stored hashes; those of disk and `out`.
pub fn seal_evidence(
    disk: &dyn Disk,
    data: &Path,
    index: EntryIndex,
    out: &mut dyn Write,
) -> Result<Scope> {
    let unknown = || Error::NotFound { code: "ENTRY_UNKNOWN" };
    let file = VaultFile::read(disk, data)?;
    let places = Places::of(data, Path::new(""), &file.tenant);
    let note = disk.read(&places.checkpoint())?;
    let parsed = Note::parse(&note).ok().and_then(|n| Checkpoint::parse(&n.text).ok());
    let checkpoint = parsed.ok_or_else(|| Error::evidence("MALFORMED", "no signed checkpoint"))?;
    let mut unused = Report::new(file.origin(), file.tenant);
    let units = walk(disk, &places.log(), checkpoint.size, &mut unused)?;
    let mut seal: Option<SealPayload> = None;
    entries(disk, &units, index.0..index.0 + 1, &mut |bytes| {
        let entry = entry::decode(bytes)?;
        if entry.head.kind == Kind::Seal {
            seal = SealPayload::decode(&entry.head.clear).ok();
        }
        Ok(())
    })?;
    let seal = seal.filter(|_| index.0 < checkpoint.size.0).ok_or_else(unknown)?;
    let scope = Scope { window: None, first: seal.first, end: EntryIndex(index.0 + 1) };
    let note = String::from_utf8(note).map_err(|_| unknown())?;
    let stored = Stored::open(disk, &places.tiles())?;
    let node = |level: u8, at: u64| -> Option<Hash32> {
        stored.hashes(level, at, 1).ok().and_then(|hashes| hashes.first().copied())
    };
    put(out, &range::encode_head(&scope, &note))?;
    let size = checkpoint.size.0;
    layout(range::tree(size), &[scope.with_neighbours(size)], &mut |step| match step {
        Step::Node(place) => {
            let missing = || Error::evidence("TILE_MISSING", "open the vault to rebuild its tiles");
            put(out, &perfect_root(&node, place.height, place.index).ok_or_else(missing)?.0)
        }
        Step::Run(run) => entries(disk, &units, run, &mut |bytes| {
            let mut shown = Vec::with_capacity(bytes.len() + 2);
            shown.put_u16(len_of(bytes.len()));
            shown.raw(bytes);
            put(out, &shown)
        }),
    })?;
    Ok(scope)
}

/// Calls with the bytes of every entry of a range.
fn entries(
    disk: &dyn Disk,
    units: &[Found],
    range: Range<u64>,
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let from = units.partition_point(|found| found.head.end.0 <= range.start);
    let within = units.iter().skip(from).take_while(|found| found.head.first.0 < range.end);
    let mut reading = Reading::default();
    for found in within {
        let segment = reading.of(disk, found)?;
        let mut bytes = vec![0; usize::try_from(found.head.len).unwrap_or(usize::MAX)];
        segment.read_exact_at(found.offset, &mut bytes)?;
        for (index, entry) in (found.head.first.0..).zip(unit::decode(&bytes)?.entries) {
            if range.contains(&index) {
                each(entry)?;
            }
        }
    }
    Ok(())
}

fn put(out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    let failed = |e| StoreError::io(Path::new("evidence"), "cannot be written", e);
    Ok(out.write_all(bytes).map_err(failed)?)
}
