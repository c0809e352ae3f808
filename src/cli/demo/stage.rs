//! Where the scenes play: the clock of the day, sessions, and the moments collected so far.
//! It decides when and from where; `scenes` and `story` decide what happens.

use crate::base::unit::NANOS_PER_SECOND;
use crate::cli::demo::cast::{Cast, Person, Role};
use crate::cli::demo::prng::Dice;
use crate::cli::demo::shape::{About, Actor, Canonical, Known, Origin, Performance};

const HOUR: u64 = 3_600 * NANOS_PER_SECOND;
/// Last instant a moment may have: the day keeps to itself.
const LAST: u64 = 24 * HOUR - 1_000_000;
/// When patients and customers are awake: relative weight of each hour, UTC.
const PRIVATE_HOURS: [u64; 24] =
    [2, 1, 1, 1, 1, 2, 4, 7, 8, 7, 6, 6, 8, 7, 6, 6, 7, 9, 12, 14, 14, 11, 7, 4];
/// When offices work, with a dip at noon.
const OFFICE_HOURS: [u64; 24] =
    [0, 0, 1, 0, 0, 0, 1, 6, 12, 14, 13, 11, 5, 9, 12, 12, 9, 5, 2, 1, 1, 0, 0, 0];

/// An event and when it happens.
pub struct Moment {
    /// Nanoseconds since the day began, whole milliseconds.
    pub at: u64,
    /// Name of the source.
    pub source: &'static str,
    /// What happened; id, time and sequence are still empty.
    pub event: Canonical,
}

/// One person at one place for a while.
pub struct Visit {
    source: &'static str,
    actor: usize,
    at: u64,
    session_id: String,
    ip: String,
    user_agent: &'static str,
    host: Option<String>,
}

impl Visit {
    /// The same visit from another address and program: an intruder, or a changed network.
    #[must_use]
    pub fn from(mut self, ip: &str, user_agent: &'static str) -> Self {
        self.ip = ip.to_owned();
        self.user_agent = user_agent;
        self.host = None;
        self
    }

    /// The same visit seen by another source.
    #[must_use]
    pub fn at_source(mut self, source: &'static str) -> Self {
        self.source = source;
        self
    }
}

/// The day while it is being written.
pub struct Stage<'a> {
    /// Everybody.
    pub cast: &'a Cast,
    /// What chance decides.
    pub dice: Dice,
    moments: Vec<Moment>,
    limit: usize,
}

impl<'a> Stage<'a> {
    /// An empty day for exactly `limit` events.
    pub fn new(cast: &'a Cast, dice: Dice, limit: usize) -> Self {
        Stage { cast, dice, moments: Vec::with_capacity(limit), limit }
    }

    /// True once the day has all its events; further ones are dropped.
    pub fn is_full(&self) -> bool {
        self.moments.len() >= self.limit
    }

    /// The moments in order of time; those of one instant in order of writing.
    pub fn finish(mut self) -> Vec<Moment> {
        self.moments.sort_by_key(|moment| moment.at);
        self.moments
    }

    /// Somebody with this role.
    pub fn somebody(&mut self, role: Role) -> usize {
        let people = self.cast.of(role);
        self.dice.choose(&people).copied().unwrap_or_default()
    }

    /// A patient on the ward of this member of staff, or any patient if it has none.
    pub fn patient_of(&mut self, staff: usize) -> usize {
        let ward = self.cast.person(staff).map_or("", |p| p.unit);
        let near: Vec<usize> = self
            .cast
            .people
            .iter()
            .filter(|p| p.role == Role::Patient && p.unit == ward)
            .map(|p| p.number)
            .collect();
        match self.dice.choose(&near) {
            Some(patient) => *patient,
            None => self.somebody(Role::Patient),
        }
    }

    /// Begins a visit at a time that suits the person's working day.
    pub fn visit(&mut self, source: &'static str, actor: usize) -> Visit {
        let at = self.hour_of(actor) * HOUR + self.dice.below(HOUR);
        self.visit_at(source, actor, at)
    }

    /// Begins a visit at a given hour and minute.
    pub fn visit_clock(
        &mut self,
        source: &'static str,
        actor: usize,
        hour: u64,
        minute: u64,
    ) -> Visit {
        let jitter = self.dice.below(50 * NANOS_PER_SECOND);
        self.visit_at(source, actor, hour * HOUR + minute * 60 * NANOS_PER_SECOND + jitter)
    }

    fn visit_at(&mut self, source: &'static str, actor: usize, at: u64) -> Visit {
        let person = self.cast.person(actor);
        let inside = person.is_some_and(Person::is_staff);
        Visit {
            source,
            actor,
            at,
            session_id: self.dice.hex(24),
            ip: person.map(|p| p.ip.clone()).unwrap_or_default(),
            user_agent: person.map_or("", |p| p.user_agent),
            host: inside.then(|| format!("ws-{}-{:02}", person.map_or("", |p| p.unit), actor % 40)),
        }
    }

    fn hour_of(&mut self, actor: usize) -> u64 {
        let Some(person) = self.cast.person(actor) else { return 12 };
        match person.role {
            Role::Nurse => (person.shift + self.dice.below(8)) % 24,
            // One doctor in five is on call outside office hours.
            Role::Doctor if self.dice.chance(20) => (18 + self.dice.below(13)) % 24,
            Role::Patient | Role::Customer => self.dice.weighted(&PRIVATE_HOURS) as u64,
            _ => self.dice.weighted(&OFFICE_HOURS) as u64,
        }
    }

    /// Adds an event to the visit, some seconds after the one before.
    pub fn act(&mut self, visit: &mut Visit, event: Canonical) {
        self.act_after(visit, 2, 90, event);
    }

    /// Adds an event `low` to `high` seconds after the one before.
    pub fn act_after(&mut self, visit: &mut Visit, low: u64, high: u64, mut event: Canonical) {
        visit.at = (visit.at + self.dice.between(low * 1_000, high * 1_000) * 1_000_000).min(LAST);
        if self.is_full() {
            return;
        }
        event.actor = Some(self.actor(visit));
        event.origin = Some(Origin {
            ip: visit.ip.clone(),
            host: visit.host.clone(),
            // A ward terminal is named by its host; the program is always the same.
            user_agent: visit.host.is_none().then_some(visit.user_agent),
        });
        event.session_id = Some(visit.session_id.clone());
        event.request_id = self.dice.chance(35).then(|| self.dice.hex(16));
        event.trace_id = self.dice.chance(20).then(|| self.dice.hex(32));
        event.performance =
            self.dice.chance(30).then(|| Performance { duration_ms: self.dice.between(2, 900) });
        let at = visit.at / 1_000_000 * 1_000_000;
        self.moments.push(Moment { at, source: visit.source, event });
    }

    /// How the source knows the actor; the mapping makes a person of it by itself.
    fn actor(&mut self, visit: &Visit) -> Actor {
        let Some(person) = self.cast.person(visit.actor) else {
            return Actor { id: "system".to_owned(), kind: "service", name: None, email: None };
        };
        let with_email = visit.source == "idp";
        Actor {
            id: person.user_id.clone(),
            kind: "user",
            name: (person.is_staff() || visit.source == "idp").then(|| person.name.clone()),
            email: with_email.then(|| person.email_typed(&mut self.dice)),
        }
    }

    /// A patient as the hospital record system knows them: number, now and then the telephone.
    pub fn patient(&mut self, number: usize, with_phone: bool) -> About {
        let mut identifiers = Vec::new();
        if let Some(person) = self.cast.person(number) {
            if let Some(patient_number) = &person.patient_number {
                identifiers.push(Known { kind: "patient_id", value: patient_number.clone() });
            }
            if with_phone {
                let value = person.phone_typed(&mut self.dice);
                identifiers.push(Known { kind: "phone", value });
            }
        }
        About { role: "patient", identifiers }
    }

    /// A contact as the CRM knows them: e-mail, now and then the telephone.
    pub fn contact(&mut self, number: usize, with_phone: bool) -> About {
        let mut identifiers = Vec::new();
        if let Some(person) = self.cast.person(number) {
            let value = person.email_typed(&mut self.dice);
            identifiers.push(Known { kind: "email", value });
            if with_phone {
                let value = person.phone_typed(&mut self.dice);
                identifiers.push(Known { kind: "phone", value });
            }
        }
        About { role: "contact", identifiers }
    }

    /// An account as the identity provider knows it: user id and e-mail.
    pub fn account(&mut self, number: usize) -> About {
        let mut identifiers = Vec::new();
        if let Some(person) = self.cast.person(number) {
            identifiers.push(Known { kind: "user_id", value: person.user_id.clone() });
            let value = person.email_typed(&mut self.dice);
            identifiers.push(Known { kind: "email", value });
        }
        About { role: "account", identifiers }
    }

    /// The patient number, for targets.
    pub fn chart(&self, number: usize) -> String {
        self.cast
            .person(number)
            .and_then(|p| p.patient_number.clone())
            .unwrap_or_else(|| format!("P{number:06}"))
    }
}
