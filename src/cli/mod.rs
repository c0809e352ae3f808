//! Hands: arguments, wiring of clock, entropy and disk; every command. It never holds logic.

pub mod args;
pub mod bench;
pub mod config;
pub mod demo;
pub mod output;

/// Runs the command line and says how it ended.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
