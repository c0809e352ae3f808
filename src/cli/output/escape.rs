//! Makes text from outside harmless to look at. Characters that steer a terminal, reorder what
//! is read, or take no space become visible `\u{..}`; everything else stays as it is.
//! It never shortens text and never changes what is stored.

use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Write;

/// True for a character that must not reach a reader as itself.
pub fn is_unsafe(c: char) -> bool {
    matches!(c,
        // C0, DEL and C1: ESC, CSI, tabs and line ends among them.
        '\u{00}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Marks, embeddings, overrides and isolates of direction.
        | '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Line and paragraph separators; deprecated format characters.
        | '\u{2028}' | '\u{2029}' | '\u{206a}'..='\u{206f}'
        // Without width: they make two different texts look the same.
        | '\u{00ad}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
        // Interlinear annotation and tags.
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with every unsafe character visible. A literal `\u{` in the text is written
/// `\u{5c}u{`, so what is shown can be told from what was escaped.
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_except(text, |_| false)
}

/// As `escape`, but line ends stay: for text of our own that holds some.
pub fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_except(text, |c| c == '\n')
}

fn escape_except(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let bad = |c: char| is_unsafe(c) && !keep(c);
    if !text.contains(bad) && !text.contains("\\u{") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for (at, c) in text.char_indices() {
        let is_imitation = c == '\\' && text.get(at..).is_some_and(|t| t.starts_with("\\u{"));
        if bad(c) || is_imitation {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A JSON value on one line, with unsafe characters as JSON escapes: the same value, in ASCII
/// where it matters. Outside strings JSON has no such characters, so the text may be walked.
pub fn json_line(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(is_unsafe) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Columns a character takes on a terminal: 0 for combining marks, 2 for wide East Asian
/// characters and emoji, else 1. The common ranges of Unicode's EastAsianWidth; a rare
/// character it misjudges costs alignment, nothing else.
pub fn columns(c: char) -> usize {
    match c {
        '\u{0300}'..='\u{036f}'
        | '\u{0483}'..='\u{0489}'
        | '\u{0591}'..='\u{05bd}'
        | '\u{064b}'..='\u{065f}'
        | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{fe20}'..='\u{fe2f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// Columns of an escaped text.
pub fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// At most `limit` columns of an escaped text; what was cut is marked by `...`.
pub fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    if width(text) <= limit {
        return Cow::Borrowed(text);
    }
    let mark = ".".repeat(limit.min(3));
    let room = limit - mark.len();
    let mut used = 0;
    let kept: String = text
        .chars()
        .take_while(|c| {
            used += columns(*c);
            used <= room
        })
        .collect();
    Cow::Owned(kept + &mark)
}
