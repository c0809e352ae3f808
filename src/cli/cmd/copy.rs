//! `chancery backup` and `chancery restore`: the data plane to another disk, and back beside the
//! keys of today. What to copy and what to refuse the vault decides.

use crate::cli::args::copy::{Backup, Restore};
use crate::cli::cmd::done;
use crate::cli::error::{EXIT_INTERRUPTED, Failure};
use crate::cli::output::Tone;
use crate::cli::output::units::{bytes, count};
use crate::cli::run::Context;
use crate::cli::world::{vault_config, world};
use crate::vault::Vault;
use crate::vault::backup::{Restored, Restoring};
use anyhow::Result;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Runs `chancery backup`.
pub(crate) fn back_up(context: &mut Context, args: &Backup) -> Result<ExitCode> {
    let to = whole_path(&args.to)?;
    let (config, all) = (context.config()?, context.config_of_all()?);
    let dirs = [Some(&all.data), Some(&all.keys), all.keys_mirror.as_ref()];
    for dir in dirs.into_iter().flatten() {
        let dir = whole_path(dir)?;
        if to.starts_with(&dir) || dir.starts_with(&to) {
            let message = "the place leads into data or keys, or holds them; nothing was copied; \
                           name a directory apart from both, best on another disk";
            return Err(Failure::refused("BACKUP_TARGET", message).into());
        }
    }
    let vault = context.open_with(&config)?;
    let stop = context.stop.clone();
    let mut go_on = |_: u64| !stop.load(std::sync::atomic::Ordering::Relaxed);
    let Some(made) = vault.back_up(&to, args.verify, &mut go_on)? else {
        context.out.say("interrupted; run it again to go on from here")?;
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    };
    let manifest = &made.manifest;
    context.out.object(&json!({
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
        "{} entries in {} files, {} ({} written); {read_back}; no key is in it",
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
    let config = context.config()?;
    let files = vault_config(&config, &context.global)?;
    let known = match &args.known {
        Some(path) => Some(std::fs::read(path).map_err(|e| Failure::file(path, &e))?),
        None => None,
    };
    let ask = Restoring {
        from: &args.from,
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
    report(context, &restored, args.check)
}

fn report(context: &mut Context, restored: &Restored, check: bool) -> Result<ExitCode> {
    let Restored { manifest, generation, behind_keys, known, notices } = restored;
    let said: Vec<Value> =
        notices.iter().map(|n| json!({"code": n.code, "text": n.text})).collect();
    context.out.object(&json!({
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
        "{} entries as of {}, {} files as they were signed",
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
