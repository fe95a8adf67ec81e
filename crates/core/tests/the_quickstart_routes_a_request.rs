//! The README's Rust quickstart is `examples/quickstart.rs`, and it works: against engines that stream.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::{env, fs, thread};

#[test]
fn the_readme_shows_the_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = fs::read_to_string(root.join("examples/quickstart.rs")).expect("the example");
    let (_, code) = example.split_once('\n').expect("a comment, then code");
    let readme = fs::read_to_string(root.join("../../README.md")).expect("the README");
    assert!(readme.contains(code.trim_end()), "the README's Rust quickstart is not examples/quickstart.rs");
    assert!(code.lines().filter(|line| !line.is_empty()).count() <= 20, "a quickstart is short");
}

#[test]
fn it_routes_a_streaming_request() {
    let (heard, requests) = channel();
    let engines = [engine(heard.clone()), engine(heard)];
    let run = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", "slotwise", "--example", "quickstart", "--"])
        .args(&engines)
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains(r#"data: {"choices":[{"text":"A cache"}]}"#) && said.contains("[DONE]"), "{said}");
    let asked: Vec<serde_json::Value> =
        requests.try_iter().map(|body| serde_json::from_str(&body).expect("JSON")).collect();
    let [asked] = &asked[..] else { panic!("one request, not {asked:?}") };
    assert_eq!(asked["prompt"], "You are a helpful assistant. What is a prefix cache?");
    assert_eq!(asked["stream"], true);
}

/// An engine that answers everything with two chunks, and says what it was asked.
fn engine(heard: Sender<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            heard.send(answer(stream.expect("a connection"))).expect("the test listens");
        }
    });
    url
}

fn answer(mut stream: TcpStream) -> String {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).expect("a header") > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let chunks = "data: {\"choices\":[{\"text\":\"A cache\"}]}\n\ndata: [DONE]\n\n";
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{chunks}")
        .expect("the client reads");
    String::from_utf8(body).expect("JSON is text")
}
