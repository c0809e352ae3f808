//! Clients that mean harm, or are broken: they idle, dribble, send too much, too deep or packed too
//! well, or speak no TLS. The service goes on for everybody else in bounded memory, and cuts each
//! of them within what `read_seconds` says.

use crate::service::person::{Person, in_days};
use crate::service::raw::{Wire, connect, replies};
use crate::service::stage::{As, Service};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Seconds that the service here grants to whoever keeps it waiting.
const SECONDS: u64 = 3;
/// Seconds within which it must then have cut them: the bound, and as much again for a machine that
/// is busy with a thousand of them.
const CUT: Duration = Duration::from_secs(2 * SECONDS + 4);
/// MiB that 1,000 connections may cost, whatever they do below a whole request: 64 KiB each.
const THOUSAND_MIB: u64 = 64;
/// MiB that eight bodies of the largest size may cost at once: what came, what was unpacked, and
/// room to grow, 16 MiB each.
const EIGHT_BODIES_MIB: u64 = 8 * 3 * 16;

fn from(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, number)
}

/// A service with little patience, and a token for one source.
fn service(files: Option<u32>, more: &[&str]) -> (Service, String) {
    let settings = format!("read_seconds = {SECONDS}");
    let more = [&["--single-operator", "--cooling-off", "0s"], more].concat();
    let service = Service::start_set(&settings, files, &more);
    let dana = Person::first(&service);
    let more = json!({"expires": in_days(30), "sources": ["clinic"]});
    let token = dana.token(&service, &["ingest"], &more);
    (service, token)
}

/// Asks and appends as everybody else does.
fn is_unharmed(service: &Service, token: &str) {
    let ready = service.send(service.public, ("GET", "/readyz"), &[], None);
    assert_eq!(ready.status, 200, "{}", ready.text());
    service.post(As::Token(token), "/v1/events", &json!({"action": "user.login"}));
}

/// The head of a request for events; the connection `close`s or stays `keep-alive` behind it.
fn head(token: &str, keeps: &str, more: &str) -> String {
    format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         connection: {keeps}\r\ncontent-type: application/x-ndjson\r\n{more}\r\n"
    )
}

/// Reads until the other side has closed; what came.
fn until_cut(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(CUT)).unwrap();
    let (mut all, mut piece) = (Vec::new(), [0; 4_096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return all,
            Ok(read) => all.extend_from_slice(&piece[..read]),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return all,
            Err(e) => panic!("not cut: {e}"),
        }
    }
}

/// A thousand connections: a quarter says nothing, a quarter dribbles the first bytes of HTTP/2, a
/// quarter a head, a quarter a body.
#[test]
fn a_thousand_who_idle_or_dribble_are_cut_and_harm_nobody() {
    let (service, token) = service(None, &["--plain-http"]);
    is_unharmed(&service, &token);
    let before = service.memory("VmRSS");
    service.forget_peak();
    let body = head(&token, "keep-alive", "content-length: 1000000\r\n");
    let since = Instant::now();
    let mut slow: Vec<(usize, TcpStream)> = (0..1_000)
        .map(|number| (number % 4, connect(service.public, from((number % 5) as u8 + 1))))
        .collect();
    for (kind, stream) in &mut slow {
        let begin = match kind {
            0 => "",
            1 => "PRI * HT",
            2 => "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nx-slow: ",
            _ => &body,
        };
        stream.write_all(begin.as_bytes()).unwrap();
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut dribbles: Vec<TcpStream> = slow
            .iter()
            .filter(|(kind, _)| *kind >= 2)
            .map(|(_, stream)| stream.try_clone().unwrap())
            .collect();
        let done = &done;
        scope.spawn(move || {
            // A byte now and then is what makes them slow and not idle.
            while !done.load(Ordering::SeqCst) {
                dribbles.iter_mut().for_each(|stream| drop(stream.write_all(b"x")));
                std::thread::park_timeout(Duration::from_millis(100));
            }
        });
        let mut asked = 0;
        while since.elapsed() < Duration::from_secs(SECONDS) || asked < 3 {
            is_unharmed(&service, &token);
            asked += 1;
        }
        let mut told = 0;
        for (kind, stream) in &mut slow {
            let answers = replies(&until_cut(stream));
            // Who was cut within a body is told so, where it still listened.
            for answer in answers {
                assert_eq!((answer.status, *kind), (408, 3), "{}", answer.text());
                told += 1;
            }
        }
        println!("{asked} asked meanwhile; {told} told; cut after {:?}", since.elapsed());
        assert!(since.elapsed() < CUT, "{:?}", since.elapsed());
        done.store(true, Ordering::SeqCst);
    });
    let (most, after) = (service.memory("VmHWM"), service.memory("VmRSS"));
    println!("MiB before {before}, at most {most}, after {after}");
    assert!(most <= before + THOUSAND_MIB, "{before} to {most} MiB");
    is_unharmed(&service, &token);
    service.stop();
}

/// As many as may come from one address hold on to answers that they do not read.
#[test]
fn who_does_not_read_its_answers_is_cut() {
    let (service, token) = service(None, &["--plain-http"]);
    let line = "{\"action\":\"user.login\"}\n";
    let body = line.repeat(2_000);
    let length = format!("content-length: {}\r\n", body.len());
    let request = head(&token, "keep-alive", &length) + &body;
    let mut stream = connect(service.public, from(1));
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // Answers are some 400 KB; sent until the service reads no more requests, since nobody takes
    // what it has answered.
    let stuck = (0..200).find(|_| stream.write_all(request.as_bytes()).is_err());
    println!("stuck at {stuck:?}");
    assert!(stuck.is_some());
    let since = Instant::now();
    stream.set_write_timeout(None).unwrap();
    // It must close, and not when somebody begins to read: what is written fails then.
    while stream.write_all(&[b'x'; 65_536]).is_ok() {
        assert!(since.elapsed() < 2 * CUT);
    }
    assert!(since.elapsed() < 2 * CUT, "{:?}", since.elapsed());
    is_unharmed(&service, &token);
    service.stop();
}

fn gzip(zeros: usize) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let piece = vec![b' '; 1 << 20];
    (0..zeros >> 20).for_each(|_| packer.write_all(&piece).unwrap());
    packer.finish().unwrap()
}

fn zstd_of(zeros: usize) -> Vec<u8> {
    let mut packer = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    let piece = vec![b' '; 1 << 20];
    (0..zeros >> 20).for_each(|_| packer.write_all(&piece).unwrap());
    packer.finish().unwrap()
}

/// Sends a body and reads the answer, if there is one: a service that refuses a body need not read
/// the rest of it.
fn refused(service: &Service, request: &[u8]) -> Option<(u16, String)> {
    let mut stream = connect(service.public, Ipv4Addr::LOCALHOST);
    let _ = stream.write_all(request);
    let came = until_cut(&mut stream);
    let reply = replies(&came).into_iter().next()?;
    Some((reply.status, reply.code()))
}

#[test]
fn bodies_that_are_too_large_too_deep_or_packed_too_well_cost_bounded_memory() {
    let (service, token) = service(None, &["--plain-http"]);
    is_unharmed(&service, &token);
    let before = service.memory("VmRSS");
    service.forget_peak();
    let with = |more: &str, body: &[u8]| {
        let length = format!("content-length: {}\r\n{more}", body.len());
        [head(&token, "close", &length).as_bytes(), body].concat()
    };
    let endless = {
        let piece = format!("10000\r\n{}\r\n", " ".repeat(65_536));
        [head(&token, "close", "transfer-encoding: chunked\r\n"), piece.repeat(300)]
            .concat()
            .into_bytes()
    };
    let deep = ["[".repeat(50_000), "]".repeat(50_000)].concat();
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        // Said to be large: refused before a byte of it is read.
        (
            "said",
            head(&token, "close", "content-length: 99999999999\r\n").into(),
            413,
            "BODY_TOO_LARGE",
        ),
        ("endless", endless, 413, "BODY_TOO_LARGE"),
        ("gzip", with("content-encoding: gzip\r\n", &gzip(1 << 30)), 413, "BODY_TOO_LARGE"),
        ("zstd", with("content-encoding: zstd\r\n", &zstd_of(1 << 30)), 413, "BODY_TOO_LARGE"),
        ("deep", with("", deep.as_bytes()), 422, "JSON_DEPTH"),
        ("many", with("", "{}\n".repeat(10_001).as_bytes()), 413, "BATCH_TOO_LARGE"),
    ];
    for (name, request, status, code) in &cases {
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| refused(&service, request))).collect();
            is_unharmed(&service, &token);
            let answers: Vec<_> = all.into_iter().filter_map(|one| one.join().unwrap()).collect();
            println!("{name}: {} answers, at most {} MiB", answers.len(), service.memory("VmHWM"));
            // The answer may be lost with a connection whose body was not read to its end.
            assert!(*name == "endless" || !answers.is_empty(), "{name}");
            for answer in answers {
                assert_eq!(answer, (*status, (*code).to_owned()), "{name}");
            }
        });
    }
    let most = service.memory("VmHWM");
    println!("MiB before {before}, at most {most}");
    assert!(most <= before + EIGHT_BODIES_MIB, "{before} to {most} MiB");
    // A head without end.
    let mut stream = connect(service.public, Ipv4Addr::LOCALHOST);
    let mut sent = stream.write_all(b"GET / HTTP/1.1\r\n");
    for _ in 0..100 {
        sent = sent.and_then(|()| stream.write_all(&[b'x'; 4_096]));
    }
    let told: Vec<u16> = replies(&until_cut(&mut stream)).iter().map(|r| r.status).collect();
    assert!(told.is_empty() || told == [431], "{told:?}");
    is_unharmed(&service, &token);
    service.stop();
}

#[test]
fn what_is_no_tls_is_cut_and_harms_nobody() {
    let (service, token) = service(None, &[]);
    is_unharmed(&service, &token);
    let before = service.memory("VmRSS");
    service.forget_peak();
    let hello = client_hello();
    let mut long = hello.clone();
    // A handshake that says it is 16 MiB long, record behind record of it.
    long[6] = 0xff;
    let kinds: Vec<Vec<u8>> = vec![
        vec![0; 65_536],
        (0..65_536_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
        hello[..hello.len() / 2].to_vec(),
        vec![22, 3, 1, 0xff, 0xff],
        [vec![22, 3, 1, 0xff, 0xff], vec![1; 65_535]].concat(),
        long.repeat(200),
        vec![21, 3, 3, 0, 2, 2, 40],
        Vec::new(),
    ];
    let since = Instant::now();
    let mut all = Vec::new();
    for number in 0..900 {
        let mut stream = connect(service.public, from((number % 5) as u8 + 1));
        // What it does not want to hear, it need not read to the end.
        let _ = stream.write_all(&kinds[number % kinds.len()]);
        all.push(stream);
    }
    is_unharmed(&service, &token);
    for stream in &mut all {
        let told = until_cut(stream);
        assert!(told.len() < 64, "an alert at most: {}", told.len());
    }
    println!("cut after {:?}", since.elapsed());
    assert!(since.elapsed() < CUT, "{:?}", since.elapsed());
    // Shaken hands, and then nothing.
    let mut silent: Vec<Wire> = (0..50).map(|n| Wire::from(&service, from(n % 5 + 1))).collect();
    silent.iter_mut().for_each(|wire| wire.write(b"GET /live"));
    is_unharmed(&service, &token);
    silent.iter_mut().for_each(|wire| assert_eq!(wire.rest(), b""));
    let most = service.memory("VmHWM");
    println!("MiB before {before}, at most {most}");
    assert!(most <= before + THOUSAND_MIB, "{before} to {most} MiB");
    service.stop();
}

/// The first record that a client sends.
fn client_hello() -> Vec<u8> {
    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut record = Vec::new();
    connection.write_tls(&mut record).unwrap();
    record
}

/// Whoever fills the listeners leaves the vaults the files they need.
#[test]
fn connections_never_take_the_files_of_the_vaults() {
    let (service, token) = service(Some(256), &["--plain-http"]);
    assert!(service.read("errors").contains("CONNECTIONS_LIMITED"));
    let since = Instant::now();
    // Three quarters of 64, since each address has a quarter; and as many to the other listener.
    let mut held: Vec<TcpStream> = (0..300)
        .map(|number| {
            let at = if number % 2 == 0 { service.public } else { service.admin };
            connect(at, from((number % 3) as u8 + 1))
        })
        .collect();
    while since.elapsed() < Duration::from_secs(SECONDS) {
        is_unharmed(&service, &token);
    }
    held.iter_mut().for_each(|stream| drop(until_cut(stream)));
    is_unharmed(&service, &token);
    let home = service.stop();
    home.trust();
    home.ok(&["verify", "--trust", "trust.policy"]);
}
