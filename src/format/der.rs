//! DER as far as time-stamps need it: definite lengths in their shortest form, tags of one byte.
//! A reader over a slice and a writer into a vector; it never recurses, and refuses all else.

/// One element: its tag, its contents, and all its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::format) struct Element<'a> {
    pub(in crate::format) tag: u8,
    pub(in crate::format) body: &'a [u8],
    pub(in crate::format) whole: &'a [u8],
}

pub(in crate::format) const BOOLEAN: u8 = 0x01;
pub(in crate::format) const INTEGER: u8 = 0x02;
pub(in crate::format) const OCTETS: u8 = 0x04;
pub(in crate::format) const OID: u8 = 0x06;
pub(in crate::format) const TIME: u8 = 0x18;
pub(in crate::format) const SEQUENCE: u8 = 0x30;
pub(in crate::format) const SET: u8 = 0x31;

/// Tag of a constructed context-specific element.
pub(in crate::format) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// Reads elements one after the other. `None`: not DER, or not what was asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::format) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(in crate::format) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub(in crate::format) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever it is.
    pub(in crate::format) fn any(&mut self) -> Option<Element<'a>> {
        let (&tag, after) = self.rest.split_first()?;
        let (&first, after) = after.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (len, after) = match first {
            0..=0x7f => (usize::from(first), after),
            0x81..=0x84 => {
                let (digits, after) = after.split_at_checked(usize::from(first & 0x7f))?;
                let len = digits.iter().fold(0_u64, |n, d| n << 8 | u64::from(*d));
                let shortest = len > 0x7f && digits.first() != Some(&0);
                (usize::try_from(len).ok().filter(|_| shortest)?, after)
            }
            _ => return None,
        };
        let (body, rest) = after.split_at_checked(len)?;
        let whole = self.rest.get(..self.rest.len() - rest.len())?;
        self.rest = rest;
        Some(Element { tag, body, whole })
    }

    /// The next element, which must have this tag.
    pub(in crate::format) fn one(&mut self, tag: u8) -> Option<Element<'a>> {
        self.any().filter(|element| element.tag == tag)
    }

    /// Contents of the next element, which must have this tag.
    pub(in crate::format) fn body(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.one(tag).map(|element| element.body)
    }

    /// A reader over the contents of the next element, which must have this tag.
    pub(in crate::format) fn enter(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.body(tag).map(Reader::new)
    }

    /// The next element if it has this tag; otherwise nothing is read.
    pub(in crate::format) fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut ahead = *self;
        let element = ahead.one(tag)?;
        *self = ahead;
        Some(element)
    }

    /// A small non-negative integer in its shortest form.
    pub(in crate::format) fn small(&mut self) -> Option<u64> {
        small(self.body(INTEGER)?)
    }

    /// Nothing may follow.
    pub(in crate::format) fn end(self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }
}

/// Contents of an integer as a number below 2^63.
pub(in crate::format) fn small(body: &[u8]) -> Option<u64> {
    let shortest = match body {
        [] => false,
        [0, next, ..] => *next >= 0x80,
        [first, ..] => *first < 0x80,
    };
    (shortest && body.len() <= 8).then(|| body.iter().fold(0, |n, d| n << 8 | u64::from(*d)))
}

/// An element of some contents.
pub(in crate::format) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let digits: Vec<u8> = len.to_be_bytes().into_iter().skip_while(|d| *d == 0).collect();
    let mut bytes = vec![tag];
    match u8::try_from(len).ok().filter(|len| *len < 0x80) {
        Some(len) => bytes.push(len),
        None => {
            bytes.push(0x80 | digits.len() as u8);
            bytes.extend(digits);
        }
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn elements_round_trip_at_every_length() {
        for len in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let bytes = element(OCTETS, &[&vec![7; len]]);
            let mut reader = Reader::new(&bytes);
            let one = reader.one(OCTETS).unwrap();
            assert_eq!((one.body.len(), one.whole.len()), (len, bytes.len()));
            assert!(reader.is_empty());
            for end in 0..bytes.len().min(300) {
                assert!(Reader::new(bytes.get(..end).unwrap()).any().is_none(), "{len} {end}");
            }
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for bytes in [
            &[0x30, 0x80, 0, 0][..],      // indefinite
            &[0x30, 0x81, 0x01, 0],       // longer than needed
            &[0x30, 0x82, 0, 0x80, 0],    // leading zero
            &[0x1f, 0x81, 0x01, 0],       // tag of more bytes
            &[0x30, 0x85, 1, 0, 0, 0, 0], // longer than anything here
            &[0x30],
        ] {
            assert!(Reader::new(bytes).any().is_none(), "{bytes:x?}");
        }
        assert_eq!(small(&[0, 0x80]), Some(128));
        assert_eq!(small(&[5]), Some(5));
        for bad in [&[][..], &[0, 5], &[0x80], &[1; 9]] {
            assert_eq!(small(bad), None, "{bad:x?}");
        }
    }
}
