//! The cost model of a replica's hardware and model: the time of one engine step, and the KV
//! capacity.
//!
//! ```text
//! step = base + max(floor, lin · tokens) + attn · Σ chunk · (ctx + chunk / 2)
//!        + kvr · Σ decode ctx + 10 µs · sequences
//! ```

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use slotwise::{PrefillCost, Seconds};

/// A model on a kind of server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Class {
    /// The name on the command line.
    pub name: &'static str,
    /// The model and the hardware, in words.
    pub title: &'static str,
    /// Where the numbers come from.
    pub source: Source,
    /// Fixed seconds of a step: scheduling, sampling, launching kernels.
    pub base: f64,
    /// Seconds that the matrix work of a step takes at least: reading the weights once.
    pub floor: f64,
    /// Seconds of matrix work a token.
    pub lin: f64,
    /// Seconds of attention a pair of a prompt token and a token before it.
    pub attn: f64,
    /// Seconds of reading KV a token of context of a sequence that decodes.
    pub kvr: f64,
    /// Tokens of KV that fit beside the weights.
    pub kv_tokens: u32,
    /// Bytes of KV a token, over all GPUs: 16-bit elements.
    pub kv_bytes: u32,
}

/// The evidence behind a class's numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// The matrix work comes from kernels that were measured on this hardware; the rest is
    /// computed.
    Measured,
    /// From data sheets, or scaled from other hardware.
    Estimated,
}

/// Seconds that each sequence adds to a step.
pub const PER_SEQUENCE: f64 = 10e-6;

/// The classes, the default first.
///
/// Measured classes begin with the matrix work in Vidur's kernel profiles (`slotwise-sim calibrate`
/// derives it again) and add estimates of what the profiles lack: 10 to 14 us of all-reduce a token
/// and 2 to 3 ms of it a step where GPUs share a model, and 14 % for an 8B model's wider layers
/// over the 7B model that was profiled. Attention and KV reads follow from data sheets at 60 to 70
/// % of the hardware's best. KV room: 90 % of memory, less weights and activations.
pub const CLASSES: [Class; 7] = [
    Class {
        name: "llama-70b-4xh100",
        title: "Llama 70B on 4 x H100",
        source: Source::Measured,
        base: 3.0e-3,
        floor: 16.5e-3,
        lin: 68e-6,
        attn: 1.66e-9,
        kvr: 35e-9,
        kv_tokens: 440_000,
        kv_bytes: 327_680,
    },
    Class {
        name: "llama-70b-8xh100",
        title: "Llama 70B on 8 x H100",
        source: Source::Measured,
        base: 3.0e-3,
        floor: 11.0e-3,
        lin: 42e-6,
        attn: 0.83e-9,
        kvr: 17.5e-9,
        kv_tokens: 1_450_000,
        kv_bytes: 327_680,
    },
    Class {
        name: "llama-70b-8xa100",
        title: "Llama 70B on 8 x A100",
        source: Source::Estimated,
        base: 4.0e-3,
        floor: 17.5e-3,
        lin: 105e-6,
        attn: 2.6e-9,
        kvr: 29e-9,
        kv_tokens: 1_450_000,
        kv_bytes: 327_680,
    },
    Class {
        name: "llama-8b-h100",
        title: "Llama 8B on 1 x H100",
        source: Source::Measured,
        base: 2.5e-3,
        floor: 6.4e-3,
        lin: 23e-6,
        attn: 1.33e-9,
        kvr: 56e-9,
        kv_tokens: 422_000,
        kv_bytes: 131_072,
    },
    Class {
        name: "llama-8b-a100",
        title: "Llama 8B on 1 x A100",
        source: Source::Measured,
        base: 3.0e-3,
        floor: 10.5e-3,
        lin: 70e-6,
        attn: 4.2e-9,
        kvr: 92e-9,
        kv_tokens: 422_000,
        kv_bytes: 131_072,
    },
    Class {
        name: "llama-8b-l4",
        title: "Llama 8B on 1 x L4",
        source: Source::Estimated,
        base: 4.0e-3,
        floor: 72.0e-3,
        lin: 175e-6,
        attn: 10e-9,
        kvr: 620e-9,
        kv_tokens: 25_000,
        kv_bytes: 131_072,
    },
    Class {
        name: "llama-8b-v6e",
        title: "Llama 8B on 1 x TPU v6e",
        source: Source::Estimated,
        base: 3.0e-3,
        floor: 13.0e-3,
        lin: 35e-6,
        attn: 1.75e-9,
        kvr: 115e-9,
        kv_tokens: 85_000,
        kv_bytes: 131_072,
    },
];

/// The classes of a fleet's replicas, in turn: the first replica has the first class, and so on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassMix {
    classes: [Class; Self::MOST],
    count: usize,
}

impl ClassMix {
    /// The most classes in a fleet.
    pub const MOST: usize = 8;

    /// The class of a replica.
    pub fn of(&self, replica: usize) -> Class {
        self.classes[replica % self.count]
    }

    /// The names of the classes, separated by commas.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.classes().iter().map(|class| class.name).collect();
        names.join(",")
    }

    /// The classes.
    pub fn classes(&self) -> &[Class] {
        &self.classes[..self.count]
    }
}

impl From<Class> for ClassMix {
    fn from(class: Class) -> Self {
        Self { classes: [class; Self::MOST], count: 1 }
    }
}

impl FromStr for ClassMix {
    type Err = String;

    fn from_str(names: &str) -> Result<Self, String> {
        let known: Result<Vec<Class>, String> = names.split(',').map(str::parse).collect();
        let known = known?;
        let count = known.len();
        if count > Self::MOST {
            return Err(format!("{count} classes; at most {} fit", Self::MOST));
        }
        let mut classes = [Class::default(); Self::MOST];
        classes[..count].copy_from_slice(&known);
        Ok(Self { classes, count })
    }
}

impl fmt::Display for ClassMix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.classes().iter().map(Class::to_string).collect();
        f.write_str(&names.join(" + "))
    }
}

impl Class {
    /// The operator's description of the class's prefill, with `chunk` tokens a step.
    pub fn prefill_cost(&self, chunk: NonZeroU32) -> PrefillCost {
        PrefillCost::new(Seconds::new(self.lin), Seconds::new(self.attn)).steps(
            Seconds::new(self.base),
            Seconds::new(self.floor),
            chunk,
        )
    }

    /// Seconds to prefill `miss` tokens after `hit` cached ones, alone on the replica, without the
    /// steps' overheads.
    pub fn prefill_seconds(&self, miss: u32, hit: u32) -> f64 {
        let (miss, hit) = (f64::from(miss), f64::from(hit));
        self.lin * miss + self.attn * miss * (hit + miss / 2.0)
    }
}

impl Default for Class {
    fn default() -> Self {
        CLASSES[0]
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let estimated = if self.source == Source::Estimated { " (estimated)" } else { "" };
        write!(f, "{}{estimated}", self.title)
    }
}

impl FromStr for Class {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        CLASSES.into_iter().find(|class| class.name == name).ok_or_else(|| {
            let known: Vec<_> = CLASSES.iter().map(|class| class.name).collect();
            format!("no class is called {name:?}; known are {}", known.join(", "))
        })
    }
}
