//! Why a decision is what it is.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::Scheduler;
use super::pick::Asked;
use super::ranking::{Key, Lift, Ranking};
use super::reading::Reading;
use crate::decision::{RejectReason, Rejected};
use crate::endpoint::EndpointId;
use crate::pool::BackoffCause;
use crate::profile::Terms;
use crate::request::Request;
use crate::time::{Instant, Seconds};

/// What [`pick`](Scheduler::pick) would decide, and what every endpoint would cost, term by term.
///
/// Its [`Display`](fmt::Display) is a table.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Explanation {
    /// Where the request would go, or why it would not.
    pub verdict: Result<EndpointId, Rejected>,
    /// Tokens of the prompt: counted, or estimated from text.
    pub prompt_tokens: u32,
    /// The most that any endpoint of the pool is expected to find in its cache.
    pub best_cached_tokens: u32,
    /// Every endpoint: first those that could have the request, best first, then the others by their ids.
    pub candidates: Vec<Candidate>,
}

/// One endpoint, as the request sees it.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Candidate {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its name.
    pub name: String,
    /// Why it cannot have the request, if so.
    pub excluded: Option<Exclusion>,
    /// Prompt tokens that it is expected to find in its cache.
    pub cached_tokens: u32,
    /// Predicted time to the first token: its booked prefill, room in its KV cache, this request's prefill,
    /// and loading the adapter.
    pub first_token_in: Seconds,
    /// The cost, term by term.
    pub terms: Terms,
    /// Their sum.
    pub cost: Seconds,
    /// Why its KV events are not used: the code of the last refusal, while the endpoint is not precise.
    pub kv_refusal: Option<&'static str>,
    /// Why it is backed off, if it is.
    pub backoff: Option<BackoffCause>,
    /// For how long from now on, before a trial.
    pub held_off: Seconds,
}

/// Why an endpoint cannot have a request, from the least hopeful to the most.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Exclusion {
    /// The request goes on from an answer that another endpoint gave, or this one drains.
    Elsewhere,
    /// It serves another model or role, or lacks a label.
    NotServed,
    /// The request excludes it: [`Request::exclude`].
    Excluded,
    /// It is about to leave.
    Draining,
    /// Its engine sleeps, as its last report says.
    Sleeping,
    /// Prompt and answer do not fit into its KV cache.
    TooLarge,
    /// Its first token would come after the deadline.
    TooLate,
    /// It is backed off after failures, or has a trial in flight. Considered after all if no other endpoint can
    /// have the request.
    BackedOff,
    /// It begins slowly and has as many requests as it may by now. Considered after all if no other endpoint can
    /// have the request.
    Ramping,
    /// Its cache has no room for the context of another session.
    NoSession,
    /// It has as many requests as it may.
    Full,
}

impl Exclusion {
    /// Its name in other languages and in logs; it stays the same when the message changes.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Elsewhere => "elsewhere",
            Self::NotServed => "not_served",
            Self::Excluded => "excluded",
            Self::BackedOff => "backed_off",
            Self::Ramping => "ramping",
            Self::Draining => "draining",
            Self::Sleeping => "sleeping",
            Self::TooLarge => "too_large",
            Self::TooLate => "too_late",
            Self::NoSession => "no_session",
            Self::Full => "full",
        }
    }
}

impl From<Exclusion> for RejectReason {
    fn from(why: Exclusion) -> Self {
        match why {
            Exclusion::Elsewhere => Self::ThreadNotFound,
            Exclusion::NotServed => Self::NotServed,
            Exclusion::Excluded | Exclusion::Draining | Exclusion::Sleeping => Self::NoEndpoints,
            Exclusion::BackedOff | Exclusion::Ramping => Self::NoEndpoints,
            Exclusion::TooLarge => Self::TooLarge,
            Exclusion::TooLate => Self::DeadlineUnreachable,
            Exclusion::NoSession | Exclusion::Full => Self::Saturated,
        }
    }
}

impl Scheduler {
    /// Says what [`pick`](Self::pick) would decide and why, without doing it: what only comes due at `now`, such as
    /// an assumption that was not confirmed, is still as it was.
    ///
    /// # Example: the terms of a decision
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Request, Scheduler, Seconds};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// scheduler.add_endpoint(now, Endpoint::new("a"))?;
    /// let request = Request::new("llama").tokens(&[1; 1_000]);
    /// let explanation = scheduler.explain(now, &request);
    /// let best = &explanation.candidates[0];
    /// assert_eq!(explanation.verdict, Ok(best.endpoint));
    /// assert_eq!(best.cost, best.terms.total());
    /// assert_eq!(best.terms.queue, Seconds::ZERO);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain(&self, now: Instant, request: &Request<'_>) -> Explanation {
        let now = self.fleet.now.max(now);
        let mut reading = Reading::default();
        self.read(request, &mut reading);
        let mut candidates: Vec<(Key, Candidate)> = Vec::with_capacity(self.fleet.pool.len());
        let mut ranking = Ranking::new(1);
        let mut asked = Asked { now, request, reading: &reading, starts: false, lift: Lift::Nothing };
        let total = |_, terms: &Terms| terms.total();
        let mut refusal = self.weigh_all(asked, &mut ranking, &total, |_, _| {});
        while ranking.is_empty() {
            let Some(lift) = refusal.next_lift(asked.lift) else { break };
            asked.lift = lift;
            refusal = self.weigh_all(asked, &mut ranking, &total, |_, _| {});
        }
        let mut ranking = Ranking::new(1);
        refusal = self.weigh_all(asked, &mut ranking, &total, |slot, assessment| {
            let candidate = Candidate {
                endpoint: slot.id,
                name: slot.endpoint.name.clone(),
                excluded: assessment.excluded,
                cached_tokens: assessment.found.tokens,
                first_token_in: assessment.first_token_in,
                terms: assessment.terms,
                cost: assessment.cost,
                kv_refusal: self.fleet.kv_refusal(slot),
                backoff: slot.health.cause(),
                held_off: slot.health.held_off(now),
            };
            candidates.push((assessment.key, candidate));
        });
        let chosen = self.admit(request, &ranking, refusal);
        candidates.sort_by_key(|(key, candidate)| match candidate.excluded {
            None => (false, Some(*key), None),
            Some(_) => (true, None, Some(candidate.endpoint)),
        });
        let gone = Rejected::NO_ENDPOINTS;
        let best = || ranking.split().map(|((endpoint, _), _)| *endpoint).ok_or(gone);
        Explanation {
            verdict: chosen.and_then(|()| best()),
            prompt_tokens: reading.tokens,
            best_cached_tokens: reading.best_hit,
            candidates: candidates.into_iter().map(|(_, candidate)| candidate).collect(),
        }
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Elsewhere => "does not hold the earlier turns",
            Self::NotServed => "does not serve this",
            Self::Excluded => "excluded by the request",
            Self::BackedOff => "backed off",
            Self::Ramping => "ramping up",
            Self::Draining => "draining",
            Self::Sleeping => "sleeping",
            Self::TooLarge => "too large for its cache",
            Self::TooLate => "after the deadline",
            Self::NoSession => "no_session",
            Self::Full => "full",
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Ok(endpoint) => writeln!(f, "{} tokens go to {endpoint}", self.prompt_tokens)?,
            Err(rejected) => writeln!(f, "{} tokens are {rejected}", self.prompt_tokens)?,
        }
        writeln!(
            f,
            "{:<24} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "endpoint",
            "cached",
            "queue",
            "room",
            "prefill",
            "eviction",
            "kv",
            "decode",
            "adapter",
            "recovery",
            "cost s"
        )?;
        for Candidate { name, cached_tokens, terms, cost, excluded, kv_refusal, backoff, held_off, .. } in
            &self.candidates
        {
            write!(f, "{name:<24} {cached_tokens:>8}")?;
            let parts = [
                terms.queue,
                terms.room,
                terms.prefill,
                terms.eviction,
                terms.kv,
                terms.decode,
                terms.adapter,
                terms.recovery,
                *cost,
            ];
            for part in parts {
                write!(f, " {:>9.4}", part.get())?;
            }
            match (excluded, backoff) {
                (Some(why), Some(cause)) => {
                    write!(f, "  ({why}: {}, {:.1} s left)", cause.code(), held_off.get())?;
                }
                (Some(why), None) => write!(f, "  ({why})")?,
                (None, _) => {}
            }
            if let Some(why) = kv_refusal {
                write!(f, "  (KV events refused: {why})")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
