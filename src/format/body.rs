//! BODY: a sealed group beside the log, never hashed, free to die. And its file.
//! It never holds a key, and a frame never says whom it is about.
//!
//! ```text
//! file bodies/<class>/<YYYY-MM-DD>.seg
//!  off size field
//!    0   4  "CHB1"
//!    4  16  tenant
//!   20   2  class
//!   22   4  bucket (days)
//!   26   6  0
//!   32      frames, ascending by (index, group)
//!
//! frame
//!    0   4  length of the ciphertext, tag included
//!    4   4  CRC-32 (IEEE) of all that follows but the index: finds bit rot without keys
//!    8   8  index of the entry
//!   16   1  position of the group in the entry
//!   17   1  algorithm: 1 = AES-256-GCM; 2 = the same over a compressed plaintext
//!   18  16  record id
//!   34  12  nonce, random
//!   46      ciphertext || tag[16]
//!
//! plaintext: seed[32] | n u16 | n x (lp8 name | lp32 value), ascending by name
//!            | zeros to a multiple of 32
//! AAD: 10 05 | tenant | record | group u8 | policy u8 | class u16 | bucket u32
//!      | lp8-counted subject tags of the group, 16 bytes each
//!      | digest of the group's commitments[32]
//! ```

use crate::base::entry::Head;
use crate::base::id::{Hash32, RecordId, SubjectTag, TenantId};
use crate::base::unit::{ClassDay, ClassId, Day, EntryIndex};
use crate::crypto::kdf::tag;
use crate::format::entry::GroupView;
use crate::format::wire::{Malformed, Reader, Result, Write, len_of};
use zeroize::Zeroizing;

/// First bytes of a body file.
pub const FILE_MAGIC: [u8; 4] = *b"CHB1";
/// Bytes of a body file's head.
pub const FILE_HEAD_BYTES: u64 = 32;
/// Bytes of a frame before its ciphertext.
pub const FRAME_HEAD_BYTES: usize = 46;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// Length of the tag that ends a ciphertext.
pub const TAG_BYTES: usize = 16;
/// Plaintexts are padded to a multiple of this, so that lengths say less.
pub const PAD_BYTES: usize = 32;
/// AES-256-GCM over the plaintext as it stands.
pub const ALG_AES256GCM: u8 = 1;

/// The same over a compressed plaintext (`format/packed/plain`), under a key of its own.
pub const ALG_COMPRESSED: u8 = 2;

/// Whether padding allows so many bytes of ciphertext and tag.
pub fn padded(alg: u8, sealed: usize) -> bool {
    let clear = sealed.saturating_sub(TAG_BYTES);
    match alg {
        ALG_COMPRESSED => clear >= 48 && clear.is_multiple_of(16),
        _ => clear >= 32 && clear.is_multiple_of(32),
    }
}

/// Whether this version can open bodies of an algorithm.
pub fn known(alg: u8) -> bool {
    matches!(alg, ALG_AES256GCM | ALG_COMPRESSED)
}

/// The head of a body file.
pub fn file_head(tenant: &TenantId, class_day: ClassDay) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    out.raw(&FILE_MAGIC);
    out.raw(&tenant.0);
    out.put_u16(class_day.class.0);
    out.put_u32(class_day.day.0);
    out.raw(&[0; 6]);
    out
}

/// Reads the head of a body file, plain or packed; true = packed (`format/packed/bodies`).
///
/// # Errors
/// `Malformed` when it is not one.
pub fn decode_file_head(bytes: &[u8]) -> Result<(TenantId, ClassDay, bool)> {
    let mut reader = Reader::new(bytes);
    let packed = bytes.starts_with(&crate::format::packed::bodies::MAGIC);
    match packed {
        true => reader.magic(&crate::format::packed::bodies::MAGIC, "body file magic")?,
        false => reader.magic(&FILE_MAGIC, "body file magic")?,
    }
    let tenant = TenantId(reader.array("tenant")?);
    let class = ClassId(reader.u16("class")?);
    let day = Day(reader.u32("bucket")?);
    let reserved: [u8; 6] = reader.array("reserved bytes")?;
    if reserved != [0; 6] {
        return Err(reader.malformed("reserved bytes"));
    }
    reader.done()?;
    Ok((tenant, ClassDay { class, day }, packed))
}

/// A frame, ciphertext borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Index of its entry.
    pub index: EntryIndex,
    /// Position of its group.
    pub group: u8,
    /// Algorithm.
    pub alg: u8,
    /// Record id of its entry.
    pub record: RecordId,
    /// Nonce.
    pub nonce: [u8; 12],
    /// Ciphertext and tag.
    pub sealed: &'a [u8],
    /// Whether the CRC agrees.
    pub intact: bool,
}

/// Starts a frame without index, length and CRC; the caller appends plaintext, seals it in
/// place, and calls `finish_frame`. Returns where the ciphertext starts.
pub fn start_frame(out: &mut Vec<u8>, group: u8, record: &RecordId, nonce: &[u8; 12]) -> usize {
    out.raw(&[0; 16]);
    out.put_u8(group);
    out.put_u8(ALG_AES256GCM);
    out.raw(&record.0);
    out.raw(nonce);
    out.len()
}

/// Fills in length and CRC of the frame whose ciphertext starts at `sealed_at` and ends `out`.
pub fn finish_frame(out: &mut [u8], sealed_at: usize) {
    let start = sealed_at.saturating_sub(FRAME_HEAD_BYTES);
    let Some((head, rest)) = out.get_mut(start..).and_then(|f| f.split_at_mut_checked(16)) else {
        return;
    };
    let len: u32 = len_of(rest.len() - (FRAME_HEAD_BYTES - 16));
    let crc = crc32fast::hash(rest);
    for (slot, byte) in head.iter_mut().zip(len.to_be_bytes().into_iter().chain(crc.to_be_bytes()))
    {
        *slot = byte;
    }
}

/// Appends a frame that was packed, as a plain file has it but for record id and CRC.
pub fn put_packed(out: &mut Vec<u8>, frame: &Frame<'_>) {
    out.put_u32(len_of(frame.sealed.len()));
    out.put_u32(0);
    out.put_u64(frame.index.0);
    out.put_u8(frame.group);
    out.put_u8(frame.alg);
    out.raw(&frame.record.0);
    out.raw(&frame.nonce);
    out.raw(frame.sealed);
}

/// Writes the entry's index into every frame of `frames` (they belong to one entry).
pub fn set_index(frame: &mut [u8], index: EntryIndex) {
    if let Some(slot) = frame.get_mut(8..16) {
        slot.copy_from_slice(&index.0.to_be_bytes());
    }
}

/// Reads the next frame.
///
/// # Errors
/// `Malformed` when the bytes end before the frame does, or the algorithm is unknown (a newer
/// version's, or damage: the same to a reader that cannot open it).
pub fn read_frame<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>> {
    let len = usize::try_from(reader.u32("frame length")?).unwrap_or(usize::MAX);
    let crc = reader.u32("frame crc")?;
    let index = EntryIndex(reader.u64("frame index")?);
    let covered = reader.rest();
    let group = reader.u8("frame group")?;
    let alg = reader.u8("frame algorithm")?;
    let record = RecordId(reader.array("frame record")?);
    let nonce = reader.array("frame nonce")?;
    let sealed = reader.take(len, "frame ciphertext")?;
    let covered = covered.get(..FRAME_HEAD_BYTES - 16 + len).unwrap_or_default();
    let intact = crc32fast::hash(covered) == crc && known(alg);
    Ok(Frame { index, group, alg, record, nonce, sealed, intact })
}

/// Passes over the next frame; returns its index and group, unchecked.
///
/// # Errors
/// As `read_frame`.
pub fn skip_frame(reader: &mut Reader<'_>) -> Result<(EntryIndex, u8)> {
    let len = usize::try_from(reader.u32("frame length")?).unwrap_or(usize::MAX);
    reader.u32("frame crc")?;
    let index = EntryIndex(reader.u64("frame index")?);
    let group = reader.u8("frame group")?;
    let rest = (FRAME_HEAD_BYTES - 17).saturating_add(len);
    reader.take(rest, "frame ciphertext")?;
    Ok((index, group))
}

/// Appends the plaintext of a group, padded.
pub fn encode_plain<'a>(
    out: &mut Vec<u8>,
    seed: &[u8; 32],
    fields: impl ExactSizeIterator<Item = (&'a str, &'a [u8])>,
) {
    let start = out.len();
    out.raw(seed);
    out.put_u16(len_of(fields.len()));
    for (name, value) in fields {
        out.put_lp8(name.as_bytes());
        out.put_lp32(value);
    }
    let padded = start + (out.len() - start).next_multiple_of(PAD_BYTES);
    out.resize(padded, 0);
}

/// An opened group.
pub struct Plain {
    /// Seed of the salts.
    pub seed: Zeroizing<[u8; 32]>,
    /// Names and values, ascending by name.
    pub fields: Vec<(String, Zeroizing<Vec<u8>>)>,
}

/// Reads the plaintext of a group.
///
/// # Errors
/// `Malformed` when it is not the one encoding of its fields.
pub fn decode_plain(bytes: &[u8]) -> Result<Plain> {
    if !bytes.len().is_multiple_of(PAD_BYTES) {
        return Err(Malformed { offset: bytes.len(), what: "padding cut short" });
    }
    let mut reader = Reader::new(bytes);
    let seed = Zeroizing::new(reader.array("seed")?);
    let fields = read_fields(&mut reader)?;
    if reader.rest().len() >= PAD_BYTES {
        return Err(Malformed { offset: reader.offset(), what: "padding too long" });
    }
    reader.zeros("padding")?;
    Ok(Plain { seed, fields })
}

/// Reads the fields of a group whose plaintext was compressed: no padding follows them.
///
/// # Errors
/// As `decode_plain`.
pub fn decode_fields(seed: Zeroizing<[u8; 32]>, bytes: &[u8]) -> Result<Plain> {
    let mut reader = Reader::new(bytes);
    let fields = read_fields(&mut reader)?;
    reader.done()?;
    Ok(Plain { seed, fields })
}

fn read_fields(reader: &mut Reader<'_>) -> Result<Vec<(String, Zeroizing<Vec<u8>>)>> {
    let count = reader.u16("field count")?;
    let mut fields: Vec<(String, Zeroizing<Vec<u8>>)> = Vec::new();
    for _ in 0..count {
        let name = std::str::from_utf8(reader.lp8("field name")?)
            .map_err(|_| reader.malformed("field name is not UTF-8"))?;
        if fields.last().is_some_and(|(last, _)| last.as_str() >= name) {
            return Err(reader.malformed("field names not ascending"));
        }
        fields.push((name.to_owned(), Zeroizing::new(reader.lp32("field value")?.to_vec())));
    }
    Ok(fields)
}

/// Associated data of group `position` of an entry, over its commitments' digest.
pub fn aad(head: &Head, position: u8, digest: &Hash32) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    let group = head.groups.get(usize::from(position));
    let group = group.map(|g| GroupView {
        policy: g.policy,
        class: g.class,
        bucket: g.bucket,
        tags: &g.tags,
    });
    put_aad(&mut out, (&head.tenant, &head.record), position, group, &head.tags, digest);
    out
}

/// As `aad`, from parts, appended to `out`.
pub fn put_aad(
    out: &mut Vec<u8>,
    (tenant, record): (&TenantId, &RecordId),
    position: u8,
    group: Option<GroupView<'_>>,
    tags: &[SubjectTag],
    digest: &Hash32,
) {
    out.raw(&tag::AAD);
    out.raw(&tenant.0);
    out.raw(&record.0);
    out.put_u8(position);
    if let Some(group) = group {
        out.put_u8(group.policy.value());
        out.put_u16(group.class.0);
        out.put_u32(group.bucket.0);
        out.put_u8(len_of(group.tags.len()));
        for at in group.tags {
            if let Some(tag) = tags.get(usize::from(*at)) {
                out.raw(&tag.0);
            }
        }
    }
    out.raw(&digest.0);
}

/// Bytes of a salt's preimage.
pub const SALT_BYTES: usize = 36;

/// Preimage of a field's salt.
pub fn salt_preimage(seed: &[u8; 32], field: u16) -> [u8; SALT_BYTES] {
    joined([&tag::SALT, seed, &field.to_be_bytes()])
}

/// Appends the preimage of a field's commitment.
pub fn commit_preimage(
    out: &mut Vec<u8>,
    record: &RecordId,
    group: u8,
    salt: &[u8; 32],
    name: &str,
    value: &[u8],
) {
    out.raw(&tag::COMMIT);
    out.raw(&record.0);
    out.put_u8(group);
    out.raw(salt);
    out.put_lp8(name.as_bytes());
    out.put_lp32(value);
}

/// Preimage of the key of a group sealed by another algorithm than 1, under the same base key:
/// no key ever seals two plaintexts.
pub fn other_key_preimage(alg: u8, record: &RecordId, group: u8, digest: &Hash32) -> [u8; 52] {
    joined([&tag::OTHER_KEY, &[alg], &record.0, &[group], &digest.0])
}

/// Preimage of the key of one group, under the base key of its subjects and class-day.
pub fn group_key_preimage(record: &RecordId, group: u8, digest: &Hash32) -> [u8; 51] {
    joined([&tag::GROUP_KEY, &record.0, &[group], &digest.0])
}

/// Parts one after the other; they are `N` bytes together.
#[inline(always)]
fn joined<const N: usize, const P: usize>(parts: [&[u8]; P]) -> [u8; N] {
    let mut out = [0; N];
    let mut rest = out.as_mut_slice();
    for part in parts {
        let whole = std::mem::take(&mut rest);
        let Some((to, after)) = whole.split_at_mut_checked(part.len()) else { break };
        to.copy_from_slice(part);
        rest = after;
    }
    debug_assert!(rest.is_empty(), "parts of another length");
    out
}
