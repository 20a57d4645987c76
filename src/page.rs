//! Keyset pages. A page starts after the last row of the one before, not at an offset: rows inserted meanwhile
//! neither repeat nor hide others, and every page costs the same.

mod order;

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, Visitor,
};

use crate::value::{Invalid, Timestamp};

pub use order::{GoalKey, KpiKey, MemberKey, Order, OrderKey, UserKey};

/// Which part of a list to read.
///
/// From a query string or JSON: `limit`, 50 unless given, and `after`, a [cursor](Page::next). For
/// a filter in the same query string there is [`ListRequest`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "UncheckedPage")]
pub struct PageRequest {
    limit: u32,
    after: Option<Cursor>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedPage {
    #[serde(default = "usual_limit")]
    limit: u32,
    after: Option<Cursor>,
}

fn usual_limit() -> u32 {
    PageRequest::default().limit
}

impl TryFrom<UncheckedPage> for PageRequest {
    type Error = Invalid;

    fn try_from(page: UncheckedPage) -> Result<Self, Invalid> {
        Ok(Self { after: page.after, ..Self::first(page.limit)? })
    }
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

    /// The page of this list, which is named by its parts: what it lists, of which workspace or row.
    ///
    /// # Errors
    /// [`Invalid`] of the field `cursor` for a cursor of another list.
    pub(crate) fn of(&self, list: &[&str]) -> Result<ListPage<'_, DateTime<Utc>>, Invalid> {
        self.by(list, |key| match key {
            Key::Time(at) => Some(*at),
            Key::Text(_) => None,
        })
    }

    /// As [`of`](Self::of), for a list that is sorted by a text.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub(crate) fn by_text(&self, list: &[&str]) -> Result<ListPage<'_, &str>, Invalid> {
        self.by(list, |key| match key {
            Key::Text(text) => Some(text.as_str()),
            Key::Time(_) => None,
        })
    }

    fn by<'p, K>(
        &'p self,
        list: &[&str],
        read: impl FnOnce(&'p Key) -> Option<K>,
    ) -> Result<ListPage<'p, K>, Invalid> {
        let list = tag(list);
        let after = match &self.after {
            None => None,
            Some(cursor) => {
                let key = read(&cursor.key).filter(|_| cursor.list == list).ok_or_else(|| {
                    Invalid::new("cursor", "expected one that a page of the same list came with")
                })?;
                Some(Place { key, id: &cursor.id })
            }
        };
        Ok(ListPage { limit: self.limit, after, list })
    }
}

impl Default for PageRequest {
    /// The first 50 rows.
    fn default() -> Self {
        Self { limit: 50, after: None }
    }
}

/// A page of one list, which is sorted by `K` and then by id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListPage<'p, K> {
    limit: u32,
    after: Option<Place<'p, K>>,
    list: u32,
}

/// The last row of the page before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'p, K> {
    pub(crate) key: K,
    pub(crate) id: &'p str,
}

impl<'p, K: Copy> ListPage<'p, K> {
    /// One row more than the page has, which tells whether there is a next page.
    pub(crate) fn fetch(self) -> i64 {
        i64::from(self.limit) + 1
    }

    pub(crate) fn after(self) -> Option<Place<'p, K>> {
        self.after
    }

    /// Makes the page of what was fetched.
    pub(crate) fn cut<T>(self, mut rows: Vec<T>, position: impl Fn(&T) -> (Key, &str)) -> Page<T> {
        let limit = self.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|last| {
            let (key, id) = position(last);
            Cursor { list: self.list, key, id: id.to_owned() }
        });
        Page { items: rows, next }
    }
}

/// What a list is sorted by before the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Time(DateTime<Utc>),
    Text(String),
}

impl From<DateTime<Utc>> for Key {
    fn from(at: DateTime<Utc>) -> Self {
        Self::Time(at)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A short name of a list, the same in every version: FNV-1a over its parts. It finds mistakes out, and
/// protects nothing: a cursor opens no row.
fn tag(list: &[&str]) -> u32 {
    let bytes = list.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
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
/// the asker could not see anyway. Any other list refuses it: another table's, workspace's or KPI's, and the
/// same list by another filter or in another order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor {
    list: u32,
    key: Key,
    id: String,
}

/// The longest text that a list is sorted by, in bytes: 320 characters.
const MAX_KEY: usize = 320 * 4;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.", self.list)?;
        match &self.key {
            Key::Time(at) => write!(f, "{}", at.timestamp_micros())?,
            Key::Text(text) => write!(f, "~{}", URL_SAFE_NO_PAD.encode(text))?,
        }
        write!(f, ".{}", self.id)
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> String {
        cursor.to_string()
    }
}

impl FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(text) = text.strip_prefix('~') {
            let bytes = URL_SAFE_NO_PAD.decode(text).map_err(drop)?;
            let text = String::from_utf8(bytes).map_err(drop)?;
            let well_formed = text.len() <= MAX_KEY && !text.contains('\0');
            return if well_formed { Ok(Self::Text(text)) } else { Err(()) };
        }
        let at = DateTime::from_timestamp_micros(text.parse().map_err(drop)?).ok_or(())?;
        // Checked and not cut: the audit log counts microseconds.
        Timestamp::new(at).map_err(drop)?;
        Ok(Self::Time(at))
    }
}

impl FromStr for Cursor {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parse = || {
            let (list, place) = text.split_once('.')?;
            let is_tag = list.len() == 8 && list.bytes().all(|b| b.is_ascii_hexdigit());
            let list = u32::from_str_radix(list, 16).ok().filter(|_| is_tag)?;
            let (key, id) = place.split_once('.')?;
            let key = key.parse().ok()?;
            // An id, or the source of a data point, which may have none.
            let well_formed = id.len() <= 63
                && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            well_formed.then(|| Self { list, key, id: id.to_owned() })
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

/// A filter and a page from one query string or JSON object: `limit` and `after` are the
/// [page's](PageRequest), and all else is the filter's, which refuses what it does not know.
///
/// ```
/// use sesari_db::page::ListRequest;
/// use sesari_db::repo::KpiFilter;
///
/// let request: ListRequest<KpiFilter> = serde_json::from_str(r#"{"limit": 20, "isActive": true}"#)?;
/// assert_eq!(request.filter.is_active, Some(true));
/// assert!(serde_json::from_str::<ListRequest<KpiFilter>>(r#"{"colour": "red"}"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListRequest<F> {
    /// Which rows.
    pub filter: F,
    /// Which part of them.
    pub page: PageRequest,
}

impl<'de, F: Deserialize<'de>> Deserialize<'de> for ListRequest<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<F>(PhantomData<F>);

        impl<'de, F: Deserialize<'de>> Visitor<'de> for Fields<F> {
            type Value = ListRequest<F>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a filter with limit and after")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let mut split = Split { map, limit: None, after: None };
                let filter = F::deserialize(MapAccessDeserializer::new(&mut split))?;
                let limit = split.limit.unwrap_or_else(usual_limit);
                let page = UncheckedPage { limit, after: split.after };
                Ok(ListRequest { filter, page: page.try_into().map_err(A::Error::custom)? })
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// A map without the fields of a page, which it keeps.
struct Split<A> {
    map: A,
    limit: Option<u32>,
    after: Option<Cursor>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for &mut Split<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<String>()? {
            match key.as_str() {
                "limit" => once(&mut self.limit, self.map.next_value()?, "limit")?,
                "after" => once(&mut self.after, self.map.next_value()?, "after")?,
                _ => return seed.deserialize(key.into_deserializer()).map(Some),
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

fn once<T, E: serde::de::Error>(
    field: &mut Option<T>,
    value: Option<T>,
    name: &'static str,
) -> Result<(), E> {
    if field.is_some() {
        return Err(E::duplicate_field(name));
    }
    *field = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_form() {
        let long = "\u{1f600}".repeat(320);
        for key in [Key::Time(DateTime::UNIX_EPOCH), "".into(), "a.~ß".into(), long.as_str().into()]
        {
            let cursor = Cursor { list: tag(&["kpi", "w1"]), key, id: "ab1".into() };
            assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }
    }

    #[test]
    fn other_texts_are_no_cursor() {
        for bad in [
            "",
            ".",
            "1",
            "1.ab",
            "0000000g.1.ab",
            "+0000001.1.ab",
            "00000001",
            "00000001.",
            "00000001.x.ab",
            "00000001.1.A'",
            "00000001.99999999999999999999.ab",
            "00000001.9223372036854775807.ab",
            "00000001.-8334601228800000000.ab",
            "00000001.~!.ab",
            "00000001.~YQ==.ab",
            "00000001.~_w.ab", // no UTF-8
            "00000001.~AA.ab", // a NUL
            &format!("00000001.~{}.ab", URL_SAFE_NO_PAD.encode("a".repeat(MAX_KEY + 1))),
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

    #[test]
    fn a_list_refuses_the_cursor_of_another() {
        let list = PageRequest::first(1).unwrap();
        let cursor = list
            .of(&["kpi", "w1"])
            .unwrap()
            .cut(vec![1, 2], |_| (DateTime::UNIX_EPOCH.into(), "ab1"))
            .next
            .unwrap();
        let next = list.after(cursor);
        assert!(next.of(&["kpi", "w1"]).is_ok());
        for other in [&["goal", "w1"][..], &["kpi", "w2"], &["kpiw1"], &["kpi"], &["k", "piw1"]] {
            assert_eq!(next.of(other).unwrap_err().field(), "cursor");
        }
        // Of the same name, and made by hand.
        assert_eq!(next.by_text(&["kpi", "w1"]).unwrap_err().field(), "cursor");
    }

    #[test]
    fn a_page_is_read_from_what_a_client_sends() {
        let page = |json: &str| serde_json::from_str::<PageRequest>(json);
        assert_eq!(page("{}").unwrap(), PageRequest::default());
        let cursor: Cursor = "00000001.0.ab1".parse().unwrap();
        assert_eq!(
            page(r#"{"limit": 5, "after": "00000001.0.ab1"}"#).unwrap(),
            PageRequest::first(5).unwrap().after(cursor)
        );
        for bad in
            [r#"{"limit": 0}"#, r#"{"limit": 1001}"#, r#"{"offset": 5}"#, r#"{"after": "x"}"#]
        {
            assert!(page(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_filter_and_a_page_are_read_from_one_map() {
        type Request = ListRequest<crate::repo::KpiFilter>;
        let read = |json: &str| serde_json::from_str::<Request>(json);
        let request = read(r#"{"category": "Sales", "limit": 7, "is_active": false}"#).unwrap();
        assert_eq!(request.page, PageRequest::first(7).unwrap());
        assert_eq!(request.filter.is_active, Some(false));
        assert_eq!(read("{}").unwrap(), Request::default());
        for bad in [r#"{"limit": 0}"#, r#"{"limit": 1, "limit": 2}"#, r#"{"offset": 1}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
