//! What `chancery.toml` says, before anybody believed it. Every key is listed here; an unknown
//! one is refused. Each value keeps its place, so an error can name the line.

use crate::cli::config::error::ConfigError;
use crate::cli::config::server::RawServer;
use serde::Deserialize;
use std::path::Path;
use toml::Spanned;

/// A value the file may leave out, with its place.
pub type Given<T> = Option<Spanned<T>>;

/// The top of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// Name of the vault.
    pub name: Given<String>,
    /// Tenant to act for.
    pub tenant: Given<String>,
    /// `two-person` or `single-operator`.
    pub mode: Given<String>,
    /// Data directory.
    pub data: Given<String>,
    /// Policies directory.
    pub policies: Given<String>,
    /// How many witnesses must cosign.
    pub witness_quorum: Given<u64>,
    /// `[[witness]]`.
    #[serde(default)]
    pub witness: Vec<RawWitness>,
    /// `[timestamp]`.
    #[serde(default)]
    pub timestamp: RawTimestamp,
    /// `[keys]`.
    #[serde(default)]
    pub keys: RawKeys,
    /// `[commit]`.
    #[serde(default)]
    pub commit: RawCommit,
    /// `[scrub]`.
    #[serde(default)]
    pub scrub: RawScrub,
    /// `[pack]`.
    #[serde(default)]
    pub pack: RawPack,
    /// `[server]`.
    #[serde(default)]
    pub server: RawServer,
}

/// `[timestamp]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTimestamp {
    /// Address of a time-stamp authority.
    pub url: Given<String>,
    /// PEM file of the certificates that its tokens must lead to.
    pub ca: Given<String>,
}

/// `[[witness]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawWitness {
    /// Submission prefix.
    pub url: Given<String>,
    /// Its key.
    pub vkey: Given<String>,
    /// PEM file of the certificates that its address must lead to.
    pub ca: Given<String>,
}

/// `[[server.client]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawClient {
    /// The tenant.
    pub tenant: Given<String>,
    /// PEM file of the authority that its clients' certificates lead to.
    pub ca: Given<String>,
}

/// `[keys]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawKeys {
    /// Key directory.
    pub path: Given<String>,
    /// Second live key directory.
    pub mirror: Given<String>,
    /// File with the passphrase.
    pub passphrase_file: Given<String>,
    /// Name of the environment variable with the passphrase.
    pub passphrase_env: Given<String>,
}

/// `[commit]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCommit {
    /// Bytes of a unit.
    pub unit_bytes: Given<u64>,
    /// Microseconds a batch waits for company.
    pub delay_us: Given<u64>,
}

/// `[scrub]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawScrub {
    /// Bytes a second that a paced scrub reads.
    pub bytes_per_second: Given<u64>,
}

/// `[pack]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPack {
    /// Whether `append` packs in the background.
    pub background: Given<bool>,
}

impl Raw {
    /// Parses the text of `file`.
    ///
    /// # Errors
    /// `CONFIG_SYNTAX`, `CONFIG_UNKNOWN_KEY` or `CONFIG_VALUE`, without the offending value.
    pub fn parse(text: &str, file: &Path) -> Result<Raw, ConfigError> {
        toml::from_str(text).map_err(|e| ConfigError::from_toml(&e, text, file))
    }
}
