//! `chancery verify`.

use crate::cli::args::record::Verify;
use crate::cli::error::Failure;
use crate::cli::run::Context;
use anyhow::Result;
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(_context: &mut Context, _args: &Verify) -> Result<ExitCode> {
    Err(Failure::failed("NOT_AVAILABLE", "not available in this build; nothing was done").into())
}
