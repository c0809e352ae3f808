//! Search: by index where there is one, by reading where there is none. Every hit of the index is
//! read again from the log before it counts, and what the index does not cover is read in full,
//! so a lost or lying index costs time, never an answer.

use crate::base::entry::{Entry, Kind};
use crate::base::event::Verb;
use crate::base::id::SourceHandle;
use crate::base::limits::VAULT_CLASS;
use crate::base::unit::{ClassId, EntryIndex, UtcNanos};
use crate::format::control;
use crate::format::seal::epoch::entry_has;
use crate::format::seal::row::IndexKey;
use crate::query::filter::Filter;
use crate::vault::Vault;
use crate::vault::clerk::gone;
use crate::vault::dedupe::Gaps;
use crate::vault::error::{Error, Result};
use crate::vault::read::Reading;
use crate::vault::sequencer::{Check, Message};
use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, PoisonError};

impl Vault {
    /// Entries that have a key, ascending.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn find_key(&self, key: &IndexKey) -> Result<Vec<EntryIndex>> {
        let size = self.size();
        let mut hits = Vec::new();
        let (covered, gap) = {
            let index = self.inner.index.lock().unwrap_or_else(PoisonError::into_inner);
            let mut hit = |at: EntryIndex| {
                hits.push(at);
                ControlFlow::Continue(())
            };
            let whole = index.scan(key, EntryIndex(0)..EntryIndex(size.0), &mut hit).is_ok();
            let gap = if whole { index.gap() } else { EntryIndex(0)..EntryIndex(size.0) };
            (index.tail_from(), gap)
        };
        let mut found = Vec::with_capacity(hits.len());
        hits.retain(|at| !gap.contains(at));
        hits.sort_unstable();
        self.for_entries_at(&hits, &mut |entry| {
            if entry_has(&entry, key) {
                found.push(entry.index);
            }
            Ok(())
        })?;
        for range in [gap, covered..EntryIndex(size.0)] {
            self.for_each_entry(range, &mut |entry, _| {
                if entry_has(&entry, key) {
                    found.push(entry.index);
                }
                Ok(())
            })?;
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The entry of a source's number.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn find_position(
        &self,
        source: &SourceHandle,
        seq: u64,
    ) -> Result<Option<EntryIndex>> {
        for at in self.find_key(&IndexKey::position(*source, seq))? {
            let head = self.entry(at)?.head;
            if head.source == *source && head.source_seq == Some(seq) {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Calls `each` with every entry that matches, in order, until it breaks.
    ///
    /// # Errors
    /// Those of the store.
    pub fn search(
        &self,
        filter: &Filter,
        each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<()> {
        let size = self.size();
        let mut next = EntryIndex(0);
        while let Some(unit) = self.inner.log.unit_of(next)?.filter(|_| next.0 < size.0) {
            let bytes = self.inner.proven.read(&unit)?;
            for entry in crate::vault::read::entries_of(&bytes)? {
                let entry = entry?;
                if filter.matches(&entry) && each(entry).is_break() {
                    return Ok(());
                }
            }
            next = EntryIndex(unit.head.end.0);
        }
        Ok(())
    }

    /// Calls `each` with every entry of a range that matches, in order, until it breaks or so many
    /// entries were looked at. Returns the first entry not looked at.
    ///
    /// # Errors
    /// Those of the store.
    pub fn search_range(
        &self,
        filter: &Filter,
        range: Range<EntryIndex>,
        most: u64,
        each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<EntryIndex> {
        let last = range.end.0.min(self.size().0).min(filter.index.to.saturating_add(1));
        let mut next = EntryIndex(range.start.0.max(filter.index.from));
        let end = last.min(next.0.saturating_add(most));
        while next.0 < end {
            let Some(unit) = self.inner.log.unit_of(next)? else { break };
            let bytes = self.inner.proven.read(&unit)?;
            for entry in crate::vault::read::entries_of(&bytes)? {
                let entry = entry?;
                if entry.index < next || entry.index.0 >= end {
                    continue;
                }
                next = EntryIndex(entry.index.0 + 1);
                if filter.matches(&entry) && each(entry).is_break() {
                    return Ok(next);
                }
            }
        }
        Ok(EntryIndex(next.0.min(last).max(range.start.0)))
    }

    /// The first entry whose log time is not before an instant; the size of the log if there is
    /// none. Log time never falls, so it is found by halving.
    ///
    /// # Errors
    /// Those of the store.
    pub fn first_at(&self, time: UtcNanos) -> Result<EntryIndex> {
        let (mut low, mut high) = (0, self.size().0);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(EntryIndex(middle))?.time_log < time {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(EntryIndex(low))
    }

    /// Name of a source, as its registration says; none when it was never registered, or when
    /// the name cannot be opened any more.
    ///
    /// # Errors
    /// Those of reading the registration: a source that could not be read has a name all the same.
    pub(crate) fn source_name(&self, handle: &SourceHandle) -> Result<Option<Arc<str>>> {
        let known = self.inner.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = known.get(handle) {
            return Ok(Some(name.clone()));
        }
        drop(known);
        let Some(index) = self.facts().sources.get(handle).copied() else { return Ok(None) };
        let record = self.unnamed(index, Reading::WITHIN)?;
        let Some(value) = record.value("source.name") else { return Ok(None) };
        let Ok(name) = serde_json::from_slice::<String>(value) else { return Ok(None) };
        let name: Arc<str> = name.into();
        let mut known = self.inner.sources.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(*handle, name.clone());
        Ok(Some(name))
    }

    /// What is missing of a source's numbers, as far as they were given places; none for a source
    /// that does not count, or that was never heard of.
    ///
    /// # Errors
    /// `Unavailable` when the vault is closing.
    pub fn source_gaps(&self, name: &str) -> Result<Option<Gaps>> {
        let source = self.inner.keys.source_handle(name);
        let (reply, answer) = sync_channel(1);
        let sent = self.inner.clerk.inbox.send(Message::Gaps { source, reply });
        sent.ok().and_then(|()| answer.recv().ok()).ok_or_else(gone)
    }

    /// Makes sure that every source of a batch is registered.
    pub(crate) fn register_sources(&self, names: &BTreeSet<Arc<str>>) -> Result<()> {
        for name in names {
            let handle = self.inner.keys.source_handle(name);
            if self.facts().sources.contains_key(&handle) {
                continue;
            }
            let fields = vec![("source.name", name.to_string())];
            let prepared = self.prepare_act(Verb::Create, ClassId(VAULT_CLASS), fields)?;
            let clear = control::encode(&control::Config::Source { source: handle })?;
            let check: Check = Box::new(move |facts| match facts.sources.contains_key(&handle) {
                true => Err(Error::Conflict {
                    code: "SOURCE_KNOWN",
                    first: None,
                    fix: "it was registered meanwhile".to_owned(),
                }),
                false => Ok(()),
            });
            match self.commit_act(Kind::Config, clear, prepared, Some(check)) {
                Ok(_) | Err(Error::Conflict { code: "SOURCE_KNOWN", .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
