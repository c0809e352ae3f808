//! What a hold, a floor and a policy keep, whoever asks, whatever the clock says and wherever a
//! crash or rot came between: each story is what a court would ask about.

use crate::support::clinic::{Visit, append, data_fate, patient, read};
use crate::support::sim::SimDisk;
use crate::support::world::{HandClock, config, two_people, world};
use chancery::base::record::Fate;
use chancery::base::unit::{ClassId, Day};
use chancery::format::control::Scope;
use chancery::vault::Vault;
use chancery::vault::config::Config;
use chancery::vault::erase::Erased;
use chancery::vault::error::Result;
use std::path::Path;
use std::sync::Arc;

const HOME: &str = "/sim";
const YEAR: ClassId = ClassId(4);

fn clock() -> Arc<HandClock> {
    HandClock::at("2026-11-21T08:00:00Z")
}

fn settings() -> Config {
    Config { accept_time: true, ..config(Path::new(HOME)) }
}

fn init(disk: &SimDisk, clock: &Arc<HandClock>) -> Vault {
    Vault::init(world(Arc::new(disk.clone()), clock, 1), &settings(), "vault.example").unwrap()
}

fn open(disk: &SimDisk, clock: &Arc<HandClock>) -> Result<Vault> {
    open_with(disk, clock, &settings())
}

fn open_with(disk: &SimDisk, clock: &Arc<HandClock>, config: &Config) -> Result<Vault> {
    Vault::open(world(Arc::new(disk.clone()), clock, 99), config)
}

fn erase(vault: &Vault, id: &str) -> Result<Erased> {
    vault.erase(&[patient(id)], "gdpr-17-1", &two_people())
}

fn code<T>(result: Result<T>) -> &'static str {
    result.map(drop).unwrap_err().code()
}

#[test]
fn a_hold_is_read_back_as_it_was_set_or_is_not_set() {
    let (disk, clock) = (SimDisk::new(), clock());
    let vault = init(&disk, &clock);
    let at = append(&vault, &[Visit::new(1, "n1", "p1")]).unwrap()[0].index;
    let days = |to| Scope::ClassDays { class: YEAR, from: Day(0), to };
    let size = vault.size();
    for to in [Day(u32::MAX), Day(Day::LAST.0 + 1)] {
        assert_eq!(code(vault.set_hold(None, "c", days(to), &two_people())), "HOLD_RANGE");
    }
    assert_eq!(vault.size(), size, "nothing was written");
    let (case, index) = vault.set_hold(None, "c", days(Day::LAST), &two_people()).unwrap();
    drop(vault);
    let vault = open(&disk, &clock).unwrap();
    assert_eq!(vault.facts_now().holds[&case], vec![(index, days(Day::LAST))]);
    let erased = erase(&vault, "p1").unwrap();
    assert_eq!((erased.records, erased.deferred[0].law.clone()), (0, case.to_string()));
    clock.pass_days(400);
    assert_eq!(vault.expire(None).unwrap().class_days, vec![]);
    assert_eq!(data_fate(&read(&vault, at)), Fate::Open);
}
