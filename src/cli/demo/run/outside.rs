//! Outside: a copy with one byte changed gets its verdict by name, and the vault itself is
//! verified with the trust file alone, without a key.

use crate::base::unit::ClassId;
use crate::cli::demo::run::person::{Read, read_all};
use crate::cli::demo::run::{BACKUP, Roles, Story, below, copy_tree};
use crate::cli::demo::search::Needles;
use crate::cli::output::units::{count, rate};
use crate::format::seal::sample::Sample;
use crate::format::trust::Trust;
use crate::vault::Vault;
use crate::vault::config::Config;
use crate::vault::verify::{Options, Report, verify_data};
use anyhow::{Result, anyhow};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

impl<W: Write> Story<'_, W> {
    /// Flips one byte of a copy of the log.
    pub(crate) fn tamper(&mut self, trust: &Trust) -> Result<()> {
        self.step("tamper", "Somebody changes one byte of a copy")?;
        let copy = self.dir.join("tampered");
        copy_tree(&self.config.data, &copy)?;
        let segment = first_segment(&copy).ok_or_else(|| anyhow!("no segment in the copy"))?;
        let mut bytes = std::fs::read(&segment)?;
        let at = bytes.len() / 2;
        let (mut was, mut is) = (0, 0);
        if let Some(byte) = bytes.get_mut(at) {
            was = *byte;
            *byte ^= 1;
            is = *byte;
        }
        std::fs::write(&segment, &bytes)?;
        let name = segment.strip_prefix(&self.dir).unwrap_or(&segment).display().to_string();
        self.tale.line(&format!("byte {at} of {name}: {was:#04x} -> {is:#04x}"))?;
        match verify_data(&self.world.disk, &copy, Some(trust), &Options::default(), &mut |_, _| {})
        {
            Ok(report) => self.tell_verdicts(&report)?,
            Err(error) => {
                self.tale.line(&format!("{}: {error}", error.code()))?;
                self.tale.fact("verdicts", json!([error.code()]));
                self.tale.fact("exit", crate::vault::verify::exit_code_of(&error));
            }
        }
        Ok(())
    }

    fn tell_verdicts(&mut self, report: &Report) -> Result<()> {
        for verdict in report.verdicts.iter().filter(|v| v.fails).take(4) {
            let at = verdict.index.map_or_else(String::new, |index| format!(" at entry {index}"));
            self.tale.line(&format!("{}{at}: {}", verdict.name, verdict.detail))?;
        }
        let names: Vec<&str> = report.counts.keys().copied().collect();
        self.tale.line(&format!("exit code {}", report.exit_code()))?;
        self.tale.fact("verdicts", json!(names));
        self.tale.fact("failures", report.failures);
        self.tale.fact("exit", report.exit_code());
        Ok(())
    }

    /// Opens the copy of the data made before the erasure beside today's keys.
    pub(crate) fn backup(&mut self, roles: &Roles, kept: &BTreeSet<ClassId>) -> Result<()> {
        self.step("backup", "Somebody kept a copy of data/ from before the erasure")?;
        let config =
            Config { data: self.dir.join(BACKUP), index_on_disk: false, ..self.config.clone() };
        let vault = Vault::open(self.world.clone(), &config)?;
        let mode = vault.read_only().unwrap_or("OPEN FOR WRITING");
        let Read { opened, dead, elsewhere, by_law } =
            read_all(&vault, &Needles::of(&roles.leaver), kept)?;
        self.tale.line(&format!(
            "opened beside today's keys: read-only, {mode}\n\
             {} bodies open, {} do not; records that name the person: {elsewhere}, and {by_law} \
             that a law keeps",
            count(opened),
            count(dead)
        ))?;
        self.tale.fact("read_only", mode);
        self.tale.fact("bodies_opened", opened);
        self.tale.fact("bodies_dead", dead);
        self.tale.fact("body_hits", elsewhere);
        self.tale.fact("kept_by_law", by_law);
        self.tale.limit(
            "with a copy of keys/ from before the erasure it would open: never back keys up",
        )?;
        Ok(())
    }

    /// Verifies the vault as somebody who has the data and the trust file.
    pub(crate) fn outside(&mut self, trust: &Trust) -> Result<()> {
        self.step("verify", "An outsider verifies everything: trust file, no keys")?;
        let options = Options { replay_seals: Some(Sample::all()), ..Options::default() };
        let began = Instant::now();
        let data = &self.config.data;
        let report = verify_data(&self.world.disk, data, Some(trust), &options, &mut |_, _| {})?;
        let took = began.elapsed();
        let signed = report.signed_by.as_ref().map_or(0, |s| s.size.0);
        self.tale.line(&format!(
            "{} entries in {} units, {}; signed up to {}\n\
             {} sealed groups: {} bodies there and undamaged, {} expired by an entry\n\
             {} erasures, {} numbers missing at sources, {} seals and day-seals",
            count(report.entries),
            count(report.units),
            rate(report.entries, took),
            count(signed),
            count(report.groups),
            count(report.bodies),
            count(report.expired),
            report.erasures,
            count(report.gaps),
            report.seals + report.day_seals
        ))?;
        for verdict in report.verdicts.iter().take(6) {
            let what = if verdict.fails { "FAILED" } else { "note" };
            self.tale.line(&format!("{what}: {}: {}", verdict.name, verdict.detail))?;
        }
        let word = match report.exit_code() {
            0 => "verified",
            1 => "FAILED",
            _ => "inconclusive",
        };
        self.tale.line(&format!("verdict: {word} (exit code {})", report.exit_code()))?;
        self.tale.fact("verdict", word);
        self.tale.fact("exit", report.exit_code());
        self.tale.fact("report", serde_json::to_value(&report)?);
        self.tale
            .limit("whether a sealed body opens needs keys; `chancery verify` with them says so")?;
        Ok(())
    }

    /// Where everything lies, and what to try.
    pub(crate) fn ending(&mut self) -> Result<()> {
        self.tale.end()?;
        let dir = self.dir.display().to_string();
        self.tale.say(&format!("\nEverything lies in {dir}:"))?;
        for (name, what) in [
            ("data", "the log, sealed bodies, tiles, checkpoint"),
            ("keys", "the key plane; never backed up with data"),
            ("report", "report.pdf and what it stands on"),
            ("siem", "events.cef, events.leef with manifests"),
            (BACKUP, "data/ as it was before the erasure"),
            ("tampered", "the copy with one changed byte"),
        ] {
            let size = below(&self.dir.join(name));
            self.tale.say(&format!("  {name:<12} {what} ({size})"))?;
        }
        let single = "trust.policy checkpoint.note entry.tlog-proof disclosure.json *.receipt";
        self.tale.say(&format!("  {single}"))?;
        self.tale.say(&format!(
            "\nTry next:\n  chancery verify {dir}/data --trust {dir}/trust.policy\n  \
             chancery verify {dir}/tampered --trust {dir}/trust.policy\n  \
             chancery verify {dir}/report --trust {dir}/trust.policy\n  \
             chancery --home {dir} query outcome=denied --limit 5\n  \
             chancery --home {dir} retain plan"
        ))?;
        Ok(())
    }
}

/// The first segment of the log.
fn first_segment(data: &Path) -> Option<PathBuf> {
    let tenants = std::fs::read_dir(data.join("tenants")).ok()?;
    let tenant = tenants.flatten().next()?.path();
    let mut segments: Vec<PathBuf> =
        std::fs::read_dir(tenant.join("log")).ok()?.flatten().map(|e| e.path()).collect();
    segments.retain(|path| path.extension().is_some_and(|e| e == "seg"));
    segments.sort();
    segments.into_iter().next()
}
