//! Helpers shared by the tests: simulated world, shared data, checks.

pub mod sim;

use std::path::PathBuf;

/// The directory of shared data: `$CHANCERY_SHARED`, or `../shared` beside the crate.
pub(crate) fn shared() -> PathBuf {
    let path = std::env::var_os("CHANCERY_SHARED").map_or("../shared".into(), PathBuf::from);
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}
