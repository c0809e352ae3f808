//! Small batches of many senders are taken together, and each is answered for itself.

use crate::support::clinic::read_all;
use crate::support::service::Service;
use chancery::base::entry::Kind;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A kept connection of HTTP/1.1.
struct Kept(BufReader<TcpStream>);

impl Kept {
    fn post(&mut self, token: &str, event: &str) -> (u16, Value) {
        let request = format!(
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{event}",
            event.len()
        );
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the service hung up");
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().unwrap();
            }
            if let Some(rest) = line.strip_prefix("content-length: ") {
                length = rest.parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

const SENDERS: usize = 48;
const EACH: usize = 12;

/// What one sender was told of its good events; the bad ones between them are checked here.
fn send(address: SocketAddr, token: &str, sender: usize) -> Vec<u64> {
    let mut kept = Kept(BufReader::new(TcpStream::connect(address).unwrap()));
    let mut places = Vec::new();
    for number in 0..EACH {
        let event = format!("{{\"id\":\"{sender}-{number}\",\"action\":\"a.b\"}}");
        let (status, answer) = kept.post(token, &event);
        assert_eq!((status, &answer["receipts"][0]["duplicate"]), (200, &false.into()), "{answer}");
        let place: u64 = answer["receipts"][0]["index"].as_str().unwrap().parse().unwrap();
        assert_eq!(answer["receipts"].as_array().unwrap().len(), 1);
        places.push(place);
        match number % 3 {
            0 => {
                let (status, answer) = kept.post(token, &event);
                let again = &answer["receipts"][0];
                assert_eq!((status, &again["duplicate"]), (200, &true.into()), "{answer}");
                assert_eq!(again["index"], place.to_string());
            }
            1 => {
                let other = format!("{{\"id\":\"{sender}-{number}\",\"action\":\"other\"}}");
                let (status, answer) = kept.post(token, &other);
                assert_eq!((status, &answer["code"]), (409, &"DUPLICATE_DIFFERS".into()));
            }
            _ => {
                let (status, answer) = kept.post(token, "{\"outcome\":\"success\"}");
                assert_eq!((status, &answer["code"]), (422, &"FIELD_REQUIRED".into()), "{answer}");
            }
        }
    }
    places
}

#[test]
fn many_at_once_are_each_answered_for_themselves() {
    let service = Service::start();
    let token = service.token(&["ingest"], Some(&["door"]));
    let syncs = service.disk.operations();
    let places = service.serving(move |address| {
        std::thread::scope(|scope| {
            let token = &token;
            let senders: Vec<_> =
                (0..SENDERS).map(|n| scope.spawn(move || send(address, token, n))).collect();
            senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect::<Vec<_>>()
        })
    });
    println!("{} operations of the disk", service.disk.operations() - syncs);
    let distinct: BTreeSet<u64> = places.iter().copied().collect();
    assert_eq!(distinct.len(), SENDERS * EACH);
    let records = read_all(&service.main());
    let kept: BTreeSet<u64> = records
        .iter()
        .filter(|record| record.entry.head.kind == Kind::Event)
        .map(|record| record.entry.index.0)
        .collect();
    assert_eq!(kept, distinct);
}

/// A disk that fails under what was taken together: everybody is told, and nobody that it is kept.
#[test]
fn a_failure_is_told_to_everybody_who_was_taken_together() {
    let service = Service::start();
    let token = service.token(&["ingest"], Some(&["door"]));
    let before = read_all(&service.main()).len();
    service.disk.full_after(0);
    let told = service.serving(move |address| {
        std::thread::scope(|scope| {
            let sender = |n: usize| {
                let token = &token;
                scope.spawn(move || {
                    let stream = TcpStream::connect(address).unwrap();
                    let event = format!("{{\"id\":\"{n}\",\"action\":\"a.b\"}}");
                    Kept(BufReader::new(stream)).post(token, &event).0
                })
            };
            let senders: Vec<_> = (0..SENDERS).map(sender).collect();
            senders.into_iter().map(|sender| sender.join().unwrap()).collect::<Vec<_>>()
        })
    });
    assert!(told.iter().all(|status| [503, 507].contains(status)), "{told:?}");
    service.disk.heal();
    assert_eq!(read_all(&service.main()).len(), before);
}
