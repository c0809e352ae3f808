//! The format is frozen: the page names the sources it describes, vectors and a small vault never
//! change by accident, and all of it is computed a second time from the page alone.
//! `UPDATE=1` rewrites the files; whoever does so has changed the format and says so.

pub(crate) mod by_the_page;
mod complete;
mod crate_side;
mod derived;
mod packed;
mod story;

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn updating() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// Compares with a golden file, or writes it.
fn golden(name: &str, found: &str) {
    let path = home().join("tests/golden/format").join(name);
    if updating() {
        std::fs::write(&path, found).unwrap();
    }
    let expect = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (expect, found)) in expect.lines().zip(found.lines()).enumerate() {
        assert_eq!(found, expect, "{name}, line {}", number + 1);
    }
    assert_eq!(found.len(), expect.len(), "{name}");
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, found) } else { found.push(path) }
    }
}

/// What the page's line must say.
fn source_hash() -> String {
    let root = home().join("src/format");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let name = |path: &PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        name.replace(std::path::MAIN_SEPARATOR, "/")
    };
    let mut named: Vec<(String, PathBuf)> = files.into_iter().map(|p| (name(&p), p)).collect();
    named.sort();
    assert!(named.len() > 20, "src/format was not found");
    let mut hash = Sha256::new();
    for (name, path) in named {
        hash.update(by_the_page::lp16(name.as_bytes()));
        hash.update(by_the_page::lp32(&std::fs::read(path).unwrap()));
    }
    by_the_page::hex(&hash.finalize())
}

#[test]
fn the_page_describes_these_sources() {
    const LINE: &str = "src/format hash: ";
    let path = home().join("docs/format.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let hash = source_hash();
    let stated = page.lines().find_map(|line| line.strip_prefix(LINE)).unwrap();
    if updating() {
        let page = page.replace(&format!("{LINE}{stated}"), &format!("{LINE}{hash}"));
        std::fs::write(&path, page).unwrap();
        return;
    }
    assert_eq!(
        stated, hash,
        "src/format changed: compare docs/format.md with it, then run this test with UPDATE=1"
    );
}

#[test]
fn vectors_are_frozen() {
    let vectors = crate_side::vectors();
    assert!(vectors.len() > 80, "{}", vectors.len());
    golden("vectors.json", &(serde_json::to_string_pretty(&vectors).unwrap() + "\n"));
}

#[test]
fn the_page_alone_gives_the_same_vectors() {
    let (ours, page) = (crate_side::vectors(), by_the_page::vectors());
    for (name, value) in &page {
        assert_eq!(ours.get(name), Some(value), "{name}");
    }
    let names = |v: &crate_side::Vectors| v.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&page));
}
