//! The parameters of a plugin as a tree, which any format fills.
//!
//! The name of a plugin decides how its parameters are read, and a format may place the parameters
//! before the name. So the parameters are read into a [`ParameterTree`] first, and each plugin is
//! read from this one type. The compiler generates the reader of each plugin once, not once for
//! each format: hosts download less, and builds take less time.

mod reader;
mod tree;

use alloc::string::String;
use alloc::vec::Vec;

use serde::de::DeserializeOwned;

pub(crate) use reader::ParameterError;
pub(crate) use tree::ParameterTree;

/// A plugin by its name: `{"type": NAME, "parameters": {...}}`, where `parameters` may be absent.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    #[serde(rename = "type")]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) parameters: ParameterTree,
}

impl ParameterTree {
    /// Reads the parameters of a plugin. `null` reads as no fields, so a plugin with required
    /// parameters reports the missing one.
    pub(crate) fn read<T: DeserializeOwned>(self) -> Result<T, ParameterError> {
        T::deserialize(if self == Self::Null { Self::Fields(Vec::new()) } else { self })
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::string::ToString;

    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Example {
        flag: bool,
        count: u8,
        offset: i64,
        share: f64,
        name: Option<String>,
        labels: BTreeMap<String, f64>,
        parts: Vec<Part>,
        pair: (u32, String),
    }

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    #[serde(tag = "kind", rename_all = "lowercase")]
    enum Part {
        Range { low: f64, high: f64 },
        Word { word: Word },
    }

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        One,
        Two,
    }

    fn tree(value: &Value) -> ParameterTree {
        ParameterTree::deserialize(value).expect("any JSON")
    }

    #[test]
    fn a_tree_reads_as_its_format_does() {
        for given in [
            json!(null),
            json!({}),
            json!({"flag": true, "count": 255, "offset": -3, "share": 1, "name": "a"}),
            json!({"name": null, "labels": {"x": 0.5, "y": -1}, "pair": [7, "b"]}),
            json!({"parts": [{"low": 1, "kind": "range", "high": 2.5}, {"kind": "word", "word": "two"}]}),
        ] {
            let expected: Option<Example> = serde_json::from_value(given.clone()).expect("valid");
            assert_eq!(
                tree(&given).read::<Example>().expect("valid"),
                expected.unwrap_or_default()
            );
        }
    }

    #[test]
    fn errors_are_those_of_the_format_with_the_place() {
        for (given, place) in [
            (json!({"flags": true}), ""),
            (json!({"count": 256}), ", in `count`"),
            (json!({"count": "1"}), ", in `count`"),
            (json!({"name": ["a"]}), ", in `name`"),
            (json!({"labels": {"a": 1, "b": "2"}}), ", in `labels.b`"),
            (json!({"parts": [{"kind": "word", "word": "one"}, 7]}), ", in `parts[1]`"),
            (json!({"pair": [1, 2]}), ", in `pair[1]`"),
        ] {
            let expected = serde_json::from_value::<Example>(given.clone()).expect_err("invalid");
            let error = tree(&given).read::<Example>().expect_err("invalid").to_string();
            assert_eq!(error, alloc::format!("{expected}{place}"));
        }
    }

    #[test]
    fn a_struct_is_no_list_and_a_scalar_no_struct() {
        for given in [json!([true, 1]), json!(7), json!("text")] {
            let error = tree(&given).read::<Example>().expect_err("invalid").to_string();
            assert!(error.starts_with("invalid type"), "{error}");
        }
    }
}
