//! Real events, broken in every way a sender can break them: each is refused with a code, and
//! nothing of it, nor of the batch it came in, is written.

use crate::support::shared;
use crate::support::sim::{Rng, SimDisk};
use crate::support::world::{HandClock, config, world};
use chancery::base::event::Draft;
use chancery::vault::Vault;
use chancery::vault::error::Error;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A way to break a JSON object, and the codes it may be refused with.
type Breakage = (&'static str, fn(&[u8], &mut Rng) -> Vec<u8>, &'static [&'static str]);

const SYNTAX: &[&str] = &["JSON_SYNTAX"];

const BREAKAGES: &[Breakage] = &[
    ("cut short", |e, r| e[..r.below(e.len() - 1) + 1].to_vec(), SYNTAX),
    ("trailing byte", |e, _| [e, b"x"].concat(), SYNTAX),
    ("raw control", |e, r| insert_in_string(e, b"\x07", r), SYNTAX),
    ("invalid UTF-8", |e, r| insert_in_string(e, b"\xff", r), &["JSON_UTF8"]),
    ("overlong UTF-8", |e, r| insert_in_string(e, b"\xc0\xaf", r), &["JSON_UTF8"]),
    ("lone surrogate", |e, r| insert_in_string(e, b"\\ud800", r), &["JSON_SURROGATE"]),
    ("duplicate key", |e, _| with_member(e, br#""x":1,"x":2"#), &["JSON_DUPLICATE_KEY"]),
    (
        "duplicate after escapes",
        |e, _| with_member(e, br#""x":1,"\u0078":2"#),
        &["JSON_DUPLICATE_KEY"],
    ),
    ("NaN", |e, _| with_member(e, br#""x":NaN"#), SYNTAX),
    ("1e400", |e, _| with_member(e, br#""x":1e400"#), &["JSON_NUMBER"]),
    ("leading zero", |e, _| with_member(e, br#""x":01"#), &["JSON_SYNTAX", "JSON_NUMBER"]),
    (
        "10,000 deep",
        |e, _| with_member(e, &[br#""x":"#, &[b'['; 10_000][..], &[b']'; 10_000][..]].concat()),
        &["JSON_DEPTH"],
    ),
    ("too large", |e, _| with_member(e, &large()), &["EVENT_TOO_LARGE"]),
];

/// Inserts bytes into the first string value after a random place.
fn insert_in_string(event: &[u8], bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    let from = rng.below(event.len() / 2);
    let starts = event.windows(3).enumerate().filter(|(_, w)| *w == b"\":\"");
    let starts: Vec<usize> = starts.map(|(at, _)| at + 3).collect();
    let at = starts.iter().find(|at| **at >= from).or(starts.last()).copied().unwrap();
    [&event[..at], bytes, &event[at..]].concat()
}

fn with_member(event: &[u8], member: &[u8]) -> Vec<u8> {
    [b"{", member, b",", &event[1..]].concat()
}

fn large() -> Vec<u8> {
    [&b"\"x\":\""[..], &vec![b'a'; 1 << 20], b"\""].concat()
}

#[test]
#[ignore = "needs ../shared"]
fn two_hundred_mutated_real_events_leave_no_trace() {
    let path = shared().join("data/cloudtrail/invictus-stratus-simulation.ndjson");
    let text = std::fs::read(path).unwrap();
    let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).collect();
    let seed = 20_261_121;
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let disk = SimDisk::new();
    let clock = HandClock::at("2026-11-21T08:00:00Z");
    let config = config(Path::new("/sim"));
    let vault =
        Vault::init(world(Arc::new(disk.clone()), &clock, 1), &config, "m.example").unwrap();
    let good = Draft { source: "cloudtrail", json: lines[0] };
    vault.append(&[good]).unwrap();
    // From here on no background work is owed, so any write would be the refused batch's.
    vault.settle();
    vault.checkpoint().unwrap();
    let size = vault.size();
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for number in 0..208 {
        let event = lines[rng.below(lines.len())];
        let (what, break_it, codes) = BREAKAGES[number % BREAKAGES.len()];
        let broken = break_it(event, &mut rng);
        let before = disk.operations();
        let bad = Draft { source: "cloudtrail", json: &broken };
        let batch = [Draft { source: "cloudtrail", json: lines[1] }, bad];
        match vault.append(&batch) {
            Err(Error::Invalid { position: 1, refusal }) => {
                assert!(codes.contains(&refusal.code), "{what}: {refusal}");
                *counts.entry(refusal.code).or_default() += 1;
            }
            Err(other) => panic!("{what}: {other}"),
            Ok(_) => panic!("{what} was accepted: {}", String::from_utf8_lossy(&broken)),
        }
        assert_eq!(vault.size(), size, "{what}: something was appended");
        assert_eq!(disk.operations(), before, "{what}: something was written");
    }
    println!("refused: {counts:?}");
    vault.append(&[Draft { source: "cloudtrail", json: lines[1] }]).unwrap();
}
