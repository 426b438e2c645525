//! `bluegreen synth`: the template as JSON. Calls nothing.

use crate::error::{Doing, Error, Result};
use crate::stack::{Settings, synthesize};

/// The template of these settings, indented for people and validators.
pub fn pretty(settings: &Settings) -> Result<String> {
    template(settings)?.to_pretty_json().doing(|| "write the template".to_owned())
}

/// The template of these settings, small for the API.
pub fn compact(settings: &Settings) -> Result<String> {
    template(settings)?.to_json().doing(|| "write the template".to_owned())
}

/// The template of these settings.
pub(super) fn template(settings: &Settings) -> Result<crate::cdk::Template> {
    synthesize(settings)
        .map_err(|mistakes| mistakes.into_iter().fold(Error::failed("the stack has mistakes"), Error::because))
}
