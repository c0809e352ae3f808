//! Tests of the tests: on a device that acknowledges syncs and does nothing, the promises cannot
//! hold, and the crash matrix must say so. One lie for each kind of file that a commit depends on:
//! lying about a file is the same as a vault that forgets to sync it.

use super::matrix::{SMALL, Size, crash};
use super::scenes::all;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the matrix says of a scene on a device that lies about some paths; none if nothing.
fn found(scene: &str, lie: &str) -> Option<String> {
    let scenes = all();
    let scene = scenes.iter().find(|s| s.name == scene).expect("a scene");
    let size = Size { nested: 0, whole: 1, ..SMALL };
    let run = || crash(scene, 1, size, Some(lie));
    let error = catch_unwind(AssertUnwindSafe(run)).err()?;
    Some(error.downcast_ref::<String>().cloned().unwrap_or_default())
}

#[test]
fn a_vault_that_skips_a_sync_is_caught() {
    for (scene, lie, says) in [
        // The unit is not on the medium when the answer is given.
        ("append one", "/log/", "acknowledged"),
        // The record is there and its body is not, or torn.
        ("append one", "/bodies/", "not {Open}"),
        // A key is used before it is durable.
        ("insert new persons", "nodes.seg", ""),
        // The new root is not durable when the old one is destroyed.
        ("erase one", "/root.", ""),
        ("growth of the key tree", "/root.", ""),
        // A checkpoint is shown before it is whole.
        ("publish the checkpoint", "checkpoint", ""),
    ] {
        let found = found(scene, lie);
        println!("{scene}, {lie}: {found:?}");
        let found = found.unwrap_or_else(|| panic!("{scene}: nobody noticed the lie about {lie}"));
        assert!(found.contains(says), "{scene}, {lie}: {found}");
    }
}

#[test]
fn an_honest_device_is_not_accused() {
    for scene in ["append one", "publish the checkpoint"] {
        assert_eq!(found(scene, "no such path"), None);
    }
}
