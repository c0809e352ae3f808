//! The table of the attacks, as `chancery bench attacks` makes them on real files. The modules
//! beside this one hold deeper variants of many; `crash` those that need a simulated disk.

use chancery::cli::bench::attacks::ATTACKS;
use serde_json::Value;
use std::process::{Command, Stdio};

/// Where a deeper variant of an attack stands, by number.
const DEEPER: &[(u8, &str)] = &[
    (1, "attacks/log"),
    (12, "attacks/bodies"),
    (17, "attacks/outside"),
    (19, "keys_attacks"),
    (24, "crash/matrix, crash/histories"),
    (28, "keys_attacks, crash/matrix"),
    (29, "mirror"),
    (31, "attacks/claims"),
    (34, "note"),
    (35, "note"),
    (38, "attacks/claims, merkle"),
    (40, "conformance, mutated"),
    (43, "attacks/log, index"),
    (44, "siem"),
    (45, "keys_attacks"),
];

/// Runs them by the command, in a process of its own: other tests fork, and a fork holds the lock
/// files of whoever forks open for a moment.
#[test]
fn every_attack_gets_its_verdict() {
    let ran = Command::new(env!("CARGO_BIN_EXE_chancery"))
        .args(["--json", "bench", "attacks"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    let value: Value = serde_json::from_str(text.lines().next().unwrap_or_default()).unwrap();
    let rows = value["attacks"].as_array().unwrap();
    assert_eq!(rows.len(), ATTACKS.len());
    let bad: Vec<String> = rows
        .iter()
        .filter(|row| row["pass"] != true)
        .map(|row| format!("{} {}: {}", row["number"], row["attack"], row["found"]))
        .collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert_eq!(ran.status.code(), Some(0));
    let none = Command::new(env!("CARGO_BIN_EXE_chancery"))
        .args(["bench", "attacks", "--only", "99"])
        .output()
        .unwrap();
    assert_eq!(none.status.code(), Some(2), "no attack made is no pass");
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
