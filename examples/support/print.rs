//! `println!` for a reader who may leave: `doctor | head` closes the pipe, and that is no failure.
//!
//! The program goes on in silence, so that what it made is cleaned up.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

macro_rules! println {
    () => { $crate::print::line(format_args!("")) };
    ($($text:tt)*) => { $crate::print::line(format_args!($($text)*)) };
}

pub fn line(text: Arguments<'_>) {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("standard output: {error}"),
        _ => {}
    }
}
