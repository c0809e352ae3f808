//! One file per command: arguments in, verbs of the vault, results out.

pub(crate) mod access;
pub(crate) mod append;
pub(crate) mod bench;
pub(crate) mod checkpoint;
pub(crate) mod complete;
pub(crate) mod config;
pub(crate) mod copy;
pub(crate) mod demo;
pub(crate) mod disclose;
pub(crate) mod doctor;
pub(crate) mod emit;
pub(crate) mod evidence;
pub(crate) mod export;
pub(crate) mod exported;
pub(crate) mod hold;
pub(crate) mod init;
pub(crate) mod keys;
pub(crate) mod lines;
pub(crate) mod ordered;
pub(crate) mod pack;
pub(crate) mod prove;
pub(crate) mod query;
pub(crate) mod report;
pub(crate) mod retain;
pub(crate) mod scrub;
pub(crate) mod serve;
pub(crate) mod show;
pub(crate) mod subject;
pub(crate) mod timestamp;
pub(crate) mod verify;
pub(crate) mod witness;

use crate::base::event::Identifier;
use crate::base::id::CaseId;
use crate::base::unit::ClassId;
use crate::cli::args::govern::Approval;
use crate::cli::args::values::{IdentifierArg, identifier};
use crate::cli::config::{Config, Mode};
use crate::cli::error::Failure;
use crate::cli::world::read_text;
use crate::policy::classify::Policies;
use crate::vault::Vault;
use crate::vault::hold::Order;
use anyhow::Result;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Exit 0.
pub(crate) fn done() -> Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}

/// Who stands behind an act, as the configuration allows.
pub(crate) fn order(approval: &Approval, config: &Config) -> Result<Order> {
    if approval.single_operator && config.mode != Mode::SingleOperator {
        let message = "this vault asks for two people; nothing was done; name a second one with \
                       --approved-by, or set mode = \"single-operator\" in chancery.toml";
        return Err(Failure::refused("TWO_PEOPLE", message).into());
    }
    Ok(Order {
        requested_by: approval.requested_by.clone().unwrap_or_default(),
        approved_by: approval.approved_by.clone(),
        single_operator: approval.single_operator,
    })
}

/// One person's word, for acts that only keep or add.
pub(crate) fn one(requested_by: &str) -> Order {
    Order { requested_by: requested_by.to_owned(), approved_by: None, single_operator: true }
}

/// Identifiers as the registry normalises them.
pub(crate) fn identifiers(vault: &Vault, given: &[IdentifierArg]) -> Result<Vec<Identifier>> {
    let policies = vault.policies();
    let mut found = Vec::new();
    for given in given {
        match given {
            IdentifierArg::Given { kind, value } => found.push(normal(&policies, kind, value)?),
            IdentifierArg::File(path) => {
                for (at, line) in read_text(path)?.lines().enumerate() {
                    if line.trim().is_empty() {
                        continue;
                    }
                    let Ok(IdentifierArg::Given { kind, value }) = identifier(line) else {
                        let message = format!(
                            "{} line {}: write KIND:VALUE on each line; nothing was done",
                            path.display(),
                            at + 1
                        );
                        return Err(Failure::usage("IDENTIFIER_SYNTAX", message).into());
                    };
                    found.push(normal(&policies, &kind, &value)?);
                }
            }
        }
    }
    Ok(found)
}

fn normal(policies: &Policies, kind: &str, value: &str) -> Result<Identifier> {
    let Some(rule) = policies.registry().kind(kind) else {
        let known: Vec<&str> = policies.registry().kinds().iter().map(|k| &*k.name).collect();
        let message = format!("no such kind of identifier; use one of {}", known.join(", "));
        return Err(Failure::usage("IDENTIFIER_KIND", message).into());
    };
    match rule.normalise(value)? {
        Some(value) => Ok(Identifier { kind: rule.name, value }),
        None => {
            let message = format!("nothing is left of this {} once normalised", rule.name);
            Err(Failure::usage("SUBJECT_EMPTY", message).into())
        }
    }
}

/// A retention class by name or number.
pub(crate) fn class(policies: &Policies, text: &str) -> Result<ClassId> {
    let by_id = || {
        let id = ClassId(text.parse().ok()?);
        policies.classes().get(id).map(|class| class.id)
    };
    let named = policies.classes().by_name(text).map(|class| class.id);
    named.or_else(by_id).ok_or_else(|| {
        let known: Vec<&str> = policies.classes().all().iter().map(|c| c.name.as_str()).collect();
        let message = format!("no such retention class; use one of {}", known.join(", "));
        Failure::usage("CLASS_UNKNOWN", message).into()
    })
}

/// Names of the cases with active holds: sealed fields of the entries that set them.
///
/// # Errors
/// Those of the disk: a case that cannot be read just now is not a case nobody knows.
pub(crate) fn cases(vault: &Vault) -> Result<BTreeMap<CaseId, String>> {
    Ok(vault.hold_names()?)
}

/// Names of some cases, for a sentence.
pub(crate) fn case_names(names: &BTreeMap<CaseId, String>, cases: &[CaseId]) -> Vec<String> {
    cases.iter().map(|c| names.get(c).cloned().unwrap_or_else(|| c.to_string())).collect()
}

/// Writes a text to a file, whole or not at all, or as it is to standard output.
pub(crate) fn write_out(out: Option<&Path>, text: &[u8]) -> Result<()> {
    match out {
        // What is there and is no file, such as a pipe, cannot be replaced.
        Some(path) if path.exists() && !path.is_file() => {
            Ok(std::fs::write(path, text).map_err(|e| Failure::file(path, &e))?)
        }
        Some(path) => place(path, text),
        None => Ok(std::io::stdout().write_all(text)?),
    }
}

/// Writes beside and renames, so that a reader never sees half a file.
pub(crate) fn place(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let write = || {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    Ok(write().map_err(|e| {
        let _ = std::fs::remove_file(&beside);
        Failure::file(path, &e)
    })?)
}

/// As `write_out`, for what may hold personal values or must not be lost: the file is the owner's
/// only and is never overwritten.
pub(crate) fn write_new(out: Option<&Path>, text: &[u8]) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let Some(path) = out else { return write_out(None, text) };
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.map_err(|e| Failure::file(path, &e))?;
    Ok(file.write_all(text).and_then(|()| file.sync_all()).map_err(|e| {
        // Half a file would keep the next run from writing a whole one.
        let _ = std::fs::remove_file(path);
        Failure::file(path, &e)
    })?)
}

/// As `write_new` for what is written piece by piece. What fails half-way is removed again.
pub(crate) fn write_stream<T>(
    path: &Path,
    write: &mut dyn FnMut(&mut dyn Write) -> std::result::Result<T, crate::vault::error::Error>,
) -> Result<T> {
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |e: std::io::Error| Failure::file(path, &e);
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let mut buffered = std::io::BufWriter::with_capacity(1 << 16, file);
    let written: Result<T> = write(&mut buffered).map_err(Into::into).and_then(|value| {
        buffered.flush().and_then(|()| buffered.get_ref().sync_all()).map_err(failed)?;
        Ok(value)
    });
    if written.is_err() {
        // Half a proof proves nothing; that it cannot be removed changes nothing about that.
        let _ = std::fs::remove_file(path);
    }
    written
}

/// Refuses an output file that exists, before anything is done.
pub(crate) fn must_be_new(out: Option<&Path>) -> Result<()> {
    match out {
        Some(path) if path.exists() => {
            let message = format!("{} exists; nothing was done; name another", path.display());
            Err(Failure::usage("FILE_EXISTS", message).into())
        }
        _ => Ok(()),
    }
}
