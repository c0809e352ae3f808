//! `chancery doctor`: what is wrong or weak with this vault, and what to do. It repairs nothing
//! and promises nothing beyond what it looked at.

use crate::base::entry::{GroupPolicy, Kind};
use crate::base::id::SourceHandle;
use crate::base::limits::EPOCH_ENTRIES;
use crate::base::unit::EntryIndex;
use crate::cli::args::make::Doctor;
use crate::cli::cmd::keys::{CLASS_D, same_device, same_device_text};
use crate::cli::config::{Config, Passphrase};
use crate::cli::error::{EXIT_DONE, EXIT_INCONCLUSIVE, EXIT_REFUSED};
use crate::cli::medium::{Medium, free_bytes};
use crate::cli::output::units::{bytes, count, duration};
use crate::cli::output::{Progress, Tone};
use crate::cli::run::Context;
use crate::format::control::Scan;
use crate::vault::Vault;
use crate::vault::pack::Room;
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::PoisonError;
use std::time::Duration;

/// Less free space than this is worth a word: a day of a busy vault.
const FREE_BYTES_MIN: u64 = 5 << 30;

/// A pass older than this is worth a word: 30 days.
const SCRUB_SECONDS_MAX: u64 = 30 * 86_400;

/// How a finding is meant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Good,
    Weak,
    Bad,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Good => "good",
            Level::Weak => "weak",
            Level::Bad => "bad",
        }
    }
}

struct Finding {
    level: Level,
    code: &'static str,
    text: String,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, level: Level, code: &'static str, text: impl Into<String>) {
        self.0.push(Finding { level, code, text: text.into() });
    }
}

/// Runs the command.
pub(crate) fn run(context: &mut Context, _args: &Doctor) -> Result<ExitCode> {
    let config = context.config()?;
    let vault = context.open_with(&config)?;
    vault.settle();
    let mut found = Findings::default();
    for notice in vault.notices() {
        let bad = notice.code == "LOG_BEHIND_KEYS";
        let level = if bad { Level::Bad } else { Level::Weak };
        found.add(level, notice.code, notice.text.clone());
    }
    witnesses(&vault, &mut found)?;
    keys(&config, &mut found);
    replicas(&vault, &mut found);
    scrubbed(&vault, &mut found)?;
    log(&vault, &config, &mut found);
    packing(&vault, &mut found)?;
    duties(&vault, &mut found)?;
    let sources = sources(context, &vault, &mut found)?;
    conclude(context, &found.0, &sources)
}

/// Who vouches that this is the newest copy, and since when nobody has.
fn witnesses(vault: &Vault, found: &mut Findings) -> Result<()> {
    let seen = vault.seek_witnesses()?;
    if let Some((verdict, detail)) = &seen.alarm {
        found.add(Level::Bad, verdict, detail.clone());
    }
    let level = if seen.is_met() && seen.size == vault.size() { Level::Good } else { Level::Weak };
    let mut text = seen.to_string();
    if let Some(time) = seen.time() {
        text = format!("{text}, first seen at {time} by a witness's clock");
    }
    if seen.is_met() && seen.size < vault.size() {
        text = format!("{text}; {} entries since", vault.size().0 - seen.size.0);
    }
    found.add(level, "WITNESSES", text);
    if let Some(why) = seen.stamping {
        found.add(Level::Weak, "TIMESTAMP_AWAY", format!("the newest day has no stamp: {why}"));
    }
    for standing in seen.standing {
        if let Some(trouble) = standing.trouble {
            let text = format!("{} at {}: {trouble}", standing.name, standing.place);
            found.add(Level::Weak, "WITNESS_AWAY", text);
        }
    }
    Ok(())
}

fn keys(config: &Config, found: &mut Findings) {
    if config.passphrase == Passphrase::None {
        let text = "the root key is protected by file permissions only; a vault made with `init \
                    --passphrase-file` wraps it";
        found.add(Level::Weak, "KEYS_NO_PASSPHRASE", text);
    }
    let medium = Medium::of(&config.keys);
    let text = format!("{}: {}", medium.name(), medium.promise());
    let turning = medium.rotational == Some(true) && medium.kind.starts_with("ext");
    found.add(if turning { Level::Good } else { Level::Weak }, "KEYS_MEDIUM", text);
    found.add(Level::Weak, "KEYS_CLASS_D", CLASS_D);
    if let Some(mirror) = &config.keys_mirror {
        let medium = Medium::of(mirror);
        let text = format!("{}: {}", medium.name(), medium.promise());
        found.add(Level::Good, "KEYS_MIRROR_MEDIUM", text);
        if let Some(device) = same_device(config) {
            found.add(Level::Weak, "KEYS_MIRROR_SAME_DEVICE", same_device_text(&device));
        }
        if open_to_others(mirror) == Some(true) {
            let text = "others may list the mirror of the keys: run chmod 700 on it";
            found.add(Level::Bad, "KEYS_DIRECTORY_OPEN", text);
        }
    }
    match open_to_others(&config.keys) {
        Some(true) => found.add(
            Level::Bad,
            "KEYS_DIRECTORY_OPEN",
            "others may list the key directory: run chmod 700 on it",
        ),
        _ => found.add(Level::Good, "KEYS_DIRECTORY", "the key directory is the owner's only"),
    }
}

/// How the second key directory stands, and what it has missed.
fn replicas(vault: &Vault, found: &mut Findings) {
    let replicas = vault.key_replicas();
    if replicas.live == 2 {
        let text = "2/2: every key lies in both directories, every erasure reaches both";
        found.add(Level::Good, "KEYS_REPLICAS", text);
    }
    let partial = vault.facts_now().partial();
    if partial > 0 {
        let text = format!(
            "{partial} erasures or expiries were missed by a mirror that was away and still holds \
             an old root (E2-partial): bring it back, or destroy it"
        );
        found.add(Level::Weak, "ERASURE_PARTIAL", text);
    }
}

/// When every byte was last read again, and what that found.
fn scrubbed(vault: &Vault, found: &mut Findings) -> Result<()> {
    let (last, findings) = vault.last_scrub()?;
    if findings > 0 {
        let text = format!(
            "{findings} findings since the last complete pass began: `chancery query` for entries \
             of kind scan names them; verify, then restore what is damaged from a copy"
        );
        found.add(Level::Bad, "SCRUB_FINDINGS", text);
    }
    let Some(passed) = last else {
        let text = "no byte was ever read again after it was written: `chancery scrub`";
        found.add(Level::Weak, "SCRUB_NEVER", text);
        return Ok(());
    };
    let Scan::Pass { bytes: read, end, full, groups, opened, replicas, started, .. } = passed.scan
    else {
        return Ok(());
    };
    let age = Duration::from_nanos(vault.clock().now().0.saturating_sub(started.0));
    let opened = if full { "all opened".to_owned() } else { format!("{} opened", count(opened)) };
    let text = format!(
        "every byte of entries 0 to {end} was read again within {}: {}, {} groups ({opened}), key \
         tree {replicas}",
        duration(age),
        bytes(read),
        count(groups)
    );
    match age.as_secs() > SCRUB_SECONDS_MAX {
        true => found.add(Level::Weak, "SCRUB_OLD", text),
        false => found.add(Level::Good, "SCRUB", text),
    }
    Ok(())
}

fn open_to_others(dir: &Path) -> Option<bool> {
    use std::os::unix::fs::PermissionsExt;
    Some(std::fs::metadata(dir).ok()?.permissions().mode() & 0o077 != 0)
}

fn log(vault: &Vault, config: &Config, found: &mut Findings) {
    if let Some(apart) = vault.clock().alarm() {
        let text = format!(
            "the wall clock is {} from log time; log time is kept and decides what is due",
            duration(Duration::from_nanos(apart))
        );
        found.add(Level::Weak, "CLOCK_APART", text);
    }
    let facts = vault.facts_now();
    if facts.time_jump.is_some() {
        let text = "log time jumped more than seven days: nothing expires until `chancery retain \
                    run --confirm-date` names today";
        found.add(Level::Weak, "EXPIRY_SUSPENDED", text);
    }
    let size = vault.size().0;
    let whole = size / EPOCH_ENTRIES;
    if facts.epochs_sealed + 1 < whole || !facts.unsealed.is_empty() {
        let sealed = whole.saturating_sub(facts.seals_owed(whole).len() as u64);
        let text = format!("{sealed} of {whole} epochs are sealed");
        found.add(Level::Bad, "SEAL_MISSING", text);
    }
    let covered = {
        let index = vault.inner.index.lock().unwrap_or_else(PoisonError::into_inner);
        let gap = index.gap();
        index.tail_from().0.saturating_sub(gap.end.0.saturating_sub(gap.start.0))
    };
    let text =
        format!("covers {} of {} entries; the rest is read in full", count(covered), count(size));
    found.add(Level::Good, "INDEX", text);
    match free_bytes(&config.data) {
        Some(free) if free < FREE_BYTES_MIN => {
            found.add(Level::Weak, "DISK_LOW", format!("{} free for the data", bytes(free)));
        }
        Some(free) => found.add(Level::Good, "DISK", format!("{} free", bytes(free))),
        None => found.add(Level::Good, "DISK", "free space cannot be told here"),
    }
}

/// What past files take, and what could be packed.
fn packing(vault: &Vault, found: &mut Findings) -> Result<()> {
    let (log, bodies) = vault.room()?;
    let of = |what: &str, room: Room| {
        let all = room.packed + room.plain;
        match room.packed_from {
            0 => format!("{} of {} {what} packed", room.packed, count(all)),
            from => format!(
                "{} of {} {what} packed, {} as {} ({} %)",
                count(room.packed),
                count(all),
                bytes(from),
                bytes(room.packed_to),
                room.packed_to * 100 / from
            ),
        }
    };
    let mut text = format!("{}; {}", of("closed log segments", log), of("past body files", bodies));
    if log.plain + bodies.plain > 0 {
        let plain = log.plain_bytes + bodies.plain_bytes;
        text += &format!(
            "; {} are not: `append` packs while it runs, `chancery pack` all at once; a file that \
             would be no smaller stays",
            bytes(plain)
        );
    }
    if bodies.damaged > 0 {
        text += &format!("; {} cannot be read: `chancery verify`", count(bodies.damaged));
    }
    found.add(Level::Good, "PACKING", text);
    Ok(())
}

/// What should have happened by now.
fn duties(vault: &Vault, found: &mut Findings) -> Result<()> {
    let now = vault.clock().now();
    let plan = vault.retention_plan()?;
    let due: Vec<_> = plan.iter().filter(|p| p.due.is_some_and(|due| due <= now)).collect();
    let held = due.iter().filter(|p| !p.held.is_empty()).count();
    match due.len() - held {
        0 => found.add(Level::Good, "RETENTION", "nothing is overdue"),
        n => found.add(
            Level::Weak,
            "RETENTION_OVERDUE",
            format!("{n} class-days are due: `chancery retain run`"),
        ),
    }
    if held > 0 {
        let text = format!("{held} class-days are due and held: `chancery hold list`");
        found.add(Level::Good, "RETENTION_HELD", text);
    }
    let facts = vault.facts_now();
    let late = facts.erasures.values().filter(|erasure| {
        let left = erasure.done.as_ref().map_or(&[][..], |(_, _, done)| &done.deferred);
        left.iter().any(|l| l.due.is_some_and(|due| due <= now))
    });
    let late = late.count();
    if late > 0 {
        let text = format!("{late} erasures may have a part due now: `chancery retain run`");
        found.add(Level::Weak, "ERASURE_OVERDUE", text);
    }
    Ok(())
}

/// Per source: events, and those whose unregistered fields could only be sealed to the tenant,
/// because the event named no person. No erasure reaches those.
fn sources(context: &Context, vault: &Vault, found: &mut Findings) -> Result<Vec<Value>> {
    let size = vault.size();
    let progress = Progress::new(&context.out.style, "reading entries", size.0);
    let mut tally: BTreeMap<SourceHandle, (u64, u64)> = BTreeMap::new();
    for start in (0..size.0).step_by(65_536) {
        let end = (start + 65_536).min(size.0);
        vault.for_each_entry(EntryIndex(start)..EntryIndex(end), &mut |entry, _| {
            let head = &entry.head;
            if head.kind == Kind::Event {
                let (events, unknown) = tally.entry(head.source).or_default();
                *events += 1;
                let group = head.fields.iter().find(|f| &*f.name == "data").map(|f| f.group);
                let group = group.and_then(|group| head.groups.get(usize::from(group)));
                *unknown += u64::from(group.is_some_and(|g| g.policy == GroupPolicy::Tenant));
            }
            Ok(())
        })?;
        progress.add(end - start);
        if context.stopped() {
            break;
        }
    }
    progress.done();
    let mut rows = Vec::with_capacity(tally.len());
    for (handle, (events, unknown)) in tally {
        let name = vault.source_name(&handle)?;
        let name = name.map_or_else(|| handle.to_string(), |n| n.to_string());
        if unknown > 0 {
            let text = format!(
                "source {name}: {} of {} events hold unregistered fields and name no person: they \
                 are sealed to the tenant and no erasure reaches them; map them or name persons",
                count(unknown),
                count(events)
            );
            found.add(Level::Weak, "UNKNOWN_TENANT_SEALED", text);
        }
        rows.push(json!({
            "source": name, "events": events, "unknown_sealed_to_tenant": unknown,
        }));
    }
    Ok(rows)
}

fn conclude(context: &mut Context, found: &[Finding], sources: &[Value]) -> Result<ExitCode> {
    let worst = found.iter().map(|f| f.level).max().unwrap_or(Level::Good);
    let list: Vec<Value> = found
        .iter()
        .map(|f| json!({"level": f.level.name(), "code": f.code, "text": f.text}))
        .collect();
    context.out.object(&json!({
        "level": worst.name(), "findings": list, "sources": sources,
    }))?;
    for finding in found {
        let tone = match finding.level {
            Level::Good => Tone::Good,
            Level::Weak => Tone::Warn,
            Level::Bad => Tone::Bad,
        };
        let text = format!("{}: {}", finding.code, finding.text);
        context.out.status(tone, finding.level.name(), &text)?;
    }
    Ok(ExitCode::from(match worst {
        Level::Good => EXIT_DONE,
        Level::Weak => EXIT_INCONCLUSIVE,
        Level::Bad => EXIT_REFUSED,
    }))
}
