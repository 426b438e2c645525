//! Time limits, and the time that a run needs before the function's deadline. Must not know the current time.

use model::Request;
use model::request::Op;
use std::time::Duration;

/// Duration of the lease. A run that was killed blocks others for this long, so it is short. It has to be longer than a
/// write with its landing (`WRITE_GUARD`) and several heartbeats.
pub const LEASE_TTL: Duration = Duration::from_secs(30);
/// Time that must be left of the lease when a write begins: the timeout of the write and the time in which it may still
/// take effect, so that no other run writes before.
pub(crate) const WRITE_GUARD: Duration = aws::rules::WRITE_TIMEOUT.saturating_add(crate::balancer::LANDING);
/// Time reserved for a rollback: a health read, two writes of which one is tried twice, the time in which an unanswered
/// write may take effect, a last read of the listeners, two records, and the single probes.
pub const ROLLBACK_BUDGET: Duration = Duration::from_secs(34);
/// Time reserved after the way back has settled, for a last read of the listeners and for the record.
pub(crate) const AFTER_SETTLING: Duration = Duration::from_secs(20);
/// Longest time for one read of the load balancer, ECS or the ledger.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(8);
/// Longest time for writing a record, with all tries.
pub(crate) const SAVE_TIMEOUT: Duration = Duration::from_secs(12);
/// Pause between two tries of writing the final record.
pub(crate) const SAVE_PAUSE: Duration = Duration::from_secs(1);
/// Longest time to record that the new side is verified. The run goes on without that record, because its outcome is
/// recorded soon. The time is short, because the lease of a run whose ledger fails after the swap must outlast its
/// probes and this.
pub(crate) const VERIFIED_TIMEOUT: Duration = Duration::from_secs(5);
/// Time to release the lease at the end.
pub(crate) const RELEASE_TIMEOUT: Duration = READ_TIMEOUT;
/// Longest time to write the single probes. Only the end of a run waits for that.
pub(crate) const SAMPLES_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for everything except probes and waits: reads, records, and two writes.
const OVERHEAD: Duration = Duration::from_secs(10);
/// Time for a step of a shift in addition to its hold: health of both sides, one write, a record.
const STEP_OVERHEAD: Duration = Duration::from_secs(2);
/// How many records a search for the last swap or for a failed run reads.
pub(crate) const SEARCHED: usize = 50;
/// Least number of probes after the load balancer has settled.
pub(crate) const VERIFY_AT_LEAST: u32 = 10;
/// Longest time between two probes of the gate.
pub(crate) const GATE_INTERVAL: Duration = Duration::from_millis(30);
/// Shortest time between two updates of the live record.
pub(crate) const RECORD_INTERVAL: Duration = Duration::from_millis(500);

/// Number of probes that a run needs after the load balancer has settled.
pub(crate) fn verify_at_least(request: &Request) -> u32 {
    VERIFY_AT_LEAST.min(request.probe.count)
}

/// Time between two probes of the gate.
pub(crate) fn gate_interval(request: &Request) -> Duration {
    request.probe.interval.min(GATE_INTERVAL)
}

/// Time before the deadline at which a run turns back.
pub(crate) fn reserve(request: &Request) -> Duration {
    ROLLBACK_BUDGET + request.settle.max(request.settle_limit) + request.probe.timeout
}

/// Time to probe prod if nothing is slow.
fn probing(request: &Request) -> Duration {
    let probe = &request.probe;
    let to_the_end = probe.interval * (probe.baseline + verify_at_least(request)) + request.settle + request.held();
    (probe.interval * probe.count).max(to_the_end)
}

/// Time of a run if nothing is slow.
pub(crate) fn expected(request: &Request) -> Duration {
    gate_interval(request) * request.gate.count + probing(request)
}

/// Longest time of a run, with the time that it reserves for a rollback.
pub(crate) fn needed(request: &Request) -> Duration {
    let probe = &request.probe;
    if request.op == Op::Reconcile {
        return ROLLBACK_BUDGET;
    }
    let gate = gate_interval(request) * request.gate.count + probe.timeout;
    if request.op == Op::Plan {
        return OVERHEAD + gate + probe.interval * probe.baseline + probe.timeout;
    }
    let steps = STEP_OVERHEAD * u32::try_from(request.shift.len()).unwrap_or(u32::MAX);
    OVERHEAD + gate + probing(request) + probe.timeout + steps + reserve(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::HEARTBEATS_PER_TTL;

    #[test]
    fn a_default_cutover_needs_about_two_minutes() {
        let needed = needed(&Request::default());
        assert!((Duration::from_secs(110)..Duration::from_secs(130)).contains(&needed), "{needed:?}");
    }

    #[test]
    fn the_lease_outlives_a_write_that_lands_late() {
        let heartbeat = LEASE_TTL / HEARTBEATS_PER_TTL;
        assert!(LEASE_TTL > WRITE_GUARD + 2 * heartbeat);
    }

    #[test]
    fn a_shift_needs_the_time_that_it_is_held() {
        let shift = |hold: u64| vec![model::request::ShiftStep { weight: 50, hold: Duration::from_secs(hold) }];
        let request = |hold| Request { shift: shift(hold), ..Request::default() };
        assert_eq!(needed(&request(300)), needed(&request(200)) + Duration::from_secs(100));
    }

    #[test]
    fn the_largest_request_does_not_fit_a_function() {
        let mut request = Request::default();
        request.probe.count = 3000;
        request.probe.interval = Duration::from_secs(5);
        assert!(needed(&request) > Duration::from_mins(15));
    }
}
