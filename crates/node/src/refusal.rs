//! Error responses to requests that were refused.

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use slotwise_wire::outcome::{BodyShape, Reason};

use crate::endpoint::named;
use crate::error::{Result, Unfit};
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
        Some(word) => named("shape", word, &SHAPES)?,
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

const SHAPES: [(&str, BodyShape); 2] = [
    (BodyShape::OpenAi.as_str(), BodyShape::OpenAi),
    (BodyShape::Anthropic.as_str(), BodyShape::Anthropic),
];

/// The refusal for the reason of this code.
pub(crate) fn refused(
    code: &str,
    evicted: bool,
    retry_after: Option<f64>,
) -> std::result::Result<slotwise_wire::outcome::Refusal<'static>, Unfit> {
    // Those of rejection come first.
    let of_code = || Reason::all().filter(|reason| reason.code() == code);
    let reason = of_code().find(|reason| !evicted || matches!(reason, Reason::Evicted(_)));
    let known = || {
        Reason::all().map(|reason| format!("'{}'", reason.code())).collect::<Vec<_>>().join(" or ")
    };
    let reason = reason.ok_or_else(|| Unfit::word("reason", known(), code))?;
    let mut refusal = slotwise_wire::outcome::Refusal::new(reason);
    refusal.retry_after = retry_after.map(|ms| duration("retryAfterMs", ms)).transpose()?;
    Ok(refusal)
}

/// The one-sentence message to the client for the reason of this code.
#[napi]
pub fn reason_message(code: String, evicted: bool) -> Result<&'static str> {
    Ok(refused(&code, evicted, None)?.reason.message())
}
