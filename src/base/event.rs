//! An event: what a source says happened, parsed and classified, ready to be sealed.
//! `Draft -> Event -> Sealed -> Entry -> Durable`: a `Draft` is bytes, an `Event` has passed the
//! field registry, so whatever it holds may be stored as it says. It never holds key material.

use crate::base::subjects::SubjectSet;
use crate::base::unit::{ClassId, UtcNanos};
use crate::base::word::Word;
use std::borrow::Cow;
use std::sync::Arc;

/// Declares a closed vocabulary with stable byte values and names.
macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $value:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum $name { $(#[doc = $text] $variant = $value,)* }

        impl $name {
            /// Every word of the vocabulary, in order of value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stored byte.
            pub fn value(self) -> u8 {
                self as u8
            }

            /// The word of a stored byte.
            pub fn from_value(value: u8) -> Option<Self> {
                match value { $($value => Some(Self::$variant),)* _ => None }
            }

            /// The word as text.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The word with this text.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
pub(crate) use vocabulary;

vocabulary! {
    /// What area of life an event belongs to: the high byte of an event code.
    Category {
        Other = 0, "other";
        Authentication = 1, "authentication";
        Authorization = 2, "authorization";
        Identity = 3, "identity";
        Access = 4, "access";
        Data = 5, "data";
        Configuration = 6, "configuration";
        Process = 7, "process";
        Network = 8, "network";
        File = 9, "file";
        Session = 10, "session";
        Key = 11, "key";
        Database = 12, "database";
        Application = 13, "application";
        System = 14, "system";
        Detection = 15, "detection";
        Vault = 16, "vault";
    }
}

vocabulary! {
    /// What was done: the low byte of an event code.
    Verb {
        Other = 0, "other";
        Create = 1, "create";
        Read = 2, "read";
        Update = 3, "update";
        Delete = 4, "delete";
        List = 5, "list";
        Login = 6, "login";
        Logout = 7, "logout";
        Grant = 8, "grant";
        Revoke = 9, "revoke";
        Execute = 10, "execute";
        Start = 11, "start";
        Stop = 12, "stop";
        Connect = 13, "connect";
        Disconnect = 14, "disconnect";
        Export = 15, "export";
        Import = 16, "import";
        Disclose = 17, "disclose";
        Approve = 18, "approve";
        Deny = 19, "deny";
        Enable = 20, "enable";
        Disable = 21, "disable";
        Encrypt = 22, "encrypt";
        Decrypt = 23, "decrypt";
        Rotate = 24, "rotate";
        Verify = 25, "verify";
        Print = 26, "print";
        Erase = 27, "erase";
        Retain = 28, "retain";
        Hold = 29, "hold";
        Release = 30, "release";
        Alert = 31, "alert";
    }
}

vocabulary! {
    /// How it ended, as the source says.
    Outcome {
        Unknown = 0, "unknown";
        Success = 1, "success";
        Failure = 2, "failure";
        Denied = 3, "denied";
        Error = 4, "error";
    }
}

/// Category and verb together: the closed, clear description of what happened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventCode {
    /// High byte.
    pub category: Category,
    /// Low byte.
    pub verb: Verb,
}

impl EventCode {
    /// The stored number: `category << 8 | verb`.
    pub fn value(self) -> u16 {
        u16::from(self.category.value()) << 8 | u16::from(self.verb.value())
    }

    /// The code of a stored number.
    pub fn from_value(value: u16) -> Option<Self> {
        let [category, verb] = value.to_be_bytes();
        Some(EventCode { category: Category::from_value(category)?, verb: Verb::from_value(verb)? })
    }

    /// Parses `category.verb`.
    pub fn parse(text: &str) -> Option<Self> {
        let (category, verb) = text.split_once('.')?;
        Some(EventCode { category: Category::from_name(category)?, verb: Verb::from_name(verb)? })
    }
}

impl std::fmt::Display for EventCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.category, self.verb)
    }
}

/// Severity from 0 (nothing) to 10 (worst), as in CEF.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Severity(u8);

impl Severity {
    /// A severity of at most 10.
    pub fn new(value: u8) -> Option<Self> {
        (value <= 10).then_some(Severity(value))
    }

    /// The number.
    pub fn value(self) -> u8 {
        self.0
    }
}

/// Bytes from a source, not yet looked at.
#[derive(Clone, Copy)]
pub struct Draft<'a> {
    /// Name of the source; it selects the mapping in `policies/sources/`.
    pub source: &'a str,
    /// One JSON text.
    pub json: &'a [u8],
}

impl std::fmt::Debug for Draft<'_> {
    /// The size only: nobody has looked at the values yet.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Draft({}, {} bytes)", self.source, self.json.len())
    }
}

/// An identifier of a person, normalised as the registry says for its kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier {
    /// Kind, e.g. `email`, `user_id`, `phone`; lower case, from the registry.
    pub kind: Word,
    /// Normalised value.
    pub value: Box<str>,
}

impl std::fmt::Debug for Identifier {
    /// The kind only: a value is personal data and belongs in no log line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identifier({}:..)", self.kind)
    }
}

/// One person an event names, by one or more identifiers that belong together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject {
    /// At least one; all of them are linked to one person.
    pub identifiers: Vec<Identifier>,
}

/// One sealed field.
#[derive(Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// Registry name, e.g. `actor.email`; `data` for the rest.
    pub name: Word,
    /// A JSON text: the exact bytes received.
    pub value: Cow<'a, [u8]>,
}

impl std::fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Field({}, {} bytes)", self.name, self.value.len())
    }
}

/// Fields of one event with the same subjects: sealed together, shredded together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group<'a> {
    /// Whom they are about; nobody = sealed to the tenant.
    pub subjects: SubjectSet,
    /// Fields, ascending by name.
    pub fields: Vec<Field<'a>>,
}

/// What the source counts or names, for finding duplicates.
#[derive(Clone, PartialEq, Eq)]
pub enum Dedupe<'a> {
    /// The source numbers its events without gaps.
    Sequence(u64),
    /// The source gives each event an id.
    EventId(Cow<'a, [u8]>),
    /// Neither: at least once, and reports say so.
    None,
}

impl std::fmt::Debug for Dedupe<'_> {
    /// No event id: a source may have put anything into it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Dedupe::Sequence(number) => write!(f, "Sequence({number})"),
            Dedupe::EventId(id) => write!(f, "EventId({} bytes)", id.len()),
            Dedupe::None => f.write_str("None"),
        }
    }
}

/// A validated, classified event.
#[derive(Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// Time the source claims; 0 = none.
    pub time: UtcNanos,
    /// Name of the source.
    pub source: Arc<str>,
    /// Duplicate key.
    pub dedupe: Dedupe<'a>,
    /// What happened.
    pub code: EventCode,
    /// How it ended.
    pub outcome: Outcome,
    /// How grave it is.
    pub severity: Severity,
    /// Retention class.
    pub class: ClassId,
    /// RFC 8785 JSON object of registered, non-personal fields; empty = none.
    pub clear: Vec<u8>,
    /// The persons the event names.
    pub subjects: Vec<Subject>,
    /// Sealed fields by subjects; no two groups have the same subjects.
    pub groups: Vec<Group<'a>>,
}

impl std::fmt::Debug for Event<'_> {
    /// What it is, never what it says: shapes, codes and counts.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("source", &self.source)
            .field("dedupe", &self.dedupe)
            .field("code", &self.code)
            .field("outcome", &self.outcome)
            .field("class", &self.class)
            .field("clear_bytes", &self.clear.len())
            .field("subjects", &self.subjects)
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}
