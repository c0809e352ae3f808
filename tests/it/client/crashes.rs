//! Crashes at every write and sync, failures of every operation, full disks: what was taken is
//! delivered with its own id, and has its receipt.

use crate::client::{Bench, DIR, all, event, ledger};
use crate::support::receiver::{Act, Book, Script};
use crate::support::sim::{Rng, SimDisk, Still, Survivors};
use chancery::client::{Receiver, Reply};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What a vault holds: content and index by id.
type Held = BTreeMap<String, (Vec<u8>, u64)>;

/// A receiver that remembers what it held after so many operations of the disk.
struct Watched {
    script: Script,
    disk: SimDisk,
    held: Mutex<Vec<(u64, Held)>>,
}

impl Watched {
    fn held_at(&self, operation: u64) -> Option<Held> {
        let held = self.held.lock().unwrap();
        let then = held.iter().rev().find(|(at, _)| *at <= operation);
        then.map(|(_, taken)| taken.clone())
    }
}

impl Receiver for Watched {
    fn post(&self, ndjson: &[u8]) -> Result<Reply, String> {
        let reply = self.script.post(ndjson);
        let taken = self.script.book().taken.clone();
        self.held.lock().unwrap().push((self.disk.operations(), taken));
        reply
    }
}

/// A run, and what was promised when.
struct Run {
    stills: Vec<Still>,
    /// Event by id, with the operations after which its `emit` had returned; none if it never did.
    emitted: BTreeMap<String, (String, Option<u64>)>,
    receiver: Arc<Watched>,
}

fn problem() -> serde_json::Value {
    json!({"status": 422, "code": "FIELD_REQUIRED", "detail": "send it"})
}

fn script(seed: u64) -> Script {
    let mut rng = Rng::new(seed);
    let mut acts = Vec::new();
    for _ in 0..60 {
        acts.push(match rng.below(8) {
            0 => Act::TakeAndReset,
            1 => Act::Reset,
            2 => Act::Say(503, Some(1), json!({"code": "OVERLOADED"})),
            3 => Act::Whole(problem()),
            _ => Act::Partial(problem()),
        });
    }
    Script::of(&acts)
}

/// Emits and sends by turns as a seed says, on a disk that may lie.
fn run(seed: u64, lie: Option<&str>) -> Run {
    let disk = SimDisk::new();
    lie.into_iter().for_each(|below| disk.lie(below));
    disk.film();
    let receiver = Arc::new(Watched {
        script: script(seed),
        disk: disk.clone(),
        held: Mutex::new(Vec::new()),
    });
    let mut emitted = BTreeMap::new();
    let mut rng = Rng::new(seed);
    let mut number = 0;
    for _ in 0..3 {
        let mut bench = Bench::open(&disk, receiver.clone()).unwrap();
        for _ in 0..8 {
            let events: Vec<(String, String)> = (0..1 + rng.below(3))
                .map(|_| {
                    number += 1;
                    let id = format!("e{number}");
                    (id.clone(), event(&id, rng.below(6) == 0))
                })
                .collect();
            let texts: Vec<String> = events.iter().map(|(_, text)| text.clone()).collect();
            emitted.extend(events.iter().map(|(id, text)| (id.clone(), (text.clone(), None))));
            bench.emit(&texts).unwrap();
            let then = Some(disk.operations());
            emitted.extend(events.into_iter().map(|(id, text)| (id, (text, then))));
            for _ in 0..rng.below(4) {
                bench.sender.step().unwrap();
            }
        }
    }
    Run { stills: disk.cut(), emitted, receiver }
}

impl Run {
    /// What the receiver held at an instant.
    fn held(&self, operation: u64) -> Held {
        self.receiver.held_at(operation).unwrap_or_default()
    }

    /// Opens what a crash at an instant left, where the vault holds so much, sends what is there,
    /// and says what is missing.
    fn recover(&self, operation: u64, disk: &SimDisk, held: Held) -> Result<Arc<Watched>, String> {
        let script = Script::default();
        script.book().taken = held;
        script.book().script = (0..200).map(|_| Act::Partial(problem())).collect();
        let held = Mutex::new(Vec::new());
        let watched = Arc::new(Watched { script, disk: disk.clone(), held });
        let mut bench = Bench::open(disk, watched.clone()).map_err(|e| e.to_string())?;
        bench.drain();
        drop(bench);
        self.check(operation, disk, &watched.script.book())?;
        Ok(watched)
    }

    fn check(&self, operation: u64, disk: &SimDisk, book: &Book) -> Result<(), String> {
        let receipts = ledger(disk, "receipts.ndjson");
        let dead = ledger(disk, "dead.ndjson");
        let (receipt_ids, dead_ids) = (all(&receipts, "id"), all(&dead, "id"));
        if !book.clashes.is_empty() {
            return Err(format!("one id, two contents: {:?}", book.clashes));
        }
        for (id, (text, then)) in &self.emitted {
            let receipted = receipt_ids.iter().filter(|found| *found == id).count();
            let refused = dead_ids.iter().filter(|found| *found == id).count();
            if receipted + refused > 1 {
                return Err(format!("{id} has {receipted} receipts and {refused} refusals"));
            }
            if then.is_some_and(|then| then <= operation) && receipted + refused == 0 {
                return Err(format!("{id} was taken and is lost"));
            }
            let bad = text.contains("\"bad\":true");
            if (receipted == 1 && !book.taken.contains_key(id)) || (refused == 1 && !bad) {
                return Err(format!("{id}: the ledger says what is not so"));
            }
        }
        for (id, (content, index)) in &book.taken {
            let Some((text, _)) = self.emitted.get(id) else {
                return Err(format!("{id} was never emitted"));
            };
            let receipt = receipts.iter().find(|line| line["id"].as_str() == Some(id));
            let same = receipt.is_none_or(|r| r["index"].as_str() == Some(&index.to_string()));
            if content != text.as_bytes() || !same {
                return Err(format!("{id} arrived as something else"));
            }
        }
        Ok(())
    }
}

#[test]
fn nothing_taken_is_lost_by_a_crash_at_any_write_or_sync() {
    let (mut crashes, mut damaged) = (0, 0);
    for seed in 0..6 {
        let run = run(seed, None);
        assert!(run.stills.len() > 150, "{}", run.stills.len());
        for still in &run.stills {
            let ways = [Survivors::Nothing, Survivors::Everything];
            let random = (0..3).map(|n| Survivors::Random(seed * 1_000 + still.operation * 3 + n));
            for way in ways.into_iter().chain(random) {
                let disk = still.crash(way);
                let said = run.recover(still.operation, &disk, run.held(still.operation)).map(drop);
                assert!(said.is_ok(), "seed {seed}, {way:?} before {}: {said:?}", still.next);
                let junk = ledger(&disk, "dead.ndjson");
                let junk = junk.iter().filter(|l| l["code"] == "FRAME_DAMAGED").count();
                // Only a write that was torn leaves anything but whole frames.
                assert!(junk == 0 || matches!(way, Survivors::Random(_)), "{way:?}");
                (crashes, damaged) = (crashes + 1, damaged + junk);
            }
        }
    }
    println!("{crashes} crashes, {damaged} damaged places");
    assert!(crashes > 4_000);
}

#[test]
fn a_crash_while_a_crash_is_recovered_loses_nothing_either() {
    let run = run(11, None);
    for still in run.stills.iter().step_by(9) {
        let first = still.crash(Survivors::Random(still.operation));
        first.film();
        let held = run.held(still.operation);
        let watched = run.recover(still.operation, &first, held.clone()).unwrap();
        for again in first.cut() {
            for way in [Survivors::Nothing, Survivors::Random(again.operation)] {
                let second = again.crash(way);
                let held = watched.held_at(again.operation).unwrap_or_else(|| held.clone());
                let said = run.recover(still.operation, &second, held).map(drop);
                assert!(said.is_ok(), "{way:?} before {}: {said:?}", again.next);
            }
        }
    }
}

/// The tests above must be able to fail: on a disk whose syncs do nothing they do.
#[test]
fn a_disk_that_lies_is_found_out() {
    for below in ["spool-v1", "receipts"] {
        let run = run(1, Some(below));
        let lost = run.stills.iter().any(|still| {
            let disk = still.crash(Survivors::Nothing);
            run.recover(still.operation, &disk, run.held(still.operation)).is_err()
        });
        assert!(lost, "{below}");
    }
}

#[test]
fn an_operation_that_fails_takes_nothing_that_was_promised() {
    let mut refused = 0;
    for n in 1..120 {
        let disk = SimDisk::new();
        let script = Script::default();
        let mut promised = Vec::new();
        disk.fail_at(n);
        if let Ok(mut bench) = Bench::open(&disk, Arc::new(script.clone())) {
            for number in 0..12 {
                let id = format!("e{number}");
                match bench.emit(&[event(&id, false)]) {
                    Ok(_) => promised.push(id),
                    Err(_) => refused += 1,
                }
                let _ = bench.sender.step();
            }
        }
        for way in [Survivors::Nothing, Survivors::Everything, Survivors::Random(n)] {
            let after = disk.still().crash(way);
            let mut bench = Bench::open(&after, Arc::new(script.clone())).unwrap();
            bench.drain();
            let receipts = all(&ledger(&after, "receipts.ndjson"), "id");
            for id in &promised {
                assert_eq!(receipts.iter().filter(|found| *found == id).count(), 1, "{n} {way:?}");
            }
        }
    }
    assert!(refused > 100);
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let mut refused = 0;
    for n in 1..60 {
        let disk = SimDisk::new();
        let script = Script::default();
        let mut bench = Bench::open(&disk, Arc::new(script.clone())).unwrap();
        disk.full_at(n);
        let mut promised = Vec::new();
        for number in 0..10 {
            let id = format!("e{number}");
            match bench.emit(&[event(&id, false)]) {
                Ok(_) => promised.push(id),
                Err(error) => {
                    assert_eq!(error.code(), "SPOOL_FULL");
                    refused += 1;
                }
            }
            bench.sender.step().unwrap();
        }
        disk.heal();
        bench.emit(&[event("last", false)]).unwrap();
        promised.push("last".to_owned());
        bench.drain();
        assert_eq!(all(&ledger(&disk, "receipts.ndjson"), "id"), promised, "{n}");
        assert_eq!(script.book().order, promised);
    }
    assert!(refused > 100);
}

#[test]
fn a_torn_frame_is_cut_and_a_damaged_one_is_kept_for_who_looks() {
    let ids = ["a", "b", "c"];
    let whole = SimDisk::new();
    let roomy = chancery::client::Config { segment_bytes: 4_096, ..crate::client::config() };
    let mut bench = Bench::with(&whole, Arc::new(Script::default()), &roomy).unwrap();
    for id in ids {
        bench.emit(&[event(id, false)]).unwrap();
    }
    drop(bench);
    let path = chancery::client::spool::segment_path(Path::new(DIR), 0);
    let bytes = whole.bytes(&path).unwrap();
    let frame = bytes.len() / 3;
    let change = |change: &dyn Fn(&dyn chancery::store::disk::DiskFile)| {
        use chancery::store::disk::{Disk as _, Mode};
        let disk = whole.fork();
        change(&*disk.open(&path, Mode::Write).unwrap());
        let script = Script::default();
        let mut bench = Bench::with(&disk, Arc::new(script.clone()), &roomy).unwrap();
        bench.drain();
        bench.emit(&[event("d", false)]).unwrap();
        bench.drain();
        let order = script.book().order.clone();
        (order, ledger(&disk, "dead.ndjson"), bench.found.torn_bytes)
    };
    for cut in 2 * frame..3 * frame {
        let (order, dead, torn) = change(&|file| file.set_len(cut as u64).unwrap());
        assert_eq!((order, dead.len()), (vec!["a".into(), "b".into(), "d".into()], 0));
        assert_eq!(torn, (cut - 2 * frame) as u64);
    }
    for bit in 0..bytes.len() * 8 {
        let (at, hit) = (bit / 8, ids[bit / 8 / frame]);
        let flipped = [bytes[at] ^ (1 << (bit % 8))];
        let (order, dead, _) = change(&|file| file.write_at(at as u64, &flipped).unwrap());
        // The line feed of the last frame is how a torn one is told from a damaged one; of the
        // others it means nothing.
        let is_feed = at % frame == frame - 1;
        let expect: Vec<&str> =
            ids.into_iter().filter(|id| is_feed || *id != hit).chain(["d"]).collect();
        assert_eq!(order, expect, "bit {bit}");
        assert_eq!(dead.is_empty(), is_feed, "bit {bit}: {dead:?}");
        assert!(dead.iter().all(|line| line["code"] == "FRAME_DAMAGED"));
    }
}
