//! `chancery demo`: the whole story in a directory of its own. It needs no vault and touches none.

use crate::cli::args::make::Demo;
use crate::cli::cmd::done;
use crate::cli::demo::run;
use crate::cli::run::Context;
use anyhow::Result;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Demo) -> Result<ExitCode> {
    let stop = context.stop.clone();
    run::run(&mut context.out, args, &|| stop.load(Ordering::Relaxed))?;
    done()
}
