//! The endpoints that a request may use, where a host or an upstream gateway restricts them.

use alloc::boxed::Box;

use crate::address::Address;
use crate::endpoint::EndpointId;

/// The endpoints that a request may use. An empty subset allows none.
///
/// ```
/// use slotwise::{Endpoint, Instant, RejectReason, Request, Scheduler, Subset};
///
/// let now = Instant::ORIGIN;
/// let mut scheduler = Scheduler::default();
/// let [a, b] = ["http://10.0.0.1:8000", "http://10.0.0.2:8000"].map(Endpoint::new);
/// let (_, b) = (scheduler.add_endpoint(now, a)?, scheduler.add_endpoint(now, b)?);
/// for subset in [Subset::Ids(&[b]), Subset::addresses("10.0.0.2, 10.0.0.3:8000")] {
///     let request = Request::new("llama").text("Hello").subset(subset);
///     assert_eq!(scheduler.pick(now, &request)?.endpoint_id, b);
/// }
/// let none = Request::new("llama").text("Hello").subset(Subset::Ids(&[]));
/// assert_eq!(scheduler.pick(now, &none).unwrap_err().reason, RejectReason::NoEndpoints);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Subset<'a> {
    /// Endpoints with these ids. Ids that have left the pool are ignored.
    Ids(&'a [EndpointId]),
    /// Endpoints whose names contain these addresses.
    #[non_exhaustive]
    Addresses {
        /// A comma-separated list of `host` or `host:port`. Entries that are no address allow no
        /// endpoint.
        list: &'a str,
        /// How ports are compared.
        ports: PortMatch,
    },
}

/// How the ports of a [`Subset`] are compared with those of endpoints.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum PortMatch {
    /// Ports must be equal; an address without a port allows all ports of its host.
    #[default]
    Exact,
    /// Ports are ignored, as in the reference: an address allows all endpoints of its host.
    Ignored,
}

impl PortMatch {
    /// All variants.
    pub const ALL: [Self; 2] = [Self::Exact, Self::Ignored];

    /// The name in other languages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Ignored => "ignored",
        }
    }

    /// The variant of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ports| ports.as_str() == name)
    }

    /// Whether this list of addresses contains the one in the endpoint's name.
    pub(crate) fn allows(self, list: &str, name: &str) -> bool {
        let Some(endpoint) = Address::of(name) else { return false };
        let same_port = |entry: &Address<'_>| {
            self == Self::Ignored || entry.port.is_none() || entry.port == endpoint.port
        };
        entries(list).any(|entry| entry.is_host(&endpoint) && same_port(&entry))
    }
}

impl<'a> Subset<'a> {
    /// Endpoints with the addresses of this comma-separated list, such as the value of the header
    /// `x-gateway-destination-endpoint-subset`. Ports are compared exactly.
    pub const fn addresses(list: &'a str) -> Self {
        Self::Addresses { list, ports: PortMatch::Exact }
    }

    /// How ports are compared; without effect on a subset of ids.
    #[must_use]
    pub const fn ports(self, ports: PortMatch) -> Self {
        match self {
            Self::Ids(ids) => Self::Ids(ids),
            Self::Addresses { list, .. } => Self::Addresses { list, ports },
        }
    }

    /// Whether the subset contains the endpoint with this id and this name. Computes in
    /// **O(subset)**.
    ///
    /// ```
    /// use slotwise::{EndpointId, PortMatch, Subset};
    ///
    /// let id = EndpointId::from_u64(0);
    /// let subset = Subset::addresses("10.0.0.1:8000");
    /// assert!(subset.allows(id, "http://10.0.0.1:8000/v1"));
    /// assert!(!subset.allows(id, "http://10.0.0.1:9000"));
    /// assert!(subset.ports(PortMatch::Ignored).allows(id, "http://10.0.0.1:9000"));
    /// ```
    pub fn allows(&self, id: EndpointId, name: &str) -> bool {
        match self {
            Self::Ids(ids) => ids.contains(&id),
            Self::Addresses { list, ports } => ports.allows(list, name),
        }
    }

    /// The bytes that count against the limits of the queue.
    pub(crate) const fn bytes(&self) -> usize {
        match self {
            Self::Ids(ids) => size_of_val(*ids),
            Self::Addresses { list, .. } => list.len(),
        }
    }
}

/// The addresses of a list. URLs are none.
fn entries(list: &str) -> impl Iterator<Item = Address<'_>> {
    let entries = list.split(',').map(|entry| entry.trim_matches([' ', '\t']));
    entries.filter(|entry| !entry.contains(['/', '@', '?', '#'])).filter_map(Address::of)
}

/// A subset that a queued request owns.
#[derive(Clone, Debug)]
pub(crate) enum OwnedSubset {
    Ids(Box<[EndpointId]>),
    Addresses(Box<str>, PortMatch),
}

impl From<Subset<'_>> for OwnedSubset {
    fn from(subset: Subset<'_>) -> Self {
        match subset {
            Subset::Ids(ids) => Self::Ids(ids.into()),
            Subset::Addresses { list, ports } => Self::Addresses(list.into(), ports),
        }
    }
}

impl OwnedSubset {
    pub(crate) const fn as_subset(&self) -> Subset<'_> {
        match self {
            Self::Ids(ids) => Subset::Ids(ids),
            Self::Addresses(list, ports) => Subset::Addresses { list, ports: *ports },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_leniently_but_never_allow_more() {
        let id = EndpointId::from_u64(3);
        let allows = |list, name| Subset::addresses(list).allows(id, name);
        assert!(allows(" 10.0.0.1 ,, [::1]:8000", "http://[0:0::1]:8000"));
        assert!(!allows("http://10.0.0.1", "10.0.0.1") && !allows("", "10.0.0.1"));
        assert!(!allows("*", "10.0.0.1") && !allows("10.0.0.1", "two words"));
        assert!(allows("Engine-1", "engine-1"));
        let owned = OwnedSubset::from(Subset::addresses("a:1").ports(PortMatch::Ignored));
        assert!(owned.as_subset().allows(id, "a:2"));
    }
}
