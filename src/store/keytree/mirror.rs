//! The second live replica of a shred tree: the same commits, the same root slots, in a directory
//! on another disk. It follows; it never leads. Whatever it misses because it cannot be reached
//! goes on without it, and is said: by its state, and by a marker beside the data, so that a
//! replica that lacks keys is never taken for a whole one when the primary is gone.
//!
//! Order, each step an fsync: commit on the primary, on the mirror; slot on the primary, on the
//! mirror; old slot destroyed on the primary, on the mirror. At every point either replica alone
//! opens, and nothing is acknowledged before both are done or one is known to be away.
//!
//! One that comes back is brought up before the tree answers: names, nodes, then the current slot,
//! then every other slot destroyed, then what lies beside the tree. It is never read for an answer.

mod catchup;

use crate::base::id::ReplicaId;
use crate::base::secret::Key;
use crate::base::unit::Generation;
use crate::base::world::Entropy;
use crate::format::slot::Slot;
use crate::store::disk::{Disk, DiskFile, DiskLock};
use crate::store::error::{Error, ErrorKind, Result};
use crate::store::keytree::KeyTree;
use crate::store::keytree::mirror::catchup::{Brought, bring_up, copy_whole};
use crate::store::keytree::segment::Segment;
use crate::store::replica::copy_secrets;
use crate::store::root::RootStore;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a mirror that has more than the primary does not follow.
const AHEAD: &str = "it has keys that the first directory lacks";
/// Code of two replicas that were written apart.
const PARTED: &str = "KEYS_DIVERGED";

/// Where a mirror of one tree lies.
#[derive(Clone, Debug)]
pub struct MirrorPlace {
    /// Directory of the tenant's tree in it.
    pub dir: PathBuf,
    /// Two key directories: what lies in the first beside its tree follows into the second.
    pub secrets: Option<(PathBuf, PathBuf)>,
    /// Which replica it is.
    pub id: ReplicaId,
    /// File beside the data that says "this replica lacks something".
    pub marker: PathBuf,
    /// Why it cannot be used, if that is known already.
    pub away: Option<String>,
}

/// How a mirror was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Attached {
    /// It held what the primary holds.
    InStep,
    /// It was behind, or held something else, and was scrubbed and brought up.
    BroughtUp,
    /// It is away, for this reason.
    Away(String),
    /// It is further than the primary, which is an older copy: nothing was changed.
    Ahead,
}

/// How many replicas of the tree follow, of how many.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replicas {
    /// Written and scrubbed in step.
    pub live: u8,
    /// In all.
    pub all: u8,
    /// The one that is paired, live or not.
    pub paired: Option<ReplicaId>,
    /// The one that is away, and why.
    pub away: Option<(ReplicaId, String)>,
}

impl Replicas {
    /// As receipts print it: `2/2`.
    pub fn text(&self) -> String {
        format!("{}/{}", self.live, self.all)
    }
}

/// The mirror of an open tree.
pub(crate) struct Mirror {
    disk: Arc<dyn Disk>,
    place: MirrorPlace,
    live: Option<Live>,
    marked: bool,
}

/// What of a mirror is open while it can be reached.
struct Live {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    store: RootStore,
    _lock: Box<dyn DiskLock>,
}

/// The primary, as a mirror is brought up to it.
struct Source<'a> {
    segment: &'a Segment,
    store: &'a RootStore,
    slot: &'a Slot,
    kek: &'a Key,
}

impl Mirror {
    /// Opens the mirror and brings it up. With `forced`, whatever lies there is replaced. Whatever
    /// it comes to, the mirror is there afterwards: one that does not follow is away.
    fn attach(
        disk: Arc<dyn Disk>,
        place: MirrorPlace,
        source: &Source<'_>,
        forced: bool,
        entropy: &dyn Entropy,
    ) -> (Mirror, Result<Attached>) {
        let brought = match &place.away {
            Some(why) => Err(Error::new(ErrorKind::Missing, &place.dir, why.clone())),
            None => bring_up(&disk, &place, source, forced, entropy),
        };
        let mut mirror = Mirror { disk, place, live: None, marked: false };
        let how = match brought {
            Ok(Brought::Ahead) => {
                mirror.place.away = Some(AHEAD.to_owned());
                Ok(Attached::Ahead)
            }
            Ok(Brought::Up { live, changed }) => mirror.follow(*live, changed),
            Err(error) => {
                let why = error.to_string();
                mirror.place.away = Some(why.clone());
                match error.what.starts_with(PARTED) {
                    // Two histories of one key plane are for a person to judge, not for a program.
                    true => Err(error),
                    false => Ok(Attached::Away(why)),
                }
            }
        };
        (mirror, how)
    }

    /// One whose tree was brought up gets what lies beside the tree; then it lacks nothing and
    /// follows from here on. One that cannot take it is marked: it opens nothing alone.
    fn follow(&mut self, live: Live, changed: bool) -> Result<Attached> {
        let copied = match &self.place.secrets {
            Some((from, to)) => copy_secrets(&*self.disk, from, to),
            None => Ok(()),
        };
        if let Err(error) = copied {
            let why = error.to_string();
            self.place.away = Some(why.clone());
            return self.mark().map(|()| Attached::Away(why));
        }
        if let Err(error) = self.unmark() {
            self.place.away = Some(error.to_string());
            return Err(error);
        }
        self.live = Some(live);
        Ok(if changed { Attached::BroughtUp } else { Attached::InStep })
    }

    fn replicas(&self) -> Replicas {
        let away = self.place.away.clone().map(|why| (self.place.id, why));
        let live = 1 + u8::from(away.is_none());
        Replicas { live, all: 2, paired: Some(self.place.id), away }
    }

    /// What the mirror misses from here on is written down before it is acknowledged.
    pub(crate) fn before_write(&mut self) -> Result<()> {
        match self.live {
            Some(_) => Ok(()),
            None => self.mark(),
        }
    }

    pub(crate) fn append(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        self.step(|live| {
            live.file.write_at(at, bytes)?;
            live.file.sync()
        })
    }

    pub(crate) fn put_slot(&mut self, generation: Generation, sealed: &[u8]) -> Result<()> {
        self.step(|live| live.store.put(generation, sealed))
    }

    pub(crate) fn destroy(&mut self, dead: Generation, entropy: &dyn Entropy) -> Result<()> {
        self.step(|live| live.store.destroy(dead, entropy))
    }

    /// Follows a compaction of the primary.
    pub(crate) fn copy_nodes(&mut self, source: &Segment) -> Result<()> {
        let disk = self.disk.clone();
        self.step(|live| {
            live.file = copy_whole(&disk, &live.path, source)?;
            Ok(())
        })
    }

    /// The mirror's bytes, while it can be reached.
    pub(crate) fn read_at(&self, at: u64, len: usize) -> Option<Result<Vec<u8>>> {
        let live = self.live.as_ref()?;
        let mut bytes = vec![0; len];
        Some(live.file.read_exact_at(at, &mut bytes).map(|()| bytes))
    }

    /// The mirror's slot of a generation and what lies in the other place, while it can be reached.
    pub(crate) fn slots(&self, generation: Generation) -> Option<Result<(Vec<u8>, Vec<u8>)>> {
        let store = &self.live.as_ref()?.store;
        let other = Generation(generation.0 + 1);
        let both = || Ok((store.lies_at(generation)?, store.lies_at(other)?));
        Some(both())
    }

    /// Does something on a live mirror. One that fails is away from then on: nothing is tried
    /// twice on it, and the primary goes on.
    fn step(&mut self, act: impl FnOnce(&mut Live) -> Result<()>) -> Result<()> {
        let Some(live) = &mut self.live else { return Ok(()) };
        let Err(error) = act(live) else { return Ok(()) };
        self.live = None;
        self.place.away = Some(error.to_string());
        self.mark()
    }

    fn mark(&mut self) -> Result<()> {
        if !self.marked {
            self.disk.replace(&self.place.marker, format!("{}\n", self.place.id).as_bytes())?;
            self.marked = true;
        }
        Ok(())
    }

    fn unmark(&self) -> Result<()> {
        if !self.disk.exists(&self.place.marker)? {
            return Ok(());
        }
        self.disk.remove(&self.place.marker)?;
        self.place.marker.parent().map_or(Ok(()), |dir| self.disk.sync_dir(dir))
    }
}

impl KeyTree {
    /// Takes a second replica along, which is brought up to this one before anything else is
    /// written. With `forced` it is replaced whatever it holds. One that is ahead, or refused, is
    /// left as it is and counts as away: it lacks whatever this tree is given from here on.
    ///
    /// # Errors
    /// `KEYS_DIVERGED` when both have keys that the other lacks; a mirror that cannot be reached
    /// is no error.
    pub fn attach(
        &mut self,
        place: MirrorPlace,
        forced: bool,
        entropy: &dyn Entropy,
    ) -> Result<Attached> {
        let KeyTree { segment, store, slot, kek, .. } = &*self;
        let source = Source { segment, store, slot, kek };
        let (mirror, how) = Mirror::attach(self.disk.clone(), place, &source, forced, entropy);
        self.mirror = Some(mirror);
        how
    }

    /// Goes on without the second replica, which lacks from here on what is written: the marker
    /// says so first, or it could be taken for a whole one later.
    ///
    /// # Errors
    /// Those of the disk that holds the marker.
    pub fn detach(&mut self) -> Result<()> {
        if let Some(mirror) = &mut self.mirror {
            mirror.mark()?;
        }
        self.mirror = None;
        Ok(())
    }

    /// How many replicas follow.
    pub fn replicas(&self) -> Replicas {
        let single = Replicas { live: 1, all: 1, paired: None, away: None };
        self.mirror.as_ref().map_or(single, Mirror::replicas)
    }
}
