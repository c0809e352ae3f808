//! DISCLOSURE: chosen fields of one record, provable offline with a trust file and nothing else.
//! It carries no key; the verifier never believes one that a bundle brings along.
//!
//! One RFC 8785 JSON object:
//! `{"fields":[{"group":0,"name":"actor.email","salt":"<hex 32>","value":"<JSON text>"}],
//!   "format":"chancery/disclosure/v1","proof":"<C2SP tlog-proof, ENTRY in its extra line>"}`

use crate::base::entry::{Entry, FieldHead};
use crate::base::id::Hash32;
use crate::crypto::hash::sha256;
use crate::format::body::commit_preimage;
use serde::{Deserialize, Serialize};

/// Value of `format`.
pub const FORMAT: &str = "chancery/disclosure/v1";

/// One disclosed field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disclosed {
    /// Position of its group in the entry.
    pub group: u8,
    /// Registry name.
    pub name: String,
    /// Salt of its commitment.
    pub salt: Hash32,
    /// The JSON text, exactly as sealed.
    pub value: String,
}

/// A disclosure.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disclosure {
    /// The fields.
    pub fields: Vec<Disclosed>,
    /// `FORMAT`.
    pub format: String,
    /// A tlog-proof whose extra line is the ENTRY.
    pub proof: String,
}

/// Whether a disclosed field is the one the entry commits to.
pub fn field_matches(entry: &Entry, field: &Disclosed) -> bool {
    let named = |f: &&FieldHead| *f.name == *field.name && f.group == field.group;
    // Asked first: whatever a bundle calls a field, a name of the entry's is hashed.
    let Some(own) = entry.head.fields.iter().find(named) else { return false };
    let (record, value) = (&entry.head.record, field.value.as_bytes());
    let mut preimage = Vec::new();
    commit_preimage(&mut preimage, record, own.group, &field.salt.0, &own.name, value);
    own.commitment == sha256(&[&preimage])
}
