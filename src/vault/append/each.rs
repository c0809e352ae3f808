//! Append of a batch in which each event stands for itself: what is good goes in, in order, and
//! every other one gets its reason. It never takes an event whose batch-mate's failure could mean
//! that the log itself failed: then the rest is refused as it is.

use crate::base::event::Draft;
use crate::base::limits::BATCH_EVENTS_MAX;
use crate::base::refusal::Refusal;
use crate::policy::terms::Terms;
use crate::store::disk::Writer;
use crate::store::error::Error as StoreError;
use crate::vault::Vault;
use crate::vault::append::Receipt;
use crate::vault::error::{Error, Result};

/// Events of a batch that may be turned away by the log one by one; each costs a dozen commits to
/// single out. What the policies refuse is found without a commit and not counted.
const SINGLED_MAX: usize = 64;

/// What became of each event of a batch.
type Each = Vec<Option<Result<Receipt>>>;

impl Vault {
    /// Appends every event that can be, each for itself. The outer error says that nothing was
    /// looked at.
    ///
    /// # Errors
    /// `Invalid` `BATCH_TOO_LARGE`; `Denied` when the vault takes no entries.
    pub fn append_each(&self, drafts: &[Draft<'_>]) -> Result<Vec<Result<Receipt>>> {
        self.append_each_under(drafts, &Terms::NONE)
    }

    /// As `append_each`, for a source that is registered.
    ///
    /// # Errors
    /// As `append_each`.
    pub fn append_each_under(
        &self,
        drafts: &[Draft<'_>],
        terms: &Terms,
    ) -> Result<Vec<Result<Receipt>>> {
        self.writable()?;
        self.has_room(Writer::Source)?;
        if drafts.len() > BATCH_EVENTS_MAX {
            let refusal = Refusal::new("BATCH_TOO_LARGE", "send smaller batches");
            return Err(refusal.limit(BATCH_EVENTS_MAX as u64).into());
        }
        let mut each: Each = drafts.iter().map(|_| None).collect();
        let (policies, mut good) = (self.policies(), Vec::with_capacity(drafts.len()));
        let mut scratch = self.inner.scratches.take();
        for (position, (draft, place)) in drafts.iter().zip(&mut each).enumerate() {
            match policies.event_under(*draft, terms, &mut scratch) {
                Ok(_) => good.push(position),
                Err(refusal) => *place = Some(Err(Error::Invalid { position, refusal })),
            }
        }
        self.inner.scratches.put(scratch);
        let mut singled = 0;
        self.append_some((drafts, terms), &good, &mut each, &mut singled);
        // No place is empty: every position was refused, or handed to `append_some`.
        Ok(each.into_iter().map(|place| place.unwrap_or(Err(Error::Overloaded))).collect())
    }

    /// Appends these events, halving where one of them is turned away.
    fn append_some(
        &self,
        (drafts, terms): (&[Draft<'_>], &Terms),
        positions: &[usize],
        each: &mut Each,
        singled: &mut usize,
    ) {
        if positions.is_empty() {
            return;
        }
        let batch: Vec<Draft<'_>> =
            positions.iter().filter_map(|at| drafts.get(*at)).copied().collect();
        let mut set = |at: usize, result: Result<Receipt>| {
            if let Some(place) = each.get_mut(at) {
                *place = Some(result);
            }
        };
        match (self.append_under(&batch, terms), positions) {
            (Ok(receipts), _) => {
                positions.iter().zip(receipts).for_each(|(at, receipt)| set(*at, Ok(receipt)));
            }
            (Err(error), _) if positions.len() > 1 && is_of_the_log(&error) => {
                // Not about any one event: all of them hear what it is.
                positions.iter().for_each(|at| set(*at, Err(same(&error))));
            }
            (Err(error), [at]) => {
                *singled += 1;
                set(*at, Err(placed(error, *at)));
            }
            (Err(_), _) if *singled >= SINGLED_MAX => {
                let fix = "too many events of this batch are turned away: mend those named first";
                for at in positions {
                    set(*at, Err(Error::denied("BATCH_REFUSED", fix)));
                }
            }
            (Err(_), _) => {
                let (first, second) = positions.split_at(positions.len() / 2);
                self.append_some((drafts, terms), first, each, singled);
                self.append_some((drafts, terms), second, each, singled);
            }
        }
    }
}

/// Whether it says something of the log, and of no event.
fn is_of_the_log(error: &Error) -> bool {
    matches!(error, Error::Overloaded | Error::Unavailable(_) | Error::Evidence { .. })
}

/// The same failure, for another event of the batch.
fn same(error: &Error) -> Error {
    match error {
        Error::Unavailable(failed) => {
            Error::Unavailable(StoreError::new(failed.kind, &failed.path, failed.what.clone()))
        }
        Error::Evidence { verdict, detail } => Error::evidence(verdict, detail.clone()),
        _ => Error::Overloaded,
    }
}

/// An error of a batch of one under its place in the whole batch.
fn placed(error: Error, position: usize) -> Error {
    match error {
        Error::Invalid { refusal, .. } => Error::Invalid { position, refusal },
        other => other,
    }
}
