//! Cuts a stream into JSON events: one per line, or the elements of one array, alone or as the
//! one member of `{"Records": [..]}` or `{"events": [..]}`. It holds one event at a time and
//! never parses: what lies between the cuts is judged by the vault. An event over the limit is
//! skipped to its end and reported, so that what follows it is still read.

use crate::base::limits::EVENT_BYTES_MAX;
use std::io::{BufRead, BufReader, Read, Result};

/// One event as cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    /// Line of its first byte, from 1.
    pub(crate) line: u64,
    /// Its bytes; cut short if `too_large`.
    pub(crate) json: Vec<u8>,
    /// Longer than an event may be.
    pub(crate) too_large: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Lines,
    Array,
    End,
}

/// The cutter.
pub(crate) struct Pieces<R> {
    input: R,
    line: u64,
    mode: Option<Mode>,
}

impl<R: Read> Pieces<BufReader<R>> {
    /// Whether the next event can be cut without reading from the stream, as far as is easily told.
    pub(crate) fn has_whole_line(&self) -> bool {
        self.mode == Some(Mode::Lines) && self.input.buffer().contains(&b'\n')
    }
}

impl<R: BufRead> Pieces<R> {
    /// Over a stream.
    pub(crate) fn new(input: R) -> Self {
        Pieces { input, line: 1, mode: None }
    }

    /// The next event, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>> {
        let mode = match self.mode {
            Some(mode) => mode,
            None => self.begin()?,
        };
        match mode {
            Mode::Lines => self.next_line(),
            Mode::Array => self.next_element(),
            Mode::End => Ok(None),
        }
    }

    fn peek(&mut self) -> Result<Option<u8>> {
        Ok(self.input.fill_buf()?.first().copied())
    }

    fn take(&mut self) -> Result<Option<u8>> {
        let byte = self.peek()?;
        if let Some(byte) = byte {
            self.input.consume(1);
            self.line += u64::from(byte == b'\n');
        }
        Ok(byte)
    }

    /// Decides by what the stream begins with.
    fn begin(&mut self) -> Result<Mode> {
        self.skip_blank()?;
        let mode = match self.peek()? {
            Some(b'[') => Mode::Array,
            Some(b'{') if wraps_an_array(self.input.fill_buf()?) => {
                // Up to the bracket nothing is an event.
                while self.peek()?.is_some_and(|byte| byte != b'[') {
                    self.take()?;
                }
                Mode::Array
            }
            _ => Mode::Lines,
        };
        if mode == Mode::Array {
            self.take()?;
        }
        self.mode = Some(mode);
        Ok(mode)
    }

    fn skip_blank(&mut self) -> Result<()> {
        if self.input.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            self.input.consume(3);
        }
        while self.peek()?.is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.take()?;
        }
        Ok(())
    }

    fn next_line(&mut self) -> Result<Option<Piece>> {
        loop {
            let mut piece = Piece { line: self.line, json: Vec::new(), too_large: false };
            let room = EVENT_BYTES_MAX as u64 + 1;
            self.input.by_ref().take(room).read_until(b'\n', &mut piece.json)?;
            let mut ended = piece.json.last() == Some(&b'\n');
            if ended {
                piece.json.pop();
            } else if piece.json.len() as u64 == room {
                piece.too_large = true;
                ended = self.skip_line()?;
            }
            self.line += 1;
            if !piece.json.trim_ascii().is_empty() {
                return Ok(Some(piece));
            }
            if !ended {
                return Ok(None);
            }
        }
    }

    /// Passes over the rest of a line; whether it had an end.
    fn skip_line(&mut self) -> Result<bool> {
        loop {
            let buffer = self.input.fill_buf()?;
            let (len, end) = (buffer.len(), buffer.iter().position(|byte| *byte == b'\n'));
            self.input.consume(end.map_or(len, |end| end + 1));
            if end.is_some() || len == 0 {
                return Ok(end.is_some());
            }
        }
    }

    /// An element ends at a comma or bracket outside every bracket and string of its own.
    fn next_element(&mut self) -> Result<Option<Piece>> {
        self.skip_blank()?;
        let mut piece = Piece { line: self.line, json: Vec::new(), too_large: false };
        let (mut depth, mut in_string, mut escaped) = (0_u64, false, false);
        while let Some(byte) = self.take()? {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b'{' | b'[' => depth += 1,
                b',' if depth == 0 => return Ok(Some(piece)),
                b']' if depth == 0 => {
                    self.mode = Some(Mode::End);
                    return Ok((!piece.json.trim_ascii().is_empty()).then_some(piece));
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            keep(&mut piece, &[byte]);
        }
        // The stream ended inside the array: what there is of the element is refused as JSON.
        self.mode = Some(Mode::End);
        let cut = piece.json.trim_ascii().is_empty();
        piece.json.extend_from_slice(if cut { b"(array not closed)" } else { b"" });
        Ok(Some(piece))
    }
}

fn keep(piece: &mut Piece, part: &[u8]) {
    let room = (EVENT_BYTES_MAX + 1).saturating_sub(piece.json.len());
    piece.json.extend_from_slice(part.get(..part.len().min(room)).unwrap_or_default());
    piece.too_large |= part.len() > room || piece.json.len() > EVENT_BYTES_MAX;
}

/// Whether the text begins `{"Records":[` or `{"events":[`, blanks anywhere.
fn wraps_an_array(start: &[u8]) -> bool {
    let mut rest = start.get(1..).unwrap_or_default();
    let mut eat = |word: &[u8]| match rest.trim_ascii_start().strip_prefix(word) {
        Some(left) => {
            rest = left;
            true
        }
        None => false,
    };
    (eat(b"\"Records\"") || eat(b"\"events\"")) && eat(b":") && eat(b"[")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expect: &[(u64, &str)]) {
        for capacity in [1, 3, 4_096] {
            let wraps = input.starts_with("{\"R") || input.starts_with("{ \"e");
            if wraps && capacity < 100 {
                continue;
            }
            let mut pieces = Pieces::new(BufReader::with_capacity(capacity, input.as_bytes()));
            let mut found = Vec::new();
            while let Some(piece) = pieces.next().unwrap() {
                let text = String::from_utf8(piece.json.trim_ascii().to_vec()).unwrap();
                found.push((piece.line, text));
            }
            let expect: Vec<(u64, String)> =
                expect.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
            assert_eq!(found, expect, "{input:?} by {capacity}");
        }
    }

    #[test]
    fn streams_are_cut_into_events() {
        check("", &[]);
        check("\n \n", &[]);
        check("{\"a\":1}\n\n{\"b\":2}", &[(1, "{\"a\":1}"), (3, "{\"b\":2}")]);
        check("{\"a\":1}\r\nrubbish\n{}\n", &[(1, "{\"a\":1}"), (2, "rubbish"), (3, "{}")]);
        check("[]", &[]);
        check(
            " [ {\"a\":[1,2]},\n{\"b\":\"],\\\"\"} ] tail",
            &[(1, "{\"a\":[1,2]}"), (2, "{\"b\":\"],\\\"\"}")],
        );
        check("{\"Records\":[{\"a\":1},{\"b\":2}]}", &[(1, "{\"a\":1}"), (1, "{\"b\":2}")]);
        check("{ \"events\" :\n [ {\"a\":1} ] }", &[(2, "{\"a\":1}")]);
        check("[{\"a\":1}", &[(1, "{\"a\":1}")]);
        check("[{\"a\":1},", &[(1, "{\"a\":1}"), (1, "(array not closed)")]);
    }

    #[test]
    fn an_event_over_the_limit_is_reported_and_passed() {
        let long = format!("\"{}\"\n{{}}\n", "x".repeat(EVENT_BYTES_MAX * 2));
        let mut pieces = Pieces::new(BufReader::new(long.as_bytes()));
        let first = pieces.next().unwrap().unwrap();
        assert!(first.too_large && first.json.len() <= EVENT_BYTES_MAX + 1);
        let second = pieces.next().unwrap().unwrap();
        assert_eq!((second.line, second.json.as_slice()), (2, b"{}".as_slice()));
        assert!(pieces.next().unwrap().is_none());
    }
}
