//! Routes one streaming request: `cargo run --example quickstart -- http://10.0.0.1:8000 ...`
use slotwise::{Endpoint, Failure, Instant, Request, Scheduler};
use slotwise_gateway::{Exchange, Gateway, Output};
use slotwise_wire::outcome::BodyShape;
use slotwise_wire::response::{CloseReason, Outcome};
use std::io::{Read, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let began = std::time::Instant::now();
    let now = || Instant::from_std(began, std::time::Instant::now());
    let mut gateway = Gateway::new(Scheduler::default());
    for url in std::env::args().skip(1) {
        gateway.scheduler_mut().add_endpoint(now(), Endpoint::new(url).kv_cache_tokens(422_000))?;
    }
    let prompt = "You are a helpful assistant. What is a prefix cache?";
    let body = serde_json::json!({"model": "llama-3.1-8b", "prompt": prompt, "stream": true});
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
    let client = ureq::Agent::new_with_config(config.build());
    let (mut exchange, mut upstream) = (Exchange::new(BodyShape::OpenAi).attempts(9), None);
    loop {
        while let Some(output) = exchange.poll() {
            match output {
                Output::Dispatch => {
                    let request = Request::new("llama-3.1-8b").text(prompt);
                    let request = request.exclude(exchange.excluded());
                    let picked = gateway.scheduler_mut().pick(now(), &request);
                    exchange.handle_pick(&mut gateway, now(), picked);
                }
                Output::Send(call) => {
                    match client.post(format!("{}/v1/completions", call.url)).send_json(&body) {
                        Err(_) => {
                            exchange.handle_unreachable(&mut gateway, now(), Failure::Unreachable);
                        }
                        Ok(answer) => {
                            exchange.handle_head(answer.status().as_u16(), answer.headers());
                            upstream = Some(answer.into_body().into_reader());
                        }
                    }
                }
                Output::Body(bytes) => std::io::stdout().write_all(&bytes)?,
                Output::Abort => upstream = None,
                _ => {} // a server sends Output::Reply's status and headers, and ends the response
            }
        }
        let (Some(stream), false) = (&mut upstream, exchange.has_ended()) else { break };
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => exchange.handle_close(&mut gateway, now(), CloseReason::Clean),
            Err(_) => exchange.handle_close(&mut gateway, now(), CloseReason::Broken),
            Ok(size) => {
                if exchange.handle_chunk(&mut gateway, now(), &buffer[..size]).is_passed_on() {
                    std::io::stdout().write_all(&buffer[..size])?;
                }
            }
        }
    }
    if exchange.outcome().is_some_and(Outcome::is_complete) {
        Ok(())
    } else {
        Err("no answer".into())
    }
}
