//! `cargo bench`: the same measurements as `chancery bench`, printed as one table.
//! It never asserts a time.
#![allow(clippy::print_stdout, clippy::expect_used, missing_docs)]

use chancery::base::unit::UtcNanos;
use chancery::base::world::{Clock, Entropy};
use chancery::cli::bench;
use chancery::store::disk::OsDisk;
use chancery::vault::World;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

struct BenchClock(Instant);
impl Clock for BenchClock {
    fn wall(&self) -> UtcNanos {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        UtcNanos(since.map_or(0, |s| s.as_nanos() as u64))
    }
    fn monotonic(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}
struct BenchEntropy;
impl Entropy for BenchEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("entropy");
    }
}

fn main() {
    let world = World {
        disk: Arc::new(OsDisk),
        clock: Arc::new(BenchClock(Instant::now())),
        entropy: Arc::new(BenchEntropy),
    };
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
