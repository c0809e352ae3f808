//! The scheduler: runs what a vault must do and nobody asks for (retention, scrub, checkpoints, key
//! hygiene) at the times that administrators set, and keeps the history of it.
//!
//! `tick` does what is due at an instant and one step of whatever is under way; doing it twice does
//! nothing twice. Each run is written down **before** it does anything and again after its end, as
//! versions of the job's document in the system vault. So after a crash the newest run says which
//! of two things is so: it ended, or it was cut short and is still due. The vault's own verbs are
//! idempotent, so what is cut short runs again, once. It never decides what expires: log time and
//! policies do. It never runs two of one job at once, and never catches up run by run: one run
//! stands for all that were missed, and says for how many.

pub mod book;
pub mod job;
pub mod run;
pub mod task;
pub mod tell;

mod defaults;

use crate::base::id::DocumentId;
use crate::base::unit::{NANOS_PER_SECOND, UtcNanos};
use crate::server::scheduler::book::{Book, Listed};
use crate::server::scheduler::job::{Due, Job, Outcome};
use crate::server::scheduler::task::{Summary, Task, Work};
use crate::vault::Vault;
use crate::vault::error::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A run that begins later than this after its time was missed, and is made up for: longer than
/// other jobs keep it waiting as a rule.
const LATE_NANOS: u64 = 10 * 60 * NANOS_PER_SECOND;

/// The open vault of a tenant, if there is one.
pub type Tenants = Box<dyn Fn(&str) -> Option<Arc<Vault>> + Send>;

/// The scheduler.
pub struct Scheduler {
    book: Book,
    tenants: Tenants,
    jobs: BTreeMap<DocumentId, Listed>,
    work: BTreeMap<DocumentId, Stage>,
    /// Runs asked for, and by whom.
    asked: BTreeMap<DocumentId, String>,
    /// The book was changed by others.
    stale: bool,
    /// Documents in it that are no job, until a tick says so.
    strange: Vec<DocumentId>,
    /// What the next tick that succeeds says of missed runs and findings.
    missed: Vec<(Task, u64)>,
    findings: u64,
}

/// Where a run of this process stands.
enum Stage {
    Working(Work),
    /// It ended, and the history does not say so yet.
    Ended(End),
}

#[derive(Clone)]
struct End {
    outcome: Outcome,
    code: Option<&'static str>,
    summary: Summary,
    at: UtcNanos,
}

/// What a tick came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Jobs of which a run began.
    pub began: Vec<DocumentId>,
    /// Jobs of which a run ended, and how.
    pub ended: Vec<(DocumentId, Outcome)>,
    /// Jobs that cannot run as they are written: no job at all, or a schedule that is none any
    /// more, with the code.
    pub troubled: Vec<(DocumentId, &'static str)>,
    /// Runs that began late or stand for earlier ones that did not come, and how many that were.
    pub missed: Vec<(Task, u64)>,
    /// What scrubs have found.
    pub findings: u64,
    /// When there will be something to do; none if never by itself.
    pub wake: Option<UtcNanos>,
}

impl Scheduler {
    /// Takes up where the last process stopped. What was under way then was cut short: the history
    /// says so from now on, and it is still due. Doing it twice does nothing twice.
    ///
    /// # Errors
    /// Those of the book.
    pub fn open(book: Book, tenants: Tenants, now: UtcNanos) -> Result<Scheduler> {
        let mut scheduler = Scheduler {
            book,
            tenants,
            jobs: BTreeMap::new(),
            work: BTreeMap::new(),
            asked: BTreeMap::new(),
            stale: true,
            strange: Vec::new(),
            missed: Vec::new(),
            findings: 0,
        };
        scheduler.load(now)?;
        Ok(scheduler)
    }

    /// The jobs it goes by.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Jobs of which a run is under way.
    pub fn under_way(&self) -> Vec<DocumentId> {
        self.work.keys().copied().collect()
    }

    /// Says that somebody changed the book: the next tick reads it again.
    pub fn book_changed(&mut self) {
        self.stale = true;
    }

    /// Asks for a run now, due or not, also of a job that is switched off. It begins with the next
    /// tick.
    ///
    /// # Errors
    /// `NotFound` `SCHEDULE_UNKNOWN`; `Conflict` `SCHEDULE_RUNNING`.
    pub fn run_now(&mut self, tenant: &str, name: &str, by: &str) -> Result<()> {
        let Listed { id, .. } = self.book.job(tenant, name)?;
        if self.work.contains_key(&id) || self.asked.contains_key(&id) {
            return Err(running());
        }
        self.stale |= !self.jobs.contains_key(&id);
        self.asked.insert(id, by.to_owned());
        Ok(())
    }

    /// Does what is due, and one step of what is under way. A run that fails is in the history;
    /// only a history that cannot be written fails the tick, which is then to be done again.
    ///
    /// # Errors
    /// Those of the book.
    pub fn tick(&mut self, now: UtcNanos) -> Result<Progress> {
        let mut progress = Progress::default();
        if self.stale {
            self.load(now)?;
        }
        progress.troubled.extend(self.strange.drain(..).map(|id| (id, "MALFORMED")));
        for id in self.under_way() {
            self.step(id, now, &mut progress)?;
        }
        for id in self.jobs.keys().copied().collect::<Vec<_>>() {
            self.begin_if_due(id, now, &mut progress)?;
        }
        if !self.stale {
            // What is left was asked of a job that is there no more.
            self.asked.clear();
        }
        progress.missed = std::mem::take(&mut self.missed);
        progress.findings = std::mem::take(&mut self.findings);
        progress.wake = self.wakes(now);
        Ok(progress)
    }

    /// Leaves what is under way where it is: it is still due, and goes on after the next start.
    ///
    /// # Errors
    /// Those of the book.
    pub fn stop(&mut self, now: UtcNanos) -> Result<()> {
        let mut progress = Progress::default();
        for id in self.under_way() {
            if let Some(Stage::Working(_)) = self.work.get(&id) {
                let stopped = self.ended(Outcome::Stopped, None, Summary::new(), now);
                self.work.insert(id, Stage::Ended(stopped));
            }
            self.note_end(id, &mut progress)?;
        }
        Ok(())
    }

    /// Reads the book. A run that it calls under way and that is none of this process was cut
    /// short: by the end of the process before, or of a beginning whose answer was lost.
    fn load(&mut self, now: UtcNanos) -> Result<()> {
        let (jobs, strange) = self.book.jobs()?;
        self.strange = strange;
        self.jobs = jobs.into_iter().map(|listed| (listed.id, listed)).collect();
        let cut = |listed: &&Listed| {
            listed.job.running().is_some() && !self.work.contains_key(&listed.id)
        };
        for known in self.jobs.values().filter(cut).cloned().collect::<Vec<_>>() {
            let newer = self.book.update(&known, &|job| job.interrupt(now))?;
            self.keep(known.id, newer);
        }
        self.stale = false;
        Ok(())
    }

    fn keep(&mut self, id: DocumentId, newer: Option<Listed>) {
        match newer {
            Some(listed) => drop(self.jobs.insert(id, listed)),
            None => drop(self.jobs.remove(&id)),
        }
    }

    /// Begins the run of a job if it is due or was asked for, and takes its first step.
    fn begin_if_due(
        &mut self,
        id: DocumentId,
        now: UtcNanos,
        progress: &mut Progress,
    ) -> Result<()> {
        let Some(known) = self.jobs.get(&id).filter(|_| !self.work.contains_key(&id)) else {
            return Ok(());
        };
        let by = self.asked.get(&id).cloned();
        let mut late = 0;
        let due = match (known.job.plan.schedule(self.book.zones()), &by) {
            (_, Some(_)) => Some(Due { at: now, missed: 0 }),
            (Ok(schedule), None) => known.job.due(id, &schedule, now).inspect(|due| {
                let begins = known.job.begins(id, &schedule, due.at);
                late = u64::from(now.0.saturating_sub(begins.0) > LATE_NANOS);
            }),
            (Err(refusal), None) => {
                progress.troubled.push((id, refusal.code));
                None
            }
        };
        let Some(due) = due else { return Ok(()) };
        let stale = self.stale;
        // If this fails, only the book knows whether a run began. A version that is in force no
        // more runs nothing: the job may have been switched off.
        self.stale = true;
        let Some(listed) = self.book.begin(known, due, by.as_deref(), now)? else {
            return Ok(());
        };
        self.stale = stale;
        self.asked.remove(&id);
        let task = listed.job.plan.task;
        let vault = (self.tenants)(&listed.job.plan.tenant);
        self.jobs.insert(id, listed);
        progress.began.push(id);
        if due.missed + late > 0 {
            self.missed.push((task, due.missed + late));
        }
        let work = match vault {
            Some(vault) => Work::begin(task, vault),
            None => Err(Error::NotFound { code: "SCHEDULE_TENANT" }),
        };
        let stage = match work {
            Ok(work) => Stage::Working(work),
            Err(error) => {
                let (failed, code) = (Outcome::Failed, Some(error.code()));
                Stage::Ended(self.ended(failed, code, Summary::new(), now))
            }
        };
        self.work.insert(id, stage);
        self.step(id, now, progress)
    }

    fn step(&mut self, id: DocumentId, now: UtcNanos, progress: &mut Progress) -> Result<()> {
        if let Some(Stage::Working(work)) = self.work.get_mut(&id) {
            let stepped = work.step(now);
            self.findings += work.take_findings();
            let (outcome, code, summary) = match stepped {
                Ok(None) => return Ok(()),
                Ok(Some(summary)) => (Outcome::Done, None, summary),
                Err(error) => (Outcome::Failed, Some(error.code()), Summary::new()),
            };
            let ended = self.ended(outcome, code, summary, now);
            self.work.insert(id, Stage::Ended(ended));
        }
        self.note_end(id, progress)
    }

    /// A task takes its time: it ends when the log's clock says so, not when the tick began.
    fn ended(
        &self,
        outcome: Outcome,
        code: Option<&'static str>,
        summary: Summary,
        now: UtcNanos,
    ) -> End {
        End { outcome, code, summary, at: self.book.now().max(now) }
    }

    /// Writes the end of a run down; what fails is tried again by the next tick. The job may have
    /// been changed or given up while it ran.
    fn note_end(&mut self, id: DocumentId, progress: &mut Progress) -> Result<()> {
        let Some(Stage::Ended(end)) = self.work.get(&id) else { return Ok(()) };
        let end = end.clone();
        if let Some(known) = self.jobs.get(&id).cloned() {
            let End { outcome, code, at, .. } = end;
            let change = |job: &mut Job| job.end(outcome, code, end.summary.clone(), at);
            let newer = self.book.update(&known, &change)?;
            self.keep(id, newer);
        }
        self.work.remove(&id);
        progress.ended.push((id, end.outcome));
        Ok(())
    }

    fn wakes(&self, now: UtcNanos) -> Option<UtcNanos> {
        let resting = self.work.values().map(|stage| match stage {
            Stage::Working(work) => UtcNanos(now.0.saturating_add(work.rest_nanos())),
            Stage::Ended(_) => now,
        });
        let waiting = self.jobs.values().filter(|listed| !self.work.contains_key(&listed.id));
        let waiting = waiting.filter_map(|Listed { id, job, .. }| {
            let schedule = job.plan.schedule(self.book.zones()).ok()?;
            job.wakes(*id, &schedule, now)
        });
        let now = self.stale.then_some(now);
        resting.chain(waiting).chain(now).min()
    }
}

pub(crate) fn running() -> Error {
    Error::Conflict {
        code: "SCHEDULE_RUNNING",
        first: None,
        fix: "a run of this job is under way or asked for: wait for its end".to_owned(),
    }
}
