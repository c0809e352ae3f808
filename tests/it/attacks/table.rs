//! The table of all attacks, as `chancery bench attacks` makes them on real files. The modules beside
//! this one hold deeper variants of many; `crash` those that need a simulated disk.

use chancery::cli::bench::attacks::{ATTACKS, Outcome, run};
use std::collections::BTreeSet;

/// Where a deeper variant of an attack stands, by number.
const DEEPER: &[(u8, &str)] = &[
    (1, "attacks/log"),
    (12, "attacks/bodies"),
    (17, "attacks/outside"),
    (19, "keys_attacks"),
    (24, "crash/matrix, crash/histories"),
    (28, "keys_attacks, crash/matrix"),
    (31, "attacks/claims"),
    (34, "note"),
    (35, "note"),
    (38, "attacks/claims, merkle"),
    (40, "conformance, mutated"),
    (43, "attacks/log, index"),
    (44, "siem"),
    (45, "keys_attacks"),
];

/// Runs every third attack from `from` on.
fn part(from: usize) {
    let numbers: BTreeSet<u8> = ATTACKS.iter().map(|attack| attack.number).collect();
    let own: Vec<u8> = numbers.into_iter().skip(from).step_by(3).collect();
    let dir = tempfile::tempdir().unwrap();
    let outcomes = run(dir.path(), &own, &mut |_| {});
    let bad: Vec<String> = outcomes
        .iter()
        .filter(|outcome| !outcome.passed())
        .map(|Outcome { number, what, required, found }| {
            format!("{number} {what}: {found}, not {required}")
        })
        .collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn every_attack_gets_its_verdict_first_third() {
    part(0);
}

#[test]
fn every_attack_gets_its_verdict_second_third() {
    part(1);
}

#[test]
fn every_attack_gets_its_verdict_last_third() {
    part(2);
}

#[test]
fn the_table_has_every_number_of_the_design_once_and_says_what_is_required() {
    let numbers: Vec<u8> = ATTACKS.iter().map(|attack| attack.number).collect();
    assert_eq!(numbers, (1..=45).collect::<Vec<u8>>());
    for attack in ATTACKS {
        assert!(!attack.required.is_empty() && attack.what.len() > 9, "{}", attack.number);
    }
    assert!(DEEPER.iter().all(|(number, _)| numbers.contains(number)));
}
