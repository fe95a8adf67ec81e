//! The HTML pages of `curve` and `plan`: one self-contained file, with drawings as SVG.

use std::fmt::Write as _;

use anyhow::Result;
use plotters::prelude::*;

use crate::curve::{Curve, Point};
use crate::plan::{Prices, Row, ServiceLevel, sorted_rows};
use crate::report::{HEAD, color, draw, escape};

/// The drawings of a curve: a heading, and the value of a point that it shows.
type Drawing = (&'static str, &'static str, fn(&Point) -> [f64; 3]);

const DRAWINGS: [Drawing; 3] = [
    ("Time to first token", "seconds", |point| point.ttft),
    ("Time per output token", "milliseconds", |point| point.tpot.map(|time| time * 1e3)),
    ("Time to the last token", "seconds", |point| point.e2e),
];

/// The page of curves. A thick line is the median, a thin one the 99th percentile.
///
/// # Errors
///
/// When a drawing fails, which is a bug.
pub fn curve_page(workload: &str, curves: &[Curve]) -> Result<String> {
    let mut page = String::from(HEAD);
    write!(
        page,
        "<h1>Latency against throughput</h1><p>{}. A thick line is the median, a thin one the 99th \
         percentile. All figures are simulated.</p>",
        escape(workload)
    )?;
    for (heading, unit, read) in DRAWINGS {
        write!(page, "<h2>{heading}</h2>{}", drawing(curves, unit, read)?)?;
    }
    page.push_str(
        "<h2>Figures</h2><table><tr><th>class<th>replicas<th>offered/s<th>requests/s<th>tokens/s\
         <th>TTFT p50<th>p90<th>p99<th>TPOT p50<th>p90<th>p99<th>e2e p50<th>p90<th>p99</tr>",
    );
    for curve in curves {
        for point in &curve.points {
            let (ttft, tpot, e2e) = (point.ttft, point.tpot.map(|time| time * 1e3), point.e2e);
            write!(
                page,
                "<tr><td>{}<td>{}<td>{:.2}<td>{:.2}<td>{:.0}<td>{:.2} s<td>{:.2} s<td>{:.2} s\
                 <td>{:.0} ms<td>{:.0} ms<td>{:.0} ms<td>{:.1} s<td>{:.1} s<td>{:.1} s</tr>",
                escape(&curve.class),
                curve.replicas,
                point.rate,
                point.throughput,
                point.tokens,
                ttft[0],
                ttft[1],
                ttft[2],
                tpot[0],
                tpot[1],
                tpot[2],
                e2e[0],
                e2e[1],
                e2e[2]
            )?;
        }
    }
    page.push_str("</table></body></html>\n");
    Ok(page)
}

/// The page of a plan.
///
/// # Errors
///
/// When formatting fails, which is a bug.
pub fn plan_page(
    workload: &str,
    rate: f64,
    level: ServiceLevel,
    rows: &[Row],
    prices: Option<&Prices>,
) -> Result<String> {
    let mut page = String::from(HEAD);
    write!(
        page,
        "<h1>Replicas for {rate} requests/s</h1><p>{}. 95 % of the first tokens within {} s, 95 % of \
         the answers within {:.0} ms a token. All figures are simulated.</p>\
         <table><tr><th>class<th>replicas<th>TTFT p95<th>TPOT p95",
        escape(workload),
        level.ttft,
        level.tpot * 1e3
    )?;
    if let Some(prices) = prices {
        write!(page, "<th>{}/hour", escape(&prices.currency))?;
    }
    page.push_str("<th>hardware</tr>");
    for (at, row) in sorted_rows(rows).into_iter().enumerate() {
        let replicas = row.replicas.map_or_else(|| "none".into(), |replicas| replicas.to_string());
        write!(
            page,
            "<tr{}><td>{}<td>{replicas}<td>{:.2} s<td>{:.0} ms",
            if at == 0 && row.replicas.is_some() { " class=ours" } else { "" },
            row.class,
            row.ttft_p95_s,
            row.tpot_p95_s * 1e3
        )?;
        if prices.is_some() {
            page.push_str("<td>");
            page.push_str(
                &row.cost_per_hour.map_or_else(|| "-".into(), |cost| format!("{cost:.2}")),
            );
        }
        write!(page, "<td>{}</tr>", escape(&row.title))?;
    }
    page.push_str("</table></body></html>\n");
    Ok(page)
}

/// A line for each curve: throughput to the right, latency upwards on a logarithmic scale.
fn drawing(curves: &[Curve], unit: &str, read: fn(&Point) -> [f64; 3]) -> Result<String> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let values = || points().flat_map(read).filter(|value| *value > 0.0);
    let right = points().map(|point| point.throughput).fold(0.1, f64::max) * 1.02;
    let bottom = values().fold(f64::INFINITY, f64::min).clamp(1e-4, 1e6);
    let top = values().fold(bottom * 1.1, f64::max);
    draw(900, 380, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..right, (bottom..top).log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(WHITE.mix(0.0))
            .x_desc("requests a second")
            .y_desc(unit)
            .draw()?;
        for (at, curve) in curves.iter().enumerate() {
            let color = color(at, curves.len());
            let line = |percentile: usize| -> Vec<(f64, f64)> {
                let value = |point: &Point| read(point)[percentile].max(bottom);
                curve.points.iter().map(|point| (point.throughput, value(point))).collect()
            };
            chart
                .draw_series(LineSeries::new(line(0), color.stroke_width(3)))?
                .label(format!("{} x {}", curve.replicas, curve.class))
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3))
                });
            chart.draw_series(LineSeries::new(line(2), color.stroke_width(1)))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .border_style(BLACK.mix(0.2))
            .background_style(WHITE)
            .draw()?;
        Ok(())
    })
}
