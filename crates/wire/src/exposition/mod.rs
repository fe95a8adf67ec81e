//! What dashboards read: OpenMetrics text and the attributes of traces.
