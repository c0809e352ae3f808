//! The client: what it took is delivered, whatever the disk, the network and the vault do. The
//! crash tests take the steps of the sender themselves, on the simulated disk, and look at every
//! write and sync; the others run the thread, the program, and the Python package.

mod crashes;
mod exchange;
mod network;
mod program;
mod steps;

use crate::support::sim::{SimDisk, SimEntropy};
use chancery::base::unit::UtcNanos;
use chancery::base::world::Clock;
use chancery::client::Config;
use chancery::client::frame::encode;
use chancery::client::sender::{Sender, Step};
use chancery::client::spool::{Spool, open};
use chancery::client::{Error, Receiver, Surroundings};
use chancery::store::disk::Disk;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

const DIR: &str = "/spool";

struct Noon;

impl Clock for Noon {
    fn wall(&self) -> UtcNanos {
        UtcNanos(1_795_780_800_000_000_000)
    }

    fn monotonic(&self) -> u64 {
        0
    }
}

fn around(disk: Arc<dyn Disk>, seed: u64) -> Surroundings {
    Surroundings { disk, clock: Arc::new(Noon), entropy: Arc::new(SimEntropy::new(seed)) }
}

/// Small files and batches, so that a short run begins many.
fn config() -> Config {
    Config { segment_bytes: 300, batch_events: 4, ..Config::new("app", DIR) }
}

fn event(id: &str, bad: bool) -> String {
    format!(r#"{{"id":"{id}","action":"a","bad":{bad}}}"#)
}

/// A spool whose steps the test takes.
struct Bench {
    tail: chancery::client::tail::Tail,
    sender: Sender,
    shared: Arc<chancery::client::spool::Shared>,
    found: chancery::client::spool::Found,
    _lock: Box<dyn chancery::store::disk::DiskLock>,
}

impl Bench {
    fn open(disk: &SimDisk, receiver: Arc<dyn Receiver>) -> Result<Bench, Error> {
        Bench::with(disk, receiver, &config())
    }

    fn with(disk: &SimDisk, receiver: Arc<dyn Receiver>, config: &Config) -> Result<Bench, Error> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let Spool { tail, outbox, shared, found, lock } = open(&disk, config)?;
        let sender = Sender::new(outbox, receiver, Arc::new(SimEntropy::new(7)));
        Ok(Bench { tail, sender, shared, found, _lock: lock })
    }

    fn emit(&mut self, events: &[String]) -> Result<u64, Error> {
        let mut frames = Vec::new();
        events.iter().for_each(|event| encode(event.as_bytes(), &mut frames));
        self.tail.append(&frames, &self.shared)
    }

    /// Steps until nothing waits; waits are not waited for.
    fn drain(&mut self) {
        for _ in 0..10_000 {
            if self.sender.step().unwrap() == Step::Idle {
                return;
            }
        }
        panic!("it never comes to an end");
    }
}

/// Lines of a ledger, each of which must be JSON.
fn ledger(disk: &SimDisk, name: &str) -> Vec<Value> {
    let text = String::from_utf8(disk.read(&Path::new(DIR).join(name)).unwrap()).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{name} ends in the middle of a line");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Values of a member over the lines that have it.
fn all(lines: &[Value], member: &str) -> Vec<String> {
    lines.iter().filter_map(|line| line[member].as_str().map(str::to_owned)).collect()
}
