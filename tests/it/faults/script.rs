//! The story that is told while calls fail: commands of the built program, one process each, and
//! the state of the home directory before each of them. The vault was begun twelve days ago and
//! keeps ordinary events for seven days, so that an expiry is due today.

use crate::faults::judge::{run_args, run_step};
use crate::support::clinic::{Visit, append};
use crate::support::world::{HandClock, config};
use chancery::base::unit::{NANOS_PER_DAY, UtcNanos};
use chancery::base::world::Clock;
use chancery::cli::world::{OsClock, OsEntropy};
use chancery::policy::default_files;
use chancery::store::disk::OsDisk;
use chancery::vault::{Vault, World};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// One command of the story.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) args: &'static [&'static str],
    /// Exit codes of the same command when the first one had done its work after all.
    pub(crate) again: &'static [&'static str],
    /// What it writes for an outsider: whole and verifiable, or not there.
    pub(crate) artefacts: &'static [&'static str],
    /// Whether it writes into the vault.
    pub(crate) writes: bool,
}

/// Events of the first and of the second append, and those of the last twelve days before.
pub(crate) const EVENTS: [u64; 3] = [4, 3, 5];
/// Who is erased, and what was said of nobody else.
pub(crate) const ERASED: &str = "Quellmalz";
/// What no error may repeat.
pub(crate) const SECRETS: [&str; 4] = ["-end", "clinic.example", "Quellmalz", "nurse-7"];

const TWO: [&str; 4] = ["--requested-by", "dana", "--approved-by", "omar"];

const fn step(
    name: &'static str,
    args: &'static [&'static str],
    again: &'static [&'static str],
    artefacts: &'static [&'static str],
) -> Step {
    Step { name, args, again, artefacts, writes: true }
}

/// The story.
pub(crate) const STEPS: [Step; 10] = [
    step("append", &["append", "first", "--source", "ehr", "--receipts", "receipts-1"], &[], &[]),
    step(
        "link",
        &[
            "subject",
            "link",
            "patient_id:Quellmalz",
            "email:a@b.example",
            TWO[0],
            TWO[1],
            TWO[2],
            TWO[3],
        ],
        &[],
        &[],
    ),
    step(
        "hold",
        &["hold", "set", "--case", "C1", "--subject", "patient_id:Other", "--requested-by", "dana"],
        &[],
        &[],
    ),
    step(
        "release",
        &["hold", "release", "--case", "C1", TWO[0], TWO[1], TWO[2], TWO[3]],
        &["HOLD_UNKNOWN"],
        &[],
    ),
    step(
        "erase",
        &[
            "subject",
            "erase",
            "patient_id:Quellmalz",
            "--receipt",
            "erasure",
            TWO[0],
            TWO[1],
            TWO[2],
            TWO[3],
        ],
        &["SUBJECT_UNKNOWN", "FILE_EXISTS"],
        &["erasure"],
    ),
    step("expire", &["retain", "run"], &[], &[]),
    step(
        "append again",
        &["append", "second", "--source", "ehr", "--receipts", "receipts-2"],
        &[],
        &[],
    ),
    Step { writes: false, ..step("checkpoint", &["checkpoint", "--out", "note"], &[], &["note"]) },
    Step {
        writes: false,
        ..step(
            "report",
            &["report", "gdpr", "--by", "officer", "--out", "report"],
            &["REPORT_EXISTS"],
            &["report"],
        )
    },
    Step {
        writes: false,
        ..step("export", &["export", "cef", "--out", "day.cef"], &["EXPORT_EXISTS"], &[])
    },
];

/// Step after which the person is gone, and after which the first days are.
pub(crate) const ERASE: usize = 4;
pub(crate) const EXPIRE: usize = 5;

fn visits(from: u64, count: u64) -> Vec<Visit> {
    (from..from + count)
        .map(|seq| {
            let class = if seq % 3 == 0 { "6y" } else { "1y" };
            Visit::new(seq, "nurse-7", if seq % 2 == 0 { ERASED } else { "Other" }).class(class)
        })
        .collect()
}

fn lines(visits: &[Visit]) -> String {
    visits.iter().map(|visit| visit.json() + "\n").collect()
}

/// A home whose vault began twelve days ago.
pub(crate) fn base() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let mut policies = default_files();
    let classes = policies.get_mut("classes.toml").unwrap();
    *classes = classes.replace("default = \"1y\"", "default = \"7d\"");
    for (name, text) in &policies {
        let path = home.join("policies").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    // What a worker in the background does to files differs from run to run.
    std::fs::write(home.join("chancery.toml"), "[pack]\nbackground = false\n").unwrap();
    let mut config = config(home);
    config.data = home.join("chancery-data");
    config.policies = policies;
    config.index_on_disk = true;
    let now = OsClock::start().wall().0;
    for (days, first) in [(12, true), (6, false)] {
        let then = UtcNanos(now - days * NANOS_PER_DAY).to_string();
        let clock = HandClock::at(&then);
        let (disk, entropy) = (Arc::new(OsDisk), Arc::new(OsEntropy::new()));
        let world = World { disk, clock, entropy };
        let vault = match first {
            true => Vault::init(world, &config, "vault.example").unwrap(),
            false => Vault::open(world, &config).unwrap(),
        };
        let count = if first { 3 } else { 2 };
        append(&vault, &visits(if first { 1 } else { 4 }, count)).unwrap();
        vault.checkpoint().unwrap();
        vault.settle();
    }
    std::fs::write(home.join("first"), lines(&visits(6, EVENTS[0]))).unwrap();
    // Two of these come again; after the erasure their contents cannot be compared any more.
    std::fs::write(home.join("second"), lines(&visits(10, EVENTS[1]))).unwrap();
    dir
}

/// The home before each step, and after the last.
pub(crate) fn states() -> Vec<TempDir> {
    let mut states = vec![base()];
    let trust = run_args(states[0].path(), &["keys", "trust", "--out", "trust"], &[]);
    assert_eq!(trust.code, 0, "{}{}", trust.out, trust.err);
    for step in &STEPS {
        let next = tempfile::tempdir().unwrap();
        copy(states.last().unwrap().path(), next.path());
        let ran = run_step(next.path(), step, &[]);
        assert_eq!(ran.code, 0, "{}: {}{}", step.name, ran.out, ran.err);
        states.push(next);
    }
    states
}

/// Copies a directory with its permissions.
pub(crate) fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            std::fs::create_dir(&target).unwrap();
            std::fs::set_permissions(&target, path.metadata().unwrap().permissions()).unwrap();
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
