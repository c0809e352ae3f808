//! What became of the events of a run, each counted once, and how the run is reported: also when
//! it ends because the disk is full, so that a sender always knows how far it came. It never
//! shows a value of an event.

use crate::cli::error::{self, EXIT_DONE, EXIT_INTERRUPTED, EXIT_REFUSED};
use crate::cli::output::escape::{escape, json_line};
use crate::cli::output::units::{count, rate};
use crate::cli::run::Context;
use crate::vault::append::Receipt;
use anyhow::Result;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Refusals listed one by one; beyond it they are counted.
const LISTED_MAX: u64 = 1_000;
/// The code of an event that is refused because another of its batch is: send it again.
const BATCH_REFUSED: &str = "BATCH_REFUSED";

/// What became of the events so far.
pub(crate) struct Tally {
    accepted: u64,
    duplicate: u64,
    refused: BTreeMap<String, u64>,
    listed: u64,
    /// Index of the newest receipt.
    last: Option<u64>,
    json: bool,
}

impl Tally {
    /// Nothing so far; refusals are listed as JSON or as text.
    pub(crate) fn new(json: bool) -> Self {
        Tally { accepted: 0, duplicate: 0, refused: BTreeMap::new(), listed: 0, last: None, json }
    }

    /// Counts an event that is durable.
    pub(crate) fn accepted(&mut self, receipt: &Receipt) {
        match receipt.duplicate {
            true => self.duplicate += 1,
            false => self.accepted += 1,
        }
        self.last = Some(receipt.index.0);
    }

    /// Counts a refusal and lists it on standard error.
    pub(crate) fn refuse(&mut self, line: u64, code: &'static str, text: &str) {
        *self.refused.entry(code.to_owned()).or_default() += 1;
        self.listed += 1;
        if self.listed > LISTED_MAX {
            return;
        }
        let reason = text.strip_prefix(code).unwrap_or(text).trim_start_matches([':', ' ']);
        let mut sink = std::io::stderr().lock();
        let _ = match self.json {
            true => {
                let refused = json!({"line": line, "code": code, "reason": reason});
                writeln!(sink, "{}", json_line(&json!({"refused": refused})))
            }
            false => writeln!(sink, "chancery: line {line}: {code}: {}", escape(reason)),
        };
    }

    /// Counts events that are refused with another of their batch; the other is listed.
    pub(crate) fn refused_with_it(&mut self, events: u64) {
        *self.refused.entry(BATCH_REFUSED.to_owned()).or_default() += events;
    }

    /// Reports a run: why it ended before its input did, if so, or what made it fail.
    pub(crate) fn conclude(
        &self,
        context: &mut Context,
        ended: Result<Option<&'static str>>,
        time: Duration,
    ) -> Result<ExitCode> {
        let refused = self.refused.values().sum();
        let failure = ended.as_ref().err().and_then(error::of);
        let early = match &ended {
            Ok(ended) => *ended,
            Err(_) => Some(failure.as_ref().map_or("failed", |failure| failure.verdict().0)),
        };
        context.out.object(&json!({
            "accepted": self.accepted,
            "duplicate": self.duplicate,
            "refused": refused,
            "refused_by_code": self.refused,
            "complete": early.is_none(),
            "ended": early.unwrap_or("end of input"),
            "last_index": self.last,
            "seconds": time.as_secs_f64(),
        }))?;
        context.out.say(&format!(
            "accepted {}, duplicate {}, refused {} ({})",
            count(self.accepted),
            count(self.duplicate),
            count(refused),
            rate(self.accepted + self.duplicate, time),
        ))?;
        for (code, number) in &self.refused {
            context.out.say(&format!("  {code}: {}", count(*number)))?;
        }
        if let Some(early) = early {
            context.out.say(&format!(
                "{early}: what is counted as accepted is durable; send the rest again"
            ))?;
        }
        Ok(ExitCode::from(match (ended?, refused) {
            (Some("interrupted"), _) => EXIT_INTERRUPTED,
            (_, 0) => EXIT_DONE,
            _ => EXIT_REFUSED,
        }))
    }
}
