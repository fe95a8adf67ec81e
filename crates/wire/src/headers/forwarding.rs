//! Which headers pass between client and engine.
//!
//! A gateway ends two connections, so headers about a connection (RFC 9110, 7.6.1) stop here. So do
//! headers that the gateway answers for: its clients' keys, its own keys at engines, and where
//! requests go.

use alloc::vec::Vec;
use core::cmp::Ordering;

use super::{Header, answer};

/// Decides which headers of a request go to an engine, or which of its response go to the client.
///
/// | headers | to the engine | to the client |
/// |---|---|---|
/// | of the connection, and those that `connection` names | no | no |
/// | length, coding and digest of the body, which the gateway decodes and may change | no | no |
/// | `host`, `expect`, `range`, `accept-encoding` | no | |
/// | keys and cookies | with [`credentials`](Self::credentials) | |
/// | destinations, ranks and other choices of a gateway | no | |
/// | challenges, cookies, `location`, CORS, `server`, `date`, the engine's load | | no |
/// | a name that is no token, a value with control characters | no | no |
/// | any other | yes | yes |
///
/// A client's `x-prefiller-host-port` would make a sidecar send its prompt to any host, and
/// `x-data-parallel-rank` would overrule the scheduler. Claims such as `x-session-id` pass, since
/// the next hop may be a gateway.
///
/// ```
/// use slotwise_wire::headers::Forwarding;
///
/// let headers: [(&[u8], &[u8]); 4] = [
///     (b"Authorization", b"Bearer key-of-the-client"),
///     (b"Connection", b"close, X-Hop"),
///     (b"X-Hop", b"1"),
///     (b"Content-Type", b"application/json"),
/// ];
/// let forwarding = Forwarding::of_request(headers);
/// let passed = headers.iter().filter(|(name, value)| forwarding.passes(name, value));
/// assert_eq!(passed.map(|(name, _)| *name).collect::<Vec<_>>(), [b"Content-Type"]);
/// ```
#[derive(Clone, Debug)]
pub struct Forwarding<'a> {
    direction: Direction,
    credentials: bool,
    /// Names that `connection` lists, or that the host sets itself: sorted, in any case.
    dropped: Vec<&'a [u8]>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Direction {
    ToEngine,
    ToClient,
}

impl<'a> Forwarding<'a> {
    /// For the headers of a client's request. Reads `connection` in **O(bytes + names · log
    /// names)**.
    pub fn of_request(headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        Self::new(Direction::ToEngine, headers)
    }

    /// For the headers of an engine's response; the cost is that of a request.
    pub fn of_response(headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        Self::new(Direction::ToClient, headers)
    }

    fn new(direction: Direction, headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let connection = headers.into_iter().filter(|(name, _)| is(name, "connection"));
        let names = connection.flat_map(|(_, value)| value.split(|byte| *byte == b','));
        let mut dropped: Vec<_> =
            names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()).collect();
        dropped.sort_unstable_by(|one, other| in_any_case(one, other));
        Self { direction, credentials: false, dropped }
    }

    /// Whether the client's keys and cookies go to the engine; false by default.
    pub fn credentials(self, forwarded: bool) -> Self {
        Self { credentials: forwarded, ..self }
    }

    /// Drops these names: the host adds headers of its own under them.
    pub fn replacing(mut self, names: impl IntoIterator<Item = &'a [u8]>) -> Self {
        self.dropped.extend(names);
        self.dropped.sort_unstable_by(|one, other| in_any_case(one, other));
        self
    }

    /// Whether this header passes. Computes in **O(bytes + log names)**.
    pub fn passes(&self, name: &[u8], value: &[u8]) -> bool {
        let control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
        is_token(name)
            && !value.iter().any(control)
            && !self.stops(name)
            && self.dropped.binary_search_by(|other| in_any_case(other, name)).is_err()
    }

    /// Whether headers of this name never pass in this direction.
    fn stops(&self, name: &[u8]) -> bool {
        let among = |names: &[&str]| names.iter().any(|known| is(name, known));
        among(&OF_EITHER)
            || match self.direction {
                Direction::ToEngine => {
                    among(&OF_REQUESTS) || (!self.credentials && among(&CREDENTIALS))
                }
                Direction::ToClient => among(&OF_RESPONSES),
            }
    }
}

fn is(name: &[u8], known: &str) -> bool {
    known.as_bytes().eq_ignore_ascii_case(name)
}

/// The order of names in lower case.
fn in_any_case(one: &[u8], other: &[u8]) -> Ordering {
    one.iter().map(u8::to_ascii_lowercase).cmp(other.iter().map(u8::to_ascii_lowercase))
}

/// Whether a name is a token (RFC 9110, 5.6.2). Names of HTTP/2's pseudo-headers are not.
fn is_token(name: &[u8]) -> bool {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(token)
}

/// Headers of a connection, and of a body as it was sent on it.
const OF_EITHER: [&str; 18] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
    "content-length",
    "content-encoding",
    "content-range",
    "content-md5",
    "content-digest",
    "repr-digest",
    "digest",
];

/// What an HTTP client sets itself, and what a gateway decides.
const OF_REQUESTS: [&str; 14] = [
    "host",
    "expect",
    "range",
    "accept-encoding",
    "alt-used",
    answer::DESTINATION,
    answer::SCORES,
    answer::PREFILLER,
    answer::ENCODERS,
    answer::DATA_PARALLEL,
    answer::KV_SOURCE,
    Header::Subset.name(),
    // A rank of vLLM or SGLang, and a profile of the Endpoint Picker.
    "x-data-parallel-rank",
    "epp-profile",
];

/// Keys of OpenAI's, Anthropic's, Azure's and Google's clients, and cookies.
const CREDENTIALS: [&str; 5] =
    ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"];

/// What concerns the gateway as a client, its address, or its policy for browsers.
const OF_RESPONSES: [&str; 16] = [
    "set-cookie",
    "www-authenticate",
    "authentication-info",
    "server",
    "date",
    "location",
    "accept-ranges",
    "alt-svc",
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-private-network",
    "access-control-expose-headers",
    "access-control-max-age",
    "endpoint-load-metrics",
];
