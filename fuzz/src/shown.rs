//! Decoders of what comes from outside as evidence or as an answer: range and answer files, what a
//! witness is asked and answers, time-stamps. The pinned keys are those of the golden vectors.

use super::memory::Memory;
use super::texts::pinned_trust;
use chancery::base::secret::Key;
use chancery::base::unit::{TreeSize, UtcNanos};
use chancery::crypto::sign::SigningKey;
use chancery::format::complete::{answer as answers, range as ranges};
use chancery::format::note::{self as notes, Note};
use chancery::format::timestamp::{self as stamps, Query};
use chancery::format::vkey::{Algorithm, Signer};
use chancery::format::witness::{self as witnesses, AddCheckpoint};
use chancery::server::witness::Witness;
use std::path::Path;
use std::sync::Arc;

/// A range file, with pinned trust and without: what is trusted holds without trust too.
pub fn range(data: &[u8]) -> bool {
    let alone = ranges::verify(&mut &*data, None, None);
    let trusted = ranges::verify(&mut &*data, Some(pinned_trust()), None);
    if let Ok(trusted) = &trusted {
        let alone = alone.as_ref().expect("trust only refuses");
        assert_eq!(alone.entries(), trusted.entries());
        assert!(trusted.scope.first <= trusted.scope.end);
    }
    alone.is_ok()
}

/// An answer file.
pub fn answer(data: &[u8]) -> bool {
    let alone = answers::verify(&mut &*data, None);
    let trusted = answers::verify(&mut &*data, Some(pinned_trust()));
    assert!(trusted.is_err() || alone.is_ok(), "trust only refuses");
    alone.is_ok()
}

fn signer(name: &str, algorithm: Algorithm, seed: u8) -> Signer {
    Signer::new(name, algorithm, SigningKey::new(&Key::new([seed; 32]))).expect("a key name")
}

const ORIGIN: &str = "vault.example/t/11111111111111111111111111111111";

/// A request to a witness: its form, then what a witness that watches the log makes of it, twice.
pub fn witness_request(data: &[u8]) -> bool {
    let parsed = AddCheckpoint::parse(data);
    if let Ok(request) = &parsed {
        assert_eq!(request.to_string().as_bytes(), data);
    }
    let log = signer(ORIGIN, Algorithm::Ed25519, 0x51);
    let own = || signer("w.example/1", Algorithm::CosignatureV1, 0x61);
    let disk = Arc::new(Memory::default());
    let keys = [log.verifier().clone()];
    let open = || Witness::open(disk.clone(), Path::new("/w"), own(), &keys).expect("a witness");
    let witness = open();
    let now = UtcNanos(1_800_000_000_000_000_000);
    let size = |witness: &Witness| witness.watched().first().map(|(_, size)| *size);
    let first = witness.add_checkpoint(data, now);
    assert!([200, 400, 403, 404, 409, 422].contains(&first.status), "{}", first.status);
    assert!(parsed.is_ok() || matches!(first.status, 400 | 403), "{}", first.status);
    if first.status == 200 {
        let note = &parsed.as_ref().expect("judged").note;
        let (cosigned, _) =
            witnesses::merge(note, first.body.as_bytes(), own().verifier()).expect("its own line");
        assert!(notes::open(cosigned.as_bytes(), &keys).is_ok());
    }
    // What it answered it remembers, also when started anew.
    let held = size(&witness);
    assert_eq!(
        first.status == 200 && held == Some(TreeSize(0)),
        first.status == 200 && is_empty(data)
    );
    drop(witness);
    let again = open();
    assert_eq!(size(&again), held);
    let second = again.add_checkpoint(data, now);
    assert!(first.status == 200 || second.status == first.status);
    parsed.is_ok()
}

/// Whether the checkpoint of a request is of no entries.
fn is_empty(data: &[u8]) -> bool {
    let request = AddCheckpoint::parse(data).ok();
    request.is_some_and(|request| request.note.lines().nth(1) == Some("0"))
}

/// What a witness answers: a size, or lines that are added to a note. Never more than its own.
pub fn witness_answer(data: &[u8]) -> bool {
    let size = witnesses::parse_size(data);
    if let Some(size) = size {
        assert_eq!(witnesses::size_body(size).as_bytes(), data);
    }
    let log = signer(ORIGIN, Algorithm::Ed25519, 0x51);
    let key = signer("w.example/1", Algorithm::CosignatureV1, 0x61);
    let text = format!("{ORIGIN}\n3\n{}=\n", "A".repeat(43));
    let note = notes::sign(&text, &[&log]).expect("a note");
    let as_it_is = witnesses::merge(&note, data, key.verifier());
    // A line that its key signs now, among whatever else was answered.
    let now = UtcNanos(1_800_000_000_000_000_000);
    let cosigned = notes::cosign(note.as_bytes(), &key, now).expect("a cosigned note");
    let lines =
        witnesses::lines_of(&Note::parse(cosigned.as_bytes()).expect("a note"), key.verifier());
    let with_line = witnesses::merge(&note, &[lines.as_bytes(), data].concat(), key.verifier());
    for (merged, _) in [as_it_is.as_ref().ok(), with_line.as_ref().ok()].into_iter().flatten() {
        let merged = Note::parse(merged.as_bytes()).expect("what is kept is a note");
        assert_eq!((&*merged.text, merged.signatures.len()), (&*text, 2), "one line more");
        assert!(notes::open(merged.to_string().as_bytes(), &[key.verifier().clone()]).is_ok());
    }
    size.is_some() || as_it_is.is_ok() || with_line.is_ok()
}

/// A time-stamp: question, answer without belief, answer against a certificate that is in it.
pub fn timestamp(data: &[u8]) -> bool {
    let query = Query::parse(data);
    if let Some(query) = &query {
        assert_eq!(query.encode(), data);
    }
    let claimed = stamps::claimed(data);
    if let Ok(stamp) = &claimed {
        assert!(stamp.not_before() <= stamp.not_after());
        let opened = stamps::open(data, &stamp.imprint, None, &[]);
        assert!(opened.is_err(), "nobody is pinned");
        let opened = stamps::open(data, &stamp.imprint, None, &[data.to_vec()]);
        assert!(opened.is_err(), "an answer is no certificate");
    }
    let _ = stamps::is_for_stamps_alone(data);
    query.is_some() || claimed.is_ok()
}
