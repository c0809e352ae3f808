//! A disk in memory, for decoders that read files: nothing of it reaches a real one. It never
//! fails and forgets everything with the run.

use chancery::store::disk::{Disk, DiskFile, DiskLock, Listed, Mode};
use chancery::store::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

type Bytes = Arc<Mutex<Vec<u8>>>;

/// The disk. A clone is the same disk.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<BTreeMap<PathBuf, Bytes>>>);

struct File(PathBuf, Bytes);

struct Lock;

impl DiskLock for Lock {}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}

impl Memory {
    /// An independent copy.
    pub fn fork(&self) -> Memory {
        let files = held(&self.0);
        let copy = |(path, bytes): (&PathBuf, &Bytes)| {
            (path.clone(), Arc::new(Mutex::new(held(bytes).clone())))
        };
        Memory(Arc::new(Mutex::new(files.iter().map(copy).collect())))
    }

    /// Puts a file there.
    pub fn plant(&self, path: &Path, bytes: Vec<u8>) {
        held(&self.0).insert(path.to_owned(), Arc::new(Mutex::new(bytes)));
    }

    /// The bytes of a file.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        held(&self.0).get(path).map(|bytes| held(bytes).clone())
    }
}

fn missing(path: &Path) -> Error {
    Error::new(ErrorKind::Missing, path, "not there")
}

impl DiskFile for File {
    fn read_exact_at(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let file = held(&self.1);
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = file.get(from..).and_then(|rest| rest.get(..bytes.len()));
        let found = found.ok_or_else(|| Error::corrupt(&self.0, "shorter than it must be"))?;
        bytes.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut file = held(&self.1);
        let from = usize::try_from(offset).expect("small");
        let end = from + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file.get_mut(from..end).expect("long enough").copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        held(&self.1).resize(usize::try_from(len).expect("small"), 0);
        Ok(())
    }

    fn len(&self) -> Result<u64> {
        Ok(held(&self.1).len() as u64)
    }
}

impl Disk for Memory {
    fn open(&self, path: &Path, mode: Mode) -> Result<Arc<dyn DiskFile>> {
        let mut files = held(&self.0);
        let bytes = match (files.get(path), mode) {
            (Some(_), Mode::CreateNew) => return Err(Error::new(ErrorKind::Io, path, "there")),
            (Some(bytes), _) => bytes.clone(),
            (None, Mode::Read | Mode::Write) => return Err(missing(path)),
            (None, _) => files.entry(path.to_owned()).or_default().clone(),
        };
        Ok(Arc::new(File(path.to_owned(), bytes)))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        Ok(held(&self.0).keys().any(|known| known.starts_with(path)))
    }

    fn list(&self, dir: &Path) -> Result<Vec<Listed>> {
        let files = held(&self.0);
        let below = files.keys().filter_map(|path| path.strip_prefix(dir).ok());
        let mut listed: Vec<Listed> = below
            .filter_map(|path| {
                let name = path.components().next()?.as_os_str().to_string_lossy().into_owned();
                Some(Listed { name, is_dir: path.components().count() > 1 })
            })
            .collect();
        listed.sort();
        listed.dedup();
        Ok(listed)
    }

    fn create_dir(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut files = held(&self.0);
        let bytes = files.remove(from).ok_or_else(|| missing(from))?;
        files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        held(&self.0).remove(path).map(|_| ()).ok_or_else(|| missing(path))
    }

    fn sync_dir(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn is_private(&self, _: &Path) -> Result<bool> {
        Ok(true)
    }

    fn lock(&self, _: &Path) -> Result<Box<dyn DiskLock>> {
        Ok(Box::new(Lock))
    }
}
