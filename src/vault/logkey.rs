//! The log's signing key and its succession. One key signs at a time; a roll, signed by both, says
//! up to which size the old one may sign, and the entry that holds it is the last thing the old
//! key vouches for. It never signs with a retired key, and never believes one beyond its end.
//!
//! Files in `<keys>/signing/`, each synced before the next step, in both key directories:
//! `log-next.key` (the successor, sealed), `log-until-<size>.note` (the roll), then the entry in
//! the log (the commit point), the checkpoint signed by both, `log.key` replaced, `log-next.key`
//! removed. What a crash left is finished at the next opening: the log says which key is in force.

use crate::base::entry::Kind;
use crate::base::event::Verb;
use crate::base::limits::VAULT_CLASS;
use crate::base::secret::Key;
use crate::base::unit::{ClassId, EntryIndex, TreeSize};
use crate::base::world::random;
use crate::crypto::sign::SigningKey;
use crate::format::checkpoint::Checkpoint;
use crate::format::control;
use crate::format::roll::KeyRoll;
use crate::format::vkey::{Algorithm, Signer, Verifier};
use crate::store::disk::Disk;
use crate::store::error::Error as StoreError;
use crate::store::kek::{Kek, open_secret, seal_secret};
use crate::vault::error::{Error, Result};
use crate::vault::facts::Facts;
use crate::vault::hold::Order;
use crate::vault::sequencer::{Message, Promote, RollAct};
use crate::vault::{Vault, World, clerk};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

/// Label of the log's signing key at rest.
pub(crate) const LABEL: &str = "chancery/v1/signing/log";
/// File of the key in force.
pub(crate) const FILE: &str = "log.key";
/// File of its successor during a roll.
const NEXT: &str = "log-next.key";

/// Who may have signed what: the key in force, and those before it with their ends.
#[derive(Clone)]
pub(crate) struct LogKeys {
    pub(crate) signer: Arc<Signer>,
    /// Ascending by end.
    past: Vec<(Verifier, TreeSize)>,
}

impl LogKeys {
    /// Reads the key in force and the rolls that lead to it.
    pub(crate) fn open(disk: &dyn Disk, signing: &Path, kek: &Kek, origin: &str) -> Result<Self> {
        let signer = Arc::new(signer(disk, &signing.join(FILE), kek, LABEL, origin)?);
        let mut rolls = Vec::new();
        for listed in disk.list(signing)? {
            if listed.name.starts_with("log-until-") && listed.name.ends_with(".note") {
                let roll = KeyRoll::open(&disk.read(&signing.join(&listed.name))?);
                rolls.extend(roll.ok().filter(|roll| roll.new.name() == origin));
            }
        }
        rolls.sort_by_key(|roll| std::cmp::Reverse(roll.until));
        let (mut past, mut next) = (Vec::new(), signer.verifier().clone());
        // A roll that never reached the log leads nowhere.
        for roll in rolls {
            if roll.new == next {
                next = roll.old.clone();
                past.push((roll.old, roll.until));
            }
        }
        past.reverse();
        Ok(LogKeys { signer, past })
    }

    /// The key that signs a unit, or a checkpoint, that ends here.
    pub(crate) fn at(&self, end: TreeSize) -> &Verifier {
        let past = self.past.iter().find(|(_, until)| end <= *until);
        past.map_or(self.signer.verifier(), |(key, _)| key)
    }

    /// Whether a key may vouch for a log of this size: it was in force then, or later.
    pub(crate) fn may_vouch(&self, key: &Verifier, size: TreeSize) -> bool {
        let until = self.past.iter().find(|(past, _)| past == key).map(|(_, until)| *until);
        until.is_none_or(|until| size <= until)
    }

    /// Every key that ever was in force, the newest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Verifier> {
        let past = self.past.iter().rev().map(|(key, _)| key);
        std::iter::once(self.signer.verifier()).chain(past)
    }

    /// Opens a checkpoint by the key in force, or by one before it within its end.
    pub(crate) fn checkpoint(&self, note: &[u8]) -> Result<Checkpoint> {
        let refused = match Checkpoint::open(note, self.signer.verifier()) {
            Ok(checkpoint) => return Ok(checkpoint),
            Err(error) => error,
        };
        for (key, until) in &self.past {
            if let Ok(checkpoint) = Checkpoint::open(note, key) {
                return match checkpoint.size <= *until {
                    true => Ok(checkpoint),
                    false => {
                        let detail = format!("signed by a key that retired at size {until}");
                        Err(Error::evidence("KEY_RETIRED", detail))
                    }
                };
            }
        }
        Err(Error::evidence("CHECKPOINT_SIGNATURE", refused.to_string()))
    }
}

/// Opens a signing key.
pub(crate) fn signer(
    disk: &dyn Disk,
    path: &Path,
    kek: &Kek,
    label: &str,
    name: &str,
) -> Result<Signer> {
    let seed = open_secret(disk, path, kek, label)?;
    let seed = Key::from_slice(&seed)
        .ok_or_else(|| StoreError::corrupt(path, "signing key has a wrong length"))?;
    named(name, &seed)
}

fn named(name: &str, seed: &Key) -> Result<Signer> {
    Signer::new(name, Algorithm::Ed25519, SigningKey::new(seed))
        .map_err(|e| Error::denied("VAULT_NAME", e.to_string()))
}

/// The key the log says is in force; none while it has no genesis.
pub(crate) fn in_force(facts: &Facts) -> Option<Verifier> {
    let last = facts.key_rolls.last().and_then(|(_, roll)| match roll {
        control::KeyRoll::LogKey { note, .. } => KeyRoll::open(note.as_bytes()).ok(),
        _ => None,
    });
    let named = || Verifier::parse(&facts.genesis.as_ref()?.log_key).ok();
    last.map(|roll| roll.new).or_else(named)
}

/// Finishes a roll that the log says and the key directory does not yet, and drops a successor
/// that never came to be.
///
/// # Errors
/// `Evidence` `UNTRUSTED_KEY` when the key the log names is not here.
pub(crate) fn settle(
    disk: &dyn Disk,
    signing: &Path,
    kek: &Kek,
    keys: LogKeys,
    facts: &Facts,
) -> Result<LogKeys> {
    let Some(force) = in_force(facts) else { return Ok(keys) };
    let next = signing.join(NEXT);
    let left = disk.exists(&next)?;
    let origin = keys.signer.verifier().name().to_owned();
    if keys.signer.verifier() != &force {
        // Data from before a roll, beside keys from after it, is judged by the key plane.
        if keys.past.iter().any(|(key, _)| *key == force) {
            return Ok(keys);
        }
        let successor = match left {
            true => Some(signer(disk, &next, kek, LABEL, &origin)?),
            false => None,
        };
        if successor.is_none_or(|next| *next.verifier() != force) {
            let detail = "the log says that another key signs it, and that key is not here: \
                          restore the newest signing keys";
            return Err(Error::evidence("UNTRUSTED_KEY", detail));
        }
        promote(disk, signing)?;
        return LogKeys::open(disk, signing, kek, &origin);
    }
    if left {
        disk.remove(&next)?;
        disk.sync_dir(signing)?;
    }
    Ok(keys)
}

/// The successor takes the place of the key before it.
fn promote(disk: &dyn Disk, signing: &Path) -> Result<()> {
    let next = signing.join(NEXT);
    let sealed = zeroize::Zeroizing::new(disk.read(&next)?);
    disk.replace(&signing.join(FILE), &sealed)?;
    disk.remove(&next)?;
    Ok(disk.sync_dir(signing)?)
}

/// A roll that is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rolled {
    /// Its entry.
    pub index: EntryIndex,
    /// The key that retired.
    pub old: Verifier,
    /// The key in force.
    pub new: Verifier,
    /// Largest size the old one may sign.
    pub until: TreeSize,
    /// The roll, signed by both: whoever pinned the old key follows it.
    pub note: String,
}

impl Vault {
    /// Hands the log over to a fresh key. The vault must be opened again to go on.
    ///
    /// # Errors
    /// `Denied` without two people, or `KEYS_MIRROR_AWAY`: both key directories must have the new
    /// key before the log names it; those of the store.
    pub fn roll_log_key(self, kek: &Kek, order: &Order) -> Result<Rolled> {
        self.writable()?;
        let mode = order.mode()?;
        let replicas = self.key_replicas();
        if replicas.away.is_some() {
            let fix = "the mirror of the keys must be there, or losing the first directory would \
                       lose the new key: mount it first";
            return Err(Error::denied("KEYS_MIRROR_AWAY", fix));
        }
        let prepared = self.prepare_act(Verb::Rotate, ClassId(VAULT_CLASS), order.fields())?;
        let World { disk, entropy, .. } = self.inner.world.clone();
        let dirs = self.inner.key_dirs.clone();
        let mirror = replicas.paired.and(dirs.mirror.clone());
        let places: Vec<PathBuf> =
            std::iter::once(dirs.keys).chain(mirror).map(|dir| dir.join("signing")).collect();
        let seed = Key::new(random(&*entropy));
        let next = Arc::new(named(self.origin(), &seed)?);
        for place in &places {
            seal_secret(&*disk, &place.join(NEXT), kek, LABEL, seed.expose(), &*entropy)?;
        }
        let (shown, writer) = (next.clone(), self.inner.clerk.clone());
        let (files, target) = (disk.clone(), places.clone());
        let act: RollAct = Box::new(move |until, old| {
            let note = KeyRoll::sign(old, &shown, until)
                .map_err(|e| Error::evidence("NOTE_UNSIGNABLE", e.to_string()))?;
            for place in &target {
                let path = place.join(format!("log-until-{until}.note"));
                files.replace(&path, note.as_bytes())?;
            }
            let roll = control::KeyRoll::LogKey { note, mode };
            let clear = control::encode(&roll)?;
            prepared.seal(&writer, Kind::KeyRoll, clear)
        });
        let promoted: Promote =
            Box::new(move || places.iter().try_for_each(|place| promote(&*disk, place)));
        let (reply, answer) = sync_channel(1);
        let message = Message::Roll { next, act, promote: promoted, reply };
        let sent = self.inner.clerk.inbox.send(message);
        let done = sent.ok().and_then(|()| answer.recv().ok());
        let index = done.unwrap_or_else(|| Err(clerk::gone()))?;
        let facts = self.facts_now();
        let roll = facts.key_rolls.last().and_then(|(_, roll)| match roll {
            control::KeyRoll::LogKey { note, .. } => Some(note.clone()),
            _ => None,
        });
        let note = roll.ok_or_else(clerk::gone)?;
        let roll = KeyRoll::open(note.as_bytes())
            .map_err(|e| Error::evidence("UNTRUSTED_KEY", e.to_string()))?;
        Ok(Rolled { index, old: roll.old, new: roll.new, until: roll.until, note })
    }

    /// Every roll of the log key that the log holds, oldest first.
    pub fn key_rolls(&self) -> Vec<String> {
        let facts = self.facts();
        let notes = facts.key_rolls.iter().filter_map(|(_, roll)| match roll {
            control::KeyRoll::LogKey { note, .. } => Some(note.clone()),
            _ => None,
        });
        notes.collect()
    }
}

/// Opens the key-encryption key that a roll seals the new key under.
///
/// # Errors
/// Those of the store.
pub fn kek_of(world: &World, config: &crate::vault::config::Config) -> Result<Kek> {
    let passphrase = config.passphrase.as_deref().map(Vec::as_slice);
    Ok(Kek::open(&*world.disk, &config.keys, passphrase)?)
}
