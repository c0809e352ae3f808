//! The sequencer's part in snapshots: when the checkpoint must follow the log, when a copy of the
//! state is handed over, and what happens when a part of the window of ids was lost on disk. It
//! never writes a snapshot itself.

use crate::base::id::{EventIdTag, SourceHandle};
use crate::vault::committer::Work;
use crate::vault::dedupe::Seen;
use crate::vault::error::Error;
use crate::vault::sequencer::{PUBLISH_EVERY, Sequencer};
use crate::vault::snapshot::Capture;

impl Sequencer {
    /// After a commit: the checkpoint file, when a second of log time has passed; a snapshot,
    /// when one is due. It is a copy of memory here, and written elsewhere.
    pub(crate) fn follow(&mut self) {
        if let Some((end, runs)) = self.archive.written() {
            self.window.adopt(end, runs);
        }
        if self.read_only.is_some() || self.failed.get().is_some() {
            return;
        }
        let now = self.clock.now();
        let late = now.0.saturating_sub(self.published_at.0) >= PUBLISH_EVERY.as_nanos() as u64;
        let due = self.archive.due(self.tree.size(), self.segment(), now);
        // With a snapshot the checkpoint follows too; where none can be made, it follows alone.
        let followed = due && self.snapshot();
        if due && !followed {
            self.archive.not_now(now);
        }
        if !followed && (due || late) {
            let _ = self.committer.send(Work::Publish { reply: None });
        }
        if due || late {
            self.published_at = now;
        }
    }

    /// At the end: a last snapshot, if much lies behind the one before.
    pub(crate) fn archive_last(&mut self) {
        let still = self.read_only.is_some() || self.failed.get().is_some();
        if !still && self.archive.far(self.tree.size(), self.segment()) {
            self.snapshot();
        }
    }

    /// The segment that is written to; the committer may be about to begin another.
    fn segment(&self) -> u32 {
        self.log.last().map_or(0, |unit| unit.segment)
    }

    /// Hands over a copy of everything an opening must know after the last unit sent off. The
    /// committer gets it behind that unit, and drops it if the unit failed. False when a part of
    /// it cannot be read.
    fn snapshot(&mut self) -> bool {
        let (size, segment) = (self.tree.size(), self.segment());
        let Ok(capture) = self.capture() else { return false };
        self.archive.taken(size, segment, self.clock.now());
        if self.committer.send(Work::Snapshot(Box::new(capture))).is_err() {
            self.archive.missed();
        }
        true
    }

    fn capture(&mut self) -> Result<Capture, Error> {
        while let Some(span) = self.window.first_lost() {
            let ids = self.proven.ids(span)?;
            self.window.mend(span, ids);
        }
        let window = self.window.capture(self.tree.size());
        Ok(Capture {
            tree: self.tree.clone(),
            prev: self.prev,
            state: self.state_before,
            facts: self.own.clone(),
            window,
            signer: self.signer.clone(),
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
