//! Signed notes, checkpoints, proofs and trust: goldens of our own, attacks 33 to 37, properties.
//! Keys are made from seeds, so every text below is reproducible.

use chancery::base::id::Hash32;
use chancery::base::secret::Key;
use chancery::base::unit::{EntryIndex, TreeSize, UtcNanos};
use chancery::crypto::hash::{leaf_hash, node_hash};
use chancery::crypto::merkle::{EMPTY_ROOT, ProofError};
use chancery::crypto::sign::SigningKey;
use chancery::format::checkpoint::{Checkpoint, CheckpointError};
use chancery::format::note::{self, Note, NoteError, SignedBy};
use chancery::format::proof::{TlogProof, TlogProofError};
use chancery::format::roll::KeyRoll;
use chancery::format::tile::{TileLevel, TilePath, decode_entries};
use chancery::format::trust::{Trust, TrustError, TrustFault};
use chancery::format::vkey::{Algorithm, Signer, Verifier};
use proptest::prelude::*;

const ORIGIN: &str = "vault.example/t/00112233445566778899aabbccddeeff";

fn signer(name: &str, algorithm: Algorithm, seed: u8) -> Signer {
    Signer::new(name, algorithm, SigningKey::new(&Key::new([seed; 32]))).unwrap()
}

fn log(seed: u8) -> Signer {
    signer(ORIGIN, Algorithm::Ed25519, seed)
}

fn witness(seed: u8) -> Signer {
    signer(&format!("w{seed}.example"), Algorithm::CosignatureV1, seed)
}

fn reporter() -> Signer {
    signer("vault.example/reports", Algorithm::Ed25519, 9)
}

fn checkpoint(size: u64) -> Checkpoint {
    let root = if size == 0 { EMPTY_ROOT } else { Hash32([size as u8; 32]) };
    Checkpoint { origin: ORIGIN.to_owned(), size: TreeSize(size), root }
}

fn seconds(seconds: u64) -> UtcNanos {
    UtcNanos(seconds * 1_000_000_000)
}

#[test]
fn a_golden_checkpoint() {
    let note = checkpoint(3).sign(&[&log(1)]).unwrap();
    let vkey = log(1).verifier().to_string();
    let golden = format!("{note}{vkey}\n");
    assert_eq!(golden, GOLDEN);
    let opened = Checkpoint::open(note.as_bytes(), &Verifier::parse(&vkey).unwrap());
    assert_eq!(opened, Ok(checkpoint(3)));
    let empty = checkpoint(0).sign(&[&log(1)]).unwrap();
    assert!(empty.contains("\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"));
}

#[test]
fn a_golden_cosignature() {
    let note = checkpoint(3).sign(&[&log(1)]).unwrap();
    let cosigned = note::cosign(note.as_bytes(), &witness(2), seconds(1_795_000_000)).unwrap();
    assert_eq!(cosigned.strip_prefix(&note), Some(GOLDEN_COSIGNATURE));
    let known = [log(1).verifier().clone(), witness(2).verifier().clone()];
    let opened = note::open(cosigned.as_bytes(), &known).unwrap();
    assert_eq!(
        opened.by.iter().map(|by| by.time).collect::<Vec<_>>(),
        [None, Some(seconds(1_795_000_000)),]
    );
    // Signed twice by one witness: listed once, with the earlier time.
    let twice = note::cosign(cosigned.as_bytes(), &witness(2), seconds(1_794_000_000)).unwrap();
    let opened = note::open(twice.as_bytes(), &known).unwrap();
    assert_eq!(opened.by.len(), 2);
    assert_eq!(opened.by[1].time, Some(seconds(1_794_000_000)));
}

/// Attack 34: what the grammar refuses, and what it must not.
#[test]
fn note_grammar() {
    let note = note::sign("a\nb\n", &[&log(1)]).unwrap();
    let refuse = |text: String, expect: fn(&NoteError) -> bool| {
        let error = Note::parse(text.as_bytes()).unwrap_err();
        assert!(expect(&error), "{error:?} for {text:?}");
        assert!(note::open(text.as_bytes(), &[log(1).verifier().clone()]).is_err());
    };
    refuse(note.replace('\n', "\r\n"), |e| matches!(e, NoteError::Control { offset: 1 }));
    refuse(note.replace("a\n", "a\0\n"), |e| matches!(e, NoteError::Control { offset: 1 }));
    refuse(note.replace("a\n", "a\t\n"), |e| matches!(e, NoteError::Control { .. }));
    refuse(note.trim_end().to_owned(), |e| *e == NoteError::NoSignatures);
    refuse(note.replace("\n\n", "\n"), |e| *e == NoteError::NoSignatures);
    refuse("a\nb\n\n".to_owned(), |e| *e == NoteError::NoSignatures);
    refuse("a\nb\n".to_owned(), |e| *e == NoteError::NoSignatures);
    refuse(String::new(), |e| *e == NoteError::NoSignatures);
    let line = |e: &NoteError| matches!(e, NoteError::Line { number: 1 });
    refuse(note.replace("=\n", "\n"), line);
    refuse(note.replace("=\n", "==\n"), line);
    refuse(note.replace("=\n", "= \n"), line);
    refuse(note.replace("\u{2014} ", "- "), line);
    refuse(note.replace("\u{2014} ", "\u{2014}  "), line);
    refuse(note.replace("\u{2014} ", "\u{2014}\u{a0}"), line);
    refuse(note.replace("vault.example", "vault+example"), line);
    refuse("a\n\n\u{2014} n AAAAAA==\n".to_owned(), line);
    refuse("a\n\n\u{2014} n\n".to_owned(), line);
    refuse(format!("{note}\u{2014} n @@@@\n"), |e| matches!(e, NoteError::Line { number: 2 }));
    refuse(format!("{note}\n"), |e| matches!(e, NoteError::NoSignatures | NoteError::Line { .. }));
    let mut bytes = note.clone().into_bytes();
    bytes[0] = 0xff;
    assert_eq!(Note::parse(&bytes), Err(NoteError::NotUtf8 { offset: 0 }));
    assert_eq!(Note::parse(&vec![b'a'; (1 << 20) + 1]), Err(NoteError::TooLarge));
    // The separator is the last empty line; the text may hold others, and only one LF.
    for text in ["a\n\nb\n", "\n", "a\n\n\n", "\u{2014} n AAAAAAA=\n"] {
        let note = note::sign(text, &[&log(1)]).unwrap();
        assert_eq!(note::open(note.as_bytes(), &[log(1).verifier().clone()]).unwrap().text, text);
    }
    assert_eq!(note::sign("a", &[&log(1)]), Err(NoteError::TextNewline));
    assert_eq!(note::sign("a\r\n", &[&log(1)]), Err(NoteError::Control { offset: 1 }));
    assert_eq!(note::sign("a\n", &[]), Err(NoteError::NoSignatures));
    assert_eq!(note::sign("a\n", &[&witness(2)]), Err(NoteError::Algorithm));
    let cosigned = note::cosign(note.as_bytes(), &log(1), seconds(1));
    assert_eq!(cosigned, Err(NoteError::Algorithm));
}

/// Base64 has one form: each bit of the trailing two characters' padding counts.
#[test]
fn base64_variants_are_refused() {
    let text = checkpoint(3).to_string();
    let root = text.lines().nth(2).unwrap();
    for variant in [
        root.trim_end_matches('=').to_owned(),
        format!("{root}="),
        format!("{root} "),
        root.replace("M=", "N="),
        root.replace('=', "A"),
        root.replace('M', "-"),
        format!("{}\u{feff}=", &root[..41]),
    ] {
        assert_ne!(variant, root);
        let text = text.replace(root, &variant);
        assert_eq!(Checkpoint::parse(&text), Err(CheckpointError::Root), "{variant}");
    }
}

/// Attack 34: signature lines.
#[test]
fn signature_lines() {
    let known = [log(1).verifier().clone()];
    let text = checkpoint(7).to_string();
    let note = note::sign(&text, &[&log(1)]).unwrap();
    // 17 and 100 lines are read, 101 are not; unknown keys and algorithms are passed over.
    let mut many = note.clone();
    for count in 2..=101u32 {
        many.push_str(&format!("\u{2014} other{count} AAAAAAAA\n"));
        let opened = note::open(many.as_bytes(), &known);
        if count <= 100 {
            assert_eq!(opened.unwrap().by.len(), 1);
        } else {
            assert_eq!(opened, Err(NoteError::TooManySignatures));
        }
    }
    // Same id, other name; same name, other id: ignored, even though they hold noise.
    let line = note.lines().last().unwrap().to_owned();
    let renamed = line.replace(ORIGIN, "mallory.example");
    let other_id = format!("\u{2014} {ORIGIN} AAAAAAAA");
    let opened = note::open(format!("{note}{renamed}\n{other_id}\n").as_bytes(), &known).unwrap();
    assert_eq!(
        opened.by,
        [SignedBy { name: ORIGIN.to_owned(), id: log(1).verifier().id(), time: None }]
    );
    assert_eq!(
        note::open(format!("{text}\n{renamed}\n{other_id}\n").as_bytes(), &known),
        Err(NoteError::UntrustedKey)
    );
    // A bad signature of a known key spoils the note, beside a good one of the same or another.
    let other = note::sign("other\n", &[&log(1)]).unwrap();
    let bad = other.lines().last().unwrap();
    let expect = Err(NoteError::BadSignature { name: ORIGIN.to_owned() });
    for spoiled in [format!("{note}{bad}\n"), format!("{text}\n{bad}\n{line}\n")] {
        assert_eq!(note::open(spoiled.as_bytes(), &known), expect);
    }
    let two = [log(1).verifier().clone(), witness(2).verifier().clone()];
    let good = note::cosign(note.as_bytes(), &witness(2), seconds(5)).unwrap();
    let good_line = good.lines().last().unwrap();
    assert_eq!(note::open(format!("{text}\n{bad}\n{good_line}\n").as_bytes(), &two), expect);
    // A witness's signature does not pass for the log's with the same key, nor at another time.
    let as_log = signer("w2.example", Algorithm::Ed25519, 2);
    let unknown = note::open(good.as_bytes(), &[as_log.verifier().clone()]);
    assert_eq!(unknown, Err(NoteError::UntrustedKey));
    let mut parsed = Note::parse(good.as_bytes()).unwrap();
    parsed.signatures[1].blob[7] ^= 1;
    assert!(note::open(parsed.to_string().as_bytes(), &two).is_err());
}

/// Attack 34: the three lines of a checkpoint.
#[test]
fn checkpoint_grammar() {
    let root = "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";
    let refuse = |text: String, expect: CheckpointError| {
        assert_eq!(Checkpoint::parse(&text), Err(expect), "{text:?}");
    };
    let text = |size: &str| format!("{ORIGIN}\n{size}\n{root}\n");
    assert_eq!(Checkpoint::parse(&text("3")), Ok(checkpoint(3)));
    for size in ["03", "00", "+3", "-3", " 3", "3 ", "", "3.0", "0x3", "\u{0663}", "3,000"] {
        refuse(text(size), CheckpointError::Size);
    }
    assert!(Checkpoint::parse(&text("9223372036854775807")).is_ok());
    refuse(text("9223372036854775808"), CheckpointError::Size);
    refuse(text("18446744073709551616"), CheckpointError::Size);
    refuse(text("0"), CheckpointError::EmptyRoot);
    refuse(format!("{}extension\n", text("3")), CheckpointError::Lines);
    refuse(format!("{}\n", text("3")), CheckpointError::Lines);
    refuse(text("3").trim_end().to_owned(), CheckpointError::Lines);
    refuse(format!("{ORIGIN}\n3\n"), CheckpointError::Lines);
    refuse(text("3").replace("vault", "vault "), CheckpointError::Origin);
    refuse(text("3").replace("vault", "vault+"), CheckpointError::Origin);
    refuse(text("3").replace(ORIGIN, ""), CheckpointError::Origin);
    // Foreign logs may extend and name themselves freely.
    let foreign = format!("go.sum database tree\n3\n{root}\nx\ny\n");
    let (point, extensions) = Checkpoint::parse_foreign(&foreign).unwrap();
    assert_eq!((point.size, extensions), (TreeSize(3), vec!["x", "y"]));
    assert!(Checkpoint::parse_foreign(&format!("o\n3\n{root}\n\nx\n")).is_err());
    assert!(Checkpoint::parse_foreign(&format!("o\n3\n{root}\n\n")).is_err());
    assert!(Checkpoint::parse_foreign(&format!("\n3\n{root}\n")).is_err());
    // The key must carry the origin's name.
    let stranger = signer("mallory.example", Algorithm::Ed25519, 1);
    assert_eq!(checkpoint(3).sign(&[&stranger]), Err(CheckpointError::KeyName));
    let note = note::sign(&text("3"), &[&stranger]).unwrap();
    let opened = Checkpoint::open(note.as_bytes(), stranger.verifier());
    assert_eq!(opened, Err(CheckpointError::KeyName));
}

/// Attack 33: two signed trees of one size.
#[test]
fn equivocation_is_seen() {
    let one = checkpoint(3);
    let other = Checkpoint { root: Hash32([8; 32]), ..one.clone() };
    assert!(one.contradicts(&other));
    assert!(!one.contradicts(&one.clone()));
    assert!(!one.contradicts(&checkpoint(4)));
    assert!(!one.contradicts(&Checkpoint { origin: "o".to_owned(), ..other }));
}

/// Log 1 with two witness groups: two of w2, w3, w4 and w5.
fn trust_text() -> String {
    let mut text = format!("# pinned\n\nlog {} https://vault.example\n", log(1).verifier());
    for seed in 2..=5 {
        text.push_str(&format!("\twitness\tW{seed} {}\n", witness(seed).verifier()));
    }
    text.push_str("group near 2 W2 W3 W4\ngroup both all near W5\nquorum both\n");
    text.push_str(&format!("report {}\n", reporter().verifier()));
    text
}

fn cosigned(size: u64, witnesses: &[u8]) -> Vec<u8> {
    let mut note = checkpoint(size).sign(&[&log(1)]).unwrap();
    for seed in witnesses {
        note = note::cosign(note.as_bytes(), &witness(*seed), seconds(u64::from(*seed))).unwrap();
    }
    note.into_bytes()
}

#[test]
fn quorums() {
    let trust = Trust::parse(&trust_text()).unwrap();
    assert_eq!(Trust::parse(&trust.to_string()), Ok(trust.clone()));
    for (witnesses, expect) in [
        (vec![], Err("QUORUM_MISSING")),
        (vec![5], Err("QUORUM_MISSING")),
        (vec![2, 5], Err("QUORUM_MISSING")),
        (vec![2, 2, 5], Err("QUORUM_MISSING")),
        (vec![2, 3, 4], Err("QUORUM_MISSING")),
        (vec![2, 3, 5], Ok(3)),
        (vec![5, 4, 3], Ok(3)),
        (vec![2, 3, 4, 5, 6], Ok(4)),
    ] {
        let opened = trust.open_checkpoint(&cosigned(3, &witnesses));
        let verdict = opened.map(|t| t.witnesses.len()).map_err(|error| error.verdict());
        assert_eq!(verdict, expect, "{witnesses:?}");
    }
    let any = trust_text().replace("quorum both", "group or any both\nquorum or");
    let any = Trust::parse(&any).unwrap();
    assert!(any.open_checkpoint(&cosigned(3, &[2, 3, 5])).is_ok());
    let single = Trust::parse(&trust_text().replace("quorum both", "quorum W3")).unwrap();
    assert!(single.open_checkpoint(&cosigned(3, &[3])).is_ok());
    assert!(single.open_checkpoint(&cosigned(3, &[2])).is_err());
    let none = Trust::of(&[log(1).verifier().clone()], &[]).unwrap();
    let trusted = none.open_checkpoint(&cosigned(3, &[2])).unwrap();
    assert_eq!((trusted.checkpoint, trusted.witnesses), (checkpoint(3), vec![]));
    assert!(none.is_unwitnessed() && !trust.is_unwitnessed());
    // A pinned log speaks for its own origin only.
    let other = signer("other.example", Algorithm::Ed25519, 6);
    let keys = [log(1).verifier().clone(), other.verifier().clone()];
    let two = Trust::of(&keys, &[]).unwrap();
    let note = note::sign(&checkpoint(3).to_string(), &[&other]).unwrap();
    assert_eq!(two.open_checkpoint(note.as_bytes()), Err(TrustError::UntrustedKey));
}

#[test]
fn trust_files_that_are_refused() {
    let text = trust_text();
    let refuse = |text: &str, line: usize, fault: TrustFault| {
        let error = Trust::parse(text).unwrap_err();
        assert_eq!((error.line, error.fault), (line, fault), "{text}");
    };
    let add = |line: &str| format!("{text}{line}\n");
    let log_vkey = log(1).verifier().to_string();
    refuse("", 0, TrustFault::File);
    refuse(text.trim_end(), 0, TrustFault::File);
    refuse("# nothing\n", 0, TrustFault::Quorum);
    refuse(&add("quorum none"), 12, TrustFault::Quorum);
    refuse(&add("quorum"), 12, TrustFault::Syntax);
    refuse(&add("witnes x y"), 12, TrustFault::Syntax);
    refuse(&add("until 00"), 12, TrustFault::Syntax);
    refuse(&add("# \r"), 12, TrustFault::Control);
    refuse(&add("#\u{7f}"), 12, TrustFault::Control);
    refuse(&add(&format!("log {log_vkey}")), 12, TrustFault::DuplicateKey);
    refuse(&add(&format!("report {log_vkey}")), 12, TrustFault::DuplicateKey);
    let same = signer("w9.example", Algorithm::CosignatureV1, 1).verifier().to_string();
    refuse(&add(&format!("witness W9 {same}")), 12, TrustFault::DuplicateKey);
    let vkey = witness(7).verifier().to_string();
    refuse(&add(&format!("log {vkey}")), 12, TrustFault::Algorithm);
    refuse(&add(&format!("report {vkey}")), 12, TrustFault::Algorithm);
    refuse(&add(&format!("witness W7 {}", log(7).verifier())), 12, TrustFault::Algorithm);
    refuse(&add(&format!("witness W2 {vkey}")), 12, TrustFault::DuplicateName);
    refuse(&add(&format!("witness near {vkey}")), 12, TrustFault::DuplicateName);
    refuse(&add(&format!("witness none {vkey}")), 12, TrustFault::DuplicateName);
    refuse(&add("group g any none"), 12, TrustFault::Undefined);
    refuse(&add("group g any g"), 12, TrustFault::Undefined);
    refuse(&add("group g any W2"), 12, TrustFault::MemberTwice);
    refuse(&add("group g 2 both both"), 12, TrustFault::MemberTwice);
    for threshold in ["0", "2", "01", "-1", "some", "+1"] {
        refuse(&add(&format!("group g {threshold} both")), 12, TrustFault::Threshold);
    }
    refuse(&add("group g all"), 12, TrustFault::Threshold);
    refuse(&text.replace("quorum both", "quorum nobody"), 10, TrustFault::Undefined);
    refuse("quorum later\n", 1, TrustFault::Undefined);
    refuse(&add("until 00000000 5"), 12, TrustFault::Undefined);
    let id = chancery::base::id::hex(&log(1).verifier().id());
    refuse(&add(&format!("until {id} 05")), 12, TrustFault::Until);
    refuse(&add(&format!("until {id} 5\nuntil {id} 6")), 13, TrustFault::Until);
    assert!(matches!(
        Trust::parse(&add("log x+00000000+AAAA")).unwrap_err().fault,
        TrustFault::Vkey(_)
    ));
}

/// Attack 36: retired keys, rolls that one side alone signed, rolls of strangers.
#[test]
fn key_rolls() {
    let (old, new) = (log(1), log(7));
    let pinned = Trust::of(&[old.verifier().clone()], &[]).unwrap();
    let note_of = |size: u64, signers: &[&Signer]| checkpoint(size).sign(signers).unwrap();
    let verdict = |trust: &Trust, note: &str| {
        trust.open_checkpoint(note.as_bytes()).map(|_| ()).map_err(|error| error.verdict())
    };
    assert_eq!(verdict(&pinned, &note_of(5, &[&new])), Err("UNTRUSTED_KEY"));

    let roll = KeyRoll::sign(&old, &new, TreeSize(100)).unwrap();
    let mut rolled = pinned.clone();
    assert_eq!(rolled.roll(roll.as_bytes()).unwrap().until, TreeSize(100));
    assert_eq!(verdict(&rolled, &note_of(100, &[&old])), Ok(()));
    assert_eq!(verdict(&rolled, &note_of(101, &[&old])), Err("KEY_RETIRED"));
    assert_eq!(verdict(&rolled, &note_of(101, &[&old, &new])), Ok(()));
    assert_eq!(verdict(&rolled, &note_of(101, &[&new])), Ok(()));
    assert_eq!(Trust::parse(&rolled.to_string()), Ok(rolled.clone()));
    // Again: nothing changes. A retired key cannot extend itself, nor name another successor, nor
    // shorten the time in which it was good.
    let before = rolled.clone();
    assert!(rolled.roll(roll.as_bytes()).is_ok());
    assert_eq!(rolled, before);
    for (to, until) in [(8, 200), (8, 100), (8, 50), (7, 200), (7, 50)] {
        let again = KeyRoll::sign(&old, &log(to), TreeSize(until)).unwrap();
        let refused = rolled.roll(again.as_bytes());
        assert_eq!(refused, Err(TrustError::KeyRetired { until: TreeSize(100) }));
        assert_eq!(rolled, before);
    }
    let next = KeyRoll::sign(&new, &log(8), TreeSize(300)).unwrap();
    assert!(rolled.roll(next.as_bytes()).is_ok());
    assert_eq!(verdict(&rolled, &note_of(301, &[&new])), Err("KEY_RETIRED"));
    assert_eq!(verdict(&rolled, &note_of(301, &[&log(8)])), Ok(()));

    // Not cross-signed.
    let text = Note::parse(roll.as_bytes()).unwrap().text;
    for signers in [[&old], [&new]] {
        let half = note::sign(&text, &signers).unwrap();
        let mut trust = pinned.clone();
        assert_eq!(trust.roll(half.as_bytes()).unwrap_err().verdict(), "UNTRUSTED_KEY");
        assert_eq!(trust, pinned);
    }
    // Between strangers, to another name, to itself.
    let strangers = KeyRoll::sign(&log(8), &new, TreeSize(100)).unwrap();
    assert_eq!(pinned.clone().roll(strangers.as_bytes()), Err(TrustError::UntrustedKey));
    assert!(KeyRoll::sign(&old, &reporter(), TreeSize(100)).is_err());
    assert!(KeyRoll::sign(&old, &old, TreeSize(100)).is_err());
    assert!(KeyRoll::sign(&old, &witness(2), TreeSize(100)).is_err());
    // A key that has another role cannot become the log's.
    let same_key = signer("vault.example/reports", Algorithm::Ed25519, 7);
    let mut roles = Trust::of(&[old.verifier().clone()], &[same_key.verifier().clone()]).unwrap();
    assert_eq!(roles.roll(roll.as_bytes()), Err(TrustError::UntrustedKey));
    // A roll is no checkpoint, though the log key signed it.
    assert_eq!(verdict(&rolled, &roll), Err("MALFORMED"));
}

/// Attack 37: reports as checkpoints and the other way round.
#[test]
fn reports_and_checkpoints_do_not_mix() {
    let trust = Trust::of(&[log(1).verifier().clone()], &[reporter().verifier().clone()]).unwrap();
    let text = "vault.example/erasure-receipt/v1\ntenant 00  erasure 01\nrequested 1\n";
    let report = note::sign(text, &[&reporter()]).unwrap();
    let point = checkpoint(3).sign(&[&log(1)]).unwrap();
    assert_eq!(trust.open_report(report.as_bytes()).unwrap().text, text);
    assert!(trust.open_checkpoint(point.as_bytes()).is_ok());
    assert_eq!(trust.open_checkpoint(report.as_bytes()), Err(TrustError::UntrustedKey));
    assert_eq!(trust.open_report(point.as_bytes()), Err(TrustError::UntrustedKey));
    // Even if a key was misused.
    let misused = note::sign(text, &[&log(1)]).unwrap();
    let verdict = trust.open_checkpoint(misused.as_bytes()).unwrap_err();
    assert_eq!(verdict, TrustError::Malformed(CheckpointError::Size));
    let misused = note::sign(&checkpoint(3).to_string(), &[&reporter()]).unwrap();
    assert_eq!(trust.open_report(misused.as_bytes()).unwrap_err().verdict(), "MALFORMED");
    // A report key named as the origin and pinned as such is still no log key.
    let named = signer(ORIGIN, Algorithm::Ed25519, 9);
    let trust = Trust::of(&[log(1).verifier().clone()], &[named.verifier().clone()]).unwrap();
    let forged = checkpoint(3).sign(&[&named]).unwrap();
    assert_eq!(trust.open_checkpoint(forged.as_bytes()), Err(TrustError::UntrustedKey));
}

#[test]
fn a_bad_signature_of_any_pinned_key_is_named() {
    let trust = Trust::parse(&trust_text()).unwrap();
    let good = cosigned(3, &[2, 3, 5]);
    for position in 0..4 {
        let mut note = Note::parse(&good).unwrap();
        note.signatures[position].blob[20] ^= 1;
        let name = note.signatures[position].name.clone();
        let verdict = trust.open_checkpoint(note.to_string().as_bytes()).unwrap_err();
        assert_eq!(verdict, TrustError::BadSignature { name });
    }
    assert_eq!(trust.open_checkpoint(b"x").unwrap_err().verdict(), "MALFORMED");
}

/// A log of two entries, proved and opened offline; then every byte of the file is bent.
#[test]
fn proof_files() {
    let entries = [b"first".as_slice(), b"second"];
    let leaves = entries.map(leaf_hash);
    let root = node_hash(&leaves[0], &leaves[1]);
    let point = Checkpoint { origin: ORIGIN.to_owned(), size: TreeSize(2), root };
    let proof = TlogProof {
        index: EntryIndex(1),
        proof: vec![leaves[0]],
        checkpoint: point.sign(&[&log(1)]).unwrap(),
        extra: Some(entries[1].to_vec()),
    };
    let text = proof.to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra c2Vjb25k\nindex 1\n"));
    assert_eq!(TlogProof::parse(text.as_bytes()), Ok(proof.clone()));
    let trust = Trust::of(&[log(1).verifier().clone()], &[]).unwrap();
    let (trusted, entry) = proof.open(&trust).unwrap();
    assert_eq!((trusted.checkpoint, entry), (point.clone(), entries[1]));
    assert_eq!(proof.verify(&leaves[1], &point), Ok(()));
    let wrong = Err(TlogProofError::Inclusion(ProofError::Root));
    assert_eq!(proof.verify(&leaves[0], &point), wrong);
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let opened = TlogProof::parse(&bytes).and_then(|proof| proof.open(&trust).map(|_| ()));
        assert!(opened.is_err(), "byte {at}");
    }
    let bare = TlogProof { extra: None, ..proof.clone() };
    assert_eq!(TlogProof::parse(bare.to_string().as_bytes()), Ok(bare.clone()));
    assert_eq!(bare.open(&trust).map(|_| ()), Err(TlogProofError::NoEntry));

    let refuse = |from: &str, to: &str, expect: TlogProofError| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        assert_eq!(TlogProof::parse(changed.as_bytes()), Err(expect), "{to:?}");
    };
    refuse("@v1", "@v2", TlogProofError::Magic);
    refuse("extra c2Vjb25k", "extra ", TlogProofError::Extra);
    refuse("extra c2Vjb25k", "extra c2Vjb25", TlogProofError::Extra);
    refuse("index 1", "index 01", TlogProofError::Index);
    refuse("index 1", "Index 1", TlogProofError::Index);
    refuse("index 1\n", "", TlogProofError::Index);
    refuse("index 1\n", "index 1\r\n", TlogProofError::Index);
    refuse("=\n\n", "=\n", TlogProofError::Hash { number: 2 });
    refuse("=\n\n", "\n\n", TlogProofError::Hash { number: 1 });
    let checkpoint_lost = text.split_once("\n\n").unwrap().0.to_owned() + "\n\n";
    let lost = TlogProof::parse(checkpoint_lost.as_bytes());
    assert_eq!(lost, Err(TlogProofError::Checkpoint(NoteError::NoSignatures)));
    let tall = TlogProof { proof: vec![leaves[0]; 63], ..proof.clone() };
    assert_eq!(TlogProof::parse(tall.to_string().as_bytes()), Ok(tall));
    let taller = TlogProof { proof: vec![leaves[0]; 64], ..proof };
    let refused = TlogProof::parse(taller.to_string().as_bytes());
    assert_eq!(refused, Err(TlogProofError::Hash { number: 64 }));
}

fn any_text() -> impl Strategy<Value = String> {
    "[a-z0-9+ \u{2014}\u{e9}\n]{0,80}".prop_map(|text| text + "\n")
}

proptest! {
    #[test]
    fn notes_round_trip(text in any_text(), seeds in prop::collection::vec(1u8..9, 1..5)) {
        let signers: Vec<Signer> = seeds.iter().map(|seed| log(*seed)).collect();
        let note = note::sign(&text, &signers.iter().collect::<Vec<_>>()).unwrap();
        prop_assert_eq!(Note::parse(note.as_bytes()).unwrap().to_string(), note.clone());
        let opened = note::open(note.as_bytes(), &[signers[0].verifier().clone()]).unwrap();
        prop_assert_eq!(opened.text, text);
    }

    /// One changed byte anywhere: refused, or changed only in lines of unknown keys.
    #[test]
    fn a_changed_note_is_not_believed(at in 0usize..400, bit in 0u8..8) {
        let note = checkpoint(3).sign(&[&log(1)]).unwrap();
        let mut bytes = note.into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert!(note::open(&bytes, &[log(1).verifier().clone()]).is_err());
    }

    #[test]
    fn checkpoints_round_trip(size in 1u64..1 << 63, root in any::<[u8; 32]>()) {
        let point =
            Checkpoint { origin: ORIGIN.to_owned(), size: TreeSize(size), root: Hash32(root) };
        prop_assert_eq!(Checkpoint::parse(&point.to_string()), Ok(point.clone()));
        let (foreign, extensions) = Checkpoint::parse_foreign(&point.to_string()).map(
            |(point, extensions)| (point, extensions.len())).unwrap();
        prop_assert_eq!((foreign, extensions), (point.clone(), 0));
    }

    #[test]
    fn tile_paths_round_trip(level in 0u8..64, number in any::<u64>(), width in 1u16..=256) {
        for level in [TileLevel::Entries, TileLevel::Hashes(level)] {
            let path = TilePath { level, number, width };
            prop_assert_eq!(TilePath::parse(&path.to_string()), Some(path));
        }
    }

    /// The last tile of a level is admitted; every other width there and the next tile are not.
    #[test]
    fn one_last_tile(level in 0u8..8, size in any::<u64>(), width in 1u16..=256) {
        if let Some(last) = TilePath::last(TileLevel::Hashes(level), TreeSize(size)) {
            prop_assert!(last.admits(TreeSize(size)));
            let other = TilePath { width, ..last };
            prop_assert_eq!(other.admits(TreeSize(size)), width == last.width);
            let next = TilePath { number: last.number + 1, width, ..last };
            prop_assert!(!next.admits(TreeSize(size)));
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let trust = Trust::parse(&trust_text()).unwrap();
        let _ = Note::parse(&bytes);
        let _ = TlogProof::parse(&bytes);
        let _ = KeyRoll::open(&bytes);
        let _ = decode_entries(&bytes, 3);
        prop_assert!(trust.open_checkpoint(&bytes).is_err());
        prop_assert!(trust.open_report(&bytes).is_err());
        let text = String::from_utf8_lossy(&bytes);
        let _ = Checkpoint::parse(&text);
        let _ = Checkpoint::parse_foreign(&text);
        let _ = Verifier::parse(&text);
        let _ = TilePath::parse(&text);
        let _ = Trust::parse(&text);
    }

    /// Texts that get past the first tests of each grammar.
    #[test]
    fn any_lines_are_answered(lines in prop::collection::vec(prop_oneof![
        Just(String::new()),
        Just("c2sp.org/tlog-proof@v1".to_owned()),
        Just("extra AAAA".to_owned()),
        Just("index 3".to_owned()),
        Just("quorum none".to_owned()),
        Just("group a 1 b".to_owned()),
        Just("until 00000000 1".to_owned()),
        Just(format!("log {}", log(1).verifier())),
        Just(format!("witness b {}", witness(2).verifier())),
        Just("AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=".to_owned()),
        Just("\u{2014} a AAAAAAAA".to_owned()),
        "[0-9]{1,20}",
        "\\PC{0,20}",
    ], 0..10)) {
        let text = lines.join("\n") + "\n";
        if let Ok(note) = Note::parse(text.as_bytes()) {
            prop_assert_eq!(note.to_string(), text.clone());
        }
        if let Ok(proof) = TlogProof::parse(text.as_bytes()) {
            prop_assert_eq!(proof.to_string(), text.clone());
        }
        if let Ok(point) = Checkpoint::parse(&text) {
            prop_assert_eq!(point.to_string(), text.clone());
        }
        if let Ok(trust) = Trust::parse(&text) {
            prop_assert_eq!(Trust::parse(&trust.to_string()), Ok(trust.clone()));
        }
        let _ = Checkpoint::parse_foreign(&text);
        let _ = KeyRoll::open(text.as_bytes());
    }
}

/// Made by this code and, byte for byte, by a Python script on `cryptography`.
const GOLDEN: &str = "\
vault.example/t/00112233445566778899aabbccddeeff
3
AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=

\u{2014} vault.example/t/00112233445566778899aabbccddeeff YSNDuG0QR0Z1QdKkhr+l8b/exf9S/R5bJgdVtcvx\
JKM/FxZAhMBtqXfJ/+CjO2vbTfvOiyfb8Z1ArbR8RRMhw1sEfwE=
vault.example/t/00112233445566778899aabbccddeeff+612343b8+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0\
D29c
";
const GOLDEN_COSIGNATURE: &str = "\
\u{2014} w2.example xWwO5QAAAABq/YbAR3SCC40VWl6K/a/LqrEhvC4b4rFuBbjYRvldI3AUTH+v+AOJVKwcxGHQMAH8difA\
w4d9OgXEUlVF8qbwEj1mDA==
";
