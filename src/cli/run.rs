//! From arguments to an exit code: parse, dispatch, report how it ended. It decides nothing.

use crate::cli::args::{Cli, Command, Global};
use crate::cli::cmd;
use crate::cli::config::{Config, MAIN};
use crate::cli::error::{self, EXIT_DONE, EXIT_USAGE, Failure};
use crate::cli::output::Output;
use crate::cli::output::escape::escape;
use crate::cli::world::{reserve, vault_config, world_with};
use crate::vault::Vault;
use anyhow::Result;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use std::io::{self, Stdout, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Notices that belong to `doctor`, not before every command.
const QUIET_NOTICES: [&str; 2] = ["UNWITNESSED", "KEYS_SINGLE_COPY"];

/// What every command is given.
pub(crate) struct Context {
    /// Options of every command.
    pub(crate) global: Global,
    /// Standard output in the style asked for.
    pub(crate) out: Output<Stdout>,
    /// Set once somebody pressed Ctrl-C: stop after the current batch.
    pub(crate) stop: Arc<AtomicBool>,
}

impl Context {
    /// The checked configuration, with the directories of the tenant it names.
    pub(crate) fn config(&self) -> Result<Config> {
        let config = self.config_of_all()?;
        Ok(config.for_tenant(&config.tenant))
    }

    /// The checked configuration, with the directories below which every tenant's lie.
    pub(crate) fn config_of_all(&self) -> Result<Config> {
        Ok(Config::load(&self.global, &|name| std::env::var(name).ok())?)
    }

    /// Opens the configured vault, and says on standard error what is worth knowing.
    pub(crate) fn open(&self) -> Result<Vault> {
        self.open_with(&self.config()?)
    }

    /// As `open`, with a configuration at hand.
    pub(crate) fn open_with(&self, config: &Config) -> Result<Vault> {
        let files = vault_config(config, &self.global)?;
        if config.tenant != MAIN && !files.data.join("vault.toml").exists() {
            let message = format!("there is no tenant {}; nothing was opened", config.tenant);
            return Err(Failure::usage("TENANT_UNKNOWN", message).into());
        }
        let vault = Vault::open(world_with(&reserve(config, false)), &files)?;
        for notice in vault.notices() {
            if !QUIET_NOTICES.contains(&notice.code) {
                self.note(notice.code, &notice.text);
            }
        }
        if vault.policy_drift(&files)? {
            let text = "policy files differ from the policies in force, which stay in force; \
                        `chancery config show` compares, `chancery config apply` adopts";
            self.note("POLICY_DRIFT", text);
        }
        Ok(vault)
    }

    /// A remark on standard error; nobody there to read it is no failure.
    pub(crate) fn note(&self, code: &str, text: &str) {
        if !self.global.quiet {
            let mut sink = std::io::stderr().lock();
            let _ = writeln!(sink, "chancery: note: {}: {}", escape(code), escape(text));
        }
    }

    /// Whether Ctrl-C was pressed.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Runs this process.
pub(crate) fn process() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse_usage(&error, arguments.iter().any(|a| a == "--json")),
    };
    quieten_sled();
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    // Without a handler Ctrl-C ends the process at once; the vault recovers from that as well.
    let _ = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(error::EXIT_INTERRUPTED));
        }
    });
    let json = cli.global.json;
    let out = Output::of_process(cli.global.wishes());
    let mut context = Context { global: cli.global, out, stop };
    let done = dispatch(&mut context, &cli.command).and_then(|code| match context.out.flush() {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(code),
    });
    match done {
        Ok(code) => code,
        Err(error) => match error::of(&error) {
            Some(failure) => {
                failure.print(json);
                failure.exit()
            }
            None => ExitCode::from(EXIT_DONE),
        },
    }
}

/// sled panics when the disk fails under it. The index fences that and goes on without it, since
/// all it holds is derived; a person would read the message of the panic as the end.
fn quieten_sled() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let in_sled = info.location().is_some_and(|at| at.file().contains("/sled-0."));
        if !in_sled {
            usual(info);
        }
    }));
}

fn dispatch(context: &mut Context, command: &Command) -> Result<ExitCode> {
    match command {
        Command::Init(args) => cmd::init::run(context, args),
        Command::Append(args) => cmd::append::run(context, args),
        Command::Emit(args) => cmd::emit::run(context, args),
        Command::Show(args) => cmd::show::run(context, args),
        Command::Query(args) => cmd::query::run(context, args),
        Command::Verify(args) => cmd::verify::run(context, args),
        Command::Prove(args) => cmd::prove::run(context, args),
        Command::Disclose(args) => cmd::disclose::run(context, args),
        Command::Checkpoint(args) => cmd::checkpoint::run(context, args),
        Command::Subject(args) => cmd::subject::run(context, args),
        Command::Hold(args) => cmd::hold::run(context, args),
        Command::Retain(args) => cmd::retain::run(context, args),
        Command::Pack(_) => cmd::pack::run(context),
        Command::Backup(args) => cmd::copy::back_up(context, args),
        Command::Restore(args) => cmd::copy::restore(context, args),
        Command::Report(args) => cmd::report::run(context, args),
        Command::Export(args) => cmd::export::run(context, args),
        Command::Keys(args) => cmd::keys::run(context, args),
        Command::Timestamp(args) => cmd::timestamp::run(context, args),
        Command::Serve(args) => cmd::serve::run(context, args),
        Command::Witness(args) => cmd::witness::run(context, args),
        Command::Access(args) => cmd::access::run(context, args),
        Command::Config(args) => cmd::config::run(context, args),
        Command::Doctor(args) => cmd::doctor::run(context, args),
        Command::Scrub(args) => cmd::scrub::run(context, args),
        Command::Demo(args) => cmd::demo::run(context, args),
        Command::Bench(args) => cmd::bench::run(context, args),
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "chancery", &mut script);
            std::io::stdout().write_all(&script)?;
            Ok(ExitCode::from(EXIT_DONE))
        }
    }
}

/// Help goes to standard output; a mistake is one line, and never repeats a value, which could be
/// a person's identifier.
fn refuse_usage(error: &clap::Error, json: bool) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::from(EXIT_DONE);
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && !json {
        let _ = error.print();
        return ExitCode::from(EXIT_USAGE);
    }
    let failure = Failure::usage("USAGE", usage_text(error));
    failure.print(json);
    failure.exit()
}

fn usage_text(error: &clap::Error) -> String {
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(list)) => Some(list.join(", ")),
        _ => None,
    };
    let argument = word(ContextKind::InvalidArg);
    let source = std::error::Error::source(error).map(ToString::to_string);
    let allowed = word(ContextKind::ValidValue).filter(|list| !list.is_empty());
    let allowed = allowed.map(|list| format!("allowed: {list}"));
    let what = match (error.kind(), &argument) {
        (ErrorKind::ValueValidation | ErrorKind::InvalidValue, Some(argument)) => {
            let none = match error.kind() {
                ErrorKind::InvalidValue => "needs a value",
                _ => "not a value it takes",
            };
            let why = source.or(allowed).unwrap_or_else(|| none.to_owned());
            format!("{argument}: {why}")
        }
        (ErrorKind::MissingRequiredArgument, Some(argument)) => format!("missing {argument}"),
        (ErrorKind::UnknownArgument, Some(argument)) if argument.starts_with('-') => {
            let name = argument.split('=').next().unwrap_or_default();
            format!("no option {name} here")
        }
        (ErrorKind::UnknownArgument, _) => "a word too many".to_owned(),
        (ErrorKind::InvalidSubcommand, _) => "no such command".to_owned(),
        (ErrorKind::ArgumentConflict, Some(argument)) => {
            let other = word(ContextKind::PriorArg).unwrap_or_else(|| "another option".to_owned());
            format!("{argument} does not go with {other}")
        }
        _ => error.kind().to_string(),
    };
    let help = word(ContextKind::Usage).unwrap_or_default();
    let _ = help;
    format!("{what}; nothing was done; --help shows what goes, with an example")
}
