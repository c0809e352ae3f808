//! The crew: how many threads seal one batch side by side. A large batch is taken apart among the
//! processors that batches of others need neither now nor, by what was seen of late, soon; and put
//! together in its order by whoever gives places. What is sealed is the same bytes whoever does it:
//! randomness is drawn before, in the order of the batch. It never waits: a batch that finds all
//! processors taken has its own thread.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Events of a part at least: sealing fewer takes less time than starting a thread is worth.
const PART_MIN: usize = 250;

/// Batches after which it is forgotten how many there were at once.
const REMEMBERED: usize = 16;

/// Processors, and how many of them seal.
pub(crate) struct Crew {
    processors: usize,
    sealing: AtomicUsize,
    /// Batches being sealed now.
    batches: AtomicUsize,
    /// Most of them at once of late, and batches since then.
    peak: AtomicUsize,
    since: AtomicUsize,
}

/// Processors taken for one batch, until it is sealed.
pub(crate) struct Shift<'c> {
    crew: &'c Crew,
    pub(crate) parts: usize,
}

impl Crew {
    /// For a machine of so many processors.
    pub(crate) fn of(processors: usize) -> Self {
        let none = || AtomicUsize::new(0);
        Crew { processors, sealing: none(), batches: none(), peak: none(), since: none() }
    }

    /// For this machine.
    pub(crate) fn here() -> Self {
        Crew::of(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Takes processors for a batch: at least the caller's own, and none that the batches of other
    /// clients will want in a moment.
    pub(crate) fn shift(&self, events: usize) -> Shift<'_> {
        let coming = self.coming();
        let others = self.sealing.fetch_add(1, Ordering::SeqCst);
        let free = self.processors.saturating_sub(others + 1 + coming);
        let more = free.min((events / PART_MIN).max(1) - 1);
        self.sealing.fetch_add(more, Ordering::SeqCst);
        Shift { crew: self, parts: more + 1 }
    }

    /// Counts a batch; returns how many fewer there are than there were at once of late.
    fn coming(&self) -> usize {
        let now = self.batches.fetch_add(1, Ordering::SeqCst) + 1;
        let peak = self.peak.load(Ordering::SeqCst);
        if now >= peak || self.since.fetch_add(1, Ordering::SeqCst) >= REMEMBERED {
            self.peak.store(now, Ordering::SeqCst);
            self.since.store(0, Ordering::SeqCst);
            return 0;
        }
        peak - now
    }
}

impl Drop for Shift<'_> {
    fn drop(&mut self) {
        self.crew.sealing.fetch_sub(self.parts, Ordering::SeqCst);
        self.crew.batches.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Cuts `count` into so many ranges of about the same length.
pub(crate) fn ranges(count: usize, parts: usize) -> impl Iterator<Item = Range<usize>> {
    let each = count.div_ceil(parts.max(1)).max(1);
    (0..count).step_by(each).map(move |start| start..(start + each).min(count))
}

/// Does every part of a batch, the first one in the caller's thread and the others beside it;
/// results in order. A thread that cannot be started leaves its part to the caller.
pub(crate) fn side_by_side<P: Sync, T: Send>(parts: &[P], work: impl Fn(&P) -> T + Sync) -> Vec<T> {
    let Some((own, others)) = parts.split_first() else { return Vec::new() };
    std::thread::scope(|scope| {
        let work = &work;
        let start = |part| {
            let named = std::thread::Builder::new().name("sealer".to_owned());
            (part, named.spawn_scoped(scope, move || work(part)).ok())
        };
        let running: Vec<_> = others.iter().map(start).collect();
        let mut done = vec![work(own)];
        for (part, thread) in running {
            done.push(match thread.map(|thread| thread.join()) {
                Some(Ok(result)) => result,
                Some(Err(panic)) => std::panic::resume_unwind(panic),
                None => work(part),
            });
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_takes_what_is_free_and_gives_it_back() {
        let crew = Crew::of(4);
        let small = crew.shift(PART_MIN);
        assert_eq!(small.parts, 1);
        let large = crew.shift(100 * PART_MIN);
        assert_eq!(large.parts, 3);
        // All taken: the next one has its own thread and no more.
        assert_eq!(crew.shift(100 * PART_MIN).parts, 1);
        drop((small, large));
        assert_eq!(crew.sealing.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn what_other_clients_used_of_late_is_left_to_them() {
        let crew = Crew::of(4);
        drop([crew.shift(1), crew.shift(1), crew.shift(1)]);
        // Two more may come, so that one processor is free beside the own.
        for _ in 0..REMEMBERED {
            assert_eq!(crew.shift(100 * PART_MIN).parts, 2);
        }
        // Nobody came.
        assert_eq!(crew.shift(100 * PART_MIN).parts, 4);
        assert_eq!(crew.shift(2 * PART_MIN).parts, 2);
        assert_eq!(crew.batches.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn ranges_cover_everything_once_and_results_keep_their_order() {
        for (count, parts) in [(0, 3), (1, 3), (10, 3), (10, 1), (1_000, 7), (3, 9)] {
            let cut: Vec<_> = ranges(count, parts).collect();
            assert!(cut.len() <= parts.max(1));
            assert!(cut.iter().cloned().flatten().eq(0..count));
            let sums = side_by_side(&cut, |range| range.clone().sum::<usize>());
            let alone = cut.iter().map(|range| range.clone().sum::<usize>());
            assert!(sums.into_iter().eq(alone));
        }
    }
}
