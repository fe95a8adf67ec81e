//! slotwise's prefix index and the published ones on one seeded workload. What is measured, and
//! how, is in the README.

pub mod groups;
pub mod index;
pub mod race;
pub mod rivals;
pub mod table;
pub mod workload;
