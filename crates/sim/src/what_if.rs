//! The HTML pages of `curve` and `plan`: one self-contained file, with drawings as SVG.

use std::fmt::Write as _;

use anyhow::Result;
use plotters::prelude::*;

use crate::curve::{Curve, Point};
use crate::plan::{Row, sorted_rows};
use crate::prices::Prices;
use crate::report::{HEAD, color, draw, escape};
use crate::service_level::ServiceLevel;

/// A drawing of the curves.
struct Drawing {
    heading: &'static str,
    unit: &'static str,
    /// Digits after the point in the table.
    digits: usize,
    /// The median, the 90th and the 99th percentile of a point, in the unit.
    read: fn(&Point) -> [f64; 3],
}

const DRAWINGS: [Drawing; 3] = [
    Drawing {
        heading: "Time to first token",
        unit: "seconds",
        digits: 3,
        read: |point| point.ttft,
    },
    Drawing {
        heading: "Time per output token",
        unit: "milliseconds",
        digits: 1,
        read: |point| point.tpot.map(|time| time * 1e3),
    },
    Drawing {
        heading: "Time to the last token",
        unit: "seconds",
        digits: 2,
        read: |point| point.e2e,
    },
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
         percentile; each point is one load. All figures are simulated.</p>",
        escape(workload)
    )?;
    for one in &DRAWINGS {
        write!(page, "<h2>{}</h2>{}", one.heading, drawing(curves, one)?)?;
        let Drawing { unit, digits, read, .. } = *one;
        write!(
            page,
            "<table><caption>{}, in {unit}</caption><tr><th>class<th>replicas<th>requests/s<th>p50\
             <th>p90<th>p99</tr>",
            one.heading
        )?;
        for (curve, point) in rows(curves) {
            let [p50, p90, p99] = read(point);
            write!(
                page,
                "<tr><td>{}<td>{}<td>{:.2}<td>{p50:.digits$}<td>{p90:.digits$}<td>{p99:.digits$}</tr>",
                escape(&curve.class),
                curve.replicas,
                point.throughput
            )?;
        }
        page.push_str("</table>");
    }
    page.push_str(
        "<h2>Throughput</h2><table><caption>Offered and answered</caption><tr><th>class<th>replicas\
         <th>offered/s<th>requests/s<th>tokens/s<th>refused</tr>",
    );
    for (curve, point) in rows(curves) {
        write!(
            page,
            "<tr><td>{}<td>{}<td>{:.2}<td>{:.2}<td>{:.0}<td>{}</tr>",
            escape(&curve.class),
            curve.replicas,
            point.rate,
            point.throughput,
            point.tokens,
            point.refused
        )?;
    }
    page.push_str("</table></body></html>\n");
    Ok(page)
}

fn rows(curves: &[Curve]) -> impl Iterator<Item = (&Curve, &Point)> {
    curves.iter().flat_map(|curve| curve.points.iter().map(move |point| (curve, point)))
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
fn drawing(curves: &[Curve], one: &Drawing) -> Result<String> {
    let read = one.read;
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let values = || points().flat_map(read).filter(|value| *value > 0.0);
    let right = points().map(|point| point.throughput).fold(0.1, f64::max) * 1.02;
    let bottom = values().fold(f64::INFINITY, f64::min).clamp(1e-4, 1e6);
    let top = values().fold(bottom * 1.1, f64::max);
    draw(900, 420, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(52)
            .y_label_area_size(76)
            .build_cartesian_2d(0.0..right, (bottom..top).log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(WHITE.mix(0.0))
            .label_style(("sans-serif", 16))
            .axis_desc_style(("sans-serif", 18))
            .x_label_formatter(&|rate| tidy(*rate))
            .y_label_formatter(&|time| tidy(*time))
            .x_desc("answered requests a second")
            .y_desc(format!("{}, logarithmic", one.unit))
            .draw()?;
        for (at, curve) in curves.iter().enumerate() {
            let color = color(at, curves.len());
            let line = |percentile: usize| -> Vec<(f64, f64)> {
                let value = |point: &Point| read(point)[percentile].max(bottom);
                curve.points.iter().map(|point| (point.throughput, value(point))).collect()
            };
            chart
                .draw_series(LineSeries::new(line(0), color.stroke_width(3)).point_size(4))?
                .label(format!("{} x {}", curve.replicas, curve.class))
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3))
                });
            chart.draw_series(LineSeries::new(line(2), color.stroke_width(1)).point_size(2))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font(("sans-serif", 16))
            .border_style(BLACK.mix(0.2))
            .background_style(WHITE)
            .draw()?;
        Ok(())
    })
}

/// A number on an axis, with as many digits as it needs: 0.05, 2.5, 40.
fn tidy(value: f64) -> String {
    let digits =
        if value >= 10.0 || value <= 0.0 { 0 } else { (1.0 - value.log10()).ceil() as usize };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_an_axis_are_short_and_not_rounded_away() {
        let wanted =
            [(0.05, "0.05"), (2.5, "2.5"), (1.0, "1"), (40.0, "40"), (100.0, "100"), (0.0, "0")];
        for (value, text) in wanted {
            assert_eq!(tidy(value), text);
        }
    }

    #[test]
    fn a_page_has_a_drawing_and_a_table_for_each_time() {
        let times = [0.1, 0.2, 0.4];
        let point = Point {
            rate: 2.0,
            throughput: 1.9,
            tokens: 300.0,
            ttft: times,
            tpot: times,
            e2e: times,
            refused: 0,
        };
        let points = vec![point, Point { throughput: 3.7, ..point }];
        let curve = Curve { class: "a<b".into(), replicas: 2, points };
        let page = curve_page("chat & more", &[curve]).expect("a page");
        assert_eq!(page.matches("<svg").count(), 3);
        assert_eq!(page.matches("<table>").count(), 4);
        assert!(page.contains("<td>a&lt;b<td>2<td>1.90<td>0.100<td>0.200<td>0.400</tr>"));
        assert!(page.contains("chat &amp; more") && page.contains("prefers-color-scheme:dark"));
    }
}
