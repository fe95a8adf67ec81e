//! How the parameters of plugins are read.

use core::marker::PhantomData;

/// A parameter of the reference that has no effect here: read, checked for its type, and dropped.
///
/// Names of data producers are such parameters, since facts have no producer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ignored<T>(PhantomData<T>);

impl<T> Default for Ignored<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

#[cfg(feature = "serde")]
impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Ignored<T> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Option::<T>::deserialize(from).map(|_| Self::default())
    }
}

/// Reads parameters; `null` means that they are absent.
#[cfg(feature = "serde")]
pub(super) fn read<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    use serde::Deserialize;
    Option::<T>::deserialize(from)?.map_or_else(absent, Ok)
}

/// Reads an empty object, so a plugin with required parameters reports the missing one.
#[cfg(feature = "serde")]
pub(super) fn absent<'de, T, E>() -> Result<T, E>
where
    T: serde::Deserialize<'de>,
    E: serde::de::Error,
{
    let nothing = core::iter::empty::<(&str, u8)>();
    T::deserialize(serde::de::value::MapDeserializer::new(nothing))
}

/// Reads and writes a plugin whose parameters depend on each other: `check` returns an error that
/// names the parameter and its limit.
///
/// The plugin derives `Serialize` and `Deserialize` with `remote = "Self"`, which makes both
/// associated functions, and this macro wraps them.
macro_rules! checked_parameters {
    ($plugin:ty, $check:expr) => {
        #[cfg(feature = "serde")]
        impl serde::Serialize for $plugin {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                <$plugin>::serialize(self, to)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $plugin {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let plugin = <$plugin>::deserialize(from)?;
                let check: fn(&$plugin) -> Result<(), &'static str> = $check;
                check(&plugin).map_err(serde::de::Error::custom)?;
                Ok(plugin)
            }
        }
    };
}

pub(super) use checked_parameters;
