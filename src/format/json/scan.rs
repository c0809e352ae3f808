//! One pass over a JSON text: grammar, depth, duplicate keys, and the tape of spans.
//! It holds an explicit stack, so nesting never costs thread stack, and never recurses.
//!
//! Duplicate keys: each open object keeps a 256-bit set of key digests; a key whose bit is free is
//! new without looking. Otherwise small objects compare with each earlier key of equal digest.
//! Objects of more than `KEYS_COMPARED_MAX` keys are checked once, when they close, by sorting:
//! n log n comparisons whatever the keys are, where an unkeyed hash set could be made quadratic.

use crate::base::limits::JSON_DEPTH_MAX;
use crate::base::refusal::Refusal;
use crate::format::json::text::{decode, fingerprint, number, string, syntax};
use crate::format::json::{Kind, Node, Tape};

/// Keys up to which an object is checked key by key: at most 64 * 63 / 2 = 2,016 comparisons, and
/// below 6 million for a text of 1 MiB full of such objects.
const KEYS_COMPARED_MAX: u32 = 64;

/// An object or array that is not closed yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    node: u32,
    keys: u32,
    seen: [u64; 4],
    object: bool,
}

/// What the scanner reads next.
enum Next {
    Value,
    AfterValue,
    Done,
}

/// The scanner over one text.
pub(crate) struct Scanner<'t, 'a> {
    text: &'a str,
    bytes: &'a [u8],
    tape: &'t mut Tape,
    at: usize,
}

impl<'t, 'a> Scanner<'t, 'a> {
    pub(crate) fn new(text: &'a str, tape: &'t mut Tape) -> Self {
        Scanner { text, bytes: text.as_bytes(), tape, at: 0 }
    }

    /// Fills the tape or refuses the text.
    pub(crate) fn run(mut self) -> Result<(), Refusal> {
        let mut next = Next::Value;
        loop {
            next = match next {
                Next::Value => self.value()?,
                Next::AfterValue => self.after_value()?,
                Next::Done => break,
            };
        }
        self.blank();
        if self.at == self.bytes.len() { Ok(()) } else { Err(syntax(self.at)) }
    }

    #[inline]
    fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    #[inline]
    fn peek(&mut self) -> u8 {
        self.blank();
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn push(&mut self, kind: Kind, start: usize, end: usize, extra: u32) {
        // The text is at most EVENT_BYTES_MAX long, so positions fit.
        let node = Node { start: start as u32, end: end as u32, extra, kind, key: false };
        self.tape.nodes.push(node);
    }

    fn value(&mut self) -> Result<Next, Refusal> {
        let start = {
            self.blank();
            self.at
        };
        match self.bytes.get(start) {
            Some(b'"') => {
                let (end, escaped) = string(self.bytes, start + 1)?;
                self.at = end + 1;
                let kind = if escaped { Kind::EscapedString } else { Kind::String };
                self.push(kind, start, self.at, 0);
            }
            Some(b'{') => return self.open(true),
            Some(b'[') => return self.open(false),
            Some(b'-' | b'0'..=b'9') => {
                self.at = number(self.bytes, start)?;
                self.push(Kind::Number, start, self.at, 0);
            }
            Some(b't') => self.literal("true", Kind::True)?,
            Some(b'f') => self.literal("false", Kind::False)?,
            Some(b'n') => self.literal("null", Kind::Null)?,
            _ => return Err(syntax(start)),
        }
        Ok(Next::AfterValue)
    }

    fn literal(&mut self, word: &str, kind: Kind) -> Result<(), Refusal> {
        let start = self.at;
        let end = start + word.len();
        if self.bytes.get(start..end) != Some(word.as_bytes()) {
            return Err(syntax(start));
        }
        self.at = end;
        self.push(kind, start, end, 0);
        Ok(())
    }

    fn open(&mut self, object: bool) -> Result<Next, Refusal> {
        if self.tape.frames.len() == JSON_DEPTH_MAX {
            return Err(Refusal::new("JSON_DEPTH", "nest less deeply")
                .at(self.at)
                .limit(JSON_DEPTH_MAX as u64));
        }
        let node = self.tape.nodes.len() as u32;
        let kind = if object { Kind::Object } else { Kind::Array };
        self.push(kind, self.at, self.at, 0);
        self.at += 1;
        self.tape.frames.push(Frame { node, keys: 0, seen: [0; 4], object });
        match (object, self.peek()) {
            (true, b'}') | (false, b']') => self.close(),
            (true, _) => self.key(),
            (false, _) => Ok(Next::Value),
        }
    }

    fn close(&mut self) -> Result<Next, Refusal> {
        self.at += 1;
        let Some(frame) = self.tape.frames.pop() else { return Err(syntax(self.at)) };
        if frame.keys > KEYS_COMPARED_MAX {
            self.check_many(frame)?;
        }
        let next = self.tape.nodes.len() as u32;
        if let Some(node) = self.tape.nodes.get_mut(frame.node as usize) {
            node.end = self.at as u32;
            node.extra = next;
        }
        Ok(Next::AfterValue)
    }

    fn after_value(&mut self) -> Result<Next, Refusal> {
        let Some(frame) = self.tape.frames.last() else { return Ok(Next::Done) };
        let object = frame.object;
        match (self.peek(), object) {
            (b',', true) => {
                self.at += 1;
                self.key()
            }
            (b',', false) => {
                self.at += 1;
                Ok(Next::Value)
            }
            (b'}', true) | (b']', false) => self.close(),
            _ => Err(syntax(self.at)),
        }
    }

    /// Reads a key and its colon.
    fn key(&mut self) -> Result<Next, Refusal> {
        let start = {
            self.blank();
            self.at
        };
        if self.bytes.get(start) != Some(&b'"') {
            return Err(syntax(start));
        }
        let (end, escaped) = string(self.bytes, start + 1)?;
        let inner = self.text.get(start + 1..end).unwrap_or("");
        let print = fingerprint(decode(inner, escaped).as_bytes());
        let kind = if escaped { Kind::EscapedString } else { Kind::String };
        let (from, to) = (start as u32, end as u32 + 1);
        self.tape.nodes.push(Node { start: from, end: to, extra: print, kind, key: true });
        self.check_key(print)?;
        self.at = end + 1;
        if self.peek() != b':' {
            return Err(syntax(self.at));
        }
        self.at += 1;
        Ok(Next::Value)
    }

    /// Enters the key just pushed into its object.
    #[inline]
    fn check_key(&mut self, print: u32) -> Result<(), Refusal> {
        let Some(frame) = self.tape.frames.last_mut() else { return Ok(()) };
        let [word, bit] = [print >> 30, print >> 24 & 63];
        let Some(word) = frame.seen.get_mut(word as usize) else { return Ok(()) };
        let known = *word >> bit & 1 == 1;
        *word |= 1 << bit;
        frame.keys += 1;
        if known && frame.keys <= KEYS_COMPARED_MAX {
            let object = frame.node;
            return self.check_few(object, print);
        }
        Ok(())
    }

    fn check_few(&self, object: u32, print: u32) -> Result<(), Refusal> {
        let nodes = &self.tape.nodes;
        let last = nodes.len() - 1;
        let mut key = object as usize + 1;
        while key < last {
            if nodes.get(key).is_some_and(|node| node.extra == print)
                && self.key_text(key) == self.key_text(last)
            {
                return Err(self.duplicate(last));
            }
            key = self.tape.after(key + 1);
        }
        Ok(())
    }

    fn check_many(&self, frame: Frame) -> Result<(), Refusal> {
        let nodes = &self.tape.nodes;
        let mut keys = Vec::with_capacity(frame.keys as usize);
        let mut key = frame.node as usize + 1;
        while let Some(node) = nodes.get(key) {
            keys.push((node.extra, self.key_text(key), key));
            key = self.tape.after(key + 1);
        }
        keys.sort_unstable();
        for pair in keys.windows(2) {
            if let [(_, left, _), (_, right, at)] = pair
                && left == right
            {
                return Err(self.duplicate(*at));
            }
        }
        Ok(())
    }

    fn key_text(&self, key: usize) -> std::borrow::Cow<'a, str> {
        let Some(node) = self.tape.nodes.get(key) else { return "".into() };
        node.text(self.text)
    }

    #[cold]
    fn duplicate(&self, key: usize) -> Refusal {
        let at = self.tape.nodes.get(key).map_or(0, |node| node.start as usize);
        Refusal::new("JSON_DUPLICATE_KEY", "send each key of an object once").at(at)
    }
}
