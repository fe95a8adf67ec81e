//! Addresses of endpoints: a host and perhaps a port.

/// The host and the port of `host:port`, `host`, `[v6]:port`, `[v6]` or `v6`; hosts have no
/// brackets.
///
/// Text with several colons is an IPv6 address without a port, unless it has brackets.
pub(super) fn split(address: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) =
        address.strip_prefix('[').and_then(|bracketed| bracketed.split_once(']'))
    {
        return (host, rest.strip_prefix(':'));
    }
    match address.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (address, None),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn hosts_and_ports_are_split() {
        for (address, host, port) in [
            ("10.0.0.1:8000", "10.0.0.1", Some("8000")),
            ("10.0.0.1", "10.0.0.1", None),
            ("pod-a.pool:1", "pod-a.pool", Some("1")),
            ("[fd00::1]:8000", "fd00::1", Some("8000")),
            ("[fd00::1]", "fd00::1", None),
            ("fd00::1", "fd00::1", None),
            ("10.0.0.1:", "10.0.0.1", Some("")),
            ("", "", None),
            ("[", "[", None),
        ] {
            assert_eq!(split(address), (host, port), "{address:?}");
        }
    }
}
