//! `chancery pack`: what is past takes less room. Nothing about any record changes by it.

use crate::cli::cmd::done;
use crate::cli::error::EXIT_INTERRUPTED;
use crate::cli::output::units::{bytes, count};
use crate::cli::run::Context;
use crate::vault::pack::Packed;
use anyhow::Result;
use serde_json::json;
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(context: &mut Context) -> Result<ExitCode> {
    let vault = context.open()?;
    let mut all = Packed::default();
    for step in vault.packable()? {
        if context.stopped() {
            context
                .out
                .say("interrupted; what is packed stays packed, run it again for the rest")?;
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        }
        let done = vault.pack_step(step)?;
        all.add(done);
        context.out.object(&json!({
            "what": step.to_string(),
            "plain_bytes": done.plain_bytes,
            "packed_bytes": done.packed_bytes,
            "compressed": done.compressed,
            "kept": done.kept,
            "damaged": done.damaged > 0,
            "no_smaller": done.no_smaller > 0,
        }))?;
        let text = match (done.damaged, done.no_smaller) {
            (0, 0) => {
                format!("{step}: {} -> {}", bytes(done.plain_bytes), bytes(done.packed_bytes))
            }
            (0, _) => format!("{step}: would be no smaller and is left as it is"),
            _ => format!("{step}: damaged and left as it is; run `chancery verify`"),
        };
        context.out.say(&text)?;
    }
    context.out.object(&json!({
        "files": all.files,
        "plain_bytes": all.plain_bytes,
        "packed_bytes": all.packed_bytes,
        "compressed": all.compressed,
        "kept": all.kept,
    }))?;
    context.out.say(&format!(
        "{} files packed, {} freed; {} groups compressed, {} as they were",
        count(all.files),
        bytes(all.plain_bytes.saturating_sub(all.packed_bytes)),
        count(all.compressed),
        count(all.kept)
    ))?;
    done()
}
