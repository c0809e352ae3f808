//! Beside a person: who else may be the same one, and what an erasure does not reach though it
//! stands in the person's records. Both are counted over the newest of those records, so many and
//! no more, and the answer says whether that was all. It never links anybody, and shows handles
//! and counts only.

use crate::base::id::{PersonId, SourceHandle, SubjectTag};
use crate::base::unit::EntryIndex;
use crate::base::word::Word;
use crate::vault::Vault;
use crate::vault::error::{Error, Result};
use crate::vault::keys::Keyring;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Records of the person that are looked at, the newest ones: 8 bytes each, and about a
/// microsecond of reading.
pub const RECORDS_MAX: usize = 100_000;
/// Other persons that are counted: 65,536 x about 60 bytes = 4 MiB. Whoever comes later is not.
const OTHERS_MAX: usize = 1 << 16;
/// Candidates, those who share most, whose own records are looked at.
const CANDIDATES_MAX: usize = 20;
/// Records of all candidates that are looked at together, beside the shared ones.
const OWN_MAX: usize = 200_000;
/// Records that two must share before one is a likely other name of the other.
pub const SHARED_MIN: u64 = 3;

/// Somebody who may be the same person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Likely {
    /// All handles.
    pub persons: Vec<PersonId>,
    /// Kinds of the identifiers, counted.
    pub kinds: BTreeMap<Word, u64>,
    /// Records that bear tags of both.
    pub shared: u64,
    /// Records that bear a tag of this one, as far as they were looked at: never more than twice
    /// as many as are shared.
    pub own: u64,
}

/// What lies beside a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beside {
    /// Who may be the same person: at least `SHARED_MIN` records of both, and at least half of the
    /// other's records. Those who share most come first.
    pub likely: Vec<Likely>,
    /// Bodies in the person's records that are sealed under the tenant, by source; without a
    /// source: acts of the vault. An erasure does not reach them.
    pub tenant_sealed: BTreeMap<Option<Arc<str>>, u64>,
    /// Records that were looked at.
    pub looked_at: u64,
    /// Whether nothing was left out.
    pub complete: bool,
}

/// What one pass over the person's records counts.
#[derive(Default)]
struct Counted {
    others: HashMap<PersonId, u64>,
    tenant: HashMap<SourceHandle, u64>,
    complete: bool,
}

impl Vault {
    /// What lies beside a person, who has these handles.
    ///
    /// # Errors
    /// Those of the store.
    pub fn beside(&self, persons: &[PersonId]) -> Result<Beside> {
        let mut records: Vec<EntryIndex> =
            self.entries_of_persons(persons, None)?.into_iter().map(|(_, index)| index).collect();
        records.sort_unstable();
        records.dedup();
        let skipped = records.len().saturating_sub(RECORDS_MAX);
        records.drain(..skipped);
        let mut counted = self.counted(persons, &records)?;
        counted.complete &= skipped == 0;
        let (likely, all) = self.likely(&counted.others)?;
        let mut tenant_sealed = BTreeMap::new();
        for (source, bodies) in counted.tenant {
            *tenant_sealed.entry(self.source_name(&source)?).or_insert(0) += bodies;
        }
        let (looked_at, complete) = (records.len() as u64, counted.complete && all);
        Ok(Beside { likely, tenant_sealed, looked_at, complete })
    }

    fn counted(&self, persons: &[PersonId], records: &[EntryIndex]) -> Result<Counted> {
        self.inner.keys.learn_owners(self.inner.clock.now().day().month())?;
        let mut counted = Counted { complete: true, ..Counted::default() };
        let mut here: HashSet<PersonId> = HashSet::new();
        self.for_entries_at(records, &mut |entry| {
            let head = &entry.head;
            let tenant = head.groups.iter().filter(|group| group.tags.is_empty()).count() as u64;
            if tenant > 0 {
                *counted.tenant.entry(head.source).or_default() += tenant;
            }
            if head.tags.len() < 2 {
                return Ok(());
            }
            here.clear();
            {
                // Asked for each entry, so that an erasure need not wait for the pass.
                let cache = self.owners()?;
                here.extend(head.tags.iter().filter_map(|tag| cache.least(tag)));
            }
            for other in here.iter().filter(|other| !persons.contains(other)) {
                let room = counted.others.len() < OTHERS_MAX;
                match counted.others.get_mut(other) {
                    Some(shared) => *shared += 1,
                    None if room => drop(counted.others.insert(*other, 1)),
                    None => counted.complete = false,
                }
            }
            Ok(())
        })?;
        Ok(counted)
    }

    /// Those who share enough, and whether all of them were looked at.
    fn likely(&self, others: &HashMap<PersonId, u64>) -> Result<(Vec<Likely>, bool)> {
        let enough = others.iter().filter(|(_, shared)| **shared >= SHARED_MIN);
        let mut ranked: Vec<(PersonId, u64)> = enough.map(|(other, n)| (*other, *n)).collect();
        ranked.sort_unstable_by_key(|(other, shared)| (std::cmp::Reverse(*shared), *other));
        let mut complete = ranked.len() <= CANDIDATES_MAX;
        ranked.truncate(CANDIDATES_MAX);
        let (mut likely, mut left) = (Vec::new(), OWN_MAX);
        for (other, shared) in ranked {
            let persons = match self.handles_of(&other) {
                Ok(persons) => persons,
                Err(Error::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            let most = usize::try_from(shared.saturating_mul(2)).unwrap_or(usize::MAX);
            if most > left {
                complete = false;
                continue;
            }
            left -= most;
            let (own, whole) = self.at_most(&persons, most)?;
            complete &= whole;
            let Some(own) = own else { continue };
            let mut kinds = BTreeMap::new();
            for identifier in self.inner.keys.identifiers_of(&persons)? {
                *kinds.entry(identifier.kind).or_insert(0) += 1;
            }
            likely.push(Likely { persons, kinds, shared, own });
        }
        Ok((likely, complete))
    }

    /// How many records these handles have, unless they are more than `most`.
    fn at_most(&self, persons: &[PersonId], most: usize) -> Result<(Option<u64>, bool)> {
        let cells = self.cells_of(&self.inner.keys.tree(), persons)?;
        let until = self.inner.clock.now().day().month();
        let mut tags: Vec<SubjectTag> = Vec::new();
        for cell in &cells {
            let classes: Vec<_> = cell.keys.iter().map(|key| key.class).collect();
            tags.extend(Keyring::tags_of(cell, &classes, until).into_iter().map(|(_, tag)| tag));
        }
        self.few_entries_of_tags(&tags, most)
    }
}
