//! The parts that need no vault: texts of tokens, codes, passwords, attempts, names.

use crate::support::world::SeedEntropy;
use chancery::base::id::DocumentId;
use chancery::base::limits::DOCUMENT_BYTES_MAX;
use chancery::base::unit::UtcNanos;
use chancery::base::world::Entropy;
use chancery::policy::access::Role;
use chancery::server::identity::glass::{Closed, Review};
use chancery::server::identity::human::{
    Factor, Grant, Human, check_grants, check_login, check_name,
};
use chancery::server::identity::password::{CHECKS_MAX, Gate, Phc, judge};
use chancery::server::identity::refused::Refused;
use chancery::server::identity::throttle::{Door, FREE_ATTEMPTS, Throttle};
use chancery::server::identity::token::{
    Env, Keeper, Parsed, ShortId, make, make_guid, make_invitation, parse_guid, parse_invitation,
    typed_login,
};
use chancery::server::identity::totp::{SharedSecret, Step};
use proptest::prelude::*;
use std::collections::BTreeSet;

const SECOND: u64 = 1_000_000_000;

fn keeper() -> Keeper {
    Keeper::new(&[7; 32]).unwrap()
}

// ---- Texts of tokens ----

#[test]
fn a_token_has_the_form_of_the_page() {
    let entropy = SeedEntropy::new(1);
    for (env, word) in [(Env::Live, "live"), (Env::Dev, "dev")] {
        let (id, text) = make(env, &*entropy);
        let parts: Vec<&str> = text.expose().split('_').collect();
        assert_eq!(parts.len(), 4);
        assert_eq!((parts[0], parts[1]), ("chancery", word));
        assert_eq!(parts[2], &id.to_string()[..16]);
        assert_eq!(parts[3].len(), 48 + 8);
        let body = &text.expose()[..text.expose().len() - 8];
        let crc = format!("{:08x}", crc32fast::hash(body.as_bytes()));
        assert!(text.expose().ends_with(&crc));
        let parsed = Parsed::parse(text.expose()).unwrap();
        assert_eq!((parsed.id, parsed.env), (ShortId::of(id), env));
        assert_eq!(format!("{text:?}"), "Shown(..)");
        assert!(!format!("{parsed:?}").contains(parts[3]));
    }
}

#[test]
fn what_only_looks_like_a_token_is_refused() {
    let (_, text) = make(Env::Live, &*SeedEntropy::new(2));
    let text = text.expose();
    // With a right CRC, so that the form alone decides.
    let crc = |body: &str| format!("{body}{:08x}", crc32fast::hash(body.as_bytes()));
    let body = &text[..text.len() - 8];
    assert!(Parsed::parse(&crc(body)).is_ok());
    for wrong in [
        String::new(),
        "chancery".to_owned(),
        "0".repeat(88),
        text.to_ascii_uppercase(),
        format!(" {text}"),
        format!("{text}\n"),
        crc(&body.replace("_live_", "_prod_")),
        crc(&body.replace("chancery_", "chancellery_")),
        crc(&body.replacen("chancery_live_", "chancery_live_00", 1)),
        crc(&body.replacen("chancery_", "chancery__", 1)),
        crc(&format!("x_{body}")),
        crc(&format!("{body}00")),
        crc(&body[..body.len() - 2]),
        crc(&body.replacen(|c: char| c.is_ascii_digit(), "G", 1)),
        make_invitation(&*SeedEntropy::new(3)).expose().to_owned(),
    ] {
        assert_eq!(Parsed::parse(&wrong).unwrap_err(), Refused::Unauthenticated, "{wrong:?}");
    }
    assert!(parse_invitation(text).is_err(), "a token is no invitation");
}

proptest! {
    #[test]
    fn a_token_with_any_one_character_changed_is_refused(
        seed in any::<u64>(), at in 0..88_usize, to in "[0-9a-z_A-Z \\-]",
    ) {
        let (_, text) = make(Env::Live, &*SeedEntropy::new(seed));
        let (text, kept) = (text.expose(), keeper());
        let at = at % text.len();
        prop_assume!(text[at..at + 1] != to);
        let mut changed = text.to_owned();
        changed.replace_range(at..=at, &to);
        // The CRC finds every change of up to 32 bits in a row, before anything is looked up.
        prop_assert!(Parsed::parse(&changed).is_err());
        // A forger mends the CRC: then the MAC decides.
        if let Some(body) = changed.get(..changed.len() - 8) {
            let mended = format!("{body}{:08x}", crc32fast::hash(body.as_bytes()));
            if let (Ok(forged), Ok(right)) = (Parsed::parse(&mended), Parsed::parse(text)) {
                let hash = kept.keep(right.message());
                prop_assert_eq!(kept.is(forged.message(), &hash), mended == text);
            }
        }
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in ".{0,120}") {
        let _ = (Parsed::parse(&text), parse_guid(&text), parse_invitation(&text));
        prop_assert!(Parsed::parse(&text).is_err());
    }

    #[test]
    fn a_guid_is_read_in_either_case_and_in_no_other_form(seed in any::<u64>(), at in 0..36_usize) {
        let (_, guid) = make_guid(&*SeedEntropy::new(seed));
        let (text, kept) = (guid.expose(), keeper());
        prop_assert_eq!(&text[14..15], "4");
        prop_assert!("89ab".contains(&text[19..20]));
        let hash = kept.keep(&parse_guid(text).unwrap());
        prop_assert!(kept.is(&parse_guid(&text.to_ascii_uppercase()).unwrap(), &hash));
        let mut cut = text.to_owned();
        cut.remove(at);
        prop_assert!(parse_guid(&cut).is_err());
        let mut other = text.to_owned();
        let swap = if &text[at..=at] == "0" { "1" } else { "0" };
        other.replace_range(at..=at, swap);
        prop_assert!(!parse_guid(&other).is_ok_and(|other| kept.is(&other, &hash)));
    }
}

#[test]
fn a_mac_is_of_one_kind_of_text_and_of_one_key() {
    let kept = keeper();
    let other = Keeper::new(&[8; 32]).unwrap();
    let (_, guid) = make_guid(&*SeedEntropy::new(4));
    let hash = kept.keep(&parse_guid(guid.expose()).unwrap());
    assert!(!other.is(&parse_guid(guid.expose()).unwrap(), &hash));
    // The same bytes as another kind of text.
    let (_, token) = make(Env::Live, &*SeedEntropy::new(4));
    let api = kept.keep(Parsed::parse(token.expose()).unwrap().message());
    let (body, _) = token.expose().split_at(token.expose().len() - 8);
    assert_ne!(api, kept.keep(&typed_login(body)));
    assert_eq!(kept.keep(&typed_login("Ann")), kept.keep(&typed_login("aNN")));
    assert_eq!(format!("{hash:?} {kept:?}"), "Kept(..) Keeper(..)");
}

// ---- Codes ----

#[test]
fn codes_are_those_of_rfc_6238() {
    let secret = SharedSecret::new(*b"12345678901234567890");
    let mut rows = 0;
    for row in include_str!("rfc6238.txt").lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let seconds: u64 = cells[0].parse().unwrap();
        let step = u64::from_str_radix(cells[1], 16).unwrap();
        assert_eq!(seconds / 30, step, "the page agrees with itself");
        assert_eq!(secret.code(Step(step)).as_deref(), Some(&cells[2][2..]), "{row}");
        if let Some(nanos) = seconds.checked_mul(SECOND) {
            assert_eq!(secret.check(&cells[2][2..], UtcNanos(nanos)), Some(Step(step)));
        }
        rows += 1;
    }
    assert_eq!(rows, 6);
}

#[test]
fn a_code_is_right_one_step_early_and_late_and_no_more() {
    let secret = SharedSecret::make(&*SeedEntropy::new(5));
    let step = Step(60_000_000);
    let code = secret.code(step).unwrap();
    for (seconds, right) in
        [(-31_i64, false), (-30, true), (0, true), (29, true), (59, true), (60, false)]
    {
        let now = UtcNanos((step.0 * 30).saturating_add_signed(seconds) * SECOND);
        assert_eq!(secret.check(&code, now), right.then_some(step), "{seconds}");
    }
    let now = UtcNanos(step.0 * 30 * SECOND);
    for wrong in ["", "12345", "1234567", "12 456", "+12345", "abcdef", "\u{661}\u{662}\u{663}"] {
        assert_eq!(secret.check(wrong, now), None, "{wrong}");
    }
    let shown = secret.base32();
    assert!(!format!("{secret:?}").contains(shown.as_str()));
    let json = serde_json::to_string(&secret).unwrap();
    assert_eq!(serde_json::from_str::<SharedSecret>(&json).unwrap(), secret);
}

// ---- Passwords ----

#[test]
fn a_password_is_long_and_not_the_first_guess() {
    let check = |password: &str, expect: Option<&str>| {
        let judged = judge(password, "dana.berg", "Dana Berg");
        assert_eq!(judged.err().map(|refused| refused.code()), expect, "{password}");
    };
    for good in [
        "correct horse battery",
        "twelve chars",
        "\u{e9}t\u{e9} \u{e0} la plage",
        "no-composition-rules-here",
        "my dana.berg is a boat of wood",
        &format!("{}{}", "0123456789abcdefXYZ".repeat(13), "moon-boat")[..256],
    ] {
        check(good, None);
    }
    for short in ["", "elevenchars", &"abcdefgh".repeat(33)] {
        check(short, Some("PASSWORD_LENGTH"));
    }
    for weak in [
        "aaaaaaaaaaaa",
        "121212121212",
        "password1234",
        "Password-2026!",
        "qwertyuiop12",
        "123456789012",
        "dana.berg2026!",
        "DANABERG-1234",
        "Dana  Berg  12",
        "chancery2026!",
    ] {
        check(weak, Some("PASSWORD_WEAK"));
    }
}

#[test]
fn what_is_kept_of_a_password_is_argon2id_with_the_stated_cost() {
    let (gate, entropy) = (Gate::default(), SeedEntropy::new(6));
    let place = gate.enter().unwrap();
    let phc = Phc::of("correct horse battery", &*entropy, &place).unwrap();
    let again = Phc::of("correct horse battery", &*entropy, &place).unwrap();
    assert_ne!(phc, again, "a salt of its own");
    let text: String = serde_json::from_str(&serde_json::to_string(&phc).unwrap()).unwrap();
    assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
    assert!(phc.is("correct horse battery", &place) && again.is("correct horse battery", &place));
    for wrong in ["correct horse batterz", "correct horse battery ", "", "Correct horse battery"] {
        assert!(!phc.is(wrong, &place));
    }
    assert_eq!(format!("{phc:?}"), "Phc(..)");
    // A planted hash cannot make a check cost more, or pass by another algorithm.
    for planted in [
        text.replace("m=19456", "m=1048576"),
        text.replace("t=2", "t=50"),
        text.replace("argon2id", "argon2d"),
        "plain".to_owned(),
    ] {
        let planted: Phc = serde_json::from_value(planted.into()).unwrap();
        assert!(!planted.is("correct horse battery", &place));
    }
}

#[test]
fn only_so_many_passwords_are_checked_at_once() {
    let gate = Gate::default();
    let mut inside: Vec<_> = (0..CHECKS_MAX).map(|_| gate.enter().unwrap()).collect();
    assert_eq!(gate.enter().unwrap_err(), Refused::Overloaded);
    assert_eq!(gate.enter().unwrap_err().retry_after(), Some(1));
    inside.pop();
    inside.push(gate.enter().unwrap());
    assert!(gate.enter().is_err());
    drop(inside);
    assert!(gate.enter().is_ok());
}

// ---- Attempts ----

fn at(seconds: u64) -> UtcNanos {
    UtcNanos((1_800_000_000 + seconds) * SECOND)
}

fn doors() -> [Door; 3] {
    let stranger = keeper().keep(&typed_login("nobody"));
    let id = DocumentId([1; 16]);
    [Door::Known(id), Door::Inside(id), Door::Stranger(stranger)]
}

#[test]
fn attempts_wait_longer_and_longer_and_never_for_ever() {
    for door in doors() {
        let mut throttle = Throttle::new(at(0));
        for _ in 0..FREE_ATTEMPTS {
            throttle.knock(door, at(0)).unwrap();
        }
        let (mut now, mut waits) = (0, Vec::new());
        for _ in 0..13 {
            let seconds = throttle.knock(door, at(now)).unwrap_err().retry_after().unwrap();
            if seconds > 1 {
                // An early attempt is refused, and makes nobody wait longer.
                let early = throttle.knock(door, at(now + seconds - 1)).unwrap_err();
                assert_eq!(early.retry_after(), Some(1));
            }
            now += seconds;
            throttle.knock(door, at(now)).unwrap();
            waits.push(seconds);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
        // A day of quiet forgives.
        for _ in 0..FREE_ATTEMPTS {
            throttle.knock(door, at(now + 86_400)).unwrap();
        }
        assert!(throttle.knock(door, at(now + 86_400)).is_err());
    }
}

#[test]
fn a_right_attempt_forgives_and_strangers_never_push_a_person_out() {
    let [known, inside, _] = doors();
    let mut throttle = Throttle::new(at(0));
    for _ in 0..20 {
        for _ in 0..FREE_ATTEMPTS {
            throttle.knock(known, at(0)).unwrap();
        }
        throttle.right(known);
    }
    for _ in 0..FREE_ATTEMPTS {
        throttle.knock(known, at(0)).unwrap();
    }
    for n in 0..10_050 {
        let stranger = Door::Stranger(keeper().keep(&typed_login(&n.to_string())));
        throttle.knock(stranger, at(1)).unwrap();
    }
    assert!(throttle.knock(known, at(0)).is_err());
    // Who is in does not wait for what others try outside, nor the other way round.
    for _ in 0..FREE_ATTEMPTS {
        throttle.knock(inside, at(0)).unwrap();
    }
    assert!(throttle.knock(inside, at(0)).is_err());
    throttle.right(inside);
    throttle.knock(inside, at(0)).unwrap();
    assert!(throttle.knock(known, at(0)).is_err());
}

#[test]
fn a_step_counts_once_and_none_from_before_the_start() {
    let id = DocumentId([1; 16]);
    let mut throttle = Throttle::new(at(0));
    let now = Step::at(at(0)).0;
    for (step, fresh) in [
        (now - 1, false),
        (now, false),
        // A clock that runs ahead may have shown it before this process began.
        (now + 1, false),
        (now + 2, true),
        (now + 2, false),
        (now + 1, false),
        (now + 5, true),
        (now + 4, false),
    ] {
        assert_eq!(throttle.take(id, Step(step)), fresh, "{}", step - now);
    }
    // A new secret: none of its codes can have been seen before.
    let fresh = DocumentId([2; 16]);
    throttle.begin(fresh, Step(now));
    assert!(!throttle.take(fresh, Step(now)) && throttle.take(fresh, Step(now + 1)));
}

// ---- Names and grants ----

#[test]
fn logins_are_plain_and_names_steer_nothing() {
    for good in ["dana", "Dana.Berg@example.org", "d2", &"x".repeat(64)] {
        assert!(check_login(good).is_ok(), "{good}");
    }
    for bad in ["", "d", "da na", " dana", "d\u{430}na", "dana\n", &"x".repeat(65)] {
        assert_eq!(check_login(bad).unwrap_err().code(), "LOGIN_NOT_PLAIN", "{bad}");
    }
    for good in ["Dana Berg", "\u{17d}ofia \u{10c}ern\u{e1}", "\u{738b}\u{82b3}"] {
        assert!(check_name(good).is_ok(), "{good}");
    }
    for bad in ["", " x", "x ", "a\tb", "a\u{202e}b", "a\u{200b}b", "a\u{1b}[0m", &"x".repeat(129)]
    {
        assert_eq!(check_name(bad).unwrap_err().code(), "PERSON_NAME", "{bad:?}");
    }
}

#[test]
fn a_grant_says_what_its_role_needs() {
    let now = at(0);
    let day = 86_400;
    let grant = |role| Grant::of("main", role, now);
    let until = |role, seconds| Grant { until: Some(at(seconds)), ..grant(role) };
    let sources = |role, sources: &[&str]| {
        let sources = Some(sources.iter().map(|s| (*s).to_owned()).collect());
        Grant { sources, ..grant(role) }
    };
    let glass = |grant: Grant| Grant { break_glass: true, ..grant };
    let tenant = |name: &str| Grant { tenant: name.to_owned(), ..grant(Role::Readonly) };
    for (given, expect) in [
        (grant(Role::Admin), None),
        (grant(Role::Auditor), Some("GRANT_UNTIL")),
        (until(Role::Auditor, 366 * day), None),
        (until(Role::Auditor, 366 * day + 1), Some("GRANT_UNTIL")),
        (until(Role::Admin, 0), Some("GRANT_UNTIL")),
        (until(Role::Admin, 1), None),
        (grant(Role::Developer), Some("GRANT_SOURCES")),
        (sources(Role::Developer, &["crm", "erp"]), None),
        (sources(Role::Developer, &[]), Some("GRANT_SOURCES")),
        (sources(Role::Developer, &["crm", "crm"]), Some("GRANT_SOURCES")),
        (sources(Role::Readonly, &["c rm"]), Some("GRANT_SOURCES")),
        (sources(Role::Readonly, &["c\"rm"]), Some("GRANT_SOURCES")),
        (sources(Role::PrivacyOfficer, &["crm"]), None),
        (sources(Role::Admin, &["crm"]), Some("GRANT_SOURCES")),
        (sources(Role::Operations, &["crm"]), Some("GRANT_SOURCES")),
        (sources(Role::Approver, &["crm"]), Some("GRANT_SOURCES")),
        (glass(grant(Role::Readonly)), None),
        (glass(sources(Role::Readonly, &["crm"])), Some("GRANT_SOURCES")),
        (grant(Role::Ingest), Some("GRANT_ROLE")),
        (tenant("acme-2"), None),
        (tenant(""), Some("TENANT_NAME")),
        (tenant("2acme"), Some("TENANT_NAME")),
        (tenant("Acme"), Some("TENANT_NAME")),
        (tenant("../main"), Some("TENANT_NAME")),
        (tenant(&"a".repeat(33)), Some("TENANT_NAME")),
    ] {
        let found = check_grants(std::slice::from_ref(&given), now);
        assert_eq!(found.err().map(|refused| refused.code()), expect, "{given:?}");
    }
    let twice = [grant(Role::Admin), grant(Role::Admin)];
    assert_eq!(check_grants(&twice, now).unwrap_err().code(), "GRANT_TWICE");
    let many: Vec<Grant> = (0..65).map(|n| tenant(&format!("t{n}"))).collect();
    assert_eq!(check_grants(&many, now).unwrap_err().code(), "GRANTS_TOO_MANY");
}

/// Whatever the rules let somebody write, the vault takes.
#[test]
fn the_largest_person_fits_a_document() {
    let now = at(0);
    let names = |n: usize| (0..32).map(|k| format!("{:x<64}", format!("{n}-{k}"))).collect();
    let grants = (0..64).map(|n| Grant {
        until: Some(at(1)),
        sources: Some(names(n)),
        ..Grant::of(&format!("{:x<32}", format!("t{n}-")), Role::PrivacyOfficer, now)
    });
    let grants: Vec<Grant> = grants.collect();
    check_grants(&grants, now).unwrap();
    let quotes = "\"".repeat(1_000);
    let closed = Closed { by: DocumentId([1; 16]), at: now, note: quotes.clone() };
    let review = Review {
        id: DocumentId([1; 16]),
        tenant: "x".repeat(32),
        reason: quotes,
        opened: now,
        until: now,
        closed: Some(closed),
    };
    let gate = Gate::default();
    let phc = Phc::of("correct horse", &*SeedEntropy::new(1), &gate.enter().unwrap()).unwrap();
    let secret = SharedSecret::new([1; 20]);
    let human = Human {
        login: "\"".repeat(64),
        name: "\"".repeat(128),
        password: Some(phc),
        totp: Some(Factor { secret, confirmed_at: now }),
        grants,
        approver_from: now,
        disabled: true,
        enrolment: None,
        made_by: Some(DocumentId([1; 16])),
        reviews: vec![review; 19],
    };
    let bytes = serde_json::to_vec(&human).unwrap();
    assert!(bytes.len() <= DOCUMENT_BYTES_MAX, "{}", bytes.len());
    assert_eq!(serde_json::from_slice::<Human>(&bytes).unwrap(), human);
}

/// The entropy of these tests gives what it says.
#[test]
fn tokens_differ() {
    let entropy = SeedEntropy::new(9);
    let mut bytes = [0; 4];
    entropy.fill(&mut bytes);
    let texts: BTreeSet<String> =
        (0..100).map(|_| make(Env::Live, &*entropy).1.expose().to_owned()).collect();
    assert_eq!(texts.len(), 100);
}
