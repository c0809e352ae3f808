//! Cursors: where the next page of one query of one caller begins. Sealed under a key of the
//! system vault and bound to tenant, caller and query; each ends after an hour. A caller can
//! neither read nor make one, and authorisation runs again for every page.

use crate::base::secret::Key;
use crate::base::unit::{EntryIndex, NANOS_PER_SECOND, TreeSize, UtcNanos};
use crate::base::world::{Entropy, random};
use crate::crypto::aead::{self, NONCE_BYTES};
use crate::crypto::hash::sha256;
use crate::server::problem::Problem;
use crate::vault::Vault;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use std::sync::Arc;

/// Label of the key.
const LABEL: &str = "chancery/v1/service/cursor";
/// Nanoseconds a cursor is good for.
const LIFE_NANOS: u64 = 3_600 * NANOS_PER_SECOND;
/// Plain bytes: next index, tree size, end of life.
const PLAIN_BYTES: usize = 24;
/// Characters of a cursor at most, so that nothing longer is looked at.
const TEXT_MAX: usize = 128;

/// Where a page begins, and over which tree the query runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// First entry not yet looked at.
    pub next: EntryIndex,
    /// Size of the log when the first page was asked for: what comes later is another query's.
    pub size: TreeSize,
}

/// Makes and reads cursors.
pub struct Cursors {
    key: Key,
    entropy: Arc<dyn Entropy>,
}

/// What a cursor belongs to.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// The tenant's name.
    pub tenant: &'a str,
    /// The caller's id.
    pub caller: &'a [u8; 16],
    /// The query in a form that differs where the query does.
    pub text: &'a str,
}

impl Query<'_> {
    fn binding(&self) -> [u8; 32] {
        let tenant = (self.tenant.len() as u64).to_be_bytes();
        sha256(&[&tenant, self.tenant.as_bytes(), self.caller, self.text.as_bytes()]).0
    }
}

impl Cursors {
    /// With the key of the system vault.
    ///
    /// # Errors
    /// Those of the key plane.
    pub fn new(system: &Vault, entropy: Arc<dyn Entropy>) -> crate::vault::error::Result<Self> {
        Ok(Cursors { key: Key::new(*system.service_key(LABEL)?), entropy })
    }

    /// The cursor of a place in a query.
    pub fn seal(&self, query: &Query<'_>, place: Place, now: UtcNanos) -> String {
        let nonce: [u8; NONCE_BYTES] = random(&*self.entropy);
        let mut bytes = nonce.to_vec();
        for number in [place.next.0, place.size.0, now.0.saturating_add(LIFE_NANOS)] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        aead::seal_in_place(&self.key, &nonce, &query.binding(), &mut bytes, NONCE_BYTES);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place of a cursor.
    ///
    /// # Errors
    /// 400 `CURSOR_INVALID` for what is not a cursor of this query and caller, or is over.
    pub fn open(&self, query: &Query<'_>, text: &str, now: UtcNanos) -> Result<Place, Problem> {
        let invalid = || {
            let detail = "this cursor is not of this query and caller, or over an hour old: \
                          begin again without it";
            Problem::bad("CURSOR_INVALID", detail).field("cursor")
        };
        let text = Some(text).filter(|text| text.len() <= TEXT_MAX).ok_or_else(invalid)?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or_else(invalid)?;
        let plain = aead::open(&self.key, nonce, &query.binding(), sealed);
        let plain = plain.map_err(|_| invalid())?;
        let plain = plain.first_chunk::<PLAIN_BYTES>().ok_or_else(invalid)?;
        let number = |at: usize| {
            let bytes = plain.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_be_bytes)
        };
        match number(16) >= now.0 {
            true => Ok(Place { next: EntryIndex(number(0)), size: TreeSize(number(8)) }),
            false => Err(invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ones;

    impl Entropy for Ones {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(1);
        }
    }

    #[test]
    fn a_cursor_is_good_for_its_query_its_caller_and_an_hour() {
        let cursors = Cursors { key: Key::new([7; 32]), entropy: Arc::new(Ones) };
        let query = Query { tenant: "main", caller: &[1; 16], text: "code=a.b" };
        let place = Place { next: EntryIndex(77), size: TreeSize(1_000) };
        let now = UtcNanos(5);
        let text = cursors.seal(&query, place, now);
        assert_eq!(cursors.open(&query, &text, now), Ok(place));
        assert_eq!(cursors.open(&query, &text, UtcNanos(now.0 + LIFE_NANOS)), Ok(place));
        let refused = |query: &Query<'_>, text: &str, now| {
            assert_eq!(cursors.open(query, text, now).unwrap_err().code, "CURSOR_INVALID");
        };
        refused(&query, &text, UtcNanos(now.0 + LIFE_NANOS + 1));
        refused(&Query { tenant: "mai", ..query }, &text, now);
        refused(&Query { caller: &[2; 16], ..query }, &text, now);
        refused(&Query { text: "code=a.c", ..query }, &text, now);
        for at in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            refused(&query, std::str::from_utf8(&other).unwrap(), now);
        }
        refused(&query, "", now);
        refused(&query, &"A".repeat(10_000), now);
    }
}
