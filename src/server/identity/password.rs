//! Passwords: what may be one, and what is kept of it. Argon2id with OWASP's first choice of
//! parameters: 19 MiB of memory, two passes, one lane, so two checks at once take 38 MiB; more at
//! once are turned away. No rules of composition and no expiry (NIST SP 800-63B section 3.1.1.2);
//! what is refused is the login, the name, and what every list of guesses begins with. No list of
//! leaked passwords is asked: that would be a question to somebody else.
//!
//! It never keeps, prints or compares a password but through the hash.

use crate::base::world::{Entropy, random};
use crate::server::identity::refused::Refused;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use zeroize::Zeroizing;

/// Characters (Unicode scalar values) of a password at least.
pub const LETTERS_MIN: usize = 12;
/// And at most: a sentence, not a file.
pub const LETTERS_MAX: usize = 256;
/// Checks at once: 2 x 19 MiB.
pub const CHECKS_MAX: usize = 2;
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Different characters at least: `aaaaaaaaaaaa` is one guess.
const DIFFERENT_MIN: usize = 5;
/// What guesses of this length begin with, in lower case and without what stands between.
const GUESSES: [&str; 14] = [
    "password",
    "passwort",
    "motdepasse",
    "contrasena",
    "qwerty",
    "qwertz",
    "azerty",
    "asdfgh",
    "123456",
    "012345",
    "abcdef",
    "letmein",
    "iloveyou",
    "chancery",
];

/// What is kept of a password: a PHC string.
#[derive(Clone, PartialEq, Eq)]
pub struct Phc(Zeroizing<String>);

impl fmt::Debug for Phc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phc(..)")
    }
}

impl Serialize for Phc {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Phc {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input).map(|text| Phc(Zeroizing::new(text)))
    }
}

/// Whether a text may be somebody's password.
///
/// # Errors
/// `Invalid`: `PASSWORD_LENGTH`, `PASSWORD_WEAK`.
pub fn judge(password: &str, login: &str, name: &str) -> Result<(), Refused> {
    let letters = password.chars().count();
    if !(LETTERS_MIN..=LETTERS_MAX).contains(&letters) {
        let fix = "use 12 to 256 characters; a few words that do not belong together are good";
        return Err(Refused::field("PASSWORD_LENGTH", "password", fix));
    }
    let plain = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let mut different: Vec<char> = password.chars().collect();
    different.sort_unstable();
    different.dedup();
    let bare = plain(password);
    let own = [plain(login), plain(name)];
    // The login with a little around it is the login.
    let is_own = |own: &String| {
        own.chars().count() >= 3
            && bare.contains(own.as_str())
            && bare.chars().count() < own.chars().count() + LETTERS_MIN - 4
    };
    let guessed = GUESSES.iter().any(|guess| {
        let rest = bare.strip_prefix(guess);
        rest.is_some_and(|rest| rest.chars().count() < LETTERS_MIN - 2)
    });
    match different.len() < DIFFERENT_MIN || guessed || own.iter().any(is_own) {
        true => {
            let fix = "it is the login, the name, or what is guessed first: think of another";
            Err(Refused::field("PASSWORD_WEAK", "password", fix))
        }
        false => Ok(()),
    }
}

fn engine() -> Option<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

impl Phc {
    /// What is kept of a password. Takes as long as a check: hold a place of the gate.
    ///
    /// # Errors
    /// `Overloaded` when the system has no memory for it.
    pub fn of(password: &str, entropy: &dyn Entropy, _place: &Place<'_>) -> Result<Phc, Refused> {
        let salt: [u8; 16] = random(entropy);
        let made = engine()
            .and_then(|engine| engine.hash_password_with_salt(password.as_bytes(), &salt).ok());
        let made: PasswordHash = made.ok_or(Refused::Overloaded)?;
        Ok(Phc(Zeroizing::new(made.to_string())))
    }

    /// Whether a password is the one. What is kept says with which parameters; more memory than
    /// ours was never written, and is not taken.
    pub fn is(&self, password: &str, _place: &Place<'_>) -> bool {
        let Ok(kept) = PasswordHash::new(&self.0) else { return false };
        let bounded = Params::try_from(&kept)
            .is_ok_and(|p| p.m_cost() <= MEMORY_KIB && p.t_cost() <= PASSES && p.p_cost() <= LANES);
        let letters = password.chars().take(LETTERS_MAX + 1).count();
        bounded
            && letters <= LETTERS_MAX
            && engine().is_some_and(|e| e.verify_password(password.as_bytes(), &kept).is_ok())
    }
}

/// How many passwords are checked at once.
#[derive(Debug, Default)]
pub struct Gate {
    inside: AtomicUsize,
    entered: AtomicU64,
}

/// A place inside; it is given back when dropped.
#[derive(Debug)]
pub struct Place<'g> {
    gate: &'g Gate,
}

impl Gate {
    /// A place, if there is one: nobody waits for one, a queue of passwords is a queue of memory.
    ///
    /// # Errors
    /// `Overloaded`.
    pub fn enter(&self) -> Result<Place<'_>, Refused> {
        let room = |inside: usize| (inside < CHECKS_MAX).then_some(inside + 1);
        match self.inside.fetch_update(Ordering::AcqRel, Ordering::Acquire, room) {
            Ok(_) => {
                self.entered.fetch_add(1, Ordering::Relaxed);
                Ok(Place { gate: self })
            }
            Err(_) => Err(Refused::Overloaded),
        }
    }
}

impl Gate {
    /// How many passwords were checked or made so far.
    pub fn entered(&self) -> u64 {
        self.entered.load(Ordering::Relaxed)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.gate.inside.fetch_sub(1, Ordering::AcqRel);
    }
}
