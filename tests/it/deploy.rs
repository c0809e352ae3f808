//! What is shipped beside the program: the unit of systemd, the rules of Prometheus, the dashboard
//! of Grafana, the page for operators. Each names only what the program has.

use crate::observe::golden;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn file(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Words of a text that are names of metrics.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("chancery_")).map(str::to_owned).collect()
}

/// Those among them that nobody exports.
fn unknown(text: &str) -> Vec<String> {
    let known: BTreeSet<String> = golden().into_iter().collect();
    metrics_in(text).into_iter().filter(|name| !known.contains(name)).collect()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    assert!(output.status.success(), "{command:?}: {}{}", text[0], text[1]);
    text.concat()
}

#[test]
fn a_name_that_nobody_exports_is_seen() {
    assert_eq!(unknown("rate(chancery_log_size_events[5m])"), Vec::<String>::new());
    assert_eq!(unknown("rate(chancery_log_sise_events[5m])"), ["chancery_log_sise_events"]);
}

#[test]
fn every_expression_of_the_dashboard_names_a_metric_that_is_exported() {
    let dashboard: Value = serde_json::from_str(&file("deploy/grafana/chancery.json")).unwrap();
    assert_eq!(dashboard["schemaVersion"], 39);
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut ids, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut expressions = vec![];
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["id"]);
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{}", panel["title"]);
        expressions.extend(targets.iter().map(|t| t["expr"].as_str().unwrap().to_owned()));
    }
    let notes = dashboard["annotations"]["list"].as_array().unwrap();
    expressions.extend(notes.iter().map(|note| note["expr"].as_str().unwrap().to_owned()));
    for expression in expressions {
        let named = metrics_in(&expression);
        assert!(!named.is_empty(), "{expression} names no metric");
        assert_eq!(unknown(&expression), Vec::<String>::new(), "{expression}");
        let (open, close) = (expression.matches('(').count(), expression.matches(')').count());
        assert_eq!(open, close, "{expression}");
        seen.extend(named);
    }
    let ends = ["_sum", "_count"];
    let unseen: Vec<String> = golden()
        .into_iter()
        .filter(|name| !seen.contains(name) && !ends.iter().any(|end| name.ends_with(end)))
        .collect();
    assert!(unseen.is_empty(), "the dashboard shows nothing of {unseen:?}");
}

#[test]
fn every_rule_names_a_metric_has_a_severity_a_fix_and_a_test() {
    let (rules, tests) =
        (file("deploy/prometheus/chancery.rules.yml"), file("deploy/prometheus/chancery.test.yml"));
    assert_eq!(unknown(&rules), Vec::<String>::new());
    assert_eq!(unknown(&tests), Vec::<String>::new());
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 15, "{}", alerts.len());
    let page = file("docs/operate.md");
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        for needed in ["severity: ", "summary: ", "fix: ", "expr: "] {
            assert!(alert.contains(needed), "{name} lacks {needed}");
        }
        let fires = format!("alertname: {name}\n        exp_alerts:");
        assert!(tests.contains(&fires), "{name} is never seen to fire");
        assert!(tests.contains(&format!("alertname: {name}}}")), "{name} is never seen silent");
        assert!(page.contains(&format!("`{name}`")), "docs/operate.md lacks {name}");
    }
}

#[test]
fn the_page_for_operators_has_every_metric_and_no_other() {
    let page = file("docs/operate.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `chancery_")?.split('`').next());
    let rows: BTreeSet<String> =
        rows.map(|row| format!("chancery_{}", row.split('{').next().unwrap())).collect();
    let ends = ["_bucket", "_sum", "_count"];
    let exported: BTreeSet<String> = golden()
        .into_iter()
        .map(|name| {
            let stem = ends.iter().find_map(|end| name.strip_suffix(end).map(str::to_owned));
            stem.unwrap_or(name)
        })
        .collect();
    assert_eq!(rows, exported);
}

#[test]
fn the_unit_waits_longer_than_the_service_drains_and_gives_no_right() {
    let unit = file("deploy/systemd/chancery.service");
    let value = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {key}")).to_owned()
    };
    let stop: u64 = value("TimeoutStopSec").trim_end_matches('s').parse().unwrap();
    let global = chancery::cli::args::Global::default();
    let config = chancery::cli::config::Config::check("", Path::new("x"), &global, &|_| None);
    assert!(stop > config.unwrap().server.drain_seconds + 5);
    for (key, expect) in [
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("StateDirectory", "chancery"),
        ("MemoryDenyWriteExecute", "yes"),
        ("CapabilityBoundingSet", ""),
        ("LimitCORE", "0"),
        ("UMask", "0077"),
    ] {
        assert_eq!(value(key), expect, "{key}");
    }
    assert!(value("LoadCredential").starts_with("passphrase:"));
    assert!(!unit.contains("Environment="), "a secret could come to stand there");
}

#[test]
#[ignore = "needs systemd-analyze"]
fn systemd_accepts_the_unit_and_finds_it_closed() {
    let dir = tempfile::tempdir().unwrap();
    let unit = file("deploy/systemd/chancery.service");
    // Verified where this program is, as a user who is there.
    let unit = unit.replace("/usr/bin/chancery", env!("CARGO_BIN_EXE_chancery"));
    let unit = unit.replace("=chancery\nGroup=chancery\n", "=daemon\n");
    let path = dir.path().join("chancery.service");
    std::fs::write(&path, unit).unwrap();
    let said = run(Command::new("systemd-analyze").arg("--man=no").arg("verify").arg(&path));
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("chancery")).collect();
    assert!(ours.is_empty(), "{ours:?}");
    let security = ["security", "--offline=true", "--threshold=20"];
    let said = run(Command::new("systemd-analyze").args(security).arg(&path));
    assert!(said.contains("Overall exposure level"), "{said}");
}

#[test]
#[ignore = "needs promtool"]
fn the_rules_fire_when_they_should_and_only_then() {
    let dir = root().join("deploy/prometheus");
    let check = ["check", "rules", "chancery.rules.yml"];
    run(Command::new("promtool").current_dir(&dir).args(check));
    let test = ["test", "rules", "chancery.test.yml"];
    let said = run(Command::new("promtool").current_dir(&dir).args(test));
    assert!(said.contains("SUCCESS"), "{said}");
}
