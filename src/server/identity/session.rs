//! Sessions: in memory, gone with the process. What is kept of a cookie is its hash, so a table
//! that leaks lets nobody in. A session has a new name after every login and every step-up, so a
//! name that somebody planted or saw before is worth nothing. It never knows what a person may do:
//! that is looked up at every request.

use crate::base::id::{DocumentId, Hash32, hex, unhex};
use crate::base::unit::{NANOS_PER_SECOND, UtcNanos};
use crate::base::world::{Entropy, random};
use crate::crypto::hash::sha256;
use crate::server::identity::refused::Refused;
use std::collections::HashMap;
use std::fmt;
use zeroize::Zeroizing;

/// Sessions in all: 10,000 x about 300 bytes = 3 MiB.
pub const SESSIONS_MAX: usize = 10_000;
/// Sessions of one person.
pub const SESSIONS_OF_ONE_MAX: usize = 16;
/// Nanoseconds without a request after which a session is over: 15 minutes.
pub const IDLE_NANOS: u64 = 15 * 60 * NANOS_PER_SECOND;
/// Nanoseconds after which a session is over in any case: 8 hours.
pub const WHOLE_NANOS: u64 = 8 * 3_600 * NANOS_PER_SECOND;

/// A cookie's value; shown once.
pub struct Cookie(Zeroizing<String>);

impl Cookie {
    fn make(entropy: &dyn Entropy) -> Self {
        let bytes = Zeroizing::new(random::<32>(entropy));
        Cookie(Zeroizing::new(hex(&*bytes)))
    }

    /// The value, for the one `Set-Cookie` that carries it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn key(text: &str) -> Option<Hash32> {
        unhex::<32>(text).map(Zeroizing::new).map(|bytes| sha256(&[&*bytes]))
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(..)")
    }
}

/// A session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Whose.
    pub human: DocumentId,
    /// On which tenant.
    pub tenant: String,
    /// Since when.
    pub opened: UtcNanos,
    /// Last request.
    pub seen: UtcNanos,
    /// Last right one-time code.
    pub stepped_up: UtcNanos,
    /// In a break-glass session: until when.
    pub break_glass: Option<UtcNanos>,
}

impl Session {
    /// The last instant at which it counts if nobody asks any more.
    fn ends(&self) -> UtcNanos {
        let idle = self.seen.0.saturating_add(IDLE_NANOS);
        let whole = self.opened.0.saturating_add(WHOLE_NANOS);
        UtcNanos(idle.min(whole).min(self.break_glass.map_or(u64::MAX, |until| until.0)))
    }

    /// Whether it is over.
    pub fn is_over(&self, now: UtcNanos) -> bool {
        now >= self.ends()
    }
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    by_key: HashMap<Hash32, Session>,
}

impl Sessions {
    /// Opens one. Beyond the limits the one that was idle longest leaves, that of the same person
    /// first.
    pub fn open(&mut self, session: Session, entropy: &dyn Entropy) -> Cookie {
        let (now, human) = (session.seen, session.human);
        self.by_key.retain(|_, session| !session.is_over(now));
        self.make_room(SESSIONS_OF_ONE_MAX, |session| session.human == human);
        self.make_room(SESSIONS_MAX, |_| true);
        let cookie = Cookie::make(entropy);
        if let Some(key) = Cookie::key(&cookie.0) {
            self.by_key.insert(key, session);
        }
        cookie
    }

    fn make_room(&mut self, most: usize, counts: impl Fn(&Session) -> bool) {
        let counted = || self.by_key.iter().filter(|(_, session)| counts(session));
        if counted().count() < most {
            return;
        }
        let idlest = counted().min_by_key(|(key, session)| (session.seen, **key));
        if let Some(key) = idlest.map(|(key, _)| *key) {
            self.by_key.remove(&key);
        }
    }

    /// The session of a cookie, which is in use now.
    ///
    /// # Errors
    /// `SessionEnded` for one that is over or never was.
    pub fn find(&mut self, cookie: &str, now: UtcNanos) -> Result<&mut Session, Refused> {
        let key = Cookie::key(cookie).ok_or(Refused::SessionEnded)?;
        if self.by_key.get(&key).is_some_and(|session| session.is_over(now)) {
            self.by_key.remove(&key);
        }
        let session = self.by_key.get_mut(&key).ok_or(Refused::SessionEnded)?;
        session.seen = session.seen.max(now);
        Ok(session)
    }

    /// Gives a session another name.
    ///
    /// # Errors
    /// `SessionEnded`.
    pub fn rename(
        &mut self,
        cookie: &str,
        now: UtcNanos,
        entropy: &dyn Entropy,
    ) -> Result<Cookie, Refused> {
        self.find(cookie, now)?;
        let session = self.close(cookie).ok_or(Refused::SessionEnded)?;
        Ok(self.open(session, entropy))
    }

    /// Ends the session of a cookie.
    pub fn close(&mut self, cookie: &str) -> Option<Session> {
        self.by_key.remove(&Cookie::key(cookie)?)
    }

    /// Ends every session of a person; says how many.
    pub fn close_all(&mut self, human: DocumentId) -> usize {
        let before = self.by_key.len();
        self.by_key.retain(|_, session| session.human != human);
        before - self.by_key.len()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}
