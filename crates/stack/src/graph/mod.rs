//! The architecture as a picture. It is drawn only from a synthesized template, so it shows exactly what the template
//! contains.

mod describe;
mod layout;
mod mermaid;
mod model;
mod roles;
mod svg;
mod wires;

pub use model::{Drawing, Line, Node, Place};

use cfn_kit::Template;

/// How a picture is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Format {
    /// A separate picture, for light and dark themes.
    Svg,
    /// A diagram for Markdown pages.
    Mermaid,
}

/// The picture of a template.
pub fn render(template: &Template, format: Format) -> String {
    let drawing = Drawing::of(template);
    match format {
        Format::Svg => svg::write(&drawing),
        Format::Mermaid => mermaid::write(&drawing),
    }
}
