//! What the threads share about witnesses: the checkpoint that is durable and may be shown, the
//! note that witnesses signed, and the alarm that stops appends. It never asks anybody itself.

use crate::vault::witness::Witnessing;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The shared desk.
#[derive(Default)]
pub(crate) struct Desk {
    /// Read at every append; everything else is behind the lock.
    alarmed: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The newest note that is durable in the checkpoint file.
    durable: Option<Arc<str>>,
    witnessing: Witnessing,
    /// Questions asked with `seek`, and of them answered.
    asked: u64,
    answered: u64,
    /// Nothing new will come.
    closing: bool,
    /// The thread that answers has ended, or never was.
    idle: bool,
}

/// What the thread does next.
pub(crate) struct Work {
    /// The durable note, if there is one.
    pub(crate) durable: Option<Arc<str>>,
    /// Somebody waits: ask now, whatever failed before.
    pub(crate) forced: bool,
    /// Number of questions that this round answers.
    pub(crate) asked: u64,
    /// The last round.
    pub(crate) closing: bool,
}

impl Desk {
    /// A desk nobody works at yet.
    pub(crate) fn new(witnessing: Witnessing) -> Arc<Desk> {
        let desk = Desk::default();
        desk.lock().witnessing = witnessing;
        desk.lock().idle = true;
        Arc::new(desk)
    }

    /// Somebody works at it from now on.
    pub(crate) fn staff(&self) {
        self.lock().idle = false;
    }

    /// A checkpoint is durable: from here on it may be shown.
    pub(crate) fn publish(&self, note: &Arc<str>) {
        self.lock().durable = Some(note.clone());
        self.changed.notify_all();
    }

    /// What witnesses vouch for.
    pub(crate) fn witnessing(&self) -> Witnessing {
        self.lock().witnessing.clone()
    }

    /// Shows what is durable by now.
    pub(crate) fn show(&self, change: impl FnOnce(&mut Witnessing)) {
        change(&mut self.lock().witnessing);
        self.changed.notify_all();
    }

    /// Stops every append from here on.
    pub(crate) fn alarm(&self, verdict: &'static str, detail: String) {
        self.lock().witnessing.alarm.get_or_insert((verdict, detail));
        self.alarmed.store(true, Ordering::SeqCst);
        self.changed.notify_all();
    }

    /// Why nothing may be appended, if so.
    pub(crate) fn alarmed(&self) -> Option<(&'static str, String)> {
        match self.alarmed.load(Ordering::SeqCst) {
            true => self.lock().witnessing.alarm.clone(),
            false => None,
        }
    }

    /// Asks for a round now and waits for its end.
    pub(crate) fn seek(&self) {
        let mut state = self.lock();
        if state.idle || state.closing {
            return;
        }
        state.asked += 1;
        let mine = state.asked;
        self.changed.notify_all();
        while state.answered < mine && !state.idle {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing new will come: one last round, then the thread ends.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
    }

    /// Waits for work at most so long.
    pub(crate) fn wait(&self, seen: Option<&Arc<str>>, at_most: Duration) -> Work {
        let mut state = self.lock();
        let idle = |s: &State| {
            let news = match (&s.durable, seen) {
                (Some(durable), Some(seen)) => !Arc::ptr_eq(durable, seen),
                (durable, _) => durable.is_some(),
            };
            !news && s.asked == s.answered && !s.closing
        };
        if idle(&state) {
            let waited = self.changed.wait_timeout(state, at_most);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Work {
            durable: state.durable.clone(),
            forced: state.asked > state.answered,
            asked: state.asked,
            closing: state.closing,
        }
    }

    /// A round is over.
    pub(crate) fn answer(&self, asked: u64) {
        self.lock().answered = asked;
        self.changed.notify_all();
    }

    /// The thread has ended: nobody waits for it any longer.
    pub(crate) fn leave(&self) {
        self.lock().idle = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
