//! One self-contained HTML page: the table, and charts of the figures behind it.

use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::compare::{Comparison, Row};
use crate::fleet::Setup;
use crate::measure::measured;

/// Points of a line: more cannot be seen.
const POINTS: usize = 240;

/// The page for a comparison. Drawings show the first seed's run.
///
/// # Errors
///
/// When a drawing fails, which is a bug.
pub fn page(comparison: &Comparison, setup: &Setup) -> Result<String> {
    let mut page = String::from(HEAD);
    let slow = setup
        .slow
        .map_or(String::new(), |(n, factor)| format!(", {n} of them {factor} times slower"));
    write!(
        page,
        "<h1>{}</h1><p>{} x {}{slow}, speed {}, metrics every {} ms and {} ms old on arrival. \
         All figures are simulated.</p>",
        escape(&comparison.trace),
        comparison.replicas,
        setup.mix(),
        comparison.speed,
        setup.scrape.as_millis(),
        setup.delay.as_millis(),
    )?;
    page.push_str("<h2>Figures</h2>");
    page.push_str(&table(comparison)?);
    page.push_str(
        "<h2>Time to first token</h2><p>Share of the requests whose first token came within a time.</p>",
    );
    page.push_str(&ttft(comparison)?);
    page.push_str(
        "<h2>Prefix cache</h2><p>Share of prompt tokens that were found in the cache.</p>",
    );
    page.push_str(&hits(comparison)?);
    page.push_str(
        "<h2>Load of each replica over time</h2><p>Requests in flight; each line is a replica, time in seconds.</p>",
    );
    page.push_str("<div class=grid>");
    let loads = comparison.policies.iter().flat_map(|row| &row.record.loads);
    let most = loads.flat_map(|(_, replicas)| replicas).max().copied().unwrap_or(1);
    for row in &comparison.policies {
        write!(
            page,
            "<figure><figcaption>{}</figcaption>{}</figure>",
            row.policy,
            self::loads(row, most)?
        )?;
    }
    page.push_str("</div></body></html>\n");
    Ok(page)
}

fn table(comparison: &Comparison) -> Result<String> {
    let mut table = String::from(
        "<table><tr><th>policy<th>TTFT p50<th>p90<th>p99<th>TPOT p90<th>e2e p50<th>goodput<th>hit ratio\
         <th>requests/s<th>imbalance<th>rejected</tr>",
    );
    for row in &comparison.policies {
        let s = &row.median;
        write!(
            table,
            "<tr{}><td>{}<td>{:.2} s<td>{:.2} s<td>{:.2} s<td>{:.0} ms<td>{:.1} s<td>{:.1} %<td>{:.1} %<td>{:.2}\
             <td>{:.2}<td>{}</tr>",
            if row.policy == "slotwise" { " class=ours" } else { "" },
            row.policy,
            s.ttft_p50_s,
            s.ttft_p90_s,
            s.ttft_p99_s,
            s.tpot_p90_s * 1e3,
            s.e2e_p50_s,
            s.goodput * 100.0,
            s.hit_ratio * 100.0,
            s.throughput_rps,
            s.imbalance,
            s.rejected,
        )?;
    }
    table.push_str("</table>");
    Ok(table)
}

fn ttft(comparison: &Comparison) -> Result<String> {
    let curves: Vec<(&str, Vec<(f64, f64)>)> = comparison
        .policies
        .iter()
        .map(|row| {
            let mut times: Vec<f64> =
                measured(&row.record).iter().filter_map(|r| r.ttft()).collect();
            times.sort_by(f64::total_cmp);
            let count = times.len();
            let point = |i: usize| (times[i].max(0.01), (i + 1) as f64 / count as f64);
            let points = (0..count).step_by((count / POINTS).max(1)).chain(count.checked_sub(1));
            (row.policy, points.map(point).collect())
        })
        .collect();
    let longest =
        curves.iter().flat_map(|(_, curve)| curve).map(|(time, _)| *time).fold(1.0, f64::max);
    draw(900, 420, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(48)
            .build_cartesian_2d((0.01..longest).log_scale(), 0.0..1.0)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE.mix(0.0))
            .x_desc("seconds")
            .y_desc("share of requests")
            .draw()?;
        for (i, (policy, curve)) in curves.iter().enumerate() {
            let style =
                color(i, curves.len()).stroke_width(if *policy == "slotwise" { 4 } else { 2 });
            chart
                .draw_series(LineSeries::new(curve.iter().copied(), style))?
                .label(*policy)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        let legend = SeriesLabelPosition::LowerRight;
        chart
            .configure_series_labels()
            .position(legend)
            .border_style(BLACK.mix(0.2))
            .background_style(WHITE)
            .draw()?;
        Ok(())
    })
}

fn hits(comparison: &Comparison) -> Result<String> {
    let mut bars = String::from("<div class=bars>");
    for (i, row) in comparison.policies.iter().enumerate() {
        let RGBColor(r, g, b) = color(i, comparison.policies.len());
        let percent = row.median.hit_ratio * 100.0;
        write!(
            bars,
            "<div>{}</div><div><span style='width:{percent:.1}%;background:rgb({r},{g},{b})'></span>{percent:.1} %</div>",
            row.policy
        )?;
    }
    bars.push_str("</div>");
    Ok(bars)
}

fn loads(row: &Row, most: u32) -> Result<String> {
    let loads = &row.record.loads;
    let seconds = loads.last().map_or(1.0, |(at, _)| at.as_micros() as f64 / 1e6);
    let step = loads.len().div_ceil(POINTS).max(1);
    draw(440, 200, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .x_label_area_size(24)
            .y_label_area_size(34)
            .build_cartesian_2d(0.0..seconds, 0.0..f64::from(most) * 1.05)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE.mix(0.0))
            .x_labels(5)
            .y_labels(4)
            .draw()?;
        let replicas = loads.first().map_or(0, |(_, replicas)| replicas.len());
        for replica in 0..replicas {
            // The highest point of each stretch: peaks are what the drawing is for.
            let points = loads.chunks(step).map(|stretch| {
                let peak = stretch.iter().map(|(_, replicas)| replicas[replica]).max().unwrap_or(0);
                (stretch[0].0.as_micros() as f64 / 1e6, f64::from(peak))
            });
            chart.draw_series(LineSeries::new(points, color(replica, replicas)))?;
        }
        Ok(())
    })
}

/// An SVG of this size, without the XML declaration, to stand inside the page.
pub(crate) fn draw(
    width: u32,
    height: u32,
    paint: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Box<dyn std::error::Error>>,
) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        area.fill(&WHITE)?;
        paint(&area).map_err(|error| anyhow!("cannot draw: {error}"))?;
        area.present()?;
    }
    Ok(svg)
}

/// One of `count` hues around the wheel, all about as dark.
pub(crate) fn color(i: usize, count: usize) -> RGBColor {
    let (r, g, b) = HSLColor(i as f64 / count.max(1) as f64, 0.7, 0.42).rgb();
    RGBColor(r, g, b)
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

pub(crate) const HEAD: &str = "<!doctype html><html lang=en><head><meta charset=utf-8><title>slotwise-sim</title><style>\
body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.2rem .6rem;text-align:right;\
border-bottom:1px solid #ddd;white-space:nowrap}th:first-child,td:first-child{text-align:left}.ours{font-weight:700;background:#eef6ee}\
.bars{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;align-items:center}.bars span{display:inline-block;\
height:1em;margin-right:.5rem;vertical-align:middle}.bars div+div{white-space:nowrap}\
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(420px,1fr));gap:1rem}figure{margin:0}\
figcaption,caption{font-weight:600;text-align:left}svg{max-width:100%;height:auto}table{margin:.5rem 0 2rem}\
:root{color-scheme:light dark}@media(prefers-color-scheme:dark){body{color:#ddd;background:#1a1b1e}\
th,td{border-color:#444}.ours{background:#1f3324}svg{filter:invert(.9) hue-rotate(180deg)}}</style></head><body>";
