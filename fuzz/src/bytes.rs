//! Decoders of binary formats. Where the format is sealed, the target seals the fuzzed plaintext
//! itself, since nobody without the key gets further than the tag.

use chancery::base::id::{NodeId, TenantId};
use chancery::base::secret::Key;
use chancery::crypto::aead;
use chancery::crypto::hash::sha256;
use chancery::crypto::kdf::label;
use chancery::format::cell::Cell;
use chancery::format::node::{BLOB_BYTES, COMMIT_BYTES, Commit, Content, LEVEL_MAX, NodeHead};
use chancery::format::node::{Blob, PLAIN_BYTES};
use chancery::format::seal::row::IndexKey;
use chancery::format::slot::Slot;
use chancery::format::wire::{Reader, Write};
use chancery::format::{body, entry as entries, tile as tiles, unit as units};

const TENANT: TenantId = TenantId([0x11; 16]);

fn key() -> Key {
    Key::new([7; 32])
}

/// ENTRY: what decodes is what encodes, 47 bytes over whole blocks.
pub fn entry(data: &[u8]) -> bool {
    let Ok(entry) = entries::decode(data) else { return false };
    assert_eq!(data.len() % 64, 47);
    let again = entries::encode(&entry).expect("what was read can be written");
    assert_eq!(again, data);
    true
}

/// A whole unit: built again from its head, entries and signature it is the same.
pub fn unit(data: &[u8]) -> bool {
    let Ok(unit) = units::decode(data) else { return false };
    let mut body = Vec::new();
    for entry in &unit.entries {
        body.put_u16(u16::try_from(entry.len()).expect("a length of two bytes"));
        body.raw(entry);
    }
    let mut head = unit.head.clone();
    let (bytes, hash) = units::encode(&mut head, &body, |_| unit.signature);
    assert_eq!((bytes.as_slice(), hash), (data, unit.hash));
    assert_eq!(head, unit.head);
    assert_eq!(unit.entries.len() as u64, unit.head.end.0 - unit.head.first.0);
    true
}

/// A unit's head: its hash is over exactly the bytes that were read.
pub fn unit_head(data: &[u8]) -> bool {
    let mut reader = Reader::new(data);
    let Ok(head) = units::decode_head(&mut reader) else { return false };
    let read = data.get(..reader.offset()).expect("no more is read than is there");
    assert_eq!(head.head_len(), read.len());
    assert_eq!(head.hash(), sha256(&[label::UNIT, read]));
    true
}

/// Frames of a body file, one after the other; skipping one goes as far as reading it.
pub fn body_frame(data: &[u8]) -> bool {
    packed_forms(data);
    let mut accepted = body::decode_file_head(data).is_ok_and(|(tenant, class_day, packed)| {
        let head = match packed {
            true => chancery::format::packed::bodies::file_head(&tenant, class_day),
            false => body::file_head(&tenant, class_day),
        };
        assert_eq!(Some(head.as_slice()), data.get(..32));
        true
    });
    let mut reader = Reader::new(data);
    while !reader.rest().is_empty() {
        let from = reader.offset();
        let mut skip = Reader::new(reader.rest());
        let skipped = body::skip_frame(&mut skip).ok();
        let Ok(frame) = body::read_frame(&mut reader) else { break };
        assert_eq!(skipped, Some((frame.index, frame.group)));
        assert_eq!(from + skip.offset(), reader.offset());
        if frame.intact && frame.alg == body::ALG_AES256GCM {
            let mut again = Vec::new();
            let at = body::start_frame(&mut again, frame.group, &frame.record, &frame.nonce);
            again.raw(frame.sealed);
            body::finish_frame(&mut again, at);
            body::set_index(&mut again, frame.index);
            assert_eq!(Some(again.as_slice()), data.get(from..reader.offset()));
            accepted = true;
        }
    }
    accepted
}

/// What packed files are made of: only that it is refused or bounded can be asked of bytes whose
/// compressed form is not canonical.
fn packed_forms(data: &[u8]) {
    use chancery::format::packed::{block, bodies, plain, segment};
    let _ = block::unpack(&chancery::base::id::TenantId([11; 16]), data);
    let _ = bodies::frames(data).map(|frames| assert!(!frames.is_empty()));
    let _ = bodies::Rows::decode(data).map(|rows| assert_eq!(rows.encode(), data));
    let _ = segment::Rows::decode(data).map(|rows| assert_eq!(rows.encode(), data));
    let _ = plain::expand(data);
}

/// Plaintext of a group.
pub fn body_plain(data: &[u8]) -> bool {
    let Ok(plain) = body::decode_plain(data) else { return false };
    let mut again = Vec::new();
    let fields = plain.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    body::encode_plain(&mut again, &plain.seed, fields);
    assert_eq!(again, data);
    true
}

/// A cell of the key tree.
pub fn cell(data: &[u8]) -> bool {
    let Ok(cell) = Cell::decode(data) else { return false };
    assert_eq!(cell.encode().as_slice(), data);
    true
}

/// A node: level, then plaintext, sealed here.
pub fn node(data: &[u8]) -> bool {
    let Some((level, rest)) = data.split_first() else { return false };
    let head = NodeHead { tenant: TENANT, id: NodeId([3; 16]), level: level % (LEVEL_MAX + 1) };
    let mut plain = rest.get(..rest.len().min(PLAIN_BYTES)).unwrap_or_default().to_vec();
    plain.resize(PLAIN_BYTES, 0);
    let (clear, nonce) = (head.encode(), [9; 12]);
    let mut blob = [clear.as_slice(), &nonce].concat();
    let start = blob.len();
    blob.raw(&plain);
    let aad = [b"chancery/v1/node\0".as_slice(), &clear].concat();
    aead::seal_in_place(&key(), &nonce, &aad, &mut blob, start);
    let blob: &Blob = blob.as_slice().try_into().expect("4096 bytes");
    match Content::open(blob, &head, &key()) {
        Ok(content) => {
            let again = content.seal(&head, &key(), &nonce).expect("what was read can be written");
            assert_eq!(again.as_slice(), blob);
            true
        }
        Err(error) => {
            let sealed = chancery::format::node::NodeError::Sealed;
            assert!(error != sealed, "the target's own seal must open");
            false
        }
    }
}

/// A root slot, its checksum and seal made here: the clear header, then 64 bytes of keys.
pub fn slot(data: &[u8]) -> bool {
    // As it is, first: nothing without the key may be accepted.
    assert!(Slot::open(data, TENANT, &key()).is_err());
    let (Some(clear), Some(keys)) = (data.get(..128), data.get(128..192)) else { return false };
    let nonce = [5; 12];
    let mut bytes = [clear, &nonce].concat();
    let start = bytes.len();
    bytes.raw(keys);
    let aad = [b"chancery/v1/root\0".as_slice(), clear].concat();
    aead::seal_in_place(&key(), &nonce, &aad, &mut bytes, start);
    bytes.resize(BLOB_BYTES - 32, 0);
    bytes.raw(&sha256(&[&bytes]).0);
    let Ok(slot) = Slot::open(&bytes, TENANT, &key()) else { return false };
    let again = slot.seal(&key(), &nonce).expect("what was read can be written");
    assert_eq!(again.as_slice(), bytes);
    true
}

/// A commit record of the key tree.
pub fn commit_record(data: &[u8]) -> bool {
    let Some((bytes, blobs)) = data.split_first_chunk::<COMMIT_BYTES>() else { return false };
    let Some(commit) = Commit::decode(bytes) else { return false };
    assert_eq!(commit.encode(), *bytes);
    // Whatever the count says, only blobs of exactly that hash are held.
    assert!(!commit.holds(blobs) || commit.bytes() == data.len() as u64);
    true
}

/// Rows of the index table.
pub fn seal_rows(data: &[u8]) -> bool {
    let mut accepted = false;
    for row in data.chunks(25) {
        if let Some((key, index)) = IndexKey::parse_row(row) {
            assert_eq!(key.row(index), row);
            accepted = true;
        }
    }
    accepted
}

/// Tiles: width in the first byte, then hashes and entries alike.
pub fn tile(data: &[u8]) -> bool {
    let Some((width, rest)) = data.split_first() else { return false };
    let width = u16::from(*width) + 1;
    let hashes = tiles::decode_hashes(rest, width);
    if let Ok(hashes) = &hashes {
        assert_eq!(hashes.len(), usize::from(width));
        assert_eq!(tiles::encode_hashes(hashes), rest);
    }
    let entries = tiles::decode_entries(rest, width);
    if let Ok(entries) = &entries {
        assert_eq!(entries.len(), usize::from(width));
        assert_eq!(tiles::encode_entries(entries).expect("what was read can be written"), rest);
    }
    hashes.is_ok() || entries.is_ok()
}
