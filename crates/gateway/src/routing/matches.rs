//! What a rule asks of path, method and headers, and which match takes precedence.
//!
//! Source: `HTTPRouteRule` of the Gateway API v1. Of all matches that accept a request, the first
//! in this order decides: an exact path, the longer prefix, a method, more headers, the older
//! route, the route's name, the order of the list.

use alloc::vec::Vec;
use core::cmp::Reverse;

use super::Inquiry;
use super::config::{HeaderMatch, PathMatch, Rule, RuleMatch};

/// Names of headers that stand for the body's model.
const MODEL_HEADER: &str = "x-gateway-model-name";
const BASE_MODEL_HEADER: &str = "x-gateway-base-model-name";

/// The matches of all rules, in the order in which they take precedence.
#[derive(Clone, Debug)]
pub(super) struct MatchOrder {
    /// Rule and match; a rule without matches has one that accepts every request.
    order: Vec<(usize, Option<usize>)>,
}

impl MatchOrder {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let of_rule = |(at, rule): (usize, &Rule)| {
            let always = rule.matches.is_empty().then_some((at, None));
            always.into_iter().chain((0..rule.matches.len()).map(move |one| (at, Some(one))))
        };
        let mut order: Vec<_> = rules.iter().enumerate().flat_map(of_rule).collect();
        order.sort_by(|one, other| precedence(rules, *one).cmp(&precedence(rules, *other)));
        Self { order }
    }

    /// The rule that applies. Computes in **O(matches)**.
    pub(super) fn find(&self, rules: &[Rule], inquiry: &Inquiry<'_>, base: &str) -> Option<usize> {
        let accepts = |(rule, one): &&(usize, Option<usize>)| {
            one.is_none_or(|one| accepts(&rules[*rule].matches[one], inquiry, base))
        };
        self.order.iter().find(accepts).map(|(rule, _)| *rule)
    }
}

/// The place of a match in the order; less goes first.
fn precedence(rules: &[Rule], (rule, one): (usize, Option<usize>)) -> impl Ord + '_ {
    let route = &rules[rule];
    let (mut path, mut method, mut headers) = (None, false, 0);
    if let Some(found) = one.map(|one| &route.matches[one]) {
        path = found.path.as_ref();
        (method, headers) = (found.method.is_some(), found.headers.len());
    }
    let path = match path {
        Some(PathMatch::Exact(path)) => (true, path.len()),
        Some(PathMatch::Prefix(path)) => (false, trimmed(path).len()),
        None => (false, 0),
    };
    let created = route.created.unwrap_or(u64::MAX);
    (Reverse((path, method, headers)), created, &route.name, rule, one)
}

fn accepts(rule: &RuleMatch, inquiry: &Inquiry<'_>, base: &str) -> bool {
    let method = if inquiry.method.is_empty() { "POST" } else { inquiry.method };
    rule.path.as_ref().is_none_or(|path| accepts_path(path, inquiry.path))
        && rule.method.as_ref().is_none_or(|named| named == method)
        && rule.headers.iter().all(|header| accepts_header(header, inquiry, base))
}

fn accepts_path(accepted: &PathMatch, path: &str) -> bool {
    match accepted {
        PathMatch::Exact(accepted) => accepted == path,
        PathMatch::Prefix(prefix) => {
            let rest = path.strip_prefix(trimmed(prefix));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
}

/// A prefix without the slash at its end, which counts for nothing.
fn trimmed(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}

fn accepts_header(header: &HeaderMatch, inquiry: &Inquiry<'_>, base: &str) -> bool {
    let value = if header.name.eq_ignore_ascii_case(MODEL_HEADER) {
        Some(inquiry.model)
    } else if header.name.eq_ignore_ascii_case(BASE_MODEL_HEADER) {
        Some(base)
    } else {
        inquiry.header(&header.name)
    };
    value == Some(&*header.value)
}

impl<'a> Inquiry<'a> {
    /// The first header of this name, in any case.
    pub(super) fn header(&self, name: &str) -> Option<&'a str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| *value)
    }
}
