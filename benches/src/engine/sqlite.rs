//! SQLite as its own documentation makes it durable: WAL, `synchronous=FULL`, one transaction a
//! batch. Clients share one connection under a lock: writers of one file wait for each other
//! anyway, and waiting for a lock is cheaper than SQLite's polling.

use crate::engine::Engine;
use anyhow::{Result, ensure};
use rusqlite::{Connection, params};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A database of one table.
pub(crate) struct Sqlite {
    connection: Mutex<Connection>,
}

impl Sqlite {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let connection = Connection::open(dir.join("events.sqlite"))?;
        let mode: String = connection.query_row("PRAGMA journal_mode=WAL", [], |r| r.get(0))?;
        ensure!(mode == "wal", "SQLite keeps its journal as {mode}");
        connection.execute_batch(
            "PRAGMA synchronous=FULL;
             CREATE TABLE events (seq INTEGER PRIMARY KEY, source TEXT NOT NULL, event TEXT NOT NULL)",
        )?;
        let full: i64 = connection.query_row("PRAGMA synchronous", [], |r| r.get(0))?;
        ensure!(full == 2, "SQLite syncs at level {full}, not FULL");
        Ok(Sqlite { connection: Mutex::new(connection) })
    }
}

impl Engine for Sqlite {
    fn append(&self, source: &str, events: &[String]) -> Result<()> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO events (source, event) VALUES (?1, ?2)")?;
            for event in events {
                insert.execute(params![source, event])?;
            }
        }
        Ok(transaction.commit()?)
    }
}
