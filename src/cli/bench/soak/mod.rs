//! `chancery bench soak`: a process with many writers is killed again and again, at a drawn
//! state, and a checker outside it, which holds every receipt, compares. `--linear` kills nobody:
//! it drives the writers to a number of appends each and checks that there is one linear log.
//! Everything drawn follows from the seed; which state a kill meets does not, since the process
//! has threads. It never touches a vault but its own.

mod book;
mod check;
pub(crate) mod child;
pub(crate) mod leash;
mod round;
mod script;
mod wire;

use crate::base::limits::CLOCK_ACCEPT_DAYS;
use crate::cli::args::make::Soak;
use crate::cli::bench::Numbers;
use crate::cli::bench::soak::book::Book;
use crate::cli::bench::soak::check::Checker;
use crate::cli::bench::soak::child::{config, status_kib, world_ahead};
use crate::cli::bench::soak::round::{End, Life, Orders, Round};
use crate::cli::bench::soak::script::Script;
use crate::cli::bench::soak::wire::Order;
use crate::cli::demo::prng::Dice;
use crate::vault::Vault;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::{Duration, Instant};

/// Lives between two checks of everything.
const WHOLE_EVERY: u64 = 10;
/// Days the clock is ahead at most: a log of years would say nothing more.
const AHEAD_MAX: u64 = 3_000;

/// The numbers of a soak so far.
#[derive(Default)]
struct Sum {
    lives: u64,
    kills: u64,
    kills_opening: u64,
    aborts: u64,
    refusals: u64,
    peak_kib: u64,
    space_kib: u64,
    opening_millis: u64,
}

impl Sum {
    fn add(&mut self, end: End, life: &Life) {
        self.lives += 1;
        self.kills += u64::from(life.killed);
        self.kills_opening += u64::from(end == End::Opening);
        self.aborts += u64::from(life.aborted);
        self.refusals += u64::from(life.refused);
        self.peak_kib = self.peak_kib.max(life.peak_kib);
        self.space_kib = self.space_kib.max(life.space_kib);
        self.opening_millis = self.opening_millis.max(life.opening_millis);
    }
}

/// Runs a soak in `dir`, which must be empty. `say` is told how far it is.
///
/// # Errors
/// What was found to be wrong, with seed and life: then the directory holds the evidence.
pub(crate) fn run(dir: &Path, args: &Soak, say: &mut dyn FnMut(&str)) -> Result<Numbers> {
    let script = Script {
        seed: args.seed,
        people: args.people,
        batch: if args.linear.is_some() { 1 } else { 0 },
    };
    let vault = Vault::init(world_ahead(0), &config(dir), "soak.local")?;
    let mut checker = Checker::new(&vault)?;
    drop(vault);
    let mut book = Book::new(&dir.join("receipts"), script, args.writers)?;
    let started = Instant::now();
    let mut sum = Sum::default();
    let mut ahead = 0;
    let mut dice = Dice::new(args.seed, "soak");
    match args.linear {
        Some(appends) => {
            let mut order = 0;
            let (book, dice) = (&mut book, &mut dice);
            let orders = Orders::None;
            let mut round = Round { dir, book, dice, ahead, orders, order: &mut order };
            let life = round.live(End::Finish(appends))?;
            sum.add(End::Finish(appends), &life);
        }
        None => ahead = lives(dir, args, &mut book, &mut checker, &mut dice, &mut sum, say)?,
    }
    let end = checker.check(dir, ahead, &mut book, &mut dice, true);
    end.with_context(|| format!("at the end, seed {}", args.seed))?;
    ensure!(
        checker.orphans == book.unclaimed,
        "{} events in the log have no receipt, {} may have none",
        checker.orphans,
        book.unclaimed
    );
    if let Some(appends) = args.linear {
        ensure!(book.events == args.writers * appends, "{} events", book.events);
    }
    Ok(numbers(args, &book, &checker, &sum, started.elapsed()))
}

/// Lives and dies until time or number is over, then once in peace; returns days ahead.
fn lives(
    dir: &Path,
    args: &Soak,
    book: &mut Book,
    checker: &mut Checker,
    dice: &mut Dice,
    sum: &mut Sum,
    say: &mut dyn FnMut(&str),
) -> Result<u64> {
    let (started, mut ahead, mut order) = (Instant::now(), 0, 0);
    // Days ahead of the last entry anybody was told of: a vault does not believe a clock more than
    // seven days beyond its log, and a life that is killed early adds nothing to that.
    let mut lived = 0;
    let over = |lives: u64| match (args.minutes, args.lives) {
        (Some(minutes), _) => started.elapsed() >= Duration::from_secs(minutes * 60),
        (None, most) => lives >= most,
    };
    while !over(sum.lives) {
        let end = draw(dice, sum, args.receipts);
        let here = || format!("life {} ({end:?}), seed {}", sum.lives, args.seed);
        let before = book.events;
        let orders = Orders::Drawn;
        let mut round = Round { dir, book, dice, ahead, orders, order: &mut order };
        let life = round.live(end).with_context(here)?;
        if book.events > before {
            lived = ahead;
        }
        // Somebody who was told to be quick may look at the whole less often.
        let whole = sum.lives % WHOLE_EVERY == WHOLE_EVERY - 1;
        checker.check(dir, ahead, book, dice, whole).with_context(here)?;
        sum.add(end, &life);
        ahead = (ahead + dice.below(3)).min(lived + CLOCK_ACCEPT_DAYS - 1).min(AHEAD_MAX);
        if whole {
            say(&format!(
                "{} lives, {} kills, {} events, {} receipts checked",
                sum.lives, sum.kills, book.events, checker.receipts
            ));
        }
    }
    // What was on its way is sent again, so that every event in the log is answered for; and when
    // nobody is held any more, what was kept long enough goes.
    ahead = lived + CLOCK_ACCEPT_DAYS - 1;
    for last in [Order::Free, Order::Expire] {
        let orders = Orders::One(last);
        let mut round = Round { dir, book, dice, ahead, orders, order: &mut order };
        let life = round.live(End::Finish(1)).context("a last life")?;
        sum.add(End::Finish(1), &life);
    }
    Ok(ahead)
}

fn draw(dice: &mut Dice, sum: &Sum, receipts: u64) -> End {
    // The first life says how much address space one takes.
    if sum.space_kib == 0 {
        return End::Peace(receipts);
    }
    let most = dice.between(1, receipts);
    match dice.weighted(&[15, 40, 25, 15, 5]) {
        0 => End::Opening,
        1 => End::After(most),
        2 => End::Ordered(dice.below(12)),
        3 => End::Starved(sum.space_kib * dice.between(40, 110) / 100, most),
        _ => End::Peace(most),
    }
}

fn numbers(args: &Soak, book: &Book, checker: &Checker, sum: &Sum, time: Duration) -> Numbers {
    let reopen = (sum.opening_millis as f64).max(checker.longest.as_secs_f64() * 1e3);
    let numbers = [
        ("seed", args.seed as f64),
        ("writers", args.writers as f64),
        ("seconds", time.as_secs_f64()),
        ("lives", sum.lives as f64),
        ("kills", sum.kills as f64),
        ("kills_while_opening", sum.kills_opening as f64),
        ("aborts_for_memory", sum.aborts as f64),
        ("refusals_for_memory", sum.refusals as f64),
        ("events", book.events as f64),
        ("events_without_receipt", checker.orphans as f64),
        ("duplicates_recognised", book.recognised as f64),
        ("receipts_checked", checker.receipts as f64),
        ("proofs_verified", checker.proofs as f64),
        ("erasures", book.erasures as f64),
        ("erased_records_looked_at", checker.forgotten as f64),
        ("class_days_expired", book.class_days as f64),
        ("longest_reopen_ms", reopen),
        ("writer_peak_mib", sum.peak_kib as f64 / 1024.0),
        ("checker_peak_mib", status_kib("self", "VmHWM:") as f64 / 1024.0),
    ];
    numbers.into_iter().map(|(name, value)| (format!("soak.{name}"), value)).collect()
}
