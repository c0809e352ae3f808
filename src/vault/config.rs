//! How a vault is opened, and what lies where. `check`ed values only: parsing of files and
//! arguments is the hands' business (`cli::config`).

use crate::base::id::TenantId;
use crate::base::limits::{SEGMENT_BYTES_MAX, SNAPSHOT_ENTRIES, SNAPSHOT_PAUSE_NANOS};
use crate::format::control::Continues;
use crate::store::disk::Disk;
use crate::store::error::{Error, ErrorKind, Result};
use crate::vault::dedupe::Bounds;
use crate::vault::witness::Outside;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Format version of the data directory.
const FORMAT: u32 = 1;

/// How to open a vault.
#[derive(Clone)]
pub struct Config {
    /// Data directory: may be backed up for years.
    pub data: PathBuf,
    /// Key directory: live copies only, never backed up.
    pub keys: PathBuf,
    /// Second live key directory, on another disk: written and scrubbed in step.
    pub mirror: Option<PathBuf>,
    /// Passphrase of the key directory, if it has one.
    pub passphrase: Option<Zeroizing<Vec<u8>>>,
    /// Use a wall clock more than seven days beyond the last entry.
    pub accept_time: bool,
    /// Text of an exported erasure ledger that this opening must not fall behind.
    pub ledger: Option<String>,
    /// Policy files by their path below `policies/`.
    pub policies: BTreeMap<String, String>,
    /// Keep the index on disk with sled; otherwise in memory.
    pub index_on_disk: bool,
    /// Witnesses, and what to do when none answers.
    pub outside: Outside,
    /// Sizes that tests make small; a running vault has the defaults.
    pub tuning: Tuning,
}

/// Sizes at which files are closed and state is written down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tuning {
    /// A segment of the log is closed once it is longer.
    pub segment_bytes: u64,
    /// Entries behind the last snapshot at which the next one is due.
    pub snapshot_entries: u64,
    /// Nanoseconds between two snapshots at least.
    pub snapshot_pause: u64,
    /// What the window of event ids remembers.
    pub dedupe: Bounds,
    /// Threads that seal at once at most; none = one a processor.
    pub sealers: Option<usize>,
    /// Whether to pack in the background while the vault is open for writing.
    pub pack: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            segment_bytes: SEGMENT_BYTES_MAX,
            snapshot_entries: SNAPSHOT_ENTRIES,
            snapshot_pause: SNAPSHOT_PAUSE_NANOS,
            dedupe: Bounds::default(),
            sealers: None,
            pack: true,
        }
    }
}

/// `<data>/vault.toml`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultFile {
    /// Format version: 1.
    pub format: u32,
    /// Name of the vault, first part of every origin line.
    pub name: String,
    /// The tenant.
    pub tenant: TenantId,
    /// The log this one takes up after; its genesis says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continues: Option<Continues>,
}

impl VaultFile {
    /// A new vault's file.
    pub fn new(name: &str, tenant: TenantId) -> Self {
        VaultFile { format: FORMAT, name: name.to_owned(), tenant, continues: None }
    }

    /// Origin line of the tenant's checkpoints.
    pub fn origin(&self) -> String {
        format!("{}/t/{}", self.name, self.tenant)
    }

    /// Name of the key that signs reports and receipts.
    pub fn report_name(&self) -> String {
        format!("{}/r/{}", self.name, self.tenant)
    }

    /// Writes the file, once.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn write(&self, disk: &dyn Disk, data: &Path) -> Result<()> {
        let mut text = format!(
            "# Written once by `chancery init`.\nformat = {}\nname = \"{}\"\ntenant = \"{}\"\n",
            self.format, self.name, self.tenant
        );
        if let Some(Continues { origin, size, root }) = &self.continues {
            text += &format!(
                "\n[continues]\norigin = \"{origin}\"\nsize = {size}\nroot = \"{root}\"\n"
            );
        }
        disk.replace(&data.join("vault.toml"), text.as_bytes())
    }

    /// Reads the file.
    ///
    /// # Errors
    /// `Missing` when there is no vault, `TooNew` for a later format, `Corrupt` otherwise.
    pub fn read(disk: &dyn Disk, data: &Path) -> Result<VaultFile> {
        let path = data.join("vault.toml");
        if !disk.exists(&path)? {
            let what = "no vault here: run `chancery init` first, or name its directory";
            return Err(Error::new(ErrorKind::Missing, &path, what));
        }
        let bytes = disk.read(&path)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::corrupt(&path, "not UTF-8"))?;
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            let what = "a control character: lines end with LF alone";
            return Err(Error::corrupt(&path, what));
        }
        let value: toml::Table =
            text.parse().map_err(|_| Error::corrupt(&path, "not valid TOML"))?;
        let format = value.get("format").and_then(toml::Value::as_integer).unwrap_or(0);
        if format > i64::from(FORMAT) {
            let what = format!("format {format} is newer than this program: upgrade it");
            return Err(Error::new(ErrorKind::TooNew, &path, what));
        }
        let file: VaultFile =
            toml::from_str(text).map_err(|e| Error::corrupt(&path, e.message().to_owned()))?;
        match file.format == FORMAT {
            true => Ok(file),
            false => Err(Error::corrupt(&path, "unknown format")),
        }
    }
}

/// Where a tenant's files lie.
#[derive(Clone, Debug)]
pub struct Places {
    /// `<data>/tenants/<tenant>`.
    pub tenant: PathBuf,
    /// `<keys>/<tenant>`.
    pub tree: PathBuf,
    /// `<keys>/signing`.
    pub signing: PathBuf,
}

impl Places {
    /// Places of a tenant under a configuration.
    pub fn of(data: &Path, keys: &Path, tenant: &TenantId) -> Self {
        Places {
            tenant: data.join("tenants").join(tenant.to_string()),
            tree: keys.join(tenant.to_string()),
            signing: keys.join("signing"),
        }
    }

    /// Segments of units.
    pub fn log(&self) -> PathBuf {
        self.tenant.join("log")
    }

    /// Body files.
    pub fn bodies(&self) -> PathBuf {
        self.tenant.join("bodies")
    }

    /// Hashes of the tree.
    pub fn tiles(&self) -> PathBuf {
        self.tenant.join("tile")
    }

    /// The sled index.
    pub fn index(&self) -> PathBuf {
        self.tenant.join("index")
    }

    /// Says that the mirror of the keys lacks something. Only there while it does.
    pub fn keys_behind(&self) -> PathBuf {
        self.tenant.join("keys.behind")
    }

    /// Snapshots and runs of event ids.
    pub fn snapshots(&self) -> PathBuf {
        self.tenant.join("snapshot")
    }

    /// The signed checkpoint.
    pub fn checkpoint(&self) -> PathBuf {
        self.tenant.join("checkpoint")
    }

    /// The newest checkpoint that witnesses cosigned.
    pub fn witnessed(&self) -> PathBuf {
        self.tenant.join("checkpoint.witnessed")
    }

    /// What people outside signed about checkpoints, kept for the times it states.
    pub fn anchors(&self) -> PathBuf {
        self.tenant.join("anchors")
    }

    /// What a witness said that contradicts this log.
    pub fn evidence(&self) -> PathBuf {
        self.tenant.join("evidence")
    }
}
