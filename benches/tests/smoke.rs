//! The bench runs at a tiny size, and its JSON has the named fields. Nothing here is timed.
#![allow(clippy::expect_used)]

use serde_json::Value;
use std::process::Command;

/// Fields of every cell.
const CELL: [&str; 17] = [
    "events",
    "events_per_s",
    "events_per_s_low",
    "events_per_s_high",
    "times_base",
    "ns_per_event",
    "cpu_ns_per_event",
    "p50_us",
    "p99_us",
    "bytes_per_event",
    "bytes_per_raw_byte",
    "memory_before_mib",
    "peak_mib",
    "index_behind_entries",
    "index_catch_up_s",
    "batch",
    "clients",
];

fn tiny(more: &[&str]) -> Value {
    let dir = tempfile::tempdir().expect("a directory");
    let json = dir.path().join("numbers.json");
    let out = Command::new(env!("CARGO_BIN_EXE_chancery-benches"))
        .args(["--seconds", "0.05", "--runs", "1", "--corpus", "300"])
        .arg("--dir")
        .arg(dir.path())
        .arg("--json")
        .arg(&json)
        .args(more)
        .output()
        .expect("the bench runs");
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{told}");
    let table = String::from_utf8(out.stdout).expect("text");
    assert!(table.contains("measured") && table.contains("p99 ms"), "{table}");
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("listed").collect();
    assert_eq!(left.len(), 1, "only the numbers are left: {left:?}");
    serde_json::from_slice(&std::fs::read(&json).expect("written")).expect("JSON")
}

fn number(row: &Value, key: &str) -> f64 {
    row.get(key).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number {key} in {row}"))
}

#[test]
fn every_system_fills_every_field_of_its_cells() {
    let found = tiny(&["--batches", "1,10", "--clients", "3", "--hashing", "false", "--parts", ""]);
    for key in ["machine", "seed", "baseline", "seconds", "runs", "event_bytes", "cells"] {
        assert!(found.get(key).is_some(), "no {key}");
    }
    for key in ["cpu", "features", "lanes", "sync_p50_us", "sync_p99_us", "sha2_mib_per_s"] {
        assert!(found.pointer(&format!("/machine/{key}")).is_some(), "no machine.{key}");
    }
    let cells = found.get("cells").and_then(Value::as_array).expect("cells");
    for system in ["chancery", "sqlite", "redb", "sled", "naive"] {
        let own: Vec<&Value> =
            cells.iter().filter(|c| c.get("system") == Some(&system.into())).collect();
        assert_eq!(own.len(), 2, "{system}");
        for row in own {
            CELL.iter().for_each(|key| assert!(number(row, key) >= 0.0, "{key}"));
            assert!(number(row, "events") > 0.0 && number(row, "events_per_s") > 0.0, "{row}");
            assert!(number(row, "p50_us") > 0.0 && number(row, "p50_us") <= number(row, "p99_us"));
            // Every event is there, so no store can be smaller than what it keeps, but a log
            // whose bodies are compressed; nothing is packed here.
            assert!(number(row, "bytes_per_raw_byte") > 1.0, "{row}");
            assert!(number(row, "peak_mib") >= number(row, "memory_before_mib"), "{row}");
            let one = system == "sqlite";
            assert_eq!((number(row, "times_base") - 1.0).abs() < 1e-9, one, "{row}");
        }
    }
}

#[test]
fn ways_of_hashing_are_compared_with_the_stock_one() {
    let found = tiny(&["--batches", "", "--parts", ""]);
    let rows = found.get("hashing").and_then(Value::as_array).expect("hashing");
    let stock = rows.iter().find(|row| row.get("system") == Some(&"chancery:portable".into()));
    assert!((number(stock.expect("stock"), "times_base") - 1.0).abs() < 1e-9);
    assert!(rows.iter().all(|row| number(row, "times_base") > 0.0));
}

#[test]
fn a_system_nobody_knows_is_refused_by_name() {
    let out = Command::new(env!("CARGO_BIN_EXE_chancery-benches"))
        .args(["--systems", "oracle", "--seconds", "0.01", "--runs", "1"])
        .output()
        .expect("the bench runs");
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && told.contains("no system oracle"), "{told}");
}
