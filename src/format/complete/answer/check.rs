//! The entries of an answer as they stream by, and then its seals: every whole epoch must be
//! sealed once, over these very entries, with the table that was shown. It believes no seal whose
//! table contradicts an entry at hand.

use crate::base::entry::{Entry, Kind};
use crate::base::id::Hash32;
use crate::base::limits::EPOCH_ENTRIES;
use crate::base::unit::{EntryIndex, UtcNanos};
use crate::crypto::part::Place;
use crate::format::complete::answer::{EPOCH_HEIGHT, Found, LISTED_MAX, Question};
use crate::format::complete::part::Watch;
use crate::format::complete::scope::Cuts;
use crate::format::complete::tables::{Hit, TableFound};
use crate::format::complete::{Fault, Result};
use crate::format::seal::epoch::keys_of;
use crate::format::seal::payload::SealPayload;

/// What is known of one epoch.
struct EpochSeen {
    table: TableFound,
    /// Root over its entries, from the log itself.
    root: Option<Hash32>,
    seal: Option<(EntryIndex, SealPayload)>,
    seals: u64,
    /// Least and greatest log time of shown entries.
    times: Option<(UtcNanos, UtcNanos)>,
    first: Option<UtcNanos>,
    last: Option<UtcNanos>,
    /// A shown entry whose rows are not those of the table.
    contradicted: Option<EntryIndex>,
}

pub(crate) struct Reader<'a> {
    question: &'a Question,
    hits: Vec<Hit>,
    /// Entries that may be shown, beside the seals and the tail.
    named: Vec<u64>,
    epochs: Vec<EpochSeen>,
    pub(crate) cuts: Cuts,
    pub(crate) found: Vec<EntryIndex>,
    pub(crate) listed: Vec<Found>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        question: &'a Question,
        hits: Vec<Hit>,
        named: Vec<u64>,
        tables: Vec<TableFound>,
    ) -> Self {
        let seen = |table| EpochSeen {
            table,
            root: None,
            seal: None,
            seals: 0,
            times: None,
            first: None,
            last: None,
            contradicted: None,
        };
        Reader {
            question,
            hits,
            named,
            epochs: tables.into_iter().map(seen).collect(),
            cuts: Cuts::default(),
            found: Vec::new(),
            listed: Vec::new(),
        }
    }

    fn epoch(&mut self, number: u64) -> Option<&mut EpochSeen> {
        let at = number.checked_sub(self.question.epochs().start)?;
        self.epochs.get_mut(usize::try_from(at).ok()?)
    }

    /// Takes a seal in; whether it is one of an epoch that rests on it.
    fn take_seal(&mut self, entry: &Entry) -> bool {
        if entry.head.kind != Kind::Seal {
            return false;
        }
        let Ok(seal) = SealPayload::decode(&entry.head.clear) else { return false };
        let Some(epoch) = self.epoch(seal.epoch()) else { return false };
        epoch.seals += 1;
        epoch.seal.get_or_insert((entry.index, seal));
        true
    }

    /// Positions of the asked keys that the entry has.
    fn keys_had(&self, entry: &Entry) -> Vec<u16> {
        let keys = keys_of(entry, self.question.kind);
        let at = |key: &[u8; 16]| self.question.keys.binary_search(key).ok();
        let mut had: Vec<u16> = keys.iter().filter_map(at).map(|at| at as u16).collect();
        had.sort_unstable();
        had
    }

    /// Positions of the asked keys whose rows name the entry.
    fn keys_named(&self, index: u64) -> impl Iterator<Item = u16> + '_ {
        let start = self.hits.partition_point(|hit| hit.index < index);
        let own = self.hits.iter().skip(start).take_while(move |hit| hit.index == index);
        own.map(|hit| hit.key)
    }

    /// Step 8 of the page, epoch by epoch. Gives each epoch's seal.
    pub(crate) fn check_seals(&self) -> Result<Vec<(u64, EntryIndex)>> {
        let numbers = self.question.epochs();
        numbers
            .zip(&self.epochs)
            .map(|(number, epoch)| Ok((number, epoch.check(number)?)))
            .collect()
    }
}

impl Watch for Reader<'_> {
    fn entry(&mut self, entry: &Entry, leaf: &Hash32) -> Result<()> {
        let index = entry.index;
        let is_seal = self.take_seal(entry);
        let named = self.named.binary_search(&index.0).is_ok();
        if !is_seal && !named && !self.question.tail().contains(&index.0) {
            let detail = format!("entry {index} is shown and answers nothing");
            return Err(Fault::malformed(detail));
        }
        self.cuts.meet(&self.question.scope, index, entry.time_log);
        let had = self.keys_had(entry);
        let agrees = self.keys_named(index.0).eq(had.iter().copied());
        if let Some(epoch) = self.epoch(index.0 / EPOCH_ENTRIES) {
            epoch.meet(entry, agrees);
        }
        if !had.is_empty() && self.question.scope.contains(index) {
            self.found.push(index);
            if self.listed.len() < LISTED_MAX {
                self.listed.push(Found { entry: entry.clone(), leaf: *leaf });
            }
        }
        Ok(())
    }

    fn node(&mut self, place: Place, hash: &Hash32) {
        if place.height == EPOCH_HEIGHT
            && let Some(epoch) = self.epoch(place.index)
        {
            epoch.root = Some(*hash);
        }
    }
}

impl EpochSeen {
    fn meet(&mut self, entry: &Entry, agrees: bool) {
        let time = entry.time_log;
        let (least, greatest) = self.times.unwrap_or((time, time));
        self.times = Some((least.min(time), greatest.max(time)));
        match entry.index.0 % EPOCH_ENTRIES {
            0 => self.first = Some(time),
            at if at == EPOCH_ENTRIES - 1 => self.last = Some(time),
            _ => {}
        }
        if !agrees {
            self.contradicted = self.contradicted.or(Some(entry.index));
        }
    }

    fn check(&self, number: u64) -> Result<EntryIndex> {
        let Some((index, seal)) = &self.seal else {
            let detail = format!("epoch {number} is answered from a table and no seal is shown");
            return Err(Fault::new("SEAL_MISSING", detail));
        };
        if self.seals > 1 {
            let detail = format!("{} seals of epoch {number} are shown", self.seals);
            return Err(Fault::new("SEAL_DUPLICATE", detail));
        }
        let mismatch = |what: &str| {
            let detail = format!("the seal {index} of epoch {number}: {what}");
            Err(Fault::new("SEAL_MISMATCH", detail))
        };
        if self.root != Some(seal.root) || *index < seal.end {
            return mismatch("it is not over these entries");
        }
        let outside = self.times.is_some_and(|(a, b)| a < seal.t_first || b > seal.t_last);
        let other = |time: Option<UtcNanos>, sealed| time.is_some_and(|time| time != sealed);
        if outside || other(self.first, seal.t_first) || other(self.last, seal.t_last) {
            return mismatch("log times are not the sealed ones");
        }
        if (seal.index_rows, seal.index_root) != (self.table.rows, self.table.root) {
            let detail = format!("the table shown of epoch {number} is not the sealed one");
            return Err(Fault::new("QUERY_ROOT", detail));
        }
        match self.contradicted {
            Some(entry) => mismatch(&format!("the table says other than entry {entry}")),
            None => Ok(*index),
        }
    }
}
