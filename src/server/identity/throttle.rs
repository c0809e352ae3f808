//! How often somebody may try, and which one-time codes were used. After five wrong attempts each
//! further one has to wait, twice as long as the one before and 15 minutes at most; nobody is
//! locked out for ever, and whoever keeps trying keeps the owner of the login waiting as well.
//! Attempts on logins that nobody has wait in the same way, so that waiting tells nothing.
//!
//! An attempt counts as wrong from the moment it is made until it was right, so many at once gain
//! nothing. All of it is in memory: a restart forgives attempts, and forgives no code.

use crate::base::id::DocumentId;
use crate::base::unit::{NANOS_PER_DAY, NANOS_PER_SECOND, UtcNanos};
use crate::server::identity::refused::Refused;
use crate::server::identity::token::Kept;
use crate::server::identity::totp::Step;
use std::collections::{BTreeMap, HashMap};

/// Wrong attempts that cost no waiting.
pub const FREE_ATTEMPTS: u32 = 5;
/// Seconds to wait at most: 96 attempts a day; with three codes of a million right at any time,
/// somebody who has the password needs years for an even chance.
pub const WAIT_SECONDS_MAX: u64 = 900;
/// Logins nobody has whose attempts are counted: 10,000 x about 80 bytes. Beyond it the one whose
/// last attempt is longest ago is forgotten. People of the service are counted beside them.
pub const STRANGERS_MAX: usize = 10_000;

/// Whose attempts are counted together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// A person of the service.
    Known(DocumentId),
    /// A person of the service who is in a session and shows a further code. All sessions of one
    /// person are one door: sixteen of them are no more guesses.
    Inside(DocumentId),
    /// A login that nobody has.
    Stranger(Kept),
}

#[derive(Clone, Copy, Default, Debug)]
struct Attempts {
    wrong: u32,
    last: UtcNanos,
}

/// Refused logins since they were last written down.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Refusals {
    /// Of people of the service.
    pub known: BTreeMap<DocumentId, u64>,
    /// Of logins that nobody has, together: the texts are nowhere.
    pub strangers: u64,
}

/// Attempts and used codes.
#[derive(Debug)]
pub struct Throttle {
    known: HashMap<DocumentId, Attempts>,
    inside: HashMap<DocumentId, Attempts>,
    strangers: HashMap<Kept, Attempts>,
    used: HashMap<DocumentId, Step>,
    /// Codes up to this step may have been used before this process began.
    floor: Step,
    refusals: Refusals,
}

impl Throttle {
    /// At the start of a process, by the clock on the wall. Whatever code could have been taken
    /// before is refused: that of this step, and of the next one, which clocks that run ahead may
    /// have shown already.
    pub fn new(wall: UtcNanos) -> Self {
        Throttle {
            known: HashMap::new(),
            inside: HashMap::new(),
            strangers: HashMap::new(),
            used: HashMap::new(),
            floor: Step::latest(wall),
            refusals: Refusals::default(),
        }
    }

    /// An attempt begins; it counts as wrong until `right` takes that back.
    ///
    /// # Errors
    /// `Throttled` when it comes too early; then it does not count as an attempt, and is written
    /// down with those that were refused.
    pub fn knock(&mut self, door: Door, now: UtcNanos) -> Result<(), Refused> {
        let attempts = match door {
            Door::Known(human) => self.known.entry(human).or_default(),
            Door::Inside(human) => self.inside.entry(human).or_default(),
            Door::Stranger(kept) => {
                if !self.strangers.contains_key(&kept) && self.strangers.len() >= STRANGERS_MAX {
                    self.forget_one();
                }
                self.strangers.entry(kept).or_default()
            }
        };
        if now.0.saturating_sub(attempts.last.0) >= NANOS_PER_DAY {
            *attempts = Attempts::default();
        }
        let ready = attempts.last.0.saturating_add(wait(attempts.wrong) * NANOS_PER_SECOND);
        if attempts.wrong >= FREE_ATTEMPTS && now.0 < ready {
            self.wrong(door);
            return Err(Refused::Throttled { seconds: (ready - now.0).div_ceil(NANOS_PER_SECOND) });
        }
        *attempts = Attempts { wrong: attempts.wrong.saturating_add(1), last: now };
        Ok(())
    }

    fn forget_one(&mut self) {
        let oldest = self.strangers.iter().min_by_key(|(kept, attempts)| (attempts.last, **kept));
        if let Some(kept) = oldest.map(|(kept, _)| *kept) {
            self.strangers.remove(&kept);
        }
    }

    /// The attempt was right.
    pub fn right(&mut self, door: Door) {
        match door {
            Door::Known(human) => self.known.remove(&human),
            Door::Inside(human) => self.inside.remove(&human),
            Door::Stranger(kept) => self.strangers.remove(&kept),
        };
    }

    /// The attempt was wrong, and will be written down.
    pub fn wrong(&mut self, door: Door) {
        let count = match door {
            Door::Known(human) | Door::Inside(human) => {
                self.refusals.known.entry(human).or_default()
            }
            Door::Stranger(_) => &mut self.refusals.strangers,
        };
        *count = count.saturating_add(1);
    }

    /// Takes a code's step, if no code of it or of a later one was taken before.
    pub fn take(&mut self, human: DocumentId, step: Step) -> bool {
        let used = self.used.entry(human).or_insert(self.floor);
        let fresh = step > *used;
        if fresh {
            *used = step;
        }
        fresh
    }

    /// A new shared secret was shown to work by the code of this step: of it alone codes are used.
    pub fn begin(&mut self, human: DocumentId, step: Step) {
        self.used.insert(human, step);
    }

    /// Takes back what could not be written down. People are as many as there are, and strangers
    /// one number: it stays bounded.
    pub fn restore(&mut self, refusals: Refusals) {
        for (human, count) in refusals.known {
            let total = self.refusals.known.entry(human).or_default();
            *total = total.saturating_add(count);
        }
        self.refusals.strangers = self.refusals.strangers.saturating_add(refusals.strangers);
    }

    /// What was refused since this was last asked.
    pub fn refusals(&mut self) -> Refusals {
        std::mem::take(&mut self.refusals)
    }
}

/// Seconds to wait after so many wrong attempts.
fn wait(wrong: u32) -> u64 {
    match wrong.checked_sub(FREE_ATTEMPTS) {
        None => 0,
        Some(more) => 1_u64.checked_shl(more.min(63)).unwrap_or(u64::MAX).min(WAIT_SECONDS_MAX),
    }
}
