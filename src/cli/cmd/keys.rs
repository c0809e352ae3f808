//! `chancery keys`: what is public of the key plane, and what to keep outside. Never a secret.

use crate::base::unit::Generation;
use crate::cli::args::govern::KeysCommand;
use crate::cli::cmd::{done, write_out};
use crate::cli::config::Passphrase;
use crate::cli::config::witness::Witnesses;
use crate::cli::error::Failure;
use crate::cli::medium::Medium;
use crate::cli::output::units::{bytes, count};
use crate::cli::output::{Align, Table};
use crate::cli::run::Context;
use crate::format::trust::Trust;
use crate::vault::Vault;
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
        KeysCommand::ExportLedger { out } => {
            let vault = context.open()?;
            let ledger = vault.erasure_ledger()?;
            let say = "Keep it away from data and keys; give it to every opening after a restore: \
                       chancery --ledger FILE doctor";
            finish(context, out.as_deref(), "ledger", &ledger, say)
        }
        KeysCommand::Trust { out } => {
            let config = context.config()?;
            let vault = context.open_with(&config)?;
            let text = witnessed_trust(&vault, &config.witnesses)?;
            let say = "Hand it over by a way the vault's operator does not control, and pin it \
                       there.";
            finish(context, out.as_deref(), "trust", &text, say)
        }
    }
}

/// The trust policy of a vault's own keys, as an auditor would pin it.
pub(crate) fn trust_text(vault: &Vault) -> Result<String> {
    let log = std::slice::from_ref(vault.log_key());
    let report = std::slice::from_ref(vault.report_signer().verifier());
    let trust = Trust::of(log, report);
    let trust = trust.map_err(|e| Failure::failed("TRUST_POLICY", e.to_string()))?;
    Ok(format!("# Trust policy of {}\n{trust}", vault.origin()))
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
    context.out.object(&json!({
        "log_key": vault.log_key().to_string(),
        "report_key": vault.report_signer().verifier().to_string(),
        "generation": number,
        "root_hash": root,
        "cells": cells,
        "bytes": size,
        "directory": config.keys.display().to_string(),
        "copies": 1,
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
    row("copies", "1 (KEYS_SINGLE_COPY: losing it loses every sealed field)");
    row("medium", &medium.name());
    row("medium keeps", medium.promise());
    let how = if wrapped { "root key wrapped by a passphrase" } else { "file permissions only" };
    row("protection", how);
    context.out.table(&table)?;
    context.out.say(&format!("{CLASS_D}."))?;
    done()
}
