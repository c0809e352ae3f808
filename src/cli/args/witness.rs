//! Arguments of `chancery witness` and `chancery timestamp`.

use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// `chancery witness`.
#[derive(Subcommand, Debug)]
pub enum WitnessCommand {
    /// Make a witness: its key and its configuration
    #[command(after_help = "\
Example:
  chancery witness init --dir /srv/witness --name witness.clinic.example/w1 \\
      --log 'vault.clinic.example/t/4f...+1a2b3c4d+AQ...'

Run it on another machine, under another administrator: whoever holds vault and witness can put
both back. The vkey it prints goes into [[witness]] of the vault and into every trust policy.")]
    Init {
        /// Directory of the witness; made if it is not there
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Name of its key: a host name and a path of its own
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Public key of a log to watch, as `chancery keys show` prints it; repeat for more
        #[arg(long = "log", value_name = "VKEY")]
        logs: Vec<String>,
        /// Address to listen on
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8411")]
        listen: SocketAddr,
    },
    /// Run it until Ctrl-C
    #[command(after_help = "\
Example:
  chancery witness run --dir /srv/witness

It speaks plain HTTP: put a TLS terminator in front of it for other machines. It answers
POST /add-checkpoint (C2SP tlog-witness) and GET /<SHA-256 of the origin, hex>/checkpoint.")]
    Run {
        /// Directory of the witness
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Address to listen on [default: the one in witness.toml]
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<SocketAddr>,
    },
    /// Say which logs it watches and how far it has cosigned them
    #[command(after_help = "\
Example:
  chancery witness show --dir /srv/witness")]
    Show {
        /// Directory of the witness; it must not be running
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
}

/// `chancery timestamp`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chancery timestamp                               ask the authority in [timestamp]
  chancery timestamp --request out.tsq             carry the question to one by hand,
  chancery timestamp --response in.tsr             and its answer back

What is stamped is the SHA-256 of the checkpoint's three lines. An answer counts only if it leads to
a certificate of timestamp.ca; it is kept in anchors/ and an entry names it, so that whatever
follows is provably later. After each day-seal this happens by itself where an address is set.")]
pub struct Timestamp {
    /// Write the question about the newest checkpoint to this file
    #[arg(long, value_name = "FILE", conflicts_with = "response")]
    pub request: Option<PathBuf>,
    /// Take an authority's answer from this file
    #[arg(long, value_name = "FILE")]
    pub response: Option<PathBuf>,
}
