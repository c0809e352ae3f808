//! `chancery backup` and `chancery restore`: the data plane to another disk, and back beside the
//! keys of today. What to copy and what to refuse the vault decides.

use crate::base::event::Draft;
use crate::cli::args::copy::{Backup, Restore};
use crate::cli::cmd::done;
use crate::cli::config::{Config, MAIN};
use crate::cli::error::{EXIT_INTERRUPTED, Failure};
use crate::cli::output::Tone;
use crate::cli::output::units::{bytes, count};
use crate::cli::run::Context;
use crate::cli::world::{vault_config, world};
use crate::crypto::hash::sha256;
use crate::format::backup::MANIFEST;
use crate::vault::Vault;
use crate::vault::backup::{BackedUp, Restored, Restoring};
use anyhow::Result;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Runs `chancery backup`.
pub(crate) fn back_up(context: &mut Context, args: &Backup) -> Result<ExitCode> {
    let to = whole_path(&args.to)?;
    let all = context.config_of_all()?;
    let dirs = [Some(&all.data), Some(&all.keys), all.keys_mirror.as_ref()];
    for dir in dirs.into_iter().flatten() {
        let dir = whole_path(dir)?;
        if to.starts_with(&dir) || dir.starts_with(&to) {
            let message = "the place leads into data or keys, or holds them; nothing was copied; \
                           name a directory apart from both, best on another disk";
            return Err(Failure::refused("BACKUP_TARGET", message).into());
        }
    }
    if !args.all_tenants {
        return back_up_one(context, &all.for_tenant(&all.tenant), &to, args.verify);
    }
    // What is in the way of one ends all: the next run goes on from there.
    for name in tenants(&all)? {
        let code = back_up_one(context, &all.for_tenant(&name), &to.join(&name), args.verify)?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    done()
}

/// `main` and every tenant that has a vault below it.
fn tenants(all: &Config) -> Result<Vec<String>> {
    let mut names = vec![MAIN.to_owned()];
    let others = all.data.join("others");
    let listed = world().disk.list(&others)?;
    let there = |name: &String| others.join(name).join("vault.toml").exists();
    names.extend(listed.into_iter().map(|listed| listed.name).filter(there));
    Ok(names)
}

/// The tenants that have a backup below a directory, `main` first.
fn backed_up(from: &Path) -> Result<Vec<String>> {
    let is_one = |name: &String| from.join(name).join(MANIFEST).exists();
    let mut names: Vec<String> =
        world().disk.list(from)?.into_iter().map(|l| l.name).filter(is_one).collect();
    names.sort_by_key(|name| (name != MAIN, name.clone()));
    if names.first().is_none_or(|name| name != MAIN) {
        let message = "no backup of all tenants lies here: the one of main is missing; nothing \
                       was done; name the directory that `backup --all-tenants` was given";
        return Err(Failure::refused("BACKUP_INCOMPLETE", message).into());
    }
    Ok(names)
}

/// Says in the log itself that it was copied: an event of the vault about itself, with the hash of
/// the signed manifest. It is not in the copy.
fn record(vault: &Vault, to: &Path, made: &BackedUp) -> Result<()> {
    let note = std::fs::read(to.join(MANIFEST)).map_err(|e| Failure::file(to, &e))?;
    let event = json!({
        "action": "backup.make",
        "category": "system",
        "verb": "export",
        "outcome": "success",
        "severity": 3,
        "actor": {"type": "system"},
        "data": {
            "manifest": sha256(&[&note]).to_string(),
            "entries": made.manifest.size.0,
            "root": made.manifest.root.to_string(),
        },
    });
    let json = event.to_string();
    vault.append_own(&[Draft { source: "chancery", json: json.as_bytes() }])?;
    Ok(())
}

fn back_up_one(
    context: &mut Context,
    config: &Config,
    to: &Path,
    verify: bool,
) -> Result<ExitCode> {
    let vault = context.open_with(config)?;
    let stop = context.stop.clone();
    let mut go_on = |_: u64| !stop.load(std::sync::atomic::Ordering::Relaxed);
    let Some(made) = vault.back_up(to, verify, &mut go_on)? else {
        context.out.say("interrupted; run it again to go on from here")?;
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    };
    record(&vault, to, &made)?;
    let manifest = &made.manifest;
    context.out.object(&json!({
        "tenant": config.tenant,
        "to": to.display().to_string(),
        "files": manifest.files,
        "bytes": manifest.bytes,
        "written": made.written,
        "entries": manifest.size.0,
        "root": manifest.root.to_string(),
        "generation": manifest.generation.0,
        "verified": made.verified,
    }))?;
    let read_back = if made.verified { "every copy read back" } else { "not read back (--verify)" };
    let text = format!(
        "{}: {} entries in {} files, {} ({} written); {read_back}; no key is in it",
        config.tenant,
        count(manifest.size.0),
        count(manifest.files),
        bytes(manifest.bytes),
        bytes(made.written)
    );
    context.out.status(Tone::Good, "BACKED UP", &text)?;
    done()
}

/// Runs `chancery restore`.
pub(crate) fn restore(context: &mut Context, args: &Restore) -> Result<ExitCode> {
    let all = context.config_of_all()?;
    if !args.all_tenants {
        return restore_one(context, &all.for_tenant(&all.tenant), &args.from, args);
    }
    for name in backed_up(&args.from)? {
        let (from, config) = (args.from.join(&name), all.for_tenant(&name));
        if !args.check && config.data.join("vault.toml").exists() {
            let text = format!("tenant {name} has its data; it is left as it is");
            context.note("RESTORE_TARGET", &text);
            continue;
        }
        let code = restore_one(context, &config, &from, args)?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    done()
}

fn restore_one(
    context: &mut Context,
    config: &Config,
    from: &Path,
    args: &Restore,
) -> Result<ExitCode> {
    let files = vault_config(config, &context.global)?;
    let known = match &args.known {
        Some(path) => Some(std::fs::read(path).map_err(|e| Failure::file(path, &e))?),
        None => None,
    };
    let ask = Restoring {
        from,
        known: known.as_deref(),
        accept_older: args.accept_older,
        check: args.check,
    };
    let stop = context.stop.clone();
    let mut go_on = |_: u64| !stop.load(std::sync::atomic::Ordering::Relaxed);
    let Some(restored) = Vault::restore(world(), &files, &ask, &mut go_on)? else {
        context.out.say("interrupted; nothing opens it yet; run it again to go on from here")?;
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    };
    report(context, (&config.tenant, &restored), args.check)
}

fn report(
    context: &mut Context,
    (tenant, restored): (&str, &Restored),
    check: bool,
) -> Result<ExitCode> {
    let Restored { manifest, generation, behind_keys, known, notices } = restored;
    let said: Vec<Value> =
        notices.iter().map(|n| json!({"code": n.code, "text": n.text})).collect();
    context.out.object(&json!({
        "tenant": tenant,
        "restored": !check,
        "entries": manifest.size.0,
        "taken": manifest.time.to_string(),
        "backup_generation": manifest.generation.0,
        "keys_generation": generation.0,
        "behind_keys": behind_keys,
        "known_entries": known.map(|size| size.0),
        "notices": said,
    }))?;
    let what = if check { "CHECKED" } else { "RESTORED" };
    let text = format!(
        "{tenant}: {} entries as of {}, {} files as they were signed",
        count(manifest.size.0),
        manifest.time,
        count(manifest.files)
    );
    context.out.status(Tone::Good, what, &text)?;
    for notice in notices {
        context.out.status(Tone::Warn, notice.code, &notice.text)?;
    }
    if *behind_keys {
        let text = "an erasure, an expiry or a growth changed the keys and is not in this log: it \
                    opens for reading only, what those destroyed stays unreadable, appends are \
                    refused; to go on, start a new log: `init --continue-from`";
        context.out.status(Tone::Warn, "LOG_BEHIND_KEYS", text)?;
    } else if known.is_none_or(|size| size <= manifest.size) && notices.is_empty() {
        let text = "what was appended after the backup is gone, and whoever holds a receipt for it \
                    must send it again; give --known or witnesses to have a shorter log refused";
        context.out.status(Tone::Warn, "AS OF THEN", text)?;
    }
    done()
}

/// A path from the root, through every link as far as it is there.
fn whole_path(path: &Path) -> Result<PathBuf> {
    let failed = |e| Failure::file(path, &e);
    let whole = std::path::absolute(path).map_err(failed)?;
    let there = whole.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let real = std::fs::canonicalize(there).map_err(failed)?;
    Ok(real.join(whole.strip_prefix(there).unwrap_or(Path::new(""))))
}
