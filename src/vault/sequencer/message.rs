//! What is said to the sequencer and what it answers. A message carries its own reply; whoever has
//! left is answered into the void. It holds no state.

use crate::base::id::{EventIdTag, Hash32, SourceHandle};
use crate::base::unit::{EntryIndex, TreeSize, UtcNanos};
use crate::format::vkey::Signer;
use crate::vault::dedupe::Gaps;
use crate::vault::error::Error;
use crate::vault::facts::Facts;
use crate::vault::line::Turn;
use crate::vault::seal::Sealed;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

/// A condition checked at the index where the job would be appended.
pub(crate) type Check = Box<dyn FnOnce(&Facts) -> Result<(), Error> + Send>;

/// Makes the entry of a key roll, for the size up to which the key in force may sign.
pub(crate) type RollAct = Box<dyn FnOnce(TreeSize, &Signer) -> Result<Sealed, Error> + Send>;

/// Puts the successor in its place on disk.
pub(crate) type Promote = Box<dyn FnOnce() -> Result<(), Error> + Send>;

/// The entry of a roll.
pub(crate) type Rolled = Result<EntryIndex, Error>;

/// What a job came to.
pub(crate) type Outcome = Result<Committed, Rejected>;

/// A durable job.
#[derive(Clone)]
pub(crate) struct Committed {
    pub(crate) first: EntryIndex,
    pub(crate) time: UtcNanos,
    pub(crate) leaves: Vec<Hash32>,
    /// Signed checkpoint of the unit.
    pub(crate) checkpoint: Arc<str>,
}

/// Why a job was not appended.
pub(crate) enum Rejected {
    /// Positions that were sent before, and where they lie.
    Duplicates(Vec<(usize, Original)>),
    /// A person or class-day was fenced after sealing: resolve and seal again.
    Fenced,
    /// Sealed too long ago: seal again with today's key.
    StaleDay,
    /// A batch before it in its line was turned away.
    OutOfTurn,
    /// Refused or failed.
    Failed(Error),
}

/// Where the first of two lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Original {
    /// Committed under this index.
    At(EntryIndex),
    /// Committed; the index finds it by the source's number.
    Before,
    /// Earlier in the same batch.
    InBatch(usize),
    /// Not a duplicate: the number would open too many gaps.
    TooManyGaps,
}

/// What finds a duplicate: source, its number, its event id.
pub(crate) type Name = (SourceHandle, Option<u64>, EventIdTag);

/// Which of some names were sent before, and where.
pub(crate) type Known = Result<Vec<(usize, Original)>, Error>;

/// A message to the sequencer.
pub(crate) enum Message {
    /// Say which of these were sent before, without appending anything.
    Seen { names: Vec<Name>, reply: SyncSender<Known> },
    /// Say what is missing of a source's numbers.
    Gaps { source: SourceHandle, reply: SyncSender<Option<Gaps>> },
    /// Append the parts of a batch, all or nothing.
    Append {
        sealed: Vec<Sealed>,
        check: Option<Check>,
        turn: Option<Turn>,
        reply: SyncSender<Outcome>,
    },
    /// Hand over to another key, alone between two commits.
    Roll { next: Arc<Signer>, act: RollAct, promote: Promote, reply: SyncSender<Rolled> },
    /// Publish the checkpoint now.
    Publish { reply: SyncSender<Result<(), Error>> },
    /// Publish and stop.
    Close,
}
