//! Gates and routing as the ingress joins them: any file that is read, with any requests and ends.
//! No input panics, each refusal has a status of its kind, and each target is a configured pool.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slotwise::{Instant, Usage};
use slotwise_gateway::config;
use slotwise_gateway::ingress::{Ingress, Tokens};
use slotwise_gateway::routing::Inquiry;
use slotwise_wire::headers::Allow;
use slotwise_wire::outcome::BodyShape;

// A file, then one line for each request: path, model, key, session and tokens.
fuzz_target!(|input: (&str, &str)| {
    let (file, requests) = input;
    let Ok(loaded) = config::read("any.yaml", file) else { return };
    let configured = || (&loaded.configuration).into();
    let mut ingress =
        Ingress::new(configured(), 7).expect("it was read").allow(Allow::everything());
    let mut open = Vec::new();
    for (at, line) in requests.lines().take(64).enumerate() {
        let now = Instant::from_micros(at as u64 * 700_000);
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (path, model, key, session) = (word(), word(), word(), word());
        let prompt = word().parse().unwrap_or(1);
        let headers = [
            ("x-api-key", key),
            ("x-session-id", session),
            ("x-llm-d-inference-objective", session),
        ];
        let Ok(caller) = ingress.identify(headers, Some(session)) else { continue };
        let inquiry = Inquiry { model, path, headers: &headers, ..Inquiry::default() };
        match ingress.admit(now, &caller, &inquiry, Tokens { prompt, output: 9 }) {
            Ok(admitted) => {
                assert!(!admitted.targets.is_empty());
                let mut pools = admitted.targets.iter().chain(&admitted.mirrors);
                assert!(pools.all(|it| loaded.configuration.pools.contains_key(&it.pool)));
                open.push(admitted);
            }
            Err(refused) => {
                assert!(matches!(refused.status(), 403 | 404 | 413 | 429 | 500));
                assert!(refused.body(BodyShape::OpenAi).contains(refused.code()));
            }
        }
        match at % 5 {
            0 => ingress.set_config(configured()).expect("it was read"),
            2 => drop(open.pop().map(|admitted| ingress.cancel(now, admitted))),
            3 => drop(open.pop().map(|it| ingress.settle(now, it, &Usage::default()))),
            _ => {}
        }
    }
    let end = Instant::from_micros(60_000_000);
    open.into_iter().for_each(|admitted| ingress.cancel(end, admitted));
});
