//! The first start of a service: the rule its tenants live under, and the token that enrols the
//! first person. Both are decided once; a later start can neither loosen the rule nor let a
//! second first person in.

use crate::cli::args::serve::Serve;
use crate::cli::config::{Config, MAIN};
use crate::cli::error::Failure;
use crate::cli::run::Context;
use crate::cli::world::zones;
use crate::policy::order::rule::{Rule, RuleMode};
use crate::server::app::{App, SYSTEM};
use crate::server::orders::rules;
use crate::server::problem::Problem;
use crate::server::scheduler::Scheduler;
use crate::server::scheduler::book::Book;
use crate::server::scheduler::run::Runner;
use crate::server::scheduler::tell::teller;
use crate::vault::Vault;
use anyhow::Result;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a start has to say about who may do what.
pub(crate) struct Begun {
    rule: Rule,
    bootstrap: Option<PathBuf>,
}

/// A failure of the service's state.
pub(crate) fn failed(problem: Problem) -> anyhow::Error {
    Failure::refused(problem.code, format!("{}; nothing was served", problem.detail)).into()
}

/// Puts the first rule in force, and writes the bootstrap token while there is nobody.
pub(crate) fn begin(context: &Context, app: &App, args: &Serve, config: &Config) -> Result<Begun> {
    let wished = wished(args, config);
    let mut rule = wished;
    for tenant in [SYSTEM, MAIN] {
        let known = rules::rule_of(app.system(), tenant).map_err(Problem::from).map_err(failed)?;
        rule = match known {
            None => {
                let begun = rules::begin(app.system(), tenant, wished);
                begun.map_err(Problem::from).map_err(failed)?;
                wished
            }
            Some(rule) => {
                drift(context, (args, wished), tenant, rule);
                rule
            }
        };
    }
    // What a crash interrupted is settled before anybody can ask for more: an act on people that
    // is done a second time then finds them as the first time left them.
    app.settle_all().map_err(failed)?;
    app.follow_rules().map_err(failed)?;
    let path = config.for_tenant(SYSTEM).data.join("bootstrap.token");
    let shown = app.directory.bootstrap(&app.hands(0)).map_err(Problem::from).map_err(failed)?;
    let bootstrap = match shown {
        Some((token, _)) => {
            secret(&path, token.expose())?;
            Some(path)
        }
        None => {
            // Used, and so of no use to anybody; an old one is not left lying about.
            let _ = std::fs::remove_file(&path);
            None
        }
    };
    Ok(Begun { rule, bootstrap })
}

/// Starts what runs by itself; each tenant gets the jobs that every tenant has.
pub(crate) fn scheduler(app: &Arc<App>) -> Result<Runner> {
    let now = app.system().clock().now();
    let book = Book::open(app.system().clone(), zones())?;
    for (tenant, _) in app.tenants() {
        book.equip(tenant, now)?;
    }
    let vaults: BTreeMap<String, Arc<Vault>> =
        app.tenants().map(|(name, vault)| (name.to_owned(), vault.clone())).collect();
    let scheduler = Scheduler::open(book, Box::new(move |name| vaults.get(name).cloned()), now)?;
    let say = |line: &str| {
        let mut sink = std::io::stderr().lock();
        let _ = writeln!(sink, "chancery: {line}");
    };
    let tell = teller(app.observer.metrics.clone(), Box::new(say));
    Ok(Runner::start(scheduler, tell)?)
}

/// The rule that the flags ask for.
fn wished(args: &Serve, config: &Config) -> Rule {
    let mode = match args.single_operator {
        true => RuleMode::SingleOperator,
        false => RuleMode::TwoPerson,
    };
    let cooling_off_seconds = config.server.cooling_off;
    Rule { mode, cooling_off_seconds, ..Rule::default() }
}

/// Says that the flags do not change a rule that is in force.
fn drift(context: &Context, (args, wished): (&Serve, Rule), tenant: &str, rule: Rule) {
    let mode = args.single_operator && rule.mode != wished.mode;
    let pause = args.cooling_off.is_some_and(|pause| pause != rule.cooling_off_seconds);
    if mode || pause {
        let text = format!(
            "tenant {tenant} has a rule, and it stays: --single-operator and --cooling-off count \
             at the first start only; file an order change-rule"
        );
        context.note("RULE_IN_FORCE", &text);
    }
}

/// Writes a secret for its owner only, whole or not at all.
fn secret(path: &Path, text: &str) -> Result<()> {
    let fail = |e: std::io::Error| Failure::file(path, &e);
    let fresh = path.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh);
    let mut file = opened.map_err(fail)?;
    writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(fail)?;
    std::fs::rename(&fresh, path).map_err(fail)?;
    Ok(())
}

/// Says what the first person needs, and under which rule everybody lives.
pub(crate) fn say(context: &mut Context, begun: &Begun) -> Result<()> {
    let Rule { mode, approvals, cooling_off_seconds, .. } = begun.rule;
    let rule = match mode {
        RuleMode::SingleOperator => "one person may request and execute; every receipt says so",
        RuleMode::TwoPerson => "two people",
    };
    let others = match mode {
        RuleMode::SingleOperator => String::new(),
        RuleMode::TwoPerson => format!(", {approvals} approval"),
    };
    context.out.say(&format!("rule    {rule}{others}; pause {cooling_off_seconds} s"))?;
    if let Some(path) = &begun.bootstrap {
        context.out.say(&format!(
            "first   nobody is enrolled; within 15 minutes the token in {}\n        enrols the \
             first person: POST /v1/enrolment (docs/operate.md)",
            path.display()
        ))?;
    }
    Ok(context.out.flush()?)
}
