//! What a report key says about erasures, read back: receipts and ledgers. Every line is checked,
//! in order, and no other is allowed. It never says that a key is gone: it checks that the words
//! are whole, and who said them is for the caller.

use crate::base::id::{CaseId, Hash32, JobId, PersonId, TenantId};
use crate::base::unit::{EntryIndex, Generation, TreeSize, UtcNanos};
use crate::format::checkpoint::{parse_decimal, parse_hash};
use std::fmt;

/// End of a receipt's first line.
pub const RECEIPT: &str = "/erasure-receipt/v1";
/// End of a ledger's first line.
pub const LEDGER: &str = "/erasure-ledger/v1";
/// Keyword of an erasure that left nothing of its persons.
pub const WHOLLY: &str = "erased";
/// Keyword of one that had to leave classes for a law or a hold.
pub const IN_PART: &str = "erased-in-part";
/// Said of an erasure that a replica missed: it still holds the old root until it is back.
pub const PARTIAL: &str = " E2-partial";
/// Longest name of a law, as in the entry it comes from.
const LAW_BYTES_MAX: usize = 100;

/// Why a text is no statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StatementError {
    /// This line, from 1, is not what it must be.
    Malformed {
        /// Line.
        line: usize,
        /// What stands there.
        what: &'static str,
    },
    /// The first two lines name different tenants.
    Tenant,
}

impl StatementError {
    /// The verdict's stable name.
    pub fn verdict(&self) -> &'static str {
        match self {
            StatementError::Malformed { .. } => "MALFORMED",
            StatementError::Tenant => "TENANT_MISMATCH",
        }
    }
}

impl fmt::Display for StatementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatementError::Malformed { line, what } => {
                write!(f, "line {line}: {what} is missing or malformed")
            }
            StatementError::Tenant => f.write_str("the first two lines name different tenants"),
        }
    }
}

impl std::error::Error for StatementError {}

/// A place in the log with what stands there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Act {
    /// Entry.
    pub index: EntryIndex,
    /// Its leaf hash.
    pub leaf: Hash32,
    /// Its log time.
    pub time: UtcNanos,
}

/// What a receipt says, of what programs need.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// Whose.
    pub tenant: TenantId,
    /// Which erasure.
    pub job: JobId,
    /// Its intent.
    pub requested: Act,
    /// Its done entry.
    pub completed: Act,
    /// The entry that says that a replica has caught up.
    pub last: Option<Act>,
    /// Generation of the root that forgot.
    pub generation: Generation,
}

/// One erasure in a ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Erased {
    /// Which erasure.
    pub job: JobId,
    /// Its done entry.
    pub done: EntryIndex,
    /// Whether law or a hold kept something.
    pub in_part: bool,
    /// Whom it reached.
    pub persons: Vec<PersonId>,
}

/// What a ledger says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ledger {
    /// Whose.
    pub tenant: TenantId,
    /// Generation of the key tree.
    pub generation: Generation,
    /// Birth hash of its root.
    pub root: Hash32,
    /// Entries of the log.
    pub log: TreeSize,
    /// Erasures, ascending by job.
    pub erased: Vec<Erased>,
}

type Result<T> = std::result::Result<T, StatementError>;

/// The lines of a statement, one keyword each.
struct Lines<'a> {
    lines: Vec<&'a str>,
    at: usize,
}

impl<'a> Lines<'a> {
    /// Takes the first two lines: the name of the signing key comes from the first.
    fn open(text: &'a str, end: &str) -> Result<(Self, TenantId)> {
        let bare = text.strip_suffix('\n').unwrap_or(text);
        let mut lines = Lines { lines: bare.split('\n').collect(), at: 0 };
        let first = lines.lines.first().and_then(|line| line.strip_suffix(end));
        let named = first.and_then(|name| name.rsplit_once("/r/"));
        lines.at = 1;
        let of = lines.need("tenant", |rest| lower::<TenantId, 16>(rest, TenantId))?;
        let named = named.and_then(|(_, hex)| lower::<TenantId, 16>(hex, TenantId));
        let malformed = StatementError::Malformed { line: 1, what: "<vault>/r/<tenant>" };
        match named.ok_or(malformed)? == of {
            true => Ok((lines, of)),
            false => Err(StatementError::Tenant),
        }
    }

    fn peek(&self, keyword: &str) -> Option<&'a str> {
        self.lines.get(self.at)?.strip_prefix(keyword)?.strip_prefix(' ')
    }

    /// The line with this keyword, if `read` takes what follows it.
    fn need<T>(
        &mut self,
        keyword: &'static str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T> {
        let value = self.peek(keyword).and_then(read);
        self.at += 1;
        value.ok_or(StatementError::Malformed { line: self.at, what: keyword })
    }

    fn end(&self) -> Result<()> {
        match self.at == self.lines.len() {
            true => Ok(()),
            false => Err(StatementError::Malformed { line: self.at + 1, what: "the end" }),
        }
    }
}

impl Receipt {
    /// Reads the text of a receipt.
    ///
    /// # Errors
    /// `MALFORMED`, `TENANT_MISMATCH`.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut lines, tenant) = Lines::open(text, RECEIPT)?;
        let job = lines.need("erasure", |hex| lower::<JobId, 16>(hex, JobId))?;
        lines.need("basis", |basis| is_basis(basis).then_some(()))?;
        let modes = ["two-person", "single-operator", "scheduled"];
        lines.need("mode", |mode| modes.contains(&mode).then_some(()))?;
        let requested = lines.need("requested", act)?;
        let after = |before: Act| move |rest| act(rest).filter(|act| act.index > before.index);
        let completed = lines.need("completed", after(requested))?;
        let last = match lines.peek("final") {
            Some(_) => Some(lines.need("final", after(completed))?),
            None => None,
        };
        let generation = lines.need("root", change)?;
        lines.need("store", |class| (class == "D").then_some(()))?;
        lines.need("replicas", |text| is_replicas(text, last.is_some()).then_some(()))?;
        lines.need("classes", |names| {
            (names == "-" || names.split(' ').all(is_name)).then_some(())
        })?;
        lines.need("records", |n| (n == "-" || parse_decimal(n).is_some()).then_some(()))?;
        while lines.peek("deferred").is_some() {
            lines.need("deferred", deferred)?;
        }
        lines.need("limits", |text| (!text.is_empty()).then_some(()))?;
        lines.end()?;
        Ok(Receipt { tenant, job, requested, completed, last, generation })
    }
}

impl Ledger {
    /// Reads the text of a ledger.
    ///
    /// # Errors
    /// `MALFORMED`, `TENANT_MISMATCH`.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut lines, tenant) = Lines::open(text, LEDGER)?;
        let (generation, root) = lines.need("generation", |rest| {
            let (number, birth) = rest.split_once(' ')?;
            Some((Generation(parse_decimal(number)?), lower::<Hash32, 32>(birth, Hash32)?))
        })?;
        let log = lines.need("log", |n| size(n).map(TreeSize))?;
        let mut erased: Vec<Erased> = Vec::new();
        loop {
            let in_part = lines.peek(IN_PART).is_some();
            if !in_part && lines.peek(WHOLLY).is_none() {
                break;
            }
            let last = erased.last().map(|erased| erased.job);
            let keyword = if in_part { IN_PART } else { WHOLLY };
            erased.push(lines.need(keyword, |rest| {
                let mut words = rest.split(' ');
                let job = lower::<JobId, 16>(words.next()?, JobId)?;
                let done = EntryIndex(size(words.next()?)?);
                let persons = words.map(|hex| lower::<PersonId, 16>(hex, PersonId));
                let persons = persons.collect::<Option<Vec<_>>>()?;
                let sound = !persons.is_empty() && done.0 < log.0 && last < Some(job);
                sound.then_some(Erased { job, done, in_part, persons })
            })?);
        }
        lines.end()?;
        Ok(Ledger { tenant, generation, root, log, erased })
    }
}

/// Lower-case hex of exactly `N` bytes.
fn lower<T, const N: usize>(text: &str, of: impl FnOnce([u8; N]) -> T) -> Option<T> {
    let digits = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if digits { crate::base::id::unhex(text).map(of) } else { None }
}

fn size(text: &str) -> Option<u64> {
    parse_decimal(text).filter(|n| i64::try_from(*n).is_ok())
}

/// An instant in its one form.
fn time(text: &str) -> Option<UtcNanos> {
    let time = UtcNanos::parse(text)?;
    let zero = time.0 == 0 && text == "1970-01-01T00:00:00Z";
    (zero || time.to_string() == text).then_some(time)
}

fn act(rest: &str) -> Option<Act> {
    let words: Vec<&str> = rest.split(' ').collect();
    let [index, leaf, when] = words.as_slice() else { return None };
    let (index, leaf) = (EntryIndex(size(index)?), parse_hash(leaf)?);
    Some(Act { index, leaf, time: time(when)? })
}

/// Generation after a change of the root.
fn change(rest: &str) -> Option<Generation> {
    let words: Vec<&str> = rest.split(' ').collect();
    let [from, "->", to, old, new] = words.as_slice() else { return None };
    let (from, to) = (parse_decimal(from)?, parse_decimal(to)?);
    let whole = parse_hash(old).is_some() && parse_hash(new).is_some();
    (whole && from.checked_add(1) == Some(to)).then_some(Generation(to))
}

fn is_basis(text: &str) -> bool {
    let code = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(code)
}

/// `1/2`, and ` E2-partial` behind it while no final entry says otherwise.
fn is_replicas(text: &str, last: bool) -> bool {
    let bare = text.strip_suffix(PARTIAL);
    let number = |word: &str| parse_decimal(word).is_some_and(|number| number < 1000);
    let whole = bare.unwrap_or(text).split_once('/');
    whole.is_some_and(|(live, all)| number(live) && number(all)) && !(last && bare.is_some())
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn deferred(rest: &str) -> Option<()> {
    let mut words = rest.splitn(4, ' ');
    let (name, why, due, law) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let whole = match why {
        "floor" => time(due).is_some(),
        "hold" => due == "-" && lower::<CaseId, 16>(law, CaseId).is_some(),
        _ => false,
    };
    let short = (1..=LAW_BYTES_MAX).contains(&law.len()) && !law.contains(char::is_control);
    (is_name(name) && whole && short).then_some(())
}
