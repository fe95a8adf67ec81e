//! Random engines, clients and clocks: an exchange is what a naive twin of it is, and leaves
//! nothing.
//!
//! The twin keeps a list of the bytes that came. From it, it computes what the client should have
//! been sent, without any state of its own.

use std::time::Duration;

use proptest::prelude::*;
use slotwise::{Endpoint, EndpointId, Failure, Instant, Request, Scheduler};
use slotwise_gateway::exchange::Passing;
use slotwise_gateway::{Exchange, Gateway, Output};
use slotwise_wire::outcome::{BodyShape, StreamError};
use slotwise_wire::response::{AnswerEnd, CloseReason, ResponseReader};

const ENGINES: usize = 4;
const TOKEN: &[u8] = b"data: {\"choices\":[{\"text\":\"a\"}]}\n\n";
const DONE: &[u8] = b"data: [DONE]\n\n";
const ERROR: &[u8] = b"data: {\"error\":{\"message\":\"the engine died\",\"code\":500}}\n\n";
const COMMENT: &[u8] = b": still here\n\n";

/// What an engine does when it is asked.
#[derive(Clone, Debug)]
enum Engine {
    Unreachable,
    Answers { status: u16, is_stream: bool, chunks: Vec<Vec<u8>>, close: CloseReason },
}

fn engine() -> impl Strategy<Value = Engine> {
    let chunk = prop_oneof![
        4 => Just(TOKEN.to_vec()),
        2 => Just(DONE.to_vec()),
        1 => Just(ERROR.to_vec()),
        2 => Just(COMMENT.to_vec()),
        1 => Just(br#"{"choices":[{"text":"a"}],"usage":{"prompt_tokens":1}}"#.to_vec()),
        1 => Just(vec![b'x'; 40_000]),
        2 => proptest::collection::vec(any::<u8>(), 0..40),
    ];
    let close = prop_oneof![
        4 => Just(CloseReason::Clean),
        2 => Just(CloseReason::Broken),
        1 => Just(CloseReason::TimedOut),
        1 => Just(CloseReason::ClientDisconnected),
        1 => Just(CloseReason::Expired),
    ];
    let status = prop_oneof![5 => Just(200), 3 => proptest::sample::select(vec![
        204_u16, 400, 404, 429, 500, 503, 0, 999,
    ])];
    let chunks = proptest::collection::vec(chunk, 0..5);
    prop_oneof![
        1 => Just(Engine::Unreachable),
        6 => (status, any::<bool>(), chunks, close).prop_map(|(status, is_stream, chunks, close)| {
            Engine::Answers { status, is_stream, chunks, close }
        }),
    ]
}

/// What a client was sent.
#[derive(Debug, Default, PartialEq)]
struct Client {
    status: Option<u16>,
    body: Vec<u8>,
    /// Whether its response ended as HTTP does.
    ended: Option<bool>,
}

/// What the client should get, from the whole history of the engines that are asked in turn.
fn expected(asked: &[Engine], refusal: &Client) -> Client {
    let mut kept = None;
    for engine in asked {
        let Engine::Answers { status, is_stream, chunks, close } = engine else { continue };
        let mut reader = ResponseReader::new(*status, content_type(*is_stream));
        let (mut sent, mut held) = (false, 0);
        for chunk in chunks {
            reader.feed(chunk);
            held += chunk.len();
            sent |= reader.has_begun() || held >= Exchange::LOOK_AHEAD;
        }
        let mut body = chunks.concat();
        let may_add = reader.is_between_events();
        let outcome = reader.finish(*close);
        match close {
            CloseReason::ClientDisconnected if sent => {
                return Client { status: Some(*status), body, ended: None };
            }
            CloseReason::Expired if sent => {}
            // The host refuses what has expired.
            CloseReason::ClientDisconnected | CloseReason::Expired => return Client::default(),
            _ => {}
        }
        if sent || !outcome.may_retry(false) {
            let mut ended = !sent || *close == CloseReason::Clean || outcome.is_complete();
            let error = match outcome.end {
                AnswerEnd::Cut => Some(StreamError::Cut),
                AnswerEnd::TimedOut => Some(StreamError::TimedOut),
                AnswerEnd::Expired => Some(StreamError::Expired),
                _ => None,
            };
            if let (Some(error), true) = (error, sent && may_add) {
                body.extend_from_slice(error.event(BodyShape::OpenAi).as_bytes());
                ended = true;
            }
            return Client { status: Some(*status), body, ended: Some(ended) };
        }
        if *close == CloseReason::Clean && !(200..300).contains(status) {
            kept = Some(Client { status: Some(*status), body, ended: Some(true) });
        }
    }
    kept.unwrap_or_else(|| Client { body: refusal.body.clone(), ..*refusal })
}

const fn content_type(is_stream: bool) -> &'static str {
    if is_stream { "text/event-stream" } else { "application/json" }
}

/// A host that drives one exchange. Engines answer in the order in which they are asked.
struct Host {
    gateway: Gateway,
    exchange: Exchange,
    engines: Vec<Engine>,
    asked: Vec<(EndpointId, Engine)>,
    client: Client,
    now: Instant,
    submits: bool,
}

impl Host {
    fn new(engines: Vec<Engine>, attempts: usize, submits: bool) -> Self {
        let mut gateway = Gateway::new(Scheduler::builder().seed(1).build().expect("valid"));
        for number in 0..ENGINES {
            let endpoint = Endpoint::new(format!("http://engine-{number}"));
            gateway.scheduler_mut().add_endpoint(Instant::ORIGIN, endpoint).expect("a new name");
        }
        let exchange = Exchange::new(BodyShape::OpenAi).attempts(attempts);
        let (asked, client, now) = (Vec::new(), Client::default(), Instant::ORIGIN);
        Self { gateway, exchange, engines, asked, client, now, submits }
    }

    fn run(&mut self) {
        while let Some(output) = self.exchange.poll() {
            self.now = self.now + Duration::from_millis(7);
            match output {
                Output::Dispatch => self.dispatch(),
                Output::Send(call) => {
                    assert!(call.url.starts_with("http://engine-"));
                    self.send(call.endpoint_id);
                }
                Output::Reply(reply) => {
                    assert_eq!(self.client.status.replace(reply.status), None, "one reply");
                }
                Output::Body(bytes) => self.pass_on(&bytes),
                Output::End => assert_eq!(self.client.ended.replace(true), None),
                Output::Break => assert_eq!(self.client.ended.replace(false), None),
                _ => {}
            }
        }
    }

    fn dispatch(&mut self) {
        let request = Request::new("m").text("Hi").exclude(self.exchange.excluded());
        if self.submits {
            let submitted = self.gateway.scheduler_mut().submit(self.now, &request);
            self.exchange.handle_submit(&mut self.gateway, self.now, submitted);
            assert!(self.gateway.take_wakeup().decisions, "a submitted request has to be polled");
            while let Some(decision) = self.gateway.poll_decision(self.now) {
                self.exchange.handle_decision(&mut self.gateway, self.now, decision);
            }
        } else {
            let picked = self.gateway.scheduler_mut().pick(self.now, &request);
            self.exchange.handle_pick(&mut self.gateway, self.now, picked);
        }
    }

    fn send(&mut self, endpoint: EndpointId) {
        let engine = self.engines.get(self.asked.len()).cloned().unwrap_or(Engine::Unreachable);
        assert!(self.asked.iter().all(|(asked, _)| *asked != endpoint), "each is asked once");
        self.asked.push((endpoint, engine.clone()));
        let Self { gateway, exchange, now, .. } = self;
        let Engine::Answers { status, is_stream, chunks, close } = engine else {
            return exchange.handle_unreachable(gateway, *now, Failure::Unreachable);
        };
        let headers = [("Content-Type", content_type(is_stream)), ("server", "an engine")];
        exchange.handle_head(status, headers);
        for chunk in chunks {
            self.now = self.now + Duration::from_millis(3);
            let passing = self.exchange.handle_chunk(&mut self.gateway, self.now, &chunk);
            self.run();
            match passing {
                Passing::PassedOn => self.pass_on(&chunk),
                Passing::Held => {}
                other => panic!("a chunk was {other:?} while the engine answered"),
            }
        }
        self.exchange.handle_close(&mut self.gateway, self.now, close);
    }

    fn pass_on(&mut self, bytes: &[u8]) {
        assert!(self.client.status.is_some(), "the head comes first");
        self.client.body.extend_from_slice(bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_client_gets_what_the_twin_says(
        engines in proptest::collection::vec(engine(), ENGINES),
        attempts in 1..6_usize,
        submits in any::<bool>(),
    ) {
        let mut host = Host::new(engines, attempts, submits);
        host.run();
        prop_assert!(host.exchange.has_ended());
        prop_assert!(host.asked.len() <= attempts.min(ENGINES));
        let stats = host.gateway.scheduler().stats();
        prop_assert_eq!((stats.in_flight, stats.queued), (0, 0));

        let asked: Vec<Engine> = host.asked.iter().map(|(_, engine)| engine.clone()).collect();
        // A refusal of the gateway itself has its own status and body: those of the host's client.
        let own = Client { status: Some(503), body: host.client.body.clone(), ended: Some(true) };
        prop_assert_eq!(&host.client, &expected(&asked, &own));
    }

    #[test]
    fn a_client_that_leaves_at_any_time_leaves_nothing(
        inputs in proptest::collection::vec((0..6_u8, engine()), 0..12),
    ) {
        let mut gateway = Gateway::new(Scheduler::default());
        let now = Instant::ORIGIN;
        gateway.scheduler_mut().add_endpoint(now, Endpoint::new("a")).expect("a new name");
        let mut exchange = Exchange::new(BodyShape::Anthropic);
        for (input, engine) in inputs {
            // In any order, also where it makes no sense.
            match (input, engine) {
                (0, _) => {
                    if exchange.poll() == Some(Output::Dispatch) {
                        let request = Request::new("m").exclude(exchange.excluded());
                        let picked = gateway.scheduler_mut().pick(now, &request);
                        exchange.handle_pick(&mut gateway, now, picked);
                    }
                }
                (1, Engine::Answers { status, is_stream, .. }) => {
                    exchange.handle_head(status, [("content-type", content_type(is_stream))]);
                }
                (2, Engine::Answers { chunks, .. }) => {
                    for chunk in chunks {
                        exchange.handle_chunk(&mut gateway, now, &chunk);
                    }
                }
                (3, Engine::Answers { close, .. }) => exchange.handle_close(&mut gateway, now, close),
                (4, _) => exchange.handle_unreachable(&mut gateway, now, Failure::Timeout),
                _ => _ = exchange.poll(),
            }
        }
        exchange.handle_client_disconnected(&mut gateway, now);
        exchange.handle_client_disconnected(&mut gateway, now);
        prop_assert!(exchange.has_ended());
        prop_assert_eq!(gateway.scheduler().stats().in_flight, 0);
    }
}
