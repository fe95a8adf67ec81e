//! How close two endpoints are.

use super::facts::Topology;

/// The tightest level that two endpoints share; the order is from tight to loose.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
#[expect(clippy::exhaustive_enums, reason = "the levels of the reference")]
pub enum TopologyLevel {
    /// The same host.
    Host,
    /// The same rack.
    Rack,
    /// The same zone.
    Zone,
    /// The same region.
    Region,
}

impl TopologyLevel {
    /// The tightest level at which both have the same name; `None` if they share none. An empty
    /// name equals no other.
    ///
    /// ```
    /// use slotwise::plugins::{Topology, TopologyLevel};
    ///
    /// let in_rack = |host: &str| Topology {
    ///     host: host.into(),
    ///     rack: "r1".into(),
    ///     ..Topology::default()
    /// };
    /// let shared = TopologyLevel::shared(&in_rack("a"), &in_rack("b"));
    /// assert_eq!(shared, Some(TopologyLevel::Rack));
    /// ```
    pub fn shared(one: &Topology, other: &Topology) -> Option<Self> {
        let equal = |a: &str, b: &str| !a.is_empty() && a == b;
        if equal(&one.host, &other.host) {
            Some(Self::Host)
        } else if equal(&one.rack, &other.rack) {
            Some(Self::Rack)
        } else if equal(&one.zone, &other.zone) {
            Some(Self::Zone)
        } else if equal(&one.region, &other.region) {
            Some(Self::Region)
        } else {
            None
        }
    }
}
