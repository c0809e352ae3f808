//! Body files packed: which may be, what each takes, and the packed form put in the place of the
//! plain one in one step. It never packs a file that is written to, and never reads a group's keys.

use crate::base::unit::ClassDay;
use crate::format::body::{self};
use crate::format::packed::bodies::Rows;
use crate::store::bodies::Bodies;
use crate::store::disk::{DiskFile, Mode};
use crate::store::error::{Error, ErrorKind, Result};
use crate::store::packed::bodies::{self as packed, Finished, Writer};
use std::path::Path;
use std::sync::Arc;

/// Packing: a file of past days is written anew beside itself and put in its own place.
impl Bodies {
    /// Class-days whose files are not packed, ascending.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn list_plain(&self) -> Result<Vec<ClassDay>> {
        let plain =
            |f: &BodyRoom| f.packed.is_none() && !f.damaged && f.plain > body::FILE_HEAD_BYTES;
        Ok(self.room()?.into_iter().filter(plain).map(|f| f.class_day).collect())
    }

    /// What every file takes, ascending by class-day.
    ///
    /// # Errors
    /// Those of listing them.
    pub fn room(&self) -> Result<Vec<BodyRoom>> {
        let mut found = Vec::new();
        for (class_day, _) in self.list()? {
            found.extend(self.room_of(class_day));
        }
        Ok(found)
    }

    /// What the file of a class-day takes; none when there is none. One that cannot be read is
    /// damaged, and says nothing of the others.
    pub fn room_of(&self, class_day: ClassDay) -> Option<BodyRoom> {
        let path = self.path(class_day);
        let file = match self.disk.open(&path, Mode::Read) {
            Err(e) if e.kind == ErrorKind::Missing => return None,
            file => file,
        };
        let len = file.as_ref().ok().and_then(|file| file.len().ok());
        let lengths = file.and_then(|file| {
            let len = file.len()?;
            let packed = len > body::FILE_HEAD_BYTES && self.check_head(&*file, class_day)?;
            Ok(match packed {
                true => (packed::plain_len(&*file, &path)?, Some(len)),
                false => (len, None),
            })
        });
        Some(match lengths {
            Ok((plain, packed)) => BodyRoom { class_day, plain, packed, damaged: false },
            Err(_) => BodyRoom { class_day, plain: len.unwrap_or(0), packed: None, damaged: true },
        })
    }

    /// Whether the file of a class-day is there.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn is_there(&self, class_day: ClassDay) -> Result<bool> {
        self.disk.exists(&self.path(class_day))
    }

    /// The plain file of a class-day and a writer of its packed form; `None` when it is packed.
    ///
    /// # Errors
    /// Those of the disk; `Corrupt` for a file that is another's or longer than what is committed.
    pub fn pack(&self, class_day: ClassDay) -> Result<Option<(Arc<dyn DiskFile>, Writer<'_>)>> {
        let path = self.path(class_day);
        let file = self.disk.open(&path, Mode::Read)?;
        if self.check_head(&*file, class_day)? {
            return Ok(None);
        }
        if self.uncut().contains_key(&class_day) {
            return Err(Error::corrupt(&path, "its end was not cut when the vault was opened"));
        }
        Ok(Some((file, Writer::new(&*self.disk, &path, &self.tenant, class_day))))
    }

    /// Puts a finished packed file in its place, if the plain one is still there: it may have
    /// expired meanwhile. Returns whether it was.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn install(&self, class_day: ClassDay, finished: Finished) -> Result<bool> {
        let _names = self.names.lock().unwrap_or_else(|e| e.into_inner());
        let path = self.path(class_day);
        if !self.disk.exists(&path)? {
            self.remove_unfinished(&path)?;
            return Ok(false);
        }
        self.files().remove(&class_day);
        finished.install(&*self.disk)?;
        Ok(true)
    }

    /// Removes what packings that did not come to their end have left.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn clean(&self) -> Result<()> {
        for class_dir in self.disk.list(&self.dir)?.into_iter().filter(|e| e.is_dir) {
            let dir = self.dir.join(class_dir.name);
            for file in self.disk.list(&dir)? {
                if file.name.ends_with(".seg.new") {
                    self.disk.remove(&dir.join(file.name))?;
                    self.disk.sync_dir(&dir)?;
                }
            }
        }
        Ok(())
    }

    /// Removes what a packing that did not come to its end has left of a class-day.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn discard_unfinished(&self, class_day: ClassDay) -> Result<()> {
        self.remove_unfinished(&self.path(class_day))
    }

    pub(crate) fn remove_unfinished(&self, path: &Path) -> Result<()> {
        let fresh = packed::fresh_path(path);
        if self.disk.exists(&fresh)? {
            self.disk.remove(&fresh)?;
            self.disk.sync_dir(path.parent().unwrap_or(&self.dir))?;
        }
        Ok(())
    }

    /// Rows of a packed file. They never change once it lies in its place.
    pub(crate) fn rows(&self, file: &dyn DiskFile, class_day: ClassDay) -> Result<Arc<Rows>> {
        let mut kept = self.rows.lock().unwrap_or_else(|e| e.into_inner());
        if let Some((_, rows)) = kept.as_ref().filter(|(of, _)| *of == class_day) {
            return Ok(rows.clone());
        }
        let rows = Arc::new(packed::rows(file, &self.path(class_day))?);
        *kept = Some((class_day, rows.clone()));
        Ok(rows)
    }
}

/// What a body file takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyRoom {
    /// Whose.
    pub class_day: ClassDay,
    /// Bytes of the plain file.
    pub plain: u64,
    /// Bytes of the packed one, where that is what is there.
    pub packed: Option<u64>,
    /// It cannot be told whether it is packed; `plain` is its length, if even that can be told.
    pub damaged: bool,
}
