//! Reads values from trees: the error has the place, the path and what was expected.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use core::slice;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, Expected, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};

use super::error::ReadError;
use super::{Entry, Node, Value};

/// Reads a value of a file.
pub(crate) fn read<T: DeserializeOwned>(node: &Node) -> Result<T, ReadError> {
    T::deserialize(Reader::new(node)).map_err(|error| error.at(node.place))
}

/// Reads a value with the liberties of hosts.
pub(crate) fn read_of_host<T: DeserializeOwned>(node: &Node) -> Result<T, ReadError> {
    T::deserialize(Reader::of_host(node))
}

/// A node that is read.
///
/// Its methods accept what a type requests and no more: a struct is read from a map alone. Each
/// accepted form would be code for each type that is read.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'n> {
    node: &'n Node,
    of_host: bool,
}

impl<'de, 'n> Reader<'n> {
    /// A value of a file. A field in another case, `kvUsage` for `kv_usage`, is unknown.
    pub(crate) const fn new(node: &'n Node) -> Self {
        Self { node, of_host: false }
    }

    /// A value of a host of another language, with two liberties:
    ///
    /// - A field may have its name in camel case, `kvUsage` for `kv_usage`. Keys of maps, such as
    ///   labels, are taken as they are.
    /// - A float may be the text `NaN`, `Infinity` or `-Infinity`, which JSON has no numbers for.
    pub(crate) const fn of_host(node: &'n Node) -> Self {
        Self { node, of_host: true }
    }

    const fn beside(self, node: &'n Node) -> Self {
        Self { node, of_host: self.of_host }
    }

    fn read_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.value {
            Value::Bool(value) => visitor.visit_bool(value),
            _ => Err(self.invalid_type(&visitor)),
        }
    }

    fn read_number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.value {
            Value::Integer(value) => match (u64::try_from(value), i64::try_from(value)) {
                (Ok(value), _) => visitor.visit_u64(value),
                (_, Ok(value)) => visitor.visit_i64(value),
                _ => Err(self.invalid_type(&visitor)),
            },
            Value::Float(value) => visitor.visit_f64(value),
            _ => Err(self.invalid_type(&visitor)),
        }
    }

    fn read_text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Text(text) => visitor.visit_str(text),
            _ => Err(self.invalid_type(&visitor)),
        }
    }

    fn read_list<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::List(items) => {
                visitor.visit_seq(Items { list: self, items: items.iter(), next: 0 })
            }
            _ => Err(self.invalid_type(&visitor)),
        }
    }

    fn read_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.read_fields(&[], visitor)
    }

    fn read_fields<V: Visitor<'de>>(
        self,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Map(entries) => {
                visitor.visit_map(Fields { map: self, known, entries: entries.iter(), value: None })
            }
            _ => Err(self.invalid_type(&visitor)),
        }
    }

    /// The error of a value with another type than the expected one.
    fn invalid_type(self, expected: &dyn Expected) -> ReadError {
        let integer;
        let found = match &self.node.value {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Integer(value) => match (u64::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => Unexpected::Unsigned(value),
                (_, Ok(value)) => Unexpected::Signed(value),
                _ => {
                    integer = format!("integer `{value}`");
                    Unexpected::Other(&integer)
                }
            },
            Value::Float(value) => Unexpected::Float(*value),
            Value::Text(text) => Unexpected::Str(text),
            Value::List(_) => Unexpected::Seq,
            Value::Map(_) => Unexpected::Map,
        };
        ReadError::invalid_type(found, expected)
    }
}

/// Methods that read the value in one way.
macro_rules! by {
    ($read:ident: $($method:ident($($hint:ty),*))+) => {
        $(fn $method<V: Visitor<'de>>(
            self,
            $(_: $hint,)*
            visitor: V,
        ) -> Result<V::Value, ReadError> {
            self.$read(visitor)
        })+
    };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(_) => self.read_bool(visitor),
            Value::Integer(_) | Value::Float(_) => self.read_number(visitor),
            Value::Text(_) => self.read_text(visitor),
            Value::List(_) => self.read_list(visitor),
            Value::Map(_) => self.read_map(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.read_fields(known, visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let text = if self.of_host { self.node.as_text() } else { None };
        match text {
            Some("NaN") => visitor.visit_f64(f64::NAN),
            Some("Infinity") => visitor.visit_f64(f64::INFINITY),
            Some("-Infinity") => visitor.visit_f64(f64::NEG_INFINITY),
            _ => self.read_number(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let (name, content) = match &self.node.value {
            Value::Text(name) => (name, None),
            Value::Map(entries) if entries.len() == 1 => {
                (&entries[0].key, Some(self.beside(&entries[0].value)))
            }
            _ => return Err(ReadError::custom("must be a name, or a map with one key")),
        };
        visitor.visit_enum(Variant { name, content: VariantContent(content) })
    }

    by! { read_bool: deserialize_bool() }
    by! { read_number:
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_f32()
    }
    by! { read_text:
        deserialize_char() deserialize_str() deserialize_string() deserialize_identifier()
        deserialize_bytes() deserialize_byte_buf()
    }
    by! { read_list:
        deserialize_seq() deserialize_tuple(usize) deserialize_tuple_struct(&'static str, usize)
    }
    by! { read_map: deserialize_map() }
    by! { deserialize_any:
        deserialize_unit() deserialize_unit_struct(&'static str) deserialize_ignored_any()
    }
}

/// The items of a list.
struct Items<'n> {
    list: Reader<'n>,
    items: slice::Iter<'n, Node>,
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let at = self.next;
        self.next += 1;
        let read = seed.deserialize(self.list.beside(item));
        read.map(Some).map_err(|error| error.at(item.place).in_item(at))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The fields of a map.
struct Fields<'n> {
    map: Reader<'n>,
    /// The fields of the struct that is read; none if a map is read.
    known: &'static [&'static str],
    entries: slice::Iter<'n, Entry>,
    /// The entry whose key was read.
    value: Option<&'n Entry>,
}

impl<'n> Fields<'n> {
    /// The next key, as the struct spells it.
    fn next_key(&mut self) -> Option<(&'n Entry, Cow<'n, str>)> {
        let entry = self.entries.next()?;
        self.value = Some(entry);
        let is_known = |name: &str| self.known.contains(&name);
        let mut name = Cow::Borrowed(entry.key.as_str());
        if self.map.of_host && !is_known(&name) {
            let snake = snake_case(&name);
            if is_known(&snake) {
                name = Cow::Owned(snake);
            }
        }
        Some((entry, name))
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let Some((entry, name)) = self.next_key() else { return Ok(None) };
        let key: StrDeserializer<'_, ReadError> = (&*name).into_deserializer();
        seed.deserialize(key).map(Some).map_err(|error| error.at(entry.place))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let entry = self.value.take().ok_or_else(|| ReadError::custom("lacks a value"))?;
        let read = seed.deserialize(self.map.beside(&entry.value));
        read.map_err(|error| error.at(entry.value.place).in_field(&entry.key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A variant of an enumeration: its name alone, or a map from it to its content.
struct Variant<'n> {
    name: &'n str,
    content: VariantContent<'n>,
}

impl<'de, 'n> EnumAccess<'de> for Variant<'n> {
    type Error = ReadError;
    type Variant = VariantContent<'n>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), ReadError> {
        let name: StrDeserializer<'_, ReadError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self.content))
    }
}

struct VariantContent<'n>(Option<Reader<'n>>);

impl<'n> VariantContent<'n> {
    /// Reads the content, whose place an error has.
    fn read<T>(
        &self,
        read: impl FnOnce(Reader<'n>) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let content = self.0.ok_or_else(|| ReadError::custom("lacks its content"))?;
        read(content).map_err(|error| error.at(content.node.place))
    }
}

impl<'de> VariantAccess<'de> for VariantContent<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.0 {
            None => Ok(()),
            Some(content) => Err(ReadError::custom("has no content").at(content.node.place)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        self.read(|content| seed.deserialize(content))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, to: V) -> Result<V::Value, ReadError> {
        self.read(|content| content.read_list(to))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        known: &'static [&'static str],
        to: V,
    ) -> Result<V::Value, ReadError> {
        self.read(|content| content.read_fields(known, to))
    }
}

/// `kvUsage` as `kv_usage`.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(all(test, feature = "config"))]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use serde::Deserialize;

    use super::*;
    use crate::config::{Problem, yaml};

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Outer {
        items: Vec<Inner>,
        labels: BTreeMap<String, String>,
        limit: Option<u32>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        weight: f64,
        kind: Kind,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        #[default]
        Plain,
        Named(String),
    }

    fn outer(text: &str) -> Result<Outer, String> {
        let documents = yaml::read(text).expect("YAML");
        read(&documents[0]).map_err(|error| Problem::from(error).to_string())
    }

    #[test]
    fn values_are_read() {
        let read = outer("items: [{weight: 2}, {kind: {named: x}}, {kind: plain}]\nlimit: 7");
        let read = read.expect("valid");
        assert_eq!((read.items[0].weight, read.limit), (2.0, Some(7)));
        assert_eq!(read.items[1].kind, Kind::Named("x".into()));
        assert_eq!(outer("limit: null").map(|outer| outer.limit), Ok(None));
    }

    #[test]
    fn errors_have_place_path_and_what_was_expected() {
        for (text, message) in [
            ("itms: []", ":1:1: unknown field \"itms\"; did you mean \"items\"?"),
            ("xyz: []", ":1:1: unknown field \"xyz\"; known are items, labels, limit"),
            ("items:\n- weight: heavy", ":2:11: items[0].weight: must be f64, got \"heavy\""),
            (
                "items:\n- weight: 1\n- wieght: 1",
                ":3:3: items[1]: unknown field \"wieght\"; did you mean \"weight\"?",
            ),
            ("limit: -1", ":1:8: limit: must be u32, got -1"),
            ("labels: {a: 1}", ":1:13: labels.a: must be a string, got 1"),
            ("items: 3", ":1:8: items: must be a sequence, got 3"),
            ("items: [[2]]", ":1:9: items[0]: must be struct Inner, got a list"),
            (
                "limit: 99999999999999999999",
                ":1:8: limit: must be u32, got integer `99999999999999999999`",
            ),
            (
                "items: [{kind: plan}]",
                ":1:16: items[0].kind: unknown value \"plan\"; did you mean \"plain\"?",
            ),
        ] {
            assert_eq!(outer(text), Err(message.into()), "{text}");
        }
    }
}
