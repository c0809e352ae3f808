//! Faults of the system under the built program. strace makes one system call fail, one after the
//! other, in every step of a script that appends, links, holds, erases, expires and reports; a
//! limit on file sizes tears writes in the middle. After each fault the plain program does the
//! step again, verifies, and the vault is compared with what the story says: every receipt that
//! was printed stands and is provable, nothing erased comes back, nothing is there twice.
//!
//! `CHANCERY_FAULTS=full` runs every call of every step with both errors; without it each call of
//! each file is tried once with one error, in the one step that has fewest of them.

mod judge;
mod script;
mod trace;

use judge::{Ran, judge, run_step};
use script::{STEPS, Step, base, copy, states};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use trace::{CALLS, Site, sites};

/// What is done to one call.
#[derive(Clone, Debug)]
pub(crate) struct Injection {
    pub(crate) step: usize,
    pub(crate) site: Site,
    pub(crate) action: &'static str,
}

fn full() -> bool {
    std::env::var("CHANCERY_FAULTS").is_ok_and(|v| v == "full")
}

/// Tries every injection on its own copy of the state before its step, on two threads.
/// Returns the failures, and which calls were in fact hit.
fn try_all(states: &[tempfile::TempDir], all: &[Injection]) -> (Vec<String>, Vec<Site>) {
    let next = AtomicUsize::new(0);
    let (bad, hit) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let home = tempfile::tempdir().unwrap();
                    copy(states[one.step].path(), home.path());
                    let step = &STEPS[one.step];
                    let (ran, injected) = trace::inject(home.path(), step, one);
                    if injected > 0 {
                        hit.lock().unwrap().push(one.site.clone());
                    }
                    let result = judge(home.path(), one.step, &ran, injected > 0, one);
                    if let Err(why) = result {
                        let Injection { step, site, action } = one;
                        let name = STEPS[*step].name;
                        let line = format!("{name} {site} {action}: {why}");
                        if std::env::var_os("CHANCERY_FAULTS_KEEP").is_some() {
                            println!("{line}\n   kept in {}", home.keep().display());
                        }
                        bad.lock().unwrap().push(line);
                    }
                }
            });
        }
    });
    (bad.into_inner().unwrap(), hit.into_inner().unwrap())
}

fn report(what: &str, all: &[Injection], (bad, hit): (Vec<String>, Vec<Site>)) {
    let mut by_call: BTreeMap<&str, usize> = BTreeMap::new();
    for one in all {
        *by_call.entry(one.site.call.as_str()).or_default() += 1;
    }
    let (tries, bads) = (all.len(), bad.len());
    println!("{what}: {tries} injections ({by_call:?}), {} calls hit, {bads} bad", hit.len());
    assert!(bad.is_empty(), "{bads} of {tries}:\n{}", bad.join("\n"));
    // A run that hits nothing tests nothing. How often a thread makes a call turns on how the
    // threads share the work, and on a busy machine the later ones of many are not made: so each
    // kind of call on each file is to be hit once at least, one in twenty aside.
    let kind = |site: &Site| (site.call.clone(), site.file.clone());
    let hit: BTreeSet<_> = hit.iter().map(kind).collect();
    let tried: BTreeSet<_> = all.iter().map(|one| kind(&one.site)).collect();
    let missed: Vec<_> = tried.difference(&hit).collect();
    assert!(missed.len() * 20 <= tried.len(), "never hit: {missed:?}");
}

/// Every call of every step, or each kind of call once, where it costs least.
fn plan(states: &[tempfile::TempDir], calls: &str, actions: &[&'static str]) -> Vec<Injection> {
    let listed: Vec<Vec<Site>> =
        STEPS.iter().zip(states).map(|(step, home)| sites(home.path(), step, calls)).collect();
    let mut seen = BTreeSet::new();
    let mut order: Vec<usize> = (0..STEPS.len()).collect();
    order.sort_by_key(|step| listed[*step].len());
    let mut plan = Vec::new();
    for step in order {
        for (number, site) in listed[step].iter().enumerate() {
            let fresh = seen.insert(site.clone());
            for (turn, action) in actions.iter().enumerate() {
                if full() || fresh && turn == (number + step) % actions.len() {
                    plan.push(Injection { step, site: site.clone(), action });
                }
            }
        }
    }
    plan
}

#[test]
#[ignore = "needs strace"]
fn every_call_fails_once_and_nothing_acknowledged_is_lost() {
    let states = states();
    let all = plan(&states, CALLS, &["error=EIO", "error=ENOSPC"]);
    assert!(all.len() > 100, "the listing found {} calls", all.len());
    report("failed calls", &all, try_all(&states, &all));
}

#[test]
#[ignore = "needs strace"]
fn a_write_that_takes_nothing_and_a_call_that_is_interrupted_do_no_harm() {
    let states = states();
    let all = plan(&states, "pwrite64,write", &["retval=0", "error=EINTR"]);
    report("writes of nothing, interrupted calls", &all, try_all(&states, &all));
}

/// A process that gets no further thread says so and ends: whatever it had begun is closed again.
#[test]
#[ignore = "needs strace"]
fn a_thread_that_the_system_refuses_ends_the_command_and_never_hangs_it() {
    let states = states();
    let (number, step) = (0, &STEPS[0]);
    let (mut refused, mut bad) = (0, Vec::new());
    for nth in 1..40 {
        let home = tempfile::tempdir().unwrap();
        copy(states[number].path(), home.path());
        let log = home.path().with_extension("strace");
        let action = format!("inject=clone3,clone:error=EAGAIN:when={nth}");
        // The limit is no measurement: a hang would last for ever.
        let before = ["timeout", "60", "strace", "-f", "-qq", "-o", log.to_str().unwrap()];
        let ran = run_step(home.path(), step, &[&before[..], &["-e", &action]].concat());
        let injected = std::fs::read_to_string(&log).unwrap_or_default().contains("(INJECTED)");
        let _ = std::fs::remove_file(&log);
        if !injected {
            break;
        }
        refused += usize::from(ran.code != 0);
        if let Err(why) = judge::after(home.path(), number, &ran) {
            bad.push(format!("thread {nth}: {why}"));
        }
    }
    println!("threads refused: {refused} runs ended for it, {} bad", bad.len());
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert!(refused >= 5, "{refused} runs met the refusal");
}

/// The shell's limit on file sizes makes the kernel write a part and refuse the rest: the torn
/// write of a full disk, at every kibibyte, without strace.
#[test]
fn a_write_torn_by_a_full_disk_is_recovered() {
    let states = states();
    let mut bad = Vec::new();
    let mut torn = 0;
    for (number, step) in STEPS.iter().enumerate().filter(|(_, step)| step.writes) {
        let top = largest(states[number + 1].path()) / 1024 + 1;
        let every = if full() { 1 } else { 5 };
        for blocks in (number as u64 % every..top.min(40)).step_by(every as usize) {
            let home = tempfile::tempdir().unwrap();
            copy(states[number].path(), home.path());
            let shell = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
            let ran = run_step(home.path(), step, &["bash", "-c", &shell, "-"]);
            torn += usize::from(ran.code != 0);
            if let Err(why) = judge::after(home.path(), number, &ran) {
                bad.push(format!("{} at {blocks} KiB: {why}", step.name));
            }
        }
    }
    println!("torn writes: {torn} runs failed as they should, {} bad", bad.len());
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert!(torn > 10, "the limit stopped {torn} runs only");
}

/// Length of the largest file that is no derived index.
fn largest(dir: &Path) -> u64 {
    let mut most = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("index") {
            most = most.max(largest(&path));
        } else if path.is_file() {
            most = most.max(path.metadata().unwrap().len());
        }
    }
    most
}

#[test]
fn the_script_runs_and_is_judged_well_without_any_fault() {
    let states = states();
    for (number, step) in STEPS.iter().enumerate() {
        let home = tempfile::tempdir().unwrap();
        copy(states[number].path(), home.path());
        let ran = run_step(home.path(), step, &[]);
        assert_eq!(ran.code, 0, "{}: {}{}", step.name, ran.out, ran.err);
        judge::after(home.path(), number, &ran).unwrap();
    }
    // The judge is not blind: a receipt of an entry that never was, and a person who came back.
    let last = states.last().unwrap().path();
    let home = tempfile::tempdir().unwrap();
    copy(last, home.path());
    let path = home.path().join("receipts-1");
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().next().unwrap().replacen("\"leaf\":\"", "\"leaf\":\"00", 1);
    std::fs::write(&path, format!("{line}\n")).unwrap();
    let why = judge::state(home.path(), STEPS.len() - 1).unwrap_err();
    assert!(why.contains("receipt"), "{why}");
    let before = base();
    std::fs::copy(last.join("trust"), before.path().join("trust")).unwrap();
    let why = judge::state(before.path(), STEPS.len() - 1).unwrap_err();
    assert!(why.contains("still tells of the erased"), "{why}");
}

/// A step as the story tells it, for messages.
impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Says why, unless it holds.
pub(crate) fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

/// What a run said, short.
pub(crate) fn said(ran: &Ran) -> String {
    let text = format!("exit {} {}{}", ran.code, ran.out.trim(), ran.err.trim());
    text.chars().take(600).collect()
}
