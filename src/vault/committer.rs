//! The committer: one thread a tenant makes units durable, in order, and then answers. Behind it
//! the sequencer is one commit ahead: its bodies are synced while the unit before is. Everything
//! that must not be seen before it is durable passes through here, so it is seen in order: facts,
//! published state, receipts, refusals that name an earlier entry. After a failed write it writes
//! nothing and answers every later commit with the same failure.

use crate::base::entry::Kind;
use crate::base::id::Hash32;
use crate::base::unit::{ClassDay, EntryIndex, TreeSize, UtcNanos};
use crate::format::unit::UnitHead;
use crate::store::error::{Error as StoreError, ErrorKind};
use crate::store::heads::Head;
use crate::store::log::UnitLog;
use crate::store::tiles::Tiles;
use crate::vault::error::Error;
use crate::vault::facts::Facts;
use crate::vault::meter::{Meter, Stage};
use crate::vault::packer::Bell;
use crate::vault::sequencer::{Committed, Known, Outcome, Rejected};
use crate::vault::snapshot::{Capture, Handover};
use crate::vault::witness::desk::Desk;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// Commits handed over and not yet begun: the one behind them waits with its jobs, so that they
/// gather into larger commits while the disk is slow.
pub(crate) const WAITING: usize = 1;

/// What others may see of the log.
#[derive(Clone)]
pub(crate) struct Published {
    pub(crate) size: TreeSize,
    pub(crate) root: Hash32,
    pub(crate) note: Arc<str>,
}

/// A failed write, to be told to everybody who comes later.
#[derive(Clone)]
pub(crate) struct Failure {
    kind: ErrorKind,
    path: PathBuf,
    what: String,
}

/// The first failure, if there was one.
pub(crate) type Failed = Arc<OnceLock<Failure>>;

impl Failure {
    pub(crate) fn of(error: &StoreError) -> Self {
        let what = match &error.source {
            Some(source) => format!("{}: {source}", error.what),
            None => error.what.clone(),
        };
        let what = format!(
            "{what}; what was acknowledged is safe, nothing more is written until the vault \
             is opened again"
        );
        Failure { kind: error.kind, path: error.path.clone(), what }
    }

    pub(crate) fn error(&self) -> Error {
        Error::Unavailable(StoreError::new(self.kind, &self.path, self.what.clone()))
    }
}

/// What the shared facts learn once a commit is durable.
#[derive(Default)]
pub(crate) struct Observed {
    pub(crate) groups: HashMap<ClassDay, u64>,
    pub(crate) acts: Vec<(Kind, Vec<u8>, EntryIndex)>,
}

/// A commit whose bodies are durable.
pub(crate) struct Ready {
    pub(crate) head: UnitHead,
    pub(crate) hash: Hash32,
    pub(crate) bytes: Vec<u8>,
    /// Leaves, then what they complete of each level of tiles above.
    pub(crate) levels: Vec<Vec<Hash32>>,
    /// Signed checkpoint of the unit.
    pub(crate) note: Arc<str>,
    pub(crate) time: UtcNanos,
    pub(crate) observed: Observed,
    pub(crate) accepted: Vec<(SyncSender<Outcome>, EntryIndex, usize)>,
    pub(crate) rejected: Vec<(SyncSender<Outcome>, Rejected)>,
}

/// What the sequencer hands over, in order.
pub(crate) enum Work {
    /// Make a unit durable, then answer.
    Commit(Box<Ready>),
    /// Answer jobs that were turned away.
    Answer(Vec<(SyncSender<Outcome>, Rejected)>),
    /// Answer who asked what was sent before.
    Seen { found: Known, reply: SyncSender<Known> },
    /// Publish the checkpoint.
    Publish { reply: Option<SyncSender<Result<(), Error>>> },
    /// Publish the checkpoint, then have the state that it covers written down.
    Snapshot(Box<Capture>),
    /// Publish and stop.
    Close,
}

/// Everything the thread owns or writes.
pub(crate) struct Committer {
    pub(crate) log: Arc<UnitLog>,
    pub(crate) tiles: Arc<Tiles>,
    pub(crate) head: Head,
    pub(crate) head_note: Option<Vec<u8>>,
    /// Whether the checkpoint file was written by this process. One that an opening found may be
    /// what the system remembers and the medium does not have, when a sync failed before.
    pub(crate) head_written: bool,
    pub(crate) facts: Arc<RwLock<Facts>>,
    pub(crate) published: Arc<RwLock<Published>>,
    /// Who is told of durable checkpoints, and who may stop them.
    pub(crate) desk: Arc<Desk>,
    /// Who packs what is closed, and rests while commits come.
    pub(crate) bell: Arc<Bell>,
    pub(crate) notify: Sender<()>,
    pub(crate) handover: Handover,
    pub(crate) read_only: Option<&'static str>,
    pub(crate) failed: Failed,
    pub(crate) meter: Arc<Meter>,
}

impl Committer {
    /// Runs until closed or the sequencer is gone.
    pub(crate) fn run(mut self, inbox: &Receiver<Work>) {
        while let Ok(work) = inbox.recv() {
            match work {
                Work::Commit(ready) => self.commit(*ready),
                Work::Answer(rejected) => turn_away(rejected),
                Work::Seen { found, reply } => drop(reply.send(found)),
                Work::Publish { reply } => {
                    let result = self.publish();
                    if let Some(reply) = reply {
                        let _ = reply.send(result);
                    }
                }
                Work::Snapshot(capture) => match self.publish().and_then(|()| self.settle()) {
                    Ok(()) => self.handover.give(&self.log, *capture),
                    Err(_) => self.handover.skip(),
                },
                Work::Close => {
                    let _ = self.publish();
                    return;
                }
            }
        }
    }

    /// Makes a unit durable and answers.
    fn commit(&mut self, ready: Ready) {
        let meter = self.meter.clone();
        let mut lap = meter.start();
        let Ready { head, hash, bytes, levels, note, time, observed, accepted, rejected } = ready;
        let (first, size, root) = (head.first, head.end, head.root);
        let written = match self.failed.get() {
            Some(failed) => Err(failed.clone()),
            None => self
                .log
                .commit(head, hash, &bytes)
                .map_err(|error| self.failed.get_or_init(|| Failure::of(&error)).clone()),
        };
        lap.end(Stage::CommitUnit);
        self.bell.committed();
        if let Err(failed) = written {
            let replies = accepted.into_iter().map(|(reply, ..)| reply);
            for reply in replies.chain(rejected.into_iter().map(|(reply, _)| reply)) {
                let _ = reply.send(Err(Rejected::Failed(failed.error())));
            }
            return;
        }
        // The unit is durable, so it is acknowledged; a failure of what is derived stops the rest.
        for (level, hashes) in levels.iter().enumerate().filter(|(_, hashes)| !hashes.is_empty()) {
            if let Err(error) = self.tiles.append(level as u8, hashes) {
                let _ = self.failed.set(Failure::of(&error));
                break;
            }
        }
        self.show(&observed, first, (size, root), time, &note);
        let leaves = levels.first().map_or(&[][..], Vec::as_slice);
        for (reply, at, count) in accepted {
            let from = usize::try_from(at.0 - first.0).unwrap_or(usize::MAX);
            let leaves = leaves.get(from..from + count).unwrap_or_default().to_vec();
            let checkpoint = note.clone();
            let _ = reply.send(Ok(Committed { first: at, time, leaves, checkpoint }));
        }
        turn_away(rejected);
        let _ = self.notify.send(());
        lap.end(Stage::Show);
    }

    /// Lets others see what is now durable.
    fn show(
        &self,
        observed: &Observed,
        first: EntryIndex,
        (size, root): (TreeSize, Hash32),
        time: UtcNanos,
        note: &Arc<str>,
    ) {
        let mut facts = self.facts.write().unwrap_or_else(PoisonError::into_inner);
        let counts = observed.groups.iter().map(|(class_day, count)| (*class_day, *count));
        facts.observe_run(counts, first..=EntryIndex(size.0 - 1), time);
        for (kind, clear, index) in &observed.acts {
            let _ = facts.observe_control(*kind, clear, *index, time);
        }
        drop(facts);
        let mut published = self.published.write().unwrap_or_else(PoisonError::into_inner);
        *published = Published { size, root, note: note.clone() };
    }

    /// Tiles, sync, then the checkpoint file. Where somebody else changed it, nothing follows.
    fn publish(&mut self) -> Result<(), Error> {
        if self.read_only.is_some() {
            return Ok(());
        }
        if let Some(failed) = self.failed.get() {
            return Err(failed.error());
        }
        let result = self.publish_inner();
        match &result {
            // Nothing was replaced, and no sync failed: it is tried again with the next one.
            Err(Error::Unavailable(error)) if error.kind == ErrorKind::Full => {}
            Err(Error::Unavailable(error)) => drop(self.failed.set(Failure::of(error))),
            _ => {}
        }
        result
    }

    /// Writes the checkpoint file that was found, before anything that must never be ahead of it.
    fn settle(&mut self) -> Result<(), Error> {
        let Some(note) = self.head_note.as_deref().filter(|_| !self.head_written) else {
            return Ok(());
        };
        self.head
            .compare_and_swap(Some(note), note)
            .inspect_err(|error| drop(self.failed.set(Failure::of(error))))?;
        self.head_written = true;
        Ok(())
    }

    fn publish_inner(&mut self) -> Result<(), Error> {
        let published = self.published.read().unwrap_or_else(PoisonError::into_inner).clone();
        if self.head_note.as_deref() == Some(published.note.as_bytes()) {
            return Ok(());
        }
        if let Some((verdict, detail)) = self.desk.alarmed() {
            return Err(Error::evidence(verdict, detail));
        }
        self.tiles.sync()?;
        let note = published.note.as_bytes();
        self.head.compare_and_swap(self.head_note.as_deref(), note)?;
        (self.head_note, self.head_written) = (Some(note.to_vec()), true);
        self.desk.publish(&published.note);
        self.bell.signed(published.size);
        Ok(())
    }
}

fn turn_away(rejected: Vec<(SyncSender<Outcome>, Rejected)>) {
    rejected.into_iter().for_each(|(reply, why)| drop(reply.send(Err(why))));
}
