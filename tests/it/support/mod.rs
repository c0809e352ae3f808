//! Helpers shared by the tests: simulated world, shared data, checks.

pub(crate) mod sim;

use std::path::PathBuf;

/// The folder of shared vectors and data: `$CHANCERY_SHARED`, or `../shared` beside the crate.
pub(crate) fn shared() -> PathBuf {
    match std::env::var_os("CHANCERY_SHARED") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    }
}
