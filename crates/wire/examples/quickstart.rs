//! Routes one streaming request: `cargo run --example quickstart -- http://10.0.0.1:8000 http://10.0.0.2:8000`
use slotwise::{Endpoint, Instant, Request, Scheduler};
use slotwise_wire::response::{CloseReason, Outcome, ResponseReader};
use std::io::{Read, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let began = std::time::Instant::now();
    let now = || Instant::from_std(began, std::time::Instant::now());
    let mut scheduler = Scheduler::default();
    for url in std::env::args().skip(1) {
        scheduler.add_endpoint(now(), Endpoint::new(url).kv_cache_tokens(422_000))?;
    }
    let prompt = "You are a helpful assistant. What is a prefix cache?";
    let body = serde_json::json!({"model": "llama-3.1-8b", "prompt": prompt, "stream": true});
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
    let client = ureq::Agent::new_with_config(config.build());
    let mut tried = Vec::new();
    loop {
        let request = Request::new("llama-3.1-8b").text(prompt).exclude(&tried);
        let dispatch = scheduler.pick(now(), &request)?; // an error when no endpoint is left
        let url = &scheduler.endpoint(dispatch.endpoint_id).expect("just picked").name;
        let (mut held, mut shown) = (Vec::new(), false);
        let outcome = match client.post(format!("{url}/v1/completions")).send_json(&body) {
            Err(_) => Outcome::unreachable(),
            Ok(answer) => {
                let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
                let mut reader =
                    ResponseReader::new(answer.status().as_u16(), kind.unwrap_or_default());
                let (mut stream, mut buffer) = (answer.into_body().into_reader(), [0; 4096]);
                let close = loop {
                    let chunk = match stream.read(&mut buffer) {
                        Ok(0) => break CloseReason::Clean,
                        Ok(size) => &buffer[..size],
                        Err(_) => break CloseReason::Broken,
                    };
                    reader.feed(chunk).tell(&mut scheduler, now(), dispatch.request_id)?;
                    held.extend_from_slice(chunk);
                    if reader.has_begun() {
                        std::io::stdout().write_all(&std::mem::take(&mut held))?;
                        shown = true; // from here on, no other endpoint is asked
                    }
                };
                reader.finish(close)
            }
        };
        outcome.settle(&mut scheduler, now(), dispatch.request_id)?;
        if !outcome.may_retry(shown) {
            std::io::stdout().write_all(&held)?;
            return if outcome.is_complete() { Ok(()) } else { Err(outcome.end.as_str().into()) };
        }
        tried.push(dispatch.endpoint_id);
    }
}
