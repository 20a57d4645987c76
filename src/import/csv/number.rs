//! Numbers as files write them.

use crate::value::{Finite, Invalid};

/// How the numbers of a file are written. A file is read under one convention, which is stated: the same
/// digits mean different numbers in different countries.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NumberFormat {
    /// `1234.5` or `1.2345e3`: a point, an exponent where wanted, and no separator of thousands.
    ///
    /// Once a row of the file has shown that its commas are decimal signs, as `1.234,50` does, a later
    /// `1.234` could be either number and is refused.
    #[default]
    Plain,
    /// `1,234.50`: a decimal point; thousands by comma, apostrophe or blank.
    Point,
    /// `1.234,50`: a decimal comma; thousands by point, apostrophe or blank.
    Comma,
}

/// Blanks that separate thousands: the ordinary one, and those that do not break a line.
const BLANKS: [char; 4] = [' ', '\u{a0}', '\u{202f}', '\u{2009}'];

/// Signs that stand before or after an amount of money. Letters of a currency's ISO code count too.
const CURRENCIES: [char; 12] = ['$', '€', '£', '¥', '₹', '₽', '₺', '₩', '₪', '₫', '₴', '฿'];

fn fault() -> Invalid {
    Invalid::new("value", "expected a finite number in the stated number format")
}

/// Reads the numbers of one file.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    format: NumberFormat,
    /// A row has shown that commas are decimal signs, against what was stated.
    commas_are_decimal: bool,
}

impl Numbers {
    pub(super) fn new(format: NumberFormat) -> Self {
        Self { format, commas_are_decimal: false }
    }

    pub(super) fn read(&mut self, text: &str) -> Result<Finite, Invalid> {
        let plain = match self.format {
            NumberFormat::Plain => return self.read_plain(text),
            NumberFormat::Point => undecorated(text, '.', ','),
            NumberFormat::Comma => undecorated(text, ',', '.'),
        };
        finite(&plain.ok_or_else(fault)?)
    }

    fn read_plain(&mut self, text: &str) -> Result<Finite, Invalid> {
        if self.commas_are_decimal && could_be_thousands(text) {
            return Err(Invalid::new(
                "value",
                "a number in which the point may separate thousands, as other rows write a decimal \
                 comma; state the number format",
            ));
        }
        let value = finite(text);
        if value.is_err() && shows_decimal_comma(text) {
            self.commas_are_decimal = true;
        }
        value
    }
}

fn finite(text: &str) -> Result<Finite, Invalid> {
    let number: f64 = text.parse().map_err(|_| fault())?;
    if number.is_finite() && !is_kept(text, number) {
        return Err(Invalid::new("value", "expected a number that a 64-bit float can hold"));
    }
    Finite::new(number)
}

/// Whether a float keeps what the text says: an integer to its last digit, and more than nothing of
/// anything that is not 0. Fractions are rounded to the nearest float, as every reader of JSON does.
fn is_kept(text: &str, number: f64) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let digits = digits.trim_start_matches('0');
        return number == 0.0 && digits.is_empty() || format!("{:.0}", number.abs()) == digits;
    }
    let mantissa = digits.split(['e', 'E']).next().unwrap_or_default();
    number != 0.0 || !mantissa.contains(|digit: char| ('1'..='9').contains(&digit))
}

/// Whether a point in this number could as well separate thousands: `1.234` or `12.345.678`.
fn could_be_thousands(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    digits.contains('.') && ungrouped(digits, &['.']).is_some()
}

/// Whether a text is a number only if its comma is a decimal sign: `1.234,50` or `1,5`, but not `1,234`.
pub(super) fn shows_decimal_comma(text: &str) -> bool {
    undecorated(text, ',', '.').is_some_and(|plain| plain.contains('.'))
        && undecorated(text, '.', ',').is_none()
}

/// Whether a text is a number only if its point is a decimal sign and commas separate thousands.
pub(super) fn shows_thousands_comma(text: &str) -> bool {
    text.contains(',')
        && undecorated(text, '.', ',').is_some()
        && undecorated(text, ',', '.').is_none()
}

/// The number with a decimal point and nothing else, of a text with separators of thousands, a
/// currency, a percent sign (which changes nothing: 12 % is 12), or parentheses for a negative one.
fn undecorated(text: &str, decimal: char, thousands: char) -> Option<String> {
    let blank = |c: char| BLANKS.contains(&c);
    let mut rest = text.trim_matches(blank);
    let mut negative = false;
    if let Some(inner) = rest.strip_prefix('(') {
        rest = inner.strip_suffix(')')?.trim_matches(blank);
        negative = true;
    }
    let mut signs = 0;
    let mut currencies = 0;
    loop {
        let before = rest;
        if let Some(after) = rest.strip_prefix(['-', '\u{2212}']) {
            (rest, negative, signs) = (after.trim_start_matches(blank), true, signs + 1);
        } else if let Some(after) = rest.strip_prefix('+') {
            (rest, signs) = (after, signs + 1);
        }
        if let Some(after) = rest.strip_prefix(CURRENCIES) {
            (rest, currencies) = (after.trim_start_matches(blank), currencies + 1);
        } else if let Some(after) = iso_code(rest).and_then(|code| rest.strip_prefix(code)) {
            (rest, currencies) = (after.trim_start_matches(blank), currencies + 1);
        }
        if rest == before {
            break;
        }
    }
    if let Some(before) = rest.strip_suffix('%') {
        (rest, currencies) = (before.trim_end_matches(blank), currencies + 1);
    }
    if let Some(before) = rest.strip_suffix(CURRENCIES) {
        (rest, currencies) = (before.trim_end_matches(blank), currencies + 1);
    } else if rest.len() > 3 && rest.is_char_boundary(rest.len() - 3) {
        let (before, code) = rest.split_at(rest.len() - 3);
        if iso_code(code).is_some() {
            (rest, currencies) = (before.trim_end_matches(blank), currencies + 1);
        }
    }
    // In parentheses there is no other sign.
    if signs + usize::from(text.contains('(')) > 1 || currencies > 1 {
        return None;
    }
    let (whole, fraction) = rest.split_once(decimal).map_or((rest, None), |(w, f)| (w, Some(f)));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if fraction.is_some_and(|fraction| fraction.is_empty() || !digits(fraction)) {
        return None;
    }
    let mut separators = vec![thousands, '\'', '\u{2019}'];
    separators.extend(BLANKS);
    let whole = if digits(whole) { whole.to_owned() } else { ungrouped(whole, &separators)? };
    if whole.is_empty() {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    Some(match fraction {
        Some(fraction) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{whole}"),
    })
}

/// The first three letters, if they are capitals.
fn iso_code(text: &str) -> Option<&str> {
    text.get(..3).filter(|code| code.bytes().all(|byte| byte.is_ascii_uppercase()))
}

/// The digits of groups of three, after a first one of one to three, that one and the same of these
/// separates.
fn ungrouped(text: &str, separators: &[char]) -> Option<String> {
    let separator = text.chars().find(|c| !c.is_ascii_digit())?;
    if !separators.contains(&separator) {
        return None;
    }
    let groups: Vec<&str> = text.split(separator).collect();
    let fits = |(n, group): (usize, &&str)| {
        group.bytes().all(|byte| byte.is_ascii_digit())
            && if n == 0 { (1..=3).contains(&group.len()) } else { group.len() == 3 }
    };
    groups.iter().enumerate().all(fits).then(|| groups.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: NumberFormat, text: &str) -> Option<f64> {
        Numbers::new(format).read(text).ok().map(Finite::get)
    }

    #[test]
    fn each_convention_reads_its_own_and_refuses_the_other() {
        use NumberFormat::{Comma, Plain, Point};
        for (text, plain, point, comma) in [
            ("1234.5", Some(1234.5), Some(1234.5), None),
            ("1,234.50", None, Some(1234.5), None),
            ("1.234,50", None, None, Some(1234.5)),
            ("1,5", None, None, Some(1.5)),
            ("1.234", Some(1.234), Some(1.234), Some(1234.0)),
            ("1,234", None, Some(1234.0), Some(1.234)),
            ("12.345.678", None, None, Some(12_345_678.0)),
            ("1'234.50", None, Some(1234.5), None),
            ("1\u{202f}234,5", None, None, Some(1234.5)),
            ("1 234", None, Some(1234.0), Some(1234.0)),
            ("$1,234.50", None, Some(1234.5), None),
            ("1.234,50 €", None, None, Some(1234.5)),
            ("EUR 12", None, Some(12.0), Some(12.0)),
            ("12 USD", None, Some(12.0), Some(12.0)),
            ("-$5", None, Some(-5.0), Some(-5.0)),
            ("$-5", None, Some(-5.0), Some(-5.0)),
            ("12.5 %", None, Some(12.5), None),
            ("12,5%", None, None, Some(12.5)),
            ("(53)", None, Some(-53.0), Some(-53.0)),
            ("($1,053.20)", None, Some(-1053.2), None),
            ("\u{2212}7", None, Some(-7.0), Some(-7.0)),
            ("1e3", Some(1000.0), None, None),
        ] {
            for (format, expected) in [(Plain, plain), (Point, point), (Comma, comma)] {
                assert_eq!(read(format, text), expected, "{text} as {format:?}");
            }
        }
        for bad in [
            "",
            "-",
            "$",
            "%",
            "()",
            "(-5)",
            "--5",
            "1,23,456",
            "1,2345",
            "12345,678.9",
            ",5",
            "5.",
            "1'234,567.0",
            "$5€",
            "5%%",
            "$5%",
            "(5",
            "5)",
            "1 2345",
            "inf",
            "NaN",
            "0x10",
            "٣",
        ] {
            assert_eq!(read(Point, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_decimal_comma_seen_before_makes_a_point_before_three_digits_doubtful() {
        let mut numbers = Numbers::new(NumberFormat::Plain);
        assert!(numbers.read("1.234").is_ok());
        assert!(numbers.read("1,234").is_err(), "which could be either");
        assert!(numbers.read("1.234").is_ok());
        assert!(numbers.read("1.234,50").is_err());
        for doubtful in ["1.234", "-1.234", "12.345.678"] {
            assert!(numbers.read(doubtful).is_err(), "{doubtful}");
        }
        for clear in ["1.5", "1234.567", "1.2345", "17"] {
            assert!(numbers.read(clear).is_ok(), "{clear}");
        }
    }

    #[test]
    fn a_number_that_a_float_would_change_is_refused() {
        let long = format!("1{}", "0".repeat(300));
        let lost =
            ["1e-400", "-1e-400", "0.1e-999", "9007199254740993", "-9007199254740993", &long];
        for number in lost {
            assert_eq!(read(NumberFormat::Plain, number), None, "{number}");
        }
        assert_eq!(read(NumberFormat::Point, "9,007,199,254,740,993"), None);
        for (number, kept) in [
            ("0", 0.0),
            ("000", 0.0),
            ("0e-999", 0.0),
            ("0.000", 0.0),
            ("9007199254740992", 9_007_199_254_740_992.0),
            ("+007", 7.0),
            ("1e22", 1e22),
            ("10000000000000000000000", 1e22),
            ("0.1", 0.1),
            ("5e-324", 5e-324),
        ] {
            assert_eq!(read(NumberFormat::Plain, number), Some(kept), "{number}");
        }
    }
}
