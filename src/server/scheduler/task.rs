//! What a job can do: the verbs of the vault that nobody has to ask for. Each takes one step at a
//! time, so that a long one does not keep the others waiting and can be left at any step. It never
//! decides what is due in a vault: the vault does, by log time.

use crate::base::unit::UtcNanos;
use crate::vault::Vault;
use crate::vault::error::{Error, Result};
use crate::vault::pack::{Packed, Step};
use crate::vault::scrub::Scrub;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What a run did, in numbers by name.
pub type Summary = BTreeMap<String, u64>;

/// Bytes a second of a scrub: 100 GiB take an hour, and a disk of our day keeps 90 % of its rate.
pub const SCRUB_BYTES_A_SECOND: u64 = 32 << 20;
/// Rest between two steps of a scrub.
const SCRUB_REST_NANOS: u64 = 1_000_000_000;

/// What runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// What is due by log time expires; what erasures had to leave is completed.
    Retention,
    /// Every byte is read again, at a pace.
    Scrub,
    /// Index and seals follow the log, then the checkpoint is published.
    Checkpoint,
    /// The key tree's file is written anew without its dead nodes.
    KeyHygiene,
    /// What is past is packed.
    Pack,
    /// The configured authority stamps the checkpoint.
    Timestamp,
}

impl Task {
    /// Every task.
    pub const ALL: [Task; 6] = [
        Task::Retention,
        Task::Scrub,
        Task::Checkpoint,
        Task::KeyHygiene,
        Task::Pack,
        Task::Timestamp,
    ];

    /// Its name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Task::Retention => "retention",
            Task::Scrub => "scrub",
            Task::Checkpoint => "checkpoint",
            Task::KeyHygiene => "key-hygiene",
            Task::Pack => "pack",
            Task::Timestamp => "timestamp",
        }
    }
}

/// A task under way.
pub(crate) struct Work {
    vault: Arc<Vault>,
    stage: Stage,
    summary: Summary,
    /// Findings of a scrub that nobody was told of.
    findings: u64,
}

enum Stage {
    /// Done in one step.
    Whole(Task),
    Scrub(Box<Scrub>),
    Pack(VecDeque<Step>, Packed),
}

impl Work {
    /// Begins a task; nothing has happened yet.
    pub(crate) fn begin(task: Task, vault: Arc<Vault>) -> Result<Work> {
        let stage = match task {
            Task::Scrub => {
                let pace = Some(SCRUB_BYTES_A_SECOND);
                Stage::Scrub(Box::new(Scrub::resume(&vault, false, pace)))
            }
            Task::Pack => Stage::Pack(vault.packable()?.into(), Packed::default()),
            whole => Stage::Whole(whole),
        };
        Ok(Work { vault, stage, summary: Summary::new(), findings: 0 })
    }

    /// Goes on; the summary once all is done.
    pub(crate) fn step(&mut self, now: UtcNanos) -> Result<Option<Summary>> {
        let vault = self.vault.clone();
        match &mut self.stage {
            Stage::Whole(task) => {
                let task = *task;
                self.whole(task)?;
            }
            Stage::Scrub(scrub) => {
                let progress = scrub.tick(&vault, now)?;
                let found = progress.findings.len() as u64;
                let finished = progress.finished;
                self.findings += found;
                self.count("findings", found);
                self.say("bytes", progress.pass_bytes);
                let Some(entry) = finished else { return Ok(None) };
                self.say("entry", entry.0);
            }
            Stage::Pack(steps, done) => {
                if let Some(step) = steps.pop_front() {
                    done.add(vault.pack_step(step)?);
                }
                if !steps.is_empty() {
                    return Ok(None);
                }
                let done = *done;
                self.say("files", done.files);
                self.say("bytes_before", done.plain_bytes);
                self.say("bytes_after", done.packed_bytes);
                self.say("damaged", done.damaged);
            }
        }
        Ok(Some(std::mem::take(&mut self.summary)))
    }

    /// Findings since this was last asked.
    pub(crate) fn take_findings(&mut self) -> u64 {
        std::mem::take(&mut self.findings)
    }

    /// How long it rests before its next step.
    pub(crate) fn rest_nanos(&self) -> u64 {
        match &self.stage {
            Stage::Scrub(_) => SCRUB_REST_NANOS,
            Stage::Whole(_) | Stage::Pack(..) => 0,
        }
    }

    fn whole(&mut self, task: Task) -> Result<()> {
        let vault = self.vault.clone();
        match task {
            Task::Retention => {
                let done = vault.expire(None)?;
                self.say("class_days", done.class_days.len() as u64);
                self.say("groups", done.groups);
                self.say("bytes_freed", done.bytes_freed);
                self.say("held", done.held.len() as u64);
                self.say("erasures", done.erasures.len() as u64);
            }
            Task::Checkpoint => {
                vault.settle();
                vault.checkpoint()?;
                self.say("entries", vault.size().0);
            }
            Task::KeyHygiene => {
                let (before, after) = vault.compact_keys()?;
                self.say("bytes_before", before);
                self.say("bytes_after", after);
            }
            Task::Timestamp => match vault.timestamp() {
                Ok((size, _)) => self.say("entries", size.0),
                // Nothing was appended since: the log is as well stamped as it can be.
                Err(Error::Conflict { code: "TIMESTAMP_EXISTS", .. }) => self.say("entries", 0),
                Err(error) => return Err(error),
            },
            Task::Scrub | Task::Pack => {}
        }
        Ok(())
    }

    fn say(&mut self, name: &str, number: u64) {
        self.summary.insert(name.to_owned(), number);
    }

    fn count(&mut self, name: &str, more: u64) {
        *self.summary.entry(name.to_owned()).or_default() += more;
    }
}
