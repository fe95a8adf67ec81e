//! A report of an endpoint, or why there is none, to the scheduler.

use slotwise::{AdapterState, EndpointId, Instant, Scheduler, UnknownEndpoint};

use super::Result;
use super::orca::OrcaReport;
use super::report::MetricsReport;

/// Tells the scheduler what a metrics page said, or that it could not be read: what
/// [`MetricsReader::read_load`](super::MetricsReader::read_load) returned. Computes in **O(ranks + adapters)**.
///
/// ```
/// use slotwise::{Endpoint, Instant, Scheduler};
/// use slotwise_wire::metrics::{MetricsReader, observe};
///
/// let now = Instant::ORIGIN;
/// let mut scheduler = Scheduler::default();
/// let id = scheduler.add_endpoint(now, Endpoint::new("a"))?;
/// for page in ["vllm:num_requests_waiting 50\n", "<html>502 Bad Gateway</html>", ""] {
///     observe(&mut scheduler, now, id, &MetricsReader::detect().read_load(page.as_bytes()))?;
/// }
/// let stats = &scheduler.stats().endpoints[0];
/// assert_eq!((stats.external_waiting, stats.report_errors), (50.0, 2));
/// assert_eq!(stats.report_error, Some("not_metrics"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// When there is no such endpoint.
pub fn observe(
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

/// The same for an ORCA header: what [`OrcaReport::read`] returned.
///
/// # Errors
///
/// When there is no such endpoint.
pub fn handle_orca(
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
