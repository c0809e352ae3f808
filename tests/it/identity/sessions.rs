//! Sessions against a naive model: a list of all that were ever opened, with every rule written as
//! it is said. Random histories; the seed is printed.

use crate::support::sim::Rng;
use crate::support::world::SeedEntropy;
use chancery::base::id::DocumentId;
use chancery::base::unit::UtcNanos;
use chancery::server::identity::session::{
    IDLE_NANOS, SESSIONS_MAX, SESSIONS_OF_ONE_MAX, Session, Sessions, WHOLE_NANOS,
};

const MINUTE: u64 = 60_000_000_000;

fn session(human: u8, now: UtcNanos, glass: Option<UtcNanos>) -> Session {
    Session {
        human: DocumentId([human; 16]),
        tenant: "main".to_owned(),
        opened: now,
        seen: now,
        stepped_up: now,
        break_glass: glass,
    }
}

struct Known {
    cookie: String,
    session: Session,
    alive: bool,
}

/// The rules as the page says them.
fn over(session: &Session, now: UtcNanos) -> bool {
    let idle = now.0 - session.seen.0 >= 15 * MINUTE;
    let whole = now.0 - session.opened.0 >= 8 * 60 * MINUTE;
    idle || whole || session.break_glass.is_some_and(|until| now >= until)
}

#[derive(Default)]
struct Model {
    all: Vec<Known>,
    pushed_out: usize,
}

impl Model {
    fn alive(&self, human: Option<DocumentId>) -> Vec<usize> {
        let of = |known: &Known| human.is_none_or(|human| known.session.human == human);
        (0..self.all.len()).filter(|at| self.all[*at].alive && of(&self.all[*at])).collect()
    }

    fn opened(&mut self, cookie: &str, session: Session) {
        let now = session.seen;
        for known in &mut self.all {
            known.alive &= !over(&known.session, now);
        }
        for (human, most) in [(Some(session.human), 16), (None, SESSIONS_MAX)] {
            let alive = self.alive(human);
            if alive.len() >= most {
                let seen = |at: &usize| self.all[*at].session.seen;
                let idlest = alive.iter().copied().min_by_key(seen).unwrap();
                self.all[idlest].alive = false;
                self.pushed_out += 1;
            }
        }
        self.all.push(Known { cookie: cookie.to_owned(), session, alive: true });
    }
}

#[test]
fn sessions_are_those_of_the_naive_model() {
    assert_eq!((IDLE_NANOS, WHOLE_NANOS), (15 * MINUTE, 480 * MINUTE));
    assert_eq!((SESSIONS_OF_ONE_MAX, SESSIONS_MAX), (16, 10_000));
    let mut pushed_out = 0;
    for seed in 0..40 {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let entropy = SeedEntropy::new(seed);
        let (mut sessions, mut model) = (Sessions::default(), Model::default());
        let mut now = UtcNanos(1_800_000_000_000_000_000);
        for _ in 0..400 {
            // Each instant is its own, so that "idle longest" is one session.
            let most = if rng.below(8) == 0 { 6 * MINUTE } else { MINUTE / 10 };
            now.0 += 1 + rng.next() % most;
            let human = 1 + u8::try_from(rng.below(3)).unwrap();
            match rng.below(40) {
                0..=24 => {
                    let glass = (rng.below(5) == 0).then_some(UtcNanos(now.0 + 60 * MINUTE));
                    let session = session(human, now, glass);
                    let cookie = sessions.open(session.clone(), &*entropy);
                    model.opened(cookie.expose(), session);
                }
                25..=34 => {
                    let Some(at) = pick(&mut rng, model.all.len()) else { continue };
                    let known = &mut model.all[at];
                    known.alive &= !over(&known.session, now);
                    let found = sessions.find(&known.cookie, now);
                    assert_eq!(found.is_ok(), known.alive);
                    if let Ok(found) = found {
                        known.session.seen = now;
                        assert_eq!(*found, known.session);
                    }
                }
                35..=38 => {
                    let Some(at) = pick(&mut rng, model.all.len()) else { continue };
                    let known = &mut model.all[at];
                    known.alive &= !over(&known.session, now);
                    let renamed = sessions.rename(&known.cookie, now, &*entropy);
                    assert_eq!(renamed.is_ok(), known.alive);
                    if let Ok(cookie) = renamed {
                        assert!(sessions.find(&known.cookie, now).is_err(), "the old name is void");
                        known.cookie = cookie.expose().to_owned();
                        known.session.seen = now;
                    }
                }
                _ => {
                    sessions.close_all(DocumentId([human; 16]));
                    for known in &mut model.all {
                        known.alive &= known.session.human != DocumentId([human; 16]);
                    }
                }
            }
        }
        pushed_out += model.pushed_out;
    }
    assert!(pushed_out > 100, "the limit of one person was met {pushed_out} times");
}

fn pick(rng: &mut Rng, count: usize) -> Option<usize> {
    (count > 0).then(|| rng.below(count))
}

#[test]
fn there_are_never_more_sessions_than_the_limits() {
    let entropy = SeedEntropy::new(1);
    let mut sessions = Sessions::default();
    let mut now = UtcNanos(1_800_000_000_000_000_000);
    let mut first = None;
    for n in 0..SESSIONS_MAX as u64 + 5 {
        now.0 += 1;
        let human = DocumentId(u128::from(n).to_be_bytes());
        let cookie = sessions.open(Session { human, ..session(0, now, None) }, &*entropy);
        first.get_or_insert(cookie);
    }
    assert_eq!(sessions.len(), SESSIONS_MAX);
    assert!(sessions.find(first.unwrap().expose(), now).is_err(), "the one idle longest left");
    for _ in 0..40 {
        now.0 += 1;
        sessions.open(session(9, now, None), &*entropy);
    }
    assert_eq!(sessions.close_all(DocumentId([9; 16])), SESSIONS_OF_ONE_MAX);
}

#[test]
fn no_text_is_a_cookie() {
    let mut sessions = Sessions::default();
    let now = UtcNanos(1_800_000_000_000_000_000);
    let cookie = sessions.open(session(1, now, None), &*SeedEntropy::new(1));
    assert_eq!(format!("{cookie:?}"), "Cookie(..)");
    assert!(!format!("{sessions:?}").contains(cookie.expose()));
    for wrong in ["", "0", &"0".repeat(64), &format!("{} ", cookie.expose()), "\u{e9}"] {
        assert!(sessions.find(wrong, now).is_err(), "{wrong}");
    }
    assert!(sessions.find(cookie.expose(), now).is_ok());
}
