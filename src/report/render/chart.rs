//! Charts as rectangles: bars with their numbers, and coverage strips. Colour is never the only
//! sign: each bar prints its amount, each strip its total and its empty cells.

use crate::report::canvas::{Area, Face, Ink, Type, width, wrap};
use crate::report::model::{Bars, Strips};
use crate::report::render::page::Writer;
use crate::report::render::{ACCENT, BLACK, GREY, HEAD, LEFT, RIGHT, WIDTH};

const LABEL: Type = Type { face: Face::Regular, size: 7.8, ink: BLACK };
const SMALL: Type = Type { face: Face::Regular, size: 7.0, ink: GREY };
const LABEL_WIDTH: f32 = 128.0;
/// Sources drawn in a coverage chart; the table below it has all of them.
const STRIPS_MAX: usize = 24;

/// Horizontal bars, longest = full width.
pub(crate) fn bars(writer: &mut Writer, bars: &Bars) {
    if bars.bars.is_empty() {
        return;
    }
    writer.room(bars.bars.len() as f32 * 15.0 + 70.0);
    writer.heading(&bars.title);
    let max = bars.bars.iter().map(|(_, n)| *n).max().unwrap_or(0).max(1);
    let full = WIDTH - LABEL_WIDTH - 70.0;
    for (name, amount) in &bars.bars {
        writer.room(15.0);
        let y = writer.y;
        let name = fitted(writer, name);
        writer.canvas.text(LEFT, y + 9.0, LABEL, &name);
        let track = Area { x: LEFT + LABEL_WIDTH, y: y + 1.5, width: full, height: 10.0 };
        writer.canvas.fill(track, Ink(240, 242, 245));
        let part = *amount as f64 / max as f64;
        let long = if *amount == 0 { 0.0 } else { (full * part as f32).max(1.0) };
        if long > 0.0 {
            writer.canvas.fill(Area { width: long, ..track }, ACCENT);
        }
        let x = LEFT + LABEL_WIDTH + full + 8.0;
        writer.canvas.text(x, y + 9.0, LABEL, &amount.to_string());
        writer.y += 15.0;
    }
    caption(writer, &bars.caption);
}

/// One row of cells per source: dark = events, pale = none.
pub(crate) fn strips(writer: &mut Writer, strips: &Strips) {
    if strips.rows.is_empty() {
        return;
    }
    writer.room(strips.rows.len().min(STRIPS_MAX) as f32 * 16.0 + 84.0);
    writer.heading(&strips.title);
    let full = WIDTH - LABEL_WIDTH - 90.0;
    for (name, cells) in strips.rows.iter().take(STRIPS_MAX) {
        writer.room(16.0);
        let y = writer.y;
        let name = fitted(writer, name);
        writer.canvas.text(LEFT, y + 9.0, LABEL, &name);
        let wide = full / cells.len().max(1) as f32;
        let max = cells.iter().copied().max().unwrap_or(0);
        for (n, amount) in cells.iter().enumerate() {
            let x = LEFT + LABEL_WIDTH + n as f32 * wide;
            let area = Area { x, y: y + 1.0, width: (wide - 0.6).max(0.4), height: 11.0 };
            writer.canvas.fill(area, shade(*amount, max));
        }
        let empty = cells.iter().filter(|n| **n == 0).count();
        let note = format!("{} events, {empty} empty", cells.iter().sum::<u64>());
        writer.canvas.text(LEFT + LABEL_WIDTH + full + 6.0, y + 9.0, SMALL, &note);
        writer.y += 16.0;
    }
    let y = writer.y + 6.0;
    writer.canvas.text(LEFT + LABEL_WIDTH, y, SMALL, &strips.ends.0);
    let x = LEFT + LABEL_WIDTH + full - width(SMALL.face, SMALL.size, &strips.ends.1);
    writer.canvas.text(x, y, SMALL, &strips.ends.1);
    writer.y += 9.0;
    if strips.rows.len() > STRIPS_MAX {
        let text = format!("{STRIPS_MAX} of {} sources are drawn.", strips.rows.len());
        caption(writer, &text);
    }
    caption(writer, &strips.caption);
}

/// Four steps of one hue; none is pale grey.
fn shade(amount: u64, max: u64) -> Ink {
    match amount.saturating_mul(4).checked_div(max) {
        None | Some(0) if amount == 0 => HEAD,
        None | Some(0) => Ink(150, 176, 206),
        Some(1) => Ink(106, 142, 184),
        Some(2) => Ink(64, 104, 150),
        Some(_) => ACCENT,
    }
}

/// The first line of a label, with dots when there is more.
fn fitted(writer: &mut Writer, name: &str) -> String {
    let clean = writer.canvas.clean(LABEL.face, name);
    let lines = wrap(LABEL.face, LABEL.size, LABEL_WIDTH - 18.0, &clean);
    match lines.as_slice() {
        [one] => one.clone(),
        [first, ..] => format!("{first}..."),
        [] => String::new(),
    }
}

fn caption(writer: &mut Writer, text: &str) {
    writer.y += 9.0;
    writer.text_at(LEFT, RIGHT - LEFT, SMALL, 9.0, text);
}
