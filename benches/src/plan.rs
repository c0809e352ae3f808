//! What is run, in which order: in every round each system once, the first one another every
//! time; then medians, spreads and ratios.

use crate::args::{Args, names, numbers};
use crate::cell::{Cell, quantile};
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Batch, clients and batches on the way of the workload that the ways of hashing are compared on.
const HASHED: (usize, usize, usize) = (1_000, 2, 4);

/// The part that starts the service.
const HTTP: &str = "http";
/// Batch and clients of what is measured through it: those of the targets.
const SERVED: [(usize, usize); 2] = [(1_000, 8), (1, 100)];

/// One system of a row group: how it is called, what it runs as, and what it is compared with.
struct Runner {
    name: String,
    system: String,
    program: PathBuf,
    base: String,
}

/// Runs this program, or its twin, as a child, and returns its answer.
pub(crate) fn child(program: &Path, act: &str, spec: Option<&Value>) -> Result<Value> {
    let mut command = Command::new(program);
    command.arg(act).args(spec.map(Value::to_string));
    let out = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(
        out.status.success(),
        "{act} {} ended with {}",
        spec.unwrap_or(&Value::Null),
        out.status
    );
    let answer = String::from_utf8(out.stdout)?;
    serde_json::from_str(&answer).with_context(|| format!("{act} answered `{answer}`"))
}

#[allow(clippy::print_stderr)]
fn note(text: &str) {
    eprintln!("{text}");
}

/// Every batch size by every number of clients by every system.
pub(crate) fn cells(args: &Args, dir: &Path) -> Result<Vec<Value>> {
    let me = std::env::current_exe()?;
    let named = |name: String| Runner {
        system: name.clone(),
        name,
        program: me.clone(),
        base: args.baseline.clone(),
    };
    let runners: Vec<Runner> = names(&args.systems).into_iter().map(named).collect();
    let mut rows = Vec::new();
    for batch in numbers(&args.batches)? {
        for clients in numbers(&args.clients)? {
            note(&format!("batches of {batch}, {clients} clients"));
            let shape = (batch as usize, clients as usize, 1);
            rows.extend(group(args, dir, shape, &runners)?);
        }
    }
    Ok(rows)
}

/// The ways of hashing this CPU has, and with a twin those it would have without the SHA
/// extensions.
pub(crate) fn hashing(args: &Args, dir: &Path, twin: Option<&Path>) -> Result<Vec<Value>> {
    if !args.hashing {
        return Ok(Vec::new());
    }
    note("ways of hashing");
    let (me, lanes) = (std::env::current_exe()?, chancery::cli::bench::cpu_features());
    let mut runners = Vec::new();
    for lane in names(&lanes) {
        let system = format!("chancery:{lane}");
        let (name, base) = (system.clone(), "chancery:portable".to_owned());
        runners.push(Runner { name, system: system.clone(), program: me.clone(), base });
        if let Some(twin) = twin.filter(|_| lane != "shani-x2") {
            let (name, base) =
                (format!("{system}, no SHA"), "chancery:portable, no SHA".to_owned());
            runners.push(Runner { name, system, program: twin.to_owned(), base });
        }
    }
    group(args, dir, HASHED, &runners)
}

/// The service, plain and TLS, beside the vault in the process.
pub(crate) fn http(args: &Args, dir: &Path) -> Result<Vec<Value>> {
    if !names(&args.parts).iter().any(|part| part == HTTP) {
        return Ok(Vec::new());
    }
    let me = std::env::current_exe()?;
    let runner = |name: &str| Runner {
        name: name.to_owned(),
        system: name.to_owned(),
        program: me.clone(),
        base: "chancery".to_owned(),
    };
    let runners = ["chancery", "http", "https"].map(runner);
    let mut rows = Vec::new();
    for (batch, clients) in SERVED {
        note(&format!("served, batches of {batch}, {clients} clients"));
        rows.extend(group(args, dir, (batch, clients, 1), &runners)?);
    }
    Ok(rows)
}

/// One row group: rounds in which the systems take turns.
fn group(
    args: &Args,
    dir: &Path,
    (batch, clients, on_way): (usize, usize, usize),
    runners: &[Runner],
) -> Result<Vec<Value>> {
    let mut answers: Vec<Vec<Value>> = runners.iter().map(|_| Vec::new()).collect();
    for round in 0..args.runs as usize {
        for turn in 0..runners.len() {
            let at = (round + turn) % runners.len();
            let (Some(runner), Some(told)) = (runners.get(at), answers.get_mut(at)) else {
                continue;
            };
            let own = dir.join("cell");
            let _ = std::fs::remove_dir_all(&own);
            std::fs::create_dir_all(&own)?;
            let cell = Cell {
                system: runner.system.clone(),
                batch,
                clients,
                on_way,
                seconds: args.seconds,
                corpus: args.corpus as usize,
                seed: args.seed,
                dir: own.clone(),
                program: args.program.clone().map_or_else(std::env::current_exe, Ok)?,
            };
            told.push(child(&runner.program, "cell", Some(&cell.spec()))?);
            let _ = std::fs::remove_dir_all(&own);
        }
    }
    let rate = |name: &str| {
        let at = runners.iter().position(|runner| runner.name == name)?;
        answers.get(at).map(|answers| middle(answers, "events_per_s"))
    };
    let rows = runners.iter().zip(&answers).map(|(runner, answers)| {
        let mut row = row(answers);
        let own = middle(answers, "events_per_s");
        row.insert("system".to_owned(), json!(runner.name));
        row.insert("batch".to_owned(), json!(batch));
        row.insert("clients".to_owned(), json!(clients));
        row.insert("on_way".to_owned(), json!(on_way));
        row.insert("base".to_owned(), json!(runner.base));
        let times = rate(&runner.base).filter(|base| *base > 0.0).map(|base| own / base);
        row.insert("times_base".to_owned(), json!(times));
        Value::Object(row)
    });
    Ok(rows.collect())
}

/// Medians of what runs answered, and the spread of their rates.
fn row(answers: &[Value]) -> Map<String, Value> {
    let first = answers.first().and_then(Value::as_object);
    let mut row = Map::new();
    for key in first.into_iter().flat_map(Map::keys) {
        row.insert(key.clone(), json!(middle(answers, key)));
    }
    let rates = sorted(answers, "events_per_s");
    row.insert("events_per_s_low".to_owned(), json!(rates.first()));
    row.insert("events_per_s_high".to_owned(), json!(rates.last()));
    row.insert("ns_per_event".to_owned(), json!(1e9 / middle(answers, "events_per_s").max(1e-9)));
    row
}

fn sorted(answers: &[Value], key: &str) -> Vec<f64> {
    let values = answers.iter().filter_map(|a| a.get(key).and_then(Value::as_f64));
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn middle(answers: &[Value], key: &str) -> f64 {
    quantile(&sorted(answers, key), 0.5)
}

/// The further measurements; erasing once for each number of subjects.
pub(crate) fn parts(args: &Args, dir: &Path) -> Result<Vec<Value>> {
    let (me, mut found) = (std::env::current_exe()?, Vec::new());
    let seconds = (args.seconds * f64::from(args.runs)).ceil().max(1.0) as u64;
    for part in names(&args.parts).into_iter().filter(|part| part != HTTP) {
        let subjects = match part.as_str() {
            "erase" => numbers(&args.subjects)?,
            _ => vec![10_000],
        };
        for subjects in subjects {
            note(&format!("{part}, {subjects} subjects"));
            let own = dir.join("part");
            let spec = json!({"part": part, "dir": own, "seconds": seconds, "subjects": subjects});
            let numbers = child(&me, "part", Some(&spec))?;
            let _ = std::fs::remove_dir_all(&own);
            found.push(json!({"part": part, "subjects": subjects, "numbers": numbers}));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_medians_with_their_spread() {
        let answers: Vec<Value> = [30.0, 10.0, 20.0]
            .map(|rate| json!({"events_per_s": rate, "p99_us": rate * 2.0}))
            .into();
        let row = Value::Object(row(&answers));
        let of = |key: &str| row.get(key).and_then(Value::as_f64);
        assert_eq!((of("events_per_s"), of("p99_us")), (Some(20.0), Some(40.0)));
        assert_eq!((of("events_per_s_low"), of("events_per_s_high")), (Some(10.0), Some(30.0)));
        assert_eq!(of("ns_per_event"), Some(5e7));
    }
}
