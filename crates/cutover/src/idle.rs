//! The sleep of the idle environment: some time after a cutover its tasks are stopped, to save their cost. Decides when
//! it may sleep. The function puts it to sleep on a schedule, and wakes it before it sends traffic there. Must not know
//! how that is done.

use crate::balancer::Service;
use jiff::Timestamp;
use model::listener::Listeners;
use model::record::Outcome;
use model::request::Op;
use model::time::{between, later};
use model::{Color, Record};
use std::time::Duration;

/// How a stack lets its idle environment sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle {
    /// The bake time: how long the old side stays up after a cutover, ready to take traffic back at once.
    pub after: Duration,
}

/// The environment that gets no user traffic, if that is certain.
pub(crate) fn idle_side(listeners: &Listeners) -> Result<Color, &'static str> {
    match (listeners.prod.color(), listeners.dev.color()) {
        (Some(prod), Some(dev)) if prod != dev => Ok(dev),
        _ => Err("the listeners are not one on each environment"),
    }
}

/// Whether the idle environment may sleep: the last cutover left it, the bake time is over, and nothing was deployed to
/// it since. The error is the reason why not.
pub(crate) fn may_sleep(
    idle: Color,
    service: &Service,
    records: &[Record],
    now: Timestamp,
    after: Duration,
) -> Result<(), String> {
    if !service.deployed {
        return Err(format!("nothing is deployed to {idle}"));
    }
    if let Some(why) = &service.not_stable {
        return Err(format!("{idle}'s service is not stable: {why}"));
    }
    let Some(swapped) = records.iter().find(|record| is_swap(record)).and_then(|record| record.finished) else {
        return Err("there was no cutover yet".to_owned());
    };
    if service.since.is_none_or(|since| since >= swapped) {
        return Err(format!("{idle} was deployed to since the last cutover"));
    }
    if now < later(swapped, after) {
        let left = after.saturating_sub(between(swapped, now));
        return Err(format!("the last cutover was at {swapped:.0}: {idle} stays up for {} s more", left.as_secs()));
    }
    Ok(())
}

/// Whether a run moved prod and did not go back.
pub(crate) fn is_swap(record: &Record) -> bool {
    let kind = matches!(record.op, Op::Cutover | Op::Rollback);
    kind && record.outcome == Some(Outcome::Done) && record.wrote && record.from != record.to
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Request;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(time: &str) -> Timestamp {
        format!("2026-01-31T{time}Z").parse().unwrap()
    }

    /// Green became prod at noon.
    fn swap() -> Record {
        let mut record = Record::begin("id".to_owned(), Request::default(), at("12:00:00"), "writer".to_owned());
        (record.from, record.to) = (Some(Color::Blue), Some(Color::Green));
        (record.wrote, record.outcome, record.finished) = (true, Some(Outcome::Done), Some(at("12:00:20")));
        record
    }

    fn service() -> Service {
        Service {
            deployed: true,
            desired: 2,
            running: 2,
            not_stable: None,
            since: Some(at("11:00:00")),
            release: Some(1),
            tasks: Some(2),
        }
    }

    fn refusal(service: &Service, records: &[Record], now: &str) -> String {
        may_sleep(Color::Blue, service, records, at(now), HOUR).err().unwrap_or_default()
    }

    #[test]
    fn the_old_side_sleeps_when_the_bake_time_is_over() {
        assert_eq!(refusal(&service(), &[swap()], "13:00:20"), "");
        assert!(refusal(&service(), &[swap()], "12:59:20").contains("stays up for 60 s more"));
    }

    #[test]
    fn a_version_that_waits_for_its_cutover_does_not_sleep() {
        let deployed = Service { since: Some(at("12:30:00")), ..service() };
        assert!(refusal(&deployed, &[swap()], "23:00:00").contains("deployed to since"));
        assert!(refusal(&Service { since: None, ..service() }, &[swap()], "23:00:00").contains("deployed to since"));
        let rolling = Service { not_stable: Some("2 deployments".to_owned()), ..service() };
        assert!(refusal(&rolling, &[swap()], "23:00:00").contains("2 deployments"));
        assert!(refusal(&Service::default(), &[swap()], "23:00:00").contains("nothing is deployed"));
    }

    #[test]
    fn only_a_cutover_that_stayed_begins_the_bake_time() {
        assert!(refusal(&service(), &[], "23:00:00").contains("no cutover yet"));
        let back = Record { outcome: Some(Outcome::RolledBack), finished: Some(at("22:59:00")), ..swap() };
        assert!(refusal(&service(), std::slice::from_ref(&back), "23:00:00").contains("no cutover yet"));
        assert_eq!(refusal(&service(), &[back, swap()], "23:00:00"), "");
    }
}
