//! Append: drafts in, receipts out, nothing in between. A batch is accepted as a whole or not at
//! all; what is acknowledged is durable, in order. A client that leaves cannot half-commit.

mod duplicates;
mod each;
mod shelf;

pub(crate) use crate::vault::append::shelf::Shelf;

use crate::base::entry::Kind;
use crate::base::event::Verb;
use crate::base::event::{Dedupe, Draft, Event};
use crate::base::id::{EventIdTag, Hash32};
use crate::base::limits::{BATCH_EVENTS_MAX, POOL_BYTES_MAX};
use crate::base::refusal::Refusal;
use crate::base::unit::{Day, EntryIndex, TreeSize, UtcNanos};
use crate::base::world::Entropy;
use crate::format::cell::CellKey;
use crate::format::control::{self, KeyRoll, RootChange};
use crate::policy::terms::Terms;
use crate::store::disk::Writer;
use crate::store::keytree::{KeyTree, Put, Rekeyed};
use crate::vault::append::duplicates::Settled;
use crate::vault::clerk::{Clerk, gone};
use crate::vault::error::{Error, Result};
use crate::vault::keys::{BatchKeys, Wanted};
use crate::vault::learn::Lesson;
use crate::vault::line::Turn;
use crate::vault::meter::Stage;
use crate::vault::sequencer::{Committed, Message, Original, Outcome, Rejected};
use crate::vault::{Vault, vault_code};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use zeroize::Zeroizing;

/// What a batch may take on the disk, entries, bodies and keys, as a multiple of its weight.
const STORED_TIMES: usize = 2;
/// Keys that one act of the vault writes at most by far: 256 nodes of the key tree.
const ACT_BYTES: u64 = 1 << 20;

/// Times a batch is sealed again because a fence or midnight passed meanwhile.
pub(crate) const RESEALS_MAX: usize = 8;

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

impl Receipt {
    /// The receipts of a durable batch, in its order.
    pub(crate) fn all_of(done: &Committed) -> impl Iterator<Item = Receipt> + '_ {
        done.leaves.iter().zip(done.first.0..).map(|(leaf, index)| Receipt {
            index: EntryIndex(index),
            time: done.time,
            leaf: *leaf,
            checkpoint: done.checkpoint.clone(),
            duplicate: false,
        })
    }
}

/// A batch on its way into the log.
pub struct Pending<'v, 'e> {
    vault: &'v Vault,
    batch: Batch<'e>,
    sent: Sent,
    /// Its place in a line of batches, if it is part of one.
    turn: Option<Turn>,
    _place: Place<'v>,
}

/// The events of a batch and what became of them.
struct Batch<'e> {
    receipts: Vec<Option<Receipt>>,
    /// Events not yet in the log, and where each stood.
    events: Vec<Event<'e>>,
    positions: Vec<usize>,
    /// Events that are the same as an earlier one of the batch.
    same: Vec<(usize, usize)>,
}

/// Where a batch is.
pub(crate) enum Sent {
    /// With the sequencer.
    Asked(Receiver<Outcome>),
    /// Turned away before that.
    Found(Rejected),
}

impl Vault {
    /// Appends events, all or nothing.
    ///
    /// # Errors
    /// `Invalid` naming the first bad event; `Conflict` when a number or id was used for another
    /// event; `Overloaded`; `Denied` when the vault is read-only or its clock not accepted.
    pub fn append(&self, drafts: &[Draft<'_>]) -> Result<Vec<Receipt>> {
        self.submit(drafts)?.wait()
    }

    /// As `append`, for events about the vault's own service: they may have what the disk keeps
    /// for its own acts.
    ///
    /// # Errors
    /// As `append`.
    pub fn append_own(&self, drafts: &[Draft<'_>]) -> Result<Vec<Receipt>> {
        self.submit_as(Writer::Own, drafts, &Terms::NONE)?.wait()
    }

    /// As `append`, for a source that is registered.
    ///
    /// # Errors
    /// As `append`; `Invalid` `DEDUPE_KEY_MISSING` for an event without the key declared.
    pub fn append_under(&self, drafts: &[Draft<'_>], terms: &Terms) -> Result<Vec<Receipt>> {
        self.submit_under(drafts, terms)?.wait()
    }

    /// Seals events and sends them off without waiting until they are durable: a client that
    /// keeps a few batches on the way keeps disk and processors busy. Batches of one thread keep
    /// their order.
    ///
    /// # Errors
    /// As `append`, as far as they are known by now; the rest comes with `Pending::wait`.
    pub fn submit<'e>(&self, drafts: &[Draft<'e>]) -> Result<Pending<'_, 'e>> {
        self.submit_under(drafts, &Terms::NONE)
    }

    /// As `submit`, for a source that is registered.
    ///
    /// # Errors
    /// As `submit` and `append_under`.
    pub fn submit_under<'e>(&self, drafts: &[Draft<'e>], terms: &Terms) -> Result<Pending<'_, 'e>> {
        self.submit_as(Writer::Source, drafts, terms)
    }

    fn submit_as<'e>(
        &self,
        writer: Writer,
        drafts: &[Draft<'e>],
        terms: &Terms,
    ) -> Result<Pending<'_, 'e>> {
        let (policies, mut lap) = (self.policies(), self.meter().start());
        let mut scratch = self.inner.scratches.take();
        let mut events = Vec::with_capacity(drafts.len());
        let mut refused = None;
        for (position, draft) in drafts.iter().enumerate() {
            match policies.event_under(*draft, terms, &mut scratch) {
                Ok(event) => events.push(event),
                Err(refusal) => {
                    refused = Some(Error::Invalid { position, refusal });
                    break;
                }
            }
        }
        self.inner.scratches.put(scratch);
        lap.end(Stage::Read);
        match refused {
            Some(error) => Err(error),
            None => self.submit_events_as(writer, events),
        }
    }

    /// Appends classified events, all or nothing.
    ///
    /// # Errors
    /// As `append`.
    pub fn append_events(&self, events: Vec<Event<'_>>) -> Result<Vec<Receipt>> {
        self.submit_events(events)?.wait()
    }

    /// As `submit`, for classified events.
    ///
    /// # Errors
    /// As `submit`.
    pub fn submit_events<'e>(&self, events: Vec<Event<'e>>) -> Result<Pending<'_, 'e>> {
        self.submit_events_as(Writer::Source, events)
    }

    fn submit_events_as<'e>(
        &self,
        writer: Writer,
        events: Vec<Event<'e>>,
    ) -> Result<Pending<'_, 'e>> {
        let place = self.admit(writer, &events)?;
        let sent = self.dispatch(&events, None)?;
        Ok(Pending::resume(self, (events, sent), None, place))
    }

    /// Whether a batch may come in: it then has its place in the pool, and its sources are known.
    pub(crate) fn admit(&self, writer: Writer, events: &[Event<'_>]) -> Result<Place<'_>> {
        self.writable()?;
        if events.len() > BATCH_EVENTS_MAX {
            let refusal = Refusal::new("BATCH_TOO_LARGE", "send smaller batches");
            return Err(refusal.limit(BATCH_EVENTS_MAX as u64).into());
        }
        let place = self.place(events.iter().map(weight).sum())?;
        self.has_room(writer)?;
        self.register_sources(&sources_of(events))?;
        Ok(place)
    }

    /// Seals a batch and sends it to the sequencer.
    pub(crate) fn dispatch(&self, events: &[Event<'_>], turn: Option<&Turn>) -> Result<Sent> {
        if events.is_empty() {
            return Ok(Sent::Found(Rejected::Duplicates(Vec::new())));
        }
        let (day, mut lap) = (self.inner.clock.now().day(), self.meter().start());
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
                    return Ok(Sent::Found(Rejected::Duplicates(found)));
                }
                self.keys_for(events, day)?
            }
        };
        lap.end(Stage::Keys);
        let clerk = &self.inner.clerk;
        let sealed = clerk.sealer(day).events(events, &keys, &clerk.crew)?;
        Ok(Sent::Asked(clerk.send(sealed, None, turn.cloned())))
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

    /// Whether all that is in flight, and so may still have to be written, finds room on the disk.
    pub(crate) fn has_room(&self, writer: Writer) -> Result<()> {
        let bytes = self.inner.pool.load(Ordering::SeqCst).saturating_mul(STORED_TIMES);
        Ok(self.inner.world.disk.room(bytes as u64, writer)?)
    }

    /// Whether an act of the vault finds room. Asked before its first entry, so that want of room
    /// leaves nothing half done.
    pub(crate) fn has_room_to_act(&self) -> Result<()> {
        Ok(self.inner.world.disk.room(ACT_BYTES, Writer::Own)?)
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
    pub(crate) fn keys_for(&self, events: &[Event<'_>], day: Day) -> Result<BatchKeys> {
        for _ in 0..RESEALS_MAX {
            match self.inner.keys.lookup(events, day) {
                Ok(keys) => return Ok(keys),
                Err(wanted) => self.learn(&wanted, day, true)?,
            }
        }
        Err(Error::Overloaded)
    }

    /// Makes persons and keys; nothing is handed out before it is synced. Without `newcomers` all
    /// persons must be known.
    pub(crate) fn learn(&self, wanted: &Wanted, day: Day, newcomers: bool) -> Result<()> {
        let keys = &self.inner.keys;
        let mut tree = keys.tree();
        let entropy: &dyn Entropy = &*self.inner.world.entropy;
        let (changes, identifiers, persons, class_days) = {
            let facts = self.facts();
            let mut lesson = Lesson::new(&tree, keys.directory(), &facts, entropy, day);
            if !newcomers {
                lesson.knows(wanted)?;
            }
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
}

impl<'v, 'e> Pending<'v, 'e> {
    /// A batch that was sent off.
    pub(crate) fn resume(
        vault: &'v Vault,
        (events, sent): (Vec<Event<'e>>, Sent),
        turn: Option<Turn>,
        place: Place<'v>,
    ) -> Self {
        let batch = Batch {
            receipts: vec![None; events.len()],
            positions: (0..events.len()).collect(),
            events,
            same: Vec::new(),
        };
        Pending { vault, batch, sent, turn, _place: place }
    }

    /// Waits until the batch is durable.
    ///
    /// # Errors
    /// As `Vault::append`.
    pub fn wait(mut self) -> Result<Vec<Receipt>> {
        let mut sent = self.sent;
        for again in (0..RESEALS_MAX).rev() {
            if self.batch.events.is_empty() {
                break;
            }
            let outcome = match sent {
                Sent::Asked(answer) => Clerk::wait(&answer),
                Sent::Found(rejected) => Err(rejected),
            };
            match outcome {
                Ok(done) => {
                    self.batch.fill(&done);
                    break;
                }
                Err(Rejected::Failed(error)) => return Err(error),
                // Whoever set the fence holds the key tree until the keys are gone.
                Err(Rejected::Fenced) => drop(self.vault.inner.keys.tree()),
                Err(Rejected::StaleDay) => {}
                Err(Rejected::OutOfTurn) => match self.turn.as_ref().is_none_or(Turn::has_come) {
                    true => {}
                    // Whoever waits in order has seen the one before it refused.
                    false => return Err(behind()),
                },
                Err(Rejected::Duplicates(found)) => {
                    let Batch { events, positions, .. } = &self.batch;
                    let found = self.vault.settle_duplicates(events, positions, found)?;
                    self.batch.settle(found);
                }
            }
            if self.batch.events.is_empty() || again == 0 {
                break;
            }
            sent = self.vault.dispatch(&self.batch.events, self.turn.as_ref())?;
        }
        let receipts = self.batch.receipts().ok_or(Error::Overloaded)?;
        self.turn.iter().for_each(Turn::pass);
        Ok(receipts)
    }
}

impl Batch<'_> {
    fn fill(&mut self, done: &Committed) {
        for (at, receipt) in self.positions.iter().zip(Receipt::all_of(done)) {
            if let Some(slot) = self.receipts.get_mut(*at) {
                *slot = Some(receipt);
            }
        }
        self.events.clear();
    }

    /// Takes out the events that need no place of their own.
    fn settle(&mut self, found: Vec<(usize, Settled)>) {
        let gone: HashSet<usize> = found.iter().map(|(at, _)| *at).collect();
        for (at, what) in found {
            match what {
                Settled::Receipt(receipt) => {
                    self.receipts.get_mut(at).into_iter().for_each(|r| *r = Some(receipt.clone()));
                }
                Settled::SameAs(first) => self.same.push((at, first)),
            }
        }
        let events = std::mem::take(&mut self.events).into_iter();
        let all = std::mem::take(&mut self.positions).into_iter().zip(events);
        (self.positions, self.events) = all.filter(|(at, _)| !gone.contains(at)).unzip();
    }

    /// The receipts, if every event has one.
    fn receipts(mut self) -> Option<Vec<Receipt>> {
        for (at, first) in self.same {
            let receipt = self.receipts.get(first).cloned().flatten();
            if let (Some(slot), Some(receipt)) = (self.receipts.get_mut(at), receipt) {
                *slot = Some(Receipt { duplicate: true, ..receipt });
            }
        }
        self.receipts.into_iter().collect()
    }
}

/// The sources of a batch, each once but for changes back and forth.
fn sources_of(events: &[Event<'_>]) -> BTreeSet<Arc<str>> {
    let mut sources = BTreeSet::new();
    let mut last: Option<&Arc<str>> = None;
    for event in events {
        if !last.is_some_and(|last| Arc::ptr_eq(last, &event.source)) {
            sources.insert(event.source.clone());
            last = Some(&event.source);
        }
    }
    sources
}

/// A place in the pool of bytes in flight.
pub(crate) struct Place<'v> {
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

fn behind() -> Error {
    Error::denied("BATCH_BEHIND_REFUSED", "a batch before this one was refused; begin a new line")
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
