//! kill -9, as a power failure for the process: every receipt that was acknowledged is good after
//! the restart, and what was filed waits where it was.

use crate::service::person::{Person, in_days};
use crate::service::stage::{As, Service};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

/// Events of one batch.
const BATCH: usize = 25;
/// Senders at once.
const SENDERS: usize = 4;
/// Batches acknowledged before the kill.
const BATCHES: usize = 24;

/// A batch with its name, as NDJSON.
fn lines(sender: usize, number: usize) -> String {
    let event = |at: usize| {
        let id = format!("s{sender}-b{number}-e{at}");
        let actor = json!({"id": format!("u{sender}"), "type": "user"});
        json!({"id": id, "action": "user.login", "actor": actor}).to_string() + "\n"
    };
    (0..BATCH).map(event).collect()
}

/// Sends a batch; its receipts.
fn receipts(service: &Service, token: &str, batch: &str) -> Vec<Value> {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/x-ndjson")];
    let to = ("POST", "/v1/events?source=clinic");
    let reply = service.send(service.public, to, &headers, Some(batch.as_bytes().to_vec()));
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["receipts"].as_array().unwrap().clone()
}

/// What was acknowledged: sender, number of its batch, receipts.
type Book = Vec<(usize, usize, Vec<Value>)>;

/// Kills the service while all senders are sending.
fn killed_while_sending(service: &Service, token: &str) -> Book {
    let (told, acknowledged) = mpsc::channel();
    let killed = AtomicBool::new(false);
    let mut book = Book::new();
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (told, killed, token) = (told.clone(), &killed, token);
            let sending = service.sender();
            scope.spawn(move || {
                for number in 0.. {
                    let answer = sending(token, &lines(sender, number));
                    let Some(receipts) = answer else {
                        assert!(killed.load(Ordering::SeqCst), "no answer before the kill");
                        return;
                    };
                    if told.send((sender, number, receipts)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(told);
        while book.len() < BATCHES {
            book.push(acknowledged.recv().unwrap());
        }
        killed.store(true, Ordering::SeqCst);
        service.kill_now();
        // What was answered before the kill reached it counts too.
        book.extend(acknowledged.iter());
    });
    book
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill_and_what_was_filed_still_waits() {
    let service = Service::start(&["--cooling-off", "0s"]);
    let mut dana = Person::first(&service);
    let token = dana.token(&service, &["ingest", "readonly"], &json!({"expires": in_days(30)}));
    let more = json!({"expires": in_days(30)});
    let asker = dana.token(&service, &["privacy-officer"], &more);
    receipts(&service, &token, &lines(99, 0));
    let named = json!([{"kind": "user_id", "value": "u99"}]);
    let wish = json!({"act": "erase", "identifiers": named, "basis": "gdpr-17-1"});
    let filed = service.post(As::Token(&asker), "/v1/orders", &wish);
    assert_eq!(filed["state"], "filed", "{filed}");

    let book = killed_while_sending(&service, &token);
    let home = service.kill();

    let service = home.serve(&[]);
    for (sender, number, before) in &book {
        assert_eq!(before.len(), BATCH);
        let after = receipts(&service, &token, &lines(*sender, *number));
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(after["duplicate"], true, "{before}");
            for member in ["index", "leaf", "time"] {
                assert_eq!(after[member], before[member], "{before}");
            }
        }
    }
    let last = book.iter().flat_map(|(.., receipts)| receipts).next_back().unwrap();
    let path = format!("/v1/events/{}", last["index"].as_str().unwrap());
    assert_eq!(service.get(As::Token(&token), &path)["leaf"], last["leaf"]);

    let path = format!("/v1/orders/{}", filed["id"].as_str().unwrap());
    let still = service.get(As::Token(&asker), &path);
    for member in ["state", "hash", "job", "steps", "approvals_missing", "expires"] {
        assert_eq!(still["order"][member], filed[member], "{member}");
    }
    // No session outlives a restart, and no code seen before it is taken after it.
    let ended = service.ask(dana.who(), "GET", "/v1/session", None);
    assert_eq!((ended.status, ended.code()), (401, "SESSION_ENDED".to_owned()));
    dana.forget_codes();
    dana.log_in(&service);
    let wish = json!({"hash": filed["hash"]});
    let path = format!("{path}/approve");
    let approved = service.post(dana.who(), &path, &wish);
    assert_eq!((&approved["state"], &approved["approvals_missing"]), (&json!("filed"), &json!(1)));
    let home = service.stop();
    home.trust();
    home.ok(&["verify", "--trust", "trust.policy"]);
}
