//! The judge: what a witness signs, what it refuses with which status, and that nothing is shown
//! before it is durable.

use crate::support::shared;
use crate::support::sim::{Rng, SimDisk};
use crate::support::witness::{home, judge, witness_signer};
use chancery::base::id::Hash32;
use chancery::base::secret::Key;
use chancery::base::unit::{NANOS_PER_SECOND, TreeSize, UtcNanos};
use chancery::crypto::hash::{leaf_hash, sha256};
use chancery::crypto::lanes::Lanes;
use chancery::crypto::merkle::{Compact, consistency_proof};
use chancery::crypto::sign::{PublicKey, SigningKey};
use chancery::format::checkpoint::Checkpoint;
use chancery::format::note;
use chancery::format::tile::decode_hashes;
use chancery::format::vkey::{Algorithm, Signer, Verifier};
use chancery::format::witness::{AddCheckpoint, merge, parse_size};
use chancery::server::witness::Witness;
use std::sync::Arc;

const ORIGIN: &str = "log.example/t/1";

fn now(seconds: u64) -> UtcNanos {
    UtcNanos((1_764_000_000 + seconds) * NANOS_PER_SECOND)
}

/// A log in memory: leaves from a seed.
struct Log {
    signer: Signer,
    leaves: Vec<Hash32>,
}

impl Log {
    fn new(origin: &str, seed: u64) -> Log {
        let signer =
            Signer::new(origin, Algorithm::Ed25519, SigningKey::new(&Key::new([77; 32]))).unwrap();
        let leaf = |n: u64| leaf_hash(&[seed.to_be_bytes(), n.to_be_bytes()].concat());
        Log { signer, leaves: (0..600).map(leaf).collect() }
    }

    fn key(&self) -> Verifier {
        self.signer.verifier().clone()
    }

    fn checkpoint(&self, size: u64) -> Checkpoint {
        let mut tree = Compact::new();
        tree.extend(&Lanes::detect(), &self.leaves[..size as usize], &mut |_, _| {});
        let origin = self.signer.verifier().name().to_owned();
        Checkpoint { origin, size: TreeSize(size), root: tree.root() }
    }

    fn note(&self, size: u64) -> String {
        self.checkpoint(size).sign(&[&self.signer]).unwrap()
    }

    fn proof(&self, old: u64, size: u64) -> Vec<Hash32> {
        let mut levels: Vec<Vec<Hash32>> = vec![self.leaves.clone()];
        let mut tree = Compact::new();
        tree.extend(&Lanes::detect(), &self.leaves, &mut |level, hash| {
            let level = usize::from(level);
            levels.resize_with(levels.len().max(level + 1), Vec::new);
            levels[level].push(hash);
        });
        let nodes =
            |level: u8, index: u64| levels.get(level as usize)?.get(index as usize).copied();
        consistency_proof(&nodes, TreeSize(old), TreeSize(size)).unwrap()
    }

    fn request(&self, old: u64, size: u64) -> String {
        let (old, proof) = (TreeSize(old), self.proof(old, size));
        AddCheckpoint { old, proof, note: self.note(size) }.to_string()
    }
}

fn status(witness: &Witness, request: &str) -> u16 {
    witness.add_checkpoint(request.as_bytes(), now(0)).status
}

#[test]
fn it_signs_growth_and_nothing_else() {
    let (disk, log) = (SimDisk::new(), Log::new(ORIGIN, 1));
    let witness = judge(&disk, 1, &[log.key()]);
    let answer = witness.add_checkpoint(log.request(0, 5).as_bytes(), now(3));
    assert_eq!(answer.status, 200);
    let key = witness_signer(1).verifier().clone();
    let (merged, time) = merge(&log.note(5), answer.body.as_bytes(), &key).unwrap();
    assert_eq!(time, now(3));
    let opened = note::open(merged.as_bytes(), &[log.key(), key]).unwrap();
    assert_eq!(opened.by.len(), 2);
    for (old, size) in [(5, 6), (6, 300), (300, 300), (300, 600)] {
        assert_eq!(status(&witness, &log.request(old, size)), 200, "{old} -> {size}");
    }
    // What it knows is told, and moves nothing.
    for (old, size) in [(0, 600), (5, 600), (300, 600), (599, 600), (0, 7), (7, 7)] {
        let answer = witness.add_checkpoint(log.request(old, size).as_bytes(), now(9));
        assert_eq!((answer.status, answer.content_type), (409, "text/x.tlog.size"));
        assert_eq!(parse_size(answer.body.as_bytes()), Some(TreeSize(600)), "{old} -> {size}");
    }
    assert_eq!(status(&witness, &log.request(600, 600)), 200);
}

#[test]
fn every_refusal_has_its_status() {
    let (disk, log) = (SimDisk::new(), Log::new(ORIGIN, 1));
    let witness = judge(&disk, 1, &[log.key()]);
    assert_eq!(status(&witness, "old 0\n"), 400);
    assert_eq!(status(&witness, &Log::new("other.example/t/2", 1).request(0, 3)), 404);
    let stranger = Signer::new(ORIGIN, Algorithm::Ed25519, SigningKey::new(&Key::new([78; 32])));
    let forged = log.checkpoint(3).sign(&[&stranger.unwrap()]).unwrap();
    let forged = AddCheckpoint { old: TreeSize(0), proof: vec![], note: forged };
    assert_eq!(status(&witness, &forged.to_string()), 403);
    let request = log.request(0, 3);
    let at = request.len() - 8;
    let flipped = if &request[at..at + 1] == "A" { "B" } else { "A" };
    let broken = format!("{}{flipped}{}", &request[..at], &request[at + 1..]);
    assert_eq!(status(&witness, &broken), 403);
    let larger = AddCheckpoint { old: TreeSize(4), proof: vec![], note: log.note(3) };
    assert_eq!(status(&witness, &larger.to_string()), 400);
    // From nothing to anything there is nothing to prove: hashes there are wrong.
    let stuffed = AddCheckpoint { old: TreeSize(0), proof: log.proof(1, 3), note: log.note(3) };
    assert_eq!(status(&witness, &stuffed.to_string()), 422);
    assert_eq!(witness.watched()[0].1, TreeSize(0), "no refusal moves it");
    assert_eq!(status(&witness, &request), 200);
}

#[test]
fn attack_3_a_rewritten_history_gets_422_and_both_notes_are_kept() {
    let (disk, log) = (SimDisk::new(), Log::new(ORIGIN, 1));
    let witness = judge(&disk, 1, &[log.key()]);
    assert_eq!(status(&witness, &log.request(0, 40)), 200);
    // The thief of the log key signs another history of the same log.
    let rewritten = Log::new(ORIGIN, 2);
    let answer = witness.add_checkpoint(rewritten.request(40, 60).as_bytes(), now(0));
    assert_eq!(answer.status, 422);
    assert!(answer.alarm.unwrap().starts_with("INCONSISTENT"));
    let kept = evidence(&disk, "INCONSISTENT");
    assert!(kept[0].contains(&log.note(40)[..40]) && kept[0].contains(&rewritten.note(60)));
    assert_eq!(witness.watched()[0].1, TreeSize(40));
    assert_eq!(status(&witness, &log.request(40, 60)), 200, "the true log goes on");
}

#[test]
fn attack_33_two_roots_of_one_size_get_409_and_both_notes_are_kept() {
    let (disk, log) = (SimDisk::new(), Log::new(ORIGIN, 1));
    let witness = judge(&disk, 1, &[log.key()]);
    assert_eq!(status(&witness, &log.request(0, 40)), 200);
    let other = Log::new(ORIGIN, 2);
    let answer = witness.add_checkpoint(other.request(40, 40).as_bytes(), now(0));
    assert_eq!((answer.status, answer.body.as_str()), (409, "40\n"));
    assert!(answer.alarm.unwrap().starts_with("EQUIVOCATION"));
    let kept = evidence(&disk, "EQUIVOCATION");
    assert_eq!(kept.len(), 1);
    assert!(kept[0].contains(&other.note(40)), "the note that was sent, verbatim");
    let held = kept[0].split("sent\n").next().unwrap();
    assert!(held.contains(&log.checkpoint(40).to_string()), "and the one that was held");
    // Evidence cannot fill the disk.
    for size in 41..200 {
        let answer = witness.add_checkpoint(other.request(40, size).as_bytes(), now(0));
        assert_eq!(answer.status, 422);
        let alarm = answer.alarm.unwrap();
        assert_eq!(alarm.contains("not kept: 64 are in "), size >= 41 + 64, "{alarm}");
    }
    assert!(evidence(&disk, "INCONSISTENT").len() <= 64);
}

#[test]
fn a_stranger_cannot_use_up_the_room_for_a_fork() {
    let (disk, log) = (SimDisk::new(), Log::new(ORIGIN, 1));
    let witness = judge(&disk, 1, &[log.key()]);
    let junk = |old: u64, size: u64, n: u64| {
        let proof = vec![sha256(&[&n.to_be_bytes()])];
        AddCheckpoint { old: TreeSize(old), proof, note: log.note(size) }.to_string()
    };
    // Beside nothing, and beside the public note itself, hashes tell nothing.
    let says_nothing = |old, size, n| {
        let answer = witness.add_checkpoint(junk(old, size, n).as_bytes(), now(0));
        assert_eq!((answer.status, answer.alarm), (422, None));
    };
    (0..70).for_each(|n| says_nothing(0, 40, n));
    assert_eq!(status(&witness, &log.request(0, 40)), 200);
    (0..70).for_each(|n| says_nothing(40, 40, n));
    assert_eq!(evidence(&disk, "").len(), 0);
    // A true checkpoint that the witness has not seen yet can be sent with any hashes.
    for n in 0..70 {
        assert_eq!(status(&witness, &junk(40, 41, n)), 422);
    }
    assert_eq!(evidence(&disk, "INCONSISTENT").len(), 64);
    let fork = Log::new(ORIGIN, 2);
    let answer = witness.add_checkpoint(fork.request(40, 40).as_bytes(), now(0));
    assert_eq!(answer.status, 409);
    assert!(answer.alarm.unwrap().contains("both notes are in"));
    let kept = evidence(&disk, "EQUIVOCATION");
    assert!(kept.len() == 1 && kept[0].contains(&fork.note(40)));
}

fn evidence(disk: &SimDisk, verdict: &str) -> Vec<String> {
    let dir = format!("/evidence/{verdict}");
    let files = disk.files().into_iter().filter(|f| f.to_string_lossy().contains(&dir));
    files.map(|f| String::from_utf8(disk.durable_bytes(&f).unwrap()).unwrap()).collect()
}

#[test]
fn of_two_at_once_the_second_gets_409() {
    let (disk, log) = (SimDisk::new(), Log::new(ORIGIN, 1));
    let witness = judge(&disk, 1, &[log.key()]);
    assert_eq!(status(&witness, &log.request(0, 10)), 200);
    let mut from = 10;
    for _ in 0..20 {
        let (a, b) = (log.request(from, from + 1), log.request(from, from + 25));
        let (one, two) = std::thread::scope(|scope| {
            let one = scope.spawn(|| status(&witness, &a));
            let two = scope.spawn(|| status(&witness, &b));
            (one.join().unwrap(), two.join().unwrap())
        });
        assert_eq!(one + two, 200 + 409, "exactly one of two is signed");
        from = witness.watched()[0].1.0;
        assert_eq!(from % 25 == 10, two == 200, "and it is the one that was answered");
        from = if two == 200 { from } else { from + 24 };
        let known = witness.watched()[0].1.0;
        assert_eq!(status(&witness, &log.request(known, from)), 200);
    }
}

#[test]
fn nothing_is_shown_before_it_is_durable() {
    let log = Log::new(ORIGIN, 1);
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new();
        let witness = judge(&disk, 1, &[log.key()]);
        assert_eq!(status(&witness, &log.request(0, 10)), 200);
        // The power goes, or the disk fails, somewhere in the next requests.
        disk.fail_at(1 + rng.below(12) as u64);
        let mut shown = 10;
        for size in [11, 15, 40] {
            let answer = witness.add_checkpoint(log.request(shown, size).as_bytes(), now(1));
            match answer.status {
                200 => shown = size,
                500 => break,
                other => panic!("seed {seed}: {other} {}", answer.body),
            }
        }
        disk.heal();
        let after = disk.crash(seed);
        let again = judge(&after, 1, &[log.key()]);
        let known = again.watched()[0].1.0;
        assert!(known >= shown, "seed {seed}: shown {shown}, after the crash {known}");
        assert!([10, 11, 15, 40].contains(&known));
    }
}

#[test]
fn a_failed_disk_ends_cosigning_until_it_is_opened_anew() {
    let (disk, log) = (SimDisk::new(), Log::new(ORIGIN, 1));
    let witness = judge(&disk, 1, &[log.key()]);
    assert_eq!(status(&witness, &log.request(0, 10)), 200);
    disk.fail_sync_at(1);
    assert_eq!(status(&witness, &log.request(10, 11)), 500);
    disk.heal();
    assert_eq!(status(&witness, &log.request(10, 11)), 500, "nobody knows what is on the disk");
    drop(witness);
    let again = judge(&disk.crash(3), 1, &[log.key()]);
    let size = again.watched()[0].1.0;
    assert_eq!(status(&again, &log.request(size, 12)), 200);
}

#[test]
fn a_witness_does_not_go_back_with_its_file() {
    let (disk, log) = (SimDisk::new(), Log::new(ORIGIN, 1));
    let witness = judge(&disk, 1, &[log.key()]);
    assert_eq!(status(&witness, &log.request(0, 10)), 200);
    let latest = disk.files().into_iter().find(|f| f.ends_with("latest")).unwrap();
    let old = disk.durable_bytes(&latest).unwrap();
    assert_eq!(status(&witness, &log.request(10, 20)), 200);
    disk.plant(&latest, &old);
    assert_eq!(status(&witness, &log.request(10, 30)), 409, "it knows what it signed");
    let answer = witness.add_checkpoint(log.request(20, 30).as_bytes(), now(0));
    assert_eq!(answer.status, 500, "and sees that its file is another one");
    assert!(answer.alarm.unwrap().starts_with("WITNESS_STATE"));
    drop(witness);
    let mut bytes = old.clone();
    bytes[45] ^= 1;
    disk.plant(&latest, &bytes);
    let signer = witness_signer(1);
    let opened = Witness::open(Arc::new(disk.clone()), &home(), signer, &[log.key()]);
    assert!(opened.err().unwrap().to_string().contains("WITNESS_STATE"));
}

#[test]
fn two_witnesses_do_not_share_a_directory() {
    let (disk, log) = (SimDisk::new(), Log::new(ORIGIN, 1));
    let _witness = judge(&disk, 1, &[log.key()]);
    let second = Witness::open(Arc::new(disk.clone()), &home(), witness_signer(1), &[log.key()]);
    assert!(second.is_err());
}

#[test]
fn the_latest_note_is_found_by_the_hash_of_its_origin() {
    let (disk, log) = (SimDisk::new(), Log::new(ORIGIN, 1));
    let witness = judge(&disk, 1, &[log.key()]);
    let hash = sha256(&[ORIGIN.as_bytes()]).to_string();
    assert_eq!(witness.latest(&hash).status, 404);
    assert_eq!(status(&witness, &log.request(0, 10)), 200);
    let answer = witness.latest(&hash);
    let keys = [log.key(), witness_signer(1).verifier().clone()];
    assert_eq!(note::open(answer.body.as_bytes(), &keys).unwrap().by.len(), 2);
    assert_eq!(witness.latest("0").status, 404);
}

/// litewitness's own test: nine requests in order. One status differs: a log it does not know is
/// 404 in tlog-witness v1.0.0, and 403 there.
#[test]
#[ignore = "needs ../shared"]
fn litewitness_requests_in_order() {
    let path = shared().join("vectors/notes/witness-add-checkpoint.json");
    let document: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let hex = document["log_public_key_hex"].as_str().unwrap();
    let key: [u8; 32] = chancery::base::id::unhex(hex).unwrap();
    let origin = document["origin"].as_str().unwrap();
    let key = PublicKey::enrol(&key).unwrap();
    let key = Verifier::new(origin, Algorithm::Ed25519, key).unwrap();
    let disk = SimDisk::new();
    let witness = judge(&disk, 1, std::slice::from_ref(&key));
    let (mut same, mut unknown, mut sizes) = (0, 0, 0);
    for case in document["requests"].as_array().unwrap() {
        let body = case["body"].as_str().unwrap();
        let answer = witness.add_checkpoint(body.as_bytes(), now(0));
        let expected = case["status"].as_u64().unwrap();
        match case["expect"].as_str() {
            Some(why) if why.contains("404") => {
                assert_eq!((answer.status, expected), (404, 403), "{why}");
                unknown += 1;
            }
            expect => {
                assert_eq!(u64::from(answer.status), expected, "{body}: {}", answer.body);
                if expected == 409 {
                    assert_eq!(Some(answer.body.as_str()), expect, "the size it holds");
                    sizes += 1;
                }
                same += 1;
            }
        }
        if answer.status == 200 {
            let note = AddCheckpoint::parse(body.as_bytes()).unwrap().note;
            let own = witness_signer(1).verifier().clone();
            merge(&note, answer.body.as_bytes(), &own).unwrap();
        }
    }
    assert_eq!((same, unknown, sizes), (8, 1, 2));
}

/// Tessera's log witnessed from every size to every larger one: 120 steps, each by a fresh
/// witness, and all 16 in a row.
#[test]
#[ignore = "needs ../shared"]
fn tessera_grows_before_a_witness() {
    let folder = shared().join("vectors/tessera/testdata/log");
    let vkey = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";
    let key = Verifier::parse(vkey).unwrap();
    let notes: Vec<String> = (0..=15)
        .map(|size| std::fs::read_to_string(folder.join(format!("checkpoint.{size}"))).unwrap())
        .collect();
    let leaves =
        decode_hashes(&std::fs::read(folder.join("tile/0/000.p/15")).unwrap(), 15).unwrap();
    let nodes = |level: u8, index: u64| match level {
        0 => leaves.get(index as usize).copied(),
        _ => None,
    };
    let request = |old: usize, size: usize| {
        let proof = consistency_proof(&nodes, TreeSize(old as u64), TreeSize(size as u64)).unwrap();
        AddCheckpoint { old: TreeSize(old as u64), proof, note: notes[size].clone() }.to_string()
    };
    let mut steps = 0;
    for old in 0..=15 {
        for size in old..=15 {
            let disk = SimDisk::new();
            let witness = judge(&disk, 1, std::slice::from_ref(&key));
            assert_eq!(status(&witness, &request(0, old)), 200, "{old}");
            assert_eq!(status(&witness, &request(old, size)), 200, "{old} -> {size}");
            steps += 1;
        }
    }
    assert_eq!(steps, 136);
    let disk = SimDisk::new();
    let witness = judge(&disk, 1, std::slice::from_ref(&key));
    for size in 0..=15_usize {
        assert_eq!(status(&witness, &request(size.saturating_sub(1), size)), 200);
    }
    assert_eq!(status(&witness, &request(14, 15)), 409);
}
