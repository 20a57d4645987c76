//! Texts that break something somewhere.

use proptest::prelude::*;

/// Characters on both sides of every rule, and those that other systems trip over.
pub(crate) const NASTY: &[char] = &[
    'a',
    'z',
    'A',
    'Z',
    '0',
    '9',
    '_',
    '-',
    '.',
    '@',
    '/',
    ':',
    '%',
    '\\',
    '\'',
    '"',
    '`',
    ';',
    '$',
    '{',
    '[',
    '^',
    ' ',
    '\t',
    '\n',
    '\r',
    '\u{b}',
    '\0',
    '\u{1}',
    '\u{8}',
    '\u{1b}',
    '\u{1f}',
    '\u{7f}',
    '\u{80}',
    '\u{85}',
    '\u{9f}',
    '\u{a0}',
    '\u{ad}',
    'é',
    'ß',
    'É',
    'ſ',
    'K',
    'İ',
    'ı',
    '١',
    '９',
    '²',
    'а',
    '\u{300}',
    '\u{301}',
    'א',
    'ع',
    '\u{200b}',
    '\u{200d}',
    '\u{200f}',
    '\u{202e}',
    '\u{2028}',
    '\u{2029}',
    '\u{3000}',
    '\u{fe0f}',
    '\u{feff}',
    '\u{fffd}',
    '\u{ffff}',
    '漢',
    '😀',
    '\u{e0001}',
    '\u{10ffff}',
];

/// Every nasty character in every place, and every length around the limit, in characters of one
/// to four bytes.
pub(crate) fn texts(max: usize) -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "  ",
        "ok",
        "two words",
        " leading",
        "trailing ",
        "\ttab",
        "line\n",
        "a\nb",
        "a\0b",
        "\0",
        "1e5",
        "--",
        "-a",
        "a-",
        "a--b",
        "a-b-c",
        "a_b",
        "_a",
        "a..b",
        "a@b",
        "@",
        "a@",
        "@b",
        "a@b@c",
        "a @b",
        "a@b c",
        "a@b.c",
        "A@B.C",
        "Ann@Example.COM",
        "É@b",
        "é@ß",
        "https://",
        "https://a",
        "http://a",
        "HTTPS://a",
        "https:/a",
        "https://a b",
        "https://a\n",
        " https://a",
        "https://é",
        "javascript:alert(1)",
        "'; DROP TABLE users; --",
        "%",
        "\\",
        "%s",
        "NULL",
        "null",
        "future",
        "owner",
        "Owner",
        "owner ",
        "אבג",
        "e\u{301}",
        "👩‍👩‍👧‍👦",
        "\u{202e}abc",
        "ＡＢ",
        "ÅNGSTRÖM",
        "ⅷ",
        "𝟘𝟙",
    ]
    .map(String::from)
    .to_vec();
    for c in NASTY {
        texts.extend([format!("{c}"), format!("{c}a"), format!("a{c}"), format!("a{c}a")]);
        texts.push(format!("{c}{c}"));
    }
    let lengths = [1, 2, 3, 8, 9, 31, 32, 33, 62, 63, 64, max - 1, max, max + 1, max * 4 + 1];
    for length in lengths {
        texts.extend(["a", "é", "漢", "😀", "A", "1", "-"].map(|c| c.repeat(length)));
    }
    texts.push("a".repeat(1 << 20));
    texts.push("😀".repeat(1 << 18));
    texts
}

/// Short texts over the nasty alphabet, most of them wrong in a way nobody thought of.
pub(crate) fn nasty() -> impl Strategy<Value = String> {
    let plain = prop::sample::select(vec!['a', 'b', '1', '-', '_', '.']);
    let any = prop::sample::select(NASTY);
    prop::collection::vec(prop_oneof![3 => plain, 1 => any], 0..40)
        .prop_map(|chars| chars.into_iter().collect())
}
