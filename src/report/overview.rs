//! The sections of a report that belong to no control: scope and method, population and sources,
//! how to check it. They show the whole population, so that a reader can judge every table.

use crate::base::unit::UtcNanos;
use crate::report::catalogue::Status;
use crate::report::inputs::{Inputs, SourceTally};
use crate::report::manifest::MANIFEST;
use crate::report::model::{Block, Column, Section, Strips, Style, Table};
use crate::report::rules::{Context, Origin};

/// All of them, in order.
pub(crate) fn sections(context: &Context<'_>) -> Vec<Section> {
    vec![method(context), population(context), checking(context)]
}

fn method(context: &Context<'_>) -> Section {
    let inputs = context.inputs;
    let period = inputs.scope.period;
    let mut blocks = vec![
        Block::Paragraph(format!(
            "Every entry whose log time lies from {} up to, not including, {} (UTC) was read once, \
             in log order: {} entries, of them {} events. Nothing was sampled. Log time is the \
             vault's own clock, which never runs back; the time a source claims is not used.",
            period.start, period.end, inputs.entries.count, inputs.events
        )),
        Block::Paragraph(
            "No value of a sealed field went into this report; the verification opened bodies only \
             to recompute their commitments. It is computed from the public part of the entries \
             (codes, counts, positions, hashes) and from the state of the key plane. \
             Persons appear under pseudonyms that are salted with the nonce on the first page: \
             they hold in this report only, and without the vault nobody can lead them back. That \
             is pseudonymisation, not anonymisation."
                .into(),
        ),
    ];
    if context.facts.cut_off < period.end {
        blocks.push(Block::Paragraph(format!(
            "The period was not over at the cut-off {}: later entries are not in this report.",
            context.facts.cut_off
        )));
    }
    blocks.push(Block::Heading("Status words".into()));
    for (status, text) in [
        (Status::Exception, "at least one item breaks the rule; every such item is listed"),
        (Status::InsufficientData, "no data, or not all of it: never counted as a pass"),
        (Status::Attention, "the rule is kept, and a person should look"),
        (Status::Manual, "the log cannot show it: evidence must be attached"),
        (Status::Supported, "items were found and none of the full population breaks the rule"),
        (Status::NotApplicable, "excluded, with a reason and who approved it"),
    ] {
        blocks.push(Block::Paragraph(format!("{}: {text}.", status.label())));
    }
    Section { title: "Scope and method".into(), blocks }
}

fn population(context: &Context<'_>) -> Section {
    let mut blocks = Vec::new();
    if let Some(strips) = strips(context.inputs) {
        blocks.push(Block::Strips(strips));
    }
    blocks.push(Block::Table(sources(context)));
    blocks.push(Block::Table(codes(context)));
    blocks.push(Block::Table(kinds(context)));
    Section { title: "Population and sources".into(), blocks }
}

fn name(source: &SourceTally) -> String {
    source.name.clone().unwrap_or_else(|| "name not available".into())
}

fn strips(inputs: &Inputs) -> Option<Strips> {
    let period = inputs.scope.period;
    let last = UtcNanos(period.end.0.saturating_sub(1)).day();
    let rows: Vec<_> = inputs.sources.iter().map(|(_, s)| (name(s), s.strip.clone())).collect();
    (!rows.is_empty()).then(|| Strips {
        title: "When each source was heard".into(),
        rows,
        ends: (period.start.day().to_string(), last.to_string()),
        caption: format!(
            "One cell = {} d of log time (UTC) from {}; darker = more events than the source's \
             other cells; palest = none. n = {} events; query population.sources.",
            inputs.strip_days(),
            period.start,
            inputs.events
        ),
    })
}

fn origin(query: &str, counted: u64) -> Origin<'_> {
    Origin { query, parameters: "none".into(), counted, span: None, exclusions: Vec::new() }
}

fn sources(context: &Context<'_>) -> Table {
    let inputs = context.inputs;
    let cells: Vec<Vec<String>> = inputs
        .sources
        .iter()
        .map(|(handle, s)| {
            let numbers = match s.numbering.span() {
                Some((first, last)) => format!("{first} to {last}"),
                None => "none".into(),
            };
            vec![
                name(s),
                handle.to_string(),
                s.span.count.to_string(),
                numbers,
                s.numbering.missing().to_string(),
                s.numbering.repeated().to_string(),
                s.unnumbered.to_string(),
            ]
        })
        .collect();
    let columns = vec![
        Column::new("source", 28, Style::Text),
        Column::new("handle", 46, Style::Mono),
        Column::new("events", 15, Style::Number),
        Column::new("its numbers", 24, Style::Mono),
        Column::new("missing", 14, Style::Number),
        Column::new("repeated", 14, Style::Number),
        Column::new("without number", 16, Style::Number),
    ];
    let mut origin = origin("population.sources", cells.len() as u64);
    if inputs.sources.overflow() > 0 {
        let text = format!("events of further sources: {}", inputs.sources.overflow());
        origin.exclusions.push(text);
    }
    context.table("population-sources".into(), "Sources", columns, cells, origin)
}

fn codes(context: &Context<'_>) -> Table {
    let cells: Vec<Vec<String>> = context
        .inputs
        .codes
        .iter()
        .map(|((code, outcome), n)| vec![code.to_string(), outcome.to_string(), n.to_string()])
        .collect();
    let columns = vec![
        Column::new("code", 40, Style::Text),
        Column::new("outcome", 30, Style::Text),
        Column::new("events", 20, Style::Number),
    ];
    let origin = origin("population.codes", cells.len() as u64);
    let title = "Events by code and outcome";
    context.table("population-codes".into(), title, columns, cells, origin)
}

fn kinds(context: &Context<'_>) -> Table {
    let cells: Vec<Vec<String>> = context
        .inputs
        .kinds
        .iter()
        .map(|(kind, n)| vec![kind.to_string(), n.to_string()])
        .collect();
    let columns =
        vec![Column::new("kind", 40, Style::Text), Column::new("entries", 20, Style::Number)];
    let origin = origin("population.kinds", cells.len() as u64);
    context.table("population-kinds".into(), "Entries by kind", columns, cells, origin)
}

fn checking(context: &Context<'_>) -> Section {
    let inputs = context.inputs;
    let paragraphs = [
        format!(
            "1. Signature. {MANIFEST} is a signed note (C2SP signed-note, Ed25519). Check it with \
             the report key that you hold from elsewhere, never with a key that came with the \
             report."
        ),
        format!(
            "2. Files. {MANIFEST} names every file with its SHA-256 and length. A changed, missing \
             or added file is not part of the report. The same report.json is embedded in this \
             document."
        ),
        "3. Rows. Under every table stands the SHA-256 of its rows: each row of report.json as an \
         RFC 8785 array, ended by a line feed. The CSV files carry the same rows; a field that a \
         spreadsheet would run as a formula has an apostrophe in front there."
            .to_owned(),
        format!(
            "4. Population. SHA-256 over the leaf hashes of the period's entries, in log order, is \
             {}. The checkpoint under the tables is the log's; inclusion of these entries in it, \
             and that nothing between them was left out, is checked with an export of the log and \
             chancery verify, or with the second implementation.",
            inputs.leaves_sha256()
        ),
        "5. Again. The same inputs (catalogue, period, checkpoint, key generation, nonce, \
         requester, cut-off, software) give the same bytes of this document, report.json and the \
         CSV files."
            .to_owned(),
        "Limits. A chain shows nothing of events that were lost before they arrived; only the \
         numbers of a source can, and sources without numbers cannot show it at all. Facts that \
         only the vault knows (fates of class-days, erasures, which person an access belongs to) \
         are its word, signed; the entries that they point to can be checked."
            .to_owned(),
    ];
    let blocks = paragraphs.into_iter().map(Block::Paragraph).collect();
    Section { title: "How to check this report".into(), blocks }
}
