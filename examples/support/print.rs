//! `println!` for a reader who may leave: `doctor | head` closes the pipe, and that is no failure.
//!
//! The program goes on in silence, so that what it made is cleaned up.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

macro_rules! println {
    () => { $crate::print::line(format_args!("")) };
    ($($text:tt)*) => { $crate::print::line(format_args!($($text)*)) };
}

/// One line to standard output.
pub(crate) fn line(text: Arguments<'_>) {
    line_to(&mut std::io::stdout(), text);
}

/// One line to a reader who may have left. Any other error is a panic, as that of `println!` is.
pub(crate) fn line_to(out: &mut dyn Write, text: Arguments<'_>) {
    match writeln!(out, "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("standard output: {error}"),
        _ => {}
    }
}
