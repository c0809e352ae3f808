//! The twin: this same program built with `sha2`'s plain code, which is how the vault runs on a
//! CPU without the SHA extensions. Masked is all that goes through `sha2`, derivations and last
//! blocks included; the vault's own kernel for those extensions is left out of what is measured.

use crate::args::Args;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds or finds the twin, if it is asked for.
pub(crate) fn find(args: &Args) -> Result<Option<PathBuf>> {
    if let Some(path) = &args.masked_binary {
        return Ok(Some(path.clone()));
    }
    if !args.masked {
        return Ok(None);
    }
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = home.join("target").join("masked");
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(home.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .env("RUSTFLAGS", "--cfg sha2_backend=\"soft\"")
        .status()
        .context("cannot run cargo; build the twin yourself and name it by --masked-binary")?;
    ensure!(built.success(), "the twin does not build");
    Ok(Some(target.join("release").join(env!("CARGO_PKG_NAME"))))
}
