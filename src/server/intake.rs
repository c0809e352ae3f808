//! Small batches of many senders, taken together: a few threads seal what waits and wait for its
//! commit, instead of one thread for each request. A commit makes all of them durable at once, so
//! whoever handed over a request is woken once and nobody is woken for nothing. Every request is
//! still a batch of its own, committed or refused by itself; each tenant has threads of its own, so
//! that none waits for another's vault. It knows nothing of HTTP but who waits for an answer.

use crate::server::problem::Problem;
use crate::server::routes::ingest::Batch;
use axum::response::Response;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot::{Sender, channel};

/// Bytes of a batch that is worth taking together with others: a larger one keeps a thread busy by
/// itself.
pub const SMALL_BYTES_MAX: usize = 16 << 10;
/// Threads of one tenant. Two wait for the two commits that are on their way, two seal.
const THREADS_MAX: usize = 4;
/// Batches taken at once: more than wait for one commit at any load that was measured.
const TAKEN_MAX: usize = 64;

/// A batch, and who waits for its answer.
type Waiting = (Batch, Sender<Result<Response, Problem>>);

/// What waits for one tenant's vault.
#[derive(Default)]
struct Desk {
    waiting: Vec<Waiting>,
    threads: usize,
    /// Threads that are about to look at what waits.
    looking: usize,
}

impl Desk {
    /// Whether somebody else must come to look.
    fn calls(&mut self) -> bool {
        let calls = !self.waiting.is_empty() && self.looking == 0 && self.threads < THREADS_MAX;
        if calls {
            self.looking += 1;
            self.threads += 1;
        }
        calls
    }
}

/// What waits, by tenant; a tenant nobody sends to has no row.
#[derive(Clone, Default)]
pub struct Intake {
    desks: Arc<Mutex<HashMap<String, Desk>>>,
}

impl Intake {
    /// Hands a batch over; its answer comes once it is durable, or refused.
    ///
    /// # Errors
    /// Those of the batch; 500 when its thread panicked, which is our bug.
    pub async fn take(&self, tenant: &str, batch: Batch) -> Result<Response, Problem> {
        let (sender, answer) = channel();
        let calls = {
            let mut desks = self.desks();
            if !desks.contains_key(tenant) {
                desks.insert(tenant.to_owned(), Desk::default());
            }
            let desk = desks.get_mut(tenant).ok_or_else(Problem::internal)?;
            desk.waiting.push((batch, sender));
            desk.calls()
        };
        if calls {
            self.call(tenant);
        }
        answer.await.unwrap_or_else(|_| Err(Problem::internal()))
    }

    fn call(&self, tenant: &str) {
        let worker = Worker { intake: self.clone(), tenant: tenant.to_owned(), looking: true };
        tokio::task::spawn_blocking(move || worker.run());
    }

    fn desks(&self) -> MutexGuard<'_, HashMap<String, Desk>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread at a desk. It leaves the desk as it should be however it ends.
struct Worker {
    intake: Intake,
    tenant: String,
    looking: bool,
}

impl Worker {
    fn run(mut self) {
        loop {
            let (taken, calls) = self.look();
            if calls {
                self.intake.call(&self.tenant);
            }
            if taken.is_empty() {
                return;
            }
            let (batches, senders): (Vec<Batch>, Vec<_>) = taken.into_iter().unzip();
            // All are sealed and sent off before the first is waited for.
            let pending: Vec<_> = batches.iter().map(Batch::submit).collect();
            for ((batch, pending), sender) in batches.iter().zip(pending).zip(senders) {
                // Whoever asked may be gone; what was asked is done all the same.
                let _ = sender.send(batch.finish(pending));
            }
        }
    }

    /// What this thread does next, and whether another one must come for the rest.
    fn look(&mut self) -> (Vec<Waiting>, bool) {
        let mut desks = self.intake.desks();
        let Some(desk) = desks.get_mut(&self.tenant) else { return (Vec::new(), false) };
        let many = desk.waiting.len().min(TAKEN_MAX);
        let taken = desk.waiting.drain(..many).collect();
        if many == 0 {
            return (taken, false);
        }
        if self.looking {
            desk.looking -= 1;
            self.looking = false;
        }
        (taken, desk.calls())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let mut desks = self.intake.desks();
        let Some(desk) = desks.get_mut(&self.tenant) else { return };
        desk.threads -= 1;
        desk.looking -= usize::from(self.looking);
        // Something may have come after the last look, counting on this thread.
        let calls = desk.calls();
        if desk.threads == 0 && desk.waiting.is_empty() {
            desks.remove(&self.tenant);
        }
        drop(desks);
        if calls {
            self.intake.call(&self.tenant);
        }
    }
}
