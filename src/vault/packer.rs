//! The packer: one background thread that packs closed segments and bodies of past days, off the
//! path of every commit. The committer rings when a checkpoint is durable; the thread looks only
//! when that closed another segment or another day. While commits come it rests three times as
//! long as it works; told to stop, it stops between two groups and leaves the file as it was.
//! A failure is told and costs nothing but room. It never holds up a commit: all it shares with
//! one is the disk.

use crate::base::unit::{Day, TreeSize};
use crate::base::world::Clock;
use crate::store::error::ErrorKind;
use crate::vault::error::Error;
use crate::vault::pack::{Packing, Step};
use crate::vault::press::Press;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Work between two looks at whether commits came.
const WORK_NANOS: u64 = 2_000_000;
/// Rest for each stretch of work while commits come: it has a quarter of one processor.
const REST: u64 = 3;
/// Longest rest.
const REST_NANOS_MAX: u64 = 500_000_000;

/// Where the committer and the owner of a vault tell the thread what it should know.
#[derive(Default)]
pub(crate) struct Bell {
    state: Mutex<State>,
    changed: Condvar,
    commits: AtomicU64,
}

#[derive(Default)]
struct State {
    packing: Packing,
    /// Size of the checkpoint on disk.
    signed: TreeSize,
    /// Something came since the thread looked last.
    news: bool,
    /// The thread is at work.
    busy: bool,
    /// No more is done.
    closed: bool,
}

impl Bell {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, what: impl FnOnce(&mut State)) {
        what(&mut self.state());
        self.changed.notify_all();
    }

    /// A bell that knows how much is signed already.
    pub(crate) fn told(signed: TreeSize) -> Bell {
        let bell = Bell::default();
        bell.signed(signed);
        bell
    }

    /// A checkpoint of this size is durable.
    pub(crate) fn signed(&self, size: TreeSize) {
        self.tell(|state| (state.signed, state.news) = (size, true));
    }

    /// A commit was made: whoever works in the background rests.
    pub(crate) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether to pack.
    pub(crate) fn want(&self, on: bool) {
        self.tell(|state| (state.packing.on, state.news) = (on, true));
    }

    /// The vault is being closed.
    pub(crate) fn close(&self) {
        self.tell(|state| state.closed = true);
    }

    pub(crate) fn packing(&self) -> Packing {
        self.state().packing.clone()
    }

    /// Waits until there is nothing to do.
    pub(crate) fn settled(&self) -> Packing {
        let at_work = |s: &mut State| !s.closed && (s.busy || (s.news && s.packing.on));
        let state = self.changed.wait_while(self.state(), at_work);
        state.unwrap_or_else(PoisonError::into_inner).packing.clone()
    }

    /// Waits for news; the size that is signed, or `None` at the end.
    fn wait(&self) -> Option<TreeSize> {
        let idle = |s: &mut State| !(s.closed || s.news && s.packing.on);
        let state = self.changed.wait_while(self.state(), idle);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return None;
        }
        (state.news, state.busy) = (false, true);
        Some(state.signed)
    }

    /// Rests, but not when told to stop. Whether to go on.
    fn rest(&self, nanos: u64) -> bool {
        let going = |s: &mut State| !s.closed && s.packing.on;
        if nanos == 0 {
            return going(&mut self.state());
        }
        let time = Duration::from_nanos(nanos);
        let waited = self.changed.wait_timeout_while(self.state(), time, going);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        going(&mut state)
    }
}

/// The thread's own.
pub(crate) struct Packer {
    pub(crate) press: Press,
    pub(crate) bell: Arc<Bell>,
    pub(crate) time: Arc<dyn Clock>,
    /// Closed segments and day when everything was packed last.
    pub(crate) seen: Option<(usize, Day)>,
    /// Files that are damaged or would be no smaller: they stay as they are, and are not read
    /// again in every round.
    pub(crate) stay: BTreeSet<Step>,
}

impl Drop for Packer {
    /// However the thread ends, by a panic too: nobody waits for it any longer.
    fn drop(&mut self) {
        self.bell.tell(|state| {
            (state.closed, state.busy, state.packing.running) = (true, false, None);
        });
    }
}

impl Packer {
    /// Runs until the vault is closed.
    pub(crate) fn run(mut self) {
        while let Some(signed) = self.bell.wait() {
            self.round(signed);
            self.bell.tell(|state| (state.busy, state.packing.running) = (false, None));
        }
    }

    /// Packs what can be packed, if that can have become more.
    fn round(&mut self, signed: TreeSize) {
        let now = (self.press.log.closed(signed), self.press.today());
        if self.seen == Some(now) {
            return;
        }
        // What a stop leaves undone is done when it is wanted again; what failed, when there is
        // more to do anyway: a full disk is not helped by trying.
        self.seen = Some(now);
        self.bell.tell(|state| state.packing.failed = None);
        for steps in self.press.due(signed) {
            let steps = steps.unwrap_or_else(|error| {
                self.failed(&error.to_string());
                Vec::new()
            });
            for step in steps {
                match self.step(step, signed) {
                    Next::Go => {}
                    Next::Stopped => return self.seen = None,
                    Next::Failed => return,
                }
            }
        }
    }

    fn step(&mut self, step: Step, signed: TreeSize) -> Next {
        if self.stay.contains(&step) {
            return Next::Go;
        }
        self.bell.tell(|state| state.packing.running = Some(step));
        let pace = Pace::new(&self.bell, &*self.time);
        match self.press.step(step, signed, &|| pace.go_on()) {
            Ok(Some(done)) => {
                if done.damaged + done.no_smaller > 0 {
                    self.stay.insert(step);
                }
                self.bell.tell(|state| state.packing.done.add(done));
                Next::Go
            }
            Ok(None) => Next::Stopped,
            Err(error) => {
                self.failed(&format!("{step}: {error}"));
                match error {
                    // Whatever comes next would meet it too; a place that cannot be read it need
                    // not.
                    Error::Unavailable(e) if e.kind != ErrorKind::Io => Next::Failed,
                    _ => Next::Go,
                }
            }
        }
    }

    fn failed(&self, why: &str) {
        self.bell.tell(|state| state.packing.failed = Some(why.to_owned()));
    }
}

/// How a step ended.
enum Next {
    /// The next one can follow.
    Go,
    /// Told to stop.
    Stopped,
    /// Nothing can follow.
    Failed,
}

/// Work and rest.
struct Pace<'p> {
    bell: &'p Bell,
    time: &'p dyn Clock,
    /// Since when it works, and how many commits there were then.
    since: Cell<(u64, u64)>,
}

impl<'p> Pace<'p> {
    fn new(bell: &'p Bell, time: &'p dyn Clock) -> Self {
        let since = (time.monotonic(), bell.commits.load(Ordering::Relaxed));
        Pace { bell, time, since: Cell::new(since) }
    }

    /// Whether to go on, after a rest if one is due.
    fn go_on(&self) -> bool {
        let (since, before) = self.since.get();
        let worked = self.time.monotonic().saturating_sub(since);
        if worked < WORK_NANOS {
            return self.bell.rest(0);
        }
        let commits = self.bell.commits.load(Ordering::Relaxed);
        let rest = if commits == before { 0 } else { (REST * worked).min(REST_NANOS_MAX) };
        let go_on = self.bell.rest(rest);
        self.since.set((self.time.monotonic(), commits));
        go_on
    }
}
