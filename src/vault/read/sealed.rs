//! Sealed groups opened: their bytes found, decrypted and held against every commitment of their
//! entry. It never looks a key up, and never decides what an absent one means.

use crate::base::entry::Head;
use crate::base::id::{Hash32, RecordId};
use crate::base::record::{Fate, RecordField};
use crate::base::secret::Key;
use crate::base::unit::{ClassDay, EntryIndex};
use crate::crypto::aead;
use crate::crypto::hash::sha256;
use crate::crypto::kdf::{HmacKey, tag};
use crate::format::body;
use crate::format::body::{Frame, Plain};
use crate::format::packed::plain;
use crate::format::unit::BodySpan;
use crate::store::bodies::{Frames, Stored};
use crate::store::error::ErrorKind;
use crate::vault::Vault;
use crate::vault::error::Result;
use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};

/// The body spans of one unit, read when first asked for.
pub(crate) struct Spans<'u> {
    spans: &'u [BodySpan],
    read: HashMap<ClassDay, Stored<Frames>>,
}

impl<'u> Spans<'u> {
    pub(crate) fn new(spans: &'u [BodySpan]) -> Self {
        Spans { spans, read: HashMap::new() }
    }

    pub(crate) fn find(
        &mut self,
        vault: &Vault,
        head: &Head,
        index: EntryIndex,
        position: u8,
    ) -> Result<Stored<Frame<'_>>> {
        let Some(group) = head.groups.get(usize::from(position)) else {
            return Ok(Stored::Missing);
        };
        let class_day = ClassDay { class: group.class, day: group.bucket };
        let Some(span) = self.spans.iter().find(|s| s.class_day == class_day) else {
            return Ok(Stored::Missing);
        };
        let frames = match self.read.entry(class_day) {
            Occupied(read) => read.into_mut(),
            Vacant(vacant) => vacant.insert(match vault.inner.bodies.read(*span) {
                Ok(frames) => Stored::Body(frames),
                Err(e) if e.kind == ErrorKind::Missing => Stored::Missing,
                Err(e) if e.kind == ErrorKind::Corrupt => Stored::Damaged,
                Err(e) => return Err(e.into()),
            }),
        };
        Ok(match frames {
            Stored::Body(frames) => frames.find(index, position, &head.record),
            Stored::Missing => Stored::Missing,
            Stored::Damaged => Stored::Damaged,
        })
    }
}

/// Digest of a group's commitments, in the entry's order.
pub(crate) fn commits_digest(head: &Head, position: u8) -> Hash32 {
    let mut preimage = tag::COMMITS.to_vec();
    for field in head.fields.iter().filter(|f| f.group == position) {
        preimage.extend_from_slice(&field.commitment.0);
    }
    sha256(&[&preimage])
}

/// The key that seals a group by an algorithm.
pub(crate) fn sealing_key(
    base: &HmacKey,
    alg: u8,
    record: &RecordId,
    position: u8,
    digest: &Hash32,
) -> Key {
    Key::new(match alg {
        body::ALG_AES256GCM => base.mac(&body::group_key_preimage(record, position, digest)).0,
        alg => base.mac(&body::other_key_preimage(alg, record, position, digest)).0,
    })
}

/// The plaintext of a body, whose commitments are not checked yet.
pub(crate) fn unseal(
    head: &Head,
    position: u8,
    base: &HmacKey,
    stored: &Frame<'_>,
) -> std::result::Result<Plain, Fate> {
    let digest = commits_digest(head, position);
    let key = sealing_key(base, stored.alg, &head.record, position, &digest);
    let aad = body::aad(head, position, &digest);
    let plain = aead::open(&key, &stored.nonce, &aad, stored.sealed);
    let plain = plain.map_err(|_| Fate::AuthFailed)?;
    let plain = match stored.alg {
        body::ALG_COMPRESSED => plain::expand(&plain),
        _ => body::decode_plain(&plain),
    };
    plain.map_err(|_| Fate::CommitmentMismatch)
}

/// Opens a body and requires exactly the fields the entry commits to.
pub(crate) fn open_body(
    head: &Head,
    position: u8,
    base: &HmacKey,
    stored: &Frame<'_>,
    out: &mut [RecordField],
) -> Fate {
    let plain = match unseal(head, position, base, stored) {
        Ok(plain) => plain,
        Err(fate) => return fate,
    };
    let expected = head.fields.iter().enumerate().filter(|(_, f)| f.group == position);
    let mut opened = Vec::with_capacity(plain.fields.len());
    let mut values = plain.fields.iter();
    for (number, field) in expected {
        let Some((name, value)) = values.next().filter(|(name, _)| **name == *field.name) else {
            return Fate::CommitmentMismatch;
        };
        let salt = sha256(&[&body::salt_preimage(&plain.seed, number as u16)]);
        let mut preimage = Vec::with_capacity(64 + value.len());
        body::commit_preimage(&mut preimage, &head.record, position, &salt.0, name, value);
        if sha256(&[&preimage]) != field.commitment {
            return Fate::CommitmentMismatch;
        }
        opened.push((number, salt.0, value.to_vec()));
    }
    if values.next().is_some() {
        return Fate::CommitmentMismatch;
    }
    for (number, salt, value) in opened {
        if let Some(field) = out.get_mut(number) {
            (field.salt, field.value) = (Some(salt), Some(value));
        }
    }
    Fate::Open
}
