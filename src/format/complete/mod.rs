//! Completeness for outsiders: files that show some entries of a signed log and prove in one pass
//! that none of what was asked for is left out. Normative: docs/format.md section 11.
//!
//! A *range file* shows every entry of a range or of a window of log time. An *answer file* shows
//! every entry that has one of some index keys: from the sealed index tables of whole epochs,
//! each with its neighbours, and by showing every entry behind them. Both are read as a stream:
//! memory is bounded by what the page allows of keys, rows and epochs, never by the file.
//!
//! It never trusts a key, a seal or a place that the file brings along without the checkpoint.

pub mod answer;
pub mod claim;
pub mod part;
pub mod range;
pub mod scope;
mod source;
pub mod tables;

use crate::base::id::Hash32;
pub use crate::format::trust::Signed;
use crate::format::trust::TrustError;
use std::fmt;

/// Entries shown by one file; beyond, ask in pieces. 64 epochs, about 2.3 GB of common entries.
pub const SHOWN_MAX: u64 = 4_194_304;
/// Keys of one answer: 24 classes x 12 months x 14 years.
pub const KEYS_MAX: usize = 4_096;
/// Rows of asked keys in all tables of one answer, 16 MB in memory.
pub const ROWS_MAX: usize = 1_048_576;

/// Why a file does not verify.
#[derive(Debug)]
pub enum Fault {
    /// The evidence fails, or is inconclusive: `verdict` says which.
    Refused {
        /// Stable name.
        verdict: &'static str,
        /// Where and why.
        detail: String,
    },
    /// The file could not be read.
    Read(std::io::Error),
}

impl Fault {
    /// The verdict; nothing if the file could not be read.
    pub fn verdict(&self) -> Option<&'static str> {
        match self {
            Fault::Refused { verdict, .. } => Some(verdict),
            Fault::Read(_) => None,
        }
    }

    pub(crate) fn new(verdict: &'static str, detail: impl Into<String>) -> Self {
        Fault::Refused { verdict, detail: detail.into() }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Fault::new("MALFORMED", detail)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Refused { verdict, detail } => write!(f, "{verdict}: {detail}"),
            Fault::Read(error) => write!(f, "the file cannot be read: {error}"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<TrustError> for Fault {
    fn from(error: TrustError) -> Self {
        Fault::new(error.verdict(), error.to_string())
    }
}

/// Result of reading or judging.
pub type Result<T> = std::result::Result<T, Fault>;

/// Tenant in hex: what follows the last `/t/` of the origin.
pub(crate) fn tenant(signed: &Signed) -> &str {
    signed.checkpoint.origin.rsplit_once("/t/").map_or("", |(_, tenant)| tenant)
}

/// The root must be the one that was signed.
pub(crate) fn check_root(signed: &Signed, found: Hash32) -> Result<()> {
    match found == signed.checkpoint.root {
        true => Ok(()),
        false => Err(Fault::new("PROOF_ROOT", "the shown entries do not lead to the signed root")),
    }
}
