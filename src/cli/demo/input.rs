//! What the demo tells its story with: the invented day, or a real log cut into events. Every
//! event is judged once before the vault is made, so that the demo knows what its classes keep
//! and how far back its clock must begin. It never drops an event silently: what is refused is
//! counted by code.

use crate::base::event::{Draft, Identifier};
use crate::base::unit::{ClassId, Day};
use crate::cli::args::make::Demo as Args;
use crate::cli::cmd::lines::Pieces;
use crate::cli::demo::Scenario;
use crate::cli::demo::cast::Person;
use crate::cli::error::Failure;
use crate::policy::classify::{Policies, Scratch};
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Events read from a real log at most: they are held in memory.
const EVENTS_MAX: usize = 5_000_000;

/// One raw event.
pub(crate) struct Raw {
    /// Name of the source.
    pub(crate) source: String,
    /// Its JSON.
    pub(crate) json: Vec<u8>,
}

/// Everything there is to tell.
pub(crate) struct Input {
    /// Events that will be appended.
    pub(crate) events: Vec<Raw>,
    /// Refused events by code.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    /// Classes the events fall into.
    pub(crate) classes: BTreeSet<ClassId>,
    /// Bytes of the accepted events.
    pub(crate) bytes: u64,
    /// The invented day, if it is one.
    pub(crate) scenario: Option<Scenario>,
}

impl Input {
    /// Reads a real log.
    ///
    /// # Errors
    /// Usage errors for a mapping that is not there or a file that cannot be read.
    pub(crate) fn read(path: &Path, mapping: &str, policies: &Policies) -> Result<Self> {
        if policies.source(mapping).is_none_or(|found| *found.name != *mapping) {
            let message = "no mapping of that name is built in; nothing was done";
            return Err(Failure::usage("SOURCE_UNKNOWN", message).into());
        }
        let file: Box<dyn std::io::Read> = match path == Path::new("-") {
            true => Box::new(std::io::stdin()),
            false => Box::new(File::open(path).map_err(|e| Failure::file(path, &e))?),
        };
        let mut pieces = Pieces::new(BufReader::with_capacity(256 << 10, file));
        let mut input = Input::empty(None);
        let mut scratch = Scratch::default();
        while let Some(piece) = pieces.next()? {
            if piece.too_large {
                *input.refused.entry("EVENT_TOO_LARGE").or_default() += 1;
                continue;
            }
            let raw = Raw { source: mapping.to_owned(), json: piece.json };
            input.judge(raw, policies, &mut scratch);
            if input.events.len() > EVENTS_MAX {
                let message = "the demo holds at most 5,000,000 events; give it a part of the log";
                return Err(Failure::usage("DEMO_TOO_LARGE", message).into());
            }
        }
        if input.events.is_empty() {
            let message = format!("no event of {} was accepted; nothing was done", path.display());
            return Err(Failure::usage("DEMO_EMPTY", message).into());
        }
        Ok(input)
    }

    /// Invents a day.
    pub(crate) fn invent(args: &Args, date: Day, policies: &Policies) -> Self {
        let people = usize::try_from(args.people).unwrap_or(usize::MAX);
        let events = usize::try_from(args.events).unwrap_or(usize::MAX);
        let scenario = Scenario { seed: args.seed, people, events, date };
        let mut input = Input::empty(Some(scenario));
        let mut scratch = Scratch::default();
        for event in scenario.generate() {
            let raw = Raw { source: event.source.to_owned(), json: event.json.into_bytes() };
            input.judge(raw, policies, &mut scratch);
        }
        input
    }

    fn empty(scenario: Option<Scenario>) -> Self {
        Input {
            events: Vec::new(),
            refused: BTreeMap::new(),
            classes: BTreeSet::new(),
            bytes: 0,
            scenario,
        }
    }

    fn judge(&mut self, raw: Raw, policies: &Policies, scratch: &mut Scratch) {
        let draft = Draft { source: &raw.source, json: &raw.json };
        match policies.event(draft, scratch) {
            Ok(event) => {
                self.classes.insert(event.class);
                self.bytes += raw.json.len() as u64;
                self.events.push(raw);
            }
            Err(refusal) => *self.refused.entry(refusal.code).or_default() += 1,
        }
    }
}

/// Shortest time any of these classes is kept, in days.
pub(crate) fn keep_days_min(classes: &BTreeSet<ClassId>, policies: &Policies) -> Option<u32> {
    let keep = |class: &ClassId| policies.classes().get(*class).and_then(|c| c.keep_days());
    classes.iter().filter_map(keep).min()
}

/// Every identifier an invented person is known by, as the registry stores it.
pub(crate) fn identifiers(person: &Person) -> Vec<Identifier> {
    let of = |kind: &str, value: &str| Identifier { kind: kind.into(), value: value.into() };
    let mut all = vec![
        of("email", &person.email),
        of("user_id", &person.user_id),
        of("phone", &person.phone),
    ];
    all.extend(person.patient_number.as_deref().map(|number| of("patient_id", number)));
    all
}
