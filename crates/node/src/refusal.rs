//! Error responses to requests that were refused.

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use slotwise_gateway::names;
use slotwise_wire::outcome::BodyShape;

use crate::error::{Result, Unfit, named};
use crate::number::duration;

/// The response to a refused request.
#[napi(object, object_from_js = false)]
#[expect(missing_debug_implementations, reason = "a typed array has none")]
pub struct RefusalResponse {
    /// The HTTP status.
    pub status: u16,
    /// Names and values.
    #[napi(ts_type = "Array<[string, string]>")]
    pub headers: Vec<Vec<String>>,
    /// The body: JSON, in a buffer of its own, as `Response` and `fetch` want it.
    #[napi(ts_type = "ReturnType<Uint8Array['slice']>")]
    pub body: Uint8Array,
}

/// The response to a request refused for this reason. `evicted` distinguishes reasons of the same
/// name.
#[napi]
pub fn refusal(
    reason: String,
    evicted: bool,
    retry_after: Option<f64>,
    message: Option<String>,
    shape: Option<String>,
) -> Result<RefusalResponse> {
    let mut refusal = refused(&reason, evicted, retry_after)?;
    refusal.message = message.as_deref();
    let shape = match &shape {
        Some(word) => named("shape", word)?,
        None => BodyShape::OpenAi,
    };
    Ok(RefusalResponse {
        status: refusal.status(),
        headers: refusal
            .headers()
            .map(|(name, value)| vec![name.into(), value.into_owned()])
            .collect(),
        body: refusal.body(shape).into_bytes().into(),
    })
}

/// The refusal for the reason of this code.
pub(crate) fn refused(
    code: &str,
    evicted: bool,
    retry_after: Option<f64>,
) -> std::result::Result<slotwise_wire::outcome::Refusal<'static>, Unfit> {
    let reason = names::reason(code, evicted).map_err(|error| Unfit::unknown("reason", error))?;
    let mut refusal = slotwise_wire::outcome::Refusal::new(reason);
    refusal.retry_after = retry_after.map(|ms| duration("retryAfterMs", ms)).transpose()?;
    Ok(refusal)
}

/// The one-sentence message to the client for the reason of this code.
#[napi]
pub fn reason_message(code: String, evicted: bool) -> Result<&'static str> {
    Ok(refused(&code, evicted, None)?.reason.message())
}
