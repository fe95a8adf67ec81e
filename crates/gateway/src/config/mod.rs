//! One file that describes a gateway: pools, models, priorities, limits, clusters.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | [`read`]: from a text to a [`Configuration`] |
//! | `configuration` | what a file describes |
//! | `own_file` | the own file |
//! | `print` | a configuration as text, and differences between two |
//! | `tree` | a document as a tree with places |
//! | `yaml` | from YAML or JSON to trees |
//! | `reader` | from trees to values |
//! | `problem` | what is wrong, and where |
//!
//! A file is YAML or JSON. It is read strictly: an unknown field, a wrong type and a name that
//! nothing has are errors with file, line, path and the accepted values.

mod configuration;
mod own_file;
mod print;
mod problem;
mod reader;
mod tree;
mod yaml;

use alloc::vec::Vec;

pub use configuration::{Configuration, PoolConfig};
pub use print::Change;
pub use problem::Problem;
pub use tree::Place;

use self::tree::Node;

/// A configuration that was read.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub configuration: Configuration,
    /// What the file says and this crate has no use for, such as what only Kubernetes can do.
    pub ignored: Vec<Problem>,
}

/// Reads a file. `name` appears in problems. Computes in **O(bytes)**.
///
/// # Errors
///
/// All problems that were found: at least one.
pub fn read(name: &str, text: &str) -> Result<Loaded, Vec<Problem>> {
    let in_file = |problem: Problem| problem.in_file(name);
    let documents = yaml::read(text).map_err(|problem| Vec::from([in_file(problem)]))?;
    let [document] = &documents[..] else {
        let message = match documents.get(1) {
            None => Problem::new("is empty; a file has at least one field, such as `endpoints`"),
            Some(second) => Problem::new("must be one document").at(second.place),
        };
        return Err(Vec::from([in_file(message)]));
    };
    let located = |problem: Problem| in_file(located(problem, document));
    let configuration =
        own_file::read(document).map_err(|problem| Vec::from([located(problem)]))?;
    let problems = configuration.check();
    if problems.is_empty() {
        return Ok(Loaded { configuration, ignored: Vec::new() });
    }
    Err(problems.into_iter().map(located).collect())
}

/// The problem with the place of its path, or of the nearest part that the document has.
fn located(problem: Problem, document: &Node) -> Problem {
    let place = document.place_of(&problem.path);
    problem.at(place)
}
