//! Sessions against what browsers are made to do: other sites' pages, stolen and planted cookies.

use crate::service::person::{Person, pair};
use crate::service::stage::{As, Service};
use serde_json::json;

const PREFIX: &str = "__Host-chancery=";

/// Sends an unsafe request with the session's cookie and what a browser adds to it.
fn unsafe_request(service: &Service, cookie: &str, more: &[(&str, &str)]) -> (u16, String) {
    let headers = [&[("cookie", cookie), ("content-type", "application/json")], more].concat();
    let wish = json!({"identifiers": [{"kind": "email", "value": "nobody@example.org"}]});
    let body = Some(wish.to_string().into_bytes());
    let reply = service.send(service.admin, ("POST", "/v1/subjects/lookup"), &headers, body);
    (reply.status, reply.code())
}

fn other_sites(service: &Service, dana: &Person) {
    let own = format!("https://{}", service.admin);
    let public = format!("https://{}", service.public);
    let crossed = (403, "CROSS_SITE".to_owned());
    let ours = unsafe_request(service, &dana.cookie, &[]);
    assert_eq!(ours.0, 404, "a program's own request is heard: {ours:?}");
    for good in [
        &[("origin", own.as_str())][..],
        &[("sec-fetch-site", "same-origin"), ("origin", own.as_str())],
        &[("sec-fetch-site", "none")],
    ] {
        assert_eq!(unsafe_request(service, &dana.cookie, good), ours, "{good:?}");
    }
    let plain = own.replace("https", "http");
    let longer = format!("{own}.evil.example");
    for bad in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "null")],
        &[("origin", "")],
        &[("origin", plain.as_str())],
        &[("origin", longer.as_str())],
        // The other listener is another origin.
        &[("origin", public.as_str())],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site"), ("origin", own.as_str())],
        &[("origin", own.as_str()), ("origin", "https://evil.example")],
        &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
    ] {
        assert_eq!(unsafe_request(service, &dana.cookie, bad), crossed, "{bad:?}");
    }
    // Whoever logs a victim in as himself would see what the victim does then.
    let evil = [("origin", "https://evil.example"), ("content-type", "application/json")];
    for path in ["/v1/session", "/v1/enrolment", "/v1/enrolment/confirm"] {
        let reply = service.send(service.admin, ("POST", path), &evil, Some(b"{}".to_vec()));
        assert_eq!((reply.status, reply.code()), crossed, "{path}");
    }
    // No page of another origin is told that it may read anything.
    let headers = [("cookie", dana.cookie.as_str()), ("origin", "https://evil.example")];
    let reply = service.send(service.admin, ("GET", "/v1/session"), &headers, None);
    assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
    let preflight = [
        ("origin", "https://evil.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization"),
    ];
    let reply =
        service.send(service.admin, ("OPTIONS", "/v1/subjects/lookup"), &preflight, Some(vec![]));
    assert_eq!(reply.status, 405);
    assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
}

fn cookies(service: &Service, dana: &mut Person) {
    let known = |cookie: &str| service.ask(As::Session(cookie), "GET", "/v1/session", None).status;
    // A session's name is nobody's choice: one that was planted is not taken over at the login.
    let planted = format!("{PREFIX}{}", "0".repeat(64));
    let first = dana.cookie.clone();
    let wish = json!({"code": dana.code()});
    let headers = [("cookie", first.as_str()), ("content-type", "application/json")];
    let body = Some(wish.to_string().into_bytes());
    let reply = service.send(service.admin, ("POST", "/v1/session/step-up"), &headers, body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let set = reply.header("set-cookie").to_owned();
    let second = pair(&set);
    assert_ne!(first, second, "another name");
    assert_eq!((known(&first), known(&second), known(&planted)), (401, 200, 401));
    assert!(second.starts_with(PREFIX) && second.len() >= PREFIX.len() + 32, "{}", second.len());
    let mut parts: Vec<&str> = set.split(';').skip(1).map(str::trim).collect();
    parts.sort_unstable();
    assert_eq!(parts, ["HttpOnly", "Path=/", "SameSite=Strict", "Secure"]);
    // A code is good for one use.
    let again = json!({"code": dana.used_code()});
    let refused = service.refused(As::Session(&second), "/v1/session/step-up", &again);
    assert_eq!(refused, (401, "UNAUTHENTICATED".to_owned()));
    // Two cookies of that name are none.
    let two = format!("{second}; {planted}");
    assert_eq!((known(&two), known(&format!("{planted}; {second}"))), (401, 401));

    let reply = service.ask(As::Session(&second), "DELETE", "/v1/session", None);
    assert_eq!(reply.status, 204);
    assert!(reply.header("set-cookie").starts_with(&format!("{PREFIX};")));
    assert!(reply.header("set-cookie").contains("Max-Age=0"));
    let ended = service.ask(As::Session(&second), "GET", "/v1/session", None);
    assert_eq!((ended.status, ended.code()), (401, "SESSION_ENDED".to_owned()));
}

/// What is wrong with a login is not said.
fn logins(service: &Service) {
    let try_in = |login: &str, password: &str| {
        let wish = json!({"login": login, "password": password, "code": "000000"});
        let reply = service.ask(As::Nobody, "POST", "/v1/session", Some(&wish));
        let mut problem = reply.json();
        problem["instance"] = json!("");
        assert!(reply.headers.get("set-cookie").is_none());
        problem
    };
    let stranger = try_in("nobody-of-that-name", "whatever it is");
    assert_eq!(stranger["code"], "UNAUTHENTICATED");
    assert_eq!(try_in("dana", "not the password"), stranger);
    assert_eq!(try_in("dana", "correct horse battery staple"), stranger);
}

#[test]
fn a_session_is_its_owners_and_ends_with_the_logout() {
    let service = Service::start(&[]);
    let mut dana = Person::first(&service);
    other_sites(&service, &dana);
    cookies(&service, &mut dana);
    logins(&service);
    service.stop();
}
