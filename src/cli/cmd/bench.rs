//! `chancery bench`: runs the measurements and prints one table, or one JSON object with stable
//! dotted keys.

use crate::cli::args::make::Bench;
use crate::cli::bench::{self, Plan};
use crate::cli::cmd::done;
use crate::cli::error::Failure;
use crate::cli::output::{Align, Table};
use crate::cli::run::Context;
use crate::cli::world::world;
use anyhow::Result;
use serde_json::{Map, Value};
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Bench) -> Result<ExitCode> {
    let own = format!("chancery-bench-{}", std::process::id());
    let base = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = base.join(own);
    std::fs::create_dir_all(&dir).map_err(|e| {
        Failure::failed("STORE_IO", format!("cannot make {}: {e}; name --dir", dir.display()))
    })?;
    let plan = Plan { dir: &dir, seconds: args.seconds, subjects: args.subjects, only: &args.only };
    let mut said = Vec::new();
    let result = bench::run(&world(), &plan, &mut |what| said.push(what.to_owned()));
    let _ = std::fs::remove_dir_all(&dir);
    let numbers = result?;
    for line in &said {
        context.out.say(line)?;
    }
    let mut object = Map::new();
    let mut table = Table::new(&[("measurement", Align::Left), ("value", Align::Right)]);
    table.row(&["cpu.features".to_owned(), bench::cpu_features()]);
    object.insert("cpu.features".to_owned(), Value::String(bench::cpu_features()));
    for (key, value) in numbers {
        table.row(&[key.clone(), format!("{value:.2}")]);
        object.insert(key, Value::from(value));
    }
    context.out.object(&Value::Object(object))?;
    if !context.out.style.json {
        context.out.table(&table)?;
    }
    done()
}
