//! CEF: ArcSight's Common Event Format, Implementation Standard v27, as the subset that real
//! parsers agree on. One record in, one line out, without transport prefix and line end.
//!
//! | part | bytes |
//! |---|---|
//! | header | `CEF:0`, vendor, product, version, class id, name, severity; a pipe before each |
//! | separator | the seventh pipe, also where no extension follows |
//! | extension | `key=value`, one space between |
//! | escapes in the header | `\\` `\|`; a line break is one space |
//! | escapes in a value | `\\` `\=` `\n` `\r`; a pipe stays, or becomes `/` on request |
//! | other controls | a space, counted |
//!
//! It never writes a key without a value, a label without its key, or a key twice.

use crate::base::record::Record;
use crate::base::refusal::Refusal;
use crate::format::siem::dictionary::CEF_HEADER_MAX;
use crate::format::siem::mapping::Mapping;
use crate::format::siem::value::View;
use crate::format::siem::{Cleaning, Context, Format, Options, Pipe, Substitutions, clean};

/// Appends the record's line to `out`; on a refusal `out` is as before.
pub fn encode(
    record: &Record,
    context: &Context<'_>,
    mapping: &Mapping,
    options: &Options<'_>,
    out: &mut Vec<u8>,
) -> Result<Substitutions, Refusal> {
    if mapping.format != Format::Cef {
        return Err(Refusal::new("SIEM_FORMAT_MISMATCH", "use a mapping for cef"));
    }
    let view = View::new(record, context, mapping, options)?;
    let mut count = Substitutions::default();
    let mut line = String::with_capacity(1024);
    line.push_str("CEF:");
    line.push_str(mapping.version);
    let name = mapping.name(view.class_id());
    let parts = [&mapping.vendor, &mapping.product, context.version, view.class_id(), name];
    for (part, max) in parts.into_iter().zip(CEF_HEADER_MAX) {
        line.push('|');
        escape_header(part, max, &mut line, &mut count);
    }
    line.push('|');
    line.push_str(&record.entry.head.severity.value().to_string());
    line.push('|');
    let mut is_first = true;
    for field in &mapping.fields {
        let Some(rendered) = view.render(field, &mut count)? else { continue };
        let value = clean(&rendered.text, &value_rule(rendered.max, options.pipe), &mut count);
        if value.is_empty() {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            line.push(' ');
        }
        line.push_str(rendered.key);
        line.push('=');
        escape(&value, &mut line);
        if let Some(label) = rendered.label {
            line.push(' ');
            line.push_str(rendered.key);
            line.push_str("Label=");
            line.push_str(label);
        }
    }
    out.extend_from_slice(line.as_bytes());
    Ok(count)
}

/// Appends a header field of at most `max` characters, escaped.
pub fn escape_header(text: &str, max: usize, line: &mut String, count: &mut Substitutions) {
    let rule = Cleaning { max, keep_breaks: false, replace_pipe: false, delimiter: None };
    for c in clean(text, &rule, count).chars() {
        if c == '\\' || c == '|' {
            line.push('\\');
        }
        line.push(c);
    }
}

/// Appends an extension value of at most `max` characters, escaped.
pub fn escape_value(
    text: &str,
    max: usize,
    pipe: Pipe,
    line: &mut String,
    count: &mut Substitutions,
) {
    escape(&clean(text, &value_rule(max, pipe), count), line);
}

fn value_rule(max: usize, pipe: Pipe) -> Cleaning {
    Cleaning { max, keep_breaks: true, replace_pipe: pipe == Pipe::Replace, delimiter: None }
}

fn escape(clean: &str, line: &mut String) {
    for c in clean.chars() {
        match c {
            '\\' => line.push_str("\\\\"),
            '=' => line.push_str("\\="),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            c => line.push(c),
        }
    }
}
