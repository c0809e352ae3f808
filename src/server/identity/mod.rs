//! Who is there: people, tokens, sessions, and what each may do. People and tokens are documents of
//! the system tenant's vault; `directory` is the view of them that every request asks, built when
//! the service starts and changed only once a change is durable.
//!
//! Plain functions all of them: the instant, the entropy and the vault are arguments. It never
//! sees HTTP, never reads a clock, and never keeps or prints a secret: what is kept of a token is a
//! keyed hash, of a password an Argon2id hash. The shared secret of one-time codes must be kept as
//! it is, in a document whose body no reader of records gets.

pub mod directory;
pub mod enrolment;
pub mod founding;
pub mod glass;
pub mod human;
pub mod password;
pub mod principal;
pub mod refused;
pub mod session;
pub mod stamp;
pub mod throttle;
pub mod token;
pub mod totp;

use crate::base::event::Identifier;
use crate::base::id::DocumentId;
use crate::base::unit::UtcNanos;
use crate::base::world::Entropy;
use crate::vault::Vault;

/// What an act needs from outside.
#[derive(Clone, Copy)]
pub struct Hands<'a> {
    /// The vault of the system tenant.
    pub system: &'a Vault,
    /// Randomness.
    pub entropy: &'a dyn Entropy,
    /// The vault's time.
    pub now: UtcNanos,
    /// Nanoseconds before somebody new, or with a new factor or grant, may approve: the rule in
    /// force says how many.
    pub cooling_off: u64,
}

impl Hands<'_> {
    /// The clock on the wall, by which authenticator programs make their codes.
    pub fn wall(&self) -> UtcNanos {
        self.system.clock().wall()
    }

    /// An instant so many nanoseconds from now.
    pub fn later(&self, nanos: u64) -> UtcNanos {
        UtcNanos(self.now.0.saturating_add(nanos))
    }
}

/// The identifier under whose keys everything about a person of the service is sealed: the random
/// name of the person's document, so that an erasure reaches it and a login says nothing.
pub fn account(human: DocumentId) -> Identifier {
    Identifier { kind: "account".into(), value: human.to_string().into() }
}
