//! Reads values from trees: the error has the place, the path and what was expected.

use alloc::format;
use alloc::string::ToString;
use core::fmt;
use core::slice;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, Expected, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};

use super::problem::{Problem, unknown};
use super::tree::{Entry, Node, Value};

/// Reads a value. A field in another case, `kvUsage` for `kv_usage`, is unknown, as in all files.
pub(super) fn read<T: DeserializeOwned>(node: &Node) -> Result<T, Problem> {
    T::deserialize(Reader(node))
}

/// A node that is read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'n>(pub(super) &'n Node);

impl Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {expected}, got {}", Found(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {expected}, got {length} items"))
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(unknown("value", name, known))
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(unknown("field", name, known))
    }

    fn missing_field(name: &'static str) -> Self {
        Self::new(format!("lacks the field {name:?}"))
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::new(format!("has the field {name:?} twice"))
    }
}

/// What was found, as the file has it.
struct Found<'a>(Unexpected<'a>);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Bool(value) => write!(f, "{value}"),
            Unexpected::Unsigned(value) => write!(f, "{value}"),
            Unexpected::Signed(value) => write!(f, "{value}"),
            Unexpected::Float(value) => write!(f, "{value}"),
            Unexpected::Str(value) => write!(f, "{value:?}"),
            Unexpected::Unit | Unexpected::Option => f.write_str("nothing"),
            Unexpected::Seq => f.write_str("a list"),
            Unexpected::Map => f.write_str("a map"),
            other => write!(f, "{other}"),
        }
    }
}

impl<'de> Reader<'_> {
    fn visit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.0.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => match (u64::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => visitor.visit_u64(value),
                (_, Ok(value)) => visitor.visit_i64(value),
                _ => visitor.visit_i128(*value),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(items) => {
                let mut items = Items { items: items.iter(), at: 0 };
                visitor.visit_seq(&mut items)
            }
            Value::Map(entries) => {
                let mut fields = Fields { entries: entries.iter(), value: None };
                visitor.visit_map(&mut fields)
            }
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.visit(visitor).map_err(|problem| problem.at(self.0.place))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let variant = match &self.0.value {
            Value::Text(name) => Variant { name, content: None },
            Value::Map(entries) if entries.len() == 1 => {
                Variant { name: &entries[0].key, content: Some(&entries[0].value) }
            }
            _ => return Err(Problem::new("must be a name, or a map with one key").at(self.0.place)),
        };
        visitor.visit_enum(variant).map_err(|problem| problem.at(self.0.place))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The items of a list.
struct Items<'n> {
    items: slice::Iter<'n, Node>,
    at: usize,
}

impl<'de> SeqAccess<'de> for &mut Items<'_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let read = seed.deserialize(Reader(item));
        let read = read.map_err(|problem| problem.at(item.place).in_item(self.at))?;
        self.at += 1;
        Ok(Some(read))
    }
}

/// The fields of a map.
struct Fields<'n> {
    entries: slice::Iter<'n, Entry>,
    value: Option<&'n Entry>,
}

impl<'de> MapAccess<'de> for &mut Fields<'_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        self.value = Some(entry);
        let key: StrDeserializer<'_, Problem> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|problem| problem.at(entry.place))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let entry = self.value.take().ok_or_else(|| Problem::new("lacks a value"))?;
        let read = seed.deserialize(Reader(&entry.value));
        read.map_err(|problem| problem.at(entry.value.place).in_field(&entry.key))
    }
}

/// A variant of an enumeration: its name alone, or a map from it to its content.
struct Variant<'n> {
    name: &'n str,
    content: Option<&'n Node>,
}

impl<'de, 'n> EnumAccess<'de> for Variant<'n> {
    type Error = Problem;
    type Variant = VariantContent<'n>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), Problem> {
        let name: StrDeserializer<'_, Problem> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, VariantContent(self.content)))
    }
}

struct VariantContent<'n>(Option<&'n Node>);

impl VariantContent<'_> {
    fn content(&self) -> Result<Reader<'_>, Problem> {
        self.0.map(Reader).ok_or_else(|| Problem::new("lacks its content"))
    }
}

impl<'de> VariantAccess<'de> for VariantContent<'_> {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        match self.0 {
            None => Ok(()),
            Some(node) => Err(Problem::new("has no content").at(node.place)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Problem> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, to: V) -> Result<V::Value, Problem> {
        self.content()?.deserialize_any(to)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.content()?.deserialize_any(visitor)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::string::String;
    use alloc::vec::Vec;

    use serde::Deserialize;

    use super::*;
    use crate::config::yaml;

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
        read(&documents[0]).map_err(|problem| problem.to_string())
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
            (
                "items: [{kind: plan}]",
                ":1:16: items[0].kind: unknown value \"plan\"; did you mean \"plain\"?",
            ),
        ] {
            assert_eq!(outer(text), Err(message.into()), "{text}");
        }
    }
}
