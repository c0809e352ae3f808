//! The threads of an opened vault, each with what it owns. It decides nothing about the files:
//! opening has done that.

use crate::base::id::Hash32;
use crate::base::limits::EPOCH_ENTRIES;
use crate::vault::clerk::Clerk;
use crate::vault::committer::{self, Committer, Work};
use crate::vault::config::Config;
use crate::vault::error::Result;
use crate::vault::housekeeper::Housekeeper;
use crate::vault::open::Opening;
use crate::vault::packer::Packer;
use crate::vault::sequencer::{Message, Sequencer};
use crate::vault::snapshot::{self, Archive, Archivist, Handover, Inbox};
use crate::vault::witness::round::Round;
use crate::vault::{Inner, Vault};
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, sync_channel};

impl Opening {
    /// Starts every thread. That of the witnesses ends last: it may still be told of a checkpoint.
    pub(crate) fn staff(
        self,
        config: &Config,
        inner: Inner,
        round: Option<Round>,
        messages: Receiver<Message>,
        (notify, news): (Sender<()>, Receiver<()>),
    ) -> Result<Vault> {
        // Made first, so dropped last: when the system gives no further thread, what the others
        // would have owned is gone before those that run are waited for, and so they end.
        let mut vault = Vault { inner, threads: Vec::new() };
        let inner = &vault.inner;
        let packer = Packer {
            press: inner.press.clone(),
            bell: inner.bell.clone(),
            time: self.world.clock.clone(),
            seen: None,
            stay: BTreeSet::new(),
        };
        let keeper = self.housekeeper(inner, inner.clerk.clone());
        let desk = inner.desk.clone();
        let (archivist, (archive, handover, jobs)) = self.archive();
        let (sequencer, committer, works) = self.writers(inner, notify, (archive, handover));
        let commit = move || {
            committer.run(&works);
            desk.close();
        };
        vault.begin_thread(config, "committer", commit)?;
        vault.begin_thread(config, "snapshot", move || archivist.run(&jobs))?;
        vault.begin_thread(config, "sequencer", move || sequencer.run(&messages))?;
        vault.begin_thread(config, "housekeeper", move || keeper.run(&news))?;
        vault.begin_thread(config, "packer", move || packer.run())?;
        if let Some(round) = round {
            vault.begin_thread(config, "witness", move || round.run())?;
        }
        Ok(vault)
    }

    fn archive(&self) -> (Archivist, (Archive, Handover, Inbox)) {
        let archivist = Archivist {
            disk: self.world.disk.clone(),
            dir: self.places.snapshots(),
            tenant: self.file.tenant,
            log: self.log.clone(),
            tuning: self.tuning,
            ends: self.loaded.ends.clone(),
            next: self.loaded.units,
            kept: self.start.as_ref().map(|from| (from.end, from.runs.clone())),
        };
        let segment = self.start.as_ref().map_or(0, |from| from.segment);
        let parts = snapshot::parts(&archivist, segment);
        (archivist, parts)
    }

    fn housekeeper(&self, inner: &Inner, clerk: Clerk) -> Housekeeper {
        let facts = &self.loaded.facts;
        let next = inner.index.lock().unwrap_or_else(|e| e.into_inner()).tail_from();
        let start = facts.day_start.min(next);
        Housekeeper {
            log: self.proven(),
            tiles: self.tiles.clone(),
            index: inner.index.clone(),
            next: start,
            published: inner.published.clone(),
            unsealed: facts.seals_owed(next.0 / EPOCH_ENTRIES),
            index_closed: false,
            failed_at: None,
            day: None,
            day_start: facts.day_start,
            clerk,
            gate: inner.gate.clone(),
            silent: inner.read_only.is_some() || inner.clock.is_ahead(),
        }
    }

    /// The two threads that write.
    fn writers(
        self,
        inner: &Inner,
        notify: Sender<()>,
        (archive, handover): (Archive, Handover),
    ) -> (Sequencer, Committer, Receiver<Work>) {
        let _ = notify.send(());
        let (committer, works) = sync_channel(committer::WAITING);
        let (failed, meter) = (inner.failed.clone(), inner.clerk.meter.clone());
        let last = self.log.last();
        let sequencer = Sequencer {
            disk: self.world.disk.clone(),
            log: self.log.clone(),
            proven: self.proven(),
            archive,
            published_at: inner.clock.now(),
            epoch: last.as_ref().map_or(0, |last| last.head.epoch + 1),
            unit: last.map_or((0, Hash32::ZERO), |last| (last.head.number + 1, last.hash)),
            bodies: self.bodies,
            own: self.loaded.facts,
            window: self.loaded.window,
            clock: inner.clock.clone(),
            lanes: self.lanes,
            tree: self.loaded.tree,
            prev: self.loaded.prev,
            state_before: self.loaded.last_state,
            signer: self.signer,
            successor: None,
            origin: self.file.origin().into(),
            committer,
            desk: inner.desk.clone(),
            read_only: inner.read_only,
            failed: failed.clone(),
            meter: meter.clone(),
        };
        let committer = Committer {
            log: self.log,
            tiles: self.tiles,
            head: self.head,
            head_note: self.head_note,
            head_written: false,
            facts: inner.facts.clone(),
            published: inner.published.clone(),
            desk: inner.desk.clone(),
            bell: inner.bell.clone(),
            notify,
            handover,
            read_only: inner.read_only,
            failed,
            meter,
        };
        (sequencer, committer, works)
    }
}
