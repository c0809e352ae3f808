//! Arguments of the commands that govern: people, holds, retention, keys, configuration.
//! Whatever could weaken the log asks for two different people, or says that it had only one.

use crate::base::unit::{Day, UtcNanos};
use crate::cli::args::values::{IdentifierArg, day, identifier, instant};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Who asks and who agrees. The vault checks that they are two.
#[derive(Args, Clone, Debug, Default)]
pub struct Approval {
    /// Who asks for it; stands in the log and the receipt
    #[arg(long, value_name = "NAME", required = true)]
    pub requested_by: Option<String>,
    /// Who agrees; must be somebody else
    #[arg(long, value_name = "NAME", required_unless_present = "single_operator")]
    pub approved_by: Option<String>,
    /// Go on with one person; every receipt says so
    #[arg(long, conflicts_with = "approved_by")]
    pub single_operator: bool,
}

/// `chancery subject`.
#[derive(Subcommand, Debug)]
pub enum SubjectCommand {
    /// Say that identifiers belong to one person
    #[command(after_help = "\
Examples:
  chancery subject link email:anna.berg7@mail.example phone:+12015550107
  chancery subject link @ids.txt --reason 'confirmed at the desk'

@FILE reads one KIND:VALUE per line and keeps identifiers out of the shell's history.")]
    Link {
        /// At least two identifiers of one person
        #[arg(value_name = "KIND:VALUE", value_parser = identifier, required = true)]
        identifiers: Vec<IdentifierArg>,
        /// How it is known; sealed in the log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Say what an erasure would destroy, defer and leave, without doing it
    #[command(after_help = "\
Example:
  chancery subject preview email:anna.berg7@mail.example

It names every linked identifier, what a hold or a legal floor defers, and identifiers that often
occur together with the person's but are not linked.")]
    Preview {
        /// Any identifier of the person
        #[arg(value_name = "KIND:VALUE", value_parser = identifier)]
        identifier: IdentifierArg,
    },
    /// Make a person unreadable for ever
    #[command(after_help = "\
Example:
  chancery subject erase email:anna.berg7@mail.example --requested-by dana --approved-by omar \\
      --reason 'GDPR Art. 17 request of 2026-11-20' --receipt erasure.json

The receipt says what was destroyed, what is deferred and until when, and what an erasure cannot
reach: copies of keys and data made together before it.")]
    Erase {
        /// Any identifier of the person
        #[arg(value_name = "KIND:VALUE", value_parser = identifier)]
        identifier: IdentifierArg,
        /// Why; sealed in the log
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// File for the signed receipt [default: standard output]
        #[arg(long, value_name = "FILE")]
        receipt: Option<PathBuf>,
        /// Who asks and who agrees.
        #[command(flatten)]
        approval: Approval,
    },
    /// Say how far erasures have come, deferred parts included
    #[command(after_help = "\
Examples:
  chancery subject status
  chancery subject status 9f86d081884c7d659a2feaa0c55ad015")]
    Status {
        /// Job id of one erasure [default: all that are not final]
        #[arg(value_name = "JOB")]
        job: Option<String>,
    },
}

/// `chancery hold`.
#[derive(Subcommand, Debug)]
pub enum HoldCommand {
    /// Block erasure and expiry of a person or of a class-day
    #[command(after_help = "\
Examples:
  chancery hold set --case '4 C 118/26' --subject patient_id:P204185-4 --reason 'court order'
  chancery hold set --case '4 C 118/26' --class 3 --from 2026-11-01 --to 2026-11-20")]
    Set {
        /// Name of the case; shown by every refusal
        #[arg(long, value_name = "NAME")]
        case: String,
        /// Hold this person; repeat for more
        #[arg(long = "subject", value_name = "KIND:VALUE", value_parser = identifier)]
        subjects: Vec<IdentifierArg>,
        /// Hold this retention class
        #[arg(long, value_name = "CLASS", required_unless_present = "subjects")]
        class: Option<u16>,
        /// First day held
        #[arg(long, value_name = "DATE", value_parser = day, requires = "class")]
        from: Option<Day>,
        /// Last day held
        #[arg(long, value_name = "DATE", value_parser = day, requires = "class")]
        to: Option<Day>,
        /// Why; sealed in the log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// End a hold; what it deferred resumes
    #[command(after_help = "\
Example:
  chancery hold release --case '4 C 118/26' --requested-by dana --approved-by omar \\
      --reason 'judgment final'")]
    Release {
        /// Name or id of the case
        #[arg(long, value_name = "NAME")]
        case: String,
        /// Why; sealed in the log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Who asks and who agrees.
        #[command(flatten)]
        approval: Approval,
    },
    /// List holds and what waits because of them
    #[command(after_help = "\
Example:
  chancery hold list --all")]
    List {
        /// Released ones as well
        #[arg(long)]
        all: bool,
    },
}

/// `chancery retain`.
#[derive(Subcommand, Debug)]
pub enum RetainCommand {
    /// Say what would go, when and why; nothing goes
    #[command(after_help = "\
Examples:
  chancery retain plan
  chancery retain plan --at 2027-01-01")]
    Plan {
        /// As of this instant instead of log time
        #[arg(long, value_name = "TIME", value_parser = instant)]
        at: Option<UtcNanos>,
    },
    /// Destroy the keys of what is due, then free the disk
    #[command(after_help = "\
Examples:
  chancery retain run
  chancery retain run --schedule '0 0 3 * * *'      stay and run at 03:00 UTC every day

Log time decides what is due, never the schedule. A hold blocks what it covers and is named.")]
    Run {
        /// Stay and run at the times of this cron expression (seconds first, UTC)
        #[arg(long, value_name = "CRON")]
        schedule: Option<String>,
        /// Destroy at most this many class-days per run
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
    },
    /// List what was destroyed, with the entry that justifies it
    #[command(after_help = "\
Example:
  chancery retain history --from 2026-01-01")]
    History {
        /// From this log time on
        #[arg(long, value_name = "TIME", value_parser = instant)]
        from: Option<UtcNanos>,
    },
}

/// `chancery keys`.
#[derive(Subcommand, Debug)]
pub enum KeysCommand {
    /// Show public keys, generation, copies and medium; never a secret
    #[command(after_help = "\
Example:
  chancery keys show")]
    Show,
    /// Export the signed ledger of erasures, for --ledger after a restore
    #[command(after_help = "\
Example:
  chancery keys export-ledger --out erasures.ledger

Store it away from data and keys: it is what shows that a restored copy is too old.")]
    ExportLedger {
        /// File to write [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Write the trust policy that auditors pin
    #[command(after_help = "\
Example:
  chancery keys trust --out trust.policy

Hand it over by a way the vault's operator does not control.")]
    Trust {
        /// File to write [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// `chancery config`.
#[derive(Subcommand, Debug)]
pub enum ConfigCommand {
    /// Show what is in force, where each value comes from, and files that differ (drift)
    #[command(after_help = "\
Example:
  chancery config show")]
    Show,
    /// Make changed policy files take effect, as a new entry of the log
    #[command(after_help = "\
Example:
  chancery config apply --requested-by dana --approved-by omar")]
    Apply {
        /// Show the changes and stop
        #[arg(long)]
        dry_run: bool,
        /// Who asks and who agrees.
        #[command(flatten)]
        approval: Approval,
    },
}
