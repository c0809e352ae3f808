//! The beginning: a vault, its trust file, and the events of the day.

use crate::base::event::{Draft, Event};
use crate::base::id::PersonId;
use crate::cli::demo::input::Raw;
use crate::cli::demo::run::{Story, size_below};
use crate::cli::output::Progress;
use crate::cli::output::units::{bytes, count, rate};
use crate::format::trust::Trust;
use crate::policy::classify::Scratch;
use crate::vault::Vault;
use crate::vault::append::Receipt;
use crate::vault::error::Error as VaultError;
use anyhow::{Result, anyhow};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};

/// Events of one batch.
const BATCH: usize = 1_000;
/// Name of the vault, in every checkpoint.
const NAME: &str = "demo.chancery.example";

/// What became of one source's events.
#[derive(Clone, Copy, Default)]
struct Intake {
    accepted: u64,
    duplicate: u64,
    bytes: u64,
}

impl<W: Write> Story<'_, W> {
    /// Makes the vault and the trust file.
    pub(crate) fn found(&mut self) -> Result<Vault> {
        self.step("init", "A vault is made")?;
        let vault = Vault::init(self.world.clone(), &self.config, NAME)?;
        let (log, report) = (vault.log_key().clone(), vault.report_signer().verifier().clone());
        let trust = Trust::of(&[log], &[report]).map_err(|e| anyhow!("TRUST_FILE: {e}"))?;
        let disk = &self.world.disk;
        disk.replace(&self.dir.join("trust.policy"), trust.to_string().as_bytes())?;
        let toml = format!(
            "# So that `chancery --home` finds the demo's vault.\nname = \"{NAME}\"\n\
             data = \"data\"\n\n[keys]\npath = \"keys\"\n"
        );
        disk.replace(&self.dir.join("chancery.toml"), toml.as_bytes())?;
        self.tale.line(&format!(
            "origin {}\ndata/ may be backed up for years; keys/ never is; \
             trust.policy pins {} keys",
            vault.origin(),
            trust.logs().len() + trust.reports().len()
        ))?;
        self.tale.fact("origin", vault.origin());
        self.tale.fact("dir", self.dir.display().to_string());
        self.tale.fact("notices", vault.notices().iter().map(|n| n.code).collect::<Vec<_>>());
        self.tale.limit(
            "KEYS_SINGLE_COPY: one copy of the keys, in files on this disk (class D: a device may \
             keep overwritten blocks)",
        )?;
        self.tale
            .limit("trust.policy lies beside the data here; an auditor gets it another way")?;
        Ok(vault)
    }

    /// Appends every event, durably.
    pub(crate) fn ingest(&mut self, vault: &Vault) -> Result<()> {
        self.step("ingest", "Events come in: parsed, classified, sealed, chained, synced")?;
        let began = Instant::now();
        let mut intake: BTreeMap<String, Intake> = BTreeMap::new();
        let mut refused: BTreeMap<String, u64> =
            self.input.refused.iter().map(|(code, n)| ((*code).to_owned(), *n)).collect();
        let total = self.input.events.len() as u64;
        let progress = Progress::new(&self.style, "appending", total);
        for batch in self.input.events.chunks(BATCH) {
            if (self.stopped)() {
                break;
            }
            append(vault, batch, &mut intake, &mut refused)?;
            progress.add(batch.len() as u64);
        }
        progress.done();
        let took = began.elapsed();
        vault.checkpoint()?;
        vault.settle();
        self.tell_intake(vault, &intake, &refused, took)?;
        self.resend(vault)
    }

    fn tell_intake(
        &mut self,
        vault: &Vault,
        intake: &BTreeMap<String, Intake>,
        refused: &BTreeMap<String, u64>,
        took: Duration,
    ) -> Result<()> {
        for (source, of) in intake {
            let text =
                format!("{source:<18} {:>9} events {:>10}", count(of.accepted), bytes(of.bytes));
            self.tale.line(&match of.duplicate {
                0 => text,
                n => format!("{text}, {} sent twice and stored once", count(n)),
            })?;
        }
        for (code, number) in refused {
            self.tale.line(&format!("refused {:>10}  {code}", count(*number)))?;
        }
        let sum = |f: fn(&Intake) -> u64| intake.values().map(f).sum::<u64>();
        let (accepted, raw) = (sum(|i| i.accepted), sum(|i| i.bytes));
        let (_, stored) = size_below(&self.config.data);
        let persons: BTreeSet<PersonId> = vault.tag_owners()?.into_values().collect();
        self.tale.line(&format!(
            "{} persons have keys of their own, in {} retention classes\n\
             {} on one thread in batches of {}, every batch synced before its receipt\n\
             {} on disk: {:.2} bytes per raw byte, proofs and index included",
            count(persons.len() as u64),
            self.input.classes.len(),
            rate(accepted, took),
            count(BATCH as u64),
            bytes(stored),
            stored as f64 / raw.max(1) as f64
        ))?;
        self.tale.fact("accepted", accepted);
        self.tale.fact("duplicates", sum(|i| i.duplicate));
        self.tale.fact("refused", refused.values().sum::<u64>());
        self.tale.fact("refused_by_code", serde_json::json!(refused));
        self.tale.fact("raw_bytes", raw);
        self.tale.fact("stored_bytes", stored);
        self.tale.fact("persons", persons.len());
        self.tale.fact("events_per_s", accepted as f64 / took.as_secs_f64().max(1e-9));
        Ok(())
    }

    /// Sends the last batch again: the same receipts come back, nothing is stored.
    fn resend(&mut self, vault: &Vault) -> Result<()> {
        if !self.is_invented() {
            return Ok(());
        }
        let Some(batch) = self.input.events.chunks(BATCH).next_back() else { return Ok(()) };
        let before = vault.size();
        let (mut intake, mut refused) = (BTreeMap::new(), BTreeMap::new());
        append(vault, batch, &mut intake, &mut refused)?;
        let duplicates: u64 = intake.values().map(|i: &Intake| i.duplicate).sum();
        let grown = vault.size().0 - before.0;
        self.tale.line(&format!(
            "the last {} sent again: {} recognised, {grown} stored",
            count(batch.len() as u64),
            count(duplicates)
        ))?;
        self.tale.fact("resent_recognised", duplicates);
        self.tale.fact("resent_stored", grown);
        Ok(())
    }
}

/// Appends a batch; what conflicts is tried alone and counted by code.
fn append(
    vault: &Vault,
    batch: &[Raw],
    intake: &mut BTreeMap<String, Intake>,
    refused: &mut BTreeMap<String, u64>,
) -> Result<()> {
    match append_all(vault, batch) {
        Ok(receipts) => {
            for (raw, receipt) in batch.iter().zip(receipts) {
                let of = intake.entry(raw.source.clone()).or_default();
                match receipt.duplicate {
                    true => of.duplicate += 1,
                    false => {
                        (of.accepted, of.bytes) =
                            (of.accepted + 1, of.bytes + raw.json.len() as u64)
                    }
                }
            }
            Ok(())
        }
        Err(VaultError::Conflict { code, .. }) if batch.len() == 1 => {
            *refused.entry(code.to_owned()).or_default() += 1;
            Ok(())
        }
        Err(VaultError::Conflict { .. }) => {
            let (left, right) = batch.split_at(batch.len() / 2);
            append(vault, left, intake, refused)?;
            append(vault, right, intake, refused)
        }
        Err(error) => Err(error.into()),
    }
}

fn append_all(vault: &Vault, batch: &[Raw]) -> std::result::Result<Vec<Receipt>, VaultError> {
    let policies = vault.policies();
    let mut scratch = Scratch::default();
    let mut events: Vec<Event<'_>> = Vec::with_capacity(batch.len());
    for (position, raw) in batch.iter().enumerate() {
        let draft = Draft { source: &raw.source, json: &raw.json };
        let event = policies.event(draft, &mut scratch);
        events.push(event.map_err(|refusal| VaultError::Invalid { position, refusal })?);
    }
    vault.append_events(events)
}
