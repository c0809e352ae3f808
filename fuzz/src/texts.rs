//! Decoders of text formats: notes and all that lies in them, proofs, trust, payloads, bundles.
//! The pinned keys are those of the golden vectors, so that their artefacts verify here.

use chancery::base::id::TenantId;
use chancery::base::secret::Key;
use chancery::crypto::sign::SigningKey;
use chancery::format::bundle::Disclosure;
use chancery::format::checkpoint::Checkpoint;
use chancery::format::control::{self as controls, Conflict, Disclose, EraseDone, EraseIntent};
use chancery::format::control::{Config, EraseFinal, Genesis, HoldRelease, HoldSet, PruneDone};
use chancery::format::control::{PruneIntent, Scan};
use chancery::format::note::{self as notes, Note};
use chancery::format::proof::TlogProof;
use chancery::format::roll::KeyRoll;
use chancery::format::seal::payload::{DaySealPayload, SealPayload};
use chancery::format::tile::TilePath;
use chancery::format::trust::Trust;
use chancery::format::vkey::{Algorithm, Signer, Verifier};
use chancery::report::manifest::Manifest;
use chancery::vault::config::VaultFile;
use chancery::vault::disclose::verify_disclosure;
use chancery::vault::prove::{verify_growth, verify_proof};
use chancery::vault::receipt::Ledger;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::OnceLock;

const TENANT: TenantId = TenantId([0x11; 16]);

/// Whose artefacts are believed.
struct Pinned {
    trust: Trust,
    log: Signer,
    report: Signer,
    file: VaultFile,
}

fn pinned() -> &'static Pinned {
    static PINNED: OnceLock<Pinned> = OnceLock::new();
    PINNED.get_or_init(|| {
        let file = VaultFile::new("vault.example", TENANT);
        let signer = |name: &str, seed: u8| {
            let key = SigningKey::new(&Key::new([seed; 32]));
            Signer::new(name, Algorithm::Ed25519, key).expect("a key name")
        };
        let log = signer(&file.origin(), 0x51);
        let report = signer(&file.report_name(), 0x52);
        let (logs, reports) = ([log.verifier().clone()], [report.verifier().clone()]);
        let trust = Trust::of(&logs, &reports).expect("two keys");
        Pinned { trust, log, report, file }
    })
}

/// The trust of everything the golden vectors' keys sign.
pub fn pinned_trust() -> &'static Trust {
    &pinned().trust
}

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// A signed note: by grammar alone, then against pinned keys.
pub fn note(data: &[u8]) -> bool {
    let Ok(note) = Note::parse(data) else {
        assert!(notes::open(data, pinned().trust.reports()).is_err());
        return false;
    };
    assert_eq!(note.to_string().as_bytes(), data);
    if let Ok(opened) = notes::open(data, &[pinned().log.verifier().clone()]) {
        assert_eq!(opened.text, note.text);
        assert!(opened.signed_by(pinned().log.verifier()));
    }
    true
}

/// Text of a checkpoint, ours and foreign ones, and a whole one against pinned trust.
pub fn checkpoint(data: &[u8]) -> bool {
    let signed = pinned().trust.open_checkpoint(data);
    if let Ok(trusted) = &signed {
        assert_eq!(trusted.checkpoint.origin, pinned().file.origin());
    }
    let Some(text) = text(data) else { return false };
    if let Ok(ours) = Checkpoint::parse(text) {
        assert_eq!(ours.to_string(), text);
        let (foreign, more) = Checkpoint::parse_foreign(text).expect("ours is one of all");
        assert!(foreign == ours && more.is_empty());
        return true;
    }
    signed.is_ok() || Checkpoint::parse_foreign(text).is_ok()
}

/// A trust policy: printed and read again it is the same.
pub fn trust(data: &[u8]) -> bool {
    let Some(Ok(trust)) = text(data).map(Trust::parse) else { return false };
    let printed = trust.to_string();
    let again = Trust::parse(&printed).expect("what was read can be written");
    assert_eq!(again.to_string(), printed);
    true
}

/// A verifier key.
pub fn vkey(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    let Ok(key) = Verifier::parse(text) else { return false };
    assert_eq!(key.to_string(), text);
    true
}

/// A proof file. What verifies is of this log and tenant, and is the text that a prover writes.
pub fn proof(data: &[u8]) -> bool {
    let parsed = TlogProof::parse(data);
    if let Ok(proof) = &parsed {
        assert_eq!(proof.to_string().as_bytes(), data);
    }
    if let Some(Ok(proved)) = text(data).map(|text| verify_proof(text, &pinned().trust)) {
        assert_eq!(proved.checkpoint.origin, pinned().file.origin());
        assert_eq!(proved.entry.head.tenant, TENANT);
        assert!(proved.entry.index.0 < proved.checkpoint.size.0);
        assert!(parsed.is_ok());
    }
    parsed.is_ok()
}

/// A key roll.
pub fn roll(data: &[u8]) -> bool {
    let Ok(roll) = KeyRoll::open(data) else { return false };
    let note = Note::parse(data).expect("an opened roll is a note");
    assert_eq!(roll.to_string(), note.text);
    let mut trust = pinned().trust.clone();
    if trust.roll(data).is_ok() {
        assert_eq!(roll.old.to_string(), pinned().log.verifier().to_string());
    }
    true
}

/// A disclosure bundle.
pub fn disclosure(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    let bundle: Result<Disclosure, _> = controls::decode(data);
    match verify_disclosure(text, &pinned().trust) {
        Ok(told) => {
            assert_eq!(told.checkpoint.origin, pinned().file.origin());
            assert!(!told.fields.is_empty());
            true
        }
        Err(_) => bundle.is_ok(),
    }
}

/// A consistency proof of pinned trust, after an older checkpoint: the two divided by a NUL.
pub fn growth(data: &[u8]) -> bool {
    let Some(cut) = data.iter().position(|byte| *byte == 0) else { return false };
    let (old, rest) = data.split_at(cut);
    let Some(text) = rest.get(1..).and_then(text) else { return false };
    let Ok(grown) = verify_growth(old, text, &pinned().trust) else { return false };
    assert!(grown.old.size <= grown.new.size);
    assert!(grown.old.size != grown.new.size || grown.old.root == grown.new.root);
    true
}

/// An erasure ledger.
pub fn ledger(data: &[u8]) -> bool {
    let Some(body) = text(data) else { return false };
    let Pinned { report, file, .. } = pinned();
    let key = report.verifier();
    if Ledger::open(body, key, file).is_ok() {
        return true;
    }
    // Unsigned texts are signed here: the lines behind the signature are what is read.
    notes::sign(body, &[report]).is_ok_and(|signed| Ledger::open(&signed, key, file).is_ok())
}

/// The manifest of a report.
pub fn manifest(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    let Ok(manifest) = Manifest::parse(text) else { return false };
    assert_eq!(manifest.text(), text);
    true
}

/// Payloads of seals.
pub fn seal(data: &[u8]) -> bool {
    let seal = SealPayload::decode(data);
    if let Ok(seal) = &seal {
        assert_eq!(seal.encode(), data);
        assert!(seal.check(seal).is_ok() && seal.t_first <= seal.t_last);
    }
    let day = DaySealPayload::decode(data);
    if let Ok(day) = &day {
        assert_eq!(day.encode(), data);
    }
    seal.is_ok() || day.is_ok()
}

fn payload<T: Serialize + DeserializeOwned + PartialEq>(data: &[u8]) -> bool {
    let Ok(value) = controls::decode::<T>(data) else { return false };
    assert_eq!(controls::encode(&value).expect("what was read can be written"), data);
    true
}

/// Payloads of the vault's own entries: every kind is tried.
pub fn control(data: &[u8]) -> bool {
    let accepted = [
        payload::<Genesis>(data),
        payload::<EraseIntent>(data),
        payload::<EraseDone>(data),
        payload::<EraseFinal>(data),
        payload::<PruneIntent>(data),
        payload::<PruneDone>(data),
        payload::<controls::KeyRoll>(data),
        payload::<HoldSet>(data),
        payload::<HoldRelease>(data),
        payload::<Disclose>(data),
        payload::<Config>(data),
        payload::<Conflict>(data),
        payload::<Scan>(data),
    ];
    accepted.contains(&true)
}

/// The name of a tile.
pub fn tile_path(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    let Some(path) = TilePath::parse(text) else { return false };
    assert_eq!(path.to_string(), text);
    assert!((1..=256).contains(&path.width));
    true
}
