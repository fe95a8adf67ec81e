//! What is known of the peers, and what the messages cost, as OpenMetrics text.

use alloc::string::String;
use core::fmt::{Display, Write as _};
use core::time::Duration;

use slotwise::Instant;

use super::peer::Peer;
use super::{PeerError, Peers, Total};

impl Peers {
    /// The link as OpenMetrics text, for a page of metrics: peers, messages, bytes, and what is
    /// held for peers. The names start with `slotwise_gateway_peer`, and the text ends with
    /// `# EOF`.
    ///
    /// A peer that has been silent for over an hour has no sample. Computes in **O(peers +
    /// endpoints with claims)**.
    ///
    /// ```
    /// use slotwise::Instant;
    /// use slotwise_gateway::peers::{PeerKey, Peers, PeersConfig};
    ///
    /// let gateway = |name: &str| Peers::new(PeersConfig::new(name, PeerKey::new([7; 32])), 1);
    /// let (mut a, mut b) = (gateway("a")?, gateway("b")?);
    /// let bytes = a.export_delta(Instant::from_micros(0)).expect("the first message");
    /// b.apply_delta(Instant::from_micros(0), &bytes).expect("sealed with the same key");
    ///
    /// let text = b.metrics_text(Instant::from_micros(500_000));
    /// assert!(text.contains("slotwise_gateway_peers_alive 1\n"));
    /// assert!(text.contains("slotwise_gateway_peer_message_age_seconds{peer=\"a\"} 0.5\n"));
    /// assert!(text.contains("peer_messages_rejected_total{reason=\"seal\"} 0\n"));
    /// # Ok::<(), slotwise_gateway::InvalidField>(())
    /// ```
    pub fn metrics_text(&mut self, now: Instant) -> String {
        self.expire(now);
        let mut text = Text(String::new());
        self.write_peers(now, &mut text);
        self.write_claims(&mut text);
        self.write_messages(&mut text);
        text.0.push_str("# EOF\n");
        text.0
    }

    fn write_peers(&self, now: Instant, text: &mut Text) {
        let shown = |peer: &Peer| peer.is_alive || peer.heard + SHOWN > now;
        let silent = self.peers.values().filter(|peer| !peer.is_alive && shown(peer));
        let living = || self.peers.values().filter(|peer| peer.is_alive);
        let incomplete = living().filter(|peer| !peer.window.is_complete());
        text.gauge("peers_alive", "Peers whose claims count.", living().count());
        text.gauge(
            "peers_silent",
            "Peers whose claims no longer count: they have fallen silent in the last hour.",
            silent.count(),
        );
        text.gauge(
            "peers_incomplete",
            "Living peers of which a message is missing.",
            incomplete.count(),
        );
        text.family(
            "peer_message_age_seconds",
            "gauge",
            "Time since the newest message of a peer, if it came in the last hour.",
        );
        for (name, peer) in self.peers.iter().filter(|(_, peer)| shown(peer)) {
            let age = now.saturating_since(peer.heard).as_secs_f64();
            text.labelled("peer_message_age_seconds", "peer", name, age);
        }
    }

    fn write_claims(&self, text: &mut Text) {
        let (mut in_flight, mut booked, mut tokens) = (0_u64, Duration::ZERO, 0_u64);
        for Total { load, .. } in self.totals.values() {
            in_flight += u64::from(load.prefilling) + u64::from(load.running);
            booked = booked.saturating_add(load.booked);
            tokens = tokens.saturating_add(load.kv_tokens);
        }
        text.gauge("peers_in_flight", "Requests that living peers have in flight.", in_flight);
        text.gauge(
            "peers_booked_seconds",
            "Predicted prefill of these requests before their first token.",
            booked.as_secs_f64(),
        );
        text.gauge("peers_kv_tokens", "Tokens of these requests, answers included.", tokens);
        let former = self.former.values().map(|it| it.totals.len()).sum::<usize>();
        let usage = self.peers.values().map(|peer| peer.usage.len()).sum::<usize>();
        text.gauge(
            "peer_usage_entries",
            "Limits of API keys, in their steps, whose use by peers is remembered.",
            usage + former,
        );
        text.counter(
            "peer_service_charged_seconds",
            "Service that flows have received from peers, as it was charged.",
            self.service.charged.as_secs_f64(),
        );
        text.counter(
            "peer_service_refunded_seconds",
            "Service of these that was charged and not received in the end.",
            self.service.refunded.as_secs_f64(),
        );
    }

    fn write_messages(&self, text: &mut Text) {
        let stats = self.stats();
        for (name, help, value) in [
            ("peer_messages_sent", "Messages that were sent.", stats.sent),
            ("peer_bytes_sent", "Bytes of the messages that were sent.", stats.sent_bytes),
            (
                "peer_messages_repeated",
                "Messages that were sent again because a peer had asked for them.",
                stats.repeated,
            ),
            (
                "peer_messages_received",
                "Messages that were applied, own and repeated ones included.",
                stats.received,
            ),
            ("peer_bytes_received", "Bytes of the applied messages.", stats.received_bytes),
        ] {
            text.counter(name, help, value);
        }
        text.family(
            "peer_messages_rejected",
            "counter",
            "Messages that were rejected, by the reason.",
        );
        for (code, count) in PeerError::CODES.iter().zip(self.rejections) {
            text.labelled("peer_messages_rejected_total", "reason", code, count);
        }
        text.counter(
            "peer_headless_prompts",
            "Prompts of peers whose first blocks had not arrived.",
            stats.headless,
        );
        text.counter(
            "peer_claims_left_out",
            "Prompts and claims that limits have left out, here and at the receiving end.",
            stats.left_out,
        );
    }
}

/// The text, without the end.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# TYPE {PREFIX}{name} {kind}"));
        self.line(format_args!("# HELP {PREFIX}{name} {help}"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.line(format_args!("{PREFIX}{name} {value}"));
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.line(format_args!("{PREFIX}{name}_total {value}"));
    }

    fn labelled(&mut self, sample: &str, label: &str, of: &str, value: impl Display) {
        let of = of.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        self.line(format_args!("{PREFIX}{sample}{{{label}=\"{of}\"}} {value}"));
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

const PREFIX: &str = "slotwise_gateway_";
/// How long a silent peer has samples. Each start of a gateway may have a name of its own.
const SHOWN: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::super::{PeerKey, PeersConfig};
    use super::*;

    #[test]
    fn a_name_is_one_label() {
        let gateway = |name| Peers::new(PeersConfig::new(name, PeerKey::new([7; 32])), 1);
        let mut peers = gateway("b").expect("valid");
        let mut other = gateway("a\"\\\n").expect("valid");
        let bytes = other.export_delta(Instant::ORIGIN).expect("the first message");
        peers.apply_delta(Instant::ORIGIN, &bytes).expect("sealed");
        let text = peers.metrics_text(Instant::ORIGIN);
        assert!(text.contains("{peer=\"a\\\"\\\\\\n\"} 0\n"), "{text}");
    }
}
