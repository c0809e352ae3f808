//! `chancery init`: a new vault, and a configuration file that finds it again.

use crate::cli::args::make::Init;
use crate::cli::cmd::done;
use crate::cli::config::{Config, FILE_NAME, MAIN, Mode, Passphrase};
use crate::cli::error::Failure;
use crate::cli::run::Context;
use crate::cli::world::{read_text, vault_config, world};
use crate::format::control::Continues;
use crate::format::trust::Trust;
use crate::vault::Vault;
use anyhow::Result;
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Init) -> Result<ExitCode> {
    let mut config = context.config()?;
    if config.tenant != MAIN {
        let message = "`init` makes the tenant main; nothing was done; drop --tenant";
        return Err(Failure::usage("TENANT_UNSUPPORTED", message).into());
    }
    apply_flags(&mut config, args)?;
    let file = context.global.config.clone().unwrap_or_else(|| config.home.join(FILE_NAME));
    let had_file = file.exists();
    if had_file && (args.passphrase_file.is_some() || args.passphrase_env.is_some()) {
        let message = format!(
            "{} exists and would not name the passphrase; nothing was done; write it there",
            file.display()
        );
        return Err(Failure::usage("CONFIG_VALUE", message).into());
    }
    let continues = continues(args)?;
    let files = vault_config(&config, &context.global)?;
    let made = make(&config, &file, || Vault::init_after(world(), &files, &config.name, continues));
    let vault = made?;
    let (log, report) = (vault.log_key().to_string(), vault.report_signer().verifier().to_string());
    context.out.object(&json!({
        "created": true,
        "origin": vault.origin(),
        "tenant": vault.tenant().to_string(),
        "data": config.data.display().to_string(),
        "keys": config.keys.display().to_string(),
        "config": file.display().to_string(),
        "log_key": log,
        "report_key": report,
        "passphrase": config.passphrase != Passphrase::None,
    }))?;
    let wrapped = match config.passphrase {
        Passphrase::None => "protected by file permissions only; no passphrase",
        _ => "the root key is wrapped under the passphrase",
    };
    context.out.say(&format!(
        "Created vault {}\n\
         data    {}   back this up, for years if you like\n\
         keys    {}   NEVER back this up with the data: a copy of both undoes every erasure\n\
         \x20       {wrapped}\n\
         config  {}\n\n\
         Trust: give auditors this, by a way you do not control (`chancery keys trust` prints it \
         again)\n\
         log {log}\n\
         report {report}\n\n\
         Next: chancery append events.ndjson --source NAME",
        vault.origin(),
        config.data.display(),
        config.keys.display(),
        file.display(),
    ))?;
    done()
}

/// Makes a vault after its configuration: a vault whose passphrase nobody wrote down the place of
/// is lost.
pub(crate) fn make(
    config: &Config,
    file: &Path,
    vault: impl FnOnce() -> crate::vault::error::Result<Vault>,
) -> Result<Vault> {
    let had_file = file.exists();
    if !had_file {
        std::fs::create_dir_all(&config.home).map_err(|e| Failure::file(&config.home, &e))?;
        write_config(file, config)?;
    }
    let made = vault();
    if made.is_err() && !had_file {
        let _ = std::fs::remove_file(file);
    }
    Ok(made?)
}

/// Where the log before ended, by a checkpoint that its own trust policy vouches for.
fn continues(args: &Init) -> Result<Option<Continues>> {
    let (Some(note), Some(trust)) = (&args.continue_from, &args.old_trust) else {
        return Ok(None);
    };
    let trust = Trust::parse(&read_text(trust)?);
    let trust = trust.map_err(|e| Failure::usage("TRUST_POLICY", e.to_string()))?;
    let opened = trust.open_checkpoint(read_text(note)?.as_bytes());
    let opened = opened.map_err(|e| Failure::refused(e.verdict(), e.to_string()))?;
    let crate::format::checkpoint::Checkpoint { origin, size, root } = opened.checkpoint;
    Ok(Some(Continues { origin, size, root }))
}

fn apply_flags(config: &mut Config, args: &Init) -> Result<()> {
    if let Some(name) = &args.name {
        // The same rule as for the file: it stands in every checkpoint.
        let good = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '.');
        let ends = |c: char| c == '.' || c == '-';
        let long = name.len() > 64 || name.is_empty();
        if long || !name.chars().all(good) || name.starts_with(ends) || name.ends_with(ends) {
            let message = "--name: 1 to 64 characters of a-z 0-9 . -, a letter or digit at both \
                           ends; nothing was done";
            return Err(Failure::usage("VAULT_NAME", message).into());
        }
        config.name = name.clone();
    }
    if let Some(path) = &args.passphrase_file {
        let cannot = |e: std::io::Error| Failure::file(path, &e);
        config.passphrase = Passphrase::File(std::path::absolute(path).map_err(cannot)?);
    }
    if let Some(name) = &args.passphrase_env {
        config.passphrase = Passphrase::Environment(name.clone());
    }
    if args.single_operator {
        config.mode = Mode::SingleOperator;
    }
    Ok(())
}

/// A file with what was chosen, and the rest as comments. It holds no secret.
fn write_config(file: &Path, config: &Config) -> Result<()> {
    // A JSON string of these characters is a TOML basic string as well.
    let quoted = |text: &str| serde_json::Value::String(text.to_owned()).to_string();
    let mode = match config.mode {
        Mode::TwoPerson => "two-person",
        Mode::SingleOperator => "single-operator",
    };
    let passphrase = match &config.passphrase {
        Passphrase::None => "# passphrase_file = \"/run/secrets/vault\"\n".to_owned(),
        Passphrase::File(path) => {
            format!("passphrase_file = {}\n", quoted(&path.display().to_string()))
        }
        Passphrase::Environment(name) => format!("passphrase_env = {}\n", quoted(name)),
    };
    let text = format!(
        "# Chancery; docs/admin.md explains every key. Relative paths start at this directory.\n\
         name = {}\n\
         mode = \"{mode}\"\n\
         # data = \"chancery-data\"\n\
         # policies = \"policies\"   # `chancery config policies --out policies` writes them\n\n\
         [keys]\n\
         # path = \"keys\"           # never backed up with the data\n\
         # mirror = \"/mnt/keys2\"  # a live copy on another disk: `chancery keys mirror`\n\
         {passphrase}",
        quoted(&config.name),
    );
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).open(file);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    Ok(written.map_err(|e| Failure::file(file, &e))?)
}
