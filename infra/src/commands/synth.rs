//! `bluegreen synth`: the template as JSON. Calls nothing.

use cfn_kit::Template;

use crate::error::Result;
use crate::session::{Session, print_text};
use crate::synthesis::{template, text};

/// The arguments of `synth`: none.
#[derive(Debug, clap::Args)]
pub struct Args {}

impl Args {
    /// Prints the template, and on standard error what its reader should know.
    pub fn run(&self, session: &Session) -> Result<()> {
        let template = template(&session.context.settings)?;
        print_text(&text(&template)?)?;
        for note in notes(&template) {
            crate::ui::say(&format!("note: {note}\n"));
        }
        Ok(())
    }
}

/// Notes about a template: resources without a Rust type.
pub fn notes(template: &Template) -> Vec<String> {
    let note = |(id, kind)| format!("{id} ({kind}) has no Rust type: its properties are not checked");
    template.untyped().map(note).collect()
}

#[cfg(test)]
mod tests {
    use stack::Settings;

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
}
