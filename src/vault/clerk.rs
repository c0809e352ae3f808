//! The clerk: appends the vault's own acts as entries of the same log. It holds only what that
//! takes, so that background threads can ask for an entry without holding the vault.

use crate::base::entry::Kind;
use crate::base::event::{Event, EventCode};
use crate::base::id::TenantId;
use crate::base::unit::{ClassId, Day};
use crate::base::world::Entropy;
use crate::crypto::lanes::Lanes;
use crate::store::error::{Error as StoreError, ErrorKind};
use crate::vault::clock::LogClock;
use crate::vault::crew::Crew;
use crate::vault::error::{Error, Result};
use crate::vault::keys::BatchKeys;
use crate::vault::line::Turn;
use crate::vault::meter::Meter;
use crate::vault::seal::{Act, Sealed, Sealer, bare};
use crate::vault::sequencer::{Check, Committed, Message, Outcome, Rejected};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// What it takes to append.
#[derive(Clone)]
pub(crate) struct Clerk {
    pub(crate) tenant: TenantId,
    pub(crate) lanes: Lanes,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) clock: Arc<LogClock>,
    pub(crate) inbox: SyncSender<Message>,
    pub(crate) class: ClassId,
    pub(crate) meter: Arc<Meter>,
    pub(crate) crew: Arc<Crew>,
}

impl Clerk {
    /// Sealer for a day.
    pub(crate) fn sealer(&self, day: Day) -> Sealer<'_> {
        let (lanes, entropy) = (self.lanes, &*self.entropy);
        Sealer { tenant: self.tenant, lanes, entropy, day, meter: &self.meter }
    }

    /// Sends the parts of a sealed batch; the answer comes once it is durable.
    pub(crate) fn send(
        &self,
        sealed: Vec<Sealed>,
        check: Option<Check>,
        turn: Option<Turn>,
    ) -> Receiver<Outcome> {
        let (reply, answer) = sync_channel(1);
        // When the sequencer is gone the sender of the answer drops, and `wait` says so.
        let _ = self.inbox.send(Message::Append { sealed, check, turn, reply });
        answer
    }

    /// Waits for the answer.
    pub(crate) fn wait(answer: &Receiver<Outcome>) -> Outcome {
        answer.recv().unwrap_or_else(|_| Err(Rejected::Failed(gone())))
    }

    /// Appends an act without sealed fields and does not wait.
    pub(crate) fn ask(&self, kind: Kind, code: EventCode, clear: Vec<u8>) {
        let _ = self.bare(kind, code, clear).map(|sealed| self.send(vec![sealed], None, None));
    }

    /// Appends an act without sealed fields.
    ///
    /// # Errors
    /// Those of the append.
    pub(crate) fn record(&self, kind: Kind, code: EventCode, clear: Vec<u8>) -> Result<Committed> {
        let answer = self.send(vec![self.bare(kind, code, clear)?], None, None);
        accept(Clerk::wait(&answer))
    }

    fn bare(&self, kind: Kind, code: EventCode, clear: Vec<u8>) -> Result<Sealed> {
        let now = self.clock.now();
        let (event, keys) = bare(self.class, code, now);
        self.sealer(now.day()).act(&Act { kind, clear }, &event, &keys)
    }

    /// Appends an act with sealed fields, under a condition checked at its index.
    ///
    /// # Errors
    /// Those of the append and the check's.
    pub(crate) fn act(
        &self,
        act: &Act,
        event: &Event<'_>,
        keys: BatchKeys,
        day: Day,
        check: Option<Check>,
    ) -> Result<Committed> {
        let answer = self.send(vec![self.sealer(day).act(act, event, &keys)?], check, None);
        accept(Clerk::wait(&answer))
    }
}

/// An act's outcome: acts are never duplicates, and their keys are never fenced.
fn accept(outcome: Outcome) -> Result<Committed> {
    outcome.map_err(|rejected| match rejected {
        Rejected::Failed(error) => error,
        _ => Error::denied("DAY_CHANGED", "midnight passed meanwhile; ask again"),
    })
}

/// The sequencer has stopped.
pub(crate) fn gone() -> Error {
    let what = "the vault is closed or its writer has failed; restart it";
    Error::Unavailable(StoreError::new(ErrorKind::Poisoned, Path::new("log"), what))
}
