//! Break-glass, and sessions as the directory keeps them.

use crate::identity::stage::{HOUR, MINUTE, SECOND, Someone, Stage, code};
use chancery::policy::access::{Permission, Role, allows};
use chancery::server::identity::human::Grant;
use chancery::server::identity::refused::Refused;

const REASON: &str = "ticket 4711: the payroll run has stopped";

/// The first person, and one of operations who may break the glass.
fn people(stage: &Stage) -> (Someone, Someone) {
    let dana = stage.first();
    let grant = Grant { break_glass: true, ..stage.grant(Role::Operations) };
    let omar = stage.person(&dana, "omar", &[grant]);
    (dana, omar)
}

#[test]
fn broken_glass_reads_for_an_hour_and_says_so_at_once() {
    let stage = Stage::new();
    let (dana, omar) = people(&stage);
    let cookie = stage.login(&omar);
    assert!(stage.principal(&cookie).may(Permission::EventsOpen).is_err());
    let opened = stage.directory.break_glass(&stage.hands(), &cookie, REASON).unwrap();
    let alarm = stage.records().into_iter().find(|record| record.contains("glass.break")).unwrap();
    assert!(alarm.starts_with("authorization.alert") && alarm.contains("payroll run"), "{alarm}");
    let glass = opened.cookie.expose().to_owned();
    let principal = stage.principal(&glass);
    principal.may(Permission::EventsOpen).unwrap();
    principal.may(Permission::SubjectsLookup).unwrap();
    // It reads. What the person may otherwise do, and what changes anything, it may not.
    for permission in Permission::ALL.iter().copied().filter(|p| !p.only_reads()) {
        assert!(principal.may(permission).is_err(), "{permission}");
    }
    assert!(allows(Role::Operations, Permission::RetentionRun));
    assert!(principal.may(Permission::HumansRead).is_err());
    // The session it was opened from goes on as it was.
    stage.principal(&cookie).may(Permission::RetentionRun).unwrap();
    assert!(stage.principal(&cookie).may(Permission::EventsOpen).is_err());
    for _ in 0..5 {
        stage.clock.pass(10 * MINUTE);
        stage.principal(&glass);
    }
    stage.clock.pass(10 * MINUTE - 1);
    stage.principal(&glass);
    stage.clock.pass(1);
    let over = stage.directory.authenticate_session(&glass, stage.now());
    assert_eq!(over, Err(Refused::SessionEnded));

    // Somebody else looks, once, also after a restart.
    let stage = stage.restart(10);
    stage.clock.pass(60 * SECOND);
    let reviews = stage.directory.reviews("main");
    assert_eq!(reviews.len(), 1);
    let (whose, review) = &reviews[0];
    assert!(*whose == omar.id && review.closed.is_none() && review.reason == REASON);
    assert!(!format!("{review:?}").contains("payroll"));
    assert!(stage.directory.reviews("acme").is_empty());
    let operator = stage.principal(&stage.login(&omar));
    let close = |by| stage.directory.close_review(&stage.hands(), by, review.id, REASON);
    assert_eq!(code(close(&operator)), "FORBIDDEN");
    let approver = [stage.grant(Role::Approver)];
    stage.directory.grant(&stage.hands(), dana.who(), omar.id, &approver).unwrap();
    let operator = stage.principal(&stage.login(&omar));
    assert_eq!(code(close(&operator)), "REVIEW_OWN");
    let reviewer = stage.principal(&stage.login(&dana));
    let short = stage.directory.close_review(&stage.hands(), &reviewer, review.id, "fine");
    assert_eq!(code(short), "REASON_LENGTH");
    close(&reviewer).unwrap();
    assert_eq!(code(close(&reviewer)), "REVIEW_CLOSED");
    let closed = stage.directory.reviews("main")[0].1.closed.clone().unwrap();
    assert_eq!(closed.by, dana.id);
    assert_eq!(stage.count("glass.review"), 1);
}

#[test]
fn the_glass_breaks_only_for_those_who_may_and_not_again_and_again() {
    let stage = Stage::new();
    let (dana, omar) = people(&stage);
    let cookie = stage.login(&dana);
    let size = stage.vault.size();
    let tried = |cookie: &str, reason| stage.directory.break_glass(&stage.hands(), cookie, reason);
    assert_eq!(code(tried(&cookie, REASON)), "FORBIDDEN");
    let cookie = stage.login(&omar);
    assert_eq!(code(tried(&cookie, "because")), "REASON_LENGTH");
    assert_eq!(code(tried(&cookie, "a bell \u{7} rings somewhere")), "REASON_LENGTH");
    stage.clock.pass(5 * MINUTE + 1);
    assert_eq!(code(tried(&cookie, REASON)), "STEP_UP_REQUIRED");
    assert_eq!(stage.vault.size().0, size.0 + 1, "one login and nothing else");
    let cookie = stage.login(&omar);
    for _ in 0..3 {
        tried(&cookie, REASON).unwrap();
    }
    assert_eq!(code(tried(&cookie, REASON)), "REVIEWS_OWED");
    // The grant goes, and every session that stood on it.
    let glass = {
        let reviewer = stage.principal(&stage.login(&dana));
        let (_, review) = &stage.directory.reviews("main")[0];
        stage.directory.close_review(&stage.hands(), &reviewer, review.id, REASON).unwrap();
        let cookie = stage.login(&omar);
        tried(&cookie, REASON).unwrap().cookie
    };
    stage.principal(glass.expose());
    let plain = [stage.grant(Role::Operations)];
    stage.directory.grant(&stage.hands(), dana.who(), omar.id, &plain).unwrap();
    let over = stage.directory.authenticate_session(glass.expose(), stage.now());
    assert_eq!(over, Err(Refused::SessionEnded));
}

#[test]
fn a_session_ends_by_rest_by_age_and_by_its_owner() {
    let stage = Stage::new();
    let dana = stage.first();
    let alive = |cookie: &str| stage.directory.authenticate_session(cookie, stage.now()).is_ok();
    let cookie = stage.login(&dana);
    stage.clock.pass(15 * MINUTE - 1);
    assert!(alive(&cookie));
    stage.clock.pass(15 * MINUTE);
    assert!(!alive(&cookie), "idle");
    let cookie = stage.login(&dana);
    for _ in 0..(8 * HOUR / (10 * MINUTE) - 1) {
        stage.clock.pass(10 * MINUTE);
        assert!(alive(&cookie));
    }
    stage.clock.pass(10 * MINUTE);
    assert!(!alive(&cookie), "old");
    let (one, two) = (stage.login(&dana), stage.login(&dana));
    stage.directory.logout(&stage.vault, &one).unwrap();
    assert!(!alive(&one) && alive(&two));
    stage.directory.logout(&stage.vault, &one).unwrap();
    assert_eq!(stage.count("session.logout"), 1);
    // Wrong codes in a session wait like wrong logins, and do not end it.
    for _ in 0..5 {
        let tried = stage.directory.step_up(&stage.hands(), &two, "12345");
        assert_eq!(code(tried), "UNAUTHENTICATED");
    }
    let tried = stage.directory.step_up(&stage.hands(), &two, "12345");
    assert_eq!(code(tried), "LOGIN_THROTTLED");
    assert!(alive(&two));
}
