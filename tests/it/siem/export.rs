//! Exports as files: whole or not there, at every point where the disk may fail.

use crate::support::passed::passed_on;
use chancery::base::id::{Hash32, RecordId, hex};
use chancery::base::unit::EntryIndex;
use chancery::forward::file::{About, Export, FileError, Manifest};
use chancery::store::disk::{Disk, DiskFile, DiskLock, Listed, Mode, OsDisk};
use chancery::store::error::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const ABOUT: About = About { format: "cef", preset: "tokens", mapping: Hash32([9; 32]) };

fn write(disk: &dyn Disk, dir: &Path, lines: u64) -> std::result::Result<Manifest, FileError> {
    let mut export = Export::create(disk, dir, "out.cef")?;
    for n in 0..lines {
        let line = format!("CEF:0|V|P|1|a.b|N|1|cn1={n} cn1Label=Log Index");
        export.push(EntryIndex(n * 2), RecordId([n as u8; 16]), line.as_bytes())?;
    }
    export.finish(&ABOUT, &|text: &str| Ok(text.to_owned()))
}

fn names(dir: &Path) -> Vec<String> {
    OsDisk.list(dir).unwrap().into_iter().map(|listed| listed.name).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[test]
fn what_is_signed_is_what_the_page_says() {
    for lines in [0, 1, 7] {
        let dir = tempfile::tempdir().unwrap();
        let manifest = write(&OsDisk, dir.path(), lines).unwrap();
        let signed = chancery::format::export::Export::parse(&manifest.text).unwrap();
        assert_eq!((signed.count, signed.sha256), (lines, manifest.sha256));
        assert_eq!((signed.first, signed.last), (manifest.first, manifest.last));
    }
}

#[test]
fn an_export_is_three_files_and_a_signed_manifest() {
    let files = ["out.cef", "out.cef.manifest.jsonl", "out.cef.manifest.note", "out.cef.sha256"];
    let dir = tempfile::tempdir().unwrap();
    let manifest = write(&OsDisk, dir.path(), 9_000).unwrap();
    assert_eq!(names(dir.path()), files);
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    let (lines, events) = (read("out.cef"), read("out.cef.manifest.jsonl"));
    let sums = String::from_utf8(read("out.cef.sha256")).unwrap();
    let (a, b) = (sha256(&lines), sha256(&events));
    assert_eq!(sums, format!("{a}  out.cef\n{b}  out.cef.manifest.jsonl\n"));
    let text: serde_json::Value = serde_json::from_str(&manifest.text).unwrap();
    let canonical = serde_json_canonicalizer::to_string(&text).unwrap() + "\n";
    assert_eq!(manifest.text, canonical);
    assert_eq!(read("out.cef.manifest.note"), manifest.text.as_bytes(), "what was signed");
    assert_eq!((text["sha256"].as_str(), text["events_sha256"].as_str()), (Some(&*a), Some(&*b)));
    assert_eq!((text["first"].as_u64(), text["last"].as_u64()), (Some(0), Some(17_998)));
    assert_eq!((text["count"].as_u64(), manifest.count), (Some(9_000), 9_000));
    let lines = String::from_utf8(lines).unwrap();
    let events = String::from_utf8(events).unwrap();
    assert_eq!(lines.lines().count(), 9_000);
    for (n, (line, event)) in lines.lines().zip(events.lines()).enumerate() {
        let event: serde_json::Value = serde_json::from_str(event).unwrap();
        assert_eq!(event["index"].as_u64(), Some(n as u64 * 2));
        assert_eq!(event["sha256"].as_str(), Some(&*sha256(line.as_bytes())));
        assert_eq!(event["record"].as_str(), Some(&*RecordId([n as u8; 16]).to_string()));
    }
    assert!(OsDisk.is_private(&dir.path().join("out.cef")).unwrap());
}

#[test]
fn an_empty_export_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = write(&OsDisk, dir.path(), 0).unwrap();
    assert_eq!((manifest.count, manifest.first, manifest.last), (0, None, None));
    assert!(manifest.text.contains("\"count\":0,") && manifest.text.contains("\"first\":null"));
    assert_eq!(names(dir.path()).len(), 4);
}

#[test]
fn what_is_not_one_event_a_line_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut export = Export::create(&OsDisk, dir.path(), "a").unwrap();
    let record = RecordId([1; 16]);
    for line in ["", "a\nb", "a\r", "a\0"] {
        let error = export.push(EntryIndex(1), record, line.as_bytes()).unwrap_err();
        assert!(matches!(error, FileError::LineUnsafe(EntryIndex(1))), "{error}");
    }
    export.push(EntryIndex(5), record, b"x").unwrap();
    for index in [5, 4] {
        let error = export.push(EntryIndex(index), record, b"y").unwrap_err();
        assert!(matches!(error, FileError::OutOfOrder { .. }), "{error}");
    }
    assert_eq!(export.finish(&ABOUT, &|text: &str| Ok(text.to_owned())).unwrap().count, 1);
    for name in ["", ".", "..", "-a", ".a", "a/b", "a b", "a\\b", "\u{eb}", &"x".repeat(201)] {
        let error = Export::create(&OsDisk, dir.path(), name).err().unwrap();
        assert!(matches!(error, FileError::NameUnsafe), "{name}");
    }
}

/// `out.cef` would have replaced the lines of an export named `out.cef.manifest.jsonl`.
#[test]
fn an_export_cannot_take_the_name_of_anothers_manifest() {
    let dir = tempfile::tempdir().unwrap();
    for ending in ["part", "sha256", "manifest.jsonl", "manifest.note", "SHA256", "Part"] {
        let name = format!("out.cef.{ending}");
        let error = Export::create(&OsDisk, dir.path(), &name).err().unwrap();
        assert!(matches!(error, FileError::NameUnsafe), "{name}");
        assert!(error.to_string().contains(".manifest.jsonl"), "{error}");
    }
    assert!(Export::create(&OsDisk, dir.path(), "out.manifest").is_ok());
}

#[test]
fn an_export_is_never_replaced_and_a_given_up_one_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write(&OsDisk, dir.path(), 3).unwrap();
    let before = std::fs::read(dir.path().join("out.cef")).unwrap();
    assert!(matches!(write(&OsDisk, dir.path(), 4), Err(FileError::Exists(_))));
    assert_eq!(std::fs::read(dir.path().join("out.cef")).unwrap(), before);

    for (unnamed, meanwhile) in [(true, 4), (false, 6)] {
        let disk = Failing { left: Arc::new(AtomicUsize::new(usize::MAX)), unnamed };
        let mut export = Export::create(&disk, dir.path(), "other").unwrap();
        export.push(EntryIndex(1), RecordId([1; 16]), b"line").unwrap();
        assert_eq!(names(dir.path()).len(), meanwhile);
        drop(export);
        assert_eq!(names(dir.path()).len(), 4);
    }
}

/// The real disk until its `left`-th change, which fails, and every one after it.
struct Failing {
    left: Arc<AtomicUsize>,
    /// Whether it knows files without a name.
    unnamed: bool,
}

struct FailingFile {
    inner: Arc<dyn DiskFile>,
    left: Arc<AtomicUsize>,
}

fn step(left: &AtomicUsize) -> Result<()> {
    match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::new(ErrorKind::Io, Path::new("disk"), "failed on purpose")),
    }
}

impl DiskFile for FailingFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        step(&self.left)?;
        self.inner.write_at(offset, bytes)
    }
    fn sync(&self) -> Result<()> {
        step(&self.left)?;
        self.inner.sync()
    }
    fn set_len(&self, len: u64) -> Result<()> {
        step(&self.left)?;
        self.inner.set_len(len)
    }
    fn link(&self, path: &Path) -> Result<()> {
        step(&self.left)?;
        self.inner.link(path)
    }

    passed_on!(inner: read_exact_at len);
}

impl Disk for Failing {
    fn open(&self, path: &Path, mode: Mode) -> Result<Arc<dyn DiskFile>> {
        step(&self.left)?;
        let inner = OsDisk.open(path, mode)?;
        Ok(Arc::new(FailingFile { inner, left: Arc::clone(&self.left) }))
    }
    fn create_unnamed(&self, dir: &Path) -> Result<Option<Arc<dyn DiskFile>>> {
        if !self.unnamed {
            return Ok(None);
        }
        step(&self.left)?;
        let made = OsDisk.create_unnamed(dir)?;
        let left = Arc::clone(&self.left);
        Ok(made.map(|inner| Arc::new(FailingFile { inner, left }) as Arc<dyn DiskFile>))
    }
    fn exists(&self, path: &Path) -> Result<bool> {
        OsDisk.exists(path)
    }
    fn list(&self, dir: &Path) -> Result<Vec<Listed>> {
        OsDisk.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> Result<()> {
        OsDisk.create_dir(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        step(&self.left)?;
        OsDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> Result<()> {
        step(&self.left)?;
        OsDisk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> Result<()> {
        step(&self.left)?;
        OsDisk.sync_dir(dir)
    }
    fn is_private(&self, path: &Path) -> Result<bool> {
        OsDisk.is_private(path)
    }
    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>> {
        OsDisk.lock(path)
    }
}

/// What a kill leaves: no destructor runs, and every descriptor closes.
#[test]
fn a_killed_export_leaves_no_line_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut export = Export::create(&OsDisk, dir.path(), "out.cef").unwrap();
    let line = "x".repeat(1000);
    for n in 0..600 {
        export.push(EntryIndex(n), RecordId([1; 16]), line.as_bytes()).unwrap();
    }
    std::mem::forget(export);
    assert_eq!(names(dir.path()), Vec::<String>::new());
    // Where files must have names, the next export of that name removes them.
    let named = Failing { left: Arc::new(AtomicUsize::new(usize::MAX)), unnamed: false };
    let mut export = Export::create(&named, dir.path(), "out.cef").unwrap();
    export.push(EntryIndex(0), RecordId([1; 16]), line.as_bytes()).unwrap();
    std::mem::forget(export);
    assert_eq!(names(dir.path()), ["out.cef.manifest.jsonl.part", "out.cef.part"]);
    write(&OsDisk, dir.path(), 10).unwrap();
    assert!(names(dir.path()).iter().all(|name| !name.ends_with(".part")));
}

#[test]
fn an_export_that_appeared_meanwhile_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let mut export = Export::create(&OsDisk, dir.path(), "out.cef").unwrap();
    export.push(EntryIndex(0), RecordId([1; 16]), b"x").unwrap();
    std::fs::write(dir.path().join("out.cef"), "theirs").unwrap();
    assert!(export.finish(&ABOUT, &|text: &str| Ok(text.to_owned())).is_err());
    assert_eq!(std::fs::read(dir.path().join("out.cef")).unwrap(), b"theirs");
}

#[test]
fn a_failing_disk_leaves_nothing_half_written_under_a_final_name() {
    [false, true].into_iter().for_each(never_half_written);
}

fn never_half_written(unnamed: bool) {
    let whole = tempfile::tempdir().unwrap();
    write(&OsDisk, whole.path(), 5_000).unwrap();
    let expect = |name: &str| std::fs::read(whole.path().join(name)).unwrap();
    let mut failures = 0;
    for steps in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let disk = Failing { left: Arc::new(AtomicUsize::new(steps)), unnamed };
        let outcome = write(&disk, dir.path(), 5_000);
        let found = names(dir.path());
        let is_final = |name: &&String| !name.ends_with(".part") && !name.ends_with(".new");
        for name in found.iter().filter(is_final) {
            assert_eq!(std::fs::read(dir.path().join(name)).unwrap(), expect(name), "{steps}");
        }
        if found.iter().any(|name| name == "out.cef") {
            assert_eq!(found.iter().filter(is_final).count(), 4);
        }
        if outcome.is_ok() {
            break;
        }
        failures += 1;
        // The next run on a healthy disk succeeds over the remnants, unless the export is whole.
        match write(&OsDisk, dir.path(), 5_000) {
            Ok(_) => assert_eq!(names(dir.path()).len(), 4),
            Err(error) => assert!(matches!(error, FileError::Exists(_)), "{error}"),
        }
    }
    assert!(failures > 12, "{failures}");
}
