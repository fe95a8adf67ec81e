//! Routes one streaming request: `cargo run --example quickstart -- http://10.0.0.1:8000 http://10.0.0.2:8000`
use slotwise::{Endpoint, Instant, Request, Scheduler, Usage};
use std::io::{BufRead, BufReader};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let began = std::time::Instant::now();
    let now = || Instant::from_std(began, std::time::Instant::now());
    let mut scheduler = Scheduler::default();
    for url in std::env::args().skip(1) {
        scheduler.add_endpoint(now(), Endpoint::new(url).kv_capacity(422_000))?;
    }
    let prompt = "You are a helpful assistant. What is a prefix cache?";
    let dispatch = scheduler.pick(now(), &Request::new("llama-3.1-8b").text(prompt))?;
    let url = &scheduler.endpoint(dispatch.endpoint).expect("just picked").name;
    let body = serde_json::json!({"model": "llama-3.1-8b", "prompt": prompt, "stream": true});
    let answer = ureq::post(format!("{url}/v1/completions")).send_json(body)?;
    for line in BufReader::new(answer.into_body().into_reader()).lines() {
        scheduler.handle_first_token(now(), dispatch.request)?; // only the first one counts
        println!("{}", line?);
    }
    Ok(scheduler.complete(now(), dispatch.request, Usage::default())?)
}
