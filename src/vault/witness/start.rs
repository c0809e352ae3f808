//! The question before anything is served: does any witness know more of this log than this disk?
//! It never changes the vault's files but for evidence of a contradiction.

use crate::base::entry::Kind;
use crate::base::event::Verb;
use crate::base::unit::{TreeSize, UtcNanos};
use crate::format::checkpoint::Checkpoint;
use crate::format::control;
use crate::format::note;
use crate::store::disk::Disk;
use crate::store::heads::Head;
use crate::store::log::UnitLog;
use crate::store::tiles::Tiles;
use crate::vault::config::Places;
use crate::vault::error::{Error, Result};
use crate::vault::logkey::LogKeys;
use crate::vault::recover;
use crate::vault::witness::ask::{Outcome, ask};
use crate::vault::witness::round::{Mark, checkpoint_of, forgot, proof_from};
use crate::vault::witness::{Cosigner, KEY_UNKNOWN, Outside, Standing, Witnessing, evidence};
use crate::vault::{Notice, Vault, vault_code};
use std::sync::Arc;

/// What was found, for the desk and its thread.
#[derive(Default)]
pub(crate) struct Met {
    pub(crate) witnessing: Witnessing,
    pub(crate) marks: Vec<Mark>,
    /// Bytes of `checkpoint.witnessed`.
    pub(crate) stored: Option<Vec<u8>>,
    /// The signed checkpoint with the lines it got now, and who signed.
    pub(crate) current: Option<(Arc<str>, String)>,
    pub(crate) signed: Vec<(usize, UtcNanos)>,
    pub(crate) notices: Vec<Notice>,
    /// Nobody vouched, and somebody accepted that.
    pub(crate) unwitnessed: bool,
}

/// What the question needs of the vault.
pub(crate) struct Ground<'a> {
    pub(crate) disk: &'a Arc<dyn Disk>,
    pub(crate) places: &'a Places,
    pub(crate) log: &'a UnitLog,
    pub(crate) tiles: &'a Tiles,
    pub(crate) log_keys: &'a LogKeys,
    /// The signed checkpoint as it lies on disk, if there is one.
    pub(crate) note: Option<&'a [u8]>,
    pub(crate) now: UtcNanos,
}

/// Asks every configured witness about the signed checkpoint.
///
/// # Errors
/// `Evidence`: `ROLLED_BACK`, `EQUIVOCATION`, `INCONSISTENT`. `Denied` with `UNWITNESSED` when no
/// witness answers and nobody accepts that.
pub(crate) fn meet(outside: &Outside, ground: &Ground<'_>) -> Result<Met> {
    let mut met = Met::of(outside, ground)?;
    let note = ground.note.and_then(|note| std::str::from_utf8(note).ok());
    let Some((note, checkpoint)) = note.and_then(|n| Some((n, checkpoint_of(n)?))) else {
        return Ok(met);
    };
    let mut current = note.to_owned();
    let mut answered = 0;
    for (position, cosigner) in outside.witnesses.iter().enumerate() {
        let known = met.marks.get(position).map_or(TreeSize(0), |mark| mark.known);
        let proof = |old: TreeSize| proof_from(ground.tiles, old, &checkpoint);
        let asked = ask(&**cosigner, &current, checkpoint.size, known, &proof);
        let (mark, standing) =
            (met.marks.get_mut(position), met.witnessing.standing.get_mut(position));
        let (Some(mark), Some(standing)) = (mark, standing) else { continue };
        if let Some(holds) = asked.holds.filter(|holds| *holds < known) {
            let text = format!("{}: {}", cosigner.place(), forgot(holds, known));
            met.notices.push(Notice { code: "WITNESS_ROLLED_BACK", text });
        }
        match asked.outcome {
            Outcome::Cosigned { note, time } => {
                answered += 1;
                current = note;
                mark.known = checkpoint.size;
                met.signed.push((position, time));
                (standing.size, standing.time) = (checkpoint.size, time);
            }
            Outcome::Alarm(alarm) => {
                let dir = ground.places.evidence();
                evidence::keep(&**ground.disk, &dir, &**cosigner, &alarm, ground.now)?;
                return Err(Error::evidence(alarm.verdict, alarm.detail));
            }
            Outcome::Away(why) => {
                mark.failures = 1;
                standing.trouble = Some(why.clone());
                let text = format!("{}: {why}", cosigner.place());
                met.notices.push(Notice { code: "WITNESS_AWAY", text });
            }
        }
    }
    met.current = Some((note.into(), current));
    met.conclude(outside, ground, answered)?;
    Ok(met)
}

impl Vault {
    /// Somebody opened without a witness: whoever reads the log later must see that.
    pub(crate) fn record_unwitnessed(&self, witnesses: usize) -> Result<()> {
        let (size, witnesses) = (self.size(), witnesses as u64);
        let clear = control::encode(&control::Config::Unwitnessed { size, witnesses })?;
        self.inner.clerk.record(Kind::Config, vault_code(Verb::Verify), clear).map(|_| ())
    }
}

impl Met {
    /// Adds what is worth saying. Where a witness answered, this is no unwitnessed copy, whether
    /// or not there is a ledger too.
    pub(crate) fn add_to(&mut self, notices: &mut Vec<Notice>) {
        if !self.signed.is_empty() {
            notices.retain(|notice| notice.code != "UNWITNESSED");
        }
        notices.append(&mut self.notices);
    }

    /// What lies on disk, and a standing for every witness.
    fn of(outside: &Outside, ground: &Ground<'_>) -> Result<Met> {
        let path = ground.places.witnessed();
        let stored = Head::new(ground.disk.clone(), &path).load()?;
        let mut met = Met { stored, ..Met::default() };
        met.witnessing.of = outside.witnesses.len();
        met.witnessing.quorum = outside.quorum;
        met.marks = vec![Mark::default(); outside.witnesses.len()];
        met.witnessing.standing = outside.witnesses.iter().map(|w| standing(&**w)).collect();
        let Some(bytes) = met.stored.clone() else { return Ok(met) };
        // Signed by the key that was in force then, which may have handed over since.
        let opened = ground.log_keys.checkpoint(&bytes).ok();
        let text = std::str::from_utf8(&bytes).ok();
        let (Some(text), Some(checkpoint)) = (text, opened) else {
            let text = "checkpoint.witnessed is damaged or of another key; it is written anew";
            met.notices.push(Notice { code: "WITNESSED_DAMAGED", text: text.to_owned() });
            return Ok(met);
        };
        agrees(&checkpoint, ground)?;
        met.take(outside, text, &checkpoint);
        Ok(met)
    }

    /// Who of the configured witnesses signed the stored note.
    fn take(&mut self, outside: &Outside, text: &str, checkpoint: &Checkpoint) {
        for (position, cosigner) in outside.witnesses.iter().enumerate() {
            let key = cosigner.key();
            let opened = note::open(text.as_bytes(), std::slice::from_ref(key)).ok();
            let time = opened.and_then(|o| o.by.first().and_then(|by| by.time));
            let Some(time) = time else { continue };
            self.witnessing.by.push((key.name().to_owned(), time));
            if let Some(mark) = self.marks.get_mut(position) {
                mark.known = checkpoint.size;
            }
            if let Some(standing) = self.witnessing.standing.get_mut(position) {
                (standing.size, standing.time) = (checkpoint.size, time);
            }
        }
        self.witnessing.note = Some(text.into());
        self.witnessing.size = checkpoint.size;
    }

    /// Whether the answers are enough to go on.
    fn conclude(&mut self, outside: &Outside, ground: &Ground<'_>, answered: usize) -> Result<()> {
        let of = outside.witnesses.len();
        if of == 0 || answered > 0 {
            return Ok(());
        }
        let before = evidence::kept(&**ground.disk, &ground.places.evidence())?;
        if let Some(name) = before.first() {
            let detail = format!(
                "a witness contradicted this log before (evidence/{name}), and none answers now"
            );
            return Err(Error::evidence("WITNESS_CONTRADICTED", detail));
        }
        if !outside.accept_unwitnessed {
            return Err(Error::denied("UNWITNESSED", self.nobody(ground)));
        }
        let text = format!("none of {of} witnesses answered at this opening; it was accepted");
        self.notices.push(Notice { code: "UNWITNESSED", text });
        self.unwitnessed = true;
        Ok(())
    }
}

impl Met {
    /// That no witness vouches, what each said, and what to do about it.
    fn nobody(&self, ground: &Ground<'_>) -> String {
        let said = self.witnessing.standing.iter().filter_map(|standing| {
            let trouble = standing.trouble.as_ref()?;
            Some(format!("{}: {trouble}", standing.place))
        });
        let said: Vec<String> = said.collect();
        let mut text = format!(
            "none of {} witnesses vouches for this log ({}), so nothing here can tell whether \
             this is an old copy; nothing was changed; see to the witnesses",
            self.witnessing.of,
            said.join("; ")
        );
        if said.iter().any(|said| said.contains(KEY_UNKNOWN)) {
            let key = ground.log_keys.signer.verifier();
            text += &format!(
                "; one that does not know the log's key is told it by its administrator, in \
                 `logs` of witness.toml, and started again; the key in force is {key}"
            );
        }
        text + "; or open with --accept-unwitnessed, which the log records"
    }
}

fn standing(cosigner: &dyn Cosigner) -> Standing {
    Standing {
        name: cosigner.key().name().to_owned(),
        place: cosigner.place().to_owned(),
        size: TreeSize(0),
        time: UtcNanos(0),
        trouble: None,
    }
}

/// The cosigned note was made after the checkpoint was durable, so it can be neither larger nor
/// of another history.
fn agrees(cosigned: &Checkpoint, ground: &Ground<'_>) -> Result<()> {
    let signed = ground.note.and_then(|n| checkpoint_of(std::str::from_utf8(n).ok()?));
    let signed = signed.map_or(TreeSize(0), |c| c.size);
    if cosigned.size > signed {
        let detail = format!(
            "witnesses cosigned {} entries, the signed checkpoint has {signed}: an old copy was \
             put back",
            cosigned.size
        );
        return Err(Error::evidence("ROLLED_BACK", detail));
    }
    match recover::had_root(ground.log, ground.tiles, cosigned.size, &cosigned.root)? {
        true => Ok(()),
        false => {
            let detail = format!(
                "witnesses cosigned {} entries with which this log does not begin",
                cosigned.size
            );
            Err(Error::evidence("INCONSISTENT", detail))
        }
    }
}
