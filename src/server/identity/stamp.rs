//! Instants in the JSON of documents: RFC 3339 in UTC, which people can read and which no reader of
//! JSON rounds. It never writes another form than it reads.

use crate::base::unit::UtcNanos;
use serde::{Deserialize, Deserializer, Serializer};
use std::borrow::Cow;

/// Writes an instant; none is written as 1970.
///
/// # Errors
/// Those of the writer.
pub fn serialize<S: Serializer>(time: &UtcNanos, out: S) -> Result<S::Ok, S::Error> {
    match time.0 {
        0 => out.serialize_str("1970-01-01T00:00:00Z"),
        _ => out.collect_str(time),
    }
}

/// Reads an instant.
///
/// # Errors
/// For a text that is none.
pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<UtcNanos, D::Error> {
    let text = Cow::<'de, str>::deserialize(input)?;
    UtcNanos::parse(&text).ok_or_else(|| serde::de::Error::custom("no RFC 3339 instant"))
}

/// An instant that may be absent.
pub mod maybe {
    use crate::base::unit::UtcNanos;
    use crate::server::identity::stamp;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes one, or null.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn serialize<S: Serializer>(time: &Option<UtcNanos>, out: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => stamp::serialize(time, out),
            None => out.serialize_none(),
        }
    }

    /// Reads one, or null.
    ///
    /// # Errors
    /// For a text that is none.
    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<UtcNanos>, D::Error> {
        #[derive(Deserialize)]
        struct Wrapped(#[serde(with = "crate::server::identity::stamp")] UtcNanos);
        Ok(Option::<Wrapped>::deserialize(input)?.map(|wrapped| wrapped.0))
    }
}
