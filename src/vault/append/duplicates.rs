//! What came again: the first one's receipt when it says exactly the same, a conflict, recorded in
//! the log, when it does not. It never compares with what was erased or cannot be opened, and never
//! stores twice.

use crate::base::entry::Kind;
use crate::base::event::{Dedupe, Event, Verb};
use crate::base::record::Fate;
use crate::base::unit::EntryIndex;
use crate::format::control;
use crate::vault::append::Receipt;
use crate::vault::error::{Error, Result};
use crate::vault::read::Reading;
use crate::vault::sequencer::Original;
use crate::vault::{Vault, vault_code};
use std::collections::HashMap;

/// What a duplicate turned out to be.
pub(crate) enum Settled {
    /// The first one's receipt.
    Receipt(Receipt),
    /// The same as another event of the batch.
    SameAs(usize),
}

impl Vault {
    /// Compares what came again with what was there first.
    pub(crate) fn settle_duplicates(
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
            None => Err(unreadable(None)),
        }
    }

    /// The first one's receipt, if the stored record says exactly what `event` says.
    fn same_record(&self, event: &Event<'_>, index: EntryIndex) -> Result<Receipt> {
        let record = self.record(index, Reading::WITHIN)?;
        let head = &record.entry.head;
        if record.groups.iter().any(|fate| matches!(fate, Fate::Erased | Fate::Expired)) {
            let fix = "it was erased or has expired and cannot be compared; do not send it again";
            let first = Some(index);
            return Err(Error::Conflict { code: "DUPLICATE_OF_ERASED", first, fix: fix.into() });
        }
        // Nobody can say that it differs from what cannot be read, so no conflict is recorded; and
        // it is this event's matter alone: the log goes on.
        if record.groups.iter().any(|fate| *fate != Fate::Open) {
            return Err(unreadable(Some(index)));
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

fn unreadable(first: Option<EntryIndex>) -> Error {
    let fix = "what has this source number or event id cannot be read to compare it: keep this \
               event, run `chancery verify` and repair what it names, then send it again";
    Error::Conflict { code: "DUPLICATE_UNREADABLE", first, fix: fix.into() }
}

fn conflict(first: Option<EntryIndex>) -> Error {
    let fix = "this source number or event id was used for another event; give each its own";
    Error::Conflict { code: "DUPLICATE_DIFFERS", first, fix: fix.into() }
}
