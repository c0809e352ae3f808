//! The key-encryption key of the key plane, and small secrets sealed under it. Class D: a plain
//! file is as safe as its disk and its permissions, a wrapped one as its passphrase; the vault
//! says which it is. It never prints a key, and never opens a file that others may read.
//!
//! `<keys>/kek`, 140 bytes, owner-only:
//! ```text
//! offset size field
//!      0    8 "CHKEK1" 00 00
//!      8    1 form: 0 plain, 1 wrapped under a passphrase
//!      9    3 zeros
//!     12    4 Argon2id memory, KiB    (0 when plain)
//!     16    4 Argon2id passes         (0 when plain)
//!     20    4 Argon2id lanes          (0 when plain)
//!     24   16 salt                    (zeros when plain)
//!     40   12 nonce                   (zeros when plain)
//!     52    8 zeros
//!     60   48 plain: key[32] || zeros[16]
//!             wrapped: AES-256-GCM(Argon2id(passphrase, salt), nonce, key[32],
//!                      "chancery/v1/kek" 00 || bytes 0..60), tag last
//!    108   32 SHA-256 of bytes 0..108: tells damage from a wrong passphrase
//! ```
//! A sealed secret, e.g. `<keys>/signing/<name>.key`, owner-only:
//! ```text
//!      0    8 "CHSEC1" 00 00
//!      8    4 length of the secret
//!     12   12 nonce
//!     24    . AES-256-GCM(KEK, nonce, secret, AAD), tag last
//!             AAD = "chancery/v1/secret" 00 || u16 label length || label || bytes 0..12
//! ```

use crate::base::secret::Key;
use crate::base::world::{Entropy, random};
use crate::format::node::{NONCE_BYTES, fill, open_bytes, seal_bytes, take};
use crate::store::disk::Disk;
use crate::store::error::{Error, ErrorKind, Result};
use argon2::{Algorithm, Argon2, Params, Version};
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const MAGIC: [u8; 8] = *b"CHKEK1\0\0";
const LABEL: &[u8] = b"chancery/v1/kek\0";
const SECRET_MAGIC: [u8; 8] = *b"CHSEC1\0\0";
const SECRET_LABEL: &[u8] = b"chancery/v1/secret\0";
const CLEAR_BYTES: usize = 60;
const SUMMED_BYTES: usize = 108;
const FILE_BYTES: usize = 140;
/// RFC 9106's second recommendation (64 MiB, 3 passes), on one lane.
const COST: Cost = Cost { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
/// What a file may ask for: 1 GiB, so that a planted file cannot stall the start for long.
const COST_MAX: Cost = Cost { memory_kib: 1024 * 1024, passes: 16, lanes: 16 };
/// A sealed secret is a key, not a document.
const SECRET_BYTES_MAX: usize = 64 * 1024;

/// What one guess of a passphrase costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// The key-encryption key, and how it lies on disk.
#[derive(Clone)]
pub struct Kek {
    key: Key,
    wrapped: bool,
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kek").field("wrapped", &self.wrapped).finish_non_exhaustive()
    }
}

impl Kek {
    /// Makes a fresh key in `<dir>/kek`, wrapped if there is a passphrase. `dir` is created.
    /// An existing file is refused with `KEK_EXISTS`: it may seal living roots.
    pub fn create(
        disk: &dyn Disk,
        dir: &Path,
        passphrase: Option<&[u8]>,
        entropy: &dyn Entropy,
    ) -> Result<Kek> {
        disk.create_dir(dir)?;
        let path = kek_path(dir);
        if disk.exists(&path)? {
            return Err(Error::corrupt(&path, "KEK_EXISTS"));
        }
        let kek = Kek { key: Key::new(random(entropy)), wrapped: passphrase.is_some() };
        let bytes = kek.encode(&path, passphrase, entropy)?;
        disk.replace(&path, &bytes)?;
        Ok(kek)
    }

    /// Reads the key. Codes: `KEK_MISSING`, `KEK_WORLD_READABLE`, `KEK_PASSPHRASE_NEEDED`,
    /// `KEK_PASSPHRASE_WRONG`, `KEK_MALFORMED`. A passphrase for a plain file is not used:
    /// `is_wrapped` says so.
    pub fn open(disk: &dyn Disk, dir: &Path, passphrase: Option<&[u8]>) -> Result<Kek> {
        let path = kek_path(dir);
        let bytes = read_private(disk, &path, "KEK")?;
        Kek::decode(&path, &bytes, passphrase)
    }

    /// Writes the same key anew, wrapped under another passphrase or under none. The old file's
    /// bytes may stay on the medium: a new passphrase does not undo the loss of an old one.
    pub fn rewrap(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        passphrase: Option<&[u8]>,
        entropy: &dyn Entropy,
    ) -> Result<Kek> {
        let kek = Kek { key: self.key.clone(), wrapped: passphrase.is_some() };
        let path = kek_path(dir);
        let bytes = kek.encode(&path, passphrase, entropy)?;
        disk.replace(&path, &bytes)?;
        Ok(kek)
    }

    /// The key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether the file is useless without a passphrase.
    pub fn is_wrapped(&self) -> bool {
        self.wrapped
    }

    fn encode(
        &self,
        path: &Path,
        passphrase: Option<&[u8]>,
        entropy: &dyn Entropy,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let mut clear = [0; CLEAR_BYTES];
        let mut bytes = Zeroizing::new(vec![0; FILE_BYTES]);
        match passphrase {
            None => {
                fill(&mut clear, &[&MAGIC]);
                fill(&mut bytes, &[&clear, self.key.expose()]);
            }
            Some(passphrase) => {
                let (salt, nonce): ([u8; 16], [u8; NONCE_BYTES]) =
                    (random(entropy), random(entropy));
                let (memory, passes) = (COST.memory_kib.to_be_bytes(), COST.passes.to_be_bytes());
                let lanes = COST.lanes.to_be_bytes();
                let form = [1, 0, 0, 0];
                fill(&mut clear, &[&MAGIC, &form, &memory, &passes, &lanes, &salt, &nonce]);
                let wrapping = stretch(path, passphrase, &salt, COST)?;
                let sealed = seal_bytes(&wrapping, &nonce, &[LABEL, &clear], self.key.expose())
                    .ok_or_else(|| malformed(path))?;
                fill(&mut bytes, &[&clear, &sealed]);
            }
        }
        let (summed, sum) =
            bytes.split_at_mut_checked(SUMMED_BYTES).ok_or_else(|| malformed(path))?;
        sum.copy_from_slice(&Sha256::digest(summed));
        Ok(bytes)
    }

    fn decode(path: &Path, bytes: &[u8], passphrase: Option<&[u8]>) -> Result<Kek> {
        let bad = || malformed(path);
        let (summed, sum) = bytes
            .split_at_checked(SUMMED_BYTES)
            .filter(|_| bytes.len() == FILE_BYTES)
            .ok_or_else(bad)?;
        if Sha256::digest(summed).as_slice() != sum {
            return Err(bad());
        }
        let (clear, sealed) = summed.split_at_checked(CLEAR_BYTES).ok_or_else(bad)?;
        let mut rest = clear;
        let magic: [u8; 8] = take(&mut rest).ok_or_else(bad)?;
        let form: [u8; 4] = take(&mut rest).ok_or_else(bad)?;
        let mut number = || take(&mut rest).map(u32::from_be_bytes).ok_or_else(bad);
        let cost = Cost { memory_kib: number()?, passes: number()?, lanes: number()? };
        let salt: [u8; 16] = take(&mut rest).ok_or_else(bad)?;
        let nonce: [u8; NONCE_BYTES] = take(&mut rest).ok_or_else(bad)?;
        if magic != MAGIC || rest.iter().any(|byte| *byte != 0) {
            return Err(bad());
        }
        match (form, passphrase) {
            ([0, 0, 0, 0], _) => {
                let (key, zeros) = sealed.split_at_checked(32).ok_or_else(bad)?;
                let blank = Cost { memory_kib: 0, passes: 0, lanes: 0 };
                let clean = cost == blank
                    && salt == [0; 16]
                    && nonce == [0; NONCE_BYTES]
                    && zeros.iter().all(|byte| *byte == 0);
                let key = Key::from_slice(key).filter(|_| clean).ok_or_else(bad)?;
                Ok(Kek { key, wrapped: false })
            }
            ([1, 0, 0, 0], None) => {
                Err(Error::new(ErrorKind::Missing, path, "KEK_PASSPHRASE_NEEDED"))
            }
            ([1, 0, 0, 0], Some(passphrase)) => {
                let wrapping = stretch(path, passphrase, &salt, cost)?;
                let key = open_bytes(&wrapping, &nonce, &[LABEL, clear], sealed)
                    .and_then(|plain| Key::from_slice(&plain))
                    .ok_or_else(|| Error::corrupt(path, "KEK_PASSPHRASE_WRONG"))?;
                Ok(Kek { key, wrapped: true })
            }
            _ => Err(bad()),
        }
    }
}

/// Seals a small secret under the key into an owner-only file, replacing what is there. `label`
/// binds it to its purpose: a file moved to another place does not open.
pub fn seal_secret(
    disk: &dyn Disk,
    path: &Path,
    kek: &Kek,
    label: &str,
    secret: &[u8],
    entropy: &dyn Entropy,
) -> Result<()> {
    let len = u32::try_from(secret.len()).ok().filter(|_| secret.len() <= SECRET_BYTES_MAX);
    let len = len.ok_or_else(|| Error::new(ErrorKind::Full, path, "SECRET_TOO_LARGE"))?;
    if let Some(dir) = path.parent() {
        disk.create_dir(dir)?;
    }
    let mut clear = [0; 12];
    fill(&mut clear, &[&SECRET_MAGIC, &len.to_be_bytes()]);
    let nonce: [u8; NONCE_BYTES] = random(entropy);
    let sealed = seal_bytes(&kek.key, &nonce, &secret_aad(path, label)?.parts(&clear), secret)
        .ok_or_else(|| Error::corrupt(path, "SECRET_MALFORMED"))?;
    disk.replace(path, &[clear.as_slice(), &nonce, &sealed].concat())
}

/// Opens what `seal_secret` wrote. Codes: `SECRET_MISSING`, `SECRET_WORLD_READABLE`,
/// `SECRET_MALFORMED`, `SECRET_UNREADABLE` (another key or label, or changed bytes).
pub fn open_secret(
    disk: &dyn Disk,
    path: &Path,
    kek: &Kek,
    label: &str,
) -> Result<Zeroizing<Vec<u8>>> {
    let bytes = read_private(disk, path, "SECRET")?;
    let bad = || Error::corrupt(path, "SECRET_MALFORMED");
    let mut rest = bytes.as_slice();
    let clear: [u8; 12] = take(&mut rest).ok_or_else(bad)?;
    let nonce: [u8; NONCE_BYTES] = take(&mut rest).ok_or_else(bad)?;
    let mut fields = clear.as_slice();
    let magic: [u8; 8] = take(&mut fields).ok_or_else(bad)?;
    let len = take(&mut fields).map(u32::from_be_bytes).ok_or_else(bad)?;
    if magic != SECRET_MAGIC || rest.len() as u64 != u64::from(len) + 16 {
        return Err(bad());
    }
    open_bytes(&kek.key, &nonce, &secret_aad(path, label)?.parts(&clear), rest)
        .ok_or_else(|| Error::corrupt(path, "SECRET_UNREADABLE"))
}

/// The additional data of a secret.
struct SecretAad<'a> {
    len: [u8; 2],
    label: &'a str,
}

impl<'a> SecretAad<'a> {
    fn parts(&'a self, clear: &'a [u8]) -> [&'a [u8]; 4] {
        [SECRET_LABEL, &self.len, self.label.as_bytes(), clear]
    }
}

fn secret_aad<'a>(path: &Path, label: &'a str) -> Result<SecretAad<'a>> {
    let len = u16::try_from(label.len()).map_err(|_| Error::corrupt(path, "SECRET_LABEL"))?;
    Ok(SecretAad { len: len.to_be_bytes(), label })
}

fn kek_path(dir: &Path) -> PathBuf {
    dir.join("kek")
}

fn read_private(disk: &dyn Disk, path: &Path, what: &str) -> Result<Zeroizing<Vec<u8>>> {
    if !disk.exists(path)? {
        return Err(Error::new(ErrorKind::Missing, path, format!("{what}_MISSING")));
    }
    if !disk.is_private(path)? {
        return Err(Error::corrupt(path, format!("{what}_WORLD_READABLE")));
    }
    disk.read(path).map(Zeroizing::new)
}

fn stretch(path: &Path, passphrase: &[u8], salt: &[u8; 16], cost: Cost) -> Result<Key> {
    let modest = cost.memory_kib <= COST_MAX.memory_kib
        && cost.passes <= COST_MAX.passes
        && cost.lanes <= COST_MAX.lanes;
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32));
    let params = params.ok().filter(|_| modest).ok_or_else(|| malformed(path))?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, key.as_mut_slice())
        .map_err(|_| malformed(path))?;
    Ok(Key::new(*key))
}

fn malformed(path: &Path) -> Error {
    Error::corrupt(path, "KEK_MALFORMED")
}
