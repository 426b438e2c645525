//! `bluegreen synth`: the template as JSON. Calls nothing.

use crate::error::{Doing, Error, Result};
use cfn_kit::Template;
use cfn_kit::limits::{BUCKET_LIMIT, CALL_LIMIT};
use stack::{self, Settings, synthesize};

use crate::session::{Session, print_text};

/// The arguments of `synth`: none.
#[derive(Debug, clap::Args)]
pub struct Args {}

impl Args {
    /// Prints the template, and on standard error what its reader should know.
    pub fn run(&self, session: &Session) -> Result<()> {
        let template = template(&session.context.settings)?;
        print_text(&text(&template)?)?;
        for note in notes(&template) {
            eprintln!("note: {note}");
        }
        Ok(())
    }
}

/// The template of these settings, indented for people and validators.
pub fn pretty(settings: &Settings) -> Result<String> {
    text(&template(settings)?)
}

/// A template, indented for people and validators.
pub fn text(template: &Template) -> Result<String> {
    template.to_pretty_json().doing(|| "write the template".to_owned())
}

/// Notes about a template: resources without a Rust type.
pub fn notes(template: &Template) -> Vec<String> {
    let note = |(id, kind)| format!("{id} ({kind}) has no Rust type: its properties are not checked");
    template.untyped().map(note).collect()
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

pub(super) fn fitting(text: String, limit: usize) -> Result<String> {
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
    fn what_has_no_type_is_noted() {
        let extend = |stack: &mut cfn_kit::Stack, _: &stack::Built<'_>| {
            stack.add_untyped("Orders", "AWS::SQS::Queue", serde_json::json!({}));
        };
        let extended = Settings { extension: stack::Extension::new(extend), ..Settings::default() };
        assert_eq!(
            notes(&template(&extended).unwrap()),
            ["Orders (AWS::SQS::Queue) has no Rust type: its properties are not checked"]
        );
        assert_eq!(notes(&template(&Settings::default()).unwrap()), Vec::<String>::new());
    }

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
