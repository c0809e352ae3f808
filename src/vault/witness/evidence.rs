//! What is kept when a witness contradicts this log: the request it refused and what it said it
//! holds. The other side's note is with the witness. It never decides, and never overwrites.
//!
//! ```text
//! "chancery/vault-evidence/v1" LF
//! verdict LF                     ROLLED_BACK, EQUIVOCATION or INCONSISTENT
//! time LF                        RFC 3339, this vault's log time
//! "witness " vkey SP place LF
//! "holds " size LF               what it says it cosigned
//! "sent" LF request              the add-checkpoint request, verbatim
//! ```

use crate::base::id::hex;
use crate::base::unit::UtcNanos;
use crate::crypto::hash::sha256;
use crate::store::disk::Disk;
use crate::store::error::Result;
use crate::vault::witness::Cosigner;
use crate::vault::witness::ask::Alarm;
use std::path::Path;

/// Pieces kept: the first ones tell, and a disk must not fill.
const EVIDENCE_MAX: usize = 64;

/// Keeps a contradiction, durably.
///
/// # Errors
/// Those of the disk.
pub(crate) fn keep(
    disk: &dyn Disk,
    dir: &Path,
    cosigner: &dyn Cosigner,
    alarm: &Alarm,
    now: UtcNanos,
) -> Result<()> {
    let Alarm { verdict, holds, request, .. } = alarm;
    let head = format!(
        "chancery/vault-evidence/v1\n{verdict}\n{now}\nwitness {} {}\nholds {holds}\nsent\n",
        cosigner.key(),
        cosigner.place(),
    );
    let id = hex(sha256(&[request.as_bytes()]).0.get(..8).unwrap_or_default());
    let path = dir.join(format!("{verdict}-{id}"));
    disk.create_dir(dir)?;
    if disk.exists(&path)? || disk.list(dir)?.len() >= EVIDENCE_MAX {
        return Ok(());
    }
    disk.replace(&path, (head + request).as_bytes())
}

/// Verdicts of what was kept before, oldest name first.
///
/// # Errors
/// Those of the disk.
pub(crate) fn kept(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>> {
    let names = disk.list(dir)?.into_iter().map(|l| l.name);
    Ok(names.filter(|name| !name.ends_with(".new")).collect())
}
