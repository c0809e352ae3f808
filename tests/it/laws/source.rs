//! Rust source as the laws see it: comments, strings and characters blanked with spaces, lines
//! kept. It is a scanner, not a parser: it knows what hides code, and braces.

use std::ops::Range;

/// The code alone: same length in lines, everything that is not code blank.
pub(crate) fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = hidden_until(&chars, at).unwrap_or(at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// The code with test modules blanked, lines kept.
pub(crate) fn product(text: &str) -> String {
    let mut code = code(text);
    for range in test_modules(&code).into_iter().rev() {
        let lines: String = code[range.clone()].chars().filter(|c| *c == '\n').collect();
        code.replace_range(range, &lines);
    }
    code
}

/// Where the `#[cfg(test)] mod name { .. }` of `code` lie.
pub(crate) fn test_modules(code: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, item) in test_items(code) {
        let Some(open) = code[item..].find(['{', ';']).map(|open| item + open) else { continue };
        if code[open..].starts_with('{') && found.last().is_none_or(|last| last.end <= at) {
            let end = open + closing(&code[open..]).unwrap_or(code.len() - open);
            found.push(at..end);
        }
    }
    found
}

/// Where `code` declares `#[cfg(test)] mod tests;`, a file of its own.
pub(crate) fn test_declarations(code: &str) -> Vec<usize> {
    let items = test_items(code).into_iter();
    items.filter(|(_, item)| code[*item..].starts_with("mod tests;")).map(|(at, _)| at).collect()
}

/// Positions of `#[cfg(test)]` and of the `mod` it stands before; other attributes may follow it.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    const MARK: &str = "#[cfg(test)]";
    let mut found = Vec::new();
    for (at, _) in code.match_indices(MARK) {
        let mut item = code[at + MARK.len()..].trim_start();
        while let Some((_, rest)) = item.strip_prefix("#[").and_then(|rest| rest.split_once(']')) {
            item = rest.trim_start();
        }
        if item.starts_with("mod ") {
            found.push((at, code.len() - item.len()));
        }
    }
    found
}

/// Length of the block that begins with the brace at the start of `code`.
pub(crate) fn closing(code: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 && c == '}' {
            return Some(at + 1);
        }
    }
    None
}

/// Positions at which `word` stands as a whole word.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code[..*at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(in_word) && !after.is_some_and(in_word)
    })
}

/// Whether `c` may stand in an identifier.
pub(crate) fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Line number, from 1, of a byte position.
pub(crate) fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// End of the comment, string or character that begins at `at`.
fn hidden_until(chars: &[char], at: usize) -> Option<usize> {
    let get = |i: usize| chars.get(i).copied();
    let fresh = at == 0 || !in_word(chars[at - 1]);
    match (get(at)?, get(at + 1)) {
        ('/', Some('/')) => Some(find(chars, at, |i| chars[i] == '\n')),
        ('/', Some('*')) => Some(block_comment(chars, at)),
        ('"', _) => Some(string(chars, at)),
        ('r', Some('"' | '#')) if fresh => raw_string(chars, at + 1),
        ('b' | 'c', Some('r')) if fresh => raw_string(chars, at + 2),
        ('b' | 'c', Some('"')) if fresh => Some(string(chars, at + 1)),
        ('\'', Some('\\')) => Some(find(chars, at + 3, |i| chars[i] == '\'') + 1),
        ('\'', Some(_)) if get(at + 2) == Some('\'') => Some(at + 3),
        _ => None,
    }
}

fn find(chars: &[char], from: usize, test: impl Fn(usize) -> bool) -> usize {
    (from..chars.len()).find(|i| test(*i)).unwrap_or(chars.len())
}

fn block_comment(chars: &[char], at: usize) -> usize {
    let (mut depth, mut i) = (0, at);
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 1),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 1),
            _ => {}
        }
        i += 1;
        if depth == 0 {
            break;
        }
    }
    i
}

fn string(chars: &[char], quote: usize) -> usize {
    let mut i = quote + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

/// Nothing if the hashes at `at` open no string: `r#name`.
fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let hashes = find(chars, at, |i| chars[i] != '#') - at;
    if chars.get(at + hashes) != Some(&'"') {
        return None;
    }
    let closes = |i: usize| {
        chars[i] == '"' && chars[i + 1..].iter().take_while(|c| **c == '#').count() >= hashes
    };
    Some((find(chars, at + hashes + 1, closes) + 1 + hashes).min(chars.len()))
}
