//! What `chancery verify PATH` finds, for callers in this process: the same files, the same checks,
//! the same exit code. It prints nothing and writes nothing.

use crate::cli::cmd::{evidence, verify};
use crate::cli::error;
use crate::format::seal::sample::Sample;
use crate::store::disk::{Disk, OsDisk};
use crate::vault::verify::{Options, exit_code_of, verify_data};
use anyhow::Result;
use std::path::Path;
use std::sync::Arc;

/// How a verification ended.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Judgement {
    /// 0 verified, 1 evidence failed, 2 usage, 3 could not check, 4 inconclusive.
    pub exit: u8,
    /// `VERIFIED`, `FAILED`, `INCONCLUSIVE`, or the code of the first check that failed.
    pub verdict: String,
    /// What was found, in words.
    pub text: String,
}

/// Judges evidence with a trust file and a checkpoint kept from before, as the command would.
pub fn judge(path: &Path, trust: Option<&Path>, since: Option<&Path>) -> Judgement {
    judged(path, trust, since).unwrap_or_else(|error| {
        let failure = error::of(&error);
        let (code, exit) = failure.as_ref().map_or(("FAILED", 3), |failure| failure.verdict());
        Judgement { exit, verdict: code.to_owned(), text: error.to_string() }
    })
}

fn judged(path: &Path, trust: Option<&Path>, since: Option<&Path>) -> Result<Judgement> {
    let trust = trust.map(verify::read_trust).transpose()?;
    if !(path.is_dir() && path.join("vault.toml").exists()) {
        let (kind, judged) = evidence::judged(path, trust.as_ref(), since, None)?;
        let text = format!("{kind}: {}", judged.lines.join("; "));
        return Ok(Judgement { exit: judged.exit, verdict: judged.verdict, text });
    }
    let retained = verify::retained(since)?;
    let replay_seals = Some(Sample::all());
    let options = Options { replay_seals, retained, ..Options::default() };
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let report = verify_data(&disk, path, trust.as_ref(), &options, &mut |_, _| {});
    let report = report.map_err(|error| {
        let code = exit_code_of(&error);
        error::with_exit(&error.into(), code)
    })?;
    let found: Vec<String> = report
        .verdicts
        .iter()
        .map(|v| {
            let place = v.index.map_or_else(String::new, |index| format!(" entry {index}"));
            format!("{}{place}: {}", v.name, v.detail)
        })
        .collect();
    let (exit, inconclusive) = (report.exit_code(), report.inconclusive.join("; "));
    let text = format!("data of {}: {}; {inconclusive}", report.origin, found.join("; "));
    Ok(Judgement { exit, verdict: verify::word(exit).1.to_owned(), text })
}
