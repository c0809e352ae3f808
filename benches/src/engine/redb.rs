//! redb: one write transaction a batch, durability immediate. Writers wait for each other inside.

use crate::engine::Engine;
use anyhow::Result;
use redb::{Database, Durability, TableDefinition};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const EVENTS: TableDefinition<'_, u64, (&str, &str)> = TableDefinition::new("events");

/// A database of one table.
pub(crate) struct Redb {
    database: Database,
    next: AtomicU64,
}

impl Redb {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let database = Database::create(dir.join("events.redb"))?;
        Ok(Redb { database, next: AtomicU64::new(0) })
    }
}

impl Engine for Redb {
    fn append(&self, source: &str, events: &[String]) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            // Numbered under the writer's lock: keys come in order, which suits it best.
            let mut table = transaction.open_table(EVENTS)?;
            let mut next = self.next.fetch_add(events.len() as u64, Ordering::Relaxed);
            for event in events {
                table.insert(next, (source, event.as_str()))?;
                next += 1;
            }
        }
        Ok(transaction.commit()?)
    }
}
