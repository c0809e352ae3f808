//! Who signs notes: key names, key ids and the `vkey` text (C2SP signed-note v1.0.0).
//! It never accepts a key whose id does not match, nor a weak key, and never writes a secret key.
//!
//! ```text
//! vkey    = name "+" id "+" base64(type || key)
//! id      = 8 lower-case hex digits: SHA-256(name || 0x0A || type || key)[..4]
//! type    = 0x01 Ed25519 over the note text | 0x04 Ed25519 cosignature/v1 (tlog-cosignature)
//! key     = 32 bytes
//! ```

use crate::base::id::{hex, unhex};
use crate::crypto::sign::{self, PUBLIC_KEY_BYTES, PublicKey, SigningKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// Longest key name: an origin is a host name and a path, 255 bytes bound every signature line.
pub const KEY_NAME_BYTES_MAX: usize = 255;

/// What a signature line of this key signs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Algorithm {
    /// 0x01: Ed25519 over the note text.
    Ed25519,
    /// 0x04: Ed25519 over `cosignature/v1`, a time and the note text: a witness's.
    CosignatureV1,
}

impl Algorithm {
    /// The signature type byte.
    pub fn byte(self) -> u8 {
        match self {
            Algorithm::Ed25519 => 0x01,
            Algorithm::CosignatureV1 => 0x04,
        }
    }

    /// The algorithm of a signature type byte, if this version knows it.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Algorithm::Ed25519),
            0x04 => Some(Algorithm::CosignatureV1),
            _ => None,
        }
    }
}

/// Why a key name or a vkey was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VkeyError {
    /// The name is empty, too long, or holds a space, a control character or `+`.
    Name,
    /// Not `name+id+base64`, or not base64 in its one standard padded form.
    Syntax,
    /// The id is not the one that name, type and key give.
    Id,
    /// A signature type this version does not know.
    Algorithm {
        /// The type byte.
        found: u8,
    },
    /// The key has another length than its type demands.
    Length {
        /// Bytes found after the type byte.
        found: usize,
    },
    /// Verdict `WEAK_KEY`.
    WeakKey,
}

impl fmt::Display for VkeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VkeyError::Name => f.write_str("key name is empty, too long or holds a space or plus"),
            VkeyError::Syntax => f.write_str("not name+id+base64"),
            VkeyError::Id => f.write_str("key id does not match name and key"),
            VkeyError::Algorithm { found } => write!(f, "unknown signature type 0x{found:02x}"),
            VkeyError::Length { found } => {
                write!(f, "key is {found} bytes long, not {PUBLIC_KEY_BYTES}")
            }
            VkeyError::WeakKey => f.write_str("WEAK_KEY"),
        }
    }
}

impl std::error::Error for VkeyError {}

/// True if `name` may name a key: not empty, at most 255 bytes, no white space of any script, no
/// control character, no `+`.
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= KEY_NAME_BYTES_MAX
        && !name.chars().any(|c| c == '+' || c.is_whitespace() || c.is_control())
}

/// A public key with the name and algorithm under which it signs notes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verifier {
    name: String,
    algorithm: Algorithm,
    key: PublicKey,
    id: [u8; 4],
}

impl Verifier {
    /// A verifier, if the name is one.
    pub fn new(name: &str, algorithm: Algorithm, key: PublicKey) -> Result<Self, VkeyError> {
        if !is_key_name(name) {
            return Err(VkeyError::Name);
        }
        let id = sign::key_id(name, algorithm.byte(), &key.bytes());
        Ok(Verifier { name: name.to_owned(), algorithm, key, id })
    }

    /// Parses a vkey. `to_string` gives the same text back.
    pub fn parse(vkey: &str) -> Result<Self, VkeyError> {
        let (name, rest) = vkey.split_once('+').ok_or(VkeyError::Syntax)?;
        let (id_text, key_text) = rest.split_once('+').ok_or(VkeyError::Syntax)?;
        if !is_key_name(name) {
            return Err(VkeyError::Name);
        }
        let id: [u8; 4] = unhex(id_text).ok_or(VkeyError::Syntax)?;
        if hex(&id) != id_text || key_text.len() > 4096 {
            return Err(VkeyError::Syntax);
        }
        let bytes = STANDARD.decode(key_text).map_err(|_| VkeyError::Syntax)?;
        let (&kind, key) = bytes.split_first().ok_or(VkeyError::Syntax)?;
        if sign::key_id(name, kind, key) != id {
            return Err(VkeyError::Id);
        }
        let algorithm = Algorithm::from_byte(kind).ok_or(VkeyError::Algorithm { found: kind })?;
        let key: &[u8; PUBLIC_KEY_BYTES] =
            key.try_into().map_err(|_| VkeyError::Length { found: key.len() })?;
        let key = PublicKey::enrol(key).map_err(|_| VkeyError::WeakKey)?;
        Verifier::new(name, algorithm, key)
    }

    /// The key name; for a log key, the origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its signatures sign.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The key id. Short on purpose: it finds a key, it proves nothing.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }
}

impl fmt::Display for Verifier {
    /// The vkey.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.algorithm.byte()];
        key.extend_from_slice(&self.key.bytes());
        write!(f, "{}+{}+{}", self.name, hex(&self.id), STANDARD.encode(key))
    }
}

/// A secret key with the name and algorithm under which it signs notes.
#[derive(Clone, Debug)]
pub struct Signer {
    verifier: Verifier,
    key: SigningKey,
}

impl Signer {
    /// A signer, if the name may name a key.
    pub fn new(name: &str, algorithm: Algorithm, key: SigningKey) -> Result<Self, VkeyError> {
        Ok(Signer { verifier: Verifier::new(name, algorithm, key.public())?, key })
    }

    /// The public side.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Signs a unit: a message of its own, which no note text can be.
    pub fn sign_unit(&self, message: &[u8]) -> [u8; sign::SIGNATURE_BYTES] {
        self.key.sign(message)
    }

    /// Signs raw bytes; `format/note.rs` builds the message that the algorithm demands.
    pub(in crate::format) fn sign(&self, message: &[u8]) -> [u8; sign::SIGNATURE_BYTES] {
        self.key.sign(message)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::secret::Key;

    fn signer(algorithm: Algorithm) -> Signer {
        Signer::new("vault.example/t/1", algorithm, SigningKey::new(&Key::new([7; 32]))).unwrap()
    }

    #[test]
    fn vkeys_round_trip() {
        for algorithm in [Algorithm::Ed25519, Algorithm::CosignatureV1] {
            let verifier = signer(algorithm).verifier().clone();
            assert_eq!(Verifier::parse(&verifier.to_string()), Ok(verifier));
        }
        let ids = [Algorithm::Ed25519, Algorithm::CosignatureV1].map(|a| signer(a).verifier.id());
        assert_ne!(ids[0], ids[1], "one key under two algorithms has two ids");
    }

    #[test]
    fn every_damaged_vkey_is_refused() {
        let vkey = signer(Algorithm::Ed25519).verifier().to_string();
        for start in 0..vkey.len() {
            for end in start..=vkey.len() {
                let part = vkey.get(start..end).unwrap();
                assert!(part == vkey || Verifier::parse(part).is_err(), "{part}");
            }
        }
        for at in 0..vkey.len() {
            for byte in 0..=0x7f {
                let mut bytes = vkey.clone().into_bytes();
                if std::mem::replace(bytes.get_mut(at).unwrap(), byte) != byte {
                    let text = String::from_utf8(bytes).unwrap();
                    assert!(Verifier::parse(&text).is_err(), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn names_and_keys_that_are_refused() {
        let vkey = |name: &str, kind: u8, key: &[u8]| {
            let bytes = [&[kind], key].concat();
            let id = hex(&sign::key_id(name, kind, key));
            Verifier::parse(&format!("{name}+{id}+{}", STANDARD.encode(bytes))).map(|_| ())
        };
        let good = SigningKey::new(&Key::new([7; 32])).public().bytes();
        assert_eq!(vkey("a", 1, &good), Ok(()));
        for name in ["", "a b", "a\u{a0}b", "a\u{2003}b", "a\nb", "a\u{7f}", &"n".repeat(256)] {
            assert_eq!(vkey(name, 1, &good), Err(VkeyError::Name), "{name:?}");
        }
        assert_eq!(vkey("a+b", 1, &good), Err(VkeyError::Syntax));
        assert_eq!(vkey("a", 2, &good), Err(VkeyError::Algorithm { found: 2 }));
        assert_eq!(vkey("a", 6, &[0; 1312]), Err(VkeyError::Algorithm { found: 6 }));
        assert_eq!(vkey("a", 1, &good[..31]), Err(VkeyError::Length { found: 31 }));
        // Attack 35: the identity point, and one encoded with y = p + 3.
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(vkey("a", 1, &identity), Err(VkeyError::WeakKey));
        let mut large = [0xff; 32];
        large[0] = 0xf0;
        large[31] = 0x7f;
        assert_eq!(vkey("a", 4, &large), Err(VkeyError::WeakKey));
    }
}
