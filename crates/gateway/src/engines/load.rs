//! Metrics pages and ORCA headers, to load and adapters.

use slotwise::{AdapterState, EndpointId, Instant, Scheduler, UnknownEndpoint};
use slotwise_wire::metrics::{MetricsReport, OrcaReport, Result};

/// Reports what a metrics page contains, or that it could not be read.
pub(crate) fn report_metrics(
    scheduler: &mut Scheduler,
    now: Instant,
    endpoint: EndpointId,
    report: &Result<MetricsReport>,
) -> core::result::Result<(), UnknownEndpoint> {
    let report = match report {
        Ok(report) => report,
        Err(error) => return scheduler.handle_unreadable_load(now, endpoint, error.problem.code()),
    };
    scheduler.handle_load(now, endpoint, report.load())?;
    let Some(adapters) = &report.adapters else { return Ok(()) };
    let active = adapters.active();
    let slots = adapters.slots.map_or(0, |slots| slots.get());
    scheduler.handle_adapters(now, endpoint, AdapterState::active(&active).slots(slots))
}

/// The same for an ORCA header.
pub(crate) fn report_orca(
    scheduler: &mut Scheduler,
    now: Instant,
    endpoint: EndpointId,
    report: &Result<OrcaReport>,
) -> core::result::Result<(), UnknownEndpoint> {
    match report {
        Ok(report) => scheduler.handle_load(now, endpoint, report.load),
        Err(error) => scheduler.handle_unreadable_load(now, endpoint, error.problem.code()),
    }
}
