//! Packing: body files of past days are written anew with their plaintexts compressed, and closed
//! log segments without the bytes that follow from the others. What was true of a record before
//! is true after: same entries, same commitments, same fate under every erasure and expiry. It
//! never packs a file that is damaged, never loses a group it cannot open, and gives nothing back
//! that had expired meanwhile.

use crate::base::entry::{Entry, Head};
use crate::base::id::SubjectTag;
use crate::base::record::{Fate, RecordField};
use crate::base::unit::{ClassDay, Day, EntryIndex};
use crate::crypto::aead;
use crate::format::body::{self, Frame};
use crate::format::packed::plain::Squeezer;
use crate::store::error::ErrorKind;
use crate::store::packed::bodies::{Writer, each_run};
use crate::store::packed::segment::Saved;
use crate::vault::Vault;
use crate::vault::error::{Error, Result};
use crate::vault::read::{commits_digest, open_body, sealing_key};

/// Frames worked on at a time: their entries are held in memory.
const RUN_FRAMES: usize = 2_048;

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
    }

    fn add_file(&mut self, plain: u64, packed: u64) {
        self.files += 1;
        self.plain_bytes += plain;
        self.packed_bytes += packed;
    }
}

impl Vault {
    /// Body files that can be packed: of days before yesterday by log time, since the sequencer
    /// admits frames of today and of yesterday.
    ///
    /// # Errors
    /// Those of the store.
    pub fn packable_bodies(&self) -> Result<Vec<ClassDay>> {
        let today = self.facts().last_time.day();
        let past = |class_day: &ClassDay| class_day.day.0 + 1 < today.0;
        let listed = self.inner.bodies.list_plain()?;
        Ok(listed.into_iter().filter(past).collect())
    }

    /// Packs one body file. Does nothing to one that is packed or gone.
    ///
    /// # Errors
    /// `Conflict` when frames may still come to it; those of the store and of reading entries.
    pub fn pack_bodies(&self, class_day: ClassDay) -> Result<Packed> {
        self.writable()?;
        let today: Day = self.facts().last_time.day();
        if class_day.day.0 + 1 >= today.0 {
            let fix = "pack days before yesterday: later ones may still grow";
            return Err(Error::Conflict { code: "PACK_TOO_EARLY", first: None, fix: fix.into() });
        }
        let bodies = &self.inner.bodies;
        let (file, mut writer) = match bodies.pack(class_day) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Packed::default()),
            Err(e) if e.kind == ErrorKind::Missing => return Ok(Packed::default()),
            Err(e) => return Err(e.into()),
        };
        self.inner.keys.learn_owners(self.inner.clock.now().day().month())?;
        let mut packer =
            Packer { vault: self, squeezer: Squeezer::new()?, done: Packed::default() };
        let path = bodies.path(class_day);
        let read =
            each_run(&*file, &path, RUN_FRAMES, &mut |frames| packer.run(frames, &mut writer));
        let plain_len = match read {
            Ok(len) => len,
            Err(Error::Unavailable(e)) if e.kind == ErrorKind::Corrupt => {
                drop(writer);
                bodies.discard_unfinished(class_day)?;
                return Ok(Packed { damaged: 1, ..Packed::default() });
            }
            Err(e) => return Err(e),
        };
        let mut done = packer.done;
        let finished = writer.finish(plain_len)?;
        let (plain, packed) = (finished.plain, finished.packed);
        if !bodies.install(class_day, finished)? {
            return Ok(Packed::default());
        }
        done.add_file(plain, packed);
        Ok(done)
    }
}

/// Packing the log.
impl Vault {
    /// Segments of the log that can be packed: closed, and within the signed checkpoint.
    ///
    /// # Errors
    /// Those of the store.
    pub fn packable_segments(&self) -> Result<Vec<u32>> {
        // Signed and durable up to here, so that nothing of it is cut or written again.
        let size = self.size();
        self.checkpoint()?;
        Ok(self.inner.log.packable(size)?)
    }

    /// Packs one closed segment of the log.
    ///
    /// # Errors
    /// Those of the store.
    pub fn pack_segment(&self, segment: u32) -> Result<Packed> {
        self.writable()?;
        match self.inner.log.pack(segment, self.inner.tenant) {
            Ok(Saved { plain, packed }) => {
                let mut done = Packed::default();
                done.add_file(plain, packed);
                Ok(done)
            }
            Err(e) if e.kind == ErrorKind::Corrupt => {
                Ok(Packed { damaged: 1, ..Packed::default() })
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Everything that can be packed now, one file a step.
    ///
    /// # Errors
    /// Those of the store.
    pub fn packable(&self) -> Result<Vec<Step>> {
        let bodies = self.packable_bodies()?.into_iter().map(Step::Bodies);
        let segments = self.packable_segments()?.into_iter().map(Step::Segment);
        Ok(bodies.chain(segments).collect())
    }

    /// Packs one file. One that is packed, gone or expired meanwhile is passed over.
    ///
    /// # Errors
    /// As `pack_bodies` and `pack_segment`.
    pub fn pack_step(&self, step: Step) -> Result<Packed> {
        match step {
            Step::Bodies(class_day) => self.pack_bodies(class_day),
            Step::Segment(segment) => self.pack_segment(segment),
        }
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
}

/// One file that can be packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

/// One file being packed.
struct Packer<'v> {
    vault: &'v Vault,
    squeezer: Squeezer,
    done: Packed,
}

impl Packer<'_> {
    /// Seals a run of frames anew where that is shorter.
    fn run(&mut self, frames: &[(u64, Frame<'_>)], writer: &mut Writer<'_>) -> Result<()> {
        let mut indexes: Vec<EntryIndex> = frames.iter().map(|(_, f)| f.index).collect();
        indexes.dedup();
        let mut rest = frames.iter().peekable();
        self.vault.for_entries_at(&indexes, &mut |entry: Entry| {
            while let Some((offset, frame)) = rest.next_if(|(_, f)| f.index == entry.index) {
                if frame.record != entry.head.record {
                    let path = "a body that is not its entry's";
                    return Err(Error::evidence("BODY_AUTH_FAIL", path));
                }
                match self.squeezed(&entry, frame)? {
                    Some((nonce, sealed)) => {
                        let alg = body::ALG_COMPRESSED;
                        writer.push(*offset, Frame { alg, nonce, sealed: &sealed, ..*frame })?;
                        self.done.compressed += 1;
                    }
                    None => {
                        writer.push(*offset, *frame)?;
                        self.done.kept += 1;
                    }
                }
            }
            Ok(())
        })
    }

    /// The same group under a compressed plaintext; `None` when that gains nothing or it does not
    /// open today.
    fn squeezed(
        &mut self,
        entry: &Entry,
        frame: &Frame<'_>,
    ) -> Result<Option<([u8; 12], Vec<u8>)>> {
        let head = &entry.head;
        if frame.alg != body::ALG_AES256GCM {
            return Ok(None);
        }
        let Some(group) = head.groups.get(usize::from(frame.group)) else { return Ok(None) };
        let class_day = ClassDay { class: group.class, day: group.bucket };
        let of = |at: &u8| head.tags.get(usize::from(*at)).copied();
        let tags: Vec<SubjectTag> = group.tags.iter().filter_map(of).collect();
        // The guard is held while the key is in use, so that an erasure waits for it.
        let cache = self.vault.owners()?;
        let Some(base) = self.vault.inner.keys.base_key_of(&cache, class_day, &tags) else {
            return Ok(None);
        };
        if open_body(head, frame.group, &base, frame, &mut fields(head)) != Fate::Open {
            return Ok(None);
        }
        let digest = commits_digest(head, frame.group);
        let aad = body::aad(head, frame.group, &digest);
        let old = sealing_key(&base, frame.alg, &head.record, frame.group, &digest);
        let Ok(plain) = aead::open(&old, &frame.nonce, &aad, frame.sealed) else { return Ok(None) };
        let Some(squeezed) = self.squeezer.squeeze(&plain) else { return Ok(None) };
        let mut nonce = [0; 12];
        self.vault.inner.world.entropy.fill(&mut nonce);
        let alg = body::ALG_COMPRESSED;
        let key = sealing_key(&base, alg, &head.record, frame.group, &digest);
        let mut sealed = squeezed.to_vec();
        aead::seal_in_place(&key, &nonce, &aad, &mut sealed, 0);
        let (intact, sealed_now) = (true, sealed.as_slice());
        let again = Frame { alg, nonce, sealed: sealed_now, intact, ..*frame };
        // Opened once more as every reader will, before the old one may go.
        match open_body(head, frame.group, &base, &again, &mut fields(head)) {
            Fate::Open => Ok(Some((nonce, sealed))),
            _ => Ok(None),
        }
    }
}

/// Places for the fields of an entry, to be opened into.
fn fields(head: &Head) -> Vec<RecordField> {
    let empty = head.fields.iter().map(|f| RecordField {
        name: f.name.clone(),
        group: f.group,
        value: None,
        salt: None,
    });
    empty.collect()
}
