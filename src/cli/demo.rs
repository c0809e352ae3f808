//! The demo's input: one seeded, invented day at a clinic and a software service.
//! `Scenario::generate` writes raw events exactly as sources would send them; it never talks to
//! a vault. Everybody and everything in it is made up; its dice are not cryptographic.

pub mod cast;
pub mod corpus;
pub(crate) mod input;
pub mod prng;
pub(crate) mod run;
pub mod scenes;
pub(crate) mod search;
pub mod shape;
pub mod stage;
pub mod story;
pub(crate) mod tale;
pub(crate) mod travel;

use crate::base::unit::{Day, UtcNanos};
use crate::cli::demo::cast::Cast;
use crate::cli::demo::prng::Dice;
use crate::cli::demo::stage::{Moment, Stage};
use std::collections::BTreeMap;

/// What decides a day: the same values give the same bytes on every machine.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Seed of every throw.
    pub seed: u64,
    /// Number of people; at least `cast::PEOPLE_MIN`.
    pub people: usize,
    /// Number of events, exactly.
    pub events: usize,
    /// The UTC day on which everything happens.
    pub date: Day,
}

/// One raw event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Generated {
    /// Mapping in `policies/sources/` that reads it.
    pub mapping: &'static str,
    /// Name of the source that sent it.
    pub source: &'static str,
    /// One JSON text.
    pub json: String,
}

impl Scenario {
    /// The people of the day.
    pub fn cast(&self) -> Cast {
        Cast::new(self.seed, self.people)
    }

    /// The events of the day in order of time, numbered per source from 1 without gaps.
    pub fn generate(&self) -> Vec<Generated> {
        let cast = self.cast();
        let mut stage = Stage::new(&cast, Dice::new(self.seed, "day"), self.events);
        story::play(&mut stage);
        story::everybody(&mut stage);
        let weights: Vec<u64> = scenes::SCENES.iter().map(|(weight, _)| *weight).collect();
        while !stage.is_full() {
            let position = stage.dice.weighted(&weights);
            let Some((_, scene)) = scenes::SCENES.get(position) else { break };
            scene(&mut stage);
        }
        self.write(stage.finish())
    }

    /// Gives every moment its id, time and sequence, and writes it.
    fn write(&self, moments: Vec<Moment>) -> Vec<Generated> {
        let mut dice = Dice::new(self.seed, "ids");
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut events = Vec::with_capacity(moments.len());
        for Moment { at, source, mut event } in moments {
            let count = counts.entry(source).or_default();
            *count += 1;
            event.id = dice.uuid();
            event.time = UtcNanos(self.date.start().0 + at).to_string();
            event.source_seq = *count;
            // Plain owned data always serialises; an empty event would be refused by the vault.
            let json = serde_json::to_string(&event).unwrap_or_default();
            events.push(Generated { mapping: "canonical", source, json });
        }
        events
    }
}
