//! Executes a lifecycle hook of Amazon ECS: one series of probes, and its verdict. Writes nothing.

use super::{Stack, budget};
use crate::balancer::Balancer;
use crate::probe::{Clients, Control, Session, Site, Spec};
use ledger::ObjectStore;
use model::hook::{CALL_BACK_DELAY, HookAnswer, HookEvent, HookStatus, Target};
use model::record::{Phase, Sample};
use tokio::time::Instant;

/// Probes the target of the event.
pub(super) async fn probe<B: Balancer, S: ObjectStore, C: Clients>(
    stack: &Stack<B, S, C>,
    event: &HookEvent,
    deadline: Instant,
) -> HookAnswer {
    let options = &event.probe;
    let needed = options.interval * options.count + options.timeout + budget::READ_TIMEOUT;
    if Instant::now() + needed > deadline {
        tracing::error!(seconds = needed.as_secs(), "the probes would take longer than the function may");
        return HookAnswer::ended(HookStatus::Failed);
    }
    let site = match event.target {
        Target::Test => Site::Dev,
        Target::Production => Site::Prod,
    };
    let path = options.path.as_ref().unwrap_or(&stack.probe_path);
    let opened = match stack.version_header(&options.version) {
        Ok(header) => stack.clients.open(site, path, header).await,
        Err(problem) => Err(problem),
    };
    let client = match opened {
        Ok(client) => client,
        Err(problem) => {
            tracing::warn!(problem, "it cannot be probed");
            return event.after_failure();
        }
    };
    let spec = Spec {
        count: options.count,
        verify_at_least: 0,
        interval: options.interval,
        timeout: options.timeout,
        baseline: 0,
        max_in_flight: options.max_in_flight,
        ok: stack.success_codes(options),
        expected: options.version.value.clone(),
        origin: Instant::now(),
    };
    let control = Control { phase: Phase::Gate, verifying: true, ..Control::default() };
    let session = Session::start(client, spec, control);
    // An error would mean that the series was dropped, but the session keeps it.
    let _ = session.progress().wait_for(|progress| progress.complete).await;
    let tally = session.end().await;
    let counts = tally.counts();
    if counts.failed <= options.max_failures {
        tracing::info!(probes = counts.due, failed = counts.failed, "the hook lets the deployment go on");
        return HookAnswer::ended(HookStatus::Succeeded);
    }
    let answer = event.after_failure();
    let first = tally.first_failure().map(Sample::to_string);
    tracing::warn!(probes = counts.due, failed = counts.failed, first, status = ?answer.hook_status, again_in = CALL_BACK_DELAY, "probes failed");
    answer
}
