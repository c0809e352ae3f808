//! The throw-away vault the attacks are made on: real files, a clock moved by hand, the trust its
//! auditor pinned beforehand. It never touches anything outside its directory.

use crate::base::event::{Draft, Identifier};
use crate::base::unit::{EntryIndex, NANOS_PER_DAY, NANOS_PER_SECOND, UtcNanos};
use crate::base::world::Clock;
use crate::cli::bench::attacks::Found;
use crate::cli::world::OsEntropy;
use crate::format::seal::sample::Sample;
use crate::format::trust::Trust;
use crate::store::disk::{Disk, OsDisk};
use crate::vault::config::{Config, Places, VaultFile};
use crate::vault::error::Result as VaultResult;
use crate::vault::hold::Order;
use crate::vault::read::Reading;
use crate::vault::verify::{Options, Report, verify_data};
use crate::vault::{Vault, World};
use anyhow::{Context, Result, anyhow};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Noon of the day the attacks happen on.
const NOON: &str = "2026-11-21T12:00:00Z";

/// Both clocks, moved by hand.
pub(crate) struct SetClock {
    wall: AtomicU64,
    monotonic: AtomicU64,
}

impl SetClock {
    /// Time passes.
    pub(crate) fn pass(&self, nanos: u64) {
        self.wall.fetch_add(nanos, Ordering::SeqCst);
        self.monotonic.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Somebody turns the wall clock back a day.
    pub(crate) fn back_a_day(&self) {
        self.wall.fetch_sub(NANOS_PER_DAY, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn wall(&self) -> UtcNanos {
        UtcNanos(self.wall.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> u64 {
        self.monotonic.load(Ordering::SeqCst)
    }
}

/// A vault on real files and what is known of it outside.
pub(crate) struct Ground {
    pub(crate) dir: PathBuf,
    pub(crate) clock: Arc<SetClock>,
    pub(crate) trust: Trust,
}

/// Two different people.
pub(crate) fn two_people() -> Order {
    Order {
        requested_by: "privacy.officer@example.org".to_owned(),
        approved_by: Some("administrator@example.org".to_owned()),
        single_operator: false,
    }
}

/// A patient of the clinic.
pub(crate) fn patient(id: &str) -> Identifier {
    Identifier { kind: "patient_id".into(), value: id.into() }
}

/// An event about one patient by one nurse.
pub(crate) fn visit(number: u64, nurse: &str, patient: &str) -> String {
    format!(
        concat!(
            r#"{{"time":"2026-11-21T08:00:00Z","source_seq":{number},"action":"record.open","#,
            r#""category":"data","verb":"read","outcome":"success","severity":3,"#,
            r#""actor":{{"id":"{nurse}","type":"user","email":"{nurse}@clinic.example"}},"#,
            r#""subjects":[{{"role":"target","identifiers":"#,
            r#"[{{"kind":"patient_id","value":"{patient}"}}]}}],"#,
            r#""reason":"ward round","data":{{"note":"secret of {patient}"}}}}"#
        ),
        number = number,
        nurse = nurse,
        patient = patient
    )
}

impl Ground {
    /// A vault with `batches` units of five events each, numbered by their source from 1.
    pub(crate) fn new(dir: &Path, batches: u64) -> Result<Ground> {
        let wall = UtcNanos::parse(NOON).context("noon")?.0;
        let clock = Arc::new(SetClock { wall: AtomicU64::new(wall), monotonic: AtomicU64::new(1) });
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let world = World { disk, clock: clock.clone(), entropy: Arc::new(OsEntropy::new()) };
        let vault = Vault::init(world, &config(dir), "attacks.local")?;
        let keys = [vault.report_signer().verifier().clone()];
        let trust = Trust::of(&[vault.log_key().clone()], &keys).map_err(|e| anyhow!("{e}"))?;
        let ground = Ground { dir: dir.to_owned(), clock, trust };
        ground.append(&vault, 1, batches)?;
        Ok(ground)
    }

    /// Appends batches of five events from number `first` on.
    pub(crate) fn append(&self, vault: &Vault, first: u64, batches: u64) -> Result<()> {
        for batch in 0..batches {
            self.clock.pass(NANOS_PER_SECOND);
            let number = first + batch * 5;
            let texts: Vec<String> = (number..number + 5)
                .map(|n| visit(n, &format!("n{}", n % 3), &format!("p{}", n % 4)))
                .collect();
            send(vault, &texts)?;
        }
        Ok(())
    }

    /// Opens the vault.
    pub(crate) fn open(&self) -> VaultResult<Vault> {
        self.open_on(Arc::new(OsDisk), &config(&self.dir))
    }

    /// Opens it on another disk, or in another way.
    pub(crate) fn open_on(&self, disk: Arc<dyn Disk>, config: &Config) -> VaultResult<Vault> {
        let world = World { disk, clock: self.clock.clone(), entropy: Arc::new(OsEntropy::new()) };
        Vault::open(world, config)
    }

    /// What an outsider finds, seals computed again.
    pub(crate) fn verify(&self) -> Result<Report> {
        self.verify_with(Vec::new())
    }

    /// As `verify`, with checkpoints kept from before.
    pub(crate) fn verify_with(&self, retained: Vec<String>) -> Result<Report> {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let options = Options { replay_seals: Some(Sample::all()), retained, ..Options::default() };
        let data = self.dir.join("data");
        Ok(verify_data(&disk, &data, Some(&self.trust), &options, &mut |_, _| {})?)
    }

    /// What the vault's own check of every body finds.
    pub(crate) fn open_bodies(&self) -> Result<Found> {
        let report = self.open()?.verify_bodies(&mut |_, _| {})?;
        Ok(named(&report.verdicts))
    }

    /// Where the tenant's files lie.
    pub(crate) fn places(&self) -> Result<Places> {
        let file = VaultFile::read(&OsDisk, &self.dir.join("data"))?;
        Ok(Places::of(&self.dir.join("data"), &self.dir.join("keys"), &file.tenant))
    }

    /// The checkpoint on disk.
    pub(crate) fn checkpoint(&self) -> Result<String> {
        Ok(fs::read_to_string(self.places()?.checkpoint())?)
    }

    /// A copy of everything, as a backup or a cloned machine has it.
    pub(crate) fn copy(&self, name: &str) -> Result<Ground> {
        let dir = self.dir.with_extension(name);
        copy_dir(&self.dir, &dir)?;
        Ok(Ground { dir, clock: self.clock.clone(), trust: self.trust.clone() })
    }

    /// Puts a part (`data`, `keys`) of another copy in place of this one's.
    pub(crate) fn put_back(&self, part: &str, from: &Ground) -> Result<()> {
        fs::remove_dir_all(self.dir.join(part))?;
        copy_dir(&from.dir.join(part), &self.dir.join(part))
    }
}

/// Default configuration below a directory, index in memory.
pub(crate) fn config(dir: &Path) -> Config {
    Config { index_on_disk: false, ..crate::cli::bench::plain(dir) }
}

/// Sends events of the clinic as one batch; gives their indexes.
pub(crate) fn send(vault: &Vault, texts: &[String]) -> VaultResult<Vec<EntryIndex>> {
    let drafts: Vec<Draft<'_>> =
        texts.iter().map(|text| Draft { source: "ehr", json: text.as_bytes() }).collect();
    Ok(vault.append(&drafts)?.iter().map(|receipt| receipt.index).collect())
}

/// Index of the event with this number of its source.
pub(crate) fn event(vault: &Vault, number: u64) -> Result<EntryIndex> {
    let mut all = (0..vault.size().0).map(EntryIndex);
    let numbered =
        |i: &EntryIndex| vault.entry(*i).is_ok_and(|entry| entry.head.source_seq == Some(number));
    all.find(numbered).with_context(|| format!("event {number}"))
}

/// Whether a text can be read anywhere in an opened log.
pub(crate) fn readable(vault: &Vault, needle: &str) -> Result<bool> {
    let mut found = false;
    let reading = Reading::OPEN;
    let whole = EntryIndex(0)..EntryIndex(vault.size().0);
    vault.for_each_record(whole, reading, &mut |record| {
        let values = record.fields.iter().filter_map(|field| field.value.as_deref());
        found |= values.map(String::from_utf8_lossy).any(|value| value.contains(needle));
        Ok(())
    })?;
    Ok(found)
}

/// Copies a directory with everything in it.
pub(crate) fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, target) = {
            let entry = entry?;
            let target = to.join(entry.file_name());
            (entry, target)
        };
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The failing verdicts of a report, each name once, in order.
pub(crate) fn failing(report: &Report) -> Found {
    let failing: Vec<_> = report.verdicts.iter().filter(|v| v.fails).cloned().collect();
    named(&failing)
}

fn named(verdicts: &[crate::vault::verify::Verdict]) -> Found {
    let mut names: Vec<&str> = verdicts.iter().map(|verdict| verdict.name).collect();
    names.sort_unstable();
    names.dedup();
    match names.is_empty() {
        true => Found("VERIFIED".to_owned()),
        false => Found(names.join(" ")),
    }
}

/// The code a refusal has; `accepted` if there is none.
pub(crate) fn code<T>(result: VaultResult<T>) -> Found {
    Found(result.map_or_else(|error| error.code().to_owned(), |_| "accepted".to_owned()))
}
