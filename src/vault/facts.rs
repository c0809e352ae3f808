//! What the log says the vault has bound itself to: holds, erasures, expiries, the announced root
//! of the key tree, the policies in force. A view over the entries, rebuilt at every start;
//! only the sequencer changes it, and it never holds anything the log does not.

use crate::base::entry::{Entry, Head, Kind};
use crate::base::id::{CaseId, DocumentId, Hash32, JobId, PersonId, ReplicaId, SourceHandle};
use crate::base::limits::{CLOCK_ACCEPT_DAYS, IDEMPOTENCY_NANOS};
use crate::base::unit::{ClassDay, EntryIndex, Generation, TreeSize, UtcNanos};
use crate::base::unit::{Day, NANOS_PER_DAY};
use crate::format::control::{self, DocumentKind, KeyRoll, RootChange, Scope};
use crate::format::seal::payload::{DaySealPayload, SealPayload};
use crate::format::wire::Malformed;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::RangeInclusive;

/// A seal whose payload is not one.
const SEAL: Malformed = Malformed { offset: 0, what: "seal payload" };

/// One erasure, as far as it went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Erasure {
    /// Index of the intent.
    pub intent: EntryIndex,
    /// When it was asked.
    pub asked: UtcNanos,
    /// What was asked.
    pub plan: control::EraseIntent,
    /// Index, time and payload of the done entry.
    pub done: Option<(EntryIndex, UtcNanos, control::EraseDone)>,
}

/// One retention run, as far as it went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prune {
    /// Index of the intent.
    pub intent: EntryIndex,
    /// When.
    pub asked: UtcNanos,
    /// What.
    pub plan: control::PruneIntent,
    /// Index, time and payload of the done entry.
    pub done: Option<(EntryIndex, UtcNanos, control::PruneDone)>,
}

/// The newest version of a document in the registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DocumentFact {
    /// Its version.
    pub version: u64,
    /// Its entry.
    pub index: EntryIndex,
    /// Log time of that.
    pub time: UtcNanos,
    /// Whether it is given up.
    pub gone: bool,
}

/// The view.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Genesis payload.
    pub genesis: Option<control::Genesis>,
    /// Active holds by case.
    pub holds: BTreeMap<CaseId, Vec<(EntryIndex, Scope)>>,
    /// Released cases, with the entry.
    pub released: BTreeMap<CaseId, EntryIndex>,
    /// Erasures by job.
    pub erasures: BTreeMap<JobId, Erasure>,
    /// Erasures and runs whose missing replica was scrubbed later: entry, time, payload.
    pub finals: BTreeMap<JobId, (EntryIndex, UtcNanos, control::EraseFinal)>,
    /// Retention runs by job.
    pub prunes: BTreeMap<JobId, Prune>,
    /// Persons under erasure or erased: nothing new may be sealed to them.
    pub fenced: HashSet<PersonId>,
    /// Class-days under expiry: nothing new may be sealed to them.
    pub fenced_days: BTreeSet<ClassDay>,
    /// Expired class-days with their prune-done entry.
    pub expired: BTreeMap<ClassDay, EntryIndex>,
    /// Groups sealed, per class-day.
    pub groups: BTreeMap<ClassDay, u64>,
    /// Newest announced generation of the key tree and its root's birth hash.
    pub root: (Generation, Hash32),
    /// A growth of the key tree was announced from this generation and not finished.
    pub growing: Option<Generation>,
    /// Newest policies entry: index, version, hash.
    pub policies: Option<(EntryIndex, u64, Hash32)>,
    /// Sources by handle, with the entry that names them.
    pub sources: BTreeMap<SourceHandle, EntryIndex>,
    /// Documents of the registry. Those of requests fall out `IDEMPOTENCY_NANOS` after their
    /// entry, with the first entry that is as late.
    pub documents: BTreeMap<(DocumentKind, DocumentId), DocumentFact>,
    /// How many of them are in force and neither given up nor of requests.
    pub living: usize,
    /// Documents of requests among them, by their entry: the oldest first.
    pub aging: BTreeMap<EntryIndex, DocumentId>,
    /// Persons whose data may be used on a `Ground` only, with the entry since which.
    pub restricted: BTreeMap<PersonId, EntryIndex>,
    /// Corrections: the event, and the entry that corrects it.
    pub corrections: BTreeSet<(EntryIndex, EntryIndex)>,
    /// Every change of the log key, with its entry.
    pub key_rolls: Vec<(EntryIndex, KeyRoll)>,
    /// Epochs up to the newest that is sealed.
    pub epochs_sealed: u64,
    /// Those among them that have no seal.
    pub unsealed: BTreeSet<u64>,
    /// Newest day that has its day-seal.
    pub day_sealed: Option<Day>,
    /// Where the next day-seal begins.
    pub day_start: EntryIndex,
    /// First entry of an opening whose log time lies more than seven days beyond its predecessor's
    /// and after which no retention run was confirmed.
    pub time_jump: Option<EntryIndex>,
    /// The next entry is the first one after an opening: only there can a wall clock have moved
    /// log time, since a running vault counts its own seconds.
    pub opening: bool,
    /// Log time of the newest entry.
    pub last_time: UtcNanos,
    /// Entries seen.
    pub size: TreeSize,
}

impl Facts {
    /// Takes in the next entry.
    ///
    /// # Errors
    /// `Malformed` when a control entry's payload is not what its kind says.
    pub fn observe(&mut self, entry: &Entry) -> Result<(), Malformed> {
        self.observe_head(&entry.head, entry.index, entry.time_log)
    }

    /// As `observe`, from an entry's parts.
    ///
    /// # Errors
    /// As `observe`.
    pub fn observe_head(
        &mut self,
        head: &Head,
        index: EntryIndex,
        time: UtcNanos,
    ) -> Result<(), Malformed> {
        self.observe_plain(head.groups.iter().map(|g| (g.class, g.bucket)), index, time);
        self.observe_control(head.kind, &head.clear, index, time)
    }

    /// Takes in a run of entries of one commit, as far as every entry has it: groups sealed by
    /// class-day, and their common time.
    pub fn observe_run(
        &mut self,
        groups: impl Iterator<Item = (ClassDay, u64)>,
        run: RangeInclusive<EntryIndex>,
        time: UtcNanos,
    ) {
        for (class_day, count) in groups {
            *self.groups.entry(class_day).or_default() += count;
        }
        // What depends on the neighbours happens at the first entry; the rest share its time.
        self.observe_plain(std::iter::empty(), *run.start(), time);
        self.size = TreeSize(run.end().0 + 1);
    }

    /// The part every entry has: its place, time and groups.
    pub fn observe_plain(
        &mut self,
        groups: impl Iterator<Item = (crate::base::unit::ClassId, Day)>,
        index: EntryIndex,
        time: UtcNanos,
    ) {
        for (class, day) in groups {
            *self.groups.entry(ClassDay { class, day }).or_default() += 1;
        }
        let jump = time.0.saturating_sub(self.last_time.0) > CLOCK_ACCEPT_DAYS * NANOS_PER_DAY;
        if jump && self.opening && index.0 > 0 && self.time_jump.is_none() {
            self.time_jump = Some(index);
        }
        self.opening = false;
        if index.0 == 0 {
            self.day_start = index;
        }
        self.last_time = self.last_time.max(time);
        self.size = TreeSize(index.0 + 1);
        self.forget_requests();
    }

    /// Lets go of documents of requests that are old by now.
    fn forget_requests(&mut self) {
        while let Some(oldest) = self.aging.first_entry() {
            let key = (DocumentKind::Idempotency, *oldest.get());
            let ends = self.documents.get(&key).map(|d| d.time.0.saturating_add(IDEMPOTENCY_NANOS));
            if ends.is_some_and(|ends| ends > self.last_time.0) {
                return;
            }
            oldest.remove();
            self.documents.remove(&key);
        }
    }

    /// Takes in a version of a document.
    pub(crate) fn take_document(&mut self, key: (DocumentKind, DocumentId), fact: DocumentFact) {
        let before = self.documents.insert(key, fact);
        if key.0 == DocumentKind::Idempotency {
            before.map(|before| self.aging.remove(&before.index));
            self.aging.insert(fact.index, key.1);
            return;
        }
        self.living -= usize::from(before.is_some_and(|before| !before.gone));
        self.living += usize::from(!fact.gone);
    }

    /// The part only the vault's own entries have.
    ///
    /// # Errors
    /// As `observe`.
    pub fn observe_control(
        &mut self,
        kind: Kind,
        clear: &[u8],
        index: EntryIndex,
        time: UtcNanos,
    ) -> Result<(), Malformed> {
        match kind {
            Kind::Genesis => {
                let genesis: control::Genesis = control::decode(clear)?;
                self.root = (genesis.generation, genesis.root);
                self.genesis = Some(genesis);
            }
            Kind::EraseIntent => {
                let plan: control::EraseIntent = control::decode(clear)?;
                self.fenced.extend(plan.persons.iter().copied());
                let erasure = Erasure { intent: index, asked: time, plan, done: None };
                self.erasures.insert(erasure.plan.job, erasure);
            }
            Kind::EraseDone => {
                let done: control::EraseDone = control::decode(clear)?;
                self.announce(&done.root);
                if done.deferred.is_empty() {
                    // Nothing is left of them whose use could be restricted.
                    self.restricted.retain(|person, _| !done.persons.contains(person));
                }
                if let Some(erasure) = self.erasures.get_mut(&done.job) {
                    erasure.done = Some((index, time, done));
                }
            }
            Kind::PruneIntent => {
                let plan: control::PruneIntent = control::decode(clear)?;
                let days = plan.class_days.iter();
                self.fenced_days.extend(days.map(|d| ClassDay { class: d.class, day: d.day }));
                self.time_jump = None;
                let prune = Prune { intent: index, asked: time, plan, done: None };
                self.prunes.insert(prune.plan.job, prune);
            }
            Kind::PruneDone => {
                let done: control::PruneDone = control::decode(clear)?;
                self.announce(&done.root);
                self.expired.extend(done.class_days.iter().map(|d| (*d, index)));
                if let Some(prune) = self.prunes.get_mut(&done.job) {
                    prune.done = Some((index, time, done));
                }
            }
            Kind::EraseFinal => {
                let end: control::EraseFinal = control::decode(clear)?;
                self.finals.insert(end.job, (index, time, end));
            }
            _ => return self.observe_rest(kind, clear, index, time),
        }
        Ok(())
    }

    fn observe_rest(
        &mut self,
        kind: Kind,
        clear: &[u8],
        index: EntryIndex,
        time: UtcNanos,
    ) -> Result<(), Malformed> {
        match kind {
            Kind::KeyRoll => match control::decode::<KeyRoll>(clear)? {
                KeyRoll::GrowthIntent { generation } => self.growing = Some(generation),
                KeyRoll::GrowthDone { root } => self.announce(&root),
                roll @ KeyRoll::LogKey { .. } => self.key_rolls.push((index, roll)),
            },
            Kind::HoldSet => {
                let hold: control::HoldSet = control::decode(clear)?;
                self.holds.entry(hold.case).or_default().push((index, hold.scope));
            }
            Kind::HoldRelease => {
                let release: control::HoldRelease = control::decode(clear)?;
                self.holds.remove(&release.case);
                self.released.insert(release.case, index);
            }
            Kind::Config => match control::decode::<control::Config>(clear)? {
                control::Config::Policies { version, policies, .. } => {
                    self.policies = Some((index, version, policies));
                }
                control::Config::Source { source } => {
                    self.sources.insert(source, index);
                }
                control::Config::Document { kind, id, version, gone } => {
                    self.take_document((kind, id), DocumentFact { version, index, time, gone });
                }
                control::Config::Restriction { person, begins: true } => {
                    self.restricted.entry(person).or_insert(index);
                }
                control::Config::Restriction { person, begins: false } => {
                    self.restricted.remove(&person);
                }
                control::Config::Correction { corrects } => {
                    self.corrections.insert((corrects, index));
                }
                control::Config::Link { .. }
                | control::Config::MirrorForgotten { .. }
                | control::Config::Unwitnessed { .. }
                | control::Config::Anchor { .. } => {}
            },
            Kind::Seal => {
                let seal = SealPayload::decode(clear).map_err(|_| SEAL)?;
                // One of entries that are not there yet seals nothing.
                if seal.end <= index {
                    let epoch = seal.epoch();
                    self.unsealed.remove(&epoch);
                    self.unsealed.extend(self.epochs_sealed..epoch);
                    self.epochs_sealed = self.epochs_sealed.max(epoch.saturating_add(1));
                }
            }
            Kind::DaySeal => {
                let seal = DaySealPayload::decode(clear).map_err(|_| SEAL)?;
                self.day_sealed = Some(seal.day);
                self.day_start = EntryIndex(seal.end.0);
            }
            _ => {}
        }
        Ok(())
    }

    /// Acts that a replica has missed and that no entry says it has caught up with since: job and
    /// done entry.
    pub fn owed_to(&self, replica: ReplicaId) -> Vec<(JobId, EntryIndex)> {
        let erasures = self.erasures.values().filter_map(|e| {
            let (index, _, done) = e.done.as_ref()?;
            Some((done.job, *index, done.missed?))
        });
        let prunes = self.prunes.values().filter_map(|p| {
            let (index, _, done) = p.done.as_ref()?;
            Some((done.job, *index, done.missed?))
        });
        let owed = erasures
            .chain(prunes)
            .filter(|(job, _, missed)| *missed == replica && !self.finals.contains_key(job));
        owed.map(|(job, done, _)| (job, done)).collect()
    }

    /// Acts that some replica has missed and not caught up with.
    pub fn partial(&self) -> usize {
        let missed =
            self.erasures.values().filter_map(|e| e.done.as_ref()?.2.missed.map(|_| e.plan.job));
        let runs =
            self.prunes.values().filter_map(|p| p.done.as_ref()?.2.missed.map(|_| p.plan.job));
        missed.chain(runs).filter(|job| !self.finals.contains_key(job)).count()
    }

    /// Of the first `whole` epochs those without a seal.
    pub fn seals_owed(&self, whole: u64) -> BTreeSet<u64> {
        self.unsealed.iter().copied().chain(self.epochs_sealed..whole).collect()
    }

    fn announce(&mut self, root: &RootChange) {
        self.root = (root.to, root.new_root);
        self.growing = None;
    }

    /// Entries that correct an event, ascending.
    pub fn corrections_of(&self, event: EntryIndex) -> impl Iterator<Item = EntryIndex> {
        let all = (event, EntryIndex(0))..=(event, EntryIndex(u64::MAX));
        self.corrections.range(all).map(|(_, by)| *by)
    }

    /// Persons that cases hold, by case.
    pub fn persons_held(&self) -> Vec<(CaseId, Vec<PersonId>)> {
        let person = |(_, scope): &(EntryIndex, Scope)| match scope {
            Scope::Person { person } => Some(*person),
            Scope::ClassDays { .. } => None,
        };
        let held = self.holds.iter().map(|(case, all)| (*case, all.iter().filter_map(person)));
        let held = held.map(|(case, persons)| (case, persons.collect::<Vec<_>>()));
        held.filter(|(_, persons)| !persons.is_empty()).collect()
    }

    /// Cases whose hold covers any of these persons.
    pub fn holds_on_persons(&self, persons: &[PersonId]) -> Vec<CaseId> {
        self.cases(|scope| matches!(scope, Scope::Person { person } if persons.contains(person)))
    }

    /// Cases whose hold covers a class-day, directly.
    pub fn holds_on_day(&self, day: ClassDay) -> Vec<CaseId> {
        self.cases(|scope| {
            matches!(scope, Scope::ClassDays { class, from, to }
                if *class == day.class && (*from..=*to).contains(&day.day))
        })
    }

    fn cases(&self, covers: impl Fn(&Scope) -> bool) -> Vec<CaseId> {
        let held = self.holds.iter().filter(|(_, scopes)| scopes.iter().any(|(_, s)| covers(s)));
        held.map(|(case, _)| *case).collect()
    }

    /// Whether a generation may be one ahead of the announced one: an act that changes the root
    /// is open. One that was asked earlier counts, since finishing it after a crash may have
    /// changed the root a second time.
    pub fn intent_open_at(&self, generation: Generation) -> bool {
        let erasing =
            self.erasures.values().any(|e| e.done.is_none() && e.plan.generation <= generation);
        let pruning =
            self.prunes.values().any(|p| p.done.is_none() && p.plan.generation <= generation);
        erasing || pruning || self.growing == Some(generation)
    }
}
