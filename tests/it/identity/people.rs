//! People: the first one, invitations, logins that tell nothing, codes that count once, roles that
//! are taken back, the founding and its end.

use crate::identity::stage::{HOUR, MINUTE, SECOND, Someone, Stage, code};
use crate::support::sim::Survivors;
use crate::support::world::two_people;
use chancery::base::id::DocumentId;
use chancery::policy::access::{Permission, Role};
use chancery::server::identity::account;
use chancery::server::identity::directory::{Login, NewHuman};
use chancery::server::identity::enrolment::Enrol;
use chancery::server::identity::human::Grant;
use chancery::server::identity::password::CHECKS_MAX;
use chancery::server::identity::principal::Who;
use chancery::server::identity::refused::Refused;
use chancery::server::identity::token::make_invitation;
use chancery::server::identity::totp::Step;
use chancery::vault::error::Error as VaultError;

fn enrol<'a>(token: &'a str, password: &'a str) -> Enrol<'a> {
    Enrol { token, login: Some("dana"), name: Some("Dana Berg"), password }
}

#[test]
fn the_first_person_enrols_once_and_comes_in() {
    let stage = Stage::new();
    let (token, expires) = stage.directory.bootstrap(&stage.hands()).unwrap().unwrap();
    assert_eq!(expires.0 - stage.now().0, 15 * MINUTE);
    let (token, good) = (token.expose(), "a paper boat sails");
    let refused =
        |given: &Enrol<'_>| stage.directory.enrol(&stage.hands(), given).unwrap_err().code();
    let stranger = make_invitation(&*stage.entropy);
    assert_eq!(refused(&enrol(stranger.expose(), good)), "ENROLMENT_REFUSED");
    assert_eq!(refused(&enrol("chancery_enrol_", good)), "ENROLMENT_REFUSED");
    assert_eq!(refused(&enrol(token, "too short")), "PASSWORD_LENGTH");
    assert_eq!(refused(&enrol(token, "dana-dana-12")), "PASSWORD_WEAK");
    assert_eq!(refused(&Enrol { login: None, ..enrol(token, good) }), "LOGIN_NOT_PLAIN");
    assert_eq!(code(stage.directory.confirm(&stage.hands(), token, "000000")), "ENROLMENT_REFUSED");

    let dana = stage.enrol(token, "dana", true);
    let people = stage.directory.people(stage.now());
    assert_eq!(people.len(), 1);
    assert!(people[0].enrolled && people[0].id == dana.id && people[0].made_by.is_none());
    let roles: Vec<Role> = people[0].grants.iter().map(|grant| grant.role).collect();
    assert_eq!(roles, [Role::Admin, Role::PrivacyOfficer, Role::Approver]);
    // One use, and no second first person.
    assert_eq!(refused(&enrol(token, good)), "ENROLMENT_REFUSED");
    let again = stage.code(&dana.secret);
    assert_eq!(code(stage.directory.confirm(&stage.hands(), token, &again)), "ENROLMENT_REFUSED");
    assert!(stage.directory.bootstrap(&stage.hands()).unwrap().is_none());

    let cookie = stage.login(&dana);
    let principal = stage.principal(&cookie);
    assert_eq!((principal.name.as_str(), principal.tenant.as_str()), ("dana", "main"));
    assert_eq!(principal.who, Who::Human(dana.id));
    principal.may(Permission::HumansManage).unwrap();
    let refused = principal.may(Permission::RetentionRun).unwrap_err();
    assert_eq!(refused.code(), "FORBIDDEN");
    assert_eq!(stage.directory.may_approve(&principal, stage.now()), Ok(dana.id));
    for action in ["human.enrol", "session.login"] {
        assert_eq!(stage.count(action), 1, "{action}: {:?}", stage.records());
    }
    // What lets anybody in is in no record that a reader gets, and in nothing that is printed.
    let printed = format!("{:?} {:?} {:?}", stage.records(), stage.directory, people);
    let secret = dana.secret.base32();
    for hidden in [dana.password.as_str(), "argon2id", token, &cookie, secret.as_str()] {
        assert!(!printed.contains(hidden), "{hidden}");
    }
    assert!(!format!("{principal:?} {people:?}").contains("dana"));
}

#[test]
fn the_first_invitation_ends_by_time_and_by_the_next_start() {
    let stage = Stage::new();
    let (first, _) = stage.directory.bootstrap(&stage.hands()).unwrap().unwrap();
    let given = enrol(first.expose(), "a paper boat sails");
    stage.directory.enrol(&stage.hands(), &given).unwrap();
    stage.clock.pass(15 * MINUTE);
    let late = stage.directory.enrol(&stage.hands(), &given).unwrap_err();
    assert_eq!(late, Refused::EnrolmentRefused);
    // What was begun in time is over as well.
    let confirmed = stage.directory.confirm(&stage.hands(), first.expose(), "000000");
    assert_eq!(code(confirmed), "ENROLMENT_REFUSED");
    let stage = stage.restart(10);
    let (second, _) = stage.directory.bootstrap(&stage.hands()).unwrap().unwrap();
    let again = enrol(first.expose(), "a paper boat sails");
    assert!(stage.directory.enrol(&stage.hands(), &again).is_err());
    stage.enrol(second.expose(), "dana", true);
    let stage = stage.restart(20);
    assert!(stage.directory.bootstrap(&stage.hands()).unwrap().is_none());
}

#[test]
fn wrong_codes_while_enrolling_end_what_was_begun() {
    let stage = Stage::new();
    let (token, _) = stage.directory.bootstrap(&stage.hands()).unwrap().unwrap();
    let given = enrol(token.expose(), "a paper boat sails");
    stage.directory.enrol(&stage.hands(), &given).unwrap();
    for _ in 0..5 {
        let confirmed = stage.directory.confirm(&stage.hands(), token.expose(), "12345");
        assert_eq!(code(confirmed), "ENROLMENT_CODE");
    }
    let confirmed = stage.directory.confirm(&stage.hands(), token.expose(), "12345");
    assert_eq!(code(confirmed), "ENROLMENT_REFUSED");
    assert!(stage.directory.is_empty());
    // The invitation itself is still good.
    stage.enrol(token.expose(), "dana", true);
}

#[test]
fn an_invitation_is_for_one_person_one_use_and_three_days() {
    let stage = Stage::new();
    let dana = stage.first();
    let omar = stage.create(&dana, "omar", &[stage.grant(Role::Readonly)]).unwrap();
    let invite = || stage.directory.invite(&stage.hands(), dana.who(), omar).unwrap();
    let (first, _) = invite();
    let (second, expires) = invite();
    assert_eq!(expires.0 - stage.now().0, 72 * HOUR);
    let bare = |token| Enrol { token, login: None, name: None, password: "a red kite flies low" };
    let tried = |given: Enrol<'_>| {
        stage.directory.enrol(&stage.hands(), &given).map_err(|refused| refused.code())
    };
    assert_eq!(tried(bare(first.expose())).unwrap_err(), "ENROLMENT_REFUSED", "closed by the next");
    let other = Enrol { login: Some("mallory"), ..bare(second.expose()) };
    assert_eq!(tried(other).unwrap_err(), "ENROLMENT_NAMES");
    stage.clock.pass(72 * HOUR);
    assert_eq!(tried(bare(second.expose())).unwrap_err(), "ENROLMENT_REFUSED");
    let (third, _) = invite();
    let omar = stage.enrol(third.expose(), "omar", false);
    assert_eq!(tried(bare(third.expose())).unwrap_err(), "ENROLMENT_REFUSED", "used");
    let again = stage.directory.invite(&stage.hands(), dana.who(), omar.id);
    assert_eq!(code(again), "HUMAN_ENROLLED");
    stage.login(&omar);
}

#[test]
fn logins_are_taken_whatever_their_case_and_an_order_is_carried_out_once() {
    let stage = Stage::new();
    let dana = stage.first();
    for login in ["dana", "DANA", "Dana"] {
        assert_eq!(code(stage.create(&dana, login, &[])), "LOGIN_TAKEN");
    }
    let new = NewHuman { login: "omar".into(), name: "Omar".into(), grants: Vec::new() };
    let fits = |new: &NewHuman| stage.directory.fits(new, stage.now()).map_err(|r| r.code());
    assert_eq!(fits(&new), Ok(()));
    let bad = NewHuman { grants: vec![stage.grant(Role::Auditor)], ..new.clone() };
    assert_eq!(fits(&bad), Err("GRANT_UNTIL"));
    let (id, hands) = (DocumentId([9; 16]), stage.hands());
    assert!(stage.directory.create_human(&hands, dana.who(), id, &new).unwrap());
    let size = stage.vault.size();
    assert!(!stage.directory.create_human(&hands, dana.who(), id, &new).unwrap());
    assert_eq!(stage.count("human.create"), 2, "the entry of the first may have been cut off");
    assert_eq!(fits(&new), Err("LOGIN_TAKEN"));
    let error = stage.directory.create_human(&hands, dana.who(), DocumentId([8; 16]), &new);
    let error = VaultError::from(error.unwrap_err());
    assert_eq!(error.to_string(), "LOGIN_TAKEN: choose another login");
    assert_eq!(stage.vault.size().0, size.0 + 1);
    let other = NewHuman { login: "eve".into(), ..new };
    assert_eq!(code(stage.directory.create_human(&hands, dana.who(), id, &other)), "LOGIN_TAKEN");
}

#[test]
fn whatever_is_wrong_about_a_login_the_answer_and_the_work_are_the_same() {
    let stage = Stage::new();
    let dana = stage.first();
    let omar = stage.person(&dana, "omar", &[stage.grant(Role::Readonly)]);
    let gone = stage.person(&dana, "gone", &[stage.grant(Role::Readonly)]);
    stage.create(&dana, "invited", &[stage.grant(Role::Readonly)]).unwrap();
    stage.directory.disable(&stage.hands(), dana.who(), gone.id).unwrap();
    stage.clock.pass(30 * SECOND);
    let right = |who: &Someone| who.secret.code(Step::at(stage.now())).unwrap();
    let (omars, gones) = (right(&omar), right(&gone));
    let cases = [
        ("nobody-here", "a paper boat sails", "123456"),
        ("invited", "a paper boat sails", "123456"),
        ("gone", &*gone.password, &*gones),
        ("omar", "a paper boat sails", &*omars),
        ("omar", &*omar.password, "12345"),
    ];
    // Everybody needs a place at which passwords are checked, or gets nowhere.
    let inside: Vec<_> = (0..CHECKS_MAX).map(|_| stage.directory.gate().enter().unwrap()).collect();
    for (login, password, given) in cases {
        assert_eq!(code(stage.try_login(login, password, given)), "OVERLOADED", "{login}");
    }
    drop(inside);
    let said: Vec<String> = cases
        .iter()
        .map(|(login, password, code)| {
            stage.try_login(login, password, code).unwrap_err().to_string()
        })
        .collect();
    assert_eq!(said, vec!["UNAUTHENTICATED: nobody with these credentials"; cases.len()]);
    // Five wrong attempts, then all of them wait alike.
    for (login, free) in [("nobody-here", 4), ("invited", 4), ("gone", 4), ("omar", 3)] {
        for _ in 0..free {
            let tried = stage.try_login(login, "a wrong password", "123456");
            assert_eq!(code(tried), "UNAUTHENTICATED", "{login}");
        }
        let waits = stage.try_login(login, "a wrong password", "123456").unwrap_err();
        assert_eq!(waits.to_string(), "LOGIN_THROTTLED: wait 1 s before the next attempt");
    }
    // A vault that takes nothing: they are written down the next time.
    let broken = stage.disk.fork();
    let shared = crate::support::world::world(std::sync::Arc::new(broken.clone()), &stage.clock, 7);
    let config = crate::support::world::config(std::path::Path::new(crate::identity::stage::HOME));
    let elsewhere = chancery::vault::Vault::open(shared, &config).unwrap();
    broken.fail_sync_at(1);
    stage.directory.record_refusals(&elsewhere).unwrap_err();
    drop(elsewhere);
    let size = stage.vault.size();
    stage.directory.record_refusals(&stage.vault).unwrap();
    assert_eq!(stage.vault.size().0 - size.0, 4, "three people, and one for all strangers");
    let records = stage.records();
    let refused: Vec<&String> = records.iter().filter(|r| r.contains("session.refuse")).collect();
    assert_eq!(refused.len(), 4);
    assert!(refused.iter().all(|record| record.contains(r#""count":6"#)), "{refused:?}");
    assert!(!records.iter().any(|record| record.contains("nobody-here")));
    stage.directory.record_refusals(&stage.vault).unwrap();
    assert_eq!(stage.records().len(), records.len(), "nothing happened since");
    // Waiting is over when it is over.
    stage.clock.pass(2 * SECOND);
    stage.login(&omar);
}

#[test]
fn a_code_counts_once_also_across_a_restart() {
    let stage = Stage::new();
    let dana = stage.first();
    let used = stage.code(&dana.secret);
    let cookie = {
        let opened = stage.try_login("dana", &dana.password, &used).unwrap();
        opened.cookie.expose().to_owned()
    };
    assert_eq!(code(stage.try_login("dana", &dana.password, &used)), "UNAUTHENTICATED");
    assert_eq!(code(stage.directory.step_up(&stage.hands(), &cookie, &used)), "UNAUTHENTICATED");
    // The one before was never used, and comes too late.
    let before = dana.secret.code(Step(Step::at(stage.now()).0 - 1)).unwrap();
    assert_eq!(code(stage.try_login("dana", &dana.password, &before)), "UNAUTHENTICATED");
    // The next one, by a clock that runs ahead.
    let ahead = dana.secret.code(Step(Step::at(stage.now()).0 + 1)).unwrap();
    stage.try_login("dana", &dana.password, &ahead).unwrap();
    let stage = stage.restart(10);
    for seen in [&used, &ahead] {
        assert_eq!(code(stage.try_login("dana", &dana.password, seen)), "UNAUTHENTICATED");
    }
    stage.clock.pass(30 * SECOND);
    assert_eq!(code(stage.try_login("dana", &dana.password, &ahead)), "UNAUTHENTICATED");
    // A session does not outlive the process, and the person gets in again.
    let gone = stage.directory.authenticate_session(&cookie, stage.now());
    assert_eq!(gone, Err(Refused::SessionEnded));
    stage.login(&dana);
}

#[test]
fn a_role_counts_while_it_is_held_and_on_its_tenant() {
    let stage = Stage::new();
    let dana = stage.first();
    let until = chancery::base::unit::UtcNanos(stage.now().0 + HOUR);
    let auditor = Grant { until: Some(until), ..stage.grant(Role::Auditor) };
    let sources = Some(vec!["crm".to_owned()]);
    let developer = Grant { sources, ..Grant::of("acme", Role::Developer, stage.now()) };
    let foreign = Grant::of("acme", Role::Admin, stage.now());
    let omar = stage.person(&dana, "omar", &[auditor, developer, foreign]);
    let cookie = stage.login(&omar);
    stage.principal(&cookie).may(Permission::EventsOpen).unwrap();
    // The same person on another tenant: other roles, and the service is run from main alone.
    let login = |tenant: &str| {
        let code = stage.code(&omar.secret);
        let (login, password) = (omar.login, omar.password.as_str());
        let given = Login { login, password, code: &code, tenant: Some(tenant) };
        stage.directory.login(&stage.hands(), &given)
    };
    let there = login("acme").unwrap().principal;
    assert_eq!(there.roles(), [Role::Admin, Role::Developer]);
    assert_eq!(there.may(Permission::EventsOpen).unwrap_err().code(), "FORBIDDEN");
    assert_eq!(there.may(Permission::HumansManage).unwrap_err().code(), "FORBIDDEN");
    there.may(Permission::TokensManage).unwrap();
    let scope = there.scope(Permission::EventsRead).unwrap();
    assert!(scope.has("crm") && !scope.has("erp"));
    assert_eq!(code(login("globex")), "TENANT_UNKNOWN");
    // Time takes the auditor's role, and nothing needs to be told.
    stage.clock.pass(HOUR - 10 * MINUTE);
    for _ in 0..2 {
        stage.clock.pass(5 * MINUTE);
        let _ = stage.directory.authenticate_session(&cookie, stage.now());
    }
    let late = login("main");
    assert_eq!(code(late), "TENANT_UNKNOWN");
    // An admin takes back the rest.
    let other = login("acme").unwrap();
    let hands = stage.hands();
    stage.directory.take_back(&hands, dana.who(), omar.id, "acme", Role::Developer).unwrap();
    let now = stage.directory.authenticate_session(other.cookie.expose(), stage.now()).unwrap();
    assert_eq!(now.roles(), [Role::Admin]);
    let again = stage.directory.take_back(&hands, dana.who(), omar.id, "acme", Role::Developer);
    assert_eq!(code(again), "GRANT_UNKNOWN");
    // The only admin of the service stays one.
    let last = stage.directory.take_back(&hands, dana.who(), dana.id, "main", Role::Admin);
    assert_eq!(code(last), "LAST_ADMIN");
    assert_eq!(code(stage.directory.disable(&hands, dana.who(), dana.id)), "LAST_ADMIN");
}

#[test]
fn who_is_disabled_or_reset_is_out_at_once_and_waits_before_approving() {
    let stage = Stage::new();
    let dana = stage.first();
    let omar = stage.person(&dana, "omar", &[stage.grant(Role::Approver)]);
    let cookie = stage.login(&omar);
    // New: not before the cooling-off, which begins when both factors are shown.
    let refused = stage.directory.may_approve(&stage.principal(&cookie), stage.now());
    assert_eq!(refused.unwrap_err().code(), "COOLING_OFF");
    stage.clock.pass(HOUR);
    let cookie = stage.login(&omar);
    assert_eq!(stage.directory.may_approve(&stage.principal(&cookie), stage.now()), Ok(omar.id));
    // A code that is not fresh.
    stage.clock.pass(5 * MINUTE + 1);
    let stale = stage.directory.may_approve(&stage.principal(&cookie), stage.now());
    assert_eq!(stale, Err(Refused::StepUpRequired));
    let fresh = stage.code(&omar.secret);
    let stepped = stage.directory.step_up(&stage.hands(), &cookie, &fresh).unwrap();
    assert!(stage.directory.authenticate_session(&cookie, stage.now()).is_err(), "the old cookie");
    assert_eq!(stage.directory.may_approve(&stepped.principal, stage.now()), Ok(omar.id));

    stage.directory.reset_factor(&stage.hands(), dana.who(), omar.id).unwrap();
    let ended = stage.directory.authenticate_session(stepped.cookie.expose(), stage.now());
    assert_eq!(ended, Err(Refused::SessionEnded));
    let given = stage.code(&omar.secret);
    assert_eq!(code(stage.try_login("omar", &omar.password, &given)), "UNAUTHENTICATED");
    let (token, _) = stage.directory.invite(&stage.hands(), dana.who(), omar.id).unwrap();
    let omar = stage.enrol(token.expose(), "omar", false);
    let cookie = stage.login(&omar);
    let refused = stage.directory.may_approve(&stage.principal(&cookie), stage.now());
    assert_eq!(refused.unwrap_err().code(), "COOLING_OFF");

    stage.directory.disable(&stage.hands(), dana.who(), omar.id).unwrap();
    let ended = stage.directory.authenticate_session(&cookie, stage.now());
    assert_eq!(ended, Err(Refused::SessionEnded));
    let invited = stage.directory.invite(&stage.hands(), dana.who(), omar.id);
    assert_eq!(code(invited), "HUMAN_DISABLED");
    // A new approver's role waits as well, also for somebody who is no new person.
    let eve = stage.person(&dana, "eve", &[stage.grant(Role::Readonly)]);
    stage.clock.pass(2 * HOUR);
    let approver = [stage.grant(Role::Approver)];
    stage.directory.grant(&stage.hands(), dana.who(), eve.id, &approver).unwrap();
    let cookie = stage.login(&eve);
    let refused = stage.directory.may_approve(&stage.principal(&cookie), stage.now());
    assert_eq!(refused.unwrap_err().code(), "COOLING_OFF");
    for action in ["human.disable", "human.reset", "role.grant", "session.step-up"] {
        assert_eq!(stage.count(action), 1, "{action}");
    }
}

#[test]
fn the_founding_ends_with_the_second_approver_and_never_comes_back() {
    let stage = Stage::new();
    assert!(stage.directory.is_founding());
    let dana = stage.first();
    let omar = stage.create(&dana, "omar", &[stage.grant(Role::Approver)]).unwrap();
    let elsewhere = Grant::of("acme", Role::Approver, stage.now());
    stage.person(&dana, "eve", &[elsewhere]);
    // Somebody who has not enrolled, or approves on another tenant, is no second one.
    assert!(stage.directory.is_founding());
    let (token, _) = stage.directory.invite(&stage.hands(), dana.who(), omar).unwrap();
    stage.enrol(token.expose(), "omar", false);
    assert!(!stage.directory.is_founding());
    let founded = stage.directory.founded().unwrap();
    assert_eq!(founded.tenant, "main");
    let mut two = [dana.id, omar];
    two.sort_unstable();
    assert_eq!(founded.humans, two);
    assert_eq!(stage.count("founding.end"), 1);
    stage.directory.disable(&stage.hands(), dana.who(), omar).unwrap();
    assert!(!stage.directory.is_founding());
    let stage = stage.restart(10);
    assert!(!stage.directory.is_founding());
    assert_eq!(stage.directory.founded().unwrap(), founded);
}

/// A power loss at any moment of the second approver's enrolment leaves the state before or the
/// state after, and never two approvers of whom one may still act alone.
#[test]
fn a_crash_while_the_second_approver_enrols_leaves_one_of_two_states() {
    let stage = Stage::new();
    let dana = stage.first();
    let omar = stage.create(&dana, "omar", &[stage.grant(Role::Approver)]).unwrap();
    let (token, _) = stage.directory.invite(&stage.hands(), dana.who(), omar).unwrap();
    stage.disk.film();
    let someone = stage.enrol(token.expose(), "omar", false);
    assert!(!stage.directory.is_founding());
    let stills = stage.disk.cut();
    let (mut before, mut after) = (0, 0);
    for (at, still) in stills.iter().enumerate() {
        let seeded = Survivors::Random(at as u64);
        for survivors in [Survivors::Nothing, Survivors::Everything, seeded] {
            let disk = still.crash(survivors);
            let clock = stage.clock.fork();
            let again = Stage::on(disk, clock, 1_000 + at as u64);
            let enrolled = again.directory.person(omar, again.now()).unwrap().enrolled;
            assert_eq!(again.directory.is_founding(), !enrolled, "{at}: {}", still.next);
            if enrolled {
                after += 1;
                again.clock.pass(60 * SECOND);
                again.login(&someone);
            } else {
                before += 1;
                again.enrol(token.expose(), "omar", false);
                assert!(!again.directory.is_founding());
            }
        }
    }
    println!("{before} crashes before it, {after} after it");
    assert!(before > 3 && after > 3);
}

#[test]
fn an_erased_person_is_out_and_nobody_becomes_the_first_again() {
    let stage = Stage::new();
    let dana = stage.first();
    let omar = stage.person(&dana, "omar", &[stage.grant(Role::Readonly)]);
    let cookie = stage.login(&omar);
    stage.vault.erase(&[account(omar.id)], "gdpr-17-1", &two_people()).unwrap();
    stage.directory.refresh(&stage.vault, omar.id).unwrap();
    let ended = stage.directory.authenticate_session(&cookie, stage.now());
    assert_eq!(ended, Err(Refused::SessionEnded));
    assert_eq!(stage.directory.people(stage.now()).len(), 1);
    let given = stage.code(&omar.secret);
    assert_eq!(code(stage.try_login("omar", &omar.password, &given)), "UNAUTHENTICATED");
    assert!(!stage.records().iter().any(|record| record.contains(&omar.id.to_string())));
    stage.vault.erase(&[account(dana.id)], "gdpr-17-1", &two_people()).unwrap();
    let stage = stage.restart(10);
    assert!(stage.directory.people(stage.now()).is_empty() && !stage.directory.is_empty());
    assert!(stage.directory.bootstrap(&stage.hands()).unwrap().is_none());
    // The login is free again, for another document.
    let new = NewHuman { login: "omar".into(), name: "Omar".into(), grants: Vec::new() };
    let same = stage.directory.create_human(&stage.hands(), dana.who(), omar.id, &new);
    assert_eq!(code(same), "HUMAN_UNKNOWN");
}
