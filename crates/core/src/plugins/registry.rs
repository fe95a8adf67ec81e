//! The macro that ties a family of plugins to their names and parameters.

/// Declares the enum of a family: one variant a plugin, with the plugin as its parameters.
///
/// The enum is data: it compares, clones, and with the feature `serde` reads as `{"type": NAME,
/// "parameters": {...}}`, where `parameters` may be absent. `from_name` reads the parameters alone.
macro_rules! plugin_family {
    (
        $(#[$meta:meta])*
        $family:ident: $trait:ident { $($name:literal => $variant:ident($plugin:ty),)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[cfg_attr(
            feature = "serde",
            derive(serde::Serialize),
            serde(tag = "type", content = "parameters")
        )]
        #[non_exhaustive]
        pub enum $family {
            $(
                #[doc = concat!("`", $name, "`")]
                #[cfg_attr(feature = "serde", serde(rename = $name))]
                $variant($plugin),
            )+
        }

        impl $family {
            /// The names of the family, in the order of the manual.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// The plugin's name in the reference.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)+
                }
            }

            /// The plugin.
            pub fn as_plugin(&self) -> &dyn $trait {
                match self {
                    $(Self::$variant(plugin) => plugin,)+
                }
            }

            /// The plugin, for a profile.
            pub fn into_plugin(self) -> alloc::boxed::Box<dyn $trait> {
                match self {
                    $(Self::$variant(plugin) => alloc::boxed::Box::new(plugin),)+
                }
            }

            /// Reads the parameters of the plugin of this name; `null` means none.
            ///
            /// # Errors
            ///
            /// An unknown name, with the known ones; an unknown or a missing parameter; or an
            /// invalid value, with its place.
            #[cfg(feature = "serde")]
            pub fn from_name<'de, D: serde::Deserializer<'de>>(
                name: &str,
                parameters: D,
            ) -> Result<Self, D::Error> {
                use crate::parameter_tree::ParameterTree;
                let parameters = <ParameterTree as serde::Deserialize>::deserialize(parameters)?;
                Self::read(name, parameters).map_err(serde::de::Error::custom)
            }

            // A host reads few configurations. `inline` makes its crate compile the readers, so it
            // can choose small code for them and fast code for decisions.
            #[cfg(feature = "serde")]
            #[inline]
            fn read(
                name: &str,
                parameters: crate::parameter_tree::ParameterTree,
            ) -> Result<Self, crate::parameter_tree::ParameterError> {
                match name {
                    $($name => parameters.read().map(Self::$variant),)+
                    _ => Err(serde::de::Error::unknown_variant(name, Self::NAMES)),
                }
            }
        }

        impl crate::plugins::registry::Family for $family {
            fn name_of_type<P: 'static>() -> &'static str {
                let own = core::any::TypeId::of::<P>();
                $(
                    if own == core::any::TypeId::of::<$plugin>() {
                        return $name;
                    }
                )+
                crate::plugins::registry::type_name::<P>()
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $family {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                use crate::parameter_tree::Named;
                let Named { name, parameters } = Named::deserialize(from)?;
                Self::read(&name, parameters).map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(super) use plugin_family;

/// What every family has, apart from its trait.
pub(super) trait Family {
    /// The name of the plugin of type `P`; a type outside the family has its own name.
    fn name_of_type<P: 'static>() -> &'static str;
}

/// The name of a type, without the path.
pub(super) fn type_name<T>() -> &'static str {
    let path = core::any::type_name::<T>();
    let generics = path.find('<').unwrap_or(path.len());
    let start = path[..generics].rfind("::").map_or(0, |colons| colons + 2);
    &path[start..]
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::type_name;

    #[test]
    fn types_have_names_without_paths() {
        assert_eq!(type_name::<Vec<Vec<u8>>>(), "Vec<alloc::vec::Vec<u8>>");
        assert_eq!(type_name::<core::time::Duration>(), "Duration");
        assert_eq!(type_name::<u8>(), "u8");
    }
}
