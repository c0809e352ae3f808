//! The demo's story: one vault from its first entry to an outsider's verdict, in a directory of
//! its own, with the verbs every command uses. It measures what it says, names the limit beside
//! each claim, and touches nothing outside its directory.

mod begin;
mod feed;
mod later;
mod look;
mod outside;
mod person;

use crate::base::event::Identifier;
use crate::base::unit::EntryIndex;
use crate::base::world::{Clock, random};
use crate::cli::args::make::Demo as Args;
use crate::cli::demo::input::{Input, keep_days_min};
use crate::cli::demo::tale::Tale;
use crate::cli::demo::travel::TravelClock;
use crate::cli::error::Failure;
use crate::cli::output::units::{bytes, count};
use crate::cli::output::{Output, Style};
use crate::cli::world::{OsClock, OsEntropy};
use crate::format::trust::Trust;
use crate::policy::classify::Policies;
use crate::policy::default_files;
use crate::store::disk::OsDisk;
use crate::vault::World;
use crate::vault::config::{Config as VaultConfig, Tuning};
use crate::vault::hold::Order;
use anyhow::{Result, anyhow};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Days beyond the due date that the key of a class-day is kept anyway, and one for midnight.
const GRACE_DAYS: u64 = 2;

/// Copy of the data made before the erasure.
const BACKUP: &str = "old-backup";

/// What every step works with.
pub(crate) struct Story<'o, W: Write> {
    tale: Tale<'o, W>,
    style: Style,
    world: World,
    clock: Arc<TravelClock>,
    config: VaultConfig,
    dir: PathBuf,
    days: u64,
    input: Input,
    stopped: &'o dyn Fn() -> bool,
}

/// Whom the story is about.
pub(crate) struct Roles {
    /// The person who will be erased, by every identifier known of them.
    leaver: Vec<Identifier>,
    /// A record about somebody else, to show, prove and disclose.
    shown: EntryIndex,
}

/// Tells the story.
///
/// # Errors
/// Those of the vault, of the disk and of the output; `INTERRUPTED` between two steps.
pub(crate) fn run<W: Write>(
    out: &mut Output<W>,
    args: &Args,
    stopped: &dyn Fn() -> bool,
) -> Result<()> {
    let entropy = Arc::new(OsEntropy::new());
    let system: Arc<dyn Clock> = Arc::new(OsClock::start());
    let policies = Policies::parse(&default_files())?;
    let style = out.style;
    let (input, days) = prepare(args, &policies, &*system)?;
    let dir = directory(args, &random::<4>(&*entropy))?;
    let clock = Arc::new(TravelClock::days_ago(system, days));
    let config = VaultConfig {
        data: dir.join("data"),
        keys: dir.join("keys"),
        mirror: None,
        passphrase: None,
        accept_time: false,
        ledger: None,
        policies: default_files(),
        index_on_disk: true,
        outside: Default::default(),
        tuning: Tuning { pack: false, ..Tuning::default() },
    };
    let world = World { disk: Arc::new(OsDisk), clock: clock.clone(), entropy };
    let tale = Tale::new(out);
    let mut story = Story { tale, style, world, clock, config, dir, days, input, stopped };
    story.opening()?;
    story.tell()
}

/// The events, and how many days before the present the story begins.
fn prepare(args: &Args, policies: &Policies, system: &dyn Clock) -> Result<(Input, u64)> {
    let back = |keep: Option<u32>| keep.map_or(0, |keep| u64::from(keep) + GRACE_DAYS);
    if let Some(path) = &args.input {
        let mapping = args.mapping.as_deref().unwrap_or("canonical");
        let input = Input::read(path, mapping, policies)?;
        let days = back(keep_days_min(&input.classes, policies));
        return Ok((input, days));
    }
    let default = policies.classes().get(policies.classes().default_class());
    let days = back(default.and_then(|class| class.keep_days()));
    // Everything happened the day before the vault took it in.
    let today = u64::from(system.wall().day().0);
    let date = u32::try_from(today.saturating_sub(days + 1)).unwrap_or(0);
    Ok((Input::invent(args, crate::base::unit::Day(date), policies), days))
}

/// Makes the directory everything happens in.
fn directory(args: &Args, suffix: &[u8; 4]) -> Result<PathBuf> {
    let fresh = format!("chancery-demo-{}", crate::base::id::hex(suffix));
    let dir = args.out.clone().unwrap_or_else(|| std::env::temp_dir().join(fresh));
    let dir = std::path::absolute(&dir).map_err(|e| Failure::file(&dir, &e))?;
    if dir.exists() {
        let message = format!("{} is there already; nothing was done", dir.display());
        return Err(Failure::usage("DEMO_EXISTS", message).into());
    }
    crate::store::disk::Disk::create_dir(&OsDisk, &dir)?;
    Ok(dir)
}

impl<W: Write> Story<'_, W> {
    fn opening(&mut self) -> Result<()> {
        let what = match &self.input.scenario {
            Some(s) => format!(
                "An invented day at a clinic and a software service: {} events, {} people, \
                 seed {}.",
                count(s.events as u64),
                count(s.people as u64),
                s.seed
            ),
            None => format!("A real log: {} events.", count(self.input.events.len() as u64)),
        };
        self.tale.say(&format!(
            "{what}\nEverything lies in {}; nothing else is touched.",
            self.dir.display()
        ))?;
        if self.days > 0 {
            self.tale.say(&format!(
                "The demo has its own clock: it starts {} days ago and ends now.",
                self.days
            ))?;
        }
        Ok(())
    }

    fn tell(&mut self) -> Result<()> {
        let mut vault = self.found()?;
        self.ingest(&vault)?;
        let roles = self.cast(&vault)?;
        let trust = self.trust()?;
        self.checkpoint(&vault, &trust)?;
        let mut kept = BTreeSet::new();
        if let Some(roles) = &roles {
            self.show(&vault, roles)?;
            self.prove(&vault, roles, &trust)?;
            kept = self.forget(&vault, roles)?;
        }
        self.feed(&vault, roles.as_ref())?;
        if self.days > 0 {
            vault = self.expire(vault)?;
        }
        self.report(&vault, &trust)?;
        vault.checkpoint()?;
        vault.settle();
        drop(vault);
        if let Some(roles) = &roles {
            self.backup(roles, &kept)?;
        }
        self.tamper(&trust)?;
        self.outside(&trust)?;
        self.ending()
    }

    /// Begins a step, unless somebody wants to stop.
    fn step(&mut self, name: &'static str, title: &str) -> Result<()> {
        if (self.stopped)() {
            let message = format!("stopped; what was written lies in {}", self.dir.display());
            return Err(Failure::failed("INTERRUPTED", message).into());
        }
        Ok(self.tale.step(name, title)?)
    }

    /// The trust file as an outsider gets it: read back, never taken from memory.
    fn trust(&self) -> Result<Trust> {
        let text = std::fs::read_to_string(self.dir.join("trust.policy"))?;
        Trust::parse(&text).map_err(|e| anyhow!("TRUST_FILE: {e}"))
    }

    /// Whether values may be printed: invented ones only.
    fn is_invented(&self) -> bool {
        self.input.scenario.is_some()
    }
}

/// Two people, as every act that could weaken the log needs.
fn two_people() -> Order {
    Order {
        requested_by: "privacy officer".to_owned(),
        approved_by: Some("head of records".to_owned()),
        single_operator: false,
    }
}

/// Files and bytes below a directory, in words.
fn size_below(dir: &Path) -> (u64, u64) {
    let (mut files, mut size) = (0, 0);
    let Ok(entries) = std::fs::read_dir(dir) else { return (0, 0) };
    for entry in entries.flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        let (f, s) = if meta.is_dir() { size_below(&entry.path()) } else { (1, meta.len()) };
        (files, size) = (files + f, size + s);
    }
    (files, size)
}

/// As `size_below`, for a line.
fn below(dir: &Path) -> String {
    let (files, size) = size_below(dir);
    format!("{} in {} files", bytes(size), count(files))
}

/// Copies a data directory; its index is derived and stays behind.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true if entry.file_name() == "index" => {}
            true => copy_tree(&entry.path(), &target)?,
            false => {
                std::fs::copy(entry.path(), target)?;
            }
        }
    }
    Ok(())
}
