//! Append: drafts in, receipts out, nothing in between. A batch is accepted as a whole or not at
//! all; what is acknowledged is durable, in order. A client that leaves cannot half-commit.

use crate::base::entry::Kind;
use crate::base::event::Verb;
use crate::base::event::{Dedupe, Draft, Event};
use crate::base::id::{EventIdTag, Hash32};
use crate::base::limits::{BATCH_EVENTS_MAX, POOL_BYTES_MAX};
use crate::base::record::Fate;
use crate::base::refusal::Refusal;
use crate::base::unit::{Day, EntryIndex, TreeSize, UtcNanos};
use crate::base::world::Entropy;
use crate::format::cell::CellKey;
use crate::format::control::{self, KeyRoll, RootChange};
use crate::policy::classify::Scratch;
use crate::store::keytree::{KeyTree, Put, Rekeyed};
use crate::vault::clerk::{Clerk, gone};
use crate::vault::error::{Error, Result};
use crate::vault::keys::{EventKeys, Wanted};
use crate::vault::learn::Lesson;
use crate::vault::read::Reading;
use crate::vault::sequencer::{Committed, Message, Original, Rejected};
use crate::vault::{Vault, vault_code};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use zeroize::Zeroizing;

/// Times a batch is sealed again because a fence or midnight passed meanwhile.
const RESEALS_MAX: usize = 8;

/// What an appended event's sender keeps: with `Vault::prove` it becomes an offline proof.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// Index of the entry.
    pub index: EntryIndex,
    /// Its log time.
    pub time: UtcNanos,
    /// Its leaf hash.
    pub leaf: Hash32,
    /// Signed checkpoint of the commit that holds it.
    pub checkpoint: Arc<str>,
    /// Whether the same event was there already: then this is the first one's receipt.
    pub duplicate: bool,
}

impl Vault {
    /// Appends events, all or nothing.
    ///
    /// # Errors
    /// `Invalid` naming the first bad event; `Conflict` when a number or id was used for another
    /// event; `Overloaded`; `Denied` when the vault is read-only or its clock not accepted.
    pub fn append(&self, drafts: &[Draft<'_>]) -> Result<Vec<Receipt>> {
        let policies = self.policies();
        let mut scratch = Scratch::default();
        let mut events = Vec::with_capacity(drafts.len());
        for (position, draft) in drafts.iter().enumerate() {
            let event = policies.event(*draft, &mut scratch);
            events.push(event.map_err(|refusal| Error::Invalid { position, refusal })?);
        }
        self.append_events(events)
    }

    /// Appends classified events, all or nothing.
    ///
    /// # Errors
    /// As `append`.
    pub fn append_events(&self, events: Vec<Event<'_>>) -> Result<Vec<Receipt>> {
        self.writable()?;
        if events.len() > BATCH_EVENTS_MAX {
            let refusal = Refusal::new("BATCH_TOO_LARGE", "send smaller batches");
            return Err(refusal.limit(BATCH_EVENTS_MAX as u64).into());
        }
        let bytes = events.iter().map(weight).sum();
        let _place = self.place(bytes)?;
        self.register_sources(&events.iter().map(|e| e.source.clone()).collect())?;
        let mut receipts: Vec<Option<Receipt>> = vec![None; events.len()];
        let mut waiting: Vec<(usize, Event<'_>)> = events.into_iter().enumerate().collect();
        let mut same: Vec<(usize, usize)> = Vec::new();
        for _ in 0..RESEALS_MAX {
            if waiting.is_empty() {
                break;
            }
            let (positions, events): (Vec<usize>, Vec<Event<'_>>) = waiting.into_iter().unzip();
            match self.try_append(&events)? {
                Ok(done) => {
                    self.fill(&mut receipts, &positions, &done);
                    waiting = Vec::new();
                }
                Err(Rejected::Failed(error)) => return Err(error),
                Err(why @ (Rejected::Fenced | Rejected::StaleDay)) => {
                    // Whoever set the fence holds the key tree until the keys are gone.
                    if matches!(why, Rejected::Fenced) {
                        drop(self.inner.keys.tree());
                    }
                    waiting = positions.into_iter().zip(events).collect();
                }
                Err(Rejected::Duplicates(found)) => {
                    let found = self.settle_duplicates(&events, &positions, found)?;
                    for (at, what) in &found {
                        match what {
                            Settled::Receipt(receipt) => {
                                if let Some(slot) = receipts.get_mut(*at) {
                                    *slot = Some(receipt.clone());
                                }
                            }
                            Settled::SameAs(first) => same.push((*at, *first)),
                        }
                    }
                    let gone = |at: &usize| found.iter().any(|(f, _)| f == at);
                    let all = positions.into_iter().zip(events);
                    waiting = all.filter(|(at, _)| !gone(at)).collect();
                }
            }
        }
        for (at, first) in same {
            let receipt = receipts.get(first).cloned().flatten();
            if let (Some(slot), Some(receipt)) = (receipts.get_mut(at), receipt) {
                *slot = Some(Receipt { duplicate: true, ..receipt });
            }
        }
        receipts.into_iter().collect::<Option<Vec<_>>>().ok_or(Error::Overloaded)
    }

    fn try_append(&self, events: &[Event<'_>]) -> Result<std::result::Result<Committed, Rejected>> {
        let day = self.inner.clock.now().day();
        let keys = match self.inner.keys.lookup(events, day) {
            Ok(keys) => keys,
            Err(wanted) => {
                // Asked before anybody is made known: what comes again of an erased person must
                // not bring the person's identifiers back.
                let found = match wanted.subjects.is_empty() {
                    true => Vec::new(),
                    false => self.seen(events)?,
                };
                if !found.is_empty() {
                    return Ok(Err(Rejected::Duplicates(found)));
                }
                self.keys_for(events, day)?
            }
        };
        let sealed = self.inner.clerk.sealer(day).events(events, &keys)?;
        let answer = self.inner.clerk.send(sealed, None);
        Ok(Clerk::wait(&answer))
    }

    /// Which of these events were sent before.
    fn seen(&self, events: &[Event<'_>]) -> Result<Vec<(usize, Original)>> {
        let keys = &self.inner.keys;
        let name = |event: &Event<'_>| {
            let source = keys.source_handle(&event.source);
            match &event.dedupe {
                Dedupe::Sequence(seq) => (source, Some(*seq), EventIdTag::ZERO),
                Dedupe::EventId(id) => (source, None, keys.event_id_tag(&source, id)),
                Dedupe::None => (source, None, EventIdTag::ZERO),
            }
        };
        let names = events.iter().map(name).collect();
        let (reply, answer) = sync_channel(1);
        let sent = self.inner.clerk.inbox.send(Message::Seen { names, reply });
        sent.ok().and_then(|()| answer.recv().ok()).ok_or_else(gone)?
    }

    fn fill(&self, receipts: &mut [Option<Receipt>], positions: &[usize], done: &Committed) {
        for (number, (at, leaf)) in positions.iter().zip(&done.leaves).enumerate() {
            if let Some(slot) = receipts.get_mut(*at) {
                *slot = Some(Receipt {
                    index: EntryIndex(done.first.0 + number as u64),
                    time: done.time,
                    leaf: *leaf,
                    checkpoint: done.checkpoint.clone(),
                    duplicate: false,
                });
            }
        }
    }

    /// Whether anything may be appended now.
    pub(crate) fn writable(&self) -> Result<()> {
        if let Some(code) = self.inner.read_only {
            return Err(Error::denied(code, "this vault is open for reading only"));
        }
        if self.inner.clock.is_ahead() {
            let fix = "the clock is more than seven days beyond the last entry: correct it, or \
                       say --accept-time";
            return Err(Error::denied("CLOCK_NOT_ACCEPTED", fix));
        }
        Ok(())
    }

    fn place(&self, bytes: usize) -> Result<Place<'_>> {
        let before = self.inner.pool.fetch_add(bytes, Ordering::SeqCst);
        let place = Place { vault: self, bytes };
        match before + bytes > POOL_BYTES_MAX && before > 0 {
            true => Err(Error::Overloaded),
            false => Ok(place),
        }
    }

    /// Keys for every event; what is missing is made and synced first.
    pub(crate) fn keys_for(&self, events: &[Event<'_>], day: Day) -> Result<Vec<EventKeys>> {
        for _ in 0..RESEALS_MAX {
            match self.inner.keys.lookup(events, day) {
                Ok(keys) => return Ok(keys),
                Err(wanted) => self.learn(&wanted, day)?,
            }
        }
        Err(Error::Overloaded)
    }

    /// Makes persons and keys; nothing is handed out before it is synced.
    pub(crate) fn learn(&self, wanted: &Wanted, day: Day) -> Result<()> {
        let keys = &self.inner.keys;
        let mut tree = keys.tree();
        let entropy: &dyn Entropy = &*self.inner.world.entropy;
        let (changes, identifiers, persons, class_days) = {
            let facts = self.facts();
            let mut lesson = Lesson::new(&tree, keys.directory(), &facts, entropy, day);
            lesson.take(wanted)?;
            let (changes, persons) = (lesson.changes(), lesson.persons());
            (changes, lesson.identifiers, persons, lesson.class_days)
        };
        self.put(&mut tree, changes)?;
        keys.admit(identifiers, &persons, class_days.into_iter().collect());
        Ok(())
    }

    /// Writes cells; a tree that must grow announces it in the log first.
    pub(crate) fn put(
        &self,
        tree: &mut KeyTree,
        changes: Vec<(CellKey, Zeroizing<Vec<u8>>)>,
    ) -> Result<()> {
        let entropy: &dyn Entropy = &*self.inner.world.entropy;
        match tree.put(changes.clone(), entropy)? {
            Put::Done { .. } => Ok(()),
            Put::RootWouldSplit => {
                let clerk = &self.inner.clerk;
                let code = vault_code(Verb::Rotate);
                self.announce_root(tree)?;
                let intent = KeyRoll::GrowthIntent { generation: tree.generation() };
                clerk.record(Kind::KeyRoll, code, control::encode(&intent)?)?;
                let changes = changes.into_iter().map(|(key, cell)| (key, Some(cell))).collect();
                let rekeyed = tree.rekey(changes, self.log_head(), entropy)?;
                let done = KeyRoll::GrowthDone { root: root_change(&rekeyed) };
                clerk.record(Kind::KeyRoll, code, control::encode(&done)?)?;
                Ok(())
            }
        }
    }

    /// Says in the log that the root has changed, if it has and nothing says so yet: a crash or
    /// failure came between a re-keying and its done entry. No two changes go unannounced.
    pub(crate) fn announce_root(&self, tree: &KeyTree) -> Result<()> {
        let (from, old_root) = self.facts().root;
        let (to, new_root) = (tree.generation(), tree.root_hash());
        if from == to {
            return Ok(());
        }
        let done = KeyRoll::GrowthDone { root: RootChange { from, to, old_root, new_root } };
        let clear = control::encode(&done)?;
        self.inner.clerk.record(Kind::KeyRoll, vault_code(Verb::Rotate), clear).map(|_| ())
    }

    /// Where the log stands, for a root slot.
    pub(crate) fn log_head(&self) -> (TreeSize, Hash32) {
        let published = self.inner.published.read().unwrap_or_else(|e| e.into_inner());
        (published.size, published.root)
    }

    /// Compares what came again with what was there first.
    fn settle_duplicates(
        &self,
        events: &[Event<'_>],
        positions: &[usize],
        found: Vec<(usize, Original)>,
    ) -> Result<Vec<(usize, Settled)>> {
        let mut settled = Vec::with_capacity(found.len());
        for (at, original) in found {
            let (Some(event), Some(position)) = (events.get(at), positions.get(at)) else {
                continue;
            };
            let what = match original {
                Original::InBatch(first) => {
                    let same = events.get(first).is_some_and(|other| other == event);
                    let first = positions.get(first).copied().filter(|_| same);
                    Settled::SameAs(first.ok_or_else(|| conflict(None))?)
                }
                Original::TooManyGaps => {
                    let fix = "the source skips too many numbers: check it, or declare another \
                               dedupe key";
                    let first = None;
                    return Err(Error::Conflict {
                        code: "SOURCE_TOO_MANY_GAPS",
                        first,
                        fix: fix.into(),
                    });
                }
                Original::At(index) => Settled::Receipt(self.same_record(event, index)?),
                Original::Before => Settled::Receipt(self.same_position(event)?),
            };
            settled.push((*position, what));
        }
        Ok(settled)
    }

    fn same_position(&self, event: &Event<'_>) -> Result<Receipt> {
        let Dedupe::Sequence(seq) = event.dedupe else {
            return Err(conflict(None));
        };
        let source = self.inner.keys.source_handle(&event.source);
        match self.find_position(&source, seq)? {
            Some(index) => self.same_record(event, index),
            None => Err(Error::evidence("INDEX_INCOMPLETE", "a used source number was not found")),
        }
    }

    /// The first one's receipt, if the stored record says exactly what `event` says.
    fn same_record(&self, event: &Event<'_>, index: EntryIndex) -> Result<Receipt> {
        let record = self.record(index, Reading { open: true, destination: None })?;
        let head = &record.entry.head;
        if record.groups.iter().any(|fate| matches!(fate, Fate::Erased | Fate::Expired)) {
            let fix = "it was erased or has expired and cannot be compared; do not send it again";
            let first = Some(index);
            return Err(Error::Conflict { code: "DUPLICATE_OF_ERASED", first, fix: fix.into() });
        }
        let plain = (head.time, head.code, head.outcome, head.severity)
            == (event.time, event.code, event.outcome, event.severity)
            && head.clear == event.clear;
        let values: HashMap<&str, &[u8]> = event
            .groups
            .iter()
            .flat_map(|g| g.fields.iter().map(|f| (&*f.name, &*f.value)))
            .collect();
        let sealed = record.fields.len() == values.len()
            && record.fields.iter().all(|f| f.value.as_deref() == values.get(&*f.name).copied());
        if !(plain && sealed) {
            self.record_conflict(index)?;
            return Err(conflict(Some(index)));
        }
        let published = self.inner.published.read().unwrap_or_else(|e| e.into_inner());
        Ok(Receipt {
            index,
            time: record.entry.time_log,
            leaf: record.leaf,
            checkpoint: published.note.clone(),
            duplicate: true,
        })
    }

    fn record_conflict(&self, first: EntryIndex) -> Result<()> {
        let clear = control::encode(&control::Conflict { first })?;
        self.inner.clerk.record(Kind::Conflict, vault_code(Verb::Deny), clear).map(|_| ())
    }
}

/// What a duplicate turned out to be.
enum Settled {
    /// The first one's receipt.
    Receipt(Receipt),
    /// The same as another event of the batch.
    SameAs(usize),
}

/// A place in the pool of bytes in flight.
struct Place<'v> {
    vault: &'v Vault,
    bytes: usize,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.vault.inner.pool.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

fn weight(event: &Event<'_>) -> usize {
    let values = event.groups.iter().flat_map(|g| g.fields.iter().map(|f| f.value.len()));
    256 + event.clear.len() + values.sum::<usize>()
}

fn conflict(first: Option<EntryIndex>) -> Error {
    let fix = "this source number or event id was used for another event; give each its own";
    Error::Conflict { code: "DUPLICATE_DIFFERS", first, fix: fix.into() }
}

/// The root change of a re-keying, as entries announce it.
pub(crate) fn root_change(rekeyed: &Rekeyed) -> RootChange {
    RootChange {
        from: rekeyed.from,
        to: rekeyed.to,
        old_root: rekeyed.old_root,
        new_root: rekeyed.new_root,
    }
}

/// Sorted and unique.
pub(crate) fn unique<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items.dedup();
    items
}
