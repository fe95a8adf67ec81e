//! Learned parameters of cost: the speed of each endpoint, the time per output token, the
//! probability that a cached prefix is reused, the bytes per token of text, the tokens in answers,
//! and the arriving work.

mod answers;
mod arrivals;
mod decode;
mod mean;
mod reuse;
mod speed;
mod tokens;

pub(crate) use answers::AnswerLengths;
pub(crate) use arrivals::{ArrivalRate, Arrivals};
pub(crate) use decode::{DecodeFactor, DecodeTime};
pub(crate) use mean::MovingMean;
pub(crate) use reuse::Reuse;
pub(crate) use speed::{Speed, settle_speeds};
pub(crate) use tokens::BytesPerToken;
