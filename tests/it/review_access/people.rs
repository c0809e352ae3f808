//! People and orders: clocks that are apart, the last admin, throttled logins, what the self-audit
//! holds.

use crate::identity::stage::{HOUR, MINUTE, SECOND, Stage, code};
use crate::support::service::{Service, json_of, post, request, with_token};
use axum::http::{Method, StatusCode, header};
use chancery::base::event::Draft;
use chancery::base::id::DocumentId;
use chancery::base::unit::{EntryIndex, UtcNanos};
use chancery::base::world::Clock;
use chancery::policy::access::Role;
use chancery::server::identity::directory::NewToken;
use chancery::server::identity::human::Grant;
use chancery::server::identity::token::Kind;
use chancery::server::identity::totp::Step;
use chancery::vault::read::Reading;
use serde_json::{Value, json};

/// Log time does not fall: it may be ahead of the wall clock that authenticator programs go by.
#[test]
fn codes_are_those_of_the_clock_on_the_wall() {
    let stage = Stage::new();
    let dana = stage.first();
    let ahead = stage.clock.wall().0 - 10 * MINUTE;
    stage.clock.set_wall(UtcNanos(ahead));
    let stage = stage.restart(10);
    assert_eq!(stage.now().0 - stage.clock.wall().0, 10 * MINUTE);
    stage.clock.pass(MINUTE);
    let by_the_log = dana.secret.code(Step::at(stage.now())).unwrap();
    assert_eq!(code(stage.try_login("dana", &dana.password, &by_the_log)), "UNAUTHENTICATED");
    let cookie = stage.login(&dana);
    let again = stage.code(&dana.secret);
    stage.directory.step_up(&stage.hands(), &cookie, &again).unwrap();
    stage.person(&dana, "omar", &[stage.grant(Role::Readonly)]);
}

/// Sends as the first person: status and code.
fn told(service: &Service, method: Method, path: &str, body: &Value) -> (u16, String) {
    let (status, _, body) = service.manage(service.as_admin(request(method, path, body)));
    let code = json_of(&body)["code"].as_str().unwrap_or_default().to_owned();
    (status.as_u16(), code)
}

/// A tenant's clock that is ahead of the system's makes no code older.
#[test]
fn a_code_is_five_minutes_good_on_every_tenant() {
    let service = Service::start();
    service.clock.pass(10 * MINUTE);
    let event = json!({"id": "1", "action": "user.login", "actor": {"id": "u1"}});
    let json = event.to_string().into_bytes();
    service.main().append(&[Draft { source: "clinic", json: &json }]).unwrap();
    service.clock.set_wall(UtcNanos(service.clock.wall().0 - 10 * MINUTE));
    let service = service.again();
    let apart =
        |service: &Service| service.main().clock().now().0 - service.app.system().clock().now().0;
    assert!(apart(&service) > 9 * MINUTE, "{}", apart(&service));
    let link = |value: &str| {
        let kinds = [("patient_id", value), ("patient_id", "P")];
        let named = kinds.map(|(kind, value)| json!({"kind": kind, "value": value}));
        json!({"act": "link", "identifiers": named})
    };
    let token = json!({"name": "x", "roles": ["ingest"]});
    for (passed, good) in [(0, true), (299 * SECOND, true), (3 * SECOND, false)] {
        service.clock.pass(passed);
        let order = told(&service, Method::POST, "/v1/orders", &link(&format!("P{passed}")));
        let issued = told(&service, Method::POST, "/v1/tokens", &token);
        match good {
            true => assert_eq!((order.0, issued.0), (202, 201), "{order:?} {issued:?}"),
            false => {
                assert_eq!(order, (401, "STEP_UP_STALE".to_owned()));
                assert_eq!(issued, (401, "STEP_UP_REQUIRED".to_owned()));
            }
        }
    }
}

#[test]
fn the_last_admin_stays_whichever_way_the_role_would_go() {
    let stage = Stage::new();
    let dana = stage.first();
    let soon = Some(UtcNanos(stage.now().0 + HOUR));
    let ending = [Grant { until: soon, ..stage.grant(Role::Admin) }];
    let directory = &stage.directory;
    let ways = || {
        let hands = stage.hands();
        [
            code(directory.reset_factor(&hands, dana.who(), dana.id)),
            code(directory.grant(&hands, dana.who(), dana.id, &ending)),
            code(directory.disable(&hands, dana.who(), dana.id)),
            code(directory.take_back(&hands, dana.who(), dana.id, "main", Role::Admin)),
        ]
    };
    assert_eq!(ways(), ["LAST_ADMIN"; 4]);
    // Admins for a time, of another tenant, or who never enrolled, are none to count on.
    let elsewhere = Grant::of("acme", Role::Admin, stage.now());
    stage.person(&dana, "eve", &[ending[0].clone(), elsewhere]);
    stage.create(&dana, "ada", &[stage.grant(Role::Admin)]).unwrap();
    assert_eq!(ways(), ["LAST_ADMIN"; 4]);
    let omar = stage.person(&dana, "omar", &[stage.grant(Role::Admin)]);
    stage.directory.grant(&stage.hands(), dana.who(), dana.id, &ending).unwrap();
    let reset = directory.reset_factor(&stage.hands(), dana.who(), omar.id);
    assert_eq!(code(reset), "LAST_ADMIN");
    directory.reset_factor(&stage.hands(), omar.who(), dana.id).unwrap();

    // Nobody is asked to approve what could not be done.
    let service = Service::start();
    let me = service.app.directory.people(UtcNanos(0))[0].id.to_string();
    let until = "2027-01-31T00:00:00Z";
    let ends = json!([{"tenant": "main", "role": "admin", "until": until}]);
    for order in [
        json!({"act": "reset-factor", "human": me}),
        json!({"act": "disable-human", "human": me}),
        json!({"act": "grant-role", "human": me, "grants": ends}),
    ] {
        let refused = told(&service, Method::POST, "/v1/orders", &order);
        assert_eq!(refused, (409, "LAST_ADMIN".to_owned()), "{order}");
    }
}

#[test]
fn who_is_in_steps_up_whatever_strangers_try_at_the_door() {
    let stage = Stage::new();
    let dana = stage.first();
    let cookie = stage.login(&dana);
    let wrong = || code(stage.try_login("dana", "not the password", "000000"));
    assert_eq!([(); 5].map(|()| wrong()), ["UNAUTHENTICATED"; 5]);
    assert_eq!(wrong(), "LOGIN_THROTTLED");
    // Each time the wait ends, the stranger is first.
    for seconds in [1, 2, 4, 8] {
        stage.clock.pass(seconds * SECOND);
        assert_eq!(wrong(), "UNAUTHENTICATED");
    }
    let fresh = dana.secret.code(Step(Step::at(stage.clock.wall()).0 + 1)).unwrap();
    let opened = stage.directory.step_up(&stage.hands(), &cookie, &fresh).unwrap();
    // Codes are guessed no faster inside.
    let guess = || {
        let tried = stage.directory.step_up(&stage.hands(), opened.cookie.expose(), "12345");
        code(tried)
    };
    assert_eq!([(); 5].map(|()| guess()), ["UNAUTHENTICATED"; 5]);
    assert_eq!(guess(), "LOGIN_THROTTLED");
    assert_eq!(wrong(), "LOGIN_THROTTLED", "what is right inside forgives nothing outside");
}

/// The records of the system's log that say that something was done.
fn said(service: &Service, action: &str) -> Vec<String> {
    let vault = service.app.system();
    let (mut found, says) = (Vec::new(), format!("action=\"{action}\""));
    let reading = Reading { open: true, ..Reading::default() };
    let mut each = |record: chancery::base::record::Record| {
        let fields = record.fields.iter().map(|field| {
            let value = field.value.as_deref().map(String::from_utf8_lossy);
            format!("{}={}", field.name, value.unwrap_or_default())
        });
        let text = fields.collect::<Vec<_>>().join(";");
        let clear = String::from_utf8_lossy(&record.entry.head.clear).into_owned();
        found.extend(text.contains(&says).then(|| format!("{text} {clear}")));
        Ok(())
    };
    let all = EntryIndex(0)..EntryIndex(vault.size().0);
    vault.for_each_record(all, reading, &mut each).unwrap();
    found
}

#[test]
fn a_refused_step_that_no_order_holds_is_in_the_log_of_the_system() {
    let service = Service::start();
    let machine = service.token(&["admin"], None);
    let me = service.app.directory.people(UtcNanos(0))[0].id.to_string();
    let grants = json!([{"tenant": "main", "role": "readonly"}]);
    let wish = json!({"act": "grant-role", "human": me, "grants": grants});
    let (status, _, body) = service.manage(with_token(post("/v1/orders", &wish), &machine));
    assert_eq!(status, StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(&body));
    let order = json_of(&body);
    let approval = json!({"hash": order["hash"]});
    let path = format!("/v1/orders/{}/approve", order["id"].as_str().unwrap());
    let tried = || {
        let (_, _, body) = service.manage(with_token(post(&path, &approval), &machine));
        assert_eq!(json_of(&body)["code"], "APPROVER_MACHINE");
    };
    (0..32).for_each(|_| tried());
    service.app.write_refusals().unwrap();
    assert_eq!(said(&service, "order.refuse"), Vec::<String>::new(), "the order holds them");
    (0..3).for_each(|_| tried());
    assert_eq!(told(&service, Method::POST, &path, &approval).0, 200);
    let late = told(&service, Method::POST, &path, &approval);
    assert_eq!(late, (409, "ORDER_STATE".to_owned()));
    service.app.write_refusals().unwrap();
    let all = said(&service, "order.refuse");
    assert_eq!(all.len(), 2, "{all:?}");
    let id = order["id"].as_str().unwrap();
    let holds =
        |parts: &[&str]| all.iter().any(|text| parts.iter().all(|part| text.contains(part)));
    assert!(holds(&[id, "APPROVER_MACHINE", "\"count\":3", "approve"]), "{all:?}");
    assert!(holds(&[id, "ORDER_STATE", "\"count\":1", "approve"]), "{all:?}");
    service.app.write_refusals().unwrap();
    assert_eq!(said(&service, "order.refuse").len(), 2);
    // The machine that asked is a machine in the log.
    let granted = said(&service, "role.grant");
    let tokens = service.app.directory.tokens("main");
    let token = tokens.iter().find(|token| token.roles == [Role::Admin]).unwrap().id.to_string();
    assert!(granted.iter().any(|text| text.contains(&token)), "{granted:?}");
}

#[test]
fn refusals_of_strangers_are_counted_whatever_they_were_refused_for() {
    let service = Service::start();
    service.app.gate.drain();
    let mut crossed = post("/v1/session", &json!({}));
    crossed.headers_mut().insert(header::ORIGIN, "https://evil.example".parse().unwrap());
    assert_eq!(service.manage(crossed).0, StatusCode::FORBIDDEN);
    let wrong = json!({"login": "dana", "password": "none", "code": "000000"});
    let status = |_| service.manage(post("/v1/session", &wrong)).0.as_u16();
    assert_eq!((0..7).map(status).collect::<Vec<_>>(), [401, 401, 401, 401, 401, 429, 429]);
    let rows = service.app.gate.drain();
    let count = |code: &str| rows.iter().filter(|(row, _)| row.code == code).map(|(_, n)| n).sum();
    let counts: [u64; 3] = ["CROSS_SITE", "UNAUTHENTICATED", "LOGIN_THROTTLED"].map(count);
    assert_eq!(counts, [1, 5, 2]);
    service.app.write_refusals().unwrap();
    let logins = said(&service, "session.refuse");
    assert!(logins.iter().any(|text| text.contains("\"count\":7")), "{logins:?}");
}

/// Whatever room the disk has left: what was done has its entry once it was asked for again.
#[test]
fn what_was_done_has_its_entry_after_a_retry() {
    let mut between = 0;
    for room in (0..).step_by(700) {
        let stage = Stage::new();
        let dana = stage.first();
        let admin = stage.principal(&stage.login(&dana));
        let new = NewToken {
            name: "x".to_owned(),
            tenant: "main".to_owned(),
            roles: vec![Role::Ingest],
            sources: None,
            kind: Kind::Api,
            san: None,
            expires: None,
        };
        let token = stage.directory.issue_token(&stage.hands(), &admin, &new).unwrap().id;
        let made = chancery::server::identity::directory::NewHuman {
            login: "omar".to_owned(),
            name: "omar".to_owned(),
            grants: vec![stage.grant(Role::Readonly)],
        };
        let id = DocumentId([7; 16]);
        stage.disk.full_after(room);
        let first = stage.directory.revoke_token(&stage.hands(), &admin, token);
        let second = stage.directory.create_human(&stage.hands(), dana.who(), id, &made).map(drop);
        stage.disk.heal();
        let stage = stage.restart(10);
        stage.clock.pass(MINUTE);
        let revoked = stage.directory.tokens("main").iter().any(|token| token.revoked);
        let there = stage.directory.person(id, stage.now()).is_ok();
        between += u32::from(revoked && stage.count("token.revoke") == 0);
        between += u32::from(there && stage.count("human.create") == 0);
        let admin = stage.principal(&stage.login(&dana));
        stage.directory.revoke_token(&stage.hands(), &admin, token).unwrap();
        stage.directory.create_human(&stage.hands(), dana.who(), id, &made).unwrap();
        assert!(stage.count("token.revoke") > 0, "room {room}");
        assert!(stage.count("human.create") > 0, "room {room}");
        if first.is_ok() && second.is_ok() {
            break;
        }
    }
    assert!(between > 0, "no room was between an act and its entry");
}
