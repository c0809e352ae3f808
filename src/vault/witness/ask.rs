//! One conversation with one witness: submit, learn its size, submit again from there.
//! It never decides what follows from the answer.

use crate::base::id::Hash32;
use crate::base::unit::{TreeSize, UtcNanos};
use crate::format::witness::{self, AddCheckpoint};
use crate::vault::witness::{Cosigner, Said};

/// Requests of one conversation: a wrong guess, its correction, and one more for a witness that
/// another writer moved in between.
const REQUESTS_MAX: usize = 3;

/// How a conversation ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It cosigned; the note bears its line.
    Cosigned {
        /// The note with this witness's line added.
        note: String,
        /// When, by its clock.
        time: UtcNanos,
    },
    /// It contradicts this log.
    Alarm(Alarm),
    /// No cosignature, and nothing follows from it.
    Away(String),
}

/// A contradiction between a witness and this log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Alarm {
    /// `ROLLED_BACK`, `EQUIVOCATION` or `INCONSISTENT`.
    pub(crate) verdict: &'static str,
    /// What it says it holds.
    pub(crate) holds: TreeSize,
    /// What was sent to it last.
    pub(crate) request: String,
    /// For people.
    pub(crate) detail: String,
}

/// What a conversation taught.
pub(crate) struct Asked {
    pub(crate) outcome: Outcome,
    /// The smallest size it said it holds, if it said one.
    pub(crate) holds: Option<TreeSize>,
}

/// Submits `note`, the signed checkpoint of `size`, to a witness believed to hold `known`.
/// `proof` gives the hashes from a smaller size to this one.
pub(crate) fn ask(
    cosigner: &dyn Cosigner,
    note: &str,
    size: TreeSize,
    known: TreeSize,
    proof: &dyn Fn(TreeSize) -> Option<Vec<Hash32>>,
) -> Asked {
    let mut old = known.min(size);
    let mut holds = None;
    for _ in 0..REQUESTS_MAX {
        let Some(hashes) = proof(old) else {
            let why = "a hash of the tree is not stored; open the vault anew";
            return Asked { outcome: Outcome::Away(why.to_owned()), holds };
        };
        let request = AddCheckpoint { old, proof: hashes, note: note.to_owned() }.to_string();
        let outcome = match cosigner.submit(&request) {
            Said::Cosigned(lines) => match witness::merge(note, &lines, cosigner.key()) {
                Ok((note, time)) => Outcome::Cosigned { note, time },
                Err(why) => Outcome::Away(format!("its answer is no cosignature: {why}")),
            },
            Said::Holds(said) => {
                holds = holds.min(Some(said)).or(Some(said));
                match judge(said, old, size, &request, cosigner.place()) {
                    Some(outcome) => outcome,
                    None => {
                        old = said;
                        continue;
                    }
                }
            }
            Said::Unproven => unproven(old, size, request, cosigner.place()),
            Said::Refused(why) => Outcome::Away(format!("refused: {why}")),
            Said::Unreachable(why) => Outcome::Away(format!("not reached: {why}")),
        };
        return Asked { outcome, holds };
    }
    Asked { outcome: Outcome::Away("it changed its size with every answer".to_owned()), holds }
}

/// What follows from a 409, or nothing when the next request can start from its size.
fn judge(
    holds: TreeSize,
    old: TreeSize,
    size: TreeSize,
    request: &str,
    place: &str,
) -> Option<Outcome> {
    let alarm = |verdict, detail: String| {
        Some(Outcome::Alarm(Alarm { verdict, holds, request: request.to_owned(), detail }))
    };
    if holds > size {
        let detail = format!(
            "the witness at {place} has cosigned {holds} entries of this log, which holds {size} \
             under its checkpoint: this is an old copy, or another copy went on"
        );
        return alarm("ROLLED_BACK", detail);
    }
    if holds != old {
        return None;
    }
    if holds == size {
        let detail = format!(
            "the witness at {place} has cosigned another root of the log of {size} entries: two \
             copies of this log were continued"
        );
        return alarm("EQUIVOCATION", detail);
    }
    Some(Outcome::Away("it refuses the very size it says it holds".to_owned()))
}

/// A 422. From nothing to anything there is nothing to prove, so a witness that says so is broken.
fn unproven(old: TreeSize, size: TreeSize, request: String, place: &str) -> Outcome {
    if old.0 == 0 {
        return Outcome::Away("it asks for a proof from the empty log".to_owned());
    }
    let detail = format!(
        "the witness at {place} has cosigned {old} entries with which this log of {size} does not \
         begin: history was rewritten, or two copies of this log were continued"
    );
    Outcome::Alarm(Alarm { verdict: "INCONSISTENT", holds: old, request, detail })
}
