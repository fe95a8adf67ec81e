//! What the scheduler has learned about cost: how fast each endpoint is, how likely a cached prefix is to be wanted
//! again, and how many bytes of text make a token.

mod mean;
mod reuse;
mod speed;
mod tokens;

pub(crate) use mean::MovingMean;
pub(crate) use reuse::Reuse;
pub(crate) use speed::{Speed, settle_speeds};
pub(crate) use tokens::BytesPerToken;
