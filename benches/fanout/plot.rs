//! A plot with two logarithmic axes, as SVG: what the scene `growth` has to show, and no more.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
/// Room for numbers and labels.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;

/// Told apart by those who see few colours, too (Okabe and Ito), and by the form of the marks' line.
const STYLES: [(&str, &str); 3] = [("#0072b2", "none"), ("#d55e00", "8 3"), ("#555555", "2 3")];

/// One configuration.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// Both coordinates above zero, from left to right.
    pub(crate) points: Vec<(f64, f64)>,
}

/// What is drawn.
pub(crate) struct Plot {
    pub(crate) title: String,
    /// Label of the axis, with its unit.
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) lines: Vec<Line>,
}

impl Plot {
    pub(crate) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let across = Axis::around(points().map(|point| point.0), LEFT, WIDTH - RIGHT);
        let up = Axis::around(points().map(|point| point.1), HEIGHT - BOTTOM, TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
            font-family=\"sans-serif\" font-size=\"12\">\n\
            <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
        );
        self.draw_axes(&mut svg, &across, &up);
        for (place, line) in self.lines.iter().enumerate() {
            let (colour, dashes) = STYLES[place % STYLES.len()];
            let stroke = format!("stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"");
            let path: Vec<_> = line
                .points
                .iter()
                .map(|point| format!("{:.1},{:.1}", across.place(point.0), up.place(point.1)))
                .collect();
            push(&mut svg, &format!("<polyline fill=\"none\" {stroke} points=\"{}\"/>", path.join(" ")));
            for point in &line.points {
                let (x, y) = (across.place(point.0), up.place(point.1));
                push(&mut svg, &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"));
            }
            // Names stand where no line is: on the left above lines that rise.
            let x = if self.rises() { LEFT + 16.0 } else { WIDTH - RIGHT - 180.0 };
            let y = TOP + 16.0 + 18.0 * f64::from(u32::try_from(place).unwrap_or(0));
            push(&mut svg, &format!("<path d=\"M{x} {y} h30\" {stroke}/>"));
            push(&mut svg, &text(x + 38.0, y + 4.0, "start", line.name));
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// Whether the first line ends above its beginning.
    fn rises(&self) -> bool {
        let points = self.lines.first().map(|line| &line.points[..]).unwrap_or_default();
        points.first().zip(points.last()).is_some_and(|(first, last)| first.1 < last.1)
    }

    fn draw_axes(&self, svg: &mut String, across: &Axis, up: &Axis) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for value in across.ticks() {
            let x = across.place(value);
            push(svg, &format!("<path d=\"M{x:.1} {TOP} V{bottom}\" stroke=\"#dddddd\"/>"));
            push(svg, &text(x, bottom + 18.0, "middle", &value.to_string()));
        }
        for value in up.ticks() {
            let y = up.place(value);
            push(svg, &format!("<path d=\"M{LEFT} {y:.1} H{right}\" stroke=\"#dddddd\"/>"));
            push(svg, &text(LEFT - 8.0, y + 4.0, "end", &value.to_string()));
        }
        push(svg, &format!("<path d=\"M{LEFT} {TOP} V{bottom} H{right}\" fill=\"none\" stroke=\"black\"/>"));
        push(svg, &text(WIDTH / 2.0, 26.0, "middle", &self.title));
        push(svg, &text((LEFT + right) / 2.0, HEIGHT - 16.0, "middle", &self.x));
        let y = (TOP + bottom) / 2.0;
        let label = format!(
            "<text x=\"20\" y=\"{y}\" text-anchor=\"middle\" transform=\"rotate(-90 20 {y})\">{}</text>",
            self.y
        );
        push(svg, &label);
    }
}

/// A logarithmic axis.
struct Axis {
    least: f64,
    most: f64,
    start: f64,
    end: f64,
}

impl Axis {
    /// Over these values, up to the ticks around them, between two places of the picture.
    fn around(values: impl Iterator<Item = f64> + Clone, start: f64, end: f64) -> Self {
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(0.0, f64::max);
        assert!(least > 0.0 && most.is_finite(), "a logarithmic axis has values above zero");
        let below = all_ticks().filter(|tick| *tick <= least).last().unwrap_or(least);
        let above = all_ticks().find(|tick| *tick >= most && *tick > below).unwrap_or(most);
        Self { least: below, most: above, start, end }
    }

    fn place(&self, value: f64) -> f64 {
        let part = (value / self.least).ln() / (self.most / self.least).ln();
        self.start + part * (self.end - self.start)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        all_ticks().filter(|tick| (self.least..=self.most).contains(tick))
    }
}

/// 1, 2, 5, 10, ... to a million.
fn all_ticks() -> impl Iterator<Item = f64> {
    (0..=6).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)))
}

fn text(x: f64, y: f64, anchor: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>")
}

fn push(svg: &mut String, element: &str) {
    let _ = writeln!(svg, "{element}");
}
