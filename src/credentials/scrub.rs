//! Removes credentials from error texts of outside services, which often quote what they refused.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::Secret;

/// Values shorter than this, in characters, are left alone: they would black out half the text.
const MIN_LEN: usize = 4;
/// How many leading bytes identify a value. The whole match is removed.
const PREFIX: usize = 64;
/// How far past the cut is read, in characters: a prefix, each byte of it escaped.
const MARGIN: usize = PREFIX * 16;
/// How often an escape may be escaped again.
const DECODINGS: usize = 3;
/// What stands in for a value.
const REDACTED: &str = "[redacted]";

/// The first `max_chars` characters of the text, without any of the secret's values, without NUL, and
/// still of at most `max_chars` characters.
///
/// Taken out are the secret as a whole and, where it is JSON, each string and number in it: as they are,
/// percent-encoded, with the escapes of JSON or HTML, in up to three layers of these, in base64 of either
/// alphabet, alone or amid other text as in `Basic`, in hexadecimal, and numbers in any spelling. A value
/// that the text breaks off after 64 bytes is taken out as well. Not recognised are values under 4
/// characters, shorter parts, hashes, compression, base64 over several lines or within base64.
///
/// Time and memory are linear in `max_chars`, whatever the length of the text.
#[must_use]
pub fn scrub(text: &str, secret: &Secret, max_chars: usize) -> String {
    let values = Values::of(secret);
    let kept: Zeroizing<String> = Zeroizing::new(
        text.chars().filter(|c| *c != '\0').take(max_chars.saturating_add(MARGIN)).collect(),
    );
    let mut hidden = vec![false; kept.len()];
    let mut view = View::of(&kept);
    for _ in 0..=DECODINGS {
        values.hide(&view, &mut hidden);
        let decoded = view.decoded();
        if decoded.bytes.len() == view.bytes.len() {
            break;
        }
        view = decoded;
    }
    let mut clean = String::new();
    let mut within = false;
    for (at, c) in kept.char_indices().take(max_chars) {
        // Part of a character may be a value's end where values are no text.
        let is_hidden = hidden[at..at + c.len_utf8()].contains(&true);
        if !is_hidden {
            clean.push(c);
        } else if !within {
            clean.push_str(REDACTED);
        }
        within = is_hidden;
    }
    clean.chars().take(max_chars).collect()
}

/// Bytes of the text with escapes undone, each with where it comes from in the text.
struct View {
    bytes: Zeroizing<Vec<u8>>,
    /// First and last byte in the text.
    origins: Vec<(usize, usize)>,
}

impl View {
    fn of(text: &str) -> Self {
        Self {
            bytes: Zeroizing::new(text.as_bytes().to_vec()),
            origins: (0..text.len()).map(|at| (at, at)).collect(),
        }
    }

    /// One layer of escapes undone, of all kinds at once.
    fn decoded(&self) -> Self {
        // Never longer than what it stands for: nothing is left behind by growing.
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.bytes.len()));
        let mut origins = Vec::with_capacity(self.bytes.len());
        let mut at = 0;
        while at < self.bytes.len() {
            let (decoded, length) = match unescape(&self.bytes[at..]) {
                Some((Unescaped::Byte(byte), length)) => (vec![byte], length),
                Some((Unescaped::Char(c), length)) => (c.to_string().into_bytes(), length),
                None => (vec![self.bytes[at]], 1),
            };
            let origin = (self.origins[at].0, self.origins[at + length - 1].1);
            origins.extend(decoded.iter().map(|_| origin));
            bytes.extend(decoded);
            at += length;
        }
        Self { bytes, origins }
    }
}

enum Unescaped {
    Byte(u8),
    Char(char),
}

/// What the escape at the head of the text stands for, and its length.
fn unescape(text: &[u8]) -> Option<(Unescaped, usize)> {
    match text {
        [b'%', digits @ ..] | [b'\\', b'x', digits @ ..] => {
            let byte = u8::try_from(number(digits.get(..2)?, 16)?).ok()?;
            Some((Unescaped::Byte(byte), text.len() - digits.len() + 2))
        }
        [b'\\', b'u', digits @ ..] => {
            let unit = number(digits.get(..4)?, 16)?;
            let low = match digits.get(4..10) {
                Some([b'\\', b'u', low @ ..]) => number(low, 16).filter(|u| u & 0xfc00 == 0xdc00),
                _ => None,
            };
            match low {
                Some(low) if unit & 0xfc00 == 0xd800 => {
                    let c = char::from_u32(0x10000 + ((unit & 0x3ff) << 10) + (low & 0x3ff))?;
                    Some((Unescaped::Char(c), 12))
                }
                _ => Some((Unescaped::Char(char::from_u32(unit)?), 6)),
            }
        }
        [b'\\', c, ..] => {
            let byte = match c {
                b'/' | b'\\' | b'"' | b'\'' => *c,
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                _ => return None,
            };
            Some((Unescaped::Byte(byte), 2))
        }
        [b'&', b'#', rest @ ..] => {
            let end = rest.iter().take(9).position(|b| *b == b';')?;
            let code = match &rest[..end] {
                [b'x' | b'X', digits @ ..] => number(digits, 16)?,
                digits => number(digits, 10)?,
            };
            Some((Unescaped::Char(char::from_u32(code)?), end + 3))
        }
        [b'&', ..] => {
            [("&amp;", b'&'), ("&lt;", b'<'), ("&gt;", b'>'), ("&quot;", b'"'), ("&apos;", b'\'')]
                .into_iter()
                .find(|(name, _)| text.starts_with(name.as_bytes()))
                .map(|(name, byte)| (Unescaped::Byte(byte), name.len()))
        }
        _ => None,
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    // The standard parser takes a sign.
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u32::from_str_radix(digits, radix).ok()
}

/// What is looked for.
struct Value {
    bytes: Zeroizing<Vec<u8>>,
    /// Part of a run of base64 or hexadecimal, which is taken out as a whole.
    in_run: bool,
}

#[derive(Default)]
struct Values {
    /// By their first four bytes, no other table being needed for the few that there are.
    by_head: HashMap<[u8; MIN_LEN], Vec<Value>>,
    numbers: Vec<f64>,
}

impl Values {
    fn of(secret: &Secret) -> Self {
        let mut values = Self::default();
        let whole = secret.expose().trim_ascii();
        values.add(whole);
        if let Ok(json) = serde_json::from_slice(whole) {
            values.add_leaves(&json);
            values.add_numbers(whole);
        }
        values
    }

    fn add_leaves(&mut self, json: &serde_json::Value) {
        use serde_json::Value;
        match json {
            Value::String(text) => self.add(text.as_bytes()),
            Value::Array(items) => items.iter().for_each(|item| self.add_leaves(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.add_leaves(field)),
            Value::Number(number) => self.add(Zeroizing::new(number.to_string()).as_bytes()),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Numbers as they are spelled, which the parser forgets, and what they come to.
    fn add_numbers(&mut self, json: &[u8]) {
        let mut in_text = false;
        let mut at = 0;
        while at < json.len() {
            match json[at] {
                b'\\' if in_text => at += 1,
                b'"' => in_text = !in_text,
                _ if in_text => {}
                _ => {
                    if let Some((number, length)) = number_at(&json[at..]) {
                        self.add(&json[at..at + length]);
                        // Long enough in one spelling of two.
                        if length.max(number.to_string().len()) >= MIN_LEN {
                            self.numbers.push(number);
                        }
                        at += length - 1;
                    }
                }
            }
            at += 1;
        }
    }

    /// A value, and what is often made of it.
    fn add(&mut self, value: &[u8]) {
        let chars = value.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        if chars < MIN_LEN {
            return;
        }
        self.insert(value.to_vec(), false);
        if value.contains(&b' ') {
            let form = value.iter().map(|byte| if *byte == b' ' { b'+' } else { *byte });
            self.insert(form.collect(), false);
        }
        let head = &value[..value.len().min(PREFIX)];
        for digits in [b"0123456789abcdef", b"0123456789ABCDEF"] {
            let hex = head
                .iter()
                .flat_map(|byte| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
            self.insert(hex.collect(), true);
        }
        // What stands before it shifts it by 0 to 2 bytes; the digits at its ends are of the
        // neighbours too.
        for (before, skipped) in [(0, 0), (1, 2), (2, 3)] {
            let shifted = Zeroizing::new([&[0; 2][..before], head].concat());
            let whole_digits = shifted.len() * 8 / 6;
            for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let digits = Zeroizing::new(alphabet.encode(&shifted));
                self.insert(digits.as_bytes()[skipped..whole_digits].to_vec(), true);
            }
        }
    }

    fn insert(&mut self, bytes: Vec<u8>, in_run: bool) {
        let bytes = Zeroizing::new(bytes);
        if let Some(head) = bytes.first_chunk() {
            let alike = self.by_head.entry(*head).or_default();
            if !alike.iter().any(|value| value.bytes == bytes) {
                alike.push(Value { bytes, in_run });
            }
        }
    }

    /// Marks where the values are in the text.
    fn hide(&self, view: &View, hidden: &mut [bool]) {
        let text = view.bytes.as_slice();
        let mut mark = |from: usize, to: usize| {
            for at in from..to {
                hidden[view.origins[at].0..=view.origins[at].1].fill(true);
            }
        };
        // No byte before this one needs to be marked again.
        let mut covered = 0;
        for at in 0..text.len() {
            let rest = &text[at..];
            let alike = rest.first_chunk().and_then(|head| self.by_head.get(head));
            for value in alike.into_iter().flatten() {
                let prefix = value.bytes.len().min(PREFIX);
                if !rest.starts_with(&value.bytes[..prefix]) || at + prefix <= covered {
                    continue;
                }
                let common =
                    rest.iter().zip(value.bytes.iter()).take_while(|(a, b)| a == b).count();
                let (mut from, mut to) = (at, at + common);
                if value.in_run {
                    let in_run =
                        |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
                    from -= text[covered..at].iter().rev().take_while(|byte| in_run(byte)).count();
                    to += text[to..].iter().take_while(|byte| in_run(byte)).count();
                }
                mark(from.max(covered), to);
                covered = covered.max(to);
            }
        }
        let mut at = 0;
        while !self.numbers.is_empty() && at < text.len() {
            let Some((number, length)) = number_at(&text[at..]) else {
                at += 1;
                continue;
            };
            if self.numbers.contains(&number) {
                mark(at, at + length);
            }
            at += length;
        }
    }
}

/// The number at the head of the text, and its length.
fn number_at(text: &[u8]) -> Option<(f64, usize)> {
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = usize::from(matches!(text, [b'-' | b'+', ..]));
    let whole = digits(end);
    if whole == 0 {
        return None;
    }
    end += whole;
    if text.get(end) == Some(&b'.') {
        end += match digits(end + 1) {
            0 => 0,
            fraction => 1 + fraction,
        };
    }
    if let Some(b'e' | b'E') = text.get(end) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'-' | b'+')));
        if text.len() > end + 1 + sign {
            end += match digits(end + 1 + sign) {
                0 => 0,
                exponent => 1 + sign + exponent,
            };
        }
    }
    let number = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    Some((number, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_byte(text: &str, written: impl Fn(u8) -> String) -> String {
        text.bytes().map(written).collect()
    }

    #[test]
    fn values_of_the_secret_are_taken_out() {
        let secret = Secret::from(
            r#"{"token":"sk_live_123","nested":["hunter2","ab"],"pin":9917}"#.to_owned(),
        );
        let text = "401 for sk_live_123 (hunter2, 9917, ab)\0";
        assert_eq!(scrub(text, &secret, 100), "401 for [redacted] ([redacted], [redacted], ab)");
    }

    #[test]
    fn a_secret_that_is_no_json_is_taken_out_whole() {
        let secret = Secret::from("plain-token\n".to_owned());
        assert_eq!(scrub("refused: plain-token", &secret, 100), "refused: [redacted]");
    }

    #[test]
    fn a_value_within_another_hides_neither() {
        let secret = Secret::from(r#"["token", "token-with-more"]"#.to_owned());
        assert_eq!(scrub("token-with-more", &secret, 100), "[redacted]");
    }

    #[test]
    fn the_text_is_cut_after_it_is_cleaned() {
        let secret = Secret::from("abcdefgh".to_owned());
        assert_eq!(scrub("xxabcdefgh", &secret, 4), "xx[r");
    }

    /// A secret in another encoding, and the text without it.
    #[test]
    fn values_are_taken_out_however_they_are_written() {
        let secret = Secret::from(r#"{"key":"s3cr/t \"é&<+=%z"}"#.to_owned());
        for dressed in [
            r#"s3cr/t "é&<+=%z"#,
            "s3cr%2Ft%20%22%C3%A9%26%3C%2B%3D%25z",
            "s3cr%2ft%20%22%c3%a9%26%3c%2b%3d%25z",
            "s3cr%252Ft%2520%2522%25C3%25A9%2526%253C%252B%253D%2525z",
            "s3cr/t+\"é&<+=%z",
            r#"s3cr\/t \"é&<+=%z"#,
            r"\u0073\u0033\u0063r\/t \u0022\u00e9\u0026\u003C+=%z",
            r#"s3cr\\/t \\\"\\u00E9&<+=%z"#,
            "s3cr/t &quot;é&amp;&lt;+=%z",
            "s3cr&#47;t &#x22;&#233;&#X26;&lt;&#43;=%z",
        ] {
            assert_eq!(scrub(&format!("<{dressed}>"), &secret, 500), "<[redacted]>", "{dressed}");
        }
    }

    #[test]
    fn values_are_taken_out_of_base64_and_hexadecimal_at_any_place() {
        let secret = Secret::from(r#"{"key":"hunter2~?>"}"#.to_owned());
        for plain in ["hunter2~?>", ":hunter2~?>", "hunter2~?>:", "u:hunter2~?>", "us:hunter2~?>:x"]
        {
            for encoded in [
                base64::engine::general_purpose::STANDARD.encode(plain),
                URL_SAFE_NO_PAD.encode(plain),
                by_byte(plain, |byte| format!("{byte:02x}")),
                by_byte(plain, |byte| format!("{byte:02X}")),
            ] {
                let text = format!("Basic {encoded} refused");
                assert_eq!(scrub(&text, &secret, 500), "Basic [redacted] refused", "{text}");
            }
        }
    }

    #[test]
    fn numbers_are_taken_out_in_any_spelling() {
        let secret =
            Secret::from(r#"{"pin":1e5,"text":"7\"777","n":-12.50,"small":12}"#.to_owned());
        for spelling in
            ["100000", "1e5", "1E+05", "100000.0", "0.1e6", "-12.5", "-1.25e1", "-12.50"]
        {
            assert_eq!(scrub(&format!("({spelling})"), &secret, 100), "([redacted])", "{spelling}");
        }
        assert_eq!(scrub("(12, 100001)", &secret, 100), "(12, 100001)");
    }

    #[test]
    fn a_value_at_the_cut_leaves_no_part() {
        for secret in ["abcdefgh".repeat(3), "0123456789abcdef".repeat(4000)] {
            let text = format!("xx{secret}yy{secret}");
            for max in 3..200 {
                let clean = scrub(&text, &Secret::from(secret.clone()), max);
                assert!("xx[redacted]yy[redacted]".starts_with(&clean), "{clean}");
            }
            let escaped = by_byte(&secret, |byte| format!("\\u{byte:04x}"));
            assert_eq!(scrub(&escaped, &Secret::from(secret), 12), "[redacted]");
        }
    }

    #[test]
    fn a_value_that_overlaps_another_is_taken_out_with_it() {
        let secret = Secret::from(r#"["abcdef", "defghi"]"#.to_owned());
        assert_eq!(scrub("abcdefghi", &secret, 100), "[redacted]");
    }

    /// Counts work, not time: comparing each position to the end would take hours here.
    #[test]
    fn text_and_secret_that_repeat_themselves_take_no_more_than_one_pass() {
        let secret = Secret::from("a".repeat(60_000) + "b");
        let text = "a".repeat(4 << 20);
        assert_eq!(scrub(&text, &secret, 4 << 20).matches(REDACTED).count(), 1);
        let long = "%25".repeat(4 << 20);
        assert_eq!(scrub(&long, &secret, 10), "%25%25%25%");
    }
}
