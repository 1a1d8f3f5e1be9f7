//! Charts as inline SVG, each with its content in words.
//!
//! In: values by interval. Out: a `figure`. Invariants: no script, no style attribute (the content security policy forbids both); colours
//! come from the style sheet, so that they fit light and dark; two series differ in form and in colour; the description of the picture has
//! its content, for readers who do not see it.
//!
//! Why not `plotters` 0.3: its SVG backend writes a fixed colour and no class into each element, so that a style sheet cannot tell the
//! series apart, nor fit them to a dark page.

use super::format;
use crate::domain::Timestamp;
use crate::series::TimeSeries;
use maud::{Markup, PreEscaped, html};
use std::fmt::Write as _;
use std::time::Duration;

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 132.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = 354.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 112.0;

/// The form of a series in a chart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SeriesForm {
    Bars,
    Line,
    DashedLine,
}

/// One series of a chart. A `None` is a gap.
struct ChartSeries<'a> {
    name: &'a str,
    form: SeriesForm,
    values: Vec<Option<f64>>,
}

/// The content of a chart.
struct Chart<'a> {
    id: &'a str,
    title: &'a str,
    series: Vec<ChartSeries<'a>>,
    /// A value in words.
    value: fn(f64) -> String,
    /// Whether the sum of all intervals has a meaning.
    summed: bool,
}

/// The charts of these series.
pub(super) fn charts(series: &TimeSeries) -> Markup {
    // A line along the bottom, where nothing happened, would only distract.
    let value = |count: &u64| Some(*count).filter(|count| *count > 0).map(float);
    let counts = |name, form, counts: &[u64]| ChartSeries { name, form, values: counts.iter().map(value).collect() };
    let of_counts = |id, title, series| Chart { id, title, series, value: format::short, summed: true };
    let charts = [
        of_counts(
            "events",
            "Events",
            vec![
                counts("accepted", SeriesForm::Bars, &series.accepted),
                counts("delivered", SeriesForm::Line, &series.delivered),
            ],
        ),
        of_counts(
            "not-delivered",
            "Not delivered",
            vec![
                counts("refused at receipt", SeriesForm::Bars, &series.refused),
                counts("dead letters", SeriesForm::DashedLine, &series.failed),
            ],
        ),
        of_counts(
            "calls",
            "Calls to Refersion",
            vec![
                counts("calls", SeriesForm::Bars, &series.calls),
                counts("attempts to be retried", SeriesForm::DashedLine, &series.retried),
            ],
        ),
        Chart {
            id: "latency",
            title: "Time of a call",
            series: vec![
                ChartSeries { name: "median", form: SeriesForm::Line, values: series.latency_p50.clone() },
                ChartSeries {
                    name: "99th percentile",
                    form: SeriesForm::DashedLine,
                    values: series.latency_p99.clone(),
                },
            ],
            value: format::latency,
            summed: false,
        },
    ];
    html! { div.charts { @for chart in &charts { (figure(chart, series)) } } }
}

fn figure(chart: &Chart<'_>, series: &TimeSeries) -> Markup {
    let highest = chart.series.iter().flat_map(|drawn| &drawn.values).flatten().copied().fold(0.0, f64::max);
    let top = nice(highest);
    let (title, description) = (format!("{}-title", chart.id), format!("{}-description", chart.id));
    html! {
        figure {
            figcaption {
                h3 { (chart.title) }
                @for drawn in &chart.series { (legend(drawn)) }
            }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-labelledby={ (title) " " (description) } {
                title id=(title) { (chart.title) }
                desc id=(description) { (in_words(chart, series)) }
                path.grid d=(format!("M{LEFT} {TOP}H{RIGHT}M{LEFT} {middle}H{RIGHT}M{LEFT} {BOTTOM}H{RIGHT}", middle = f64::midpoint(TOP, BOTTOM))) {}
                text.tick x=(LEFT - 5.0) y=(TOP + 4.0) text-anchor="end" { ((chart.value)(top)) }
                text.tick x=(LEFT - 5.0) y=(BOTTOM) text-anchor="end" { "0" }
                (hours(series))
                @for drawn in &chart.series {
                    @if drawn.form == SeriesForm::Bars { (bars(drawn, top, chart, series)) } @else { (line(drawn, top)) }
                }
            }
        }
    }
}

/// The name of a series beside a sample of its form.
fn legend(drawn: &ChartSeries<'_>) -> Markup {
    html! {
        span.legend {
            svg viewBox="0 0 18 9" aria-hidden="true" {
                @if drawn.form == SeriesForm::Bars { rect.bars x="2" y="0" width="14" height="9" {} }
                @else { path class=(class(drawn.form)) d="M0 5H18" {} }
            }
            (drawn.name)
        }
    }
}

/// Three moments below the chart: its beginning, its middle, and its end.
fn hours(series: &TimeSeries) -> Markup {
    let length = Duration::from_secs(series.interval_seconds);
    let intervals = u32::try_from(series.accepted.len()).unwrap_or(u32::MAX);
    let at = |interval: u32| format::clock(series.from.after(length * interval));
    html! {
        text.tick x=(LEFT) y=(HEIGHT - 6.0) { (at(0)) }
        text.tick x=(f64::midpoint(LEFT, RIGHT)) y=(HEIGHT - 6.0) text-anchor="middle" { (at(intervals / 2)) }
        text.tick x=(RIGHT) y=(HEIGHT - 6.0) text-anchor="end" { (at(intervals.saturating_sub(1))) " UTC" }
    }
}

fn bars(drawn: &ChartSeries<'_>, top: f64, chart: &Chart<'_>, series: &TimeSeries) -> Markup {
    let step = step(drawn.values.len());
    let values =
        drawn.values.iter().enumerate().filter_map(|(index, value)| Some((index, value.filter(|v| *v > 0.0)?)));
    html! {
        g.bars {
            @for (index, value) in values {
                rect x=(tenth(x(index, step))) y=(tenth(y(value, top))) width=(tenth((step - 1.0).max(0.8)))
                    height=(tenth(BOTTOM - y(value, top))) {
                    title { (format::clock(start(series, index))) ": " ((chart.value)(value)) " " (drawn.name) }
                }
            }
        }
    }
}

fn line(drawn: &ChartSeries<'_>, top: f64) -> Markup {
    let (step, mut path, mut drawing) = (step(drawn.values.len()), String::new(), false);
    for (index, value) in drawn.values.iter().enumerate() {
        let Some(value) = value else {
            drawing = false;
            continue;
        };
        let (x, y) = (x(index, step), y(*value, top));
        // Err: writing to a `String` does not fail.
        let _ = if drawing { write!(path, "V{y:.1}") } else { write!(path, "M{x:.1} {y:.1}") };
        let _ = write!(path, "H{:.1}", x + step);
        drawing = true;
    }
    html! { path class=(class(drawn.form)) d=(PreEscaped(path)) {} }
}

fn class(form: SeriesForm) -> &'static str {
    match form {
        SeriesForm::Bars => "bars",
        SeriesForm::Line => "line-a",
        SeriesForm::DashedLine => "line-b",
    }
}

/// A description of the chart: a sentence for each series.
fn in_words(chart: &Chart<'_>, series: &TimeSeries) -> String {
    let sentences = chart.series.iter().map(|drawn| {
        let moment_of = |value: &(usize, f64)| format::clock(start(series, value.0));
        let values = drawn.values.iter().enumerate().filter_map(|(index, value)| Some((index, (*value)?)));
        let highest = values.max_by(|one, other| one.1.total_cmp(&other.1)).filter(|(_, value)| *value > 0.0);
        let Some(highest) = highest else { return format!("{}: none.", drawn.name) };
        let most = format!("at most {} in an interval, at {} UTC", (chart.value)(highest.1), moment_of(&highest));
        if !chart.summed {
            return format!("{}: {most}.", drawn.name);
        }
        let sum: f64 = drawn.values.iter().flatten().sum();
        format!("{}: {} in all, {most}.", drawn.name, (chart.value)(sum))
    });
    sentences.collect::<Vec<_>>().join(" ")
}

fn start(series: &TimeSeries, index: usize) -> Timestamp {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    series.from.after(Duration::from_secs(series.interval_seconds) * index)
}

/// The end of an axis: the next round number.
fn nice(highest: f64) -> f64 {
    if highest <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(highest.log10().floor());
    let steps = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|end| *end >= highest).unwrap_or(highest)
}

/// The width of an interval.
fn step(intervals: usize) -> f64 {
    (RIGHT - LEFT) / float(intervals.max(1) as u64)
}

fn x(index: usize, step: f64) -> f64 {
    LEFT + step * float(index as u64)
}

fn y(value: f64, top: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * (value / top).clamp(0.0, 1.0)
}

fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Above four billion, a chart shows four billion.
fn float(number: u64) -> f64 {
    u32::try_from(number).unwrap_or(u32::MAX).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(accepted: &[u64], latency: &[Option<f64>]) -> TimeSeries {
        let zeros = vec![0; accepted.len()];
        TimeSeries {
            from: Timestamp(0),
            interval_seconds: 60,
            accepted: accepted.to_vec(),
            delivered: zeros.clone(),
            ignored: zeros.clone(),
            failed: zeros.clone(),
            refused: zeros.clone(),
            retried: zeros.clone(),
            calls: zeros,
            latency_p50: latency.to_vec(),
            latency_p99: latency.to_vec(),
        }
    }

    #[test]
    fn a_chart_is_also_described_in_words() {
        let drawn = charts(&series(&[0, 1_500, 3], &[None, Some(0.12), None])).into_string();
        for expected in [
            "accepted: 1.5k in all, at most 1.5k in an interval, at 00:01 UTC.",
            "delivered: none.",
            "median: at most 120 ms in an interval, at 00:01 UTC.",
            "<title>00:02: 3 accepted</title>",
        ] {
            assert!(drawn.contains(expected), "{expected} is not in {drawn}");
        }
        assert!(!drawn.contains("style="), "the content security policy forbids it");
    }

    #[test]
    fn a_line_has_a_gap_where_there_is_no_value() {
        let drawn =
            ChartSeries { name: "", form: SeriesForm::Line, values: vec![Some(1.0), Some(0.5), None, Some(0.0)] };
        let path = line(&drawn, 1.0).into_string();
        assert_eq!(path, r#"<path class="line-a" d="M50.0 10.0H126.0V61.0H202.0M278.0 112.0H354.0"></path>"#);
    }

    #[test]
    fn an_axis_ends_at_a_round_number() {
        for (highest, end) in [
            (0.0, 1.0),
            (1.0, 1.0),
            (3.5, 4.0),
            (12.0, 15.0),
            (501.0, 600.0),
            (0.12, 0.15),
            (20_008.0, 25_000.0),
            (9.1, 10.0),
        ] {
            assert!((nice(highest) - end).abs() < 1e-9, "{highest}");
        }
    }

    #[test]
    fn charts_without_a_value_or_an_interval_are_drawn() {
        for accepted in [&[][..], &[0, 0]] {
            assert!(charts(&series(accepted, &[])).into_string().contains("accepted: none."));
        }
    }
}
