//! A canvas over printpdf: pages, text that is measured, lines, rectangles. Origin is the top
//! left corner, y grows downwards, units are points. Every character is checked against the font;
//! what the font cannot show, or cannot show in the right order, becomes a visible `[U+XXXX]` and
//! is counted. It never draws a missing glyph and knows nothing of reports.

use printpdf::{
    Color, FontId, Line, LinePoint, Op, PaintMode, ParsedFont, PdfFontHandle, Point, Pt, Rect, Rgb,
    TextItem,
};
use std::sync::LazyLock;

/// Width of a page: A4.
pub const PAGE_WIDTH: f32 = 595.28;
/// Height of a page: A4.
pub const PAGE_HEIGHT: f32 = 841.89;

/// The three faces that are embedded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Face {
    /// DejaVu Sans Condensed.
    Regular,
    /// DejaVu Sans Condensed Bold.
    Bold,
    /// DejaVu Sans Mono.
    Mono,
}

impl Face {
    /// Every face.
    pub const ALL: [Face; 3] = [Face::Regular, Face::Bold, Face::Mono];

    /// Resource name and subset tag: six capitals, fixed, so that bytes do not change.
    pub fn id(self) -> FontId {
        FontId(
            match self {
                Face::Regular => "CHREGU",
                Face::Bold => "CHBOLD",
                Face::Mono => "CHMONO",
            }
            .to_owned(),
        )
    }

    fn bytes(self) -> &'static [u8] {
        match self {
            Face::Regular => include_bytes!("fonts/DejaVuSansCondensed.ttf"),
            Face::Bold => include_bytes!("fonts/DejaVuSansCondensed-Bold.ttf"),
            Face::Mono => include_bytes!("fonts/DejaVuSansMono.ttf"),
        }
    }

    /// The parsed face; parsed once in a process. `None` only if the build embedded a bad file.
    pub fn font(self) -> Option<&'static ParsedFont> {
        static FONTS: LazyLock<[Option<ParsedFont>; 3]> = LazyLock::new(|| {
            Face::ALL.map(|face| ParsedFont::from_bytes(face.bytes(), 0, &mut Vec::new()))
        });
        let [regular, bold, mono] = &*FONTS;
        match self {
            Face::Regular => regular.as_ref(),
            Face::Bold => bold.as_ref(),
            Face::Mono => mono.as_ref(),
        }
    }

    /// Glyph and width in thousandths of the font size; `None` = not to be drawn.
    fn glyph(self, c: char) -> Option<f32> {
        if c.is_control() || !drawn_in_order(c) {
            return None;
        }
        let font = self.font()?;
        let glyph = font.lookup_glyph_index(u32::from(c)).filter(|glyph| *glyph != 0)?;
        let em = f32::from(font.font_metrics.units_per_em.max(1));
        Some(f32::from(font.get_horizontal_advance(glyph)) * 1000.0 / em)
    }
}

/// False for scripts that need shaping or run right to left, for marks that reorder text, for
/// characters without a picture, and beyond the basic plane: drawn naively, such text would say
/// something else, or be copied out as something else.
fn drawn_in_order(c: char) -> bool {
    !matches!(u32::from(c),
        0x00AD | 0x0590..=0x08FF | 0x0900..=0x109F | 0x1780..=0x18AF | 0x200B..=0x200F
        | 0x2028..=0x202E | 0x2060..=0x206F | 0xD800..=0xF8FF | 0xFB1D..=0xFDFF | 0xFE00..=0xFE0F
        | 0xFE70..=0xFEFF | 0xFFF0..)
}

/// A colour as red, green, blue in 0-255.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ink(pub u8, pub u8, pub u8);

impl Ink {
    fn color(self) -> Color {
        let part = |value: u8| (f32::from(value) / 255.0 * 1000.0).round() / 1000.0;
        Color::Rgb(Rgb::new(part(self.0), part(self.1), part(self.2), None))
    }
}

/// How a run of text is set.
#[derive(Clone, Copy, Debug)]
pub struct Type {
    /// Which face.
    pub face: Face,
    /// Size in points.
    pub size: f32,
    /// Colour.
    pub ink: Ink,
}

/// A box on a page.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// Left edge.
    pub x: f32,
    /// Upper edge, from the top of the page.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

/// Replaces what a face cannot draw; returns the text and the number of escapes.
pub fn drawable(face: Face, text: &str) -> (String, u64) {
    let mut out = String::with_capacity(text.len());
    let mut escapes = 0;
    for c in text.chars() {
        if matches!(c, '\n' | '\r' | '\t') {
            out.push(' ');
        } else if face.glyph(c).is_some() {
            out.push(c);
        } else {
            out.push_str(&format!("[U+{:04X}]", u32::from(c)));
            escapes += 1;
        }
    }
    (out, escapes)
}

/// Width of a text that is already drawable.
pub fn width(face: Face, size: f32, text: &str) -> f32 {
    text.chars().filter_map(|c| face.glyph(c)).sum::<f32>() * size / 1000.0
}

/// Breaks a drawable text into lines no wider than `max`: at spaces, and inside a word only when
/// the word alone is wider than a line, then after punctuation if there is any. Never returns no
/// line.
pub fn wrap(face: Face, size: f32, max: f32, text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut used) = (String::new(), 0.0);
    let space = width(face, size, " ");
    for word in text.split_whitespace() {
        let wide = width(face, size, word);
        if !line.is_empty() && used + space + wide <= max {
            line.push(' ');
            line.push_str(word);
            used += space + wide;
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        line = broken(face, size, max, word, &mut lines);
        used = width(face, size, &line);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// Breaks one word; full lines go to `lines`, the rest is returned.
fn broken(face: Face, size: f32, max: f32, word: &str, lines: &mut Vec<String>) -> String {
    let (mut line, mut used, mut soft) = (String::new(), 0.0, 0);
    for c in word.chars() {
        let step = face.glyph(c).unwrap_or(0.0) * size / 1000.0;
        if used + step > max && !line.is_empty() {
            let rest = line.split_off(if soft > 0 { soft } else { line.len() });
            lines.push(std::mem::replace(&mut line, rest));
            used = width(face, size, &line);
            soft = 0;
        }
        let digit = line.ends_with(|c: char| c.is_ascii_digit());
        line.push(c);
        used += step;
        // `T` between date and time of RFC 3339 is the best place in an instant.
        if matches!(c, '-' | '/' | '_' | '.' | ',' | '+') || c == 'T' && digit {
            soft = line.len();
        }
    }
    line
}

/// Pages being drawn.
#[derive(Debug, Default)]
pub struct Canvas {
    pages: Vec<Vec<Op>>,
    escapes: u64,
}

impl Canvas {
    /// No page yet.
    pub fn new() -> Self {
        Canvas::default()
    }

    /// Starts a page; what follows is drawn on it.
    pub fn new_page(&mut self) {
        self.pages.push(Vec::new());
    }

    /// Pages so far.
    pub fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// Characters that were written as `[U+XXXX]`.
    pub fn escapes(&self) -> u64 {
        self.escapes
    }

    /// Makes a text drawable and counts its escapes.
    pub fn clean(&mut self, face: Face, text: &str) -> String {
        let (text, escapes) = drawable(face, text);
        self.escapes += escapes;
        text
    }

    /// Draws a drawable text with its baseline at `y` on a page counted from 0.
    pub fn text_on(&mut self, page: usize, x: f32, y: f32, set: Type, text: &str) {
        let Some(ops) = self.pages.get_mut(page).filter(|_| !text.is_empty()) else { return };
        ops.extend([
            Op::StartTextSection,
            Op::SetFillColor { col: set.ink.color() },
            Op::SetFont { font: PdfFontHandle::External(set.face.id()), size: Pt(set.size) },
            Op::SetTextCursor { pos: point(x, y) },
            Op::ShowText { items: vec![TextItem::Text(text.to_owned())] },
            Op::EndTextSection,
        ]);
    }

    /// Draws a drawable text on the last page.
    pub fn text(&mut self, x: f32, y: f32, set: Type, text: &str) {
        self.text_on(self.pages.len().saturating_sub(1), x, y, set, text);
    }

    /// Fills a box on the last page.
    pub fn fill(&mut self, area: Area, ink: Ink) {
        let Some(ops) = self.pages.last_mut() else { return };
        let low = point(area.x, area.y + area.height);
        let (width, height) = (Pt(round(area.width)), Pt(round(area.height)));
        let rectangle =
            Rect { mode: Some(PaintMode::Fill), ..Rect::from_xywh(low.x, low.y, width, height) };
        ops.extend([Op::SetFillColor { col: ink.color() }, Op::DrawRectangle { rectangle }]);
    }

    /// Draws a level line on a page counted from 0.
    pub fn rule_on(&mut self, page: usize, x: f32, y: f32, width: f32, ink: Ink) {
        let Some(ops) = self.pages.get_mut(page) else { return };
        let end = |x| LinePoint { p: point(x, y), bezier: false };
        let line = Line { points: vec![end(x), end(x + width)], is_closed: false };
        ops.extend([
            Op::SetOutlineColor { col: ink.color() },
            Op::SetOutlineThickness { pt: Pt(0.5) },
            Op::DrawLine { line },
        ]);
    }

    /// Draws a level line on the last page.
    pub fn rule(&mut self, x: f32, y: f32, width: f32, ink: Ink) {
        self.rule_on(self.pages.len().saturating_sub(1), x, y, width, ink);
    }

    /// The finished pages.
    pub fn into_pages(self) -> Vec<Vec<Op>> {
        self.pages
    }
}

/// Two decimals are 0.004 mm: enough for the eye, and short in the file.
fn round(value: f32) -> f32 {
    (value * 100.0).round() / 100.0
}

fn point(x: f32, y: f32) -> Point {
    Point { x: Pt(round(x)), y: Pt(round(PAGE_HEIGHT - y)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(face: Face, text: &str, expect: &str) {
        assert_eq!(drawable(face, text).0, expect);
    }

    #[test]
    fn what_the_font_cannot_show_is_spelled_out() {
        check(Face::Regular, "Zo\u{eb} \u{3a9} \u{416}", "Zo\u{eb} \u{3a9} \u{416}");
        check(Face::Regular, "\u{4e2d}\u{6587}", "[U+4E2D][U+6587]");
        check(Face::Regular, "a\u{1f600}b", "a[U+1F600]b");
        check(Face::Mono, "\u{5d0}\u{202e}x\0", "[U+05D0][U+202E]x[U+0000]");
        check(Face::Bold, "a\tb\nc", "a b c");
    }

    #[test]
    fn no_line_is_wider_than_asked() {
        let word = "x".repeat(300);
        for text in ["", "one", "some words that are set in lines", &word, "a b \u{e9}\u{e9}"] {
            let lines = wrap(Face::Regular, 9.0, 60.0, text);
            assert!(!lines.is_empty());
            assert!(lines.iter().all(|l| width(Face::Regular, 9.0, l) <= 60.01), "{lines:?}");
            let joined: String = lines.concat().split_whitespace().collect();
            assert_eq!(joined, text.split_whitespace().collect::<String>());
        }
    }
}
