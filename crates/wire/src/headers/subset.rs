//! Which endpoints may have a request, as the gateway in front of us says.

use super::Address;
use crate::error::WireError;

/// A list of `ip` or `ip:port`, with commas between them. One that is empty allows nobody.
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
    /// The subset that `text` says. What is no address in it stands for nobody.
    pub const fn new(text: &'a str) -> Self {
        Self { text }
    }

    /// Whether the endpoint of this name is one of them; one whose name holds no [`Address`] is not. Computes in **O(bytes)**.
    pub fn allows(&self, endpoint: &str) -> bool {
        let Some(endpoint) = Address::of(endpoint) else { return false };
        self.addresses()
            .any(|it| it.is_host(&endpoint) && (it.port.is_none() || it.port == endpoint.port))
    }

    /// The addresses in it. Those without a port stand for all ports.
    pub fn addresses(&self) -> impl Iterator<Item = Address<'a>> + use<'a> {
        entries(self.text).filter_map(|(_, entry)| address(entry))
    }

    /// Whether it allows nobody.
    pub fn is_empty(&self) -> bool {
        self.addresses().next().is_none()
    }

    /// The text that it was made of.
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// An error at the first entry that is no address.
    pub(super) fn check(&self) -> Result<(), WireError> {
        match entries(self.text).find(|(_, entry)| address(entry).is_none()) {
            Some((at, _)) => Err(WireError::expected(at, "an address: ip or ip:port")),
            None => Ok(()),
        }
    }
}

/// An entry is an address and no URL.
fn address(entry: &str) -> Option<Address<'_>> {
    Address::of(entry).filter(|_| !entry.contains(['/', '@', '?', '#']))
}

/// What stands between commas, without blanks, and where. Nothing is no entry.
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
