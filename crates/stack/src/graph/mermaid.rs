//! The picture as a Mermaid flowchart, for pages that are Markdown.

use std::fmt::Write as _;

use super::model::{Drawing, Node, Place};

/// The picture as the text of a Mermaid block.
pub(super) fn write(drawing: &Drawing) -> String {
    let mut text = String::from("flowchart LR\n");
    boxes(&mut text, drawing, Place::Internet, 1);
    let network = drawing.at(Place::Network).next();
    open(&mut text, 1, "network", &network.map(heading).unwrap_or_default());
    open(&mut text, 2, "public", "Public subnets");
    boxes(&mut text, drawing, Place::Public, 3);
    frame(&mut text, drawing, Place::Balancer, Place::Listener);
    if drawing.private_tasks {
        text.push_str("    end\n");
        open(&mut text, 2, "private", "Private subnets");
    }
    frame(&mut text, drawing, Place::Cluster, Place::Environment);
    boxes(&mut text, drawing, Place::Private, 3);
    text.push_str("    end\n  end\n");
    boxes(&mut text, drawing, Place::Control, 1);
    boxes(&mut text, drawing, Place::Store, 1);
    for line in &drawing.lines {
        let label = if line.label.is_empty() { String::new() } else { format!("|{}|", quoted(&line.label)) };
        let arrow = if line.later { "-.->" } else { "-->" };
        let _ = writeln!(text, "  {} {arrow}{label} {}", line.from, line.to);
    }
    text.push_str("  classDef blue fill:#09bbe8,stroke:#0782a3,color:#06222b\n");
    text.push_str("  classDef green fill:#14db95,stroke:#0b7a48,color:#06222b\n");
    for node in &drawing.nodes {
        if let Some(color) = node.color {
            let _ = writeln!(text, "  class {} {color}", node.id);
        }
    }
    text
}

fn open(text: &mut String, depth: usize, id: &str, title: &str) {
    let _ = writeln!(text, "{}subgraph {id} [{}]", "  ".repeat(depth), quoted(title));
}

/// A frame with its boxes.
fn frame(text: &mut String, drawing: &Drawing, place: Place, around: Place) {
    let Some(node) = drawing.at(place).next() else { return };
    open(text, 3, &node.id, &heading(node));
    boxes(text, drawing, around, 4);
    text.push_str("      end\n");
}

fn boxes(text: &mut String, drawing: &Drawing, place: Place, depth: usize) {
    for node in drawing.at(place) {
        let lines: Vec<&str> = [&node.title, &node.kind].into_iter().chain(&node.details).map(String::as_str).collect();
        let _ = writeln!(text, "{}{}[{}]", "  ".repeat(depth), node.id, quoted(&lines.join("\n")));
    }
}

fn heading(node: &Node) -> String {
    [&node.kind].into_iter().chain(&node.details).map(String::as_str).collect::<Vec<_>>().join(" · ")
}

/// A text in quotes, as Mermaid expects it.
fn quoted(text: &str) -> String {
    let mut safe = String::from("\"");
    for character in text.chars() {
        match character {
            '\n' => safe += "<br>",
            '"' => safe += "#quot;",
            '#' => safe += "#35;",
            '&' => safe += "#amp;",
            '<' => safe += "#lt;",
            '>' => safe += "#gt;",
            control if control.is_control() => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe + "\""
}
