//! Putting a backup back, beside the keys of today. It never touches a key, never writes over a
//! vault, and never hides that something newer is known. `vault.toml` is written last: until then
//! nothing opens what lies there.
//!
//! Order, each step durable before the next: a mark that names the manifest, every file but
//! `vault.toml` copied and held against the list, the log read as an opening reads it and
//! judged by keys, witnesses and what the caller knows, `vault.toml`, the mark removed. A run that
//! was stopped goes on where it was.

use crate::base::id::Hash32;
use crate::base::unit::{Generation, TreeSize};
use crate::crypto::hash::sha256;
use crate::crypto::lanes::Lanes;
use crate::format::backup::{DATA, FileLine, LIST, MANIFEST, Manifest};
use crate::store::disk::{Disk, DiskLock, Mode};
use crate::store::error::ErrorKind;
use crate::store::kek::Kek;
use crate::store::keytree::{KeyTree, Peek};
use crate::vault::backup::copy::{Copier, GoOn, compare, missing};
use crate::vault::config::{Config, Places, VaultFile};
use crate::vault::error::{Error, Result};
use crate::vault::logkey::LogKeys;
use crate::vault::open::{Opening, signer_of_reports};
use crate::vault::{Notice, Vault, World};
use std::path::Path;

/// Name of the mark in a data directory that is being restored.
const MARK: &str = "restoring";
/// What may lie in a data directory that counts as empty: other tenants have their own.
const NOBODYS: [&str; 5] = ["lock", "lost+found", "others", "reserve", MARK];

/// What to restore, and what is known besides.
pub struct Restoring<'a> {
    /// The backup.
    pub from: &'a Path,
    /// The newest signed checkpoint anybody kept, if there is one.
    pub known: Option<&'a [u8]>,
    /// Go on although something newer is known: what it has more is lost.
    pub accept_older: bool,
    /// Only check the backup, and what is known; write nothing.
    pub check: bool,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// The backup's manifest.
    pub manifest: Manifest,
    /// Generation of the key tree today. Each above the manifest's is an erasure, an expiry or a
    /// growth since: what those destroyed stays destroyed.
    pub generation: Generation,
    /// The keys were last changed by an act that this log does not hold: it opens for reading
    /// only, as `LOG_BEHIND_KEYS`.
    pub behind_keys: bool,
    /// Size of the newest log that anybody asked knows.
    pub known: Option<TreeSize>,
    /// What the reading of the log found worth saying.
    pub notices: Vec<Notice>,
}

/// The manifest, the list, and the vault they are of.
struct Found {
    manifest: Manifest,
    list: Vec<FileLine>,
    file: VaultFile,
    mark: Hash32,
    kek: Kek,
}

impl Vault {
    /// Restores the data directory that the configuration names from a backup. Nothing when told
    /// to stop.
    ///
    /// # Errors
    /// `Evidence`: `BACKUP_*` for a backup that is not what was signed, `ROLLED_BACK` when a
    /// longer log is known, `ROOT_GEN_ROLLBACK` when the keys are older than the backup,
    /// `INCONSISTENT` when the checkpoint that is known belongs to another history; `Denied`
    /// `RESTORE_TARGET` when the directory is not empty; what `open` says of the log and the keys.
    pub fn restore(
        world: World,
        config: &Config,
        ask: &Restoring<'_>,
        go_on: GoOn<'_>,
    ) -> Result<Option<Restored>> {
        let disk = world.disk.clone();
        let found = find(&world, config, ask.from)?;
        let places = Places::of(&config.data, &config.keys, &found.file.tenant);
        let (tenant, key) = (found.file.tenant, found.kek.key());
        let peek = KeyTree::peek(disk.clone(), &places.tree, tenant, key)?;
        let known = known(&*disk, &places, &found, ask)?;
        let restored = judge(&found, &peek, known.map(|(size, _)| size), ask.accept_older)?;
        let from = ask.from.join(DATA);
        if ask.check {
            let whole = compare(&*disk, &from, &found.list, go_on)?;
            return Ok(whole.then_some(restored));
        }
        let _lock = begin(&*disk, &config.data, &found.mark)?;
        if !put_back(&*disk, &from, &config.data, &found.list, go_on)? {
            return Ok(None);
        }
        let notices = read(&world, config, &found, known, ask.accept_older)?;
        let text = disk.read(&from.join("vault.toml"))?;
        disk.replace(&config.data.join("vault.toml"), &text)?;
        disk.remove(&config.data.join(MARK))?;
        disk.sync_dir(&config.data)?;
        Ok(Some(Restored { notices, ..restored }))
    }
}

/// Reads and checks what was signed, with the report key beside the keys of today.
fn find(world: &World, config: &Config, from: &Path) -> Result<Found> {
    let disk = &*world.disk;
    let note = match disk.read(&from.join(MANIFEST)) {
        Err(e) if e.kind == ErrorKind::Missing => {
            let detail = "no manifest.note: no backup, or one that was not finished";
            return Err(Error::evidence("BACKUP_INCOMPLETE", detail));
        }
        note => note?,
    };
    let file = VaultFile::read(disk, &from.join(DATA))?;
    let places = Places::of(&config.data, &config.keys, &file.tenant);
    let passphrase = config.passphrase.as_deref().map(Vec::as_slice);
    let kek = Kek::open(disk, &config.keys, passphrase)?;
    let reports = signer_of_reports(world, &places, &kek, &file)?;
    let refused = |e: crate::format::backup::BackupError| Error::evidence(e.code(), e.to_string());
    let manifest = Manifest::open(&note, reports.verifier()).map_err(refused)?;
    if manifest.origin != file.origin() {
        return Err(Error::evidence("BACKUP_MALFORMED", "the manifest is of another vault"));
    }
    let list = match disk.read(&from.join(LIST)) {
        Err(e) if e.kind == ErrorKind::Missing => {
            return Err(Error::evidence("BACKUP_FILE_MISSING", LIST));
        }
        list => manifest.read_list(&list?).map_err(refused)?,
    };
    Ok(Found { manifest, list, file, mark: sha256(&[&note]), kek })
}

/// The checkpoint that the caller kept, if this log's key signed it.
fn known(
    disk: &dyn Disk,
    places: &Places,
    found: &Found,
    ask: &Restoring<'_>,
) -> Result<Option<(TreeSize, Hash32)>> {
    let Some(note) = ask.known else { return Ok(None) };
    let keys = LogKeys::open(disk, &places.signing, &found.kek, &found.file.origin())?;
    let checkpoint = keys.checkpoint(note)?;
    Ok(Some((checkpoint.size, checkpoint.root)))
}

/// What keys and caller know, before anything is written.
fn judge(
    found: &Found,
    peek: &Peek,
    known: Option<TreeSize>,
    accept_older: bool,
) -> Result<Restored> {
    let manifest = &found.manifest;
    if peek.generation < manifest.generation {
        let detail = format!(
            "the key tree is at generation {}, the backup's log announced {}: these keys are an \
             old copy; find the newest",
            peek.generation, manifest.generation
        );
        return Err(Error::evidence("ROOT_GEN_ROLLBACK", detail));
    }
    if let Some(size) = known.filter(|size| *size > manifest.size && !accept_older) {
        let detail = format!(
            "the backup holds {} entries, the checkpoint given {size}; find a newer backup, or \
             lose what is between",
            manifest.size
        );
        return Err(Error::evidence("ROLLED_BACK", detail));
    }
    Ok(Restored {
        manifest: manifest.clone(),
        generation: peek.generation,
        behind_keys: peek.log_size > manifest.size,
        known: known.max((peek.log_size.0 > 0).then_some(peek.log_size)),
        notices: Vec::new(),
    })
}

/// Takes an empty directory, or one where this very restore was begun.
fn begin(disk: &dyn Disk, data: &Path, manifest: &Hash32) -> Result<Box<dyn DiskLock>> {
    let mark = data.join(MARK);
    let begun = disk.exists(&mark)? && disk.read(&mark)? == manifest.to_string().as_bytes();
    let mut full = false;
    for listed in disk.list(data)?.iter().filter(|l| !NOBODYS.contains(&&*l.name)) {
        full |= holds_files(disk, &data.join(&listed.name), listed.is_dir)?;
    }
    if disk.exists(&data.join("vault.toml"))? || (full && !begun) {
        let fix = "the data directory is not empty; move what is there aside, or name another";
        return Err(Error::denied("RESTORE_TARGET", fix));
    }
    disk.create_dir(data)?;
    let lock = disk.lock(&data.join("lock"))?;
    disk.replace(&mark, manifest.to_string().as_bytes())?;
    Ok(lock)
}

/// Whether this is a file or a directory with one in it; empty directories are nothing.
fn holds_files(disk: &dyn Disk, path: &Path, is_dir: bool) -> Result<bool> {
    let mut open = vec![path.to_owned()];
    while let Some(dir) = open.pop().filter(|_| is_dir) {
        for listed in disk.list(&dir)? {
            if !listed.is_dir {
                return Ok(true);
            }
            open.push(dir.join(&listed.name));
        }
    }
    Ok(!is_dir)
}

/// Copies every file but the one that says "a vault is here". False when told to stop.
fn put_back(
    disk: &dyn Disk,
    from: &Path,
    data: &Path,
    list: &[FileLine],
    go_on: GoOn<'_>,
) -> Result<bool> {
    let mut copier = Copier::new(disk, go_on);
    for line in list {
        let source = from.join(&line.name);
        if line.name == "vault.toml" {
            let found = sha256(&[&disk.read(&source)?]);
            if found != line.sha256 {
                return Err(Error::evidence("BACKUP_FILE_CHANGED", line.name.clone()));
            }
            continue;
        }
        let changed = || Error::evidence("BACKUP_FILE_CHANGED", line.name.clone());
        let len = match disk.open(&source, Mode::Read) {
            Err(e) if e.kind == ErrorKind::Missing => return Err(missing(line)),
            file => file?.len()?,
        };
        if len != line.bytes {
            return Err(changed());
        }
        let copied = copier.copy(&source, &data.join(&line.name), line.bytes)?;
        match copied {
            None => return Ok(false),
            Some(hash) if hash == line.sha256 => {}
            Some(_) => return Err(changed()),
        }
    }
    Ok(true)
}

/// Reads the restored log as an opening would, and asks whoever would be asked then.
fn read(
    world: &World,
    config: &Config,
    found: &Found,
    known: Option<(TreeSize, Hash32)>,
    accept_older: bool,
) -> Result<Vec<Notice>> {
    let opening = Opening::read(world.clone(), config, found.file.clone(), Lanes::detect())?;
    let notices = opening.stands(config, accept_older)?;
    if let Some((size, root)) = known.filter(|(size, _)| *size <= found.manifest.size)
        && !opening.had_root(size, &root)?
    {
        let detail = "the checkpoint given belongs to another history than this backup";
        return Err(Error::evidence("INCONSISTENT", detail));
    }
    Ok(notices)
}
