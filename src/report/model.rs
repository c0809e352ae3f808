//! A report as a document: facts, results, sections of paragraphs, tables and charts. One model,
//! three writings (PDF, JSON, CSV). It holds text only, so what is printed is what is hashed; it
//! never computes evidence.

use crate::base::id::{Hash32, TenantId, hex};
use crate::base::unit::UtcNanos;
use crate::format::json::INTEGER_MAX;
use crate::report::catalogue::Status;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Rows of one table that the PDF prints; the CSV and `report.json` have all of them.
pub const PDF_ROWS_MAX: usize = 500;

/// Why something came to its status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    /// What it alone would make of the control.
    pub status: Status,
    /// One sentence.
    pub text: String,
}

/// What one control came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlResult {
    /// Id in the catalogue.
    pub id: String,
    /// One line.
    pub title: String,
    /// Provisions.
    pub articles: String,
    /// The law's words.
    pub quote: String,
    /// Ours.
    pub wording: String,
    /// The rule with its thresholds, in a sentence.
    pub rule: String,
    /// Where the requirement comes from.
    pub source: String,
    /// The result.
    pub status: Status,
    /// Why: worst first.
    pub reasons: Vec<Reason>,
    /// Items judged.
    pub items: u64,
    /// Items that break the rule.
    pub exceptions: u64,
    /// Evidence.
    pub blocks: Vec<Block>,
}

/// How a column is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// Running text, left.
    Text,
    /// Fixed pitch, left: handles, hashes, positions.
    Mono,
    /// Right.
    Number,
    /// A finding: coloured by its first word.
    Finding,
}

/// One column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// Share of the page's width.
    pub weight: u16,
    /// How it is set.
    pub style: Style,
}

impl Column {
    /// A column.
    pub const fn new(name: &'static str, weight: u16, style: Style) -> Self {
        Column { name, weight, style }
    }
}

/// A table with the block that lets a reader judge its population.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// Unique in the report; also its file name under `tables/`.
    pub id: String,
    /// Heading.
    pub title: String,
    /// Columns.
    pub columns: Vec<Column>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<String>>,
    /// Information produced by the entity: what the table is made from.
    pub ipe: Vec<(&'static str, String)>,
}

impl Table {
    /// SHA-256 over the rows: each as an RFC 8785 array of strings, ended by a line feed.
    pub fn rows_sha256(rows: &[Vec<String>]) -> Hash32 {
        let mut hash = Sha256::new();
        for row in rows {
            hash.update(canonical(&json!(row)));
            hash.update(b"\n");
        }
        Hash32(hash.finalize().into())
    }
}

/// Labelled amounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bars {
    /// Heading.
    pub title: String,
    /// Label and amount, in the order drawn.
    pub bars: Vec<(String, u64)>,
    /// Period, zone, number and query: what it shows.
    pub caption: String,
}

/// When each source was heard: one cell per `days` days.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Strips {
    /// Heading.
    pub title: String,
    /// Source and its events by cell.
    pub rows: Vec<(String, Vec<u64>)>,
    /// First and last day.
    pub ends: (String, String),
    /// Period, zone and cell width.
    pub caption: String,
}

/// A piece of a section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Block {
    /// A paragraph.
    Paragraph(String),
    /// A heading inside the section.
    Heading(String),
    /// Text kept as it is, in fixed pitch, e.g. a checkpoint.
    Verbatim(String),
    /// A table.
    Table(Table),
    /// A bar chart.
    Bars(Bars),
    /// A coverage chart.
    Strips(Strips),
}

/// A section that belongs to no control.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// Heading.
    pub title: String,
    /// Contents.
    pub blocks: Vec<Block>,
}

/// A finished report, before it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// 32 hex digits: hash of the inputs that name the report.
    pub id: String,
    /// `gdpr`.
    pub kind: String,
    /// Title of the document.
    pub title: String,
    /// The tenant, as people call it.
    pub tenant: String,
    /// What names the report: key and value, in the order printed.
    pub facts: Vec<(&'static str, String)>,
    /// The same for machines: RFC 3339 times, decimal numbers, hex.
    pub naming: Naming,
    /// Controls, worst first, then in the catalogue's order.
    pub controls: Vec<ControlResult>,
    /// Scope and method, population, verification.
    pub sections: Vec<Section>,
}

/// The inputs that name a report: the same inputs give the same bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Naming {
    /// Origin line of the log's checkpoints.
    pub origin: String,
    /// Whose log.
    pub tenant: TenantId,
    /// Framework.
    pub framework: String,
    /// Version of the catalogue.
    pub catalogue_version: String,
    /// SHA-256 of the catalogue file.
    pub catalogue_sha256: Hash32,
    /// First instant of the period.
    pub period_start: UtcNanos,
    /// First instant after it.
    pub period_end: UtcNanos,
    /// Size and root of the checkpoint; `None` = no verification was made.
    pub checkpoint: Option<(u64, Hash32)>,
    /// Generation of the key tree.
    pub generation: u64,
    /// Nonce of pseudonyms and samples.
    pub nonce: [u8; 16],
    /// Who asked.
    pub requester: String,
    /// Until when facts were taken.
    pub cut_off: UtcNanos,
    /// Program and version.
    pub software: String,
    /// SHA-256 over the leaf hashes of the period.
    pub leaves_sha256: Hash32,
    /// Entries in the period.
    pub entries: u64,
    /// Report that this one replaces.
    pub supersedes: Option<String>,
}

impl Naming {
    /// As JSON.
    pub fn json(&self) -> Value {
        let checkpoint = self
            .checkpoint
            .map(|(size, root)| json!({ "root": root.to_string(), "size": number(size) }));
        json!({
            "catalogue_sha256": self.catalogue_sha256.to_string(),
            "catalogue_version": self.catalogue_version,
            "checkpoint": checkpoint,
            "cut_off": self.cut_off.to_string(),
            "entries": number(self.entries),
            "framework": self.framework,
            "generation": number(self.generation),
            "leaves_sha256": self.leaves_sha256.to_string(),
            "nonce": hex(&self.nonce),
            "origin": self.origin,
            "period_end": self.period_end.to_string(),
            "period_start": self.period_start.to_string(),
            "requester": self.requester,
            "software": self.software,
            "supersedes": self.supersedes,
            "tenant": self.tenant.to_string(),
        })
    }

    /// Name of the report: the first 16 bytes of SHA-256 over `json()` in RFC 8785, as hex.
    pub fn id(&self) -> String {
        let digest: [u8; 32] = Sha256::digest(canonical(&self.json())).into();
        digest.first_chunk::<16>().map(|head| hex(head)).unwrap_or_default()
    }
}

impl Report {
    /// The canonical form: `report.json`.
    pub fn json(&self) -> Vec<u8> {
        let controls: Vec<Value> = self.controls.iter().map(control_json).collect();
        let sections: Vec<Value> = self
            .sections
            .iter()
            .map(|s| json!({ "blocks": blocks_json(&s.blocks), "title": s.title }))
            .collect();
        canonical(&json!({
            "controls": controls,
            "facts": pairs_json(&self.facts),
            "format": "chancery/report/v1",
            "id": self.id,
            "inputs": self.naming.json(),
            "kind": self.kind,
            "sections": sections,
            "tenant": self.tenant,
            "title": self.title,
        }))
    }

    /// Every table, in the order printed.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        let controls = self.controls.iter().flat_map(|c| &c.blocks);
        let sections = self.sections.iter().flat_map(|s| &s.blocks);
        controls.chain(sections).filter_map(|block| match block {
            Block::Table(table) => Some(table),
            _ => None,
        })
    }

    /// How many controls came to a status.
    pub fn count(&self, status: Status) -> usize {
        self.controls.iter().filter(|c| c.status == status).count()
    }
}

/// A number as JSON: beyond 2^53 - 1 a decimal string, because RFC 8785 numbers are doubles.
pub fn number(value: u64) -> Value {
    if value <= INTEGER_MAX { json!(value) } else { json!(value.to_string()) }
}

/// RFC 8785 bytes.
pub fn canonical(value: &Value) -> Vec<u8> {
    // The writer can only fail on numbers that are no doubles; `number` makes none.
    serde_json_canonicalizer::to_vec(value).unwrap_or_default()
}

fn pairs_json(pairs: &[(&'static str, String)]) -> Value {
    pairs.iter().map(|(key, value)| json!([key, value])).collect()
}

fn control_json(control: &ControlResult) -> Value {
    let reasons: Vec<Value> = control
        .reasons
        .iter()
        .map(|r| json!({ "status": r.status.name(), "text": r.text }))
        .collect();
    json!({
        "articles": control.articles,
        "blocks": blocks_json(&control.blocks),
        "exceptions": number(control.exceptions),
        "id": control.id,
        "items": number(control.items),
        "quote": control.quote,
        "reasons": reasons,
        "rule": control.rule,
        "source": control.source,
        "status": control.status.name(),
        "title": control.title,
        "wording": control.wording,
    })
}

fn blocks_json(blocks: &[Block]) -> Vec<Value> {
    let amounts = |amounts: &[u64]| amounts.iter().map(|n| number(*n)).collect::<Vec<_>>();
    blocks
        .iter()
        .map(|block| match block {
            Block::Paragraph(text) => json!({ "paragraph": text }),
            Block::Heading(text) => json!({ "heading": text }),
            Block::Verbatim(text) => json!({ "verbatim": text }),
            Block::Table(table) => json!({ "table": {
                "columns": table.columns.iter().map(|c| c.name).collect::<Vec<_>>(),
                "id": table.id,
                "ipe": pairs_json(&table.ipe),
                "rows": table.rows,
                "title": table.title,
            }}),
            Block::Bars(bars) => json!({ "bars": {
                "bars": bars.bars.iter().map(|(k, n)| json!([k, number(*n)])).collect::<Vec<_>>(),
                "caption": bars.caption,
                "title": bars.title,
            }}),
            Block::Strips(strips) => json!({ "strips": {
                "caption": strips.caption,
                "ends": [strips.ends.0, strips.ends.1],
                "rows": strips.rows.iter().map(|(k, cells)| json!([k, amounts(cells)]))
                    .collect::<Vec<_>>(),
                "title": strips.title,
            }}),
        })
        .collect()
}
