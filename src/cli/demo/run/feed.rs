//! Feeding: the log as CEF and LEEF lines for a SIEM, persons as tokens.

use crate::base::unit::EntryIndex;
use crate::cli::args::make::{ExportFormat, ExportPreset};
use crate::cli::cmd::export::{self, Wanted};
use crate::cli::demo::run::{Roles, Story};
use crate::cli::demo::search::Needles;
use crate::cli::output::units::{bytes, count};
use crate::query::filter::Filter;
use crate::vault::Vault;
use anyhow::{Result, bail};
use std::io::Write;

/// Characters of a line that are shown.
const SHOWN: usize = 220;

impl<W: Write> Story<'_, W> {
    /// Writes both files.
    pub(crate) fn feed(&mut self, vault: &Vault, roles: Option<&Roles>) -> Result<()> {
        self.step("export", "A SIEM gets CEF and LEEF, persons as tokens")?;
        let filter = Filter::default();
        let end = EntryIndex(vault.size().0);
        for (format, name) in
            [(ExportFormat::Cef, "events.cef"), (ExportFormat::Leef, "events.leef")]
        {
            let mapping = export::mapping(format, ExportPreset::Tokens)?;
            let path = self.dir.join("siem").join(name);
            self.world.disk.create_dir(&self.dir.join("siem"))?;
            let wanted = Wanted {
                mapping: &mapping,
                destination: "soc",
                filter: &filter,
                range: EntryIndex(0)..end,
                granted: &[],
                path: &path,
                purpose: "demo: feed of the security team",
                by: "security engineer",
                order: None,
            };
            let Some(made) = export::write(&self.world, vault, &wanted, &|| (self.stopped)())?
            else {
                bail!("INTERRUPTED: no file was written")
            };
            let lines = std::fs::read(&path)?;
            let hits = roles.is_some_and(|roles| Needles::of(&roles.leaver).are_in(&lines));
            self.tale.line(&format!(
                "{name:<12} {:>8} lines {:>10}, manifest signed; values changed to fit: {}; the \
                 erased person: {}",
                count(made.manifest.count),
                bytes(lines.len() as u64),
                count(made.changed.total()),
                if hits { "FOUND" } else { "not found" }
            ))?;
            let at = roles.map_or(0, |roles| roles.shown.0);
            let line = lines.split(|b| *b == b'\n').nth(usize::try_from(at).unwrap_or(0));
            let line: String =
                String::from_utf8_lossy(line.unwrap_or_default()).chars().take(SHOWN).collect();
            self.tale.line(&format!("  {}...", line.replace('\t', " ")))?;
            let name = name.replace('.', "_");
            self.tale.fact(&format!("{name}_lines"), made.manifest.count);
            self.tale.fact(&format!("{name}_refused"), made.refused.values().sum::<u64>());
            self.tale.fact(&format!("{name}_hits"), u64::from(hits));
        }
        self.tale.limit(
            "what lies in a file is outside the vault's reach; tokens die with the person's keys",
        )?;
        Ok(())
    }
}
