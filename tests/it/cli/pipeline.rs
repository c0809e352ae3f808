//! `chancery append` with several batches on the way: what it counts, what it lists and what is
//! in the log are those of one batch after the other.

use crate::cli::binary::{Home, Ran};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

fn event(seq: u64, action: &str) -> String {
    format!(r#"{{"source_seq":{seq},"actor":{{"id":"n{}"}},"action":"{action}"}}"#, seq % 7)
}

/// Events 1 to `count`, one a line; those named get another action.
fn events(count: u64, changed: &[u64]) -> String {
    let action = |seq| if changed.contains(&seq) { "b.write" } else { "a.read" };
    (1..=count).map(|seq| event(seq, action(seq)) + "\n").collect()
}

/// Lines and indexes of the receipts of new entries, and the lines of duplicates.
fn receipts(home: &Home) -> (Vec<(u64, u64)>, Vec<u64>) {
    let (mut new, mut known) = (Vec::new(), Vec::new());
    for line in home.read("receipts").lines() {
        let receipt: Value = serde_json::from_str(line).unwrap();
        let number = receipt["line"].as_u64().unwrap();
        match receipt["duplicate"] == true {
            true => known.push(number),
            false => new.push((number, receipt["index"].as_u64().unwrap())),
        }
    }
    (new, known)
}

const APPEND: [&str; 8] =
    ["--json", "append", "in", "--source", "app", "--batch", "10", "--receipts"];

fn append(home: &Home, more: &[&str]) -> Ran {
    home.run(&[&APPEND[..], &["receipts"], more].concat())
}

#[test]
fn receipts_come_in_the_order_of_the_lines() {
    let home = Home::filled();
    home.write("in", &events(137, &[]));
    assert_eq!(append(&home, &[]).json()["accepted"], 137);
    let (new, _) = receipts(&home);
    assert!(new.iter().map(|(line, _)| *line).eq(1..=137));
    assert!(new.windows(2).all(|pair| pair[0].1 < pair[1].1), "{new:?}");
    // Half known, half new, in every batch: batches are turned away once and keep their order.
    let mixed: String = (0..100).map(|n| event(100 + n, "a.read") + "\n").collect();
    home.write("in", &mixed);
    let counts = append(&home, &[]).json();
    assert_eq!((&counts["accepted"], &counts["duplicate"]), (&62.into(), &38.into()));
    let (new, known) = receipts(&home);
    assert!(known.into_iter().eq(1..=38));
    assert!(new.iter().map(|(line, _)| *line).eq(39..=100));
    assert!(new.windows(2).all(|pair| pair[0].1 < pair[1].1), "{new:?}");
}

#[test]
fn nothing_behind_a_refused_batch_is_appended() {
    let home = Home::filled();
    home.write("in", &event(25, "a.read"));
    append(&home, &[]);
    // Line 25 says something else under a used number: the third batch of ten is refused, while
    // the fourth to sixth are on the way behind it.
    home.write("in", &events(90, &[25]));
    let ran = append(&home, &[]);
    let counts = ran.json();
    assert_eq!((ran.code, &counts["accepted"], &counts["refused"]), (1, &20.into(), &10.into()));
    assert_eq!(counts["ended"], "stopped at the first batch with a refused event");
    assert!(ran.err.contains("DUPLICATE_DIFFERS"), "{}", ran.err);
    let stored = home.ok(&["--json", "query", "source=app", "kind=event", "--count"]).json();
    assert_eq!(stored["count"], 21);

    let part = append(&home, &["--partial"]);
    let counts = part.json();
    assert_eq!((&counts["accepted"], &counts["duplicate"]), (&69.into(), &20.into()), "{counts}");
    assert_eq!(counts["refused_by_code"]["DUPLICATE_DIFFERS"], 1);
    assert!(part.err.contains("\"line\":25"), "{}", part.err);
    let (new, known) = receipts(&home);
    assert!(known.into_iter().eq(1..=20));
    assert!(new.iter().map(|(line, _)| *line).eq((21..=24).chain(26..=90)));
    assert!(new.windows(2).all(|pair| pair[0].1 < pair[1].1), "{new:?}");
}

#[test]
fn what_cannot_be_read_stops_the_run_behind_what_came_before() {
    let home = Home::filled();
    let lines = events(45, &[]) + "rubbish\n" + &events(90, &[]);
    home.write("in", &lines);
    let ran = append(&home, &[]);
    let counts = ran.json();
    assert_eq!((ran.code, &counts["accepted"], &counts["refused"]), (1, &40.into(), &10.into()));
    assert!(ran.err.contains("\"line\":46"), "{}", ran.err);
    let part = append(&home, &["--partial"]).json();
    assert_eq!((&part["accepted"], &part["duplicate"]), (&50.into(), &85.into()), "{part}");
    assert_eq!(part["refused"], 1);
}

#[test]
fn refusals_of_a_slow_pipe_are_said_while_it_is_open() {
    let home = Home::filled();
    let mut child = home
        .command(&["--json", "append", "-", "--source", "pipe", "--partial"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    writeln!(pipe, "{}", event(1, "a.read")).unwrap();
    writeln!(pipe, "{}", event(1, "b.write")).unwrap();
    pipe.flush().unwrap();
    // The pipe is still open: were the refusal held back, this would wait for ever.
    let mut said = String::new();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    errors.read_line(&mut said).unwrap();
    assert!(said.contains("DUPLICATE_DIFFERS"), "{said}");
    drop(pipe);
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!((ran.code, &ran.json()["accepted"]), (1, &1.into()));
}
