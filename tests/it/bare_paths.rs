//! Paths as people type them: relative, without a directory. Each works on a directory of its own,
//! in a process of its own, because the working directory is the whole process's.

use chancery::store::disk::{Disk, Mode, OsDisk};
use std::path::Path;
use std::process::Command;

const CHILD: &str = "CHANCERY_TEST_IN_BARE_DIRECTORY";

#[test]
fn a_bare_relative_path_is_a_place_like_any_other() {
    if std::env::var_os(CHILD).is_some() {
        return in_here();
    }
    let dir = tempfile::tempdir().unwrap();
    let name = "bare_paths::a_bare_relative_path_is_a_place_like_any_other";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(CHILD, "1")
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
    assert!(dir.path().join("keys/deep/er").is_dir());
}

fn in_here() {
    for dir in ["data", "data", "keys/deep/er", "keys", "./dotted", "dotted/../again"] {
        OsDisk.create_dir(Path::new(dir)).unwrap_or_else(|e| panic!("{dir}: {e}"));
        assert!(Path::new(dir).is_dir(), "{dir}");
    }
    OsDisk.replace(Path::new("file"), b"one").unwrap();
    OsDisk.replace(Path::new("file"), b"two").unwrap();
    assert_eq!(OsDisk.read(Path::new("file")).unwrap(), b"two");
    OsDisk.rename(Path::new("file"), Path::new("other")).unwrap();
    OsDisk.sync_dir(Path::new("")).unwrap();
    assert!(OsDisk.open(Path::new("file"), Mode::Read).is_err());
}
