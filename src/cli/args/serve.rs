//! Arguments of `chancery serve`.

use clap::Args;
use std::net::SocketAddr;

/// `chancery serve`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chancery serve
  chancery serve --single-operator --cooling-off 0s
  chancery serve --listen 10.0.0.5:8843      with hosts, tls_cert and tls_key in chancery.toml

Without a vault it makes one; without a certificate it makes one for this machine's loopback names.
The first start prints where the token lies that enrols the first person.")]
pub struct Serve {
    /// Address of ingest, reading and proofs [default: 127.0.0.1:8843, or `server.listen`]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Address of administration and metrics [default: 127.0.0.1:8844, or `server.admin_listen`]
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,
    /// Use the certificate made here on an address that is not loopback
    #[arg(long)]
    pub generated_certificate: bool,
    /// Speak plain HTTP, on loopback only: for a proxy on this machine, and for measuring
    #[arg(long)]
    pub plain_http: bool,
    /// Let one person request and approve; every receipt says so
    #[arg(long)]
    pub single_operator: bool,
    /// Pause between the last approval and the act: 30s, 10m, 24h
    #[arg(long, value_name = "TIME", value_parser = crate::cli::args::values::seconds)]
    pub cooling_off: Option<u64>,
}
