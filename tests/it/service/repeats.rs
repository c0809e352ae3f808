//! kill -9 while requests with keys are under way: each was done once or not at all, and a repeat
//! never does it twice.

use crate::service::person::{Person, in_days};
use crate::service::stage::{As, Reply, Service};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Clients at once.
const CLIENTS: usize = 4;
/// Answers before the kill.
const ANSWERS: usize = 40;

fn hold(name: &str) -> Vec<u8> {
    let wish = json!({"name": name, "class": "7d", "from": "2026-01-01", "to": "2026-01-31"});
    wish.to_string().into_bytes()
}

fn ask(service: &Service, token: &str, name: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("idempotency-key", name),
    ];
    service.send(service.admin, ("POST", "/v1/holds"), &headers, Some(hold(name)))
}

/// Every case's name, with how often it is there.
fn cases(service: &Service, token: &str) -> BTreeMap<String, usize> {
    let holds = service.get(As::Token(token), "/v1/holds");
    let mut cases = BTreeMap::new();
    for hold in holds["holds"].as_array().unwrap() {
        *cases.entry(hold["name"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    cases
}

/// Kills the service while all clients ask; what each name was answered, if anything.
fn killed_while_asking(service: &Service, tokens: &[String]) -> BTreeMap<String, Option<Value>> {
    let (answers, killed) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let clients: Vec<_> = tokens
            .iter()
            .enumerate()
            .map(|(client, token)| {
                let (answers, killed) = (&answers, &killed);
                let asking = service.asker("/v1/holds");
                scope.spawn(move || {
                    let mut told = Vec::new();
                    for number in 0.. {
                        let name = format!("c{client}-{number}");
                        let answer = asking(token, &name, &hold(&name));
                        let lost = answer.is_none();
                        told.push((name, answer));
                        if lost {
                            assert!(killed.load(Ordering::SeqCst), "no answer before the kill");
                            return told;
                        }
                        if answers.fetch_add(1, Ordering::SeqCst) + 1 == ANSWERS {
                            killed.store(true, Ordering::SeqCst);
                            service.kill_now();
                        }
                    }
                    told
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn a_kill_between_act_and_answer_makes_no_second_act() {
    let service = Service::start(&[]);
    let dana = Person::first(&service);
    let more = json!({"expires": in_days(30)});
    let token = |_| dana.token(&service, &["privacy-officer"], &more);
    let tokens: Vec<String> = (0..CLIENTS).map(token).collect();
    let told = killed_while_asking(&service, &tokens);
    let service = service.kill().serve(&[]);
    let found = cases(&service, &tokens[0]);
    let (mut lost, mut again) = (0, 0);
    for (name, answer) in &told {
        let client: usize = name[1..name.find('-').unwrap()].parse().unwrap();
        let there = found.get(name).copied().unwrap_or_default();
        let reply = ask(&service, &tokens[client], name);
        let replayed = reply.header("idempotency-replayed") == "true";
        match answer {
            Some(first) => {
                assert_eq!((reply.status, replayed, there), (201, true, 1), "{name}");
                assert_eq!(&reply.json(), first, "{name}");
            }
            None => {
                lost += 1;
                let settled = reply.status == 201 && replayed == (there == 1);
                let open = reply.code() == "IDEMPOTENCY_UNCERTAIN";
                assert!(settled || open, "{name}: {} {there}", reply.status);
            }
        }
        again += usize::from(replayed);
    }
    assert!(lost == CLIENTS && again >= ANSWERS, "{lost} lost, {again} again");
    let after = cases(&service, &tokens[0]);
    assert!(after.values().all(|times| *times == 1), "{after:?}");
    let home = service.stop();
    home.trust();
    home.ok(&["verify", "--trust", "trust.policy"]);
}
