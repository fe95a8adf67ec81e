//! Integers of 64 bits from hosts whose numbers have fewer.

use serde::de::{Deserialize, Deserializer, Error};

use crate::tree::{Node, Value};

/// An integer of 64 bits. It may be decimal text, since JavaScript's numbers have 53 bits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bits(pub(crate) u64);

impl<'de> Deserialize<'de> for Bits {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Node::deserialize(from)?.value;
        let bits = match &value {
            Value::Text(text) => text.parse().ok(),
            Value::Integer(integer) => u64::try_from(*integer).ok(),
            _ => None,
        };
        bits.map(Self).ok_or_else(|| match value {
            Value::Text(text) => no_integer(&format_args!("{text:?}")),
            Value::Integer(integer) => no_integer(&integer),
            Value::Float(float) => no_integer(&float),
            _ => no_integer(&"another type"),
        })
    }
}

fn no_integer<E: Error>(given: &dyn core::fmt::Display) -> E {
    E::custom(format_args!("{given} is no integer between 0 and 2^64 - 1"))
}
