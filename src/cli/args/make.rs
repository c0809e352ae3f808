//! Arguments of the commands that make things: a vault, reports, exports, demos, measurements.

use crate::base::unit::UtcNanos;
use crate::cli::args::values::instant;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `chancery init`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chancery init
  chancery --home /srv/vault init --name vault.clinic.example --passphrase-file /run/secrets/vault

The keys directory is made readable by its owner only and is never part of a backup of the data.")]
pub struct Init {
    /// Name of the vault: first part of the origin in every checkpoint
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// File with the passphrase that wraps the root key
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_env")]
    pub passphrase_file: Option<PathBuf>,
    /// Environment variable with the passphrase
    #[arg(long, value_name = "NAME")]
    pub passphrase_env: Option<String>,
    /// Allow acts of one person; every receipt says so
    #[arg(long)]
    pub single_operator: bool,
    /// Last checkpoint of a log that cannot be continued: the new log's genesis names it
    #[arg(long, value_name = "FILE", requires = "old_trust")]
    pub continue_from: Option<PathBuf>,
    /// Trust policy of that log
    #[arg(long, value_name = "FILE", requires = "continue_from")]
    pub old_trust: Option<PathBuf>,
}

/// A compliance framework.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Framework {
    /// General Data Protection Regulation.
    Gdpr,
}

/// `chancery report`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chancery report gdpr --from 2026-10-01 --to 2026-11-01 --by dana --out report-2026-10
  chancery verify report-2026-10 --trust trust.policy

A report is evidence for named controls over a named period, not a certificate.")]
pub struct Report {
    /// Framework: a catalogue in reports/
    #[arg(value_enum, default_value_t = Framework::Gdpr)]
    pub framework: Framework,
    /// From this log time on [default: the first entry]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub from: Option<UtcNanos>,
    /// Before this log time [default: the checkpoint]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub to: Option<UtcNanos>,
    /// Directory to write: report.pdf, report.json, tables as CSV, signed manifest
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Role or handle of who asks; stands in the report, so name a role rather than a person
    #[arg(long, value_name = "NAME")]
    pub by: String,
}

/// A format a SIEM reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ExportFormat {
    /// ArcSight Common Event Format.
    Cef,
    /// QRadar Log Event Extended Format 2.0.
    Leef,
}

/// How much of a person a line may show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ExportPreset {
    /// Tokens and clear fields.
    Tokens,
    /// Tokens, clear fields, and granted addresses cut to their prefix.
    Siem,
    /// Tokens, clear fields, and granted fields as they are.
    Named,
}

/// `chancery export`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chancery export cef --destination soc --out day.cef
  chancery export leef --from 2026-11-20 --destination soc --out denied.leef outcome=denied
  chancery export cef --preset named --grant origin.ip --requested-by dana --approved-by omar \\
      --purpose 'incident 2026-31' --out incident.cef 'severity>=7'

People appear as tokens: stable per person and destination, dead once the person is erased. What
has been written to a file is outside the vault's reach. FILE appears only when it is whole, with
FILE.sha256, FILE.manifest.jsonl and FILE.manifest.note, which the report key signed.")]
pub struct Export {
    /// Format
    #[arg(value_enum)]
    pub format: ExportFormat,
    /// Conditions that must all hold, as for query
    #[arg(value_name = "FIELD=VALUE")]
    pub terms: Vec<String>,
    /// Name of the receiver: tokens differ between receivers
    #[arg(long, value_name = "NAME", default_value = "file")]
    pub destination: String,
    /// How much of a person a line may show
    #[arg(long, value_enum, default_value_t = ExportPreset::Tokens)]
    pub preset: ExportPreset,
    /// Sealed field to show; repeat for more; needs a preset above tokens and two people
    #[arg(long = "grant", value_name = "FIELD")]
    pub grants: Vec<String>,
    /// Why; sealed in the log
    #[arg(long, value_name = "TEXT", default_value = "export to a file")]
    pub purpose: String,
    /// Who asks, and who agrees to a grant.
    #[command(flatten)]
    pub approval: ExportApproval,
    /// From this log time on
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub from: Option<UtcNanos>,
    /// Before this log time
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub to: Option<UtcNanos>,
    /// File to write; it must not exist
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Who stands behind an export. The vault checks that a grant has two.
#[derive(Args, Clone, Debug)]
pub struct ExportApproval {
    /// Who asks; sealed in the log
    #[arg(long, value_name = "NAME", default_value = "operator")]
    pub requested_by: String,
    /// Who agrees to --grant; must be somebody else
    #[arg(long, value_name = "NAME")]
    pub approved_by: Option<String>,
    /// Grant with one person
    #[arg(long, conflicts_with = "approved_by")]
    pub single_operator: bool,
}

/// `chancery doctor`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  chancery doctor

Exits 0 when nothing is wrong, 4 when something is weak, 1 when evidence failed.")]
pub struct Doctor {}

/// `chancery scrub`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chancery scrub
  chancery scrub --full
  chancery scrub --paced

Stopped with Ctrl-C it goes on where it was the next time. Exits 0 when nothing was found.")]
pub struct Scrub {
    /// Open every record with its keys, not a sample
    #[arg(long)]
    pub full: bool,
    /// No faster than scrub.bytes_per_second in chancery.toml
    #[arg(long)]
    pub paced: bool,
}

/// `chancery pack`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  chancery pack

Nothing about any record changes: same entries, same proofs, same fate under erasure and expiry.")]
pub struct Pack {}

/// `chancery demo`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chancery demo
  chancery demo --out /tmp/story --seed 7 --people 800 --events 60000
  chancery demo --input trail.json --as cloudtrail

It needs no vault and touches none: everything happens in a directory it names.")]
pub struct Demo {
    /// Real log instead of the invented day
    #[arg(long, value_name = "FILE", requires = "mapping")]
    pub input: Option<PathBuf>,
    /// Mapping in policies/sources/ that reads --input
    #[arg(long = "as", value_name = "MAPPING", requires = "input")]
    pub mapping: Option<String>,
    /// Directory for what the demo writes; it must not exist [default: a new temporary one]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Seed of the invented day
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "input")]
    pub seed: u64,
    /// People of the invented day
    #[arg(long, value_name = "N", default_value_t = 600, conflicts_with = "input",
        value_parser = clap::value_parser!(u32).range(24..=60_000))]
    pub people: u32,
    /// Events of the invented day
    #[arg(long, value_name = "N", default_value_t = 30_000, conflicts_with = "input",
        value_parser = clap::value_parser!(u32).range(500..=5_000_000))]
    pub events: u32,
}

/// `chancery bench`.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  chancery bench
  chancery --json bench --seconds 60 --only ingest
  chancery bench attacks
  chancery bench open --entries 100000 --entries 1000000
  chancery bench soak --minutes 60

Durable numbers: every acknowledged batch was fsynced. Machines differ by 40 % from hour to hour;
compare ratios within one run."
)]
pub struct Bench {
    /// A run of its own instead of the measurements.
    #[command(subcommand)]
    pub part: Option<BenchPart>,
    /// Directory to measure in; its file system is what is measured [default: temporary]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Seconds per ingest measurement
    #[arg(long, value_name = "N", default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// Subjects in the erasure measurement
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub subjects: u32,
    /// Measure this only; repeat for more: ingest, commit, verify, prove, erase, disk, speed
    #[arg(long = "only", value_name = "PART")]
    pub only: Vec<String>,
}

/// What `chancery bench` runs instead of its measurements.
#[derive(Subcommand, Debug)]
pub enum BenchPart {
    /// Make every attack of the design on a throw-away vault, and compare verdicts
    Attacks(AttackBench),
    /// How long opening takes after a kill, by the length of the log
    Open(OpenBench),
    /// The process that is killed and opened
    #[command(hide = true)]
    OpenChild(OpenChild),
    /// Kill a vault with many writers again and again, and check every receipt from outside
    Soak(Soak),
    /// The process that a soak kills
    #[command(hide = true)]
    SoakWriter(SoakWriter),
}

/// `chancery bench open`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chancery bench open
  chancery bench open --entries 1000000 --entries 10000000 --dir /mnt/disk

One vault is filled to each size in turn and killed there; opening it again is measured as the
kill left it, with the index removed, after a clean close, and with snapshots removed. 10,000,000
entries take about 10 GB of disk.")]
pub struct OpenBench {
    /// Directory to measure in; its file system is what is measured [default: temporary]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Length of the log; repeat for more
    #[arg(long, value_name = "N", default_values_t = [100_000u64, 1_000_000])]
    pub entries: Vec<u64>,
    /// Do not measure openings that read the whole log
    #[arg(long)]
    pub no_full: bool,
}

/// The child of `chancery bench open`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  chancery bench open-child open --dir /tmp/chancery-bench-1")]
pub struct OpenChild {
    /// What to do
    #[arg(value_parser = ["fill", "open", "close"])]
    pub act: String,
    /// The bench's directory
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Entries to fill up to
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub entries: u64,
}

/// `chancery bench soak`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chancery bench soak --minutes 60
  chancery bench soak --linear 100000

Each life of the writing process ends by kill -9 at a drawn state, by a limit on its memory, or
in peace. After each, a checker that holds every receipt compares the log with them, proves some,
and looks for anybody erased. What is found wrong ends the run; its directory is kept.")]
pub struct Soak {
    /// Directory to work in [default: temporary]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Everything drawn follows from it
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Writers at once
    #[arg(long, value_name = "N", default_value_t = 64,
        value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub writers: u64,
    /// Stop after this many minutes, instead of a number of lives
    #[arg(long, value_name = "N")]
    pub minutes: Option<u64>,
    /// Lives of the writing process
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub lives: u64,
    /// Batches acknowledged in one life, at most
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub receipts: u64,
    /// People the events speak of
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub people: u64,
    /// Kill nobody: each writer appends so many events, one at a time
    #[arg(long, value_name = "N", conflicts_with_all = ["minutes", "lives"])]
    pub linear: Option<u64>,
}

/// `chancery bench soak-writer`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example, with a vault that a soak made; it reads where writers begin, then orders:
  chancery bench soak-writer --dir soak --seed 1 --people 300 --batch 0 --ahead 0")]
pub struct SoakWriter {
    /// Directory of the soak
    #[arg(long)]
    pub dir: PathBuf,
    /// As the soak's
    #[arg(long)]
    pub seed: u64,
    /// As the soak's
    #[arg(long)]
    pub people: u64,
    /// Events of a batch; 0 = one to four, by writer
    #[arg(long)]
    pub batch: u64,
    /// Days the clock is ahead
    #[arg(long)]
    pub ahead: u64,
}

/// `chancery bench attacks`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chancery bench attacks
  chancery --json bench attacks --only 24 --only 28

Each attack has its own vault in a temporary directory and touches no other. Exits 0 only when
every verdict is the required one.")]
pub struct AttackBench {
    /// Directory to work in [default: temporary]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Number of an attack; repeat for more [default: all]
    #[arg(long = "only", value_name = "N")]
    pub only: Vec<u8>,
}

/// `chancery completions`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  chancery completions bash > ~/.local/share/bash-completion/completions/chancery")]
pub struct Completions {
    /// Shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}
