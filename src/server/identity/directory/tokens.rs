//! Tokens: issued, listed, revoked. Nobody issues a token that may do what he may not, and no
//! machine issues one that may do more than append.

use crate::base::id::DocumentId;
use crate::base::unit::{NANOS_PER_DAY, UtcNanos};
use crate::base::world::random;
use crate::policy::access::{Permission, Role};
use crate::server::audit::{self, Act, Deed};
use crate::server::certificate::is_name;
use crate::server::identity::Hands;
use crate::server::identity::directory::{Directory, lock};
use crate::server::identity::human::check_sources;
use crate::server::identity::principal::{Principal, Who};
use crate::server::identity::refused::{Refused, Result};
use crate::server::identity::token::{
    Kept, Kind, Parsed, ShortId, Shown, Token, certified, make, make_guid, parse_guid,
};
use std::collections::BTreeSet;

/// Bytes of a token's name at most.
const TOKEN_NAME_BYTES_MAX: usize = 64;
/// A token that may more than append ends after a year at most.
const TOKEN_NANOS_MAX: u64 = 366 * NANOS_PER_DAY;

/// A token to be issued.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewToken {
    /// What it is for.
    pub name: String,
    /// The tenant of whoever issues it.
    pub tenant: String,
    /// What it may do.
    pub roles: Vec<Role>,
    /// For which sources; none = all.
    pub sources: Option<Vec<String>>,
    /// How it is shown.
    pub kind: Kind,
    /// The only name of its certificate, for a token that is one: `dns:...` or `uri:...`.
    pub san: Option<String>,
    /// When its time is over.
    pub expires: Option<UtcNanos>,
}

/// A token that was issued.
#[derive(Debug)]
pub struct Issued {
    /// Its document.
    pub id: DocumentId,
    /// Its text; nobody can show it again. Empty for a certificate.
    pub text: Shown,
}

/// A token, for a list: nothing of its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenInfo {
    /// Document.
    pub id: DocumentId,
    /// Its version, for `If-Match`.
    pub version: u64,
    /// What it is for.
    pub name: String,
    /// Where it works.
    pub tenant: String,
    /// What it was given; what its maker lost does not count any more.
    pub roles: Vec<Role>,
    /// For which sources.
    pub sources: Option<Vec<String>>,
    /// How it is shown.
    pub kind: Kind,
    /// The only name of its certificate.
    pub san: Option<String>,
    /// When its time is over.
    pub expires: Option<UtcNanos>,
    /// When it was issued.
    pub since: UtcNanos,
    /// Who issued it.
    pub made_by: DocumentId,
    /// Whether it was revoked.
    pub revoked: bool,
}

impl Directory {
    /// Issues a token.
    ///
    /// # Errors
    /// `Forbidden`; `Invalid`: `TOKEN_NAME`, `TOKEN_ROLES`, `TOKEN_EXPIRY`, `TOKEN_SOURCES`,
    /// `GRANT_SOURCES`; `Unknown` for another tenant than the maker's; those of the vault.
    pub fn issue_token(
        &self,
        hands: &Hands<'_>,
        maker: &Principal,
        new: &NewToken,
    ) -> Result<Issued> {
        maker.may(Permission::TokensManage)?;
        if new.tenant != maker.tenant {
            return Err(Refused::Unknown { code: "TENANT_UNKNOWN" }.into());
        }
        judge(new, maker, hands.now)?;
        let writing = lock(&self.writing);
        // Two documents whose names begin alike could not be told by their texts.
        let (id, text) = loop {
            let (id, text) = match new.kind {
                Kind::Api => make(self.env, hands.entropy),
                Kind::Hec => make_guid(hands.entropy),
                Kind::Certificate => (DocumentId(random(hands.entropy)), Shown::none()),
            };
            if !self.view().shorts.contains_key(&ShortId::of(id)) {
                break (id, text);
            }
        };
        let hash = match new.kind {
            Kind::Api => self.keeper.keep(Parsed::parse(text.expose())?.message()),
            Kind::Hec => self.keeper.keep(&parse_guid(text.expose())?),
            Kind::Certificate => self.name_free(new)?,
        };
        let token = Token {
            name: new.name.clone(),
            tenant: new.tenant.clone(),
            roles: new.roles.clone(),
            sources: new.sources.clone(),
            kind: new.kind,
            san: new.san.clone(),
            hash,
            expires: new.expires,
            since: hands.now,
            made_by: maker.who.document(),
        };
        self.put_token(hands, &writing, id, token, false)?;
        drop(writing);
        let act = Act::new(Deed::TokenIssued, maker.who).token(id).on(&new.tenant);
        audit::record(hands.system, &act)?;
        Ok(Issued { id, text })
    }

    /// What is kept of the name of a certificate that no other token has.
    fn name_free(&self, new: &NewToken) -> std::result::Result<Kept, Refused> {
        let name = new.san.as_deref().unwrap_or_default();
        let kept = self.keeper.keep(&certified(&new.tenant, name));
        let view = self.view();
        let known = view.guids.get(&kept).and_then(|id| view.tokens.get(id));
        match known.is_some_and(|token| !token.gone) {
            true => {
                let fix = "another token has this name: revoke that one first";
                Err(Refused::Conflict { code: "TOKEN_SAN_TAKEN", fix })
            }
            false => Ok(kept),
        }
    }

    /// The tokens of a tenant, revoked ones too, ascending by document, for whoever has
    /// `tokens-read` there.
    pub fn tokens(&self, tenant: &str) -> Vec<TokenInfo> {
        let view = self.view();
        let all = view.tokens.iter().map(|(id, token)| TokenInfo {
            id: *id,
            version: token.version,
            name: token.doc.name.clone(),
            tenant: token.doc.tenant.clone(),
            roles: token.doc.roles.clone(),
            sources: token.doc.sources.clone(),
            kind: token.doc.kind,
            san: token.doc.san.clone(),
            expires: token.doc.expires,
            since: token.doc.since,
            made_by: token.doc.made_by,
            revoked: token.gone,
        });
        all.filter(|token| token.tenant == tenant).collect()
    }

    /// Revokes a token of the asker's tenant; again is no failure.
    ///
    /// # Errors
    /// `Forbidden`; `Unknown` `TOKEN_UNKNOWN`, also for one of another tenant; those of the vault.
    pub fn revoke_token(&self, hands: &Hands<'_>, by: &Principal, id: DocumentId) -> Result<()> {
        by.may(Permission::TokensManage)?;
        let writing = lock(&self.writing);
        let found = self.view().tokens.get(&id).map(|token| (token.doc.clone(), token.gone));
        let found = found.filter(|(token, _)| token.tenant == by.tenant);
        let (token, gone) = found.ok_or(Refused::Unknown { code: "TOKEN_UNKNOWN" })?;
        if !gone {
            self.put_token(hands, &writing, id, Token::clone(&token), true)?;
        }
        drop(writing);
        // Also of one that is revoked: whether the entry of the first time was written, nobody
        // knows.
        let act = Act::new(Deed::TokenRevoked, by.who).token(id).on(&by.tenant);
        Ok(audit::record(hands.system, &act)?)
    }
}

/// Refuses a token that cannot be one, or that its maker may not issue.
fn judge(new: &NewToken, maker: &Principal, now: UtcNanos) -> std::result::Result<(), Refused> {
    let plain = new.name.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    let tidy = plain && new.name.trim() == new.name;
    if !tidy || !(1..=TOKEN_NAME_BYTES_MAX).contains(&new.name.len()) {
        let fix = "a token's name has 1 to 64 printable ASCII characters, no outer blanks";
        return Err(Refused::field("TOKEN_NAME", "name", fix));
    }
    let roles: BTreeSet<Role> = new.roles.iter().copied().collect();
    if roles.is_empty() || roles.len() != new.roles.len() {
        return Err(Refused::field("TOKEN_ROLES", "roles", "name at least one role, each once"));
    }
    if roles.iter().any(|role| !role.fits_machines()) {
        let fix = "no machine approves: tokens may have every role but approver";
        return Err(Refused::field("TOKEN_ROLES", "roles", fix));
    }
    let only_appends = roles.iter().all(|role| *role == Role::Ingest);
    let lends = |role: &Role| !role.is_weighty() || reaches(maker, *role, new.sources.as_deref());
    let machine = matches!(maker.who, Who::Token(_));
    if machine && !only_appends || !roles.iter().all(lends) {
        let fix = "you can give a token no role beyond your own, and for no source beyond those \
                   you have it for; a token can issue ingest alone";
        return Err(Refused::field("TOKEN_ROLES", "roles", fix));
    }
    let longest = UtcNanos(now.0.saturating_add(TOKEN_NANOS_MAX));
    let timed = match new.expires {
        None => only_appends,
        Some(expires) => expires > now && (only_appends || expires <= longest),
    };
    if !timed {
        let fix = "name an instant to come, 366 days ahead at most; only a token that does nothing \
                   but append may last longer, or for good";
        return Err(Refused::field("TOKEN_EXPIRY", "expires", fix));
    }
    if let Some(sources) = &new.sources {
        check_sources(sources, "sources")?;
    }
    let named = new.san.as_deref().is_some_and(is_name);
    if named != (new.kind == Kind::Certificate) || new.san.is_some() != named {
        let fix = "a token that is a certificate, and no other, names it: dns: and a name in lower \
                   case without wildcards, or uri: and a URI";
        return Err(Refused::field("TOKEN_SAN", "san", fix));
    }
    let count = new.sources.as_ref().map(Vec::len);
    let bound = match new.kind {
        Kind::Hec => only_appends && count == Some(1),
        Kind::Api | Kind::Certificate => count.is_some() || !roles.contains(&Role::Developer),
    };
    match bound {
        true => Ok(()),
        false => {
            let fix = "a HEC token has the role ingest and one source; a developer's token names \
                       its sources";
            Err(Refused::field("TOKEN_SOURCES", "sources", fix))
        }
    }
}

/// Whether somebody has a role for all these sources; none = the whole tenant.
fn reaches(maker: &Principal, role: Role, sources: Option<&[String]>) -> bool {
    let mut own = maker.held.iter().filter(|held| held.role == role);
    own.any(|held| match (&held.sources, sources) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(own), Some(named)) => named.iter().all(|source| own.contains(source)),
    })
}
