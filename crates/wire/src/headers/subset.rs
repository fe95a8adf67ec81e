//! The endpoints that may serve a request, as restricted by an upstream gateway.

use slotwise::{Address, EndpointId};

use crate::error::WireError;

/// A comma-separated list of `ip` or `ip:port`. An empty list permits no endpoint.
///
/// ```
/// use slotwise_wire::headers::Subset;
///
/// let subset = Subset::new("10.0.0.1, 10.0.0.2:8000");
/// assert!(subset.allows("http://10.0.0.1:8000") && subset.allows("http://10.0.0.1:9000"));
/// assert!(subset.allows("http://10.0.0.2:8000") && !subset.allows("http://10.0.0.2:9000"));
/// assert!(!Subset::new("").allows("http://10.0.0.1:8000"));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Subset<'a> {
    text: &'a str,
}

impl<'a> Subset<'a> {
    /// Creates a subset. An entry that is not an address permits no endpoint.
    pub const fn new(text: &'a str) -> Self {
        Self { text }
    }

    /// Whether the subset contains the endpoint of this name. An endpoint without an [`Address`] is
    /// not contained. Computes in **O(bytes)**.
    pub fn allows(&self, endpoint: &str) -> bool {
        // A subset of addresses compares no ids.
        slotwise::Subset::addresses(self.text).allows(EndpointId::from_u64(0), endpoint)
    }

    /// The addresses in the subset. One without a port permits all ports.
    pub fn addresses(&self) -> impl Iterator<Item = Address<'a>> + use<'a> {
        entries(self.text).filter_map(|(_, entry)| address(entry))
    }

    /// Whether the subset permits no endpoint.
    pub fn is_empty(&self) -> bool {
        self.addresses().next().is_none()
    }

    /// The text of the subset.
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// Returns an error at the first entry that is not an address.
    pub(super) fn check(&self) -> Result<(), WireError> {
        match entries(self.text).find(|(_, entry)| address(entry).is_none()) {
            Some((at, _)) => Err(WireError::expected(at, "an address: ip or ip:port")),
            None => Ok(()),
        }
    }
}

/// Parses an entry: an address, but not a URL.
fn address(entry: &str) -> Option<Address<'_>> {
    Address::of(entry).filter(|_| !entry.contains(['/', '@', '?', '#']))
}

/// The trimmed entries with their offsets, without empty ones.
fn entries(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut offset = 0;
    text.split(',').filter_map(move |part| {
        let entry = part.trim_matches([' ', '\t']);
        let blanks = part.len() - part.trim_start_matches([' ', '\t']).len();
        let at = offset + blanks;
        offset += part.len() + 1;
        (!entry.is_empty()).then_some((at, entry))
    })
}
