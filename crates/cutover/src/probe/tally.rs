//! Counts probes and creates their report. Percentiles are exact, from all samples. Must not know schedules.

use model::record::{
    AddressLag, Connection, Failure, Percentiles, Phase, ProbeCounts, ProbeReport, Sample, WHOLE_FAILURES,
};
use std::collections::BTreeSet;

/// Samples in a sparkline.
const RECENT: usize = 60;

/// All probes of a session so far, in the order in which they ended.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    samples: Vec<Sample>,
    kept_alive: ProbeCounts,
    fresh: ProbeCounts,
    /// How each address followed the last write, on the way forward and on the way back.
    lag: [Vec<AddressLag>; 2],
}

impl Tally {
    /// Notes how far each address follows the last write.
    pub(super) fn follows(&mut self, back: bool, lag: Vec<AddressLag>) {
        self.lag[usize::from(back)] = lag;
    }

    /// The addresses that do not follow the last write.
    pub fn behind(&self, back: bool) -> Vec<&str> {
        let behind = self.lag[usize::from(back)].iter().filter(|lag| lag.followed_ms.is_none());
        behind.map(|lag| lag.address.as_str()).collect()
    }

    /// Adds a probe that has ended.
    pub fn add(&mut self, sample: Sample, late: bool) {
        let counts = match sample.connection {
            Connection::KeptAlive => &mut self.kept_alive,
            Connection::Fresh => &mut self.fresh,
        };
        counts.due += 1;
        counts.sent += u32::from(sample.sent_us.is_some());
        counts.ok += u32::from(sample.failure.is_none());
        counts.failed += u32::from(sample.failure.is_some());
        counts.late += u32::from(late);
        self.samples.push(sample);
    }

    /// The probes so far.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The probes so far, counted.
    pub fn counts(&self) -> ProbeCounts {
        let (a, b) = (self.kept_alive, self.fresh);
        ProbeCounts {
            due: a.due + b.due,
            sent: a.sent + b.sent,
            ok: a.ok + b.ok,
            failed: a.failed + b.failed,
            late: a.late + b.late,
        }
    }

    /// The version in the latest good answer of this phase.
    pub fn version(&self, phase: Phase) -> Option<&str> {
        let reported = self.samples.iter().rev().filter(|sample| sample.phase == phase);
        reported.filter(|sample| sample.failure.is_none()).find_map(|sample| sample.version.as_deref())
    }

    /// The version in the latest answer.
    pub fn seen(&self) -> Option<&str> {
        self.samples.iter().rev().find_map(|sample| sample.version.as_deref())
    }

    /// Of the last good answers that were due since `begin_us`, up to a hundred: how many reported this version, and
    /// how many there were.
    pub fn share(&self, version: &str, begin_us: u64) -> (u32, u32) {
        let since =
            self.samples.iter().rev().filter(|sample| sample.scheduled_us >= begin_us && sample.failure.is_none());
        let last: Vec<_> = since.take(100).collect();
        let hits = last.iter().filter(|sample| sample.version.as_deref() == Some(version)).count();
        (saturating(hits), saturating(last.len()))
    }

    /// The newest probe that has ended.
    pub fn newest(&self) -> Option<&Sample> {
        self.samples.iter().max_by_key(|sample| sample.sequence)
    }

    /// All versions that were reported.
    pub fn versions(&self) -> BTreeSet<&str> {
        self.samples.iter().filter_map(|sample| sample.version.as_deref()).collect()
    }

    fn addresses(&self) -> Vec<String> {
        let addresses: BTreeSet<_> = self.samples.iter().map(|sample| sample.address.as_str()).collect();
        addresses.into_iter().map(str::to_owned).collect()
    }

    /// The first failure.
    pub fn first_failure(&self) -> Option<&Sample> {
        let failed = self.samples.iter().filter(|sample| sample.failure.is_some());
        failed.min_by_key(|sample| sample.sequence)
    }

    /// The report. `new` is the version of the new side. Without it, or if the old side reports the same version, the
    /// report does not show which side answered.
    pub fn report(&self, new: Option<&str>) -> ProbeReport {
        let counts = self.counts();
        let mut report = ProbeReport {
            counts,
            kept_alive: self.kept_alive,
            fresh: self.fresh,
            addresses: self.addresses(),
            before: self.percentiles(|phase| phase <= Phase::Baseline),
            during: self.percentiles(|phase| phase > Phase::Baseline && phase != Phase::Verify),
            after: self.percentiles(|phase| phase == Phase::Verify),
            bound95: bound95(counts.failed, counts.due),
            failures: self.failures(),
            recent_ms: self.recent(),
            lag: self.lag[0].clone(),
            lag_back: self.lag[1].clone(),
            ..ProbeReport::default()
        };
        let told_before = self.version(Phase::Baseline);
        if let Some(new) = new.filter(|new| told_before != Some(*new)) {
            self.follow_versions(new, &mut report);
        }
        report
    }

    fn follow_versions(&self, new: &str, report: &mut ProbeReport) {
        // On the way back the old side answers again, as expected.
        let forward = self.samples.iter().filter(|sample| sample.phase <= Phase::Verify);
        let answered = |sample: &Sample| Some((sample.sequence, sample.phase, sample.version.as_deref()? == new));
        let done = |is_new: bool| {
            let reported = forward
                .clone()
                .filter(move |sample| sample.version.as_ref().is_some_and(|reported| (reported == new) == is_new));
            reported.map(|sample| sample.done_us)
        };
        report.first_new_ms = done(true).min().map(|us| us / 1000);
        report.last_old_ms = done(false).max().map(|us| us / 1000);
        let mut answered: Vec<_> = forward.clone().filter_map(answered).collect();
        answered.sort_unstable();
        // While prod is split, both sides answer, as expected.
        let back = answered.windows(2).filter(|pair| pair[0].2 && !pair[1].2 && pair[1].1 != Phase::Shift);
        report.flip_flops = saturating(back.count());
    }

    fn failures(&self) -> Vec<Sample> {
        let mut failed: Vec<_> = self.samples.iter().filter(|sample| sample.failure.is_some()).collect();
        failed.sort_by_key(|sample| sample.sequence);
        failed.into_iter().take(WHOLE_FAILURES).cloned().collect()
    }

    fn recent(&self) -> Vec<f64> {
        let answered = self.samples.iter().filter(|sample| sample.status.is_some());
        let all: Vec<_> = answered.map(latency_ms).collect();
        all[all.len().saturating_sub(RECENT)..].to_vec()
    }

    fn percentiles(&self, of: impl Fn(Phase) -> bool) -> Percentiles {
        let answered = |sample: &&Sample| of(sample.phase) && was_answered(sample);
        let mut latencies: Vec<_> = self.samples.iter().filter(answered).map(latency_us).collect();
        latencies.sort_unstable();
        let at = |percent: usize| {
            // The nearest-rank definition: the smallest sample such that this percentage of samples is not above it.
            let rank = (latencies.len() * percent).div_ceil(100).max(1);
            latencies.get(rank - 1).map(|us| ms(*us))
        };
        Percentiles { count: saturating(latencies.len()), p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}

/// The upper bound of the failure rate with 95 % confidence, if `failed` of `count` probes failed: the rule of three,
/// and the exact bound of Clopper and Pearson, to five digits, if that rule does not apply. `None` without probes.
fn bound95(failed: u32, count: u32) -> Option<f64> {
    let n = f64::from(count);
    match failed {
        _ if count == 0 => None,
        0 => Some((3.0 / n).min(1.0)),
        _ if failed >= count => Some(1.0),
        _ => {
            let (mut low, mut high) = (f64::from(failed) / n, 1.0);
            while high - low > 1e-6 {
                let middle = f64::midpoint(low, high);
                if at_most(failed, count, middle) > 0.05 { low = middle } else { high = middle }
            }
            Some((high * 1e5).ceil() / 1e5)
        }
    }
}

/// Whether `hits` of `count` are plausible if each is a hit with the probability `share`. Fewer than one in a thousand
/// series are implausible by chance.
pub(crate) fn is_plausible(hits: u32, count: u32, share: f64) -> bool {
    const TAIL: f64 = 0.0005;
    let at_least = |hits: u32| if hits == 0 { 1.0 } else { 1.0 - at_most(hits - 1, count, share) };
    count == 0 || (at_most(hits, count, share) >= TAIL && at_least(hits) >= TAIL)
}

/// The probability of at most this many failures in `count` trials, if each fails with this probability.
fn at_most(failed: u32, count: u32, rate: f64) -> f64 {
    let n = f64::from(count);
    // In logarithms, because the first terms are too small for a number.
    let mut term = n * (1.0 - rate).ln();
    let mut sum = term.exp();
    for k in 1..=failed {
        let k = f64::from(k);
        term += ((n - k + 1.0) / k * rate / (1.0 - rate)).ln();
        sum += term.exp();
    }
    sum
}

/// Whether there was a complete answer, good or bad.
fn was_answered(sample: &Sample) -> bool {
    matches!(sample.failure, None | Some(Failure::Status | Failure::Version))
}

fn latency_us(sample: &Sample) -> u64 {
    sample.done_us.saturating_sub(sample.scheduled_us)
}

fn latency_ms(sample: &Sample) -> f64 {
    ms(latency_us(sample))
}

/// Milliseconds with the microseconds as decimals.
fn ms(us: u64) -> f64 {
    f64::from(u32::try_from(us).unwrap_or(u32::MAX)) / 1000.0
}

fn saturating(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(sequence: u32, phase: Phase, latency_ms: u64, version: &str) -> Sample {
        let scheduled_us = u64::from(sequence) * 100_000;
        Sample {
            sequence,
            phase,
            scheduled_us,
            sent_us: Some(scheduled_us),
            first_byte_us: Some(scheduled_us),
            done_us: scheduled_us + latency_ms * 1000,
            address: "127.0.0.1:80".to_owned(),
            connection: if sequence.is_multiple_of(2) { Connection::KeptAlive } else { Connection::Fresh },
            status: Some(200),
            version: Some(version.to_owned()),
            bytes: 1,
            failure: None,
            detail: None,
        }
    }

    #[test]
    fn percentiles_are_exact() {
        let mut tally = Tally::default();
        for sequence in 0..100 {
            tally.add(sample(sequence, Phase::Verify, u64::from(100 - sequence), "2"), false);
        }
        let after = tally.report(None).after;
        assert_eq!(
            (after.count, after.p50, after.p90, after.p99, after.max),
            (100, Some(50.0), Some(90.0), Some(99.0), Some(100.0))
        );
        assert_eq!(tally.report(None).before, Percentiles::default());
    }

    #[test]
    fn flip_flops_and_the_switch_are_reported() {
        let mut tally = Tally::default();
        for (sequence, version) in ["1", "1", "2", "1", "2", "2"].into_iter().enumerate() {
            let sequence = u32::try_from(sequence).unwrap();
            let phase = if sequence == 0 { Phase::Baseline } else { Phase::Settle };
            tally.add(sample(sequence, phase, 5, version), false);
        }
        let report = tally.report(Some("2"));
        assert_eq!((report.first_new_ms, report.last_old_ms, report.flip_flops), (Some(205), Some(305), 1));
        let same = tally.report(Some("1"));
        assert_eq!((same.first_new_ms, same.flip_flops), (None, 0));
    }

    #[test]
    fn a_share_is_plausible_unless_it_is_far_off() {
        for (hits, count, share, plausible) in [
            (0, 0, 0.1, true),
            (0, 20, 0.1, true),
            (0, 100, 0.1, false),
            (10, 100, 0.1, true),
            (30, 100, 0.1, false),
            (100, 100, 0.9, false),
            (50, 100, 0.5, true),
        ] {
            assert_eq!(is_plausible(hits, count, share), plausible, "{hits} of {count} at {share}");
        }
    }

    #[test]
    fn the_bound_is_the_tables_own() {
        // One-sided 95 % Clopper-Pearson bounds, as statistical tables have them.
        for (failed, count, bound) in [(1, 10, 0.39416), (2, 10, 0.50690), (5, 100, 0.10225), (30, 3000, 0.01354)] {
            let found = bound95(failed, count).unwrap();
            assert!((found - bound).abs() < 2e-5, "{failed} of {count}: {found}");
        }
        assert_eq!((bound95(3, 3), bound95(0, 0), bound95(0, 2)), (Some(1.0), None, Some(1.0)));
    }

    #[test]
    fn no_failures_bound_the_error_rate() {
        let mut tally = Tally::default();
        for sequence in 0..150 {
            tally.add(sample(sequence, Phase::Verify, 1, "2"), false);
        }
        assert_eq!(tally.report(None).bound95, Some(0.02));
        let mut failed = sample(150, Phase::Verify, 1, "2");
        failed.failure = Some(Failure::Status);
        tally.add(failed, true);
        let report = tally.report(None);
        assert_eq!(report.bound95, Some(0.03104));
        assert_eq!(report.failures.len(), 1);
        assert_eq!((report.counts.due, report.counts.ok, report.counts.failed, report.counts.late), (151, 150, 1, 1));
        assert_eq!(report.kept_alive.due + report.fresh.due, 151);
    }
}
