//! Fetches the passphrase from where the configuration says it lies. It is wiped when dropped,
//! never printed, and a file that others can read is refused.

use crate::cli::config::Passphrase;
use crate::cli::config::error::ConfigError;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longer passphrases are most likely the wrong file.
const PASSPHRASE_BYTES_MAX: u64 = 4_096;

impl Passphrase {
    /// The passphrase, if there is one, without the line end a file or shell added.
    ///
    /// # Errors
    /// `CONFIG_PASSPHRASE`: missing, empty, too long, or a file that others can read.
    pub fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, ConfigError> {
        let (place, bytes) = match self {
            Passphrase::None => return Ok(None),
            Passphrase::File(path) => (path.clone(), read_file(path)?),
            Passphrase::Environment(name) => {
                let place = PathBuf::from(format!("environment variable {name}"));
                let value = std::env::var_os(name)
                    .ok_or_else(|| refuse(&place, "not set; set it or name a file instead"))?;
                (place, Zeroizing::new(value.into_encoded_bytes()))
            }
        };
        let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.is_empty() {
            return Err(refuse(&place, "empty; a passphrase has at least one character"));
        }
        Ok(Some(Zeroizing::new(text.to_vec())))
    }
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let unreadable =
        |e: std::io::Error| refuse(path, &format!("cannot be read ({e}); nothing was opened"));
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    if meta.len() > PASSPHRASE_BYTES_MAX {
        return Err(refuse(path, "longer than 4,096 bytes; likely the wrong file"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A credential of systemd may be readable through an access list, which the mode shows as
        // if it were the group's; its directory is the service's alone.
        let credential = std::env::var_os("CREDENTIALS_DIRECTORY")
            .is_some_and(|dir| !dir.is_empty() && path.starts_with(dir));
        let others = if credential { 0o007 } else { 0o077 };
        if meta.is_file() && meta.permissions().mode() & others != 0 {
            return Err(refuse(path, "readable by others; run chmod 600 on it"));
        }
    }
    std::fs::read(path).map(Zeroizing::new).map_err(unreadable)
}

fn refuse(place: &Path, message: &str) -> ConfigError {
    ConfigError {
        code: "CONFIG_PASSPHRASE",
        file: place.to_owned(),
        line: None,
        key: String::new(),
        message: message.to_owned(),
    }
}
