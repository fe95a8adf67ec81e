//! Learned parameters of cost: the speed of each endpoint, the time per output token, the
//! probability that a cached prefix is reused, and the bytes per token of text.

mod decode;
mod mean;
mod reuse;
mod speed;
mod tokens;

pub(crate) use decode::{DecodeFactor, DecodeTime};
pub(crate) use mean::MovingMean;
pub(crate) use reuse::Reuse;
pub(crate) use speed::{Speed, settle_speeds};
pub(crate) use tokens::BytesPerToken;
