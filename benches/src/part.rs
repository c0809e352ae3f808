//! Further measurements of the vault alone, those of `chancery bench`, each in a process of its
//! own so that its peak memory is its own.

use anyhow::{Context, Result, anyhow};
use chancery::cli::bench::{Plan, run as bench};
use chancery::cli::world::world;
use serde_json::{Map, Value};
use std::path::Path;

/// Runs one part; the answer has the dotted keys of `chancery bench --json`.
pub(crate) fn run(spec: &Value) -> Result<Value> {
    let text = |key: &str| spec.get(key).and_then(Value::as_str).context("an incomplete spec");
    let number = |key: &str| spec.get(key).and_then(Value::as_u64).context("an incomplete spec");
    let only = [text("part")?.to_owned()];
    let plan = Plan {
        dir: Path::new(text("dir")?),
        seconds: u32::try_from(number("seconds")?)?,
        subjects: u32::try_from(number("subjects")?)?,
        only: &only,
    };
    let numbers = bench(&world(), &plan, &mut |_| {}).map_err(|error| anyhow!("{error}"))?;
    Ok(Value::Object(numbers.into_iter().map(|(k, v)| (k, Value::from(v))).collect::<Map<_, _>>()))
}
