//! Configuration: `chancery.toml`, environment and flags become one checked `Config`.
//! Raw -> checked: `raw` is what the file says, `Config` what holds. `check` is pure; only
//! `Config::load` and `passphrase` read files. A flag beats the environment, that beats the
//! file, that beats the default. It never holds a secret: a passphrase is named by file or by
//! environment variable, and no error repeats what the file says where one could stand.

pub mod error;
pub mod passphrase;
pub mod raw;
pub mod server;
pub mod witness;

use crate::base::limits::UNIT_BYTES_TARGET;
use crate::cli::args::Global;
use crate::cli::config::error::{ConfigError, Place};
use crate::cli::config::raw::{Given, Raw};
use crate::cli::config::server::{Server, ServerFlags};
use crate::cli::config::witness::{Timestamp, Witnesses};
use std::path::{Path, PathBuf};

/// The tenant that is there without being made.
pub const MAIN: &str = "main";
/// Name of the file in the home directory.
pub const FILE_NAME: &str = "chancery.toml";

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The command line.
    Flag,
    /// The environment.
    Environment,
    /// The configuration file.
    File,
    /// Nobody said anything.
    Default,
}

impl Origin {
    /// As `config show` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Flag => "flag",
            Origin::Environment => "environment",
            Origin::File => "file",
            Origin::Default => "default",
        }
    }
}

/// Where policies are read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Policies {
    /// Somebody named this directory: it must exist.
    Folder(PathBuf),
    /// This directory if it exists, else the policies built into the program.
    FolderOrBuiltIn(PathBuf),
}

/// Where the passphrase of the root key is read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Passphrase {
    /// The root key is not wrapped; file permissions protect it.
    None,
    /// A file readable by its owner only.
    File(PathBuf),
    /// The name of an environment variable.
    Environment(String),
}

/// Who must agree to what could weaken the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Two different people.
    TwoPerson,
    /// One; every receipt says so.
    SingleOperator,
}

/// How the sequencer groups commits. There is no setting that turns fsync off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commit {
    /// Bytes of entries beyond which a unit takes no further batch.
    pub unit_bytes: u64,
    /// Longest wait for company before a lone batch is committed.
    pub delay_us: u64,
}

/// One line of `config show`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Key in the file.
    pub key: &'static str,
    /// Value in force.
    pub value: String,
    /// Who said it.
    pub origin: Origin,
}

/// What holds.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory everything relative is relative to.
    pub home: PathBuf,
    /// Name of the vault: origin = name + `/` + tenant.
    pub name: String,
    /// Tenant to act for.
    pub tenant: String,
    /// Data plane.
    pub data: PathBuf,
    /// Key plane; never inside `data`.
    pub keys: PathBuf,
    /// Second live key plane, written and scrubbed in step.
    pub keys_mirror: Option<PathBuf>,
    /// Policies.
    pub policies: Policies,
    /// Passphrase of the root key.
    pub passphrase: Passphrase,
    /// Approval mode.
    pub mode: Mode,
    /// Group commit.
    pub commit: Commit,
    /// Bytes a second of a paced scrub.
    pub scrub_bytes: u64,
    /// Whether `append` packs in the background while it runs.
    pub pack_background: bool,
    /// Witnesses.
    pub witnesses: Witnesses,
    /// Time-stamp authority.
    pub timestamp: Timestamp,
    /// The service.
    pub server: Server,
    /// Every value with its origin, in order of the file.
    pub shown: Vec<Shown>,
}

/// Looks up an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Config {
    /// Reads the file, if there is one, and checks everything.
    ///
    /// # Errors
    /// The file, the key and what is allowed.
    pub fn load(flags: &Global, env: Environment<'_>) -> Result<Config, ConfigError> {
        Config::load_to_serve(flags, &ServerFlags::default(), env)
    }

    /// As `load`, with what `chancery serve` says.
    ///
    /// # Errors
    /// As `load`.
    pub fn load_to_serve(
        flags: &Global,
        serve: &ServerFlags,
        env: Environment<'_>,
    ) -> Result<Config, ConfigError> {
        let home = home_of(flags, env).0;
        let file = flags.config.clone().unwrap_or_else(|| home.join(FILE_NAME));
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && flags.config.is_none() => {
                String::new()
            }
            Err(e) => return Err(ConfigError::unreadable(&file, &e)),
        };
        Config::check_to_serve(&text, &file, (flags, serve), env)
    }

    /// The same with the directories of one tenant: `main` has those that are named, every other
    /// tenant a vault of its own below them.
    #[must_use]
    pub fn for_tenant(&self, tenant: &str) -> Config {
        let part = |dir: &Path| match tenant {
            MAIN => dir.to_owned(),
            other => dir.join("others").join(other),
        };
        Config {
            tenant: tenant.to_owned(),
            data: part(&self.data),
            keys: part(&self.keys),
            keys_mirror: self.keys_mirror.as_deref().map(part),
            ..self.clone()
        }
    }

    /// Checks the text of a configuration file together with flags and environment.
    ///
    /// # Errors
    /// The file, the key and what is allowed.
    pub fn check(
        text: &str,
        file: &Path,
        flags: &Global,
        env: Environment<'_>,
    ) -> Result<Config, ConfigError> {
        Config::check_to_serve(text, file, (flags, &ServerFlags::default()), env)
    }

    fn check_to_serve(
        text: &str,
        file: &Path,
        (flags, serve): (&Global, &ServerFlags),
        env: Environment<'_>,
    ) -> Result<Config, ConfigError> {
        let raw = Raw::parse(text, file)?;
        let place = Place { file, text };
        let (home, home_origin) = home_of(flags, env);
        let mut shown =
            vec![Shown { key: "home", value: home.display().to_string(), origin: home_origin }];
        let mut note = |key, value: String, origin| shown.push(Shown { key, value, origin });

        // The name stands in every checkpoint; a local run needs no better one.
        let name = text_or(&raw.name, "chancery.local");
        check_name(&place, "name", &raw.name, &name.0, 64, "a-z 0-9 . -")?;
        note("name", name.0.clone(), name.1);
        let tenant = tenant_of(flags, env, &raw);
        check_name(&place, "tenant", &raw.tenant, &tenant.0, 32, "a-z 0-9 -")?;
        note("tenant", tenant.0.clone(), tenant.1);

        // `chancery-data` says whose it is in any directory; `keys` is where the design puts it.
        let mut path = |key, given: &Given<String>, default: &str| {
            let (value, origin) = text_or(given, default);
            let path = home.join(value);
            note(key, path.display().to_string(), origin);
            path
        };
        let data = path("data", &raw.data, "chancery-data");
        let keys = path("keys.path", &raw.keys.path, "keys");
        let mirror = raw.keys.mirror.is_some().then(|| path("keys.mirror", &raw.keys.mirror, ""));
        let folder = path("policies", &raw.policies, "policies");
        check_planes(&place, &raw, &data, &keys, mirror.as_deref())?;
        let policies = match raw.policies {
            Some(_) => Policies::Folder(folder),
            None => Policies::FolderOrBuiltIn(folder),
        };
        let passphrase = passphrase_of(&place, &raw, &home)?;
        let mode = mode_of(&place, &raw)?;
        let commit = commit_of(&place, &raw)?;
        let scrub_bytes = scrub_of(&place, &raw)?;
        let witnesses = witness::check(&place, &raw, &home)?;
        show_rest(&mut shown, &raw, &passphrase, mode, commit);
        let timestamp = witness::check_timestamp(&place, &raw, &home)?;
        show_witnesses(&mut shown, &witnesses, &timestamp);
        let server = server::check(&place, &raw.server, &home, serve, env)?;
        shown.extend(server.shown.iter().cloned());
        Ok(Config {
            home,
            name: name.0,
            tenant: tenant.0,
            data,
            keys,
            keys_mirror: mirror,
            policies,
            passphrase,
            mode,
            commit,
            scrub_bytes,
            pack_background: raw.pack.background.as_ref().is_none_or(|v| *v.get_ref()),
            witnesses,
            timestamp,
            server,
            shown,
        })
    }
}

/// The file's text with its origin, or the default.
fn text_or(given: &Given<String>, default: &str) -> (String, Origin) {
    match given {
        Some(value) => (value.get_ref().clone(), Origin::File),
        None => (default.to_owned(), Origin::Default),
    }
}

fn home_of(flags: &Global, env: Environment<'_>) -> (PathBuf, Origin) {
    match (&flags.home, env("CHANCERY_HOME").filter(|v| !v.is_empty())) {
        (Some(home), _) => (home.clone(), Origin::Flag),
        (None, Some(home)) => (PathBuf::from(home), Origin::Environment),
        (None, None) => (PathBuf::from("."), Origin::Default),
    }
}

fn tenant_of(flags: &Global, env: Environment<'_>, raw: &Raw) -> (String, Origin) {
    match (&flags.tenant, env("CHANCERY_TENANT").filter(|v| !v.is_empty())) {
        (Some(tenant), _) => (tenant.clone(), Origin::Flag),
        (None, Some(tenant)) => (tenant, Origin::Environment),
        (None, None) => text_or(&raw.tenant, MAIN),
    }
}

/// A name that is safe in an origin line, a path and a URL: no separator, no white space.
fn check_name(
    place: &Place<'_>,
    key: &'static str,
    given: &Given<String>,
    value: &str,
    max: usize,
    allowed: &str,
) -> Result<(), ConfigError> {
    let dots = allowed.contains('.');
    let good = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-') || (dots && c == '.');
    let ends = |c: char| c == '.' || c == '-';
    if !value.is_empty()
        && value.len() <= max
        && value.chars().all(good)
        && !value.starts_with(ends)
        && !value.ends_with(ends)
    {
        return Ok(());
    }
    let allowed = format!("1 to {max} characters of {allowed}, a letter or digit at both ends");
    Err(place.refuse(key, given, &allowed))
}

/// Keys beside or inside the data would be copied with it, and an erasure would be worth nothing.
fn check_planes(
    place: &Place<'_>,
    raw: &Raw,
    data: &Path,
    keys: &Path,
    mirror: Option<&Path>,
) -> Result<(), ConfigError> {
    let apart = |a: &Path, b: &Path| !a.starts_with(b) && !b.starts_with(a);
    if !apart(data, keys) {
        let allowed = "a directory that neither holds the data directory nor lies in it";
        return Err(place.refuse("keys.path", &raw.keys.path, allowed));
    }
    if mirror.is_some_and(|m| !apart(m, keys) || !apart(m, data)) {
        let allowed = "a directory apart from both keys.path and data, best on another medium";
        return Err(place.refuse("keys.mirror", &raw.keys.mirror, allowed));
    }
    Ok(())
}

fn passphrase_of(place: &Place<'_>, raw: &Raw, home: &Path) -> Result<Passphrase, ConfigError> {
    match (&raw.keys.passphrase_file, &raw.keys.passphrase_env) {
        (None, None) => Ok(Passphrase::None),
        (Some(path), None) => Ok(Passphrase::File(home.join(path.get_ref()))),
        (None, Some(name)) => {
            let good = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            // Anything else is likely the passphrase itself: refused without repeating it.
            if name.get_ref().is_empty() || !name.get_ref().chars().all(good) {
                let allowed = "the name of an environment variable: A-Z 0-9 _";
                return Err(place.refuse("keys.passphrase_env", &raw.keys.passphrase_env, allowed));
            }
            Ok(Passphrase::Environment(name.get_ref().clone()))
        }
        (Some(_), Some(_)) => {
            let allowed = "either passphrase_file or passphrase_env, not both";
            Err(place.refuse("keys.passphrase_env", &raw.keys.passphrase_env, allowed))
        }
    }
}

fn mode_of(place: &Place<'_>, raw: &Raw) -> Result<Mode, ConfigError> {
    match raw.mode.as_ref().map(|mode| mode.get_ref().as_str()) {
        // Two people, because one could hide what he did; a lone operator says so by name.
        None | Some("two-person") => Ok(Mode::TwoPerson),
        Some("single-operator") => Ok(Mode::SingleOperator),
        Some(_) => Err(place.refuse("mode", &raw.mode, "two-person or single-operator")),
    }
}

fn commit_of(place: &Place<'_>, raw: &Raw) -> Result<Commit, ConfigError> {
    let number = |key, given: &Given<u64>, default, low, high| match given.as_ref() {
        Some(value) if (low..=high).contains(value.get_ref()) => Ok(*value.get_ref()),
        Some(_) => Err(place.refuse(key, given, &format!("{low} to {high}"))),
        None => Ok(default),
    };
    Ok(Commit {
        // One MiB: an fsync costs the same for less, and more only adds waiting.
        unit_bytes: number(
            "commit.unit_bytes",
            &raw.commit.unit_bytes,
            UNIT_BYTES_TARGET as u64,
            64 << 10,
            8 << 20,
        )?,
        // Half a millisecond: less than the fsync that follows it.
        delay_us: number("commit.delay_us", &raw.commit.delay_us, 500, 0, 100_000)?,
    })
}

fn scrub_of(place: &Place<'_>, raw: &Raw) -> Result<u64, ConfigError> {
    let (low, high) = (64 << 10, 1 << 30);
    match raw.scrub.bytes_per_second.as_ref() {
        // One MiB: 84 GiB a day, and a hundredth of what a plain disk reads.
        None => Ok(1 << 20),
        Some(value) if (low..=high).contains(value.get_ref()) => Ok(*value.get_ref()),
        Some(_) => {
            let given = &raw.scrub.bytes_per_second;
            Err(place.refuse("scrub.bytes_per_second", given, &format!("{low} to {high}")))
        }
    }
}

fn show_rest(
    shown: &mut Vec<Shown>,
    raw: &Raw,
    passphrase: &Passphrase,
    mode: Mode,
    commit: Commit,
) {
    let origin = |given: bool| if given { Origin::File } else { Origin::Default };
    let (value, given) = match passphrase {
        Passphrase::None => ("none".to_owned(), false),
        Passphrase::File(path) => (format!("file {}", path.display()), true),
        Passphrase::Environment(name) => (format!("environment variable {name}"), true),
    };
    shown.push(Shown { key: "keys.passphrase", value, origin: origin(given) });
    let value = match mode {
        Mode::TwoPerson => "two-person",
        Mode::SingleOperator => "single-operator",
    };
    let from = origin(raw.mode.is_some());
    shown.push(Shown { key: "mode", value: value.to_owned(), origin: from });
    let from = origin(raw.commit.unit_bytes.is_some());
    let value = commit.unit_bytes.to_string();
    shown.push(Shown { key: "commit.unit_bytes", value, origin: from });
    let from = origin(raw.commit.delay_us.is_some());
    let value = commit.delay_us.to_string();
    shown.push(Shown { key: "commit.delay_us", value, origin: from });
    let from = origin(raw.scrub.bytes_per_second.is_some());
    let value = raw.scrub.bytes_per_second.as_ref().map_or(1 << 20, |v| *v.get_ref()).to_string();
    shown.push(Shown { key: "scrub.bytes_per_second", value, origin: from });
    let from = origin(raw.pack.background.is_some());
    let value = raw.pack.background.as_ref().is_none_or(|v| *v.get_ref()).to_string();
    shown.push(Shown { key: "pack.background", value, origin: from });
}

fn show_witnesses(shown: &mut Vec<Shown>, witnesses: &Witnesses, timestamp: &Timestamp) {
    let Witnesses { at, quorum } = witnesses;
    let origin = if at.is_empty() { Origin::Default } else { Origin::File };
    let value = match at.is_empty() {
        true => "none".to_owned(),
        false => at.iter().map(|w| w.url.as_str()).collect::<Vec<_>>().join(" "),
    };
    shown.push(Shown { key: "witness", value, origin });
    shown.push(Shown { key: "witness_quorum", value: quorum.to_string(), origin });
    let origin = if timestamp.url.is_some() { Origin::File } else { Origin::Default };
    let value = timestamp.url.clone().unwrap_or_else(|| "none".to_owned());
    shown.push(Shown { key: "timestamp.url", value, origin });
}
