//! The stages of a request that have endpoints of their own.

use napi_derive::napi;

use super::NativeScheduler;
use crate::attribute::usage;
use crate::error::{Result, named, thrown};
use crate::number::{instant, to_request_id};

#[napi]
impl NativeScheduler {
    /// A stage before the answer ended.
    #[napi]
    pub fn complete_leg(
        &self,
        now: f64,
        request_id: f64,
        stage: String,
        prompt_tokens: Option<f64>,
        cached_tokens: Option<f64>,
    ) -> Result<()> {
        let (now, id, stage) =
            (instant("now", now)?, to_request_id(request_id)?, named("stage", &stage)?);
        let usage = usage(prompt_tokens, cached_tokens, None)?;
        self.state.input(|scheduler| scheduler.complete_leg(now, id, stage, usage).map_err(thrown))
    }

    /// A stage before the answer failed.
    #[napi]
    pub fn fail_leg(&self, now: f64, request_id: f64, stage: String, why: String) -> Result<()> {
        let (now, id, stage) =
            (instant("now", now)?, to_request_id(request_id)?, named("stage", &stage)?);
        let failure = named("failure", &why)?;
        self.state.input(|scheduler| scheduler.fail_leg(now, id, stage, failure).map_err(thrown))
    }

    /// A stage before the answer failed, and is asked elsewhere.
    #[napi]
    pub fn redirect_leg(
        &self,
        now: f64,
        request_id: f64,
        stage: String,
        why: String,
    ) -> Result<Option<f64>> {
        let (now, id, stage) =
            (instant("now", now)?, to_request_id(request_id)?, named("stage", &stage)?);
        let failure = named("failure", &why)?;
        let to = self
            .state
            .input(|scheduler| scheduler.redirect_leg(now, id, stage, failure).map_err(thrown))?;
        Ok(to.map(|id| id.as_u64() as f64))
    }

    /// The endpoint of a stage that has not ended.
    #[napi]
    pub fn leg_of(&self, request_id: f64, stage: String) -> Result<Option<f64>> {
        let (id, stage) = (to_request_id(request_id)?, named("stage", &stage)?);
        self.state.query(|scheduler| Ok(scheduler.leg_of(id, stage).map(|id| id.as_u64() as f64)))
    }
}
