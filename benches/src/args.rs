//! Arguments. Defaults are the table that `docs/performance.md` shows.

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// The vault beside other ways to keep the same events, in one table and one JSON file
#[derive(Parser, Debug)]
#[command(after_help = "\
Examples:
  cargo run --release --manifest-path benches/Cargo.toml
  cargo run --release --manifest-path benches/Cargo.toml -- --masked
  cargo run --release --manifest-path benches/Cargo.toml -- --batches 1000 --clients 10 --parts ''

With the defaults it takes about fifteen minutes; --masked builds the vault a second time.")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) child: Option<Child>,
    /// Directory to measure in; its file system is what is measured [default: temporary]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// File for the numbers
    #[arg(long, value_name = "FILE", default_value = "chancery-benches.json")]
    pub(crate) json: PathBuf,
    /// Seconds of one run
    #[arg(long, value_name = "N", default_value_t = 2.0)]
    pub(crate) seconds: f64,
    /// Runs of each cell, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) runs: u32,
    /// Seed of the events
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Events that are made; clients send them again and again, each time from another source
    #[arg(long, value_name = "N", default_value_t = 100_000,
        value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub(crate) corpus: u32,
    /// Events of a batch; '' for none
    #[arg(long, value_name = "N,...", default_value = "1,10,100,1000")]
    pub(crate) batches: String,
    /// Clients at once
    #[arg(long, value_name = "N,...", default_value = "1,10,100")]
    pub(crate) clients: String,
    /// Systems
    #[arg(long, value_name = "NAME,...", default_value = "chancery,sqlite,redb,sled,naive")]
    pub(crate) systems: String,
    /// The system that the others are compared with
    #[arg(long, value_name = "NAME", default_value = "sqlite")]
    pub(crate) baseline: String,
    /// Measure the ways of hashing: batches of 1,000, two clients, four batches on the way
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) hashing: bool,
    /// Also build the vault with `sha2`'s plain code, and measure it as on a CPU without the SHA
    /// extensions
    #[arg(long)]
    pub(crate) masked: bool,
    /// That build, made before
    #[arg(long, value_name = "FILE")]
    pub(crate) masked_binary: Option<PathBuf>,
    /// Further measurements: verify, prove, disk, erase, http; '' for none
    #[arg(long, value_name = "NAME,...", default_value = "verify,prove,disk,erase,http")]
    pub(crate) parts: String,
    /// Subjects of which some are erased
    #[arg(long, value_name = "N,...", default_value = "10000,100000,1000000")]
    pub(crate) subjects: String,
    /// The program that serves in `http` [default: this one, whose `serve` is `chancery serve`]
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
}

/// What this program is when it is a child of its own.
#[derive(Subcommand, Debug)]
pub(crate) enum Child {
    /// One run of one cell
    #[command(hide = true)]
    Cell(Spec),
    /// One further measurement
    #[command(hide = true)]
    Part(Spec),
    /// How fast stock hashing is in this build
    #[command(hide = true)]
    Hashing,
}

/// What a child is to do.
#[derive(clap::Args, Debug)]
pub(crate) struct Spec {
    /// As JSON.
    pub(crate) spec: String,
}

/// The parts of a list.
pub(crate) fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

/// The numbers of a list.
pub(crate) fn numbers(list: &str) -> anyhow::Result<Vec<u64>> {
    names(list)
        .iter()
        .map(|n| n.parse().map_err(|_| anyhow::anyhow!("`{n}` is no number; separate by commas")))
        .collect()
}
