//! What every chart of a report is drawn with: two widths, margins, and how long a label is.

use unicode_width::UnicodeWidthStr as _;

/// For which width a chart is made. Text keeps its size, so a narrow chart is not a small wide one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A desktop or paper.
    Wide,
    /// A phone.
    Narrow,
}

impl Layout {
    /// Its width.
    pub const fn width(self) -> f64 {
        match self {
            Self::Wide => 960.0,
            Self::Narrow => 400.0,
        }
    }

    /// Its name, also of its class in the style sheet.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Narrow => "narrow",
        }
    }
}

/// Room left of the plot: numbers and the axis' title.
pub const LEFT: f64 = 62.0;
/// Room right of it.
pub const RIGHT: f64 = 14.0;
/// Room below it: numbers and the axis' title.
pub const BELOW: f64 = 46.0;
/// Width of a character of a label, about.
const CHARACTER: f64 = 7.2;

/// Width of a label, about.
#[expect(clippy::cast_precision_loss, reason = "labels are short")]
pub fn width_of(text: &str) -> f64 {
    text.width() as f64 * CHARACTER
}

/// One decimal: a tenth of a pixel.
pub fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
