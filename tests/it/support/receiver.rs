//! A receiver of events that plays what a test tells it: over TCP as a vault would, or in the same
//! process. It keeps what it took by id, answers a second time with the first receipt, and never
//! takes two contents for one id without saying so.

use chancery::base::id::hex;
use chancery::client::{Receiver, Reply};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

/// What the receiver does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Takes it.
    Take,
    /// Takes it, and the answer is lost.
    TakeAndReset,
    /// The connection ends before anything is taken.
    Reset,
    /// Answers this status, `Retry-After` and body, and takes nothing.
    Say(u16, Option<u64>, Value),
    /// Takes all but events whose `bad` member is true: those get this problem.
    Partial(Value),
    /// As a vault without `partial`: refuses the whole request if one event is bad.
    Whole(Value),
}

/// What it took, and what it will do.
#[derive(Default)]
pub(crate) struct Book {
    /// Content and index by id.
    pub(crate) taken: BTreeMap<String, (Vec<u8>, u64)>,
    /// Ids in the order in which they came first.
    pub(crate) order: Vec<String>,
    /// Requests, as lists of ids.
    pub(crate) requests: Vec<Vec<String>>,
    /// Authorisation of each request over TCP.
    pub(crate) tokens: Vec<String>,
    /// For the next requests; then it takes.
    pub(crate) script: VecDeque<Act>,
    /// One id with two contents.
    pub(crate) clashes: Vec<String>,
}

/// The receiver. A clone is the same one.
#[derive(Clone, Default)]
pub(crate) struct Script {
    book: Arc<Mutex<Book>>,
}

impl Script {
    pub(crate) fn of(acts: &[Act]) -> Self {
        let script = Script::default();
        script.book().script = acts.iter().cloned().collect();
        script
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// One request. None when the connection ends without an answer.
    fn answer(&self, body: &[u8]) -> Option<Reply> {
        let mut book = self.book();
        let lines: Vec<&[u8]> =
            body.split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
        let events: Vec<Value> = lines.iter().map(|l| serde_json::from_slice(l).unwrap()).collect();
        let id = |event: &Value| event["id"].as_str().unwrap().to_owned();
        book.requests.push(events.iter().map(id).collect());
        let act = book.script.pop_front().unwrap_or(Act::Take);
        let bad = |event: &Value| event["bad"] == json!(true);
        let reply = |status, body: &Value| Reply {
            status,
            retry_after: None,
            body: body.to_string().into_bytes(),
        };
        match act {
            Act::Reset => None,
            Act::Say(status, retry_after, body) => {
                Some(Reply { retry_after, ..reply(status, &body) })
            }
            Act::Whole(problem) if events.iter().any(bad) => Some(reply(422, &problem)),
            act => {
                let mut results = Vec::new();
                for (event, line) in events.iter().zip(&lines) {
                    results.push(match &act {
                        Act::Partial(problem) if bad(event) => json!({ "problem": problem }),
                        _ => json!({"receipt": book.take(&id(event), line)}),
                    });
                }
                let size = book.taken.len().to_string();
                let body = json!({"results": results, "checkpoint": "note", "size": size});
                (!matches!(act, Act::TakeAndReset)).then(|| reply(200, &body))
            }
        }
    }
}

impl Book {
    fn take(&mut self, id: &str, line: &[u8]) -> Value {
        let next = self.taken.len() as u64;
        let (duplicate, index) = match self.taken.get(id) {
            Some((content, index)) => {
                if content != line {
                    self.clashes.push(id.to_owned());
                }
                (true, *index)
            }
            None => {
                self.taken.insert(id.to_owned(), (line.to_vec(), next));
                self.order.push(id.to_owned());
                (false, next)
            }
        };
        let leaf = hex(&index.to_be_bytes());
        json!({"index": index.to_string(), "time": "2026-11-27T00:00:00Z", "leaf": leaf,
            "duplicate": duplicate})
    }
}

impl Receiver for Script {
    fn post(&self, ndjson: &[u8]) -> Result<Reply, String> {
        self.answer(ndjson).ok_or_else(|| "reset".to_owned())
    }
}

/// The script behind a port of this machine, one connection after the other. The thread ends with
/// the process.
pub(crate) fn listen(script: &Script) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = script.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let script = script.clone();
            std::thread::spawn(move || while serve(&script, stream.as_ref().unwrap()).is_some() {});
        }
    });
    address
}

/// One request of a kept connection; None when it is over.
fn serve(script: &Script, mut stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length, mut token) = (String::new(), 0, String::new());
    reader.read_line(&mut line).ok()?;
    assert!(line.is_empty() || line.starts_with("POST /v1/events?source=app&partial=true "));
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).ok()? == 0 {
            return None;
        }
        match header.trim().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", n)) => length = n.parse().unwrap(),
            Some(("authorization", given)) => token = given.to_owned(),
            _ if header.trim().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    script.book().tokens.push(token);
    let Reply { status, retry_after, body } = script.answer(&body)?;
    let retry = retry_after.map_or_else(String::new, |n| format!("retry-after: {n}\r\n"));
    let head = format!("HTTP/1.1 {status} X\r\n{retry}content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}
