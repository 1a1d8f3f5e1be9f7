//! A graph as SVG: lines over two axes, either of which may be logarithmic.

use std::fmt::Write as _;

/// Of an axis, what it is of and how it is laid out.
pub struct Axis {
    /// With its unit.
    pub title: &'static str,
    /// Where a number stands on it: the values to be named, in order; they also bound it.
    pub marks: Vec<(f64, String)>,
    pub logarithmic: bool,
}

pub struct Line {
    pub name: String,
    /// In the order of `COLOURS`; lines of one colour belong together.
    pub colour: usize,
    pub dashed: bool,
    pub points: Vec<(f64, f64)>,
}

const COLOURS: [&str; 4] = ["#0b6e99", "#b3541e", "#3f7d20", "#7a3e9d"];
const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 420.0;
/// Left, right, top, bottom of the plot.
const PLOT: [f64; 4] = [78.0, 560.0, 52.0, 356.0];

impl Axis {
    /// Where `value` stands between the first mark and the last: 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.log10() } else { value };
        let (first, last) = (self.marks[0].0, self.marks[self.marks.len() - 1].0);
        ((scale(value) - scale(first)) / (scale(last) - scale(first))).clamp(0.0, 1.0)
    }
}

/// A large number as an axis names it.
pub fn count(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}k", value / 1e3),
        _ => value.to_string(),
    }
}

/// The whole document.
pub fn draw(title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let [left, right, top, bottom] = PLOT;
    let across = |value: f64| left + x.place(value) * (right - left);
    let up = |value: f64| bottom - y.place(value) * (bottom - top);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{left}\" y=\"28\" font-size=\"16\">{title}</text>\n"
    );
    let mut add = |element: String| svg.push_str(&element);
    for (value, name) in &y.marks {
        let at = up(*value);
        add(format!("<path d=\"M{left} {at:.1}H{right}\" stroke=\"#ddd\"/>\n"));
        add(format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\n", left - 8.0, at + 4.0));
    }
    for (value, name) in &x.marks {
        let at = across(*value);
        add(format!("<path d=\"M{at:.1} {bottom}v5\" stroke=\"#444\"/>\n"));
        add(format!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>\n", bottom + 20.0));
    }
    add(format!("<path d=\"M{left} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"#444\"/>\n"));
    let (middle, below) = (f64::midpoint(left, right), bottom + 46.0);
    add(format!("<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{}</text>\n", x.title));
    let height = f64::midpoint(top, bottom);
    add(format!(
        "<text x=\"18\" y=\"{height}\" text-anchor=\"middle\" transform=\"rotate(-90 18 {height})\">{}</text>\n",
        y.title
    ));
    for (number, line) in lines.iter().enumerate() {
        add(drawn(line, &across, &up));
        add(legend(line, number));
    }
    svg.push_str("</svg>\n");
    svg
}

fn style(line: &Line) -> String {
    let colour = COLOURS[line.colour % COLOURS.len()];
    let dashes = if line.dashed { " stroke-dasharray=\"6 4\"" } else { "" };
    format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}")
}

fn drawn(line: &Line, across: &dyn Fn(f64) -> f64, up: &dyn Fn(f64) -> f64) -> String {
    let (mut path, mut dots) = (String::new(), String::new());
    for (number, (x, y)) in line.points.iter().enumerate() {
        let (x, y) = (across(*x), up(*y));
        let _ = write!(path, "{}{x:.1} {y:.1}", if number == 0 { 'M' } else { 'L' });
        let colour = COLOURS[line.colour % COLOURS.len()];
        let _ = writeln!(dots, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
    }
    format!("<path d=\"{path}\" {}/>\n{dots}", style(line))
}

fn legend(line: &Line, number: usize) -> String {
    let (x, y) = (PLOT[1] + 18.0, PLOT[2] + 12.0 + 24.0 * number as f64);
    format!(
        "<path d=\"M{x} {}h28\" {}/>\n<text x=\"{}\" y=\"{y}\">{}</text>\n",
        y - 4.0,
        style(line),
        x + 36.0,
        line.name
    )
}
