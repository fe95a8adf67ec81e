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
            /// The reader's error: an unknown name, with the known ones; an unknown or a missing
            /// parameter; or an invalid value.
            #[cfg(feature = "serde")]
            pub fn from_name<'de, D: serde::Deserializer<'de>>(
                name: &str,
                parameters: D,
            ) -> Result<Self, D::Error> {
                match name {
                    $($name => crate::plugins::parameters::read(parameters).map(Self::$variant),)+
                    _ => Err(serde::de::Error::unknown_variant(name, Self::NAMES)),
                }
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $family {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                /// The same with optional parameters, as serde has no default for `content`.
                #[derive(serde::Deserialize)]
                #[serde(tag = "type", content = "parameters", deny_unknown_fields)]
                enum Data {
                    $(#[serde(rename = $name)] $variant(Option<$plugin>),)+
                }
                Ok(match Data::deserialize(from)? {
                    $(Data::$variant(plugin) => {
                        let plugin = plugin.map_or_else(crate::plugins::parameters::absent, Ok);
                        Self::$variant(plugin?)
                    })+
                })
            }
        }
    };
}

pub(super) use plugin_family;
