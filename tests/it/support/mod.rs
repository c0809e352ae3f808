//! Helpers shared by the tests: simulated world, shared data, checks.

pub(crate) mod artefacts;
pub(crate) mod clinic;
pub(crate) mod interrupt;
pub(crate) mod keyhole;
pub(crate) mod lives;
pub(crate) mod passed;
pub(crate) mod receiver;
pub(crate) mod sim;
pub(crate) mod service;
pub(crate) mod split;
pub(crate) mod unread;
pub(crate) mod witness;
pub(crate) mod world;

use std::path::PathBuf;

/// The folder of shared vectors and data: `$CHANCERY_SHARED`, or `../shared` beside the crate.
pub(crate) fn shared() -> PathBuf {
    let path = std::env::var_os("CHANCERY_SHARED").map_or("../shared".into(), PathBuf::from);
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}
