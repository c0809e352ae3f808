//! The thread that asks witnesses about every durable checkpoint: ticks with a backoff of their
//! own for each witness. What they sign goes into `checkpoint.witnessed`, durable before it is
//! shown; a note that enough signed is only replaced by a newer one that enough signed.
//! It never holds up an append; an alarm stops all of them.

use crate::base::id::Hash32;
use crate::base::unit::{NANOS_PER_SECOND, TreeSize, UtcNanos};
use crate::base::world::Clock;
use crate::crypto::merkle::{consistency_proof, root_at, verify_consistency};
use crate::format::checkpoint::Checkpoint;
use crate::format::note::Note;
use crate::store::disk::Disk;
use crate::store::heads::Head;
use crate::store::tiles::Tiles;
use crate::vault::Inner;
use crate::vault::anchor::Duty;
use crate::vault::clock::LogClock;
use crate::vault::config::Places;
use crate::vault::witness::ask::{Outcome, ask};
use crate::vault::witness::desk::{Desk, Work};
use crate::vault::witness::start::Met;
use crate::vault::witness::{Cosigner, Outside, Witnessing, evidence};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// First pause after a failure; it doubles.
const BACKOFF: u64 = NANOS_PER_SECOND;
/// Longest pause: a witness that comes back is used again within five minutes.
const BACKOFF_MAX: u64 = 300 * NANOS_PER_SECOND;
/// How long the thread sleeps when nothing is to be done.
const PAUSE: Duration = Duration::from_secs(1);

/// What is remembered of one witness.
#[derive(Clone, Default, Debug)]
pub(crate) struct Mark {
    /// Size of the newest checkpoint it cosigned for us.
    pub(crate) known: TreeSize,
    pub(crate) failures: u32,
    /// Monotonic time before which it is not asked again.
    pub(crate) due: u64,
}

/// The thread's state.
pub(crate) struct Round {
    pub(crate) desk: Arc<Desk>,
    pub(crate) cosigners: Vec<Arc<dyn Cosigner>>,
    pub(crate) quorum: usize,
    pub(crate) marks: Vec<Mark>,
    pub(crate) tiles: Arc<Tiles>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) head: Head,
    /// Bytes of `checkpoint.witnessed` as this thread left or found them.
    pub(crate) stored: Option<Vec<u8>>,
    pub(crate) evidence: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log_clock: Arc<LogClock>,
    /// The durable note in work, with the lines it has got.
    pub(crate) current: Option<(Arc<str>, String)>,
    /// Who signed it, by position, and when.
    pub(crate) signed: Vec<(usize, UtcNanos)>,
    pub(crate) duty: Duty,
}

impl Drop for Round {
    /// However the thread ends, by a panic too: nobody waits for it any longer.
    fn drop(&mut self) {
        self.desk.leave();
    }
}

impl Round {
    /// The thread's state after an opening, or nothing where there is nobody to ask.
    pub(crate) fn new(
        outside: &Outside,
        met: Met,
        inner: &Inner,
        places: &Places,
    ) -> Option<Round> {
        let nobody = outside.witnesses.is_empty() && outside.authority.is_none();
        if nobody || inner.read_only.is_some() {
            return None;
        }
        inner.desk.staff();
        if let Some((durable, _)) = &met.current {
            inner.desk.publish(durable);
        }
        let disk = inner.world.disk.clone();
        Some(Round {
            desk: inner.desk.clone(),
            cosigners: outside.witnesses.clone(),
            quorum: outside.quorum,
            marks: met.marks,
            tiles: inner.tiles.clone(),
            head: Head::new(disk.clone(), &places.witnessed()),
            disk,
            stored: met.stored,
            evidence: places.evidence(),
            clock: inner.world.clock.clone(),
            log_clock: inner.clock.clone(),
            current: met.current,
            signed: met.signed,
            duty: Duty::new(inner.anchors.clone()),
        })
    }

    /// Runs until the desk closes.
    pub(crate) fn run(mut self) {
        self.store();
        loop {
            let seen = self.current.as_ref().map(|(durable, _)| durable.clone());
            let Work { durable, forced, asked, closing } = self.desk.wait(seen.as_ref(), PAUSE);
            if let Some(durable) = durable {
                // A witness that did not answer just now is not waited for at the end.
                let now = self.clock.monotonic();
                self.tick(&durable, now, forced);
                // The entry that names an anchor needs a sequencer that still runs.
                if !closing {
                    self.anchor(&durable, now);
                }
            }
            self.desk.answer(asked);
            if closing {
                return;
            }
        }
    }

    /// Keeps and names what outsiders say of the checkpoint that covers a day-seal.
    fn anchor(&mut self, durable: &str, now: u64) {
        let Some(checkpoint) = checkpoint_of(durable) else { return };
        if self.desk.alarmed().is_none() {
            let shown = self.desk.witnessing();
            let trouble = self.duty.tick(checkpoint.size, &shown, now);
            if trouble.is_some() {
                self.desk.show(|shown| shown.stamping = trouble);
            }
        }
    }

    /// Asks every witness that is due and has not signed this note.
    pub(crate) fn tick(&mut self, durable: &Arc<str>, now: u64, forced: bool) {
        match &mut self.current {
            Some((seen, _)) if **seen == **durable => *seen = durable.clone(),
            current => {
                *current = Some((durable.clone(), durable.to_string()));
                self.signed.clear();
            }
        }
        let Some(checkpoint) = checkpoint_of(durable) else { return };
        if self.desk.alarmed().is_some() {
            return;
        }
        let mut news = false;
        for position in 0..self.cosigners.len() {
            let due = self.marks.get(position).is_some_and(|m| forced || m.due <= now);
            if due && !self.signed.iter().any(|(at, _)| *at == position) {
                news |= self.turn(position, &checkpoint, now);
                if self.desk.alarmed().is_some() {
                    return;
                }
            }
        }
        if news {
            self.store();
        }
    }

    /// One witness's turn. Returns whether it cosigned.
    fn turn(&mut self, position: usize, checkpoint: &Checkpoint, now: u64) -> bool {
        let (Some(cosigner), Some(mark), Some((_, note))) = (
            self.cosigners.get(position).cloned(),
            self.marks.get_mut(position),
            self.current.as_mut(),
        ) else {
            return false;
        };
        let (tiles, size) = (self.tiles.clone(), checkpoint.size);
        let proof = |old: TreeSize| proof_from(&tiles, old, checkpoint);
        let asked = ask(&*cosigner, note, size, mark.known, &proof);
        let behind = asked.holds.filter(|holds| *holds < mark.known);
        let mut trouble = behind.map(|holds| forgot(holds, mark.known));
        let cosigned = match asked.outcome {
            Outcome::Cosigned { note: with, time } => {
                *note = with;
                *mark = Mark { known: size, ..Mark::default() };
                self.signed.push((position, time));
                Some(time)
            }
            Outcome::Alarm(alarm) => {
                let when = self.log_clock.now();
                let kept = evidence::keep(&*self.disk, &self.evidence, &*cosigner, &alarm, when);
                let more = kept.err().map(|e| format!("; evidence not kept: {e}"));
                let detail = format!("{}{}", alarm.detail, more.unwrap_or_default());
                trouble = Some(format!("{}: {detail}", alarm.verdict));
                self.desk.alarm(alarm.verdict, detail);
                None
            }
            Outcome::Away(why) => {
                let pause = BACKOFF.saturating_mul(1 << mark.failures.min(20)).min(BACKOFF_MAX);
                mark.failures = mark.failures.saturating_add(1);
                mark.due = now.saturating_add(pause);
                trouble = Some(why);
                None
            }
        };
        self.desk.show(|shown| {
            if let Some(standing) = shown.standing.get_mut(position) {
                if let Some(time) = cosigned {
                    (standing.size, standing.time) = (size, time);
                }
                standing.trouble = trouble;
            }
        });
        cosigned.is_some()
    }

    /// Makes the cosigned note durable where it is better than the one there, then shows it.
    fn store(&mut self) {
        let Some((_, note)) = &self.current else { return };
        let checkpoint = checkpoint_of(note).filter(|_| !self.signed.is_empty());
        let Some(Checkpoint { size, .. }) = checkpoint else { return };
        let shown = self.desk.witnessing();
        let met = self.signed.len() >= self.quorum;
        let rank = (met, size, self.signed.len());
        let there = shown.note.is_some();
        if there && rank <= (shown.is_met(), shown.size, shown.by.len()) {
            return;
        }
        if self.head.compare_and_swap(self.stored.as_deref(), note.as_bytes()).is_err() {
            // Somebody else wrote there, or the disk failed: the note is not shown. What is there
            // is taken up again, so that a later one can be kept.
            self.stored = self.head.load().unwrap_or_default();
            return;
        }
        self.stored = Some(note.clone().into_bytes());
        let name = |at: &usize| self.cosigners.get(*at).map(|c| c.key().name().to_owned());
        let by = self.signed.iter().filter_map(|(at, time)| Some((name(at)?, *time))).collect();
        let note = note.as_str().into();
        self.desk.show(|shown| {
            *shown = Witnessing { note: Some(note), size, by, ..shown.clone() };
        });
    }
}

/// What a signed checkpoint states.
pub(crate) fn checkpoint_of(note: &str) -> Option<Checkpoint> {
    let note = Note::parse(note.as_bytes()).ok()?;
    Checkpoint::parse(&note.text).ok()
}

/// Hashes from `old` to the checkpoint, if the stored ones lead there: damaged tiles must not pass
/// for a rewritten history.
pub(crate) fn proof_from(
    tiles: &Tiles,
    old: TreeSize,
    checkpoint: &Checkpoint,
) -> Option<Vec<Hash32>> {
    let Checkpoint { size, root, .. } = checkpoint;
    let proof = consistency_proof(tiles, old, *size)?;
    verify_consistency(old, &root_at(tiles, old)?, *size, root, &proof).ok()?;
    Some(proof)
}

/// What to say of a witness that holds less than it once signed.
pub(crate) fn forgot(holds: TreeSize, signed: TreeSize) -> String {
    format!(
        "WITNESS_ROLLED_BACK: it holds {holds} entries and has cosigned {signed}: its state was \
         put back; its word about the time in between is worth nothing"
    )
}
