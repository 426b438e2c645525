//! Parsers of command-line values that several commands take. Each error says what is accepted.

use std::time::Duration;

use cfn_kit::resources::values::{StackName, UrlPath};
use jiff::SignedDuration;
use stack::values::{ImageName, VersionLabel};

/// A number with a unit, such as `250ms`, `30s`, `10m`, `2h` or `1h 30m`. A number alone is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = text.parse().map_err(|_| "the number is too large".to_owned())?;
        return Ok(Duration::from_secs(seconds));
    }
    let wrong = || "a time must be a number with a unit, such as 250ms, 30s, 10m or 2h".to_owned();
    let duration: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(duration).map_err(|_| "a time must not be negative".to_owned())
}

/// The name of an image, or the path of an archive.
pub fn image(text: &str) -> Result<ImageName, String> {
    ImageName::try_from(text).map_err(|error| error.to_string())
}

/// The name of a stack.
pub fn stack_name(text: &str) -> Result<StackName, String> {
    StackName::try_from(text).map_err(|error| error.to_string())
}

/// The label of a version.
pub fn version(text: &str) -> Result<VersionLabel, String> {
    VersionLabel::try_from(text).map_err(|error| error.to_string())
}

/// The path of a URL.
pub fn path(text: &str) -> Result<UrlPath, String> {
    UrlPath::try_from(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_or_is_seconds() {
        for (text, seconds) in [("30s", 30.0), ("10m", 600.0), ("2h", 7200.0), ("1h 30m", 5400.0), ("5", 5.0)] {
            assert_eq!(duration(text).map(|it| it.as_secs_f64()), Ok(seconds), "{text}");
        }
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for text in ["", "x", "-5s", "ten", "99999999999999999999999"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
