//! Lays a report out on pages: title page, summary, findings, one chapter per control, sections.
//! It decides where things stand, never what they say. Two passes: the first finds the pages that
//! the second prints in the control matrix.

use crate::report::canvas::{Area, Canvas, Face, Ink, PAGE_HEIGHT, PAGE_WIDTH, Type, width, wrap};
use crate::report::catalogue::Status;
use crate::report::model::{Block, ControlResult, Report};
use crate::report::render::page::Writer;
use std::collections::BTreeMap;

mod chart;
mod page;
mod table;

pub(crate) const LEFT: f32 = 54.0;
pub(crate) const RIGHT: f32 = PAGE_WIDTH - 54.0;
pub(crate) const WIDTH: f32 = RIGHT - LEFT;
const TOP: f32 = 66.0;
const BOTTOM: f32 = PAGE_HEIGHT - 62.0;

const BLACK: Ink = Ink(24, 28, 34);
const GREY: Ink = Ink(88, 94, 104);
const RULE: Ink = Ink(196, 201, 208);
const ZEBRA: Ink = Ink(245, 246, 248);
const HEAD: Ink = Ink(226, 230, 236);
const ACCENT: Ink = Ink(28, 62, 104);
const WHITE: Ink = Ink(255, 255, 255);

/// An entry of the outline.
#[derive(Clone, PartialEq, Debug)]
pub struct Mark {
    /// Text.
    pub title: String,
    /// Page, from 0.
    pub page: usize,
    /// Distance from the top of the page.
    pub y: f32,
}

/// A report laid out.
#[derive(Debug)]
pub struct Layout {
    /// Its pages.
    pub canvas: Canvas,
    /// Its outline, in order.
    pub marks: Vec<Mark>,
}

/// Lays the report out.
pub fn layout(report: &Report) -> Layout {
    let first = pass(report, &BTreeMap::new());
    let pages = first.marks.iter().map(|m| (m.title.clone(), m.page + 1)).collect();
    let second = pass(report, &pages);
    decorate(report, second)
}

/// The colour of a status, dark enough for white text and never the only sign.
fn ink(status: Status) -> Ink {
    match status {
        Status::Supported => Ink(32, 98, 64),
        Status::Exception => Ink(156, 28, 36),
        Status::Attention => Ink(140, 84, 4),
        Status::InsufficientData => Ink(84, 62, 132),
        Status::Manual => Ink(40, 84, 132),
        Status::NotApplicable => GREY,
    }
}

fn pass(report: &Report, pages: &BTreeMap<String, usize>) -> Layout {
    let mut writer = Writer::new();
    title_page(&mut writer, report);
    writer.break_page();
    summary(&mut writer, report, pages);
    for control in &report.controls {
        chapter(&mut writer, control);
    }
    for section in &report.sections {
        writer.section(&section.title, 300.0);
        blocks(&mut writer, &section.blocks);
    }
    if writer.canvas.escapes() > 0 {
        let text = format!(
            "{} characters on these pages are written as [U+XXXX] because the embedded fonts \
             cannot show them in the right form; report.json has them as they are.",
            writer.canvas.escapes()
        );
        writer.paragraph(&text);
    }
    Layout { canvas: writer.canvas, marks: writer.marks }
}

/// Running heads and feet, once the number of pages is known.
fn decorate(report: &Report, mut layout: Layout) -> Layout {
    let canvas = &mut layout.canvas;
    let small = Type { face: Face::Regular, size: 7.5, ink: GREY };
    let mono = Type { face: Face::Mono, size: 6.2, ink: GREY };
    let title = canvas.clean(Face::Regular, &report.title);
    let tenant = canvas.clean(Face::Regular, &report.tenant);
    let fit = |text: &str, max: f32| {
        let lines = wrap(small.face, small.size, max, text);
        let first = lines.first().cloned().unwrap_or_default();
        if lines.len() > 1 { format!("{first} ...") } else { first }
    };
    let (title, tenant) = (fit(&title, WIDTH * 0.45), fit(&tenant, WIDTH * 0.45));
    let root = match report.naming.checkpoint {
        Some((size, root)) => format!("checkpoint {size} {root}"),
        None => "no checkpoint".into(),
    };
    let total = canvas.page_count();
    for page in 0..total {
        if page > 0 {
            canvas.text_on(page, LEFT, 42.0, small, &title);
            let x = RIGHT - width(small.face, small.size, &tenant);
            canvas.text_on(page, x, 42.0, small, &tenant);
            canvas.rule_on(page, LEFT, 48.0, WIDTH, RULE);
        }
        let foot = PAGE_HEIGHT - 40.0;
        canvas.rule_on(page, LEFT, foot - 11.0, WIDTH, RULE);
        canvas.text_on(page, LEFT, foot, mono, &format!("report {}", report.id));
        canvas.text_on(page, LEFT, foot + 9.0, mono, &root);
        let number = format!("page {} of {total}", page + 1);
        let x = RIGHT - width(small.face, small.size, &number);
        canvas.text_on(page, x, foot, small, &number);
    }
    layout
}

fn title_page(writer: &mut Writer, report: &Report) {
    writer.break_page();
    writer.canvas.fill(Area { x: LEFT, y: 92.0, width: 64.0, height: 3.0 }, ACCENT);
    writer.y = 132.0;
    writer.line(Type { face: Face::Bold, size: 25.0, ink: BLACK }, 32.0, &report.title);
    writer.line(Type { face: Face::Regular, size: 13.0, ink: GREY }, 20.0, &report.tenant);
    writer.y += 14.0;
    counts(writer, report);
    writer.y += 26.0;
    writer.key_values(&report.facts);
    writer.y += 16.0;
    writer.heading("What this document is not");
    writer.paragraph(
        "It is evidence computed from one log. It is not an attestation, not a certificate, not \
         legal advice, and it does not say that any law is met. \u{201c}Supported\u{201d} means \
         that the evidence named was found and that no item of the full population broke the rule \
         printed beside it. Where the log holds no data, the report says so; it never counts as \
         a pass.",
    );
}

/// One box per status that occurs in the vocabulary, with its number.
fn counts(writer: &mut Writer, report: &Report) {
    let mut order = Status::ALL.to_vec();
    order.sort_by_key(|status| status.rank());
    let gap = 6.0;
    let cell = (WIDTH - gap * (order.len() as f32 - 1.0)) / order.len() as f32;
    let y = writer.y;
    for (n, status) in order.into_iter().enumerate() {
        let x = LEFT + n as f32 * (cell + gap);
        let count = report.count(status);
        let back = if count > 0 { ink(status) } else { HEAD };
        let front = if count > 0 { WHITE } else { GREY };
        writer.canvas.fill(Area { x, y, width: cell, height: 42.0 }, back);
        let big = Type { face: Face::Bold, size: 17.0, ink: front };
        writer.canvas.text(x + 7.0, y + 21.0, big, &count.to_string());
        let small = Type { face: Face::Regular, size: 7.0, ink: front };
        writer.canvas.text(x + 7.0, y + 34.0, small, status.label());
    }
    writer.y += 42.0;
}

fn summary(writer: &mut Writer, report: &Report, pages: &BTreeMap<String, usize>) {
    writer.section("Summary", PAGE_HEIGHT);
    for (n, control) in report.controls.iter().enumerate() {
        let title = wrap_title(control);
        writer.room(46.0);
        let y = writer.y;
        if n > 0 {
            writer.canvas.rule(LEFT, y - 4.0, WIDTH, RULE);
        }
        writer.chip(LEFT, y + 4.0, control.status);
        let name = Type { face: Face::Bold, size: 9.0, ink: BLACK };
        let at = pages.get(&title).copied().unwrap_or(0);
        let page = format!("page {at}");
        let small = Type { face: Face::Regular, size: 8.0, ink: GREY };
        writer.canvas.text(RIGHT - width(small.face, small.size, &page), y + 13.0, small, &page);
        writer.y = y + 13.0;
        writer.text_at(LEFT + 92.0, WIDTH - 140.0, name, 12.0, &title);
        let numbers = format!(
            "{}. Items: {}. Items that break the rule: {}.",
            control.articles, control.items, control.exceptions
        );
        writer.text_at(LEFT + 92.0, WIDTH - 92.0, small, 11.0, &numbers);
        writer.y += 8.0;
    }
    writer.y += 6.0;
    findings(writer, report, Status::Exception, "Exceptions");
    findings(writer, report, Status::InsufficientData, "Insufficient data");
    findings(writer, report, Status::Attention, "Attention");
}

fn findings(writer: &mut Writer, report: &Report, status: Status, title: &str) {
    let reasons: Vec<(&str, &str)> = report
        .controls
        .iter()
        .flat_map(|c| c.reasons.iter().map(|r| (c.id.as_str(), r)))
        .filter(|(_, reason)| reason.status == status)
        .map(|(id, reason)| (id, reason.text.as_str()))
        .collect();
    writer.heading(title);
    if reasons.is_empty() {
        writer.paragraph("None.");
    }
    for (id, text) in reasons {
        writer.bullet(ink(status), &format!("{id}: {text}"));
    }
}

fn wrap_title(control: &ControlResult) -> String {
    format!("{}  {}", control.id, control.title)
}

fn chapter(writer: &mut Writer, control: &ControlResult) {
    writer.section(&wrap_title(control), PAGE_HEIGHT);
    let y = writer.y;
    writer.chip(LEFT, y - 2.0, control.status);
    let small = Type { face: Face::Regular, size: 8.5, ink: GREY };
    writer.y = y + 7.0;
    writer.text_at(LEFT + 92.0, WIDTH - 92.0, small, 11.0, &control.articles);
    writer.y += 8.0;
    if !control.quote.is_empty() {
        writer.quote(&format!("\u{201c}{}\u{201d}", control.quote));
    }
    writer.paragraph(&control.wording);
    writer.labelled("Rule", &control.rule);
    writer.labelled("Source", &control.source);
    writer.heading("Result");
    for reason in &control.reasons {
        let text = format!("{}: {}", reason.status.label(), reason.text);
        writer.bullet(ink(reason.status), &text);
    }
    blocks(writer, &control.blocks);
}

fn blocks(writer: &mut Writer, blocks: &[Block]) {
    for block in blocks {
        match block {
            Block::Paragraph(text) => writer.paragraph(text),
            Block::Heading(text) => writer.heading(text),
            Block::Verbatim(text) => writer.verbatim(text),
            Block::Table(table) => table::draw(writer, table),
            Block::Bars(bars) => chart::bars(writer, bars),
            Block::Strips(strips) => chart::strips(writer, strips),
        }
    }
}
