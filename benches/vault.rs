//! `cargo bench`: the same measurements as `chancery bench`, printed as one table.
//! It never asserts a time.
#![allow(clippy::print_stdout, clippy::expect_used, missing_docs)]

use chancery::cli::bench;
use chancery::cli::world::world;

fn main() {
    let world = world();
    let dir = std::env::temp_dir().join(format!("chancery-bench-{}", std::process::id()));
    let only: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let plan = bench::Plan { dir: &dir, seconds: 9, subjects: 100_000, only: &only };
    let numbers = bench::run(&world, &plan, &mut |what| println!("{what}")).expect("bench");
    println!("cpu.features {}", bench::cpu_features());
    for (key, value) in numbers {
        println!("{key:40} {value:>14.2}");
    }
    let _ = std::fs::remove_dir_all(&dir);
}
