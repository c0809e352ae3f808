//! The root slot's bytes: the one place where a root key of a shred tree is stored, sealed under
//! the key-encryption key. Pure; it never decides which of two slots counts.
//!
//! Root slot, 4096 bytes, files `root.0` and `root.1`; generation g lies in `root.(g mod 2)`.
//! ```text
//! offset size field
//!      0    8 "CHROOT1" 00
//!      8    8 generation, from 1
//!     16   16 tenant
//!     32   16 root node id
//!     48   32 SHA-256 of the root blob at the birth of this generation
//!     80    8 log size when it was written
//!     88   32 log root of that size
//!    120    1 class of the root store, 'D' = files
//!    121    1 copies: 1, or 2 when a mirror was paired as this generation began
//!    122    6 zeros
//!    128   12 nonce, random
//!    140   80 AES-256-GCM(KEK, nonce, root node key[32] || K_dir[32], AAD), tag last
//!             AAD = "chancery/v1/root" 00 || bytes 0..128
//!    220 3844 zeros
//!   4064   32 SHA-256 of bytes 0..4064: tells a torn slot from a foreign key
//! ```

use crate::base::id::{Hash32, NodeId, TenantId};
use crate::base::secret::Key;
use crate::base::unit::{Generation, TreeSize};
use crate::format::node::{
    BLOB_BYTES, Blob, NONCE_BYTES, NodeError, fill, open_bytes, seal_bytes, take,
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const MAGIC: [u8; 8] = *b"CHROOT1\0";
const LABEL: &[u8] = b"chancery/v1/root\0";
const CLEAR_BYTES: usize = 128;
const SEALED_BYTES: usize = 80;
const SUMMED_BYTES: usize = BLOB_BYTES - 32;
/// Root store class of plain files: destroying is overwriting, and only as good as the medium.
pub const CLASS_FILE: u8 = b'D';
/// Directories a key plane may have.
const COPIES_MAX: u8 = 2;

/// A root slot's contents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slot {
    /// How often the root was replaced.
    pub generation: Generation,
    /// Whose tree.
    pub tenant: TenantId,
    /// The root node.
    pub root: NodeId,
    /// Hash of the root blob at the birth of this generation.
    pub root_hash: Hash32,
    /// Size of the log when the slot was written.
    pub log_size: TreeSize,
    /// Root of the log of that size.
    pub log_root: Hash32,
    /// Directories that were to hold this slot when it was written: 1 or 2.
    pub copies: u8,
    /// Key of the root node.
    pub root_key: Key,
    /// Key of the directory: positions of cells are keyed hashes under it.
    pub directory_key: Key,
}

impl Slot {
    /// The slot's bytes, sealed under `kek`.
    pub fn seal(&self, kek: &Key, nonce: &[u8; NONCE_BYTES]) -> Option<Box<Blob>> {
        let mut clear = [0; CLEAR_BYTES];
        let parts: [&[u8]; 9] = [
            &MAGIC,
            &self.generation.0.to_be_bytes(),
            &self.tenant.0,
            &self.root.0,
            &self.root_hash.0,
            &self.log_size.0.to_be_bytes(),
            &self.log_root.0,
            &[CLASS_FILE],
            &[self.copies],
        ];
        fill(&mut clear, &parts);
        let mut plain = Zeroizing::new([0; 64]);
        fill(plain.as_mut_slice(), &[self.root_key.expose(), self.directory_key.expose()]);
        let sealed = seal_bytes(kek, nonce, &[LABEL, &clear], plain.as_slice())?;
        let mut slot = Box::new([0; BLOB_BYTES]);
        fill(slot.as_mut_slice(), &[&clear, nonce, &sealed]);
        let (summed, sum) = slot.split_at_mut_checked(SUMMED_BYTES)?;
        sum.copy_from_slice(&Sha256::digest(summed));
        Some(slot)
    }

    /// Opens a slot. `Malformed` is a torn, scrubbed or damaged slot, `Sealed` one that is whole
    /// but was written under another key (or forged), `Foreign` another tenant's.
    pub fn open(bytes: &[u8], tenant: TenantId, kek: &Key) -> Result<Self, NodeError> {
        let (summed, sum) = bytes
            .split_at_checked(SUMMED_BYTES)
            .filter(|_| bytes.len() == BLOB_BYTES)
            .ok_or(NodeError::Malformed("slot length"))?;
        if Sha256::digest(summed).as_slice() != sum {
            return Err(NodeError::Malformed("slot checksum"));
        }
        let clear = summed.first_chunk().ok_or(NodeError::Malformed("slot"))?;
        let (generation, found, class) =
            Slot::ids(clear).ok_or(NodeError::Malformed("slot header"))?;
        if found.tenant != tenant {
            return Err(NodeError::Foreign);
        }
        let (_, mut rest) =
            summed.split_at_checked(CLEAR_BYTES).ok_or(NodeError::Malformed("slot"))?;
        let nonce = take(&mut rest).ok_or(NodeError::Malformed("slot"))?;
        let sealed: [u8; SEALED_BYTES] = take(&mut rest).ok_or(NodeError::Malformed("slot"))?;
        if class != CLASS_FILE || generation.0 == 0 || rest.iter().any(|byte| *byte != 0) {
            return Err(NodeError::Malformed("slot fields"));
        }
        let plain = open_bytes(kek, &nonce, &[LABEL, clear], &sealed).ok_or(NodeError::Sealed)?;
        let (root_key, directory_key) =
            plain.split_at_checked(32).ok_or(NodeError::Malformed("slot keys"))?;
        let root_key = Key::from_slice(root_key).ok_or(NodeError::Malformed("slot keys"))?;
        let directory_key =
            Key::from_slice(directory_key).ok_or(NodeError::Malformed("slot keys"))?;
        Ok(Slot { generation, root_key, directory_key, ..found })
    }

    /// The clear fields, with zero keys, and the class.
    fn ids(clear: &[u8; CLEAR_BYTES]) -> Option<(Generation, Slot, u8)> {
        let mut rest = clear.as_slice();
        if take::<8>(&mut rest)? != MAGIC {
            return None;
        }
        let generation = Generation(u64::from_be_bytes(take(&mut rest)?));
        let slot = Slot {
            generation,
            tenant: TenantId(take(&mut rest)?),
            root: NodeId(take(&mut rest)?),
            root_hash: Hash32(take(&mut rest)?),
            log_size: TreeSize(u64::from_be_bytes(take(&mut rest)?)),
            log_root: Hash32(take(&mut rest)?),
            copies: 0,
            root_key: Key::new([0; 32]),
            directory_key: Key::new([0; 32]),
        };
        let [class, copies] = take(&mut rest)?;
        let slot = Slot { copies, ..slot };
        ((1..=COPIES_MAX).contains(&copies) && rest.iter().all(|byte| *byte == 0))
            .then_some((generation, slot, class))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_opens_for_its_tenant_and_key_only() -> Result<(), NodeError> {
        let (tenant, kek) = (TenantId([1; 16]), Key::new([2; 32]));
        let slot = Slot {
            generation: Generation(7),
            tenant,
            root: NodeId([3; 16]),
            root_hash: Hash32([4; 32]),
            log_size: TreeSize(5),
            log_root: Hash32([6; 32]),
            copies: 1,
            root_key: Key::new([7; 32]),
            directory_key: Key::new([8; 32]),
        };
        let bytes = slot.seal(&kek, &[9; 12]).ok_or(NodeError::Sealed)?;
        assert_eq!(Slot::open(bytes.as_slice(), tenant, &kek)?, slot);
        let wrong = Slot::open(bytes.as_slice(), tenant, &Key::new([0; 32]));
        assert_eq!(wrong, Err(NodeError::Sealed));
        let foreign = Slot::open(bytes.as_slice(), TenantId([9; 16]), &kek);
        assert_eq!(foreign, Err(NodeError::Foreign));
        for at in 0..BLOB_BYTES {
            let mut bad = bytes.clone();
            if let Some(byte) = bad.get_mut(at) {
                *byte ^= 0x40;
            }
            let found = Slot::open(bad.as_slice(), tenant, &kek);
            assert_eq!(found, Err(NodeError::Malformed("slot checksum")), "byte {at}");
        }
        Ok(())
    }
}
