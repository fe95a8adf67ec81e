//! Machines over JSON: routing and the like.

use napi_derive::napi;
use slotwise_gateway::machines;

use crate::error::{Result, wrong_argument};

/// A machine that is created by its kind, and called by name.
#[napi]
#[derive(Debug)]
pub struct NativeMachine(pub(crate) machines::Machine);

#[napi]
impl NativeMachine {
    /// Creates a machine from JSON.
    #[napi(constructor)]
    pub fn new(kind: String, arguments: String) -> Result<Self> {
        machines::Machine::new(&kind, &arguments).map(Self).map_err(|error| wrong_argument(&error))
    }

    /// Calls the machine; arguments and result are JSON.
    #[napi]
    pub fn call(&mut self, name: String, arguments: String) -> Result<String> {
        self.0.call(&name, &arguments).map_err(|error| wrong_argument(&error))
    }
}
