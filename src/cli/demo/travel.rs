//! The demo's own clock: the system's, set back by some days at the start and moved forward when
//! the story needs time to pass. It only ever moves forward and ends at the present, so the
//! vault it leaves behind has no future in it.

use crate::base::unit::{NANOS_PER_DAY, UtcNanos};
use crate::base::world::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The clock.
pub(crate) struct TravelClock {
    inner: Arc<dyn Clock>,
    back: u64,
    moved: AtomicU64,
}

impl TravelClock {
    /// Starts `days` before the present.
    pub(crate) fn days_ago(inner: Arc<dyn Clock>, days: u64) -> Self {
        TravelClock { inner, back: days * NANOS_PER_DAY, moved: AtomicU64::new(0) }
    }

    /// Lets all the time pass that lies between the story and the present.
    pub(crate) fn to_present(&self) {
        self.moved.store(self.back, Ordering::SeqCst);
    }
}

impl Clock for TravelClock {
    fn wall(&self) -> UtcNanos {
        let moved = self.moved.load(Ordering::SeqCst);
        UtcNanos(self.inner.wall().0.saturating_sub(self.back).saturating_add(moved))
    }

    fn monotonic(&self) -> u64 {
        self.inner.monotonic().saturating_add(self.moved.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Still;

    impl Clock for Still {
        fn wall(&self) -> UtcNanos {
            UtcNanos(100 * NANOS_PER_DAY)
        }

        fn monotonic(&self) -> u64 {
            7
        }
    }

    #[test]
    fn both_clocks_move_together_and_stop_at_the_present() {
        let clock = TravelClock::days_ago(Arc::new(Still), 30);
        assert_eq!((clock.wall(), clock.monotonic()), (UtcNanos(70 * NANOS_PER_DAY), 7));
        clock.to_present();
        clock.to_present();
        let end = (UtcNanos(100 * NANOS_PER_DAY), 7 + 30 * NANOS_PER_DAY);
        assert_eq!((clock.wall(), clock.monotonic()), end);
    }
}
