//! The two-person rule on a vault: who may decide, what is written, what is done and what is left
//! of it. `crash` cuts it at every write.

mod crash;
mod system;

use crate::support::clinic::{Visit, append, assert_sound, data_fate, patient, read, text};
use crate::support::sim::SimDisk;
use crate::support::world::{HandClock, SeedEntropy, config, two_people, world};
use chancery::base::entry::Kind;
use chancery::base::id::{CaseId, DocumentId, Hash32};
use chancery::base::record::Fate;
use chancery::base::unit::{EntryIndex, NANOS_PER_SECOND, UtcNanos};
use chancery::format::control::{DocumentKind, Mode, Scope};
use chancery::policy::order::act::{Act, Named};
use chancery::policy::order::rule::{Rule, RuleMode};
use chancery::policy::order::{Actor, Order, Party, REFUSALS_MAX, State, What};
use chancery::server::orders::book::{Application, Book};
use chancery::server::orders::execute::Progress;
use chancery::server::orders::{Hands, Held, Result};
use chancery::vault::Vault;
use chancery::vault::config::Config;
use chancery::vault::policies::policies_hash;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const HOME: &str = "/sim";
const HOUR: u64 = 3_600;

fn settings() -> Config {
    Config { accept_time: true, ..config(Path::new(HOME)) }
}

fn human(n: u8) -> Actor {
    Actor::Human { id: DocumentId([n; 16]), login: format!("login{n}") }
}

fn machine(n: u8) -> Actor {
    Actor::Machine { id: DocumentId([n; 16]), name: format!("token{n}") }
}

fn party(actor: Actor, now: UtcNanos) -> Party {
    Party { actor, approver: true, approver_from: UtcNanos(0), code_at: Some(now) }
}

fn two(approvals: u32, cooling_off_seconds: u64) -> Rule {
    Rule { mode: RuleMode::TwoPerson, approvals, cooling_off_seconds, founding: false }
}

fn named(ids: &[&str]) -> Vec<Named> {
    ids.iter().map(|id| Named::from(&patient(id))).collect()
}

fn erase(id: &str) -> Act {
    Act::Erase { identifiers: named(&[id]), basis: "gdpr-17-1".into() }
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    result.unwrap_err().code()
}

/// A vault with three patients, its book, and hands to move time.
struct Office {
    disk: SimDisk,
    clock: Arc<HandClock>,
    entropy: Arc<SeedEntropy>,
    vault: Vault,
    book: Book,
    at: Vec<EntryIndex>,
}

impl Office {
    fn new() -> Office {
        let (disk, clock) = (SimDisk::new(), HandClock::at("2026-11-21T08:00:00Z"));
        let world = world(Arc::new(disk.clone()), &clock, 1);
        let vault = Vault::init(world, &settings(), "vault.example").unwrap();
        let visits: Vec<Visit> = (1..4).map(|n| Visit::new(n, "n1", &format!("p{n}"))).collect();
        let at = append(&vault, &visits).unwrap().into_iter().map(|r| r.index).collect();
        let book = Book::open(&vault).unwrap();
        Office { disk, clock, entropy: SeedEntropy::new(7), vault, book, at }
    }

    /// Closes everything and starts again.
    fn again(self) -> Office {
        let Office { disk, clock, entropy, vault, book, at } = self;
        drop((book, vault));
        let vault = Vault::open(world(Arc::new(disk.clone()), &clock, 99), &settings()).unwrap();
        let book = Book::open(&vault).unwrap();
        Office { disk, clock, entropy, vault, book, at }
    }

    fn now(&self) -> UtcNanos {
        self.vault.clock().now()
    }

    fn pass(&self, seconds: u64) {
        self.clock.pass(seconds * NANOS_PER_SECOND);
    }

    fn party(&self, n: u8) -> Party {
        party(human(n), self.now())
    }

    fn file(&self, act: Act, rule: Rule) -> Result<Held> {
        let (by, now) = (self.party(1), self.now());
        let application = Application { act, by: &by, rule };
        self.book.file(&self.vault, &*self.entropy, &Hands::Tenant, application, now)
    }

    fn approve(&self, held: &Held, n: u8) -> Result<Held> {
        let (who, now) = (self.party(n), self.now());
        self.book.approve(&self.vault, held.id, &who, held.order.hash, now)
    }

    fn tick(&self, rule: Rule) -> Progress {
        self.book.tick(&self.vault, &Hands::Tenant, &|_: &Order| Ok(rule), self.now()).unwrap()
    }

    /// Files, approves and does it.
    fn whole(&self, act: Act) -> Held {
        let held = self.file(act, two(1, HOUR)).unwrap();
        self.approve(&held, 2).unwrap();
        self.pass(HOUR);
        self.tick(two(1, HOUR));
        self.order(&held)
    }

    fn order(&self, held: &Held) -> Held {
        self.book.order(&self.vault, held.id).unwrap()
    }

    fn state(&self, held: &Held) -> State {
        self.order(held).order.state()
    }

    fn kinds(&self, kind: Kind) -> Vec<EntryIndex> {
        let all = (0..self.vault.size().0).map(EntryIndex);
        all.filter(|at| self.vault.entry(*at).unwrap().head.kind == kind).collect()
    }

    /// Every version of every order, as text.
    fn papers(&self) -> String {
        let mut text = String::new();
        for document in self.vault.documents(DocumentKind::Order).unwrap() {
            let history = self.vault.document_history(DocumentKind::Order, document.id).unwrap();
            for version in history {
                let body = version.body.unwrap_or_default();
                text.push_str(&String::from_utf8_lossy(&body));
                text.push('\n');
            }
        }
        text
    }
}

#[test]
fn an_erasure_takes_two_people_and_a_rest_and_its_papers_forget_whom() {
    let office = Office::new();
    let held = office.file(erase("p1"), two(1, HOUR)).unwrap();
    assert_eq!(office.book.act(&office.vault, &held.order).unwrap(), Some(erase("p1")));
    assert_eq!(office.tick(two(1, HOUR)).next, held.order.expires());
    office.pass(60);
    let approved = office.approve(&held, 2).unwrap();
    let due = approved.order.due(two(1, HOUR)).unwrap();
    assert_eq!(office.tick(two(1, HOUR)), Progress { next: Some(due), ..Progress::default() });
    office.pass(HOUR - 1);
    assert_eq!(office.tick(two(1, HOUR)).executed, vec![]);
    assert!(office.kinds(Kind::EraseIntent).is_empty());
    assert!(office.papers().contains("p1"), "or nothing could be forgotten below");
    office.pass(1);
    assert_eq!(office.tick(two(1, HOUR)).executed, vec![held.id]);
    assert_eq!(office.tick(two(1, HOUR)), Progress::default());

    let erasure = office.vault.facts_now().erasures[&held.order.job].clone();
    let done = erasure.done.unwrap().0;
    assert_eq!(office.state(&held), State::Executed { entry: Some(done) });
    assert_eq!(erasure.plan.mode, Mode::TwoPerson);
    let intent = text(&read(&office.vault, erasure.intent));
    assert!(intent.contains("login1") && intent.contains("login2"), "{intent}");
    assert_eq!(data_fate(&read(&office.vault, office.at[0])), Fate::Erased);
    assert_eq!(data_fate(&read(&office.vault, office.at[1])), Fate::Open);

    let office = office.again();
    assert!(office.book.open_orders().is_empty() && office.book.strays().is_empty());
    let order = office.order(&held).order;
    assert_eq!(office.book.act(&office.vault, &order).unwrap(), None, "its keys are gone");
    let papers = office.papers();
    assert!(!papers.contains("p1"), "{papers}");
    let said = ["login1", "login2", "gdpr-17-1", &order.job.to_string(), "executed"];
    said.iter().for_each(|word| assert!(papers.contains(word), "{word} in {papers}"));
    let steps: Vec<&What> = order.steps.iter().map(|step| &step.what).collect();
    assert!(matches!(
        steps[..],
        [What::Filed, What::Approved { .. }, What::Executing, What::Executed { .. }]
    ));
    // The hash that stays is none of the act alone.
    let bare = chancery::crypto::hash::sha256(&[&erase("p1").canonical().unwrap()]);
    assert_ne!(order.hash, bare);
    let receipt = office.vault.erasure_receipt(order.job).unwrap();
    assert!(receipt.contains("two-person"), "{receipt}");
    assert_sound(&office.vault, "after an order");
}

#[test]
fn each_refusal_leaves_its_entry() {
    let office = Office::new();
    let held = office.file(erase("p1"), two(2, HOUR)).unwrap();
    let hash = held.order.hash;
    office.approve(&held, 2).unwrap();
    let good = office.party(3);
    let renamed = |n: u8| Actor::Human { id: DocumentId([n; 16]), login: "another".into() };
    let stale = UtcNanos(office.now().0 - 301 * NANOS_PER_SECOND);
    let later = UtcNanos(office.now().0 + 1);
    for (who, hash, expect) in [
        (Party { actor: renamed(1), ..good.clone() }, hash, "APPROVER_IS_REQUESTER"),
        (Party { actor: renamed(2), ..good.clone() }, hash, "APPROVER_TWICE"),
        (Party { actor: machine(4), ..good.clone() }, hash, "APPROVER_MACHINE"),
        (Party { approver: false, ..good.clone() }, hash, "APPROVER_ROLE"),
        (Party { approver_from: later, ..good.clone() }, hash, "APPROVER_TOO_NEW"),
        (Party { code_at: Some(stale), ..good.clone() }, hash, "STEP_UP_STALE"),
        (Party { code_at: None, ..good.clone() }, hash, "STEP_UP_STALE"),
        (good.clone(), Hash32([1; 32]), "ORDER_CHANGED"),
    ] {
        let before = office.vault.size();
        let got = office.book.approve(&office.vault, held.id, &who, hash, office.now());
        assert_eq!(code(got), expect);
        assert_eq!(office.vault.size().0, before.0 + 1, "{expect}");
        let last = office.order(&held).order.steps.last().cloned().unwrap();
        let (tried, code) = ("approve".to_owned(), expect.to_owned());
        assert_eq!((last.by, last.what), (who.actor, What::Refused { tried, code }));
    }
    let got = office.book.withdraw(&office.vault, held.id, &good, office.now());
    assert_eq!(code(got), "ORDER_NOT_YOURS");
    assert_eq!(office.state(&held), State::Filed);
    // However often, an order stays bounded.
    for _ in 0..REFUSALS_MAX {
        let machine = Party { actor: machine(4), ..good.clone() };
        let got = office.book.approve(&office.vault, held.id, &machine, hash, office.now());
        assert_eq!(code(got), "APPROVER_MACHINE");
    }
    assert_eq!(office.order(&held).order.steps.len(), 2 + REFUSALS_MAX);
    office.pass(72 * HOUR);
    assert_eq!(code(office.approve(&held, 3)), "ORDER_EXPIRED");
    assert_eq!(office.tick(two(2, HOUR)).expired, vec![held.id]);
    let office = office.again();
    assert_eq!(office.state(&held), State::Expired);
    assert_eq!(code(office.approve(&held, 3)), "ORDER_STATE");
    assert!(office.kinds(Kind::EraseIntent).is_empty());
    let nobody = Held { id: DocumentId([0xaa; 16]), ..held };
    assert_eq!(code(office.approve(&nobody, 3)), "ORDER_UNKNOWN");
}

#[test]
fn whoever_says_no_or_takes_it_back_during_the_rest_is_heard() {
    let office = Office::new();
    let (one, other) =
        (office.file(erase("p1"), two(1, HOUR)), office.file(erase("p2"), two(1, 9)));
    let (one, other) = (one.unwrap(), other.unwrap());
    for held in [&one, &other] {
        office.approve(held, 2).unwrap();
    }
    let (vault, now) = (&office.vault, office.now());
    office.book.reject(vault, one.id, &office.party(3), now).unwrap();
    office.book.withdraw(vault, other.id, &office.party(1), now).unwrap();
    office.pass(2 * HOUR);
    assert_eq!(office.tick(two(1, 0)), Progress::default());
    assert_eq!((office.state(&one), office.state(&other)), (State::Rejected, State::Withdrawn));
    assert!(office.kinds(Kind::EraseIntent).is_empty());
}

#[test]
fn of_two_who_approve_at_once_each_counts_and_the_same_one_once() {
    let office = Office::new();
    // Another view of the same registry: only its compare-and-swap stands between them.
    let other = Book::open(&office.vault).unwrap();
    let held = office.file(erase("p1"), two(3, 0)).unwrap();
    let (vault, hash, now) = (&office.vault, held.order.hash, office.now());
    office.approve(&held, 2).unwrap();
    other.approve(vault, held.id, &office.party(3), hash, now).unwrap();
    let again = office.book.approve(vault, held.id, &office.party(3), hash, now);
    assert_eq!(code(again), "APPROVER_TWICE");
    assert_eq!(office.state(&held), State::Filed);
    let done = other.approve(vault, held.id, &office.party(4), hash, now).unwrap();
    assert_eq!(done.order.approvers().len(), 3);

    for round in 0..8_u8 {
        let held = office.file(erase("p2"), two(2, HOUR)).unwrap();
        let (four, five) = (office.party(4), office.party(5));
        let tries = [(&office.book, &four), (&other, &four), (&office.book, &five)];
        let passed: Vec<bool> = std::thread::scope(|scope| {
            let all: Vec<_> = tries
                .map(|(book, who)| {
                    let (id, hash) = (held.id, held.order.hash);
                    scope.spawn(move || book.approve(vault, id, who, hash, now).is_ok())
                })
                .into();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(passed[..2].iter().filter(|passed| **passed).count(), 1, "round {round}");
        assert!(passed[2], "round {round}");
        let fresh = Book::open(vault).unwrap().order(vault, held.id).unwrap();
        assert_eq!(fresh.order.approvers().len(), 2);
        assert!(matches!(fresh.order.state(), State::Approved { .. }));
        office.book.withdraw(vault, held.id, &office.party(1), now).unwrap();
    }
}

#[test]
fn what_could_not_be_done_is_not_filed_and_makes_nobody_known() {
    let office = Office::new();
    let size = office.vault.size();
    assert_eq!(code(office.file(erase("nobody"), two(1, 0))), "SUBJECT_UNKNOWN");
    let twice = Act::Erase { identifiers: named(&["p1", "p1"]), basis: "x".into() };
    assert_eq!(code(office.file(twice, two(1, 0))), "ORDER_PERSONS");
    let case = CaseId([1; 16]);
    assert_eq!(code(office.file(Act::ReleaseHold { case }, two(1, 0))), "HOLD_UNKNOWN");
    let files = settings().policies;
    let base_hash = Hash32([9; 32]);
    let act = Act::ApplyPolicies { files, base_hash };
    assert_eq!(code(office.file(act, two(1, 0))), "POLICIES_CHANGED");
    let mut files = settings().policies;
    let base_hash = policies_hash(&files).unwrap().1;
    files.insert("classes.toml".into(), "no toml [".into());
    let act = Act::ApplyPolicies { files, base_hash };
    assert_eq!(code(office.file(act, two(1, 0))), "POLICY_SYNTAX");
    let act = Act::CreateHuman { login: "bob".into(), grants: Vec::new() };
    assert_eq!(code(office.file(act, two(1, 0))), "ORDER_ACT");
    let kind = Named { kind: "no-kind".into(), value: "x".into() };
    let act = Act::Erase { identifiers: vec![kind], basis: "x".into() };
    assert_eq!(code(office.file(act, two(1, 0))), "IDENTIFIER_KIND");
    assert_eq!(office.vault.size(), size, "nothing was written");
    assert_eq!(
        office.vault.persons_named(&[patient("nobody")]).unwrap_err().code(),
        "SUBJECT_UNKNOWN"
    );

    let book = Book::with_limit(&office.vault, 2).unwrap();
    let file = |id: &str| {
        let (by, now) = (office.party(1), office.now());
        let application = Application { act: erase(id), by: &by, rule: two(1, 0) };
        book.file(&office.vault, &*office.entropy, &Hands::Tenant, application, now)
    };
    let held = file("p1").unwrap();
    file("p2").unwrap();
    assert_eq!(code(file("p3")), "ORDERS_TOO_MANY");
    book.withdraw(&office.vault, held.id, &office.party(1), office.now()).unwrap();
    assert!(file("p3").is_ok());
}

#[test]
fn a_link_is_made_when_it_is_executed_not_when_it_is_filed() {
    let office = Office::new();
    let of = |id: &str| office.vault.persons_named(&[patient(id)]).unwrap();
    let act = Act::Link { identifiers: named(&["p1", "p2", "new"]) };
    let held = office.file(act.clone(), two(1, HOUR)).unwrap();
    let both: BTreeSet<_> = of("p1").into_iter().chain(of("p2")).collect();
    assert_eq!((of("p1").len(), both.len()), (1, 2));
    office.approve(&held, 2).unwrap();
    office.pass(HOUR);
    assert_eq!(office.tick(two(1, 0)).executed, vec![held.id]);
    assert_eq!(of("p1").len(), 3);
    assert!(office.vault.are_one_person(&[patient("p1"), patient("new")]).unwrap());
    assert!(!office.vault.are_one_person(&[patient("p1"), patient("p3")]).unwrap());
    // Erasing one of them takes the order's act along.
    assert_eq!(office.book.act(&office.vault, &held.order).unwrap(), Some(act));
    office.vault.erase(&[patient("new")], "gdpr-17-1", &two_people()).unwrap();
    assert_eq!(office.book.act(&office.vault, &held.order).unwrap(), None);
}

#[test]
fn holds_policies_and_people_gone_meanwhile_end_an_order_with_their_code() {
    let office = Office::new();
    let person = office.vault.persons_named(&[patient("p1")]).unwrap()[0];
    let scope = Scope::Person { person };
    let (case, _) = office.vault.set_hold(None, "4 C 1", scope, &two_people()).unwrap();
    let held = office.whole(erase("p1"));
    assert_eq!(held.order.state(), State::Failed { code: "HOLD_BLOCKED".into() });
    assert!(office.kinds(Kind::EraseIntent).is_empty());

    let release = office.whole(Act::ReleaseHold { case });
    let entry = office.kinds(Kind::HoldRelease)[0];
    assert_eq!(release.order.state(), State::Executed { entry: Some(entry) });
    let second = office.file(erase("p1"), two(1, HOUR)).unwrap();
    office.approve(&second, 2).unwrap();
    office.pass(1);
    let first = office.whole(erase("p1"));
    // Both were due in the same tick: the older took the person, and with it the other's act.
    assert!(matches!(office.state(&second), State::Executed { .. }));
    let unreadable = State::Failed { code: "ORDER_UNREADABLE".into() };
    assert_eq!(first.order.state(), unreadable);
    assert_eq!(office.kinds(Kind::EraseIntent).len(), 1);

    let files = |days: u32| {
        let mut files = settings().policies;
        let classes = files.get_mut("classes.toml").unwrap();
        *classes = classes.replace(r#"keep = "90d""#, &format!(r#"keep = "{days}d""#));
        files
    };
    let base_hash = policies_hash(&settings().policies).unwrap().1;
    let change = |days| Act::ApplyPolicies { files: files(days), base_hash };
    let (one, other) =
        (office.file(change(80), two(1, HOUR)), office.file(change(70), two(1, HOUR)));
    let (one, other) = (one.unwrap(), other.unwrap());
    office.approve(&one, 2).unwrap();
    office.approve(&other, 3).unwrap();
    office.pass(HOUR);
    let progress = office.tick(two(1, 0));
    assert_eq!((progress.executed.len(), progress.failed.len()), (1, 1), "{progress:?}");
    assert_eq!(progress.failed[0].1, "POLICIES_CHANGED");
    assert_eq!(office.vault.facts_now().policies.unwrap().1, 2);
    assert_ne!(office.state(&one), office.state(&other));
}

#[test]
fn a_rule_that_became_stricter_counts_and_a_looser_one_does_not() {
    let office = Office::new();
    let single = Rule { mode: RuleMode::SingleOperator, ..two(1, 0) };
    let alone = office.file(erase("p1"), single).unwrap();
    assert_eq!(office.tick(two(1, 0)).failed, vec![(alone.id, "ORDER_RULE")]);
    let strict = office.file(erase("p2"), two(1, HOUR)).unwrap();
    office.pass(HOUR);
    assert_eq!(office.tick(single).executed, vec![], "filed under two people");
    office.approve(&strict, 2).unwrap();
    assert_eq!(office.tick(single).executed, vec![], "and an hour");
    office.pass(HOUR);
    assert_eq!(office.tick(single).executed, vec![strict.id]);

    let alone = office.file(erase("p3"), single).unwrap();
    assert_eq!(office.tick(single).executed, vec![alone.id]);
    let erasure = office.vault.facts_now().erasures[&alone.order.job].clone();
    assert_eq!(erasure.plan.mode, Mode::SingleOperator);
    assert!(office.vault.erasure_receipt(alone.order.job).unwrap().contains("single-operator"));
    assert_eq!(office.order(&alone).order.rule.mode, RuleMode::SingleOperator);
}

#[test]
fn a_token_that_asks_does_not_make_one_human_two() {
    let office = Office::new();
    let single = Rule { mode: RuleMode::SingleOperator, ..two(1, 0) };
    let file = |id: &str, rule| {
        let (by, now) = (party(machine(9), office.now()), office.now());
        let application = Application { act: erase(id), by: &by, rule };
        office.book.file(&office.vault, &*office.entropy, &Hands::Tenant, application, now).unwrap()
    };
    let mode = |held: &Held| office.vault.facts_now().erasures[&held.order.job].plan.mode;
    let held = file("p1", single);
    assert_eq!(office.tick(single).executed, vec![], "no human yet");
    office.approve(&held, 2).unwrap();
    assert_eq!(office.tick(single).executed, vec![held.id]);
    assert_eq!(mode(&held), Mode::SingleOperator, "one human stands behind it");
    let held = file("p2", two(1, 0));
    office.approve(&held, 2).unwrap();
    assert_eq!(office.tick(two(1, 0)).executed, vec![]);
    office.approve(&held, 3).unwrap();
    assert_eq!(office.tick(two(1, 0)).executed, vec![held.id]);
    assert_eq!(mode(&held), Mode::TwoPerson);
    let intent = office.vault.facts_now().erasures[&held.order.job].intent;
    let intent = text(&read(&office.vault, intent));
    assert!(intent.contains("token token9") && intent.contains("login2, login3"), "{intent}");
}
