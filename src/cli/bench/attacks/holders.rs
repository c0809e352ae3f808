//! Attacks on those who hold only files: changed and replayed disclosures, two views of one log,
//! notes of one kind shown as another, texts that bend the grammar, weak keys.

use crate::base::id::Hash32;
use crate::base::unit::TreeSize;
use crate::cli::bench::attacks::Found;
use crate::cli::bench::attacks::forge::key;
use crate::cli::bench::attacks::ground::{Ground, event, patient, two_people};
use crate::format::bundle::Disclosure;
use crate::format::checkpoint::Checkpoint;
use crate::format::control;
use crate::format::trust::Trust;
use crate::vault::Vault;
use crate::vault::disclose::verify_disclosure;
use crate::vault::prove::verify_consistency;
use anyhow::{Context, Result, anyhow, ensure};
use std::path::Path;

const FIELDS: [&str; 2] = ["actor.id", "reason"];

fn disclose(vault: &Vault, number: u64) -> Result<Disclosure> {
    let made = vault.disclose(event(vault, number)?, &FIELDS, "order 4 C 118", "court", "clerk")?;
    Ok(control::decode(made.text.as_bytes())?)
}

fn judged(bundle: &Disclosure, trust: &Trust) -> Result<Found> {
    let text = String::from_utf8(control::encode(bundle)?)?;
    let found = verify_disclosure(&text, trust);
    Ok(Found(found.map_or_else(|e| e.code().to_owned(), |_| "VERIFIED".to_owned())))
}

/// 17: a disclosure with another value, salt, name or group.
pub(crate) fn changed(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 2)?;
    let vault = ground.open()?;
    let good = disclose(&vault, 3)?;
    let found = judged(&good, &ground.trust)?;
    ensure!(found.is("VERIFIED"), "as it is: {found:?}");
    type Edit = fn(&mut crate::format::bundle::Disclosed);
    let edits: [Edit; 4] = [
        |field| field.value.push(' '),
        |field| field.salt.0 = Hash32::ZERO.0,
        |field| field.name = "actor.email".into(),
        |field| field.group ^= 1,
    ];
    let mut last = Found::default();
    for (number, edit) in edits.iter().enumerate() {
        let mut bad = good.clone();
        edit(bad.fields.first_mut().context("a field")?);
        last = judged(&bad, &ground.trust)?;
        ensure!(last.is("DISCLOSURE_FIELD_MISMATCH"), "edit {number}: {last:?}");
    }
    Ok(last)
}

/// 18: a disclosure replayed for another record, and under another log's trust.
pub(crate) fn replayed(dir: &Path) -> Result<Found> {
    let ground = Ground::new(&dir.join("one"), 2)?;
    let other = Ground::new(&dir.join("other"), 1)?;
    let vault = ground.open()?;
    let (one, two) = (disclose(&vault, 3)?, disclose(&vault, 6)?);
    let mixed = Disclosure { proof: two.proof.clone(), ..one.clone() };
    let record = judged(&mixed, &ground.trust)?;
    let log = judged(&one, &other.trust)?;
    Ok(Found(format!("{} {}", record.0, log.0)))
}

/// 33: two checkpoints of one size and different roots, both validly signed.
pub(crate) fn two_views(dir: &Path) -> Result<Found> {
    let _ = dir;
    let origin = "attacks.local/t/00".to_owned();
    let signer = key(&origin, 8)?;
    let trust = Trust::of(&[signer.verifier().clone()], &[]).map_err(|e| anyhow!("{e}"))?;
    let note = |root: u8| -> Result<String> {
        let (origin, size, root) = (origin.clone(), TreeSize(9), Hash32([root; 32]));
        Checkpoint { origin, size, root }.sign(&[&signer]).map_err(|e| anyhow!("{e}"))
    };
    let found = verify_consistency(note(1)?.as_bytes(), note(2)?.as_bytes(), &[], &trust);
    Ok(Found(found.map_or_else(|e| e.code().to_owned(), |_| "VERIFIED".to_owned())))
}

/// 34: a checkpoint whose grammar is bent; every form must be refused.
pub(crate) fn grammar(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 1)?;
    let good = ground.checkpoint()?;
    let open = |note: &str| ground.trust.open_checkpoint(note.as_bytes()).map(|_| ());
    ensure!(open(&good).is_ok(), "as it is");
    let mut lines = good.lines();
    let (origin, size) = (lines.next().context("origin")?, lines.next().context("size")?);
    let signature = good.lines().last().context("a signature")?;
    let broken = signature.replacen('A', "B", 1);
    let bent = [
        good.replace('\n', "\r\n"),
        good.trim_end().to_owned(),
        good.replacen(size, &format!("0{size}"), 1),
        good.replacen("\n\n", "\nextension\n\n", 1),
        good.replacen(origin, &format!("{origin}+x"), 1),
        good.replacen("\n\n", "\n\n\n", 1),
        format!("{good}{}\n", broken.replacen("\u{2014} ", "\u{2014}  ", 1)),
        good.replacen("=\n", "\n", 1),
        format!(" {good}"),
        String::new(),
    ];
    for (case, note) in bent.iter().enumerate() {
        ensure!(note != &good && open(note).is_err(), "case {case} was accepted: {note:?}");
    }
    // A line nobody here knows is ignored; a known key's bad signature is not.
    let stranger = key("stranger.example/log", 9)?;
    let (text, _) = good.split_once("\n\n").context("text")?;
    let theirs = crate::format::note::sign(&format!("{text}\n"), &[&stranger])
        .map_err(|e| anyhow!("{e}"))?;
    let line = theirs.lines().last().context("their line")?;
    ensure!(open(&format!("{good}{line}\n")).is_ok(), "an unknown signer is ignored");
    Ok(Found("note refused".to_owned()))
}

/// 35: a key of low order enrolled.
pub(crate) fn weak_key(dir: &Path) -> Result<Found> {
    let _ = dir;
    // The point of order one: every signature check with it can be satisfied by anybody.
    let mut point = [0u8; 32];
    if let Some(first) = point.first_mut() {
        *first = 1;
    }
    let found = crate::crypto::sign::PublicKey::enrol(&point).err().map(|e| e.to_string());
    let named = found.filter(|text| text.starts_with("WEAK_KEY"));
    Ok(Found(named.map_or("accepted", |_| "WEAK_KEY").to_owned()))
}

/// 37: a receipt shown as a checkpoint, a checkpoint shown as a receipt.
pub(crate) fn confused(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 2)?;
    let vault = ground.open()?;
    let erased = vault.erase(&[patient("p1")], "gdpr-17-1", &two_people())?;
    let (receipt, note) = (vault.erasure_receipt(erased.job)?, vault.checkpoint()?);
    ensure!(ground.trust.open_report(receipt.as_bytes()).is_ok(), "the receipt as one");
    ensure!(ground.trust.open_checkpoint(note.as_bytes()).is_ok(), "the checkpoint as one");
    let one = ground.trust.open_checkpoint(receipt.as_bytes()).is_err();
    let other = ground.trust.open_report(note.as_bytes()).is_err();
    Ok(Found(if one && other { "rejected" } else { "accepted" }.to_owned()))
}
