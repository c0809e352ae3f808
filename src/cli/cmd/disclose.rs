//! `chancery disclose`: chosen fields of one record for an outsider, verifiable offline. The
//! disclosure stands in the log before the file exists.

use crate::cli::args::record::Disclose;
use crate::cli::cmd::show::find;
use crate::cli::cmd::{done, must_be_new, write_new};
use crate::cli::output::Tone;
use crate::cli::run::Context;
use anyhow::Result;
use serde_json::json;
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Disclose) -> Result<ExitCode> {
    must_be_new(Some(&args.out))?;
    let vault = context.open()?;
    let index = find(&vault, &args.record)?;
    let fields: Vec<&str> = args.fields.iter().map(String::as_str).collect();
    let disclosed = vault.disclose(index, &fields, &args.purpose, &args.recipient, &args.by)?;
    write_new(Some(&args.out), disclosed.text.as_bytes())?;
    context.out.object(&json!({
        "index": index.0,
        "fields": args.fields,
        "recorded": disclosed.recorded.0,
        "out": args.out.display().to_string(),
    }))?;
    let out = args.out.display();
    let text = format!(
        "{} fields of entry {index}, recorded by entry {}: {out}",
        args.fields.len(),
        disclosed.recorded
    );
    context.out.status(Tone::Good, "DISCLOSED", &text)?;
    context.out.say("No erasure can call this file back. The receiver checks it with:")?;
    context.out.say(&format!("  chancery verify {out} --trust FILE"))?;
    done()
}
