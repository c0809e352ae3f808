//! A clock that lets something else happen when one thread looks at it: a way to stop a thread of
//! the vault at a known place, without a time to wait for. Nothing happens to other threads.

#![allow(dead_code)]

use super::world::HandClock;
use chancery::base::unit::UtcNanos;
use chancery::base::world::Clock;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

/// What comes when one thread has looked at the clock this often.
struct Awaited {
    thread: ThreadId,
    looks: u32,
    then: Box<dyn FnOnce() + Send>,
}

/// A clock set by hand, at whose `n`-th look something else happens first.
pub(crate) struct Interrupted {
    hand: Arc<HandClock>,
    awaited: Mutex<Option<Awaited>>,
}

impl Interrupted {
    pub(crate) fn by(hand: &Arc<HandClock>) -> Arc<Self> {
        Arc::new(Interrupted { hand: hand.clone(), awaited: Mutex::new(None) })
    }

    /// At the `looks`-th look of this thread from now.
    pub(crate) fn at_look(&self, looks: u32, then: impl FnOnce() + Send + 'static) {
        let (thread, then) = (thread::current().id(), Box::new(then));
        *self.awaited.lock().unwrap() = Some(Awaited { thread, looks, then });
    }

    /// Nothing is awaited any more; whether it had come.
    pub(crate) fn forget(&self) -> bool {
        self.awaited.lock().unwrap().take().is_none()
    }

    fn looked(&self) {
        let due = {
            let mut awaited = self.awaited.lock().unwrap();
            match awaited.as_mut() {
                Some(one) if one.thread == thread::current().id() => {
                    one.looks -= 1;
                    if one.looks == 0 { awaited.take() } else { None }
                }
                _ => None,
            }
        };
        due.into_iter().for_each(|due| (due.then)());
    }
}

impl Clock for Interrupted {
    fn wall(&self) -> UtcNanos {
        self.hand.wall()
    }

    fn monotonic(&self) -> u64 {
        self.looked();
        self.hand.monotonic()
    }
}
