//! Keyset pages. A page starts after the last row of the one before, not at an offset: rows inserted meanwhile
//! neither repeat nor hide others, and every page costs the same.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::value::{Invalid, Timestamp};

/// Which part of a list to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    limit: u32,
    after: Option<Cursor>,
}

impl PageRequest {
    /// The most rows that a page may have.
    pub const MAX_LIMIT: u32 = 1000;

    /// The first `limit` rows.
    ///
    /// # Errors
    /// [`Invalid`] unless `limit` is 1 to [`MAX_LIMIT`](Self::MAX_LIMIT).
    pub fn first(limit: u32) -> Result<Self, Invalid> {
        if (1..=Self::MAX_LIMIT).contains(&limit) {
            Ok(Self { limit, after: None })
        } else {
            Err(Invalid::new("limit", "expected 1 to 1000 rows a page"))
        }
    }

    /// The first rows, as many as a page may have.
    pub(crate) fn longest() -> Self {
        Self { limit: Self::MAX_LIMIT, after: None }
    }

    /// The next rows after [`Page::next`].
    #[must_use]
    pub fn after(self, cursor: Cursor) -> Self {
        Self { after: Some(cursor), ..self }
    }

    /// One row more than the page has, which tells whether there is a next page.
    pub(crate) fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    pub(crate) fn cursor(&self) -> Option<&Cursor> {
        self.after.as_ref()
    }

    /// Makes the page of what was fetched.
    pub(crate) fn cut<T>(
        &self,
        mut rows: Vec<T>,
        position: impl Fn(&T) -> (DateTime<Utc>, &str),
    ) -> Page<T> {
        let limit = self.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|last| {
            let (at, id) = position(last);
            Cursor { at, id: id.to_owned() }
        });
        Page { items: rows, next }
    }
}

impl Default for PageRequest {
    /// The first 50 rows.
    fn default() -> Self {
        Self { limit: 50, after: None }
    }
}

/// A page of rows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page starts, or `None` after the last row.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// How many rows it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// A place in a list. Its text form may be given to clients and taken back: it opens nothing that
/// the asker could not see anyway.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor {
    pub(crate) at: DateTime<Utc>,
    pub(crate) id: String,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at.timestamp_micros(), self.id)
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> String {
        cursor.to_string()
    }
}

impl FromStr for Cursor {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parse = || {
            let (at, id) = text.split_once('.')?;
            let at = DateTime::from_timestamp_micros(at.parse().ok()?)?;
            // Checked and not cut: the audit log counts microseconds.
            Timestamp::new(at).ok()?;
            // An id, or the source of a data point, which may have none.
            let well_formed = id.len() <= 63
                && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            well_formed.then(|| Self { at, id: id.to_owned() })
        };
        parse().ok_or_else(|| Invalid::new("cursor", "expected one that a page came with"))
    }
}

impl TryFrom<String> for Cursor {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_form() {
        let cursor = Cursor { at: DateTime::UNIX_EPOCH, id: "ab1".into() };
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
    }

    #[test]
    fn other_texts_are_no_cursor() {
        for bad in [
            "",
            ".",
            "1",
            "x.ab",
            "1.A'",
            "99999999999999999999.ab",
            "9223372036854775807.ab",
            "-8334601228800000000.ab",
        ] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_page_has_between_one_and_a_thousand_rows() {
        assert!(PageRequest::first(0).is_err());
        assert!(PageRequest::first(1001).is_err());
        assert!(PageRequest::first(1000).is_ok());
    }
}
