//! `chancery append`: events from a file or a pipe, in batches, each all or nothing. A few batches
//! are on the way at once, in one line, so that none gets ahead of one before it: where a batch is
//! refused and the run stops, nothing behind it is in the log. Memory stays bounded by those
//! batches and a short queue, whatever the file's size; a slow pipe is committed after a short
//! wait, so that nothing hangs back. Every event is counted: accepted, duplicate, or refused with
//! its line and a code.

pub(crate) mod feed;
mod tally;

use crate::base::event::{Draft, Event};
use crate::base::refusal::Refusal;
use crate::cli::args::record::Append;
use crate::cli::cmd::append::feed::{Fed, Feed};
use crate::cli::cmd::append::tally::Tally;
use crate::cli::cmd::lines::Piece;
use crate::cli::error::Failure;
use crate::cli::output::Progress;
use crate::cli::output::escape::json_line;
use crate::cli::run::Context;
use crate::policy::classify::{Policies, Scratch};
use crate::vault::Vault;
use crate::vault::append::Receipt;
use crate::vault::error::Error as VaultError;
use crate::vault::line::{Line, Waiting};
use anyhow::Result;
use serde_json::json;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Batches on the way at once: the disk and every thread have work while one is waited for.
const ON_THE_WAY: usize = 4;
/// Times a full pool is waited out, and for how long each.
const BUSY_TRIES: u32 = 50;
const BUSY_WAIT: Duration = Duration::from_millis(100);
/// One run.
struct Run<'r> {
    vault: &'r Vault,
    policies: &'r Policies,
    source: &'r str,
    partial: bool,
    tally: Tally,
    receipts: Option<(&'r Path, BufWriter<File>)>,
    progress: &'r Progress,
    scratch: Scratch,
    line: Line<'r>,
    /// Batches in the order of the input, the oldest first.
    on_the_way: VecDeque<Batch<'r>>,
}

/// A batch as it was read, and where it is.
struct Batch<'r> {
    pieces: Vec<Piece>,
    /// What may not be stored as it stands: place among the pieces, and why.
    bad: Vec<(usize, Refusal)>,
    /// None when it was not sent off.
    waiting: Option<Waiting<'r>>,
}

impl Batch<'_> {
    fn good(&self) -> impl Iterator<Item = &Piece> {
        let bad = |at: &usize| self.bad.binary_search_by_key(at, |(at, _)| *at).is_ok();
        self.pieces.iter().enumerate().filter(move |(at, _)| !bad(at)).map(|(_, piece)| piece)
    }

    fn good_lines(&self) -> Vec<u64> {
        self.good().map(|piece| piece.line).collect()
    }
}

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Append) -> Result<ExitCode> {
    let (input, length) = open_input(&args.file)?;
    let receipts = match &args.receipts {
        Some(path) => {
            let file = File::create(path).map_err(|e| Failure::file(path, &e))?;
            Some((path.as_path(), BufWriter::new(file)))
        }
        None => None,
    };
    let config = context.config()?;
    let vault = context.open_with(&config)?;
    let policies = vault.policies();
    let source = source_name(&policies, args)?;
    // A pipe may stay open for months: what it fills is packed meanwhile. At the end it stops
    // where it is.
    vault.pack_in_background(config.pack_background);
    let progress = Progress::new(&context.out.style, "appending", length);
    let started = Instant::now();
    let mut feed = Feed::start(input)?;
    let size = usize::try_from(args.batch).unwrap_or(1);
    let (tally, ended) = {
        let mut run = Run {
            vault: &vault,
            policies: &policies,
            source: &source,
            partial: args.partial,
            tally: Tally::new(context.global.json),
            receipts,
            progress: &progress,
            scratch: Scratch::default(),
            line: vault.begin_line(),
            on_the_way: VecDeque::new(),
        };
        let ended = run.all(&mut feed, size, context);
        let flushed = run.flush_receipts();
        (run.tally, ended.and_then(|ended| flushed.map(|()| ended)))
    };
    progress.done();
    let ended = ended.and_then(|ended| vault.checkpoint().map(|_| ended).map_err(Into::into));
    if let Some(why) = vault.packing().failed {
        context.note("PACK_FAILED", &why);
    }
    drop(vault);
    tally.conclude(context, ended, started.elapsed())
}

/// The events are durable, their receipts are not written.
fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    let message = format!(
        "{}: {error}; what the vault acknowledged is safe; send the same events again, and their \
         receipts come again",
        path.display()
    );
    Failure::failed("OUTPUT_IO", message)
}

pub(crate) fn open_input(path: &Path) -> Result<(Box<dyn Read + Send>, u64)> {
    if path == Path::new("-") {
        return Ok((Box::new(std::io::stdin()), 0));
    }
    let file = File::open(path).map_err(|e| Failure::file(path, &e))?;
    let meta = file.metadata().map_err(|e| Failure::file(path, &e))?;
    if meta.is_dir() {
        let message = format!("{} is a directory; name a file of events", path.display());
        return Err(Failure::usage("FILE_IO", message).into());
    }
    Ok((Box::new(file), meta.len()))
}

/// Name under which the events are stored: it selects the mapping.
fn source_name(policies: &Policies, args: &Append) -> Result<String> {
    let mapping = args.mapping.as_deref();
    if let Some(mapping) = mapping
        && policies.source(mapping).is_none_or(|found| *found.name != *mapping)
    {
        let message = "no mapping of that name in policies/sources; nothing was appended";
        return Err(Failure::usage("SOURCE_UNKNOWN", message).into());
    }
    let plain = |name: &str| {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
        !name.is_empty() && name.len() <= 128 && name.chars().all(good)
    };
    if args.source.as_deref().is_some_and(|source| !plain(source)) {
        let message = "--source: 1 to 128 characters of letters, digits, `.` `_` `-` `/`";
        return Err(Failure::usage("SOURCE_NAME", message).into());
    }
    Ok(match (mapping, args.source.as_deref()) {
        (None, None) => "canonical".to_owned(),
        (None, Some(source)) => source.to_owned(),
        (Some(mapping), None) => mapping.to_owned(),
        (Some(mapping), Some(source)) => {
            let own = policies.source(source).is_some_and(|found| *found.name == *mapping);
            if own { source.to_owned() } else { format!("{mapping}/{source}") }
        }
    })
}

impl<'r> Run<'r> {
    /// Appends what the feed gives. Returns why it ended before the feed did, if so.
    fn all(
        &mut self,
        feed: &mut Feed,
        size: usize,
        context: &Context,
    ) -> Result<Option<&'static str>> {
        let refused = Some("stopped at the first batch with a refused event");
        loop {
            let (pieces, more) = match feed.next(size)? {
                Fed::Batch(pieces, more) => (pieces, more),
                Fed::Nothing => (Vec::new(), true),
            };
            // When nothing comes for a while, what is on the way is durable or refused by now:
            // let it be said.
            let goes_on = match pieces.is_empty() {
                true => self.settle(0)?,
                false => self.take(pieces)?,
            };
            if !goes_on {
                return Ok(refused);
            }
            let stopped = context.stopped();
            if (stopped || !more) && !self.settle(0)? {
                return Ok(refused);
            }
            match (stopped, more) {
                (true, _) => return Ok(Some("interrupted")),
                (false, true) => {}
                (false, false) => return Ok(None),
            }
        }
    }

    /// Sends a batch off. False when something was refused and the run must stop.
    fn take(&mut self, pieces: Vec<Piece>) -> Result<bool> {
        let (events, bad) = read(self.policies, self.source, pieces.iter(), &mut self.scratch);
        let stops = !bad.is_empty() && !self.partial;
        let mut waiting = None;
        let mut tries = BUSY_TRIES;
        while !stops && !events.is_empty() && waiting.is_none() {
            match self.line.submit(&events) {
                Ok(sent) => waiting = Some(sent),
                // Nothing is dropped because the vault is busy.
                Err(VaultError::Overloaded) if !self.on_the_way.is_empty() => {
                    if !self.settle(self.on_the_way.len() - 1)? {
                        return Ok(false);
                    }
                }
                Err(VaultError::Overloaded) if tries > 0 => {
                    tries -= 1;
                    std::thread::sleep(BUSY_WAIT);
                }
                // Said in its turn, when everything before it is settled.
                Err(VaultError::Invalid { .. } | VaultError::Conflict { .. }) => break,
                Err(error) => return Err(error.into()),
            }
        }
        drop(events);
        let sent = waiting.is_some();
        self.on_the_way.push_back(Batch { pieces, bad, waiting });
        // What was not sent off has no place in the line: it is seen to before anything follows.
        self.settle(if sent { ON_THE_WAY - 1 } else { 0 })
    }

    /// Waits until at most `most` batches are on the way, in order. False when the run must stop:
    /// what is still on the way then is not in the log and will not be.
    fn settle(&mut self, most: usize) -> Result<bool> {
        // Batches whose line is broken go in before anything else is sent off.
        while self.on_the_way.len() > if self.is_broken() { 0 } else { most } {
            let Some(batch) = self.on_the_way.pop_front() else { break };
            let bytes: usize = batch.pieces.iter().map(|piece| piece.json.len() + 1).sum();
            if !self.settle_one(batch)? {
                self.on_the_way.clear();
                return Ok(false);
            }
            self.progress.add(bytes as u64);
        }
        Ok(true)
    }

    fn is_broken(&self) -> bool {
        self.on_the_way.iter().any(|batch| batch.waiting.is_none())
    }

    /// Nothing behind the batch at hand will come into the log by the old line.
    fn break_line(&mut self) {
        self.line = self.vault.begin_line();
        self.on_the_way.iter_mut().for_each(|batch| batch.waiting = None);
    }

    fn settle_one(&mut self, mut batch: Batch<'r>) -> Result<bool> {
        for (at, refusal) in &batch.bad {
            let line = batch.pieces.get(*at).map_or(0, |piece| piece.line);
            self.tally.refuse(line, refusal.code, &refusal.to_string());
        }
        let lines = batch.good_lines();
        if !batch.bad.is_empty() && !self.partial {
            self.tally.refused_with_it(lines.len() as u64);
            return Ok(false);
        }
        let (policies, source, mut scratch) = (self.policies, self.source, Scratch::default());
        let Some(waiting) = batch.waiting.take() else {
            let (events, _) = read(policies, source, batch.good(), &mut scratch);
            return self.commit(&lines, events);
        };
        let error = match waiting.wait(|| Ok(read(policies, source, batch.good(), &mut scratch).0))
        {
            Ok(receipts) => return self.accept(&lines, &receipts).map(|()| true),
            Err(error) => error,
        };
        self.break_line();
        let (events, _) = read(policies, source, batch.good(), &mut scratch);
        match error {
            VaultError::Overloaded => self.commit(&lines, events),
            VaultError::Invalid { .. } | VaultError::Conflict { .. } => {
                self.halve(&lines, events, &error)
            }
            error => Err(error.into()),
        }
    }

    /// Commits classified events, one batch at a time.
    fn commit(&mut self, lines: &[u64], events: Vec<Event<'_>>) -> Result<bool> {
        if events.is_empty() {
            return Ok(true);
        }
        match self.append(&events) {
            Ok(receipts) => self.accept(lines, &receipts).map(|()| true),
            Err(error @ (VaultError::Invalid { .. } | VaultError::Conflict { .. })) => {
                self.halve(lines, events, &error)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Halves what is refused until the bad ones stand alone; without `--partial` it is refused
    /// whole.
    fn halve(
        &mut self,
        lines: &[u64],
        mut left: Vec<Event<'_>>,
        error: &VaultError,
    ) -> Result<bool> {
        if left.len() == 1 {
            let line = lines.first().copied().unwrap_or(0);
            self.tally.refuse(line, error.code(), &error.to_string());
            return Ok(self.partial);
        }
        if !self.partial {
            let from = lines.first().copied().unwrap_or(0);
            self.tally.refuse(from, error.code(), &format!("batch from this line: {error}"));
            self.tally.refused_with_it(lines.len() as u64 - 1);
            return Ok(false);
        }
        let right = left.split_off(left.len() / 2);
        let (first, second) = lines.split_at(left.len());
        self.commit(first, left)?;
        self.commit(second, right)
    }

    /// Waits out a full pool: nothing is dropped because the vault is busy.
    fn append(&self, events: &[Event<'_>]) -> std::result::Result<Vec<Receipt>, VaultError> {
        for _ in 0..BUSY_TRIES {
            match self.vault.append_events(events.to_vec()) {
                Err(VaultError::Overloaded) => std::thread::sleep(BUSY_WAIT),
                other => return other,
            }
        }
        self.vault.append_events(events.to_vec())
    }

    fn accept(&mut self, lines: &[u64], receipts: &[Receipt]) -> Result<()> {
        receipts.iter().for_each(|receipt| self.tally.accepted(receipt));
        for (line, receipt) in lines.iter().zip(receipts) {
            if let Some((path, file)) = &mut self.receipts {
                let value = json!({
                    "line": line,
                    "index": receipt.index.0,
                    "time": receipt.time.to_string(),
                    "leaf": receipt.leaf.to_string(),
                    "duplicate": receipt.duplicate,
                    "checkpoint": &*receipt.checkpoint,
                });
                writeln!(file, "{}", json_line(&value)).map_err(|e| unwritten(path, &e))?;
            }
        }
        Ok(())
    }

    fn flush_receipts(&mut self) -> Result<()> {
        match &mut self.receipts {
            Some((path, file)) => Ok(file.flush().map_err(|e| unwritten(path, &e))?),
            None => Ok(()),
        }
    }
}

/// Reads pieces: the events, and what may not be stored as it stands by its place.
fn read<'p>(
    policies: &Policies,
    source: &'p str,
    pieces: impl Iterator<Item = &'p Piece>,
    scratch: &mut Scratch,
) -> (Vec<Event<'p>>, Vec<(usize, Refusal)>) {
    let mut events = Vec::with_capacity(pieces.size_hint().1.unwrap_or(0));
    let mut bad = Vec::new();
    for (at, piece) in pieces.enumerate() {
        let read = match piece.too_large {
            true => Err(Refusal::new("EVENT_TOO_LARGE", "send documents elsewhere")
                .limit(crate::base::limits::EVENT_BYTES_MAX as u64)),
            false => policies.event(Draft { source, json: &piece.json }, scratch),
        };
        match read {
            Ok(event) => events.push(event),
            Err(refusal) => bad.push((at, refusal)),
        }
    }
    (events, bad)
}
