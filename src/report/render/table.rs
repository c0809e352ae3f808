//! Tables: columns by weight, cells wrapped, head repeated on each page, every second row shaded,
//! and the block of origin underneath. A cell is never cut and never leaves its column.

use crate::report::canvas::{Area, Face, Ink, Type, width, wrap};
use crate::report::catalogue::Status;
use crate::report::model::{Column, PDF_ROWS_MAX, Style, Table};
use crate::report::render::page::Writer;
use crate::report::render::{BLACK, BOTTOM, GREY, HEAD, LEFT, RULE, TOP, WIDTH, ZEBRA, ink};

const PAD: f32 = 4.0;
const LEADING: f32 = 9.4;
/// Lines of one row on one page; a longer row goes on as a further row.
const ROW_LINES_MAX: usize = 40;

/// A row ready to draw: its lines by column.
type Cells = Vec<Vec<String>>;

/// Draws a table and its block of origin.
pub(crate) fn draw(writer: &mut Writer, table: &Table) {
    let spans = spans(&table.columns);
    let rows: Vec<Cells> =
        table.rows.iter().take(PDF_ROWS_MAX).map(|row| cells(writer, table, &spans, row)).collect();
    let origin = origin_lines(writer, table);
    // What fits on one page is not torn: a block of origin must stand with its rows.
    let body: f32 = rows.iter().map(|row| height_of(row)).sum();
    let under = origin.len() as f32 * ORIGIN_LEADING + 26.0;
    let whole = 72.0 + body + under;
    writer.room(if whole <= BOTTOM - TOP { whole } else { 120.0 });
    writer.heading(&table.title);
    writer.y += 6.0;
    head(writer, table, &spans);
    if table.rows.is_empty() {
        let set = Type { face: Face::Regular, size: 7.6, ink: GREY };
        writer.canvas.text(LEFT + PAD, writer.y + 10.0, set, "No row.");
        writer.y += 14.0;
    }
    let last = rows.len().saturating_sub(1);
    for (n, (mut cells, row)) in rows.into_iter().zip(&table.rows).enumerate() {
        if n == last && n > 0 && height_of(&cells) + under < BOTTOM - TOP - 40.0 {
            let fits = writer.y + height_of(&cells) + under <= BOTTOM;
            if !fits {
                writer.break_page();
                head(writer, table, &spans);
            }
        }
        while cells.iter().any(|lines| !lines.is_empty()) {
            let part: Cells = cells
                .iter_mut()
                .map(|lines| lines.drain(..lines.len().min(ROW_LINES_MAX)).collect())
                .collect();
            draw_row(writer, table, &spans, row, &part, n % 2 == 1);
        }
    }
    writer.canvas.rule(LEFT, writer.y, WIDTH, RULE);
    writer.y += 2.0;
    if table.rows.len() > PDF_ROWS_MAX {
        let text = format!(
            "{PDF_ROWS_MAX} of {} rows are printed; all are in tables/{}.csv and report.json.",
            table.rows.len(),
            table.id
        );
        writer.paragraph(&text);
    }
    draw_origin(writer, &origin);
}

fn cells(writer: &mut Writer, table: &Table, spans: &[(f32, f32)], row: &[String]) -> Cells {
    let columns = table.columns.iter().zip(spans).zip(row);
    columns
        .map(|((column, span), text)| {
            let set = set(column.style, text);
            let clean = writer.canvas.clean(set.face, text);
            wrap(set.face, set.size, span.1 - 2.0 * PAD, &clean)
        })
        .collect()
}

fn height_of(cells: &[Vec<String>]) -> f32 {
    cells.iter().map(Vec::len).max().unwrap_or(1) as f32 * LEADING + 4.2
}

/// Left edge and width of each column.
fn spans(columns: &[Column]) -> Vec<(f32, f32)> {
    let total: u32 = columns.iter().map(|c| u32::from(c.weight)).sum();
    let mut x = LEFT;
    columns
        .iter()
        .map(|column| {
            let wide = WIDTH * f32::from(column.weight) / total.max(1) as f32;
            x += wide;
            (x - wide, wide)
        })
        .collect()
}

fn set(style: Style, text: &str) -> Type {
    let (face, size) = match style {
        Style::Mono => (Face::Mono, 6.6),
        _ => (Face::Regular, 7.6),
    };
    let ink = if style == Style::Finding { finding_ink(text) } else { BLACK };
    Type { face, size, ink }
}

fn finding_ink(text: &str) -> Ink {
    if text.starts_with("exception") {
        ink(Status::Exception)
    } else if text.starts_with("attention") {
        ink(Status::Attention)
    } else if text.starts_with("insufficient") {
        ink(Status::InsufficientData)
    } else {
        GREY
    }
}

fn head(writer: &mut Writer, table: &Table, spans: &[(f32, f32)]) {
    let bold = Type { face: Face::Bold, size: 7.4, ink: BLACK };
    let names: Vec<Vec<String>> = table
        .columns
        .iter()
        .zip(spans)
        .map(|(c, span)| wrap(bold.face, bold.size, span.1 - 2.0 * PAD, c.name))
        .collect();
    let lines = names.iter().map(Vec::len).max().unwrap_or(1);
    let height = lines as f32 * LEADING + 5.0;
    let y = writer.y;
    writer.canvas.fill(Area { x: LEFT, y, width: WIDTH, height }, HEAD);
    for ((column, span), lines) in table.columns.iter().zip(spans).zip(names) {
        for (n, line) in lines.iter().enumerate() {
            let x = left(column.style, *span, bold, line);
            writer.canvas.text(x, y + 9.6 + n as f32 * LEADING, bold, line);
        }
    }
    writer.y += height;
}

fn draw_row(
    writer: &mut Writer,
    table: &Table,
    spans: &[(f32, f32)],
    row: &[String],
    cells: &[Vec<String>],
    shaded: bool,
) {
    let height = height_of(cells);
    if writer.y + height > BOTTOM {
        writer.break_page();
        head(writer, table, spans);
    }
    let y = writer.y;
    if shaded {
        writer.canvas.fill(Area { x: LEFT, y, width: WIDTH, height }, ZEBRA);
    }
    let texts = row.iter().zip(cells);
    for ((column, span), (text, lines)) in table.columns.iter().zip(spans).zip(texts) {
        let set = set(column.style, text);
        for (n, line) in lines.iter().enumerate() {
            let x = left(column.style, *span, set, line);
            writer.canvas.text(x, y + 9.0 + n as f32 * LEADING, set, line);
        }
    }
    writer.y += height;
}

/// Where a line starts: numbers end at the right edge of their column.
fn left(style: Style, (x, wide): (f32, f32), set: Type, line: &str) -> f32 {
    match style {
        Style::Number => x + wide - PAD - width(set.face, set.size, line),
        _ => x + PAD,
    }
}

const ORIGIN_LABEL: Type = Type { face: Face::Regular, size: 6.6, ink: GREY };
const ORIGIN_VALUE: Type = Type { face: Face::Mono, size: 6.0, ink: GREY };
const ORIGIN_LEADING: f32 = 8.2;
/// Width of the labels of the block of origin.
const ORIGIN_INDENT: f32 = 78.0;

/// One line of the block of origin: label and value, and a second pair to the right of it.
type OriginLine = [Option<(&'static str, String)>; 2];

/// The block of origin in lines. Two short neighbours share a line; nothing is left out.
fn origin_lines(writer: &mut Writer, table: &Table) -> Vec<OriginLine> {
    let set = ORIGIN_VALUE;
    let half = WIDTH / 2.0 - ORIGIN_INDENT - 8.0;
    let mut lines: Vec<OriginLine> = Vec::new();
    let mut open = false;
    for (key, text) in &table.ipe {
        let clean = writer.canvas.clean(set.face, text);
        if width(set.face, set.size, &clean) <= half {
            match lines.last_mut().filter(|_| open) {
                Some([_, right]) => *right = Some((*key, clean)),
                None => lines.push([Some((*key, clean)), None]),
            }
            open = !open;
            continue;
        }
        open = false;
        let parts = wrap(set.face, set.size, WIDTH - ORIGIN_INDENT - PAD, &clean);
        for (n, part) in parts.into_iter().enumerate() {
            lines.push([Some((if n == 0 { *key } else { "" }, part)), None]);
        }
    }
    lines
}

/// Draws the block of origin: small and complete.
fn draw_origin(writer: &mut Writer, lines: &[OriginLine]) {
    writer.y += 4.0;
    writer.room((lines.len() as f32 * ORIGIN_LEADING + 16.0).min(300.0));
    let title = Type { face: Face::Bold, size: 6.8, ink: GREY };
    writer.canvas.text(LEFT + PAD, writer.y + 7.0, title, "Where these rows come from");
    writer.y += 10.0;
    for line in lines {
        writer.room(ORIGIN_LEADING);
        let y = writer.y + 6.4;
        for (pair, x) in line.iter().zip([LEFT + PAD, LEFT + WIDTH / 2.0]) {
            if let Some((key, value)) = pair {
                writer.canvas.text(x, y, ORIGIN_LABEL, key);
                writer.canvas.text(x + ORIGIN_INDENT, y, ORIGIN_VALUE, value);
            }
        }
        writer.y += ORIGIN_LEADING;
    }
    writer.y += 4.0;
}
