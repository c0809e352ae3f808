//! Why somebody was not let in or not let do something: a closed list with stable codes. It never
//! says more to a stranger than that he is one: who has an account, and what was wrong about a
//! login, is nobody's to learn.

use crate::base::refusal::Refusal;
use crate::base::unit::UtcNanos;
use crate::policy::access::Permission;
use crate::vault::error::Error as VaultError;
use std::fmt;

/// A refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Nobody known: no credential, an unknown or a wrong one.
    Unauthenticated,
    /// The token is right and its time is over.
    TokenExpired,
    /// The token is right and was revoked.
    TokenRevoked,
    /// The session is over, or never was.
    SessionEnded,
    /// Known, and may not.
    Forbidden {
        /// What it would need.
        permission: Permission,
    },
    /// Known, and no machine may do it.
    HumansOnly,
    /// Known, and a fresh one-time code is needed first.
    StepUpRequired,
    /// Too many wrong attempts; the next one counts only after some time.
    Throttled {
        /// Whole seconds.
        seconds: u64,
    },
    /// Too many passwords are being checked at once.
    Overloaded,
    /// No such invitation, or it was used, or its time is over.
    EnrolmentRefused,
    /// The first one-time code is not right.
    EnrolmentCode,
    /// A new approver, or one with a new factor or grant, may not approve yet.
    CoolingOff {
        /// From when on.
        until: UtcNanos,
    },
    /// Nothing of that name is there for the asker.
    Unknown {
        /// `HUMAN_UNKNOWN`, `TOKEN_UNKNOWN`, `TENANT_UNKNOWN`, `REVIEW_UNKNOWN`.
        code: &'static str,
    },
    /// What was asked contradicts what is there.
    Conflict {
        /// Stable code.
        code: &'static str,
        /// What to do.
        fix: &'static str,
    },
    /// What was asked is not well formed.
    Invalid(Refusal),
}

impl Refused {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Refused::Unauthenticated => "UNAUTHENTICATED",
            Refused::TokenExpired => "TOKEN_EXPIRED",
            Refused::TokenRevoked => "TOKEN_REVOKED",
            Refused::SessionEnded => "SESSION_ENDED",
            Refused::Forbidden { .. } => "FORBIDDEN",
            Refused::HumansOnly => "HUMANS_ONLY",
            Refused::StepUpRequired => "STEP_UP_REQUIRED",
            Refused::Throttled { .. } => "LOGIN_THROTTLED",
            Refused::Overloaded => "OVERLOADED",
            Refused::EnrolmentRefused => "ENROLMENT_REFUSED",
            Refused::EnrolmentCode => "ENROLMENT_CODE",
            Refused::CoolingOff { .. } => "COOLING_OFF",
            Refused::Unknown { code } | Refused::Conflict { code, .. } => code,
            Refused::Invalid(refusal) => refusal.code,
        }
    }

    /// Whole seconds after which it may be tried again, where that helps.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Refused::Throttled { seconds } => Some(*seconds),
            Refused::Overloaded => Some(1),
            _ => None,
        }
    }

    /// A refusal of one field.
    pub fn field(code: &'static str, field: &str, fix: &'static str) -> Self {
        Refused::Invalid(Refusal::new(code, fix).field(field))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fix = match self {
            Refused::Invalid(refusal) => return refusal.fmt(f),
            Refused::Forbidden { permission } => {
                return write!(f, "FORBIDDEN: needs the permission {permission}");
            }
            Refused::Throttled { seconds } => {
                return write!(f, "LOGIN_THROTTLED: wait {seconds} s before the next attempt");
            }
            Refused::CoolingOff { until } => {
                return write!(f, "COOLING_OFF: may approve from {until} on");
            }
            Refused::Conflict { fix, .. } => fix,
            Refused::Unauthenticated => "nobody with these credentials",
            Refused::TokenExpired => "the token's time is over: issue another",
            Refused::TokenRevoked => "the token was revoked",
            Refused::SessionEnded => "log in again",
            Refused::HumansOnly => "a person must do this, logged in; no token may",
            Refused::StepUpRequired => "send a fresh one-time code first",
            Refused::Overloaded => "too many logins at once: try again after 1 s",
            Refused::EnrolmentRefused => "no invitation of that name is open: ask for another",
            Refused::EnrolmentCode => "the code is not right: compare clocks and try the next one",
            Refused::Unknown { .. } => "nothing of that name is here",
        };
        write!(f, "{}: {fix}", self.code())
    }
}

impl std::error::Error for Refused {}

/// An act of identity that failed: refused, or by the vault.
#[derive(Debug)]
pub enum Error {
    /// Refused.
    Refused(Refused),
    /// The vault could not.
    Vault(VaultError),
}

/// Result of an act of identity.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Refused(refused) => refused.code(),
            Error::Vault(error) => error.code(),
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Error::Refused(refused)
    }
}

impl From<VaultError> for Error {
    fn from(error: VaultError) -> Self {
        Error::Vault(error)
    }
}

/// For whoever carries out orders, which are the vault's and name no person.
impl From<Error> for VaultError {
    fn from(error: Error) -> Self {
        match error {
            Error::Vault(error) => error,
            Error::Refused(Refused::Invalid(refusal)) => VaultError::invalid(refusal),
            Error::Refused(Refused::Overloaded) => VaultError::Overloaded,
            Error::Refused(refused) => {
                let said = refused.to_string();
                let fix = said.split_once(": ").map_or(said.as_str(), |(_, fix)| fix);
                VaultError::denied(refused.code(), fix)
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused(refused) => refused.fmt(f),
            Error::Vault(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}
