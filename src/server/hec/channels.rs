//! Channels and their numbers. A number is given with an answer, an answer is given after its
//! events are durable: so every number that was given is acknowledged from its first moment on, and
//! what must be kept is only how many were given. Bounded: the channel that was quiet longest is
//! forgotten. Of a forgotten channel, and after a restart, no number is acknowledged: its sender
//! sends again, and the duplicate key of the source tells.

use crate::base::id::DocumentId;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Channels that are remembered: 4,096 of about 100 bytes.
const CHANNELS_MAX: usize = 4_096;

/// A sender's own name of one of its streams, with the token that it sends under.
pub type Channel = (DocumentId, [u8; 16]);

#[derive(Default)]
struct Known {
    /// The next number, and when it was last used.
    channels: BTreeMap<Channel, (u64, u64)>,
    /// Channels by when they were last used.
    by_use: BTreeMap<u64, Channel>,
    uses: u64,
}

/// All channels.
#[derive(Default)]
pub struct Channels(Mutex<Known>);

impl Channels {
    /// The next number of a channel, for what is durable.
    pub fn give(&self, channel: Channel) -> u64 {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { channels, by_use, uses } = &mut *known;
        *uses += 1;
        let (next, used) = channels.entry(channel).or_default();
        let number = *next;
        *next += 1;
        by_use.remove(used);
        *used = *uses;
        by_use.insert(*uses, channel);
        if channels.len() > CHANNELS_MAX
            && let Some((_, oldest)) = by_use.pop_first()
        {
            channels.remove(&oldest);
        }
        number
    }

    /// Whether each of these numbers was given.
    pub fn given(&self, channel: &Channel, numbers: &[u64]) -> Vec<bool> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = known.channels.get(channel).map_or(0, |(next, _)| *next);
        numbers.iter().map(|number| *number < next).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(n: u32) -> Channel {
        let mut name = [0; 16];
        name[..4].copy_from_slice(&n.to_be_bytes());
        (DocumentId([7; 16]), name)
    }

    #[test]
    fn numbers_count_from_zero_and_only_given_ones_are_acknowledged() {
        let channels = Channels::default();
        assert_eq!([0, 0, 1].map(|n| channels.give(channel(n))), [0, 1, 0]);
        assert_eq!(channels.given(&channel(0), &[0, 1, 2]), [true, true, false]);
        assert_eq!(channels.given(&channel(9), &[0]), [false]);
        let other = (DocumentId([8; 16]), channel(0).1);
        assert_eq!(channels.given(&other, &[0]), [false], "another token's");
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_quietest() {
        let channels = Channels::default();
        for n in 0..CHANNELS_MAX as u32 {
            channels.give(channel(n));
        }
        channels.give(channel(0));
        channels.give(channel(u32::MAX));
        let known = channels.0.lock().unwrap();
        assert_eq!((known.channels.len(), known.by_use.len()), (CHANNELS_MAX, CHANNELS_MAX));
        drop(known);
        assert_eq!(channels.given(&channel(0), &[1]), [true]);
        assert_eq!(channels.given(&channel(1), &[0]), [false]);
    }
}
