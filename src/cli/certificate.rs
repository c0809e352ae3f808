//! The certificate of a first start: an authority of its own signs one certificate for this
//! machine's loopback names, and its key is dropped at once, so that nobody can ever sign another
//! under it. Clients pin `ca.pem`. It is never used on another address unless somebody says so.

use crate::base::unit::{Day, NANOS_PER_DAY, UtcNanos};
use crate::cli::error::Failure;
use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Days the certificate is good for: what browsers accept at most is 398.
const DAYS: u32 = 397;
/// Days before its end at which a start makes another.
const RENEW_DAYS: u64 = 30;

/// Where the made certificate lies, and its texts.
pub(crate) struct Made {
    /// What clients pin.
    pub(crate) ca: PathBuf,
    /// Chain and key in one PEM text.
    pub(crate) pem: Vec<u8>,
}

/// The certificate below a directory, made if it is not there or ends soon.
///
/// # Errors
/// `FILE_IO`; `TLS_MAKE` when none can be made.
pub(crate) fn ensure(dir: &Path, now: UtcNanos) -> Result<Made> {
    let (ca, server) = (dir.join("ca.pem"), dir.join("server.pem"));
    if ca.exists() && fresh(&server, now) {
        let pem = std::fs::read(&server).map_err(|e| Failure::file(&server, &e))?;
        return Ok(Made { ca, pem });
    }
    std::fs::create_dir_all(dir).map_err(|e| Failure::file(dir, &e))?;
    let cannot = |e: rcgen::Error| Failure::failed("TLS_MAKE", format!("no certificate: {e}"));
    let (authority, pem) = make(now).map_err(cannot)?;
    // The certificate last: where it is, its authority is too.
    place(&ca, authority.as_bytes(), 0o644)?;
    place(&server, pem.as_bytes(), 0o600)?;
    Ok(Made { ca, pem: pem.into_bytes() })
}

/// Whether the certificate below a directory ends soon.
pub(crate) fn is_over(dir: &Path, now: UtcNanos) -> bool {
    !fresh(&dir.join("server.pem"), now)
}

/// The files below a directory.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    vec![dir.join("ca.pem"), dir.join("server.pem")]
}

/// Whether a certificate was made recently enough.
fn fresh(server: &Path, now: UtcNanos) -> bool {
    let made = std::fs::metadata(server).and_then(|meta| meta.modified()).ok();
    let since = made.and_then(|made| made.duration_since(std::time::UNIX_EPOCH).ok());
    let age = since.map(|since| u128::from(now.0).saturating_sub(since.as_nanos()));
    let most = (u64::from(DAYS) - RENEW_DAYS) * NANOS_PER_DAY;
    age.is_some_and(|age| age < u128::from(most))
}

/// PEM texts of an authority, and of a certificate with its key.
fn make(now: UtcNanos) -> std::result::Result<(String, String), rcgen::Error> {
    let mut root = CertificateParams::new(Vec::new())?;
    root.distinguished_name.push(DnType::CommonName, "Chancery local authority");
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut root, now);
    let key = KeyPair::generate()?;
    let authority = root.self_signed(&key)?;
    let issuer = Issuer::new(root, key);
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut leaf = CertificateParams::new(names.to_vec())?;
    leaf.distinguished_name.push(DnType::CommonName, "Chancery on this machine");
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    valid(&mut leaf, now);
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &issuer)?;
    Ok((authority.pem(), format!("{}{}", certificate.pem(), key.serialize_pem())))
}

/// From yesterday, for clocks that differ a little.
fn valid(params: &mut CertificateParams, now: UtcNanos) {
    let today = now.day();
    let date = |day: Day| {
        let (year, month, date) = day.civil();
        let year = i32::try_from(year).unwrap_or(i32::MAX);
        date_time_ymd(year, month as u8, date as u8)
    };
    params.not_before = date(Day(today.0.saturating_sub(1)));
    params.not_after = date(Day(today.0.saturating_add(DAYS)));
}

/// Writes a file with its permissions, whole or not at all.
fn place(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let fail = |e: std::io::Error| Failure::file(path, &e);
    let fresh = path.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let options = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh);
    let mut file = options.map_err(fail)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fail)?;
    std::fs::rename(&fresh, path).map_err(fail)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::tls::server_config;

    #[test]
    fn a_certificate_is_made_once_and_is_the_owners_only() {
        let dir = tempfile::tempdir().unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = UtcNanos(now.as_nanos() as u64);
        let made = ensure(dir.path(), now).unwrap();
        let clock = crate::cli::world::world().clock;
        assert!(server_config(&made.pem, &made.pem, &[], clock).is_ok());
        assert!(!is_over(dir.path(), now));
        assert_eq!(ensure(dir.path(), now).unwrap().pem, made.pem);
        let mode = std::fs::metadata(dir.path().join("server.pem")).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
        let authority = std::fs::read_to_string(&made.ca).unwrap();
        assert!(!authority.contains("PRIVATE"));
        let late = UtcNanos(now.0 + 380 * NANOS_PER_DAY);
        assert_ne!(ensure(dir.path(), late).unwrap().pem, made.pem, "it would end soon");
    }
}
