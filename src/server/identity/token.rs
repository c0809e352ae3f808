//! Machine tokens: their text, what is kept of them, and the document.
//!
//! ```text
//! chancery_<env>_<id: 16 hex><...>   e.g. chancery_live_0123456789abcdef_<48 hex><8 hex>
//!            |     |                       |       |
//!            live or dev                   secret  CRC-32 (IEEE) of everything before it
//!                  first 8 bytes of the document's name
//! ```
//! The CRC tells a mistyped token, and a text that only looks like one, from a wrong one before
//! anything is looked up; it protects nothing. A HEC token is a GUID whose 16 bytes are all secret,
//! since products that speak HEC take nothing else.
//!
//! What is kept is a MAC under a key of the vault's key plane, so documents without keys are no
//! help in guessing. A secret is shown once, by whoever issued it; it is in no `Debug` form.

use crate::base::id::{DocumentId, hex, unhex};
use crate::base::unit::UtcNanos;
use crate::base::world::{Entropy, random};
use crate::policy::access::Role;
use crate::server::identity::refused::Refused;
use crate::server::identity::stamp;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

/// Label of the key of every MAC of this module.
pub const KEY_LABEL: &str = "chancery/v1/service/token";
/// Bytes of a secret: 192 bits.
pub const SECRET_BYTES: usize = 24;
/// What the MAC is over begins with one of these, so that no text is taken for another kind.
const OF_API: u8 = 1;
const OF_HEC: u8 = 2;
const OF_ENROLMENT: u8 = 3;
const OF_LOGIN: u8 = 4;
const OF_CERTIFICATE: u8 = 5;
/// The word of an invitation, where a token has its `env`.
const ENROL: &str = "enrol";

/// What kind of service a token belongs to, so that one for trying out is seen to be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Env {
    /// In earnest.
    Live,
    /// For trying out.
    Dev,
}

impl Env {
    /// As it stands in a token.
    pub fn name(self) -> &'static str {
        match self {
            Env::Live => "live",
            Env::Dev => "dev",
        }
    }

    fn from_name(name: &str) -> Option<Env> {
        [Env::Live, Env::Dev].into_iter().find(|env| env.name() == name)
    }
}

/// A text that lets somebody in; shown once.
pub struct Shown(Zeroizing<String>);

impl Shown {
    /// The text, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown(..)")
    }
}

impl Shown {
    /// What a certificate has: no secret of ours lets its bearer in.
    pub(crate) fn none() -> Shown {
        Shown(Zeroizing::default())
    }
}

/// The first 8 bytes of a token's document's name: what its text says of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShortId(pub [u8; 8]);

impl ShortId {
    /// Of a document.
    pub fn of(id: DocumentId) -> Self {
        let mut short = [0; 8];
        short.iter_mut().zip(id.0).for_each(|(to, from)| *to = from);
        ShortId(short)
    }
}

/// What a text says it is; nothing of it is believed yet.
pub struct Parsed<'t> {
    /// Which token.
    pub id: ShortId,
    /// Whose kind of service.
    pub env: Env,
    message: Message<'t>,
}

/// What a MAC is over.
pub struct Message<'t> {
    kind: u8,
    bytes: std::borrow::Cow<'t, [u8]>,
}

impl fmt::Debug for Parsed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parsed({:?}, {:?})", self.id, self.env)
    }
}

impl<'t> Parsed<'t> {
    /// Reads a token's text.
    ///
    /// # Errors
    /// `Unauthenticated` for anything that is not one, by its form or by its CRC.
    pub fn parse(text: &'t str) -> Result<Self, Refused> {
        let read = || {
            let (body, secret_at) = checked(text)?;
            let mut parts = body.get(..secret_at)?.split('_');
            let (vendor, env, id, end) =
                (parts.next()?, parts.next()?, parts.next()?, parts.next());
            let id = unhex::<8>(id).filter(|_| vendor == "chancery" && end == Some(""))?;
            let none_left = parts.next().is_none();
            let message = Message { kind: OF_API, bytes: body.as_bytes().into() };
            let parsed = Parsed { id: ShortId(id), env: Env::from_name(env)?, message };
            none_left.then_some(parsed)
        };
        read().ok_or(Refused::Unauthenticated)
    }

    /// What its MAC is over.
    pub fn message(&self) -> &Message<'t> {
        &self.message
    }
}

/// Checks form and CRC of a text that ends with a secret and a CRC; returns what stands before the
/// CRC, and where the secret begins. Lower case only: there is one text for a token.
fn checked(text: &str) -> Option<(&str, usize)> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if !text.bytes().all(plain) {
        return None;
    }
    let crc_at = text.len().checked_sub(8)?;
    let (body, crc) = text.split_at_checked(crc_at)?;
    let secret_at = body.len().checked_sub(SECRET_BYTES * 2)?;
    let secret = Zeroizing::new(unhex::<SECRET_BYTES>(body.get(secret_at..)?)?);
    let right = unhex::<4>(crc)? == crc32fast::hash(body.as_bytes()).to_be_bytes();
    drop(secret);
    right.then_some((body, secret_at))
}

fn with_crc(head: &str, secret: &[u8; SECRET_BYTES]) -> Shown {
    let mut text = Zeroizing::new(String::with_capacity(head.len() + SECRET_BYTES * 2 + 8));
    text.push_str(head);
    text.push_str(&Zeroizing::new(hex(secret)));
    let crc = crc32fast::hash(text.as_bytes());
    text.push_str(&hex(&crc.to_be_bytes()));
    Shown(text)
}

/// A fresh API token with its document's name.
pub fn make(env: Env, entropy: &dyn Entropy) -> (DocumentId, Shown) {
    let id = DocumentId(random(entropy));
    let secret = Zeroizing::new(random::<SECRET_BYTES>(entropy));
    let head = format!("chancery_{}_{}_", env.name(), hex(&ShortId::of(id).0));
    (id, with_crc(&head, &secret))
}

/// A fresh HEC token: a random GUID (RFC 9562 version 4, 122 bits) in the form that products show.
pub fn make_guid(entropy: &dyn Entropy) -> (DocumentId, Shown) {
    let id = DocumentId(random(entropy));
    let mut bytes = Zeroizing::new(random::<16>(entropy));
    if let Some(version) = bytes.get_mut(6) {
        *version = *version & 0x0f | 0x40;
    }
    if let Some(variant) = bytes.get_mut(8) {
        *variant = *variant & 0x3f | 0x80;
    }
    let plain = Zeroizing::new(hex(&*bytes));
    let mut text = Zeroizing::new(String::with_capacity(36));
    for (at, letter) in plain.chars().enumerate() {
        if [8, 12, 16, 20].contains(&at) {
            text.push('-');
        }
        text.push(letter);
    }
    (id, Shown(text))
}

/// Reads a GUID in the form 8-4-4-4-12, either case, as products send it.
///
/// # Errors
/// `Unauthenticated` for anything else.
pub fn parse_guid(text: &str) -> Result<Message<'static>, Refused> {
    let read = || {
        let dashes = [8, 13, 18, 23];
        let in_place = text.len() == 36
            && text.bytes().enumerate().all(|(at, b)| (b == b'-') == dashes.contains(&at));
        let plain = Zeroizing::new(text.replace('-', ""));
        let bytes = unhex::<16>(&plain).filter(|_| in_place)?;
        Some(Message { kind: OF_HEC, bytes: bytes.to_vec().into() })
    };
    read().ok_or(Refused::Unauthenticated)
}

/// A fresh invitation: 192 bits, for one use.
pub fn make_invitation(entropy: &dyn Entropy) -> Shown {
    let secret = Zeroizing::new(random::<SECRET_BYTES>(entropy));
    with_crc(&format!("chancery_{ENROL}_"), &secret)
}

/// Reads an invitation's text.
///
/// # Errors
/// `EnrolmentRefused` for anything that is not one.
pub fn parse_invitation(text: &str) -> Result<Message<'_>, Refused> {
    let (body, secret_at) = checked(text).ok_or(Refused::EnrolmentRefused)?;
    let head = body.get(..secret_at).and_then(|head| head.strip_prefix("chancery_"));
    match head.and_then(|head| head.strip_suffix('_')) == Some(ENROL) {
        true => Ok(Message { kind: OF_ENROLMENT, bytes: body.as_bytes().into() }),
        false => Err(Refused::EnrolmentRefused),
    }
}

/// A login as somebody typed it: what is counted is a MAC, since it may be a password in the wrong
/// field. Without regard to case, as logins are compared.
pub fn typed_login(login: &str) -> Message<'static> {
    Message { kind: OF_LOGIN, bytes: login.to_ascii_lowercase().into_bytes().into() }
}

/// The name of a certificate on a tenant; neither has a zero byte. It is no secret: the MAC is a
/// way to find it like the others.
pub fn certified(tenant: &str, name: &str) -> Message<'static> {
    Message { kind: OF_CERTIFICATE, bytes: format!("{tenant}\0{name}").into_bytes().into() }
}

/// A MAC of a secret text: what is kept of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kept(pub [u8; 32]);

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(..)")
    }
}

impl Serialize for Kept {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
        let wrong = || serde::de::Error::custom("no MAC of 32 bytes");
        unhex(&text).map(Kept).ok_or_else(wrong)
    }
}

/// The key of all MACs, ready for use.
pub struct Keeper {
    ready: Hmac<Sha256>,
}

impl Keeper {
    /// With a key of the service.
    pub fn new(key: &[u8; 32]) -> Option<Self> {
        Some(Keeper { ready: Hmac::<Sha256>::new_from_slice(key).ok()? })
    }

    fn over(&self, message: &Message<'_>) -> Hmac<Sha256> {
        let mut mac = self.ready.clone();
        mac.update(&[message.kind]);
        mac.update(&message.bytes);
        mac
    }

    /// What is kept of a text.
    pub fn keep(&self, message: &Message<'_>) -> Kept {
        Kept(self.over(message).finalize().into_bytes().into())
    }

    /// Whether a text is the one of which `kept` is; in a time that says nothing about either.
    pub fn is(&self, message: &Message<'_>, kept: &Kept) -> bool {
        self.over(message).verify_slice(&kept.0).is_ok()
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper(..)")
    }
}

/// How a token is shown to the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `Authorization: Bearer`, our own text.
    Api,
    /// `Authorization: Splunk`, a GUID.
    Hec,
    /// The certificate of a TLS connection.
    Certificate,
}

/// The document of a token.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// What it is for; plain ASCII.
    pub name: String,
    /// The one tenant it works on.
    pub tenant: String,
    /// What it may do there.
    pub roles: Vec<Role>,
    /// The only sources it may name; none = all of the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<String>>,
    /// How it is shown.
    pub kind: Kind,
    /// What is kept of its text.
    pub hash: Kept,
    /// The only name of the certificate, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub san: Option<String>,
    /// When its time is over.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stamp::maybe")]
    pub expires: Option<UtcNanos>,
    /// When it was issued.
    #[serde(with = "stamp")]
    pub since: UtcNanos,
    /// Document of the person or token that issued it.
    pub made_by: DocumentId,
}

impl Token {
    /// Whether its time is over.
    pub fn is_over(&self, now: UtcNanos) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }
}
