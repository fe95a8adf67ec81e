//! The value of cached blocks outside the accelerator's memory.

/// The value of a cached block in a lower tier: the share of its prefill that is saved. 1 if
/// loading it is free, 0 if computing it is as fast.
///
/// The defaults are those of llm-d's tier-aware scorer for the host's memory, and an estimate for
/// disks. The right values depend on the bus and the model: loading moves KV bytes, computing takes
/// FLOPs.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct TierFactors {
    /// In the host's memory.
    pub cpu: f64,
    /// On disk, or in storage over the network.
    pub disk: f64,
}

impl Default for TierFactors {
    fn default() -> Self {
        Self { cpu: 0.8, disk: 0.5 }
    }
}

impl TierFactors {
    /// The name of the first invalid factor, if any.
    pub(crate) fn invalid(&self) -> Option<&'static str> {
        let factors = [("tiers.cpu", self.cpu), ("tiers.disk", self.disk)];
        factors.into_iter().find(|(_, factor)| !(0.0..=1.0).contains(factor)).map(|(name, _)| name)
    }
}
