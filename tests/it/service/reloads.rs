//! Other certificate files under a running service: used from the next connection on, while what is
//! open goes on; files that cannot be used change nothing and are counted.

use crate::service::person::{Person, in_days};
use crate::service::raw::Wire;
use crate::service::stage::{As, Service};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use std::time::{Duration, Instant};

/// A certificate that signs itself, with its key, in PEM; and in DER.
fn made() -> (String, Vec<u8>) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    (certificate.pem() + &key.serialize_pem(), certificate.der().to_vec())
}

/// Puts a text in the place of a file at once, as an administrator's tool does.
fn put(service: &Service, text: &str) {
    let (fresh, place) = (service.path("h/tls/fresh"), service.path("h/tls/server.pem"));
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(&fresh, &place).unwrap();
}

/// Waits until something is so.
fn wait(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().parse().unwrap()
}

#[test]
fn new_certificate_files_are_used_and_broken_ones_are_not() {
    let service = Service::start(&["--single-operator", "--cooling-off", "0s"]);
    let dana = Person::first(&service);
    let me = service.get(dana.who(), "/v1/session");
    let grants = json!([{"tenant": "main", "role": "operations"}]);
    let wish = json!({"act": "grant-role", "human": me["id"], "grants": grants});
    assert_eq!(service.post(dana.who(), "/v1/orders", &wish)["state"], "executed");
    let token = dana.token(&service, &["operations"], &json!({"expires": in_days(30)}));
    let read = || service.ask(As::Token(&token), "GET", "/metrics", None).text();
    let (failures, until) =
        ("chancery_tls_reload_failures_total", "chancery_tls_certificate_expiry_seconds");
    assert_eq!(metric(&read(), failures), 0.0);
    let before = metric(&read(), until);
    assert!(before > 1.7e9, "{before}");

    let mut old = Wire::new(&service);
    let asked = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    old.write(asked);
    assert!(old.some().starts_with("HTTP/1.1 200"));
    let own = old.server_certificate();
    put(&service, "-----BEGIN CERTIFICATE-----\nnonsense\n");
    // The service's own client trusts the old authority alone, so it still meets that certificate.
    wait("the broken file is counted", || metric(&read(), failures) == 1.0);
    assert_eq!(metric(&read(), until), before);
    let (pem, der) = made();
    put(&service, &pem);
    wait("the new certificate is used", || Wire::to_anybody(&service).server_certificate() == der);
    assert_ne!(own, der);
    old.write(asked);
    assert!(old.some().starts_with("HTTP/1.1 200"), "the old connection goes on");

    let home = service.stop();
    let errors = std::fs::read_to_string(home.path("errors")).unwrap();
    let lines = errors.lines().filter(|line| line.contains("certificates in use stay"));
    assert_eq!(lines.count(), 1, "{errors}");
    let terms = ["kind=event", "source=chancery", "category=configuration", "verb=update"];
    let args = [&["--tenant", "system", "query"][..], &terms, &["--count"]].concat();
    let said = home.ok(&args);
    assert!(said.contains("\"count\":1"), "{said}");
}
