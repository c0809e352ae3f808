//! Chancery itself, as an application that links it: parsed, classified, sealed, hashed, signed,
//! and acknowledged when durable; seals, tiles and index run beside it.

use crate::cell::{Acks, Feed};
use crate::engine::Engine;
use anyhow::{Result, anyhow};
use chancery::base::event::Draft;
use chancery::cli::world::world;
use chancery::crypto::lanes::{Backend, Lanes};
use chancery::policy::default_files;
use chancery::vault::Vault;
use chancery::vault::config::{Config, Tuning};
use chancery::vault::error::Error;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a client waits that was told it is too much at once.
const AGAIN: Duration = Duration::from_micros(500);

/// A vault, and how many batches a client keeps on the way.
pub(crate) struct Vaulted {
    vault: Vault,
    on_way: usize,
    refused: AtomicU64,
}

impl Vaulted {
    pub(crate) fn open(dir: &Path, lanes: Option<&str>, on_way: usize) -> Result<Self> {
        let lanes = match lanes {
            Some(name) => named(name).ok_or_else(|| anyhow!("this CPU cannot hash by {name}"))?,
            None => Lanes::detect(),
        };
        let (world, config) = (world(), config(dir));
        Vault::make(&world, &config, "bench.local").map_err(failed)?;
        let vault = Vault::open_using(world, &config, lanes).map_err(failed)?;
        Ok(Vaulted { vault, on_way, refused: AtomicU64::new(0) })
    }

    fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(AGAIN);
    }
}

fn named(name: &str) -> Option<Lanes> {
    let mut lanes = Backend::available().into_iter().filter_map(Lanes::with);
    lanes.find(|lanes| lanes.name() == name)
}

fn config(dir: &Path) -> Config {
    Config {
        data: dir.join("data"),
        keys: dir.join("keys"),
        mirror: None,
        passphrase: None,
        accept_time: false,
        ledger: None,
        policies: default_files(),
        index_on_disk: true,
        outside: Default::default(),
        // What is measured is measured alone.
        tuning: Tuning { pack: false, ..Tuning::default() },
    }
}

fn failed(error: Error) -> anyhow::Error {
    anyhow!("{error}")
}

fn drafts<'a>(source: &'a str, events: &'a [String]) -> Vec<Draft<'a>> {
    events.iter().map(|text| Draft { source, json: text.as_bytes() }).collect()
}

impl Engine for Vaulted {
    fn append(&self, source: &str, events: &[String]) -> Result<()> {
        let drafts = drafts(source, events);
        loop {
            match self.vault.append(&drafts) {
                Ok(_) => return Ok(()),
                Err(Error::Overloaded) => self.refuse(),
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn drive(&self, feed: &mut Feed<'_>, acks: &mut Acks) -> Result<()> {
        if self.on_way <= 1 {
            while let Some((source, events)) = feed.next() {
                let since = Instant::now();
                self.append(source, events)?;
                acks.add(events.len(), since);
            }
            return Ok(());
        }
        let mut waiting = VecDeque::new();
        while let Some((source, events)) = feed.next() {
            let since = Instant::now();
            let pending = self.vault.submit(&drafts(source, events)).map_err(failed)?;
            waiting.push_back((pending, events.len(), since));
            if waiting.len() >= self.on_way
                && let Some((first, count, since)) = waiting.pop_front()
            {
                first.wait().map_err(failed)?;
                acks.add(count, since);
            }
        }
        for (pending, count, since) in waiting {
            pending.wait().map_err(failed)?;
            acks.add(count, since);
        }
        Ok(())
    }

    fn behind(&self) -> u64 {
        self.vault.size().0.saturating_sub(self.vault.indexed().0)
    }

    fn settle(&self) {
        self.vault.settle();
    }

    fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
