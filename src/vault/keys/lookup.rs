//! Looking up the keys of a batch under one read lock of the cache. What is not there yet is
//! computed once, and remembered afterwards unless an eviction came between. What a batch gets are
//! copies, wiped when it is sealed: no eviction takes a key from under a sealer, and the fence
//! keeps out of the log what was sealed with a key that is gone.

use crate::base::event::{Dedupe, Event};
use crate::base::id::{EventIdTag, PersonId, SourceHandle, SubjectTag};
use crate::base::limits::KEY_CACHE_GROUPS_MAX;
use crate::base::secret::Key;
use crate::base::subjects::SubjectSet;
use crate::base::unit::{ClassDay, ClassId, Day, Month};
use crate::crypto::kdf::HmacKey;
use crate::vault::keys::{Cache, Keyring, SubjectKeys, Wanted, base_key};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError};

/// Base keys of groups with no subject or several, by what they bind: class, day and the
/// subjects' tags in order.
pub(crate) type GroupName = (ClassDay, Vec<SubjectTag>);

/// Keys of a batch's events: copies, so that no eviction takes them from under a sealer.
#[derive(Default)]
pub(crate) struct BatchKeys {
    pub(crate) events: Vec<EventKeys>,
    /// The events' subjects, each in the event's own order.
    pub(crate) subjects: Vec<(PersonId, SubjectTag)>,
    /// Base keys of the events' groups.
    pub(crate) groups: Vec<HmacKey>,
}

/// Keys of one event, in the event's own order.
#[derive(Clone)]
pub(crate) struct EventKeys {
    pub(crate) source: SourceHandle,
    pub(crate) event_id: EventIdTag,
    /// Places in `BatchKeys::subjects`.
    pub(crate) subjects: Range<usize>,
    /// Places in `BatchKeys::groups`.
    pub(crate) groups: Range<usize>,
}

impl Keyring {
    /// Keys for every event of a batch sealed on `day`, or what must be made first.
    pub(crate) fn lookup(
        &self,
        events: &[Event<'_>],
        day: Day,
    ) -> std::result::Result<BatchKeys, Wanted> {
        let (found, fresh, wanted) = {
            let cache = self.cache();
            let fresh = Fresh { evictions: cache.evictions, ..Fresh::default() };
            let mut looking = Looking {
                ring: self,
                cache: &cache,
                day,
                source: None,
                fresh,
                members: Vec::new(),
            };
            let (mut found, mut wanted) = (BatchKeys::default(), Wanted::default());
            found.events.reserve(events.len());
            found.subjects.reserve(events.len());
            found.groups.reserve(events.len());
            let known = cache.people.of_batch(events);
            // A loop of its own, for the reason that `people` gives.
            let month = day.month();
            let tag = |k: &Option<(PersonId, &SubjectKeys)>| (*k)?.1.known_tag(month);
            let tags: Vec<Option<SubjectTag>> = known.iter().map(tag).collect();
            let mut known = known.into_iter().zip(tags);
            for event in events {
                looking.event(event, &mut known, &mut wanted, &mut found);
            }
            (found, looking.fresh, wanted)
        };
        if !fresh.is_empty() {
            self.remember(fresh);
        }
        match wanted.subjects.is_empty() && wanted.class_days.is_empty() {
            true => Ok(found),
            false => Err(wanted),
        }
    }

    fn remember(&self, fresh: Fresh) {
        let mut guard = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        let cache = &mut *guard;
        if cache.evictions != fresh.evictions {
            return;
        }
        if cache.groups.len() > KEY_CACHE_GROUPS_MAX {
            cache.groups.clear();
        }
        for ((person, class), (month, tag)) in fresh.tags {
            let keys = cache.people.person_mut(&person).and_then(|keys| keys.class_mut(class));
            if let Some(keys) = keys {
                keys.tag = Some((month, tag));
                cache.owners.insert(tag, (person, class));
            }
        }
        for ((person, class), (day, base)) in fresh.bases {
            let keys = cache.people.person_mut(&person).and_then(|keys| keys.class_mut(class));
            keys.into_iter().for_each(|keys| keys.base = Some((day, base.clone())));
        }
        cache.groups.extend(fresh.groups);
    }
}

/// Tags and base keys computed while the cache was only read.
#[derive(Default)]
struct Fresh {
    evictions: u64,
    tags: HashMap<(PersonId, ClassId), (Month, SubjectTag)>,
    bases: HashMap<(PersonId, ClassId), (Day, HmacKey)>,
    groups: HashMap<GroupName, HmacKey>,
}

impl Fresh {
    fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.bases.is_empty() && self.groups.is_empty()
    }
}

/// One batch looking its keys up under the cache guard.
struct Looking<'c> {
    ring: &'c Keyring,
    cache: &'c Cache,
    day: Day,
    /// The source met last, with its handle.
    source: Option<(Arc<str>, SourceHandle)>,
    fresh: Fresh,
    /// The subjects of the event at hand.
    members: Vec<(PersonId, SubjectTag, &'c SubjectKeys)>,
}

impl<'c> Looking<'c> {
    /// `known` continues with the event's subjects.
    fn event(
        &mut self,
        event: &Event<'_>,
        known: &mut impl Iterator<Item = (Option<(PersonId, &'c SubjectKeys)>, Option<SubjectTag>)>,
        wanted: &mut Wanted,
        found: &mut BatchKeys,
    ) {
        let class_day = ClassDay { class: event.class, day: self.day };
        let day_key = self.cache.class_days.get(&class_day);
        if !event.groups.is_empty() && day_key.is_none() {
            wanted.class_days.push(class_day);
        }
        let month = self.day.month();
        self.members.clear();
        for subject in &event.subjects {
            let Some((Some((person, keys)), tag)) = known.next() else {
                wanted.subjects.push((subject.clone(), event.class));
                continue;
            };
            let tag = tag.unwrap_or_else(|| self.tag(person, keys, month));
            self.members.push((person, tag, keys));
        }
        if !wanted.subjects.is_empty() || !wanted.class_days.is_empty() {
            return;
        }
        let source = self.source(&event.source);
        let event_id = match &event.dedupe {
            Dedupe::EventId(id) => self.ring.event_id_tag(&source, id),
            _ => EventIdTag::ZERO,
        };
        let (subjects, groups) = (found.subjects.len(), found.groups.len());
        found.subjects.extend(self.members.iter().map(|(person, tag, _)| (*person, *tag)));
        for group in &event.groups {
            let Some(day_key) = day_key else { continue };
            found.groups.push(self.group_key(class_day, day_key, group.subjects));
        }
        found.events.push(EventKeys {
            source,
            event_id,
            subjects: subjects..found.subjects.len(),
            groups: groups..found.groups.len(),
        });
    }

    fn source(&mut self, name: &Arc<str>) -> SourceHandle {
        match &self.source {
            Some((known, handle)) if Arc::ptr_eq(known, name) || **known == **name => *handle,
            _ => {
                let handle = self.ring.source_handle(name);
                self.source = Some((name.clone(), handle));
                handle
            }
        }
    }

    fn tag(&mut self, person: PersonId, keys: &SubjectKeys, month: Month) -> SubjectTag {
        let name = (person, keys.class);
        self.fresh.tags.entry(name).or_insert_with(|| (month, keys.tag(month))).1
    }

    fn group_key(&mut self, class_day: ClassDay, day_key: &Key, subjects: SubjectSet) -> HmacKey {
        let tenant = &self.ring.tenant;
        if let Some(at) = subjects.single()
            && let Some((person, _, keys)) = self.members.get(at)
        {
            if let Some((_, base)) = keys.base.as_ref().filter(|(day, _)| *day == class_day.day) {
                return base.clone();
            }
            let base = || (class_day.day, base_key(tenant, class_day, day_key, &[&keys.seal]));
            return self.fresh.bases.entry((*person, keys.class)).or_insert_with(base).1.clone();
        }
        let mut members: Vec<(SubjectTag, PersonId, &Key)> = subjects
            .iter()
            .filter_map(|at| self.members.get(at))
            .map(|(person, tag, keys)| (*tag, *person, &keys.seal))
            .collect();
        members.sort_unstable_by_key(|(tag, person, _)| (*tag, *person));
        members.dedup_by_key(|(tag, person, _)| (*tag, *person));
        let name: GroupName = (class_day, members.iter().map(|(tag, ..)| *tag).collect());
        if let Some(key) = self.cache.groups.get(&name).or_else(|| self.fresh.groups.get(&name)) {
            return key.clone();
        }
        let seals: Vec<&Key> = members.iter().map(|(.., seal)| *seal).collect();
        let key = base_key(tenant, class_day, day_key, &seals);
        self.fresh.groups.insert(name, key.clone());
        key
    }
}
