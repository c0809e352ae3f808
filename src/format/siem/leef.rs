//! LEEF: QRadar's Log Event Extended Format, 2.0 with a literal `^`, or 1.0 with TAB on request.
//! One record in, one line out, without syslog header and line end.
//!
//! | part | bytes |
//! |---|---|
//! | header | `LEEF:2.0`, vendor, product, version, event id, delimiter; a pipe after each |
//! | header of 1.0 | `LEEF:1.0`, the same without the delimiter |
//! | attributes | `key=value`, one delimiter between, four at least |
//!
//! IBM defines no escapes at all: what could end a value early is replaced and counted. It never
//! writes an empty value, and never a delimiter, TAB, CR, LF or pipe inside a value.

use crate::base::record::Record;
use crate::base::refusal::Refusal;
use crate::format::siem::dictionary::LEEF_HEADER_MAX;
use crate::format::siem::mapping::Mapping;
use crate::format::siem::value::View;
use crate::format::siem::{Cleaning, Context, Format, Options, Substitutions, clean};

/// Appends the record's line to `out`; on a refusal `out` is as before.
pub fn encode(
    record: &Record,
    context: &Context<'_>,
    mapping: &Mapping,
    options: &Options<'_>,
    out: &mut Vec<u8>,
) -> Result<Substitutions, Refusal> {
    if mapping.format != Format::Leef {
        return Err(Refusal::new("SIEM_FORMAT_MISMATCH", "use a mapping for leef"));
    }
    let view = View::new(record, context, mapping, options)?;
    let mut count = Substitutions::default();
    let mut line = String::with_capacity(1024);
    line.push_str("LEEF:");
    line.push_str(mapping.version);
    for part in [&mapping.vendor, &mapping.product, context.version, view.class_id()] {
        line.push('|');
        line.push_str(&value(part, LEEF_HEADER_MAX, mapping.delimiter, &mut count));
    }
    line.push('|');
    if mapping.version == "2.0" {
        line.push(mapping.delimiter);
        line.push('|');
    }
    let mut is_first = true;
    for field in &mapping.fields {
        let Some(rendered) = view.render(field, &mut count)? else { continue };
        let text = value(&rendered.text, rendered.max, mapping.delimiter, &mut count);
        if text.is_empty() {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            line.push(mapping.delimiter);
        }
        line.push_str(rendered.key);
        line.push('=');
        line.push_str(&text);
    }
    out.extend_from_slice(line.as_bytes());
    Ok(count)
}

/// A header field or value of at most `max` characters in its safe form.
pub fn value(text: &str, max: usize, delimiter: char, count: &mut Substitutions) -> String {
    let rule = Cleaning { max, keep_breaks: false, replace_pipe: true, delimiter: Some(delimiter) };
    clean(text, &rule, count)
}
