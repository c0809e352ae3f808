//! One life of the process that writes: started, fed with orders, ended. How it ends is drawn
//! beforehand and happens at a state, never after a time: while it opens, after so many receipts,
//! in the middle of an erasure, by a limit on its memory, or in peace.

use crate::cli::bench::soak::book::Book;
use crate::cli::bench::soak::child::status_kib;
use crate::cli::bench::soak::leash;
use crate::cli::bench::soak::wire::{Order, Told};
use crate::cli::demo::prng::Dice;
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// One in so many batches brings an order along.
const ORDER_EVERY: u64 = 24;
/// Batches sent again at a start, at most.
const AGAIN_MAX: u64 = 3;
/// A process that panics.
const EXIT_PANIC: i32 = 101;

/// How a life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Killed while it opens.
    Opening,
    /// Killed after so many acknowledged batches.
    After(u64),
    /// Killed so many batches after it was given an order.
    Ordered(u64),
    /// Starved: this much address space in KiB; killed if it lives on for so many batches.
    Starved(u64, u64),
    /// Asked to stop after so many batches.
    Peace(u64),
    /// Every writer sends so many batches more, and it stops.
    Finish(u64),
}

/// What a life came to.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Life {
    pub(crate) killed: bool,
    pub(crate) aborted: bool,
    pub(crate) refused: bool,
    pub(crate) opening_millis: u64,
    pub(crate) peak_kib: u64,
    pub(crate) space_kib: u64,
}

/// What a life is ordered to do beside writing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Orders {
    None,
    /// Now and then something that is drawn.
    Drawn,
    /// This, at once.
    One(Order),
}

/// One life.
pub(crate) struct Round<'r> {
    pub(crate) dir: &'r Path,
    pub(crate) book: &'r mut Book,
    pub(crate) dice: &'r mut Dice,
    pub(crate) ahead: u64,
    pub(crate) orders: Orders,
    /// Number of the next order.
    pub(crate) order: &'r mut u64,
}

impl Round<'_> {
    /// Lives it.
    pub(crate) fn live(&mut self, end: End) -> Result<Life> {
        let mut child = self.start(end)?;
        let result = self.listen(&mut child, end);
        if result.is_err() {
            let _ = child.kill();
        }
        let status = leash::wait(&mut child)?;
        let life = result?;
        judge(end, life, status)
    }

    fn start(&mut self, end: End) -> Result<Child> {
        let own = std::env::current_exe()?;
        let mut command = match end {
            End::Starved(kib, _) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -v {kib}; exec \"$0\" \"$@\"")]).arg(own);
                shell
            }
            _ => Command::new(own),
        };
        let script = self.book.script;
        command
            .args(["bench", "soak-writer", "--dir"])
            .arg(self.dir)
            .args(["--seed", &script.seed.to_string(), "--people", &script.people.to_string()])
            .args(["--batch", &script.batch.to_string(), "--ahead", &self.ahead.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = leash::start(&mut command).context("cannot start the writing process")?;
        let mut starts = String::new();
        for (writer, next) in self.book.next.iter().enumerate() {
            let from = next.saturating_sub(self.dice.below(AGAIN_MAX + 1));
            let until = match end {
                End::Finish(more) => next + more,
                _ => u64::MAX,
            };
            starts += &format!("start {writer} {from} {until}\n");
        }
        if let Some(pipe) = &mut child.stdin {
            // One that died already does not read; what it said is still to be heard.
            let _ = pipe.write_all((starts + "go\n").as_bytes());
        }
        Ok(child)
    }

    /// Hears all that is said, until the pipe ends: what was said before the death counts.
    fn listen(&mut self, child: &mut Child, end: End) -> Result<Life> {
        let pipe = child.stdout.take().context("no pipe")?;
        let (mut life, mut acked, mut done) = (Life::default(), 0_u64, 0);
        let mut asked: Option<(u64, Order)> = None;
        let mut left = None;
        for line in BufReader::new(pipe).lines() {
            let line = line?;
            // The last line of a killed process may be cut anywhere.
            let Some(told) = Told::parse(&line) else {
                ensure!(life.killed || matches!(end, End::Starved(..)), "it said: {line}");
                continue;
            };
            match told {
                Told::Opening if end == End::Opening => kill(child, &mut life)?,
                Told::Opening | Told::Bye => {}
                Told::Open { millis, space_kib, .. } => {
                    (life.opening_millis, life.space_kib) = (millis, space_kib);
                }
                Told::Acked { writer, batch, receipts } => {
                    acked += 1;
                    self.book.acked(writer, batch, &receipts)?;
                    if asked.is_none() && self.is_time() {
                        asked = self.give(child);
                        left = left.or(Some(0));
                    }
                    left = left.map(|left| left + 1);
                    let over = match end {
                        End::After(most) | End::Starved(_, most) => acked >= most,
                        End::Ordered(most) => left.is_some_and(|left| left > most),
                        _ => false,
                    };
                    if over && !life.killed {
                        kill(child, &mut life)?;
                    }
                    if matches!(end, End::Peace(most) if acked == most) {
                        tell(child, "stop");
                    }
                }
                // Under a limit on memory a writer may fail for want of it: that is no receipt, and
                // the end of this life.
                Told::Refused { code, .. } if starved(end, &code) => {
                    if !life.killed {
                        kill(child, &mut life)?;
                    }
                }
                Told::Refused { writer, batch, code } => self.book.refused(writer, batch, &code)?,
                Told::Done { .. } => {
                    done += 1;
                    if done == self.book.next.len() {
                        tell(child, "stop");
                    }
                }
                Told::Obeyed { order, words } => {
                    let order = taken(&mut asked, order)?;
                    self.book.answered(&order, Some(Ok(&words)))?;
                }
                Told::Disobeyed { order, code } => {
                    let order = taken(&mut asked, order)?;
                    let unknown = starved(end, &code);
                    self.book.answered(&order, (!unknown).then_some(Err(&code)))?;
                }
            }
        }
        if let Some((_, order)) = asked {
            self.book.answered(&order, None)?;
        }
        Ok(life)
    }

    /// Whether an order is to be given now.
    fn is_time(&mut self) -> bool {
        match self.orders {
            Orders::None => false,
            Orders::Drawn => self.dice.below(ORDER_EVERY) == 0,
            Orders::One(_) => true,
        }
    }

    /// Gives an order.
    fn give(&mut self, child: &mut Child) -> Option<(u64, Order)> {
        let order = match std::mem::replace(&mut self.orders, Orders::None) {
            Orders::None => None,
            Orders::One(order) => Some(order),
            Orders::Drawn => {
                self.orders = Orders::Drawn;
                self.draw()
            }
        }?;
        *self.order += 1;
        self.book.given(&order);
        tell(child, &format!("{} {order}", self.order));
        Some((*self.order, order))
    }

    fn draw(&mut self) -> Option<Order> {
        let person = self.dice.below(self.book.script.people);
        let other = self.dice.below(self.book.script.people);
        Some(match self.dice.weighted(&[35, 20, 10, 10, 10, 15]) {
            0 => Order::Erase(person),
            1 if person != other && self.book.circle_of(person).len() < 8 => {
                Order::Link(person, other)
            }
            2 => Order::Hold(person),
            3 => {
                let cases: Vec<&String> = self.book.held.values().collect();
                Order::Release((*self.dice.choose(&cases)?).clone())
            }
            4 => Order::Free,
            5 => Order::Expire,
            _ => return None,
        })
    }
}

fn taken(asked: &mut Option<(u64, Order)>, number: u64) -> Result<Order> {
    match asked.take() {
        Some((own, order)) if own == number => Ok(order),
        _ => bail!("an answer to order {number}, which is not open"),
    }
}

/// Whether a refusal comes from the limit on memory.
fn starved(end: End, code: &str) -> bool {
    const CODES: [&str; 5] =
        ["STORE_IO", "STORE_FULL", "STORE_POISONED", "STORE_CORRUPT", "NO_THREAD"];
    matches!(end, End::Starved(..)) && CODES.contains(&code)
}

fn tell(child: &mut Child, line: &str) {
    if let Some(pipe) = &mut child.stdin {
        let _ = pipe.write_all(format!("{line}\n").as_bytes());
    }
}

fn kill(child: &mut Child, life: &mut Life) -> Result<()> {
    life.peak_kib = status_kib(&child.id().to_string(), "VmHWM:");
    life.killed = true;
    // SIGKILL: nothing is flushed, nothing is dropped, nothing is said.
    Ok(child.kill()?)
}

/// Whether it died as it was to die.
fn judge(end: End, mut life: Life, status: ExitStatus) -> Result<Life> {
    ensure!(status.code() != Some(EXIT_PANIC), "the writing process panicked");
    match end {
        End::Starved(..) => {
            life.aborted = !life.killed && status.signal().is_some();
            life.refused = !life.killed && status.code().is_some_and(|code| code != 0);
        }
        End::Peace(_) | End::Finish(_) => ensure!(status.success(), "it ended with {status}"),
        _ => ensure!(life.killed && status.signal() == Some(9), "it ended with {status}"),
    }
    Ok(life)
}
