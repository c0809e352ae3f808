//! Messages of whole blocks from the initial state. Those with equally many blocks go through the
//! lanes together, so that none ends before the others; what is left over is fed lane by lane. It
//! never copies a message.

use crate::crypto::hash::{BLOCK, Block, State};
use crate::crypto::lanes::driver::{self, Engine, Job, Source};

/// Messages of fewer blocks wait for others of their length.
const BLOCKS_MAX: usize = 32;

/// `Lanes::absorb_all`: some of the messages, and who takes the states.
pub(crate) struct Whole<'s, 'a, F> {
    pub(crate) messages: &'s [&'a [u8]],
    /// Which of them; `None` = all.
    pub(crate) which: Option<Vec<usize>>,
    pub(crate) done: F,
}

impl<'a, F> Whole<'_, 'a, F> {
    fn number(&self, i: usize) -> usize {
        self.which.as_ref().map_or(i, |which| which.get(i).copied().unwrap_or(usize::MAX))
    }

    fn blocks(&self, number: usize) -> &'a [Block] {
        let message: &'a [u8] = self.messages.get(number).copied().unwrap_or_default();
        let (blocks, rest) = message.as_chunks::<BLOCK>();
        debug_assert!(rest.is_empty(), "whole blocks only");
        blocks
    }
}

impl<'a, F: FnMut(usize, &State)> Source<'a> for Whole<'_, 'a, F> {
    fn len(&self) -> usize {
        self.which.as_ref().map_or(self.messages.len(), Vec::len)
    }

    fn job(&self, i: usize, _: &mut [Block; 2]) -> Job<'a> {
        Job { state: State::IV, head: self.blocks(self.number(i)), tail: 0 }
    }

    fn done(&mut self, i: usize, state: &State) {
        let number = self.number(i);
        (self.done)(number, state);
    }
}

/// Numbers of messages of one length that wait for company.
#[derive(Clone, Copy)]
struct Waiting<const N: usize> {
    numbers: [usize; N],
    count: usize,
}

/// Absorbs every message in the lanes of an engine.
pub(crate) fn in_lanes<'a, const N: usize>(
    engine: &mut impl Engine<N>,
    mut whole: Whole<'_, 'a, impl FnMut(usize, &State)>,
) {
    let mut waiting = [Waiting { numbers: [0; N], count: 0 }; BLOCKS_MAX];
    let mut left = Vec::new();
    for number in 0..whole.messages.len() {
        let blocks = whole.blocks(number).len();
        let Some(own) = waiting.get_mut(blocks).filter(|_| blocks > 0) else {
            left.push(number);
            continue;
        };
        if let Some(place) = own.numbers.get_mut(own.count) {
            *place = number;
            own.count += 1;
        }
        if own.count == N {
            own.count = 0;
            engine.fill(&State::IV);
            engine.run(&own.numbers.map(|number| whole.blocks(number)), blocks);
            for (lane, number) in own.numbers.into_iter().enumerate() {
                (whole.done)(number, &engine.get(lane));
            }
        }
    }
    for own in &waiting {
        left.extend(own.numbers.iter().take(own.count));
    }
    whole.which = Some(left);
    driver::in_lanes(engine, &mut whole);
}
