//! Search that does not mind case, decided here and nowhere else: the server's own folding goes by the
//! locale of its database, and under `C` knows ASCII alone. `tests/clients` runs it in such a database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use icu_normalizer::ComposingNormalizerBorrowed;

/// What a search text becomes, and which characters of a stored text become its characters: the
/// arguments of PostgreSQL's `translate` and `strpos`. A stored text's [`SHARP_S`](Self::SHARP_S) are two letters
/// before that.
///
/// Letters are equal that differ by case alone. Turkish is written with two letters i, and searched by
/// people who have one of them on their keyboard: all four are one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Folded {
    /// The text to look for.
    pub(crate) text: String,
    /// Characters that count as others.
    pub(crate) from: String,
    /// As which, one for each.
    pub(crate) to: String,
}

impl Folded {
    /// Small and capital: one letter that is written as two as well, `ss`.
    pub(crate) const SHARP_S: [&str; 2] = ["ß", "ẞ"];

    /// Folds a search text.
    pub(crate) fn new(text: &str) -> Self {
        let text = ComposingNormalizerBorrowed::new_nfc().normalize(text);
        let text: String = without_sharp_s(&text).chars().map(fold).collect();
        let (from, to) = text
            .chars()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .flat_map(|c| FOLDED_TO.get(&c).into_iter().flatten().map(move |other| (*other, c)))
            .unzip();
        Self { text, from, to }
    }
}

fn without_sharp_s(text: &str) -> String {
    let [small, capital] = Folded::SHARP_S;
    text.replace(small, "ss").replace(capital, "ss")
}

/// The one character in whose place this one is compared.
fn fold(c: char) -> char {
    fn one(mut of: impl Iterator<Item = char>, or: char) -> char {
        of.next().filter(|_| of.next().is_none()).unwrap_or(or)
    }
    // The small one of the capital i with a dot is an i with a dot of its own.
    if c == '\u{130}' {
        return 'I';
    }
    let small = one(c.to_lowercase(), c);
    one(small.to_uppercase(), small)
}

/// By what they are compared as, the characters that are not compared as themselves. None has case
/// beyond the first two planes.
static FOLDED_TO: LazyLock<BTreeMap<char, Vec<char>>> = LazyLock::new(|| {
    let mut all: BTreeMap<char, Vec<char>> = BTreeMap::new();
    for c in ('\0'..='\u{1FFFF}').filter(|c| fold(*c) != *c) {
        all.entry(fold(c)).or_default().push(c);
    }
    all
});

#[cfg(test)]
mod tests {
    use super::*;

    /// As the server does it.
    fn contains(name: &str, text: &str) -> bool {
        let folded = Folded::new(text);
        let to: Vec<_> = folded.to.chars().collect();
        let translate = |c| folded.from.chars().position(|from| from == c).map_or(c, |at| to[at]);
        without_sharp_s(name).chars().map(translate).collect::<String>().contains(&folded.text)
    }

    #[test]
    fn case_is_not_minded_in_any_script() {
        for (name, text) in [
            ("Выручка", "выручка"),
            ("Выручка", "ВЫРУЧ"),
            ("CAFÉ", "cafe\u{301}"),
            ("Straße", "STRASSE"),
            ("STRASSE", "straße"),
            ("GROẞE", "große"),
            ("İstanbul", "istanbul"),
            ("ISPARTA", "ısparta"),
            ("ΟΔΟΣ", "οδος"),
            ("ὈΔΟΣ-1", "ὀδοσ"),
            ("Ǆ", "ǆ"),
            ("𐐀", "𐐨"),
        ] {
            assert!(contains(name, text), "{name}: {text}");
        }
        for (name, text) in [("Выручка", "выручки"), ("cafe", "café"), ("a", "b"), ("ab", "a b")]
        {
            assert!(!contains(name, text), "{name}: {text}");
        }
    }

    #[test]
    fn folding_is_done_after_once() {
        let twice = ('\0'..=char::MAX).find(|c| fold(fold(*c)) != fold(*c));
        assert_eq!(twice, None);
        let beyond = ('\u{20000}'..=char::MAX).find(|c| fold(*c) != *c);
        assert_eq!(beyond, None);
    }
}
