//! Strangers on the wire, many at once: half-sent bodies, a flood of logins, connections that say
//! nothing. Who is known is served all the same.

use crate::support::service::Service;
use chancery::server::listen::Bounds;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Makes connections from addresses of choice.
struct Caller(Runtime);

impl Caller {
    fn new() -> Caller {
        Caller(Builder::new_current_thread().enable_all().build().unwrap())
    }

    fn connect(&self, from: Ipv4Addr, to: SocketAddr) -> TcpStream {
        let stream = self.0.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::from((from, 0))).unwrap();
            socket.connect(to).await.unwrap().into_std().unwrap()
        });
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        stream
    }

    /// Sends a JSON request on a connection of its own: the status.
    fn post(
        &self,
        (from, to): (Ipv4Addr, SocketAddr),
        path: &str,
        more: &str,
        body: &Value,
    ) -> u16 {
        let body = body.to_string();
        let mut stream = self.connect(from, to);
        let head = head(path, more, body.len());
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
        let answer = rest(&mut stream).expect("an answer, and the end");
        let status = answer.get(9..12).unwrap_or_else(|| panic!("no answer: {answer:?}"));
        status.parse().unwrap()
    }
}

fn head(path: &str, more: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n"
    )
}

/// Everything until the other side closes; nothing if it does not.
fn rest(stream: &mut TcpStream) -> Option<String> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        _ => Some(String::from_utf8_lossy(&all).into_owned()),
    }
}

/// Runs beside the service, outside of its runtime.
fn apart<T: Send + 'static>(
    run: impl FnOnce(SocketAddr) -> T + Send + 'static,
) -> impl FnOnce(SocketAddr) -> T + Send + 'static {
    move |to| std::thread::spawn(move || run(to)).join().unwrap()
}

#[test]
fn bodies_of_strangers_take_no_room_from_who_is_known() {
    let service = Service::start();
    let token = service.token(&["ingest"], Some(&["clinic"]));
    let status = service.serving(apart(move |to| {
        let caller = Caller::new();
        // A byte less than a body of an order each, then than one of a login.
        let sizes = [1 << 20; 256].into_iter().chain([4 << 10; 64]);
        let held: Vec<TcpStream> = sizes
            .enumerate()
            .map(|(n, size)| {
                let from = Ipv4Addr::new(127, 9, u8::try_from(n / 16).unwrap(), 1);
                let mut stream = caller.connect(from, to);
                // Whoever is refused at once reads no more of it.
                let _ = stream.write_all(head("/v1/session", "", size).as_bytes());
                let _ = stream.write_all(&vec![b' '; size - 1]);
                stream
            })
            .collect();
        let event = json!({"id": "1", "action": "user.login", "actor": {"id": "u1"}});
        let bearer = format!("authorization: Bearer {token}\r\n");
        let status = caller.post((HERE, to), "/v1/events?source=clinic", &bearer, &event);
        drop(held);
        status
    }));
    assert_eq!(status, 200);
}

#[test]
fn a_flood_of_logins_from_one_address_keeps_nobody_else_out() {
    let service = Service::start();
    let right = service.credentials();
    let app = service.app.clone();
    let (before, began) = (app.directory.gate().entered(), Instant::now());
    let (honest, guessed) = service.serving(apart(move |to| {
        let flood = Ipv4Addr::new(127, 9, 9, 9);
        let (over, refused, number) =
            (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let caller = Caller::new();
                    while !over.load(Ordering::Relaxed) {
                        // A name each: none of them has tried before.
                        let login = format!("x{}", number.fetch_add(1, Ordering::Relaxed));
                        let wish = json!({"login": login, "password": "none", "code": "000000"});
                        let status = caller.post((flood, to), "/v1/session", "", &wish);
                        refused.fetch_add(u64::from(status == 429), Ordering::Relaxed);
                    }
                });
            }
            while refused.load(Ordering::Relaxed) < 100 {
                std::thread::yield_now();
            }
            let caller = Caller::new();
            // A right guess among the flood is not looked at either.
            let guessed = caller.post((flood, to), "/v1/session", "", &right);
            let honest = caller.post((HERE, to), "/v1/session", "", &right);
            over.store(true, Ordering::Relaxed);
            (honest, guessed)
        })
    }));
    assert_eq!((honest, guessed), (200, 429));
    // A burst, what two seconds each give back, and the honest one.
    let checked = app.directory.gate().entered() - before;
    assert!(checked <= 30 + 2 + began.elapsed().as_secs() / 2, "{checked} passwords were checked");
    let refusals = app.gate.drain();
    let told = refusals.iter().filter(|(row, _)| row.code == "TOO_MANY_FAILURES");
    assert!(told.map(|(_, count)| count).sum::<u64>() >= 100, "{refusals:?}");
}

#[test]
fn whoever_says_nothing_is_cut_whatever_he_speaks() {
    let service = Service::start();
    let bounds = Bounds { idle: Duration::from_millis(300), ..Bounds::default() };
    let closed = service.serving_within(
        bounds,
        apart(|to| {
            let settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
            let begun: [&[u8]; 6] =
                [b"", b"P", b"PRI * HTTP/2", settings, b"GET / HTTP/1.1\r\nhost: lo", b"\r\n"];
            let caller = Caller::new();
            let mut all = begun.map(|begun| {
                let mut stream = caller.connect(HERE, to);
                stream.write_all(begun).unwrap();
                stream
            });
            // Whoever asks again in time goes on.
            let mut alive = caller.connect(HERE, to);
            let mut piece = [0; 4096];
            for _ in 0..2 {
                alive.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
                let read = alive.read(&mut piece).unwrap();
                assert!(piece[..read].starts_with(b"HTTP/1.1 200"));
            }
            all.each_mut().map(|stream| rest(stream).is_some())
        }),
    );
    assert_eq!(closed, [true; 6]);
}

#[test]
fn a_proxy_may_have_all_connections_and_nobody_else_more_than_his_part() {
    let service = Service::start();
    let bounds = Bounds { per_address: 2, ..Bounds::default() };
    let open = service.serving_within(
        bounds,
        apart(|to| {
            let caller = Caller::new();
            [HERE, Ipv4Addr::new(127, 7, 7, 7)].map(|from| {
                let mut all: Vec<TcpStream> = (0..4).map(|_| caller.connect(from, to)).collect();
                let served = |stream: &mut TcpStream| {
                    let asked = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
                    let mut piece = [0; 16];
                    stream.write_all(asked).is_ok()
                        && stream.read(&mut piece).is_ok_and(|read| read > 0)
                };
                all.iter_mut().filter_map(|stream| served(stream).then_some(())).count()
            })
        }),
    );
    assert_eq!(open, [2, 4]);
}
