//! The tree, and how a format fills it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{self, Deserialize, Deserializer};

/// A value of a self-describing format.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum ParameterTree {
    #[default]
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    List(Vec<Self>),
    /// The fields in their order. Names may repeat: the type that is read reports it.
    Fields(Vec<(String, Self)>),
}

impl<'de> Deserialize<'de> for ParameterTree {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> de::Visitor<'de> for TreeVisitor {
    type Value = ParameterTree;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("parameters")
    }

    fn visit_unit<E>(self) -> Result<ParameterTree, E> {
        Ok(ParameterTree::Null)
    }

    fn visit_none<E>(self) -> Result<ParameterTree, E> {
        Ok(ParameterTree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<ParameterTree, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        from: D,
    ) -> Result<ParameterTree, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<ParameterTree, E> {
        Ok(ParameterTree::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<ParameterTree, E> {
        Ok(ParameterTree::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<ParameterTree, E> {
        Ok(ParameterTree::Signed(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<ParameterTree, E> {
        Ok(ParameterTree::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<ParameterTree, E> {
        Ok(ParameterTree::Text(text.into()))
    }

    fn visit_string<E>(self, text: String) -> Result<ParameterTree, E> {
        Ok(ParameterTree::Text(text))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<ParameterTree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(ParameterTree::List(list))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<ParameterTree, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = entries.next_entry()? {
            fields.push(field);
        }
        Ok(ParameterTree::Fields(fields))
    }
}
