//! The thin binary: hands its arguments to `chancery::cli` and exits with what it returns.
//! It never holds logic.

fn main() -> std::process::ExitCode {
    chancery::cli::main()
}
