//! The verb `exchange` of vectors: one input, then everything that is seen of the exchange.

use serde_json::{Value, json};
use slotwise::{Failure, Instant, Request, RequestId};
use slotwise_gateway::{Call, Exchange, Gateway, KvConnector, Output};
use slotwise_wire::outcome::{BodyShape, Reason, Refusal};
use slotwise_wire::request::{Api, KvTransfer};

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
                .attempts(small(&args["attempts"]))
                .connector(connector(args))
                .primary_port(number(args, "primary_port", 0) as u16)
                .drop_usage(args["drop_usage"].as_bool().unwrap_or(false));
            if let Some(model) = args["answers_as"].as_str() {
                *exchange = core::mem::replace(exchange, Exchange::new(BodyShape::OpenAi))
                    .answers_as(model);
            }
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
        "prefilled" => {
            let (status, body) = (small(&args["status"]), bytes(&args["body"]));
            exchange.handle_prefilled(gateway, now, request(args), status, &body);
        }
        "prefill_failure" => {
            exchange.handle_prefill_failure(gateway, now, request(args), failure(args));
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
        Output::Prefill(call) => {
            json!(["prefill", call.request_id, call.url, call.headers, sent_body(&call)])
        }
        Output::Send(call) if call.headers.is_empty() && sent_body(&call) == BODY => {
            json!(["send", call.url])
        }
        Output::Send(call) => json!(["send", call.url, call.headers, sent_body(&call)]),
        Output::Abort => json!(["abort"]),
        Output::Reply(reply) => json!(["reply", reply.status, reply.headers]),
        Output::Body(body) => json!(["body", String::from_utf8_lossy(&body)]),
        Output::End => json!(["end"]),
        Output::Break => json!(["break"]),
        other => panic!("{other:?} has no name"),
    }
}

/// The body that an endpoint gets of [`BODY`].
fn sent_body(call: &Call) -> String {
    let body = call.body(Api::Completions, BODY.as_bytes()).expect("a body");
    String::from_utf8(body).expect("text")
}

fn connector(args: &Value) -> KvConnector {
    let name = args["connector"].as_str().unwrap_or("sidecar");
    let port = number(args, "bootstrap_port", KvTransfer::BOOTSTRAP_PORT.into()) as u16;
    KvConnector::from_name(name, port, number(args, "room_salt", 0)).expect("a connector")
}

fn number(args: &Value, name: &str, default: u64) -> u64 {
    args[name].as_u64().unwrap_or(default)
}

fn request(args: &Value) -> RequestId {
    RequestId::from_u64(args["request"].as_u64().expect("a request"))
}

/// The body of each client. An endpoint that gets it unchanged, without headers, is shown by its
/// name alone.
const BODY: &str = r#"{"prompt":"Hi","max_tokens":64}"#;

fn failure(args: &Value) -> Failure {
    match text(&args["failure"]) {
        "timeout" => Failure::Timeout,
        "engine" => Failure::Engine,
        _ => Failure::Unreachable,
    }
}
