//! A batch that begins before midnight and is committed after it, while another batch makes the
//! keys of its person in between. The clock itself lets the other batch come, at each of the
//! moments at which the first one looks at it.

use crate::support::clinic::{Visit, append, assert_sound, data_fate, patient, read};
use crate::support::interrupt::Interrupted;
use crate::support::sim::SimDisk;
use crate::support::world::{self, HandClock, SeedEntropy, two_people};
use chancery::base::record::Fate;
use chancery::base::unit::Day;
use chancery::vault::config::Config;
use chancery::vault::verify::{Options, verify_data};
use chancery::vault::{Vault, World};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The second batch comes at the `looks`-th look of the first. Whether the first one was sealed for
/// January and the second, which was there before it, for February; none if it never came.
fn meet(looks: u32) -> Option<bool> {
    let disk = Arc::new(SimDisk::new());
    let hand = HandClock::at("2026-01-31T23:59:59.9Z");
    let clock = Interrupted::by(&hand);
    let config = Config { accept_time: true, ..world::config(Path::new("/sim")) };
    let world =
        |seed| World { disk: disk.clone(), clock: clock.clone(), entropy: SeedEntropy::new(seed) };
    let vault = Arc::new(Vault::init(world(1), &config, "vault.example").unwrap());
    append(&vault, &[Visit::new(1, "nurse", "other")]).unwrap();
    let (other, second) = (vault.clone(), Arc::new(Mutex::new(None)));
    let place = second.clone();
    clock.at_look(looks, move || {
        hand.pass(1_000_000_000);
        let receipts = append(&other, &[Visit::new(2, "nurse", "p1")]).unwrap();
        *place.lock().unwrap() = Some(receipts[0].index);
    });
    let first = append(&vault, &[Visit::new(3, "nurse", "p1")]).unwrap()[0].index;
    clock.forget();
    let second = (*second.lock().unwrap())?;
    let day = |index| read(&vault, index).entry.head.groups[0].bucket;
    let (january, february) = (Day::parse("2026-01-31"), Day::parse("2026-02-01"));
    let met = (Some(day(first)), Some(day(second))) == (january, february) && second < first;
    drop(vault);
    let vault = Vault::open(world(2), &config).unwrap();
    for index in [first, second] {
        assert_eq!(data_fate(&read(&vault, index)), Fate::Open, "look {looks}: {index}");
    }
    let erased = vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    assert_eq!(erased.records, Some(2), "look {looks}");
    for index in [first, second] {
        assert_eq!(data_fate(&read(&vault, index)), Fate::Erased, "look {looks}: {index}");
    }
    assert_sound(&vault, "midnight");
    vault.checkpoint().unwrap();
    drop(vault);
    let shared: Arc<dyn chancery::store::disk::Disk> = disk;
    let none = Options::default();
    let report = verify_data(&shared, &config.data, None, &none, &mut |_, _| {}).unwrap();
    assert_eq!(report.failures, 0, "look {looks}: {:?}", report.verdicts);
    Some(met)
}

#[test]
fn a_batch_from_before_midnight_finds_a_key_from_after_it_and_is_not_lost() {
    let (mut met, mut looks) = (0, 1);
    while let Some(crossed) = meet(looks) {
        met += u32::from(crossed);
        looks += 1;
    }
    println!("{looks} looks at the clock, {met} times the key was younger than the batch");
    assert!(met > 0, "it never happened in {looks} looks");
}
