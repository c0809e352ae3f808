//! The elements of a JSON array, one at a time: a body of millions of them is refused at the first
//! that is too many, before a list of them is made. It looks into no element.

use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Why reading stopped.
#[derive(Debug)]
pub enum Stopped<E> {
    /// No JSON array.
    Syntax(serde_json::Error),
    /// The reader had enough.
    Refused(E),
}

/// Hands each element of one array on, as it is written.
///
/// # Errors
/// `Stopped`.
pub fn elements<'a, E>(
    bytes: &'a [u8],
    each: impl FnMut(&'a str) -> Result<(), E>,
) -> Result<(), Stopped<E>> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let mut reader = Reader { each, refused: None };
    let read = deserializer.deserialize_seq(&mut reader).and_then(|()| deserializer.end());
    match (reader.refused, read) {
        (Some(refused), _) => Err(Stopped::Refused(refused)),
        (None, Err(error)) => Err(Stopped::Syntax(error)),
        (None, Ok(())) => Ok(()),
    }
}

struct Reader<F, E> {
    each: F,
    refused: Option<E>,
}

impl<'de, E, F: FnMut(&'de str) -> Result<(), E>> Visitor<'de> for &mut Reader<F, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(raw) = seq.next_element::<&'de RawValue>()? {
            if let Err(refused) = (self.each)(raw.get()) {
                self.refused = Some(refused);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_one_by_one_and_reading_stops_where_it_is_told_to() {
        let read = |text: &str, most: usize| {
            let mut found = Vec::new();
            let done = elements(text.as_bytes(), |element| {
                found.push(element.to_owned());
                if found.len() > most { Err("enough") } else { Ok(()) }
            });
            (found, done)
        };
        let (found, done) = read(" [1, {\"a\": 2} ,[3]]\n", 3);
        assert_eq!(found, ["1", "{\"a\": 2}", "[3]"]);
        assert!(done.is_ok());
        // What stands behind the place where it stopped was not looked at.
        let (found, done) = read("[1,2,3,what", 1);
        assert_eq!(found, ["1", "2"]);
        assert!(matches!(done, Err(Stopped::Refused("enough"))));
        for broken in ["[1,", "[1]]", "[1] 2", "{}", "[1,]", ""] {
            assert!(matches!(read(broken, 9).1, Err(Stopped::Syntax(_))), "{broken}");
        }
    }
}
