//! Log time: never falls, advances by the monotonic clock, looks at the wall clock only at open,
//! to raise an alarm, and where somebody asks for the wall clock itself. It never lets a wrong
//! wall clock destroy anything.

use crate::base::limits::{CLOCK_ACCEPT_DAYS, CLOCK_ALARM_NANOS};
use crate::base::unit::{NANOS_PER_DAY, UtcNanos};
use crate::base::world::Clock;
use crate::vault::Notice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The log's clock.
pub struct LogClock {
    clock: Arc<dyn Clock>,
    start: UtcNanos,
    monotonic_start: u64,
    last: AtomicU64,
    ahead: bool,
    accepted: bool,
}

impl LogClock {
    /// Starts at the wall clock, or at the last entry's time when the wall clock is behind it.
    /// A wall clock more than seven days ahead is used only with `accept`; otherwise time stands
    /// at the last entry and `is_ahead` says that appends must wait for a person's word.
    pub fn start(clock: Arc<dyn Clock>, last: UtcNanos, empty: bool, accept: bool) -> Self {
        let wall = clock.wall();
        let far = wall.0.saturating_sub(last.0) > CLOCK_ACCEPT_DAYS * NANOS_PER_DAY;
        let ahead = !empty && far && !accept;
        let accepted = !empty && far && accept;
        let start = if ahead { last } else { wall.max(last) };
        let monotonic_start = clock.monotonic();
        LogClock { clock, start, monotonic_start, last: AtomicU64::new(last.0), ahead, accepted }
    }

    /// Log time now.
    pub fn now(&self) -> UtcNanos {
        let passed = self.clock.monotonic().saturating_sub(self.monotonic_start);
        let running = self.start.0.saturating_add(passed);
        UtcNanos(self.last.fetch_max(running, Ordering::SeqCst).max(running))
    }

    /// The wall clock as it is set now, for what is compared with other people's clocks and binds
    /// no entry: one-time codes. Log time may be ahead of it for days.
    pub fn wall(&self) -> UtcNanos {
        self.clock.wall()
    }

    /// Whether the wall clock was too far ahead at open and nobody has accepted it.
    pub fn is_ahead(&self) -> bool {
        self.ahead
    }

    /// Whether a wall clock too far ahead was accepted at open and no entry since `last` bears
    /// witness to it yet.
    pub fn jumped_beyond(&self, last: UtcNanos) -> bool {
        let apart = self.now().0.saturating_sub(last.0);
        self.accepted && apart > CLOCK_ACCEPT_DAYS * NANOS_PER_DAY
    }

    /// How far the wall clock is from log time, in nanoseconds, when that is worth an alarm.
    pub fn alarm(&self) -> Option<u64> {
        let apart = self.clock.wall().0.abs_diff(self.now().0);
        (apart > CLOCK_ALARM_NANOS).then_some(apart)
    }
}

/// What to say of a wall clock that nobody has accepted.
pub(crate) fn not_accepted() -> Notice {
    let text = "the clock is more than seven days beyond the last entry".to_owned();
    Notice { code: "CLOCK_NOT_ACCEPTED", text }
}
