//! Standard output for a reader who may leave: `sesari doctor | head` closes the pipe, and that is no
//! failure.

use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

macro_rules! line {
    () => { $crate::print::text("\n") };
    ($($text:tt)*) => { $crate::print::text(&(format!($($text)*) + "\n")) };
}
pub(crate) use line;

pub(crate) fn text(text: &str) {
    match stdout().write_all(text.as_bytes()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("sesari: standard output: {error}");
            std::process::exit(3);
        }
    }
}

/// A bar on standard error, where that is a terminal.
pub(crate) fn bar(length: u64, template: &str) -> ProgressBar {
    let target = if stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(length), target).with_style(style)
}

pub(crate) const RED: &str = "1;31";
pub(crate) const GREEN: &str = "32";
pub(crate) const YELLOW: &str = "33";
pub(crate) const CYAN: &str = "36";
pub(crate) const BOLD: &str = "1";

/// Colours on a terminal, unless `NO_COLOR` is set.
pub(crate) struct Paint(bool);

impl Paint {
    pub(crate) fn new() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(!refused && stdout().is_terminal())
    }

    pub(crate) fn in_colour(&self, colour: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
