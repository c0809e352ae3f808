//! `chancery prove`: that an entry is in the log, or that the log only grew.

use crate::base::unit::TreeSize;
use crate::cli::args::record::ProveCommand;
use crate::cli::cmd::{done, write_out};
use crate::cli::error::Failure;
use crate::cli::run::Context;
use crate::cli::world::read_text;
use crate::format::checkpoint::Checkpoint;
use anyhow::Result;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(context: &mut Context, command: &ProveCommand) -> Result<ExitCode> {
    match command {
        ProveCommand::Inclusion { index, newest, out } => {
            let vault = context.open()?;
            let proof = match newest {
                true => vault.prove_newest(*index)?,
                false => vault.prove(*index)?,
            };
            finish(context, out.as_deref(), &proof, &format!("entry {index} is in the log"))
        }
        ProveCommand::Consistency { since, size, out } => {
            let vault = context.open()?;
            let old = match (since, size) {
                (Some(path), _) => {
                    let text = read_text(path)?;
                    let old = Checkpoint::open(text.as_bytes(), vault.log_key());
                    old.map_err(|e| Failure::refused("MALFORMED", e.to_string()))?.size
                }
                (None, Some(size)) => TreeSize(*size),
                (None, None) => TreeSize(0),
            };
            let proof = vault.prove_growth(old)?;
            let what = format!("the log of today begins with its first {old} entries");
            finish(context, out.as_deref(), &proof, &what)
        }
    }
}

fn finish(context: &mut Context, out: Option<&Path>, proof: &str, what: &str) -> Result<ExitCode> {
    if out.is_some() || !context.out.style.json {
        write_out(out, proof.as_bytes())?;
    }
    context.out.object(&json!({
        "out": out.map(|path| path.display().to_string()), "proof": proof,
    }))?;
    if let Some(out) = out {
        let out = out.display();
        let since = if proof.starts_with("old ") { " --since CHECKPOINT" } else { "" };
        context.out.say(&format!(
            "Proof that {what}: {out}\nCheck it anywhere: chancery verify {out}{since} --trust FILE"
        ))?;
    }
    done()
}
