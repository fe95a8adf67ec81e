//! The time to move the KV cache of a prompt from one endpoint to another.

use crate::time::Seconds;

/// The cost of moving a prompt's KV cache between endpoints: a setup time, and bytes over a
/// bandwidth.
///
/// The bytes of a token are `2 * layers * KV heads * head size * bytes of an element`: 128 KiB for
/// Llama 3.1 8B and 320 KiB for Llama 3.1 70B, both with 16-bit elements.
///
/// ```
/// use slotwise::{KvTransferCost, Seconds};
///
/// let cost = KvTransferCost::new(131_072.0, 25e9).setup(Seconds::new(0.005));
/// assert_eq!(cost.seconds(0), Seconds::ZERO);
/// assert!((cost.seconds(10_000).get() - 0.0574).abs() < 1e-4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct KvTransferCost {
    /// KV bytes of a token.
    pub bytes_per_token: f64,
    /// Bandwidth of the slower side.
    pub bytes_per_second: f64,
    /// Constant time of a transfer: the handshake, and the extra hop of the request.
    pub setup: Seconds,
}

impl Default for KvTransferCost {
    /// An 8B model over 200 Gbit/s.
    fn default() -> Self {
        Self::new(131_072.0, 25e9)
    }
}

impl KvTransferCost {
    /// The main coefficients, with a setup of 5 ms.
    pub const fn new(bytes_per_token: f64, bytes_per_second: f64) -> Self {
        Self { bytes_per_token, bytes_per_second, setup: Seconds::new(0.005) }
    }

    /// Sets the constant time of a transfer.
    pub const fn setup(self, setup: Seconds) -> Self {
        Self { setup, ..self }
    }

    /// Seconds to move `tokens` tokens; zero for none.
    pub fn seconds(&self, tokens: u32) -> Seconds {
        if tokens == 0 {
            return Seconds::ZERO;
        }
        let bytes = self.bytes_per_token * f64::from(tokens);
        self.setup + Seconds::new(bytes / self.bytes_per_second)
    }

    /// Whether the coefficients are finite, not negative, and the bandwidth is positive.
    pub(crate) fn is_valid(&self) -> bool {
        let parts = [self.bytes_per_token, self.bytes_per_second, self.setup.get()];
        parts.iter().all(|part| part.is_finite() && *part >= 0.0) && self.bytes_per_second > 0.0
    }
}
