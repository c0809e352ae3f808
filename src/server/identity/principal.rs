//! Who asks, as every route sees it: a person in a session, or a token, on one tenant. It is made
//! by `directory` for one request and is true for that request only: what was taken back since
//! counts at the next. It never holds a secret.

use crate::base::id::DocumentId;
use crate::base::unit::{NANOS_PER_SECOND, UtcNanos};
use crate::policy::access::{HOME, Permission, Reach, Role, allows, breaks_glass};
use crate::policy::order::Actor;
use crate::server::identity::refused::Refused;
use std::collections::BTreeSet;

/// Nanoseconds for which a one-time code counts as fresh: 5 minutes (RFC 9470 `max_age=300`).
pub const STEP_UP_NANOS: u64 = 300 * NANOS_PER_SECOND;

/// A person or a machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Who {
    /// The person's document.
    Human(DocumentId),
    /// The token's document.
    Token(DocumentId),
}

impl Who {
    /// The document, whatever it is.
    pub fn document(self) -> DocumentId {
        match self {
            Who::Human(id) | Who::Token(id) => id,
        }
    }
}

/// A role that counts for this request, and the sources it is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The role.
    pub role: Role,
    /// Sources; none = all of the tenant.
    pub sources: Option<Vec<String>>,
}

/// The sources for which somebody has a permission.
#[must_use = "whoever is held to some sources may not act on all"]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// All of the tenant.
    All,
    /// These alone.
    Sources(BTreeSet<String>),
}

impl Scope {
    /// Whether a source is in it.
    pub fn has(&self, source: &str) -> bool {
        match self {
            Scope::All => true,
            Scope::Sources(sources) => sources.contains(source),
        }
    }
}

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Principal {
    /// Which person or token.
    pub who: Who,
    /// The login or the token's name, for the sealed fields of entries. Personal: no log line.
    pub name: String,
    /// The one tenant it is about.
    pub tenant: String,
    /// The roles there.
    pub held: Vec<Held>,
    /// When the person last sent a right one-time code; none for tokens.
    pub stepped_up: Option<UtcNanos>,
    /// In a break-glass session: until when.
    pub break_glass: Option<UtcNanos>,
}

impl std::fmt::Debug for Principal {
    /// No name.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Principal { who, tenant, break_glass, .. } = self;
        write!(f, "Principal({who:?} on {tenant}, {:?}, glass {break_glass:?})", self.roles())
    }
}

impl Principal {
    /// The roles, ascending.
    pub fn roles(&self) -> Vec<Role> {
        let roles: BTreeSet<Role> = self.held.iter().map(|held| held.role).collect();
        roles.into_iter().collect()
    }

    /// The name as entries have it: a token's never passes for a login.
    pub fn spoken(&self) -> String {
        let name = self.name.clone();
        match self.who {
            Who::Human(id) => Actor::Human { id, login: name },
            Who::Token(id) => Actor::Machine { id, name },
        }
        .spoken()
    }

    /// The document of the person.
    ///
    /// # Errors
    /// `HumansOnly` for a token.
    pub fn human(&self) -> Result<DocumentId, Refused> {
        match self.who {
            Who::Human(id) => Ok(id),
            Who::Token(_) => Err(Refused::HumansOnly),
        }
    }

    /// Whether it may, on the whole tenant.
    ///
    /// # Errors
    /// `Forbidden`, or `HumansOnly` for what no machine may.
    pub fn may(&self, permission: Permission) -> Result<(), Refused> {
        match self.scope(permission)? {
            Scope::All => Ok(()),
            Scope::Sources(_) => Err(Refused::Forbidden { permission }),
        }
    }

    /// The sources for which it may.
    ///
    /// # Errors
    /// As `may`, but not for whoever is held to some sources.
    pub fn scope(&self, permission: Permission) -> Result<Scope, Refused> {
        let refused = Refused::Forbidden { permission };
        if permission == Permission::OrdersApprove {
            self.human()?;
        }
        if permission.reach() == Reach::Service && self.tenant != HOME {
            return Err(refused);
        }
        if self.break_glass.is_some() {
            return if breaks_glass(permission) { Ok(Scope::All) } else { Err(refused) };
        }
        let mut sources: Option<BTreeSet<String>> = None;
        for held in self.held.iter().filter(|held| allows(held.role, permission)) {
            match &held.sources {
                None => return Ok(Scope::All),
                Some(own) => sources.get_or_insert_default().extend(own.iter().cloned()),
            }
        }
        sources.map(Scope::Sources).ok_or(refused)
    }

    /// Whether a fresh one-time code stands behind it.
    ///
    /// # Errors
    /// `HumansOnly` for a token, `StepUpRequired`.
    pub fn fresh(&self, now: UtcNanos) -> Result<DocumentId, Refused> {
        let human = self.human()?;
        let fresh = |at: UtcNanos| now.0.saturating_sub(at.0) <= STEP_UP_NANOS;
        match self.stepped_up.is_some_and(fresh) {
            true => Ok(human),
            false => Err(Refused::StepUpRequired),
        }
    }
}
