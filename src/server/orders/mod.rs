//! Orders of one tenant: what waits for people, what they said, and the executor. Each order is two
//! documents of the registry: the order itself, which names nobody it is about and outlives their
//! erasure, and the act, sealed to whom it is about. A step counts once its version is durable.
//!
//! `book` files and lets people decide, `execute` does what was approved, `rules` keeps the rule
//! of each tenant. Everything is synchronous; the instant is an argument and is log time
//! (`Vault::clock`), so that no wall clock ends a rest. It never decides who somebody is: the
//! caller says so with a `Party`.

pub mod book;
pub mod execute;
pub mod rules;

mod paper;

use crate::base::id::{DocumentId, JobId};
use crate::base::refusal::Refusal;
use crate::base::unit::EntryIndex;
use crate::policy::order::Order;
use crate::policy::order::act::Act;
use crate::vault::error::{Error, Result as VaultResult};
use std::fmt;

/// Open orders of one tenant at most: each takes about 2 KiB of memory, 20 MiB in all.
pub const ORDERS_OPEN_MAX: usize = 10_000;

/// An order with its place in the registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Its name.
    pub id: DocumentId,
    /// Version of its document.
    pub version: u64,
    /// Entry of that version.
    pub index: EntryIndex,
    /// The order.
    pub order: Order,
}

/// An act about people, on its way to whoever keeps them.
pub struct Ordered<'a> {
    /// The order: what it did is done at most once for each, also after a crash in between.
    pub order: DocumentId,
    /// Record that a made human gets, so that a second attempt finds the first.
    pub job: JobId,
    /// The act.
    pub act: &'a Act,
    /// The whole story, for whoever has to name people.
    pub story: &'a Order,
}

/// Carries out an act about people. It may be asked again for the same order after a crash, and
/// then answers what was done.
pub type CarryOut<'a> = dyn Fn(&Ordered<'_>) -> VaultResult<Option<EntryIndex>> + 'a;

/// What keeps people, as far as orders need it.
#[derive(Clone, Copy)]
pub struct People<'a> {
    /// Whether an act could be carried out, before anybody is asked to approve it.
    pub fits: &'a dyn Fn(&Act) -> std::result::Result<(), Refusal>,
    /// Carries one out.
    pub carry_out: &'a CarryOut<'a>,
}

/// Which acts a book takes, and who carries out those that are not the vault's.
#[derive(Clone, Copy)]
pub enum Hands<'a> {
    /// Acts on the tenant's own records.
    Tenant,
    /// Acts on people, tokens and rules. Without people only rules.
    System(Option<People<'a>>),
}

/// Why a verb of the book did not do what was asked.
#[derive(Debug)]
pub enum Trouble {
    /// The order or the people do not allow it.
    Refused(Refusal),
    /// The vault.
    Vault(Error),
}

impl Trouble {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Trouble::Refused(refusal) => refusal.code,
            Trouble::Vault(error) => error.code(),
        }
    }

    /// HTTP status of a refusal of an order; nothing for what the vault says.
    pub fn status(&self) -> Option<u16> {
        let Trouble::Refused(refusal) = self else { return None };
        Some(match refusal.code {
            "STEP_UP_STALE" => 401,
            "APPROVER_MACHINE" | "APPROVER_IS_REQUESTER" | "APPROVER_ROLE" => 403,
            "APPROVER_TOO_NEW" | "ORDER_NOT_YOURS" => 403,
            "APPROVER_TWICE" | "ORDER_CHANGED" | "ORDER_STATE" | "ORDER_EXPIRED" => 409,
            "ORDER_COOLING" | "ORDER_RULE" | "ORDER_MISSTEP" => 409,
            "LAST_ADMIN" => 409,
            "ORDERS_TOO_MANY" => 429,
            _ => 422,
        })
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Trouble::Refused(refusal)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Vault(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Refused(refusal) => refusal.fmt(f),
            Trouble::Vault(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Trouble {}

/// Result of a verb of the book.
pub type Result<T> = std::result::Result<T, Trouble>;
