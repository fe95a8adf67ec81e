//! The stages of a request that have endpoints of their own.

use pyo3::prelude::*;
use slotwise::Usage;

use super::Scheduler;
use crate::error::named;
use crate::ids::RequestArg;

#[pymethods]
impl Scheduler {
    #[pyo3(signature = (request_id, stage = "prefill", *, prompt_tokens = None,
        cached_tokens = None, now = None))]
    fn complete_leg(
        &self,
        py: Python<'_>,
        request_id: RequestArg,
        stage: &str,
        prompt_tokens: Option<u32>,
        cached_tokens: Option<u32>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let (now, stage) = (self.now(py, now)?, named("stage", stage)?);
        let mut usage = Usage::default();
        usage.prompt_tokens = prompt_tokens;
        usage.cached_tokens = cached_tokens;
        self.input(py, |gateway| {
            gateway.scheduler_mut().complete_leg(now, request_id.0, stage, usage)
        })
    }

    #[pyo3(signature = (request_id, stage = "prefill", failure = "engine", *, now = None))]
    fn fail_leg(
        &self,
        py: Python<'_>,
        request_id: RequestArg,
        stage: &str,
        failure: &str,
        now: Option<f64>,
    ) -> PyResult<()> {
        let (now, stage) = (self.now(py, now)?, named("stage", stage)?);
        let failure = named("failure", failure)?;
        self.input(py, |gateway| {
            gateway.scheduler_mut().fail_leg(now, request_id.0, stage, failure)
        })
    }

    #[pyo3(signature = (request_id, stage = "prefill", failure = "engine", *, now = None))]
    fn redirect_leg(
        &self,
        py: Python<'_>,
        request_id: RequestArg,
        stage: &str,
        failure: &str,
        now: Option<f64>,
    ) -> PyResult<Option<u64>> {
        let (now, stage) = (self.now(py, now)?, named("stage", stage)?);
        let failure = named("failure", failure)?;
        let to = self.input(py, |gateway| {
            gateway.scheduler_mut().redirect_leg(now, request_id.0, stage, failure)
        })?;
        Ok(to.map(|id| id.as_u64()))
    }

    #[pyo3(signature = (request_id, stage = "prefill"))]
    fn leg_of(&self, py: Python<'_>, request_id: RequestArg, stage: &str) -> PyResult<Option<u64>> {
        let stage = named("stage", stage)?;
        Ok(self.lock(py)?.scheduler().leg_of(request_id.0, stage).map(|id| id.as_u64()))
    }
}
