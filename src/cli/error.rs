//! How a command fails: one line `chancery: CODE: what happened; what is safe; what to do`, or one
//! JSON object, and an exit code. It never prints a backtrace, a secret, or a value of an event.

use crate::base::refusal::Refusal;
use crate::cli::config::error::ConfigError;
use crate::cli::output::escape::{escape, json_line};
use crate::forward::file::FileError;
use crate::policy::error::PolicyError;
use crate::store::error::{Error as StoreError, ErrorKind};
use crate::vault::error::Error as VaultError;
use serde_json::json;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// Done, or verified.
pub(crate) const EXIT_DONE: u8 = 0;
/// Evidence failed, or the vault refused.
pub(crate) const EXIT_REFUSED: u8 = 1;
/// The command line or the configuration is wrong.
pub(crate) const EXIT_USAGE: u8 = 2;
/// It could not be done or checked.
pub(crate) const EXIT_FAILED: u8 = 3;
/// Nothing is wrong and nothing is proved.
pub(crate) const EXIT_INCONCLUSIVE: u8 = 4;
/// Somebody pressed Ctrl-C: 128 + SIGINT, as shells count.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// Why a command did not do what was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    code: Cow<'static, str>,
    message: String,
    exit: u8,
}

impl Failure {
    /// The command line or a file it names is wrong.
    pub(crate) fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Failure { code: code.into(), message: message.into(), exit: EXIT_USAGE }
    }

    /// The vault refuses, or evidence failed.
    pub(crate) fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Failure { code: code.into(), message: message.into(), exit: EXIT_REFUSED }
    }

    /// It could not be done.
    pub(crate) fn failed(code: &'static str, message: impl Into<String>) -> Self {
        Failure { code: code.into(), message: message.into(), exit: EXIT_FAILED }
    }

    /// A file named on the command line.
    pub(crate) fn file(path: &std::path::Path, error: &io::Error) -> Self {
        let fix = "nothing was changed; check the path and its permissions";
        let message = format!("{}: {error}; {fix}", path.display());
        Failure { code: "FILE_IO".into(), message, exit: EXIT_FAILED }
    }

    /// Its exit code.
    pub(crate) fn exit(&self) -> ExitCode {
        ExitCode::from(self.exit)
    }

    /// Writes it to standard error. A closed standard error is nobody's problem any more.
    pub(crate) fn print(&self, json: bool) {
        let mut sink = io::stderr().lock();
        let _ = match json {
            true => {
                let value = json!({"error": {"code": self.code, "message": self.message}});
                writeln!(sink, "{}", json_line(&value))
            }
            false => {
                writeln!(sink, "chancery: {}: {}", escape(&self.code), escape(&self.message))
            }
        };
    }
}

impl Failure {
    /// Stable code and exit.
    pub(crate) fn verdict(&self) -> (&str, u8) {
        (&self.code, self.exit)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Failure {}

/// What a failed command exits with: the failure, or nothing when the reader of our output has
/// gone, which is how `chancery query | head` ends.
pub(crate) fn of(error: &anyhow::Error) -> Option<Failure> {
    let broken = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    if error.downcast_ref::<io::Error>().is_some_and(broken) {
        return None;
    }
    Some(known(error).unwrap_or_else(|| Failure::failed("FAILED", error.to_string())))
}

/// The exit code of a verdict that was printed, also where its reader went away in the middle:
/// `chancery verify DIR | head -1` says no less than `chancery verify DIR`.
pub(crate) fn of_verdict(printed: anyhow::Result<()>, exit: u8) -> anyhow::Result<ExitCode> {
    match printed {
        Err(error) if of(&error).is_some() => Err(error),
        _ => Ok(ExitCode::from(exit)),
    }
}

/// The same failure with another exit code.
pub(crate) fn with_exit(error: &anyhow::Error, exit: u8) -> anyhow::Error {
    let failure = of(error).unwrap_or_else(|| Failure::failed("FAILED", error.to_string()));
    Failure { exit, ..failure }.into()
}

fn known(error: &anyhow::Error) -> Option<Failure> {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Some(failure.clone());
    }
    if let Some(error) = error.downcast_ref::<VaultError>() {
        return Some(of_vault(error));
    }
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return Some(of_store(error));
    }
    if let Some(error) = error.downcast_ref::<ConfigError>() {
        let message = without_code(&error.to_string(), error.code);
        return Some(Failure::usage(error.code, message));
    }
    if let Some(error) = error.downcast_ref::<PolicyError>() {
        let message = without_code(&error.to_string(), error.code);
        return Some(Failure::usage(error.code, message));
    }
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        return Some(Failure::usage(
            refusal.code,
            without_code(&refusal.to_string(), refusal.code),
        ));
    }
    if let Some(error) = error.downcast_ref::<FileError>() {
        return Some(of_export(error));
    }
    let error = error.downcast_ref::<io::Error>()?;
    Some(Failure::failed("OUTPUT_IO", format!("{error}; what the vault acknowledged is safe")))
}

fn of_export(error: &FileError) -> Failure {
    let text = error.to_string();
    let (code, message) = text.split_once(": ").unwrap_or(("FAILED", &text));
    let exit = match error {
        FileError::Store(error) => return of_store(error),
        FileError::NameUnsafe | FileError::Exists(_) => EXIT_USAGE,
        _ => EXIT_FAILED,
    };
    Failure { code: code.to_owned().into(), message: message.to_owned(), exit }
}

fn of_vault(error: &VaultError) -> Failure {
    let message = match error {
        VaultError::Unavailable(error) => return of_store(error),
        VaultError::Invalid { refusal, .. } => without_code(&refusal.to_string(), refusal.code),
        VaultError::Evidence { detail, .. } => {
            format!("{detail}; nothing was changed; keep the files as they are")
        }
        VaultError::NotFound { code } => not_found(code).to_owned(),
        other => without_code(&other.to_string(), other.code()),
    };
    let exit = if matches!(error, VaultError::Overloaded) { EXIT_FAILED } else { EXIT_REFUSED };
    Failure { code: error.code().into(), message, exit }
}

fn not_found(code: &str) -> &'static str {
    match code {
        "SUBJECT_UNKNOWN" => {
            "nobody is known by that: never seen, or erased (the vault cannot tell which); \
             nothing was changed; check kind and spelling"
        }
        "ENTRY_UNKNOWN" => "no such entry in this log; `chancery checkpoint` prints its size",
        "HOLD_UNKNOWN" => "no active hold of that case; `chancery hold list` names them",
        _ => "nothing of that name is here; nothing was changed",
    }
}

/// The store's failure, under the narrower code its clause begins with if it has one.
fn of_store(error: &StoreError) -> Failure {
    let word = error.what.split([' ', ':']).next().unwrap_or_default();
    let (code, clause) = match is_code(word) {
        true => (Cow::Owned(word.to_owned()), without_code(&error.what, word)),
        false => (Cow::Borrowed(kind_code(error.kind)), error.what.clone()),
    };
    let mut message = error.path.display().to_string();
    for part in [explain(&code), &clause] {
        if !part.is_empty() {
            message = format!("{message}: {part}");
        }
    }
    if let Some(source) = &error.source {
        message = format!("{message}: {source}");
    }
    // An advice in the clause itself is better than the general one.
    if !clause.contains('`') {
        let advice = advice(&code, error.kind);
        let said = message.contains(SAFE);
        let advice = advice.strip_prefix(SAFE).filter(|_| said).unwrap_or(advice);
        message = format!("{message}; {}", advice.trim_start_matches("; "));
    }
    Failure { code, message, exit: EXIT_FAILED }
}

/// What a sender needs to know first of all; a failure may say it itself.
const SAFE: &str = "what was acknowledged is safe";

fn kind_code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Io => "STORE_IO",
        ErrorKind::Corrupt => "STORE_CORRUPT",
        ErrorKind::Full => "STORE_FULL",
        ErrorKind::Locked => "STORE_LOCKED",
        ErrorKind::Missing => "STORE_MISSING",
        ErrorKind::TooNew => "STORE_TOO_NEW",
        ErrorKind::Poisoned => "STORE_POISONED",
    }
}

fn explain(code: &str) -> &'static str {
    match code {
        "KEK_PASSPHRASE_WRONG" => "the passphrase does not open this vault's root key",
        "KEK_PASSPHRASE_NEEDED" => "the root key is wrapped and no passphrase is configured",
        "KEK_MISSING" => "the root key is not there",
        "KEK_EXISTS" => "a root key is there already",
        "KEK_WORLD_READABLE" | "SECRET_WORLD_READABLE" | "ROOT_WORLD_READABLE" => {
            "others may read this key file"
        }
        _ => "",
    }
}

fn advice(code: &str, kind: ErrorKind) -> &'static str {
    match code {
        "KEK_PASSPHRASE_WRONG" => "nothing was changed; give the right one",
        "KEK_PASSPHRASE_NEEDED" => {
            "nothing was changed; set keys.passphrase_file or keys.passphrase_env"
        }
        "KEK_MISSING" => "nothing was changed; put the key directory back (see docs/admin.md)",
        "KEK_EXISTS" => "nothing was overwritten; choose another key directory",
        "KEYS_MIRROR_PAIRED" => {
            "nothing was changed; the keys have a mirror that is not there: mount its disk, or \
             give it up with --forget and two people"
        }
        "KEYS_MIRROR_IN_USE" => {
            "nothing was changed; it holds other keys, or these as they were: name an empty \
             directory"
        }
        code if code.ends_with("WORLD_READABLE") => {
            "nothing was opened; run chmod 600 on it, and think about who may have read it"
        }
        _ => match kind {
            ErrorKind::Io => "what was acknowledged is safe; check the path and its permissions",
            ErrorKind::Corrupt => {
                "nothing was changed; copy the directory as it is, then run chancery verify"
            }
            ErrorKind::Full => "what was acknowledged is safe; free space and run it again",
            ErrorKind::Locked => {
                "nothing was changed; two writers are never allowed: stop the other; where it is \
                 `chancery serve`, its API does the same"
            }
            ErrorKind::Missing => "nothing was changed; check --home, restore what is missing",
            ErrorKind::TooNew => "nothing was changed; use the newer program",
            ErrorKind::Poisoned => "what was acknowledged is safe; check the medium, start again",
        },
    }
}

fn is_code(word: &str) -> bool {
    let letter = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    word.len() >= 5 && word.contains('_') && word.chars().all(letter)
}

fn without_code(text: &str, code: &str) -> String {
    let rest = text.strip_prefix(code).unwrap_or(text);
    rest.trim_start_matches([':', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn check(error: impl Into<anyhow::Error>, exit: u8, text: &str) {
        let failure = of(&error.into()).unwrap();
        assert_eq!((failure.exit, failure.to_string().as_str()), (exit, text));
    }

    #[test]
    fn failures_have_one_line_a_code_and_an_exit() {
        let path = Path::new("k/kek");
        check(
            StoreError::corrupt(path, "KEK_PASSPHRASE_WRONG"),
            3,
            "KEK_PASSPHRASE_WRONG: k/kek: the passphrase does not open this vault's root key; \
             nothing was changed; give the right one",
        );
        check(
            VaultError::from(StoreError::new(ErrorKind::Locked, path, "in use")),
            3,
            "STORE_LOCKED: k/kek: in use; nothing was changed; two writers are never allowed: \
             stop the other; where it is `chancery serve`, its API does the same",
        );
        let system = io::Error::from(io::ErrorKind::StorageFull);
        let stopped = "cannot write: no space; what was acknowledged is safe, nothing more is \
                       written until the vault is opened again";
        for (what, end) in [
            ("cannot write", "; what was acknowledged is safe; free space and run it again"),
            (stopped, "; free space and run it again"),
        ] {
            let error = StoreError::new(ErrorKind::Full, path, what);
            check(error, 3, &format!("STORE_FULL: k/kek: {what}{end}"));
        }
        let said = of(&StoreError::io(path, "cannot write", system).into()).unwrap().to_string();
        assert_eq!(said.matches(SAFE).count(), 1, "{said}");
        check(VaultError::denied("TWO_PEOPLE", "ask another"), 1, "TWO_PEOPLE: ask another");
        let refusal = Refusal::new("JSON_SYNTAX", "fix it").at(3);
        check(VaultError::invalid(refusal), 1, "JSON_SYNTAX: at byte 3: fix it");
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(of(&pipe.into()).is_none());
    }
}
