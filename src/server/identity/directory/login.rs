//! Coming in: login, step-up, and who a cookie or a token is. A login that nobody has, a person who
//! may not come in, a wrong password and a wrong code get the same answer after the same work.

use crate::base::id::DocumentId;
use crate::base::unit::UtcNanos;
use crate::server::audit::{self, Act, Deed};
use crate::server::identity::Hands;
use crate::server::identity::directory::{Directory, View, lock};
use crate::server::identity::human::{Grant, Human};
use crate::server::identity::principal::{Held, Principal, Who};
use crate::server::identity::refused::{Refused, Result};
use crate::server::identity::session::{Cookie, Session};
use crate::server::identity::throttle::{Door, Refusals};
use crate::server::identity::token::{
    Kind, Message, Parsed, Token, certified, parse_guid, typed_login,
};
use crate::vault::Vault;
use std::sync::Arc;

/// What somebody who logs in sends.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// Login name.
    pub login: &'a str,
    /// Password.
    pub password: &'a str,
    /// One-time code.
    pub code: &'a str,
    /// For which tenant; none = `main`, or the only one.
    pub tenant: Option<&'a str>,
}

impl std::fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(..)")
    }
}

/// A session that began, or has a new name.
#[derive(Debug)]
pub struct Opened {
    /// Its cookie; shown once.
    pub cookie: Cookie,
    /// Who is in it.
    pub principal: Principal,
}

impl Directory {
    /// Opens a session.
    ///
    /// # Errors
    /// `Unauthenticated` whatever is wrong; `Throttled`; `Overloaded`; `Unknown` `TENANT_UNKNOWN`
    /// for somebody who is known and has nothing to do there; those of the vault.
    pub fn login(&self, hands: &Hands<'_>, login: &Login<'_>) -> Result<Opened> {
        let now = hands.now;
        let known = {
            let view = self.view();
            view.by_login(login.login).map(|(id, human)| (id, human.clone()))
        };
        let door = match &known {
            Some((id, _)) => Door::Known(*id),
            None => Door::Stranger(self.keeper.keep(&typed_login(login.login))),
        };
        let human = {
            let place = self.gate.enter()?;
            lock(&self.throttle).knock(door, now)?;
            let active = known.as_ref().filter(|(_, human)| human.is_active());
            let factors = active.and_then(|(_, human)| {
                Some((human.password.as_ref()?, &human.totp.as_ref()?.secret))
            });
            let (phc, secret) = factors.unwrap_or((&self.nobody.0, &self.nobody.1));
            let is_password = phc.is(login.password, &place);
            let step = secret.check(login.code, hands.wall());
            match (active, is_password, step) {
                (Some((id, human)), true, Some(step)) if lock(&self.throttle).take(*id, step) => {
                    (*id, human.clone())
                }
                _ => {
                    lock(&self.throttle).wrong(door);
                    return Err(Refused::Unauthenticated.into());
                }
            }
        };
        lock(&self.throttle).right(door);
        let tenant = tenant_of(&human.1, login.tenant, now)?;
        let session = Session {
            human: human.0,
            tenant,
            opened: now,
            seen: now,
            stepped_up: now,
            break_glass: None,
        };
        // Written before anybody is in.
        audit::record(hands.system, &Act::by_human(Deed::Login, human.0).on(&session.tenant))?;
        let principal = self.principal(&session, now)?;
        let cookie = lock(&self.sessions).open(session, hands.entropy);
        Ok(Opened { cookie, principal })
    }

    /// Who a cookie is, now.
    ///
    /// # Errors
    /// `SessionEnded`, also for somebody who may not come in any more.
    pub fn authenticate_session(
        &self,
        cookie: &str,
        now: UtcNanos,
    ) -> std::result::Result<Principal, Refused> {
        let session = lock(&self.sessions).find(cookie, now)?.clone();
        self.principal(&session, now)
    }

    /// A fresh one-time code; the session goes on under a new cookie.
    ///
    /// # Errors
    /// `SessionEnded`, `Throttled`, `Unauthenticated` for a wrong code; those of the vault.
    pub fn step_up(&self, hands: &Hands<'_>, cookie: &str, code: &str) -> Result<Opened> {
        let now = hands.now;
        let session = lock(&self.sessions).find(cookie, now)?.clone();
        self.principal(&session, now)?;
        self.use_code(hands, session.human, code)?;
        let act = Act::by_human(Deed::StepUp, session.human).on(&session.tenant);
        audit::record(hands.system, &act)?;
        let mut sessions = lock(&self.sessions);
        let renamed = sessions.rename(cookie, now, hands.entropy)?;
        sessions.find(renamed.expose(), now)?.stepped_up = now;
        drop(sessions);
        let principal = self.authenticate_session(renamed.expose(), now)?;
        Ok(Opened { cookie: renamed, principal })
    }

    /// Takes a code of a person who is in. Behind a door of its own: whoever has no session cannot
    /// keep somebody waiting who has one.
    fn use_code(
        &self,
        hands: &Hands<'_>,
        id: DocumentId,
        code: &str,
    ) -> std::result::Result<(), Refused> {
        let human = self.view().human(id).cloned().ok_or(Refused::SessionEnded)?;
        let secret = human.totp.as_ref().map(|factor| &factor.secret);
        let step = secret.and_then(|secret| secret.check(code, hands.wall()));
        let (door, mut throttle) = (Door::Inside(id), lock(&self.throttle));
        throttle.knock(door, hands.now)?;
        if step.is_some_and(|step| throttle.take(id, step)) {
            throttle.right(door);
            return Ok(());
        }
        throttle.wrong(door);
        Err(Refused::Unauthenticated)
    }

    /// Sessions that are open, those among them that are over and not cleared yet too.
    pub fn session_count(&self) -> usize {
        lock(&self.sessions).len()
    }

    /// Ends the session of a cookie.
    ///
    /// # Errors
    /// Those of the vault.
    pub fn logout(&self, system: &Vault, cookie: &str) -> Result<()> {
        let closed = lock(&self.sessions).close(cookie);
        if let Some(session) = closed {
            let act = Act::by_human(Deed::Logout, session.human).on(&session.tenant);
            audit::record(system, &act)?;
        }
        Ok(())
    }

    /// Who is in a session, by what is in force now.
    pub(crate) fn principal(
        &self,
        session: &Session,
        now: UtcNanos,
    ) -> std::result::Result<Principal, Refused> {
        let view = self.view();
        // Of other factors than those in force: a login that a reset overtook.
        let in_force = |human: &&Arc<Human>| {
            let confirmed = human.totp.as_ref().map(|factor| factor.confirmed_at);
            human.is_active() && confirmed.is_some_and(|at| at <= session.opened)
        };
        let human = view.human(session.human).filter(in_force).ok_or(Refused::SessionEnded)?;
        let grants = || human.on(&session.tenant, now);
        if session.break_glass.is_some() && !grants().any(Grant::breaks_glass) {
            return Err(Refused::SessionEnded);
        }
        let held = grants().map(|g| Held { role: g.role, sources: g.sources.clone() });
        Ok(Principal {
            who: Who::Human(session.human),
            name: human.login.clone(),
            tenant: session.tenant.clone(),
            held: held.collect(),
            stepped_up: Some(session.stepped_up),
            break_glass: session.break_glass,
        })
    }

    /// Who a token is (`Authorization: Bearer`).
    ///
    /// # Errors
    /// `Unauthenticated`; for the right text also `TokenRevoked` and `TokenExpired`.
    pub fn authenticate_token(
        &self,
        text: &str,
        now: UtcNanos,
    ) -> std::result::Result<Principal, Refused> {
        let parsed = Parsed::parse(text)?;
        let view = self.view();
        let id = view.shorts.get(&parsed.id).copied();
        let found = id.and_then(|id| Some((id, view.tokens.get(&id)?)));
        let (id, token) = found.ok_or(Refused::Unauthenticated)?;
        let is = self.env == parsed.env && self.is_token(parsed.message(), &token.doc, Kind::Api);
        match is {
            true => let_in(&view, id, &token.doc, token.gone, now),
            false => Err(Refused::Unauthenticated),
        }
    }

    /// Who a GUID is (`Authorization: Splunk`).
    ///
    /// # Errors
    /// As `authenticate_token`.
    pub fn authenticate_hec(
        &self,
        guid: &str,
        now: UtcNanos,
    ) -> std::result::Result<Principal, Refused> {
        self.by_mac(&parse_guid(guid)?, Kind::Hec, now)
    }

    /// Who the name of a certificate under a tenant's authority is.
    ///
    /// # Errors
    /// As `authenticate_token`.
    pub fn authenticate_certificate(
        &self,
        tenant: &str,
        name: &str,
        now: UtcNanos,
    ) -> std::result::Result<Principal, Refused> {
        self.by_mac(&certified(tenant, name), Kind::Certificate, now)
    }

    fn by_mac(
        &self,
        message: &Message<'_>,
        kind: Kind,
        now: UtcNanos,
    ) -> std::result::Result<Principal, Refused> {
        let view = self.view();
        // Looked up by a MAC under a secret key: how long it takes says nothing about the GUID.
        let id = view.guids.get(&self.keeper.keep(message)).copied();
        let found = id.and_then(|id| Some((id, view.tokens.get(&id)?)));
        let (id, token) = found.ok_or(Refused::Unauthenticated)?;
        match self.is_token(message, &token.doc, kind) {
            true => let_in(&view, id, &token.doc, token.gone, now),
            false => Err(Refused::Unauthenticated),
        }
    }

    fn is_token(&self, message: &Message<'_>, token: &Token, kind: Kind) -> bool {
        self.keeper.is(message, &token.hash) && token.kind == kind
    }

    /// Writes down the logins refused since the last time: an entry for each person, and one for
    /// all logins that nobody has. For once a minute, and at the end.
    ///
    /// # Errors
    /// Those of the vault; what was not written is written by the next call.
    pub fn record_refusals(&self, system: &Vault) -> Result<()> {
        let mut refusals = lock(&self.throttle).refusals();
        let written = write_down(system, &mut refusals);
        if written.is_err() {
            lock(&self.throttle).restore(refusals);
        }
        written
    }
}

/// Writes refusals down; what is left of them was not written.
fn write_down(system: &Vault, refusals: &mut Refusals) -> Result<()> {
    while let Some((human, count)) = refusals.known.first_key_value() {
        audit::record(system, &Act::about(Deed::LoginRefused, *human).count(*count))?;
        refusals.known.pop_first();
    }
    if refusals.strangers > 0 {
        let act = Act::by_service(Deed::LoginRefused).count(refusals.strangers);
        audit::record(system, &act)?;
        refusals.strangers = 0;
    }
    Ok(())
}

/// The tenant of a new session.
fn tenant_of(
    human: &Arc<Human>,
    wanted: Option<&str>,
    now: UtcNanos,
) -> std::result::Result<String, Refused> {
    let tenant = match wanted {
        Some(tenant) => human.on(tenant, now).next().map(|_| tenant),
        None => human.home(now),
    };
    tenant.map(str::to_owned).ok_or(Refused::Unknown { code: "TENANT_UNKNOWN" })
}

/// The principal of a right token.
fn let_in(
    view: &View,
    id: DocumentId,
    token: &Token,
    revoked: bool,
    now: UtcNanos,
) -> std::result::Result<Principal, Refused> {
    if revoked {
        return Err(Refused::TokenRevoked);
    }
    if token.is_over(now) {
        return Err(Refused::TokenExpired);
    }
    let held = token.roles.iter().filter(|role| role.fits_machines());
    let held = held.filter_map(|role| {
        let whole = Held { role: *role, sources: token.sources.clone() };
        if role.is_weighty() { lent(view, token, whole, now) } else { Some(whole) }
    });
    Ok(Principal {
        who: Who::Token(id),
        name: token.name.clone(),
        tenant: token.tenant.clone(),
        held: held.collect(),
        stepped_up: None,
        break_glass: None,
    })
}

/// What is left of a weighty role of a token. Such a role is lent: it goes when the person who lent
/// it loses it, and it never reaches further than that person's own.
fn lent(view: &View, token: &Token, whole: Held, now: UtcNanos) -> Option<Held> {
    let maker = view.human(token.made_by).filter(|human| human.is_active())?;
    let mut own = maker.on(&token.tenant, now).filter(|grant| grant.role == whole.role);
    let Some(reach) = &own.next()?.sources else { return Some(whole) };
    let sources = match whole.sources {
        None => reach.clone(),
        Some(named) => named.into_iter().filter(|source| reach.contains(source)).collect(),
    };
    (!sources.is_empty()).then_some(Held { role: whole.role, sources: Some(sources) })
}
