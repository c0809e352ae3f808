//! Where a value of a line comes from: the closed list of facts, and the five kinds of source.
//! It only names places in a record; `value.rs` reads them and decides what may be shown.

use crate::base::event::vocabulary;
use crate::base::refusal::Refusal;

vocabulary! {
    /// What a line may state about a record beyond its fields.
    Fact {
        Index = 0, "index";
        Record = 1, "record";
        Leaf = 2, "leaf";
        Prev = 3, "prev";
        Checkpoint = 4, "checkpoint";
        Kind = 5, "kind";
        Category = 6, "category";
        Verb = 7, "verb";
        Code = 8, "code";
        ClassId = 9, "class-id";
        Outcome = 10, "outcome";
        Severity = 11, "severity";
        Class = 12, "class";
        Tenant = 13, "tenant";
        Source = 14, "source";
        SourceHandle = 15, "source.handle";
        SourceSeq = 16, "source.seq";
        EventId = 17, "event-id-tag";
        TimeEvent = 18, "time.event";
        TimeLog = 19, "time.log";
        Host = 20, "host";
        Tokens = 21, "tokens";
        Status = 22, "status";
        Name = 23, "name";
    }
}

impl Fact {
    /// Characters the fact always has, where that is fixed.
    pub(crate) fn chars(self) -> Option<usize> {
        match self {
            Fact::Leaf | Fact::Prev => Some(64),
            Fact::Record | Fact::Tenant | Fact::SourceHandle | Fact::EventId => Some(32),
            _ => None,
        }
    }

    /// Whether every record has it, and a key that takes it therefore is on every line.
    pub(crate) fn is_total(self) -> bool {
        matches!(
            self,
            Fact::Index
                | Fact::Record
                | Fact::Leaf
                | Fact::Kind
                | Fact::Category
                | Fact::Verb
                | Fact::Code
                | Fact::ClassId
                | Fact::Outcome
                | Fact::Severity
                | Fact::Class
                | Fact::Tenant
                | Fact::TimeLog
                | Fact::Status
                | Fact::Name
        )
    }
}

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// `fact:NAME`: the entry's head, its place, the caller's context.
    Fact(Fact),
    /// `clear:NAME`: a member of the clear object, by name or by dotted path.
    Clear(String),
    /// `sealed:NAME`: an opened field; only with a grant and a preset above `tokens`.
    Sealed(String),
    /// `token:NAME`: the pseudonym of the one person whom the field NAME, or the first field
    /// `NAME.*`, is sealed for.
    Token(String),
    /// `constant:TEXT`.
    Constant(String),
}

/// Parses one source; `key` is for the refusal only.
pub(crate) fn parse(key: &str, text: &str) -> Result<Source, Refusal> {
    let refuse = |code, fix| Err(Refusal::new(code, fix).field(key));
    let is_name = |name: &str| {
        (1..=64).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':'))
    };
    match text.split_once(':') {
        Some(("fact", name)) => match Fact::from_name(name) {
            Some(fact) => Ok(Source::Fact(fact)),
            None => refuse("SIEM_FACT_UNKNOWN", "docs/siem.md lists the facts"),
        },
        Some(("clear", name)) if is_name(name) => Ok(Source::Clear(name.to_owned())),
        Some(("sealed", name)) if is_name(name) => Ok(Source::Sealed(name.to_owned())),
        Some(("token", name)) if is_name(name) => Ok(Source::Token(name.to_owned())),
        Some(("constant", value)) if !value.trim().is_empty() => {
            Ok(Source::Constant(value.to_owned()))
        }
        _ => refuse("SIEM_SOURCE_UNKNOWN", "use fact:, clear:, sealed:, token: or constant:"),
    }
}
