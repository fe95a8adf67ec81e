//! The README's Rust quickstart is `examples/quickstart.rs`, and it works: against engines that
//! answer, refuse, fail and break off.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

use slotwise_wire::outcome::{BodyShape, StreamError};

const EVENT: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"A cache\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const ERROR: &str = "data: {\"error\":{\"message\":\"the engine died\",\"code\":500}}\n\n";
const REFUSED: &str = "data: {\"error\":{\"message\":\"bad request\",\"code\":400}}\n\n";

#[test]
fn the_readme_shows_the_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = fs::read_to_string(root.join("examples/quickstart.rs")).expect("the example");
    let (_, code) = example.split_once('\n').expect("a comment, then code");
    let readme = fs::read_to_string(root.join("../../README.md")).expect("the README");
    assert!(
        readme.contains(code.trim_end()),
        "the README's Rust quickstart is not examples/quickstart.rs"
    );
    assert!(code.lines().filter(|line| !line.is_empty()).count() <= 65, "a quickstart is short");
}

#[test]
fn a_good_engine_answers() {
    let (output, asked) = run(&["good", "good"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{EVENT}{DONE}"));
    assert_eq!(asked.iter().sum::<usize>(), 1);
}

#[test]
fn an_engine_that_does_not_answer_costs_no_request() {
    for bad in ["404", "429", "500", "dies", "empty", "fails", "dead"] {
        let (output, asked) = run(&[bad, bad, bad, "good"]);
        assert!(output.status.success(), "{bad}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{EVENT}{DONE}"), "{bad}");
        assert!(asked.iter().all(|times| *times <= 1) && asked[3] == 1, "{bad}: {asked:?}");
    }
}

#[test]
fn each_engine_is_asked_once() {
    for bad in ["404", "500", "dies"] {
        let (output, asked) = run(&[bad, bad]);
        assert!(!output.status.success(), "{bad}: {output:?}");
        assert_eq!(asked, [1, 1], "{bad}");
    }
}

#[test]
fn what_no_other_engine_can_answer_is_shown() {
    let cut = StreamError::Cut.event(BodyShape::OpenAi);
    for (bad, shown, good) in [
        ("400", "status 400", true),
        ("refuses", REFUSED, true),
        ("error", &format!("{EVENT}{ERROR}"), false),
        ("breaks", &format!("{EVENT}{cut}"), false),
    ] {
        let (output, asked) = run(&[bad, bad]);
        assert_eq!(output.status.success(), good, "{bad}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), shown, "{bad}");
        assert_eq!(asked.iter().sum::<usize>(), 1, "{bad}");
    }
}

/// The example with engines of these manners, and how often each was asked.
fn run(manners: &[&'static str]) -> (Output, Vec<usize>) {
    let engines: Vec<_> = manners.iter().map(|manner| engine(manner)).collect();
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", "slotwise-gateway", "--example", "quickstart", "--"])
        .args(engines.iter().map(|(url, _)| url))
        .output()
        .expect("cargo runs");
    (output, engines.iter().map(|(_, asked)| asked.load(Ordering::Relaxed)).collect())
}

/// An engine that answers everything in one manner, and counts what it was asked.
fn engine(manner: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    if manner != "dead" {
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.expect("a connection"), manner, &count);
            }
        });
    }
    (url, asked)
}

fn answer(mut stream: TcpStream, manner: &str, asked: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let (mut length, mut typed, mut line) = (0, false, String::new());
    while reader.read_line(&mut line).expect("a header") > 2 {
        let header = line.to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        typed |= header.starts_with("content-type: application/json");
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["prompt"], "You are a helpful assistant. What is a prefix cache?");
    assert_eq!(body["stream"], true);
    asked.fetch_add(1, Ordering::Relaxed);
    let status = if typed { manner.parse().ok() } else { Some(415) };
    let close = "connection: close\r\n";
    if let Some(status) = status {
        let status: u16 = status;
        let body = format!("status {status}");
        let length = body.len();
        let _ =
            write!(stream, "HTTP/1.1 {status} X\r\n{close}content-length: {length}\r\n\r\n{body}");
        return;
    }
    let chunks: &[&str] = match manner {
        "good" => &[EVENT, DONE],
        "error" => &[EVENT, ERROR],
        "breaks" => &[EVENT],
        "fails" => &[ERROR],
        "refuses" => &[REFUSED],
        _ => &[],
    };
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\n{close}content-type: text/event-stream\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    for chunk in chunks {
        let _ = write!(stream, "{:x}\r\n{chunk}\r\n", chunk.len());
    }
    if !matches!(manner, "breaks" | "dies") {
        let _ = write!(stream, "0\r\n\r\n");
    }
}
