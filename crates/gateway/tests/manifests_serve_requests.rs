//! The manifests of `seeds.yaml` serve requests of clients against engines that record what they
//! are sent: from the headers and the body to the bytes that the client gets.

#![cfg(feature = "config")]

use serde_json::{Value, json};
use slotwise::{Decision, Instant, RequestId, Usage};
use slotwise_gateway::config;
use slotwise_gateway::ingress::{Admitted, Ingress, Tokens};
use slotwise_gateway::routing::Inquiry;
use slotwise_gateway::{Exchange, Output, Pools};
use slotwise_wire::headers::Allow;
use slotwise_wire::outcome::BodyShape;
use slotwise_wire::request::{Api, PriorityOrder, RequestReader, rewrite_model};
use slotwise_wire::response::CloseReason;

const SEEDS: &str = include_str!("manifests/seeds.yaml");
const NOW: Instant = Instant::ORIGIN;
const OBJECTIVE: &str = "x-llm-d-inference-objective";

/// A gateway: the ingress and the pools of one configuration.
struct Host {
    ingress: Ingress,
    pools: Pools,
    reader: RequestReader,
}

/// A request of a client, and what its client and its engine got.
struct Client {
    admitted: Option<Admitted>,
    pool: String,
    exchange: Exchange,
    queued: Option<RequestId>,
    body: Vec<u8>,
    /// The URL and the body of the call to an engine that has not answered.
    sent: Option<(String, Value)>,
    status: u16,
    headers: Vec<(&'static str, String)>,
    answer: Vec<u8>,
}

impl Host {
    fn new(allow: Allow) -> Self {
        let configuration = config::read("seeds.yaml", SEEDS).expect("valid").configuration;
        let mut pools = Pools::default();
        pools.apply(NOW, &configuration).expect("valid");
        let ingress = Ingress::new((&configuration).into(), 11).expect("valid").allow(allow);
        Self { ingress, pools, reader: RequestReader::new() }
    }

    /// A request arrives. Without room for it, it is queued or shed; with a refusal of the ingress,
    /// the error is its status and its body.
    fn request(
        &mut self,
        path: &str,
        model: &str,
        headers: &[(&str, &str)],
    ) -> Result<Client, (u16, String)> {
        self.request_with("Hi", path, model, headers)
    }

    fn request_with(
        &mut self,
        prompt: &str,
        path: &str,
        model: &str,
        headers: &[(&str, &str)],
    ) -> Result<Client, (u16, String)> {
        let body = json!({"model": model, "prompt": prompt, "stream": true}).to_string();
        let body = body.into_bytes();
        let caller = self.ingress.identify(headers.iter().copied(), None).expect("open");
        let inquiry = Inquiry { model, path, headers, ..Inquiry::default() };
        let tokens = Tokens { prompt: 1, output: 16 };
        let admitted = self.ingress.admit(NOW, &caller, &inquiry, tokens);
        let admitted = admitted
            .map_err(|refused| (refused.status(), refused.body(BodyShape::of_path(path))))?;
        let mut exchange = Exchange::new(BodyShape::of_path(path));
        if let Some(model) = &admitted.answers_as {
            exchange = exchange.answers_as(model);
        }
        let mut client = Client {
            pool: admitted.targets[0].pool.clone(),
            admitted: Some(admitted),
            exchange,
            queued: None,
            body,
            sent: None,
            status: 0,
            headers: Vec::new(),
            answer: Vec::new(),
        };
        self.drive(&mut client);
        self.deliver(std::slice::from_mut(&mut client));
        Ok(client)
    }

    /// Passes the decisions of all pools to the clients that wait for them.
    fn deliver(&mut self, clients: &mut [Client]) {
        let mut decisions: Vec<Decision> = Vec::new();
        for (_, gateway) in self.pools.iter_mut() {
            decisions.extend(std::iter::from_fn(|| gateway.poll_decision(NOW)));
        }
        for decision in decisions {
            let waiting = Some(decision.request_id());
            let client = clients.iter_mut().find(|client| client.queued == waiting);
            let client = client.expect("a client waits for it");
            let gateway = self.pools.get_mut(&client.pool).expect("a pool");
            client.exchange.handle_decision(gateway, NOW, decision);
            self.drive(client);
        }
    }

    fn drive(&mut self, client: &mut Client) {
        while let Some(output) = client.exchange.poll() {
            let target = client.admitted.as_ref().map(|admitted| &admitted.targets[0]);
            match output {
                Output::Dispatch => {
                    let (admitted, target) = (client.admitted.as_ref(), target.expect("open"));
                    let view = self.reader.read(Api::Completions, &client.body).expect("valid");
                    let options = target.apply(admitted.expect("open").options());
                    let request = options.apply(view.to_request(PriorityOrder::LowFirst));
                    let request = request.exclude(client.exchange.excluded());
                    let gateway = self.pools.get_mut(&client.pool).expect("a pool");
                    let submitted = gateway.scheduler_mut().submit(NOW, &request);
                    client.queued = submitted.as_ref().ok().copied();
                    client.exchange.handle_submit(gateway, NOW, submitted);
                }
                Output::Send(call) => {
                    let body = rewrite_model(&client.body, &target.expect("open").model);
                    let body = serde_json::from_slice(&body.expect("a body")).expect("JSON");
                    client.sent = Some((call.url, body));
                }
                Output::Reply(reply) => {
                    (client.status, client.headers) = (reply.status, reply.headers);
                }
                Output::Body(bytes) => client.answer.extend(bytes),
                _ => {}
            }
        }
    }

    /// The client's engine answers with the model that it was asked for.
    fn answer(&mut self, client: &mut Client) {
        let (_, asked) = client.sent.take().expect("an engine was asked");
        let event = format!(
            "data: {{\"model\": {}, \"choices\": [{{\"text\": \"a\"}}]}}\n\n",
            asked["model"]
        );
        let gateway = self.pools.get_mut(&client.pool).expect("a pool");
        client.exchange.handle_head(200, [("content-type", "text/event-stream")]);
        for chunk in [event.as_str(), "data: [DO", "NE]\n\n"] {
            let passing = client.exchange.handle_chunk(gateway, NOW, chunk.as_bytes());
            while let Some(output) = client.exchange.poll() {
                match output {
                    Output::Reply(reply) => client.status = reply.status,
                    Output::Body(bytes) => client.answer.extend(bytes),
                    other => panic!("{other:?} in an answer"),
                }
            }
            if passing.is_passed_on() {
                client.answer.extend(chunk.as_bytes());
            }
        }
        client.exchange.handle_close(gateway, NOW, CloseReason::Clean);
        assert_eq!(client.exchange.poll(), Some(Output::End));
        self.ingress.settle(NOW, client.admitted.take().expect("open"), &Usage::default());
    }
}

impl Client {
    /// The engine's URL and the model that it was asked for.
    fn asked(&self) -> (&str, &str) {
        let (url, body) = self.sent.as_ref().expect("an engine was asked");
        (url, body["model"].as_str().expect("a model"))
    }

    fn answered_model(&self) -> String {
        let text = std::str::from_utf8(&self.answer).expect("text");
        let event = text.strip_prefix("data: ").and_then(|text| text.lines().next());
        let event: Value = serde_json::from_str(event.expect("an event")).expect("JSON");
        event["model"].as_str().expect("a model").to_owned()
    }
}

#[test]
fn a_tenth_goes_to_the_canary_and_every_answer_has_the_clients_name() {
    let mut host = Host::new(Allow::default());
    let mut canary = 0;
    for _ in 0..1_000 {
        let mut client = host.request("/v1/completions", "chat", &[]).expect("admitted");
        match client.asked() {
            ("http://10.0.0.1:8000", "llama-3") => {}
            ("http://10.0.0.2:8000", "llama-3.1") => canary += 1,
            other => panic!("{other:?} was asked"),
        }
        host.answer(&mut client);
        assert_eq!((client.status, client.answered_model().as_str()), (200, "chat"));
        assert!(client.answer.ends_with(b"data: [DONE]\n\n"));
    }
    // Four standard deviations of a binomial distribution: 38.
    assert!((62..138).contains(&canary), "{canary}");
}

#[test]
fn a_session_stays_on_its_side() {
    let mut host = Host::new(Allow::default().session());
    let mut both = std::collections::BTreeSet::new();
    for session in 0..40 {
        let session = format!("s{session}");
        let mut urls = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let headers = [("x-session-id", session.as_str())];
            let mut client = host.request("/v1/completions", "chat", &headers).expect("admitted");
            urls.insert(client.asked().0.to_owned());
            host.answer(&mut client);
        }
        assert_eq!(urls.len(), 1, "{session} flips");
        both.extend(urls);
    }
    assert_eq!(both.len(), 2);
}

#[test]
fn two_adapters_share_one_base() {
    let mut host = Host::new(Allow::default());
    for model in ["food-review", "cad-fabricator", "llama-3"] {
        let mut client = host.request("/lora/v1/completions", model, &[]).expect("admitted");
        assert_eq!(client.asked(), ("http://10.0.0.3:8000", model));
        let admitted = client.admitted.as_ref().expect("open");
        assert_eq!(admitted.targets[0].base, "llama-3");
        assert_eq!(admitted.answers_as, None);
        host.answer(&mut client);
        assert_eq!(client.answered_model(), model);
    }
    let refused = host.request("/lora/v1/completions", "gpt", &[]).err().expect("unknown");
    assert_eq!(refused.0, 404);
    assert!(
        refused.1.contains("'cad-fabricator', 'chat', 'food-review' or 'llama-3'"),
        "{refused:?}"
    );
}

#[test]
fn an_endpoint_takes_a_thousand_and_then_the_most_important() {
    let mut host = Host::new(Allow::default().objective());
    let path = "/lora/v1/completions";
    let request = |host: &mut Host, model, objective| {
        host.request(path, model, &[(OBJECTIVE, objective)]).expect("admitted")
    };
    let mut running: Vec<Client> = (0..1_000).map(|_| request(&mut host, "llama-3", "")).collect();
    assert!(running.iter().all(|client| client.sent.is_some()), "the endpoint takes 1,000");
    let mut waiting = [
        request(&mut host, "cad-fabricator", "batch"),
        request(&mut host, "llama-3", ""),
        request(&mut host, "food-review", "food-review"),
    ];
    assert!(waiting.iter().all(|client| client.sent.is_none()), "and no more");
    let mut ended = running.pop().expect("it runs");
    host.answer(&mut ended);
    for expected in ["food-review", "llama-3", "cad-fabricator"] {
        host.deliver(&mut waiting);
        let mut asked = waiting.iter_mut().filter(|client| client.sent.is_some());
        let client = asked.next().expect("one place is free");
        assert_eq!(client.asked().1, expected);
        assert!(asked.next().is_none(), "one place is free");
        host.answer(client);
    }
}

#[test]
fn a_saturated_pool_sheds_batch_with_429() {
    let mut host = Host::new(Allow::default().objective());
    let (path, long) = ("/lora/v1/completions", "word ".repeat(60_000));
    let first = host.request_with(&long, path, "llama-3", &[]).expect("admitted");
    assert!(first.sent.is_some());
    let shed = host.request(path, "llama-3", &[(OBJECTIVE, "batch")]).expect("admitted");
    assert_eq!(shed.status, 429);
    assert!(shed.headers.iter().any(|(name, _)| *name == "retry-after"), "{:?}", shed.headers);
    let body: Value = serde_json::from_slice(&shed.answer).expect("JSON");
    assert_eq!(body["error"]["code"], "shed");
    let urgent = host.request(path, "llama-3", &[(OBJECTIVE, "food-review")]).expect("admitted");
    assert_eq!((urgent.status, urgent.queued.is_some()), (0, true), "it is queued");
}

#[test]
fn an_objective_counts_only_if_the_host_allows_it() {
    let mut host = Host::new(Allow::default());
    let headers = [(OBJECTIVE, "batch")];
    let client = host.request("/lora/v1/completions", "llama-3", &headers).expect("admitted");
    assert_eq!(client.admitted.as_ref().expect("open").options().priority, None);
    let client = host.request("/v1/completions", "chat", &headers).expect("admitted");
    assert_eq!(client.admitted.as_ref().expect("open").options().priority, None);
}
