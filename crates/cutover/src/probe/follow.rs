//! Whether the addresses of a load balancer follow a write of prod. A load balancer applies a write address by address,
//! some time after the call, and AWS documents no bound. The versions in the answers show it. Must not know what a run
//! does with the result.

use model::record::AddressLag;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Number of answers in a row after which an address follows, if the limit leaves time for that many.
const IN_A_ROW: u32 = 5;

/// What probes that are due now may answer, in addition to a good status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Any version.
    #[default]
    Anything,
    /// The version of either side, because prod is split or a write is in progress.
    Either(Versions),
    /// The version of the side that prod was sent to. Until an address follows, the version of the other side too.
    Follow(Follow),
}

/// The versions of two sides, which differ, as the version header reports them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Of the side that prod is sent to.
    pub new: String,
    /// Of the side where prod was before; `None` if that side reports none.
    pub old: Option<String>,
}

/// A write of prod that the load balancer has to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// The versions of both sides.
    pub versions: Versions,
    /// When the write was done.
    pub since: Instant,
    /// How long an old answer is no failure, at an address that does not follow yet.
    pub limit: Duration,
    /// Whether prod goes back to the side where it was before.
    pub back: bool,
    /// Whether a person rolls back from the old side. Then no answer of the old side is a failure of this run. Until an
    /// address follows, a bad answer that may come from the old side is no failure either.
    pub away: bool,
}

/// How a probe was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    /// The address that answered.
    pub(super) from: &'a str,
    /// When the probe was due.
    pub(super) due: Instant,
    /// The version that it reported.
    pub(super) reported: Option<&'a str>,
    /// Whether it has failed already: by its status, or because no answer came.
    pub(super) failed: bool,
}

/// What an answer shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is expected, or does not show which side answered.
    Good,
    /// It is a late answer of the old side, which is no failure of the new side.
    Late,
    /// It is wrong, with the reason.
    Wrong(String),
}

impl Versions {
    fn strange(&self, reported: Option<&str>) -> Option<String> {
        let known = reported == Some(self.new.as_str()) || reported == self.old.as_deref();
        let (new, old) = (&self.new, self.old.as_deref().unwrap_or("none"));
        (!known).then(|| format!("version {}, neither {new} nor {old}", reported.unwrap_or("none")))
    }
}

/// How far each address follows the last write.
#[derive(Debug, Default)]
pub(super) struct Following {
    write: Option<Instant>,
    addresses: BTreeMap<String, Address>,
}

#[derive(Debug, Default)]
struct Address {
    in_a_row: u32,
    followed: Option<Instant>,
    last_old: Option<Instant>,
}

impl Following {
    /// Judges an answer. `Good` for a failed answer means that it stays a failure.
    pub(super) fn judge(&mut self, follow: &Follow, answer: &Answer<'_>, needed: u32) -> Verdict {
        let Answer { from, due, reported, failed } = *answer;
        if self.write != Some(follow.since) {
            (self.write, self.addresses) = (Some(follow.since), BTreeMap::new());
        }
        let address = self.addresses.entry(from.to_owned()).or_default();
        if reported == Some(follow.versions.new.as_str()) && !failed {
            address.in_a_row += 1;
            if address.in_a_row >= needed && address.followed.is_none() {
                address.followed = Some(Instant::now());
            }
            return Verdict::Good;
        }
        address.in_a_row = 0;
        if failed {
            // A bad answer often comes from the load balancer, and then reports no version.
            let of_new = reported == Some(follow.versions.new.as_str());
            let may_be_old = address.followed.is_none() && due <= follow.since + follow.limit && !of_new;
            return if follow.away && may_be_old { Verdict::Late } else { Verdict::Good };
        }
        if reported != follow.versions.old.as_deref() {
            return follow.versions.strange(reported).map_or(Verdict::Good, Verdict::Wrong);
        }
        address.last_old = address.last_old.max(Some(due));
        let old = reported.map_or_else(|| "none".to_owned(), |reported| format!("version {reported}"));
        match address.followed {
            _ if follow.away => Verdict::Late,
            // Answers overtake each other, so an answer that was due before is not too late.
            Some(followed) if due > followed => {
                Verdict::Wrong(format!("{old} again, after {from} had answered {}", follow.versions.new))
            }
            None if due > follow.since + follow.limit => {
                let seconds = (due - follow.since).as_secs();
                Verdict::Wrong(format!("{old} still from {from}, {seconds} s after the write"))
            }
            _ => Verdict::Late,
        }
    }

    /// The write that all these addresses follow; `None` if one address does not.
    pub(super) fn followed<'a>(&self, mut addresses: impl Iterator<Item = &'a str>) -> Option<Instant> {
        let followed = |address: &str| self.addresses.get(address).is_some_and(|it| it.followed.is_some());
        addresses.all(followed).then_some(self.write).flatten()
    }

    /// The lag of each address, for the report.
    pub(super) fn lag(&self) -> Vec<AddressLag> {
        let Some(write) = self.write else { return Vec::new() };
        let since = |instant: Instant| model::time::millis(instant.saturating_duration_since(write));
        let lag = |(address, it): (&String, &Address)| AddressLag {
            address: address.clone(),
            last_old_ms: it.last_old.map(since),
            followed_ms: it.followed.map(since),
        };
        self.addresses.iter().map(lag).collect()
    }
}

/// Number of answers in a row that an address needs to follow. It is smaller if probes are so rare that the limit would
/// pass before.
pub(super) fn in_a_row(limit: Duration, interval: Duration, addresses: usize) -> u32 {
    let round =
        interval.saturating_mul(u32::try_from(addresses.max(1)).unwrap_or(u32::MAX)).max(Duration::from_millis(1));
    let fit = limit.as_millis() / 4 / round.as_millis();
    u32::try_from(fit).unwrap_or(u32::MAX).clamp(1, IN_A_ROW)
}

/// Judges an answer while either side may answer.
pub(super) fn judge_either(versions: &Versions, reported: Option<&str>) -> Verdict {
    versions.strange(reported).map_or(Verdict::Good, Verdict::Wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    fn write(back: bool, away: bool) -> Follow {
        let versions = Versions { new: "2".to_owned(), old: Some("1".to_owned()) };
        Follow { versions, since: Instant::now(), limit: LIMIT, back, away }
    }

    fn good<'a>(from: &'a str, due: Instant, reported: &'a str) -> Answer<'a> {
        Answer { from, due, reported: Some(reported), failed: false }
    }

    fn at(follow: &Follow, seconds: u64) -> Instant {
        follow.since + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_answer_is_late_until_its_address_follows_and_wrong_afterwards() {
        let (follow, mut following) = (write(false, false), Following::default());
        let mut judge = |from: &str, second: u64, reported: &str| {
            following.judge(&follow, &good(from, at(&follow, second), reported), 3)
        };
        assert_eq!(judge("a", 1, "1"), Verdict::Late);
        for second in 2..5 {
            assert_eq!(judge("a", second, "2"), Verdict::Good);
        }
        // Due before the address followed, and answered after that.
        assert_eq!(judge("a", 0, "1"), Verdict::Late);
        assert_eq!(judge("b", 9, "1"), Verdict::Late);
        tokio::time::advance(Duration::from_secs(10)).await;
        let Verdict::Wrong(why) = judge("a", 11, "1") else { panic!("not wrong") };
        assert!(why.contains("again") && why.contains('a'), "{why}");
        assert_eq!(judge("b", 60, "1"), Verdict::Late);
        let Verdict::Wrong(why) = judge("b", 61, "1") else { panic!("not wrong") };
        assert_eq!(why, "version 1 still from b, 61 s after the write");
        let Verdict::Wrong(why) = judge("b", 2, "3") else { panic!("not wrong") };
        assert_eq!(why, "version 3, neither 2 nor 1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_followed_when_every_address_follows_it() {
        let (first, mut following) = (write(false, false), Following::default());
        for _ in 0..2 {
            following.judge(&first, &good("a", at(&first, 1), "2"), 2);
            assert_eq!(following.followed(["a", "b"].into_iter()), None);
        }
        tokio::time::advance(Duration::from_secs(3)).await;
        for reported in ["2", "1", "2", "2"] {
            assert_eq!(following.followed(["a", "b"].into_iter()), None);
            following.judge(&first, &good("b", at(&first, 2), reported), 2);
        }
        assert_eq!(following.followed(["a", "b"].into_iter()), Some(first.since));
        let lag = following.lag();
        assert_eq!((lag[0].last_old_ms, lag[0].followed_ms), (None, Some(0)));
        assert_eq!((lag[1].last_old_ms, lag[1].followed_ms), (Some(2000), Some(3000)));
        // The next write starts from the beginning.
        let second = write(true, false);
        following.judge(&second, &good("a", at(&second, 1), "2"), 2);
        assert_eq!(following.followed(["a"].into_iter()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn away_from_a_side_nothing_that_it_answers_is_wrong() {
        let (follow, mut following) = (write(false, true), Following::default());
        for second in [0, 61, 600] {
            assert_eq!(following.judge(&follow, &good("a", at(&follow, second), "1"), 3), Verdict::Late);
        }
        let bad = |from, reported| Answer { from, due: at(&follow, 1), reported, failed: true };
        assert_eq!(following.judge(&follow, &bad("a", None), 1), Verdict::Late);
        assert_eq!(following.judge(&follow, &bad("a", Some("2")), 1), Verdict::Good);
        following.judge(&follow, &good("a", at(&follow, 1), "2"), 1);
        assert_eq!(following.judge(&follow, &bad("a", None), 1), Verdict::Good);
    }

    #[test]
    fn rare_probes_need_fewer_in_a_row() {
        let often = Duration::from_millis(100);
        assert_eq!(in_a_row(LIMIT, often, 2), 5);
        assert_eq!(in_a_row(LIMIT, Duration::from_secs(5), 2), 1);
        assert_eq!(in_a_row(Duration::from_secs(1), often, 2), 1);
    }
}
