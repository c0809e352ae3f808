//! Packing: body files of past days are written anew with their plaintexts compressed, and closed
//! log segments without the bytes that follow from the others. What was true of a record before
//! is true after: same entries, same commitments, same fate under every erasure and expiry. A
//! vault that is open for writing does it by itself (`packer`); here is who asks for it, and what
//! it came to. It never packs a file that is damaged.

use crate::base::unit::{ClassDay, TreeSize};
use crate::vault::Vault;
use crate::vault::error::{Error, Result};

/// What one file's packing did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Packed {
    /// Files packed.
    pub files: u64,
    /// Bytes before.
    pub plain_bytes: u64,
    /// Bytes after.
    pub packed_bytes: u64,
    /// Groups that were compressed.
    pub compressed: u64,
    /// Groups that stayed as they were: nothing to gain, or no key to open them.
    pub kept: u64,
    /// Files left alone because something in them is damaged; `verify` names it.
    pub damaged: u64,
    /// Body files left alone because they would be no smaller: those of a few groups.
    pub no_smaller: u64,
}

impl Packed {
    /// Adds what another step did.
    pub fn add(&mut self, other: Packed) {
        self.files += other.files;
        self.plain_bytes += other.plain_bytes;
        self.packed_bytes += other.packed_bytes;
        self.compressed += other.compressed;
        self.kept += other.kept;
        self.damaged += other.damaged;
        self.no_smaller += other.no_smaller;
    }

    pub(crate) fn add_file(&mut self, plain: u64, packed: u64) {
        self.files += 1;
        self.plain_bytes += plain;
        self.packed_bytes += packed;
    }
}

/// One file that can be packed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// The bodies of a class-day.
    Bodies(ClassDay),
    /// A segment of the log.
    Segment(u32),
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Bodies(class_day) => write!(f, "bodies of {class_day}"),
            Step::Segment(segment) => write!(f, "log segment {segment:08}"),
        }
    }
}

/// What the background has done since the vault was opened.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Packing {
    /// Whether it is wanted.
    pub on: bool,
    /// The file it works on.
    pub running: Option<Step>,
    /// What it did.
    pub done: Packed,
    /// What failed last: tried again when the next segment is closed or the next day begins.
    /// Nothing is lost by it but room.
    pub failed: Option<String>,
}

/// What files take of one kind that could all be packed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Room {
    /// Packed ones.
    pub packed: u64,
    /// Bytes they would take plainly.
    pub packed_from: u64,
    /// Bytes they take.
    pub packed_to: u64,
    /// Those that are not packed: not yet, or since they would be no smaller.
    pub plain: u64,
    /// Their bytes.
    pub plain_bytes: u64,
    /// Those that cannot be read; `verify` names them.
    pub damaged: u64,
}

impl Room {
    fn of(files: impl Iterator<Item = (u64, Option<u64>)>) -> Room {
        let mut room = Room::default();
        for (plain, packed) in files {
            match packed {
                Some(packed) => {
                    room.packed += 1;
                    room.packed_from += plain;
                    room.packed_to += packed;
                }
                None => {
                    room.plain += 1;
                    room.plain_bytes += plain;
                }
            }
        }
        room
    }
}

impl Vault {
    /// Body files that can be packed: of days before yesterday by log time, since the sequencer
    /// admits frames of today and of yesterday.
    ///
    /// # Errors
    /// Those of the store.
    pub fn packable_bodies(&self) -> Result<Vec<ClassDay>> {
        self.inner.press.past_bodies()
    }

    /// Segments of the log that can be packed: closed, and within the signed checkpoint.
    ///
    /// # Errors
    /// Those of the store.
    pub fn packable_segments(&self) -> Result<Vec<u32>> {
        Ok(self.inner.log.packable(self.surely_signed()?)?)
    }

    /// A size that is signed and durable, so that nothing of it is cut or written again.
    fn surely_signed(&self) -> Result<TreeSize> {
        let size = self.size();
        self.checkpoint()?;
        Ok(size)
    }

    /// Packs one body file. Does nothing to one that is packed or gone.
    ///
    /// # Errors
    /// `Conflict` when frames may still come to it; those of the store and of reading entries.
    pub fn pack_bodies(&self, class_day: ClassDay) -> Result<Packed> {
        self.pack_step(Step::Bodies(class_day))
    }

    /// Packs one closed segment of the log. Does nothing to one that is packed.
    ///
    /// # Errors
    /// `Conflict` for one that is not closed; those of the store.
    pub fn pack_segment(&self, segment: u32) -> Result<Packed> {
        self.pack_step(Step::Segment(segment))
    }

    /// Everything that can be packed now, one file a step.
    ///
    /// # Errors
    /// Those of the store.
    pub fn packable(&self) -> Result<Vec<Step>> {
        let [bodies, segments] = self.inner.press.due(self.surely_signed()?);
        let mut steps = bodies?;
        steps.extend(segments?);
        Ok(steps)
    }

    /// Packs one file. One that is packed, gone or expired meanwhile is passed over.
    ///
    /// # Errors
    /// As `pack_bodies` and `pack_segment`.
    pub fn pack_step(&self, step: Step) -> Result<Packed> {
        self.writable()?;
        let signed = self.surely_signed()?;
        Ok(self.inner.press.step(step, signed, &|| true)?.unwrap_or_default())
    }

    /// Packs everything that can be packed now.
    ///
    /// # Errors
    /// As `pack_step`.
    pub fn pack(&self) -> Result<Packed> {
        let mut done = Packed::default();
        for step in self.packable()? {
            done.add(self.pack_step(step)?);
        }
        Ok(done)
    }

    /// Turns packing in the background on or off. Off, it stops within the file it works on, which
    /// stays as it was.
    pub fn pack_in_background(&self, on: bool) {
        self.inner.bell.want(on && self.inner.read_only.is_none() && !self.inner.clock.is_ahead());
    }

    /// What packing in the background has done.
    pub fn packing(&self) -> Packing {
        self.inner.bell.packing()
    }

    /// Waits until packing in the background has nothing left to do, or has failed, or is off.
    pub fn packing_settled(&self) -> Packing {
        self.inner.bell.settled()
    }

    /// What closed log segments take, and body files of past days.
    ///
    /// # Errors
    /// Those of the store.
    pub fn room(&self) -> Result<(Room, Room)> {
        let today = self.facts().last_time.day();
        let segments = self.inner.log.room(self.size())?;
        let bodies = self.inner.bodies.room()?.into_iter();
        let past: Vec<_> = bodies.filter(|file| file.class_day.day.0 + 1 < today.0).collect();
        let sound = past.iter().filter(|file| !file.damaged).map(|file| (file.plain, file.packed));
        let damaged = past.iter().filter(|file| file.damaged).count() as u64;
        Ok((Room::of(segments.into_iter()), Room { damaged, ..Room::of(sound) }))
    }
}

/// Refused because more may still be written to the file.
pub(crate) fn too_early(fix: &str) -> Error {
    Error::Conflict { code: "PACK_TOO_EARLY", first: None, fix: fix.into() }
}
