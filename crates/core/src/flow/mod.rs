//! Whether a request goes now or waits: how busy the pool is ([`saturation`]), how busy it may be for each band
//! ([`ceiling`]), and whether there is room for another session's context ([`guard`]).

mod ceiling;
mod guard;
mod saturation;

pub use ceiling::{CeilingPolicy, PriorityHoldback, SoftReflective, StaticCeiling};
pub use guard::GuardConfig;
pub use saturation::{
    ConcurrencyDetector, ConcurrencyMode, ContinuousSaturation, SaturationPolicy, UtilizationDetector,
};
