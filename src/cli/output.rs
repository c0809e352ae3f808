//! What a person or a program sees: rows, objects, status words, sizes, progress.
//! A terminal gets an aligned table, anything else the same rows as tab-separated lines, and
//! `--json` gets objects. Text from events is escaped before it is shown, always: a log line must
//! never move a cursor or turn a word around. It never decides what is shown.

pub mod escape;
pub mod progress;
pub mod table;
pub mod units;

pub use escape::escape;
pub use progress::Progress;
pub use table::{Align, Table};

use serde_json::Value;
use std::io::{self, IsTerminal, Write};

/// Width when the terminal does not say: it fits a report page and most windows.
const WIDTH_DEFAULT: usize = 100;
/// Narrower than this no table is readable; wider cells are cut instead.
const WIDTH_MIN: usize = 40;

/// How results leave the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// One JSON value per result instead of text.
    pub json: bool,
    /// Nothing but results and errors.
    pub quiet: bool,
    /// Status words carry colour.
    pub color: bool,
    /// Standard output is a terminal: aligned tables, cut to `width`.
    pub terminal: bool,
    /// Standard error is a terminal that can redraw a line, and progress is wanted.
    pub progress: bool,
    /// Columns of the terminal.
    pub width: usize,
}

/// What the surroundings say, gathered once so that `Style::new` stays pure.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Standard output is a terminal.
    pub stdout_terminal: bool,
    /// Standard error is a terminal.
    pub stderr_terminal: bool,
    /// `NO_COLOR` is set and not empty (<https://no-color.org>).
    pub no_color: bool,
    /// `TERM` is `dumb`.
    pub dumb: bool,
    /// `COLUMNS`, if it is a number.
    pub columns: Option<usize>,
}

impl Surroundings {
    /// Looks at the process's own surroundings.
    pub fn of_process() -> Self {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        Surroundings {
            stdout_terminal: io::stdout().is_terminal(),
            stderr_terminal: io::stderr().is_terminal(),
            no_color: !variable("NO_COLOR").is_empty(),
            dumb: variable("TERM") == "dumb",
            columns: variable("COLUMNS").parse().ok(),
        }
    }
}

/// What the command line asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// `--json`.
    pub json: bool,
    /// `--quiet`.
    pub quiet: bool,
    /// `--no-color`.
    pub no_color: bool,
}

impl Style {
    /// The style for these wishes in these surroundings.
    pub fn new(wishes: Wishes, around: &Surroundings) -> Self {
        let plain = wishes.json || wishes.no_color || around.no_color || around.dumb;
        Style {
            json: wishes.json,
            quiet: wishes.quiet,
            color: around.stdout_terminal && !plain,
            terminal: around.stdout_terminal && !wishes.json,
            progress: around.stderr_terminal && !around.dumb && !wishes.json && !wishes.quiet,
            width: around.columns.unwrap_or(WIDTH_DEFAULT).max(WIDTH_MIN),
        }
    }
}

/// How a status word is meant: decides its colour, never its wording.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    /// Proved or done.
    Good,
    /// Look at it.
    Warn,
    /// Evidence failed, or refused.
    Bad,
    /// Neither; printed as it is.
    Plain,
}

/// Standard output or a test's buffer, in one style.
pub struct Output<W: Write> {
    /// How.
    pub style: Style,
    sink: W,
}

impl Output<io::Stdout> {
    /// Standard output of this process.
    pub fn of_process(wishes: Wishes) -> Self {
        Output { style: Style::new(wishes, &Surroundings::of_process()), sink: io::stdout() }
    }
}

impl<W: Write> Output<W> {
    /// Writes to `sink`.
    pub fn new(style: Style, sink: W) -> Self {
        Output { style, sink }
    }

    /// A sentence for people: nothing under `--json` or `--quiet`. The text is escaped.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        if self.style.json || self.style.quiet {
            return Ok(());
        }
        writeln!(self.sink, "{}", escape::escape_lines(text))
    }

    /// One line of words from outside: a line end in them is shown and ends nothing.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        if self.style.json || self.style.quiet {
            return Ok(());
        }
        writeln!(self.sink, "{}", escape(text))
    }

    /// A status word and what it speaks of: nothing under `--json`.
    pub fn status(&mut self, tone: Tone, word: &str, text: &str) -> io::Result<()> {
        if self.style.json {
            return Ok(());
        }
        let word = paint(self.style.color, tone, &escape(word));
        match text {
            "" => writeln!(self.sink, "{word}"),
            text => writeln!(self.sink, "{word} {}", escape(text)),
        }
    }

    /// Rows for people and for `cut`: aligned on a terminal, tab-separated otherwise.
    pub fn table(&mut self, table: &Table) -> io::Result<()> {
        if self.style.json {
            return Ok(());
        }
        let width = self.style.terminal.then_some(self.style.width);
        self.sink.write_all(table.render(width).as_bytes())
    }

    /// One JSON value on one line: only under `--json`. Control and bidi characters inside
    /// strings leave as `\u` escapes, so a terminal that shows the JSON is safe as well.
    pub fn object(&mut self, value: &Value) -> io::Result<()> {
        if !self.style.json {
            return Ok(());
        }
        writeln!(self.sink, "{}", escape::json_line(value))
    }

    /// Writes what is still buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    /// Gives the sink back.
    pub fn into_sink(self) -> W {
        self.sink
    }
}

/// The word in the colour of its tone.
fn paint(color: bool, tone: Tone, word: &str) -> String {
    let code = match tone {
        Tone::Good => "32",
        Tone::Warn => "33",
        Tone::Bad => "31",
        Tone::Plain => return word.to_owned(),
    };
    if color { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() }
}
