//! Tables: columns by weight, cells wrapped, head repeated on each page, every second row shaded,
//! and the block of origin underneath. A cell is never cut and never leaves its column.

use crate::report::canvas::{Area, Face, Ink, Type, width, wrap};
use crate::report::catalogue::Status;
use crate::report::model::{Column, PDF_ROWS_MAX, Style, Table};
use crate::report::render::page::Writer;
use crate::report::render::{BLACK, BOTTOM, GREY, HEAD, LEFT, RULE, WIDTH, ZEBRA, ink};

const PAD: f32 = 4.0;
const LEADING: f32 = 9.4;
/// Lines of one row on one page; a longer row goes on as a further row.
const ROW_LINES_MAX: usize = 40;

/// Draws a table and its block of origin.
pub(crate) fn draw(writer: &mut Writer, table: &Table) {
    writer.heading(&table.title);
    let spans = spans(&table.columns);
    writer.room(60.0);
    head(writer, table, &spans);
    if table.rows.is_empty() {
        let set = Type { face: Face::Regular, size: 7.6, ink: GREY };
        writer.canvas.text(LEFT + PAD, writer.y + 10.0, set, "No row.");
        writer.y += 14.0;
    }
    for (n, row) in table.rows.iter().take(PDF_ROWS_MAX).enumerate() {
        let mut cells: Vec<Vec<String>> = Vec::with_capacity(spans.len());
        for ((column, span), text) in table.columns.iter().zip(&spans).zip(row) {
            let set = set(column.style, text);
            let clean = writer.canvas.clean(set.face, text);
            cells.push(wrap(set.face, set.size, span.1 - 2.0 * PAD, &clean));
        }
        while cells.iter().any(|lines| !lines.is_empty()) {
            let part: Vec<Vec<String>> = cells
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
    origin(writer, table);
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
    let lines = cells.iter().map(Vec::len).max().unwrap_or(1);
    let height = lines as f32 * LEADING + 4.2;
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

/// The block of origin: what the table is made from, small and complete.
fn origin(writer: &mut Writer, table: &Table) {
    let label = Type { face: Face::Regular, size: 6.6, ink: GREY };
    let value = Type { face: Face::Mono, size: 6.0, ink: GREY };
    let leading = 8.2;
    let rows: Vec<(&str, Vec<String>)> = table
        .ipe
        .iter()
        .map(|(key, text)| {
            let clean = writer.canvas.clean(value.face, text);
            (*key, wrap(value.face, value.size, WIDTH - 100.0, &clean))
        })
        .collect();
    let lines: usize = rows.iter().map(|(_, lines)| lines.len()).sum();
    writer.y += 4.0;
    writer.room((lines as f32 * leading + 16.0).min(300.0));
    let title = Type { face: Face::Bold, size: 6.8, ink: GREY };
    writer.canvas.text(LEFT + PAD, writer.y + 7.0, title, "Where these rows come from");
    writer.y += 10.0;
    for (key, lines) in rows {
        for (n, line) in lines.iter().enumerate() {
            writer.room(leading);
            if n == 0 {
                writer.canvas.text(LEFT + PAD, writer.y + 6.4, label, key);
            }
            writer.canvas.text(LEFT + 90.0, writer.y + 6.4, value, line);
            writer.y += leading;
        }
    }
    writer.y += 6.0;
}
