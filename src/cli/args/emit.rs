//! Arguments of `chancery emit`. A token never stands on a command line: others could read it.

use clap::{ArgGroup, Args};
use std::path::PathBuf;

/// `chancery emit`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("token").required(true).args(["token_env", "token_file"]),
    after_help = "\
Examples:
  chancery emit --url https://vault.example:8843 --token-file token --source crm --spool spool \\
      --ca vault-ca.pem events.ndjson
  tail -F app.log | chancery emit --url http://127.0.0.1:8843 --token-env TOKEN --source app \\
      --spool /var/spool/chancery

Every event is synced to the spool before it is sent, and leaves it only behind a receipt or a
refusal that names it. An event without an id gets one, so that a run over the same input after it
was taken sends other events: what was taken is in the spool, run the command with no input. Exit 0:
all have receipts, those too that waited in the spool. Receipts are in SPOOL/receipts.ndjson.")]
pub struct Emit {
    /// File of JSON events, one per line or one array; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// Address of the vault: https, or http to this machine
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// Environment variable with the token
    #[arg(long, value_name = "NAME")]
    pub token_env: Option<String>,
    /// File with the token, its owner's only
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Name of the sending source at the vault
    #[arg(long, value_name = "NAME")]
    pub source: String,
    /// Directory of the spool, made if it is not there; one process at a time
    #[arg(long, value_name = "DIR")]
    pub spool: PathBuf,
    /// Certificates the vault's must lead to, PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Bytes of events that may wait in the spool
    #[arg(long, value_name = "N", default_value_t = crate::client::SPOOL_BYTES)]
    pub spool_bytes: u64,
    /// Events of one request
    #[arg(long, value_name = "N", default_value_t = 500,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch: u32,
    /// Seconds to go on trying once the input has ended [default: for ever]
    #[arg(long, value_name = "SECONDS")]
    pub patience: Option<u64>,
}
