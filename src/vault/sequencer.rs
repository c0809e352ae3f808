//! The sequencer: one thread a tenant gives every record its place. It is where facts meet:
//! fences, holds and duplicates are checked against the state at that very index. It gathers what
//! waits into one commit, writes and syncs the bodies, and hands the unit to the committer: while
//! that one syncs, the next commit's bodies are on their way. It never waits for the key tree, and
//! after a failed write it answers every later job with the same failure.

mod admission;
mod message;
#[cfg(test)]
mod tests;

pub(crate) use crate::vault::sequencer::message::{
    Check, Committed, Known, Message, Name, Original, Outcome, Promote, Rejected, RollAct, Rolled,
};

use crate::base::entry::Kind;
use crate::base::id::Hash32;
use crate::base::limits::UNIT_BYTES_TARGET;
use crate::base::unit::{ClassDay, EntryIndex, TreeSize, UtcNanos};
use crate::crypto::hash::finish;
use crate::crypto::lanes::Lanes;
use crate::crypto::merkle::Compact;
use crate::format::checkpoint::Checkpoint;
use crate::format::entry::TAIL_BYTES;
use crate::format::unit::{self, BodySpan, UnitHead};
use crate::format::vkey::Signer;
use crate::format::{body, entry};
use crate::store::bodies::Bodies;
use crate::store::disk::{Disk, Writer};
use crate::store::error::Error as StoreError;
use crate::store::log::UnitLog;
use crate::vault::clerk;
use crate::vault::clock::LogClock;
use crate::vault::committer::{Failed, Failure, Observed, Ready, Work};
use crate::vault::dedupe::{Sequence, Window};
use crate::vault::error::Error;
use crate::vault::facts::Facts;
use crate::vault::line::Turn;
use crate::vault::meter::{Lap, Meter, Stage};
use crate::vault::proven::Proven;
use crate::vault::seal::Sealed;
use crate::vault::snapshot::Archive;
use crate::vault::witness::desk::Desk;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// How often the checkpoint file follows the log while it grows.
pub(crate) const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// Everything the thread owns or writes.
pub(crate) struct Sequencer {
    /// The log as far as it is durable, to be read only.
    pub(crate) log: Arc<UnitLog>,
    pub(crate) proven: Proven,
    pub(crate) archive: Archive,
    /// When the checkpoint file was last asked to follow.
    pub(crate) published_at: UtcNanos,
    pub(crate) bodies: Arc<Bodies>,
    /// Asked for room.
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) own: Facts,
    pub(crate) window: Window,
    pub(crate) clock: Arc<LogClock>,
    pub(crate) lanes: Lanes,
    pub(crate) tree: Compact,
    pub(crate) prev: Hash32,
    pub(crate) epoch: u64,
    /// Number the next unit gets, and the hash of the one before.
    pub(crate) unit: (u64, Hash32),
    pub(crate) state_before: Option<EntryIndex>,
    pub(crate) signer: Arc<Signer>,
    /// Who signs beside it while a roll is committed.
    pub(crate) successor: Option<Arc<Signer>>,
    pub(crate) origin: Arc<str>,
    pub(crate) committer: SyncSender<Work>,
    /// Who may stop appends.
    pub(crate) desk: Arc<Desk>,
    /// Why nothing may be appended or signed: the files are then left as they were found.
    pub(crate) read_only: Option<&'static str>,
    /// The first failed write: memory is then ahead of the disk, so nothing more is tried.
    pub(crate) failed: Failed,
    pub(crate) meter: Arc<Meter>,
}

/// A batch that waits for its place.
struct Job {
    sealed: Vec<Sealed>,
    check: Option<Check>,
    turn: Option<Turn>,
    reply: SyncSender<Outcome>,
}

/// One commit in the making.
#[derive(Default)]
struct Commit {
    entries: Vec<u8>,
    /// What its entries and bodies take on the disk.
    bytes: usize,
    leaves: Vec<Hash32>,
    /// In order, so that one seed gives one order of writes.
    files: BTreeMap<ClassDay, Vec<Vec<u8>>>,
    accepted: Vec<(SyncSender<Outcome>, EntryIndex, usize)>,
    rejected: Vec<(SyncSender<Outcome>, Rejected)>,
    observed: Observed,
    state_last: Option<EntryIndex>,
    time: UtcNanos,
}

/// Bytes that a batch takes on the disk, but for the head of its unit.
fn stored_bytes(sealed: &Sealed) -> usize {
    sealed.entries.len() + sealed.files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
}

impl Commit {
    /// Whether a unit can still name the body files of this batch.
    fn has_room_for(&self, sealed: &[Sealed]) -> bool {
        let new = class_days(sealed).iter().filter(|day| !self.files.contains_key(day)).count();
        self.leaves.is_empty() || self.files.len() + new <= unit::SPANS_MAX
    }
}

impl Sequencer {
    /// Runs until closed or all senders are gone.
    pub(crate) fn run(mut self, inbox: &Receiver<Message>) {
        // An opening that read much leaves a snapshot, so that the next one need not.
        self.follow();
        loop {
            let message = match inbox.recv_timeout(PUBLISH_EVERY) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.committer.send(Work::Publish { reply: None });
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => Message::Close,
            };
            match message {
                Message::Append { sealed, check, turn, reply } => {
                    if self.group(inbox, Job { sealed, check, turn, reply }) {
                        return;
                    }
                    self.follow();
                }
                other => {
                    if self.other(other) {
                        return;
                    }
                }
            }
        }
    }

    /// Does what is no append. Returns whether the thread must stop. Answers pass through the
    /// committer, so that what they speak of is durable.
    fn other(&mut self, message: Message) -> bool {
        let work = match message {
            Message::Publish { reply } => Work::Publish { reply: Some(reply) },
            Message::Seen { names, reply } => {
                Work::Seen { found: self.duplicates(names.into_iter()), reply }
            }
            Message::Gaps { source, reply } => {
                let gaps = self.window.sequence(&source).and_then(Sequence::missing);
                drop(reply.send(gaps));
                return false;
            }
            Message::Roll { next, act, promote, reply } => {
                drop(reply.send(self.roll(next, act, promote)));
                return false;
            }
            Message::Append { .. } => return false,
            Message::Close => {
                self.archive_last();
                let _ = self.committer.send(Work::Close);
                return true;
            }
        };
        let _ = self.committer.send(work);
        false
    }

    /// The entry of a roll is a unit of its own, the last one the old key signs; the checkpoint of
    /// that size is signed by both keys, every later one by the new key alone. Nothing else is
    /// given a place until the unit is durable and the successor is in force.
    fn roll(&mut self, next: Arc<Signer>, act: RollAct, promote: Promote) -> Rolled {
        let until = TreeSize(self.tree.size().0 + 1);
        let sealed = match (self.read_only, self.failed.get()) {
            (Some(code), _) => return Err(Error::denied(code, "open for reading only")),
            (None, Some(failed)) => return Err(failed.error()),
            (None, None) => act(until, &self.signer)?,
        };
        let (reply, answer) = sync_channel(1);
        let mut commit = Commit { time: self.clock.now(), ..Commit::default() };
        self.take(&mut commit, Job { sealed: vec![sealed], check: None, turn: None, reply });
        self.successor = Some(next.clone());
        self.finish(commit);
        self.successor = None;
        let committed = match answer.recv() {
            Ok(Ok(committed)) => committed,
            Ok(Err(Rejected::Failed(error))) => return Err(error),
            _ => return Err(Error::denied("DAY_CHANGED", "midnight passed meanwhile; ask again")),
        };
        // The log says so now: whatever fails from here on, the old key signs nothing more.
        self.signer = next;
        let (reply, answer) = sync_channel(1);
        let _ = self.committer.send(Work::Publish { reply: Some(reply) });
        let published = answer.recv().unwrap_or_else(|_| Err(clerk::gone()));
        let promoted = promote();
        if let Err(Error::Unavailable(error)) = &promoted {
            let _ = self.failed.set(Failure::of(error));
        }
        published.and(promoted).map(|()| committed.first)
    }

    /// Takes what is queued into one commit, and into another where a unit is full. Returns
    /// whether the thread must stop.
    fn group(&mut self, inbox: &Receiver<Message>, first: Job) -> bool {
        let mut next = Some(first);
        let mut after = None;
        while let Some(job) = next.take() {
            let mut commit = Commit { time: self.clock.now(), ..Commit::default() };
            self.take(&mut commit, job);
            while commit.entries.len() < UNIT_BYTES_TARGET && next.is_none() && after.is_none() {
                match inbox.try_recv() {
                    Ok(Message::Append { sealed, check, turn, reply }) => {
                        let job = Job { sealed, check, turn, reply };
                        match commit.has_room_for(&job.sealed) {
                            true => self.take(&mut commit, job),
                            false => next = Some(job),
                        }
                    }
                    Ok(other) => after = Some(other),
                    Err(_) => break,
                }
            }
            self.finish(commit);
        }
        after.is_some_and(|message| self.other(message))
    }

    /// Checks one job against the state at its place, and gives it the place.
    fn take(&mut self, commit: &mut Commit, job: Job) {
        let Job { sealed, check, turn, reply } = job;
        if let Some(code) = self.read_only {
            let error = Error::denied(code, "this vault is open for reading only");
            commit.rejected.push((reply, Rejected::Failed(error)));
            return;
        }
        if let Some((verdict, detail)) = self.desk.alarmed() {
            let error = Error::evidence(verdict, detail);
            commit.rejected.push((reply, Rejected::Failed(error)));
            return;
        }
        if let Some(failed) = self.failed.get() {
            commit.rejected.push((reply, Rejected::Failed(failed.error())));
            return;
        }
        if turn.as_ref().is_some_and(|turn| !turn.has_come()) {
            commit.rejected.push((reply, Rejected::OutOfTurn));
            return;
        }
        // Asked before a place is given: a place that is on no disk ends all appends.
        let bytes = commit.bytes + sealed.iter().map(stored_bytes).sum::<usize>();
        if let Err(error) = self.disk.room(bytes as u64, Writer::Own) {
            commit.rejected.push((reply, Rejected::Failed(error.into())));
            return;
        }
        let meter = self.meter.clone();
        let mut lap = meter.start();
        if let Err(rejected) = self.admit(&sealed, commit.time, check) {
            commit.rejected.push((reply, rejected));
            return;
        }
        lap.end(Stage::Admit);
        commit.bytes = bytes;
        let before = commit.leaves.len();
        let first = EntryIndex(self.tree.size().0 + before as u64);
        for part in sealed {
            self.place(commit, part);
        }
        let count = commit.leaves.len() - before;
        turn.iter().for_each(Turn::pass);
        lap.end(Stage::Place);
        commit.accepted.push((reply, first, count));
    }

    /// Gives a batch its places: the end of each entry, the last block of each leaf, the index in
    /// each frame.
    fn place(&mut self, commit: &mut Commit, mut sealed: Sealed) {
        let first = EntryIndex(self.tree.size().0 + commit.leaves.len() as u64);
        let mut groups: HashMap<ClassDay, u64> = HashMap::new();
        let mut class_day = ClassDay::default();
        let mut count = 0;
        for (number, record) in sealed.records.iter().enumerate() {
            let index = EntryIndex(first.0 + number as u64);
            let tail = entry::tail(index, commit.time, &self.prev);
            let hashed = 1 + record.entry.len() - TAIL_BYTES;
            self.prev = finish(&record.midstate, hashed as u64, &tail);
            commit.leaves.push(self.prev);
            let end = record.entry.end - TAIL_BYTES..record.entry.end;
            sealed.entries.get_mut(end).into_iter().for_each(|to| to.copy_from_slice(&tail));
            for (file, start) in sealed.frames.get(record.frames.clone()).unwrap_or_default() {
                let frame = sealed.files.get_mut(*file).and_then(|(_, b)| b.get_mut(*start..));
                frame.into_iter().for_each(|frame| body::set_index(frame, index));
            }
            let own = ClassDay { class: record.class, day: sealed.day };
            if own != class_day && count > 0 {
                *groups.entry(class_day).or_default() += count;
                count = 0;
            }
            (class_day, count) = (own, count + record.frames.len() as u64);
            let (seq, id) = (record.source_seq, &record.event_id);
            self.window.insert(&record.source, seq, id, index, commit.time);
        }
        if count > 0 {
            *groups.entry(class_day).or_default() += count;
        }
        self.remember(commit, &mut sealed, groups, first);
        match commit.entries.is_empty() {
            true => commit.entries = sealed.entries,
            false => commit.entries.extend_from_slice(&sealed.entries),
        }
        for (class_day, bytes) in sealed.files {
            commit.files.entry(class_day).or_default().push(bytes);
        }
    }

    /// Takes a placed batch into the facts, and notes what others learn once it is durable.
    fn remember(
        &mut self,
        commit: &mut Commit,
        sealed: &mut Sealed,
        groups: HashMap<ClassDay, u64>,
        first: EntryIndex,
    ) {
        let last = EntryIndex(first.0 + sealed.records.len().saturating_sub(1) as u64);
        let counts = groups.iter().map(|(class_day, count)| (*class_day, *count));
        self.own.observe_run(counts, first..=last, commit.time);
        for (number, record) in sealed.records.iter_mut().enumerate() {
            if record.kind == Kind::Event {
                continue;
            }
            let index = EntryIndex(first.0 + number as u64);
            let payload = self.own.observe_control(record.kind, &record.clear, index, commit.time);
            debug_assert!(payload.is_ok(), "the vault wrote a payload it cannot read");
            if unit::is_state(record.kind) {
                commit.state_last = Some(index);
            }
            commit.observed.acts.push((record.kind, std::mem::take(&mut record.clear), index));
        }
        for (class_day, count) in groups {
            *commit.observed.groups.entry(class_day).or_default() += count;
        }
    }

    /// Writes the bodies and hands the unit over, to be made durable and answered.
    fn finish(&mut self, mut commit: Commit) {
        let rejected = std::mem::take(&mut commit.rejected);
        if commit.leaves.is_empty() {
            let _ = self.committer.send(Work::Answer(rejected));
            return;
        }
        let accepted = std::mem::take(&mut commit.accepted);
        let meter = self.meter.clone();
        let mut lap = meter.start();
        let work = match self.prepare(commit, &mut lap) {
            Ok(ready) => Work::Commit(Box::new(Ready { accepted, rejected, ..ready })),
            Err(error) => {
                // Places were given in memory that are not on disk: nothing may follow them.
                let failure = Failure::of(&error);
                let told = self.failed.get_or_init(|| failure).clone();
                let replies = accepted.into_iter().map(|(reply, ..)| reply);
                let replies = replies.chain(rejected.into_iter().map(|(reply, _)| reply));
                Work::Answer(replies.map(|r| (r, Rejected::Failed(told.error()))).collect())
            }
        };
        let _ = self.committer.send(work);
        meter.commit();
    }

    /// Bodies and their sync, then the unit's bytes.
    fn prepare(&mut self, commit: Commit, lap: &mut Lap<'_>) -> Result<Ready, StoreError> {
        let mut spans: Vec<BodySpan> = Vec::with_capacity(commit.files.len());
        for (class_day, parts) in &commit.files {
            let mut whole: Option<BodySpan> = None;
            for frames in parts {
                let span = self.bodies.append(*class_day, frames)?;
                whole = Some(BodySpan { start: whole.map_or(span.start, |w| w.start), ..span });
            }
            spans.extend(whole);
        }
        spans.sort();
        lap.end(Stage::WriteBodies);
        self.bodies.sync(&spans)?;
        lap.end(Stage::SyncBodies);
        let before = self.tree.size();
        let mut levels: Vec<Vec<Hash32>> = vec![Vec::new()];
        self.tree.extend(&self.lanes, &commit.leaves, &mut |level, hash| {
            let level = usize::from(level);
            if levels.len() <= level {
                levels.resize_with(level + 1, Vec::new);
            }
            levels.iter_mut().skip(level).take(1).for_each(|l| l.push(hash));
        });
        levels.iter_mut().take(1).for_each(|level| level.clone_from(&commit.leaves));
        let (size, root) = (self.tree.size(), self.tree.root());
        lap.end(Stage::Merkle);
        let (number, prev) = self.unit;
        let mut head = UnitHead {
            len: 0,
            number,
            epoch: self.epoch,
            prev,
            first: EntryIndex(before.0),
            end: size,
            root,
            state_before: self.state_before,
            spans,
        };
        let sign = |message: &[u8]| self.signer.sign_unit(message);
        let (bytes, hash) = unit::encode(&mut head, &commit.entries, sign);
        self.unit = (number + 1, hash);
        self.state_before = commit.state_last.or(self.state_before);
        let note = self.note(size, root).into();
        lap.end(Stage::Sign);
        Ok(Ready {
            head,
            hash,
            bytes,
            levels,
            note,
            time: commit.time,
            observed: commit.observed,
            accepted: Vec::new(),
            rejected: Vec::new(),
        })
    }

    fn note(&self, size: TreeSize, root: Hash32) -> String {
        let checkpoint = Checkpoint { origin: self.origin.to_string(), size, root };
        let signers: Vec<&Signer> =
            std::iter::once(&*self.signer).chain(self.successor.as_deref()).collect();
        checkpoint.sign(&signers).unwrap_or_default()
    }
}

/// The class-days whose files a batch has frames for, ascending.
fn class_days(parts: &[Sealed]) -> Vec<ClassDay> {
    let mut found: Vec<ClassDay> =
        parts.iter().flat_map(|part| part.files.iter().map(|(day, _)| *day)).collect();
    found.sort_unstable();
    found.dedup();
    found
}
