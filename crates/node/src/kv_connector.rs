//! How the KV caches of disaggregated requests move.

use napi_derive::napi;
use slotwise_gateway::{Exchange, KvConnector};
use slotwise_wire::request::KvTransfer;

use crate::error::{Result, Unfit};
use crate::number::{status, to_request_id};

/// How the KV caches of disaggregated requests move.
#[napi(object, object_to_js = false)]
#[derive(Debug, Default)]
pub struct KvConnectorOptions {
    /// The connector.
    #[napi(ts_type = "'sidecar' | 'nixl' | 'bootstrap'")]
    pub connector: Option<String>,
    /// The port of SGLang's bootstrap server.
    pub bootstrap_port: Option<f64>,
    /// Distinguishes gateways that share engines.
    pub room_salt: Option<f64>,
    /// The port that receives the requests of all data-parallel ranks of a host.
    pub primary_port: Option<f64>,
}

impl KvConnectorOptions {
    pub(crate) fn apply(&self, exchange: Exchange) -> Result<Exchange> {
        let port =
            |name, port: Option<f64>, default| port.map_or(Ok(default), |port| status(name, port));
        let salt = to_request_id(self.room_salt.unwrap_or_default())?.as_u64();
        let bootstrap = port("bootstrapPort", self.bootstrap_port, KvTransfer::BOOTSTRAP_PORT)?;
        let name = self.connector.as_deref().unwrap_or("sidecar");
        let connector = KvConnector::from_name(name, bootstrap, salt)
            .map_err(|error| Unfit::unknown("connector", error))?;
        let primary = port("primaryPort", self.primary_port, 0)?;
        Ok(exchange.connector(connector).primary_port(primary))
    }
}
