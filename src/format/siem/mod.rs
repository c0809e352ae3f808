//! What SIEMs read: one record in, one line out, in CEF or LEEF.
//! It never decides what may leave the vault: it renders the record it is given, and of that only
//! what the mapping names and the grant allows. In doubt a value is left out and counted, and
//! one event stays one line whatever its values hold.

pub mod cef;
pub mod dictionary;
pub mod leef;
pub mod mapping;
pub mod source;
pub mod value;

use crate::base::entry::{Head, Kind};
use crate::base::event::vocabulary;
use std::borrow::Cow;

vocabulary! {
    /// The format of a line.
    Format {
        Cef = 0, "cef";
        Leef = 1, "leef";
    }
}

vocabulary! {
    /// How much of a person a line may show. There is no preset that shows everything.
    Preset {
        Tokens = 0, "tokens";
        Siem = 1, "siem";
        Named = 2, "named";
    }
}

vocabulary! {
    /// What becomes of `|` in a CEF extension value: it has no form that every parser reads.
    Pipe {
        Keep = 0, "keep";
        Replace = 1, "replace";
    }
}

/// What the caller knows beyond the record.
#[derive(Clone, Copy, Default, Debug)]
pub struct Context<'a> {
    /// Version of this product, for the header.
    pub version: &'a str,
    /// Name of the host the vault runs on.
    pub host: Option<&'a str>,
    /// Reference of the checkpoint that covers the record, e.g. `1043:<root in hex>`.
    pub checkpoint: Option<&'a str>,
}

/// What one destination was allowed and asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Sealed fields whose values its grant covers, by registry name. Empty = none.
    pub granted: &'a [&'a str],
    /// `|` in CEF extension values.
    pub pipe: Pipe,
}

impl Default for Options<'_> {
    /// Nothing granted; pipes as the standard has them.
    fn default() -> Self {
        Options { granted: &[], pipe: Pipe::Keep }
    }
}

/// How a line differs from the values it was made of. All zero = every value is there verbatim.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Substitutions {
    /// Control characters (TAB too) and Unicode line separators that became a space.
    pub controls: u64,
    /// Line breaks that became a space (in CEF values they are escaped instead: not counted).
    pub line_breaks: u64,
    /// LEEF delimiters that became a space.
    pub delimiters: u64,
    /// `|` that became `/`.
    pub pipes: u64,
    /// Values that lost white space at an end.
    pub trimmed: u64,
    /// Values cut to the length the key allows.
    pub truncated: u64,
    /// Values left out because they do not fit the key's type.
    pub unfit: u64,
    /// Address values cut to their prefix (preset `siem`).
    pub prefixed: u64,
    /// Sealed values there but not granted: left out.
    pub withheld: u64,
}

impl Substitutions {
    /// Changes to the text, without what masking took away.
    pub fn total(&self) -> u64 {
        self.controls
            + self.line_breaks
            + self.delimiters
            + self.pipes
            + self.trimmed
            + self.truncated
            + self.unfit
    }

    /// Adds the counts of another line.
    pub fn add(&mut self, other: &Substitutions) {
        self.controls += other.controls;
        self.line_breaks += other.line_breaks;
        self.delimiters += other.delimiters;
        self.pipes += other.pipes;
        self.trimmed += other.trimmed;
        self.truncated += other.truncated;
        self.unfit += other.unfit;
        self.prefixed += other.prefixed;
        self.withheld += other.withheld;
    }
}

/// Class id of an act of the vault; `None` for events. A finished act has the plain name, so that
/// a rule on `vault.erase` fires when the person is erased and not when it was asked for.
pub fn act_id(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Event => return None,
        Kind::EraseIntent => "vault.erase-intent",
        Kind::EraseDone => "vault.erase",
        Kind::EraseFinal => "vault.erase-final",
        Kind::PruneIntent => "vault.prune-intent",
        Kind::PruneDone => "vault.prune",
        Kind::Seal => "vault.seal",
        Kind::DaySeal => "vault.day-seal",
        Kind::KeyRoll => "vault.key-roll",
        Kind::HoldSet => "vault.hold-set",
        Kind::HoldRelease => "vault.hold-release",
        Kind::Disclose => "vault.disclose",
        Kind::Config => "vault.config",
        Kind::Scan => "vault.scan",
        Kind::Genesis => "vault.genesis",
        Kind::Conflict => "vault.conflict",
    })
}

/// Class id of a record: `category.verb`, or the act's id. Only `[a-z.-]`, so no parser's opinion
/// about escapes in this header field matters.
pub fn class_id(head: &Head) -> Cow<'static, str> {
    match act_id(head.kind) {
        Some(id) => Cow::Borrowed(id),
        None => Cow::Owned(head.code.to_string()),
    }
}

/// What a text becomes on the wire, before the escapes of its format.
#[derive(Clone, Copy, Debug)]
pub struct Cleaning {
    /// Most characters, counted before any escape.
    pub max: usize,
    /// Keep CR and LF, because the format can escape them.
    pub keep_breaks: bool,
    /// Turn `|` into `/`.
    pub replace_pipe: bool,
    /// Turn this character into a space.
    pub delimiter: Option<char>,
}

/// True for what could end or bend a line in some reader: C0, DEL, C1, and the two separators
/// that Unicode-aware line splitters cut at.
fn is_control(c: char) -> bool {
    c.is_control() || c == '\u{2028}' || c == '\u{2029}'
}

/// White space that stays literal on the wire: at the end of a value it would be lost.
fn is_loose(c: char) -> bool {
    c.is_whitespace() && c != '\n' && c != '\r'
}

/// Cleans a text as told, counts what it changed, and cuts at a character boundary. Reads no
/// more of the text than it needs. The result may be empty: such a value is left out.
pub fn clean(text: &str, rule: &Cleaning, count: &mut Substitutions) -> String {
    let mut out = String::with_capacity(text.len().min(rule.max.saturating_mul(4)));
    let (mut chars, mut trimmed, mut previous) = (0, false, '\0');
    for c in text.chars() {
        let was_cr = std::mem::replace(&mut previous, c) == '\r';
        let mapped = match c {
            '\n' | '\r' if rule.keep_breaks => c,
            // CR LF is one break.
            '\n' if was_cr => continue,
            '\n' | '\r' => {
                count.line_breaks += 1;
                ' '
            }
            c if Some(c) == rule.delimiter => {
                count.delimiters += 1;
                ' '
            }
            c if is_control(c) => {
                count.controls += 1;
                ' '
            }
            '|' if rule.replace_pipe => {
                count.pipes += 1;
                '/'
            }
            c => c,
        };
        if out.is_empty() && is_loose(mapped) {
            trimmed = true;
            continue;
        }
        if chars == rule.max {
            count.truncated += 1;
            break;
        }
        out.push(mapped);
        chars += 1;
    }
    let kept = out.trim_end_matches(is_loose).len();
    trimmed |= kept < out.len();
    out.truncate(kept);
    count.trimmed += u64::from(trimmed);
    out
}
