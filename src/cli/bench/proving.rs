//! Proving: how many entries a second can be proven, each by itself and checked again as an
//! outsider checks, and how long a thousand at once take as a range.

use crate::base::event::Draft;
use crate::base::unit::EntryIndex;
use crate::cli::bench::{Numbers, Plan, fresh, quantile};
use crate::cli::demo::corpus::corpus;
use crate::cli::demo::prng::Dice;
use crate::format::trust::Trust;
use crate::vault::World;
use crate::vault::complete::Asked;
use crate::vault::error::{Error, Result};
use crate::vault::prove::verify_proof;
use std::time::Instant;

/// Entries of the log.
const ENTRIES: usize = 200_000;
/// Events of one batch.
const BATCH: usize = 1_000;
/// Entries proven one by one.
const PROOFS: usize = 2_000;
/// Ranges proven.
const RANGES: usize = 50;
/// Entries of a range.
const RANGE: u64 = 1_000;

/// Measures.
///
/// # Errors
/// Those of the vault; `Evidence` if a proof does not verify, since then no rate means anything.
pub fn run(world: &World, plan: &Plan<'_>, numbers: &mut Numbers) -> Result<()> {
    let dir = plan.dir.join("prove");
    let (vault, _) = fresh(world, &dir)?;
    for chunk in corpus(3, ENTRIES).chunks(BATCH) {
        let drafts = chunk.iter().map(|e| Draft { source: "canonical/prove", json: e.as_bytes() });
        vault.append(&drafts.collect::<Vec<_>>())?;
    }
    vault.settle();
    vault.checkpoint()?;
    let trust = Trust::of(
        std::slice::from_ref(vault.log_key()),
        std::slice::from_ref(vault.report_signer().verifier()),
    )
    .map_err(|e| Error::evidence("BENCH_NOT_VERIFIED", e.to_string()))?;
    let mut dice = Dice::new(3, "prove");
    let (mut make, mut check, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..PROOFS {
        let index = EntryIndex(dice.below(vault.size().0));
        let start = Instant::now();
        let proof = vault.prove(index)?;
        let between = Instant::now();
        verify_proof(&proof, &trust)?;
        check.push(between.elapsed().as_secs_f64() * 1e6);
        make.push((between - start).as_secs_f64() * 1e6);
        bytes += proof.len();
    }
    let mut ranges = Vec::new();
    let mut range_bytes = 0;
    for _ in 0..RANGES {
        let first = dice.below(vault.size().0 - RANGE);
        let asked = Asked::Indexes(EntryIndex(first)..EntryIndex(first + RANGE));
        let (start, mut out) = (Instant::now(), Vec::new());
        vault.prove_range(&asked, None, &mut out)?;
        ranges.push(start.elapsed().as_secs_f64() * 1e6);
        range_bytes += out.len();
    }
    let mut put = |key: &str, value: f64| numbers.insert(format!("prove.{key}"), value);
    put("entries", vault.size().0 as f64);
    let mut times = |name: &str, samples: &mut [f64]| {
        let sum: f64 = samples.iter().sum();
        put(&format!("{name}.per_s"), samples.len() as f64 * 1e6 / sum.max(1e-9));
        put(&format!("{name}.p50_us"), quantile(samples, 0.5));
        put(&format!("{name}.p99_us"), quantile(samples, 0.99));
    };
    times("inclusion", &mut make);
    times("check", &mut check);
    times("range_1000", &mut ranges);
    put("inclusion.bytes", bytes as f64 / PROOFS as f64);
    put("range_1000.bytes", range_bytes as f64 / RANGES as f64);
    drop(vault);
    let _ = std::fs::remove_dir_all(&dir);
    Ok(())
}
