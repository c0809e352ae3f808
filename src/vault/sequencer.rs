//! The sequencer: one thread a tenant gives every record its place. It is where facts meet:
//! fences, holds and duplicates are checked against the state at that very index. It commits in
//! groups: bodies, sync, unit, sync, then the answers. It never waits for the key tree, and
//! after a failed write it answers every later job with the same failure.

use crate::base::entry::Kind;
use crate::base::id::{EventIdTag, Hash32, SourceHandle};
use crate::base::limits::UNIT_BYTES_TARGET;
use crate::base::refusal::Refusal;
use crate::base::unit::{ClassDay, Day, EntryIndex, TreeSize, UtcNanos};
use crate::crypto::hash::finish;
use crate::crypto::lanes::Lanes;
use crate::crypto::merkle::Compact;
use crate::format::body;
use crate::format::checkpoint::Checkpoint;
use crate::format::unit::{self, BodySpan, UnitHead};
use crate::format::vkey::Signer;
use crate::format::wire::Write;
use crate::store::bodies::Bodies;
use crate::store::error::{Error as StoreError, ErrorKind};
use crate::store::heads::Head;
use crate::store::log::UnitLog;
use crate::store::tiles::Tiles;
use crate::vault::clock::LogClock;
use crate::vault::dedupe::{Seen, Window};
use crate::vault::error::Error;
use crate::vault::facts::Facts;
use crate::vault::seal::Sealed;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// How often the checkpoint file follows the log while it grows.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// A condition checked at the index where the job would be appended.
pub(crate) type Check = Box<dyn FnOnce(&Facts) -> Result<(), Error> + Send>;

/// What a job came to.
pub(crate) type Outcome = Result<Committed, Rejected>;

/// A durable job.
#[derive(Clone)]
pub(crate) struct Committed {
    pub(crate) first: EntryIndex,
    pub(crate) time: UtcNanos,
    pub(crate) leaves: Vec<Hash32>,
    /// Signed checkpoint of the unit.
    pub(crate) checkpoint: Arc<str>,
}

/// Why a job was not appended.
pub(crate) enum Rejected {
    /// Positions that were sent before, and where they lie.
    Duplicates(Vec<(usize, Original)>),
    /// A person or class-day was fenced after sealing: resolve and seal again.
    Fenced,
    /// Sealed too long ago: seal again with today's key.
    StaleDay,
    /// Refused or failed.
    Failed(Error),
}

/// Where the first of two lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Original {
    /// Committed under this index.
    At(EntryIndex),
    /// Committed; the index finds it by the source's number.
    Before,
    /// Earlier in the same batch.
    InBatch(usize),
    /// Not a duplicate: the number would open too many gaps.
    TooManyGaps,
}

/// What finds a duplicate: source, its number, its event id.
pub(crate) type Name = (SourceHandle, Option<u64>, EventIdTag);

/// A message to the sequencer.
pub(crate) enum Message {
    /// Say which of these were sent before, without appending anything.
    Seen { names: Vec<Name>, reply: SyncSender<Vec<(usize, Original)>> },
    /// Append a batch, all or nothing.
    Append { sealed: Sealed, check: Option<Check>, reply: SyncSender<Outcome> },
    /// Publish the checkpoint now.
    Publish { reply: SyncSender<Result<(), Error>> },
    /// Publish and stop.
    Close,
}

/// What others may see of the log.
#[derive(Clone)]
pub(crate) struct Published {
    pub(crate) size: TreeSize,
    pub(crate) root: Hash32,
    pub(crate) note: Arc<str>,
}

/// Everything the thread owns or writes.
pub(crate) struct Sequencer {
    pub(crate) log: Arc<UnitLog>,
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) tiles: Arc<Tiles>,
    pub(crate) head: Head,
    pub(crate) head_note: Option<Vec<u8>>,
    pub(crate) facts: Arc<RwLock<Facts>>,
    pub(crate) own: Facts,
    pub(crate) window: Window,
    pub(crate) clock: Arc<LogClock>,
    pub(crate) lanes: Lanes,
    pub(crate) tree: Compact,
    pub(crate) prev: Hash32,
    pub(crate) epoch: u64,
    pub(crate) state_before: Option<EntryIndex>,
    pub(crate) signer: Arc<Signer>,
    pub(crate) origin: Arc<str>,
    pub(crate) published: Arc<RwLock<Published>>,
    pub(crate) notify: Sender<()>,
    /// Why nothing may be appended or signed: the files are then left as they were found.
    pub(crate) read_only: Option<&'static str>,
    /// The first failed write: memory is then ahead of the disk, so nothing more is tried.
    pub(crate) failed: Option<Failure>,
}

/// A failed write, to be told to everybody who comes later.
#[derive(Clone)]
pub(crate) struct Failure {
    kind: ErrorKind,
    path: PathBuf,
    what: String,
}

impl Failure {
    fn of(error: &StoreError) -> Self {
        let what = match &error.source {
            Some(source) => format!("{}: {source}", error.what),
            None => error.what.clone(),
        };
        let what = format!(
            "{what}; what was acknowledged is safe, nothing more is written; see to the disk, \
             then open the vault again"
        );
        Failure { kind: error.kind, path: error.path.clone(), what }
    }

    fn error(&self) -> Error {
        Error::Unavailable(StoreError::new(self.kind, &self.path, self.what.clone()))
    }
}

/// A batch that waits for its place.
struct Job {
    sealed: Sealed,
    check: Option<Check>,
    reply: SyncSender<Outcome>,
}

/// One commit in the making.
#[derive(Default)]
struct Commit {
    entries: Vec<u8>,
    leaves: Vec<Hash32>,
    /// In order, so that one seed gives one order of writes.
    files: BTreeMap<ClassDay, Vec<Vec<u8>>>,
    accepted: Vec<(SyncSender<Outcome>, EntryIndex, usize)>,
    rejected: Vec<(SyncSender<Outcome>, Rejected)>,
    observed: Vec<Observed>,
    state_last: Option<EntryIndex>,
    time: UtcNanos,
}

impl Commit {
    /// Whether a unit can still name the body files of this batch.
    fn has_room_for(&self, sealed: &Sealed) -> bool {
        let new = sealed.files.iter().filter(|(day, _)| !self.files.contains_key(day)).count();
        self.leaves.is_empty() || self.files.len() + new <= unit::SPANS_MAX
    }
}

/// What the shared facts learn once the commit is durable.
struct Observed {
    kind: Kind,
    clear: Vec<u8>,
    groups: Vec<(crate::base::unit::ClassId, Day)>,
    index: EntryIndex,
}

impl Sequencer {
    /// Runs until closed or all senders are gone.
    pub(crate) fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            let message = match inbox.recv_timeout(PUBLISH_EVERY) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.publish();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => Message::Close,
            };
            match message {
                Message::Append { sealed, check, reply } => {
                    if self.group(inbox, Job { sealed, check, reply }) {
                        return;
                    }
                }
                other => {
                    if self.other(other) {
                        return;
                    }
                }
            }
        }
    }

    /// Does what is no append. Returns whether the thread must stop.
    fn other(&mut self, message: Message) -> bool {
        match message {
            Message::Publish { reply } => drop(reply.send(self.publish())),
            Message::Seen { names, reply } => drop(reply.send(self.duplicates(names.into_iter()))),
            Message::Append { .. } => {}
            Message::Close => {
                let _ = self.publish();
                return true;
            }
        }
        false
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
                    Ok(Message::Append { sealed, check, reply }) => {
                        let job = Job { sealed, check, reply };
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
        let Job { sealed, check, reply } = job;
        if let Some(code) = self.read_only {
            let error = Error::denied(code, "this vault is open for reading only");
            commit.rejected.push((reply, Rejected::Failed(error)));
            return;
        }
        if let Some(failed) = &self.failed {
            commit.rejected.push((reply, Rejected::Failed(failed.error())));
            return;
        }
        if let Err(rejected) = self.admit(&sealed, commit.time, check) {
            commit.rejected.push((reply, rejected));
            return;
        }
        let first = EntryIndex(self.log.size().0 + commit.leaves.len() as u64);
        let count = sealed.records.len();
        self.place(commit, sealed, first);
        commit.accepted.push((reply, first, count));
    }

    fn admit(&self, sealed: &Sealed, now: UtcNanos, check: Option<Check>) -> Result<(), Rejected> {
        let today = now.day();
        if sealed.day != today && sealed.day.0 + 1 != today.0 && !sealed.files.is_empty() {
            return Err(Rejected::StaleDay);
        }
        if sealed.files.len() > unit::SPANS_MAX {
            let refusal = Refusal::new("BATCH_TOO_MANY_CLASSES", "send fewer classes at a time");
            let refusal = refusal.limit(unit::SPANS_MAX as u64);
            return Err(Rejected::Failed(refusal.into()));
        }
        let fenced = |persons: &[_]| persons.iter().any(|p| self.own.fenced.contains(p));
        if sealed.records.iter().any(|r| fenced(&r.persons))
            || sealed.files.iter().any(|(day, _)| self.own.fenced_days.contains(day))
        {
            return Err(Rejected::Fenced);
        }
        if let Some(check) = check {
            check(&self.own).map_err(Rejected::Failed)?;
        }
        let names = sealed.records.iter().map(|r| (r.source, r.source_seq, r.event_id));
        let duplicates = self.duplicates(names);
        match duplicates.is_empty() {
            true => Ok(()),
            false => Err(Rejected::Duplicates(duplicates)),
        }
    }

    fn duplicates(&self, names: impl Iterator<Item = Name>) -> Vec<(usize, Original)> {
        let mut found = Vec::new();
        let mut batch = HashMap::new();
        for (position, name) in names.enumerate() {
            let (source, seq, event_id) = name;
            if seq.is_none() && event_id.is_zero() {
                continue;
            }
            match self.window.seen(&source, seq, &event_id) {
                Seen::New => {
                    if let Some(first) = batch.insert(name, position) {
                        batch.insert(name, first);
                        found.push((position, Original::InBatch(first)));
                    }
                }
                Seen::At(index) => found.push((position, Original::At(index))),
                Seen::Before => found.push((position, Original::Before)),
                Seen::TooManyGaps => found.push((position, Original::TooManyGaps)),
            }
        }
        found
    }

    fn place(&mut self, commit: &mut Commit, mut sealed: Sealed, first: EntryIndex) {
        for (number, record) in sealed.records.iter().enumerate() {
            let index = EntryIndex(first.0 + number as u64);
            let head = sealed.heads.get(record.head.clone()).unwrap_or_default();
            let mut tail = Vec::with_capacity(48);
            tail.put_u64(index.0);
            tail.put_u64(commit.time.0);
            tail.raw(&self.prev.0);
            let leaf = finish(&record.midstate, head.len() as u64, &tail);
            let entry = head.get(1..).unwrap_or_default();
            commit.entries.put_u16(unit_entry_len(entry.len() + tail.len()));
            commit.entries.raw(entry);
            commit.entries.raw(&tail);
            commit.leaves.push(leaf);
            self.prev = leaf;
            for (file, range) in &record.frames {
                if let Some(frame) =
                    sealed.files.get_mut(*file).and_then(|(_, bytes)| bytes.get_mut(range.clone()))
                {
                    body::set_index(frame, index);
                }
            }
            self.remember(commit, record, index);
        }
        for (class_day, bytes) in sealed.files {
            commit.files.entry(class_day).or_default().push(bytes);
        }
    }

    fn remember(
        &mut self,
        commit: &mut Commit,
        record: &crate::vault::seal::SealedRecord,
        index: EntryIndex,
    ) {
        let (seq, id) = (record.source_seq, &record.event_id);
        self.window.insert(&record.source, seq, id, index, commit.time);
        self.own.observe_plain(record.group_days.iter().copied(), index, commit.time);
        if record.kind != Kind::Event {
            let payload = self.own.observe_control(record.kind, &record.clear, index, commit.time);
            debug_assert!(payload.is_ok(), "the vault wrote a payload it cannot read");
        }
        if unit::is_state(record.kind) {
            commit.state_last = Some(index);
        }
        commit.observed.push(Observed {
            kind: record.kind,
            clear: record.clear.clone(),
            groups: record.group_days.clone(),
            index,
        });
    }

    /// Makes the commit durable and answers.
    fn finish(&mut self, commit: Commit) {
        if commit.leaves.is_empty() {
            commit.rejected.into_iter().for_each(|(reply, why)| drop(reply.send(Err(why))));
            return;
        }
        let result = self.write(&commit);
        let answer = |reply: SyncSender<Outcome>, outcome| drop(reply.send(outcome));
        match result {
            Ok(checkpoint) => {
                self.show(&commit, &checkpoint);
                let start = self.log.size().0 - commit.leaves.len() as u64;
                for (reply, first, count) in commit.accepted {
                    let from = usize::try_from(first.0 - start).unwrap_or(usize::MAX);
                    let leaves = commit.leaves.get(from..from + count).unwrap_or_default().to_vec();
                    let checkpoint = checkpoint.clone();
                    answer(reply, Ok(Committed { first, time: commit.time, leaves, checkpoint }));
                }
                commit.rejected.into_iter().for_each(|(reply, why)| answer(reply, Err(why)));
                let _ = self.notify.send(());
            }
            Err(error) => {
                // Places were given in memory that are not on disk: nothing may follow them.
                let failed = Failure::of(&error);
                let replies = commit.accepted.into_iter().map(|(reply, ..)| reply);
                for reply in replies.chain(commit.rejected.into_iter().map(|(reply, _)| reply)) {
                    answer(reply, Err(Rejected::Failed(failed.error())));
                }
                self.failed = Some(failed);
            }
        }
    }

    /// Bodies, their sync, the unit with its sync, then derived files without.
    fn write(&mut self, commit: &Commit) -> Result<Arc<str>, crate::store::error::Error> {
        let mut spans: Vec<BodySpan> = Vec::with_capacity(commit.files.len());
        for (class_day, parts) in &commit.files {
            let bytes = match parts.as_slice() {
                [one] => std::borrow::Cow::Borrowed(one.as_slice()),
                many => std::borrow::Cow::Owned(many.concat()),
            };
            spans.push(self.bodies.append(*class_day, &bytes)?);
        }
        spans.sort();
        self.bodies.sync(&spans)?;
        let before = self.tree.size();
        let mut levels: Vec<Vec<Hash32>> = vec![commit.leaves.clone()];
        self.tree.extend(&self.lanes, &commit.leaves, &mut |level, hash| {
            let level = usize::from(level);
            if levels.len() <= level {
                levels.resize_with(level + 1, Vec::new);
            }
            levels.iter_mut().skip(level).take(1).for_each(|l| l.push(hash));
        });
        let root = self.tree.root();
        let mut head = UnitHead {
            len: 0,
            number: self.log.unit_count(),
            epoch: self.epoch,
            prev: self.log.last().map_or(Hash32::ZERO, |u| u.hash),
            first: EntryIndex(before.0),
            end: self.tree.size(),
            root,
            state_before: self.state_before,
            spans,
        };
        let sign = |message: &[u8]| self.signer.sign_unit(message);
        let (bytes, hash) = unit::encode(&mut head, &commit.entries, sign);
        self.log.commit(head, hash, &bytes)?;
        self.state_before = commit.state_last.or(self.state_before);
        // The unit is durable, so it is acknowledged; a failure of what is derived stops the rest.
        for (level, hashes) in levels.iter().enumerate().filter(|(_, hashes)| !hashes.is_empty()) {
            if let Err(error) = self.tiles.append(level as u8, hashes) {
                self.failed = Some(Failure::of(&error));
                break;
            }
        }
        Ok(self.note().into())
    }

    fn note(&self) -> String {
        let (origin, size, root) = (self.origin.to_string(), self.tree.size(), self.tree.root());
        let checkpoint = Checkpoint { origin, size, root };
        checkpoint.sign(&[&self.signer]).unwrap_or_default()
    }

    /// Lets others see what is now durable.
    fn show(&mut self, commit: &Commit, note: &Arc<str>) {
        let mut facts = self.facts.write().unwrap_or_else(PoisonError::into_inner);
        for seen in &commit.observed {
            facts.observe_plain(seen.groups.iter().copied(), seen.index, commit.time);
            if seen.kind != Kind::Event {
                let _ = facts.observe_control(seen.kind, &seen.clear, seen.index, commit.time);
            }
        }
        drop(facts);
        let mut published = self.published.write().unwrap_or_else(PoisonError::into_inner);
        *published =
            Published { size: self.tree.size(), root: self.tree.root(), note: note.clone() };
    }

    /// Tiles, sync, then the checkpoint file. Where somebody else changed it, nothing follows.
    fn publish(&mut self) -> Result<(), Error> {
        if self.read_only.is_some() {
            return Ok(());
        }
        if let Some(failed) = &self.failed {
            return Err(failed.error());
        }
        let result = self.publish_inner();
        if let Err(Error::Unavailable(error)) = &result {
            self.failed = Some(Failure::of(error));
        }
        result
    }

    fn publish_inner(&mut self) -> Result<(), Error> {
        let published = self.published.read().unwrap_or_else(PoisonError::into_inner).clone();
        if self.head_note.as_deref() == Some(published.note.as_bytes()) {
            return Ok(());
        }
        self.tiles.sync()?;
        let note = published.note.as_bytes();
        self.head.compare_and_swap(self.head_note.as_deref(), note)?;
        self.head_note = Some(note.to_vec());
        Ok(())
    }
}

fn unit_entry_len(len: usize) -> u16 {
    crate::format::wire::len_of(len)
}
