//! The emitter's thread over TCP: connections that end, tokens that are refused, a vault that is
//! away and comes back.

use crate::client::{around, event};
use crate::support::receiver::{Act, Script, listen};
use chancery::client::Config;
use chancery::client::emitter::{Emitter, State};
use chancery::forward::events::HttpVault;
use chancery::store::disk::OsDisk;
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const LONG: Option<Duration> = Some(Duration::from_secs(60));

fn emitter(dir: &Path, address: SocketAddr) -> Emitter {
    let vault = HttpVault::new(&format!("http://{address}"), "app", "secret", &[], LONG.unwrap());
    let config = Config { batch_events: 50, ..Config::new("app", dir) };
    Emitter::open(around(Arc::new(OsDisk), 1), &config, Arc::new(vault.unwrap())).unwrap()
}

#[test]
fn everything_arrives_once_and_in_order_through_lost_answers() {
    let dir = tempfile::tempdir().unwrap();
    let down = Act::Say(503, None, json!({"code": "OVERLOADED"}));
    let script = Script::of(&[Act::Reset, Act::TakeAndReset, down, Act::TakeAndReset]);
    let emitter = emitter(dir.path(), listen(&script));
    let ids: Vec<String> =
        (0..200).map(|n| emitter.emit(format!("{{\"n\":{n}}}").as_bytes()).unwrap().0).collect();
    assert!(emitter.flush(LONG), "{:?}", emitter.stats());
    let stats = emitter.close();
    assert_eq!((stats.emitted, stats.counts.receipts, stats.waiting_bytes), (200, 200, 0));
    assert!(stats.counts.duplicates > 0 && stats.counts.failures >= 4, "{stats:?}");
    assert_eq!((stats.state, stats.counts.dead), (State::Closed, 0));
    let book = script.book();
    assert_eq!(book.order, ids);
    assert!(book.clashes.is_empty());
    assert!(book.tokens.iter().all(|token| token == "bearer secret"), "{:?}", book.tokens);
}

#[test]
fn a_refused_token_parks_the_emitter_and_takes_nothing_away() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script::of(&[Act::Say(401, None, json!({"code": "TOKEN_UNKNOWN"}))]);
    let emitter = emitter(dir.path(), listen(&script));
    emitter.emit(event("a", false).as_bytes()).unwrap();
    assert!(!emitter.flush(LONG));
    let stats = emitter.stats();
    let why = stats.why.unwrap();
    assert_eq!((stats.state, why.status, why.code.as_str()), (State::Parked, 401, "TOKEN_UNKNOWN"));
    // It goes on taking, and nothing is asked of the vault.
    emitter.emit(event("b", false).as_bytes()).unwrap();
    assert!(!emitter.flush(LONG) && emitter.stats().waiting_bytes > 0);
    assert_eq!(script.book().requests.len(), 1);
    emitter.resume();
    assert!(emitter.flush(LONG));
    assert_eq!(script.book().order.concat(), "ab");
}

#[test]
fn what_waits_when_it_is_closed_is_sent_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens on this port any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let first = emitter(dir.path(), gone);
    let ready: Vec<_> =
        (0..120).map(|n| first.prepare(format!("{{\"n\":{n}}}").as_bytes()).unwrap()).collect();
    first.put(&ready).unwrap();
    assert!(!first.flush(Some(Duration::from_millis(1))));
    assert!(first.close().waiting_bytes > 0);
    let script = Script::default();
    let second = emitter(dir.path(), listen(&script));
    assert!(second.flush(LONG));
    assert_eq!(second.stats().counts.receipts, 120);
    let ids: Vec<String> = ready.into_iter().map(|event| event.id.0).collect();
    assert_eq!(script.book().order, ids);
}

#[test]
fn many_threads_emit_and_nothing_is_mixed_up() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script::default();
    let emitter = emitter(dir.path(), listen(&script));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let emitter = &emitter;
            scope.spawn(move || {
                for n in 0..50 {
                    emitter.emit(event(&format!("{thread}-{n}"), false).as_bytes()).unwrap();
                }
            });
        }
    });
    assert!(emitter.flush(LONG));
    let book = script.book();
    assert_eq!((book.taken.len(), book.clashes.len()), (200, 0));
    for thread in 0..4 {
        let mine = book.order.iter().filter(|id| id.starts_with(&format!("{thread}-")));
        let expect: Vec<String> = (0..50).map(|n| format!("{thread}-{n}")).collect();
        assert_eq!(mine.cloned().collect::<Vec<_>>(), expect);
    }
}
