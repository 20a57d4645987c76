//! What is compared, once what is random or of the clock has got a name.
//!
//! - An id or digest that neither the program nor its set-up chose (20 characters or more, letters
//!   and digits) is named by the order of first appearance: `#1`, `#2`, ...
//!   So is a number of 15 digits or more: a count of microseconds.
//!   So is a hash as a list of 32 bytes, and the number of a transaction in an entry of the audit log,
//!   which is the accepted channel "numbers of transactions"; where it stands alone it is left out.
//! - A moment of the run itself is named by the step in which it lies, by the server's clock: `@0` before
//!   the program, `@1` in its first step, and `@later` after the last. So what a step dates is compared,
//!   and neither how long things took nor in which order one statement touched several rows.
//! - The database's own name, which the logins are named after, is `<db>`.
//!
//! Everything else is compared to the letter: rows and their order, counts, kinds of errors with the
//! server's text, constraint, table and column. Rows of a statement without an `ORDER BY` are sorted
//! before that; their order is nobody's promise.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};

/// A piece of a text: verbatim, random, or a moment of the run.
enum Piece<'t> {
    Plain(&'t str),
    Random(&'t str),
    Moment(DateTime<Utc>),
}

/// The shortest text that can be random: fixed ids are shorter, `CUID`s longer.
const RANDOM: usize = 20;

fn moment(text: &str) -> Option<(DateTime<Utc>, usize)> {
    // "2026-11-23T10:20:30.123456Z", with a blank for the T, and a zone of +00, +00:00, UTC or none.
    let bytes = text.as_bytes();
    let shaped = bytes.len() >= 19
        && bytes[..19].iter().enumerate().all(|(i, byte)| match i {
            4 | 7 => *byte == b'-',
            10 => matches!(byte, b'T' | b' '),
            13 | 16 => *byte == b':',
            _ => byte.is_ascii_digit(),
        });
    if !shaped {
        return None;
    }
    let mut end = 19;
    if bytes.get(end) == Some(&b'.') {
        end += 1 + bytes[end + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    }
    let local = format!("{}T{}Z", &text[..10], &text[11..end]);
    for zone in ["+00:00", "+00", "Z"] {
        if text[end..].starts_with(zone) {
            end += zone.len();
            break;
        }
    }
    Some((local.parse().ok()?, end))
}

/// A hash as a list of its bytes, or the number of a transaction after its name: where it begins and
/// ends.
fn of_a_kind(text: &[u8]) -> Option<(usize, usize)> {
    const NUMBERED: &[u8] = b"transaction_id: ";
    let count = |text: &[u8], test: fn(&u8) -> bool| text.iter().take_while(|b| test(b)).count();
    if text.starts_with(NUMBERED) {
        let digits = count(&text[NUMBERED.len()..], u8::is_ascii_digit);
        return Some((NUMBERED.len(), NUMBERED.len() + digits));
    }
    let listed = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b',' | b' ');
    let end = 1 + count(text.get(1..)?, listed);
    let bytes = text[..end].split(|byte| *byte == b',').count();
    (text[0] == b'[' && bytes == 32 && text.get(end) == Some(&b']')).then_some((1, end))
}

fn pieces(text: &str, since: DateTime<Utc>) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    let word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    while at < text.len() {
        if let Some((moment, length)) =
            text.is_char_boundary(at).then(|| moment(&text[at..])).flatten()
        {
            if moment >= since {
                pieces.push(Piece::Plain(&text[start..at]));
                pieces.push(Piece::Moment(moment));
                start = at + length;
            }
            at += length;
            continue;
        }
        if let Some((before, length)) = of_a_kind(&text.as_bytes()[at..]) {
            pieces.push(Piece::Plain(&text[start..at + before]));
            pieces.push(Piece::Random(&text[at + before..at + length]));
            start = at + length;
            at += length;
            continue;
        }
        let run = text.as_bytes()[at..].iter().take_while(|byte| word(byte)).count();
        // As many digits as microseconds have that are counted from 1970.
        let counted = run >= 15 && text.as_bytes()[at..at + run].iter().all(u8::is_ascii_digit);
        if run >= RANDOM || counted {
            pieces.push(Piece::Plain(&text[start..at]));
            pieces.push(Piece::Random(&text[at..at + run]));
            start = at + run;
        }
        at += run.max(1);
    }
    pieces.push(Piece::Plain(&text[start..]));
    pieces
}

/// Times from here on are of the run. Clocks of two machines may differ a little, and programs run
/// for seconds.
#[expect(clippy::disallowed_methods, reason = "compared with the server's clock")]
pub fn recently() -> DateTime<Utc> {
    Utc::now() - TimeDelta::hours(1)
}

/// What to sort rows by that are in no order: first what is neither random nor of the clock.
pub fn order(row: &str) -> (String, Vec<DateTime<Utc>>) {
    let (mut text, mut moments) = (String::new(), Vec::new());
    for piece in pieces(row, recently()) {
        match piece {
            Piece::Plain(plain) => text.push_str(plain),
            Piece::Random(_) => text.push('#'),
            Piece::Moment(at) => {
                text.push('@');
                moments.push(at);
            }
        }
    }
    (text, moments)
}

/// The texts of one world, in the order in which they were seen, and when each step ended, from the
/// program's beginning on.
pub fn normal<'t>(
    texts: impl Iterator<Item = &'t str> + Clone,
    database: &str,
    steps: &[DateTime<Utc>],
) -> Vec<String> {
    let since = recently();
    let parsed: Vec<_> = texts.map(|text| pieces(text, since)).collect();
    let mut names = BTreeMap::new();
    parsed
        .into_iter()
        .map(|pieces| {
            let mut out = String::new();
            for piece in pieces {
                match piece {
                    Piece::Plain(text) => out.push_str(text),
                    Piece::Random(text) => {
                        let next = names.len() + 1;
                        let name = names.entry(text).or_insert(next);
                        let _ = write!(out, "#{name}");
                    }
                    Piece::Moment(at) => match steps.iter().position(|end| at <= *end) {
                        Some(step) => {
                            let _ = write!(out, "@{step}");
                        }
                        None => out.push_str("@later"),
                    },
                }
            }
            out.replace(database, "<db>")
        })
        .collect()
}
