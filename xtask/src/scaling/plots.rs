//! The plots, as SVG.

use super::Figures;
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use std::path::Path;

/// Until where it is extrapolated.
const LARGEST: f64 = 100_000.0;
const COLORS: [RGBColor; 4] =
    [RGBColor(31, 119, 180), RGBColor(214, 39, 40), RGBColor(44, 160, 44), RGBColor(148, 103, 189)];

struct Series {
    name: &'static str,
    points: Vec<(f64, f64)>,
    /// The last point was not measured.
    is_extrapolated: bool,
}

impl Series {
    fn measured(name: &'static str, points: Vec<(f64, f64)>) -> Self {
        // Neither axis of a logarithm has a zero.
        let points = points.into_iter().filter(|(_, value)| *value > 0.0).collect();
        Self { name, points, is_extrapolated: false }
    }

    /// Goes on from the last two points by the power of `n` that they follow.
    fn extrapolated(name: &'static str, points: Vec<(f64, f64)>) -> Self {
        let mut series = Self::measured(name, points);
        if let [.., (n1, v1), (n2, v2)] = series.points[..]
            && n2 < LARGEST
        {
            let power = (v2 / v1).ln() / (n2 / n1).ln();
            series.points.push((LARGEST, v2 * (LARGEST / n2).powf(power)));
            series.is_extrapolated = true;
        }
        series
    }
}

/// Draws all of them.
pub(super) fn draw(figures: &Figures, folder: &Path) -> Result<()> {
    let scaled = |field: &str, unit: f64| -> Vec<(f64, f64)> {
        figures.of(field).into_iter().map(|(nodes, value)| (nodes, value * unit)).collect()
    };
    let sizes: Vec<f64> = figures.of("nodes").iter().map(|(nodes, _)| *nodes).chain([LARGEST]).collect();
    let table = |bytes: f64| -> Vec<(f64, f64)> { sizes.iter().map(|n| (*n, n * bytes)).collect() };
    let views: Vec<(f64, f64)> = sizes.iter().map(|n| (*n, n * n * figures.bytes("view_bytes"))).collect();
    let plots = [
        (
            "tasks",
            "Control path: tasks per second of CPU",
            vec![
                Series::measured("one owner's core", scaled("owner_tasks_per_cpu_s", 1.0)),
                Series::measured("the cluster, virtual time", scaled("tasks_per_virtual_s", 1.0)),
            ],
        ),
        (
            "state",
            "Bytes of state for membership and loads",
            vec![
                Series::measured("one node's view of all", table(figures.bytes("view_bytes"))),
                Series::measured("the head", table(figures.bytes("head_bytes"))),
                Series::measured("views of all nodes together", views),
            ],
        ),
        (
            "head",
            "The head alone: CPUs that it takes",
            vec![
                Series::measured("beats, 10/s of each node", figures.at_head("beat_ns", |n| n * 10.0 / 1e9)),
                Series::measured("beats, 2/s of each node", figures.at_head("beat_ns", |n| n * 2.0 / 1e9)),
                Series::extrapolated(
                    "all loads to all, 10/s",
                    figures.at_head("pass_on_all_ns", |_| 10.0 / 1e9),
                ),
            ],
        ),
        (
            "traffic",
            "The head: bytes per second while all nodes work",
            vec![
                Series::extrapolated("out", figures.of("head_bytes_out_per_s")),
                Series::extrapolated("in", figures.of("head_bytes_in_per_s")),
            ],
        ),
        (
            "recovery",
            "From a node's death, ms",
            vec![
                Series::measured("silent: the head's word", figures.of("silent_declared_ms")),
                Series::measured("silent: lost tasks run elsewhere", figures.of("silent_recovered_ms")),
                Series::measured("broken: the head's word", figures.of("broken_declared_ms")),
                Series::measured("broken: lost tasks run elsewhere", figures.of("broken_recovered_ms")),
            ],
        ),
        (
            "join",
            "All nodes join at once, ms",
            vec![
                Series::measured("network, virtual time", figures.of("join_virtual_ms")),
                Series::extrapolated("CPU of the head", figures.of("join_head_cpu_ms")),
            ],
        ),
    ];
    for (name, title, series) in plots {
        let path = folder.join(format!("{name}.svg"));
        plot(&path, title, &series).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))?;
    }
    Ok(())
}

/// Both axes are logarithms. What is extrapolated is a hollow point.
fn plot(path: &Path, title: &str, series: &[Series]) -> Result<(), Box<dyn std::error::Error>> {
    let values = || series.iter().flat_map(|series| &series.points);
    let nodes = values().map(|(nodes, _)| *nodes);
    let (left, right) = (nodes.clone().fold(10.0, f64::min), nodes.fold(100.0, f64::max));
    let low = values().map(|(_, value)| *value).fold(f64::INFINITY, f64::min);
    let high = values().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let area = SVGBackend::new(path, (720, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(
            (left * 0.8..right * 1.25).log_scale(),
            (low.min(high) / 2.0..high * 4.0).log_scale(),
        )?;
    chart.configure_mesh().x_desc("nodes").y_label_formatter(&short).x_label_formatter(&short).draw()?;
    for (series, color) in series.iter().zip(COLORS) {
        let line =
            chart.draw_series(LineSeries::new(series.points.iter().copied(), color.stroke_width(2)))?;
        line.label(series.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
        let last = series.points.len().saturating_sub(1);
        chart.draw_series(series.points.iter().enumerate().map(|(at, point)| {
            let is_measured = at != last || !series.is_extrapolated;
            let style = if is_measured { color.filled() } else { color.stroke_width(2) };
            Circle::new(*point, 4, style)
        }))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

/// A number for an axis.
fn short(value: &f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match units.iter().find(|(unit, _)| *value >= *unit * 0.999) {
        Some((unit, name)) => format!("{}{name}", (value / unit * 10.0).round() / 10.0),
        None if *value >= 1.0 => format!("{}", (value * 10.0).round() / 10.0),
        None => format!("{value:.0e}"),
    }
}
