//! Later: time passes, a class-day falls due, and its keys and bytes go. And the report about it.

use crate::base::unit::{EntryIndex, UtcNanos};
use crate::cli::cmd::report::{self, Wanted};
use crate::cli::demo::run::{Story, below};
use crate::cli::output::units::{bytes, count};
use crate::format::trust::Trust;
use crate::report::manifest::{self, MANIFEST};
use crate::vault::Vault;
use crate::vault::config::Config;
use anyhow::{Result, anyhow};
use std::io::Write;
use std::path::{Path, PathBuf};

impl<W: Write> Story<'_, W> {
    /// Closes the vault, lets time pass to the present, opens it and expires what is due.
    pub(crate) fn expire(&mut self, vault: Vault) -> Result<Vault> {
        let days = self.days;
        self.step("expire", &format!("The vault is closed; {days} days pass; it is opened again"))?;
        drop(vault);
        self.clock.to_present();
        let vault = self.open_later()?;
        let now = vault.clock().now();
        for planned in vault.retention_plan()? {
            let due = match planned.due {
                Some(due) if due <= now => format!("due since {due}"),
                Some(due) => format!("due {due}"),
                None => "kept for ever".to_owned(),
            };
            self.tale.line(&format!(
                "  {:<18} {:<11} {:>8} groups {:>10}  {due}",
                planned.class_name,
                planned.class_day.day,
                count(planned.groups),
                bytes(planned.bytes)
            ))?;
        }
        let suspended = match vault.expire(None) {
            Err(error) => error.code(),
            Ok(_) => "not suspended",
        };
        self.tale.line(&format!(
            "even then nothing expires until a person confirms the date: {suspended}"
        ))?;
        let done = vault.expire(Some(now.day()))?;
        let days: Vec<String> = done.class_days.iter().map(ToString::to_string).collect();
        self.tale.line(&format!(
            "confirmed {}: {} class-days expired, {} groups, {} freed on disk\ndata/ now {}",
            now.day(),
            done.class_days.len(),
            count(done.groups),
            bytes(done.bytes_freed),
            below(&self.config.data)
        ))?;
        self.tale.fact("suspended", suspended);
        self.tale.fact("class_days", days);
        self.tale.fact("groups", done.groups);
        self.tale.fact("bytes_freed", done.bytes_freed);
        self.tale.limit("times, codes, outcomes and sizes of expired records stay in the log")?;
        Ok(vault)
    }

    /// A clock far beyond the last entry is not believed until a person says so.
    fn open_later(&mut self) -> Result<Vault> {
        let why = "demo: a look after a long pause";
        let look = |vault: &Vault| {
            vault.record_reading("read", EntryIndex(0)..EntryIndex(0), 0, &[], why, "clerk")
        };
        let vault = Vault::open(self.world.clone(), &self.config)?;
        let refused = match look(&vault) {
            Err(error) => error.code(),
            Ok(_) => "accepted",
        };
        drop(vault);
        let told = Config { accept_time: true, ..self.config.clone() };
        let vault = Vault::open(self.world.clone(), &told)?;
        look(&vault)?;
        self.tale.line(&format!(
            "a clock so far ahead is not believed: {refused}; opened with --accept-time"
        ))?;
        self.tale.fact("clock", refused);
        Ok(vault)
    }

    /// Writes the report over the whole story, and checks it as an auditor would.
    pub(crate) fn report(&mut self, vault: &Vault, trust: &Trust) -> Result<()> {
        self.step("report", "A GDPR report, signed")?;
        let dir = self.dir.join("report");
        let integrity = report::integrity(&self.world, vault, &self.config.data, &mut |_, _| {})?;
        let wanted = Wanted {
            dir: &dir,
            from: None,
            to: None::<UtcNanos>,
            by: "data protection officer",
            tenant: "demo clinic",
            integrity: Some(integrity),
        };
        let written = report::write(&self.world, vault, &wanted)?;
        for control in &written.report.controls {
            let reason = control.reasons.first().map_or("", |reason| &reason.text);
            self.tale.line(&format!(
                "  {:<18} {:<24} {}",
                control.status.name(),
                control.id,
                reason.chars().take(110).collect::<String>()
            ))?;
        }
        let files = read_report(&dir)?;
        let listed: Vec<(&str, &[u8])> = files
            .iter()
            .filter(|(name, _)| name != MANIFEST)
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        let note = files.iter().find(|(name, _)| name == MANIFEST).map(|(_, b)| b.as_slice());
        let checked = manifest::verify(note.unwrap_or_default(), trust, &listed)
            .map_err(|e| anyhow!("{}", e.verdict()))?;
        self.tale.line(&format!(
            "report.pdf, report.json, {} tables and manifest.note; checked with the trust file: \
             {} files as signed",
            listed.len().saturating_sub(2),
            checked.files.len()
        ))?;
        self.tale.fact("report", report::summary(&written, &dir));
        self.tale.limit("it is evidence for named controls, not a certificate")?;
        Ok(())
    }
}

/// Every file of a report directory, by its name inside.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn read_report(dir: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    let mut open = vec![(PathBuf::from(dir), String::new())];
    while let Some((place, prefix)) = open.pop() {
        for entry in std::fs::read_dir(place)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            match entry.file_type()?.is_dir() {
                true => open.push((entry.path(), format!("{name}/"))),
                false => files.push((name, std::fs::read(entry.path())?)),
            }
        }
    }
    files.sort();
    Ok(files)
}
