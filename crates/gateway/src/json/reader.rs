//! Reads arguments from JSON, with the liberties that hosts of other languages need.

use alloc::string::String;
use alloc::vec::{self, Vec};
use core::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};
use serde_json::{Error, Map, Value};

/// A JSON value that is read with two liberties:
///
/// - A field may have its name in camel case, `kvUsage` for `kv_usage`. Keys of maps, such as
///   labels, are taken as they are.
/// - A float may be the text `NaN`, `Infinity` or `-Infinity`, which JSON has no numbers for.
#[derive(Debug)]
pub(crate) struct Reader(pub(crate) Value);

impl<'de> IntoDeserializer<'de, Error> for Reader {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Methods that read the value as it is.
macro_rules! as_it_is {
    ($($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.0.$method(visitor)
        })+
    };
}

impl Reader {
    /// Reads a list and nothing else, since each accepted form is code for each type that is read.
    fn read_list<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Self)))
            }
            other => Err(invalid_type(&other, &visitor)),
        }
    }
}

/// The error of a value with another type than the expected one.
fn invalid_type(value: &Value, expected: &dyn Expected) -> Error {
    let found = match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(value), ..) => Unexpected::Unsigned(value),
            (_, Some(value), _) => Unexpected::Signed(value),
            (.., value) => Unexpected::Float(value.unwrap_or(f64::NAN)),
        },
        Value::String(text) => Unexpected::Str(text),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    };
    de::Error::invalid_type(found, expected)
}

impl<'de> Deserializer<'de> for Reader {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(_) => self.read_list(visitor),
            Value::Object(_) => self.deserialize_map(visitor),
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => number.deserialize_any(visitor),
            Value::String(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(fields) => visitor.visit_map(named_entries(fields, known)),
            other => Err(invalid_type(&other, &visitor)),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.as_str() {
            Some("NaN") => visitor.visit_f64(f64::NAN),
            Some("Infinity") => visitor.visit_f64(f64::INFINITY),
            Some("-Infinity") => visitor.visit_f64(f64::NEG_INFINITY),
            _ => self.0.deserialize_f64(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.read_list(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(fields) => visitor.visit_map(entries(fields)),
            other => Err(invalid_type(&other, &visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.read_list(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.read_list(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_unit_struct(name, visitor)
    }

    as_it_is! {
        deserialize_bool deserialize_f32 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_identifier
        deserialize_ignored_any deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }
}

type Entries<'de> = MapDeserializer<'de, vec::IntoIter<(String, Reader)>, Error>;

/// The entries of a map, with their keys as they are.
fn entries<'de>(fields: Map<String, Value>) -> Entries<'de> {
    named_entries(fields, &[])
}

/// The fields of a struct, by the names that the struct knows.
fn named_entries<'de>(fields: Map<String, Value>, known: &[&str]) -> Entries<'de> {
    let is_known = |name: &str| known.contains(&name);
    let named = |(key, value): (String, Value)| {
        let snake = snake_case(&key);
        (if !is_known(&key) && is_known(&snake) { snake } else { key }, Reader(value))
    };
    let fields: Vec<_> = fields.into_iter().map(named).collect();
    MapDeserializer::new(fields.into_iter())
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

/// An integer of 64 bits. It may be decimal text, since JavaScript's numbers have 53 bits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bits(pub(crate) u64);

impl<'de> de::Deserialize<'de> for Bits {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        let bits = match &value {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        };
        bits.map(Self).ok_or_else(|| {
            de::Error::custom(format_args!("{value} is no integer between 0 and 2^64 - 1"))
        })
    }
}

/// The parameters of a plugin. They stay JSON until the plugin is known.
pub(crate) struct Parameters(pub(crate) Value);

impl<'de> de::Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Value::deserialize(from).map(Self)
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self(Value::Null)
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
