//! A router in another process, to run a library beside ours on the same inputs.
//!
//! It reads one JSON object a line from its standard input: `start`, `report`, `choose`,
//! `first_token` and `ended`. It answers each `choose` with a line that has the region's number.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use slotwise::Instant;

use super::NETWORK;
use super::router::{Asked, Load, Router};

/// A router that a command runs.
pub(super) struct External {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl External {
    /// Starts the command, in a shell, at the entry of a region.
    pub(super) fn start(command: &str, home: usize, seed: u64) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut started = Self { child, input, output };
        let network = [0, 1].map(|at| if at == home { 0.0 } else { NETWORK.as_secs_f64() });
        started.send(&json!({"start": {"network": network, "seed": seed}}));
        started
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input, "{message}").expect("the router reads its input");
    }
}

impl Router for External {
    fn choose(&mut self, now: Instant, asked: &Asked<'_>) -> Option<usize> {
        self.send(&json!({"choose": {
            "now": seconds(now),
            "id": asked.id,
            "session": asked.session,
            "tokens": asked.input,
            "failed": asked.failed,
        }}));
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the router answers");
        Some(line.trim().parse().expect("the router answers with a region"))
    }

    fn report(&mut self, now: Instant, region: usize, load: Load) {
        self.send(&json!({"report": {
            "now": seconds(now),
            "region": region,
            "queue": load.queue * f64::from(load.ready),
            "in_flight": load.in_flight,
            "kv_usage": load.kv_usage,
        }}));
    }

    fn first_token(&mut self, now: Instant, id: usize, ttft: f64) {
        self.send(&json!({"first_token": {"now": seconds(now), "id": id, "ttft": ttft}}));
    }

    fn complete(&mut self, now: Instant, _: usize, id: usize) {
        self.send(&json!({"ended": {"now": seconds(now), "id": id, "failed": false}}));
    }

    fn fail(&mut self, now: Instant, _: usize, id: usize) {
        self.send(&json!({"ended": {"now": seconds(now), "id": id, "failed": true}}));
    }
}

impl Drop for External {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn seconds(now: Instant) -> f64 {
    now.as_micros() as f64 / 1e6
}
