//! Erasing: latency and bytes of erasing one of many subjects, receipt entry and checkpoint
//! included.

use crate::base::event::{Draft, Identifier};
use crate::cli::bench::{Numbers, Plan, fresh, quantile};
use crate::vault::World;
use crate::vault::error::Result;
use crate::vault::hold::Order;
use std::time::Instant;

/// Subjects erased.
const ERASED: u32 = 200;

/// Measures.
///
/// # Errors
/// Those of the vault.
pub fn run(world: &World, plan: &Plan<'_>, numbers: &mut Numbers) -> Result<()> {
    let dir = plan.dir.join("erase");
    let (vault, _) = fresh(world, &dir)?;
    let event = |n: u32| {
        format!(
            "{{\"source_seq\":{n},\"actor\":{{\"id\":\"s{n}\"}},\"action\":\"open\",\
             \"category\":\"data\",\"verb\":\"read\",\"outcome\":\"success\"}}"
        )
    };
    let subjects: Vec<u32> = (0..plan.subjects).collect();
    for chunk in subjects.chunks(2_000) {
        let texts: Vec<String> = chunk.iter().map(|n| event(*n)).collect();
        let drafts: Vec<Draft<'_>> =
            texts.iter().map(|t| Draft { source: "canonical/erase", json: t.as_bytes() }).collect();
        vault.append(&drafts)?;
    }
    vault.settle();
    let order =
        Order { requested_by: "bench".to_owned(), approved_by: None, single_operator: true };
    let (mut times, mut written) = (Vec::new(), Vec::new());
    let step = (plan.subjects / ERASED).max(1);
    for n in (0..plan.subjects).step_by(step as usize) {
        let identifier = Identifier { kind: "user_id".into(), value: format!("s{n}").into() };
        let start = Instant::now();
        let erased = vault.erase(&[identifier], "gdpr-17-1", &order)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        written.push(erased.bytes_written as f64);
    }
    numbers.insert("erase.subjects".to_owned(), f64::from(plan.subjects));
    numbers.insert("erase.p50_ms".to_owned(), quantile(&mut times, 0.5));
    numbers.insert("erase.p99_ms".to_owned(), quantile(&mut times, 0.99));
    numbers.insert("erase.bytes_written".to_owned(), quantile(&mut written, 0.5));
    drop(vault);
    let _ = std::fs::remove_dir_all(&dir);
    Ok(())
}
