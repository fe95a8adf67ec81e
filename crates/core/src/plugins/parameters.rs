//! Parameters without an effect, and parameters that depend on each other.

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
