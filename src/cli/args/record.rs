//! Arguments of the commands that write, read and prove records.

use crate::base::unit::UtcNanos;
use crate::cli::args::values::{IdentifierArg, identifier, instant, share};
use clap::Args;
use std::path::PathBuf;

/// `chancery append`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chancery append events.ndjson --source crm
  chancery append trail.json --as cloudtrail --source aws-prod
  tail -F app.log | chancery append - --as canonical --source app

Every event is accepted or refused with a code and its line. Without --partial a batch with a bad
event is refused whole and the run stops there; what came before is durable, and sending it again
after the fix makes no duplicates where the source numbers or names its events.")]
pub struct Append {
    /// File of JSON events, one per line or one array; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// Mapping in policies/sources/ that reads the events [default: the one named like --source,
    /// else canonical]
    #[arg(long = "as", value_name = "MAPPING")]
    pub mapping: Option<String>,
    /// Name of the sending source [default: the mapping's name]
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Accept the good events of a batch, list the others and go on
    #[arg(long)]
    pub partial: bool,
    /// Events of one batch: each batch lies in one unit
    #[arg(long, value_name = "N", default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch: u32,
    /// Write a receipt per event to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub receipts: Option<PathBuf>,
}

/// Opening sealed fields for somebody.
#[derive(Args, Clone, Debug, Default)]
pub struct Opening {
    /// Open the sealed fields that still open
    #[arg(long, requires = "purpose", requires = "by")]
    pub open: bool,
    /// Why they are opened; sealed in the log
    #[arg(long, value_name = "TEXT", requires = "open")]
    pub purpose: Option<String>,
    /// Who reads them; sealed in the log
    #[arg(long, value_name = "NAME", requires = "open")]
    pub by: Option<String>,
    /// Open them although the vault is open for reading only and its log cannot record it
    #[arg(long, requires = "open")]
    pub unrecorded: bool,
}

/// `chancery show`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chancery show 4711
  chancery show 4711 --open --purpose 'complaint 2026-118' --by dana

Opening sealed fields is itself recorded in the log, without what was read.")]
pub struct Show {
    /// Index of the entry, or record id in hex
    #[arg(value_name = "RECORD")]
    pub record: String,
    /// What is opened, for what and by whom.
    #[command(flatten)]
    pub opening: Opening,
}

/// `chancery query`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chancery query --from 2026-11-20 --to 2026-11-21 outcome=denied
  chancery query --subject email:anna.berg7@mail.example --limit 50
  chancery query 'severity>=7' class=1y --limit 20
  chancery --json query category=authentication verb=login outcome=failure --count

Terms must all hold. Fields: kind category verb code outcome severity class source index time
event_time record; operators: = >= <= > < (quote them for the shell).")]
pub struct Query {
    /// Conditions that must all hold
    #[arg(value_name = "FIELD=VALUE")]
    pub terms: Vec<String>,
    /// From this log time on
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub from: Option<UtcNanos>,
    /// Before this log time
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub to: Option<UtcNanos>,
    /// Records about this person
    #[arg(long, value_name = "KIND:VALUE", value_parser = identifier)]
    pub subject: Option<IdentifierArg>,
    /// At most this many records
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: u64,
    /// Print the number of records instead of them
    #[arg(long, conflicts_with = "open")]
    pub count: bool,
    /// What is opened, for what and by whom.
    #[command(flatten)]
    pub opening: Opening,
}

/// `chancery verify`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chancery verify                                  units, entries, bodies of this vault
  chancery verify --trust trust.policy             the same, with the signer pinned
  chancery verify entry-42.tlog-proof --trust trust.policy
  chancery verify growth.proof --since monday.checkpoint --trust trust.policy
  chancery verify disclosure.json --trust trust.policy
  chancery verify report-2026-11/ --trust trust.policy
  chancery verify november.range --trust trust.policy
  chancery verify anna.answer --trust trust.policy
  chancery verify data/ --trust trust.policy --replay-seals 5% --seed 'dice: 3 6 1 1 4'

A share of epochs follows from the checkpoint's root and --seed. Without --seed whoever signs
could try checkpoints until the share misses an epoch: bring a seed or take all.

Without --trust the best verdict is 'consistent with itself; signer unknown' (exit 4): keys that
lie beside the evidence are never trusted.")]
pub struct Verify {
    /// Proof, range, answer, disclosure, receipt, report or data directory; without it this vault
    /// with its keys
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// Trust policy, obtained from outside
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// Checkpoint seen earlier: a data directory must extend it, and a consistency proof needs it;
    /// beside a checkpoint only contradictions show
    #[arg(long, value_name = "FILE")]
    pub since: Option<PathBuf>,
    /// A number that a counting source skipped fails the verification
    #[arg(long)]
    pub strict: bool,
    /// Check the log only; leave the bodies sealed
    #[arg(long, conflicts_with = "path")]
    pub no_bodies: bool,
    /// Compute seals again from the entries: `all`, the default for a data directory, `none`, or a
    /// share of the epochs such as `5%`
    #[arg(long, value_name = "N%|all|none", value_parser = share)]
    pub replay_seals: Option<u8>,
    /// Text of your own that decides, with the checkpoint, which epochs a share takes
    #[arg(long, value_name = "TEXT", requires = "replay_seals")]
    pub seed: Option<String>,
    /// Write the first seal found wrong, with its epoch, as a file that proves it to others
    #[arg(long, value_name = "FILE")]
    pub evidence: Option<PathBuf>,
}

/// `chancery disclose`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  chancery disclose 4711 --field action --field actor.id --by dana \\
      --recipient 'district court' --purpose 'order 4 C 118/26' --out disclosure.json

The file holds the chosen values, their salts and a proof; nothing else of the record can be read
from it. What is disclosed leaves the vault's reach: an erasure cannot call it back.")]
pub struct Disclose {
    /// Index of the entry, or record id in hex
    #[arg(value_name = "RECORD")]
    pub record: String,
    /// Field to disclose; repeat for more
    #[arg(long = "field", value_name = "NAME", required = true)]
    pub fields: Vec<String>,
    /// Who receives it; sealed in the log
    #[arg(long, value_name = "TEXT")]
    pub recipient: String,
    /// Why; sealed in the log
    #[arg(long, value_name = "TEXT")]
    pub purpose: String,
    /// Who hands it out; sealed in the log
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// File to write; it must not exist
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `chancery checkpoint`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chancery checkpoint --out monday.checkpoint
  chancery checkpoint --tiles public/

--tiles writes the log as static files (C2SP tlog-tiles): checkpoint, hash tiles and entry bundles
for any web server. They hold no keys, no identifiers and no sealed field.

Keep checkpoints where the vault's operator cannot reach them: they are what makes a rewritten
log visible.")]
pub struct Checkpoint {
    /// File to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Directory for the static tiles; what is there already and complete is left
    #[arg(long, value_name = "DIR")]
    pub tiles: Option<PathBuf>,
    /// The newest checkpoint, though fewer witnesses cosigned it than an older one
    #[arg(long)]
    pub newest: bool,
}
