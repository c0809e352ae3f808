//! The scheduler's thread: ticks when there is something to do, waits on a condition variable
//! otherwise, and stops when told. It holds no logic: what a tick does is the scheduler's.

use crate::base::id::DocumentId;
use crate::base::unit::UtcNanos;
use crate::server::scheduler::book::Book;
use crate::server::scheduler::{Progress, Scheduler, running};
use crate::vault::error::{Error, NO_THREAD, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest wait: log time and the system's timers are two clocks, and a zone's rules can change.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Rest after a tick that failed: its cause is the system vault's, and may pass.
const RETRY: Duration = Duration::from_secs(10);

/// What a tick came to, for whoever logs it: the code of its failure otherwise.
pub type Tell = Box<dyn Fn(&std::result::Result<Progress, &'static str>) + Send>;

#[derive(Default)]
struct Inbox {
    /// Jobs to run now: tenant, name, who asked.
    asked: BTreeMap<DocumentId, (String, String, String)>,
    /// Jobs under way when the last tick ended, or handed to the tick that runs.
    busy: BTreeSet<DocumentId>,
    changed: bool,
    stop: bool,
    /// Code of the failure of the last tick.
    trouble: Option<&'static str>,
}

#[derive(Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    bell: Condvar,
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A scheduler that runs. Dropping it stops it.
pub struct Runner {
    book: Book,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    /// Starts the thread.
    ///
    /// # Errors
    /// `NO_THREAD` when the system gives none.
    pub fn start(scheduler: Scheduler, tell: Tell) -> Result<Runner> {
        let shared = Arc::new(Shared::default());
        let (book, own) = (scheduler.book().clone(), shared.clone());
        let thread = std::thread::Builder::new()
            .name("scheduler".to_owned())
            .spawn(move || run(scheduler, &own, &tell))
            .map_err(|_| Error::denied("NO_THREAD", NO_THREAD))?;
        Ok(Runner { book, shared, thread: Some(thread) })
    }

    /// The jobs.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Asks for a run now. It begins soon, and is not repeated if the process ends before.
    ///
    /// # Errors
    /// As `Scheduler::run_now`.
    pub fn run_now(&self, tenant: &str, name: &str, by: &str) -> Result<()> {
        let id = self.book.job(tenant, name)?.id;
        let mut inbox = self.shared.inbox();
        if inbox.busy.contains(&id) || inbox.asked.contains_key(&id) {
            return Err(running());
        }
        inbox.asked.insert(id, (tenant.to_owned(), name.to_owned(), by.to_owned()));
        drop(inbox);
        self.shared.bell.notify_all();
        Ok(())
    }

    /// Says that the book was changed.
    pub fn book_changed(&self) {
        self.shared.inbox().changed = true;
        self.shared.bell.notify_all();
    }

    /// Code of the failure of the last tick: while there is one, nothing runs.
    pub fn trouble(&self) -> Option<&'static str> {
        self.shared.inbox().trouble
    }

    /// Stops: a task of one step is waited for, a scrub is left where it is. Repeating it does
    /// nothing.
    pub fn stop(&mut self) {
        self.shared.inbox().stop = true;
        self.shared.bell.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(mut scheduler: Scheduler, shared: &Shared, tell: &Tell) {
    loop {
        let stop = take(&mut scheduler, shared);
        let now = scheduler.book().now();
        if stop {
            // What cannot be written down is found at the next start.
            if let Err(error) = scheduler.stop(now) {
                tell(&Err(error.code()));
            }
            return;
        }
        let done = scheduler.tick(now).map_err(|error| error.code());
        let wait = match &done {
            Ok(progress) => progress.wake.map_or(WAIT_MAX, |wake| until(wake, now)),
            Err(_) => RETRY,
        };
        {
            let mut inbox = shared.inbox();
            inbox.busy = scheduler.under_way().into_iter().collect();
            inbox.trouble = done.as_ref().err().copied();
        }
        tell(&done);
        let quiet = |inbox: &mut Inbox| !inbox.stop && !inbox.changed && inbox.asked.is_empty();
        let _ = shared.bell.wait_timeout_while(shared.inbox(), wait, quiet);
    }
}

/// Hands over what was asked meanwhile; whether to stop.
fn take(scheduler: &mut Scheduler, shared: &Shared) -> bool {
    let (asked, stop) = {
        let mut inbox = shared.inbox();
        let asked = std::mem::take(&mut inbox.asked);
        inbox.busy.extend(asked.keys());
        if std::mem::take(&mut inbox.changed) {
            scheduler.book_changed();
        }
        (asked, inbox.stop)
    };
    for (tenant, name, by) in asked.into_values() {
        // Given up or begun by its schedule meanwhile: then there is nothing to begin.
        let _ = scheduler.run_now(&tenant, &name, &by);
    }
    stop
}

fn until(wake: UtcNanos, now: UtcNanos) -> Duration {
    Duration::from_nanos(wake.0.saturating_sub(now.0)).min(WAIT_MAX)
}
