//! A bar on standard error while long work runs: only when that is a terminal and neither
//! `--json` nor `--quiet` asks for silence. It never writes to standard output.

use crate::cli::output::Style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Redraws per second: enough to look alive, too few to cost anything.
const REDRAWS: u8 = 8;

/// A bar, or nothing at all.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar of `total` steps with our own words in front (never text from an event).
    pub fn new(style: &Style, words: &'static str, total: u64) -> Self {
        if !style.progress {
            return Progress { bar: ProgressBar::hidden() };
        }
        let target = ProgressDrawTarget::stderr_with_hz(REDRAWS);
        let bar = ProgressBar::with_draw_target(Some(total), target).with_message(words);
        let template = "{msg:24} [{bar:30}] {human_pos}/{human_len} {per_sec} {eta}";
        // A bad template is our own mistake and costs the looks only.
        if let Ok(look) = ProgressStyle::with_template(template) {
            bar.set_style(look.progress_chars("=> "));
        }
        Progress { bar }
    }

    /// `n` further steps are done.
    pub fn add(&self, n: u64) {
        self.bar.inc(n);
    }

    /// Takes the bar away; what was done is said by the result.
    pub fn done(self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    /// An early return leaves no half bar behind.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
