//! `HTTPRoute` v1: rules that choose pools by path, method and headers.
//!
//! A match that a gateway cannot evaluate is an error, since a rule without it would accept other
//! requests. Filters other than `RequestMirror` are the host's, and are reported as ignored.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::duration::GoDuration;
use super::object::{Document, Object, resolve};
use crate::config::configuration::Configuration;
use crate::config::problem::Problem;
use crate::routing::{Backend, HeaderMatch, Mirror, PathMatch, Rule, RuleMatch};
use crate::tree::unknown;

/// `HTTPRouteSpec`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "fields without a use are known, and reported as ignored")]
struct Spec {
    #[serde(default)]
    parent_refs: IgnoredAny,
    #[serde(default)]
    hostnames: IgnoredAny,
    rules: Vec<RouteRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "fields without a use are known, and reported as ignored")]
struct RouteRule {
    #[serde(default)]
    name: IgnoredAny,
    #[serde(default)]
    matches: Vec<RouteMatch>,
    #[serde(default)]
    filters: Vec<Filter>,
    #[serde(default)]
    backend_refs: Vec<BackendRef>,
    #[serde(default)]
    timeouts: Timeouts,
    #[serde(default)]
    retry: IgnoredAny,
    #[serde(default)]
    session_persistence: IgnoredAny,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Timeouts {
    request: Option<GoDuration>,
    backend_request: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RouteMatch {
    #[serde(default)]
    path: Option<Text>,
    #[serde(default)]
    headers: Vec<Header>,
    #[serde(default)]
    query_params: Option<IgnoredAny>,
    #[serde(default)]
    method: Option<String>,
}

/// A path: how it is compared, and its value.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(default, rename = "type")]
    kind: MatchType,
    #[serde(default)]
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    #[serde(default, rename = "type")]
    kind: Option<MatchType>,
    name: String,
    value: String,
}

#[derive(Clone, Copy, Default, Deserialize, Eq, PartialEq)]
enum MatchType {
    Exact,
    #[default]
    PathPrefix,
    RegularExpression,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackendRef {
    #[serde(default)]
    #[expect(dead_code, reason = "a pool has one name in a file, whatever its group")]
    group: Option<String>,
    /// `Service` if it is absent.
    #[serde(default)]
    kind: Option<String>,
    name: String,
    #[serde(default)]
    #[expect(dead_code, reason = "names count without namespaces")]
    namespace: Option<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "an endpoint's URL has its port")]
    port: Option<u16>,
    #[serde(default = "one")]
    weight: u32,
    #[serde(default)]
    #[expect(dead_code, reason = "filters of a backend are reported as ignored")]
    filters: IgnoredAny,
}

/// The weight of a backend without one.
const fn one() -> u32 {
    1
}

/// A filter: its type, and its content under the name of the type.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    request_mirror: Option<RequestMirror>,
    #[serde(flatten)]
    others: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RequestMirror {
    backend_ref: BackendRef,
    #[serde(default)]
    percent: Option<f64>,
    #[serde(default)]
    fraction: Option<Fraction>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fraction {
    numerator: u32,
    #[serde(default = "hundred")]
    denominator: u32,
}

const fn hundred() -> u32 {
    100
}

/// Types of filters, each with its content's field. Redirects answer a request without a pool.
const FILTERS: [(&str, &str); 8] = [
    ("RequestMirror", "requestMirror"),
    ("RequestHeaderModifier", "requestHeaderModifier"),
    ("ResponseHeaderModifier", "responseHeaderModifier"),
    ("URLRewrite", "urlRewrite"),
    ("CORS", "cors"),
    ("ExternalAuth", "externalAuth"),
    ("ExtensionRef", "extensionRef"),
    ("RequestRedirect", "requestRedirect"),
];

pub(super) fn read(
    document: &mut Document<'_>,
    configuration: &mut Configuration,
) -> Result<(), Problem> {
    let Object { metadata, spec, .. } = document.object::<Spec>()?;
    let pools = super::pools(configuration);
    document.ignore("spec.parentRefs", "has no effect; the file describes one gateway");
    document.ignore("spec.hostnames", "has no effect; pass requests of these hosts only");
    for (at, rule) in spec.rules.into_iter().enumerate() {
        ignore_parts(document, &rule, at);
        let timeout = rule.timeouts.request.filter(|timeout| !timeout.0.is_zero());
        let mut routed = routed(rule, &pools)
            .map_err(|problem| problem.in_item(at).in_field("rules").in_field("spec"))?;
        routed.name.clone_from(&metadata.name);
        routed.created = metadata.created();
        routed.timeout = timeout.map(|timeout| timeout.0);
        configuration.routing.rules.push(routed);
    }
    Ok(())
}

fn ignore_parts(document: &mut Document<'_>, rule: &RouteRule, at: usize) {
    let path = format!("spec.rules[{at}]");
    let without = [
        ("timeouts.backendRequest", "has no effect; `request` limits the whole request"),
        ("retry", "has no effect; the host sets the number of attempts"),
        ("sessionPersistence", "has no effect; `pin` of an own document keeps sessions"),
    ];
    for (field, reason) in without {
        document.ignore(&format!("{path}.{field}"), reason);
    }
    for (filter, Filter { kind, .. }) in rule.filters.iter().enumerate() {
        if kind != "RequestMirror" {
            let reason = format!("{kind} has no effect; the host changes requests and answers");
            document.ignore(&format!("{path}.filters[{filter}].type"), &reason);
        }
    }
    for backend in 0..rule.backend_refs.len() {
        let path = format!("{path}.backendRefs[{backend}]");
        document.ignore(&format!("{path}.filters"), "has no effect; the host changes requests");
        document.ignore(&format!("{path}.namespace"), "has no effect; names count alone");
    }
}

fn routed(rule: RouteRule, pools: &[String]) -> Result<Rule, Problem> {
    let mut routed = Rule::default();
    for (at, found) in rule.matches.into_iter().enumerate() {
        let found = of_match(found);
        routed.matches.push(found.map_err(|problem| problem.in_item(at).in_field("matches"))?);
    }
    for (at, filter) in rule.filters.into_iter().enumerate() {
        let mirror = of_filter(filter, pools);
        let mirror = mirror.map_err(|problem| problem.in_item(at).in_field("filters"))?;
        routed.mirrors.extend(mirror);
    }
    if rule.backend_refs.is_empty() {
        return Err(Problem::new("must have at least one of backendRefs, a pool"));
    }
    for (at, backend) in rule.backend_refs.into_iter().enumerate() {
        let backend = of_backend(&backend, pools);
        let backend = backend.map_err(|problem| problem.in_item(at).in_field("backendRefs"))?;
        routed.backends.push(backend);
    }
    Ok(routed)
}

fn of_backend(backend: &BackendRef, pools: &[String]) -> Result<Backend, Problem> {
    let pool = resolve(backend.kind.as_deref().unwrap_or("Service"), &backend.name, pools)?;
    if backend.weight > 1_000_000 {
        let message = format!("must lie in [0, 1000000], got {}", backend.weight);
        return Err(Problem::new(message).in_field("weight"));
    }
    Ok(Backend { pool, weight: backend.weight })
}

fn of_match(found: RouteMatch) -> Result<RuleMatch, Problem> {
    if found.query_params.is_some() {
        let message = "cannot be evaluated; match a header or a path instead";
        return Err(Problem::new(message).in_field("queryParams"));
    }
    let mut routed = RuleMatch::default();
    if let Some(Text { kind, value }) = found.path {
        let value = value.unwrap_or_else(|| "/".to_string());
        routed.path = Some(match kind {
            MatchType::Exact => PathMatch::Exact(value),
            MatchType::PathPrefix => PathMatch::Prefix(value),
            MatchType::RegularExpression => return Err(regular_expression().in_field("path")),
        });
    }
    for (at, header) in found.headers.into_iter().enumerate() {
        match header.kind {
            None | Some(MatchType::Exact) => {}
            Some(MatchType::RegularExpression) => {
                return Err(regular_expression().in_item(at).in_field("headers"));
            }
            Some(MatchType::PathPrefix) => {
                let problem = Problem::new("must be Exact").in_field("type");
                return Err(problem.in_item(at).in_field("headers"));
            }
        }
        routed.headers.push(HeaderMatch { name: header.name, value: header.value });
    }
    routed.method = found.method;
    Ok(routed)
}

fn regular_expression() -> Problem {
    Problem::new("cannot be RegularExpression; list the exact values as several matches")
        .in_field("type")
}

/// The mirror of a filter; `None` for a filter that the host applies.
fn of_filter(filter: Filter, pools: &[String]) -> Result<Option<Mirror>, Problem> {
    let Filter { kind, request_mirror, others } = filter;
    let Some((_, field)) = FILTERS.iter().find(|(name, _)| *name == kind) else {
        let known: Vec<_> = FILTERS.iter().map(|(name, _)| *name).collect();
        return Err(Problem::new(unknown("filter", &kind, &known)).in_field("type"));
    };
    if let Some(name) = others.keys().find(|name| *name != field) {
        return Err(Problem::new(unknown("field", name, &["type", field])));
    }
    match (kind.as_str(), request_mirror) {
        ("RequestMirror", Some(mirror)) => {
            of_mirror(mirror, pools).map(Some).map_err(|problem| problem.in_field("requestMirror"))
        }
        ("RequestMirror", None) => Err(Problem::new("lacks the field \"requestMirror\"")),
        ("RequestRedirect", _) => {
            let message = "cannot be RequestRedirect; redirect before the gateway";
            Err(Problem::new(message).in_field("type"))
        }
        (_, Some(_)) => Err(Problem::new(unknown("field", "requestMirror", &["type", field]))),
        (_, None) => Ok(None),
    }
}

fn of_mirror(mirror: RequestMirror, pools: &[String]) -> Result<Mirror, Problem> {
    let backend = of_backend(&mirror.backend_ref, pools);
    let pool = backend.map_err(|problem| problem.in_field("backendRef"))?.pool;
    let percent = match (mirror.percent, mirror.fraction) {
        (Some(_), Some(_)) => {
            return Err(Problem::new("must have `percent` or `fraction`, not both"));
        }
        (percent, None) => percent.unwrap_or(100.0),
        (None, Some(Fraction { numerator, denominator })) => {
            if denominator == 0 || numerator > denominator {
                let message = "must have a numerator of at most the denominator, which is above 0";
                return Err(Problem::new(message).in_field("fraction"));
            }
            f64::from(numerator) * 100.0 / f64::from(denominator)
        }
    };
    if !(0.0..=100.0).contains(&percent) {
        let message = format!("must lie in [0, 100], got {percent}");
        return Err(Problem::new(message).in_field("percent"));
    }
    Ok(Mirror { pool, percent })
}
