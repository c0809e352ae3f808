//! Tokens: what they may, who may issue which, and when they end.

use crate::identity::stage::{HOUR, MINUTE, Stage, code};
use chancery::base::unit::UtcNanos;
use chancery::policy::access::{Permission, Role};
use chancery::server::identity::directory::{Issued, NewToken};
use chancery::server::identity::human::Grant;
use chancery::server::identity::principal::{Principal, Scope, Who};
use chancery::server::identity::refused::{Refused, Result};
use chancery::server::identity::token::Kind;

fn ingest(sources: Option<&[&str]>) -> NewToken {
    let sources = sources.map(|all| all.iter().map(|name| (*name).to_owned()).collect());
    NewToken {
        name: "crm writer".to_owned(),
        tenant: "main".to_owned(),
        roles: vec![Role::Ingest],
        sources,
        kind: Kind::Api,
        san: None,
        expires: None,
    }
}

fn issue(stage: &Stage, maker: &Principal, new: &NewToken) -> Result<Issued> {
    stage.directory.issue_token(&stage.hands(), maker, new)
}

fn admin(stage: &Stage) -> Principal {
    let dana = stage.first();
    stage.principal(&stage.login(&dana))
}

#[test]
fn a_token_appends_for_its_sources_until_it_is_revoked() {
    let stage = Stage::new();
    let admin = admin(&stage);
    let issued = issue(&stage, &admin, &ingest(Some(&["crm", "erp"]))).unwrap();
    let text = issued.text.expose().to_owned();
    let known = |stage: &Stage| stage.directory.authenticate_token(&text, stage.now());
    let principal = known(&stage).unwrap();
    assert_eq!((principal.who, &*principal.tenant), (Who::Token(issued.id), "main"));
    let scope = principal.scope(Permission::EventsAppend).unwrap();
    assert!(scope.has("crm") && scope.has("erp") && !scope.has("hr"));
    assert_eq!(principal.may(Permission::EventsRead).unwrap_err().code(), "FORBIDDEN");
    assert_eq!(principal.fresh(stage.now()), Err(Refused::HumansOnly));
    let all = issue(&stage, &admin, &ingest(None)).unwrap();
    let all = stage.directory.authenticate_token(all.text.expose(), stage.now()).unwrap();
    assert_eq!(all.scope(Permission::EventsAppend), Ok(Scope::All));
    // Shown once: neither lists nor records have it, and no Debug form.
    let listed = stage.directory.tokens("main");
    assert_eq!(listed.len(), 2);
    let secret = text.rsplit('_').next().unwrap();
    let printed = format!("{listed:?} {issued:?} {principal:?} {:?}", stage.records());
    assert!(!printed.contains(secret) && !printed.contains(&secret[..48]));
    assert!(!stage.vault.facts_now().documents.is_empty());
    // It outlives a restart, and ends with its revocation, which outlives one too.
    let stage = stage.restart(10);
    known(&stage).unwrap();
    stage.directory.revoke_token(&stage.hands(), &admin, issued.id).unwrap();
    assert_eq!(known(&stage), Err(Refused::TokenRevoked));
    let size = stage.vault.size();
    stage.directory.revoke_token(&stage.hands(), &admin, issued.id).unwrap();
    // Again is no failure; it has its entry, since the first one may have been cut off.
    assert_eq!(stage.vault.size().0, size.0 + 1);
    let stage = stage.restart(20);
    assert_eq!(known(&stage), Err(Refused::TokenRevoked));
    assert_eq!((stage.count("token.issue"), stage.count("token.revoke")), (2, 2));
    let revoked = |info: &chancery::server::identity::directory::TokenInfo| info.revoked;
    assert_eq!(stage.directory.tokens("main").iter().filter(|info| revoked(info)).count(), 1);
}

#[test]
fn a_wrong_token_is_refused_as_nobody_and_only_the_right_one_learns_more() {
    let stage = Stage::new();
    let admin = admin(&stage);
    let expires = Some(UtcNanos(stage.now().0 + HOUR));
    let issued = issue(&stage, &admin, &NewToken { expires, ..ingest(None) }).unwrap();
    let text = issued.text.expose();
    let tried = |text: &str| stage.directory.authenticate_token(text, stage.now());
    // Another secret under the same id, with a right CRC; another environment with one.
    let mend = |body: String| format!("{body}{:08x}", crc32fast::hash(body.as_bytes()));
    let body = &text[..text.len() - 8];
    let (head, _) = body.split_at(body.len() - 48);
    let forged = mend(format!("{head}{}", "00".repeat(24)));
    let other = mend(body.replace("_live_", "_dev_"));
    let unknown = mend(format!("chancery_live_{}_{}", "0".repeat(16), "0".repeat(48)));
    let refusals = |when: &str| {
        for wrong in [forged.as_str(), &other, &unknown, "", "Bearer x", &text[1..]] {
            assert_eq!(tried(wrong), Err(Refused::Unauthenticated), "{when}: {wrong}");
        }
    };
    refusals("in force");
    tried(text).unwrap();
    stage.clock.pass(HOUR - 1);
    tried(text).unwrap();
    stage.clock.pass(1);
    assert_eq!(tried(text), Err(Refused::TokenExpired));
    refusals("expired");
    stage.directory.revoke_token(&stage.hands(), &admin, issued.id).unwrap();
    assert_eq!(tried(text), Err(Refused::TokenRevoked));
    refusals("revoked");
}

#[test]
fn a_guid_is_for_hec_and_a_token_is_not() {
    let stage = Stage::new();
    let admin = admin(&stage);
    let hec = NewToken { kind: Kind::Hec, ..ingest(Some(&["okta"])) };
    let guid = issue(&stage, &admin, &hec).unwrap();
    let api = issue(&stage, &admin, &ingest(None)).unwrap();
    let (guid, api) = (guid.text.expose(), api.text.expose());
    let now = stage.now();
    let principal = stage.directory.authenticate_hec(guid, now).unwrap();
    assert!(principal.scope(Permission::EventsAppend).unwrap().has("okta"));
    stage.directory.authenticate_hec(&guid.to_ascii_uppercase(), now).unwrap();
    for wrong in [api, "", "00000000-0000-4000-8000-000000000000", &guid[1..]] {
        let tried = stage.directory.authenticate_hec(wrong, now);
        assert_eq!(tried, Err(Refused::Unauthenticated), "{wrong}");
    }
    assert_eq!(stage.directory.authenticate_token(guid, now), Err(Refused::Unauthenticated));
    for sources in [None, Some(&["a", "b"][..]), Some(&[][..])] {
        let wrong = NewToken { kind: Kind::Hec, ..ingest(sources) };
        assert!(matches!(code(issue(&stage, &admin, &wrong)), "TOKEN_SOURCES" | "GRANT_SOURCES"));
    }
}

#[test]
fn nobody_issues_what_he_has_not_and_no_machine_more_than_ingest() {
    let stage = Stage::new();
    let dana = stage.first();
    let admin = stage.principal(&stage.login(&dana));
    let year = Some(UtcNanos(stage.now().0 + 366 * 24 * HOUR));
    let of = |roles: &[Role]| NewToken { roles: roles.to_vec(), expires: year, ..ingest(None) };
    let tried = |maker: &Principal, new: &NewToken| {
        issue(&stage, maker, new).map(drop).map_err(|error| error.code())
    };
    for (roles, expect) in [
        (&[Role::Readonly][..], Ok(())),
        (&[Role::Operations], Ok(())),
        (&[Role::Admin, Role::PrivacyOfficer], Ok(())),
        (&[Role::Auditor], Err("TOKEN_ROLES")),
        (&[Role::Approver], Err("TOKEN_ROLES")),
        (&[], Err("TOKEN_ROLES")),
        (&[Role::Readonly, Role::Readonly], Err("TOKEN_ROLES")),
        (&[Role::Developer], Err("TOKEN_SOURCES")),
    ] {
        assert_eq!(tried(&admin, &of(roles)), expect, "{roles:?}");
    }
    let readonly = of(&[Role::Readonly]);
    let later = |nanos| Some(UtcNanos(stage.now().0 + nanos));
    for (expires, expect) in [
        (None, Err("TOKEN_EXPIRY")),
        (Some(stage.now()), Err("TOKEN_EXPIRY")),
        (later(1), Ok(())),
        (later(367 * 24 * HOUR), Err("TOKEN_EXPIRY")),
    ] {
        assert_eq!(tried(&admin, &NewToken { expires, ..readonly.clone() }), expect);
    }
    for name in ["", " x", "a\nb", "\u{e9}", &"x".repeat(65)] {
        let named = NewToken { name: name.to_owned(), ..readonly.clone() };
        assert_eq!(tried(&admin, &named), Err("TOKEN_NAME"), "{name:?}");
    }
    let foreign = NewToken { tenant: "acme".to_owned(), ..readonly.clone() };
    assert_eq!(tried(&admin, &foreign), Err("TENANT_UNKNOWN"));
    // A machine with the role of an admin.
    let robot = issue(&stage, &admin, &of(&[Role::Admin])).unwrap();
    let robot = stage.directory.authenticate_token(robot.text.expose(), stage.now()).unwrap();
    robot.may(Permission::TokensManage).unwrap();
    assert_eq!(tried(&robot, &readonly), Err("TOKEN_ROLES"));
    assert_eq!(tried(&robot, &ingest(None)), Ok(()));
    assert_eq!(robot.may(Permission::OrdersApprove), Err(Refused::HumansOnly));
    let omar = stage.person(&dana, "omar", &[stage.grant(Role::Operations)]);
    let omar = stage.principal(&stage.login(&omar));
    assert_eq!(tried(&omar, &ingest(None)), Err("FORBIDDEN"));
}

#[test]
fn a_token_loses_what_its_maker_loses() {
    let stage = Stage::new();
    let dana = stage.first();
    let roles = [Role::Admin, Role::PrivacyOfficer].map(|role| stage.grant(role));
    let omar = stage.person(&dana, "omar", &roles);
    let maker = stage.principal(&stage.login(&omar));
    let expires = Some(UtcNanos(stage.now().0 + 24 * HOUR));
    let roles = vec![Role::PrivacyOfficer, Role::Readonly];
    let issued = issue(&stage, &maker, &NewToken { roles, expires, ..ingest(None) }).unwrap();
    let held = || {
        let known = stage.directory.authenticate_token(issued.text.expose(), stage.now());
        known.unwrap().roles()
    };
    assert_eq!(held(), [Role::PrivacyOfficer, Role::Readonly]);
    let hands = stage.hands();
    let officer = Role::PrivacyOfficer;
    stage.directory.take_back(&hands, dana.who(), omar.id, "main", officer).unwrap();
    assert_eq!(held(), [Role::Readonly]);
    let back = [Grant { until: Some(hands.later(MINUTE)), ..stage.grant(officer) }];
    stage.directory.grant(&hands, dana.who(), omar.id, &back).unwrap();
    assert_eq!(held(), [officer, Role::Readonly]);
    stage.clock.pass(MINUTE);
    assert_eq!(held(), [Role::Readonly], "until its end");
    stage.directory.grant(&stage.hands(), dana.who(), omar.id, &[stage.grant(officer)]).unwrap();
    assert_eq!(held().len(), 2);
    stage.directory.disable(&stage.hands(), dana.who(), omar.id).unwrap();
    assert_eq!(held(), [Role::Readonly]);
}

#[test]
fn tokens_of_another_tenant_are_not_there() {
    let stage = Stage::new();
    let dana = stage.first();
    let main = stage.principal(&stage.login(&dana));
    let issued = issue(&stage, &main, &ingest(None)).unwrap();
    let acme = [Grant::of("acme", Role::Admin, stage.now())];
    let omar = stage.person(&dana, "omar", &acme);
    let omar = stage.principal(&stage.login(&omar));
    assert_eq!(omar.tenant, "acme");
    let revoked = stage.directory.revoke_token(&stage.hands(), &omar, issued.id);
    assert_eq!(code(revoked), "TOKEN_UNKNOWN");
    assert!(stage.directory.tokens("acme").is_empty());
    stage.directory.authenticate_token(issued.text.expose(), stage.now()).unwrap();
}
