//! The template of settings, as it is printed and as it is deployed.

use cfn_kit::Template;
use cfn_kit::limits::{BUCKET_LIMIT, CALL_LIMIT};
use stack::{Settings, synthesize};

use crate::error::{Doing as _, Error, Result};

/// The template of these settings, indented for people and validators.
pub fn pretty(settings: &Settings) -> Result<String> {
    text(&template(settings)?)
}

/// A template, indented for people and validators.
pub fn text(template: &Template) -> Result<String> {
    template.to_pretty_json().doing(|| "write the template".to_owned())
}

/// The template of these settings, compact for the API; an error if it is still too large.
pub fn compact(settings: &Settings) -> Result<String> {
    fitting(written(&template(settings)?)?, BUCKET_LIMIT)
}

/// The beginning of that template, which fits into a call.
pub fn beginning(settings: &Settings) -> Result<String> {
    fitting(written(&stack::beginning(&template(settings)?))?, CALL_LIMIT)
}

fn written(template: &Template) -> Result<String> {
    template.to_json().doing(|| "write the template".to_owned())
}

/// A template as text, if it is not too large; otherwise an error.
pub(crate) fn fitting(text: String, limit: usize) -> Result<String> {
    let size = text.len();
    if size <= limit {
        return Ok(text);
    }
    Err(Error::usage(format!("the template is too large: {size} bytes, and CloudFormation accepts {limit}"))
        .hint("remove tags, environment variables, or secrets; print the template with bluegreen synth"))
}

/// The template of these settings.
pub fn template(settings: &Settings) -> Result<Template> {
    synthesize(settings)
        .map_err(|mistakes| mistakes.into_iter().fold(Error::failed("the stack definition is invalid"), Error::because))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_not_even_a_bucket_gives_is_refused_with_what_to_do() {
        let with_variables = |count: usize| {
            let variable = |number| format!("LONG_{number} = \"{}\"\n", "x".repeat(1000));
            let variables: String = (0..count).map(variable).collect();
            Settings::parse(&format!("[environment]\n{variables}")).unwrap()
        };
        // Each environment's task definition has them all.
        let large = with_variables(400);
        assert!(compact(&large).unwrap().len() > 16 * CALL_LIMIT);
        assert!(beginning(&large).unwrap().len() < CALL_LIMIT);
        let error = compact(&with_variables(500)).unwrap_err();
        assert_eq!(error.kind().exit_code(), 2);
        assert!(error.hints()[0].contains("remove tags"), "{error:?}");
    }
}
