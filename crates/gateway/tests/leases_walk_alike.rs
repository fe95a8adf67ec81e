//! Random calls of a lease: what each answers, and where the lease and its scheduler are then.
//!
//! `lease_walk.json` has the calls and what is seen after each. Python's and Node's suites run the
//! same file; Python's draws it anew.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use slotwise::{
    Endpoint, EndpointId, Failure, Instant, RedirectError, Request, Scheduler, UnknownRequest,
};
use slotwise_gateway::lease::{NotBegun, ReportedUsage};
use slotwise_gateway::{Gateway, Lease};
use slotwise_wire::response::CloseReason;

const NOW: Instant = Instant::ORIGIN;

#[test]
fn random_calls_answer_as_in_every_language() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lease_walk.json");
    let walks: Vec<Vec<(Value, Value, Value)>> =
        serde_json::from_str(&fs::read_to_string(file).expect("the walks")).expect("JSON");
    assert_eq!(walks.len(), 60);
    for (number, steps) in walks.iter().enumerate() {
        let mut walk = Walk::new();
        for (at, (call, answer, seen)) in steps.iter().enumerate() {
            let arguments = call.as_array().expect("a call");
            let answered = walk.call(&arguments[0], &arguments[1..]).unwrap_or_else(Value::from);
            assert_eq!(&answered, answer, "walk {number}, call {at}: {call}");
            assert_eq!(&walk.seen(), seen, "walk {number}, after call {at}: {call}");
        }
        walk.lease.cancel(&mut walk.gateway, NOW);
        assert_eq!(walk.gateway.scheduler().stats().in_flight, 0, "walk {number} leaves nothing");
    }
}

struct Walk {
    gateway: Gateway,
    lease: Lease,
}

/// Why a call raises in a binding.
struct Raised(&'static str);

impl Walk {
    fn new() -> Self {
        let scheduler = Scheduler::builder().seed(0).build().expect("valid");
        let mut gateway = Gateway::new(scheduler);
        for name in ["a", "b", "c"] {
            gateway.scheduler_mut().add_endpoint(NOW, Endpoint::new(name)).expect("a new name");
        }
        let request = Request::new("").text("a prompt");
        let dispatch = gateway.scheduler_mut().pick(NOW, &request).expect("an idle pool");
        let lease = Lease::new(&gateway, dispatch);
        Self { gateway, lease }
    }

    /// Makes the call. The checks of arguments are those of the bindings, in their order.
    fn call(&mut self, name: &Value, arguments: &[Value]) -> Result<Value, Raised> {
        let Self { gateway, lease } = self;
        let first = arguments.first().unwrap_or(&Value::Null);
        match name.as_str().expect("a name") {
            "first_token" => lease.handle_first_token(gateway, NOW),
            // A lease that has ended does nothing, whatever it is given.
            "tokens" if lease.has_ended() => {}
            "tokens" => lease.handle_tokens(gateway, NOW, small(first)?),
            "begin" => lease.begin(small(first)?, arguments[1].as_str().expect("a type")),
            "feed" if lease.has_ended() => return Ok(json!([false, 0, false])),
            "feed" if lease.reader().is_none() => return Err(Raised("not_begun")),
            "feed" => {
                let progress = lease.feed(gateway, NOW, chunk(first)?)?;
                return Ok(json!([progress.first_token, progress.tokens, progress.ended]));
            }
            "finish" if lease.reader().is_none() => return Err(Raised("not_begun")),
            "finish" if lease.outcome().is_some() => return Ok(outcome(lease)),
            "finish" => {
                lease.finish(gateway, NOW, close(first)?)?;
                return Ok(outcome(lease));
            }
            "complete" => {
                let usage = first.as_object().map(|fields| {
                    let mut usage = ReportedUsage::default();
                    usage.prompt_tokens = fields["prompt_tokens"].as_f64();
                    usage.completion_tokens = fields["completion_tokens"].as_f64();
                    usage
                });
                return Ok(lease.complete(gateway, NOW, usage).0.into());
            }
            "fail" if lease.has_ended() => return Ok(false.into()),
            "fail" => return Ok(lease.fail(gateway, NOW, failure(first)?).into()),
            "cancel" => return Ok(lease.cancel(gateway, NOW).into()),
            "redirect" => lease.redirect(gateway, NOW, endpoint(first)?, Failure::Unreachable)?,
            "elsewhere" => return self.elsewhere(first, arguments.get(1)),
            "stream" => return self.stream(first.as_array().expect("chunks"), &arguments[1]),
            other => panic!("there is no {other}"),
        }
        Ok(Value::Null)
    }

    /// A call of the scheduler by the request's id, behind the lease's back.
    fn elsewhere(&mut self, name: &Value, to: Option<&Value>) -> Result<Value, Raised> {
        let (id, scheduler) = (self.lease.request_id(), self.gateway.scheduler_mut());
        match name.as_str().expect("a name") {
            "complete" => scheduler.complete(NOW, id, slotwise::Usage::default())?,
            "fail" => scheduler.fail(NOW, id, Failure::Engine)?,
            "cancel" => return Ok(scheduler.cancel(NOW, id).into()),
            "redirect" => scheduler.redirect(NOW, id, endpoint(to.expect("an endpoint"))?)?,
            other => panic!("there is no {other}"),
        }
        Ok(Value::Null)
    }

    /// The answer's body is passed on, all of it or one chunk. `"!"` breaks the connection.
    fn stream(&mut self, chunks: &[Value], how: &Value) -> Result<Value, Raised> {
        let Self { gateway, lease } = self;
        let reads = lease.reader().is_some();
        for (got, value) in chunks.iter().enumerate() {
            if value == "!" {
                lease.close(gateway, NOW, CloseReason::Broken);
                return Err(Raised("source"));
            }
            match chunk(value) {
                Ok(chunk) => _ = lease.pass(gateway, NOW, chunk),
                // Unread, anything passes. What is read has to be bytes.
                Err(_) if !reads => lease.handle_first_token(gateway, NOW),
                Err(_) if lease.has_ended() => {}
                Err(error) => {
                    lease.close(gateway, NOW, CloseReason::ClientDisconnected);
                    return Err(error);
                }
            }
            if how == "one" && got == 0 {
                lease.close(gateway, NOW, CloseReason::ClientDisconnected);
                return Ok("closed".into());
            }
        }
        lease.close(gateway, NOW, CloseReason::Clean);
        Ok(chunks.len().into())
    }

    fn seen(&mut self) -> Value {
        let Self { gateway, lease } = self;
        let id = lease.locate(gateway).as_u64();
        let stats = gateway.scheduler().stats();
        json!([
            lease.has_ended(),
            id,
            lease.endpoint_name(),
            lease.answer_tokens().0,
            lease.outcome().map(|outcome| outcome.end.as_str()),
            stats.in_flight,
            stats.completed,
            stats.failed,
            stats.cancelled,
        ])
    }
}

fn outcome(lease: &Lease) -> Value {
    let outcome = lease.outcome().expect("finished");
    json!([outcome.end.as_str(), outcome.settlement().as_str()])
}

fn small<T: TryFrom<i64>>(value: &Value) -> Result<T, Raised> {
    let number = value.as_i64().and_then(|number| T::try_from(number).ok());
    number.ok_or(Raised("invalid"))
}

fn chunk(value: &Value) -> Result<&[u8], Raised> {
    value.as_str().map(str::as_bytes).ok_or(Raised("invalid"))
}

fn endpoint(value: &Value) -> Result<EndpointId, Raised> {
    value.as_u64().map(EndpointId::from_u64).ok_or(Raised("invalid"))
}

fn close(value: &Value) -> Result<CloseReason, Raised> {
    use CloseReason::{Broken, Clean, ClientDisconnected, Expired, TimedOut};
    let all = [Clean, Broken, TimedOut, ClientDisconnected, Expired];
    all.into_iter().find(|close| close.as_str() == value).ok_or(Raised("invalid"))
}

fn failure(value: &Value) -> Result<Failure, Raised> {
    match value.as_str() {
        Some("engine") => Ok(Failure::Engine),
        Some("unreachable") => Ok(Failure::Unreachable),
        Some("timeout") => Ok(Failure::Timeout),
        _ => Err(Raised("invalid")),
    }
}

impl From<NotBegun> for Raised {
    fn from(_: NotBegun) -> Self {
        Self("not_begun")
    }
}

impl From<UnknownRequest> for Raised {
    fn from(_: UnknownRequest) -> Self {
        Self("unknown_request")
    }
}

impl From<RedirectError> for Raised {
    fn from(error: RedirectError) -> Self {
        Self(error.code())
    }
}

impl From<Raised> for Value {
    fn from(Raised(error): Raised) -> Self {
        json!({ "error": error })
    }
}
