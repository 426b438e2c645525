//! `bluegreen synth`: the template as JSON. Calls nothing.

use crate::cdk::Template;
use crate::error::{Doing, Error, Result};
use crate::stack::{Settings, synthesize};

/// The template of these settings, indented for people and validators.
pub fn pretty(settings: &Settings) -> Result<String> {
    text(&template(settings)?)
}

/// A template, indented for people and validators.
pub fn text(template: &Template) -> Result<String> {
    template.to_pretty_json().doing(|| "write the template".to_owned())
}

/// What whoever reads a template should know: what in it has no Rust type.
pub fn notes(template: &Template) -> Vec<String> {
    let note = |(id, kind)| format!("{id} ({kind}) has no Rust type: nothing has checked its properties");
    template.untyped().map(note).collect()
}

/// CloudFormation takes a template of this many bytes in a call.
pub const TEMPLATE_LIMIT: usize = 51_200;

/// The template of these settings, small for the API; an error where it is too large for it all the same.
pub fn compact(settings: &Settings) -> Result<String> {
    fitting(template(settings)?.to_json().doing(|| "write the template".to_owned())?)
}

fn fitting(body: String) -> Result<String> {
    let size = body.len();
    if size <= TEMPLATE_LIMIT {
        return Ok(body);
    }
    Err(Error::usage(format!("the template is too large: {size} bytes, where CloudFormation takes {TEMPLATE_LIMIT}"))
        .hint("make it smaller: fewer tags, environment variables and secrets; bluegreen synth prints it"))
}

/// The template of these settings.
pub fn template(settings: &Settings) -> Result<Template> {
    synthesize(settings)
        .map_err(|mistakes| mistakes.into_iter().fold(Error::failed("the stack has mistakes"), Error::because))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_no_call_takes_is_refused_with_what_to_do() {
        assert!(fitting("x".repeat(TEMPLATE_LIMIT)).is_ok());
        let error = fitting("x".repeat(TEMPLATE_LIMIT + 1)).unwrap_err();
        assert_eq!(error.kind().exit_code(), 2);
        assert!(error.hints()[0].contains("smaller"), "{error:?}");
    }
}
