//! The reference's policies as functions: their arguments and results are JSON.

use napi_derive::napi;
use slotwise_gateway::policy;

use crate::error::{Result, wrong_argument};

/// Calls a policy by the name of its function.
#[napi]
pub fn call_policy(name: String, arguments: String) -> Result<String> {
    policy::call(&name, &arguments).map_err(|error| wrong_argument(&error))
}
