//! Our own JSON scanner: one validating pass over bytes into a flat, reusable tape of spans.
//! Stricter than RFC 8259 where a second reader could see another event: duplicate keys, lone
//! surrogates, deep nesting and infinite numbers are refused, with a code and the byte.
//! It never rewrites a value (a sealed value is the span received), never recurses, never panics,
//! and allocates nothing per value once the tape has grown.
//!
//! | code | refused |
//! |---|---|
//! | `EVENT_TOO_LARGE` | more than `EVENT_BYTES_MAX` bytes |
//! | `JSON_UTF8` | bytes that are not UTF-8 |
//! | `JSON_SYNTAX` | anything outside RFC 8259, trailing bytes too |
//! | `JSON_DEPTH` | more than `JSON_DEPTH_MAX` open objects and arrays |
//! | `JSON_DUPLICATE_KEY` | a key twice in one object, at any depth, compared after unescaping |
//! | `JSON_SURROGATE` | half of a UTF-16 pair in a key or value |
//! | `JSON_NUMBER` | a number that every double reader takes for infinity |
//! | `JSON_INTEGER_RANGE` | an integer beyond 2^53, when asked for as an integer |
//! | `FIELD_TYPE` | another kind than the one asked for |
//!
//! The tape: one node a value and one a key, in order of the text; an object is followed by its
//! keys and values alternately, and a container's node knows the first node after it.

mod scan;
mod text;

use crate::base::limits::EVENT_BYTES_MAX;
use crate::base::refusal::Refusal;
use crate::format::json::scan::{Frame, Scanner};
use std::borrow::Cow;

/// Largest integer a JSON number carries safely between readers (RFC 7493): 2^53 - 1.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;
/// Nodes a tape keeps between uses: 64 Ki * 16 bytes = 1 MiB.
const NODES_KEPT_MAX: usize = 1 << 16;

/// The kind of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `null`
    Null,
    /// `true`
    True,
    /// `false`
    False,
    /// A number of any form.
    Number,
    /// A string whose text is its span.
    String,
    /// A string that holds escapes.
    EscapedString,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A span of the text; `extra` is a container's next node, or a key's digest.
#[derive(Clone, Copy, Debug)]
struct Node {
    start: u32,
    end: u32,
    extra: u32,
    kind: Kind,
    key: bool,
}

impl Node {
    /// The decoded text of a string or key.
    fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let inner = text.get(self.start as usize + 1..(self.end as usize).saturating_sub(1));
        text::decode(inner.unwrap_or(""), self.kind == Kind::EscapedString)
    }
}

/// Reusable storage of the scanner.
#[derive(Default, Debug)]
pub struct Tape {
    nodes: Vec<Node>,
    frames: Vec<Frame>,
}

impl Tape {
    /// An empty tape.
    pub fn new() -> Self {
        Tape::default()
    }

    /// Checks one JSON text and returns its root value. The tape is overwritten.
    pub fn scan<'t, 'a>(&'t mut self, json: &'a [u8]) -> Result<Value<'t, 'a>, Refusal> {
        if json.len() > EVENT_BYTES_MAX {
            return Err(Refusal::new("EVENT_TOO_LARGE", "split it or send a reference")
                .limit(EVENT_BYTES_MAX as u64));
        }
        let text = std::str::from_utf8(json)
            .map_err(|error| Refusal::new("JSON_UTF8", "send UTF-8").at(error.valid_up_to()))?;
        self.nodes.clear();
        self.nodes.shrink_to(NODES_KEPT_MAX);
        self.frames.clear();
        Scanner::new(text, self).run()?;
        Ok(Value { text, tape: self, index: 0 })
    }

    /// The node after the value at `index`, its inside skipped.
    #[inline]
    fn after(&self, index: usize) -> usize {
        match self.nodes.get(index) {
            Some(Node { kind: Kind::Object | Kind::Array, extra, .. }) => *extra as usize,
            _ => index + 1,
        }
    }
}

/// One value of a scanned text: cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Value<'t, 'a> {
    text: &'a str,
    tape: &'t Tape,
    index: usize,
}

impl<'t, 'a> Value<'t, 'a> {
    const NONE: Node = Node { start: 0, end: 0, extra: 0, kind: Kind::Null, key: false };

    #[inline]
    fn node(&self) -> Node {
        self.tape.nodes.get(self.index).copied().unwrap_or(Self::NONE)
    }

    /// What it is.
    #[inline]
    pub fn kind(&self) -> Kind {
        self.node().kind
    }

    /// Byte offset of its first byte in the text.
    pub fn offset(&self) -> usize {
        self.node().start as usize
    }

    /// Byte offset after its last byte.
    pub fn end(&self) -> usize {
        self.node().end as usize
    }

    /// Its exact span, quotes included.
    #[inline]
    pub fn raw(&self) -> &'a str {
        let node = self.node();
        self.text.get(node.start as usize..node.end as usize).unwrap_or("")
    }

    /// Its position on the tape: for keeping it beside the tape; see `at`.
    #[inline]
    pub fn index(&self) -> u32 {
        // A text of at most EVENT_BYTES_MAX bytes has fewer nodes than bytes.
        self.index as u32
    }

    /// Another value of the same text, by its `index`.
    #[inline]
    pub fn at(&self, index: u32) -> Value<'t, 'a> {
        Value { index: index as usize, ..*self }
    }

    /// Every key of the whole text, at any depth.
    pub fn keys_of_text(&self) -> impl Iterator<Item = Key<'t, 'a>> + use<'t, 'a> {
        let Value { text, tape, .. } = *self;
        let nodes = tape.nodes.iter().enumerate().filter(|(_, node)| node.key);
        nodes.map(move |(index, _)| Key(Value { text, tape, index }))
    }

    /// Whether it is a string.
    pub fn is_string(&self) -> bool {
        matches!(self.kind(), Kind::String | Kind::EscapedString)
    }

    /// The decoded text of a string.
    #[inline]
    pub fn string(&self) -> Option<Cow<'a, str>> {
        let node = self.node();
        matches!(node.kind, Kind::String | Kind::EscapedString).then(|| node.text(self.text))
    }

    /// The boolean.
    pub fn boolean(&self) -> Option<bool> {
        match self.kind() {
            Kind::True => Some(true),
            Kind::False => Some(false),
            _ => None,
        }
    }

    /// The number as a non-negative integer of at most `INTEGER_MAX`, written as digits only.
    pub fn u64(&self) -> Result<u64, Refusal> {
        let value = self.i64()?;
        u64::try_from(value).map_err(|_| self.range())
    }

    /// The number as an integer between `-INTEGER_MAX` and `INTEGER_MAX`, written as digits only.
    pub fn i64(&self) -> Result<i64, Refusal> {
        let raw = self.raw();
        if self.kind() != Kind::Number || raw.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) {
            return Err(Refusal::new("FIELD_TYPE", "send an integer").at(self.offset()));
        }
        match raw.parse::<i64>() {
            Ok(value) if value.unsigned_abs() <= INTEGER_MAX => Ok(value),
            _ => Err(self.range()),
        }
    }

    fn range(&self) -> Refusal {
        Refusal::new("JSON_INTEGER_RANGE", "send a smaller integer, or a string")
            .at(self.offset())
            .limit(INTEGER_MAX)
    }

    /// The members of an object, in order; none for another kind.
    #[inline]
    pub fn members(&self) -> Members<'t, 'a> {
        Members(self.inside(Kind::Object))
    }

    /// The elements of an array, in order; none for another kind.
    pub fn elements(&self) -> Elements<'t, 'a> {
        Elements(self.inside(Kind::Array))
    }

    fn inside(&self, kind: Kind) -> Inside<'t, 'a> {
        let node = self.node();
        let end = if node.kind == kind { node.extra as usize } else { 0 };
        Inside { text: self.text, tape: self.tape, at: self.index + 1, end }
    }

    /// The value of an object's member with this key.
    pub fn get(&self, key: &str) -> Option<Value<'t, 'a>> {
        self.members().find(|member| member.key.is(key)).map(|member| member.value)
    }
}

/// A walk over siblings.
#[derive(Clone, Debug)]
struct Inside<'t, 'a> {
    text: &'a str,
    tape: &'t Tape,
    at: usize,
    end: usize,
}

impl<'t, 'a> Inside<'t, 'a> {
    #[inline]
    fn take(&mut self) -> Option<Value<'t, 'a>> {
        if self.at >= self.end {
            return None;
        }
        let value = Value { text: self.text, tape: self.tape, index: self.at };
        self.at = self.tape.after(self.at);
        Some(value)
    }
}

/// A key of an object.
#[derive(Clone, Copy, Debug)]
pub struct Key<'t, 'a>(Value<'t, 'a>);

impl<'t, 'a> Key<'t, 'a> {
    /// Whether the decoded key is this text.
    #[inline]
    pub fn is(&self, text: &str) -> bool {
        if self.0.kind() == Kind::String { self.inner() == text } else { self.text() == text }
    }

    /// The decoded key.
    #[inline]
    pub fn text(&self) -> Cow<'a, str> {
        self.0.node().text(self.0.text)
    }

    /// The value this key names.
    #[inline]
    pub fn value(&self) -> Value<'t, 'a> {
        self.0.at(self.0.index() + 1)
    }

    /// Its position on the tape.
    #[inline]
    pub fn index(&self) -> u32 {
        self.0.index()
    }

    /// Byte offset of its opening quote.
    pub fn offset(&self) -> usize {
        self.0.offset()
    }

    /// A 32-bit digest of the decoded key; see `key_digest`.
    #[inline]
    pub fn digest(&self) -> u32 {
        self.0.node().extra
    }

    #[inline]
    fn inner(&self) -> &'a str {
        let raw = self.0.raw();
        raw.get(1..raw.len().saturating_sub(1)).unwrap_or("")
    }
}

/// The digest a scanned key equal to `text` has: for looking keys up without decoding them.
pub fn key_digest(text: &str) -> u32 {
    text::fingerprint(text.as_bytes())
}

/// One member of an object.
#[derive(Clone, Copy, Debug)]
pub struct Member<'t, 'a> {
    /// Its key.
    pub key: Key<'t, 'a>,
    /// Its value.
    pub value: Value<'t, 'a>,
}

impl<'t, 'a> Member<'t, 'a> {
    /// The member whose key has this `index` on the tape of `root`.
    #[inline]
    pub fn at(root: Value<'t, 'a>, index: u32) -> Self {
        let key = Key(root.at(index));
        Member { key, value: key.value() }
    }

    /// The exact span from the key's quote to the end of the value.
    #[inline]
    pub fn raw(&self) -> &'a str {
        self.value.text.get(self.key.offset()..self.value.end()).unwrap_or("")
    }
}

/// The members of an object.
#[derive(Clone, Debug)]
pub struct Members<'t, 'a>(Inside<'t, 'a>);

impl<'t, 'a> Iterator for Members<'t, 'a> {
    type Item = Member<'t, 'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let key = Key(self.0.take()?);
        let value = self.0.take()?;
        Some(Member { key, value })
    }
}

/// The elements of an array.
#[derive(Clone, Debug)]
pub struct Elements<'t, 'a>(Inside<'t, 'a>);

impl<'t, 'a> Iterator for Elements<'t, 'a> {
    type Item = Value<'t, 'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take()
    }
}

#[cfg(test)]
mod tests;
