//! Looking: the signed checkpoint, one record as it lies and as it opens, a proof and a
//! disclosure that an outsider checks with the trust file alone.

use crate::base::entry::{Entry, Kind};
use crate::base::event::{Identifier, Verb};
use crate::base::id::PersonId;
use crate::base::unit::EntryIndex;
use crate::cli::demo::cast::Cast;
use crate::cli::demo::input::identifiers;
use crate::cli::demo::run::{Roles, Story};
use crate::cli::demo::search::Needles;
use crate::cli::output::escape::cut;
use crate::cli::output::units::{bytes, count};
use crate::format::trust::Trust;
use crate::vault::Vault;
use crate::vault::disclose::verify_disclosure;
use crate::vault::prove::verify_proof;
use crate::vault::read::Reading;
use anyhow::Result;
use std::collections::{HashMap, HashSet};
use std::io::Write;

/// Columns a shown value may take.
const VALUE_COLUMNS: usize = 64;

impl<W: Write> Story<'_, W> {
    /// Decides whom the story is about. `None` when the log names nobody.
    pub(crate) fn cast(&mut self, vault: &Vault) -> Result<Option<Roles>> {
        match self.input.scenario {
            Some(scenario) => self.cast_invented(vault, &scenario.cast()).map(Some),
            None => cast_real(vault),
        }
    }

    /// The leaver of the day, and the record in which a nurse looks at a well-known patient.
    fn cast_invented(&self, vault: &Vault, cast: &Cast) -> Result<Roles> {
        let of = |number| cast.person(number).map(identifiers).unwrap_or_default();
        let about = vault.persons_named(&of(cast.celebrity))?;
        let mut shown = EntryIndex(0);
        for (_, index) in vault.entries_of_persons(&about, None)? {
            let head = vault.entry(index)?.head;
            if head.code.verb == Verb::Read && head.severity.value() == 6 {
                shown = index;
                break;
            }
        }
        Ok(Roles { leaver: of(cast.leaver), shown })
    }

    /// Publishes and shows the checkpoint.
    pub(crate) fn checkpoint(&mut self, vault: &Vault, trust: &Trust) -> Result<()> {
        self.step("checkpoint", "The log is signed")?;
        let note = vault.checkpoint()?;
        let trusted = trust.open_checkpoint(note.as_bytes())?;
        let lines: Vec<&str> = note.lines().map(|line| line.get(..90).unwrap_or(line)).collect();
        self.tale.line(&lines.join("\n"))?;
        self.world.disk.replace(&self.dir.join("checkpoint.note"), note.as_bytes())?;
        self.tale.fact("size", trusted.checkpoint.size.0);
        self.tale.fact("root", trusted.checkpoint.root.to_string());
        self.tale.limit(
            "UNWITNESSED: without a witness or an exported ledger, old data and old keys put back \
             together look like the present",
        )?;
        Ok(())
    }

    /// One record as stored and as opened.
    pub(crate) fn show(&mut self, vault: &Vault, roles: &Roles) -> Result<()> {
        self.step("record", &format!("Entry {} as it lies, and as it opens", roles.shown))?;
        let stored = vault.entry_bytes(roles.shown)?;
        let entry = vault.entry(roles.shown)?;
        self.skeleton(vault, &entry, stored.len())?;
        let range = roles.shown..EntryIndex(roles.shown.0 + 1);
        let who = "privacy officer";
        let recorded = vault.record_reading("read", range, 1, &[], "demo: a first look", who)?;
        let reading = Reading::OPEN;
        let record = vault.record(roles.shown, reading)?;
        self.tale.line(&format!("opened for a stated purpose; entry {recorded} says so:"))?;
        for field in &record.fields {
            let value = field.value.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            let shown = match self.is_invented() {
                true => cut(&value, VALUE_COLUMNS).into_owned(),
                false => format!("({} bytes; real values are not printed)", value.len()),
            };
            self.tale.line(&format!("  {:<22} {shown}", field.name))?;
        }
        let tokens: HashSet<&[u8]> =
            record.fields.iter().filter_map(|f| f.value.as_deref()).collect();
        let leaks = tokens.iter().filter(|v| v.len() > 8 && holds(&stored, v)).count();
        self.tale.line(&format!("opened values found in the stored entry: {leaks}"))?;
        self.tale.fact("entry", roles.shown.0);
        self.tale.fact("fields", record.fields.len());
        self.tale.fact("values_in_entry", leaks);
        self.tale.fact("recorded", recorded.0);
        Ok(())
    }

    fn skeleton(&mut self, vault: &Vault, entry: &Entry, len: usize) -> Result<()> {
        let head = &entry.head;
        self.tale.line(&format!(
            "{} of skeleton, hashed and never changed: {} {} {}, severity {}, class {}, {} tags, \
             {} groups",
            bytes(len as u64),
            head.kind.name(),
            head.code,
            head.outcome.name(),
            head.severity.value(),
            vault.class_name(head.class),
            head.tags.len(),
            head.groups.len()
        ))?;
        for field in head.fields.iter().take(3) {
            let hash = field.commitment.to_string();
            let text =
                format!("  {:<22} commitment {}...", field.name, hash.get(..16).unwrap_or(""));
            self.tale.line(&text)?;
        }
        if head.fields.len() > 3 {
            self.tale.line(&format!(
                "  and {} more; values lie sealed beside the log",
                head.fields.len() - 3
            ))?;
        }
        Ok(())
    }

    /// Proves the record, discloses two of its fields, and checks both as an outsider.
    pub(crate) fn prove(&mut self, vault: &Vault, roles: &Roles, trust: &Trust) -> Result<()> {
        self.step("prove", "An outsider checks a proof and two fields, with the trust file alone")?;
        let proof = vault.prove(roles.shown)?;
        let proved = verify_proof(&proof, trust)?;
        self.world.disk.replace(&self.dir.join("entry.tlog-proof"), proof.as_bytes())?;
        self.tale.line(&format!(
            "proof of {}: entry {} stands in the signed log of {} entries",
            bytes(proof.len() as u64),
            proved.entry.index,
            count(proved.checkpoint.size.0)
        ))?;
        let record = vault.record(roles.shown, Reading::OPEN)?;
        let open = record.fields.iter().filter(|f| f.value.is_some());
        let wanted: Vec<&str> =
            open.map(|f| &*f.name).filter(|name| *name != "data").take(2).collect();
        let made = vault.disclose(
            roles.shown,
            &wanted,
            "demo: complaint",
            "the person concerned",
            "clerk",
        )?;
        self.world.disk.replace(&self.dir.join("disclosure.json"), made.text.as_bytes())?;
        let told = verify_disclosure(&made.text, trust)?;
        for (name, value) in &told.fields {
            let value =
                if self.is_invented() { cut(value, VALUE_COLUMNS) } else { "(real value)".into() };
            self.tale.line(&format!("disclosed  {name:<18} {value}"))?;
        }
        let rest = record.fields.len() - told.fields.len();
        self.tale.line(&format!("the other {rest} fields cannot be read from it"))?;
        let verdict = forged(&made.text, trust);
        self.tale.line(&format!("one digit of a salt changed: {verdict}"))?;
        self.tale.fact("proof_bytes", proof.len());
        self.tale.fact("disclosed", told.fields.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>());
        self.tale.fact("forged", verdict);
        self.tale.limit("what was disclosed is outside the vault's reach for ever")?;
        Ok(())
    }
}

/// What the checker says when one hex digit of the first salt is another.
fn forged(text: &str, trust: &Trust) -> String {
    let Some(at) = text.find("\"salt\":\"").map(|at| at + 8) else { return "no salt".into() };
    let mut bytes = text.as_bytes().to_vec();
    if let Some(digit) = bytes.get_mut(at) {
        *digit = if *digit == b'0' { b'1' } else { b'0' };
    }
    match String::from_utf8(bytes).map(|text| verify_disclosure(&text, trust)) {
        Ok(Err(error)) => error.code().to_owned(),
        _ => "accepted".to_owned(),
    }
}

/// The busiest living person, and a record about somebody else.
fn cast_real(vault: &Vault) -> Result<Option<Roles>> {
    let owners = vault.tag_owners()?;
    let mut records: HashMap<PersonId, (u64, EntryIndex)> = HashMap::new();
    let mut named: Vec<(EntryIndex, HashSet<PersonId>)> = Vec::new();
    let end = EntryIndex(vault.size().0);
    vault.for_each_entry(EntryIndex(0)..end, &mut |entry, _| {
        let of = entry.head.tags.iter().filter_map(|tag| owners.get(tag).copied());
        let persons: HashSet<PersonId> = of.collect();
        for person in &persons {
            records.entry(*person).or_insert((0, entry.index)).0 += 1;
        }
        if entry.head.kind == Kind::Event && !entry.head.fields.is_empty() && named.len() < 100_000
        {
            named.push((entry.index, persons));
        }
        Ok(())
    })?;
    let mut busiest: Vec<(u64, PersonId)> = records.iter().map(|(p, (n, _))| (*n, *p)).collect();
    busiest.sort_unstable_by(|a, b| b.cmp(a));
    for (_, person) in busiest {
        let leaver: Vec<Identifier> = vault.keys().identifiers_of(&[person])?;
        // A person known only by a word too short to look for makes a poor story.
        if Needles::of(&leaver).len() == 0 {
            continue;
        }
        let other = named.iter().find(|(_, persons)| !persons.contains(&person));
        let shown = other.or(named.first()).map(|(index, _)| *index);
        return Ok(shown.map(|shown| Roles { leaver, shown }));
    }
    Ok(None)
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len().max(1)).any(|window| window == part)
}
