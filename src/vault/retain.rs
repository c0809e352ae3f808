//! Retention: what is due goes, on every copy at once, because its key goes. A plan says what,
//! when and why before anything happens; expiry is the erasure's six steps over class-day keys;
//! body files are unlinked after the log says that their keys are gone. It never lets a wall
//! clock alone decide: log time does, and a jump of it must be confirmed.

use crate::base::entry::Kind;
use crate::base::event::Verb;
use crate::base::id::{CaseId, Hash32, JobId};
use crate::base::limits::{CLASS_DAY_GRACE_DAYS, EVIDENCE_CLASS, VAULT_CLASS};
use crate::base::unit::{ClassDay, ClassId, Day, EntryIndex, UtcNanos};
use crate::base::world::random;
use crate::format::cell::{self, Cell};
use crate::format::control::Scope;
use crate::format::control::{self, Due, PruneDone, PruneIntent};
use crate::store::error::ErrorKind;
use crate::store::keytree::KeyTree;
use crate::vault::Vault;
use crate::vault::append::root_change;
use crate::vault::erase::Erased;
use crate::vault::error::{Error, Result};
use crate::vault::facts::Facts;
use crate::vault::keys;
use crate::vault::sequencer::Check;
use std::collections::{BTreeMap, BTreeSet};

/// Class-days of one run: their list must fit the clear part of an entry.
const RUN_DAYS_MAX: usize = 64;
/// Times a run is planned again because holds or policies changed or another run passed meanwhile.
const REPLANS_MAX: usize = 8;
/// Who asked for a run nobody asked for.
const SCHEDULE: &str = "schedule";
/// Code of a plan that no longer fits the state at its index.
pub(crate) const PLAN_CHANGED: &str = "PLAN_CHANGED";

/// One class-day in a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planned {
    /// Class and day.
    pub class_day: ClassDay,
    /// Name of the class.
    pub class_name: String,
    /// Sealed groups in it.
    pub groups: u64,
    /// Bytes of its body file.
    pub bytes: u64,
    /// When it falls due; none = kept for ever.
    pub due: Option<UtcNanos>,
    /// Why: the class's rule in words.
    pub rule: String,
    /// Cases that keep it beyond that.
    pub held: Vec<CaseId>,
}

/// What a run did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expired {
    /// Runs made: handle, intent, done.
    pub runs: Vec<(JobId, EntryIndex, EntryIndex)>,
    /// Class-days that went.
    pub class_days: Vec<ClassDay>,
    /// Groups that went.
    pub groups: u64,
    /// Bytes of body files freed.
    pub bytes_freed: u64,
    /// Class-days that were due and are held, with the cases.
    pub held: Vec<(ClassDay, Vec<CaseId>)>,
    /// Erasures that earlier had to leave something, completed now.
    pub erasures: Vec<Erased>,
}

/// What a plan of a run rests on, beside the class-days themselves.
#[derive(Clone, PartialEq, Eq)]
struct Grounds {
    holds: BTreeMap<CaseId, Vec<(EntryIndex, Scope)>>,
    policies: Option<(EntryIndex, u64, Hash32)>,
}

impl Grounds {
    fn of(facts: &Facts) -> Self {
        Grounds { holds: facts.holds.clone(), policies: facts.policies }
    }

    /// Whether a plan on these may stand at its own index.
    fn allow(&self, days: &[ClassDay], facts: &Facts) -> Result<()> {
        let gone = days.iter().any(|day| facts.fenced_days.contains(day));
        match gone || *self != Grounds::of(facts) {
            true => Err(Error::Conflict {
                code: PLAN_CHANGED,
                first: None,
                fix: "holds or policies changed meanwhile; ask again".to_owned(),
            }),
            false => Ok(()),
        }
    }
}

impl Vault {
    /// Every class-day with a living key and what is to become of it, ascending by due date.
    ///
    /// # Errors
    /// Those of the store.
    pub fn retention_plan(&self) -> Result<Vec<Planned>> {
        let alive = living_days(&self.inner.keys.tree())?;
        let bytes: BTreeMap<ClassDay, u64> = self.inner.bodies.list()?.into_iter().collect();
        let by_person = self.days_held_by_persons()?;
        let policies = self.policies();
        let facts = self.facts();
        let mut plan: Vec<Planned> = alive
            .into_iter()
            .map(|class_day| {
                let class = policies.classes().get(class_day.class);
                let keep = class.and_then(|c| c.keep_days());
                let name = class.map_or_else(String::new, |c| c.name.clone());
                let mut held = facts.holds_on_day(class_day);
                held.extend(by_person.get(&class_day).into_iter().flatten());
                held.sort_unstable();
                held.dedup();
                Planned {
                    class_day,
                    groups: facts.groups.get(&class_day).copied().unwrap_or(0),
                    bytes: bytes.get(&class_day).copied().unwrap_or(0),
                    due: due(class_day, keep),
                    rule: rule(&name, keep),
                    class_name: name,
                    held,
                }
            })
            .collect();
        plan.sort_by_key(|p| (p.due.unwrap_or(UtcNanos(u64::MAX)), p.class_day));
        Ok(plan)
    }

    /// Class-days that hold records of persons under a hold, with the cases.
    fn days_held_by_persons(&self) -> Result<BTreeMap<ClassDay, BTreeSet<CaseId>>> {
        let holds = self.facts().persons_held();
        let mut held: BTreeMap<ClassDay, BTreeSet<CaseId>> = BTreeMap::new();
        for (case, persons) in holds {
            // A hold is on the human: peers count, and handles before and after an erasure.
            let directory = self.inner.keys.directory();
            let cells = keys::same_human(&self.inner.keys.tree(), directory, &persons)?;
            for day in self.class_days_of(&cells)? {
                held.entry(day).or_default().insert(case);
            }
        }
        Ok(held)
    }

    /// As `expire_for`, on the schedule's account.
    ///
    /// # Errors
    /// As `expire_for`.
    pub fn expire(&self, confirm: Option<Day>) -> Result<Expired> {
        self.expire_for(confirm, SCHEDULE)
    }

    /// Expires what is due at log time now, and completes what erasures had to leave. `confirm` is
    /// today's date, needed once after log time jumped more than seven days; `by` is whoever asked
    /// for the run, sealed in its entries.
    ///
    /// # Errors
    /// `Denied` `EXPIRY_SUSPENDED` after an unconfirmed jump; those of the store.
    pub fn expire_for(&self, confirm: Option<Day>, by: &str) -> Result<Expired> {
        self.writable()?;
        self.has_room_to_act()?;
        let now = self.inner.clock.now();
        let confirmed = self.confirmed(now, confirm)?;
        let mut done = Expired::default();
        for _ in 0..REPLANS_MAX {
            match self.expire_due((now, confirmed), by, &mut done) {
                // Holds or policies changed or another run passed between plan and intent.
                Err(Error::Conflict { code: PLAN_CHANGED, .. }) => {}
                other => {
                    other?;
                    let completed = self.complete_deferred();
                    if self.inner.keys.tree().wants_compaction() {
                        match self.compact_keys() {
                            // It only saves room, and needs some: another time.
                            Err(Error::Unavailable(e)) if e.kind == ErrorKind::Full => {}
                            other => drop(other?),
                        }
                    }
                    self.checkpoint()?;
                    done.erasures = completed?;
                    return Ok(done);
                }
            }
        }
        Err(Error::Overloaded)
    }

    /// Whether a jump of log time was there and is confirmed.
    fn confirmed(&self, now: UtcNanos, confirm: Option<Day>) -> Result<bool> {
        let (jump, last) = {
            let facts = self.facts();
            (facts.time_jump, facts.last_time)
        };
        // Before the first entry after an accepted jump only the clock knows of it.
        if jump.is_none() && !self.inner.clock.jumped_beyond(last) {
            return Ok(false);
        }
        if confirm == Some(now.day()) {
            return Ok(true);
        }
        let fix = format!(
            "log time jumped more than seven days; nothing expires until a person confirms \
             today's date: --confirm-date {}",
            now.day()
        );
        Err(Error::denied("EXPIRY_SUSPENDED", fix))
    }

    fn expire_due(
        &self,
        (now, confirmed): (UtcNanos, bool),
        by: &str,
        done: &mut Expired,
    ) -> Result<()> {
        // Taken before the plan: whatever is held, released or put in force after it makes the
        // plan void.
        let grounds = Grounds::of(&self.facts());
        let mut ready = Vec::new();
        done.held.clear();
        for planned in self.retention_plan()? {
            let late = planned.class_day.day.0.saturating_add(CLASS_DAY_GRACE_DAYS) <= now.day().0;
            match planned.due.filter(|due| *due <= now && late) {
                Some(_) if !planned.held.is_empty() => {
                    done.held.push((planned.class_day, planned.held));
                }
                Some(due) => ready.push((planned, due)),
                None => {}
            }
        }
        for run in ready.chunks(RUN_DAYS_MAX) {
            self.expire_run(run, &grounds, by, done)?;
        }
        // The entry of a run is also what records that a person confirmed the date.
        if confirmed && ready.is_empty() && done.runs.is_empty() {
            self.expire_run(&[], &grounds, by, done)?;
        }
        Ok(())
    }

    fn expire_run(
        &self,
        run: &[(Planned, UtcNanos)],
        grounds: &Grounds,
        by: &str,
        done: &mut Expired,
    ) -> Result<()> {
        let policy = grounds.policies.map_or(Hash32::ZERO, |(_, _, hash)| hash);
        let by = vec![("order.requested_by", by.to_owned())];
        let intent = self.prepare_act(Verb::Retain, ClassId(VAULT_CLASS), by.clone())?;
        let finish = self.prepare_act(Verb::Retain, ClassId(VAULT_CLASS), by)?;
        let mut tree = self.inner.keys.tree();
        self.announce_root(&tree)?;
        let plan = PruneIntent {
            job: JobId(random(&*self.inner.world.entropy)),
            class_days: run
                .iter()
                .map(|(planned, due)| Due {
                    class: planned.class_day.class,
                    day: planned.class_day.day,
                    due: *due,
                    groups: planned.groups,
                })
                .collect(),
            policy,
            generation: tree.generation(),
        };
        let days: Vec<ClassDay> = run.iter().map(|(planned, _)| planned.class_day).collect();
        let (guarded, grounds) = (days.clone(), grounds.clone());
        let check: Check = Box::new(move |facts| grounds.allow(&guarded, facts));
        let clear = control::encode(&plan)?;
        let asked = self.commit_act(Kind::PruneIntent, clear, intent, Some(check))?;
        let finished = self.finish_expiry(&mut tree, &plan, asked.first, finish)?;
        drop(tree);
        // What the evidence said lives no longer than its keys.
        if days.iter().any(|day| day.class.0 == EVIDENCE_CLASS) {
            self.forget_erased();
        }
        for class_day in &days {
            done.bytes_freed += self.inner.bodies.unlink(*class_day)?;
        }
        done.groups += plan.class_days.iter().map(|d| d.groups).sum::<u64>();
        done.class_days.extend(days);
        done.runs.push((plan.job, asked.first, finished));
        Ok(())
    }

    fn finish_expiry(
        &self,
        tree: &mut KeyTree,
        plan: &PruneIntent,
        intent: EntryIndex,
        act: crate::vault::hold::Prepared,
    ) -> Result<EntryIndex> {
        let keys = &self.inner.keys;
        keys.evict();
        let days = days_of(plan);
        let gone = days.iter().map(|day| (cell::class_day_key(keys.directory(), *day), None));
        let rekeyed = tree.rekey(gone.collect(), self.log_head(), &*self.inner.world.entropy)?;
        let missed = tree.replicas().away.map(|(id, _)| id);
        keys.evict();
        let root = root_change(&rekeyed);
        let done = PruneDone { job: plan.job, intent, class_days: days, root, missed };
        Ok(self.commit_act(Kind::PruneDone, control::encode(&done)?, act, None)?.first)
    }

    /// Finishes expiries that a crash interrupted, and unlinks what one left behind.
    pub(crate) fn redrive_expiries(&self) -> Result<()> {
        let open: Vec<(EntryIndex, PruneIntent)> = {
            let facts = self.facts();
            let open = facts.prunes.values().filter(|p| p.done.is_none());
            open.map(|p| (p.intent, p.plan.clone())).collect()
        };
        for (intent, plan) in open {
            let by = vec![("order.requested_by", SCHEDULE.to_owned())];
            let act = self.prepare_act(Verb::Retain, ClassId(VAULT_CLASS), by)?;
            let mut tree = self.inner.keys.tree();
            self.announce_root(&tree)?;
            self.finish_expiry(&mut tree, &plan, intent, act)?;
        }
        let expired: Vec<ClassDay> = self.facts().expired.keys().copied().collect();
        for class_day in expired {
            self.inner.bodies.unlink(class_day)?;
        }
        Ok(())
    }

    /// Finishes whatever a crash interrupted, before anything is served. A root that changed
    /// without its done entry is announced first, so that making keys for the rest may grow the
    /// tree without two changes going unannounced.
    pub(crate) fn redrive(&self) -> Result<()> {
        self.announce_root(&self.inner.keys.tree())?;
        self.redrive_erasures()?;
        self.redrive_expiries()
    }
}

fn days_of(plan: &PruneIntent) -> Vec<ClassDay> {
    plan.class_days.iter().map(|d| ClassDay { class: d.class, day: d.day }).collect()
}

fn living_days(tree: &KeyTree) -> Result<Vec<ClassDay>> {
    let mut days = Vec::new();
    tree.for_each(&mut |_, bytes| {
        if let Ok(Cell::ClassDay(class_day, _)) = Cell::decode(bytes) {
            days.push(class_day);
        }
    })?;
    days.sort_unstable();
    Ok(days)
}

fn due(class_day: ClassDay, keep: Option<u32>) -> Option<UtcNanos> {
    let days = keep?;
    Some(Day(class_day.day.0.saturating_add(days)).end())
}

fn rule(name: &str, keep: Option<u32>) -> String {
    match keep {
        Some(days) => format!("class {name}: kept {days} days from the end of its day"),
        None => format!("class {name}: kept for ever"),
    }
}
