//! The signed manifest of a report: which files, from which inputs. It is a C2SP signed note made
//! by the report key, never by a log key; its second line is no number, so it cannot pass for a
//! checkpoint. It holds no time of signing: the same report and key give the same bytes.
//!
//! ```text
//! <origin>/report/v1 LF
//! id <32 hex> LF
//! kind <framework> <catalogue version> <catalogue SHA-256, hex> LF
//! tenant <32 hex> LF
//! period <start> <end> LF              RFC 3339 UTC; the end is outside
//! cut-off <instant> LF
//! checkpoint <size> <root, hex> LF     or "checkpoint none"
//! generation <n> LF
//! entries <n> LF
//! status <word> <n> LF                 six lines, in the order of the vocabulary
//! file <SHA-256, hex> <bytes> <name> LF   one or more, ascending by name
//! ```

use crate::base::id::{Hash32, TenantId};
use crate::base::unit::{Generation, TreeSize, UtcNanos};
use crate::crypto::hash::sha256;
use crate::format::lines::Lines;
use crate::format::note::{self, Note};
use crate::format::trust::{Trust, TrustError};
use crate::format::vkey::Signer;
use crate::report::catalogue::Status;
use crate::report::model::Report;
use std::collections::BTreeSet;

/// Name of the manifest among a report's files.
pub const MANIFEST: &str = "manifest.note";
/// Length of a file at most, 4 GiB: nobody reads more for the sake of a note.
const FILE_BYTES_MAX: u64 = 1 << 32;
/// Ending of the first line.
const SUFFIX: &str = "/report/v1";

/// One file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileLine {
    /// Path inside the report, `/` between parts.
    pub name: String,
    /// Length.
    pub bytes: u64,
    /// Hash of its bytes.
    pub sha256: Hash32,
}

/// A manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Origin of the log.
    pub origin: String,
    /// Name of the report.
    pub id: String,
    /// Framework.
    pub kind: String,
    /// Version of the catalogue.
    pub catalogue_version: String,
    /// SHA-256 of the catalogue file.
    pub catalogue_sha256: Hash32,
    /// Whose log.
    pub tenant: TenantId,
    /// First instant of the period, and first after it.
    pub period: (UtcNanos, UtcNanos),
    /// Until when facts were taken.
    pub cut_off: UtcNanos,
    /// Size and root of the checkpoint.
    pub checkpoint: Option<(TreeSize, Hash32)>,
    /// Generation of the key tree.
    pub generation: Generation,
    /// Entries of the period.
    pub entries: u64,
    /// Controls by status, in the order of the vocabulary.
    pub statuses: Vec<(Status, u64)>,
    /// Files, ascending by name.
    pub files: Vec<FileLine>,
}

/// Why a report is not what was signed. `verdict` is the stable name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ManifestError {
    /// `REPORT_SIGNATURE`: no pinned report key signed it, or its signature fails.
    Signature(TrustError),
    /// `REPORT_MALFORMED`: signed, but no manifest.
    Malformed {
        /// Line of the text, from 1.
        line: usize,
    },
    /// `REPORT_ORIGIN`: no pinned log has this origin, or the report key of another vault signed.
    Origin,
    /// `REPORT_FILE_CHANGED`.
    FileChanged {
        /// Its name.
        name: String,
    },
    /// `REPORT_FILE_MISSING`.
    FileMissing {
        /// Its name.
        name: String,
    },
    /// `REPORT_FILE_UNLISTED`: a file that the manifest does not name.
    FileUnlisted {
        /// Its name.
        name: String,
    },
}

impl ManifestError {
    /// The verdict's stable name.
    pub fn verdict(&self) -> &'static str {
        match self {
            ManifestError::Signature(_) => "REPORT_SIGNATURE",
            ManifestError::Malformed { .. } => "REPORT_MALFORMED",
            ManifestError::Origin => "REPORT_ORIGIN",
            ManifestError::FileChanged { .. } => "REPORT_FILE_CHANGED",
            ManifestError::FileMissing { .. } => "REPORT_FILE_MISSING",
            ManifestError::FileUnlisted { .. } => "REPORT_FILE_UNLISTED",
        }
    }
}

impl std::fmt::Display for ManifestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.verdict())?;
        match self {
            ManifestError::Signature(error) => write!(f, ": {error}"),
            ManifestError::Malformed { line } => write!(f, ": line {line}"),
            ManifestError::Origin => f.write_str(": no pinned log has this origin"),
            ManifestError::FileChanged { name }
            | ManifestError::FileMissing { name }
            | ManifestError::FileUnlisted { name } => write!(f, ": {name}"),
        }
    }
}

impl std::error::Error for ManifestError {}

impl Manifest {
    /// The manifest of a report's files, which are sorted by name.
    pub fn of(report: &Report, files: &[(String, Vec<u8>)]) -> Self {
        let naming = &report.naming;
        let mut files: Vec<FileLine> = files
            .iter()
            .map(|(name, bytes)| FileLine {
                name: name.clone(),
                bytes: bytes.len() as u64,
                sha256: sha256(&[bytes]),
            })
            .collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Manifest {
            origin: naming.origin.clone(),
            id: report.id.clone(),
            kind: naming.framework.clone(),
            catalogue_version: naming.catalogue_version.clone(),
            catalogue_sha256: naming.catalogue_sha256,
            tenant: naming.tenant,
            period: (naming.period_start, naming.period_end),
            cut_off: naming.cut_off,
            checkpoint: naming.checkpoint.map(|(size, root)| (TreeSize(size), root)),
            generation: Generation(naming.generation),
            entries: naming.entries,
            statuses: Status::ALL.iter().map(|s| (*s, report.count(*s) as u64)).collect(),
            files,
        }
    }

    /// The text that is signed.
    pub fn text(&self) -> String {
        let checkpoint = match self.checkpoint {
            Some((size, root)) => format!("{size} {root}"),
            None => "none".to_owned(),
        };
        let mut lines = vec![
            format!("{}{SUFFIX}", self.origin),
            format!("id {}", self.id),
            format!("kind {} {} {}", self.kind, self.catalogue_version, self.catalogue_sha256),
            format!("tenant {}", self.tenant),
            format!("period {} {}", self.period.0, self.period.1),
            format!("cut-off {}", self.cut_off),
            format!("checkpoint {checkpoint}"),
            format!("generation {}", self.generation),
            format!("entries {}", self.entries),
        ];
        lines.extend(self.statuses.iter().map(|(s, n)| format!("status {s} {n}")));
        lines
            .extend(self.files.iter().map(|f| format!("file {} {} {}", f.sha256, f.bytes, f.name)));
        lines.push(String::new());
        lines.join("\n")
    }

    /// Signs it with the report key; gives the whole note. What a verifier could not read back,
    /// such as an origin with a line feed in it, is not signed.
    pub fn sign(&self, signer: &Signer) -> Result<String, ManifestError> {
        let text = self.text();
        if Manifest::parse(&text)? != *self {
            return Err(ManifestError::Malformed { line: 1 });
        }
        note::sign(&text, &[signer]).map_err(|e| ManifestError::Signature(e.into()))
    }

    /// Reads the text of a manifest. Only what `text` writes is accepted.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let mut lines = Lines::of(text);
        let manifest = manifest(&mut lines);
        match manifest {
            // Writing it again closes what the reader was lax about: zeros, case, order.
            Some(manifest) if manifest.text() == text => Ok(manifest),
            _ => Err(ManifestError::Malformed { line: lines.number() }),
        }
    }
}

/// Verifies a manifest against pinned keys, and files against the manifest. Every file of the
/// report must be given, by its name; the manifest itself is not among them.
pub fn verify(
    manifest: &[u8],
    trust: &Trust,
    files: &[(&str, &[u8])],
) -> Result<Manifest, ManifestError> {
    let manifest = open(manifest, Some(trust))?;
    for line in &manifest.files {
        let given = files.iter().find(|(name, _)| *name == line.name);
        let Some((_, bytes)) = given else {
            return Err(ManifestError::FileMissing { name: line.name.clone() });
        };
        if bytes.len() as u64 != line.bytes || sha256(&[bytes]) != line.sha256 {
            return Err(ManifestError::FileChanged { name: line.name.clone() });
        }
    }
    manifest.lists(files.iter().map(|(name, _)| *name))?;
    Ok(manifest)
}

/// Opens a manifest: signature, form, and that the report key of this vault signed. Without trust
/// the form alone is checked. No file is looked at.
///
/// # Errors
/// `Signature`, `Malformed`, `Origin`.
pub fn open(manifest: &[u8], trust: Option<&Trust>) -> Result<Manifest, ManifestError> {
    let Some(trust) = trust else {
        let note = Note::parse(manifest).map_err(|e| ManifestError::Signature(e.into()))?;
        let manifest = Manifest::parse(&note.text)?;
        sound(&manifest)?;
        return Ok(manifest);
    };
    let opened = trust.open_report(manifest).map_err(ManifestError::Signature)?;
    let manifest = Manifest::parse(&opened.text)?;
    sound(&manifest)?;
    // Whoever is trusted to sign the reports of one vault is not trusted with another's.
    let parts = manifest.origin.rsplit_once("/t/");
    let signer = parts.map_or(String::new(), |(vault, tenant)| format!("{vault}/r/{tenant}"));
    let pinned = trust.logs().iter().any(|log| log.verifier.name() == manifest.origin);
    match pinned && opened.by.iter().any(|by| by.name == signer) {
        true => Ok(manifest),
        false => Err(ManifestError::Origin),
    }
}

impl Manifest {
    /// Requires that each of these names is listed, and none given twice.
    ///
    /// # Errors
    /// `FileUnlisted` with the first that is not.
    pub fn lists<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(), ManifestError> {
        let mut seen = BTreeSet::new();
        for name in names {
            let listed = self.files.binary_search_by(|line| line.name.as_str().cmp(name)).is_ok();
            if !listed || !seen.insert(name) {
                return Err(ManifestError::FileUnlisted { name: name.to_owned() });
            }
        }
        Ok(())
    }
}

/// What a manifest says must fit together; the error names the line that does not.
fn sound(manifest: &Manifest) -> Result<(), ManifestError> {
    let malformed = |line| Err(ManifestError::Malformed { line });
    let tenant = manifest.origin.rsplit_once("/t/").map(|(_, tenant)| tenant);
    if tenant != Some(manifest.tenant.to_string().as_str()) {
        return malformed(4);
    }
    if manifest.period.0 >= manifest.period.1 {
        return malformed(5);
    }
    match manifest.checkpoint {
        Some((size, _)) if manifest.entries > size.0 => malformed(9),
        _ => Ok(()),
    }
}

fn number(lines: &mut Lines<'_>, key: &str) -> Option<u64> {
    let [word] = lines.keyed(key)?;
    word.parse().ok()
}

fn manifest(lines: &mut Lines<'_>) -> Option<Manifest> {
    let origin = lines.line()?.strip_suffix(SUFFIX)?.to_owned();
    let [id] = lines.keyed("id")?;
    crate::base::id::unhex::<16>(id)?;
    let [kind, version, catalogue] = lines.keyed("kind")?;
    let [tenant] = lines.keyed("tenant")?;
    let [start, end] = lines.keyed("period")?;
    let [cut_off] = lines.keyed("cut-off")?;
    let checkpoint = checkpoint(lines)?;
    let generation = Generation(number(lines, "generation")?);
    let entries = number(lines, "entries")?;
    let mut statuses = Vec::with_capacity(Status::ALL.len());
    for status in Status::ALL {
        let [word, count] = lines.keyed("status")?;
        if word != status.name() {
            return None;
        }
        statuses.push((*status, count.parse().ok()?));
    }
    Some(Manifest {
        origin,
        id: id.to_owned(),
        kind: kind.to_owned(),
        catalogue_version: version.to_owned(),
        catalogue_sha256: Hash32::parse(catalogue)?,
        tenant: TenantId::parse(tenant)?,
        period: (UtcNanos::parse(start)?, UtcNanos::parse(end)?),
        cut_off: UtcNanos::parse(cut_off)?,
        checkpoint,
        generation,
        entries,
        statuses,
        files: files(lines)?,
    })
}

fn checkpoint(lines: &mut Lines<'_>) -> Option<Option<(TreeSize, Hash32)>> {
    let line = lines.line()?.strip_prefix("checkpoint ")?;
    if line == "none" {
        return Some(None);
    }
    let (size, root) = line.split_once(' ')?;
    Some(Some((TreeSize(size.parse().ok()?), Hash32::parse(root)?)))
}

/// File lines up to the end, ascending and unique.
fn files(lines: &mut Lines<'_>) -> Option<Vec<FileLine>> {
    let mut files: Vec<FileLine> = Vec::new();
    loop {
        let line = lines.line()?;
        if line.is_empty() {
            let at_end = lines.is_over() && !files.is_empty();
            return at_end.then_some(files);
        }
        let mut words = line.strip_prefix("file ")?.splitn(3, ' ');
        let sha256 = Hash32::parse(words.next()?)?;
        let bytes = words.next()?.parse().ok().filter(|bytes| *bytes <= FILE_BYTES_MAX)?;
        let name = words.next().filter(|name| is_file_name(name))?.to_owned();
        if files.last().is_some_and(|last| last.name >= name) {
            return None;
        }
        files.push(FileLine { name, bytes, sha256 });
    }
}

/// Relative, of plain letters, without a way up: safe to write below any directory.
fn is_file_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let part = |part: &str| part.chars().all(plain) && part.contains(|c| c != '.');
    name != MANIFEST && name.split('/').count() <= 2 && name.split('/').all(part)
}
