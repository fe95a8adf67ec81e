//! The ends of an exchange that hosts meet rarely: inputs that come too late, and connections that
//! break or stay open after a whole answer.

use std::time::Duration;

use slotwise::plugins::{
    DataParallelProfileHandler, HandlerPlugin, ProfileConfig, ProfileSetConfig,
};
use slotwise::{Config, Decision, Endpoint, Instant, RejectReason, Request, Scheduler};
use slotwise_gateway::exchange::{Passing, Reply};
use slotwise_gateway::lease::IdleLimit;
use slotwise_gateway::{Exchange, Gateway, Output};
use slotwise_wire::outcome::{BodyShape, Reason, Refusal, StreamError};
use slotwise_wire::response::CloseReason;

const NOW: Instant = Instant::ORIGIN;
const EVENT: &[u8] = b"data: {\"choices\":[{\"text\":\"a\"}]}\n\n";
const DONE: &[u8] = b"data: [DONE]\n\n";
const JSON: &[u8] = br#"{"choices":[{"text":"a"}],"usage":{"completion_tokens":1}}"#;
const STREAM: [(&str, &str); 1] = [("content-type", "text/event-stream")];
const OBJECT: [(&str, &str); 1] = [("content-type", "application/json")];

fn gateway() -> Gateway {
    let mut gateway = Gateway::new(Scheduler::builder().seed(1).build().expect("valid"));
    for name in ["a", "b"] {
        gateway.scheduler_mut().add_endpoint(NOW, Endpoint::new(name)).expect("a new name");
    }
    gateway
}

/// The request picked again, without what the exchange excludes.
fn pick(gateway: &mut Gateway, exchange: &mut Exchange) {
    let request = Request::new("m").exclude(exchange.excluded());
    let picked = gateway.scheduler_mut().pick(NOW, &request);
    exchange.handle_pick(gateway, NOW, picked);
}

/// An exchange whose request is on its way to an endpoint.
fn sent(gateway: &mut Gateway) -> Exchange {
    let mut exchange = Exchange::new(BodyShape::OpenAi).attempts(2);
    assert_eq!(exchange.poll(), Some(Output::Dispatch));
    pick(gateway, &mut exchange);
    assert!(matches!(exchange.poll(), Some(Output::Send(_))));
    exchange
}

fn outputs(exchange: &mut Exchange) -> Vec<Output> {
    std::iter::from_fn(|| exchange.poll()).collect()
}

fn in_flight(gateway: &Gateway) -> (u64, usize) {
    let stats = gateway.scheduler().stats();
    (stats.in_flight, stats.queued)
}

#[test]
fn a_pick_that_comes_after_the_end_is_cancelled() {
    let mut gateway = gateway();
    let mut exchange = Exchange::new(BodyShape::OpenAi);
    let picked = gateway.scheduler_mut().pick(NOW, &Request::new("m"));
    exchange.handle_client_disconnected(&mut gateway, NOW);
    exchange.handle_pick(&mut gateway, NOW, picked);
    assert_eq!((in_flight(&gateway), outputs(&mut exchange)), ((0, 0), vec![]));
    assert_eq!(gateway.scheduler().stats().cancelled, 1);
}

#[test]
fn a_second_pick_is_cancelled_and_the_first_one_is_kept() {
    let mut gateway = gateway();
    let mut exchange = sent(&mut gateway);
    let first = exchange.lease().expect("in flight").dispatch().clone();
    pick(&mut gateway, &mut exchange);
    assert_eq!(in_flight(&gateway), (1, 0));
    exchange.handle_pick(&mut gateway, NOW, Ok(first.clone())); // the same one twice
    assert_eq!(in_flight(&gateway), (1, 0));
    assert_eq!(exchange.lease().map(|lease| lease.request_id()), Some(first.request_id));
    assert_eq!(outputs(&mut exchange), []);
}

#[test]
fn a_submission_that_comes_after_the_end_is_cancelled() {
    let mut gateway = gateway();
    let mut exchange = Exchange::new(BodyShape::OpenAi);
    let submitted = gateway.scheduler_mut().submit(NOW, &Request::new("m"));
    exchange.handle_client_disconnected(&mut gateway, NOW);
    exchange.handle_submit(&mut gateway, NOW, submitted);
    assert_eq!(in_flight(&gateway), (0, 0));
    assert_eq!(gateway.poll_decision(NOW), None);
}

#[test]
fn a_queued_request_that_the_host_refuses_is_withdrawn() {
    let mut gateway = gateway();
    let mut exchange = Exchange::new(BodyShape::OpenAi);
    let submitted = gateway.scheduler_mut().submit(NOW, &Request::new("m"));
    exchange.handle_submit(&mut gateway, NOW, submitted);
    exchange.handle_refusal(&mut gateway, NOW, &Refusal::new(Reason::ShuttingDown));
    assert_eq!((in_flight(&gateway), gateway.poll_decision(NOW)), ((0, 0), None));
    let outputs = outputs(&mut exchange);
    assert!(matches!(&outputs[1..], [Output::Reply(Reply { status: 503, .. }), _, Output::End]));
}

#[test]
fn the_handler_of_the_profiles_names_the_primary_port() {
    let handler = DataParallelProfileHandler::default();
    let mut profiles = ProfileSetConfig::of_one("ranks", ProfileConfig::default());
    profiles.handler = HandlerPlugin::DataParallel(handler);
    let mut config = Config::default();
    config.profiles = Some(profiles);
    let mut gateway = Gateway::new(Scheduler::new(config).expect("valid"));
    let rank = Endpoint::new("http://10.0.0.1:8003");
    gateway.scheduler_mut().add_endpoint(NOW, rank).expect("a new name");
    let mut exchange = Exchange::new(BodyShape::OpenAi);
    pick(&mut gateway, &mut exchange);
    let outputs = outputs(&mut exchange);
    let [_, Output::Send(call)] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(call.url, "http://10.0.0.1:8000");
    assert!(call.headers.contains(&("x-data-parallel-host-port", "10.0.0.1:8003".into())));
}

#[test]
fn the_decision_about_another_request_is_cancelled() {
    let mut gateway = gateway();
    let mut exchange = Exchange::new(BodyShape::OpenAi);
    let other = gateway.scheduler_mut().submit(NOW, &Request::new("m")).expect("queued");
    let Some(decision) = gateway.poll_decision(NOW) else { panic!("the endpoints are idle") };
    let own = gateway.scheduler_mut().submit(NOW, &Request::new("m"));
    exchange.handle_submit(&mut gateway, NOW, own);
    assert!(matches!(&decision, Decision::Dispatch(dispatch) if dispatch.request_id == other));
    exchange.handle_decision(&mut gateway, NOW, decision);
    assert_eq!(exchange.lease().map(|lease| lease.request_id()), None);
    let decision = gateway.poll_decision(NOW).expect("its own");
    exchange.handle_decision(&mut gateway, NOW, decision);
    assert_eq!(exchange.lease().map(|lease| lease.request_id()), own.ok());
    assert_eq!(in_flight(&gateway), (1, 0));
}

#[test]
fn a_client_that_leaves_gets_nothing_more_and_every_connection_is_closed() {
    let mut gateway = gateway();
    let mut exchange = sent(&mut gateway);
    exchange.handle_head(200, STREAM);
    exchange.handle_close(&mut gateway, NOW, CloseReason::Broken);
    exchange.handle_client_disconnected(&mut gateway, NOW); // between two attempts
    assert_eq!(outputs(&mut exchange), [Output::Abort]);

    let mut exchange = sent(&mut gateway);
    exchange.handle_head(200, OBJECT);
    exchange.handle_chunk(&mut gateway, NOW, JSON);
    exchange.handle_close(&mut gateway, NOW, CloseReason::TimedOut);
    exchange.handle_client_disconnected(&mut gateway, NOW); // before the reply is sent
    assert_eq!(outputs(&mut exchange), [Output::Abort]);
}

#[test]
fn the_lease_of_the_answer_outlives_the_exchange() {
    let mut gateway = gateway();
    let mut exchange = sent(&mut gateway);
    let request = exchange.lease().expect("in flight").request_id();
    exchange.handle_head(200, STREAM);
    assert_eq!(exchange.handle_chunk(&mut gateway, NOW, EVENT), Passing::Held);
    assert_eq!(exchange.handle_chunk(&mut gateway, NOW, DONE), Passing::PassedOn);
    exchange.handle_close(&mut gateway, NOW, CloseReason::Clean);
    let lease = exchange.lease().expect("answered");
    assert_eq!((lease.request_id(), lease.answer_tokens().0), (request, 1));
    assert!(exchange.has_ended() && lease.outcome() == exchange.outcome());
    assert_eq!(exchange.wait(NOW), None);
}

#[test]
fn the_lease_of_a_refusal_is_that_of_the_engine_that_refused() {
    let mut gateway = gateway();
    let mut exchange = sent(&mut gateway);
    let first = exchange.lease().expect("in flight").request_id();
    exchange.handle_head(429, OBJECT);
    exchange.handle_close(&mut gateway, NOW, CloseReason::Clean);
    assert_eq!(outputs(&mut exchange), [Output::Dispatch]);
    assert!(exchange.lease().is_none());
    pick(&mut gateway, &mut exchange);
    exchange.handle_unreachable(&mut gateway, NOW, slotwise::Failure::Unreachable);
    assert_eq!(exchange.lease().map(|lease| lease.request_id()), Some(first));

    // A refusal of the gateway has none.
    let mut exchange = Exchange::new(BodyShape::OpenAi);
    let refusal = Refusal::new(Reason::Rejected(RejectReason::Saturated));
    exchange.handle_refusal(&mut gateway, NOW, &refusal);
    assert!(exchange.has_ended() && exchange.lease().is_none());
}

#[test]
fn an_answer_that_has_begun_may_be_silent_for_sixty_seconds() {
    let mut gateway = gateway();
    let mut exchange = sent(&mut gateway);
    let after = |seconds| Some(NOW + Duration::from_secs(seconds));
    assert_eq!(exchange.wait(NOW), after(30));
    exchange.end_wait(NOW + Duration::from_secs(10));
    exchange.handle_head(200, OBJECT); // headers come before prefill, and are no token
    assert_eq!(exchange.wait(NOW), after(20));
    exchange.handle_chunk(&mut gateway, NOW, &JSON[..9]);
    assert_eq!(exchange.wait(NOW), after(60));
}

#[test]
fn a_whole_json_answer_counts_although_its_connection_stays_open() {
    for close in [CloseReason::TimedOut, CloseReason::Broken] {
        let mut gateway = gateway();
        let mut exchange = sent(&mut gateway);
        exchange.handle_head(200, OBJECT);
        exchange.handle_chunk(&mut gateway, NOW, JSON);
        exchange.handle_close(&mut gateway, NOW, close);
        let [Output::Abort, Output::Reply(reply), Output::Body(body), Output::End] =
            &outputs(&mut exchange)[..]
        else {
            panic!("the client gets the answer")
        };
        assert_eq!((reply.status, &body[..]), (200, JSON));
        assert_eq!(gateway.scheduler().stats().completed, 1);
    }
}

#[test]
fn half_a_json_answer_is_asked_elsewhere() {
    let mut gateway = gateway();
    let mut exchange = sent(&mut gateway);
    exchange.handle_head(200, OBJECT);
    exchange.handle_chunk(&mut gateway, NOW, &JSON[..9]);
    exchange.handle_close(&mut gateway, NOW, CloseReason::TimedOut);
    assert_eq!(outputs(&mut exchange), [Output::Abort, Output::Dispatch]);
}

#[test]
fn a_stream_that_breaks_after_its_end_ends_cleanly() {
    for close in [CloseReason::TimedOut, CloseReason::Broken, CloseReason::Expired] {
        let mut gateway = gateway();
        let mut exchange = sent(&mut gateway);
        exchange.handle_head(200, STREAM);
        exchange.handle_chunk(&mut gateway, NOW, EVENT);
        exchange.handle_chunk(&mut gateway, NOW, DONE);
        outputs(&mut exchange);
        exchange.handle_close(&mut gateway, NOW, close);
        assert_eq!(outputs(&mut exchange), [Output::Abort, Output::End]);
        assert_eq!(gateway.scheduler().stats().completed, 1);
    }
}

#[test]
fn a_stream_that_is_cut_ends_with_an_error_event() {
    let cases = [
        (CloseReason::Clean, StreamError::Cut),
        (CloseReason::Broken, StreamError::Cut),
        (CloseReason::TimedOut, StreamError::TimedOut),
        (CloseReason::Expired, StreamError::Expired),
    ];
    for (close, error) in cases {
        for (path, shape) in
            [("/v1/messages", BodyShape::Anthropic), ("/v1/completions", BodyShape::OpenAi)]
        {
            let mut gateway = gateway();
            let mut exchange = Exchange::new(BodyShape::of_path(path));
            pick(&mut gateway, &mut exchange);
            exchange.handle_head(200, STREAM);
            exchange.handle_chunk(&mut gateway, NOW, EVENT);
            outputs(&mut exchange);
            exchange.handle_close(&mut gateway, NOW, close);
            let outputs: Vec<Output> = outputs(&mut exchange)
                .into_iter()
                .filter(|output| *output != Output::Abort)
                .collect();
            assert_eq!(outputs, [Output::Body(error.event(shape).into_bytes()), Output::End]);
            let stats = gateway.scheduler().stats();
            // The endpoint is not to blame for a request that takes too long.
            let expected = if error == StreamError::Expired { (0, 1) } else { (1, 0) };
            assert_eq!((stats.failed, stats.cancelled), expected);
            assert_eq!(in_flight(&gateway), (0, 0));
        }
    }
}

#[test]
fn the_end_of_the_time_before_the_reply_leaves_the_refusal_to_the_host() {
    let mut gateway = gateway();
    let mut undecided = Exchange::new(BodyShape::OpenAi);
    undecided.handle_close(&mut gateway, NOW, CloseReason::Expired);
    assert_eq!((outputs(&mut undecided), undecided.has_ended()), (vec![], true));

    let mut waiting = sent(&mut gateway);
    let mut begun = sent(&mut gateway);
    begun.handle_head(200, OBJECT);
    begun.handle_chunk(&mut gateway, NOW, &JSON[..9]);
    for exchange in [&mut waiting, &mut begun] {
        exchange.handle_close(&mut gateway, NOW, CloseReason::Expired);
        assert_eq!(outputs(exchange), [Output::Abort]);
    }
    assert_eq!((in_flight(&gateway), gateway.scheduler().stats().cancelled), ((0, 0), 2));
}

#[test]
fn the_end_of_the_time_takes_nothing_from_an_answer_that_has_ended() {
    let mut gateway = gateway();
    let mut exchange = sent(&mut gateway);
    exchange.handle_head(200, OBJECT);
    exchange.handle_chunk(&mut gateway, NOW, JSON);
    exchange.handle_close(&mut gateway, NOW, CloseReason::Clean);
    exchange.handle_close(&mut gateway, NOW, CloseReason::Expired);
    assert!(matches!(
        &outputs(&mut exchange)[..],
        [Output::Reply(_), Output::Body(_), Output::End]
    ));
}

#[test]
fn nothing_can_follow_a_part_of_an_event_or_an_error_of_the_engine() {
    let ends: [(&[u8], Output); 2] = [
        (b"data: {\"cho", Output::Break),
        (b"data: {\"error\":{\"code\":500}}\n\n", Output::Break),
    ];
    for (last, end) in ends {
        let mut gateway = gateway();
        let mut exchange = sent(&mut gateway);
        exchange.handle_head(200, STREAM);
        exchange.handle_chunk(&mut gateway, NOW, EVENT);
        exchange.handle_chunk(&mut gateway, NOW, last);
        outputs(&mut exchange);
        exchange.handle_close(&mut gateway, NOW, CloseReason::Broken);
        assert_eq!(outputs(&mut exchange), [Output::Abort, end]);
    }
}

#[test]
fn a_whole_answer_may_take_as_long_as_its_generation() {
    let wait = |request: &Request<'_>, limit| {
        let mut gateway = gateway();
        let mut exchange = Exchange::new(BodyShape::OpenAi).idle_limit(limit);
        let picked = gateway.scheduler_mut().pick(NOW, request);
        exchange.handle_pick(&mut gateway, NOW, picked);
        exchange.wait(NOW).map(|until| until.saturating_since(NOW).as_secs())
    };
    let (stream, whole) = (Request::new("m"), Request::new("m").streams(false));
    assert_eq!(wait(&stream, IdleLimit::Predicted), Some(30));
    assert_eq!(wait(&whole, IdleLimit::Predicted), Some(600));
    for request in [stream, whole] {
        assert_eq!(wait(&request, IdleLimit::from_secs(7.0)), Some(7));
        assert_eq!(wait(&request, IdleLimit::from_secs(f64::INFINITY)), None);
    }
}

#[test]
fn the_idle_limit_of_a_host_holds_for_each_attempt() {
    let mut gateway = gateway();
    let mut exchange =
        Exchange::new(BodyShape::OpenAi).attempts(2).idle_limit(IdleLimit::from_secs(7.0));
    for _ in 0..2 {
        pick(&mut gateway, &mut exchange);
        exchange.handle_head(200, STREAM);
        assert_eq!(exchange.wait(NOW), Some(NOW + Duration::from_secs(7)));
        exchange.handle_close(&mut gateway, NOW, CloseReason::TimedOut);
    }
    assert_eq!(in_flight(&gateway), (0, 0));
}

#[test]
fn a_queued_request_keeps_the_form_of_its_answer() {
    for streams in [true, false] {
        let mut gateway = gateway();
        let request = Request::new("m").streams(streams);
        gateway.scheduler_mut().submit(NOW, &request).expect("there is room");
        let Some(Decision::Dispatch(dispatch)) = gateway.poll_decision(NOW) else {
            panic!("the endpoints are idle")
        };
        assert_eq!(dispatch.streams, streams);
        gateway.scheduler_mut().cancel(NOW, dispatch.request_id);
    }
}
