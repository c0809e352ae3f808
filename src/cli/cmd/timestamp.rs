//! `chancery timestamp`: a checkpoint stamped by an authority, over the network or by hand.

use crate::base::unit::TreeSize;
use crate::cli::args::witness::Timestamp;
use crate::cli::cmd::{done, write_out};
use crate::cli::error::Failure;
use crate::cli::run::Context;
use crate::format::timestamp::{RESPONSE_BYTES_MAX, Stamp};
use anyhow::Result;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Timestamp) -> Result<ExitCode> {
    let vault = context.open()?;
    if let Some(path) = &args.request {
        let (size, query) = vault.timestamp_query()?;
        write_out(Some(path), &query)?;
        context.out.object(&json!({"size": size.0, "query": path.display().to_string()}))?;
        context.out.say(&format!(
            "Question about {size} entries: {}\nSend it as application/timestamp-query, then: \
             chancery timestamp --response FILE",
            path.display()
        ))?;
        return done();
    }
    let (size, stamp) = match &args.response {
        Some(path) => vault.timestamp_take(&read(path)?)?,
        None => vault.timestamp()?,
    };
    finish(context, size, &stamp)
}

fn finish(context: &mut Context, size: TreeSize, stamp: &Stamp) -> Result<ExitCode> {
    context.out.object(&json!({
        "size": size.0,
        "time": stamp.time.to_string(),
        "not_after": stamp.not_after().to_string(),
        "policy": stamp.policy,
        "serial": stamp.serial,
    }))?;
    context.out.say(&format!(
        "{size} entries existed by {}, says the authority (policy {}, serial {}); an entry names \
         the stamp, so what follows was written after {}",
        stamp.not_after(),
        stamp.policy,
        stamp.serial,
        stamp.not_before(),
    ))?;
    done()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).map_err(|e| Failure::file(path, &e))?;
    match bytes.len() <= RESPONSE_BYTES_MAX {
        true => Ok(bytes),
        false => {
            let message = format!("{} is no time-stamp reply: over 64 KiB", path.display());
            Err(Failure::usage("TIMESTAMP_MALFORMED", message).into())
        }
    }
}
