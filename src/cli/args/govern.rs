//! Arguments of the commands that govern: people, holds, retention, keys, configuration.
//! Whatever could weaken the log asks for two different people, or says that it had only one.

use crate::base::unit::{Day, UtcNanos};
use crate::cli::args::values::{IdentifierArg, day, identifier, instant};
use clap::{ArgGroup, Args, Subcommand};
use std::path::PathBuf;

/// Who asks and who agrees. The vault checks that they are two.
#[derive(Args, Clone, Debug, Default)]
pub struct Approval {
    /// Who asks for it; stands sealed in the log. Names are what people say of themselves
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
  chancery subject link email:anna.berg7@mail.example phone:+12015550107 \\
      --requested-by dana --approved-by omar
  chancery subject link @ids.txt --requested-by dana --approved-by omar

@FILE reads one KIND:VALUE per line and keeps identifiers out of the shell's history.")]
    Link {
        /// At least two identifiers of one person
        #[arg(value_name = "KIND:VALUE", value_parser = identifier, required = true)]
        identifiers: Vec<IdentifierArg>,
        /// Who asks and who agrees.
        #[command(flatten)]
        approval: Approval,
    },
    /// Say what an erasure would destroy, defer and leave, without doing it
    #[command(after_help = "\
Example:
  chancery subject preview email:anna.berg7@mail.example

It names every linked identifier, the records per class, what a legal floor or a hold defers, and
the cases that forbid it.")]
    Preview {
        /// Any identifier of the person
        #[arg(value_name = "KIND:VALUE", value_parser = identifier)]
        identifier: IdentifierArg,
    },
    /// Make a person unreadable for ever
    #[command(after_help = "\
Example:
  chancery subject erase email:anna.berg7@mail.example --requested-by dana --approved-by omar \\
      --basis gdpr-17-1 --receipt erasure.receipt

The receipt says what was destroyed, what is deferred and until when, and what an erasure cannot
reach: copies of keys and data made together before it.")]
    Erase {
        /// Any identifier of the person
        #[arg(value_name = "KIND:VALUE", value_parser = identifier)]
        identifier: IdentifierArg,
        /// Legal basis; stands in the log and the receipt, so name no person in it
        #[arg(long, value_name = "WORD", default_value = "gdpr-17-1")]
        basis: String,
        /// File for the signed receipt; it must not exist [default: standard output]
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
        /// Final ones as well
        #[arg(long)]
        all: bool,
    },
    /// Print the signed receipt of an erasure again
    #[command(after_help = "\
Example:
  chancery subject receipt 9f86d081884c7d659a2feaa0c55ad015 --out erasure.receipt")]
    Receipt {
        /// Job id of the erasure
        #[arg(value_name = "JOB")]
        job: String,
        /// File to write; it must not exist [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// `chancery hold`.
#[derive(Subcommand, Debug)]
pub enum HoldCommand {
    /// Block erasure and expiry of a person or of a class-day
    #[command(after_help = "\
Examples:
  chancery hold set --case '4 C 118/26' --subject patient_id:P204185-4 --requested-by dana
  chancery hold set --case '4 C 118/26' --class 1y --from 2026-11-01 --to 2026-11-20 \\
      --requested-by dana

A hold on a person keeps that person; records of the same class-day wait for it too. Repeat with
the same --case to widen it.")]
    Set {
        /// Name of the case; shown by every refusal
        #[arg(long, value_name = "NAME")]
        case: String,
        /// Hold this person; repeat for more
        #[arg(long = "subject", value_name = "KIND:VALUE", value_parser = identifier)]
        subjects: Vec<IdentifierArg>,
        /// Hold this retention class, by name or number
        #[arg(long, value_name = "CLASS", required_unless_present = "subjects")]
        class: Option<String>,
        /// First day held [default: the first there is]
        #[arg(long, value_name = "DATE", value_parser = day, requires = "class")]
        from: Option<Day>,
        /// Last day held [default: without end]
        #[arg(long, value_name = "DATE", value_parser = day, requires = "class")]
        to: Option<Day>,
        /// Who asks for it; sealed in the log
        #[arg(long, value_name = "NAME")]
        requested_by: String,
    },
    /// End a hold; what it deferred resumes
    #[command(after_help = "\
Example:
  chancery hold release --case '4 C 118/26' --requested-by dana --approved-by omar")]
    Release {
        /// Name or id of the case
        #[arg(long, value_name = "NAME")]
        case: String,
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
  chancery retain run --schedule '0 3 * * *' --zone Europe/Berlin    stay and run at 03:00

Log time decides what is due, never the schedule. A hold blocks what it covers and is named.")]
    Run {
        /// Stay and run at the times of this cron expression: minute hour day month weekday
        #[arg(long, value_name = "CRON")]
        schedule: Option<String>,
        /// Time zone of the schedule
        #[arg(long, value_name = "ZONE", default_value = "UTC", requires = "schedule")]
        zone: String,
        /// Today's date: needed once after log time jumped more than seven days
        #[arg(long, value_name = "DATE", value_parser = day)]
        confirm_date: Option<Day>,
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
    /// Make keys.mirror the second live copy of the keys, or bring it back now
    #[command(after_help = "\
Examples:
  chancery keys mirror
  chancery keys mirror --forget --requested-by dana --approved-by omar

Name an empty directory on another disk as mirror under [keys] in chancery.toml first. From then on
every key is written there too and every erasure destroys its keys there too; while it cannot be
reached receipts say E2-partial, and it is scrubbed before anything is served once it is back.
Giving it up takes two people and leaves an entry: no erasure reaches it any more.",
        group = ArgGroup::new("second").args(["approved_by", "single_operator"]))]
    Mirror {
        /// Give the mirror up, by two people: destroy what it holds yourself
        #[arg(long, requires = "requested_by", requires = "second")]
        forget: bool,
        /// Who asks to give it up; stands sealed in the log
        #[arg(long, value_name = "NAME", requires = "forget")]
        requested_by: Option<String>,
        /// Who agrees; must be somebody else
        #[arg(long, value_name = "NAME", requires = "forget")]
        approved_by: Option<String>,
        /// Go on with one person; the entry says so
        #[arg(long, requires = "forget")]
        single_operator: bool,
    },
    /// Restore the key directory from its mirror, for a lost or damaged disk
    #[command(after_help = "\
Example:
  chancery keys restore --from-mirror

The mirror must fit the log: one from before an erasure is refused, always.")]
    Restore {
        /// From the directory that keys.mirror names
        #[arg(long, required = true)]
        from_mirror: bool,
        /// Go on although the mirror lacks keys: what they sealed is lost for ever
        #[arg(long)]
        accept_loss: bool,
    },
    /// Hand the log over to a fresh signing key; two people
    #[command(after_help = "\
Example:
  chancery keys roll-log --requested-by dana --approved-by omar

The roll, signed by both keys, stands in the log. Afterwards hand out the trust policy again:
chancery keys trust --follow OLD.policy --out NEW.policy")]
    RollLog {
        /// Who asks and who agrees.
        #[command(flatten)]
        approval: Approval,
    },
    /// Rewrite the key tree's file without its dead nodes
    #[command(after_help = "\
Example:
  chancery keys compact

`retain run` does it by itself once half of the file is dead. No key depends on it.")]
    Compact,
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
        /// A trust policy pinned before: follow every key roll of the log from it
        #[arg(long, value_name = "FILE")]
        follow: Option<PathBuf>,
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
Examples:
  chancery config show
  chancery config show --effective     settings alone; also beside a running server")]
    Show {
        /// Settings only, each with who said it; no vault is opened, secrets are never shown
        #[arg(long)]
        effective: bool,
    },
    /// Check configuration and policy files; open nothing
    #[command(after_help = "\
Example:
  chancery --config /etc/chancery/chancery.toml config check")]
    Check,
    /// Write the policy files in force to a folder, to edit them there
    #[command(after_help = "\
Example:
  chancery config policies --out policies")]
    Policies {
        /// Folder to write; it must not exist
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
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
