//! `chancery report`: a signed compliance report as a directory that is there whole or not at
//! all. The vault is verified for it, and issuing it is itself an entry of the log. It never
//! writes a trust policy beside the report: keys that lie beside the evidence prove nothing.

use crate::base::id::hex;
use crate::base::unit::{EntryIndex, UtcNanos};
use crate::base::world::random;
use crate::cli::args::make::Report as Args;
use crate::cli::error::{EXIT_DONE, Failure};
use crate::cli::output::units::bytes;
use crate::cli::output::{Align, Table, Tone};
use crate::cli::run::Context;
use crate::cli::world::world;
use crate::format::seal::sample::Sample;
use crate::format::trust::Trust;
use crate::report::catalogue;
use crate::report::evidence::Integrity;
use crate::report::gather::{self, Ask};
use crate::report::inputs::Period;
use crate::report::manifest::{MANIFEST, Manifest};
use crate::report::model::Report;
use crate::vault::verify::{Options, verify_data};
use crate::vault::{Vault, World};
use anyhow::{Result, anyhow};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The catalogue this program was built with.
const GDPR: &str = include_str!("../../../reports/gdpr.toml");
/// Program and version, as the report prints it.
const SOFTWARE: &str = concat!("chancery ", env!("CARGO_PKG_VERSION"));

/// What is wanted.
pub(crate) struct Wanted<'a> {
    /// Directory to write; it must not exist.
    pub(crate) dir: &'a Path,
    /// First instant; none = the first entry.
    pub(crate) from: Option<UtcNanos>,
    /// First instant outside; none = just after the last entry.
    pub(crate) to: Option<UtcNanos>,
    /// Who asks.
    pub(crate) by: &'a str,
    /// The tenant, as people call it.
    pub(crate) tenant: &'a str,
    /// Result of the verification.
    pub(crate) integrity: Option<Integrity>,
}

/// What was written.
pub(crate) struct Written {
    /// The report.
    pub(crate) report: Report,
    /// The signed manifest.
    pub(crate) manifest: Manifest,
    /// Entry that says it was issued.
    pub(crate) recorded: EntryIndex,
}

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Args) -> Result<ExitCode> {
    let config = context.config()?;
    let vault = context.open_with(&config)?;
    let world = world();
    context.out.say("verifying the log for the report ...")?;
    let integrity = integrity(&world, &vault, &config.data, &mut |_, _| {})?;
    let wanted = Wanted {
        dir: &args.out,
        from: args.from,
        to: args.to,
        by: &args.by,
        tenant: &config.tenant,
        integrity: Some(integrity),
    };
    let written = write(&world, &vault, &wanted)?;
    let Written { report, manifest, recorded } = &written;
    let mut table = Table::new(&[("status", Align::Left), ("control", Align::Left)]);
    for control in &report.controls {
        table.row(&[control.status.name(), &format!("{}  {}", control.id, control.title)]);
    }
    context.out.table(&table)?;
    let size: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    let text = format!(
        "{}: {} files, {}; report {}; issuing it is entry {recorded}",
        args.out.display(),
        manifest.files.len() + 1,
        bytes(size),
        report.id
    );
    context.out.status(Tone::Good, "written", &text)?;
    let text = format!(
        "check it with `chancery verify {} --trust FILE`; the file must come from elsewhere and \
         hold:\n  log {}\n  report {}",
        args.out.display(),
        vault.log_key(),
        vault.report_signer().verifier()
    );
    context.out.say(&text)?;
    context.out.object(&summary(&written, &args.out))?;
    Ok(ExitCode::from(EXIT_DONE))
}

/// The report as one JSON object.
pub(crate) fn summary(written: &Written, dir: &Path) -> serde_json::Value {
    let Written { report, manifest, recorded } = written;
    let controls: Vec<_> = report
        .controls
        .iter()
        .map(|c| json!({"id": c.id, "status": c.status.name(), "exceptions": c.exceptions}))
        .collect();
    json!({
        "report": report.id,
        "dir": dir.display().to_string(),
        "entries": manifest.entries,
        "recorded": recorded.0,
        "controls": controls,
        "files": manifest.files.iter().map(|f| json!({"name": f.name, "bytes": f.bytes,
            "sha256": f.sha256.to_string()})).collect::<Vec<_>>(),
    })
}

/// Gathers, decides, records and writes.
///
/// # Errors
/// Those of the vault; usage errors for a period or directory that cannot be.
pub(crate) fn write(world: &World, vault: &Vault, wanted: &Wanted<'_>) -> Result<Written> {
    let disk = &*world.disk;
    if disk.exists(wanted.dir)? {
        let message = "the directory is there already; nothing was written; name a new one";
        return Err(Failure::usage("REPORT_EXISTS", message).into());
    }
    let catalogue = catalogue::parse(GDPR).map_err(|e| anyhow!("CATALOGUE: {e}"))?;
    let facts = vault.facts_now();
    // Time 0 means none wherever it is stored, and cannot be written: it asks for everything.
    let start = match wanted.from.filter(|from| from.0 > 0) {
        Some(from) => from,
        None => vault.entry(EntryIndex(0))?.time_log,
    };
    let end = wanted.to.unwrap_or(UtcNanos(facts.last_time.0.saturating_add(1)));
    let ask = Ask {
        period: Period { start, end },
        tenant_name: wanted.tenant.to_owned(),
        requester: wanted.by.to_owned(),
        nonce: random(&*world.entropy),
        cut_off: vault.clock().now(),
        software: SOFTWARE.to_owned(),
        integrity: wanted.integrity.clone(),
        supersedes: None,
    };
    let (inputs, facts) = gather::gather(vault, ask)?;
    let report = crate::report::build(&inputs, &catalogue, &facts).map_err(|e| {
        Failure::usage("REPORT_PERIOD", format!("{e}; nothing was written; see --from and --to"))
    })?;
    let mut files = crate::report::files(&report).map_err(|e| anyhow!("REPORT_PDF: {e}"))?;
    let manifest = Manifest::of(&report, &files);
    let note = manifest.sign(vault.report_signer()).map_err(|e| anyhow!("{e}"))?;
    let range = inputs.entries.first..EntryIndex(inputs.entries.last.0.saturating_add(1));
    let purpose = format!("report {}", report.id);
    let recorded = vault.record_reading("report", range, 0, &[], &purpose, wanted.by)?;
    vault.checkpoint()?;
    files.push((MANIFEST.to_owned(), note.into_bytes()));
    write_whole(world, wanted.dir, &files)?;
    Ok(Written { report, manifest, recorded })
}

/// Writes files below a directory that appears only once all of them are durable.
fn write_whole(world: &World, dir: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    let disk = &*world.disk;
    let name = dir.file_name().map(|n| n.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| Failure::usage("REPORT_OUT", "--out must name a directory"))?;
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A name nobody else has, so what a killed run left behind is never touched.
    let part: PathBuf = parent.join(format!(".{name}.part-{}", hex(&random::<8>(&*world.entropy))));
    let done = write_parts(disk, &part, files).and_then(|()| {
        disk.rename(&part, dir)?;
        Ok(disk.sync_dir(parent)?)
    });
    if done.is_err() {
        let _ = std::fs::remove_dir_all(&part);
    }
    done
}

fn write_parts(
    disk: &dyn crate::store::disk::Disk,
    part: &Path,
    files: &[(String, Vec<u8>)],
) -> Result<()> {
    disk.create_dir(&part.join("tables"))?;
    for (name, bytes) in files {
        disk.replace(&part.join(name), bytes)?;
    }
    Ok(disk.sync_dir(part)?)
}

/// Verifies the vault for a report: the data plane as an outsider would with these keys pinned,
/// and every body that must open.
///
/// # Errors
/// Those of a verification that cannot be made; what it finds is in the result.
pub(crate) fn integrity(
    world: &World,
    vault: &Vault,
    data: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Integrity> {
    // Seals still on their way come first, so that the checkpoint covers every entry there is.
    vault.settle();
    let seen = vault.seek_witnesses()?;
    let note = vault.note_covering(vault.size())?;
    let keys = [vault.report_signer().verifier().clone()];
    let trust = Trust::of(&[vault.log_key().clone()], &keys).map_err(|e| anyhow!("{e}"))?;
    let options = Options { replay_seals: Some(Sample::all()), ..Options::default() };
    let checked = verify_data(&world.disk, data, Some(&trust), &options, progress)?;
    let opened = vault.verify_bodies(progress)?;
    let mut found = gather::integrity(&checked, &opened, &note);
    // Only cosignatures of the very checkpoint that the report rests on count.
    if seen.is_met() && seen.size == found.size {
        found.witnesses = seen.by.len() as u64;
    }
    Ok(found)
}
