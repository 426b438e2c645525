//! What an error of the deployment engine means for the command: its exit code, its causes, and what to do next.

use deploy::error::{Error as Deploy, OperationEnd, OtherVersion, Rejection, RolloutFailure};
use deploy::{Refusal, Why};
use model::stack_state::StackState;

use super::{Error, Kind, chain};

impl From<Deploy> for Error {
    fn from(error: Deploy) -> Self {
        match error {
            Deploy::Call(error) => error.into(),
            Deploy::ExecutionUnknown(error) => {
                Self::from(error).hint("run the command again to follow the change, which may have started")
            }
            Deploy::Unobserved(error) => Self::from(*error)
                .hint("run the command again to follow the operation, which CloudFormation finishes by itself"),
            Deploy::NotDiscarded { error, discarding } => Self::from(*error).because(discarding),
            Deploy::Ended(end) => ended(*end),
            Deploy::RolloutFailed(failure) => rollout_failed(*failure),
            Deploy::OtherVersion(other) => other_version(&other),
            Deploy::LiveChange(refusals) => live_change(refusals),
            Deploy::Rejected { ref reasons, kind, .. } => {
                let ours = reasons.iter().fold(Self::failed(error.to_string()), Self::because);
                let ours = match kind {
                    Rejection::ProviderExists => ours.hint(
                        "set ci.provider in bluegreen.toml to the ARN of the existing identity provider (one per URL \
                         and account)",
                    ),
                    Rejection::NameExists => {
                        ours.hint("delete the object of this name outside the stack, or give the stack another name")
                    }
                    Rejection::Other => ours,
                };
                ours.hint("check the template: bluegreen synth")
            }
            other => plain(&other),
        }
    }
}

/// Errors that are nothing but their text, its causes, and hints.
fn plain(error: &Deploy) -> Error {
    let mut causes = chain(error).into_iter();
    let message = causes.next().unwrap_or_default();
    let ours = causes.fold(Error::new(kind(error), message), Error::because);
    let ours = match cause(error) {
        Some(cause) => ours.because(cause),
        None => ours,
    };
    let ours = if error.is_transient() { ours.for_now() } else { ours };
    hints(error).into_iter().fold(ours, Error::hint)
}

fn kind(error: &Deploy) -> Kind {
    match error {
        Deploy::ConnectTo(_) | Deploy::NoRegion | Deploy::NoStack { .. } => Kind::Usage,
        Deploy::ForeignStack { .. }
        | Deploy::ForeignObject { .. }
        | Deploy::Split { .. }
        | Deploy::NotUnderstood { .. }
        | Deploy::NotReleased
        | Deploy::TooFewZones { .. }
        | Deploy::TemplateReplaced { .. }
        | Deploy::NumberTaken { .. } => Kind::Refused,
        _ => Kind::Failed,
    }
}

/// The cause of an error that has no source.
fn cause(error: &Deploy) -> Option<String> {
    Some(match error {
        Deploy::Unsigned { .. } => "no credentials or no region".to_owned(),
        Deploy::NoOutput { state, .. } | Deploy::NoSubnets { state, .. } => format!("its status is {state}"),
        Deploy::ForeignStack { mark, .. } => mark.to_string(),
        Deploy::ForeignObject { mark, .. } => mark.to_string(),
        Deploy::Split { .. } => "a gradual shift is in progress or was interrupted".to_owned(),
        Deploy::NotUnderstood { problem } => problem.clone(),
        Deploy::TooFewZones { .. } => "two are required so that the loss of one is not an outage".to_owned(),
        Deploy::TemplateReplaced { .. } => {
            "the template may have been replaced in the bucket of the stack; nothing was executed".to_owned()
        }
        _ => return None,
    })
}

fn hints(error: &Deploy) -> Vec<String> {
    let hints: &[&str] = match error {
        Deploy::ConnectTo(_) => {
            &["use HOST1:PORT1:HOST2:PORT2 as in curl --connect-to; separate entries by commas, and several HOST2 by |"]
        }
        Deploy::NoRegion => &[
            "set AWS_REGION (for example AWS_REGION=eu-central-1), or region in bluegreen.toml, or use the local cloud \
             (local-cloud exec; with make, CLOUD=local)",
        ],
        Deploy::NoStack { .. } => {
            &["create it first: bluegreen deploy (for the local cloud: local-cloud exec -- bluegreen deploy)"]
        }
        Deploy::NoOutput { .. } => &["finish the deployment: bluegreen deploy"],
        Deploy::ForeignStack { .. } => &["select another stack: --stack NAME, or name in bluegreen.toml"],
        Deploy::ForeignObject { stack, .. } => {
            let tag = model::names::STACK_TAG;
            return vec![format!("if it belongs to the stack, add the tag {tag}={stack}, and run the command again")];
        }
        Deploy::Split { .. } => &[
            "wait for it to end: check bluegreen status, or run bluegreen deploy --wait",
            "if none is in progress, point prod at one side: bluegreen reconcile",
        ],
        Deploy::NotUnderstood { .. } => &[
            "delete the unexpected listener rule, and run bluegreen reconcile to create the rule again from the ledger",
        ],
        Deploy::NotReleased => &[
            "finish the first deployment, which creates it: bluegreen deploy",
            "create it again from the ledger: bluegreen reconcile",
        ],
        Deploy::TooFewZones { .. } => {
            &["configure two zones (network.zones), another region, or an existing VPC (network.vpc)"]
        }
        Deploy::TemplateReplaced { .. } => {
            &["find out who writes to templates/ in the bucket of the stack before you run the command again"]
        }
        Deploy::NumberTaken { .. } => &["run the command again"],
        Deploy::RecordUnreadable { .. } => &["update bluegreen if a newer version wrote the record"],
        _ => &[],
    };
    hints.iter().map(|hint| (*hint).to_owned()).collect()
}

/// What the end of an operation means. A rolled-back operation left what was there before.
fn ended(end: OperationEnd) -> Error {
    let message = end.to_string();
    let (kind, hints): (_, &[&str]) = match end.state {
        StackState::UpdateRollbackComplete => (Kind::RolledBack, &["fix the cause, and run the command again"]),
        StackState::RollbackComplete => {
            (Kind::RolledBack, &["fix the cause, and run the command again: it deletes the empty stack first"])
        }
        StackState::DeleteFailed => {
            (Kind::Failed, &["remove what uses the resources named above, and run bluegreen destroy again"])
        }
        StackState::UpdateRollbackFailed => (
            Kind::Failed,
            &[
                "repair the resources named above, and run the command again: it continues the rollback",
                "if a resource cannot be repaired, pass --skip with its logical id, and restore it manually",
            ],
        ),
        _ => (Kind::Failed, &["run the command again: it continues from this state"]),
    };
    let ours = end.causes.into_iter().fold(Error::new(kind, message), Error::because);
    hints.iter().fold(ours, |ours, hint| ours.hint(*hint))
}

/// The root cause comes first: what the tasks said, then what became of it.
fn rollout_failed(failure: RolloutFailure) -> Error {
    let ours = Error::failed(failure.to_string());
    let ours = failure.failures.into_iter().fold(ours, Error::because).because(failure.reason);
    failure.unread.into_iter().fold(ours, Error::because)
}

fn other_version(other: &OtherVersion) -> Error {
    let OtherVersion { found, address, header, waited, .. } = other;
    Error::failed(other.to_string())
        .because(format!("{address} still returns {header}: {found} after {} s", waited.as_secs()))
        .hint(format!("if the program is the right one, deploy it as version {found}"))
        .hint("if another header contains the version, set app.version_header")
}

fn live_change(refusals: Vec<Refusal>) -> Error {
    let has = |why: &[Why]| refusals.iter().any(|refusal| why.contains(&refusal.why));
    let mut hints = Vec::new();
    if has(&[Why::NeedsForce]) {
        hints.push("deploy to the idle environment, and move traffic with bluegreen cutover");
        hints.push("if users of prod must get the change immediately, pass --force");
    }
    if has(&[Why::OtherEnvironment]) {
        hints.push("pass --version and --color: an environment changes only by a deployment to it");
    }
    if has(&[Why::OtherEnvironment, Why::Interrupts]) {
        hints.push("if the change is intended and an interruption is acceptable, pass --allow-live-changes");
    }
    let ours = Error::refused("this deployment would change protected resources");
    let ours = refusals.into_iter().map(|refusal| refusal.text).fold(ours, Error::because);
    hints.into_iter().fold(ours, Error::hint)
}

#[cfg(test)]
mod tests {
    use aws::CallError;

    use super::*;

    fn end(state: StackState) -> Error {
        Deploy::Ended(Box::new(OperationEnd { stack: "s".to_owned(), state, cancelled: false, causes: Vec::new() }))
            .into()
    }

    #[test]
    fn every_end_of_an_operation_has_a_hint() {
        for state in StackState::KNOWN.iter().filter(|state| !state.is_success()) {
            assert!(!end(state.clone()).hints().is_empty(), "{state}");
        }
        assert_eq!(end(StackState::UpdateRollbackComplete).kind(), Kind::RolledBack);
        assert_eq!(end(StackState::RollbackComplete).kind(), Kind::RolledBack);
        assert_eq!(end(StackState::UpdateRollbackFailed).kind(), Kind::Failed);
    }

    #[test]
    fn a_refused_change_names_the_option_that_permits_it() {
        for (why, option) in [
            (Why::NeedsForce, "--force"),
            (Why::OtherEnvironment, "--color"),
            (Why::Interrupts, "--allow-live-changes"),
        ] {
            let error = Error::from(Deploy::LiveChange(vec![Refusal { why, text: "X would be replaced".to_owned() }]));
            assert_eq!((error.kind(), error.causes()), (Kind::Refused, &["X would be replaced".to_owned()][..]));
            assert!(error.hints().iter().any(|hint| hint.contains(option)), "{:?}", error.hints());
        }
    }

    #[test]
    fn an_operation_that_is_not_observed_any_more_continues() {
        let call = CallError::unanswered("read the events of s", &["timeout".to_owned()]);
        let error = Error::from(Deploy::Unobserved(Box::new(call.into())));
        assert_eq!((error.message(), error.causes()), ("cannot read the events of s", &["timeout".to_owned()][..]));
        assert!(error.hints().iter().any(|hint| hint.contains("finishes by itself")), "{:?}", error.hints());
    }

    #[test]
    fn a_rejected_change_says_why_and_what_to_do() {
        let rejected = |kind| Deploy::Rejected { stack: "s".to_owned(), reasons: vec!["it exists".to_owned()], kind };
        let provider = Error::from(rejected(Rejection::ProviderExists));
        assert_eq!(provider.causes(), ["it exists"]);
        assert!(provider.hints()[0].contains("ci.provider"), "{:?}", provider.hints());
        assert!(Error::from(rejected(Rejection::NameExists)).hints()[0].contains("another name"));
        assert_eq!(Error::from(rejected(Rejection::Other)).hints().len(), 1);
    }

    #[test]
    fn a_source_is_a_cause() {
        let source = "x".parse::<aws::connect_to::ConnectTo>().unwrap_err();
        let error = Error::from(Deploy::ConnectTo(source));
        assert_eq!((error.message(), error.kind()), ("cannot parse BLUEGREEN_CONNECT_TO", Kind::Usage));
        assert_eq!(error.causes().len(), 1);
    }
}
