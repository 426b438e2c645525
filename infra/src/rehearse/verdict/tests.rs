//! What constructed rehearsals mean, and how they read.

use super::*;
use crate::rehearse::document::FaultAt;
use crate::rehearse::render;
use crate::rehearse::text::terminal;
use crate::report::tests::{done, rolled_back};
use crate::report::{Format, Place};
use crate::ui::Style;

/// Twenty requests a second for ten seconds; from the sixth second on the new version answers.
fn seen(failure: impl Fn(u64) -> Option<&'static str>) -> Vec<Seen> {
    let one = |number: u64| {
        let due_us = number * 50_000;
        let failure = failure(due_us / 1000);
        let version = if due_us < 5_142_000 { "1" } else { "2" };
        Seen {
            due_us,
            done_us: due_us + 2000,
            version: failure.is_none().then(|| version.to_owned()),
            failure: failure.map(str::to_owned),
        }
    };
    (0..200).map(one).collect()
}

fn observed(seen: Vec<Seen>, cutover: Option<i32>, run: Option<Run>) -> Observed {
    let side = |version: &str| Side { version: version.to_owned(), image: format!("shop:{version}") };
    Observed {
        from: side("1"),
        to: side("2"),
        fault: None,
        load: LoadFacts { rate: 20, paths: vec!["/".to_owned()], timeout_ms: 2000 },
        started: "2026-11-23T09:59:56Z".parse().unwrap(),
        ended_ms: 10_000,
        seen,
        begins: vec![("before", 0), ("deployment", 1000), ("cutover", 4000), (AFTER, 8000)],
        deployment: 0,
        cutover,
        tasks: Vec::new(),
        left_out: Vec::new(),
        run,
    }
}

/// The new version answered 500 from the swap of prod to the way back.
fn saved() -> Rehearsal {
    let seen = seen(|at| (5150..5300).contains(&at).then_some("status 500"));
    let mut observed = observed(seen, Some(4), Some(rolled_back().into()));
    observed.fault = Some(Injected { kind: Fault::Errors, at: FaultAt::Swap, delay_ms: None });
    observed.left_out = vec!["https".to_owned()];
    judge(observed)
}

fn code(rehearsal: &Rehearsal) -> u8 {
    error(rehearsal).map_or(0, |error| error.kind().exit_code())
}

#[test]
fn a_release_that_nobody_noticed_is_good_and_says_how_sure_that_is() {
    let rehearsal = judge(observed(seen(|_| None), Some(0), Some(done().into())));
    assert_eq!((rehearsal.ending, code(&rehearsal)), (Ending::Released, 0));
    assert_eq!(rehearsal.safeguards, Safeguards::default());
    insta::assert_snapshot!(terminal(&rehearsal, Style::PLAIN));
}

#[test]
fn a_rollback_that_ended_the_failures_saved_the_users() {
    let rehearsal = saved();
    assert_eq!((rehearsal.ending, code(&rehearsal)), (Ending::RolledBack, 4));
    let users = &rehearsal.users;
    assert_eq!((users.seen.failed, users.first_failure_ms, users.exposed_ms), (3, Some(5150), 102));
    // The run began four seconds after the load, and its probe failed 1.233 s later.
    assert_eq!(rehearsal.safeguards.noticed_after_ms, Some(5233 - 5150));
    assert_eq!((rehearsal.safeguards.noticed, rehearsal.safeguards.saved), (Some(true), Some(true)));
    insta::assert_snapshot!(terminal(&rehearsal, Style::PLAIN));
}

#[test]
fn failures_that_go_on_after_the_way_back_were_not_ended_by_it() {
    let seen = seen(|at| (at >= 5150).then_some("no answer in time"));
    let rehearsal = judge(observed(seen, Some(4), Some(rolled_back().into())));
    assert_eq!((rehearsal.safeguards.saved, code(&rehearsal)), (Some(false), 4));
}

#[test]
fn failures_that_no_probe_noticed_are_worse_than_a_rollback() {
    let seen = seen(|at| (5150..5300).contains(&at).then_some("status 404"));
    let rehearsal = judge(observed(seen, Some(0), Some(done().into())));
    assert_eq!((rehearsal.ending, code(&rehearsal)), (Ending::Released, 1));
    assert_eq!((rehearsal.safeguards.noticed, rehearsal.safeguards.saved), (Some(false), Some(false)));
    assert!(rehearsal.message.contains("no check noticed"), "{}", rehearsal.message);
}

#[test]
fn a_deployment_that_never_gets_steady_is_rolled_back_and_its_tasks_say_why() {
    let mut observed = observed(seen(|_| None), None, None);
    observed.deployment = 4;
    let task = |address: &str| EndedTask {
        environment: Some("blue".to_owned()),
        exit_code: Some(137),
        reason: Some(format!("failed ELB health checks in target-group blue (health check GET http://{address}/)")),
        output: Vec::new(),
    };
    observed.tasks = vec![task("127.64.0.3"), task("127.64.0.4")];
    let rehearsal = judge(observed);
    assert_eq!((rehearsal.ending, code(&rehearsal)), (Ending::DeploymentRolledBack, 4));
    insta::assert_snapshot!(terminal(&rehearsal, Style::PLAIN));
}

#[test]
fn a_refusal_and_a_bad_end_have_their_codes() {
    let refused = judge(observed(seen(|_| None), Some(3), None));
    assert_eq!((refused.ending, code(&refused)), (Ending::Refused, 3));
    let failed = judge(observed(seen(|_| None), Some(1), None));
    assert_eq!((failed.ending, code(&failed)), (Ending::Failed, 1));
}

#[test]
fn a_rehearsal_as_markdown() {
    insta::assert_snapshot!(render(&saved(), &Place::default(), Format::Md).unwrap());
}

#[test]
fn a_rehearsal_as_a_page_has_a_bar_for_every_second_and_the_cutovers_chart() {
    let page = render(&saved(), &Place::default(), Format::Html).unwrap();
    for expected in [
        "What users would have seen",
        "class=\"bar failed\"",
        "class=\"bar old\"",
        "class=\"bar new\"",
        "Latency of every probe of prod",
        "prod → blue",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
    assert!(!page.contains("<script"));
}

#[test]
fn a_rehearsal_as_json_is_read_back_as_it_was() {
    let rehearsal = saved();
    let text = render(&rehearsal, &Place::default(), Format::Json).unwrap();
    assert_eq!(serde_json::from_str::<Rehearsal>(&text).unwrap(), rehearsal);
}

#[test]
fn what_comes_from_outside_is_text_on_the_page() {
    let mut observed = observed(seen(|_| None), Some(0), None);
    observed.to.version = "<script>alert(1)</script>".to_owned();
    observed.seen[3].version = Some("<img src=x>".to_owned());
    let page = render(&judge(observed), &Place::default(), Format::Html).unwrap();
    assert!(!page.contains("<script>") && !page.contains("<img"));
}

#[test]
fn every_field_of_a_rehearsal_is_in_the_reference() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/rehearsal.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut rehearsal = saved();
    rehearsal.tasks.push(EndedTask::default());
    let all = serde_json::to_value(rehearsal).unwrap();
    let parts = ["/from", "/fault", "/load", "/users", "/safeguards", "/phases/0", "/seconds/0", "/tasks/0"];
    let parts = parts.map(|part| all.pointer(part).unwrap());
    for field in parts.into_iter().chain([&all]).flat_map(|part| part.as_object().unwrap().keys()) {
        assert!(text.contains(&format!("`{field}`")), "{field} is not documented");
    }
}
