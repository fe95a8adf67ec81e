//! The verb `exchange` of vectors: one input, then everything that is seen of the exchange.

use serde_json::{Value, json};
use slotwise::{Failure, Instant, Request};
use slotwise_gateway::{Exchange, Gateway, Output};
use slotwise_wire::outcome::{BodyShape, Reason, Refusal};

use crate::calls::{bytes, close, plain, small, text};

/// Makes the input `args["input"]` of the exchange; `new` replaces it. Returns what is seen then.
pub(crate) fn input(
    exchange: &mut Exchange,
    gateway: &mut Gateway,
    now: Instant,
    args: &Value,
) -> Value {
    let (mut passed_on, mut left) = (Value::Null, Value::Null);
    match text(&args["input"]) {
        "new" => {
            *exchange = Exchange::new(BodyShape::of_path(text(&args["path"])))
                .attempts(small(&args["attempts"]));
        }
        "pick" => {
            let request = Request::new("m").text("Hi").exclude(exchange.excluded());
            let picked = gateway.scheduler_mut().pick(now, &request);
            exchange.handle_pick(gateway, now, picked);
        }
        "refuse" => {
            let reason = Reason::all().find(|reason| reason.code() == args["reason"]);
            exchange.handle_refusal(gateway, now, &Refusal::new(reason.expect("a code")));
        }
        "unreachable" => exchange.handle_unreachable(gateway, now, failure(args)),
        "head" => {
            let headers = args["headers"].as_array().expect("headers").iter();
            let headers = headers.map(|pair| (text(&pair[0]), text(&pair[1])));
            exchange.handle_head(small(&args["status"]), headers);
        }
        "chunk" => {
            let passing = exchange.handle_chunk(gateway, now, &bytes(&args["chunk"]));
            passed_on = passing.is_passed_on().into();
        }
        "close" => exchange.handle_close(gateway, now, close(args)),
        "disconnect" => exchange.handle_client_disconnected(gateway, now),
        "wait" => {
            let until = exchange.wait(now);
            left = until.map(|until| until.saturating_since(now).as_micros() as u64).into();
        }
        "end_wait" => exchange.end_wait(now),
        other => panic!("there is no input {other}"),
    }
    let outputs: Vec<Value> = std::iter::from_fn(|| exchange.poll()).map(output).collect();
    let excluded: Vec<Value> = exchange.excluded().iter().map(plain).collect();
    let stats = gateway.scheduler().stats();
    json!({
        "outputs": outputs,
        "passed_on": passed_on,
        "left_us": left,
        "excluded": excluded,
        "ended": exchange.has_ended(),
        "outcome": exchange.outcome().map(|outcome| outcome.end.as_str()),
        "counts": [stats.in_flight, stats.completed, stats.failed, stats.cancelled],
    })
}

fn output(output: Output) -> Value {
    match output {
        Output::Dispatch => json!(["dispatch"]),
        Output::Send { url, .. } => json!(["send", url]),
        Output::Abort => json!(["abort"]),
        Output::Reply(reply) => json!(["reply", reply.status, reply.headers]),
        Output::Body(body) => json!(["body", String::from_utf8_lossy(&body)]),
        Output::End => json!(["end"]),
        Output::Break => json!(["break"]),
        other => panic!("{other:?} has no name"),
    }
}

fn failure(args: &Value) -> Failure {
    match text(&args["failure"]) {
        "timeout" => Failure::Timeout,
        _ => Failure::Unreachable,
    }
}
