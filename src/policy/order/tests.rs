//! Orders beside a naive model that keeps a list of what happened and asks it everything anew.

use super::act::{Act, Grant, Named, order_hash};
use super::rule::{APPROVALS_MAX, RuleMode};
use super::*;
use crate::base::unit::EntryIndex;
use proptest::prelude::*;
use std::collections::BTreeMap;

const START: u64 = 1_800_000_000;

fn at(second: u64) -> UtcNanos {
    UtcNanos((START + second) * NANOS_PER_SECOND)
}

fn human(n: u8) -> Actor {
    Actor::Human { id: DocumentId([n; 16]), login: format!("login{n}") }
}

fn machine(n: u8) -> Actor {
    Actor::Machine { id: DocumentId([n; 16]), name: format!("token{n}") }
}

fn who(actor: Actor, second: u64) -> Party {
    Party { actor, approver: true, approver_from: at(0), code_at: Some(at(second)) }
}

fn two(approvals: u32, cooling_off_seconds: u64) -> Rule {
    Rule { mode: RuleMode::TwoPerson, approvals, cooling_off_seconds, founding: false }
}

fn erase() -> Act {
    let named = Named { kind: "email".into(), value: "ann@example.org".into() };
    Act::Erase { identifiers: vec![named], basis: "gdpr-17-1".into() }
}

fn filed(act: &Act, by: &Party, rule: Rule, second: u64) -> Result<Order, Refusal> {
    let hash = order_hash(act, &[7; 32]).unwrap();
    let (part, job) = (DocumentId([1; 16]), JobId([2; 16]));
    let (outline, may_found) = (act.outline().unwrap(), act.may_found());
    file(Filing { outline, may_found, hash, part, job, by, rule }, at(second))
}

fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> &'static str {
    result.unwrap_err().code
}

#[test]
fn each_refusal_has_its_code() {
    let order = filed(&erase(), &who(human(1), 0), two(1, 3600), 0).unwrap();
    let hash = order.hash;
    let good = who(human(2), 10);
    let check = |who: &Party, hash: Hash32, second: u64, expect: &str| {
        assert_eq!(code(order.approve(who, hash, at(second))), expect);
    };
    check(&good, Hash32([9; 32]), 10, "ORDER_CHANGED");
    check(&who(human(1), 10), hash, 10, "APPROVER_IS_REQUESTER");
    let renamed = Actor::Human { id: DocumentId([1; 16]), login: "another.login".into() };
    check(&who(renamed, 10), hash, 10, "APPROVER_IS_REQUESTER");
    check(&who(machine(3), 10), hash, 10, "APPROVER_MACHINE");
    check(&who(Actor::Console { name: "root".into() }, 10), hash, 10, "APPROVER_MACHINE");
    check(&who(Actor::Service, 10), hash, 10, "APPROVER_MACHINE");
    check(&Party { approver: false, ..good.clone() }, hash, 10, "APPROVER_ROLE");
    check(&Party { approver_from: at(11), ..good.clone() }, hash, 10, "APPROVER_TOO_NEW");
    check(&Party { code_at: None, ..good.clone() }, hash, 10, "STEP_UP_STALE");
    check(&good, hash, 311, "STEP_UP_STALE");
    assert!(order.approve(&good, hash, at(310)).is_ok());
    let late = who(human(2), 72 * 3600);
    check(&late, hash, 72 * 3600, "ORDER_EXPIRED");
    assert!(order.approve(&late, hash, at(72 * 3600 - 1)).is_ok());
    assert_eq!(code(order.withdraw(&good, at(10))), "ORDER_NOT_YOURS");
    assert_eq!(code(order.expire(at(72 * 3600 - 1))), "ORDER_STATE");
    assert_eq!(code(order.begin(two(1, 3600), at(9999))), "ORDER_STATE");

    let two_needed = filed(&erase(), &who(human(1), 0), two(2, 3600), 0).unwrap();
    let once = two_needed.approve(&good, hash, at(10)).unwrap();
    let renamed = Actor::Human { id: DocumentId([2; 16]), login: "other".into() };
    assert_eq!(code(once.approve(&who(renamed, 10), hash, at(11))), "APPROVER_TWICE");
    assert_eq!(once.state(), State::Filed);

    let approved = order.approve(&good, hash, at(20)).unwrap();
    assert_eq!(approved.state(), State::Approved { since: at(20) });
    assert_eq!(code(approved.begin(two(1, 0), at(3619))), "ORDER_COOLING");
    assert_eq!(code(approved.begin(two(2, 0), at(3620))), "ORDER_RULE");
    assert_eq!(code(approved.begin(two(1, 7200), at(3620))), "ORDER_COOLING");
    assert_eq!(code(approved.finish(&End::Done(None), at(3620))), "ORDER_STATE");
    let begun = approved.begin(two(1, 0), at(3620)).unwrap();
    for late in [begun.reject(&good, at(3621)), begun.withdraw(&who(human(1), 0), at(3621))] {
        assert_eq!(code(late), "ORDER_STATE");
    }
    let end = begun.finish(&End::Done(Some(EntryIndex(7))), at(3622)).unwrap();
    assert_eq!(end.state(), State::Executed { entry: Some(EntryIndex(7)) });
    assert_eq!(code(end.begin(two(1, 0), at(9999))), "ORDER_STATE");
    assert_eq!(end.note(&human(3), "approve", "ORDER_STATE", at(9999)), None);
}

#[test]
fn whoever_approved_may_think_again_and_who_asked_may_withdraw_while_it_rests() {
    let order = filed(&erase(), &who(human(1), 0), two(1, 3600), 0).unwrap();
    let approved = order.approve(&who(human(2), 10), order.hash, at(10)).unwrap();
    let rejected = approved.reject(&who(human(2), 20), at(20)).unwrap();
    assert_eq!(rejected.state(), State::Rejected);
    assert_eq!(code(rejected.begin(two(1, 0), at(9999))), "ORDER_STATE");
    assert_eq!(code(approved.reject(&who(human(1), 20), at(20))), "APPROVER_IS_REQUESTER");
    assert_eq!(approved.withdraw(&who(human(1), 0), at(999)).unwrap().state(), State::Withdrawn);
}

#[test]
fn a_machine_or_the_console_needs_one_human_more() {
    for actor in [machine(9), Actor::Console { name: "root".into() }] {
        let order = filed(&erase(), &who(actor, 0), two(1, 0), 0).unwrap();
        let once = order.approve(&who(human(2), 1), order.hash, at(1)).unwrap();
        assert_eq!(once.state(), State::Filed, "one human alone would be behind it");
        let twice = once.approve(&who(human(3), 2), order.hash, at(2)).unwrap();
        assert_eq!(twice.state(), State::Approved { since: at(2) });
    }
}

#[test]
fn alone_is_printed_in_the_order_and_takes_a_fresh_code() {
    let single = Rule { mode: RuleMode::SingleOperator, ..two(1, 60) };
    let stale = filed(&erase(), &who(human(1), 0), single, 301);
    assert_eq!(code(stale), "STEP_UP_STALE");
    let order = filed(&erase(), &who(human(1), 0), single, 300).unwrap();
    assert_eq!(order.state(), State::Approved { since: at(300) });
    assert_eq!(order.rule.mode, RuleMode::SingleOperator);
    assert_eq!(code(order.begin(single, at(359))), "ORDER_COOLING");
    assert!(order.begin(single, at(360)).is_ok());
    // The rule in force when it is done counts too.
    assert_eq!(code(order.begin(two(1, 0), at(360))), "ORDER_RULE");

    let founding = Rule { founding: true, ..two(1, 3600) };
    let order = filed(&erase(), &who(human(1), 0), founding, 0).unwrap();
    assert!(!order.rule.founding, "an erasure founds nothing");
    assert_eq!(order.state(), State::Filed);
    let make = Act::CreateHuman { login: "bob".into(), grants: Vec::new() };
    let order = filed(&make, &who(human(1), 0), founding, 0).unwrap();
    assert!(order.rule.founding && order.begin(founding, at(0)).is_ok());
    assert_eq!(code(order.begin(two(1, 3600), at(9999))), "ORDER_RULE", "founding has ended");
}

#[test]
fn an_act_has_one_canonical_form_and_its_hash_says_nothing_without_the_salt() {
    let text = concat!(
        r#"{"act":"erase","basis":"gdpr-17-1","#,
        r#""identifiers":[{"kind":"email","value":"ann@example.org"}]}"#
    );
    let text = text.as_bytes();
    assert_eq!(erase().canonical().unwrap(), text);
    assert_eq!(serde_json::from_slice::<Act>(text).unwrap(), erase());
    let more = r#"{"act":"release-hold","case":"00000000000000000000000000000001","x":1}"#;
    assert!(serde_json::from_str::<Act>(more).is_err());
    let (one, other) = (order_hash(&erase(), &[1; 32]), order_hash(&erase(), &[2; 32]));
    assert_ne!(one.unwrap(), other.unwrap());
    let outline = serde_json::to_string(&erase().outline().unwrap()).unwrap();
    assert_eq!(outline, r#"{"act":"erase","identifiers":1,"basis":"gdpr-17-1"}"#);
    let shown = format!("{:?} {:?}", erase(), erase().identifiers());
    assert!(!shown.contains("ann"), "{shown}");
}

#[test]
fn what_cannot_be_done_is_not_an_act() {
    let named = |n: usize| -> Vec<Named> {
        (0..n).map(|n| Named { kind: "email".into(), value: format!("{n}@example.org") }).collect()
    };
    let basis = || "gdpr-17-1".to_owned();
    let twice = [named(1), named(1)].concat();
    let (until, sources, break_glass) = (None, None, false);
    let grant = Grant { tenant: String::new(), role: "admin".into(), until, sources, break_glass };
    let rule = |approvals, cooling_off_seconds| Act::ChangeRule {
        tenant: "main".into(),
        mode: RuleMode::TwoPerson,
        approvals,
        cooling_off_seconds,
    };
    for (act, expect) in [
        (Act::Erase { identifiers: named(0), basis: basis() }, "ORDER_PERSONS"),
        (Act::Erase { identifiers: named(33), basis: basis() }, "ORDER_PERSONS"),
        (Act::Erase { identifiers: named(1), basis: "Ann asked".into() }, "BASIS_NOT_A_CODE"),
        (Act::Link { identifiers: named(1) }, "ORDER_PERSONS"),
        (Act::Link { identifiers: twice }, "ORDER_PERSONS"),
        (Act::CreateHuman { login: String::new(), grants: Vec::new() }, "ORDER_ACT"),
        (Act::CreateHuman { login: "bob".into(), grants: vec![grant] }, "ORDER_ACT"),
        (rule(0, 0), "RULE_APPROVALS"),
        (rule(APPROVALS_MAX + 1, 0), "RULE_APPROVALS"),
        (rule(1, 30 * 86_400 + 1), "RULE_COOLING_OFF"),
    ] {
        assert_eq!(code(act.check()), expect, "{act:?}");
    }
    assert_eq!(Act::Erase { identifiers: named(32), basis: basis() }.check(), Ok(()));
    let files = BTreeMap::from([("classes.toml".to_owned(), "x".to_owned())]);
    let base_hash = crate::crypto::hash::sha256(&[&canon(&files)]);
    assert_eq!(code(Act::ApplyPolicies { files, base_hash }.check()), "ORDER_ACT");
}

fn canon(files: &BTreeMap<String, String>) -> Vec<u8> {
    crate::format::canon::to_canonical(files).unwrap()
}

#[test]
fn steps_that_no_transition_makes_are_never_executed() {
    let order = filed(&erase(), &who(human(1), 0), two(1, 0), 0).unwrap();
    let approved = |n: u8, hash| Step {
        at: at(1),
        by: human(n),
        what: What::Approved { hash, code_at: at(1) },
    };
    let service = |what| Step { at: at(1), by: Actor::Service, what };
    let mut late = approved(2, order.hash);
    late.at = UtcNanos(1);
    for steps in [
        vec![approved(1, order.hash)],
        vec![approved(2, Hash32([9; 32]))],
        vec![approved(2, order.hash), approved(2, order.hash)],
        vec![service(What::Executing)],
        vec![service(What::Approved { hash: order.hash, code_at: at(1) })],
        vec![service(What::Expired), approved(2, order.hash)],
        vec![service(What::Filed)],
        vec![late],
    ] {
        let mut forged = order.clone();
        forged.steps.extend(steps);
        assert_eq!(code(forged.walk()), "ORDER_MISSTEP", "{forged:?}");
        assert_eq!(code(forged.begin(two(1, 0), at(9999))), "ORDER_MISSTEP");
        assert!(!forged.state().is_open());
    }
    let none = Order { steps: Vec::new(), ..order };
    assert_eq!(code(none.walk()), "ORDER_MISSTEP");
}

/// One thing somebody tries.
#[derive(Clone, Debug)]
enum Try {
    Approve { by: u8, machine: bool, approver: bool, from: u64, code_age: u64, same: bool },
    Reject { by: u8 },
    Withdraw { by: u8 },
    Expire,
    Begin { rule: Rule },
    Finish { done: bool },
    Refused { by: u8 },
}

fn a_rule() -> impl Strategy<Value = Rule> {
    let mode = prop_oneof![3 => Just(RuleMode::TwoPerson), 1 => Just(RuleMode::SingleOperator)];
    let rest = prop_oneof![Just(0_u64), Just(600), Just(86_400)];
    (mode, 1..4_u32, rest, any::<bool>()).prop_map(|(mode, approvals, rest, founding)| Rule {
        mode,
        approvals,
        cooling_off_seconds: rest,
        founding,
    })
}

fn a_try() -> impl Strategy<Value = Try> {
    let from = prop_oneof![3 => Just(0_u64), 1 => 0..200_000_u64];
    let age = prop_oneof![3 => 0..300_u64, 1 => 0..900_u64];
    let mostly = || prop_oneof![5 => Just(true), 1 => Just(false)];
    prop_oneof![
        6 => (0..5_u8, mostly(), mostly(), from, age, mostly()).prop_map(
            |(by, person, approver, from, code_age, same)| Try::Approve {
                by, machine: !person, approver, from, code_age, same,
            }
        ),
        1 => (0..5_u8).prop_map(|by| Try::Reject { by }),
        1 => (0..5_u8).prop_map(|by| Try::Withdraw { by }),
        1 => Just(Try::Expire),
        4 => a_rule().prop_map(|rule| Try::Begin { rule }),
        2 => any::<bool>().prop_map(|done| Try::Finish { done }),
        1 => (0..5_u8).prop_map(|by| Try::Refused { by }),
    ]
}

/// What happened, as plain facts, and the questions as the issue asks them.
struct Naive {
    rule: Rule,
    /// The human who asked, if a human did.
    requester: Option<u8>,
    filed: u64,
    /// Party approved, when.
    approvals: Vec<(u8, u64)>,
    begun: bool,
    over: bool,
}

impl Naive {
    fn needed(&self, mode: RuleMode, approvals: u32, founding: bool) -> usize {
        let alone = mode == RuleMode::SingleOperator || founding;
        let others = if alone { 0 } else { approvals as usize };
        others + usize::from(self.requester.is_none())
    }

    fn since(&self) -> Option<u64> {
        let needed = self.needed(self.rule.mode, self.rule.approvals, self.rule.founding);
        match needed {
            0 => Some(self.filed),
            n => self.approvals.get(n - 1).map(|(_, at)| *at),
        }
    }

    fn waits(&self, now: u64) -> bool {
        let in_time = self.since().is_some() || now < self.filed + 72 * 3600;
        !self.begun && !self.over && in_time
    }

    fn may_begin(&self, rule: &Rule, now: u64) -> bool {
        let single = |r: &Rule| r.mode == RuleMode::SingleOperator;
        let both = single(rule) && single(&self.rule);
        let mode = if both { RuleMode::SingleOperator } else { RuleMode::TwoPerson };
        let founding = rule.founding && self.rule.founding;
        let needed = self.needed(mode, rule.approvals.max(self.rule.approvals), founding);
        let rest = rule.cooling_off_seconds.max(self.rule.cooling_off_seconds);
        let rest = if founding { 0 } else { rest };
        let rested = self.since().is_some_and(|since| now >= since + rest);
        !self.begun && !self.over && rested && self.approvals.len() >= needed
    }
}

fn step(order: &Order, naive: &mut Naive, tried: &Try, now: u64) -> (bool, Option<Order>) {
    let of = |by: u8| who(human(by), now);
    let other = |by: u8| naive.requester != Some(by);
    let (expect, got) = match tried {
        Try::Approve { by, machine: is_machine, approver, from, code_age, same } => {
            let actor = if *is_machine { machine(*by) } else { human(*by) };
            let code_at = Some(at(now.saturating_sub(*code_age)));
            let who = Party { actor, approver: *approver, approver_from: at(*from), code_at };
            let hash = if *same { order.hash } else { Hash32([0xee; 32]) };
            let twice = naive.approvals.iter().any(|(human, _)| human == by);
            let may = *approver && now >= *from && (*code_age).min(now) <= 300;
            let expect = naive.waits(now) && !is_machine && *same && may && other(*by) && !twice;
            if expect {
                naive.approvals.push((*by, now));
            }
            (expect, order.approve(&who, hash, at(now)))
        }
        Try::Reject { by } => {
            let expect = naive.waits(now) && other(*by);
            naive.over |= expect;
            (expect, order.reject(&of(*by), at(now)))
        }
        Try::Withdraw { by } => {
            let expect = naive.waits(now) && naive.requester == Some(*by);
            naive.over |= expect;
            (expect, order.withdraw(&of(*by), at(now)))
        }
        Try::Expire => {
            let late = now >= naive.filed + 72 * 3600;
            let expect = !naive.begun && !naive.over && naive.since().is_none() && late;
            naive.over |= expect;
            (expect, order.expire(at(now)))
        }
        Try::Begin { rule } => {
            let expect = naive.may_begin(rule, now);
            naive.begun |= expect;
            (expect, order.begin(*rule, at(now)))
        }
        Try::Finish { done } => {
            let end = if *done { End::Done(None) } else { End::Failed("X") };
            let unbegun = !done && !naive.begun && naive.since().is_some();
            let expect = !naive.over && (naive.begun || unbegun);
            naive.over |= expect;
            (expect, order.finish(&end, at(now)))
        }
        Try::Refused { by } => {
            let expect = !naive.begun && !naive.over;
            let noted = order.note(&human(*by), "approve", "APPROVER_ROLE", at(now));
            (expect, noted.ok_or_else(closed))
        }
    };
    (expect, got.ok())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    /// Nothing is executed without the demanded number of distinct, fresh, human approvals of
    /// others than the requester and a rest, or alone where the order itself says so.
    #[test]
    fn no_way_leads_past_the_people(
        rule in a_rule(),
        requester in prop_oneof![4 => Just(false), 1 => Just(true)],
        founds in any::<bool>(),
        tries in prop::collection::vec((0..40_000_u64, a_try()), 1..30),
    ) {
        let asked = if requester { machine(0) } else { human(0) };
        let make = Act::CreateHuman { login: "bob".into(), grants: Vec::new() };
        let act = if founds { make } else { erase() };
        let mut order = filed(&act, &who(asked, 0), rule, 0).unwrap();
        let rule = Rule { founding: rule.founding && founds, ..rule };
        prop_assert_eq!(order.rule, rule);
        let requester = (!requester).then_some(0);
        let (filed, approvals) = (0, Vec::new());
        let mut naive = Naive { rule, requester, filed, approvals, begun: false, over: false };
        let mut now = 0;
        for (pause, tried) in tries {
            // Mostly seconds, sometimes half a day.
            now += if pause % 4 == 0 { pause } else { pause % 100 };
            let (expect, next) = step(&order, &mut naive, &tried, now);
            prop_assert_eq!(expect, next.is_some(), "{:?} at {}: {:?}", tried, now, order);
            let Some(next) = next else { continue };
            prop_assert!(next.walk().is_ok(), "{:?}", next);
            let text = serde_json::to_vec(&next).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<Order>(&text).unwrap(), &next);
            order = next;
            let executing = order.steps.iter().any(|s| s.what == What::Executing);
            prop_assert_eq!(executing, naive.begun);
            prop_assert_eq!(!order.state().is_open(), naive.over);
            if executing {
                let others = order.approvers();
                prop_assert!(!others.contains(&DocumentId([0; 16])) || requester.is_none());
                let alone = order.rule.founding || order.rule.mode == RuleMode::SingleOperator;
                let humans = others.len() + usize::from(requester.is_some());
                let least = if alone { 1 } else { 1 + rule.approvals as usize };
                prop_assert!(humans >= least, "{:?}", order);
            }
        }
    }
}
