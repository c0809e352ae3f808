//! The daily duty: after each day-seal, the first checkpoint that covers it is stamped by the
//! configured authority, and its cosigned form kept. Ticks of the witness thread; what fails is
//! tried again after a while. It never holds up an append.

use crate::base::unit::{Day, NANOS_PER_SECOND, TreeSize, UtcNanos};
use crate::format::control::Sight;
use crate::format::timestamp;
use crate::vault::anchor::Anchors;
use crate::vault::anchor::bounds::seen_by;
use crate::vault::witness::Witnessing;
use std::sync::{Arc, PoisonError};

/// First pause after an authority failed; it doubles.
const BACKOFF: u64 = 60 * NANOS_PER_SECOND;
/// Longest pause.
const BACKOFF_MAX: u64 = 3_600 * NANOS_PER_SECOND;

/// What is owed, and when it was last tried.
pub(crate) struct Duty {
    anchors: Arc<Anchors>,
    /// The day up to which cosigned notes were kept; found in the files at first.
    cosigned: Option<Day>,
    /// The same of time-stamps.
    stamped: Option<Day>,
    looked: bool,
    /// The day-seal that is owed a sight, and a size that certainly covers it.
    want: Option<(Day, TreeSize)>,
    failures: u32,
    due: u64,
}

impl Duty {
    pub(crate) fn new(anchors: Arc<Anchors>) -> Duty {
        let (cosigned, stamped, want) = (None, None, None);
        Duty { anchors, cosigned, stamped, looked: false, want, failures: 0, due: 0 }
    }

    /// Does what is owed, if a durable checkpoint of `size` can serve. Returns what failed.
    pub(crate) fn tick(
        &mut self,
        size: TreeSize,
        witnessing: &Witnessing,
        now: u64,
    ) -> Option<String> {
        let sealed = {
            let facts = self.anchors.facts.read().unwrap_or_else(PoisonError::into_inner);
            (facts.day_sealed?, facts.size)
        };
        if !self.looked {
            self.look();
        }
        if self.want.is_none_or(|(day, _)| day < sealed.0) {
            self.want = Some(sealed);
        }
        let (day, from) = self.want?;
        if self.cosigned < Some(day) && witnessing.is_met() && witnessing.size >= from {
            self.keep(witnessing, day);
        }
        let asks = self.anchors.outside.authority.is_some();
        if self.stamped >= Some(day) || !asks || size < from || now < self.due {
            return None;
        }
        match self.anchors.ask(size) {
            Ok(_) => {
                (self.stamped, self.failures) = (Some(day), 0);
                None
            }
            Err(error) => {
                let pause = BACKOFF.saturating_mul(1 << self.failures.min(20)).min(BACKOFF_MAX);
                self.failures = self.failures.saturating_add(1);
                self.due = now.saturating_add(pause);
                Some(error.to_string())
            }
        }
    }

    fn keep(&mut self, witnessing: &Witnessing, day: Day) {
        let (Some(note), Some(time)) = (&witnessing.note, witnessing.time()) else { return };
        if self.anchors.keep(note, witnessing.size, time).is_ok() {
            self.cosigned = Some(day);
        }
    }

    /// What was done in earlier openings: a sight after the end of a day served that day's seal.
    fn look(&mut self) {
        self.looked = true;
        for kept in self.anchors.kept().unwrap_or_default() {
            let Ok(bytes) = self.anchors.read(&kept) else { continue };
            let (done, time) = match kept.sight {
                Sight::Cosigned => (&mut self.cosigned, seen_by(&bytes, &self.anchors.outside)),
                Sight::Timestamp => {
                    (&mut self.stamped, timestamp::claimed(&bytes).ok().map(|s| s.time))
                }
            };
            let served = time.map(|UtcNanos(time)| UtcNanos(time).day());
            let served = served.and_then(|Day(day)| day.checked_sub(1)).map(Day);
            *done = (*done).max(served);
        }
    }
}
