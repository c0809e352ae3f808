//! What the writers of a soak send: a function of seed, writer and number, so that the process
//! that writes and the process that checks need not tell each other. Numbers of counting sources
//! come out of order: gaps open, and close up to 63 events later. It never draws randomness.

/// Events that share one gap-making shuffle.
const BLOCK: u64 = 64;

/// The script of one soak.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    /// Everything follows from it.
    pub(crate) seed: u64,
    /// People the events speak of.
    pub(crate) people: u64,
    /// Events of a batch; 0 = one to four, by writer.
    pub(crate) batch: u64,
}

impl Script {
    /// Events in each batch of a writer.
    pub(crate) fn batch_len(&self, writer: u64) -> u64 {
        if self.batch > 0 { self.batch } else { 1 + writer % 4 }
    }

    /// Name of a writer's source.
    pub(crate) fn source(writer: u64) -> String {
        format!("soak-{writer}")
    }

    /// Whom an event speaks of.
    pub(crate) fn person(&self, writer: u64, number: u64) -> u64 {
        mix(self.seed ^ mix(writer ^ number.rotate_left(20))) % self.people.max(1)
    }

    /// What stands in the event's sealed text, and in no other.
    pub(crate) fn note(&self, writer: u64, number: u64) -> String {
        format!("note-{writer}-{number}-{:x}", mix(self.seed ^ number))
    }

    /// The event. Even writers count their events, odd ones name them.
    pub(crate) fn event(&self, writer: u64, number: u64) -> String {
        let dedupe = match writer % 2 {
            0 => format!("\"source_seq\":{}", sequence(number)),
            _ => format!("\"id\":\"{writer}-{number}\""),
        };
        let (person, note) = (self.person(writer, number), self.note(writer, number));
        format!(
            "{{{dedupe},\"actor\":{{\"id\":\"p{person}\",\"type\":\"user\"}},\
             \"action\":\"record.open\",\"category\":\"data\",\"verb\":\"read\",\
             \"outcome\":\"success\",\"data\":{{\"note\":\"{note}\"}}}}"
        )
    }

    /// The events of a batch.
    pub(crate) fn events(&self, writer: u64, batch: u64) -> Vec<String> {
        self.numbers(writer, batch).map(|number| self.event(writer, number)).collect()
    }

    /// Numbers of a batch's events.
    pub(crate) fn numbers(&self, writer: u64, batch: u64) -> std::ops::Range<u64> {
        let len = self.batch_len(writer);
        batch * len..(batch + 1) * len
    }
}

/// A permutation within blocks: 37 has no factor in common with 64.
fn sequence(number: u64) -> u64 {
    number / BLOCK * BLOCK + (number % BLOCK * 37 + 11) % BLOCK
}

/// The finaliser of splitmix64.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_number_comes_once_and_out_of_order() {
        let sent: Vec<u64> = (0..640).map(sequence).collect();
        assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), 640);
        assert!(sent.iter().all(|n| *n < 640) && !sent.is_sorted());
        let script = Script { seed: 1, people: 9, batch: 0 };
        assert_eq!(script.numbers(3, 2), 8..12);
        assert_ne!(script.event(0, 1), script.event(0, 2));
        assert_eq!(script.event(5, 7), script.event(5, 7));
    }
}
