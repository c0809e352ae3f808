//! Attacks on those who hold only files: changed and replayed disclosures, proofs bent to other
//! places, two views of one log.

use crate::attacks::forge::key;
use crate::attacks::raw::Site;
use crate::support::world::two_people;
use chancery::base::entry::Kind;
use chancery::base::event::Identifier;
use chancery::base::id::Hash32;
use chancery::base::unit::{EntryIndex, TreeSize};
use chancery::format::bundle::Disclosure;
use chancery::format::checkpoint::Checkpoint;
use chancery::format::control;
use chancery::format::trust::Trust;
use chancery::vault::Vault;
use chancery::vault::disclose::verify_disclosure;
use chancery::vault::prove::{verify_consistency, verify_growth, verify_proof};
use chancery::vault::read::Reading;

const FIELDS: [&str; 2] = ["actor.id", "reason"];

/// Index of the event with this source number.
fn event(vault: &Vault, number: u64) -> EntryIndex {
    let all = (0..vault.size().0).map(EntryIndex);
    let numbered = |i: &EntryIndex| vault.entry(*i).unwrap().head.source_seq == Some(number);
    all.filter(numbered).last().unwrap()
}

fn code(text: &str, trust: &Trust) -> &'static str {
    verify_disclosure(text, trust).map(|_| "accepted").unwrap_or_else(|e| e.code())
}

#[test]
fn a_disclosure_is_logged_first_and_verifies_alone() {
    let site = Site::with(2);
    let vault = site.open().unwrap();
    let index = event(&vault, 3);
    let made =
        vault.disclose(index, &FIELDS, "order 4 C 118/26", "district court", "dana").unwrap();
    let found = verify_disclosure(&made.text, &site.trust).unwrap();
    assert_eq!(found.entry.index, index);
    let reason = ("reason".to_owned(), "\"ward round\"".to_owned());
    assert!(found.fields.contains(&reason) && found.fields.len() == 2);
    assert!(found.checkpoint.size.0 > made.recorded.0, "the proof came after the record");
    let open = Reading::OPEN;
    let record = vault.record(made.recorded, open).unwrap();
    assert_eq!(record.entry.head.kind, Kind::Disclose);
    let clear = String::from_utf8(record.entry.head.clear.clone()).unwrap();
    assert!(clear.contains(r#""fields":["actor.id","reason"]"#), "{clear}");
    assert!(!clear.contains("court") && !clear.contains("118"), "{clear}");
    assert_eq!(record.value("disclosure.recipient"), Some(&b"\"district court\""[..]));
    assert_eq!(record.value("disclosure.by"), Some(&b"\"dana\""[..]));
    let size = vault.size();
    let refused = |fields: &[&str], why: &str, who: &str| {
        vault.disclose(index, fields, why, who, "dana").map(|_| "made").unwrap_or_else(|e| e.code())
    };
    assert_eq!(refused(&["no.such"], "a", "b"), "FIELD_UNKNOWN");
    assert_eq!(refused(&[], "a", "b"), "FIELD_UNKNOWN");
    assert_eq!(refused(&FIELDS, " ", "b"), "DISCLOSURE_UNEXPLAINED");
    assert_eq!(refused(&FIELDS, "a", ""), "DISCLOSURE_UNEXPLAINED");
    assert_eq!(vault.size(), size, "nothing was disclosed, nothing was logged");
    let patient = Identifier { kind: "patient_id".into(), value: "p3".into() };
    vault.erase(&[patient], "gdpr-17-1", &two_people()).unwrap();
    assert_eq!(refused(&["targets"], "a", "b"), "FIELD_ERASED");
    // What was disclosed before stays proven: an erasure cannot call it back.
    assert_eq!(code(&made.text, &site.trust), "accepted");
}

#[test]
fn attack_17_a_disclosure_with_a_changed_part() {
    let site = Site::with(2);
    let vault = site.open().unwrap();
    let text = vault.disclose(event(&vault, 3), &FIELDS, "audit", "auditor", "dana").unwrap().text;
    let good: Disclosure = control::decode(text.as_bytes()).unwrap();
    let check = |edit: &dyn Fn(&mut Disclosure), verdict: &str| {
        let mut bad = good.clone();
        edit(&mut bad);
        let text = String::from_utf8(control::encode(&bad).unwrap()).unwrap();
        assert_eq!(code(&text, &site.trust), verdict);
    };
    check(&|_| {}, "accepted");
    let mismatch = "DISCLOSURE_FIELD_MISMATCH";
    check(&|d| d.fields[1].value = "\"rounds ward\"".into(), mismatch);
    check(&|d| d.fields[1].value.push(' '), mismatch);
    check(&|d| d.fields[0].salt.0[31] ^= 1, mismatch);
    check(&|d| d.fields[0].name = "actor.email".into(), mismatch);
    check(&|d| d.fields[0].name = "a".repeat(300), mismatch);
    check(&|d| d.fields[0].group ^= 1, mismatch);
    check(&|d| d.fields.swap(0, 1), mismatch);
    check(&|d| d.fields[1] = d.fields[0].clone(), mismatch);
    check(&|d| d.fields.clear(), "MALFORMED");
    check(&|d| d.format = "chancery/disclosure/v2".into(), "MALFORMED");
    check(&|d| d.proof = d.proof.replacen("index ", "index 1", 1), "PROOF_RANGE");
    let rotated = |d: &mut Disclosure| {
        let extra = d.proof.lines().nth(1).unwrap().to_owned();
        let bent = extra.replacen("extra Q0hFMQA", "extra Q0hFMQE", 1);
        assert_ne!(bent, extra);
        d.proof = d.proof.replacen(&extra, &bent, 1);
    };
    check(&rotated, "PROOF_ROOT");
    for bad in [format!("{text}\n\n"), format!(" {text}"), text.replacen("\"name\"", "\"n\"", 1)] {
        assert_eq!(code(&bad, &site.trust), "MALFORMED");
    }
}

#[test]
fn attack_18_a_disclosure_replayed_for_another_record_tenant_or_log() {
    let (site, other) = (Site::with(2), Site::seeded(2, 2));
    let (vault, foreign) = (site.open().unwrap(), other.open().unwrap());
    let disclose = |vault: &Vault, number: u64| -> Disclosure {
        let made =
            vault.disclose(event(vault, number), &FIELDS, "audit", "auditor", "dana").unwrap();
        control::decode(made.text.as_bytes()).unwrap()
    };
    let (one, two) = (disclose(&vault, 3), disclose(&vault, 6));
    // Both visits have the same nurse and reason; the record id still tells them apart.
    assert_eq!(one.fields[1].value, two.fields[1].value);
    let text = |fields: &Disclosure, proof: &Disclosure| {
        let bundle = Disclosure { proof: proof.proof.clone(), ..fields.clone() };
        String::from_utf8(control::encode(&bundle).unwrap()).unwrap()
    };
    assert_eq!(code(&text(&one, &one), &site.trust), "accepted");
    assert_eq!(code(&text(&one, &two), &site.trust), "DISCLOSURE_FIELD_MISMATCH");
    let third = disclose(&foreign, 3);
    assert_eq!(code(&text(&third, &third), &site.trust), "UNTRUSTED_KEY");
    assert_eq!(code(&text(&one, &one), &other.trust), "UNTRUSTED_KEY");
    let both = [site.trust.logs()[0].verifier.clone(), other.trust.logs()[0].verifier.clone()];
    let both = Trust::of(&both, &[]).unwrap();
    assert_eq!(code(&text(&one, &third), &both), "DISCLOSURE_FIELD_MISMATCH");
}

#[test]
fn every_entry_is_proven_and_a_bent_proof_is_not() {
    let site = Site::with(3);
    let vault = site.open().unwrap();
    for index in 0..vault.size().0 {
        let text = vault.prove(EntryIndex(index)).unwrap();
        let proved = verify_proof(&text, &site.trust).unwrap();
        assert_eq!(proved.entry, vault.entry(EntryIndex(index)).unwrap());
        for bent in [
            text.replacen(&format!("index {index}"), &format!("index {}", index + 1), 1),
            text.replacen("extra Q0hFMQ", "extra Q0hFMg", 1),
            text.replacen("\n\n", "\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n", 1),
        ] {
            assert!(verify_proof(&bent, &site.trust).is_err(), "entry {index}");
        }
    }
    assert_eq!(vault.prove(EntryIndex(999)).unwrap_err().code(), "ENTRY_UNKNOWN");
    assert_eq!(verify_proof("", &site.trust).unwrap_err().code(), "MALFORMED");
    // An entry of one log, rightly signed into another: the tenant says so.
    let foreign = Site::seeded(2, 1);
    let bytes = foreign.open().unwrap().entry_bytes(EntryIndex(0)).unwrap();
    let origin = site.trust.logs()[0].verifier.name().to_owned();
    let signer = key(&origin, 8);
    let root = chancery::crypto::hash::leaf_hash(&bytes);
    let checkpoint = Checkpoint { origin, size: TreeSize(1), root }.sign(&[&signer]).unwrap();
    let (index, extra) = (EntryIndex(0), Some(bytes));
    let proof = chancery::format::proof::TlogProof { index, proof: Vec::new(), checkpoint, extra };
    let trust = Trust::of(&[signer.verifier().clone()], &[]).unwrap();
    let error = verify_proof(&proof.to_string(), &trust).unwrap_err();
    assert_eq!(error.code(), "TENANT_MISMATCH");
}

#[test]
fn attack_33_two_views_of_one_log() {
    let site = Site::with(2);
    let before = site.checkpoint();
    let vault = site.open().unwrap();
    let old = vault.size();
    site.append(&vault, 11, 3);
    let growth = vault.prove_growth(old).unwrap();
    let grown = verify_growth(before.as_bytes(), &growth, &site.trust).unwrap();
    assert_eq!((grown.old.size, grown.new.size), (old, vault.size()));
    let after = vault.checkpoint().unwrap();
    let proof = vault.prove_consistency(old).unwrap();
    let check = |old: &str, new: &str, proof: &[Hash32], trust: &Trust| {
        let found = verify_consistency(old.as_bytes(), new.as_bytes(), proof, trust);
        found.map(|_| "grown").unwrap_or_else(|e| e.code())
    };
    assert_eq!(check(&before, &after, &proof, &site.trust), "grown");
    assert_eq!(check(&after, &before, &proof, &site.trust), "ROLLED_BACK");
    assert_eq!(check(&before, &after, &proof[1..], &site.trust), "INCONSISTENT");
    let bent = growth.replacen(&format!("old {old}"), "old 1", 1);
    let error = verify_growth(before.as_bytes(), &bent, &site.trust).unwrap_err();
    assert_eq!(error.code(), "INCONSISTENT");
    // A stolen key signs a second history of the same size, and one of another.
    let origin = "vault.example/t/00".to_owned();
    let signer = key(&origin, 8);
    let trust = Trust::of(&[signer.verifier().clone()], &[]).unwrap();
    let note = |size: u64, root: u8| {
        let (size, root) = (TreeSize(size), Hash32([root; 32]));
        Checkpoint { origin: origin.clone(), size, root }.sign(&[&signer]).unwrap()
    };
    assert_eq!(check(&note(9, 1), &note(9, 2), &[], &trust), "EQUIVOCATION");
    assert_eq!(check(&note(9, 1), &note(9, 1), &[], &trust), "grown");
    assert_eq!(check(&note(8, 1), &note(9, 2), &[Hash32([3; 32])], &trust), "INCONSISTENT");
}
