//! Who may do what: roles, permissions and the one matrix that joins them. Pure: it knows no
//! person, no token and no route. It never grants anything at run time: a role that may do more is
//! a change of this file, seen by whoever reviews it, and of the golden copy of the matrix.

mod matrix;

pub use crate::policy::access::matrix::MATRIX;

use std::fmt;

/// A closed list of words with a sentence each.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal, $about:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name { $(#[doc = $about] $variant,)* }

        impl $name {
            /// All of them, in the order of the pages.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word as it is written.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What it means, in one line.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }

            /// The one with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
                let unknown = || serde::de::Error::unknown_variant(&text, &[$($text,)*]);
                Self::from_name(&text).ok_or_else(unknown)
            }
        }
    };
}

words! {
    /// What somebody is for, on one tenant.
    Role {
        Admin = "admin", "sets up people, tokens, tenants, sources; sees no event";
        Operations = "operations", "keeps the service running; sees no event";
        Developer = "developer", "reads masked events of the sources named in the grant";
        Auditor = "auditor", "reads in scope, verifies, reports; until a date";
        PrivacyOfficer = "privacy-officer", "people: looks up, asks for erasure, sets holds";
        Approver = "approver", "the second person of an act that needs two";
        Readonly = "readonly", "reads masked events and proofs";
        Ingest = "ingest", "machines: appends events and does nothing else";
    }
}

words! {
    /// What may be allowed.
    Permission {
        EventsAppend = "events-append", "append events";
        EventsRead = "events-read", "read masked records: clear part, field names, fates";
        EventsOpen = "events-open", "read personal fields, with a purpose; the log says so";
        EventsCorrect = "events-correct", "correct personal fields by a linked entry";
        EventsDisclose = "events-disclose", "write fields out so that outsiders verify them";
        ProofsRead = "proofs-read", "read proofs, checkpoints, tiles and receipts of appends";
        SubjectsLookup = "subjects-lookup", "find a person by identifier, for a random handle";
        SubjectsPreview = "subjects-preview", "see what an erasure would take, defer and leave";
        SubjectsRestrict = "subjects-restrict", "restrict the use of a person's data, and lift it";
        SubjectsLink = "subjects-link", "say that identifiers are one person";
        ErasureRequest = "erasure-request", "ask for the erasure of a person";
        ErasureRead = "erasure-read", "see how erasures stand, and their receipts";
        HoldsRead = "holds-read", "see legal holds";
        HoldsSet = "holds-set", "set a legal hold";
        HoldsReleaseRequest = "holds-release-request", "ask for the release of a legal hold";
        RetentionRead = "retention-read", "see policies, plan and history of retention";
        RetentionPropose = "retention-propose", "propose other policies";
        RetentionRun = "retention-run", "run what is due by the policies in force";
        ClassesRead = "classes-read", "see retention classes and their laws";
        SourcesRead = "sources-read", "see sources, their gaps and silence";
        SourcesManage = "sources-manage", "register and change sources";
        TokensRead = "tokens-read", "see tokens, never their secrets";
        TokensManage = "tokens-manage", "issue and revoke tokens";
        HumansRead = "humans-read", "see people and their grants";
        HumansManage = "humans-manage", "ask for people, grants, resets; disable a person";
        TenantsRead = "tenants-read", "see tenants";
        TenantsManage = "tenants-manage", "make tenants, ask for their deletion";
        KeysRead = "keys-read", "see the state of keys, never a key";
        SchedulesRead = "schedules-read", "see schedules and their runs";
        SchedulesManage = "schedules-manage", "change schedules";
        SchedulesRun = "schedules-run", "run a schedule now";
        OrdersRead = "orders-read", "see orders, with the identifiers in them";
        OrdersApprove = "orders-approve", "approve or reject orders of other people";
        RuleRead = "rule-read", "see how many people an act needs";
        RulePropose = "rule-propose", "propose another rule";
        MetricsRead = "metrics-read", "read metrics";
        SystemRead = "system-read", "see version, health, notices and configuration";
    }
}

/// On what a permission counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// On the tenant of the grant.
    Tenant,
    /// On the whole service: only a grant on the tenant `HOME` gives it.
    Service,
}

/// The tenant whose people run the service.
pub const HOME: &str = "main";

/// Whether somebody with this role has this permission.
pub fn allows(role: Role, permission: Permission) -> bool {
    let row = MATRIX.iter().find(|(of, _)| *of == role);
    row.is_some_and(|(_, permissions)| permissions.contains(&permission))
}

/// What a break-glass session may do: read what auditor and privacy officer read, and nothing that
/// changes or hands out anything.
pub fn breaks_glass(permission: Permission) -> bool {
    let either = allows(Role::Auditor, permission) || allows(Role::PrivacyOfficer, permission);
    permission.only_reads() && permission.reach() == Reach::Tenant && either
}

impl Role {
    /// Whether a machine's token may have it. What two people are for, no machine stands in for.
    pub fn fits_machines(self) -> bool {
        self != Role::Approver
    }

    /// Whether whoever gives it to a token must have it, and the token loses it when its maker
    /// does. These are the roles whose grant takes two people.
    pub fn is_weighty(self) -> bool {
        matches!(self, Role::Admin | Role::Auditor | Role::PrivacyOfficer | Role::Approver)
    }
}

impl Permission {
    /// Whether nothing changes by it and nothing leaves for good but what the asker sees.
    pub fn only_reads(self) -> bool {
        let looks = [Permission::EventsOpen, Permission::SubjectsLookup];
        let reads = looks.contains(&self) || self == Permission::SubjectsPreview;
        reads || self.name().ends_with("-read")
    }

    /// Whether it is about one tenant or about the service that holds them all.
    pub fn reach(self) -> Reach {
        match self {
            Permission::HumansRead
            | Permission::HumansManage
            | Permission::TenantsRead
            | Permission::TenantsManage
            | Permission::MetricsRead
            | Permission::SystemRead => Reach::Service,
            _ => Reach::Tenant,
        }
    }
}
