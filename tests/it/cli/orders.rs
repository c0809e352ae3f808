//! Commands on a tenant under the service's rule: they file an order and do nothing themselves,
//! and no edited file and no second name on the command line changes that.

use crate::cli::binary::{BY_TWO, Home, with};
use chancery::cli::world::{policies, world};
use chancery::policy::order::act::Act;
use chancery::policy::order::rule::{Rule, RuleMode};
use chancery::policy::order::{Actor, State};
use chancery::server::orders::book::Book;
use chancery::server::orders::rules;
use chancery::vault::Vault;
use chancery::vault::config::{Config, Tuning};

fn open(home: &Home) -> Vault {
    let built_in = chancery::cli::config::Policies::FolderOrBuiltIn("-".into());
    let config = Config {
        data: home.path().join("chancery-data"),
        keys: home.path().join("keys"),
        mirror: None,
        passphrase: None,
        accept_time: false,
        ledger: None,
        policies: policies(&built_in).unwrap(),
        index_on_disk: true,
        outside: Default::default(),
        tuning: Tuning::default(),
    };
    Vault::open(world(), &config).unwrap()
}

fn ruled(mode: RuleMode) -> Home {
    let home = Home::filled();
    let rule = Rule { mode, approvals: 1, cooling_off_seconds: 3_600, founding: false };
    let vault = open(&home);
    rules::begin(&vault, "main", rule).unwrap();
    vault.checkpoint().unwrap();
    home
}

#[test]
fn under_the_rule_a_command_files_an_order_and_does_nothing() {
    let home = ruled(RuleMode::TwoPerson);
    home.ok(&["hold", "set", "--case", "4 C 1", "--class", "1y", "--requested-by", "d"]);
    let erase = ["subject", "erase", "patient_id:P1", "--basis", "gdpr-17-1"];
    let said = home.ok(&with(&erase, &BY_TWO));
    assert!(said.out.contains("FILED") && said.out.contains("2 approvals"), "{}", said.out);
    assert!(said.err.contains("RULE_IN_FORCE"), "{}", said.err);
    let link = ["--json", "subject", "link", "patient_id:P1", "patient_id:P2"];
    let filed = home.ok(&with(&link, &BY_TWO)).json();
    assert_eq!((&filed["state"], &filed["approvals"]), (&"filed".into(), &2.into()));
    home.ok(&with(&["hold", "release", "--case", "4 C 1"], &BY_TWO));
    home.fails(&with(&["subject", "erase", "patient_id:nobody"], &BY_TWO), 1, "SUBJECT_UNKNOWN");
    home.fails(&with(&["keys", "roll-log"], &BY_TWO), 1, "RULE_IN_FORCE");
    // Choosing one operator in the file chooses nothing for a tenant under the rule.
    let file = home.read("chancery.toml");
    let edited = file.replace("mode = \"two-person\"", "mode = \"single-operator\"");
    assert_ne!(file, edited);
    home.write("chancery.toml", &edited);
    let alone = ["--requested-by", "dana", "--single-operator"];
    home.ok(&with(&erase, &alone));

    let vault = open(&home);
    assert!(vault.facts_now().erasures.is_empty() && vault.facts_now().released.is_empty());
    let book = Book::open(&vault).unwrap();
    let orders = book.open_orders();
    let acts: Vec<&str> = orders
        .iter()
        .map(|held| book.act(&vault, &held.order).unwrap().as_ref().map_or("", Act::name))
        .collect();
    assert_eq!(acts, ["erase", "link", "release-hold", "erase"]);
    for held in orders {
        assert_eq!(held.order.state(), State::Filed);
        assert_eq!(held.order.requester(), Some(&Actor::Console { name: "dana".into() }));
    }
}

#[test]
fn where_one_operator_was_chosen_commands_act_as_before() {
    let home = ruled(RuleMode::SingleOperator);
    let erase = ["subject", "erase", "patient_id:P1", "--basis", "gdpr-17-1"];
    let said = home.ok(&with(&erase, &BY_TWO));
    assert!(said.out.contains("ERASED"), "{}", said.out);
    assert_eq!(open(&home).facts_now().erasures.len(), 1);
}
