//! `[[witness]]`, `witness_quorum` and `[timestamp]`: who is asked to cosign checkpoints, how many
//! must, and who stamps them.
//! Pure: no file is read and nobody is asked.

use crate::cli::config::error::{ConfigError, Place};
use crate::cli::config::raw::{Given, Raw};
use crate::format::vkey::{Algorithm, Verifier};
use crate::forward::http::{Plain, check_address};
use std::path::{Path, PathBuf};

/// Most witnesses: as many as fit on a checkpoint with room to spare.
const WITNESSES_MAX: usize = 16;

/// A witness as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WitnessAt {
    /// Submission prefix.
    pub url: String,
    /// Its key, type 0x04.
    pub key: Verifier,
    /// PEM file of the roots its certificate must lead to; none: the system's.
    pub ca: Option<PathBuf>,
}

/// Who witnesses, and how many must.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Witnesses {
    /// Each of them.
    pub at: Vec<WitnessAt>,
    /// How many must cosign a checkpoint: all, unless the file says fewer.
    pub quorum: usize,
}

/// Checks what the file says.
pub(in crate::cli::config) fn check(
    place: &Place<'_>,
    raw: &Raw,
    home: &Path,
) -> Result<Witnesses, ConfigError> {
    let mut at: Vec<WitnessAt> = Vec::new();
    for one in &raw.witness {
        let url = needed(place, "witness.url", &one.url)?;
        if let Err(why) = check_address(url, Plain::Loopback) {
            return Err(place.refuse("witness.url", &one.url, why.0));
        }
        let vkey = needed(place, "witness.vkey", &one.vkey)?;
        let key = Verifier::parse(vkey).ok();
        let key = key.filter(|key| key.algorithm() == Algorithm::CosignatureV1);
        let Some(key) = key else {
            let allowed = "a vkey of type 0x04, as `chancery witness init` prints it";
            return Err(place.refuse("witness.vkey", &one.vkey, allowed));
        };
        if at.iter().any(|other| other.key.key() == key.key() || other.key.name() == key.name()) {
            let allowed = "each witness once: another key and another name";
            return Err(place.refuse("witness.vkey", &one.vkey, allowed));
        }
        let ca = one.ca.as_ref().map(|ca| home.join(ca.get_ref()));
        at.push(WitnessAt { url: url.to_owned(), key, ca });
        if at.len() > WITNESSES_MAX {
            let allowed = format!("at most {WITNESSES_MAX} witnesses");
            return Err(place.refuse("witness.url", &one.url, &allowed));
        }
    }
    let most = at.len() as u64;
    let quorum = match &raw.witness_quorum {
        // All: whoever wants to do without one says so.
        None => at.len(),
        Some(quorum) if (1..=most).contains(quorum.get_ref()) => {
            usize::try_from(*quorum.get_ref()).unwrap_or(at.len())
        }
        given => {
            let allowed = format!("1 to the number of [[witness]] sections, which is {most}");
            return Err(place.refuse("witness_quorum", given, &allowed));
        }
    };
    Ok(Witnesses { at, quorum })
}

/// The time-stamp authority, as configured.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Timestamp {
    /// Where it is asked; none: queries are carried by hand.
    pub url: Option<String>,
    /// PEM file of the certificates that tokens must lead to.
    pub ca: Option<PathBuf>,
}

/// Checks `[timestamp]`. Without a pinned certificate a token proves nothing, so an address
/// without one is refused.
pub(in crate::cli::config) fn check_timestamp(
    place: &Place<'_>,
    raw: &Raw,
    home: &Path,
) -> Result<Timestamp, ConfigError> {
    let given = &raw.timestamp;
    let url = given.url.as_ref().map(|url| url.get_ref().clone());
    if let Some(Err(why)) = url.as_deref().map(|url| check_address(url, Plain::Anywhere)) {
        return Err(place.refuse("timestamp.url", &given.url, why.0));
    }
    if url.is_some() && given.ca.is_none() {
        let allowed = "together with timestamp.ca, the PEM file of the authority's root";
        return Err(place.refuse("timestamp.url", &given.url, allowed));
    }
    let ca = given.ca.as_ref().map(|ca| home.join(ca.get_ref()));
    Ok(Timestamp { url, ca })
}

fn needed<'a>(
    place: &Place<'_>,
    key: &'static str,
    given: &'a Given<String>,
) -> Result<&'a str, ConfigError> {
    match given {
        Some(value) if !value.get_ref().is_empty() => Ok(value.get_ref()),
        given => Err(place.refuse(key, given, "every [[witness]] needs a url and a vkey")),
    }
}
