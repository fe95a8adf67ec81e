//! The sentence of a rejection: the requested model, and the models that are served.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::Write;

use super::Scheduler;
use crate::decision::{RejectReason, Rejected};
use crate::request::Request;

impl Scheduler {
    /// The reason of a rejection as one sentence without a full stop. For
    /// [`NotServed`](RejectReason::NotServed) it names the requested model and the served ones: at
    /// most eight, each with at most 64 characters.
    ///
    /// Computes in **O(endpoints · log models)** for that reason, and in **O(1)** for the others.
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Request, Scheduler};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// scheduler.add_endpoint(now, Endpoint::new("a").model("llama").model("qwen"))?;
    /// let request = Request::new("lama");
    /// let rejected = scheduler.pick(now, &request).expect_err("no endpoint serves it");
    /// assert_eq!(
    ///     scheduler.rejection_message(&request, &rejected),
    ///     "no endpoint serves the model \"lama\" with this role and labels; \
    ///      served: \"llama\", \"qwen\"",
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rejection_message(&self, request: &Request<'_>, rejected: &Rejected) -> String {
        if rejected.reason != RejectReason::NotServed {
            return rejected.reason.to_string();
        }
        let served: BTreeSet<&str> = self
            .fleet
            .pool
            .iter()
            .flat_map(|slot| &slot.endpoint.models)
            .map(|model| &**model)
            .collect();
        let query = quoted(request.model);
        if served.contains(request.model) || served.is_empty() {
            return format!(
                "endpoints serve the model {query}, but none has this role and these labels"
            );
        }
        let mut message =
            format!("no endpoint serves the model {query} with this role and labels; served:");
        for (at, model) in served.iter().take(NAMES).enumerate() {
            // Writing to a String cannot fail.
            _ = write!(message, "{} {}", if at == 0 { "" } else { "," }, quoted(model));
        }
        match served.len().saturating_sub(NAMES) {
            0 => {}
            more => _ = write!(message, " and {more} more"),
        }
        message
    }
}

/// The first characters of a name, quoted, with control characters escaped.
fn quoted(name: &str) -> String {
    match name.char_indices().nth(LONGEST) {
        None => format!("{name:?}"),
        Some((end, _)) => format!("{:?}...", name.get(..end).unwrap_or_default()),
    }
}

/// Most models in the message.
const NAMES: usize = 8;
/// Most characters of a name.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;
    use crate::time::Instant;

    #[test]
    fn the_message_is_bounded_and_names_both() {
        let mut scheduler = Scheduler::default();
        for number in 0..20 {
            let endpoint = Endpoint::new(format!("e{number}")).model(format!("m{number:02}"));
            scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("a new name");
        }
        let message = |scheduler: &mut Scheduler, request: &Request<'_>| {
            let rejected = scheduler.pick(Instant::ORIGIN, request).expect_err("it is not served");
            assert_eq!(rejected.reason, RejectReason::NotServed);
            scheduler.rejection_message(request, &rejected)
        };
        let query = "\u{1}x".repeat(512);
        let long = message(&mut scheduler, &Request::new(&query));
        assert!(
            long.len() < 600
                && long.contains("\"m00\", \"m01\"")
                && long.ends_with("\"m07\" and 12 more")
        );
        let other = message(&mut scheduler, &Request::new("m03").labels(&[("zone", "a")]));
        assert_eq!(
            other,
            "endpoints serve the model \"m03\", but none has this role and these labels"
        );
    }
}
