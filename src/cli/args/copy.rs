//! Arguments of `backup` and `restore`.

use clap::Args;
use std::path::PathBuf;

/// `chancery backup`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chancery backup --to /mnt/backup/chancery --verify
  chancery backup --all-tenants --to /mnt/backup/all
  chancery restore --from /mnt/backup/chancery --check

Data only, never keys: a copy of the keys would bring the erased back. The same directory given
again is brought up to now. docs/operate.md has the drill.")]
pub struct Backup {
    /// Directory of the backup: empty, or an earlier backup of this vault
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Every tenant, each into a directory of its name below --to
    #[arg(long)]
    pub all_tenants: bool,
    /// Read every copy back from its disk before the manifest is signed
    #[arg(long)]
    pub verify: bool,
}

/// `chancery restore`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chancery restore --from /mnt/backup/chancery --known newest.note
  chancery --ledger ledger restore --from /mnt/backup/chancery --check

The data goes where the configuration says, beside the keys of today. What was erased since the
backup stays erased; a log shorter than one that is known is refused.")]
pub struct Restore {
    /// Directory of the backup
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Every tenant that lies below --from; a known checkpoint is of one log, so not with --known
    #[arg(long, conflicts_with = "known")]
    pub all_tenants: bool,
    /// Newest signed checkpoint that anybody kept
    #[arg(long, value_name = "FILE")]
    pub known: Option<PathBuf>,
    /// Go on although a longer log is known: what it has more is lost
    #[arg(long)]
    pub accept_older: bool,
    /// Check the backup and what is known; write nothing
    #[arg(long)]
    pub check: bool,
}
