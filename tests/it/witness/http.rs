//! The listener and the client, over the loopback interface.

use crate::support::sim::SimDisk;
use crate::support::witness::{judge, witness_signer};
use crate::support::world::HandClock;
use chancery::base::id::Hash32;
use chancery::base::secret::Key;
use chancery::base::unit::TreeSize;
use chancery::crypto::sign::SigningKey;
use chancery::format::checkpoint::Checkpoint;
use chancery::format::vkey::{Algorithm, Signer};
use chancery::format::witness::{AddCheckpoint, REQUEST_BYTES_MAX, merge};
use chancery::forward::witness::HttpWitness;
use chancery::server::http::Server;
use chancery::vault::witness::{Cosigner, Said};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

struct Running {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn start(log: &Signer) -> Running {
        let disk = SimDisk::new();
        let witness = judge(&disk, 1, std::slice::from_ref(log.verifier()));
        let clock = HandClock::at("2026-11-27T08:00:00Z");
        let any = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(any, witness, clock, Arc::new(|_: &str| {})).unwrap();
        let address = server.address().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread =
            std::thread::spawn(move || server.run(move || flag.load(Ordering::SeqCst)).unwrap());
        Running { address, stop, thread: Some(thread) }
    }

    fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn log() -> Signer {
    let key = SigningKey::new(&Key::new([7; 32]));
    Signer::new("log.example/t/1", Algorithm::Ed25519, key).unwrap()
}

fn note(size: u64, root: u8) -> String {
    let origin = "log.example/t/1".to_owned();
    let checkpoint = Checkpoint { origin, size: TreeSize(size), root: Hash32([root; 32]) };
    checkpoint.sign(&[&log()]).unwrap()
}

#[test]
fn a_client_gets_a_cosignature_and_every_refusal() {
    let running = Running::start(&log());
    let key = witness_signer(1).verifier().clone();
    let client = HttpWitness::new(&format!("http://{}/", running.address), key.clone(), &[]);
    let client = client.unwrap();
    let submit = |old: u64, note: String| {
        let request = AddCheckpoint { old: TreeSize(old), proof: vec![], note };
        client.submit(&request.to_string())
    };
    let Said::Cosigned(lines) = submit(0, note(5, 1)) else { panic!("not cosigned") };
    merge(&note(5, 1), &lines, &key).unwrap();
    assert_eq!(submit(0, note(6, 1)), Said::Holds(TreeSize(5)));
    assert_eq!(submit(5, note(6, 1)), Said::Unproven);
    assert_eq!(submit(5, note(5, 2)), Said::Holds(TreeSize(5)));
    let other =
        Signer::new("x.example/t/1", Algorithm::Ed25519, SigningKey::new(&Key::new([7; 32])));
    let checkpoint =
        Checkpoint { origin: "x.example/t/1".into(), size: TreeSize(1), root: Hash32([1; 32]) };
    let unknown = checkpoint.sign(&[&other.unwrap()]).unwrap();
    assert!(matches!(submit(0, unknown), Said::Refused(why) if why.starts_with("404")));
    assert!(matches!(client.submit("nonsense"), Said::Refused(why) if why == "status 400"));
}

#[test]
fn what_is_no_submission_is_refused() {
    let running = Running::start(&log());
    let close = "Host: w\r\nConnection: close\r\n";
    let get = running.raw(format!("GET /add-checkpoint HTTP/1.1\r\n{close}\r\n").as_bytes());
    assert!(get.starts_with("HTTP/1.1 405"), "{get}");
    let nowhere = running.raw(format!("GET / HTTP/1.1\r\n{close}\r\n").as_bytes());
    assert!(nowhere.starts_with("HTTP/1.1 404"), "{nowhere}");
    let long = REQUEST_BYTES_MAX + 1;
    let head = format!("POST /add-checkpoint HTTP/1.1\r\n{close}Content-Length: {long}\r\n\r\n");
    let answer = running.raw(head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let answer = running.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert!(!answer.contains("200"), "{answer}");
    // After all that it still answers.
    let key = witness_signer(1).verifier().clone();
    let client = HttpWitness::new(&format!("http://{}", running.address), key, &[]).unwrap();
    let request = AddCheckpoint { old: TreeSize(0), proof: vec![], note: note(5, 1) };
    assert!(matches!(client.submit(&request.to_string()), Said::Cosigned(_)));
}

#[test]
fn nobody_there_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let key = witness_signer(1).verifier().clone();
    let client = HttpWitness::new(&format!("http://{address}"), key, &[]).unwrap();
    assert!(matches!(client.submit("old 0\n"), Said::Unreachable(_)));
}
