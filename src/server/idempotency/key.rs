//! What a client calls a request: one header, a string of structured fields (RFC 9651) as the draft
//! has it, or the bare text that most clients send. `"k"` and `k` are one key. It is in no error.

use crate::server::idempotency::HEADER;
use crate::server::problem::Problem;
use axum::http::{HeaderMap, HeaderValue};

/// Characters of a key at most.
pub const KEY_MAX: usize = 255;

/// A key, as the client means it.
pub struct Key(Vec<u8>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// The key of a request.
    ///
    /// # Errors
    /// 400 `IDEMPOTENCY_KEY_INVALID`.
    pub fn of(headers: &HeaderMap) -> Result<Key, Problem> {
        let mut values = headers.get_all(HEADER).iter().map(HeaderValue::as_bytes);
        let key = values.next().filter(|_| values.next().is_none()).and_then(read);
        key.map(Key).ok_or_else(|| {
            let fix = "send one key of 1 to 255 visible ASCII characters, best a random UUID";
            let problem = Problem::bad("IDEMPOTENCY_KEY_INVALID", fix);
            problem.field(HEADER).limit(KEY_MAX as u64)
        })
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

fn read(value: &[u8]) -> Option<Vec<u8>> {
    let key = match value.strip_prefix(b"\"") {
        Some(rest) => unquoted(rest.strip_suffix(b"\"")?)?,
        // What would be a list, or have parameters, is no bare text.
        None => Some(value.to_vec()).filter(|key| !key.iter().any(|b| b"\"\\,;".contains(b)))?,
    };
    let visible = key.iter().all(u8::is_ascii_graphic);
    (visible && (1..=KEY_MAX).contains(&key.len())).then_some(key)
}

/// The text between the quotes.
fn unquoted(text: &[u8]) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => key.push(*bytes.next().filter(|next| b"\"\\".contains(next))?),
            b'"' => return None,
            byte => key.push(*byte),
        }
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_string_quoted_or_bare() {
        let key = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HEADER, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            Key::of(&headers).map(|key| String::from_utf8(key.0).unwrap())
        };
        let longest = "k".repeat(KEY_MAX);
        for (sent, meant) in [
            ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
            ("\"8e03978e\"", "8e03978e"),
            ("\"a\\\"b\\\\c\"", "a\"b\\c"),
            ("\"a,b;c\"", "a,b;c"),
            (longest.as_str(), longest.as_str()),
        ] {
            assert_eq!(key(&[sent]).unwrap(), meant);
        }
        let long = "k".repeat(KEY_MAX + 1);
        for wrong in [
            "",
            "\"\"",
            "\"",
            "a b",
            "a\tb",
            "a,b",
            "a;p=1",
            "\"a\";p=1",
            "\"a\", \"b\"",
            "a\"b",
            "\"a\\b\"",
            "\"a\\\"",
            "\u{e9}",
            "\"a b\"",
            &long,
        ] {
            let refused = key(&[wrong]).unwrap_err();
            assert_eq!(refused.code, "IDEMPOTENCY_KEY_INVALID", "{wrong}");
        }
        assert!(key(&["a", "a"]).is_err() && key(&[]).is_err());
    }
}
