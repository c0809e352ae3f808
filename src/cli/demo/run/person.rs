//! Forgetting: a person known by several identifiers in several sources is previewed, held,
//! released and erased by two people, and then looked for in every byte and every opened body.

use crate::base::id::PersonId;
use crate::base::record::Fate;
use crate::base::unit::{ClassId, EntryIndex};
use crate::cli::demo::run::{BACKUP, Roles, Story, copy_tree, two_people};
use crate::cli::demo::search::{Found, Needles};
use crate::cli::output::units::{bytes, count};
use crate::format::control::Scope;
use crate::vault::Vault;
use crate::vault::erase::{Erased, Preview};
use crate::vault::error::Error as VaultError;
use crate::vault::read::Reading;
use anyhow::{Result, bail};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;
use std::time::Instant;

/// Name of the case that holds the person.
const CASE: &str = "4 C 118/26";
/// Basis of the erasure.
const BASIS: &str = "gdpr-17-1";

impl<W: Write> Story<'_, W> {
    /// Preview, hold, release, erasure, search. Gives the classes a law keeps.
    pub(crate) fn forget(&mut self, vault: &Vault, roles: &Roles) -> Result<BTreeSet<ClassId>> {
        let preview = self.preview(vault, roles)?;
        self.hold(vault, roles, &preview)?;
        // What somebody could have copied the day before; step `backup` opens it again.
        copy_tree(&self.config.data, &self.dir.join(BACKUP))?;
        let erased = self.erase(vault, roles)?;
        self.look_for(vault, roles, &erased)
    }

    fn preview(&mut self, vault: &Vault, roles: &Roles) -> Result<Preview> {
        self.step("preview", "A person asks to be forgotten: what would that reach?")?;
        let one = roles.leaver.get(..1).unwrap_or_default();
        let preview = vault.preview_erasure(one)?;
        let asked = one.first().map_or("", |identifier| &*identifier.kind);
        let known: Vec<String> = preview
            .identifiers
            .iter()
            .map(|i| match self.is_invented() {
                true => format!("{}:{}", i.kind, i.value),
                false => format!("{}:({} characters)", i.kind, i.value.chars().count()),
            })
            .collect();
        self.tale.line(&format!("asked by {asked}; linked to it:"))?;
        for shown in known.iter().take(8) {
            self.tale.line(&format!("  {shown}"))?;
        }
        if known.len() > 8 {
            self.tale.line(&format!("  and {} more", known.len() - 8))?;
        }
        let sources = self.sources(vault, &preview.persons)?;
        for (class, records) in &preview.records {
            let class = vault.class_name(*class);
            self.tale.line(&format!("  {:>6} records in class {class}", count(*records)))?;
        }
        for left in &preview.deferred {
            let due = left.due.map_or_else(|| "the hold ends".to_owned(), |due| due.to_string());
            let class = vault.class_name(left.class);
            self.tale.line(&format!("  class {class} must stay until {due}: {}", left.law))?;
        }
        let names: Vec<&str> = sources.iter().map(String::as_str).collect();
        self.tale.line(&format!("in {} sources: {}", names.len(), names.join(", ")))?;
        self.tale.fact("identifiers", preview.identifiers.len());
        self.tale.fact("sources", json!(sources));
        self.tale.fact("records", preview.records.values().sum::<u64>());
        let deferred = preview.deferred.iter().map(|d| vault.class_name(d.class));
        self.tale.fact("deferred", deferred.collect::<Vec<_>>());
        self.tale.limit("a person named only in free text is found by nobody")?;
        Ok(preview)
    }

    fn sources(&self, vault: &Vault, persons: &[PersonId]) -> Result<BTreeSet<String>> {
        let mut sources = BTreeSet::new();
        let found = vault.entries_of_persons(persons, None)?;
        let at: BTreeSet<EntryIndex> = found.into_iter().map(|(_, index)| index).collect();
        let at: Vec<EntryIndex> = at.into_iter().collect();
        vault.for_entries_at(&at, &mut |entry| {
            let name = vault.source_name(&entry.head.source)?;
            sources.extend(name.map(|name| name.to_string()));
            Ok(())
        })?;
        Ok(sources)
    }

    fn hold(&mut self, vault: &Vault, roles: &Roles, preview: &Preview) -> Result<()> {
        self.step("hold", "A court case says no, by name")?;
        let order = two_people();
        let mut case = None;
        for person in &preview.persons {
            let scope = Scope::Person { person: *person };
            case = Some(vault.set_hold(case, CASE, scope, &order)?.0);
        }
        let Some(case) = case else { bail!("nobody to hold") };
        let refused = vault.erase(&roles.leaver, BASIS, &order);
        let Err(VaultError::Held { cases }) = refused else {
            bail!("DEMO: the hold did not stop the erasure")
        };
        let named = if cases == [case] { CASE } else { "another case" };
        self.tale
            .line(&format!("hold set for case {CASE}\nerase: HOLD_BLOCKED by case {named}"))?;
        let released = vault.release_hold(case, &order)?;
        self.tale.line(&format!("released by two people; entry {released}"))?;
        self.tale.fact("blocked_by", json!([case.to_string()]));
        self.tale.fact("case", CASE);
        self.tale.fact("released", released.0);
        Ok(())
    }

    fn erase(&mut self, vault: &Vault, roles: &Roles) -> Result<Erased> {
        self.step("erase", "Erased, by two people")?;
        let one = roles.leaver.get(..1).unwrap_or_default();
        let began = Instant::now();
        let erased = vault.erase(one, BASIS, &two_people())?;
        let took = began.elapsed();
        let receipt = vault.erasure_receipt(erased.job)?;
        let path = self.dir.join(format!("erasure-{}.receipt", erased.job));
        self.world.disk.replace(&path, receipt.as_bytes())?;
        self.tale.line(&format!(
            "{} records unreadable after {} written to the key plane, {:.1} ms with evidence",
            erased.records.map_or_else(|| "uncounted".to_owned(), count),
            bytes(erased.bytes_written),
            took.as_secs_f64() * 1e3
        ))?;
        self.tale.line("the receipt, signed:")?;
        let shown = receipt.lines().filter(|line| !line.is_empty() && !line.starts_with("limits"));
        for line in shown.skip(2) {
            let line: String = line.chars().take(96).collect();
            self.tale.line(&format!("  {line}"))?;
        }
        let again = match vault.persons_named(&roles.leaver) {
            Err(error) => error.code(),
            Ok(_) => "still known",
        };
        self.tale.line(&format!("asked for again by any of the identifiers: {again}"))?;
        self.tale.fact("job", erased.job.to_string());
        self.tale.fact("records", erased.records);
        self.tale.fact("bytes_written", erased.bytes_written);
        self.tale.fact("receipt", path.display().to_string());
        self.tale.fact("deferred", erased.deferred.len());
        self.tale.fact("again", again);
        self.tale.limit(
            "a copy of keys and data made together before this moment is outside it (receipt: \
             store D); the records of one month and class stay linkable to each other, not to a \
             person",
        )?;
        Ok(erased)
    }

    /// Looks for the person in every byte of the vault and in all that still opens.
    fn look_for(
        &mut self,
        vault: &Vault,
        roles: &Roles,
        erased: &Erased,
    ) -> Result<BTreeSet<ClassId>> {
        self.step("search", "Looked for, everywhere")?;
        let needles = Needles::of(&roles.leaver);
        let mut found = Found::default();
        needles.in_files(&self.config.data, &mut found)?;
        needles.in_files(&self.config.keys, &mut found)?;
        self.tale.line(&format!(
            "{} of data/ and keys/ in {} files, {} identifiers: {} hits",
            bytes(found.bytes),
            count(found.files),
            needles.len(),
            found.hits.len()
        ))?;
        let kept: BTreeSet<ClassId> = erased.deferred.iter().map(|d| d.class).collect();
        let Read { opened, dead, elsewhere, by_law } = read_all(vault, &needles, &kept)?;
        self.tale.line(&format!(
            "{} bodies opened and read, {} can be opened no more; records that name the person: \
             {elsewhere}",
            count(opened),
            count(dead)
        ))?;
        if by_law > 0 {
            let classes: Vec<String> = kept.iter().map(|c| vault.class_name(*c)).collect();
            self.tale.line(&format!(
                "and {} of class {}, which the law above keeps: their erasure is scheduled",
                count(by_law),
                classes.join(", ")
            ))?;
        }
        self.tale.fact("files", found.files);
        self.tale.fact("bytes", found.bytes);
        self.tale.fact("file_hits", found.hits.len());
        self.tale.fact("bodies_opened", opened);
        self.tale.fact("bodies_erased", dead);
        self.tale.fact("body_hits", elsewhere);
        self.tale.fact("kept_by_law", by_law);
        Ok(kept)
    }
}

/// What reading everything that opens came to.
pub(crate) struct Read {
    /// Bodies that opened.
    pub(crate) opened: u64,
    /// Bodies that do not open, because of an erasure or for want of a key.
    pub(crate) dead: u64,
    /// Records that name the person, in classes where nothing may.
    pub(crate) elsewhere: u64,
    /// Records that name the person, in classes a law keeps.
    pub(crate) by_law: u64,
}

/// Opens every body there is and looks for the person.
///
/// # Errors
/// Those of the store.
pub(crate) fn read_all(vault: &Vault, needles: &Needles, kept: &BTreeSet<ClassId>) -> Result<Read> {
    let mut read = Read { opened: 0, dead: 0, elsewhere: 0, by_law: 0 };
    let end = EntryIndex(vault.size().0);
    let reading = Reading::OPEN;
    vault.for_each_record(EntryIndex(0)..end, reading, &mut |record| {
        let count = |dead: bool| {
            let is_dead = |f: &&Fate| matches!(f, Fate::Erased | Fate::KeyLost);
            let of = |f: &&Fate| if dead { is_dead(f) } else { **f == Fate::Open };
            record.groups.iter().filter(of).count() as u64
        };
        read.opened += count(false);
        read.dead += count(true);
        let mut values = record.fields.iter().filter_map(|f| f.value.as_deref());
        if values.any(|value| needles.are_in_text(value)) {
            match kept.contains(&record.entry.head.class) {
                true => read.by_law += 1,
                false => read.elsewhere += 1,
            }
        }
        Ok(())
    })?;
    Ok(read)
}
