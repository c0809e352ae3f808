//! The words of an order's story: who does something, what happened, where that leaves it. What may
//! follow what is the order's own to say.

use crate::base::id::{DocumentId, Hash32};
use crate::base::unit::{EntryIndex, UtcNanos};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Somebody who does something to an order.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Actor {
    /// A human: one record, however they logged in.
    Human {
        /// The record.
        id: DocumentId,
        /// What they were called then.
        login: String,
    },
    /// A token: it may ask, never approve.
    Machine {
        /// Its record.
        id: DocumentId,
        /// What it was called then.
        name: String,
    },
    /// Whoever works at the machine's own console, by the name they gave themselves.
    Console {
        /// That name.
        name: String,
    },
    /// The service itself.
    Service,
}

impl Actor {
    /// The record of a human.
    pub fn human(&self) -> Option<DocumentId> {
        match self {
            Actor::Human { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// What they were called.
    pub fn name(&self) -> &str {
        match self {
            Actor::Human { login: name, .. }
            | Actor::Machine { name, .. }
            | Actor::Console { name } => name,
            Actor::Service => "service",
        }
    }

    /// The name as an entry of the vault has it, which says what is no person; the record instead
    /// of a name that could be taken for another.
    pub fn spoken(&self) -> String {
        let name = self.name();
        let plain = |b: u8| b.is_ascii_graphic() || b == b' ';
        let fits = name.len() <= 64 && !name.trim().is_empty() && name.bytes().all(plain);
        let fits = fits && !name.contains("  ");
        match self {
            Actor::Human { .. } if fits => name.to_owned(),
            Actor::Human { id, .. } => format!("human {id}"),
            Actor::Machine { .. } if fits => format!("token {name}"),
            Actor::Machine { id, .. } => format!("token {id}"),
            Actor::Console { .. } if fits => format!("console {name}"),
            Actor::Console { .. } => "console".to_owned(),
            Actor::Service => "service".to_owned(),
        }
    }
}

impl fmt::Debug for Actor {
    /// No names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Human { id, .. } => write!(f, "Human({id})"),
            Actor::Machine { id, .. } => write!(f, "Machine({id})"),
            Actor::Console { .. } => f.write_str("Console"),
            Actor::Service => f.write_str("Service"),
        }
    }
}

/// Somebody at the door, with what the views say of them at this instant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Party {
    /// Who.
    pub actor: Actor,
    /// Whether they are approver on every tenant the order is about.
    pub approver: bool,
    /// Not before this may they approve: they are new, or were reset.
    pub approver_from: UtcNanos,
    /// When they last gave a one-time code.
    pub code_at: Option<UtcNanos>,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// It was asked for.
    Filed,
    /// Somebody approved what has this hash.
    Approved {
        /// The hash they saw.
        hash: Hash32,
        /// When they had given their last one-time code.
        code_at: UtcNanos,
    },
    /// Somebody who may approve said no.
    Rejected,
    /// Who asked does not any more.
    Withdrawn,
    /// Nobody approved in time.
    Expired,
    /// The service begins.
    Executing,
    /// It is done.
    Executed {
        /// The entry that says so, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<EntryIndex>,
    },
    /// It was not done, and will not be.
    Failed {
        /// Stable code.
        code: String,
    },
    /// Somebody tried what they may not; nothing changed.
    Refused {
        /// `approve`, `reject` or `withdraw`.
        tried: String,
        /// Stable code.
        code: String,
    },
}

/// One step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When; steps ascend.
    pub at: UtcNanos,
    /// Who.
    pub by: Actor,
    /// What.
    pub what: What,
}

/// Where an order stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// Approvals are missing.
    Filed,
    /// It has all approvals it needs, since then; it rests.
    Approved {
        /// Since when.
        since: UtcNanos,
    },
    /// The service is at it.
    Executing,
    /// Done.
    Executed {
        /// The entry that says so.
        entry: Option<EntryIndex>,
    },
    /// Not done.
    Failed {
        /// Stable code.
        code: String,
    },
    /// Somebody said no.
    Rejected,
    /// Who asked does not any more.
    Withdrawn,
    /// Nobody approved in time.
    Expired,
}

impl State {
    /// Whether anything can still happen.
    pub fn is_open(&self) -> bool {
        matches!(self, State::Filed | State::Approved { .. } | State::Executing)
    }

    /// Its name, as its JSON has it.
    pub fn name(&self) -> &'static str {
        match self {
            State::Filed => "filed",
            State::Approved { .. } => "approved",
            State::Executing => "executing",
            State::Executed { .. } => "executed",
            State::Failed { .. } => "failed",
            State::Rejected => "rejected",
            State::Withdrawn => "withdrawn",
            State::Expired => "expired",
        }
    }
}

/// How an execution ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// Done; the entry that says so, where there is one.
    Done(Option<EntryIndex>),
    /// Not done, and it will not be: stable code.
    Failed(&'static str),
}
