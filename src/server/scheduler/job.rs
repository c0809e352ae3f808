//! A job: which task runs in which vault and when, and its newest runs. Pure: what is due is a
//! function of the job, its schedule and an instant. It never reads a clock and runs nothing.
//!
//! The body of a document of kind `schedule` in the system vault; each change, and each beginning
//! and end of a run, is a version of its own.

use crate::base::id::DocumentId;
use crate::base::refusal::Refusal;
use crate::base::unit::{NANOS_PER_SECOND, UtcNanos};
use crate::crypto::hash::sha256;
use crate::policy::schedule::{Schedule, Zones};
use crate::server::scheduler::task::{Summary, Task};
use serde::{Deserialize, Serialize};

/// Runs that a job keeps; older ones are in older versions of the document.
pub const RUNS_KEPT: usize = 20;
/// Firings counted as missed; more are said to be this many.
pub const MISSED_MAX: u64 = 1_000;
/// A run that was cut short this many times waits for its next firing: it may be what stops the
/// process.
pub const INTERRUPTED_MAX: usize = 3;
/// Six hours: with more, a nightly job is no nightly job.
pub const JITTER_SECONDS_MAX: u64 = 6 * 3_600;
/// Longest name of a job or a tenant.
pub const NAME_BYTES_MAX: usize = 32;

/// What an administrator sets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Name, once in a tenant.
    pub name: String,
    /// The vault it works on.
    pub tenant: String,
    /// What runs.
    pub task: Task,
    /// When: a cron expression of at most one firing a minute.
    pub cron: String,
    /// In which time zone.
    pub zone: String,
    /// Whether it runs by itself.
    pub enabled: bool,
    /// Seconds by which a run is put off at most.
    pub jitter_seconds: u64,
}

/// How a run stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It has begun. At a start nothing runs yet, so there it means that it was cut short.
    Running,
    /// It did what it was to do.
    Done,
    /// The task refused or failed, see `code`. The next firing is the next try.
    Failed,
    /// The process ended in the middle; found at the next start.
    Interrupted,
    /// The server was told to stop in the middle.
    Stopped,
}

/// One run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The firing it stands for, or when somebody asked for it.
    pub due: UtcNanos,
    /// When it began, said before the task did anything.
    pub started: UtcNanos,
    /// When it ended, or was found to have been cut short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<UtcNanos>,
    /// How it stands.
    pub outcome: Outcome,
    /// Earlier firings for which this run stands too: nothing ran at their time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u64,
    /// Who asked for it, if it was not the schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
    /// Code of what went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What it did, in numbers.
    #[serde(default, skip_serializing_if = "Summary::is_empty")]
    pub summary: Summary,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "Body", into = "Body")]
pub struct Job {
    /// What was set.
    pub plan: Plan,
    /// Who set it last: the name of a document, or `chancery`.
    pub made_by: String,
    /// Firings up to here need no run any more.
    pub settled: UtcNanos,
    /// Newest runs, newest first.
    pub runs: Vec<Run>,
}

/// A job as its document says it: flat, and no field that nobody knows.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    name: String,
    tenant: String,
    task: Task,
    cron: String,
    zone: String,
    enabled: bool,
    jitter_seconds: u64,
    made_by: String,
    settled: UtcNanos,
    runs: Vec<Run>,
}

impl From<Body> for Job {
    fn from(body: Body) -> Job {
        let Body { name, tenant, task, cron, zone, enabled, jitter_seconds, .. } = body;
        let plan = Plan { name, tenant, task, cron, zone, enabled, jitter_seconds };
        let Body { made_by, settled, runs, .. } = body;
        Job { plan, made_by, settled, runs }
    }
}

impl From<Job> for Body {
    fn from(job: Job) -> Body {
        let Job { plan, made_by, settled, runs } = job;
        let Plan { name, tenant, task, cron, zone, enabled, jitter_seconds } = plan;
        Body { name, tenant, task, cron, zone, enabled, jitter_seconds, made_by, settled, runs }
    }
}

/// A firing whose time has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Due {
    /// The newest firing.
    pub at: UtcNanos,
    /// Earlier firings that nothing ran for.
    pub missed: u64,
}

impl Plan {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// Those of `Schedule::parse`; `SCHEDULE_NAME`, `SCHEDULE_JITTER`, `SCHEDULE_OFTEN`,
    /// `SCHEDULE_NEVER`.
    pub fn check(&self, zones: &Zones, now: UtcNanos) -> Result<(), Refusal> {
        for (field, name) in [("name", &self.name), ("tenant", &self.tenant)] {
            if !is_name(name) {
                let fix = "begin with a-z and go on with a-z, 0-9 and -";
                let refusal = Refusal::new("SCHEDULE_NAME", fix).field(field);
                return Err(refusal.limit(NAME_BYTES_MAX as u64));
            }
        }
        if self.jitter_seconds > JITTER_SECONDS_MAX {
            let fix = "put runs off by six hours at most";
            let refusal = Refusal::new("SCHEDULE_JITTER", fix).field("jitter_seconds");
            return Err(refusal.limit(JITTER_SECONDS_MAX));
        }
        let schedule = self.schedule(zones)?;
        if !schedule.is_by_the_minute() {
            let fix = "name one second of the minute: each run is two entries of the log for ever";
            return Err(Refusal::new("SCHEDULE_OFTEN", fix).field("cron.second"));
        }
        if schedule.next(now).is_none() {
            let fix = "no such time comes any more; name one that does";
            return Err(Refusal::new("SCHEDULE_NEVER", fix).field("cron"));
        }
        Ok(())
    }

    /// Its schedule.
    ///
    /// # Errors
    /// Those of `Schedule::parse`: what was right once may name a zone that is no more.
    pub fn schedule(&self, zones: &Zones) -> Result<Schedule, Refusal> {
        Schedule::parse(&self.cron, &self.zone, zones)
    }
}

fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.len() <= NAME_BYTES_MAX
        && name.bytes().all(plain)
        && name.starts_with(|first: char| first.is_ascii_lowercase())
}

impl Job {
    /// A new job. Nothing before now is due.
    pub fn new(plan: Plan, made_by: &str, now: UtcNanos) -> Job {
        Job { plan, made_by: made_by.to_owned(), settled: now, runs: Vec::new() }
    }

    /// Sets another plan. If it fires at other times than before, nothing before now is due.
    pub fn amend(&mut self, plan: Plan, made_by: &str, now: UtcNanos) {
        let times = |plan: &Plan| (plan.cron.clone(), plan.zone.clone(), plan.enabled, plan.task);
        if times(&plan) != times(&self.plan) {
            self.settled = self.settled.max(now);
        }
        self.plan = plan;
        made_by.clone_into(&mut self.made_by);
    }

    /// The firing to run for now, if there is one: one run stands for all that were missed.
    pub fn due(&self, id: DocumentId, schedule: &Schedule, now: UtcNanos) -> Option<Due> {
        let newest = schedule.latest(self.settled, now).filter(|_| self.plan.enabled)?;
        // A run is put off to before the next firing at most, so only the newest can be waiting.
        let at = match self.begins(id, schedule, newest) <= now {
            true => newest,
            false => schedule.latest(self.settled, UtcNanos(newest.0 - 1))?,
        };
        let mut missed = 0;
        let mut last = self.settled;
        while missed < MISSED_MAX
            && let Some(next) = schedule.next(last).filter(|next| *next < at)
        {
            missed += 1;
            last = next;
        }
        Some(Due { at, missed })
    }

    /// When it wants to be looked at next.
    pub fn wakes(&self, id: DocumentId, schedule: &Schedule, now: UtcNanos) -> Option<UtcNanos> {
        if !self.plan.enabled {
            return None;
        }
        if self.due(id, schedule, now).is_some() {
            return Some(now);
        }
        let next = schedule.latest(self.settled, now);
        let next = next.or_else(|| schedule.next(now.max(self.settled)))?;
        Some(self.begins(id, schedule, next))
    }

    /// When the run of a firing begins: the firing, put off by a number of seconds that looks
    /// random and is the same whenever it is asked for. It is before the next firing.
    pub fn begins(&self, id: DocumentId, schedule: &Schedule, due: UtcNanos) -> UtcNanos {
        let gap = schedule.next(due).map_or(u64::MAX, |next| next.seconds() - due.seconds());
        let most = self.plan.jitter_seconds.min(gap.saturating_sub(1));
        let hash = sha256(&[b"chancery/v1/schedule/jitter", &id.0, &due.0.to_be_bytes()]).0;
        let drawn = hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        UtcNanos(due.0.saturating_add(drawn % (most + 1) * NANOS_PER_SECOND))
    }

    /// The run under way.
    pub fn running(&self) -> Option<&Run> {
        self.runs.first().filter(|run| run.outcome == Outcome::Running)
    }

    /// Notes that a run begins.
    pub(crate) fn begin(&mut self, due: Due, asked_by: Option<&str>, now: UtcNanos) {
        let run = Run {
            due: due.at,
            started: now,
            ended: None,
            outcome: Outcome::Running,
            missed: due.missed,
            asked_by: asked_by.map(str::to_owned),
            code: None,
            summary: Summary::new(),
        };
        self.runs.insert(0, run);
        self.runs.truncate(RUNS_KEPT);
    }

    /// Notes that the run under way ended. What was cut short is still due.
    pub(crate) fn end(&mut self, outcome: Outcome, code: Option<&str>, by: Summary, now: UtcNanos) {
        let Some(run) = self.runs.first_mut().filter(|run| run.outcome == Outcome::Running) else {
            return;
        };
        run.outcome = outcome;
        run.ended = Some(now.max(run.started));
        run.code = code.map(str::to_owned);
        run.summary = by;
        let settles = matches!(outcome, Outcome::Done | Outcome::Failed);
        if settles && run.asked_by.is_none() {
            self.settled = self.settled.max(run.due);
        }
    }

    /// Notes that the run under way was cut short; after too many in a row the firing is given up.
    pub(crate) fn interrupt(&mut self, now: UtcNanos) {
        self.end(Outcome::Interrupted, None, Summary::new(), now);
        let scheduled = self.runs.iter().filter(|run| run.asked_by.is_none());
        let cut = |run: &&Run| run.outcome == Outcome::Interrupted && run.due > self.settled;
        let in_a_row = scheduled.take_while(cut).count();
        if let Some(run) = self.runs.first_mut().filter(|run| run.asked_by.is_none())
            && in_a_row >= INTERRUPTED_MAX
        {
            run.code = Some("SCHEDULE_GIVEN_UP".to_owned());
            self.settled = self.settled.max(run.due);
        }
    }
}
