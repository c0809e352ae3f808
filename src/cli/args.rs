//! The command line as types (clap): what may be said, with an example for everything.
//! It only parses. Nothing is opened, decided or run here; `policy` and `vault` judge the words.

pub mod access;
pub mod emit;
pub mod copy;
pub mod govern;
pub mod make;
pub mod prove;
pub mod record;
pub mod serve;
pub mod values;
pub mod witness;

use crate::cli::args::access::AccessCommand;
use crate::cli::args::copy::{Backup, Restore};
use crate::cli::args::emit::Emit;
use crate::cli::args::govern::{ConfigCommand, HoldCommand, KeysCommand};
use crate::cli::args::govern::{RetainCommand, SubjectCommand};
use crate::cli::args::make::{Bench, Completions, Demo, Doctor, Export, Init, Pack, Report, Scrub};
use crate::cli::args::prove::Prove;
use crate::cli::args::record::{Append, Checkpoint, Disclose, Query, Show, Verify};
use crate::cli::args::serve::Serve;
use crate::cli::args::witness::{Timestamp, WitnessCommand};
use crate::cli::output::Wishes;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

const AFTER: &str = "\
Examples:
  chancery demo                                the whole story on an invented day, no input needed
  chancery init && chancery append events.ndjson --source crm
  chancery verify --trust trust.policy         check everything with trust pinned from outside

Exit codes: 0 done or verified, 1 evidence failed, 2 usage, 3 could not do or check, 4 inconclusive.
Errors carry a stable code; docs/errors.md says what each means and what to do.";

/// An audit log vault: seals events, chains them, expires and forgets, proves all of it.
#[derive(Parser, Debug)]
#[command(name = "chancery", version, about, after_help = AFTER, max_term_width = 100)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command. A flag beats the environment, that beats the file, that the default.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Directory that holds chancery.toml and, unless it says otherwise, data, keys and policies
    /// [env: CHANCERY_HOME] [default: .]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Configuration file [default: chancery.toml in --home, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Tenant to act for [env: CHANCERY_TENANT] [default: main]
    #[arg(long, global = true, value_name = "NAME")]
    pub tenant: Option<String>,
    /// Print JSON: one object per result, on one line each
    #[arg(long, global = true)]
    pub json: bool,
    /// Print results and errors only: no story, no progress
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// No colour [env: NO_COLOR, TERM=dumb]
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Go on although the clock is more than 7 days beyond the last entry
    #[arg(long, global = true)]
    pub accept_time: bool,
    /// Go on although no configured witness answers; the log records it
    #[arg(long, global = true)]
    pub accept_unwitnessed: bool,
    /// Erasure ledger exported earlier: refuses data and keys older than it
    #[arg(long, global = true, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
}

impl Global {
    /// What these options ask of the output.
    pub fn wishes(&self) -> Wishes {
        Wishes { json: self.json, quiet: self.quiet, no_color: self.no_color }
    }
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Create a vault: data, keys, trust policy, first entry
    Init(Init),
    /// Append events from a file or standard input
    Append(Append),
    /// Send events to a vault elsewhere, through a spool on this disk
    Emit(Emit),
    /// Show one record: its entry, and the fields that still open
    Show(Show),
    /// Find records by time range and equality
    Query(Query),
    /// Verify the vault, or one proof, disclosure or report, offline
    Verify(Verify),
    /// Write a proof: entries complete or absent, one entry's place, or that the log only grew
    Prove(Box<Prove>),
    /// Write chosen fields of one record so that an outsider can verify them offline
    Disclose(Disclose),
    /// Print or write the newest signed checkpoint
    Checkpoint(Checkpoint),
    /// Have the newest checkpoint stamped by a time-stamp authority (RFC 3161)
    Timestamp(Timestamp),
    /// People: link identifiers, preview and run erasures
    #[command(subcommand)]
    Subject(SubjectCommand),
    /// Legal holds: set, release, list
    #[command(subcommand)]
    Hold(HoldCommand),
    /// Retention: plan and run what is due
    #[command(subcommand)]
    Retain(RetainCommand),
    /// Pack what is past: bodies of days before yesterday, closed segments of the log
    Pack(Pack),
    /// Write a signed compliance report
    Report(Report),
    /// Write records as CEF or LEEF for a SIEM
    Export(Export),
    /// Keys: show, mirror, restore, roll, compact; export the ledger, write the trust policy
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Run the service: ingest, reading, administration over HTTPS
    Serve(Serve),
    /// A witness for other people's logs: make one, run one
    #[command(subcommand)]
    Witness(WitnessCommand),
    /// Who may do what: print the permission matrix
    #[command(subcommand)]
    Access(AccessCommand),
    /// Configuration: show what is in force, apply changed policy files
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Say what is wrong or weak with this vault, and what to do
    Doctor(Doctor),
    /// Copy the data, never the keys, with a signed manifest
    Backup(Backup),
    /// Put a backup back beside the keys of today
    Restore(Restore),
    /// Read every byte again, and record what was found
    Scrub(Scrub),
    /// Tell the whole story on an invented day, or on a real log
    Demo(Demo),
    /// Measure this machine: ingest, verify, erase, disk, memory
    Bench(Bench),
    /// Print a completion script for a shell
    Completions(Completions),
}
