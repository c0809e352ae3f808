//! The gate before identity: how often one address may fail, how often one caller may ask, and
//! how many refusals there were. Every table in it is bounded, whoever knocks: strangers share
//! slots, and what does not fit is counted in one row. It never stores a name that was tried.

use crate::base::world::{Entropy, random};
use crate::server::listen::network;
use crate::server::problem::Problem;
use axum::http::StatusCode;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

/// Slots of failing addresses. Two addresses that fall into one slot share its quota.
const SLOTS: usize = 4_096;
/// Failures that one slot may have a minute, after a first burst of as many.
const FAILURES_PER_MINUTE: u32 = 30;
/// Attempts of somebody unknown that one slot may make a minute, after a first burst of as many:
/// logins, enrolments. Each may cost a password check, of which there are two places.
const ATTEMPTS_PER_MINUTE: u32 = 30;
/// Rows of refusals kept until they are written down.
const REFUSALS_MAX: usize = 1_024;
/// Requests that manage or read a second, for one caller, after a burst of twice as many.
const REQUESTS_PER_SECOND: u32 = 100;

/// A reason and where from: an IPv4 /24 or an IPv6 /64.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Refusals {
    /// Stable code.
    pub code: &'static str,
    /// The network, or none for the row of what did not fit.
    pub from: Option<IpAddr>,
}

/// The gate of a service.
pub struct Gate {
    salt: u64,
    failures: Vec<DefaultDirectRateLimiter>,
    attempts: Vec<DefaultDirectRateLimiter>,
    callers: Vec<DefaultDirectRateLimiter>,
    refused: Mutex<BTreeMap<Refusals, u64>>,
    clock: DefaultClock,
}

impl Gate {
    /// An open gate; the salt keeps strangers from choosing whom they share a slot with.
    pub fn new(entropy: &dyn Entropy) -> Self {
        let one = NonZeroU32::MIN;
        let failures = NonZeroU32::new(FAILURES_PER_MINUTE).unwrap_or(one);
        let attempts = NonZeroU32::new(ATTEMPTS_PER_MINUTE).unwrap_or(one);
        let requests = NonZeroU32::new(REQUESTS_PER_SECOND).unwrap_or(one);
        let burst = requests.saturating_add(REQUESTS_PER_SECOND);
        let limiters = |quota: Quota| (0..SLOTS).map(|_| RateLimiter::direct(quota)).collect();
        Gate {
            salt: u64::from_be_bytes(random(entropy)),
            failures: limiters(Quota::per_minute(failures)),
            attempts: limiters(Quota::per_minute(attempts)),
            callers: limiters(Quota::per_second(requests).allow_burst(burst)),
            refused: Mutex::default(),
            clock: DefaultClock::default(),
        }
    }

    /// Whether somebody unknown at an address may try. To be asked before anything of the attempt
    /// is read; each is charged, right ones too, and one too many costs no more than this answer.
    ///
    /// # Errors
    /// 429 `TOO_MANY_FAILURES`.
    pub fn may_try(&self, from: IpAddr) -> Result<(), Problem> {
        let slot = mixed(self.salt, &octets(network(from)));
        let taken = self.take(&self.attempts, &slot, "TOO_MANY_FAILURES");
        taken.inspect_err(|problem| self.count(problem.code, from))
    }

    /// Counts a refused token or session, and says what is told: why, or to wait.
    ///
    /// # Errors
    /// 429 `TOO_MANY_FAILURES` once an address failed too often.
    pub fn refused(&self, code: &'static str, from: IpAddr) -> Result<(), Problem> {
        self.count(code, from);
        self.take(&self.failures, &mixed(self.salt, &octets(network(from))), "TOO_MANY_FAILURES")
    }

    /// Whether one caller, known by an id, may go on.
    ///
    /// # Errors
    /// 429 `RATE_LIMITED`.
    pub fn caller(&self, id: &[u8; 16]) -> Result<(), Problem> {
        self.take(&self.callers, &mixed(self.salt, id), "RATE_LIMITED")
    }

    fn take(
        &self,
        slots: &[DefaultDirectRateLimiter],
        slot: &u64,
        code: &'static str,
    ) -> Result<(), Problem> {
        let Some(limiter) = slots.get(*slot as usize % SLOTS) else { return Ok(()) };
        limiter.check().map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now()).as_secs();
            let seconds = u32::try_from(wait + 1).unwrap_or(u32::MAX);
            let detail = "too many requests: wait as Retry-After says";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, code, detail).retry(seconds)
        })
    }

    /// Counts a refusal.
    pub fn count(&self, code: &'static str, from: IpAddr) {
        let mut rows = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        add(&mut rows, Refusals { code, from: Some(coarse(from)) }, 1);
    }

    /// Takes back what `drain` gave and could not be written down.
    pub fn restore(&self, drained: BTreeMap<Refusals, u64>) {
        let mut rows = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        drained.into_iter().for_each(|(row, count)| add(&mut rows, row, count));
    }

    /// The refusals counted since the last call.
    pub fn drain(&self) -> BTreeMap<Refusals, u64> {
        std::mem::take(&mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn add(rows: &mut BTreeMap<Refusals, u64>, mut row: Refusals, count: u64) {
    if rows.len() >= REFUSALS_MAX && !rows.contains_key(&row) {
        // One row more than the limit at most, for each code.
        row.from = None;
    }
    let total = rows.entry(row).or_default();
    *total = total.saturating_add(count);
}

/// A /24 or a /64.
fn coarse(address: IpAddr) -> IpAddr {
    match network(address) {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & !0xff)),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits())),
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// A slot's number: mixed with a secret salt, by a hash that needs to be no stronger.
fn mixed(salt: u64, id: &[u8; 16]) -> u64 {
    id.iter().fold(salt ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        let hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        hash ^ (hash >> 29) ^ salt.rotate_left(17)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Zeros;

    impl Entropy for Zeros {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    #[test]
    fn an_address_that_keeps_failing_is_not_looked_at_for_a_while() {
        let gate = Gate::new(&Zeros);
        let here: IpAddr = "192.0.2.1".parse().unwrap();
        let allowed = (0..1_000).take_while(|_| gate.refused("UNAUTHENTICATED", here).is_ok());
        assert_eq!(allowed.count(), FAILURES_PER_MINUTE as usize);
        let refused = gate.refused("UNAUTHENTICATED", here).unwrap_err();
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert!(refused.retry_after.is_some_and(|s| (1..=60).contains(&s)));
        assert!(gate.refused("UNAUTHENTICATED", "198.51.100.9".parse().unwrap()).is_ok());
        // What is known to be refused does not use up what may be tried, and the other way round.
        let tried = (0..1_000).take_while(|_| gate.may_try(here).is_ok());
        assert_eq!(tried.count(), ATTEMPTS_PER_MINUTE as usize);
        assert_eq!(gate.may_try(here).unwrap_err().code, "TOO_MANY_FAILURES");
        assert!(gate.may_try("198.51.100.9".parse().unwrap()).is_ok());
        let row = Refusals { code: "TOO_MANY_FAILURES", from: "192.0.2.0".parse().ok() };
        assert_eq!(gate.drain().get(&row), Some(&2));
    }

    #[test]
    fn refusals_are_counted_in_a_bounded_table() {
        let gate = Gate::new(&Zeros);
        for n in 0..3_000_u32 {
            gate.count("UNAUTHENTICATED", IpAddr::V4(Ipv4Addr::from_bits(n << 8)));
        }
        gate.count("UNAUTHENTICATED", "0.0.0.77".parse().unwrap());
        let rows = gate.drain();
        assert_eq!(rows.len(), REFUSALS_MAX + 1);
        let first = Refusals { code: "UNAUTHENTICATED", from: "0.0.0.0".parse().ok() };
        assert_eq!(rows.get(&first), Some(&2));
        let rest = Refusals { code: "UNAUTHENTICATED", from: None };
        assert_eq!(rows.get(&rest), Some(&(3_000 - REFUSALS_MAX as u64)));
        assert!(gate.drain().is_empty());
        // What comes back finds its rows, or the one of what does not fit.
        gate.count("UNAUTHENTICATED", "0.0.0.77".parse().unwrap());
        gate.count("UNAUTHENTICATED", "198.51.100.1".parse().unwrap());
        gate.restore(rows.clone());
        let again = gate.drain();
        assert_eq!(again.values().sum::<u64>(), rows.values().sum::<u64>() + 2);
        assert!(again.len() <= REFUSALS_MAX + 1);
        assert_eq!(again.get(&first), Some(&3));
    }
}
