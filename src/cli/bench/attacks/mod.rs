//! `chancery bench attacks`: the attacks of the design, each made on a throw-away vault of real
//! files, with the verdict it must get and the verdict it got. It damages nothing but what it made
//! itself, and it never passes an attack it could not carry out.

mod bodies;
mod claims;
mod clones;
mod forge;
mod forgetting;
mod ground;
mod holders;
mod intake;
mod kill;
mod log;
mod mirror;
mod omitted;
mod raw;
mod reach;
pub mod salamander;

use anyhow::Result;
use std::path::Path;

/// Verdicts found, by name.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Found(String);

impl Found {
    fn is(&self, name: &str) -> bool {
        self.0 == name
    }
}

/// One attack.
pub struct Attack {
    /// Number in the design.
    pub number: u8,
    /// What is done, in one line.
    pub what: &'static str,
    /// The verdict it must get.
    pub required: &'static str,
    run: fn(&Path) -> Result<Found>,
}

/// What came of one.
pub struct Outcome {
    /// Number in the design.
    pub number: u8,
    /// What was done.
    pub what: &'static str,
    /// The verdict it must get.
    pub required: &'static str,
    /// The verdict it got, or why the attack could not be made.
    pub found: String,
}

impl Outcome {
    /// Whether the verdict is the required one.
    pub fn passed(&self) -> bool {
        self.found == self.required
    }
}

macro_rules! attacks {
    ($($number:literal $required:literal $what:literal $run:path;)*) => {
        /// All of them.
        pub const ATTACKS: &[Attack] = &[
            $(Attack { number: $number, what: $what, required: $required, run: $run },)*
        ];
    };
}

attacks! {
    1 "LEAF_MISMATCH" "a bit of a stored entry flipped" log::bit;
    2 "ROOT_MISMATCH" "an entry and every hash that needs no signature replaced" log::replaced;
    3 "INCONSISTENT" "history rewritten and signed with the stolen log key" log::rewritten;
    4 "INDEX_OR_PREV_MISMATCH" "a middle entry deleted, the rest renumbered" log::deleted;
    5 "INDEX_OR_PREV_MISMATCH" "two entries swapped" log::swapped;
    6 "ROLLED_BACK" "log and checkpoint cut below what somebody kept" log::cut;
    7 "SOURCE_GAP" "acknowledged entries dropped before their checkpoint" log::dropped;
    8 "DUP_RID DUP_SOURCE_SEQ" "an old event appended again" log::repeated;
    9 "TIME_REGRESSION" "an entry dated back" log::dated_back;
    10 "time clamped" "the clock set back a day" log::clock_back;
    11 "TENANT_MISMATCH" "an entry of another tenant" log::foreign;
    12 "BODY_AUTH_FAIL" "bodies of two records of one subject swapped" bodies::swapped;
    13 "BODY_AUTH_FAIL" "groups of a record swapped or moved to another class" bodies::longer_class;
    14 "COMMITMENT_MISMATCH" "a ciphertext valid under two keys planted" bodies::two_keyed;
    15 "BODY_AUTH_FAIL" "a body flipped, cut, or of another algorithm" bodies::damaged;
    16 "BODY_MISSING_UNJUSTIFIED" "bodies deleted and no entry says so" bodies::deleted;
    17 "DISCLOSURE_FIELD_MISMATCH" "a disclosure with a changed part" holders::changed;
    18 "DISCLOSURE_FIELD_MISMATCH UNTRUSTED_KEY" "a disclosure replayed" holders::replayed;
    19 "no oracle" "every copy of the keys searched after an erasure" forgetting::oracle;
    20 "LOG_BEHIND_KEYS" "old data beside current keys" forgetting::old_data;
    21 "ROOT_GEN_ROLLBACK" "old keys beside current data" forgetting::old_keys;
    22 "ROOT_GEN_ROLLBACK" "data and keys of an old copy, the ledger at hand" forgetting::old_image;
    23 "ROOT_HASH_MISMATCH" "an old root planted under a higher generation" forgetting::planted;
    24 "invariants hold" "killed at every operation of an erasure" forgetting::power;
    25 "zero hits" "every file searched for dead keys" forgetting::scan;
    26 "no way back" "the tree split, then a moved person erased" forgetting::split;
    27 "HOLD_BLOCKED" "erased under a hold, twice, unknown, born again" forgetting::hold;
    28 "scrubbed first" "killed before the scrub of an old root and served" forgetting::unscrubbed;
    29 "E2-partial, then scrubbed first" "a mirror that missed an erasure returns" mirror::returned;
    30 "refused" "an answer that leaves one entry out, or shows another" omitted::posting;
    31 "SEAL_MISMATCH" "seals with wrong counts and a wrong index" claims::seal;
    32 "refused" "a window cut inside one time, a boundary left out" omitted::window;
    33 "EQUIVOCATION" "two checkpoints of one size, both validly signed" holders::two_views;
    34 "note refused" "the grammar of a note bent in ten ways" holders::grammar;
    35 "WEAK_KEY" "a key of low order enrolled" holders::weak_key;
    36 "UNTRUSTED_KEY KEY_RETIRED" "a key-roll half signed, a retired key used" claims::roll;
    37 "rejected" "a receipt shown as a checkpoint, and the other way round" holders::confused;
    38 "TILE_MISMATCH" "a tile that lies" claims::tiles;
    39 "MALFORMED" "entries that can be read in two ways" claims::ambiguous;
    40 "refused" "JSON that can be read in two ways, or exhausts its reader" intake::json;
    41 "never ahead" "killed around every publication of a checkpoint" clones::ahead;
    42 "INCONSISTENT" "a cloned vault appends beside the first" clones::cloned;
    43 "index rebuilt" "the index deleted, damaged, or last week's" log::index;
    44 "escaped" "a value that would end its field in CEF or LEEF" intake::siem;
    45 "zero hits" "everything written and said searched for an erased person" forgetting::canary;
}

/// Makes the attacks with these numbers, or all if none is named, each below its own directory.
pub fn run(dir: &Path, only: &[u8], say: &mut dyn FnMut(&Outcome)) -> Vec<Outcome> {
    let wanted = |attack: &&Attack| only.is_empty() || only.contains(&attack.number);
    let made = ATTACKS.iter().filter(wanted).map(|attack| {
        let Attack { number, what, required, .. } = *attack;
        let own = dir.join(format!("attack-{number}"));
        let found = match (attack.run)(&own) {
            Ok(found) => found.0,
            Err(error) => format!("not carried out: {error:#}"),
        };
        let outcome = Outcome { number, what, required, found };
        say(&outcome);
        outcome
    });
    made.collect()
}
