//! A person of the service: one document however he logs in. It holds what the person may do on
//! each tenant, and what is kept of the factors. It never decides by itself: `directory` does.

use crate::base::id::DocumentId;
use crate::base::unit::{NANOS_PER_DAY, UtcNanos};
use crate::policy::access::{HOME, Role};
use crate::server::identity::glass::Review;
use crate::server::identity::password::Phc;
use crate::server::identity::refused::Refused;
use crate::server::identity::stamp;
use crate::server::identity::token::Kept;
use crate::server::identity::totp::SharedSecret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Bytes of a login at most.
pub const LOGIN_BYTES_MAX: usize = 64;
/// Bytes of a name at most.
pub const NAME_BYTES_MAX: usize = 128;
/// Grants of one person at most: eight roles on eight tenants. 64 x (32 x 67 + 200) bytes of JSON
/// are 150 KB, and 19 reviews of at most 4,300 bytes 82 KB more: they fit a document of 256 KiB.
pub const GRANTS_MAX: usize = 64;
/// Sources of one grant or token at most.
pub const SOURCES_MAX: usize = 32;
/// Bytes of a source's name at most.
pub const SOURCE_BYTES_MAX: usize = 64;
/// An auditor's grant ends after a year at most.
pub const AUDITOR_NANOS_MAX: u64 = 366 * NANOS_PER_DAY;
/// Characters of a tenant's name at most.
const TENANT_BYTES_MAX: usize = 32;

/// The document of a person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Human {
    /// By which the person logs in.
    pub login: String,
    /// As colleagues know the person.
    pub name: String,
    /// What is kept of the password; none before enrolment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Phc>,
    /// The second factor; none before enrolment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totp: Option<Factor>,
    /// What the person may do where.
    pub grants: Vec<Grant>,
    /// Before this the person may not approve.
    #[serde(with = "stamp")]
    pub approver_from: UtcNanos,
    /// May not come in, and keeps the login.
    #[serde(default)]
    pub disabled: bool,
    /// The open invitation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolment: Option<Invitation>,
    /// Who made the document; none for the first person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<DocumentId>,
    /// Break-glass sessions, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviews: Vec<Review>,
}

impl fmt::Debug for Human {
    /// What state it is in, never who it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (enrolled, grants) = (self.is_enrolled(), self.grants.len());
        write!(f, "Human(enrolled: {enrolled}, disabled: {}, {grants} grants)", self.disabled)
    }
}

/// The second factor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factor {
    /// The shared secret.
    pub secret: SharedSecret,
    /// When a first code was right.
    #[serde(with = "stamp")]
    pub confirmed_at: UtcNanos,
}

/// An invitation: the text itself is with whoever was invited.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    /// What is kept of it.
    pub hash: Kept,
    /// When its time is over.
    #[serde(with = "stamp")]
    pub expires: UtcNanos,
}

/// A role on a tenant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Where.
    pub tenant: String,
    /// What.
    pub role: Role,
    /// Until when; none = until it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stamp::maybe")]
    pub until: Option<UtcNanos>,
    /// For these sources alone; none = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<String>>,
    /// From when.
    #[serde(with = "stamp")]
    pub since: UtcNanos,
    /// Whether the person may break the glass on this tenant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
}

impl Grant {
    /// A role for good, on all sources.
    pub fn of(tenant: &str, role: Role, since: UtcNanos) -> Self {
        let tenant = tenant.to_owned();
        Grant { tenant, role, until: None, sources: None, since, break_glass: false }
    }

    /// Whether it lets break the glass: what such a session reads is of the whole tenant.
    pub fn breaks_glass(&self) -> bool {
        self.break_glass && self.sources.is_none()
    }

    /// Whether it counts.
    pub fn is_active(&self, now: UtcNanos) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Refuses a grant that says less or more than its role needs.
    ///
    /// # Errors
    /// `Invalid`: `TENANT_NAME`, `GRANT_ROLE`, `GRANT_UNTIL`, `GRANT_SOURCES`.
    pub fn check(&self, now: UtcNanos) -> Result<(), Refused> {
        if !is_tenant_name(&self.tenant) {
            let fix = "a tenant is a letter, then at most 31 letters, digits or dashes, lower case";
            return Err(Refused::field("TENANT_NAME", "grants.tenant", fix));
        }
        if self.role == Role::Ingest {
            let fix = "ingest is for tokens of machines";
            return Err(Refused::field("GRANT_ROLE", "grants.role", fix));
        }
        let longest = UtcNanos(now.0.saturating_add(AUDITOR_NANOS_MAX));
        let boxed = match self.until {
            None => self.role != Role::Auditor,
            Some(until) => until > now && (self.role != Role::Auditor || until <= longest),
        };
        if !boxed {
            let fix =
                "name an instant to come; an auditor's grant needs one, 366 days ahead at most";
            return Err(Refused::field("GRANT_UNTIL", "grants.until", fix));
        }
        let whole = self.break_glass
            || matches!(self.role, Role::Admin | Role::Operations | Role::Approver);
        match &self.sources {
            Some(_) if whole => {
                let fix = "admin, operations, approver and break_glass are for a whole tenant: \
                           name no sources";
                Err(Refused::field("GRANT_SOURCES", "grants.sources", fix))
            }
            None if self.role == Role::Developer => {
                let fix = "a developer's grant names the sources it is for";
                Err(Refused::field("GRANT_SOURCES", "grants.sources", fix))
            }
            None => Ok(()),
            Some(sources) => check_sources(sources, "grants.sources"),
        }
    }
}

/// Refuses a list of sources that cannot be one.
///
/// # Errors
/// `Invalid` `GRANT_SOURCES`.
pub fn check_sources(sources: &[String], field: &str) -> Result<(), Refused> {
    let plain = |name: &String| {
        let graphic = name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'));
        (1..=SOURCE_BYTES_MAX).contains(&name.len()) && graphic
    };
    let each_once = sources.iter().collect::<BTreeSet<_>>().len() == sources.len();
    match (1..=SOURCES_MAX).contains(&sources.len()) && each_once && sources.iter().all(plain) {
        true => Ok(()),
        false => {
            let fix = "name 1 to 32 sources, each once, in at most 64 plain ASCII characters";
            Err(Refused::field("GRANT_SOURCES", field, fix))
        }
    }
}

/// Whether a text can be a tenant's name.
pub fn is_tenant_name(name: &str) -> bool {
    let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.len() <= TENANT_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(rest)
}

/// Refuses a list of grants that cannot stand together.
///
/// # Errors
/// `Invalid`: `GRANT_TWICE`, `GRANTS_TOO_MANY`, and those of `Grant::check`.
pub fn check_grants(grants: &[Grant], now: UtcNanos) -> Result<(), Refused> {
    let mut seen = BTreeSet::new();
    for grant in grants {
        grant.check(now)?;
        if !seen.insert((&grant.tenant, grant.role)) {
            let fix = "name each role once for each tenant";
            return Err(Refused::field("GRANT_TWICE", "grants", fix));
        }
    }
    match grants.len() <= GRANTS_MAX {
        true => Ok(()),
        false => {
            let fix = "give one person 64 grants at most";
            Err(Refused::field("GRANTS_TOO_MANY", "grants", fix))
        }
    }
}

/// A login as it is kept: printable ASCII without blanks, so that no two look alike. They are
/// compared without regard to case.
///
/// # Errors
/// `Invalid` `LOGIN_NOT_PLAIN`.
pub fn check_login(login: &str) -> Result<(), Refused> {
    let plain = login.bytes().all(|b| b.is_ascii_graphic());
    match plain && (2..=LOGIN_BYTES_MAX).contains(&login.len()) {
        true => Ok(()),
        false => {
            let fix = "a login has 2 to 64 printable ASCII characters and no blank";
            Err(Refused::field("LOGIN_NOT_PLAIN", "login", fix))
        }
    }
}

/// A person's name: any script, nothing that steers a terminal or turns the direction of a line.
///
/// # Errors
/// `Invalid` `PERSON_NAME`.
pub fn check_name(name: &str) -> Result<(), Refused> {
    let steers = |c: char| {
        let marks = ['\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{206f}'];
        c.is_control() || c == '\u{feff}' || marks.iter().any(|range| range.contains(&c))
    };
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.trim() == name;
    match fits && !name.contains(steers) {
        true => Ok(()),
        false => {
            let fix = "a name has 1 to 128 bytes of UTF-8, no control character, no outer blanks";
            Err(Refused::field("PERSON_NAME", "name", fix))
        }
    }
}

impl Human {
    /// Whether both factors are there and were shown to work.
    pub fn is_enrolled(&self) -> bool {
        self.password.is_some() && self.totp.is_some()
    }

    /// Whether the person may come in.
    pub fn is_active(&self) -> bool {
        self.is_enrolled() && !self.disabled
    }

    /// The grants that count on a tenant.
    pub fn on<'h>(
        &'h self,
        tenant: &'h str,
        now: UtcNanos,
    ) -> impl Iterator<Item = &'h Grant> + 'h {
        self.grants.iter().filter(move |grant| grant.tenant == tenant && grant.is_active(now))
    }

    /// Whether the person has a role on a whole tenant.
    pub fn has(&self, tenant: &str, role: Role, now: UtcNanos) -> bool {
        self.on(tenant, now).any(|grant| grant.role == role && grant.sources.is_none())
    }

    /// The tenant of a session that names none: `main` where the person has a grant there, else
    /// the only one.
    pub fn home(&self, now: UtcNanos) -> Option<&str> {
        let active = self.grants.iter().filter(|grant| grant.is_active(now));
        let tenants: BTreeSet<&str> = active.map(|grant| grant.tenant.as_str()).collect();
        match tenants.len() {
            1 => tenants.first().copied(),
            _ => tenants.get(HOME).copied(),
        }
    }
}
