//! A system vault on the simulated disk with its directory, a clock set by hand, and people who
//! have authenticator programs.

use crate::support::sim::SimDisk;
use crate::support::world::{HandClock, SeedEntropy, config, world};
use chancery::base::id::DocumentId;
use chancery::base::unit::{EntryIndex, UtcNanos};
use chancery::base::world::Clock;
use chancery::policy::access::Role;
use chancery::server::identity::Hands;
use chancery::server::identity::directory::{Directory, Login, NewHuman, Opened};
use chancery::server::identity::enrolment::Enrol;
use chancery::server::identity::human::Grant;
use chancery::server::identity::principal::{Principal, Who};
use chancery::server::identity::refused::Result;
use chancery::server::identity::token::Env;
use chancery::server::identity::totp::{SharedSecret, Step};
use chancery::vault::Vault;
use chancery::vault::read::Reading;
use std::path::Path;
use std::sync::Arc;

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const HOME: &str = "/sim";

/// Somebody with a password and an authenticator program.
pub(crate) struct Someone {
    pub(crate) id: DocumentId,
    pub(crate) login: &'static str,
    pub(crate) password: String,
    pub(crate) secret: SharedSecret,
}

impl Someone {
    pub(crate) fn who(&self) -> Who {
        Who::Human(self.id)
    }
}

pub(crate) struct Stage {
    pub(crate) disk: SimDisk,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) entropy: Arc<SeedEntropy>,
    pub(crate) cooling_off: u64,
    // Before the vault, whose threads end with it.
    pub(crate) directory: Directory,
    pub(crate) vault: Vault,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let disk = SimDisk::new();
        let clock = HandClock::at("2026-11-21T08:00:00Z");
        let shared = world(Arc::new(disk.clone()), &clock, 1);
        let vault = Vault::init(shared, &config(Path::new(HOME)), "system.example").unwrap();
        Stage::with(disk, clock, vault, 2)
    }

    /// On a disk that has a vault, which opens.
    pub(crate) fn on(disk: SimDisk, clock: Arc<HandClock>, seed: u64) -> Stage {
        let shared = world(Arc::new(disk.clone()), &clock, seed);
        let vault = Vault::open(shared, &config(Path::new(HOME))).unwrap();
        Stage::with(disk, clock, vault, seed + 1)
    }

    fn with(disk: SimDisk, clock: Arc<HandClock>, vault: Vault, seed: u64) -> Stage {
        let entropy = SeedEntropy::new(seed);
        let cooling_off = HOUR;
        let now = vault.clock().now();
        let hands = Hands { system: &vault, entropy: &*entropy, now, cooling_off };
        let directory = Directory::open(&hands, Env::Live).unwrap();
        Stage { disk, clock, entropy, cooling_off, directory, vault }
    }

    /// The service ends and begins again.
    pub(crate) fn restart(self, seed: u64) -> Stage {
        let Stage { disk, clock, directory, vault, .. } = self;
        drop((directory, vault));
        Stage::on(disk, clock, seed)
    }

    pub(crate) fn now(&self) -> UtcNanos {
        self.vault.clock().now()
    }

    pub(crate) fn hands(&self) -> Hands<'_> {
        let (now, cooling_off) = (self.now(), self.cooling_off);
        Hands { system: &self.vault, entropy: &*self.entropy, now, cooling_off }
    }

    /// The next code of an authenticator program that was not used.
    pub(crate) fn code(&self, secret: &SharedSecret) -> String {
        self.clock.pass(30 * SECOND);
        secret.code(Step::at(self.clock.wall())).unwrap()
    }

    /// Enrols with an invitation.
    pub(crate) fn enrol(&self, token: &str, login: &'static str, first: bool) -> Someone {
        let password = format!("{login} sails a paper boat");
        let named = first.then_some(login);
        let enrol = Enrol { token, login: named, name: None, password: &password };
        let secrets = self.directory.enrol(&self.hands(), &enrol).unwrap();
        let secret = SharedSecret::new(unbase32(&secrets.secret));
        let code = self.code(&secret);
        let id = self.directory.confirm(&self.hands(), token, &code).unwrap();
        Someone { id, login, password, secret }
    }

    /// The first person: admin, privacy officer, approver.
    pub(crate) fn first(&self) -> Someone {
        let (token, _) = self.directory.bootstrap(&self.hands()).unwrap().unwrap();
        self.enrol(token.expose(), "dana", true)
    }

    /// A further person with these grants.
    pub(crate) fn person(&self, by: &Someone, login: &'static str, grants: &[Grant]) -> Someone {
        let id = self.create(by, login, grants).unwrap();
        let (token, _) = self.directory.invite(&self.hands(), by.who(), id).unwrap();
        self.enrol(token.expose(), login, false)
    }

    pub(crate) fn create(&self, by: &Someone, login: &str, grants: &[Grant]) -> Result<DocumentId> {
        let id = DocumentId(chancery::base::world::random(&*self.entropy));
        let (login, name, grants) = (login.to_owned(), format!("{login} B."), grants.to_vec());
        let new = NewHuman { login, name, grants };
        self.directory.create_human(&self.hands(), by.who(), id, &new).map(|_| id)
    }

    pub(crate) fn grant(&self, role: Role) -> Grant {
        Grant::of("main", role, self.now())
    }

    pub(crate) fn try_login(&self, login: &str, password: &str, code: &str) -> Result<Opened> {
        let login = Login { login, password, code, tenant: None };
        self.directory.login(&self.hands(), &login)
    }

    /// Logs in; returns the cookie.
    pub(crate) fn login(&self, who: &Someone) -> String {
        let code = self.code(&who.secret);
        let opened = self.try_login(who.login, &who.password, &code).unwrap();
        opened.cookie.expose().to_owned()
    }

    pub(crate) fn principal(&self, cookie: &str) -> Principal {
        self.directory.authenticate_session(cookie, self.now()).unwrap()
    }

    /// Every record of the system vault as text: code and what opens.
    pub(crate) fn records(&self) -> Vec<String> {
        let mut out = Vec::new();
        let reading = Reading::OPEN;
        let all = EntryIndex(0)..EntryIndex(self.vault.size().0);
        let mut each = |record: chancery::base::record::Record| {
            let fields = record.fields.iter().map(|field| {
                let value = field.value.as_deref().map(String::from_utf8_lossy);
                format!("{}={}", field.name, value.unwrap_or_default())
            });
            let text: Vec<String> = fields.collect();
            out.push(format!("{} {}", record.entry.head.code, text.join(";")));
            Ok(())
        };
        self.vault.for_each_record(all, reading, &mut each).unwrap();
        out
    }

    /// How many records say that this was done.
    pub(crate) fn count(&self, action: &str) -> usize {
        let says = format!("action=\"{action}\"");
        self.records().iter().filter(|record| record.contains(&says)).count()
    }
}

pub(crate) fn code<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    result.unwrap_err().code()
}

/// RFC 4648, by the table: what an authenticator program does with what is typed into it.
fn unbase32(text: &str) -> [u8; 20] {
    let bits: String = text
        .bytes()
        .map(|letter| match letter {
            b'A'..=b'Z' => letter - b'A',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => panic!("no letter of base 32: {letter}"),
        })
        .map(|value| format!("{value:05b}"))
        .collect();
    assert_eq!(bits.len(), 160);
    let byte = |at: usize| u8::from_str_radix(&bits[at * 8..at * 8 + 8], 2).unwrap();
    std::array::from_fn(byte)
}
