//! The sequencer's part in snapshots: when the checkpoint follows the log, when a copy of the
//! state is handed over, and what happens when a part of the window of ids was lost on disk. It
//! never writes a snapshot itself.

use crate::base::id::{EventIdTag, SourceHandle};
use crate::store::log::Placed;
use crate::vault::dedupe::Seen;
use crate::vault::error::Error;
use crate::vault::sequencer::{PUBLISH_EVERY, Sequencer};
use crate::vault::snapshot::Capture;
use std::sync::Arc;

impl Sequencer {
    /// After a commit: the checkpoint file, when a second of log time has passed or a snapshot
    /// is due; then the snapshot, which is a copy of memory here and written elsewhere.
    pub(crate) fn follow(&mut self) {
        if let Some((end, runs)) = self.archive.written() {
            self.window.adopt(end, runs);
        }
        let now = self.clock.now();
        let Some(unit) = self.log.last().filter(|_| self.read_only.is_none()) else { return };
        let due = self.archive.due(&unit, now);
        let late = now.0.saturating_sub(self.published_at.0) >= PUBLISH_EVERY.as_nanos() as u64;
        if !(due || late) {
            return;
        }
        self.published_at = now;
        if self.publish().is_ok()
            && due
            && let Ok(capture) = self.capture(unit)
        {
            self.archive.take(capture, now, false);
        }
    }

    /// At the end: a last snapshot, if much lies behind the one before.
    pub(crate) fn archive_last(&mut self) {
        let Some(unit) = self.log.last().filter(|_| self.read_only.is_none()) else { return };
        if self.failed.is_none()
            && self.archive.due_at_close(&unit)
            && let Ok(capture) = self.capture(unit)
        {
            self.archive.take(capture, self.clock.now(), true);
        }
    }

    /// A copy of everything an opening must know; the checkpoint on disk covers it.
    fn capture(&mut self, unit: Arc<Placed>) -> Result<Capture, Error> {
        while let Some(span) = self.window.first_lost() {
            let ids = self.proven.ids(span)?;
            self.window.mend(span, ids);
        }
        let window = self.window.capture(unit.head.end);
        Ok(Capture {
            unit,
            rows: self.log.segment_rows(),
            tree: self.tree.clone(),
            prev: self.prev,
            state: self.state_before,
            facts: self.own.clone(),
            window,
        })
    }

    /// Asks the window; a part of it that was lost on disk is read from the log again first.
    pub(crate) fn seen(
        &mut self,
        source: &SourceHandle,
        seq: Option<u64>,
        id: &EventIdTag,
    ) -> Result<Seen, Error> {
        loop {
            match self.window.seen(source, seq, id) {
                Ok(seen) => return Ok(seen),
                Err(lost) => {
                    let ids = self.proven.ids(lost.span)?;
                    self.window.mend(lost.span, ids);
                }
            }
        }
    }
}
