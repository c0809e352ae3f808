//! A witness (C2SP tlog-witness v1.0.0): cosigns a checkpoint only if the log grew out of the last
//! one it cosigned. It keeps one note per log and nothing else; it never sees an entry. It never
//! shows a cosignature before the checkpoint is durable, and never moves back: a request is held
//! against what this process knows, and the file against what this process left there.
//!
//! ```text
//! <dir>/lock
//! <dir>/logs/<SHA-256 of the origin, hex>/latest        newest cosigned note, ours included
//! <dir>/logs/<SHA-256 of the origin, hex>/evidence/     what a log sent that does not fit
//! ```
//! Order of an answer: check; write `latest.new`, sync, rename, sync the directory; answer.

use crate::base::id::hex;
use crate::base::unit::{TreeSize, UtcNanos};
use crate::crypto::hash::sha256;
use crate::crypto::merkle::{EMPTY_ROOT, verify_consistency};
use crate::format::checkpoint::Checkpoint;
use crate::format::note::{self, Note, NoteError};
use crate::format::vkey::{Algorithm, Signer, Verifier};
use crate::format::witness::{AddCheckpoint, RequestError, SIZE_TYPE, lines_of, size_body};
use crate::store::disk::{Disk, DiskLock};
use crate::store::error::{Error, ErrorKind, Result};
use crate::store::heads::Head;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Pieces of evidence kept of one log and verdict: the first ones tell, and a disk must not fill.
/// What any stranger can send has no part in the room for what only the log's key can sign.
const EVIDENCE_MAX: usize = 64;
const TEXT: &str = "text/plain; charset=utf-8";

/// An answer, before anything is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Content type.
    pub content_type: &'static str,
    /// Body.
    pub body: String,
    /// What an operator should know, if anything.
    pub alarm: Option<String>,
}

impl Answer {
    fn refuse(status: u16, why: impl std::fmt::Display) -> Answer {
        Answer { status, content_type: TEXT, body: format!("{why}\n"), alarm: None }
    }

    fn conflict(size: TreeSize) -> Answer {
        Answer { status: 409, content_type: SIZE_TYPE, body: size_body(size), alarm: None }
    }
}

/// A witness with its state.
pub struct Witness {
    disk: Arc<dyn Disk>,
    signer: Signer,
    logs: BTreeMap<String, Log>,
    _lock: Box<dyn DiskLock>,
}

/// One log it watches.
struct Log {
    keys: Vec<Verifier>,
    dir: PathBuf,
    state: Mutex<State>,
}

/// What it knows of a log. Held while a request is checked and persisted: of two at once, the
/// second meets the first one's size.
struct State {
    head: Head,
    latest: Option<Vec<u8>>,
    checkpoint: Checkpoint,
    /// A write failed: what is on disk is not known any more.
    failed: bool,
}

impl Witness {
    /// Opens the state in `dir`. `logs` are the keys of the logs it watches; an origin may have
    /// more than one while its key rolls.
    ///
    /// # Errors
    /// `Corrupt` for a state that this witness did not sign, `Locked`, and those of the disk.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        signer: Signer,
        logs: &[Verifier],
    ) -> Result<Witness> {
        if signer.verifier().algorithm() != Algorithm::CosignatureV1 {
            let what = "WITNESS_KEY: a witness signs with a key of type 0x04";
            return Err(Error::corrupt(dir, what));
        }
        disk.create_dir(dir)?;
        let lock = disk.lock(&dir.join("lock"))?;
        let mut known: BTreeMap<String, Log> = BTreeMap::new();
        for key in logs {
            if let Some(log) = known.get_mut(key.name()) {
                log.keys.push(key.clone());
                continue;
            }
            let dir = dir.join("logs").join(hex(&sha256(&[key.name().as_bytes()]).0));
            disk.create_dir(&dir)?;
            let state = State::load(&disk, &dir, key.name(), signer.verifier())?;
            let log = Log { keys: vec![key.clone()], dir, state: Mutex::new(state) };
            known.insert(key.name().to_owned(), log);
        }
        Ok(Witness { disk, signer, logs: known, _lock: lock })
    }

    /// Its public key.
    pub fn key(&self) -> &Verifier {
        self.signer.verifier()
    }

    /// Origins it watches, with the size it last cosigned.
    pub fn watched(&self) -> Vec<(String, TreeSize)> {
        let size = |log: &Log| lock(&log.state).checkpoint.size;
        self.logs.iter().map(|(origin, log)| (origin.clone(), size(log))).collect()
    }

    /// The newest cosigned note of the log whose origin has this SHA-256. Ours, not the
    /// specification's, which leaves retrieval open: 404 as long as there is none.
    pub fn latest(&self, origin_hash: &str) -> Answer {
        let of = |origin: &str| hex(&sha256(&[origin.as_bytes()]).0) == origin_hash;
        let log = self.logs.iter().find(|(origin, _)| of(origin)).map(|(_, log)| log);
        let note = log.and_then(|log| lock(&log.state).latest.clone());
        match note.and_then(|note| String::from_utf8(note).ok()) {
            Some(body) => Answer { status: 200, content_type: TEXT, body, alarm: None },
            None => Answer::refuse(404, "no checkpoint of that log"),
        }
    }

    /// Judges an `add-checkpoint` request at the instant `now`.
    pub fn add_checkpoint(&self, body: &[u8], now: UtcNanos) -> Answer {
        let request = match AddCheckpoint::parse(body) {
            Ok(request) => request,
            // A signature line that is none is a signature that does not verify.
            Err(why @ RequestError::Note(NoteError::Line { .. })) => {
                return Answer::refuse(403, why);
            }
            Err(why) => return Answer::refuse(400, why),
        };
        let claimed = Note::parse(request.note.as_bytes()).ok();
        let claimed = claimed.as_ref().map(|note| Checkpoint::parse_foreign(&note.text));
        let checkpoint = match claimed {
            Some(Ok((checkpoint, _))) => checkpoint,
            Some(Err(why)) => return Answer::refuse(400, why),
            None => return Answer::refuse(400, "not a signed note"),
        };
        let Some(log) = self.logs.get(&checkpoint.origin) else {
            return Answer::refuse(404, "unknown log");
        };
        if let Err(why) = note::open(request.note.as_bytes(), &log.keys) {
            return Answer::refuse(403, why);
        }
        if request.old > checkpoint.size {
            return Answer::refuse(400, "old size is larger than the checkpoint's");
        }
        let mut state = lock(&log.state);
        if state.failed {
            return Answer::refuse(500, "the witness's disk failed; it must be started anew");
        }
        if request.old != state.checkpoint.size {
            return Answer::conflict(state.checkpoint.size);
        }
        if checkpoint.contradicts(&state.checkpoint) {
            let alarm = self.keep(log, &state, "EQUIVOCATION", body, now);
            return Answer { alarm, ..Answer::conflict(state.checkpoint.size) };
        }
        let State { checkpoint: Checkpoint { size, root, .. }, .. } = &*state;
        let holds =
            verify_consistency(*size, root, checkpoint.size, &checkpoint.root, &request.proof);
        if let Err(why) = holds {
            // Needless hashes beside the very checkpoint that is held, or where none is, say
            // nothing about the log.
            let tells = size.0 > 0 && checkpoint.size > *size;
            let kept = tells.then(|| self.keep(log, &state, "INCONSISTENT", body, now));
            let alarm = kept.flatten();
            return Answer { alarm, ..Answer::refuse(422, format!("consistency proof: {why}")) };
        }
        self.cosign(log, &mut state, &request, checkpoint, now)
    }

    /// Persists, then answers.
    fn cosign(
        &self,
        log: &Log,
        state: &mut State,
        request: &AddCheckpoint,
        checkpoint: Checkpoint,
        now: UtcNanos,
    ) -> Answer {
        let cosigned = known_lines(&request.note, &log.keys)
            .and_then(|note| note::cosign(note.as_bytes(), &self.signer, now));
        let cosigned = match cosigned {
            Ok(note) => note,
            Err(why) => return Answer::refuse(400, why),
        };
        // The same checkpoint again is on disk already; the answer bears today's time.
        let fresh = state.latest.is_none() || checkpoint.size > state.checkpoint.size;
        if fresh {
            let swapped = state.head.compare_and_swap(state.latest.as_deref(), cosigned.as_bytes());
            if let Err(error) = swapped {
                state.failed = true;
                let why = "the witness could not keep the checkpoint, and cosigns nothing more";
                let alarm = Some(format!("WITNESS_STATE: {error}"));
                return Answer { alarm, ..Answer::refuse(500, why) };
            }
            state.latest = Some(cosigned.clone().into_bytes());
            state.checkpoint = checkpoint;
        }
        match Note::parse(cosigned.as_bytes()) {
            Ok(note) => Answer {
                status: 200,
                content_type: TEXT,
                body: lines_of(&note, self.signer.verifier()),
                alarm: None,
            },
            Err(why) => Answer::refuse(500, why),
        }
    }

    /// Keeps both sides of a contradiction. Of two signed roots of one size the pair proves the
    /// fork to anyone; a request whose proof fails may also be a stranger's, who replays a true
    /// checkpoint with hashes of his own, so it is kept as a question to the log.
    fn keep(
        &self,
        log: &Log,
        state: &State,
        verdict: &str,
        request: &[u8],
        now: UtcNanos,
    ) -> Option<String> {
        let held = state.latest.as_deref().unwrap_or_default();
        let dir = log.dir.join("evidence");
        let id = hex(sha256(&[held, request]).0.get(..8).unwrap_or_default());
        let path = dir.join(format!("{verdict}-{id}"));
        let head = format!("chancery/witness-evidence/v1\n{verdict}\n{now}\nheld {}\n", held.len());
        let text = [head.as_bytes(), held, b"sent\n", request].concat();
        let kept = self.disk.create_dir(&dir).and_then(|()| {
            if self.disk.exists(&path)? {
                return Ok(true);
            }
            let same = format!("{verdict}-");
            let there = self.disk.list(&dir)?;
            let is_room =
                there.iter().filter(|listed| listed.name.starts_with(&same)).count() < EVIDENCE_MAX;
            if is_room {
                self.disk.replace(&path, &text)?;
            }
            Ok(is_room)
        });
        let origin = &state.checkpoint.origin;
        let dir = dir.display();
        Some(match kept {
            Ok(true) => format!("{verdict}: {origin}: both notes are in {dir}"),
            Ok(false) => format!("{verdict}: {origin}: not kept: {EVIDENCE_MAX} are in {dir}"),
            Err(error) => format!("{verdict}: {origin}: evidence could not be kept: {error}"),
        })
    }
}

impl State {
    fn load(disk: &Arc<dyn Disk>, dir: &Path, origin: &str, own: &Verifier) -> Result<State> {
        let path = dir.join("latest");
        let head = Head::new(disk.clone(), &path);
        let latest = head.load()?;
        let empty = Checkpoint { origin: origin.to_owned(), size: TreeSize(0), root: EMPTY_ROOT };
        let checkpoint = match &latest {
            None => empty,
            Some(note) => {
                let opened = note::open(note, std::slice::from_ref(own)).ok();
                let parsed = opened.as_ref().map(|o| Checkpoint::parse_foreign(&o.text));
                match parsed {
                    Some(Ok((checkpoint, _))) if checkpoint.origin == origin => checkpoint,
                    _ => {
                        let what = "WITNESS_STATE: not a note of this log that this witness signed";
                        return Err(Error::new(ErrorKind::Corrupt, &path, what));
                    }
                }
            }
        };
        Ok(State { head, latest, checkpoint, failed: false })
    }
}

/// The note with the lines of known keys alone: strangers' lines are not ours to keep.
fn known_lines(note: &str, keys: &[Verifier]) -> std::result::Result<String, NoteError> {
    let mut note = Note::parse(note.as_bytes())?;
    note.signatures.retain(|s| keys.iter().any(|k| k.name() == s.name && k.id() == s.id));
    Ok(note.to_string())
}

/// A panic while the lock was held leaves state that is checked against the disk at the next swap.
fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
