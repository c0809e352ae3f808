//! `chancery config`: what is in force and who said it. Policies take effect by an entry of the
//! log, never by editing a file: a differing file is drift until somebody applies it.

use crate::base::id::hex;
use crate::cli::args::govern::{Approval, ConfigCommand};
use crate::cli::cmd::{done, must_be_new, order, ordered, write_new};
use crate::cli::config::Config;
use crate::cli::error::Failure;
use crate::cli::output::{Align, Table, Tone};
use crate::cli::run::Context;
use crate::cli::world::{policies, vault_config};
use crate::policy::order::act::Act;
use crate::vault::Vault;
use crate::vault::read::Reading;
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;

type Files = BTreeMap<String, String>;

/// Runs the command.
pub(crate) fn run(context: &mut Context, command: &ConfigCommand) -> Result<ExitCode> {
    match command {
        ConfigCommand::Show { effective } => show(context, *effective),
        ConfigCommand::Check => check(context),
        ConfigCommand::Policies { out } => write_policies(context, out),
        ConfigCommand::Apply { dry_run, approval } => apply(context, *dry_run, approval),
    }
}

/// The policy files whose text the log holds as in force.
fn in_force(vault: &Vault) -> Result<Files> {
    let facts = vault.facts_now();
    let Some((index, _, _)) = facts.policies else { return Ok(Files::new()) };
    let record = vault.record(index, Reading::OPEN)?;
    let lost = || Failure::refused("KEY_LOST", "the policies in force cannot be read");
    let text = record.value("config.policies").ok_or_else(lost)?;
    Ok(serde_json::from_slice(text).map_err(|_| lost())?)
}

/// Every file that differs, with how.
fn differences(force: &Files, given: &Files) -> Vec<(String, &'static str)> {
    let names: BTreeSet<&String> = force.keys().chain(given.keys()).collect();
    let how = |name: &String| match (force.get(name), given.get(name)) {
        (Some(_), None) => Some("only in force"),
        (None, Some(_)) => Some("only in the folder"),
        (old, new) => (old != new).then_some("changed"),
    };
    names.into_iter().filter_map(|name| Some((name.clone(), how(name)?))).collect()
}

/// Whether configuration and policies say what they must; nothing is opened.
fn check(context: &mut Context) -> Result<ExitCode> {
    let config = context.config()?;
    let files = policies(&config.policies)?;
    context.out.object(&json!({"valid": true, "policies": files.len()}))?;
    let text = format!("configuration and {} policy files are valid", files.len());
    context.out.status(Tone::Good, "VALID", &text)?;
    done()
}

fn show(context: &mut Context, effective: bool) -> Result<ExitCode> {
    let config = context.config()?;
    let there = !effective && config.data.join("vault.toml").exists();
    let mut policy = Value::Null;
    let mut drift = Vec::new();
    if there {
        let vault = context.open_with(&config)?;
        let facts = vault.facts_now();
        drift = differences(&in_force(&vault)?, &policies(&config.policies)?);
        if let Some((index, version, hash)) = facts.policies {
            policy = json!({"version": version, "entry": index.0, "sha256": hex(&hash.0)});
        }
    }
    let settings: Vec<Value> = config
        .shown
        .iter()
        .map(|s| json!({"key": s.key, "value": s.value, "origin": s.origin.name()}))
        .collect();
    let files: Vec<Value> =
        drift.iter().map(|(file, how)| json!({"file": file, "how": how})).collect();
    context.out.object(&json!({
        "settings": settings, "policies_in_force": policy, "drift": files,
    }))?;
    let mut table =
        Table::new(&[("setting", Align::Left), ("value", Align::Left), ("said by", Align::Left)]);
    for shown in &config.shown {
        table.row(&[shown.key, &shown.value, shown.origin.name()]);
    }
    context.out.table(&table)?;
    if effective {
        return done();
    }
    if !there {
        context.out.say("There is no vault yet: `chancery init` makes one.")?;
        return done();
    }
    if let Some(version) = policy.get("version") {
        let entry = policy.get("entry").cloned().unwrap_or_default();
        context.out.say(&format!("Policies in force: version {version}, entry {entry}"))?;
    }
    print_drift(context, &drift)?;
    done()
}

fn print_drift(context: &mut Context, drift: &[(String, &'static str)]) -> Result<()> {
    if drift.is_empty() {
        context.out.say("Policy files: the same as in force.")?;
    }
    for (file, how) in drift {
        context.out.status(Tone::Warn, "DRIFT", &format!("policies/{file}: {how}"))?;
    }
    Ok(())
}

fn write_policies(context: &mut Context, out: &Path) -> Result<ExitCode> {
    must_be_new(Some(out))?;
    let vault = context.open()?;
    let files = in_force(&vault)?;
    for (name, text) in &files {
        let path = out.join(name);
        // Names come from the log; one that leaves the folder is not followed.
        let inside = path.components().all(|c| !matches!(c, std::path::Component::ParentDir));
        if !inside || Path::new(name).is_absolute() {
            let message = "a policy file's name leaves the folder; nothing further was written";
            return Err(Failure::refused("POLICY_NAME", message).into());
        }
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(|e| Failure::file(dir, &e))?;
        }
        write_new(Some(&path), text.as_bytes())?;
    }
    let names: Vec<&String> = files.keys().collect();
    context.out.object(&json!({"out": out.display().to_string(), "files": names}))?;
    context.out.say(&format!("{} files in {}", files.len(), out.display()))?;
    context.out.say("Edit them, then: chancery config apply --requested-by A --approved-by B")?;
    done()
}

fn apply(context: &mut Context, dry_run: bool, approval: &Approval) -> Result<ExitCode> {
    let config: Config = context.config()?;
    let order = order(approval, &config)?;
    let files = vault_config(&config, &context.global)?;
    let vault = context.open_with(&config)?;
    let drift = differences(&in_force(&vault)?, &files.policies);
    let changed: Vec<&String> = drift.iter().map(|(file, _)| file).collect();
    if dry_run || drift.is_empty() {
        context.out.object(&json!({"applied": false, "changed": changed}))?;
        print_drift(context, &drift)?;
        context.out.say("Nothing was changed.")?;
        return done();
    }
    let base_hash = vault.facts_now().policies.map(|(_, _, hash)| hash).unwrap_or_default();
    let act = Act::ApplyPolicies { files: files.policies.clone(), base_hash };
    if ordered::instead(context, &config, &vault, approval, act)? {
        return done();
    }
    let index = vault.apply_policies(&files, &order)?;
    vault.checkpoint()?;
    context.out.object(&json!({"applied": true, "changed": changed, "entry": index.0}))?;
    let text = format!("{} changed files are in force from entry {index}", changed.len());
    context.out.status(Tone::Good, "APPLIED", &text)?;
    done()
}
