//! The face of the client: a thread that sends, and whoever emits. It never holds a lock over a
//! sync that the other side waits for, and never lets the sender end without saying so.

use crate::base::limits::EVENT_BYTES_MAX;
use crate::base::refusal::Refusal;
use crate::client::answer::Why;
use crate::client::event::{EventId, Ready, prepare};
use crate::client::frame::{encode, frame_len};
use crate::client::sender::{Counts, Sender, Step};
use crate::client::spool::{Board, Found, Shared, Spool, is_source, open};
use crate::client::tail::Tail;
use crate::client::{Config, Receiver, Result, Surroundings};
use crate::format::json::Tape;
use crate::store::disk::DiskLock;
use crate::store::error::{Error as StoreError, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How the sender fares.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum State {
    /// It sends, or has nothing to send.
    #[default]
    Running,
    /// The vault could not be reached, or asked to wait.
    Waiting,
    /// The vault refuses this token, source or address: somebody must act, then `resume`.
    Parked,
    /// The disk failed under the ledgers: open the spool again.
    Failed,
    /// It has ended.
    Closed,
}

/// What an emitter has done, and how it fares.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Stats {
    /// How the sender fares.
    pub state: State,
    /// Why it does not go on, where it does not.
    pub why: Option<Why>,
    /// What it counted since the spool was opened.
    pub counts: Counts,
    /// Events taken since the spool was opened.
    pub emitted: u64,
    /// Bytes of events that wait.
    pub waiting_bytes: u64,
    /// What opening found.
    pub found: Found,
}

/// What emitters share.
struct Intake {
    tail: Tail,
    emitted: u64,
}

/// A durable spooling emitter.
pub struct Emitter {
    shared: Arc<Shared>,
    intake: Mutex<Intake>,
    tape: Mutex<Tape>,
    around: Surroundings,
    found: Found,
    thread: Option<JoinHandle<()>>,
    /// Released when the thread has ended.
    _lock: Box<dyn DiskLock>,
}

/// Says that the sender has ended, however it did.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut board = self.0.board();
        board.state = match board.state {
            State::Failed => State::Failed,
            _ if std::thread::panicking() => State::Failed,
            _ => State::Closed,
        };
        drop(board);
        self.0.bell.notify_all();
    }
}

impl Emitter {
    /// Opens or makes the spool, and starts to send what waits in it.
    ///
    /// # Errors
    /// The spool is in use, of another source, of a newer version, or the disk refuses.
    pub fn open(
        around: Surroundings,
        config: &Config,
        receiver: Arc<dyn Receiver>,
    ) -> Result<Emitter> {
        if !is_source(&config.source) {
            let fix = "1 to 128 letters, digits, `.`, `_`, `-`, `/`";
            return Err(Refusal::new("SOURCE_NAME", fix).into());
        }
        let Spool { tail, outbox, shared, found, lock } = open(&around.disk, config)?;
        let mut sender = Sender::new(outbox, receiver, around.entropy.clone());
        let board = shared.clone();
        let work = move || {
            let _ending = Ending(board.clone());
            run(&mut sender, &board);
        };
        let thread = std::thread::Builder::new().name("emitter".to_owned()).spawn(work);
        let thread = thread.map_err(|e| StoreError::io(&config.dir, "cannot start a thread", e))?;
        let intake = Mutex::new(Intake { tail, emitted: 0 });
        let tape = Mutex::default();
        Ok(Emitter { shared, intake, tape, around, found, thread: Some(thread), _lock: lock })
    }

    fn intake(&self) -> MutexGuard<'_, Intake> {
        // The tail marks itself failed before anything can panic half-way.
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks an event and gives it an id; nothing is stored.
    ///
    /// # Errors
    /// The code the vault would refuse it with.
    pub fn prepare(&self, json: &[u8]) -> Result<Ready> {
        let now = self.around.clock.wall();
        let mut tape = self.tape.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(prepare(json, now, &*self.around.entropy, &mut tape)?)
    }

    /// Takes one event: when this returns it is on the disk, synced, and will be sent.
    ///
    /// # Errors
    /// The event was not taken: it is no event, the spool is full, or the disk failed.
    pub fn emit(&self, json: &[u8]) -> Result<EventId> {
        let ready = self.prepare(json)?;
        self.put(std::slice::from_ref(&ready))?;
        Ok(ready.id)
    }

    /// Takes several prepared events with one sync: all of them, or none.
    ///
    /// # Errors
    /// None was taken.
    pub fn put(&self, events: &[Ready]) -> Result<()> {
        let bytes = events.iter().map(|event| frame_len(event.json.len())).sum();
        let mut frames = Vec::with_capacity(bytes);
        for event in events {
            let is_line = !event.json.contains(&b'\n');
            if event.json.len() > EVENT_BYTES_MAX || !is_line {
                let fix = "prepare it first";
                return Err(Refusal::new("EVENT_TOO_LARGE", fix).into());
            }
            encode(&event.json, &mut frames);
        }
        if frames.is_empty() {
            return Ok(());
        }
        let mut intake = self.intake();
        intake.tail.append(&frames, &self.shared)?;
        intake.emitted += events.len() as u64;
        Ok(())
    }

    /// Waits until everything emitted before this call has a receipt, or a refusal that names it.
    /// False after `timeout`, or as soon as the sender cannot go on: `stats` says why.
    pub fn flush(&self, timeout: Option<Duration>) -> bool {
        let board = self.shared.board();
        let end = board.end;
        let goes_on = |state: State| matches!(state, State::Running | State::Waiting);
        let waits = |board: &mut Board| board.settled < end && goes_on(board.state);
        let board = match timeout {
            None => self.shared.bell.wait_while(board, waits).unwrap_or_else(|e| e.into_inner()),
            Some(timeout) => {
                let waited = self.shared.bell.wait_timeout_while(board, timeout, waits);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        board.settled >= end
    }

    /// Waits until something is settled, or for this long at most.
    pub fn wait_for_room(&self, timeout: Duration) {
        let board = self.shared.board();
        let settled = board.settled;
        let waits = |board: &mut Board| {
            board.settled == settled && matches!(board.state, State::Running | State::Waiting)
        };
        let _ = self.shared.bell.wait_timeout_while(board, timeout, waits);
    }

    /// Tries now, whatever the sender waits for.
    pub fn resume(&self) {
        let mut board = self.shared.board();
        if matches!(board.state, State::Parked | State::Waiting) {
            (board.state, board.kicked) = (State::Running, true);
        }
        drop(board);
        self.shared.bell.notify_all();
    }

    /// What was done, and how it fares.
    pub fn stats(&self) -> Stats {
        let emitted = self.intake().emitted;
        let board = self.shared.board();
        Stats {
            state: board.state,
            why: board.why.clone(),
            counts: board.counts.clone(),
            emitted,
            waiting_bytes: board.end.saturating_sub(board.settled),
            found: self.found,
        }
    }

    /// Ends the sender after the request at hand. What waits stays in the spool.
    pub fn close(mut self) -> Stats {
        self.end();
        self.stats()
    }

    fn end(&mut self) {
        self.shared.board().closing = true;
        self.shared.bell.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Emitter {
    fn drop(&mut self) {
        self.end();
    }
}

/// The sender's thread.
fn run(sender: &mut Sender, shared: &Shared) {
    loop {
        let step = sender.step();
        let mut board = shared.board();
        board.counts = sender.counts().clone();
        (board.state, board.why) = match &step {
            Ok(Step::Idle | Step::Went) => (State::Running, None),
            Ok(Step::Wait(_, why)) => (State::Waiting, Some(why.clone())),
            Ok(Step::Park(why)) => (State::Parked, Some(why.clone())),
            Err(error) => (State::Failed, Some(failed(error))),
        };
        shared.bell.notify_all();
        let bell = &shared.bell;
        let mut board = match step {
            Ok(Step::Went) => board,
            Ok(Step::Idle) => {
                let idle = |b: &mut Board| !b.closing && b.end <= b.settled;
                bell.wait_while(board, idle).unwrap_or_else(PoisonError::into_inner)
            }
            Ok(Step::Wait(time, _)) => {
                let waits = |b: &mut Board| !b.closing && !b.kicked;
                let waited = bell.wait_timeout_while(board, time, waits);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            Ok(Step::Park(_)) => {
                let parked = |b: &mut Board| !b.closing && !b.kicked;
                bell.wait_while(board, parked).unwrap_or_else(PoisonError::into_inner)
            }
            Err(_) => return,
        };
        board.kicked = false;
        if board.closing {
            return;
        }
    }
}

fn failed(error: &StoreError) -> Why {
    let code = match error.kind {
        ErrorKind::Full => "SPOOL_FULL",
        _ => "SPOOL_FAILED",
    };
    Why { status: 0, code: code.to_owned(), detail: error.to_string() }
}
