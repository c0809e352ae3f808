//! Speed: one workload, every way of hashing this CPU has, in turns, so that the ratios hold
//! whatever else the machine does. Events of 589 bytes on average over 10,000 persons, four values
//! sealed and the rest as `data`, batches of 1,000, durable; seals, tiles and index run. Where the
//! time goes is told by stage and by thread. It checks its input and never judges its numbers.

use crate::base::event::Draft;
use crate::base::refusal::Refusal;
use crate::cli::bench::{Numbers, Plan, fresh_using, median};
use crate::cli::demo::corpus::{EVENT_BYTES, SUBJECTS, corpus};
use crate::crypto::lanes::{Backend, Lanes};
use crate::format::json::Tape;
use crate::policy::classify::{Policies, Scratch};
use crate::vault::append::Pending;
use crate::vault::error::Result;
use crate::vault::{Vault, World};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Events of the corpus; beyond it the same events come from a further source.
const CORPUS: usize = 200_000;
/// Events of a batch.
const BATCH: usize = 1_000;
/// Clients at once.
const CLIENTS: u64 = 2;
/// Batches of one client on the way at once.
const ON_THE_WAY: usize = 4;
/// Times a client can send the corpus, each time from another source: hours at any speed.
const ROUNDS: u64 = 10_000;
/// Turns of each way of hashing; the median counts.
const TURNS: usize = 3;
/// Sealed fields of each event: four values and `data`.
const FIELDS: usize = 5;
/// Ticks of thread times a second, as Linux counts them for user space.
const TICKS: f64 = 100.0;

/// Seconds of CPU by thread number and name.
type ThreadTimes = BTreeMap<(String, String), f64>;

/// What clients have done.
type Filled = (u64, u64, ThreadTimes);

/// One way of hashing with its vault.
struct Runner {
    lanes: Lanes,
    vault: Vault,
    rates: Vec<f64>,
    events: u64,
    /// Seconds of CPU by thread name.
    cpu: BTreeMap<String, f64>,
    lag: f64,
}

/// Measures and keeps the numbers.
///
/// # Errors
/// Those of the vault; `Invalid` when the corpus is not what it claims to be.
pub fn run(world: &World, plan: &Plan<'_>, numbers: &mut Numbers) -> Result<()> {
    let events = corpus(1, CORPUS);
    check(&events, numbers)?;
    let time = Duration::from_secs_f64(f64::from(plan.seconds) / TURNS as f64);
    let mut runners = Vec::new();
    for backend in Backend::available() {
        let Some(lanes) = Lanes::with(backend) else { continue };
        runners.push(Runner::start(world, &plan.dir.join(lanes.name()), lanes, &events)?);
    }
    for turn in 0..TURNS {
        for runner in &mut runners {
            runner.turn(&events, turn, time)?;
        }
    }
    let stock = runners.iter_mut().find(|r| r.lanes.backend() == Backend::Portable);
    let stock = stock.map_or(0.0, |runner| median(&mut runner.rates));
    for runner in &mut runners {
        runner.report(stock, numbers);
    }
    Ok(())
}

/// Refuses to measure another workload than the one named, and times reading alone.
fn check(events: &[String], numbers: &mut Numbers) -> Result<()> {
    let bad = |what| Refusal::new("BENCH_CORPUS", "mend cli/demo/corpus").field(what);
    let bytes = events.iter().map(String::len).sum::<usize>() as f64 / events.len() as f64;
    if (bytes - EVENT_BYTES as f64).abs() > 1.0 {
        return Err(bad("bytes").into());
    }
    let policies = Policies::parse(&crate::policy::default_files())
        .map_err(|_| Refusal::new("BENCH_CORPUS", "mend policies"))?;
    let mut scratch = Scratch::default();
    let mut persons = HashSet::new();
    let (mut tape, mut scan, mut read) = (Tape::new(), Duration::ZERO, Duration::ZERO);
    for chunk in events.chunks(BATCH) {
        let start = Instant::now();
        for text in chunk {
            tape.scan(text.as_bytes())?;
        }
        let between = Instant::now();
        let mut taken = Vec::with_capacity(BATCH);
        for text in chunk {
            let draft = Draft { source: "canonical/speed", json: text.as_bytes() };
            taken.push(policies.event(draft, &mut scratch)?);
        }
        scan += between - start;
        read += between.elapsed();
        for event in &taken {
            let fields: usize = event.groups.iter().map(|group| group.fields.len()).sum();
            if event.groups.len() != 1 || fields != FIELDS || event.subjects.len() != 1 {
                return Err(bad("fields").into());
            }
            persons.extend(event.subjects.iter().flat_map(|s| s.identifiers.clone()));
        }
    }
    if persons.len() as u64 != SUBJECTS {
        return Err(bad("persons").into());
    }
    let each = |time: Duration| time.as_secs_f64() * 1e9 / events.len() as f64;
    numbers.insert("speed.event_bytes".to_owned(), bytes);
    numbers.insert("speed.scan.ns_per_event".to_owned(), each(scan));
    numbers.insert("speed.classify.ns_per_event".to_owned(), each(read) - each(scan));
    Ok(())
}

impl Runner {
    /// Opens a vault and makes every person known, so that turns measure appends.
    fn start(world: &World, dir: &Path, lanes: Lanes, events: &[String]) -> Result<Self> {
        let (vault, _) = fresh_using(world, dir, lanes)?;
        for chunk in events.get(..SUBJECTS as usize).unwrap_or_default().chunks(BATCH) {
            vault.append(&drafts("canonical/persons", chunk))?;
        }
        let cpu = BTreeMap::new();
        Ok(Runner { lanes, vault, rates: Vec::new(), events: 0, cpu, lag: 0.0 })
    }

    /// One turn; then waits until index and seals have followed, which takes the lag's time.
    fn turn(&mut self, events: &[String], turn: usize, time: Duration) -> Result<()> {
        self.vault.settle();
        let (before, start) = (thread_times(), Instant::now());
        let (count, counted, after) = fill(&self.vault, events, turn, time)?;
        self.rates.push(count as f64 / start.elapsed().as_secs_f64());
        self.events += counted;
        for (thread, seconds) in after {
            let spent = seconds - before.get(&thread).copied().unwrap_or(0.0);
            *self.cpu.entry(thread.1).or_default() += spent;
        }
        let start = Instant::now();
        self.vault.settle();
        self.lag = self.lag.max(start.elapsed().as_secs_f64());
        Ok(())
    }

    fn report(&mut self, stock: f64, numbers: &mut Numbers) {
        let name = format!("speed.{}", self.lanes.name());
        let rate = median(&mut self.rates);
        let (low, high) = (self.rates.first().copied(), self.rates.last().copied());
        let mut put = |key: &str, value: f64| numbers.insert(format!("{name}.{key}"), value);
        put("events_per_s", rate);
        put("events_per_s.low", low.unwrap_or(0.0));
        put("events_per_s.high", high.unwrap_or(0.0));
        put("times_stock", rate / stock.max(1.0));
        put("index_lag_s", self.lag);
        let events = self.events.max(1) as f64;
        for (thread, seconds) in &self.cpu {
            put(&format!("cpu.{thread}.ns_per_event"), seconds * 1e9 / events);
        }
        put("cpu.total.ns_per_event", self.cpu.values().sum::<f64>() * 1e9 / events);
        let all = self.vault.size().0.max(1) as f64;
        put("events_per_commit", all / self.vault.meter().commits().max(1) as f64);
        for (stage, nanos) in self.vault.meter().nanos() {
            put(&format!("stage.{}.ns_per_event", stage.name()), nanos as f64 / all);
        }
    }
}

fn drafts<'a>(source: &'a str, chunk: &'a [String]) -> Vec<Draft<'a>> {
    chunk.iter().map(|text| Draft { source, json: text.as_bytes() }).collect()
}

/// Appends for a while from several clients; returns events made durable, and those of them
/// until clients were told to stop, with the threads' times then.
fn fill(vault: &Vault, events: &[String], turn: usize, time: Duration) -> Result<Filled> {
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let named = |client| (0..ROUNDS).map(move |n| format!("canonical/speed-{turn}-{client}-{n}"));
    let sources: Vec<Vec<String>> = (0..CLIENTS).map(|client| named(client).collect()).collect();
    std::thread::scope(|scope| {
        let client = |number: u64| {
            let (done, stop) = (&done, &stop);
            let sources = sources.get(number as usize).map_or(&[][..], Vec::as_slice);
            move || -> Result<()> {
                let mut waiting: VecDeque<Pending<'_, '_>> = VecDeque::new();
                for source in sources {
                    for chunk in events.chunks(BATCH) {
                        if stop.load(Ordering::Relaxed) {
                            for pending in waiting {
                                done.fetch_add(pending.wait()?.len() as u64, Ordering::Relaxed);
                            }
                            return Ok(());
                        }
                        waiting.push_back(vault.submit(&drafts(source, chunk))?);
                        if waiting.len() >= ON_THE_WAY
                            && let Some(first) = waiting.pop_front()
                        {
                            done.fetch_add(first.wait()?.len() as u64, Ordering::Relaxed);
                        }
                    }
                }
                Ok(())
            }
        };
        let named = |number: u64| {
            let builder = std::thread::Builder::new().name("client".to_owned());
            builder.spawn_scoped(scope, client(number))
        };
        let clients: Vec<_> = (0..CLIENTS).filter_map(|number| named(number).ok()).collect();
        std::thread::sleep(time);
        let counted = (done.load(Ordering::Relaxed), thread_times());
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap_or(Ok(()))?;
        }
        Ok((done.load(Ordering::Relaxed), counted.0, counted.1))
    })
}

/// Seconds of CPU of each thread of this process, by number and name; empty where not told.
fn thread_times() -> ThreadTimes {
    let mut times = BTreeMap::new();
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return times };
    for thread in threads.filter_map(|thread| thread.ok()) {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let Some((number, rest)) = stat.split_once(" (") else { continue };
        let Some((name, rest)) = rest.rsplit_once(") ") else { continue };
        let ticks = rest.split(' ').skip(11).take(2).filter_map(|t| t.parse::<f64>().ok());
        times.insert((number.to_owned(), name.to_owned()), ticks.sum::<f64>() / TICKS);
    }
    times
}
