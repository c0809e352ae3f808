//! Whether a job gets a place: its payloads can be read again, its conditions hold at its index,
//! its keys still live, and none of its events is there already. It places nothing.

use crate::base::id::SourceHandle;
use crate::base::refusal::Refusal;
use crate::base::unit::UtcNanos;
use crate::format::control;
use crate::format::unit::{self};
use crate::vault::dedupe::{Seen, Trial};
use crate::vault::error::Error;
use crate::vault::seal::Sealed;
use crate::vault::sequencer::{Check, Known, Name, Original, Rejected, Sequencer, class_days};
use std::collections::HashMap;

impl Sequencer {
    pub(crate) fn admit(
        &mut self,
        sealed: &[Sealed],
        now: UtcNanos,
        check: Option<Check>,
    ) -> Result<(), Rejected> {
        let (today, class_days) = (now.day(), class_days(sealed));
        if class_days.iter().any(|sealed| sealed.day != today && sealed.day.0 + 1 != today.0) {
            return Err(Rejected::StaleDay);
        }
        if class_days.len() > unit::SPANS_MAX {
            let refusal = Refusal::new("BATCH_TOO_MANY_CLASSES", "send fewer classes at a time");
            let refusal = refusal.limit(unit::SPANS_MAX as u64);
            return Err(Rejected::Failed(refusal.into()));
        }
        let fenced = &self.own.fenced;
        let mut persons = sealed.iter().flat_map(|part| &part.persons);
        if (!fenced.is_empty() && persons.any(|p| fenced.contains(p)))
            || class_days.iter().any(|day| self.own.fenced_days.contains(day))
        {
            return Err(Rejected::Fenced);
        }
        readable(sealed)?;
        if let Some(check) = check {
            check(&self.own).map_err(Rejected::Failed)?;
        }
        let records = sealed.iter().flat_map(|part| &part.records);
        let names = records.map(|r| (r.source, r.source_seq, r.event_id));
        let duplicates = self.duplicates(names).map_err(Rejected::Failed)?;
        match duplicates.is_empty() {
            true => Ok(()),
            false => Err(Rejected::Duplicates(duplicates)),
        }
    }

    pub(crate) fn duplicates(&mut self, names: impl Iterator<Item = Name> + Clone) -> Known {
        let mut found = Vec::new();
        let distinct = is_one_run(names.clone());
        let mut trial = Trial::of(names.clone().map(|(source, seq, _)| (source, seq)));
        let mut batch = HashMap::new();
        for (position, name) in names.enumerate() {
            let (source, seq, event_id) = name;
            if seq.is_none() && event_id.is_zero() {
                continue;
            }
            match self.seen(&source, seq, &event_id)? {
                // What the batch itself fills makes room, and what it opens takes it.
                Seen::New | Seen::TooManyGaps => {
                    if !distinct && let Some(first) = batch.insert(name, position) {
                        batch.insert(name, first);
                        found.push((position, Original::InBatch(first)));
                    } else if seq.is_some_and(|seq| !trial.takes(&self.window, &source, seq)) {
                        found.push((position, Original::TooManyGaps));
                    }
                }
                Seen::At(index) => found.push((position, Original::At(index))),
                Seen::Before => found.push((position, Original::Before)),
            }
        }
        Ok(found)
    }
}

/// Refuses an act whose payload the vault could not read again: no opening would go past it.
pub(crate) fn readable(sealed: &[Sealed]) -> Result<(), Rejected> {
    let mut records = sealed.iter().flat_map(|part| &part.records);
    let wrong = records.find_map(|r| Some((r.kind, control::check(r.kind, &r.clear).err()?)));
    let Some((kind, why)) = wrong else { return Ok(()) };
    let fix = format!("a {kind} entry would say what nobody can read: {why}; nothing was written");
    Err(Rejected::Failed(Error::denied("PAYLOAD_UNREADABLE", fix)))
}

/// Whether all are of one counting source, in rising order: then no two are the same.
pub(crate) fn is_one_run(names: impl Iterator<Item = Name>) -> bool {
    let mut last: Option<(SourceHandle, u64)> = None;
    for (source, seq, _) in names {
        match (seq, last) {
            (Some(seq), None) => last = Some((source, seq)),
            (Some(seq), Some((same, before))) if same == source && before < seq => {
                last = Some((source, seq));
            }
            _ => return false,
        }
    }
    true
}
