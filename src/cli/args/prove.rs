//! Arguments of `chancery prove`: what an outsider is to be convinced of.

use crate::base::event::EventCode;
use crate::base::unit::{EntryIndex, UtcNanos};
use crate::cli::args::values::{IdentifierArg, code, identifier, index, indexes, instant};
use clap::{ArgGroup, Args, Subcommand};
use std::ops::Range;
use std::path::PathBuf;

/// `chancery prove`.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  chancery prove --range 1000..2000 --out piece.range
  chancery prove --from 2026-11-01 --to 2026-12-01 --out november.range
  chancery prove --epoch 3 --out epoch-3.range
  chancery prove --code authentication.login --from 2026-11-01 --to 2026-12-01 --out logins.answer
  chancery prove --subject email:anna@mail.example --recipient 'district court' \\
      --purpose 'order 4 C 118/26' --by dana --out anna.answer
  chancery prove inclusion 4711 --out entry-4711.tlog-proof
  chancery prove consistency --since monday.checkpoint --out growth.proof

The file shows public entries and nothing sealed, and proves that none of what was asked is left
out, or that there is none. With --subject it joins a person to entries: that is a disclosure, it
is recorded in the log, and no erasure can call the file back."
)]
#[command(group = ArgGroup::new("what").multiple(true).required(true)
    .args(["range", "from", "to", "epoch", "subject", "code", "source"]))]
pub struct Prove {
    /// A proof of another kind.
    #[command(subcommand)]
    pub command: Option<ProveCommand>,
    /// Entries A to B, B not included; every one of them, or those of --subject, --code, --source
    #[arg(long, value_name = "A..B", value_parser = indexes, conflicts_with_all = ["from", "to"])]
    pub range: Option<Range<EntryIndex>>,
    /// From this log time on
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub from: Option<UtcNanos>,
    /// Before this log time; without it up to the newest checkpoint
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub to: Option<UtcNanos>,
    /// One epoch of 65,536 entries with its seal, for a replay
    #[arg(long, value_name = "K",
        conflicts_with_all = ["range", "from", "to", "subject", "code", "source", "sealed"])]
    pub epoch: Option<u64>,
    /// Entries about this person, from all linked identifiers
    #[arg(long, value_name = "KIND:VALUE|@FILE", value_parser = identifier,
        conflicts_with_all = ["code", "source"], requires = "recipient")]
    pub subject: Option<IdentifierArg>,
    /// Entries of this event code
    #[arg(long, value_name = "CATEGORY.VERB", value_parser = code, conflicts_with = "source")]
    pub code: Option<EventCode>,
    /// Entries of the source of this name
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Only sealed epochs: a smaller file, which says where it ends
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub sealed: bool,
    /// Who receives it; sealed in the log, as are --purpose and --by
    #[arg(long, value_name = "TEXT", requires = "purpose", requires = "by")]
    pub recipient: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", requires = "recipient")]
    pub purpose: Option<String>,
    /// Who hands it out
    #[arg(long, value_name = "NAME", requires = "recipient")]
    pub by: Option<String>,
    /// File to write; it must not exist
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Proofs about one entry or one checkpoint.
#[derive(Subcommand, Debug)]
pub enum ProveCommand {
    /// That an entry is in the log
    #[command(after_help = "\
Example:
  chancery prove inclusion 4711 --out entry-4711.tlog-proof")]
    Inclusion {
        /// Index of the entry
        #[arg(value_name = "INDEX", value_parser = index)]
        index: EntryIndex,
        /// Against the newest checkpoint, though fewer witnesses cosigned it than an older one
        #[arg(long)]
        newest: bool,
        /// File to write [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// That the log of today extends the log of an earlier checkpoint
    #[command(after_help = "\
Example:
  chancery prove consistency --since monday.checkpoint --out growth.proof")]
    Consistency {
        /// Checkpoint seen earlier
        #[arg(long, value_name = "FILE", required_unless_present = "size")]
        since: Option<PathBuf>,
        /// Or the number of entries the log had
        #[arg(long, value_name = "N", conflicts_with = "since")]
        size: Option<u64>,
        /// File to write [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}
