//! Self-audit: what people and tokens did to the service, as ordinary events of the system tenant,
//! from the source `chancery`. A person is an identifier of the kind `account`, the random name of
//! the person's document, under whose keys the fields are sealed; a token is a machine. It never
//! writes what somebody typed who is not known: no login, no password, no code.

use crate::base::event::Draft;
use crate::base::id::DocumentId;
use crate::server::identity::principal::Who;
use crate::vault::Vault;
use crate::vault::error::{Error, Result};
use serde_json::{Map, Value, json};

/// Name of the source.
pub const SOURCE: &str = "chancery";

/// What was done: a closed list. Category, verb and outcome are words of the vocabulary and stand
/// in clear.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Deed {
    /// The service began.
    Started,
    /// The service ended in an orderly way.
    Stopped,
    /// Somebody logged in.
    Login,
    /// Logins were refused.
    LoginRefused,
    /// A fresh one-time code was given.
    StepUp,
    /// A session was ended by its owner.
    Logout,
    /// Somebody was invited.
    Invited,
    /// Somebody enrolled.
    Enrolled,
    /// A person was made.
    HumanCreated,
    /// A person may not come in any more.
    HumanDisabled,
    /// A person's factors were taken away.
    FactorReset,
    /// A role was given.
    RoleGranted,
    /// A role was taken back.
    RoleRevoked,
    /// A token was issued.
    TokenIssued,
    /// A token was revoked.
    TokenRevoked,
    /// A break-glass session began.
    GlassBroken,
    /// Somebody looked at a break-glass session.
    GlassReviewed,
    /// The founding ended.
    Founded,
    /// Other certificates are used.
    CertificateReplaced,
    /// Steps on an order were refused, and the order does not hold them.
    OrderRefused,
}

impl Deed {
    /// All of them.
    pub const ALL: [Deed; 20] = [
        Deed::Started,
        Deed::Stopped,
        Deed::Login,
        Deed::LoginRefused,
        Deed::StepUp,
        Deed::Logout,
        Deed::Invited,
        Deed::Enrolled,
        Deed::HumanCreated,
        Deed::HumanDisabled,
        Deed::FactorReset,
        Deed::RoleGranted,
        Deed::RoleRevoked,
        Deed::TokenIssued,
        Deed::TokenRevoked,
        Deed::GlassBroken,
        Deed::GlassReviewed,
        Deed::Founded,
        Deed::CertificateReplaced,
        Deed::OrderRefused,
    ];

    /// Action, category, verb, outcome, severity.
    pub fn words(self) -> (&'static str, &'static str, &'static str, &'static str, u8) {
        match self {
            Deed::Started => ("service.start", "system", "start", "success", 1),
            Deed::Stopped => ("service.stop", "system", "stop", "success", 1),
            Deed::Login => ("session.login", "authentication", "login", "success", 1),
            Deed::LoginRefused => ("session.refuse", "authentication", "login", "denied", 4),
            Deed::StepUp => ("session.step-up", "authentication", "verify", "success", 1),
            Deed::Logout => ("session.logout", "authentication", "logout", "success", 1),
            Deed::Invited => ("human.invite", "identity", "update", "success", 3),
            Deed::Enrolled => ("human.enrol", "identity", "enable", "success", 3),
            Deed::HumanCreated => ("human.create", "identity", "create", "success", 3),
            Deed::HumanDisabled => ("human.disable", "identity", "disable", "success", 3),
            Deed::FactorReset => ("human.reset", "identity", "update", "success", 5),
            Deed::RoleGranted => ("role.grant", "authorization", "grant", "success", 5),
            Deed::RoleRevoked => ("role.revoke", "authorization", "revoke", "success", 3),
            Deed::TokenIssued => ("token.issue", "key", "create", "success", 4),
            Deed::TokenRevoked => ("token.revoke", "key", "revoke", "success", 3),
            Deed::GlassBroken => ("glass.break", "authorization", "alert", "success", 9),
            Deed::GlassReviewed => ("glass.review", "authorization", "approve", "success", 3),
            Deed::CertificateReplaced => ("tls.replace", "configuration", "update", "success", 3),
            Deed::Founded => ("founding.end", "configuration", "update", "success", 3),
            Deed::OrderRefused => ("order.refuse", "authorization", "approve", "denied", 4),
        }
    }
}

/// One act, before it is written.
#[derive(Clone)]
pub struct Act<'a> {
    deed: Deed,
    actor: Option<Who>,
    target: Option<Who>,
    tenant: Option<&'a str>,
    reason: Option<&'a str>,
    count: Option<u64>,
    step: Option<(Option<DocumentId>, &'a str, &'a str)>,
}

impl std::fmt::Debug for Act<'_> {
    /// No reason.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Act({:?} by {:?} on {:?})", self.deed, self.actor, self.target)
    }
}

impl<'a> Act<'a> {
    /// By a person or a token.
    pub fn new(deed: Deed, by: Who) -> Self {
        Act { actor: Some(by), ..Act::by_service(deed) }
    }

    /// By a person.
    pub fn by_human(deed: Deed, human: DocumentId) -> Self {
        Act::new(deed, Who::Human(human))
    }

    /// By the service itself, or by nobody known.
    pub fn by_service(deed: Deed) -> Self {
        let (actor, target, tenant, reason, count, step) = Default::default();
        Act { deed, actor, target, tenant, reason, count, step }
    }

    /// By nobody known, about a person.
    pub fn about(deed: Deed, human: DocumentId) -> Self {
        Act::by_service(deed).target(human)
    }

    /// About a person.
    #[must_use]
    pub fn target(mut self, human: DocumentId) -> Self {
        self.target = Some(Who::Human(human));
        self
    }

    /// About a token.
    #[must_use]
    pub fn token(mut self, token: DocumentId) -> Self {
        self.target = Some(Who::Token(token));
        self
    }

    /// On a tenant.
    #[must_use]
    pub fn on(mut self, tenant: &'a str) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// With a reason, in a person's words.
    #[must_use]
    pub fn reason(mut self, reason: &'a str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// So many times.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// A step on an order that was tried, and the code of its refusal.
    #[must_use]
    pub fn step(mut self, order: Option<DocumentId>, tried: &'a str, code: &'a str) -> Self {
        self.step = Some((order, tried, code));
        self
    }

    /// As a canonical event.
    fn event(&self, time: &str) -> Value {
        let (action, category, verb, outcome, severity) = self.deed.words();
        let mut event = Map::new();
        let mut set = |name: &str, value: Value| event.insert(name.to_owned(), value);
        set("time", json!(time));
        set("action", json!(action));
        set("category", json!(category));
        set("verb", json!(verb));
        set("outcome", json!(outcome));
        set("severity", json!(severity));
        let mut subjects = Vec::new();
        for (role, who) in [("actor", self.actor), ("target", self.target)] {
            if let Some(Who::Human(id)) = who {
                let identifier = json!({"kind": "account", "value": id.to_string()});
                let subject = json!({"role": role, "identifiers": [identifier]});
                // Somebody who acts on himself is one person.
                if !(role == "target" && self.actor == who) {
                    subjects.push(subject);
                }
            }
        }
        match self.actor {
            // Without an id: the person is the subject above, and no second identifier of his.
            Some(Who::Human(_)) => set("actor", json!({"type": "user"})),
            Some(Who::Token(id)) => set("actor", json!({"type": "service", "id": id.to_string()})),
            None => set("actor", json!({"type": "system"})),
        };
        if !subjects.is_empty() {
            set("subjects", Value::Array(subjects));
        }
        let mut data = Map::new();
        if let Some(Who::Token(id)) = self.target {
            data.insert("token".to_owned(), json!(id.to_string()));
        }
        if let Some(tenant) = self.tenant {
            data.insert("tenant".to_owned(), json!(tenant));
        }
        if let Some(count) = self.count {
            data.insert("count".to_owned(), json!(count));
        }
        if let Some((order, tried, code)) = self.step {
            data.extend(order.map(|order| ("order".to_owned(), json!(order.to_string()))));
            data.insert("tried".to_owned(), json!(tried));
            data.insert("code".to_owned(), json!(code));
        }
        if !data.is_empty() {
            set("data", Value::Object(data));
        }
        if let Some(reason) = self.reason {
            set("reason", json!(reason));
        }
        Value::Object(event)
    }
}

/// Writes an act down; it is durable when this returns.
///
/// # Errors
/// Those of the vault.
pub fn record(system: &Vault, act: &Act<'_>) -> Result<()> {
    let event = act.event(&system.clock().now().to_string());
    let json = serde_json::to_vec(&event);
    let json = json.map_err(|_| Error::evidence("MALFORMED", "an act without JSON"))?;
    system.append_own(&[Draft { source: SOURCE, json: &json }]).map(drop)
}
