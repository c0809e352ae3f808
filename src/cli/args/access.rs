//! Arguments of `chancery access`.

use clap::Subcommand;

/// `chancery access`.
#[derive(Subcommand, Debug)]
pub enum AccessCommand {
    /// Print every permission and the roles that have it; needs no vault
    #[command(after_help = "\
Examples:
  chancery access matrix
  chancery access matrix --json | jq -r 'select(.roles | index(\"auditor\")) | .permission'

The matrix is part of the program: no configuration and no entry of a log changes it.")]
    Matrix,
}
