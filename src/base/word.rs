//! Words of the vocabulary: names of fields and of kinds of identifiers, as the policies write
//! them. Each is kept once for the life of the process, so that naming a field in every event costs
//! neither memory nor a count that processors hand around. It never holds what a sender of events
//! chose: there are as many words as policies ever named.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::{PoisonError, RwLock};

/// Every word so far.
static WORDS: RwLock<BTreeSet<&'static str>> = RwLock::new(BTreeSet::new());

/// One word. Copies are free, and two are equal when they are the same place in memory.
#[derive(Clone, Copy)]
pub struct Word(&'static str);

/// Words at most that are read from somewhere: a vocabulary has some hundred. Of at most 255 bytes
/// each they take 16 MiB, whatever bytes from a disk say.
const WORDS_MAX: usize = 1 << 16;

impl Word {
    /// The word with this text, as policies or a key cell have it; `None` when there are too many.
    pub fn of(text: &str) -> Option<Self> {
        Word::kept(text, WORDS_MAX)
    }

    fn kept(text: &str, limit: usize) -> Option<Self> {
        let known = WORDS.read().unwrap_or_else(PoisonError::into_inner).get(text).copied();
        if let Some(known) = known {
            return Some(Word(known));
        }
        let mut words = WORDS.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody may have been faster.
        if let Some(known) = words.get(text) {
            return Some(Word(known));
        }
        if words.len() >= limit {
            return None;
        }
        let kept: &'static str = Box::leak(text.into());
        words.insert(kept);
        Some(Word(kept))
    }
}

/// For words that the program itself has, whatever there is already.
impl From<&str> for Word {
    fn from(text: &str) -> Self {
        Word::kept(text, usize::MAX).unwrap_or(Word(""))
    }
}

impl Deref for Word {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.0
    }
}

impl PartialEq for Word {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Word {}

impl Hash for Word {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::hash(self.0, state);
    }
}

impl PartialOrd for Word {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// By text, as every stored order is.
impl Ord for Word {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        if self == other { std::cmp::Ordering::Equal } else { self.0.cmp(other.0) }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_is_one_word_whoever_asks() {
        let texts = ["actor.id", "actor.name", "", "actor.id"];
        let ask = || texts.map(Word::from);
        let answers: Vec<[Word; 4]> = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            asked.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        assert_eq!(answers.len(), 8);
        for [id, name, empty, again] in answers {
            assert_eq!((&*id, &*name, &*empty), ("actor.id", "actor.name", ""));
            assert!(id == again && id != name && empty < id && id < name);
            assert_eq!(Some(id), Word::of(&String::from("actor.id")));
        }
    }
    #[test]
    fn beyond_the_limit_only_known_texts_are_words() {
        let known = Word::from("known");
        assert_eq!(Word::kept("known", 0), Some(known));
        assert_eq!(Word::kept("never seen before", 0), None);
        assert_eq!(Word::kept("never seen before", 0), None);
    }
}
