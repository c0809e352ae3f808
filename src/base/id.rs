//! Identifiers: fixed byte strings with a type each, shown as lower-case hex.
//! They are random or keyed hashes; none is ever derived from a person's data without a key.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

/// Writes lower-case hex of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) };
    let mut text = Vec::with_capacity(bytes.len() * 2);
    text.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    // ASCII always.
    String::from_utf8(text).unwrap_or_default()
}

/// Reads hex of exactly `N` bytes, either case.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != N * 2 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok().filter(|p| !p.starts_with('+'))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// All bytes zero: "none" where the format says so.
            pub const ZERO: Self = Self([0; $len]);
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// True for the all-zero value.
            pub fn is_zero(&self) -> bool {
                self.0 == [0; $len]
            }

            /// Parses hex of exactly this length.
            pub fn parse(text: &str) -> Option<Self> {
                unhex::<$len>(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_str(&hex(&self.0))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
                Self::parse(&text)
                    .filter(|_| !text.bytes().any(|b| b.is_ascii_uppercase()))
                    .ok_or_else(|| serde::de::Error::custom("not lower-case hex of this length"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), hex(&self.0))
            }
        }
    };
}

id!(/// One tenant: one log, one tree, one key tree.
    TenantId, 16);
id!(/// Random name of one record; bound into its keys and commitments.
    RecordId, 16);
id!(/// Keyed hash of (source, event id); zero when the source gives none.
    EventIdTag, 16);
id!(/// Random-looking handle of a source; its name is sealed.
    SourceHandle, 16);
id!(/// Keyed hash that marks the records of one subject, class and month.
    SubjectTag, 16);
id!(/// Random handle of a person; it names nobody once the person's keys are gone.
    PersonId, 16);
id!(/// Random handle of a legal hold's case.
    CaseId, 16);
id!(/// Random handle of an erasure, a retention run or another job.
    JobId, 16);
id!(/// Random name of the second live copy of the key plane.
    ReplicaId, 16);
id!(/// Random name of a document in the registry.
    DocumentId, 16);
id!(/// Random name of a node blob in the shred tree.
    NodeId, 16);
id!(/// A SHA-256 value: leaf hash, node hash, root.
    Hash32, 32);

/// A map by ids that are random to whoever sends events: handles and tags are keyed hashes, persons
/// are drawn. Their own bytes are hash enough.
pub type ById<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// The first eight bytes of a random id.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_be_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_refuses_other_lengths() {
        let id = RecordId([0xa5; 16]);
        assert_eq!(RecordId::parse(&id.to_string()), Some(id));
        assert_eq!(RecordId::parse("a5"), None);
        assert_eq!(unhex::<1>("+5"), None);
        assert_eq!(unhex::<1>("g0"), None);
    }
}
