//! The crew: who seals now, and how many threads seal one batch side by side. A large batch waits
//! until a processor is free for it: more of them at once would only take memory and turns. It is
//! taken apart among the processors that batches of others need neither now nor, by what was seen
//! of late, soon; and put together in its order by whoever gives places. What is sealed is the same
//! bytes whoever does it: randomness is drawn before, in the order of the batch. Nobody waits here
//! with a lock in hand, and whoever seals waits for nothing.

use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Events of a part at least: sealing fewer takes less time than starting a thread is worth.
/// Batches below it wait for nobody.
const PART_MIN: usize = 250;
/// Batches after which it is forgotten how many there were at once.
const REMEMBERED: usize = 16;

/// Processors, and what they seal.
pub(crate) struct Crew {
    processors: usize,
    work: Mutex<Work>,
    free: Condvar,
}

/// What is being sealed.
#[derive(Default)]
struct Work {
    /// Threads.
    threads: usize,
    /// Batches, and the large ones among them.
    batches: usize,
    large: usize,
    /// Most batches at once of late, and how many came since then.
    peak: usize,
    since: usize,
}

/// Processors taken for one batch, until it is sealed.
pub(crate) struct Shift<'c> {
    crew: &'c Crew,
    large: bool,
    pub(crate) parts: usize,
}

impl Crew {
    /// For a machine of so many processors.
    pub(crate) fn of(processors: usize) -> Self {
        Crew { processors, work: Mutex::default(), free: Condvar::new() }
    }

    /// For this machine.
    pub(crate) fn here() -> Self {
        Crew::of(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Takes processors for a batch: at least the caller's own, and none that the batches of other
    /// clients will want in a moment.
    pub(crate) fn shift(&self, events: usize) -> Shift<'_> {
        let (mut work, large) = (self.work(), events >= PART_MIN);
        while large && work.large >= self.processors.max(1) {
            work = self.free.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        let coming = work.coming();
        let free = self.processors.saturating_sub(work.threads + 1 + coming);
        let parts = 1 + free.min((events / PART_MIN).max(1) - 1);
        work.threads += parts;
        work.large += usize::from(large);
        Shift { crew: self, large, parts }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// Counts a batch; returns how many fewer there are than there were at once of late.
    fn coming(&mut self) -> usize {
        self.batches += 1;
        self.since += 1;
        if self.batches >= self.peak || self.since > REMEMBERED {
            (self.peak, self.since) = (self.batches, 0);
        }
        self.peak - self.batches
    }
}

impl Drop for Shift<'_> {
    fn drop(&mut self) {
        let mut work = self.crew.work();
        work.threads -= self.parts;
        work.batches -= 1;
        work.large -= usize::from(self.large);
        drop(work);
        if self.large {
            self.crew.free.notify_one();
        }
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
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

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
        let work = crew.work();
        assert_eq!((work.threads, work.batches, work.large), (0, 0, 0));
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
    }

    #[test]
    fn large_batches_wait_for_a_processor_and_small_ones_do_not() {
        let crew = Crew::of(2);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let shift = crew.shift(PART_MIN);
                        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, SeqCst);
                        drop(shift);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 2);
        let _all = [crew.shift(PART_MIN), crew.shift(PART_MIN)];
        assert_eq!(crew.shift(PART_MIN - 1).parts, 1);
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
