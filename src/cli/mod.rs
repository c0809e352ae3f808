//! Hands: arguments, wiring of clock, entropy and disk; every command. It never holds logic.

pub mod args;
pub mod bench;
pub mod config;
pub mod demo;
pub mod judge;
pub mod output;
pub mod world;

mod certificate;
mod cmd;
mod error;
mod medium;
mod run;

/// Runs the command line of this process and says how it ended.
pub fn main() -> std::process::ExitCode {
    run::process()
}
