//! One file that describes a gateway: pools, models, priorities, limits, clusters.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | [`read`]: from a text to a [`Configuration`] |
//! | `configuration` | what a file describes |
//! | `documents` | all documents of a file as one configuration |
//! | `own_file` | the own file |
//! | `kinds/` | documents of Kubernetes kinds, one a file |
//! | `print` | a configuration as text, and differences between two |
//! | `schema` | the own file's JSON Schema |
//! | `yaml` | from YAML or JSON to trees |
//! | `problem` | what is wrong, and where |
//!
//! A file is YAML or JSON. It is read strictly: an unknown field, a wrong type and a name that
//! nothing has are errors with file, line, path and the accepted values.

mod configuration;
mod documents;
mod kinds;
mod own_file;
mod print;
mod problem;
mod schema;
pub(crate) mod yaml;

use alloc::vec::Vec;

pub use configuration::{Configuration, PoolConfig, Signals};
pub use print::Change;
pub use problem::Problem;
pub use schema::schema;

pub use crate::tree::Place;

/// A configuration that was read.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub configuration: Configuration,
    /// What the file has and this crate has no use for, such as what only Kubernetes can do.
    pub ignored: Vec<Problem>,
}

/// Reads a file: at most one own document, and any of Kubernetes kinds. `name` appears in
/// problems. Computes in **O(bytes)**, and **O(pools)** for each reference to a pool.
///
/// # Errors
///
/// All problems that were found: at least one.
pub fn read(name: &str, text: &str) -> Result<Loaded, Vec<Problem>> {
    let in_file = |problem: Problem| problem.in_file(name);
    let all = |problems: Vec<Problem>| problems.into_iter().map(in_file).collect::<Vec<_>>();
    let documents = yaml::read(text).map_err(|problem| all(Vec::from([problem])))?;
    let loaded = documents::read(&documents).map_err(all)?;
    Ok(Loaded { ignored: all(loaded.ignored), ..loaded })
}
