//! All documents of a file as one configuration.
//!
//! The own document is first, whatever its place, then the documents that add pools, then those
//! that refer to pools. So references are resolved in any order of documents.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Loaded;
use super::configuration::Configuration;
use super::problem::Problem;
use super::{kinds, own_file};
use crate::tree::{Node, Value};

/// The configuration of documents, or the first problem of each.
pub(super) fn read(documents: &[Node]) -> Result<Loaded, Vec<Problem>> {
    let (objects, own): (Vec<&Node>, Vec<&Node>) =
        documents.iter().partition(|document| kinds::is_object(document));
    let problem = match (documents, &own[..]) {
        ([], _) => Problem::new("is empty; a file has at least one field, such as `endpoints`"),
        (_, [_, second, ..]) => {
            let message = "must be one document; only Kubernetes kinds may have several";
            Problem::new(message).at(second.place)
        }
        _ => return Documents { own: own.first().copied(), objects }.read(),
    };
    Err(Vec::from([problem]))
}

/// The documents of a file.
struct Documents<'n> {
    own: Option<&'n Node>,
    objects: Vec<&'n Node>,
}

/// Where a part of the configuration comes from.
struct Origin<'n> {
    /// The path of the part, such as `rules[2]`.
    part: String,
    document: &'n Node,
    /// The path in the document.
    path: String,
}

impl<'n> Documents<'n> {
    fn read(&self) -> Result<Loaded, Vec<Problem>> {
        let (mut problems, mut ignored, mut origins) = (Vec::new(), Vec::new(), Vec::new());
        let mut configuration = match self.read_own() {
            Ok(configuration) => configuration,
            Err(problem) => {
                problems.push(problem);
                Configuration::default()
            }
        };
        let pickers = self.objects.iter().filter(|object| is_picker_config(object));
        if let Some(second) = pickers.clone().nth(1) {
            let problem = Problem::new("must be the only EndpointPickerConfig of the file");
            problems.push(problem.in_field("kind").at(second.place_of("kind")));
        }
        let (pools, others): (Vec<&Node>, Vec<&Node>) =
            self.objects.iter().partition(|object| kinds::adds_pool(object));
        for object in pools.into_iter().chain(others) {
            let before = Lengths::of(&configuration);
            match kinds::read(object, &mut configuration) {
                Ok(found) => ignored.extend(found),
                Err(problem) => problems.push(located(problem, object)),
            }
            origins.extend(before.origins_until(&configuration, object));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        origins.extend(pickers.map(|object| Origin {
            part: String::new(),
            document: object,
            path: String::new(),
        }));
        configuration.apply_limits();
        let problems = configuration.check().into_iter();
        let problems: Vec<_> = problems.map(|problem| self.locate(problem, &origins)).collect();
        if problems.is_empty() { Ok(Loaded { configuration, ignored }) } else { Err(problems) }
    }

    /// The configuration of the own document. A file without pools has one, as every file.
    fn read_own(&self) -> Result<Configuration, Problem> {
        let pools: Vec<&str> =
            self.objects.iter().filter_map(|object| added_pool(object)).collect();
        match self.own {
            Some(own) => own_file::read(own, &pools).map_err(|problem| located(problem, own)),
            None if pools.is_empty() => Ok(own_file::without_fields()),
            None => Ok(Configuration::default()),
        }
    }

    /// The problem of a configuration with the place and the path of its document.
    fn locate(&self, problem: Problem, origins: &[Origin<'_>]) -> Problem {
        let stated = |path: &str| self.own.is_some_and(|own| own.find(path).is_some());
        let part: String = problem.path.split_inclusive(']').take(1).collect();
        let is_scheduler = problem.path.contains("].scheduler");
        let scheduler = format!("{part}.scheduler");
        let origin = origins.iter().find(|origin| match &*origin.part {
            "" => is_scheduler && !stated(&scheduler) && !stated("scheduler"),
            known => known == part,
        });
        match (origin, self.own) {
            (Some(origin), _) => {
                let rest = problem.path[part.len()..].trim_start_matches('.');
                let message = format!("{rest} {}", problem.message);
                let moved = Problem { path: origin.path.clone(), ..Problem::new(message) };
                located(moved, origin.document)
            }
            (None, Some(own)) => located(problem, own),
            (None, None) => problem,
        }
    }
}

/// The lengths of the lists to which documents add.
struct Lengths {
    rules: usize,
    rewrites: usize,
    objectives: usize,
    pools: usize,
}

impl Lengths {
    fn of(configuration: &Configuration) -> Self {
        let routing = &configuration.routing;
        Self {
            rules: routing.rules.len(),
            rewrites: routing.rewrites.len(),
            objectives: routing.objectives.len(),
            pools: routing.pools.len(),
        }
    }

    /// The parts that a document has added since.
    fn origins_until<'n>(self, now: &Configuration, document: &'n Node) -> Vec<Origin<'n>> {
        let after = Self::of(now);
        let origin = |part: String, path: String| Origin { part, document, path };
        let rules = (self.rules..after.rules)
            .map(|at| origin(format!("rules[{at}]"), format!("spec.rules[{}]", at - self.rules)));
        let lists = [
            ("rewrites", self.rewrites..after.rewrites, "spec"),
            ("objectives", self.objectives..after.objectives, "metadata"),
            ("pools", self.pools..after.pools, "metadata"),
        ];
        let others = lists.into_iter().flat_map(|(list, added, path)| {
            added.map(move |at| origin(format!("{list}[{at}]"), path.into()))
        });
        rules.chain(others).collect()
    }
}

fn is_picker_config(object: &Node) -> bool {
    object.get("kind").is_some_and(|kind| kind.value == Value::Text("EndpointPickerConfig".into()))
}

/// The name of the pool that a document adds.
fn added_pool(object: &Node) -> Option<&str> {
    let name = object.find("metadata.name").filter(|_| kinds::adds_pool(object))?;
    if let Value::Text(name) = &name.value { Some(name) } else { None }
}

/// The problem with the place of its path, or of the nearest part that the document has.
fn located(problem: Problem, document: &Node) -> Problem {
    let place = document.place_of(&problem.path);
    problem.at(place)
}
