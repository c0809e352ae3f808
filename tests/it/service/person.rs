//! People with an authenticator, as the service meets them. The codes are computed here, from
//! RFC 6238 and nothing of the service's.

use crate::service::stage::{As, Reply, Service};
use ring::hmac;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PASSWORD: &str = "correct horse battery staple";

/// Somebody enrolled.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) login: String,
    secret: Vec<u8>,
    /// Step of the last code used: each is good for one use.
    used: u64,
    /// The pair of the session's cookie.
    pub(crate) cookie: String,
}

impl Person {
    /// Enrols the first person of a service, by the token that it left for its owner.
    pub(crate) fn first(service: &Service) -> Person {
        let token = service.read("h/chancery-data/others/system/bootstrap.token");
        Person::enrol(service, token.trim(), "dana")
    }

    /// Enrols somebody and logs in.
    pub(crate) fn enrol(service: &Service, token: &str, login: &str) -> Person {
        let wish = json!({"token": token, "login": login, "password": PASSWORD});
        let shown = service.post(As::Nobody, "/v1/enrolment", &wish);
        let secret = unbase32(shown["secret"].as_str().unwrap());
        let otpauth = shown["otpauth"].as_str().unwrap();
        assert!(otpauth.starts_with("otpauth://totp/"), "{otpauth}");
        let mut person = Person { login: login.to_owned(), secret, used: 0, cookie: String::new() };
        let wish = json!({"token": token, "code": person.code()});
        let enrolled = service.post(As::Nobody, "/v1/enrolment/confirm", &wish);
        assert_eq!(enrolled["human"].as_str().unwrap().len(), 32);
        person.log_in(service);
        person
    }

    /// Asks for a session.
    pub(crate) fn try_log_in(&mut self, service: &Service) -> Reply {
        let wish = json!({"login": self.login, "password": PASSWORD, "code": self.code()});
        service.ask(As::Nobody, "POST", "/v1/session", Some(&wish))
    }

    /// Opens a session; it counts as stepped up for five minutes.
    pub(crate) fn log_in(&mut self, service: &Service) {
        let reply = self.try_log_in(service);
        assert_eq!(reply.status, 200, "{}", reply.text());
        self.cookie = pair(reply.header("set-cookie"));
    }

    pub(crate) fn who(&self) -> As<'_> {
        As::Session(&self.cookie)
    }

    /// The next code not used yet.
    pub(crate) fn code(&mut self) -> String {
        self.used = loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            let step = now / 30;
            // The step before now is taken too, as long as it surely arrives in this one.
            let first = if now % 30 < 15 { step - 1 } else { step };
            let next = first.max(self.used + 1);
            if next <= step + 1 {
                break next;
            }
            // What is waited for is the clock of the service, which is this machine's.
            std::thread::park_timeout(Duration::from_millis(50));
        };
        self.code_at(self.used)
    }

    /// The code used last, which no one may use again.
    pub(crate) fn used_code(&self) -> String {
        self.code_at(self.used)
    }

    /// From now on only codes after the clock's next one: what a restart demands.
    pub(crate) fn forget_codes(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.used = now / 30 + 1;
    }

    fn code_at(&self, step: u64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.secret);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let at = usize::from(tag[19] & 15);
        let word = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:06}", word % 1_000_000)
    }

    /// Issues a token: its text.
    pub(crate) fn token(&self, service: &Service, roles: &[&str], more: &Value) -> String {
        let mut wish = json!({"name": roles.join("-"), "roles": roles});
        for (name, value) in more.as_object().unwrap() {
            wish[name] = value.clone();
        }
        let issued = service.post(self.who(), "/v1/tokens", &wish);
        issued["token"].as_str().unwrap().to_owned()
    }
}

/// The pair of a `Set-Cookie` header.
pub(crate) fn pair(header: &str) -> String {
    header.split(';').next().unwrap().to_owned()
}

/// An instant so many days from now.
pub(crate) fn in_days(days: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    chancery::base::unit::UtcNanos(now + days * 86_400_000_000_000).to_string()
}

/// RFC 4648 base 32, without padding.
fn unbase32(text: &str) -> Vec<u8> {
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text.trim_end_matches('=').bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => panic!("no base 32: {text}"),
        };
        bits = bits << 5 | u32::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    bytes
}

#[test]
fn codes_are_those_of_the_standard() {
    // RFC 6238, appendix B, SHA-1: the last six digits.
    let secret = unbase32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    assert_eq!(secret, b"12345678901234567890");
    let person = Person { login: String::new(), secret, used: 0, cookie: String::new() };
    for (seconds, code) in
        [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000_u64, "353130")]
    {
        assert_eq!(person.code_at(seconds / 30), code);
    }
}
