//! Whether the template of a change set is the intended one: on its way, somebody else may have
//! replaced it.

use aws_sdk_cloudformation::types::TemplateStage;
use serde_json::Value;

use crate::cloud::Cloud;
use crate::error::{Error, Result};
use aws::Calling as _;

/// Refuses a change set of a different template.
pub(super) async fn require(cloud: &Cloud, stack: &str, id: &str, meant: &str) -> Result<()> {
    let answer = cloud
        .cloudformation
        .get_template()
        .stack_name(stack)
        .change_set_name(id)
        .template_stage(TemplateStage::Original)
        .send()
        .await
        .calling(|| format!("read the template of the change set of stack {stack}"))?;
    if is_same(meant, answer.template_body().unwrap_or_default()) {
        return Ok(());
    }
    Err(Error::TemplateReplaced { stack: stack.to_owned() })
}

/// Whether both are the same JSON. CloudFormation gives back a question mark for each character beyond ASCII.
/// <https://github.com/aws/aws-cdk/issues/10523>
fn is_same(meant: &str, read: &str) -> bool {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    let Some(read) = parsed(read) else { return false };
    let ascii: String = meant.chars().map(|letter| if letter.is_ascii() { letter } else { '?' }).collect();
    [parsed(meant), parsed(&ascii)].into_iter().flatten().any(|meant| meant == read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_template_may_be_written_otherwise() {
        for (meant, read, expected) in [
            (r#"{"a":1,"b":[2]}"#, "{ \"b\": [2],\n \"a\": 1 }", true),
            (r#"{"a":"ü"}"#, r#"{"a":"ü"}"#, true),
            (r#"{"a":"ü"}"#, r#"{"a":"?"}"#, true),
            (r#"{"a":"u"}"#, r#"{"a":"?"}"#, false),
            (r#"{"a":1}"#, r#"{"a":1,"Backdoor":{}}"#, false),
            (r#"{"a":1}"#, "", false),
            (r#"{"a":1}"#, "a: 1", false),
        ] {
            assert_eq!(is_same(meant, read), expected, "{meant} {read}");
        }
    }
}
