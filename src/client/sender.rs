//! One batch at a time, step by step: read it, send what is open of it, settle it. A step is one
//! request at most and never waits, so that tests take the same steps as the thread does.
//!
//! It never sends an event behind one that is open, but within a batch: what the vault refuses for
//! the moment is sent again alone, and what stood behind it may be durable before it.

use crate::base::world::{Entropy, random};
use crate::client::answer::{Fate, RETRY_SECONDS_MAX, Verdict, Why, judge};
use crate::client::outbox::{Batch, Item, Junk, Outbox, Settled};
use crate::client::{Receiver, Reply};
use crate::format::json::Tape;
use crate::store::error::{Error as StoreError, ErrorKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// First wait after a failure; each further one is twice as long.
const WAIT_MILLIS: u64 = 100;
/// Longest wait that nobody asked for.
const WAIT_MILLIS_MAX: u64 = 30_000;

/// Counts since the emitter was opened.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Events with a receipt.
    pub receipts: u64,
    /// Of those, that the vault had already.
    pub duplicates: u64,
    /// Events that the vault refused for good.
    pub dead: u64,
    /// Places in the spool that held no event.
    pub damaged: u64,
    /// Requests.
    pub requests: u64,
    /// Requests that came to nothing.
    pub failures: u64,
}

/// What a step came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing waits to be sent.
    Idle,
    /// Something was settled; go on.
    Went,
    /// Go on after this time.
    Wait(Duration, Why),
    /// Go on when somebody says so.
    Park(Why),
}

/// An event of the batch at hand.
struct Open {
    item: Item,
    /// Lines for the ledgers, once it has a fate.
    line: Option<Line>,
}

enum Line {
    /// Whether the vault had the event already.
    Receipt(String, bool),
    Dead(String),
}

/// The batch at hand.
struct Work {
    all: Vec<Open>,
    junk: Vec<Junk>,
    next: u64,
    /// Events of the next request at most.
    most: usize,
    /// Checkpoints that came with receipts.
    checkpoints: Vec<Map<String, Value>>,
}

/// Takes the steps.
pub struct Sender {
    outbox: Outbox,
    receiver: Arc<dyn Receiver>,
    entropy: Arc<dyn Entropy>,
    tape: Tape,
    work: Option<Work>,
    failures: u32,
    counts: Counts,
}

impl Sender {
    /// At the front of a spool.
    pub fn new(outbox: Outbox, receiver: Arc<dyn Receiver>, entropy: Arc<dyn Entropy>) -> Sender {
        let (tape, counts) = (Tape::new(), Counts::default());
        Sender { outbox, receiver, entropy, tape, work: None, failures: 0, counts }
    }

    /// Counts so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// One step.
    ///
    /// # Errors
    /// Those of the disk but a full one, which is waited for: no step may follow.
    pub fn step(&mut self) -> Result<Step, StoreError> {
        let mut work = match self.work.take() {
            Some(work) => work,
            None => match self.outbox.read(&mut self.tape)? {
                Some(batch) => Work::new(batch),
                None => return Ok(Step::Idle),
            },
        };
        let step = match work.open().count() {
            0 => None,
            _ => self.send(&mut work),
        };
        match step {
            Some(step) => {
                self.work = Some(work);
                Ok(step)
            }
            None => self.settle(work),
        }
    }

    /// Sends what is open. Nothing when there is nothing open any more.
    fn send(&mut self, work: &mut Work) -> Option<Step> {
        let mut body = Vec::new();
        let sent: Vec<usize> = work.open().take(work.most.max(1)).collect();
        for open in sent.iter().filter_map(|at| work.all.get(*at)) {
            body.extend_from_slice(&open.item.json);
            body.push(b'\n');
        }
        self.counts.requests += 1;
        let reply = match self.receiver.post(&body) {
            Ok(reply) => reply,
            Err(detail) => {
                // One event next: a refusal that comes before a long body is read may be lost
                // with the connection, and then nobody would learn of it.
                work.most = 1;
                let why = Why { status: 0, code: "UNREACHABLE".to_owned(), detail };
                return Some(self.wait(None, why));
            }
        };
        match judge(&reply, sent.len()) {
            Verdict::Fates(fates, top) => self.take(work, &sent, fates, top, &reply),
            Verdict::Halve(_) if sent.len() > 1 => {
                work.most = sent.len() / 2;
                Some(Step::Went)
            }
            Verdict::Halve(why) | Verdict::Wait(why) => Some(self.wait(reply.retry_after, why)),
            Verdict::Park(why) => Some(self.park(why)),
        }
    }

    fn take(
        &mut self,
        work: &mut Work,
        sent: &[usize],
        fates: Vec<Fate>,
        top: Map<String, Value>,
        reply: &Reply,
    ) -> Option<Step> {
        let (mut again, mut parked, mut went) = (None, None, 0_usize);
        for (open, fate) in sent.iter().zip(fates) {
            let Some(open) = work.all.get_mut(*open) else { continue };
            match fate {
                Fate::Receipt(receipt) => open.line = Some(receipt_line(&open.item, receipt)),
                Fate::Dead(why) => open.line = Some(dead_line(&open.item, &why)),
                Fate::Again(why) => again = Some(why),
                Fate::Park(why) => parked = Some(why),
            }
            went += usize::from(open.line.is_some());
        }
        if went > 0 {
            self.failures = 0;
            work.most = usize::MAX;
            work.checkpoints.extend((!top.is_empty()).then_some(top));
        }
        match (parked, again) {
            (Some(why), _) => Some(self.park(why)),
            (None, Some(why)) => Some(self.wait(reply.retry_after, why)),
            (None, None) => work.open().next().map(|_| Step::Went),
        }
    }

    /// Everything of the batch has its line.
    fn settle(&mut self, work: Work) -> Result<Step, StoreError> {
        let (mut receipts, mut dead) = (String::new(), String::new());
        work.junk.iter().for_each(|junk| dead.push_str(&junk_line(junk)));
        let (mut taken, mut refused, mut duplicates) = (0, 0, 0);
        for line in work.all.iter().filter_map(|open| open.line.as_ref()) {
            match line {
                Line::Receipt(text, duplicate) => {
                    taken += 1;
                    duplicates += u64::from(*duplicate);
                    receipts.push_str(text);
                }
                Line::Dead(text) => {
                    refused += 1;
                    dead.push_str(text);
                }
            }
        }
        for top in &work.checkpoints {
            receipts.push_str(&format!("{}\n", Value::Object(top.clone())));
        }
        let mut counts = self.counts.clone();
        counts.receipts += taken;
        counts.duplicates += duplicates;
        counts.dead += refused;
        counts.damaged += work.junk.len() as u64;
        let (receipts, dead) = (receipts.as_bytes(), dead.as_bytes());
        let done = Settled { next: work.next, receipts, dead, counts: &counts };
        match self.outbox.settle(&done) {
            Ok(()) => self.counts = counts,
            Err(error) if error.kind == ErrorKind::Full => {
                self.work = Some(work);
                let detail = "no room for receipts; free space".to_owned();
                let why = Why { status: 0, code: "SPOOL_FULL".to_owned(), detail };
                return Ok(self.wait(None, why));
            }
            Err(error) => return Err(error),
        }
        Ok(Step::Went)
    }

    fn park(&mut self, why: Why) -> Step {
        self.counts.failures += 1;
        Step::Park(why)
    }

    /// Half of the wait is by chance, so that emitters do not come back all at once.
    fn wait(&mut self, asked: Option<u64>, why: Why) -> Step {
        self.counts.failures += 1;
        let doubled = WAIT_MILLIS.checked_shl(self.failures).unwrap_or(WAIT_MILLIS_MAX);
        self.failures = self.failures.saturating_add(1).min(20);
        let most = doubled.clamp(WAIT_MILLIS, WAIT_MILLIS_MAX);
        let chance = u64::from_be_bytes(random(&*self.entropy)) % (most / 2 + 1);
        let asked = asked.unwrap_or(0).min(RETRY_SECONDS_MAX).saturating_mul(1_000);
        let millis = match asked {
            0 => most / 2 + chance,
            asked => asked.saturating_add(chance.min(asked / 10)),
        };
        Step::Wait(Duration::from_millis(millis), why)
    }
}

impl Work {
    fn new(batch: Batch) -> Work {
        let Batch { items, junk, next } = batch;
        let all = items.into_iter().map(|item| Open { item, line: None }).collect();
        Work { all, junk, next, most: usize::MAX, checkpoints: Vec::new() }
    }

    fn open(&self) -> impl Iterator<Item = usize> {
        let open = |(_, open): &(usize, &Open)| open.line.is_none();
        self.all.iter().enumerate().filter(open).map(|(at, _)| at)
    }
}

fn receipt_line(item: &Item, receipt: Map<String, Value>) -> Line {
    let duplicate = receipt.get("duplicate") == Some(&Value::Bool(true));
    let mut line = receipt;
    line.insert("id".to_owned(), json!(item.id.0));
    Line::Receipt(format!("{}\n", Value::Object(line)), duplicate)
}

/// The event itself goes along, so that it can be mended and sent again: but not one that was
/// erased at the vault, of which no copy may stay.
fn dead_line(item: &Item, why: &Why) -> Line {
    let event: Option<Value> = match why.code.as_str() {
        "DUPLICATE_OF_ERASED" => None,
        _ => Some(json!(String::from_utf8_lossy(&item.json))),
    };
    let line = json!({
        "id": item.id.0,
        "position": item.position.to_string(),
        "status": why.status,
        "code": why.code,
        "detail": why.detail,
        "event": event,
    });
    Line::Dead(format!("{line}\n"))
}

fn junk_line(junk: &Junk) -> String {
    let line = json!({
        "position": junk.position.to_string(),
        "code": "FRAME_DAMAGED",
        "bytes": STANDARD.encode(&junk.bytes),
        "missing": junk.missing.to_string(),
    });
    format!("{line}\n")
}
