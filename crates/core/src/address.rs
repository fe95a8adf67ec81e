//! The network address in an endpoint's name.

use core::fmt;
use core::net::IpAddr;

/// Host and port of an endpoint's name: `http://10.0.0.1:8000/v1`, `10.0.0.1:8000`, `[::1]:8000`,
/// `engine-3`.
///
/// ```
/// use slotwise::Address;
///
/// let address = Address::of("http://10.0.0.1:8000/v1").expect("a URL");
/// assert_eq!((address.host, address.port), ("10.0.0.1", Some(8000)));
/// assert_eq!(Address::of("https://[::1]").expect("a URL").to_string(), "[::1]:443");
/// assert_eq!(Address::of("two words"), None);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Address<'a> {
    /// A host name or IP address, without brackets.
    pub host: &'a str,
    /// The port, or the default port of the scheme.
    pub port: Option<u16>,
    /// Host and port as written, if both are.
    pub written: Option<&'a str>,
}

impl<'a> Address<'a> {
    /// Parses the address of a name; `None` if a character cannot be part of one.
    pub fn of(name: &'a str) -> Option<Self> {
        let (scheme, rest) = name.split_once("://").unwrap_or(("", name));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let authority = authority.rsplit_once('@').map_or(authority, |(_, after)| after);
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']')?;
                (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
            }
            // Several colons without brackets: an IPv6 address without a port.
            None if authority.matches(':').count() > 1 => (authority, None),
            None => authority
                .split_once(':')
                .map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let is_ip = host.parse::<IpAddr>().is_ok();
        if host.is_empty() || !(is_ip || host.bytes().all(is_name)) {
            return None;
        }
        let known = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => Some(80),
            _ if scheme.eq_ignore_ascii_case("https") => Some(443),
            _ => None,
        };
        match port {
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(Self { host, port: Some(port.parse().ok()?), written: Some(authority) })
            }
            Some(_) => None,
            None => Some(Self { host, port: known, written: None }),
        }
    }

    /// Whether both are the same host: equal IP addresses in any notation, or equal names in any
    /// case.
    pub fn is_host(&self, other: &Address<'_>) -> bool {
        match (self.host.parse::<IpAddr>(), other.host.parse::<IpAddr>()) {
            (Ok(own), Ok(other)) => own == other,
            _ => self.host.eq_ignore_ascii_case(other.host),
        }
    }
}

impl fmt::Display for Address<'_> {
    /// Formats as the authority of a URL, with brackets around an IPv6 address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = self.host.contains(':');
        f.write_str(if brackets { "[" } else { "" })?;
        f.write_str(self.host)?;
        f.write_str(if brackets { "]" } else { "" })?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}
