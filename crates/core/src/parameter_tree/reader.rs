//! Types are read from a tree.
//!
//! The methods accept what the derived readers of plugins request and no more: a struct is read
//! from fields alone, and a variant of an enum from its name alone. A general reader would generate
//! several times the code for each plugin.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use core::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};

use super::tree::ParameterTree;

/// Why parameters cannot be read, and in which field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ParameterError {
    reason: String,
    /// The way to the field, such as `conditions[0].metric`.
    place: String,
}

impl ParameterError {
    /// The same error, of a field or an item of what is read.
    fn within(mut self, parent: &str) -> Self {
        let dot = if self.place.is_empty() || self.place.starts_with('[') { "" } else { "." };
        self.place = [parent, dot, &self.place].concat();
        self
    }
}

impl fmt::Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        if self.place.is_empty() { Ok(()) } else { write!(f, ", in `{}`", self.place) }
    }
}

impl core::error::Error for ParameterError {}

impl Error for ParameterError {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self { reason: reason.to_string(), place: String::new() }
    }
}

impl ParameterTree {
    /// The error of a value with another type than the expected one.
    fn invalid_type(&self, expected: &dyn de::Expected) -> ParameterError {
        let found = match self {
            Self::Null => Unexpected::Other("null"),
            Self::Bool(value) => Unexpected::Bool(*value),
            Self::Unsigned(value) => Unexpected::Unsigned(*value),
            Self::Signed(value) => Unexpected::Signed(*value),
            Self::Float(value) => Unexpected::Float(*value),
            Self::Text(text) => Unexpected::Str(text),
            Self::List(_) => Unexpected::Seq,
            Self::Fields(_) => Unexpected::Map,
        };
        ParameterError::invalid_type(found, expected)
    }

    fn read_scalar<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        match self {
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Unsigned(value) => visitor.visit_u64(value),
            Self::Signed(value) => visitor.visit_i64(value),
            Self::Float(value) => visitor.visit_f64(value),
            Self::Text(text) => visitor.visit_str(&text),
            other => Err(other.invalid_type(&visitor)),
        }
    }

    fn read_list<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        match self {
            Self::List(items) => visitor.visit_seq(Items { rest: items.into_iter(), next: 0 }),
            other => Err(other.invalid_type(&visitor)),
        }
    }

    fn read_fields<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        match self {
            Self::Fields(fields) => {
                visitor.visit_map(Entries { rest: fields.into_iter(), entry: None })
            }
            other => Err(other.invalid_type(&visitor)),
        }
    }
}

/// Methods that read the value in one way.
macro_rules! by {
    ($read:ident: $($method:ident($($hint:ty),*))+) => {
        $(fn $method<V: Visitor<'de>>(
            self,
            $(_: $hint,)*
            visitor: V,
        ) -> Result<V::Value, ParameterError> {
            self.$read(visitor)
        })+
    };
}

impl<'de> Deserializer<'de> for ParameterTree {
    type Error = ParameterError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::List(_) => self.read_list(visitor),
            Self::Fields(_) => self.read_fields(visitor),
            _ => self.read_scalar(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        match self {
            Self::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ParameterError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ParameterError> {
        match self {
            Self::Text(name) => visitor.visit_enum(name.into_deserializer()),
            other => Err(other.invalid_type(&visitor)),
        }
    }

    by! { read_scalar:
        deserialize_bool() deserialize_char() deserialize_str() deserialize_string()
        deserialize_bytes() deserialize_byte_buf() deserialize_identifier()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64()
        deserialize_f32() deserialize_f64()
    }
    by! { read_list:
        deserialize_seq() deserialize_tuple(usize) deserialize_tuple_struct(&'static str, usize)
    }
    by! { read_fields:
        deserialize_map() deserialize_struct(&'static str, &'static [&'static str])
    }
    by! { deserialize_any:
        deserialize_unit() deserialize_unit_struct(&'static str) deserialize_ignored_any()
    }
}

struct Items {
    rest: vec::IntoIter<ParameterTree>,
    next: usize,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = ParameterError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ParameterError> {
        let Some(item) = self.rest.next() else { return Ok(None) };
        let at = self.next;
        self.next += 1;
        seed.deserialize(item).map(Some).map_err(|error| error.within(&format!("[{at}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct Entries {
    rest: vec::IntoIter<(String, ParameterTree)>,
    /// The entry whose key was read.
    entry: Option<(String, ParameterTree)>,
}

impl<'de> MapAccess<'de> for Entries {
    type Error = ParameterError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ParameterError> {
        self.entry = self.rest.next();
        let Some((key, _)) = &self.entry else { return Ok(None) };
        seed.deserialize(StrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, ParameterError> {
        let (key, value) = self.entry.take().unwrap_or_default();
        seed.deserialize(value).map_err(|error| error.within(&key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}
