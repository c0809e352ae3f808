//! Decoders of what lies on disk beside the log, and of what stands in its place: packed files,
//! snapshots, runs, the key tree's file and its mirror. Where a CRC or a signature would keep
//! everything out, the target makes it right.

use super::memory::Memory;
use chancery::base::id::{Hash32, ReplicaId, TenantId};
use chancery::base::secret::Key;
use chancery::base::unit::TreeSize;
use chancery::base::world::Entropy;
use chancery::format::packed::{block, bodies, plain, segment};
use chancery::format::run::{self, RunInfo};
use chancery::format::wire::{Reader, Write};
use chancery::format::{body, snapshot as snapshots, unit as units};
use chancery::store::disk::Disk;
use chancery::store::keytree::{Attached, KeyTree, MirrorPlace, Put};
use chancery::store::replica;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

const TENANT: TenantId = TenantId([0x11; 16]);

/// `rest` behind its length and CRC, as blocks begin.
fn framed(rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rest.len() + 8);
    out.put_u32(u32::try_from(rest.len() + 8).expect("small"));
    out.put_u32(crc32fast::hash(rest));
    out.raw(rest);
    out
}

/// A block of a packed segment. First byte even: the block behind its CRC as it is; odd: the 92
/// bytes of its head, then columns that are deflated here, and the random part.
pub fn packed_block(data: &[u8]) -> bool {
    let _ = block::unpack(&TENANT, data);
    let Some((way, rest)) = data.split_first() else { return false };
    let block = match way % 2 {
        0 => framed(rest),
        _ => {
            let Some((head, rest)) = rest.split_at_checked(88) else { return false };
            let mut reader = Reader::new(rest);
            let (Ok(columns), Ok(random)) = (reader.lp16("columns"), reader.lp16("random")) else {
                return false;
            };
            let mut out = head.to_vec();
            out.put_u32(u32::try_from(columns.len()).expect("small"));
            out.put_lp32(&deflate(columns));
            out.put_lp32(random);
            framed(&out)
        }
    };
    let peeked = block::peek(&block).is_ok();
    let Ok(back) = block::unpack(&TENANT, &block) else { return false };
    assert!(peeked, "what can be rebuilt can be looked at");
    // What a block gives back is whole units, and packing them gives a block of the same units.
    let mut units = back.units.as_slice();
    while !units.is_empty() {
        // A start that no log has gives heads that contradict it: whoever reads a unit refuses them.
        let Ok(head) = units::decode_head(&mut Reader::new(units)) else { return false };
        let (unit, rest) = units.split_at(usize::try_from(head.len).expect("small"));
        units = rest;
        if units::decode(unit).is_err() {
            // Entries may contradict each other still: that is for a verifier to say.
            return false;
        }
    }
    if let Ok((again, _)) = block::pack(&TENANT, back.start, &back.units) {
        let again = block::unpack(&TENANT, &again).expect("what was packed");
        assert_eq!((again.start, again.units), (back.start, back.units));
    }
    true
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    use flate2::{Compress, Compression, FlushCompress};
    let mut out = Vec::with_capacity(bytes.len() + 128);
    let mut deflate = Compress::new(Compression::new(1), false);
    deflate.compress_vec(bytes, &mut out, FlushCompress::Finish).expect("room enough");
    out
}

/// Rows of packed files, their CRC made right, and blocks of packed bodies.
pub fn packed_rows(data: &[u8]) -> bool {
    let mut accepted = false;
    for end in [&bodies::END, &segment::END] {
        let mut rows = data.to_vec();
        rows.put_u32(crc32fast::hash(data));
        rows.raw(end);
        if let Ok(found) = bodies::Rows::decode(&rows) {
            assert_eq!(found.encode(), rows);
            for (start, end) in [(0, 1), (32, 40), (0, u64::MAX), (100, 100)] {
                let place = found.covering(start, end);
                assert!(place.end <= found.packed_end);
            }
            accepted = true;
        }
        if let Ok(found) = segment::Rows::decode(&rows) {
            assert_eq!(found.encode(), rows);
            for at in [0, 1, found.plain_len / 2, found.plain_len, u64::MAX] {
                let place = found.at(at);
                assert!(
                    place.is_none_or(|p| p.plain.contains(&at) && p.packed.start < p.packed.end)
                );
            }
            accepted = true;
        }
    }
    let block = framed(data);
    if let Ok(frames) = bodies::frames(&block) {
        let mut again = bodies::Block::default();
        let mut out = Vec::new();
        for placed in &frames {
            again.push(placed);
            body::put_packed(&mut out, &placed.frame);
        }
        let (again, first) = again.finish();
        assert_eq!((&again, Some(first)), (&block, frames.first().map(|f| f.offset)));
        // As readers get them: as many, at the same places.
        let found = chancery::store::bodies::Frames::packed(out, true);
        assert!(found.count() <= frames.len());
        accepted = true;
    }
    accepted
}

/// Plaintext of a compressed group: as it is, and as what a plain one is compressed to.
pub fn packed_plain(data: &[u8]) -> bool {
    let expanded = plain::expand(data);
    if let Ok(expanded) = &expanded {
        let names = expanded.fields.iter().map(|(name, _)| name);
        assert!(names.is_sorted_by(|a, b| a < b), "strictly ascending");
    }
    let mut squeezer = plain::Squeezer::new().expect("a dictionary");
    let (Some(squeezed), Ok(own)) = (squeezer.squeeze(data), body::decode_plain(data)) else {
        return expanded.is_ok();
    };
    let back = plain::expand(&squeezed).expect("what was compressed expands");
    assert!(back.seed == own.seed && back.fields == own.fields);
    true
}

/// A snapshot, signed here: built again it is the same bytes.
pub fn snapshot(data: &[u8]) -> bool {
    assert!(snapshots::decode(data, |_, _| false).is_err(), "nothing unsigned is read");
    let signature = [0x5a; 64];
    let bytes = [data, &signature].concat();
    let Ok(found) = snapshots::decode(&bytes, |_, by| *by == signature) else { return false };
    assert_eq!(snapshots::encode(&found, |_| signature), bytes);
    true
}

/// A run of event ids: what a snapshot says of it, its rows, its filter.
pub fn id_run(data: &[u8]) -> bool {
    let mut reader = Reader::new(data);
    let Ok(info) = RunInfo::read(&mut reader) else { return false };
    let mut again = Vec::new();
    info.put(&mut again);
    assert_eq!(Some(again.as_slice()), data.get(..reader.offset()));
    let rows: Vec<run::Row> = run::decode_rows(reader.rest()).collect();
    let encoded: Vec<u8> = rows.iter().flat_map(run::encode_row).collect();
    assert_eq!(Some(encoded.as_slice()), reader.rest().get(..encoded.len()));
    let filter = run::filter(rows.iter().map(|(tag, _)| *tag));
    assert!(rows.iter().all(|(tag, _)| run::passes(&filter, tag)), "no tag is denied");
    for (tag, _) in rows.iter().take(4) {
        // Another filter may say anything, and says it.
        let _ = run::passes(reader.rest(), tag);
    }
    true
}

/// Bytes that differ from each other and are the same in every run.
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let n = self.0.fetch_add(1, Ordering::Relaxed);
            *byte = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
        }
    }
}

const CELLS: u8 = 40;

fn tree_dir() -> PathBuf {
    PathBuf::from("/keys/tree")
}

fn place() -> MirrorPlace {
    let (dir, marker) = (PathBuf::from("/mirror/tree"), PathBuf::from("/data/keys.behind"));
    MirrorPlace { dir, secrets: None, id: ReplicaId([7; 16]), marker, away: None }
}

fn cell_key(n: u8) -> [u8; 32] {
    chancery::crypto::hash::sha256(&[&[n]]).0
}

/// A key tree of some commits with a mirror in step, made once.
fn planted() -> &'static Memory {
    static PLANTED: OnceLock<Memory> = OnceLock::new();
    PLANTED.get_or_init(|| {
        let (disk, entropy) = (Memory::default(), Counting(AtomicU64::new(1)));
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let kek = Key::new([9; 32]);
        let mut tree = KeyTree::create(shared, &tree_dir(), TENANT, &kek, &entropy).expect("made");
        tree.attach(place(), false, &entropy).expect("a mirror");
        for part in (0..CELLS).collect::<Vec<_>>().chunks(8) {
            let cell = |n: &u8| (cell_key(*n), Zeroizing::new(vec![*n; 300]));
            let put = tree.put(part.iter().map(cell).collect(), &entropy).expect("room");
            if put == Put::RootWouldSplit {
                let changes = part.iter().map(cell).map(|(key, value)| (key, Some(value)));
                let log = (TreeSize(0), Hash32::ZERO);
                tree.rekey(changes.collect(), log, &entropy).expect("room");
            }
        }
        assert!(reads_all(&tree) && tree.height() > 1, "every cell, in several nodes");
        disk
    })
}

fn reads_all(tree: &KeyTree) -> bool {
    (0..CELLS).all(|n| tree.get(&cell_key(n)).is_ok_and(|v| v.is_some_and(|v| *v == vec![n; 300])))
}

/// `data` is a place (u32), a way (u8) and bytes. The bytes take the place of what is there, or
/// are cut out, put in, or stand alone.
fn changed(file: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let (at, rest) = data.split_first_chunk::<4>()?;
    let (way, bytes) = rest.split_first()?;
    let at = u32::from_be_bytes(*at) as usize % (file.len() + 1);
    let (left, right) = file.split_at(at);
    let after = right.get(bytes.len().min(right.len())..)?;
    Some(match way % 5 {
        0 => [left, bytes, after].concat(),
        1 => [left, after].concat(),
        2 => [left, bytes, right].concat(),
        3 => left.to_vec(),
        _ => bytes.to_vec(),
    })
}

/// The key tree's file with a change in it: what opens has every cell as it was put there, in one
/// state the tree has had. Nothing else is ever read from it.
pub fn node_map(data: &[u8]) -> bool {
    let disk = planted().fork();
    let path = tree_dir().join("nodes.seg");
    let file = disk.bytes(&path).expect("a tree");
    let Some(bytes) = changed(&file, data) else { return false };
    disk.plant(&path, bytes);
    let (kek, entropy) = (Key::new([9; 32]), Counting(AtomicU64::new(5)));
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let Ok(tree) = KeyTree::open(shared, &tree_dir(), TENANT, &kek, &entropy) else { return false };
    only_what_was_put(&tree).is_some_and(|found| found > 0)
}

/// How many cells a tree gives, if all of it can be read.
fn only_what_was_put(tree: &KeyTree) -> Option<u32> {
    let mut found = 0;
    let read = tree.for_each(&mut |key, value| {
        let n = value.first().copied().expect("not empty");
        assert!(n < CELLS && *key == cell_key(n) && value == vec![n; 300], "a cell nobody put");
        found += 1;
    });
    read.ok().map(|()| found)
}

/// A mirror with a change in one of its files, beside a tree that is whole: the tree reads as
/// before. A slot of the mirror is put right before it is said to be in step. Of its nodes only the
/// last commit is looked at (reading all is the scrub's): alone it may refuse, but it never gives
/// anything that was not put there.
pub fn mirror(data: &[u8]) -> bool {
    let Some((which, data)) = data.split_first() else { return false };
    let disk = planted().fork();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (kek, entropy) = (Key::new([9; 32]), Counting(AtomicU64::new(7)));
    if which % 4 == 3 {
        let (keys, mirror) = (Path::new("/keys"), Path::new("/mirror"));
        disk.plant(&keys.join("mirror"), data.to_vec());
        let Ok(Some(paired)) = replica::paired(&disk, keys, Some(mirror)) else { return false };
        assert!(paired.away.is_some(), "no mirror lies there");
        disk.plant(&mirror.join("replica"), data.to_vec());
        let paired = replica::paired(&disk, keys, Some(mirror)).expect("the same").expect("a pair");
        assert_eq!(paired.away, None);
        return true;
    }
    let path = place().dir.join(["nodes.seg", "root.0", "root.1"][usize::from(which % 4)]);
    let Some(bytes) = changed(&disk.bytes(&path).unwrap_or_default(), data) else { return false };
    disk.plant(&path, bytes);
    let mut tree =
        KeyTree::open(shared.clone(), &tree_dir(), TENANT, &kek, &entropy).expect("whole");
    let attached = tree.attach(place(), false, &entropy);
    assert!(reads_all(&tree), "{attached:?}");
    let Ok(Attached::InStep | Attached::BroughtUp) = attached else { return false };
    drop(tree);
    match KeyTree::open(shared, &place().dir, TENANT, &kek, &entropy) {
        Ok(alone) if which % 4 != 0 => assert!(reads_all(&alone), "{attached:?}"),
        Ok(alone) => drop(only_what_was_put(&alone)),
        Err(error) => assert!(which % 4 == 0, "{error}"),
    }
    true
}
