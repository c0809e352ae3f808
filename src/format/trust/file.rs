//! The text of a trust file: its lines, checked one by one, and printed again.
//! It never judges a note; the grammar stands at the head of `format/trust`.

use crate::base::id::hex;
use crate::base::unit::TreeSize;
use crate::crypto::x509;
use crate::format::checkpoint::{TREE_SIZE_MAX, parse_decimal};
use crate::format::trust::{Authority, Group, LogKey, Trust, Witness};
use crate::format::vkey::{Algorithm, Verifier, VkeyError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeSet;
use std::fmt;

/// Longest trust file: 256 lines of 1 KiB.
pub const TRUST_BYTES_MAX: usize = 256 * 1024;
/// Most log, witness, group and report lines of each kind; tlog-policy asks for 32.
pub const TRUST_ITEMS_MAX: usize = 256;

/// What is wrong with a line of a trust file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrustFault {
    /// The file is too long, has too many lines of a kind, or does not end with LF.
    File,
    /// A control character other than tab.
    Control,
    /// An unknown first word, or too few or many words.
    Syntax,
    /// A vkey that is refused.
    Vkey(VkeyError),
    /// A vkey of a type that this kind of line cannot have.
    Algorithm,
    /// A public key or key id that an earlier line has.
    DuplicateKey,
    /// A name that an earlier line defines, or `none`.
    DuplicateName,
    /// A name or key id that no earlier line defines.
    Undefined,
    /// A group member that is already in a group.
    MemberTwice,
    /// A threshold that is not `any`, `all` or 1..=members.
    Threshold,
    /// A size that is not a decimal number, or a second `until` of one key.
    Until,
    /// No quorum line, or a second one.
    Quorum,
    /// Not the base64 of a DER certificate that can be pinned, or a second one of this name.
    Certificate,
}

/// A trust file was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrustFileError {
    /// Line number from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub fault: TrustFault,
}

impl fmt::Display for TrustFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trust file, line {}: ", self.line)?;
        f.write_str(match self.fault {
            TrustFault::File => "too long, too many lines of a kind, or not ended by a newline",
            TrustFault::Control => "control character",
            TrustFault::Syntax => "unknown kind of line, or a wrong number of words",
            TrustFault::Vkey(error) => return error.fmt(f),
            TrustFault::Algorithm => "key of a type that this line cannot have",
            TrustFault::DuplicateKey => "key appears twice",
            TrustFault::DuplicateName => "name is taken",
            TrustFault::Undefined => "name or key id is not defined above",
            TrustFault::MemberTwice => "member is already in a group",
            TrustFault::Threshold => "threshold is not any, all or 1 to the number of members",
            TrustFault::Until => "not a tree size, or a second one for this key",
            TrustFault::Certificate => {
                "not the base64 of a certificate, or a second one of its name"
            }
            TrustFault::Quorum => "there must be exactly one quorum line",
        })
    }
}

impl std::error::Error for TrustFileError {}

impl Trust {
    /// Parses a trust file. `to_string` prints one that parses to the same.
    pub fn parse(text: &str) -> Result<Self, TrustFileError> {
        let whole = |fault| TrustFileError { line: 0, fault };
        let body = text.strip_suffix('\n').ok_or(whole(TrustFault::File))?;
        if text.len() > TRUST_BYTES_MAX {
            return Err(whole(TrustFault::File));
        }
        let mut parser = Parser::default();
        for (position, line) in body.split('\n').enumerate() {
            parser.line(line).map_err(|fault| TrustFileError { line: position + 1, fault })?;
        }
        let quorum = parser.quorum.ok_or(whole(TrustFault::Quorum))?;
        let Parser { logs, witnesses, groups, reports, authorities, .. } = parser;
        Ok(Trust { logs, witnesses, groups, quorum, reports, authorities })
    }

    /// The standard tlog-policy lines alone.
    pub fn policy_text(&self) -> String {
        let mut text = String::new();
        let url = |url: &Option<String>| url.as_ref().map(|u| format!(" {u}")).unwrap_or_default();
        for log in &self.logs {
            text.push_str(&format!("log {}{}\n", log.verifier, url(&log.url)));
        }
        for w in &self.witnesses {
            text.push_str(&format!("witness {} {}{}\n", w.name, w.verifier, url(&w.url)));
        }
        for Group { name, threshold_text, members, .. } in &self.groups {
            text.push_str(&format!("group {name} {threshold_text} {}\n", members.join(" ")));
        }
        text.push_str(&format!("quorum {}\n", self.quorum.as_deref().unwrap_or("none")));
        text
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.policy_text())?;
        for log in &self.logs {
            if let Some(until) = log.until {
                writeln!(f, "until {} {until}", hex(&log.verifier.id()))?;
            }
        }
        for report in &self.reports {
            writeln!(f, "report {report}")?;
        }
        for Authority { name, certificate } in &self.authorities {
            writeln!(f, "tsa {name} {}", STANDARD.encode(certificate))?;
        }
        Ok(())
    }
}

/// A trust file as far as it was read.
#[derive(Default)]
struct Parser {
    logs: Vec<LogKey>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    /// The line, then the name unless it is `none`.
    quorum: Option<Option<String>>,
    reports: Vec<Verifier>,
    authorities: Vec<Authority>,
}

impl Parser {
    fn line(&mut self, line: &str) -> Result<(), TrustFault> {
        if line.bytes().any(|byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f) {
            return Err(TrustFault::Control);
        }
        let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", vkey] => self.log(vkey, None),
            ["log", vkey, url] => self.log(vkey, Some(url)),
            ["tsa", name, certificate] => self.tsa(name, certificate),
            ["witness", name, vkey] => self.witness(name, vkey, None),
            ["witness", name, vkey, url] => self.witness(name, vkey, Some(url)),
            ["group", name, threshold, members @ ..] => self.group(name, threshold, members),
            ["quorum", name] => self.quorum(name),
            ["report", vkey] => self.report(vkey),
            ["until", id, size] => self.until(id, size),
            _ => Err(TrustFault::Syntax),
        }
    }

    fn log(&mut self, vkey: &str, url: Option<&str>) -> Result<(), TrustFault> {
        let verifier = self.key(vkey, Algorithm::Ed25519)?;
        let url = url.map(str::to_owned);
        push(&mut self.logs, LogKey { verifier, url, until: None })
    }

    fn report(&mut self, vkey: &str) -> Result<(), TrustFault> {
        let verifier = self.key(vkey, Algorithm::Ed25519)?;
        push(&mut self.reports, verifier)
    }

    fn witness(&mut self, name: &str, vkey: &str, url: Option<&str>) -> Result<(), TrustFault> {
        self.free_name(name)?;
        let verifier = self.key(vkey, Algorithm::CosignatureV1)?;
        let (name, url) = (name.to_owned(), url.map(str::to_owned));
        push(&mut self.witnesses, Witness { name, verifier, url })
    }

    fn group(&mut self, name: &str, word: &str, members: &[&str]) -> Result<(), TrustFault> {
        self.free_name(name)?;
        let mut seen: BTreeSet<&str> =
            self.groups.iter().flat_map(|g| &g.members).map(String::as_str).collect();
        for member in members {
            if !self.is_defined(member) {
                return Err(TrustFault::Undefined);
            }
            if !seen.insert(member) {
                return Err(TrustFault::MemberTwice);
            }
        }
        let threshold = match word {
            "any" => 1,
            "all" => members.len(),
            number => parse_decimal(number)
                .and_then(|k| usize::try_from(k).ok())
                .ok_or(TrustFault::Threshold)?,
        };
        if threshold < 1 || threshold > members.len() {
            return Err(TrustFault::Threshold);
        }
        let members = members.iter().map(|&member| member.to_owned()).collect();
        let (name, threshold_text) = (name.to_owned(), word.to_owned());
        push(&mut self.groups, Group { name, threshold_text, threshold, members })
    }

    fn tsa(&mut self, name: &str, certificate: &str) -> Result<(), TrustFault> {
        let certificate = STANDARD.decode(certificate).map_err(|_| TrustFault::Certificate)?;
        let known = self.authorities.iter().any(|authority| authority.name == name);
        if known || !x509::can_pin(&certificate) {
            return Err(TrustFault::Certificate);
        }
        push(&mut self.authorities, Authority { name: name.to_owned(), certificate })
    }

    fn quorum(&mut self, name: &str) -> Result<(), TrustFault> {
        if self.quorum.is_some() {
            return Err(TrustFault::Quorum);
        }
        if name != "none" && !self.is_defined(name) {
            return Err(TrustFault::Undefined);
        }
        self.quorum = Some((name != "none").then(|| name.to_owned()));
        Ok(())
    }

    fn until(&mut self, id: &str, size: &str) -> Result<(), TrustFault> {
        let size = parse_decimal(size).filter(|s| *s <= TREE_SIZE_MAX).ok_or(TrustFault::Until)?;
        let log = self.logs.iter_mut().find(|log| hex(&log.verifier.id()) == id);
        let log = log.ok_or(TrustFault::Undefined)?;
        if log.until.replace(TreeSize(size)).is_some() {
            return Err(TrustFault::Until);
        }
        Ok(())
    }

    /// One public key has one role. Ids are unique too, so that `until` names one key.
    fn key(&self, vkey: &str, algorithm: Algorithm) -> Result<Verifier, TrustFault> {
        let key = Verifier::parse(vkey).map_err(TrustFault::Vkey)?;
        if key.algorithm() != algorithm {
            return Err(TrustFault::Algorithm);
        }
        let logs = self.logs.iter().map(|log| &log.verifier);
        let witnesses = self.witnesses.iter().map(|witness| &witness.verifier);
        let mut known = logs.chain(witnesses).chain(&self.reports);
        if known.any(|other| other.key() == key.key() || other.id() == key.id()) {
            return Err(TrustFault::DuplicateKey);
        }
        Ok(key)
    }

    fn is_defined(&self, name: &str) -> bool {
        self.witnesses.iter().any(|witness| witness.name == name)
            || self.groups.iter().any(|group| group.name == name)
    }

    fn free_name(&self, name: &str) -> Result<(), TrustFault> {
        let taken = name == "none" || self.is_defined(name);
        if taken { Err(TrustFault::DuplicateName) } else { Ok(()) }
    }
}

fn push<T>(items: &mut Vec<T>, item: T) -> Result<(), TrustFault> {
    if items.len() >= TRUST_ITEMS_MAX {
        return Err(TrustFault::File);
    }
    items.push(item);
    Ok(())
}
