//! The metrics of each target group, sent to CloudWatch: requests, 5xx responses, and response times of targets.
//! Metrics, dimensions, and definitions are those of an ALB, but they are sent every few seconds, not every minute.

use super::Balancer;
use crate::aws::{Cloud, Measured};
use http::StatusCode;
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The period in seconds. A minute is a multiple of it, so that the metrics of a period belong to one minute.
const EVERY_SECONDS: i64 = 5;

/// The shortest response time to distinguish, as a power of two in microseconds: 64 µs.
const SHORTEST: u32 = 6;
/// The longest response time to distinguish, in the same unit: a minute, the default timeout of an ALB.
const LONGEST: u32 = 26;
/// Four steps for each power of two: the error of a time is about a tenth.
const STEPS: usize = 4 * (LONGEST - SHORTEST) as usize;

/// The counters of one target group. A request changes three of them, without a lock.
#[derive(Debug)]
pub(super) struct Counters {
    requests: AtomicU64,
    errors: AtomicU64,
    times: [AtomicU64; STEPS],
}

/// The counts of one period.
#[derive(Debug, PartialEq)]
pub(crate) struct Counted {
    /// Requests for which a target was chosen.
    pub(crate) requests: u64,
    /// 5xx responses of targets.
    pub(crate) errors: u64,
    /// Seconds until the response of a target began, and the number of such responses.
    pub(crate) times: Vec<(f64, u64)>,
}

impl Counters {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            times: std::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    /// Counts a request for which a target was chosen.
    pub(super) fn requested(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a response that has begun.
    pub(super) fn answered(&self, status: StatusCode, after: Duration) {
        if status.is_server_error() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        self.times[step(after)].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns and resets the counts; `None` if they are zero.
    pub(super) fn take(&self) -> Option<Counted> {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let times = self.times.iter().map(take).enumerate().filter(|(_, count)| *count > 0);
        let times = times.map(|(step, count)| (seconds(step), count)).collect::<Vec<_>>();
        let counted = Counted { requests: take(&self.requests), errors: take(&self.errors), times };
        (counted.requests > 0 || !counted.times.is_empty()).then_some(counted)
    }
}

/// The step that a time belongs to.
fn step(time: Duration) -> usize {
    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX).clamp(1 << SHORTEST, (1 << LONGEST) - 1);
    let power = micros.ilog2();
    let quarter = (micros >> (power - 2)) & 3;
    (4 * (power - SHORTEST) + quarter) as usize
}

/// The middle of a step, in seconds.
fn seconds(step: usize) -> f64 {
    let (power, quarter) = (SHORTEST as usize + step / 4, step % 4);
    let width = Duration::from_micros(1 << (power - 2));
    let eighths = u32::try_from(2 * (4 + quarter) + 1).unwrap_or_default();
    (width * eighths / 2).as_secs_f64()
}

/// Sends the metrics to CloudWatch until the task is dropped.
pub(crate) async fn publish(balancer: Arc<Balancer>, cloud: Cloud) {
    loop {
        let begin = wait().await;
        let measured = balancer.measured();
        if measured.is_empty() {
            continue;
        }
        if let Err(error) = cloud.put_metrics(begin, measured).await {
            tracing::warn!("cannot send the metrics of the last {EVERY_SECONDS} s to CloudWatch: {error}");
        }
    }
}

/// Waits for the end of a period and returns the start of its minute.
async fn wait() -> i64 {
    let now = Timestamp::now();
    let end = (now.as_second() / EVERY_SECONDS + 1) * EVERY_SECONDS;
    let left = end * 1000 - now.as_millisecond();
    tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap_or_default())).await;
    (end - EVERY_SECONDS) / 60 * 60
}

impl Balancer {
    /// The counts of every group that belongs to a load balancer.
    fn measured(&self) -> Vec<Measured> {
        let known = self.known();
        let groups = known.groups.iter().filter_map(|(arn, group)| {
            let (load_balancer, counted) = (group.balancer.as_deref()?, group.counters.take()?);
            Some(Measured {
                load_balancer: dimension(load_balancer, "loadbalancer/")?,
                target_group: dimension(arn, "").filter(|name| name.starts_with("targetgroup/"))?,
                counted,
            })
        });
        groups.collect()
    }
}

/// The part of an ARN that is the CloudWatch dimension of a load balancer or a target group.
fn dimension(arn: &str, without: &str) -> Option<String> {
    arn.splitn(6, ':').nth(5)?.strip_prefix(without).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_to_within_an_eighth() {
        for micros in [64, 65, 100, 1_000, 1_999, 45_678, 1_000_000, 59_999_999] {
            let time = Duration::from_micros(micros);
            let told = seconds(step(time));
            let share = told / time.as_secs_f64();
            assert!((0.875..=1.125).contains(&share), "{time:?} is reported as {told} s");
        }
        assert_eq!(step(Duration::ZERO), 0);
        assert_eq!(step(Duration::from_hours(1)), STEPS - 1);
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        let counters = Counters::new();
        assert_eq!(counters.take(), None);
        for status in [200, 404, 500, 503] {
            counters.requested();
            counters.answered(StatusCode::from_u16(status).unwrap(), Duration::from_millis(3));
        }
        counters.requested();
        let counted = counters.take().unwrap();
        assert_eq!((counted.requests, counted.errors), (5, 2), "one got no answer of a target");
        assert!(matches!(counted.times[..], [(seconds, 4)] if (0.0026..0.0034).contains(&seconds)), "{counted:?}");
        assert_eq!(counters.take(), None);
    }

    #[test]
    fn load_balancers_and_groups_are_named_as_in_cloudwatch() {
        let arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/web/0123";
        assert_eq!(dimension(arn, "loadbalancer/").as_deref(), Some("app/web/0123"));
        let arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/web-blue/4567";
        assert_eq!(dimension(arn, "").as_deref(), Some("targetgroup/web-blue/4567"));
        assert_eq!(dimension("web", ""), None);
    }
}
