//! `chancery keys`: what is public of the key plane, and what to keep outside. Never a secret.

use crate::base::unit::Generation;
use crate::cli::args::govern::{Approval, KeysCommand};
use crate::cli::cmd::{done, order, ordered, write_out};
use crate::cli::config::witness::Witnesses;
use crate::cli::config::{Config, Passphrase};
use crate::cli::error::Failure;
use crate::cli::medium::Medium;
use crate::cli::output::units::{bytes, count};
use crate::cli::output::{Align, Table};
use crate::cli::run::Context;
use crate::cli::world::{read_text, vault_config, world};
use crate::format::trust::Trust;
use crate::format::vkey::Verifier;
use crate::vault::Vault;
use crate::vault::logkey::kek_of;
use anyhow::Result;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

/// What class D means, in every place that speaks of it.
pub(crate) const CLASS_D: &str = "class D: root slots are files. Destroying a key overwrites its \
    slot and syncs it; what the medium, its snapshots or anybody's copy still hold is outside the \
    vault's reach";

/// Runs the command.
pub(crate) fn run(context: &mut Context, command: &KeysCommand) -> Result<ExitCode> {
    match command {
        KeysCommand::Show => show(context),
        KeysCommand::Mirror { forget: false, .. } => mirror(context),
        KeysCommand::Mirror { requested_by, approved_by, single_operator, .. } => {
            let (requested_by, approved_by) = (requested_by.clone(), approved_by.clone());
            let single_operator = *single_operator;
            forget_mirror(context, &Approval { requested_by, approved_by, single_operator })
        }
        KeysCommand::Restore { accept_loss, .. } => restore(context, *accept_loss),
        KeysCommand::RollLog { approval } => roll_log(context, approval),
        KeysCommand::Compact => compact(context),
        KeysCommand::ExportLedger { out } => {
            let vault = context.open()?;
            let ledger = vault.erasure_ledger()?;
            let say = "Keep it away from data and keys; give it to every opening after a restore: \
                       chancery --ledger FILE doctor";
            finish(context, out.as_deref(), "ledger", &ledger, say)
        }
        KeysCommand::Trust { out, follow } => {
            let config = context.config()?;
            let vault = context.open_with(&config)?;
            let text = match follow {
                Some(path) => followed(&vault, path)?,
                None => witnessed_trust(&vault, &config.witnesses)?,
            };
            let say = "Hand it over by a way the vault's operator does not control, and pin it \
                       there.";
            finish(context, out.as_deref(), "trust", &text, say)
        }
    }
}

/// The trust policy of a vault's own keys, as an auditor would pin it: the log's first key, and
/// every roll followed from it.
pub(crate) fn trust_text(vault: &Vault) -> Result<String> {
    let facts = vault.facts_now();
    let first = facts.genesis.as_ref().and_then(|genesis| Verifier::parse(&genesis.log_key).ok());
    let first = first.unwrap_or_else(|| vault.log_key().clone());
    let report = std::slice::from_ref(vault.report_signer().verifier());
    let trust = Trust::of(std::slice::from_ref(&first), report);
    let mut trust = trust.map_err(|e| Failure::failed("TRUST_POLICY", e.to_string()))?;
    for note in vault.key_rolls() {
        trust.roll(note.as_bytes()).map_err(|e| Failure::refused(e.verdict(), e.to_string()))?;
    }
    Ok(format!("# Trust policy of {}\n{trust}", vault.origin()))
}

/// A policy pinned before, with every roll of this log followed: each is signed by the key before.
fn followed(vault: &Vault, path: &Path) -> Result<String> {
    let trust = Trust::parse(&read_text(path)?);
    let mut trust = trust.map_err(|e| Failure::usage("TRUST_POLICY", e.to_string()))?;
    for note in vault.key_rolls() {
        trust.roll(note.as_bytes()).map_err(|e| Failure::refused(e.verdict(), e.to_string()))?;
    }
    Ok(trust.to_string())
}

fn roll_log(context: &mut Context, approval: &Approval) -> Result<ExitCode> {
    let config = context.config()?;
    let files = vault_config(&config, &context.global)?;
    let vault = context.open_with(&config)?;
    let kek = kek_of(&world(), &files)?;
    let order = order(approval, &config)?;
    ordered::refuse(&vault, &config)?;
    let rolled = vault.roll_log_key(&kek, &order)?;
    context.out.object(&json!({
        "index": rolled.index.0,
        "old": rolled.old.to_string(),
        "new": rolled.new.to_string(),
        "until": rolled.until.0,
        "note": rolled.note,
    }))?;
    context.out.say(&format!(
        "entry {}: the log key is now\n{}\nThe old one signs nothing beyond size {}. Hand out \
         the trust policy again: chancery keys trust --follow OLD.policy --out NEW.policy",
        rolled.index, rolled.new, rolled.until
    ))?;
    done()
}

/// The same with the configured witnesses and their quorum, which the auditor should hold against
/// what the witnesses' own administrators say.
fn witnessed_trust(vault: &Vault, witnesses: &Witnesses) -> Result<String> {
    let text = trust_text(vault)?;
    let Witnesses { at, quorum } = witnesses;
    if at.is_empty() {
        return Ok(text);
    }
    let mut lines = String::new();
    let names: Vec<String> = (1..=at.len()).map(|n| format!("w{n}")).collect();
    for (name, one) in names.iter().zip(at) {
        lines += &format!("witness {name} {} {}\n", one.key, one.url);
    }
    lines += &format!("group witnesses {quorum} {}\nquorum witnesses\n", names.join(" "));
    let text = text.replace("quorum none\n", &lines);
    let parsed = Trust::parse(&text).map_err(|e| Failure::failed("TRUST_POLICY", e.to_string()))?;
    Ok(format!("# Trust policy of {}\n{parsed}", vault.origin()))
}

fn finish(
    context: &mut Context,
    out: Option<&Path>,
    key: &str,
    text: &str,
    say: &str,
) -> Result<ExitCode> {
    if out.is_some() || !context.out.style.json {
        write_out(out, text.as_bytes())?;
    }
    let path = out.map(|path| path.display().to_string());
    context.out.object(&json!({"out": path, key: text}))?;
    if let Some(path) = path {
        context.out.say(&format!("{path}\n{say}"))?;
    }
    done()
}

fn forget_mirror(context: &mut Context, approval: &Approval) -> Result<ExitCode> {
    let config = context.config()?;
    let vault = context.open_with(&config)?;
    ordered::refuse(&vault, &config)?;
    let entry = vault.forget_mirror(&order(approval, &config)?)?;
    let index = entry.map(|index| index.0);
    context.out.object(&json!({"forgotten": entry.is_some(), "index": index}))?;
    context.out.say(&match entry {
        Some(index) => format!(
            "entry {index}: the keys have one copy now. What the mirror holds stays as it is: \
             destroy it. Erasures that it had missed stay E2-partial."
        ),
        None => "The keys have no mirror.".to_owned(),
    })?;
    done()
}

fn mirror(context: &mut Context) -> Result<ExitCode> {
    let config = context.config()?;
    let vault = context.open_with(&config)?;
    let fresh = vault.key_replicas().paired.is_none();
    let mended = vault.make_mirror()?;
    let replicas = vault.key_replicas();
    let shared = same_device(&config);
    let reason = replicas.away.as_ref().map(|(_, why)| why.clone());
    context.out.object(&json!({
        "replicas": replicas.text(),
        "replica": replicas.paired.map(|id| id.to_string()),
        "away": reason,
        "completed": mended.completed,
        "same_device": shared,
    }))?;
    if let Some((_, why)) = replicas.away {
        let message = format!("the mirror cannot be used: {why}; keys go into one copy only");
        return Err(Failure::failed("KEYS_MIRROR_AWAY", message).into());
    }
    // A new one was empty: it had missed nothing.
    if let (Some(notice), false) = (&mended.notice, fresh) {
        context.out.say(&format!("{}: {}.", notice.code, notice.text))?;
    }
    if mended.completed > 0 {
        let text = format!("{} erasures or expiries are complete now.", mended.completed);
        context.out.say(&text)?;
    }
    context.out.say("Both key directories hold every key: replicas 2/2.")?;
    if let Some(device) = shared {
        context.note("KEYS_MIRROR_SAME_DEVICE", &same_device_text(&device));
    }
    done()
}

/// The device both key directories lie on, if it is one.
pub(crate) fn same_device(config: &Config) -> Option<String> {
    let mirror = config.keys_mirror.as_ref()?;
    let (one, two) = (Medium::of(&config.keys), Medium::of(mirror));
    use std::os::unix::fs::MetadataExt;
    let device = |dir: &Path| std::fs::metadata(dir).ok().map(|meta| meta.dev());
    let same = device(&config.keys)? == device(mirror)? || one.device == two.device;
    same.then(|| two.name())
}

pub(crate) fn same_device_text(device: &str) -> String {
    format!("both key directories lie on {device}: they are lost together; use another disk")
}

fn restore(context: &mut Context, accept_loss: bool) -> Result<ExitCode> {
    let config = context.config()?;
    let files = vault_config(&config, &context.global)?;
    let Generation(number) = Vault::restore_keys(world(), &files, accept_loss)?;
    let keys = config.keys.display().to_string();
    context.out.object(&json!({"restored": keys, "generation": number}))?;
    context.out.say(&format!(
        "{keys} holds the keys of generation {number} again. Destroy the lost disk if it turns \
         up: it holds roots from before.\nNext: chancery doctor"
    ))?;
    done()
}

fn compact(context: &mut Context) -> Result<ExitCode> {
    let vault = context.open()?;
    let (before, after) = vault.compact_keys()?;
    context.out.object(&json!({"bytes_before": before, "bytes_after": after}))?;
    context.out.say(&format!("nodes.seg: {} -> {}", bytes(before), bytes(after)))?;
    done()
}

fn show(context: &mut Context) -> Result<ExitCode> {
    let config = context.config()?;
    let vault = context.open_with(&config)?;
    let medium = Medium::of(&config.keys);
    let wrapped = config.passphrase != Passphrase::None;
    let (generation, root, cells, size) = {
        let tree = vault.keys().tree();
        let cells = tree.cells()?;
        (tree.generation(), tree.root_hash().to_string(), cells, tree.bytes())
    };
    let Generation(number) = generation;
    let replicas = vault.key_replicas();
    let copies = match &replicas.away {
        None if replicas.all == 1 => {
            "1 (KEYS_SINGLE_COPY: losing it loses every sealed field)".to_owned()
        }
        None => "2, written and scrubbed in step".to_owned(),
        Some((_, why)) => format!("1 of 2 (KEYS_MIRROR_AWAY: {why})"),
    };
    context.out.object(&json!({
        "log_key": vault.log_key().to_string(),
        "report_key": vault.report_signer().verifier().to_string(),
        "generation": number,
        "root_hash": root,
        "cells": cells,
        "bytes": size,
        "directory": config.keys.display().to_string(),
        "copies": replicas.live,
        "replicas": replicas.text(),
        "mirror": config.keys_mirror.as_ref().map(|dir| dir.display().to_string()),
        "file_system": medium.kind,
        "device": medium.device,
        "rotational": medium.rotational,
        "promise": medium.promise(),
        "class": "D",
        "passphrase": wrapped,
    }))?;
    let mut table = Table::new(&[("keys", Align::Left), ("", Align::Left)]);
    let mut row = |name: &str, value: &str| table.row(&[name, value]);
    row("log key", &vault.log_key().to_string());
    row("report key", &vault.report_signer().verifier().to_string());
    row("generation", &format!("{number}: it rises with every erasure, expiry and growth"));
    row("root hash", &root);
    row("tree", &format!("{} cells, {}", count(cells), bytes(size)));
    row("directory", &config.keys.display().to_string());
    row("copies", &copies);
    row("medium", &medium.name());
    row("medium keeps", medium.promise());
    let how = if wrapped { "root key wrapped by a passphrase" } else { "file permissions only" };
    row("protection", how);
    context.out.table(&table)?;
    context.out.say(&format!("{CLASS_D}."))?;
    done()
}
