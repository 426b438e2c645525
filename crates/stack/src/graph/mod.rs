//! The architecture as a picture, drawn from a synthesized template and from nothing else: what is in the template is in
//! the picture, and what is not is not.

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
    /// A picture of its own, in light and dark.
    Svg,
    /// A diagram that Markdown pages can hold.
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
