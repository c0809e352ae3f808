//! How the demo speaks: numbered steps with short lines for people, one object per step for
//! programs. It never makes up a number; whoever calls says what was measured.

use crate::cli::output::Output;
use crate::cli::output::units::duration;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::time::Instant;

/// Indent of the lines below a step's title.
const INDENT: &str = "   ";

/// The teller.
pub(crate) struct Tale<'o, W: Write> {
    out: &'o mut Output<W>,
    number: u64,
    open: Option<Step>,
}

/// One step while it is told.
struct Step {
    name: &'static str,
    facts: Map<String, Value>,
    limits: Vec<String>,
    began: Instant,
}

impl<'o, W: Write> Tale<'o, W> {
    /// Speaks through `out`.
    pub(crate) fn new(out: &'o mut Output<W>) -> Self {
        Tale { out, number: 0, open: None }
    }

    /// A line outside any step.
    pub(crate) fn say(&mut self, text: &str) -> io::Result<()> {
        self.out.say(text)
    }

    /// Ends the step before and begins the next.
    pub(crate) fn step(&mut self, name: &'static str, title: &str) -> io::Result<()> {
        self.end()?;
        self.number += 1;
        self.out.say(&format!("\n{:>2}. {title}", self.number))?;
        self.out.flush()?;
        let (facts, limits) = (Map::new(), Vec::new());
        self.open = Some(Step { name, facts, limits, began: Instant::now() });
        Ok(())
    }

    /// A line of the step; further lines of the text are indented like the first.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        let lines: Vec<String> = text.lines().map(|line| format!("{INDENT} {line}")).collect();
        self.out.say(&lines.join("\n"))?;
        self.out.flush()
    }

    /// A fact of the step, for programs.
    pub(crate) fn fact(&mut self, name: &str, value: impl Into<Value>) {
        if let Some(step) = &mut self.open {
            step.facts.insert(name.to_owned(), value.into());
        }
    }

    /// What the claims of this step do not cover.
    pub(crate) fn limit(&mut self, text: &str) -> io::Result<()> {
        if let Some(step) = &mut self.open {
            step.limits.push(text.to_owned());
        }
        self.line(&format!("limit: {text}"))
    }

    /// Ends the step that is open.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        let Some(step) = self.open.take() else { return Ok(()) };
        let took = step.began.elapsed();
        self.out.object(&json!({
            "step": self.number,
            "name": step.name,
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "facts": step.facts,
            "limits": step.limits,
        }))?;
        self.out.say(&format!("{INDENT} ({})", duration(took)))
    }
}
