//! The picture as SVG: self-contained, with the light or dark theme of the reader.

use std::fmt::Write as _;

use model::Color;

use super::layout::{Area, Layout, TEXT, Way};
use super::model::{Drawing, Node, Place};

/// The colors of the sample's pages, and the background and text colors of the reports.
const STYLE: &str = "\
svg{--ground:#fff;--raised:#f6f7f9;--edge:#c3c9d3;--text:#1a1f29;--soft:#5a6473;--blue:#09bbe8;--green:#14db95;--to-blue:#0782a3;--to-green:#0b7a48;\
font:11px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}\
@media(prefers-color-scheme:dark){svg{--ground:#11151c;--raised:#1a202a;--edge:#465062;--text:#e8ebf0;--soft:#a3adbb;--to-blue:#09bbe8;--to-green:#14db95}}\
text{fill:var(--text)}.soft{fill:var(--soft)}.title{font-size:13px;font-weight:600}\
.ground{fill:var(--ground)}.box{fill:var(--raised);stroke:var(--edge)}.frame{fill:none;stroke:var(--edge)}.subnets{stroke-dasharray:2 4}\
.bar-blue{fill:var(--blue)}.bar-green{fill:var(--green)}.on-bar{fill:#06222b}\
.line{fill:none;stroke:var(--soft);stroke-width:1.4}.later{stroke-dasharray:5 5}.blue{stroke:var(--to-blue)}.green{stroke:var(--to-green)}.traffic{stroke-width:2.4}\
.label{fill:var(--soft);paint-order:stroke;stroke:var(--ground);stroke-width:4px;stroke-linejoin:round;text-anchor:middle}\
marker path{fill:var(--soft)}#to-blue path{fill:var(--to-blue)}#to-green path{fill:var(--to-green)}";

/// The picture as a separate file.
pub(super) fn write(drawing: &Drawing) -> String {
    let layout = Layout::of(drawing);
    let (width, height) = (layout.width, layout.height);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" aria-label=\"Architecture of the stack\">\n<style>{STYLE}</style>\n<defs>"
    );
    for id in ["to", "to-blue", "to-green"] {
        let _ = write!(
            svg,
            "<marker id=\"{id}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
             markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\"/></marker>"
        );
    }
    svg.push_str("</defs>\n");
    let _ = writeln!(svg, "<rect class=\"ground\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>");
    for (title, area, class) in frames(drawing, &layout) {
        let _ = writeln!(
            svg,
            "{}<text class=\"soft\" x=\"{}\" y=\"{}\">{}</text>",
            rectangle(&area, class),
            area.x + 12,
            area.y + 20,
            escaped(&title)
        );
    }
    layout.ways.iter().for_each(|way| line(&mut svg, drawing, way));
    for node in &drawing.nodes {
        if let Some(area) = layout.areas.get(node.id.as_str()) {
            match node.place {
                Place::Network => {}
                Place::Balancer | Place::Cluster => frame_details(&mut svg, node, area),
                _ => shape(&mut svg, node, area),
            }
        }
    }
    layout.ways.iter().for_each(|way| label(&mut svg, way));
    svg.push_str("</svg>\n");
    svg
}

/// The frames, from the outermost to the innermost.
fn frames(drawing: &Drawing, layout: &Layout<'_>) -> Vec<(String, Area, &'static str)> {
    let of = |place: Place| {
        drawing.at(place).filter_map(move |node| {
            let area = *layout.areas.get(node.id.as_str())?;
            let details = if place == Place::Network { node.details.join(" ") } else { String::new() };
            Some((format!("{} {details}", node.kind).trim_end().to_owned(), area, "frame"))
        })
    };
    let subnets = layout.subnets.iter().map(|frame| (frame.title.to_owned(), frame.area, "frame subnets"));
    of(Place::Network).chain(subnets).chain(of(Place::Balancer)).chain(of(Place::Cluster)).collect()
}

/// The description of a frame, under its boxes.
fn frame_details(svg: &mut String, node: &Node, area: &Area) {
    for (line, detail) in (0..).zip(node.details.iter().rev()) {
        let y = area.bottom() - 10 - TEXT * line;
        let _ = writeln!(svg, "<text class=\"soft\" x=\"{}\" y=\"{y}\">{}</text>", area.x + 16, escaped(detail));
    }
}

fn rectangle(area: &Area, class: &str) -> String {
    format!(
        "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"6\"/>",
        area.x, area.y, area.width, area.height
    )
}

/// A box: title, type, and details. Its tooltip lists all resources that it represents.
fn shape(svg: &mut String, node: &Node, area: &Area) {
    let members = if node.members.is_empty() { node.title.clone() } else { node.members.join(", ") };
    let _ = write!(svg, "<g><title>{}</title>{}", escaped(&members), rectangle(area, "box"));
    if let Some(color) = node.color {
        let _ = write!(
            svg,
            "<path class=\"bar-{color}\" d=\"M{x} {y}m0 24v-18a6 6 0 0 1 6 -6h{wide}a6 6 0 0 1 6 6v18z\"/>",
            x = area.x,
            y = area.y,
            wide = area.width - 12,
        );
    }
    let x = area.x + 12;
    let title = if node.color.is_some() { "title on-bar" } else { "title" };
    let mut say = |class: &str, y: i32, text: &str| {
        let text = escaped(&shortened(text, area.width));
        let _ = write!(svg, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>");
    };
    say(title, area.y + 17, &node.title);
    say("soft", area.y + 38, &node.kind);
    for (number, detail) in (1..).zip(&node.details) {
        say("", area.y + 38 + TEXT * number, detail);
    }
    svg.push_str("</g>\n");
}

fn line(svg: &mut String, drawing: &Drawing, way: &Way<'_>) {
    let place = |id: &str| drawing.node(id).map(|node| node.place);
    let to = drawing.node(&way.line.to).and_then(|node| node.color);
    let from_listener = place(&way.line.from) == Some(Place::Listener);
    let mut class = String::from("line");
    if from_listener || place(&way.line.from) == Some(Place::Internet) {
        class += " traffic";
    }
    if way.line.later {
        class += " later";
    }
    let color = to.filter(|_| from_listener);
    if let Some(color) = color {
        let _ = write!(class, " {color}");
    }
    let marker = match color {
        None => "to",
        Some(Color::Blue) => "to-blue",
        Some(Color::Green) => "to-green",
    };
    let _ = writeln!(svg, "<path class=\"{class}\" d=\"{}\" marker-end=\"url(#{marker})\"/>", way.path);
}

fn label(svg: &mut String, way: &Way<'_>) {
    if !way.line.label.is_empty() {
        let (x, y) = way.label;
        let _ = writeln!(svg, "<text class=\"label\" x=\"{x}\" y=\"{y}\">{}</text>", escaped(&way.line.label));
    }
}

/// The part of a text that fits into a box of this width, by the average width of a letter.
fn shortened(text: &str, width: i32) -> String {
    const LETTER: i32 = 6;
    let room = usize::try_from((width - 20) / LETTER).unwrap_or_default();
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

/// A text, escaped for XML.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            // XML has no way to write most control characters.
            control if control.is_control() => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}
