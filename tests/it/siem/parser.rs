//! Strict readers of CEF and LEEF, written from the standards' texts and sharing nothing with the
//! encoders: what these two do not accept, our lines must not contain.

use std::collections::BTreeMap;

/// A parsed line of either format.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) version: String,
    /// CEF: vendor, product, version, class id, name, severity. LEEF: the first four.
    pub(crate) header: Vec<String>,
    pub(crate) values: BTreeMap<String, String>,
    /// Keys in the order of the line.
    pub(crate) keys: Vec<String>,
}

fn one_line(line: &str) -> Result<(), String> {
    let breaks = |c: char| (c.is_control() && c != '\t') || c == '\u{2028}' || c == '\u{2029}';
    if line.contains(breaks) {
        return Err("control character or line break".into());
    }
    Ok(())
}

/// Undoes the escapes in `allowed` (escape letter, meaning); any other backslash is an error.
fn unescape(text: &str, allowed: &[(char, char)]) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let letter = chars.next().ok_or("backslash at the end")?;
        let meaning = allowed.iter().find(|(l, _)| *l == letter).ok_or("unknown escape")?;
        out.push(meaning.1);
    }
    Ok(out)
}

/// Byte offsets of `wanted` that no backslash escapes.
fn bare(text: &str, wanted: char) -> Vec<usize> {
    let mut found = Vec::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if !escaped && c == wanted {
            found.push(at);
        }
        escaped = c == '\\' && !escaped;
    }
    found
}

/// Parses one CEF line without a transport prefix.
pub(crate) fn cef(line: &str) -> Result<Parsed, String> {
    one_line(line)?;
    let rest = line.strip_prefix("CEF:").ok_or("not CEF")?;
    let mut parts = Vec::new();
    let mut from = 0;
    for at in bare(rest, '|').into_iter().take(7) {
        parts.push(&rest[from..at]);
        from = at + 1;
    }
    if parts.len() != 7 {
        return Err(format!("{} pipes instead of 7", parts.len()));
    }
    let version = parts.remove(0).to_owned();
    if version.is_empty() || !version.bytes().all(|b| b.is_ascii_digit()) {
        return Err("version".into());
    }
    let header = parts
        .iter()
        .map(|part| unescape(part, &[('\\', '\\'), ('|', '|')]))
        .collect::<Result<Vec<_>, _>>()?;
    let severity = header[5].as_str();
    let is_word = ["Unknown", "Low", "Medium", "High", "Very-High"].contains(&severity);
    if !is_word && !severity.parse::<u8>().is_ok_and(|s| s <= 10) {
        return Err("severity".into());
    }
    let mut parsed = Parsed { version, header, values: BTreeMap::new(), keys: Vec::new() };
    extension(&rest[from..], &mut parsed)?;
    Ok(parsed)
}

/// Every bare `=` separates a key from a value; a key is the word before it, after one space.
fn extension(text: &str, parsed: &mut Parsed) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let signs = bare(text, '=');
    let mut starts = Vec::new();
    for &sign in &signs {
        let before = &text[..sign];
        let length = before.bytes().rev().take_while(u8::is_ascii_alphanumeric).count();
        let start = sign - length;
        if length == 0 || (start > 0 && !before[..start].ends_with(' ')) {
            return Err("bare = that follows no key".into());
        }
        starts.push(start);
    }
    if starts.first() != Some(&0) {
        return Err("extension does not start with a key".into());
    }
    for (n, (&start, &sign)) in starts.iter().zip(&signs).enumerate() {
        let end = starts.get(n + 1).map_or(text.len(), |next| next - 1);
        if end < sign + 1 {
            return Err("no room for a value".into());
        }
        let key = text[start..sign].to_owned();
        let escapes = [('\\', '\\'), ('=', '='), ('n', '\n'), ('r', '\r')];
        let value = unescape(&text[sign + 1..end], &escapes)?;
        if parsed.values.insert(key.clone(), value).is_some() {
            return Err(format!("key twice: {key}"));
        }
        parsed.keys.push(key);
    }
    Ok(())
}

/// Parses one LEEF line without a syslog header; `delimiter` overrides what the line says.
pub(crate) fn leef(line: &str, delimiter: Option<char>) -> Result<Parsed, String> {
    one_line(line)?;
    let rest = line.strip_prefix("LEEF:").ok_or("not LEEF")?;
    let mut parts: Vec<&str> = rest.splitn(6, '|').collect();
    if parts.len() != 6 {
        return Err("header too short".into());
    }
    let mut tail = parts.pop().unwrap_or("");
    let version = parts.remove(0).to_owned();
    let mut found = '\t';
    match version.as_str() {
        "1.0" => {}
        "2.0" => {
            // The delimiter field may be left out: then the attributes begin at once.
            if let Some((field, attributes)) = tail.split_once('|')
                && !field.contains('=')
            {
                found = delimiter_of(field)?;
                tail = attributes;
            }
        }
        _ => return Err("version".into()),
    }
    let header = parts.iter().map(|part| (*part).to_owned()).collect();
    let mut parsed = Parsed { version, header, values: BTreeMap::new(), keys: Vec::new() };
    for attribute in tail.split(delimiter.unwrap_or(found)) {
        let (key, value) = attribute.split_once('=').ok_or("attribute without =")?;
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(format!("key: {key}"));
        }
        if parsed.values.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(format!("key twice: {key}"));
        }
        parsed.keys.push(key.to_owned());
    }
    Ok(parsed)
}

fn delimiter_of(field: &str) -> Result<char, String> {
    let mut chars = field.chars();
    match (chars.next(), chars.next()) {
        (None, _) => return Ok('\t'),
        (Some(c), None) => return Ok(c),
        _ => {}
    }
    let digits = field.strip_prefix("0x").or_else(|| field.strip_prefix('x')).ok_or("delimiter")?;
    let code = u32::from_str_radix(digits, 16).map_err(|_| "delimiter")?;
    char::from_u32(code).ok_or_else(|| "delimiter".into())
}
