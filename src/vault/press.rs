//! The press: packs one file at a time, whoever asks, and may be told to stop between any two
//! groups. It holds what it needs and no more: it cannot append, and it holds no lock while it
//! writes. It never loses a group it cannot open, and gives nothing back that expired meanwhile.

use crate::base::entry::{Entry, Head};
use crate::base::id::{SubjectTag, TenantId};
use crate::base::record::{Fate, RecordField};
use crate::base::unit::{ClassDay, EntryIndex, TreeSize};
use crate::base::world::Entropy;
use crate::crypto::aead;
use crate::format::body::{self, Frame};
use crate::format::packed::plain::Squeezer;
use crate::store::bodies::Bodies;
use crate::store::error::{Error as StoreError, ErrorKind};
use crate::store::log::UnitLog;
use crate::store::packed::bodies::{Ended, Finished, Writer, each_run};
use crate::store::packed::segment::GoOn;
use crate::vault::clock::LogClock;
use crate::vault::error::{Error, Result};
use crate::vault::facts::Facts;
use crate::vault::keys::Keyring;
use crate::vault::pack::{Packed, Step, too_early};
use crate::vault::proven::Proven;
use crate::vault::read::{commits_digest, open_body, sealing_key};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Frames worked on at a time: their entries are held in memory.
const RUN_FRAMES: usize = 2_048;

/// What packing works with.
#[derive(Clone)]
pub(crate) struct Press {
    pub(crate) tenant: TenantId,
    pub(crate) log: Arc<UnitLog>,
    pub(crate) proven: Proven,
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) facts: Arc<RwLock<Facts>>,
    pub(crate) clock: Arc<LogClock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Held while a file is packed: two must not write the same one.
    pub(crate) one: Arc<Mutex<()>>,
}

/// Why a file was not packed to its end.
enum Halt {
    /// Told to.
    Stopped,
    /// It expired meanwhile.
    Gone,
    /// Packed it would be no smaller.
    NoSmaller,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Failed(error)
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Halt::Failed(error.into())
    }
}

impl Press {
    /// The day by log time: what is before yesterday is past.
    pub(crate) fn today(&self) -> crate::base::unit::Day {
        self.facts.read().unwrap_or_else(PoisonError::into_inner).last_time.day()
    }

    fn is_past(&self, class_day: ClassDay) -> bool {
        class_day.day.0 + 1 < self.today().0
    }

    /// Body files of past days that are not packed.
    pub(crate) fn past_bodies(&self) -> Result<Vec<ClassDay>> {
        let listed = self.bodies.list_plain()?;
        Ok(listed.into_iter().filter(|class_day| self.is_past(*class_day)).collect())
    }

    /// Everything that can be packed now, bodies and segments, each as far as they can be listed.
    /// Bodies first: they are read through their entries, which takes longer from a packed segment.
    pub(crate) fn due(&self, signed: TreeSize) -> [Result<Vec<Step>>; 2] {
        let bodies = self.past_bodies().map(|all| all.into_iter().map(Step::Bodies).collect());
        let segments = self.log.packable(signed);
        let segments = segments.map(|all| all.into_iter().map(Step::Segment).collect());
        [bodies, segments.map_err(Error::from)]
    }

    /// Packs one file; one that is packed or gone is passed over. `None` when told to stop: then
    /// the file lies there as before.
    pub(crate) fn step(
        &self,
        step: Step,
        signed: TreeSize,
        go_on: GoOn<'_>,
    ) -> Result<Option<Packed>> {
        let _one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        match step {
            Step::Segment(segment) => self.segment(segment, signed, go_on),
            Step::Bodies(class_day) if self.is_past(class_day) => {
                match self.bodies_of(class_day, go_on) {
                    Ok(done) => Ok(Some(done)),
                    Err(halt) => self.halted(class_day, halt),
                }
            }
            Step::Bodies(_) => Err(too_early("pack days before yesterday: later ones may grow")),
        }
    }

    fn segment(&self, number: u32, signed: TreeSize, go_on: GoOn<'_>) -> Result<Option<Packed>> {
        if !self.log.packable(signed)?.contains(&number) {
            let rows = self.log.segment_rows();
            let closed = rows.iter().take(self.log.closed(signed)).any(|r| r.segment == number);
            return match closed {
                true => Ok(Some(Packed::default())),
                false => Err(too_early("pack closed segments: this one is still written to")),
            };
        }
        match self.log.pack(number, self.tenant, go_on) {
            Ok(saved) => Ok(saved.map(|saved| {
                let mut done = Packed::default();
                done.add_file(saved.plain, saved.packed);
                done
            })),
            Err(e) if e.kind == ErrorKind::Corrupt => Ok(Some(damaged())),
            Err(e) => Err(e.into()),
        }
    }

    /// Removes what was written so far, and says how it ended.
    fn halted(&self, class_day: ClassDay, halt: Halt) -> Result<Option<Packed>> {
        // What stays for want of a disk goes at the next opening.
        let removed = self.bodies.discard_unfinished(class_day);
        match halt {
            Halt::Stopped => removed.map(|()| None).map_err(Error::from),
            Halt::Gone => removed.map(|()| Some(Packed::default())).map_err(Error::from),
            Halt::NoSmaller => {
                removed?;
                Ok(Some(Packed { no_smaller: 1, ..Packed::default() }))
            }
            Halt::Failed(Error::Unavailable(e)) if e.kind == ErrorKind::Corrupt => {
                removed?;
                Ok(Some(damaged()))
            }
            Halt::Failed(error) => Err(error),
        }
    }

    fn bodies_of(&self, class_day: ClassDay, go_on: GoOn<'_>) -> std::result::Result<Packed, Halt> {
        let (file, mut writer) = match self.bodies.pack(class_day) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Packed::default()),
            Err(e) if e.kind == ErrorKind::Missing => return Err(Halt::Gone),
            Err(e) => return Err(e.into()),
        };
        let path = self.bodies.path(class_day);
        let squeezer = Squeezer::new().map_err(Error::from)?;
        let mut packer = Packer { press: self, go_on, squeezer, done: Packed::default() };
        let plain_len = each_run(&*file, &path, RUN_FRAMES, &mut |frames| {
            // Its room is wanted back, not held by whoever has it open.
            if !self.bodies.is_there(class_day)? {
                return Err(Halt::Gone);
            }
            packer.run(frames, &mut writer)
        })?;
        let mut done = packer.done;
        let finished = self.finish(class_day, writer, plain_len, go_on)?;
        let (plain, packed) = (finished.plain, finished.packed);
        if !self.bodies.install(class_day, finished)? {
            return Err(Halt::Gone);
        }
        done.add_file(plain, packed);
        Ok(done)
    }

    fn finish(
        &self,
        class_day: ClassDay,
        writer: Writer<'_>,
        plain_len: u64,
        go_on: GoOn<'_>,
    ) -> std::result::Result<Finished, Halt> {
        match writer.finish(plain_len, go_on) {
            // An expiry takes away what is unfinished too.
            Err(e) if e.kind == ErrorKind::Missing && !self.bodies.is_there(class_day)? => {
                Err(Halt::Gone)
            }
            ended => match ended? {
                Ended::Whole(finished) => Ok(finished),
                Ended::NoSmaller => Err(Halt::NoSmaller),
                Ended::Stopped => Err(Halt::Stopped),
            },
        }
    }
}

/// A file that is left alone.
fn damaged() -> Packed {
    Packed { damaged: 1, ..Packed::default() }
}

/// One file being packed.
struct Packer<'p> {
    press: &'p Press,
    go_on: GoOn<'p>,
    squeezer: Squeezer,
    done: Packed,
}

impl Packer<'_> {
    /// Seals a run of frames anew where that is shorter.
    fn run(
        &mut self,
        frames: &[(u64, Frame<'_>)],
        writer: &mut Writer<'_>,
    ) -> std::result::Result<(), Halt> {
        let mut indexes: Vec<EntryIndex> = frames.iter().map(|(_, f)| f.index).collect();
        indexes.dedup();
        let mut rest = frames.iter().peekable();
        let proven = self.press.proven.clone();
        proven.for_entries_at(&indexes, &mut |entry: Entry| {
            if !(self.go_on)() {
                return Err(Halt::Stopped);
            }
            while let Some((offset, frame)) = rest.next_if(|(_, f)| f.index == entry.index) {
                if frame.record != entry.head.record {
                    let path = "a body that is not its entry's";
                    return Err(Error::evidence("BODY_AUTH_FAIL", path).into());
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
        let cache = self.press.keys.owners(&self.press.clock)?;
        let Some(base) = self.press.keys.base_key_of(&cache, class_day, &tags) else {
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
        self.press.entropy.fill(&mut nonce);
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
