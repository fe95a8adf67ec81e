//! What cached blocks outside the accelerator's memory are worth.

/// What a cached block is worth that is not in the accelerator's memory: the share of its prefill that need not be spent, 1 if loading it
/// costs nothing, 0 if it might as well be computed.
///
/// The defaults are those of llm-d's tier-aware scorer for the host's memory, and a guess for disks. They depend on the bus and on the model:
/// loading costs its KV bytes, computing its FLOPs.
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
    /// The name of the first weight that is not one, if any.
    pub(crate) fn invalid(&self) -> Option<&'static str> {
        let weights = [("tiers.cpu", self.cpu), ("tiers.disk", self.disk)];
        weights.into_iter().find(|(_, weight)| !(0.0..=1.0).contains(weight)).map(|(name, _)| name)
    }
}
