//! The shred tree's bytes: node blobs and the commit records between them in `nodes.seg`.
//! Pure: keys and nonces are arguments. It never trusts a length or an order it has not checked.
//!
//! Node blob, 4096 bytes. Integers are big-endian.
//! ```text
//! offset size field
//!      0    4 "CHN1"
//!      4   16 tenant
//!     20   16 node id, random
//!     36    1 level, 0 = leaf
//!     37   12 nonce, random
//!     49 4047 AES-256-GCM(node key, nonce, plaintext[4031], AAD), tag last
//!             AAD = "chancery/v1/node" 00 || bytes 0..37
//! internal plaintext: u16 count (1..=64), count x ( low[8] | child id[16] | child key[32] ),
//!                     strictly ascending by low, zeros to 4031
//! leaf plaintext    : u16 count, count x ( key[32] | u16 len (<= 3900) | value[len] ),
//!                     strictly ascending by key, zeros to 4031
//! ```
//! A child covers the 8-byte key prefixes from its `low` (inclusive) to the next row's. What lies
//! below the first row's `low` does not occur: the first row of a node has the node's own `low`,
//! and the root's is zero.
//!
//! Commit record, 128 bytes, directly followed by its blobs; both are written as one.
//! ```text
//!      0    4 "CHK1"
//!      4    4 count of blobs
//!      8    8 number: the previous record's plus one
//!     16   32 hash of the previous commit, zeros in a new tree
//!     48   32 SHA-256( "chancery/v1/commit" 00 || bytes 4..48 || the blobs )
//!     80   48 zeros
//! ```
//! `nodes.seg` is nothing but commits. A commit counts when its hash is right, whatever the length
//! of the file says. The newest blob of a node id is the node.

use crate::base::id::{Hash32, NodeId, TenantId};
use crate::base::secret::Key;
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a node blob.
pub const BLOB_BYTES: usize = 4096;
/// Bytes of a blob's clear header.
pub const HEAD_BYTES: usize = 37;
/// Bytes of a commit record.
pub const COMMIT_BYTES: usize = 128;
/// Bytes of an AES-GCM nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes of a node's plaintext: 4096 - 37 - 12 - 16.
pub const PLAIN_BYTES: usize = 4031;
/// Rows of an internal node: 2 + 64 x 56 = 3586 bytes.
pub const ROWS_MAX: usize = 64;
/// Bytes of a cell's value: with its key and length it leaves room in one leaf.
pub const CELL_BYTES_MAX: usize = 3_900;
/// Bytes all cells of a leaf may take together, each with its 34 bytes of key and length.
pub const LEAF_BYTES_MAX: usize = PLAIN_BYTES - 2;
/// Bytes a cell takes beside its value.
pub const CELL_OVERHEAD: usize = 34;
/// A tree of 16 levels holds more than any disk.
pub const LEVEL_MAX: u8 = 15;

const MAGIC: [u8; 4] = *b"CHN1";
const COMMIT_MAGIC: [u8; 4] = *b"CHK1";
const NODE_LABEL: &[u8] = b"chancery/v1/node\0";
const COMMIT_LABEL: &[u8] = b"chancery/v1/commit\0";

/// A blob, or a root slot of the same size.
pub type Blob = [u8; BLOB_BYTES];

/// Why bytes are not a node or a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeError {
    /// The layout is broken; the clause says where.
    Malformed(&'static str),
    /// The header names another tenant, node or level than the parent does.
    Foreign,
    /// The seal does not open under this key.
    Sealed,
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeError::Malformed(what) => write!(f, "MALFORMED: {what}"),
            NodeError::Foreign => f.write_str("FOREIGN: header names something else"),
            NodeError::Sealed => f.write_str("SEALED: does not open under this key"),
        }
    }
}

impl std::error::Error for NodeError {}

/// The clear part of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeHead {
    /// Whose tree.
    pub tenant: TenantId,
    /// Which node.
    pub id: NodeId,
    /// Height above the leaves.
    pub level: u8,
}

/// A child as its parent knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Least key prefix the child covers.
    pub low: [u8; 8],
    /// The child's name.
    pub id: NodeId,
    /// The child's key: this row is the only place it is stored.
    pub key: Key,
}

/// One key of a leaf and what is stored under it; both are wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Cell {
    /// Keyed hash of what the cell is about.
    pub key: [u8; 32],
    /// Opaque here.
    pub value: Zeroizing<Vec<u8>>,
}

impl Cell {
    /// Bytes the cell takes in a leaf.
    pub fn bytes(&self) -> usize {
        CELL_OVERHEAD + self.value.len()
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cell({} bytes)", self.value.len())
    }
}

/// What a node holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// Level 0.
    Leaf(Vec<Cell>),
    /// Level 1 and above.
    Internal(Vec<Row>),
}

/// The 8 bytes by which internal nodes choose a child.
pub fn prefix(key: &[u8; 32]) -> [u8; 8] {
    key.first_chunk().copied().unwrap_or_default()
}

impl NodeHead {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        fill(&mut bytes, &[&MAGIC, &self.tenant.0, &self.id.0, &[self.level]]);
        bytes
    }

    /// Reads a header.
    pub fn decode(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let mut rest = bytes.as_slice();
        if take::<4>(&mut rest)? != MAGIC {
            return None;
        }
        let tenant = TenantId(take(&mut rest)?);
        let id = NodeId(take(&mut rest)?);
        let [level] = take(&mut rest)?;
        (level <= LEVEL_MAX).then_some(NodeHead { tenant, id, level })
    }
}

impl Content {
    /// Seals the content into a blob. The caller keeps to the limits above and to the order of
    /// keys; what does not is `Malformed` here and never reaches a disk.
    pub fn seal(
        &self,
        head: &NodeHead,
        key: &Key,
        nonce: &[u8; NONCE_BYTES],
    ) -> Result<Box<Blob>, NodeError> {
        let plain = self.encode(head.level)?;
        let clear = head.encode();
        let sealed = seal_bytes(key, nonce, &[NODE_LABEL, &clear], &plain)
            .ok_or(NodeError::Malformed("cannot seal"))?;
        let mut blob = Box::new([0; BLOB_BYTES]);
        fill(blob.as_mut_slice(), &[&clear, nonce, &sealed]);
        Ok(blob)
    }

    /// Opens a blob that must be the node `head` under `key`.
    pub fn open(blob: &Blob, head: &NodeHead, key: &Key) -> Result<Self, NodeError> {
        let mut rest = blob.as_slice();
        let clear: [u8; HEAD_BYTES] = take(&mut rest).ok_or(NodeError::Malformed("short"))?;
        let found = NodeHead::decode(&clear).ok_or(NodeError::Malformed("header"))?;
        if found != *head {
            return Err(NodeError::Foreign);
        }
        let nonce = take(&mut rest).ok_or(NodeError::Malformed("short"))?;
        let plain =
            open_bytes(key, &nonce, &[NODE_LABEL, &clear], rest).ok_or(NodeError::Sealed)?;
        Content::decode(&plain, head.level)
    }

    fn encode(&self, level: u8) -> Result<Zeroizing<Vec<u8>>, NodeError> {
        // Reserved whole: a buffer that grows would leave plaintext behind in freed memory.
        let mut plain = Zeroizing::new(Vec::with_capacity(PLAIN_BYTES));
        match self {
            Content::Leaf(cells) if level == 0 => {
                put_count(&mut plain, cells.len())?;
                for cell in cells {
                    let len = u16::try_from(cell.value.len()).unwrap_or(u16::MAX);
                    if plain.len() + cell.bytes() > PLAIN_BYTES {
                        return Err(NodeError::Malformed("leaf overflow"));
                    }
                    plain.extend_from_slice(&cell.key);
                    plain.extend_from_slice(&len.to_be_bytes());
                    plain.extend_from_slice(&cell.value);
                }
            }
            Content::Internal(rows) if level > 0 && rows.len() <= ROWS_MAX => {
                put_count(&mut plain, rows.len())?;
                for row in rows {
                    plain.extend_from_slice(&row.low);
                    plain.extend_from_slice(&row.id.0);
                    plain.extend_from_slice(row.key.expose());
                }
            }
            _ => return Err(NodeError::Malformed("content and level differ")),
        }
        plain.resize(PLAIN_BYTES, 0);
        // Reading back what is about to be written refuses any order the reader would refuse.
        Content::decode(&plain, level)?;
        Ok(plain)
    }

    fn decode(plain: &[u8], level: u8) -> Result<Self, NodeError> {
        if plain.len() != PLAIN_BYTES {
            return Err(NodeError::Malformed("length"));
        }
        let mut rest = plain;
        let count = u16::from_be_bytes(take(&mut rest).ok_or(NodeError::Malformed("count"))?);
        let content = match level {
            0 => Content::Leaf(decode_cells(&mut rest, count)?),
            _ => Content::Internal(decode_rows(&mut rest, count)?),
        };
        match rest.iter().all(|byte| *byte == 0) {
            true => Ok(content),
            false => Err(NodeError::Malformed("padding")),
        }
    }
}

fn decode_cells(rest: &mut &[u8], count: u16) -> Result<Vec<Cell>, NodeError> {
    let mut cells: Vec<Cell> = Vec::with_capacity(usize::from(count).min(PLAIN_BYTES / 34));
    for _ in 0..count {
        let key = take(rest).ok_or(NodeError::Malformed("cell key"))?;
        let len = u16::from_be_bytes(take(rest).ok_or(NodeError::Malformed("cell length"))?);
        let len = usize::from(len);
        let cut = rest.split_at_checked(len).filter(|_| len <= CELL_BYTES_MAX);
        let (value, tail) = cut.ok_or(NodeError::Malformed("cell length"))?;
        *rest = tail;
        if cells.last().is_some_and(|last| last.key >= key) {
            return Err(NodeError::Malformed("cell order"));
        }
        cells.push(Cell { key, value: Zeroizing::new(value.to_vec()) });
    }
    Ok(cells)
}

fn decode_rows(rest: &mut &[u8], count: u16) -> Result<Vec<Row>, NodeError> {
    let count = usize::from(count);
    if count == 0 || count > ROWS_MAX {
        return Err(NodeError::Malformed("row count"));
    }
    let mut rows: Vec<Row> = Vec::with_capacity(count);
    for _ in 0..count {
        let low = take(rest).ok_or(NodeError::Malformed("row"))?;
        let id = NodeId(take(rest).ok_or(NodeError::Malformed("row"))?);
        let (key, tail) = rest.split_at_checked(32).ok_or(NodeError::Malformed("row"))?;
        let key = Key::from_slice(key).ok_or(NodeError::Malformed("row"))?;
        *rest = tail;
        if rows.last().is_some_and(|last| last.low >= low) {
            return Err(NodeError::Malformed("row order"));
        }
        rows.push(Row { low, id, key });
    }
    Ok(rows)
}

/// A commit record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commit {
    /// Blobs that follow.
    pub count: u32,
    /// Position in the chain of commits, from 1.
    pub number: u64,
    /// Hash of the commit before.
    pub prev: Hash32,
    /// Hash of this one.
    pub hash: Hash32,
}

impl Commit {
    /// The commit after `(number, hash)` with these blobs, which are whole blobs end to end.
    pub fn after(number: u64, hash: Hash32, blobs: &[u8]) -> Self {
        let count = u32::try_from(blobs.len() / BLOB_BYTES).unwrap_or(u32::MAX);
        let mut commit = Commit { count, number: number + 1, prev: hash, hash: Hash32::ZERO };
        commit.hash = commit.over(blobs);
        commit
    }

    /// Whether these are the commit's blobs.
    pub fn holds(&self, blobs: &[u8]) -> bool {
        usize::try_from(self.count).is_ok_and(|n| n.checked_mul(BLOB_BYTES) == Some(blobs.len()))
            && self.hash == self.over(blobs)
    }

    /// Bytes of record and blobs together.
    pub fn bytes(&self) -> u64 {
        COMMIT_BYTES as u64 + u64::from(self.count) * BLOB_BYTES as u64
    }

    /// The record's bytes.
    pub fn encode(&self) -> [u8; COMMIT_BYTES] {
        let mut bytes = [0; COMMIT_BYTES];
        let (count, number) = (self.count.to_be_bytes(), self.number.to_be_bytes());
        fill(&mut bytes, &[&COMMIT_MAGIC, &count, &number, &self.prev.0, &self.hash.0]);
        bytes
    }

    /// Reads a record; whether it holds is another question.
    pub fn decode(bytes: &[u8; COMMIT_BYTES]) -> Option<Self> {
        let mut rest = bytes.as_slice();
        if take::<4>(&mut rest)? != COMMIT_MAGIC {
            return None;
        }
        let count = u32::from_be_bytes(take(&mut rest)?);
        let number = u64::from_be_bytes(take(&mut rest)?);
        let prev = Hash32(take(&mut rest)?);
        let hash = Hash32(take(&mut rest)?);
        let sound = count > 0 && number > 0 && rest.iter().all(|byte| *byte == 0);
        sound.then_some(Commit { count, number, prev, hash })
    }

    fn over(&self, blobs: &[u8]) -> Hash32 {
        let mut hash = Sha256::new();
        hash.update(COMMIT_LABEL);
        hash.update(self.count.to_be_bytes());
        hash.update(self.number.to_be_bytes());
        hash.update(self.prev.0);
        hash.update(blobs);
        Hash32(hash.finalize().into())
    }
}

/// SHA-256 of a blob: the root's at its birth names a generation.
pub fn blob_hash(blob: &Blob) -> Hash32 {
    Hash32(Sha256::digest(blob).into())
}

/// AES-256-GCM, tag last; the additional data are the parts end to end.
pub(crate) fn seal_bytes(
    key: &Key,
    nonce: &[u8; NONCE_BYTES],
    aad: &[&[u8]],
    plain: &[u8],
) -> Option<Vec<u8>> {
    let aad = aad.concat();
    let cipher = Aes256Gcm::new(key.expose().into());
    cipher.encrypt(nonce.into(), Payload { msg: plain, aad: &aad }).ok()
}

/// Opens what `seal_bytes` sealed; `None` if key, nonce, data or tag differ.
pub(crate) fn open_bytes(
    key: &Key,
    nonce: &[u8; NONCE_BYTES],
    aad: &[&[u8]],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let aad = aad.concat();
    let cipher = Aes256Gcm::new(key.expose().into());
    cipher.decrypt(nonce.into(), Payload { msg: sealed, aad: &aad }).ok().map(Zeroizing::new)
}

/// Takes `N` bytes off the front.
pub(crate) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

/// Copies the parts end to end; bytes beyond them stay as they are.
pub(crate) fn fill(bytes: &mut [u8], parts: &[&[u8]]) {
    let source = parts.iter().flat_map(|part| part.iter());
    for (to, from) in bytes.iter_mut().zip(source) {
        *to = *from;
    }
}

fn put_count(plain: &mut Vec<u8>, count: usize) -> Result<(), NodeError> {
    let count = u16::try_from(count).map_err(|_| NodeError::Malformed("count"))?;
    plain.extend_from_slice(&count.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: NodeHead = NodeHead { tenant: TenantId([1; 16]), id: NodeId([2; 16]), level: 0 };

    fn cell(first: u8, len: usize) -> Cell {
        Cell { key: [first; 32], value: Zeroizing::new(vec![first; len]) }
    }

    fn row(first: u8) -> Row {
        Row { low: [first; 8], id: NodeId([first; 16]), key: Key::new([first; 32]) }
    }

    fn check(content: &Content, level: u8, expect: Result<(), NodeError>) {
        let (head, key) = (NodeHead { level, ..HEAD }, Key::new([3; 32]));
        let blob = content.seal(&head, &key, &[4; 12]);
        assert_eq!(blob.as_ref().map(|_| ()).map_err(|e| *e), expect);
        let Ok(blob) = blob else { return };
        assert_eq!(Content::open(&blob, &head, &key).as_ref(), Ok(content));
        assert_eq!(Content::open(&blob, &head, &Key::new([9; 32])), Err(NodeError::Sealed));
        let other = NodeHead { id: NodeId([7; 16]), ..head };
        assert_eq!(Content::open(&blob, &other, &key), Err(NodeError::Foreign));
        for at in [40, 60, 4095] {
            let mut bad = blob.clone();
            if let Some(byte) = bad.get_mut(at) {
                *byte ^= 1;
            }
            assert_eq!(Content::open(&bad, &head, &key), Err(NodeError::Sealed));
        }
    }

    #[test]
    fn nodes_round_trip_and_refuse_what_readers_refuse() {
        check(&Content::Leaf(vec![]), 0, Ok(()));
        check(&Content::Leaf(vec![cell(1, 0), cell(2, 3_900)]), 0, Ok(()));
        check(&Content::Internal((0..64).map(row).collect()), 1, Ok(()));
        let order = Err(NodeError::Malformed("cell order"));
        check(&Content::Leaf(vec![cell(2, 1), cell(1, 1)]), 0, order);
        check(&Content::Leaf(vec![cell(1, 1), cell(1, 1)]), 0, order);
        let long = Err(NodeError::Malformed("cell length"));
        check(&Content::Leaf(vec![cell(1, 3_901)]), 0, long);
        let over = Err(NodeError::Malformed("leaf overflow"));
        check(&Content::Leaf(vec![cell(1, 3_900), cell(2, 62)]), 0, over);
        let order = Err(NodeError::Malformed("row order"));
        check(&Content::Internal(vec![row(2), row(2)]), 1, order);
        check(&Content::Internal(vec![]), 1, Err(NodeError::Malformed("row count")));
        let differ = Err(NodeError::Malformed("content and level differ"));
        check(&Content::Internal((0..65).map(row).collect()), 1, differ);
        check(&Content::Internal(vec![row(1)]), 0, differ);
    }

    #[test]
    fn padding_must_be_zero() {
        let mut plain = vec![0; PLAIN_BYTES];
        assert!(Content::decode(&plain, 0).is_ok());
        if let Some(last) = plain.last_mut() {
            *last = 1;
        }
        assert_eq!(Content::decode(&plain, 0), Err(NodeError::Malformed("padding")));
    }

    #[test]
    fn a_commit_holds_its_own_blobs_only() {
        let blobs = vec![5; 2 * BLOB_BYTES];
        let commit = Commit::after(6, Hash32([1; 32]), &blobs);
        assert_eq!((commit.number, commit.count), (7, 2));
        assert_eq!(Commit::decode(&commit.encode()), Some(commit));
        assert!(commit.holds(&blobs));
        assert!(!commit.holds(&vec![5; BLOB_BYTES]));
        assert!(!Commit { number: 8, ..commit }.holds(&blobs));
        let mut bytes = commit.encode();
        if let Some(last) = bytes.last_mut() {
            *last = 1;
        }
        assert_eq!(Commit::decode(&bytes), None);
    }
}
