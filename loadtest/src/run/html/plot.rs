//! Plots as SVG, coloured by the page's style.
//!
//! Unit: user units of the picture, `WIDTH` by `HEIGHT`. What is not finite is left out.

use std::fmt::Write as _;

use super::escape;

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;
/// Colours that the style has.
const COLOURS: usize = 8;

/// A line with its name.
#[derive(Clone, Debug)]
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    pub(super) points: Vec<(f64, f64)>,
}

/// How values become heights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// From 0.
    Linear,
    /// By powers of ten.
    Log,
}

/// What stands around a plot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) unit: &'a str,
    pub(super) x_unit: &'a str,
    pub(super) scale: Scale,
}

/// An axis: where it begins and ends, and what is written beside it.
#[derive(Clone, Debug, PartialEq)]
struct Axis {
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Axis {
    /// From 0 to `most`, with ticks at 1, 2 or 5 times a power of ten.
    fn linear(most: f64) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let power = 10_f64.powf((most / 4.0).log10().floor());
        let fits = |step: &f64| most / step <= 5.0;
        let step = [1.0, 2.0, 5.0, 10.0].map(|one| one * power).into_iter().find(fits);
        let step = step.unwrap_or(10.0 * power);
        let count = (most / step).ceil();
        let ticks = counted(count).map(|tick| tick * step).collect();
        Self { low: 0.0, high: count * step, ticks }
    }

    /// Whole powers of ten around what is there, as logarithms.
    fn log(least: f64, most: f64) -> Self {
        let least = if least.is_finite() && least > 0.0 { least } else { 1.0 };
        let (low, high) = (least.log10().floor(), most.max(least).log10().ceil());
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, ticks: counted(high - low).map(|tick| low + tick).collect() }
    }

    /// 0 at its beginning, 1 at its end.
    fn share(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

impl Chart<'_> {
    /// Lines over a continuous axis that begins at 0.
    pub(super) fn lines(&self, series: &[Series<'_>]) -> String {
        let along = Axis::linear(largest(series, |point| point.0));
        let labels: Vec<_> = along.ticks.iter().map(|tick| (*tick, number(*tick))).collect();
        self.drawn(series, &along, &labels)
    }

    /// Lines over places with names.
    pub(super) fn steps(&self, series: &[Series<'_>], places: &[&str]) -> String {
        let last = (places.len().max(2) - 1) as f64;
        let along = Axis { low: 0.0, high: last, ticks: Vec::new() };
        let names = places.iter().enumerate();
        let labels: Vec<_> = names.map(|(at, name)| (at as f64, (*name).to_owned())).collect();
        self.drawn(series, &along, &labels)
    }

    /// A bar for each value, by its number.
    pub(super) fn bars(&self, values: &[f64]) -> String {
        let up = Axis::linear(values.iter().copied().fold(0.0, f64::max));
        let mut out = self.begin(&up);
        let room = (WIDTH - LEFT - RIGHT) / values.len().max(1) as f64;
        let step = values.len().div_ceil(16).max(1);
        for (place, value) in values.iter().enumerate() {
            let (x, height) = (LEFT + place as f64 * room, up.share(*value) * plot_height());
            let (y, width) = (TOP + plot_height() - height, room * 0.7);
            let at = x + room * 0.15;
            push(
                &mut out,
                format_args!(
                    "<rect x=\"{at:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
                     rx=\"2\" style=\"fill:var(--c0)\"/>"
                ),
            );
            if place % step == 0 {
                label_below(&mut out, x + room / 2.0, &place.to_string());
            }
        }
        self.end(out, &[])
    }

    fn drawn(&self, series: &[Series<'_>], along: &Axis, labels: &[(f64, String)]) -> String {
        let up = match self.scale {
            Scale::Linear => Axis::linear(largest(series, |point| point.1)),
            Scale::Log => {
                let positive = |value: &f64| value.is_finite() && *value > 0.0;
                let values = series.iter().flat_map(|one| &one.points).map(|point| point.1);
                let least = values.filter(positive).fold(f64::INFINITY, f64::min);
                Axis::log(least, largest(series, |point| point.1))
            }
        };
        let mut out = self.begin(&up);
        let x_of = |value: f64| LEFT + along.share(value) * (WIDTH - LEFT - RIGHT);
        for (at, name) in labels {
            label_below(&mut out, x_of(*at), name);
        }
        for (place, one) in series.iter().enumerate() {
            let spots = one.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
            let spots: Vec<String> = spots
                .map(|(x, y)| format!("{:.1},{:.1}", x_of(*x), self.height_of(*y, &up)))
                .collect();
            let colour = place % COLOURS;
            push(
                &mut out,
                format_args!(
                    "<polyline class=\"line\" style=\"stroke:var(--c{colour})\" points=\"{}\"/>",
                    spots.join(" ")
                ),
            );
        }
        let names: Vec<&str> = series.iter().map(|one| one.name).collect();
        self.end(out, &names)
    }

    fn height_of(&self, value: f64, up: &Axis) -> f64 {
        let value = match self.scale {
            Scale::Linear => value,
            Scale::Log if value > 0.0 => value.log10(),
            Scale::Log => up.low,
        };
        TOP + (1.0 - up.share(value)) * plot_height()
    }

    fn begin(&self, up: &Axis) -> String {
        let mut out = format!(
            "<figure><figcaption>{}<small>{}</small></figcaption>\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}, {1}\">",
            escape(self.title),
            escape(self.unit)
        );
        for tick in &up.ticks {
            let y = TOP + (1.0 - up.share(*tick)) * plot_height();
            let value = if self.scale == Scale::Log { 10_f64.powf(*tick) } else { *tick };
            push(
                &mut out,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                     <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    WIDTH - RIGHT,
                    LEFT - 6.0,
                    y + 4.0,
                    number(value)
                ),
            );
        }
        let (x, y) = (WIDTH - RIGHT, HEIGHT - 3.0);
        let unit = escape(self.x_unit);
        push(&mut out, format_args!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{unit}</text>"));
        out
    }

    /// The end of the picture; names where there are several.
    fn end(&self, mut out: String, names: &[&str]) -> String {
        out.push_str("</svg>");
        if names.len() > 1 {
            out.push_str("<div class=\"legend\">");
            for (place, name) in names.iter().enumerate() {
                let (colour, name) = (place % COLOURS, escape(name));
                let mark = format_args!("<i style=\"background:var(--c{colour})\"></i>");
                push(&mut out, format_args!("<span>{mark}{name}</span>"));
            }
            out.push_str("</div>");
        }
        out + "</figure>"
    }
}

/// 0, 1 and on to `last`.
fn counted(last: f64) -> impl Iterator<Item = f64> {
    std::iter::successors(Some(0.0), move |tick| Some(tick + 1.0).filter(|next| *next <= last))
}

fn plot_height() -> f64 {
    HEIGHT - TOP - BOTTOM
}

fn label_below(out: &mut String, x: f64, text: &str) {
    let y = HEIGHT - BOTTOM + 16.0;
    let text = escape(text);
    push(out, format_args!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{text}</text>"));
}

fn push(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("memory takes every write");
}

fn largest(series: &[Series<'_>], of: impl Fn(&(f64, f64)) -> f64) -> f64 {
    let values = series.iter().flat_map(|one| &one.points).map(of);
    values.filter(|value| value.is_finite()).fold(0.0, f64::max)
}

/// A tick's value, short.
fn number(value: f64) -> String {
    match value {
        _ if value >= 1_000_000.0 => format!("{}M", trimmed(value / 1_000_000.0)),
        _ if value >= 1_000.0 => format!("{}k", trimmed(value / 1_000.0)),
        _ => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_beyond_what_is_there() {
        for (most, high, count) in
            [(7.3, 8.0, 5), (100.0, 100.0, 6), (0.031, 0.04, 5), (123_456.0, 150_000.0, 4)]
        {
            let axis = Axis::linear(most);
            assert!((axis.high - high).abs() < high * 1e-9, "{most}: {axis:?}");
            assert_eq!(axis.ticks.len(), count, "{most}: {axis:?}");
        }
        for senseless in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Axis::linear(senseless).low, 0.0);
            assert!(Axis::linear(senseless).high > 0.0);
        }
        assert_eq!(
            Axis::log(0.5, 90.0),
            Axis { low: -1.0, high: 2.0, ticks: vec![-1., 0., 1., 2.] }
        );
        assert_eq!(Axis::log(f64::INFINITY, 0.0).ticks.len(), 2);
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.25, 12.0, 1_500.0, 2_000_000.0].map(number);
        assert_eq!(shown, ["0", "0.25", "12", "1.5k", "2M"]);
    }

    #[test]
    fn a_line_goes_from_corner_to_corner_and_skips_what_is_no_number() {
        let chart = Chart { title: "a<b", unit: "u", x_unit: "s", scale: Scale::Linear };
        let points = vec![(0.0, 0.0), (5.0, f64::NAN), (10.0, 10.0)];
        let drawn = chart.lines(&[Series { name: "x", points }]);
        let corners =
            format!("points=\"{LEFT:.1},{:.1} {:.1},{TOP:.1}\"", HEIGHT - BOTTOM, WIDTH - RIGHT);
        assert!(drawn.contains(&corners), "{drawn}");
        assert!(drawn.contains("a&lt;b") && !drawn.contains("NaN"));
    }
}
