//! The key plane as an opening finds it: which of two key directories counts, whether it fits the
//! log, and the other one brought up to it. It never takes a key directory that the log does not
//! explain, never reads an answer from the mirror, and never lets an older copy of either win.
//!
//! The newer generation wins if the log explains it; of one generation, the one that has more.
//! What lost is scrubbed and written anew before anything is served.

use crate::base::id::TenantId;
use crate::base::unit::Generation;
use crate::base::world::Entropy;
use crate::store::disk::Disk;
use crate::store::error::{Error as StoreError, ErrorKind};
use crate::store::kek::Kek;
use crate::store::keytree::{Attached, KeyTree, MirrorPlace, Peek};
use crate::store::log::UnitLog;
use crate::store::replica::{self, Paired};
use crate::store::tiles::Tiles;
use crate::vault::Notice;
use crate::vault::config::{Config, Places};
use crate::vault::error::{Error, Result};
use crate::vault::facts::Facts;
use crate::vault::receipt::Ledger;
use crate::vault::recover;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the key plane lies.
#[derive(Clone, Debug)]
pub(crate) struct KeyDirs {
    pub(crate) keys: PathBuf,
    pub(crate) mirror: Option<PathBuf>,
    /// Beside the data: the mirror lacks something.
    pub(crate) marker: PathBuf,
    pub(crate) tenant: TenantId,
}

impl KeyDirs {
    pub(crate) fn of(config: &Config, places: &Places, tenant: TenantId) -> Self {
        let (keys, mirror) = (config.keys.clone(), config.mirror.clone());
        KeyDirs { keys, mirror, marker: places.keys_behind(), tenant }
    }

    pub(crate) fn tree_in(&self, dir: &Path) -> PathBuf {
        dir.join(self.tenant.to_string())
    }

    /// The mirror these keys are paired with.
    pub(crate) fn paired(&self, disk: &dyn Disk) -> Result<Option<Paired>> {
        Ok(replica::paired(disk, &self.keys, self.mirror.as_deref())?)
    }

    /// Where the mirror's tree lies.
    pub(crate) fn place(&self, paired: &Paired) -> MirrorPlace {
        let dir = self.tree_in(self.mirror.as_ref().unwrap_or(&self.keys));
        let (id, away) = (paired.id, paired.away.clone());
        let secrets = self.mirror.as_ref().map(|mirror| (self.keys.clone(), mirror.clone()));
        MirrorPlace { dir, secrets, id, marker: self.marker.clone(), away }
    }
}

/// What the log binds the key plane to.
pub(crate) struct Judge<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) log: &'a UnitLog,
    pub(crate) tiles: &'a Tiles,
    pub(crate) ledger: Option<&'a Ledger>,
}

impl Judge<'_> {
    /// Whether a root fits the log; why the vault is for reading only, if so.
    pub(crate) fn judge(&self, peek: &Peek) -> Result<Option<&'static str>> {
        let mut read_only = None;
        let (announced, root) = self.facts.root;
        let size = self.log.size();
        let empty = size.0 == 0;
        if peek.log_size > size {
            read_only = Some("LOG_BEHIND_KEYS");
        } else if !empty && peek.generation < announced {
            let detail = format!(
                "key tree is at generation {}, the log announced {announced}: an old copy of the \
                 keys was put back; restore the newest keys",
                peek.generation
            );
            return Err(Error::evidence("ROOT_GEN_ROLLBACK", detail));
        } else if !empty && peek.generation == announced && peek.root_hash != root {
            let detail = "root of the key tree is not the one the log announced";
            return Err(Error::evidence("ROOT_HASH_MISMATCH", detail));
        } else if !empty && peek.generation > announced {
            let next = peek.generation.0 == announced.0 + 1;
            if !(next && self.facts.intent_open_at(announced)) {
                let detail = "key tree changed without an intent in the log";
                return Err(Error::evidence("ROOT_HASH_MISMATCH", detail));
            }
        }
        if let Some(ledger) = self.ledger {
            ledger.check(peek.generation, self.facts, size)?;
        }
        let known = peek.log_size.0 == 0 || peek.log_size > size;
        if !known && !recover::had_root(self.log, self.tiles, peek.log_size, &peek.log_root)? {
            let detail = "the key tree was last changed beside another history of this log";
            return Err(Error::evidence("INCONSISTENT", detail));
        }
        Ok(read_only)
    }

    /// Which of the two counts: true for the mirror.
    fn choose(
        &self,
        primary: &Peek,
        mirror: Option<&Peek>,
    ) -> Result<(bool, Option<&'static str>)> {
        let other = mirror.filter(|m| {
            m.generation > primary.generation
                || (m.generation == primary.generation && m.root_hash != primary.root_hash)
        });
        let Some(other) = other else { return Ok((false, self.judge(primary)?)) };
        let order = match other.generation > primary.generation {
            true => [(true, other), (false, primary)],
            false => [(false, primary), (true, other)],
        };
        let mut refused = None;
        for (mirror, peek) in order {
            match self.judge(peek) {
                Ok(read_only) => return Ok((mirror, read_only)),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.unwrap_or(Error::Overloaded))
    }
}

/// A key plane that fits the log, not yet opened.
pub(crate) struct Chosen {
    pub(crate) read_only: Option<&'static str>,
    paired: Option<Paired>,
    from_mirror: bool,
}

/// Looks at both directories and decides. Changes nothing.
///
/// # Errors
/// The verdicts of the log about the key plane; those of the store.
pub(crate) fn choose(
    disk: &Arc<dyn Disk>,
    dirs: &KeyDirs,
    kek: &Kek,
    judge: &Judge<'_>,
) -> Result<Chosen> {
    let paired = dirs.paired(&**disk)?;
    let peek = |dir: &Path| KeyTree::peek(disk.clone(), &dirs.tree_in(dir), dirs.tenant, kek.key());
    let here = paired.as_ref().filter(|paired| paired.away.is_none());
    let mirror = here.and(dirs.mirror.as_deref()).and_then(|dir| peek(dir).ok());
    let primary = match peek(&dirs.keys) {
        Err(error) if mirror.is_some() => return Err(lost(&dirs.keys, &error.to_string()).into()),
        primary => primary?,
    };
    let (from_mirror, read_only) = judge.choose(&primary, mirror.as_ref())?;
    Ok(Chosen { read_only, paired, from_mirror })
}

/// The primary is not there and a mirror is.
pub(crate) fn lost(keys: &Path, why: &str) -> StoreError {
    let what = format!("KEYS_PRIMARY_LOST: {why}; the mirror has keys");
    StoreError::new(ErrorKind::Missing, keys, what)
}

/// Opens what was chosen and brings the other one up.
///
/// # Errors
/// `KEYS_DIVERGED`; those of the store.
pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    dirs: &KeyDirs,
    kek: &Kek,
    chosen: &Chosen,
    entropy: &dyn Entropy,
) -> Result<(KeyTree, Vec<Notice>)> {
    let mut notices = Vec::new();
    // The pairing may have been read from a name that is not durable: lost, it would leave a
    // mirror behind that no erasure reaches.
    disk.sync_dir(&dirs.keys)?;
    if chosen.from_mirror {
        rebuild_primary(disk, dirs, kek, entropy)?;
        notices.push(rebuilt());
    }
    let open =
        || KeyTree::open(disk.clone(), &dirs.tree_in(&dirs.keys), dirs.tenant, kek.key(), entropy);
    let mut tree = open()?;
    let Some(paired) = &chosen.paired else {
        notices.push(single(dirs.mirror.is_some()));
        return Ok((tree, notices));
    };
    let mut how = tree.attach(dirs.place(paired), false, entropy)?;
    if how == Attached::Ahead {
        refuse_other_root(disk, dirs, kek, tree.generation())?;
        drop(tree);
        rebuild_primary(disk, dirs, kek, entropy)?;
        notices.push(rebuilt());
        tree = open()?;
        how = tree.attach(dirs.place(paired), false, entropy)?;
    }
    notices.extend(settle(how)?);
    Ok((tree, notices))
}

/// Says how the mirror was found.
pub(crate) fn settle(how: Attached) -> Result<Option<Notice>> {
    let (code, text) = match how {
        Attached::Away(why) => (
            "KEYS_MIRROR_AWAY",
            format!(
                "the second key directory cannot be used ({why}); keys go into one directory \
                 only, and erasures say E2-partial until it is back"
            ),
        ),
        Attached::Ahead => return Err(Error::evidence(DIVERGED, BOTH_WRITTEN)),
        Attached::InStep => return Ok(None),
        Attached::BroughtUp => {
            let text = "the second key directory had missed something; its old roots were \
                        destroyed and it was brought up before anything was served";
            ("KEYS_MIRROR_BROUGHT_UP", text.to_owned())
        }
    };
    Ok(Some(Notice { code, text }))
}

const DIVERGED: &str = "KEYS_DIVERGED";
const BOTH_WRITTEN: &str = "both key directories have keys that the other lacks; keep both, and \
                            decide which one counts";

/// An older copy of one generation may be brought up; a root that the log did not explain may not.
fn refuse_other_root(
    disk: &Arc<dyn Disk>,
    dirs: &KeyDirs,
    kek: &Kek,
    generation: Generation,
) -> Result<()> {
    let dir = dirs.mirror.as_ref().unwrap_or(&dirs.keys);
    let peek = KeyTree::peek(disk.clone(), &dirs.tree_in(dir), dirs.tenant, kek.key())?;
    match peek.generation == generation {
        true => Ok(()),
        false => {
            let detail = format!(
                "the mirror is at generation {}, the keys at {generation}, and the log does not \
                 explain the mirror's; keep it aside and look who wrote it",
                peek.generation
            );
            Err(Error::evidence("ROOT_HASH_MISMATCH", detail))
        }
    }
}

/// Writes the primary anew from the mirror: the same step in the other direction.
pub(crate) fn rebuild_primary(
    disk: &Arc<dyn Disk>,
    dirs: &KeyDirs,
    kek: &Kek,
    entropy: &dyn Entropy,
) -> Result<Generation> {
    let mirror = dirs.mirror.as_ref().unwrap_or(&dirs.keys);
    let id = replica::mirror_in(&**disk, mirror)?;
    let id = id.ok_or_else(|| Error::evidence(DIVERGED, "keys.mirror holds no mirror"))?;
    // Named first: a half restored directory must not pass for a lone one.
    replica::name(&**disk, &dirs.keys, id)?;
    let mut tree =
        KeyTree::open(disk.clone(), &dirs.tree_in(mirror), dirs.tenant, kek.key(), entropy)?;
    let dir = dirs.tree_in(&dirs.keys);
    // It has no marker of its own: the primary never falls behind and goes on.
    let marker = dir.join("restoring");
    let place = MirrorPlace { dir, secrets: None, id, marker, away: None };
    if let Attached::Away(why) = tree.attach(place, true, entropy)? {
        return Err(StoreError::new(ErrorKind::Io, &dirs.keys, why).into());
    }
    let generation = tree.generation();
    drop(tree);
    replica::copy_secrets(&**disk, mirror, &dirs.keys)?;
    Ok(generation)
}

fn rebuilt() -> Notice {
    let text = "the key directory was an older copy than its mirror; it was scrubbed and written \
                anew from the mirror";
    Notice { code: "KEYS_PRIMARY_REBUILT", text: text.to_owned() }
}

fn single(configured: bool) -> Notice {
    let text = match configured {
        false => "keys lie in one directory only: losing it loses every sealed field",
        true => {
            "keys lie in one directory only: keys.mirror is named and not made yet; `chancery keys \
             mirror` makes it"
        }
    };
    Notice { code: "KEYS_SINGLE_COPY", text: text.to_owned() }
}
