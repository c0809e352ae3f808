//! What is compared: each system behind one call that makes a batch durable. Baselines do plain
//! inserts of the events' text as they come: no sealing, no proof, no duplicate check, no index
//! beyond their own key.

mod naive;
mod redb;
mod served;
mod sled;
mod sqlite;
mod vault;

use crate::cell::{Acks, Cell, Feed};
use anyhow::{Result, bail};
use std::time::Instant;

/// A system under measurement.
pub(crate) trait Engine: Sync {
    /// Makes a batch durable.
    fn append(&self, source: &str, events: &[String]) -> Result<()>;

    /// What one client does until its feed ends: by default it waits for each batch.
    fn drive(&self, feed: &mut Feed<'_>, acks: &mut Acks) -> Result<()> {
        while let Some((source, events)) = feed.next() {
            let since = Instant::now();
            self.append(source, events)?;
            acks.add(events.len(), since);
        }
        Ok(())
    }

    /// All clients on one thread, where that is how they are cheapest.
    fn crowd(&self, _feeds: Vec<Feed<'_>>) -> Option<Result<Vec<Acks>>> {
        None
    }

    /// The process that does the work, where it is not this one.
    fn process(&self) -> Option<u32> {
        None
    }

    /// How many entries what follows the log is behind.
    fn behind(&self) -> u64 {
        0
    }

    /// Waits until nothing is behind.
    fn settle(&self) {}

    /// Batches turned away as too much at once, and sent again.
    fn refused(&self) -> u64 {
        0
    }
}

/// Opens an empty system by its name: `chancery` with the hashing this CPU prefers,
/// `chancery:LANES`, or `http` and `https` for the service.
pub(crate) fn open(cell: &Cell) -> Result<Box<dyn Engine>> {
    let (name, dir, on_way) = (cell.system.as_str(), cell.dir.as_path(), cell.on_way);
    Ok(match name.split_once(':').map_or(name, |(system, _)| system) {
        "chancery" => {
            let lanes = name.split_once(':').map(|(_, lanes)| lanes);
            Box::new(vault::Vaulted::open(dir, lanes, on_way)?)
        }
        "http" => Box::new(served::Served::start(cell, false)?),
        "https" => Box::new(served::Served::start(cell, true)?),
        "sqlite" => Box::new(sqlite::Sqlite::open(dir)?),
        "redb" => Box::new(redb::Redb::open(dir)?),
        "sled" => Box::new(sled::Sled::open(dir)?),
        "naive" => Box::new(naive::Naive::open(dir)?),
        _ => bail!("no system {name}: chancery, http, https, sqlite, redb, sled or naive"),
    })
}
