//! Reading: how fast a log is checked without keys, and how fast every body of it is opened.

use crate::cli::bench::Numbers;
use crate::format::trust::Trust;
use crate::vault::config::Config;
use crate::vault::error::{Error, Result};
use crate::vault::verify::{Options, verify_data};
use crate::vault::{Vault, World};
use std::time::Instant;

/// Measures on a settled log, whose checkpoint is published first.
///
/// # Errors
/// Those of the vault; `Evidence` if the log does not verify, since then no rate means anything.
pub fn run(world: &World, vault: &Vault, config: &Config, numbers: &mut Numbers) -> Result<()> {
    vault.checkpoint()?;
    let bad = |why: String| Error::evidence("BENCH_NOT_VERIFIED", why);
    let trust = Trust::of(
        std::slice::from_ref(vault.log_key()),
        std::slice::from_ref(vault.report_signer().verifier()),
    )
    .map_err(|e| bad(e.to_string()))?;
    let start = Instant::now();
    let options = Options::default();
    let report = verify_data(&world.disk, &config.data, Some(&trust), &options, &mut |_, _| {})?;
    let rate = report.entries as f64 / start.elapsed().as_secs_f64();
    numbers.insert("verify.entries_per_s".to_owned(), rate);
    if report.exit_code() != 0 {
        return Err(bad(format!("exit code {}", report.exit_code())));
    }
    let start = Instant::now();
    let bodies = vault.verify_bodies(&mut |_, _| {})?;
    let opened = bodies.fates.get("open").copied().unwrap_or(0);
    let rate = opened as f64 / start.elapsed().as_secs_f64();
    numbers.insert("verify.bodies_per_s".to_owned(), rate);
    Ok(())
}
