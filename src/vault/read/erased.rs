//! Whose records were erased: tags out of the sealed evidence of erasures, opened once and kept
//! until an erasure is added or some evidence expires. It never says who bore a tag.

use crate::base::id::SubjectTag;
use crate::base::limits::EVIDENCE_CLASS;
use crate::base::record::Fate;
use crate::base::unit::{ClassId, EntryIndex};
use crate::crypto::hash::leaf_hash;
use crate::format::entry;
use crate::vault::Vault;
use crate::vault::error::{Error, Result};
use crate::vault::facts::Facts;
use crate::vault::read::{Reading, Spans};
use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

/// Tags whose owner was erased, from the evidence in erase-done entries.
pub(crate) type Erased = Arc<ErasedTags>;

/// What the evidence of erasures says, and which evidence has itself expired.
#[derive(Default)]
pub(crate) struct ErasedTags {
    tags: HashSet<SubjectTag>,
    /// Erasures whose evidence expired: intent and classes. Nobody can tell any more which
    /// records they reached, only that they reached none after the intent.
    lapsed: Vec<(EntryIndex, Vec<ClassId>)>,
}

/// Of which state of the log a list of erased tags is: it grows by an erasure, and shrinks when
/// a class-day of evidence expires.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct ErasedAt {
    done: usize,
    lapsed: usize,
}

impl ErasedAt {
    fn of(facts: &Facts) -> Self {
        let done = facts.erasures.values().filter(|erasure| erasure.done.is_some()).count();
        let lapsed = facts.expired.keys().filter(|day| day.class.0 == EVIDENCE_CLASS).count();
        ErasedAt { done, lapsed }
    }
}

impl ErasedTags {
    /// Whether the evidence names this tag.
    pub(crate) fn contains(&self, tag: &SubjectTag) -> bool {
        self.tags.contains(tag)
    }

    pub(crate) fn covers(&self, index: EntryIndex, class: ClassId, tags: &[SubjectTag]) -> bool {
        let lapsed = |(intent, classes): &(EntryIndex, Vec<ClassId>)| {
            index < *intent && classes.contains(&class)
        };
        tags.iter().any(|tag| self.tags.contains(tag))
            || (!tags.is_empty() && self.lapsed.iter().any(lapsed))
    }
}

impl Vault {
    /// Tags of erased persons, as far as their evidence can still be opened.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn erased_tags(&self) -> Result<Erased> {
        let (at, done): (ErasedAt, Vec<(EntryIndex, EntryIndex, Vec<ClassId>)>) = {
            let facts = self.facts();
            let done = facts.erasures.values().filter_map(|e| Some((e, e.done.as_ref()?)));
            let done = done.map(|(e, (at, _, done))| (*at, e.intent, done.classes.clone()));
            (ErasedAt::of(&facts), done.collect())
        };
        let mut known = self.inner.erased.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 == at {
            return Ok(known.1.clone());
        }
        let mut found = ErasedTags::default();
        for (index, intent, classes) in done {
            let unit = self.inner.log.unit_of(index)?;
            let unit = unit.ok_or(Error::NotFound { code: "ENTRY_UNKNOWN" })?;
            let bytes = self.entry_bytes(index)?;
            let entry = entry::decode(&bytes)?;
            let mut frames = Spans::new(&unit.head.spans);
            let reading = Reading::WITHIN;
            let none = Erased::default();
            let record = self.record_of(entry, leaf_hash(&bytes), reading, &mut frames, &none)?;
            if record.groups.contains(&Fate::Expired) {
                found.lapsed.push((intent, classes));
            }
            let list = record.value("erasure.tags").and_then(|v| serde_json::from_slice(v).ok());
            let list: Vec<SubjectTag> = list.unwrap_or_default();
            found.tags.extend(list);
        }
        *known = (at, Arc::new(found));
        Ok(known.1.clone())
    }

    /// Forgets what the evidence of erasures said: some of it has expired.
    pub(crate) fn forget_erased(&self) {
        *self.inner.erased.lock().unwrap_or_else(PoisonError::into_inner) = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::unit::{ClassDay, Day};

    #[test]
    fn a_list_of_erased_tags_is_old_once_evidence_has_expired() {
        let mut facts = Facts::default();
        let mut expire = |class: u16, day: u32| {
            let class_day = ClassDay { class: ClassId(class), day: Day(day) };
            facts.expired.insert(class_day, EntryIndex(7));
            ErasedAt::of(&facts)
        };
        let before = expire(4, 1);
        assert_eq!(expire(4, 2), before);
        let after = expire(EVIDENCE_CLASS, 1);
        assert_ne!(after, before);
        assert_ne!(expire(EVIDENCE_CLASS, 2), after);
    }
}
