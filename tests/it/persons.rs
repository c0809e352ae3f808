//! What people may ask of a vault beside being forgotten: that the use of their data stops (GDPR
//! Art. 18), that what is wrong is corrected (Art. 16), and what a preview says stands beside them.

mod beside;
mod correct;
mod restrict;

use crate::support::sim::SimDisk;
use crate::support::world::{HandClock, config, world};
use chancery::base::event::Identifier;
use chancery::base::id::PersonId;
use chancery::vault::Vault;
use chancery::vault::error::Result;
use std::path::Path;
use std::sync::Arc;

const HOME: &str = "/sim";
const WHO: &str = "priva";

fn clock() -> Arc<HandClock> {
    HandClock::at("2026-11-21T08:00:00Z")
}

fn init(disk: &SimDisk, clock: &Arc<HandClock>) -> Vault {
    let world = world(Arc::new(disk.clone()), clock, 1);
    Vault::init(world, &config(Path::new(HOME)), "vault.example").unwrap()
}

/// Opens it again, of the kind of opening that a crash leaves.
fn again(vault: Vault, disk: &SimDisk, clock: &Arc<HandClock>) -> Vault {
    vault.checkpoint().unwrap();
    drop(vault);
    Vault::open(world(Arc::new(disk.clone()), clock, 77), &config(Path::new(HOME))).unwrap()
}

fn whom(vault: &Vault, identifier: Identifier) -> PersonId {
    vault.persons_named(&[identifier]).unwrap()[0]
}

fn code<T>(result: Result<T>) -> &'static str {
    result.map(drop).unwrap_err().code()
}
