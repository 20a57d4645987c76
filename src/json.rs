//! JSON with names in camelCase, for clients that write it.
//!
//! What the crate reads takes the names of fields in either spelling, `target_value` and
//! `targetValue`; both at once are an error, and so is a field that it does not know. What it writes
//! is in `snake_case`, as stored answers and exports are, and in camelCase within [`CamelCase`].

use std::borrow::Cow;

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// Writes the names of fields in camelCase, at any depth. Values are left alone, and so are the
/// keys of maps and the names of variants, which are data.
///
/// ```
/// use sesari_db::json::CamelCase;
/// use sesari_db::repo::NewKpi;
///
/// let json = serde_json::to_value(CamelCase(NewKpi::new("Revenue".parse()?)))?;
/// assert_eq!(json["isActive"], true);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CamelCase<T>(pub T);

impl<T: Serialize> Serialize for CamelCase<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(Renaming(serializer))
    }
}

/// `target_value` as `targetValue`.
fn camel(name: &'static str) -> Cow<'static, str> {
    if !name.contains('_') {
        return name.into();
    }
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().into_iter().flat_map(char::to_uppercase));
        camel.push_str(letters.as_str());
    }
    camel.into()
}

struct Renaming<S>(S);

macro_rules! pass_on {
    ($($method:ident($($arg:ident: $type:ty),*);)*) => {$(
        fn $method(self, $($arg: $type),*) -> Result<S::Ok, S::Error> {
            self.0.$method($($arg),*)
        }
    )*};
}

impl<S: Serializer> Serializer for Renaming<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Renaming<S::SerializeSeq>;
    type SerializeTuple = Renaming<S::SerializeTuple>;
    type SerializeTupleStruct = Renaming<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Renaming<S::SerializeTupleVariant>;
    type SerializeMap = Renaming<S::SerializeMap>;
    type SerializeStruct = Renaming<S::SerializeMap>;
    type SerializeStructVariant = Variant<S>;

    pass_on! {
        serialize_bool(v: bool);
        serialize_i8(v: i8);
        serialize_i16(v: i16);
        serialize_i32(v: i32);
        serialize_i64(v: i64);
        serialize_i128(v: i128);
        serialize_u8(v: u8);
        serialize_u16(v: u16);
        serialize_u32(v: u32);
        serialize_u64(v: u64);
        serialize_u128(v: u128);
        serialize_f32(v: f32);
        serialize_f64(v: f64);
        serialize_char(v: char);
        serialize_str(v: &str);
        serialize_bytes(v: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_some(&CamelCase(value))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_struct(name, &CamelCase(value))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_variant(name, index, variant, &CamelCase(value))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.0.serialize_seq(len).map(Renaming)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.0.serialize_tuple(len).map(Renaming)
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.0.serialize_tuple_struct(name, len).map(Renaming)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.0.serialize_tuple_variant(name, index, variant, len).map(Renaming)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.0.serialize_map(len).map(Renaming)
    }

    // As a map: names of fields are known to serde before the program runs, and these are not.
    fn serialize_struct(
        self,
        _: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        self.0.serialize_map(Some(len)).map(Renaming)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let fields = serde_json::Map::new();
        Ok(Variant { serializer: self.0, name, index, named: variant, fields })
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! compounds {
    ($($trait:ident: $method:ident;)*) => {$(
        impl<S: $trait> $trait for Renaming<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                self.0.$method(&CamelCase(value))
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        }
    )*};
}

compounds! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
}

impl<S: SerializeMap> SerializeMap for Renaming<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.0.serialize_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.0.serialize_value(&CamelCase(value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

impl<S: SerializeMap> SerializeStruct for Renaming<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), S::Error> {
        self.0.serialize_entry(&camel(name), &CamelCase(value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

/// A variant with fields, gathered until it is whole: serde has no map within a variant.
struct Variant<S> {
    serializer: S,
    name: &'static str,
    index: u32,
    named: &'static str,
    fields: serde_json::Map<String, serde_json::Value>,
}

impl<S: Serializer> SerializeStructVariant for Variant<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), S::Error> {
        let value = serde_json::to_value(CamelCase(value)).map_err(S::Error::custom)?;
        self.fields.insert(camel(name).into_owned(), value);
        Ok(())
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        let Self { serializer, name, index, named, fields } = self;
        serializer.serialize_newtype_variant(name, index, named, &fields)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[derive(serde::Serialize)]
    enum Shape {
        Unit,
        Whole(Inner),
        Pair(Inner, u8),
        Named { first_value: Option<Inner> },
    }

    #[derive(serde::Serialize, Default)]
    struct Inner {
        target_value: f64,
        x: Option<String>,
    }

    #[derive(serde::Serialize)]
    struct Outer {
        all_shapes: Vec<Shape>,
        a_pair: (Inner, u8),
        by_name: BTreeMap<&'static str, Inner>,
        free_form: serde_json::Value,
    }

    #[test]
    fn fields_are_renamed_at_any_depth_and_data_is_not() {
        let inner = || Inner { target_value: 0.1, x: Some("snake_case".into()) };
        let outer = Outer {
            all_shapes: vec![
                Shape::Unit,
                Shape::Whole(inner()),
                Shape::Pair(inner(), 1),
                Shape::Named { first_value: Some(inner()) },
            ],
            a_pair: (Inner::default(), 2),
            by_name: [("a_key", inner())].into(),
            free_form: json!({"old_value": {"deep_key": 1}}),
        };
        let renamed = json!({"targetValue": 0.1, "x": "snake_case"});
        assert_eq!(
            serde_json::to_value(CamelCase(&outer)).unwrap(),
            json!({
                "allShapes": [
                    "Unit",
                    {"Whole": renamed},
                    {"Pair": [renamed, 1]},
                    {"Named": {"firstValue": renamed}},
                ],
                "aPair": [{"targetValue": 0.0, "x": null}, 2],
                "byName": {"a_key": renamed},
                "freeForm": {"old_value": {"deep_key": 1}},
            })
        );
    }
}
