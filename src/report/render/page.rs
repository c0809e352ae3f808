//! The writing head: a position on the last page, text blocks, page breaks.

use crate::report::canvas::{Area, Canvas, Face, Ink, Type, width, wrap};
use crate::report::catalogue::Status;
use crate::report::render::{
    ACCENT, BLACK, BOTTOM, GREY, LEFT, Mark, RULE, TOP, WHITE, WIDTH, ZEBRA, ink,
};

const BODY: Type = Type { face: Face::Regular, size: 9.0, ink: BLACK };
const LEADING: f32 = 12.6;

/// Draws from top to bottom and starts a page when one is full.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) canvas: Canvas,
    pub(crate) marks: Vec<Mark>,
    /// Where the next thing starts.
    pub(crate) y: f32,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Writer { canvas: Canvas::new(), marks: Vec::new(), y: BOTTOM }
    }

    pub(crate) fn break_page(&mut self) {
        self.canvas.new_page();
        self.y = TOP;
    }

    /// Makes sure that `height` fits; true if a page was started for it.
    pub(crate) fn room(&mut self, height: f32) -> bool {
        let full = self.y + height > BOTTOM && self.y > TOP;
        if full || self.canvas.page_count() == 0 {
            self.break_page();
            return true;
        }
        false
    }

    /// Lines of text, the first with its baseline at `self.y`.
    pub(crate) fn text_at(&mut self, x: f32, max: f32, set: Type, leading: f32, text: &str) {
        let text = self.canvas.clean(set.face, text);
        for line in wrap(set.face, set.size, max, &text) {
            if self.y > BOTTOM {
                self.break_page();
                self.y += set.size;
            }
            self.canvas.text(x, self.y, set, &line);
            self.y += leading;
        }
    }

    /// Full-width lines whose first baseline is one leading below.
    pub(crate) fn line(&mut self, set: Type, leading: f32, text: &str) {
        self.text_at(LEFT, WIDTH, set, leading, text);
    }

    /// Opens a chapter. It starts a page unless there are `height` points left, or none were
    /// used yet.
    pub(crate) fn section(&mut self, title: &str, height: f32) {
        if self.y > TOP && self.y + height > BOTTOM {
            self.break_page();
        } else if self.y > TOP {
            self.y += 22.0;
        }
        let page = self.canvas.page_count().saturating_sub(1);
        self.marks.push(Mark { title: title.to_owned(), page, y: self.y });
        self.y += 12.0;
        self.line(Type { face: Face::Bold, size: 14.0, ink: ACCENT }, 18.0, title);
        self.canvas.rule(LEFT, self.y - 9.0, WIDTH, ACCENT);
        self.y += 8.0;
    }

    pub(crate) fn heading(&mut self, title: &str) {
        self.room(54.0);
        self.y += if self.y > TOP { 20.0 } else { 12.0 };
        self.line(Type { face: Face::Bold, size: 10.0, ink: BLACK }, 13.0, title);
        self.y -= 5.0;
    }

    pub(crate) fn paragraph(&mut self, text: &str) {
        self.room(LEADING * 2.0);
        self.y += 9.0;
        self.line(BODY, LEADING, text);
        self.y -= 3.0;
    }

    /// A paragraph with a bold word in front.
    pub(crate) fn labelled(&mut self, label: &str, text: &str) {
        self.room(LEADING * 2.0);
        self.y += 11.0;
        let bold = Type { face: Face::Bold, size: 8.5, ink: GREY };
        self.canvas.text(LEFT, self.y, bold, label);
        let set = Type { size: 8.5, ink: GREY, ..BODY };
        self.text_at(LEFT + 44.0, WIDTH - 44.0, set, 11.6, text);
        self.y -= 6.0;
    }

    /// The law's own words, set off by a bar.
    pub(crate) fn quote(&mut self, text: &str) {
        let set = Type { size: 8.5, ink: GREY, ..BODY };
        let clean = self.canvas.clean(set.face, text);
        let lines = wrap(set.face, set.size, WIDTH - 24.0, &clean);
        let height = lines.len() as f32 * 11.6 + 4.0;
        self.room(height + 8.0);
        let top = self.y;
        self.canvas.fill(Area { x: LEFT, y: top, width: 2.0, height }, RULE);
        self.y = top + 10.0;
        for line in lines {
            self.canvas.text(LEFT + 10.0, self.y, set, &line);
            self.y += 11.6;
        }
        self.y = top + height + 5.0;
    }

    /// Text kept as it is, in a shaded box; lines too long are broken.
    pub(crate) fn verbatim(&mut self, text: &str) {
        let set = Type { face: Face::Mono, size: 7.2, ink: BLACK };
        for line in text.lines() {
            let clean = self.canvas.clean(set.face, line);
            for part in wrap(set.face, set.size, WIDTH - 16.0, &clean) {
                self.room(10.0);
                let area = Area { x: LEFT, y: self.y, width: WIDTH, height: 10.0 };
                self.canvas.fill(area, ZEBRA);
                self.canvas.text(LEFT + 8.0, self.y + 7.4, set, &part);
                self.y += 10.0;
            }
        }
        self.y += 4.0;
    }

    /// A sentence with a square in the colour of its status.
    pub(crate) fn bullet(&mut self, mark: Ink, text: &str) {
        self.room(LEADING * 2.0);
        self.y += 10.0;
        let area = Area { x: LEFT + 1.0, y: self.y - 6.2, width: 5.5, height: 5.5 };
        self.canvas.fill(area, mark);
        self.text_at(LEFT + 14.0, WIDTH - 14.0, BODY, LEADING, text);
        self.y -= 7.0;
    }

    /// Keys left, values right, a hairline between rows.
    pub(crate) fn key_values(&mut self, pairs: &[(&'static str, String)]) {
        for (key, value) in pairs {
            let set = Type { size: 8.6, ..BODY };
            let clean = self.canvas.clean(set.face, value);
            let lines = wrap(set.face, set.size, WIDTH - 122.0, &clean);
            let height = lines.len() as f32 * 11.4 + 5.0;
            self.room(height);
            let label = Type { size: 8.6, ink: GREY, ..BODY };
            let mut y = self.y + 10.4;
            self.canvas.text(LEFT, y, label, key);
            for line in &lines {
                self.canvas.text(LEFT + 122.0, y, set, line);
                y += 11.4;
            }
            self.y += height;
            self.canvas.rule(LEFT, self.y, WIDTH, RULE);
        }
    }

    /// A filled label with the status word.
    pub(crate) fn chip(&mut self, x: f32, y: f32, status: Status) {
        let set = Type { face: Face::Bold, size: 7.4, ink: WHITE };
        self.canvas.fill(Area { x, y, width: 82.0, height: 13.0 }, ink(status));
        let label = status.label().to_uppercase();
        let inset = (82.0 - width(set.face, set.size, &label)) / 2.0;
        self.canvas.text(x + inset, y + 9.3, set, &label);
    }
}
