//! What a source's registration says beyond its name: another mapping, another class, the duplicate
//! key that its events must have. It can keep an event longer than the rules of `classes.toml` do,
//! never shorter, and demand more of it than its mapping does, never less; it reads nothing.

use crate::base::refusal::Refusal;
use serde::{Deserialize, Serialize};

/// The duplicate key that a source declares.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DedupeKey {
    /// A number without gaps: an event without one is refused.
    Sequence,
    /// An id of each event: an event without one is refused.
    EventId,
    /// None: numbers and ids are kept as values, and what comes twice is stored twice.
    None,
}

/// What a registration says; the default says nothing.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Terms {
    /// The mapping, instead of the one that the source's name selects.
    pub mapping: Option<Box<str>>,
    /// Name of the class, instead of the rules' one where that keeps no longer.
    pub class: Option<Box<str>>,
    /// The duplicate key, instead of whichever the mapping finds.
    pub dedupe: Option<DedupeKey>,
}

impl Terms {
    /// Says nothing.
    pub const NONE: Terms = Terms { mapping: None, class: None, dedupe: None };
}

/// The refusal of an event without the key that its source declared.
pub(crate) fn key_missing(field: &str) -> Refusal {
    let fix = "its source is registered with this duplicate key: send it with every event";
    Refusal::new("DEDUPE_KEY_MISSING", fix).field(field)
}
