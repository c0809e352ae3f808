//! The thin binary: hands its arguments to `chancery::cli` and exits with what it returns.
//! It never holds logic.

/// `docs/decisions/0029-allocator.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    chancery::cli::main()
}
