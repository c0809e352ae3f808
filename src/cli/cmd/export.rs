//! `chancery export`: records as CEF or LEEF lines in a file that is there whole or not at all,
//! with a checksum and a manifest signed by the report key. Persons are tokens of one
//! destination; sealed values leave only under a grant two people gave, and every export is an
//! entry of the log before its first line. What lies in the file is outside the vault's reach.

use crate::base::entry::Entry;
use crate::base::record::Record;
use crate::base::refusal::Refusal;
use crate::base::unit::{EntryIndex, UtcNanos};
use crate::cli::args::govern::Approval;
use crate::cli::args::make::{Export as Args, ExportFormat, ExportPreset};
use crate::cli::cmd::order;
use crate::cli::config::Config;
use crate::cli::error::{EXIT_DONE, EXIT_INTERRUPTED, EXIT_REFUSED, Failure};
use crate::cli::output::units::count;
use crate::cli::output::{Align, Progress, Table, Tone};
use crate::cli::run::Context;
use crate::cli::world::world;
use crate::format::note;
use crate::format::siem::mapping::{CEF_DEFAULT, LEEF_DEFAULT, Mapping};
use crate::format::siem::{self, Format, Options, Preset, Substitutions, cef, leef};
use crate::forward::file::{About, Export, FileError, Manifest};
use crate::query::filter::{Filter, Names};
use crate::report::gather::first_at;
use crate::vault::disclose::Look;
use crate::vault::error::Error as VaultError;
use crate::vault::hold::Order;
use crate::vault::read::Reading;
use crate::vault::{Vault, World};
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

/// What is wanted.
pub(crate) struct Wanted<'a> {
    /// Mapping, with the preset wanted.
    pub(crate) mapping: &'a Mapping,
    /// Who will receive it: tokens hold for one name only.
    pub(crate) destination: &'a str,
    /// Which records.
    pub(crate) filter: &'a Filter,
    /// Entries to look at.
    pub(crate) range: std::ops::Range<EntryIndex>,
    /// Sealed fields granted.
    pub(crate) granted: &'a [&'a str],
    /// File to write.
    pub(crate) path: &'a Path,
    /// Why, for the log.
    pub(crate) purpose: &'a str,
    /// Who asks, for the log.
    pub(crate) by: &'a str,
    /// Who stands behind it, where sealed values leave.
    pub(crate) order: Option<&'a Order>,
}

/// What was written.
pub(crate) struct Exported {
    /// Manifest of the lines.
    pub(crate) manifest: Manifest,
    /// How the lines differ from the values they were made of.
    pub(crate) changed: Substitutions,
    /// Records that no line could be made of, by code.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    /// Entry that says it was made.
    pub(crate) recorded: EntryIndex,
}

/// Why writing stopped inside the pass over the records.
enum Stop {
    Pressed,
    File(FileError),
}

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Args) -> Result<ExitCode> {
    let mapping = mapping(args.format, args.preset)?;
    let granted: Vec<&str> = args.grants.iter().map(String::as_str).collect();
    check_grants(&mapping, &granted)?;
    let config: Config = context.config()?;
    let order = ordered(&mapping, args, &config)?;
    let vault = context.open_with(&config)?;
    let policies = vault.policies();
    let names = Names {
        source: &|name| Some(vault.keys().source_handle(name)),
        is_registered: &|name| policies.registry().field_named(name).is_some(),
    };
    let terms: Vec<&str> = args.terms.iter().map(String::as_str).collect();
    let filter = Filter::parse(&terms, &names)?;
    let wanted = Wanted {
        mapping: &mapping,
        destination: &args.destination,
        filter: &filter,
        range: range(&vault, args.from, args.to)?,
        granted: &granted,
        path: &args.out,
        purpose: &args.purpose,
        by: &args.approval.requested_by,
        order: order.as_ref(),
    };
    let total = wanted.range.end.0.saturating_sub(wanted.range.start.0);
    let progress = Progress::new(&context.out.style, "exporting", total);
    let made = write(&world(), &vault, &wanted, &|| {
        progress.add(1);
        context.stopped()
    });
    progress.done();
    let Some(made) = made? else {
        let message = "interrupted; no file was written";
        Failure::failed("INTERRUPTED", message).print(context.global.json);
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    };
    tell(context, args, &made)?;
    let is_whole = made.refused.is_empty();
    Ok(ExitCode::from(if is_whole { EXIT_DONE } else { EXIT_REFUSED }))
}

fn tell(context: &mut Context, args: &Args, made: &Exported) -> Result<()> {
    let text = format!(
        "{} lines to {} (manifest signed; recorded as entry {})",
        count(made.manifest.count),
        args.out.display(),
        made.recorded
    );
    context.out.status(Tone::Good, "written", &text)?;
    let mut table = Table::new(&[("values", Align::Right), ("change", Align::Left)]);
    for (name, number) in changes(&made.changed) {
        if number > 0 {
            table.row(&[count(number).as_str(), name]);
        }
    }
    for (code, number) in &made.refused {
        table.row(&[count(*number).as_str(), &format!("records left out: {code}")]);
    }
    if !table.is_empty() {
        context.out.table(&table)?;
    }
    context.out.object(&summary(made, &args.out))?;
    Ok(())
}

/// The export as one JSON object.
pub(crate) fn summary(made: &Exported, path: &Path) -> Value {
    let changed: serde_json::Map<String, Value> = changes(&made.changed)
        .into_iter()
        .map(|(name, n)| (name.replace(' ', "_"), n.into()))
        .collect();
    json!({
        "file": path.display().to_string(),
        "lines": made.manifest.count,
        "sha256": made.manifest.sha256.to_string(),
        "recorded": made.recorded.0,
        "changed": changed,
        "refused": made.refused,
    })
}

fn changes(s: &Substitutions) -> [(&'static str, u64); 9] {
    [
        ("controls to space", s.controls),
        ("line breaks to space", s.line_breaks),
        ("delimiters to space", s.delimiters),
        ("pipes to slash", s.pipes),
        ("trimmed", s.trimmed),
        ("truncated", s.truncated),
        ("unfit and left out", s.unfit),
        ("addresses cut to prefix", s.prefixed),
        ("withheld without grant", s.withheld),
    ]
}

/// The shipped mapping of a format, with the preset asked for.
///
/// # Errors
/// Those of the mapping.
pub(crate) fn mapping(
    format: ExportFormat,
    preset: ExportPreset,
) -> std::result::Result<Mapping, Refusal> {
    let text = match format {
        ExportFormat::Cef => CEF_DEFAULT,
        ExportFormat::Leef => LEEF_DEFAULT,
    };
    let mut mapping = Mapping::parse(text)?;
    mapping.preset = match preset {
        ExportPreset::Tokens => Preset::Tokens,
        ExportPreset::Siem => Preset::Siem,
        ExportPreset::Named => Preset::Named,
    };
    Ok(mapping)
}

/// A grant is for fields the mapping uses.
fn check_grants(mapping: &Mapping, granted: &[&str]) -> Result<()> {
    if mapping.preset == Preset::Tokens {
        return match granted.is_empty() {
            true => Ok(()),
            false => {
                let text = "--grant needs --preset siem or named; nothing was written";
                Err(Failure::usage("EXPORT_GRANT_UNUSED", text).into())
            }
        };
    }
    if let Some(name) = granted.iter().find(|name| !mapping.sealed_names().any(|n| n == **name)) {
        let known: Vec<&str> = mapping.sealed_names().collect();
        let text = format!(
            "the mapping has no sealed field {name}; it has {}; nothing was written",
            known.join(", ")
        );
        return Err(Failure::usage("EXPORT_GRANT_UNKNOWN", text).into());
    }
    Ok(())
}

/// Who stands behind values that leave the vault: two people, or one where the configuration says
/// so. Tokens need nobody.
fn ordered(mapping: &Mapping, args: &Args, config: &Config) -> Result<Option<Order>> {
    if mapping.preset == Preset::Tokens {
        return Ok(None);
    }
    let approval = Approval {
        requested_by: Some(args.approval.requested_by.clone()),
        approved_by: args.approval.approved_by.clone(),
        single_operator: args.approval.single_operator,
    };
    let order = order(&approval, config)?;
    // Before the vault is opened: nothing was done.
    order.mode()?;
    Ok(Some(order))
}

fn range(
    vault: &Vault,
    from: Option<UtcNanos>,
    to: Option<UtcNanos>,
) -> Result<std::ops::Range<EntryIndex>> {
    let start = match from {
        Some(from) => first_at(vault, from)?,
        None => EntryIndex(0),
    };
    let end = match to {
        Some(to) => first_at(vault, to)?,
        None => EntryIndex(vault.size().0),
    };
    Ok(start..end)
}

/// Writes an export. `each` is called for every entry looked at; when it says true, nothing is
/// written and `None` is the answer.
///
/// # Errors
/// Those of the vault and of the file.
pub(crate) fn write(
    world: &World,
    vault: &Vault,
    wanted: &Wanted<'_>,
    each: &dyn Fn() -> bool,
) -> Result<Option<Exported>> {
    let (dir, name) = place(wanted.path)?;
    let open = wanted.mapping.preset != Preset::Tokens;
    // Said before the first value is opened; the number of lines stands in the manifest.
    let recorded = said(vault, wanted, open)?;
    let checkpoint = vault.checkpoint()?;
    let reference = reference(&checkpoint);
    let context = siem::Context {
        version: env!("CARGO_PKG_VERSION"),
        host: None,
        checkpoint: reference.as_deref(),
    };
    let options = Options { granted: wanted.granted, ..Options::default() };
    let mut export = Export::create(&*world.disk, dir, name)?;
    let (mut changed, mut refused) = (Substitutions::default(), BTreeMap::new());
    let mut stop = None;
    let reading =
        Reading { open, destination: Some(wanted.destination.as_bytes()), ..Reading::default() };
    let mut line = Vec::new();
    let passed = vault.for_each_record(wanted.range.clone(), reading, &mut |record| {
        if each() {
            stop = Some(Stop::Pressed);
            return Err(stopped());
        }
        if !wanted.filter.matches(&record.entry) {
            return Ok(());
        }
        line.clear();
        match encode(wanted.mapping, &record, &context, &options, &mut line) {
            Ok(counts) => changed.add(&counts),
            Err(refusal) => {
                *refused.entry(refusal.code).or_default() += 1;
                return Ok(());
            }
        }
        export.push(record.entry.index, record.entry.head.record, &line).map_err(|error| {
            stop = Some(Stop::File(error));
            stopped()
        })
    });
    match stop {
        Some(Stop::Pressed) => return Ok(None),
        Some(Stop::File(error)) => return Err(error.into()),
        None => passed?,
    }
    let about = About {
        format: wanted.mapping.format.name(),
        preset: wanted.mapping.preset.name(),
        mapping: wanted.mapping.hash,
    };
    let manifest =
        export.finish(&about, &|text: &str| note::sign(text, &[vault.report_signer()]))?;
    Ok(Some(Exported { manifest, changed, refused, recorded }))
}

/// Records in the log what is exported, to whom and why.
fn said(vault: &Vault, wanted: &Wanted<'_>, open: bool) -> Result<EntryIndex> {
    let chosen = chosen(vault, wanted)?;
    let fields = if open { wanted.granted } else { &["tokens"][..] };
    let range = wanted.range.clone();
    let recorded = vault.record_look(&Look {
        act: "export",
        range,
        records: chosen,
        fields,
        purpose: wanted.purpose,
        who: wanted.by,
        by: None,
        order: wanted.order,
        ground: None,
    })?;
    Ok(recorded)
}

fn encode(
    mapping: &Mapping,
    record: &Record,
    context: &siem::Context<'_>,
    options: &Options<'_>,
    line: &mut Vec<u8>,
) -> std::result::Result<Substitutions, Refusal> {
    match mapping.format {
        Format::Cef => cef::encode(record, context, mapping, options, line),
        Format::Leef => leef::encode(record, context, mapping, options, line),
    }
}

/// How many records of the range the filter chooses.
fn chosen(vault: &Vault, wanted: &Wanted<'_>) -> Result<u64> {
    let mut number = 0;
    vault.for_each_entry(wanted.range.clone(), &mut |entry: Entry, _| {
        number += u64::from(wanted.filter.matches(&entry));
        Ok(())
    })?;
    Ok(number)
}

fn place(path: &Path) -> Result<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::usage("EXPORT_OUT", "--out must name a file"))?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((dir, name))
}

/// `size:root` of a signed checkpoint, the root in hex.
fn reference(note: &str) -> Option<String> {
    let mut lines = note.lines().skip(1);
    let (size, root) = (lines.next()?, lines.next()?);
    use base64::Engine;
    let root = base64::engine::general_purpose::STANDARD.decode(root).ok()?;
    Some(format!("{size}:{}", crate::base::id::hex(&root)))
}

fn stopped() -> VaultError {
    VaultError::denied("EXPORT_STOPPED", "no file was written")
}
