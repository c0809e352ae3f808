//! Orders about rules and people: they lie with the system tenant.

use super::{Office, code, human, named, party, two};
use chancery::base::id::DocumentId;
use chancery::base::refusal::Refusal;
use chancery::base::unit::EntryIndex;
use chancery::policy::order::act::{Act, Grant};
use chancery::policy::order::rule::{Rule, RuleMode};
use chancery::policy::order::{Order, State};
use chancery::server::orders::book::Application;
use chancery::server::orders::{CarryOut, Hands, Held, Ordered, People, Result, rules};
use chancery::vault::error::Error;
use std::cell::{Cell, RefCell};

fn change(tenant: &str, mode: RuleMode, cooling_off_seconds: u64) -> Act {
    Act::ChangeRule { tenant: tenant.into(), mode, approvals: 1, cooling_off_seconds }
}

fn file(office: &Office, hands: &Hands<'_>, act: Act, rule: Rule) -> Result<Held> {
    let (by, now) = (office.party(1), office.now());
    let application = Application { act, by: &by, rule };
    office.book.file(&office.vault, &*office.entropy, hands, application, now)
}

#[test]
fn a_rule_begins_once_and_changes_by_an_order_only() {
    let office = Office::new();
    let vault = &office.vault;
    assert_eq!(rules::rule_of(vault, "main").unwrap(), None);
    let single = Rule { mode: RuleMode::SingleOperator, ..two(1, 60) };
    assert_eq!(code(rules::begin(vault, "main", two(0, 0))), "RULE_APPROVALS");
    rules::begin(vault, "main", two(1, 3600)).unwrap();
    assert_eq!(code(rules::begin(vault, "main", single)), "RULE_IN_FORCE");
    assert_eq!(rules::rule_of(vault, "main").unwrap(), Some(two(1, 3600)));
    rules::begin(vault, "system", single).unwrap();

    // Leaving the rule is under the rule that is left, whatever the system's own is.
    let act = change("main", RuleMode::SingleOperator, 0);
    let rule = rules::governing(vault, "system", &act, true).unwrap();
    assert_eq!(rule, Rule { founding: true, ..two(1, 3600) });
    let hands = Hands::System(None);
    assert_eq!(code(file(&office, &Hands::Tenant, act.clone(), rule)), "ORDER_ACT");
    let held = file(&office, &hands, act, rule).unwrap();
    assert_eq!((held.order.state(), held.order.rule.founding), (State::Filed, false));
    office.approve(&held, 2).unwrap();
    let tick = || {
        let governing = |order: &Order| {
            let act = office.book.act(vault, order)?.unwrap();
            rules::governing(vault, "system", &act, false)
        };
        office.book.tick(vault, &hands, &governing, office.now()).unwrap()
    };
    assert!(tick().executed.is_empty());
    office.pass(3600);
    assert_eq!(tick().executed, vec![held.id]);
    let expect = Rule { mode: RuleMode::SingleOperator, ..two(1, 0) };
    assert_eq!(rules::rule_of(vault, "main").unwrap(), Some(expect));
    let (document, index) = rules::rule_document(vault, "main").unwrap().unwrap();
    assert_eq!(document.order, Some(held.id));
    assert_eq!(office.state(&held), State::Executed { entry: Some(index) });
    // Of a tenant without one the default counts, and of several the strictest.
    let grants = ["main", "other"].map(|tenant| Grant {
        tenant: tenant.into(),
        role: "approver".into(),
        until: None,
        sources: None,
        break_glass: false,
    });
    let act = Act::CreateHuman { login: "bob".into(), grants: grants.to_vec() };
    assert_eq!(rules::governing(vault, "main", &act, false).unwrap(), Rule::default());
    let erase = Act::Erase { identifiers: named(&["p1"]), basis: "x".into() };
    assert_eq!(rules::governing(vault, "main", &erase, false).unwrap(), expect);
    let office = office.again();
    assert_eq!(rules::rule_of(&office.vault, "main").unwrap(), Some(expect));
}

#[test]
fn acts_on_people_are_carried_out_by_whoever_keeps_them_and_retried_under_one_name() {
    let office = Office::new();
    let fits = |act: &Act| match act {
        Act::CreateHuman { login, .. } if login == "taken" => {
            Err(Refusal::new("LOGIN_TAKEN", "choose another"))
        }
        _ => Ok(()),
    };
    let (well, calls) = (Cell::new(false), RefCell::new(Vec::new()));
    let carry_out = |ordered: &Ordered<'_>| {
        calls.borrow_mut().push((ordered.order, DocumentId(ordered.job.0)));
        if well.get() { Ok(Some(EntryIndex(1))) } else { Err(Error::Overloaded) }
    };
    let carry_out: &CarryOut<'_> = &carry_out;
    let hands = Hands::System(Some(People { fits: &fits, carry_out }));
    let make = |login: &str| Act::CreateHuman { login: login.into(), grants: Vec::new() };
    assert_eq!(code(file(&office, &Hands::System(None), make("bob"), two(1, 0))), "ORDER_ACT");
    assert_eq!(code(file(&office, &hands, make("taken"), two(1, 0))), "LOGIN_TAKEN");

    // The first two people: done alone, and the order says so.
    let founding = Rule { founding: true, ..two(1, 3600) };
    let held = file(&office, &hands, make("bob"), founding).unwrap();
    assert!(held.order.rule.founding);
    let tick = |rule: Rule| {
        let rule = |_: &Order| Ok(rule);
        office.book.tick(&office.vault, &hands, &rule, office.now()).unwrap()
    };
    assert_eq!(tick(founding).waiting, vec![(held.id, "OVERLOADED")]);
    assert_eq!(office.state(&held), State::Executing);
    well.set(true);
    // It was begun: that the founding has ended since changes nothing.
    assert_eq!(tick(two(1, 3600)).executed, vec![held.id]);
    let call = (held.id, DocumentId(held.order.job.0));
    assert_eq!(*calls.borrow(), vec![call, call]);
    assert_eq!(office.state(&held), State::Executed { entry: Some(EntryIndex(1)) });

    let held = file(&office, &hands, make("eve"), founding).unwrap();
    assert_eq!(tick(two(1, 3600)).executed, vec![], "nobody approved");
    office.pass(3600);
    assert_eq!(tick(two(1, 3600)).failed, vec![(held.id, "ORDER_RULE")]);
    let reset = Act::ResetFactor { human: DocumentId([2; 16]) };
    let held = file(&office, &hands, reset, founding).unwrap();
    assert_eq!(held.order.state(), State::Filed, "a reset founds nothing");
    assert_eq!(party(human(2), office.now()).actor, human(2));
}

#[test]
fn a_tenants_own_log_holds_its_rule() {
    let (system, tenant) = (Office::new(), Office::new());
    let follow = || rules::follow(&system.vault, &tenant.vault, "main").unwrap();
    assert!(!follow());
    rules::begin(&system.vault, "main", two(2, 60)).unwrap();
    assert!(follow() && !follow());
    assert_eq!(rules::rule_of(&tenant.vault, "main").unwrap(), Some(two(2, 60)));
    assert_eq!(rules::rule_of(&tenant.vault, "other").unwrap(), None);
}
