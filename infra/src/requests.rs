//! The requests of both environments, minute by minute, as the load balancer counts them and CloudWatch keeps them.
//!
//! An Application Load Balancer publishes its numbers once a minute, some time after the minute, and nothing if there
//! were no requests. So a minute without a number is zero only when its number would have arrived.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat, StatusCode};
use jiff::Timestamp;
use model::Color;
use serde::Serialize;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::report::text::ms;
use aws::Calling as _;
use deploy::Cloud;
use stack::Both;
use stack::outputs::Outputs;

/// Full minutes that are looked at.
pub const MINUTES: u32 = 15;

/// Between two readings: the numbers change once a minute, and each reading costs money.
const PERIOD: Duration = Duration::from_secs(30);

/// Longest time for one reading: nobody should wait for it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Seconds after the end of a minute until its number has come, if there is one. Nothing promises a time; CloudWatch has
/// them within two minutes as a rule.
const ARRIVAL: i64 = 180;

/// Seconds of a minute.
const MINUTE: i64 = 60;

/// The requests of one environment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Requests {
    /// The newest full minute whose number is known.
    pub last: Minute,
    /// The last full minutes, oldest first, and the current one.
    pub minutes: Vec<Minute>,
}

/// One minute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Minute {
    /// Its begin.
    pub begins: Timestamp,
    /// Requests for which the load balancer chose a task; null if the number is not available yet.
    pub requests: Option<u64>,
    /// How many of them a task answered with 5xx.
    pub errors: u64,
    /// Milliseconds within which tasks began 99 % of their responses; null if there was none.
    pub p99_ms: Option<f64>,
}

impl Minute {
    /// When it began, for people.
    pub fn clock(&self) -> String {
        self.begins.strftime("%H:%M UTC").to_string()
    }
}

/// Both environments' requests, or why they are not known.
pub type Reading = Result<Both<Requests>, String>;

impl Requests {
    /// Those of the points that CloudWatch has at `now`.
    fn of(points: &Points, now: Timestamp) -> Self {
        let this = now.as_second().div_euclid(MINUTE) * MINUTE;
        let newest = points.requests.last_key_value().map_or(i64::MIN, |(begin, _)| *begin);
        let minute = |back: u32| {
            let begin = this - i64::from(back) * MINUTE;
            let settled = back > 0 && (begin < newest || begin + MINUTE + ARRIVAL <= now.as_second());
            let requests = points.requests.get(&begin).map(|value| whole(*value));
            Minute {
                begins: Timestamp::from_second(begin).unwrap_or_default(),
                requests: requests.or(settled.then_some(0)),
                errors: points.errors.get(&begin).map_or(0, |value| whole(*value)),
                p99_ms: points.p99.get(&begin).map(|seconds| seconds * 1000.0),
            }
        };
        let minutes: Vec<Minute> = (0..=MINUTES).rev().map(minute).collect();
        let full = minutes.iter().rev().skip(1);
        // The oldest ones are always known.
        let last = full.clone().find(|minute| minute.requests.is_some()).unwrap_or(&minutes[0]).clone();
        Self { last, minutes }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.minutes.iter().filter_map(|minute| minute.requests).sum()
    }

    /// How many of them were answered with 5xx.
    pub fn errors(&self) -> u64 {
        self.minutes.iter().map(|minute| minute.errors).sum()
    }

    /// The current minute, if all requests belong to it.
    pub fn just_begun(&self) -> Option<&Minute> {
        self.minutes.last().filter(|running| running.requests == Some(self.total()))
    }
}

/// One line for people.
impl std::fmt::Display for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let total = self.total();
        if total == 0 {
            return write!(f, "no requests in {MINUTES} minutes");
        }
        let shown = self.just_begun().unwrap_or(&self.last);
        let word = if self.just_begun().is_some() { "since" } else { "at" };
        write!(f, "{} requests {word} {}", shown.requests.unwrap_or_default(), shown.clock())?;
        if let Some(p99) = shown.p99_ms {
            write!(f, ", p99 {}", ms(p99))?;
        }
        if self.just_begun().is_none() {
            write!(f, "; {total} in {MINUTES} min")?;
        }
        match self.errors() {
            0 => write!(f, ", no 5xx"),
            errors => write!(f, ", {errors} with 5xx"),
        }
    }
}

/// Points of one environment's metrics by the second in which their minute begins.
#[derive(Debug, Default, PartialEq)]
struct Points {
    requests: BTreeMap<i64, f64>,
    errors: BTreeMap<i64, f64>,
    p99: BTreeMap<i64, f64>,
}

/// The metrics of a target group: what they are here, their names on AWS, and the statistic that is asked for.
const METRICS: [(&str, &str, &str); 3] = [
    ("requests", "RequestCount", "Sum"),
    ("errors", "HTTPCode_Target_5XX_Count", "Sum"),
    ("p99", "TargetResponseTime", "p99"),
];

/// A sum of counts.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "CloudWatch has counts as floating point")]
fn whole(value: f64) -> u64 {
    value.max(0.0).round() as u64
}

/// Reads the requests of a stack, and keeps what was read while nothing newer can be there.
#[derive(Debug, Default)]
pub struct Meter(Option<(Instant, Reading)>);

impl Meter {
    /// The requests of both environments. Has a short timeout and never fails: without numbers, it returns the reason.
    pub async fn read(&mut self, cloud: &Cloud, outputs: &Outputs) -> Reading {
        if let Some((at, reading)) = &self.0
            && at.elapsed() < PERIOD
        {
            return reading.clone();
        }
        let reading = match tokio::time::timeout(PATIENCE, ask(cloud, outputs)).await {
            Ok(answer) => answer.map_err(|error| why(&error)),
            Err(_) => Err(format!("CloudWatch did not respond within {} s", PATIENCE.as_secs())),
        };
        self.0 = Some((Instant::now(), reading.clone()));
        reading
    }
}

fn why(error: &Error) -> String {
    let causes = error.causes().iter().map(String::as_str);
    std::iter::once(error.message()).chain(causes).collect::<Vec<_>>().join(": ")
}

/// One call for both environments and all metrics.
async fn ask(cloud: &Cloud, outputs: &Outputs) -> Result<Both<Requests>> {
    let now = Timestamp::now();
    let this = now.as_second().div_euclid(MINUTE) * MINUTE;
    let answer = cloud
        .cloudwatch
        .get_metric_data()
        .set_metric_data_queries(Some(queries(outputs)?))
        .start_time(DateTime::from_secs(this - i64::from(MINUTES) * MINUTE))
        .end_time(DateTime::from_secs(this + MINUTE))
        .send()
        .await
        .calling(|| "read the metrics of the load balancer".to_owned())?;
    let points = points(answer.metric_data_results())?;
    Ok(Both::make(|color| Requests::of(points.of(color), now)))
}

fn queries(outputs: &Outputs) -> Result<Vec<MetricDataQuery>> {
    let named = |arn: &str| {
        Error::failed("cannot read the metrics of the load balancer").because(format!("unexpected ARN format: {arn}"))
    };
    let load_balancer = load_balancer(&outputs.prod_listener).ok_or_else(|| named(&outputs.prod_listener))?;
    let mut queries = Vec::new();
    for color in Color::ALL {
        let arn = outputs.target_group(color);
        let (_, target_group) = arn.rsplit_once(':').ok_or_else(|| named(arn))?;
        let dimensions = [("LoadBalancer", load_balancer), ("TargetGroup", target_group)];
        let dimensions = dimensions.map(|(name, value)| Dimension::builder().name(name).value(value).build());
        for (id, name, statistic) in METRICS {
            let metric = Metric::builder().namespace("AWS/ApplicationELB").metric_name(name);
            let metric = metric.set_dimensions(Some(dimensions.to_vec())).build();
            let stat = MetricStat::builder().metric(metric).period(60).stat(statistic).build();
            queries.push(MetricDataQuery::builder().id(format!("{color}_{id}")).metric_stat(stat).build());
        }
    }
    Ok(queries)
}

/// What CloudWatch calls the load balancer of a listener: `app/NAME/ID`, which is a part of the listener's ARN.
fn load_balancer(listener: &str) -> Option<&str> {
    let (_, name) = listener.split_once(":listener/")?;
    name.rsplit_once('/').map(|(load_balancer, _)| load_balancer)
}

fn points(results: &[MetricDataResult]) -> Result<Both<Points>> {
    let mut all: Both<Points> = Both::make(|_| Points::default());
    for result in results {
        if result.status_code() != Some(&StatusCode::Complete) {
            let status = result.status_code().map_or("no status", StatusCode::as_str);
            let words = result.messages().iter().filter_map(|message| message.value());
            let words = std::iter::once(status).chain(words).collect::<Vec<_>>().join(": ");
            return Err(Error::failed("cannot read the metrics of the load balancer").because(words));
        }
        let Some((color, id)) = result.id().and_then(|id| id.split_once('_')) else { continue };
        let points = if color == Color::Blue.as_str() { &mut all.blue } else { &mut all.green };
        let series = match id {
            "requests" => &mut points.requests,
            "errors" => &mut points.errors,
            _ => &mut points.p99,
        };
        series.extend(result.timestamps().iter().map(DateTime::secs).zip(result.values().iter().copied()));
    }
    Ok(all)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// 20 seconds into a minute.
    const NOW: &str = "2026-11-23T10:30:20Z";

    /// Requests as they are read at [`NOW`], from numbers of minutes by how long ago each began.
    pub(crate) fn requests(counts: &[(i64, f64)], errors: &[(i64, f64)], p99: &[(i64, f64)]) -> Requests {
        let now: Timestamp = NOW.parse().unwrap();
        let series = |points: &[(i64, f64)]| {
            points.iter().map(|(ago, value)| (now.as_second() - 20 - ago * 60, *value)).collect::<BTreeMap<_, _>>()
        };
        Requests::of(&Points { requests: series(counts), errors: series(errors), p99: series(p99) }, now)
    }

    fn counts(requests: &Requests) -> Vec<Option<u64>> {
        requests.minutes.iter().rev().take(6).map(|minute| minute.requests).collect()
    }

    #[test]
    fn a_minute_without_a_number_is_zero_only_once_its_number_would_have_come() {
        let none = requests(&[], &[], &[]);
        assert_eq!(counts(&none), [None, None, None, None, Some(0), Some(0)], "the newest first");
        assert_eq!(none.last.begins.to_string(), "2026-11-23T10:26:00Z");
        assert_eq!(none.minutes.len(), 16);
        let some = requests(&[(2, 7.0), (4, 5.0)], &[], &[]);
        assert_eq!(counts(&some), [None, None, Some(7), Some(0), Some(5), Some(0)]);
        assert_eq!((some.last.clock().as_str(), some.last.requests), ("10:28 UTC", Some(7)));
    }

    #[test]
    fn one_line_says_what_is_known() {
        let line = |counts: &[_], errors: &[_], p99: &[_]| requests(counts, errors, p99).to_string();
        assert_eq!(line(&[], &[], &[]), "no requests in 15 minutes");
        assert_eq!(line(&[(0, 12.0)], &[], &[(0, 0.0123)]), "12 requests since 10:30 UTC, p99 12 ms, no 5xx");
        assert_eq!(
            line(&[(0, 12.0), (1, 128.0), (9, 2.0)], &[(9, 1.0)], &[(1, 0.25), (9, 0.001)]),
            "128 requests at 10:29 UTC, p99 250 ms; 142 in 15 min, 1 with 5xx"
        );
        // Long ago.
        assert_eq!(line(&[(9, 2.0)], &[], &[(9, 0.001)]), "0 requests at 10:26 UTC; 2 in 15 min, no 5xx");
    }

    #[test]
    fn results_are_distinguished_by_their_ids() {
        let result = |id: &str, status: StatusCode, values: &[(i64, f64)]| {
            MetricDataResult::builder()
                .id(id)
                .status_code(status)
                .set_timestamps(Some(values.iter().map(|(at, _)| DateTime::from_secs(*at)).collect()))
                .set_values(Some(values.iter().map(|(_, value)| *value).collect()))
                .build()
        };
        let found = points(&[
            result("blue_requests", StatusCode::Complete, &[(60, 3.0), (120, 4.0)]),
            result("blue_p99", StatusCode::Complete, &[(60, 0.5)]),
            result("green_errors", StatusCode::Complete, &[(120, 1.0)]),
        ])
        .unwrap();
        assert_eq!(found.blue.requests, BTreeMap::from([(60, 3.0), (120, 4.0)]));
        assert_eq!((&found.blue.p99[&60], found.blue.errors.len()), (&0.5, 0));
        assert_eq!(found.green, Points { errors: BTreeMap::from([(120, 1.0)]), ..Points::default() });
        let error = points(&[result("blue_p99", StatusCode::Forbidden, &[])]).err().unwrap();
        assert_eq!(why(&error), "cannot read the metrics of the load balancer: Forbidden");
    }

    #[test]
    fn the_load_balancer_is_named_by_its_listener() {
        let arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/shop/50dc6c495c0c9188/f2f7dc8e";
        assert_eq!(load_balancer(arn), Some("app/shop/50dc6c495c0c9188"));
        assert_eq!(load_balancer("shop"), None);
    }
}
