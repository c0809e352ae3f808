//! Why a verb did not do what was asked, by what the caller can do about it.
//! It never carries a value of an event, a key or an identifier.

use crate::base::id::CaseId;
use crate::base::refusal::Refusal;
use crate::base::unit::EntryIndex;
use crate::format::wire::Malformed;
use crate::store;
use std::fmt;

/// A thread that the system refuses.
pub(crate) const NO_THREAD: &str = "NO_THREAD: the system gives no thread";

/// A verb's failure.
#[derive(Debug)]
pub enum Error {
    /// The input is wrong; `position` is the event's place in its batch.
    Invalid {
        /// Place in the batch, from 0.
        position: usize,
        /// What and why.
        refusal: Refusal,
    },
    /// The vault's rules forbid it.
    Denied {
        /// Stable code.
        code: &'static str,
        /// What to do.
        fix: String,
    },
    /// Nothing of that name is there (the same answer for what never was and what was forgotten).
    NotFound {
        /// Stable code.
        code: &'static str,
    },
    /// It contradicts what is there.
    Conflict {
        /// Stable code.
        code: &'static str,
        /// The entry that was there first.
        first: Option<EntryIndex>,
        /// What to do.
        fix: String,
    },
    /// A legal hold covers it.
    Held {
        /// The cases.
        cases: Vec<CaseId>,
    },
    /// Too much at once: try again after the time given.
    Overloaded,
    /// The store failed; what was acknowledged is safe.
    Unavailable(store::error::Error),
    /// Something stored is not what it must be.
    Evidence {
        /// Named verdict.
        verdict: &'static str,
        /// Where and why.
        detail: String,
    },
}

/// Result of a verb.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Refuses a single input.
    pub fn invalid(refusal: Refusal) -> Self {
        Error::Invalid { position: 0, refusal }
    }

    /// A rule forbids it.
    pub fn denied(code: &'static str, fix: impl Into<String>) -> Self {
        Error::Denied { code, fix: fix.into() }
    }

    /// Named evidence that something is wrong.
    pub fn evidence(verdict: &'static str, detail: impl Into<String>) -> Self {
        Error::Evidence { verdict, detail: detail.into() }
    }

    /// Stable code of the failure.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Invalid { refusal, .. } => refusal.code,
            Error::Denied { code, .. }
            | Error::NotFound { code }
            | Error::Conflict { code, .. } => code,
            Error::Held { .. } => "HOLD_BLOCKED",
            Error::Overloaded => "OVERLOADED",
            Error::Evidence { verdict, .. } => verdict,
            Error::Unavailable(e) => match e.kind {
                store::error::ErrorKind::Io => "STORE_IO",
                store::error::ErrorKind::Corrupt => "STORE_CORRUPT",
                store::error::ErrorKind::Full => "STORE_FULL",
                store::error::ErrorKind::Locked => "STORE_LOCKED",
                store::error::ErrorKind::Missing => "STORE_MISSING",
                store::error::ErrorKind::TooNew => "STORE_TOO_NEW",
                store::error::ErrorKind::Poisoned => "STORE_POISONED",
            },
        }
    }
}

impl From<store::error::Error> for Error {
    fn from(error: store::error::Error) -> Self {
        Error::Unavailable(error)
    }
}

impl From<Malformed> for Error {
    fn from(error: Malformed) -> Self {
        Error::Evidence { verdict: "MALFORMED", detail: error.to_string() }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::invalid(refusal)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid { position, refusal } => write!(f, "event {position}: {refusal}"),
            Error::Denied { code, fix } => write!(f, "{code}: {fix}"),
            Error::NotFound { code } => write!(f, "{code}: nothing of that name is here"),
            Error::Conflict { code, first: Some(first), fix } => {
                write!(f, "{code}: entry {first} was there first; {fix}")
            }
            Error::Conflict { code, first: None, fix } => write!(f, "{code}: {fix}"),
            Error::Held { cases } => {
                let cases: Vec<String> = cases.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "HOLD_BLOCKED: covered by legal hold {}; release it first",
                    cases.join(", ")
                )
            }
            Error::Overloaded => {
                write!(f, "OVERLOADED: too many events in flight; retry after 1 s")
            }
            Error::Unavailable(e) => write!(f, "{}: {e}", self.code()),
            Error::Evidence { verdict, detail } => write!(f, "{verdict}: {detail}"),
        }
    }
}

impl std::error::Error for Error {}
