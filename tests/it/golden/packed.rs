//! A packed vault of the vectors: what was packed once is read for ever, by this program and by the
//! second verifier. Another release of a compressor may pack the same bytes otherwise, so the file is
//! never compared with what is packed today; `UPDATE=1` writes it only where it is missing.

use crate::support::artefacts::Artefact;
use crate::support::lives;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

fn hexed(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The vector: files of a packed vault, trust, and the hash of each segment as it lay there plainly.
fn made() -> Value {
    let all = lives::packed(20);
    let [plain, packed] = ["data-plain", "data-packed"]
        .map(|name| all.iter().find(|artefact| artefact.name == name).unwrap());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let files: BTreeMap<&String, String> =
        packed.files.iter().map(|(name, bytes)| (name, hexed(bytes))).collect();
    let segments: BTreeMap<&String, String> = plain
        .files
        .iter()
        .filter(|(name, _)| name.contains("/log/"))
        .map(|(name, bytes)| (name, hexed(&Sha256::digest(bytes))))
        .collect();
    json!({
        "files": files,
        "segments": segments,
        "since": text(packed.since.as_ref().unwrap()),
        "trust": text(packed.trust.as_ref().unwrap()),
    })
}

#[test]
fn a_packed_vault_of_the_vectors_is_still_read() {
    let path = super::home().join("tests/golden/format/packed.json");
    if super::updating() && !path.exists() {
        std::fs::write(&path, format!("{:#}\n", made())).unwrap();
    }
    let stored: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let text = |name: &str| stored[name].as_str().unwrap().as_bytes().to_vec();
    let bytes = |text: &str| -> Vec<u8> {
        let digits = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
        digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
    };
    let files = stored["files"].as_object().unwrap().iter();
    let vault = Artefact {
        name: "packed".to_owned(),
        files: files.map(|(name, hex)| (name.clone(), bytes(hex.as_str().unwrap()))).collect(),
        trust: Some(text("trust")),
        since: Some(text("since")),
    };
    let ends = |ending: &str| vault.files.keys().filter(|name| name.ends_with(ending)).count();
    assert!(ends(".pak") > 1 && ends(".seg") > 5, "packed and plain");
    let said = vault.judge();
    assert_eq!((said.exit, said.verdict.as_str()), (0, "VERIFIED"), "{}", said.text);
    let mut cut = vault.clone();
    let pak = cut.files.iter_mut().find(|(name, _)| name.ends_with(".pak")).unwrap();
    let at = pak.1.len() / 2;
    pak.1[at] ^= 1;
    assert_eq!(cut.judge().exit, 1, "a flipped bit is found");
}
