//! Change sets with a fake AWS: reading, comparison, and lost responses.

use std::sync::{Arc, Mutex};

use deploy::{ChangeSet, Parameters, Source};
use infra::error::Kind;

use crate::engine::fake_aws::{Answer, Call, serve};
use crate::engine::world::cloud;

const ARN: &str = "arn:aws:cloudformation:us-east-1:000000000000:changeSet/x/1";
const TEMPLATE: &str = r#"{"Resources":{"Bucket":{"Type":"AWS::S3::Bucket"}}}"#;
/// The template with which another user replaced it.
const POISONED: &str = r#"{"Resources":{"Bucket":{"Type":"AWS::S3::Bucket"},"Backdoor":{"Type":"AWS::IAM::Role"}}}"#;

/// The behavior of one change set.
#[derive(Clone)]
struct Script {
    /// The template that CloudFormation read.
    read: &'static str,
    /// Whether the response to the first `CreateChangeSet` is lost.
    create_is_lost: bool,
    /// Whether there is no change set although the name is in use.
    is_gone: bool,
    /// Whether the response to the first `ExecuteChangeSet` is lost.
    execute_is_lost: bool,
    execution: &'static str,
    status: &'static str,
    reason: &'static str,
    /// The failed events; none if access is denied.
    events: Option<&'static str>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            read: TEMPLATE,
            create_is_lost: false,
            is_gone: false,
            execute_is_lost: false,
            execution: "AVAILABLE",
            status: "CREATE_COMPLETE",
            reason: "",
            events: None,
            calls: Arc::default(),
        }
    }
}

impl Script {
    fn serve(&self) -> String {
        let script = self.clone();
        serve(move |call| {
            script.calls.lock().unwrap().push(call.clone());
            script.answer(call)
        })
    }

    fn answer(&self, call: &Call) -> Answer {
        match call.action.as_str() {
            "CreateChangeSet" if self.create_is_lost => Answer::Error(400, "AlreadyExistsException", "it exists"),
            "CreateChangeSet" => Answer::Xml(format!("<Id>{ARN}</Id>")),
            "DescribeChangeSet" if self.is_gone => Answer::Error(404, "ChangeSetNotFound", "it does not exist"),
            "DescribeChangeSet" => Answer::Xml(self.description(call.says("IncludePropertyValues=true"))),
            "DescribeEvents" => match self.events {
                Some(events) => Answer::Xml(format!("<OperationEvents>{events}</OperationEvents>")),
                None => Answer::Error(403, "AccessDenied", "you may not read events"),
            },
            "GetTemplate" => Answer::Xml(format!("<TemplateBody>{}</TemplateBody>", self.read.replace('"', "&quot;"))),
            "ExecuteChangeSet" if self.execute_is_lost => Answer::Error(400, "InvalidChangeSetStatus", "it runs"),
            _ => Answer::Xml(String::new()),
        }
    }

    fn description(&self, values: bool) -> String {
        let change = |id: &str| {
            format!(
                "<member><Type>Resource</Type><ResourceChange><Action>Modify</Action>\
                 <LogicalResourceId>{id}</LogicalResourceId><Replacement>False</Replacement></ResourceChange></member>"
            )
        };
        // With property values, a whole resource is missing.
        let changes = if values { change("Bucket") } else { change("Bucket") + &change("Left out") };
        format!(
            "<ChangeSetId>{ARN}</ChangeSetId><Status>{}</Status><StatusReason>{}</StatusReason>\
             <ExecutionStatus>{}</ExecutionStatus><Changes>{changes}</Changes>",
            self.status, self.reason, self.execution
        )
    }

    fn called(&self, action: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|call| call.action == action).count()
    }

    async fn prepare(&self) -> infra::error::Result<Option<ChangeSet>> {
        let cloud = cloud(&self.serve()).await;
        Ok(ChangeSet::prepare(&cloud, "s", false, Source::Body(TEMPLATE), &Parameters::new()).await?)
    }
}

#[tokio::test]
async fn a_change_that_is_left_out_with_property_values_is_seen() {
    let change = Script::default().prepare().await.unwrap().unwrap();
    assert_eq!(change.id, ARN);
    assert_eq!(change.resources().into_keys().collect::<Vec<_>>(), ["Bucket", "Left out"]);
}

#[tokio::test]
async fn a_template_that_was_replaced_on_its_way_is_refused_and_nothing_is_executed() {
    let script = Script { read: POISONED, ..Script::default() };
    let error = script.prepare().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.message().contains("a different template"), "{error:?}");
    assert_eq!((script.called("DeleteChangeSet"), script.called("ExecuteChangeSet")), (1, 0));
}

#[tokio::test]
async fn a_change_set_whose_first_answer_was_lost_is_found_by_its_name() {
    let script = Script { create_is_lost: true, ..Script::default() };
    assert_eq!(script.prepare().await.unwrap().unwrap().id, ARN);
    let calls = script.calls.lock().unwrap();
    assert!(calls.iter().any(|call| call.action == "CreateChangeSet" && call.says("ClientToken=")));
}

#[tokio::test]
async fn a_name_that_is_taken_by_nothing_is_the_first_error() {
    let script = Script { create_is_lost: true, is_gone: true, ..Script::default() };
    let error = script.prepare().await.unwrap_err();
    assert!(error.causes()[0].contains("AlreadyExistsException"), "{error:?}");
}

#[tokio::test]
async fn a_change_that_runs_already_has_begun_and_one_that_cannot_run_has_not() {
    for (execution, expected) in [("EXECUTE_IN_PROGRESS", true), ("EXECUTE_COMPLETE", true), ("OBSOLETE", false)] {
        let script = Script { execute_is_lost: true, execution, ..Script::default() };
        let cloud = cloud(&script.serve()).await;
        let change = ChangeSet { id: ARN.to_owned(), changes: Vec::new() };
        assert_eq!(change.execute(&cloud, "s").await.is_ok(), expected, "{execution}");
        let calls = script.calls.lock().unwrap();
        assert!(calls.iter().any(|call| call.action == "ExecuteChangeSet" && call.says("ClientRequestToken=")));
    }
}

#[tokio::test]
async fn the_reasons_of_early_validation_are_read_before_the_change_set_is_discarded() {
    let event = "<member><LogicalResourceId>Provider</LogicalResourceId><ResourceType>AWS::IAM::OIDCProvider</ResourceType>\
                 <ValidationStatusReason>Resource of type 'AWS::IAM::OIDCProvider' already exists.</ValidationStatusReason></member>";
    let failed = Script { status: "FAILED", reason: "validation failed", ..Script::default() };
    let script = Script { events: Some(event), ..failed.clone() };
    let error = script.prepare().await.unwrap_err();
    assert!(error.causes()[0].starts_with("Provider (AWS::IAM::OIDCProvider): "), "{error:?}");
    assert!(error.hints()[0].contains("ci.provider"), "{error:?}");
    let order: Vec<String> = script.calls.lock().unwrap().iter().map(|call| call.action.clone()).collect();
    let at = |action: &str| order.iter().position(|it| it == action);
    assert!(at("DescribeEvents") < at("DeleteChangeSet"), "{order:?}");
    let unread = failed.prepare().await.unwrap_err();
    assert_eq!(unread.causes(), ["validation failed"]);
}

#[tokio::test]
async fn a_change_set_without_changes_is_nothing_to_do() {
    let reason = "The submitted information didn't contain changes.";
    let script = Script { status: "FAILED", reason, ..Script::default() };
    assert!(script.prepare().await.unwrap().is_none());
    assert_eq!(script.called("DescribeEvents"), 0);
}
