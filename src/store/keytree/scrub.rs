//! The key tree read again, a commit at a time, on both replicas; at the end the slots. It names
//! what is not what it must be and changes nothing.

use crate::base::unit::Generation;
use crate::format::node::BLOB_BYTES;
use crate::format::slot::Slot;
use crate::store::error::Result;
use crate::store::keytree::KeyTree;

/// What `scrub` read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scrubbed {
    /// Where to go on; none when all was read.
    pub next: Option<u64>,
    /// What to say at the next call.
    pub first: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Findings: `keys` or `mirror`, and the verdict.
    pub found: Vec<(&'static str, &'static str)>,
}

impl KeyTree {
    /// Reads a commit of `nodes.seg` again, on every replica that can be reached, from `at`; after
    /// the last one, the slots. `first` is what the call before said, 0 at the beginning: when
    /// the file was compacted meanwhile, reading begins anew.
    pub fn scrub(&self, at: u64, first: u64) -> Result<Scrubbed> {
        self.sound()?;
        let mut read = Scrubbed { next: None, first, bytes: 0, found: Vec::new() };
        let at = match self.segment.first_number() {
            Ok(number) if number == first => at,
            Ok(number) => {
                read.first = number;
                0
            }
            // Which commit is the first, and whether they are still the same, cannot be told.
            Err(_) => {
                read.found.push(("keys", "KEY_COMMIT_BROKEN"));
                self.segment.bytes()
            }
        };
        if at < self.segment.bytes() {
            self.scrub_commit(at, &mut read);
            return Ok(read);
        }
        let generation = self.slot.generation;
        let other = Generation(generation.0 + 1);
        let own = self.store.lies_at(generation).unwrap_or_default();
        read.bytes += 2 * BLOB_BYTES as u64;
        let opened = Slot::open(&own, self.tenant, &self.kek);
        if !opened.is_ok_and(|slot| slot == self.slot) {
            read.found.push(("keys", "ROOT_CORRUPT"));
        }
        let clean = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        if !self.store.lies_at(other).is_ok_and(|bytes| clean(&bytes)) {
            read.found.push(("keys", "ROOT_NOT_SCRUBBED"));
        }
        match self.mirror.as_ref().and_then(|mirror| mirror.slots(generation)) {
            Some(Ok((current, left))) => {
                read.bytes += 2 * BLOB_BYTES as u64;
                if current != own {
                    read.found.push(("mirror", "ROOT_CORRUPT"));
                }
                if !clean(&left) {
                    read.found.push(("mirror", "ROOT_NOT_SCRUBBED"));
                }
            }
            Some(Err(_)) => read.found.push(("mirror", "UNREADABLE")),
            None => {}
        }
        Ok(read)
    }

    fn scrub_commit(&self, at: u64, read: &mut Scrubbed) {
        let Ok(Some((len, whole))) = self.segment.prove(at) else {
            // Without its record nobody knows where the next commit begins.
            read.found.push(("keys", "KEY_COMMIT_BROKEN"));
            read.next = Some(self.segment.bytes());
            return;
        };
        read.bytes += len;
        read.next = Some(at + len);
        if !whole {
            read.found.push(("keys", "KEY_COMMIT_BROKEN"));
        }
        let size = usize::try_from(len).unwrap_or(0);
        match self.mirror.as_ref().and_then(|mirror| mirror.read_at(at, size)) {
            Some(Ok(theirs)) => {
                read.bytes += len;
                let mine = self.segment.read_at(at, size).unwrap_or_default();
                if whole && theirs != mine {
                    read.found.push(("mirror", "KEY_COMMIT_BROKEN"));
                }
            }
            Some(Err(_)) => read.found.push(("mirror", "UNREADABLE")),
            None => {}
        }
    }
}
