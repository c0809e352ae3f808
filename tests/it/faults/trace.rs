//! strace: lists the calls of a step below its home, by call and file, and makes the N-th of them
//! fail. strace counts for each thread of its own, so a file is named with `-P`: what different
//! threads do to different files is then told apart.

use crate::faults::Injection;
use crate::faults::judge::{Ran, run_step};
use crate::faults::script::{Step, copy};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Calls that change files, or open them.
pub(crate) const CALLS: &str = "openat,write,pwrite64,writev,fsync,fdatasync,rename,renameat,\
                                renameat2,ftruncate,unlink,unlinkat,fallocate,mkdir";

/// One call: the N-th of its kind by one thread on one file, by its path below the home.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Site {
    pub(crate) call: String,
    pub(crate) file: String,
    pub(crate) nth: usize,
}

impl Site {
    /// A directory that a report is built in has another name in every run: its calls are counted
    /// by kind alone.
    fn nameless(&self) -> bool {
        self.file.is_empty()
    }

    /// What an error must name.
    pub(crate) fn place(&self) -> &str {
        match self.file.as_str() {
            "" | "." => "",
            // What is written beside and renamed is named by its real name.
            file => file.rsplit('/').next().unwrap_or_default().trim_end_matches(".new"),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.call, self.nth, self.file)
    }
}

/// The calls of a step, from a clean run on a copy of the state before it.
pub(crate) fn sites(state: &Path, step: &Step, calls: &str) -> Vec<Site> {
    let home = tempfile::tempdir().unwrap();
    copy(state, home.path());
    let log = home.path().with_extension("strace");
    let trace = format!("trace={calls}");
    let strace = ["strace", "-f", "-y", "-qq", "-o", log.to_str().unwrap(), "-e", &trace];
    let ran = run_step(home.path(), step, &strace);
    assert_eq!(ran.code, 0, "{}: {}{}", step.name, ran.out, ran.err);
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    let mut counts: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    let mut of_kind: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut nameless = Vec::new();
    for (thread, call, path) in text.lines().filter_map(parse) {
        let nth = of_kind.entry((thread.clone(), call.clone())).or_default();
        *nth += 1;
        let Some(file) = path.strip_prefix(home.path().to_str().unwrap()) else { continue };
        // A file that has no name yet is shown as the number of its inode.
        if file.contains(".part-") || file.contains("/#") {
            nameless.push(Site { call, file: String::new(), nth: *nth });
            continue;
        }
        let file = file.trim_start_matches('/');
        let file = if file.is_empty() { "." } else { file };
        *counts.entry((thread, call, file.to_owned())).or_default() += 1;
    }
    let mut most: BTreeMap<(String, String), usize> = BTreeMap::new();
    for ((_, call, file), count) in counts {
        let most = most.entry((call, file)).or_default();
        *most = count.max(*most);
    }
    let sites = |((call, file), count): ((String, String), usize)| {
        (1..=count).map(move |nth| Site { call: call.clone(), file: file.clone(), nth })
    };
    most.into_iter().flat_map(sites).chain(nameless).collect()
}

/// Thread, call and file of a line such as `71 pwrite64(7</vault/x>, "..."..., 12, 0) = 12`.
fn parse(line: &str) -> Option<(String, String, String)> {
    let (thread, rest) = line.split_once(' ')?;
    let (call, args) = rest.trim_start().split_once('(')?;
    if !call.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        return None;
    }
    let path = match call {
        // Of a rename the first path: strace finds no call by a name that is not there yet.
        "rename" | "renameat" | "renameat2" | "openat" | "unlink" | "unlinkat" | "mkdir" => {
            args.split('"').nth(1)?
        }
        _ => args.split_once('<')?.1.split_once('>')?.0,
    };
    Some((thread.to_owned(), call.to_owned(), path.to_owned()))
}

/// Runs a step while its call fails. Returns how often strace says it did.
pub(crate) fn inject(home: &Path, step: &Step, what: &Injection) -> (Ran, usize) {
    let log = home.with_extension("strace");
    let Site { call, file, nth } = &what.site;
    let action = format!("inject={call}:{}:when={nth}", what.action);
    let path = if file == "." { home.to_owned() } else { home.join(file) };
    let trace = format!("trace={call}");
    let (log_name, path) = (log.to_str().unwrap(), path.to_str().unwrap());
    let mut strace = vec!["strace", "-f", "-y", "-qq", "-o", log_name, "-e", &trace, "-e", &action];
    if !what.site.nameless() {
        strace.extend(["-P", path]);
    }
    let ran = run_step(home, step, &strace);
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let _ = std::fs::remove_file(&log);
    (ran, text.matches("(INJECTED)").count())
}
