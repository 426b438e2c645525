//! One series of probes: its schedule, its progress, and its control while it runs. Must not know HTTP, nor what a
//! failed probe leads to.

use super::follow::{self, Answer, Expect, Following, Verdict};
use super::{Client, LATE, RESOLVE_EVERY, Reply, Tally};
use model::record::{Connection, Failure, Phase, ProbeCounts, Sample};
use model::request::{StatusSet, limits};
use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

/// A series gets longer than this only if a person pauses the run. All samples are kept, so the further probes are sent
/// at a longer interval.
const LONG: u32 = *limits::SERIES.end();
/// That interval.
const RARE: Duration = Duration::from_secs(1);

/// The settings of a series of probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Number of probes, unless the control extends the series.
    pub count: u32,
    /// Least number of probes while it verifies. More probes are sent if the count does not allow that many.
    pub verify_at_least: u32,
    /// Time between two probes.
    pub interval: Duration,
    /// Time from the scheduled instant until the answer must be complete.
    pub timeout: Duration,
    /// How many of the first probes are the baseline.
    pub baseline: u32,
    /// Largest number of probes in progress.
    pub max_in_flight: u32,
    /// Status codes that count as a success.
    pub ok: StatusSet,
    /// The version that must answer while it verifies.
    pub expected: Option<String>,
    /// The instant from which times in samples count.
    pub origin: Instant,
}

/// The control of a series while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The run's phase, for the samples.
    pub phase: Phase,
    /// Whether the series ends when its count is reached. If nothing else is expected, only the expected version may
    /// answer then.
    pub verifying: bool,
    /// Which versions may answer probes that are due now.
    pub expect: Expect,
    /// Whether probes that are due now count for [`Progress::counted_failures`].
    pub counting: bool,
    /// Whether the series ends now.
    pub stop: bool,
}

/// The progress of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// All probes that have ended.
    pub counts: ProbeCounts,
    /// Whether the whole baseline has ended.
    pub baseline_done: bool,
    /// How many probes of the baseline failed.
    pub baseline_failures: u32,
    /// How many probes failed, of those that were due while they counted.
    pub counted_failures: u32,
    /// The last write that every address of the load balancer follows.
    pub followed: Option<Instant>,
    /// Whether all probes were sent and have ended. More follow only if the control extends the series.
    pub complete: bool,
}

/// A series of probes in progress. If this is dropped, the series ends at once.
#[derive(Debug)]
pub struct Session {
    control: watch::Sender<Control>,
    progress: watch::Receiver<Progress>,
    tally: Arc<Mutex<Tally>>,
    task: JoinHandle<()>,
    refreshing: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
        self.refreshing.abort();
    }
}

impl Session {
    /// Begins to probe. The first probe is due now.
    pub fn start<C: Client>(client: C, spec: Spec, control: Control) -> Self {
        let (control, steered) = watch::channel(control);
        let (reported, progress) =
            watch::channel(Progress { baseline_done: spec.baseline == 0, ..Progress::default() });
        let tally = Arc::new(Mutex::new(Tally::default()));
        let client = Arc::new(client);
        let refreshing = tokio::spawn(refresh(Arc::clone(&client)));
        let series = Series {
            client,
            places: Arc::new(Semaphore::new(spec.max_in_flight as usize)),
            spec,
            control: steered,
            progress: reported,
            tally: Arc::clone(&tally),
            under_way: JoinSet::new(),
            following: Following::default(),
            sent_to_verify: 0,
            baseline_ended: 0,
        };
        let task = tokio::spawn(series.run());
        Self { control, progress, tally, task, refreshing }
    }

    /// Changes the control.
    pub fn steer(&self, control: Control) {
        self.control.send_if_modified(|current| {
            let changed = *current != control;
            *current = control;
            changed
        });
    }

    /// The progress, as a channel.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// The probes that have ended so far.
    pub fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }

    /// The probes so far, shared with the series, so that they can be read while it runs.
    pub fn live(&self) -> LiveTally {
        LiveTally(Arc::clone(&self.tally))
    }

    /// Stops to send, waits for the probes in progress, and returns all probes.
    pub async fn end(mut self) -> Tally {
        self.control.send_modify(|control| control.stop = true);
        // The task ends by itself within the timeout of a probe. An error would mean that it was aborted, and nothing
        // aborts it.
        let _ = (&mut self.task).await;
        self.tally()
    }
}

/// The probes of a series that may still be in progress.
#[derive(Clone, Debug)]
pub struct LiveTally(Arc<Mutex<Tally>>);

impl LiveTally {
    /// Reads the probes so far.
    pub fn look<T>(&self, at: impl FnOnce(&Tally) -> T) -> T {
        at(&lock(&self.0))
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    // No code panics while it holds the lock.
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resolves the site's name again and again, until it is aborted.
async fn refresh<C: Client>(client: Arc<C>) {
    loop {
        tokio::time::sleep(RESOLVE_EVERY).await;
        if let Err(problem) = client.refresh().await {
            tracing::warn!(%problem, "the addresses stay as they were");
        }
    }
}

struct Series<C> {
    client: Arc<C>,
    places: Arc<Semaphore>,
    spec: Spec,
    control: watch::Receiver<Control>,
    progress: watch::Sender<Progress>,
    tally: Arc<Mutex<Tally>>,
    under_way: JoinSet<Ended>,
    following: Following,
    sent_to_verify: u32,
    baseline_ended: u32,
}

/// A probe that has ended, and how it counts.
struct Ended {
    sample: Sample,
    late: bool,
    due: Due,
}

/// A probe that is due.
#[derive(Clone)]
struct Due {
    sequence: u32,
    at: Instant,
    control: Control,
}

impl<C: Client> Series<C> {
    async fn run(mut self) {
        let mut sequence = 0;
        let mut at = Instant::now();
        let client = Arc::clone(&self.client);
        // The timer survives the turns of the loop, so that a wait is not started twice.
        let mut due = pin!(client.until(at));
        loop {
            let control = self.control.borrow_and_update().clone();
            if control.stop {
                break;
            }
            if self.is_enough(sequence, &control) {
                if !self.rest().await {
                    break;
                }
                // The series is extended: the schedule starts again, so that the pause does not count as latency.
                at = at.max(Instant::now());
                due.set(client.until(at));
                continue;
            }
            tokio::select! {
                biased;
                () = &mut due => {
                    self.send(Due { sequence, at, control });
                    sequence += 1;
                    at += if sequence < LONG { self.spec.interval } else { self.spec.interval.max(RARE) };
                    due.set(client.until(at));
                }
                changed = self.control.changed() => if changed.is_err() { break },
                Some(ended) = self.under_way.join_next() => self.note(ended),
            }
        }
        while let Some(ended) = self.under_way.join_next().await {
            self.note(ended);
        }
        self.progress.send_modify(|progress| progress.complete = true);
    }

    fn is_enough(&self, sequence: u32, control: &Control) -> bool {
        control.verifying && sequence >= self.spec.count && self.sent_to_verify >= self.spec.verify_at_least
    }

    /// Waits for the probes in progress, reports that, and waits for a change of the control. Returns whether there was
    /// one.
    async fn rest(&mut self) -> bool {
        while let Some(ended) = self.under_way.join_next().await {
            self.note(ended);
        }
        self.progress.send_modify(|progress| progress.complete = true);
        let changed = self.control.changed().await.is_ok();
        self.progress.send_modify(|progress| progress.complete = false);
        changed
    }

    fn send(&mut self, due: Due) {
        if due.control.verifying {
            self.sent_to_verify += 1;
        }
        // Each address is probed with both kinds of connection in turn.
        let addresses = self.client.addresses();
        let position = (due.sequence / 2) as usize % addresses.len().max(1);
        // The list is never empty. If it were, the request would fail and be reported.
        let to = addresses.get(position).copied().unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into());
        let address = to.to_string();
        let connection = if due.sequence.is_multiple_of(2) { Connection::KeptAlive } else { Connection::Fresh };
        let spec = &self.spec;
        let judge =
            Judge { ok: spec.ok.clone(), expected: spec.expected.clone(), origin: spec.origin, timeout: spec.timeout };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let reply = Reply {
                failure: Some((Failure::NotSent, format!("{} were under way", spec.max_in_flight))),
                ..Reply::default()
            };
            let ended = judge.sample(due, None, (address, connection), reply);
            return self.note(Ok(ended));
        };
        let client = Arc::clone(&self.client);
        self.under_way.spawn(async move {
            let sent = Instant::now();
            let reply = timeout_at(due.at + judge.timeout, client.send(to, connection)).await;
            drop(place);
            let reply = reply.unwrap_or_else(|_| Reply {
                failure: Some((Failure::Timeout, format!("none within {} ms", judge.timeout.as_millis()))),
                ..Reply::default()
            });
            judge.sample(due, Some(sent), (address, connection), reply)
        });
    }

    fn note(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        // The task of a probe does not panic, and is not aborted while the series exists.
        let Ok(Ended { mut sample, late, due }) = ended else { return };
        let late_answer = self.is_late_answer(&mut sample, &due);
        let counting = due.control.counting && !late_answer;
        let failed = u32::from(sample.failure.is_some());
        let in_baseline = sample.sequence < self.spec.baseline;
        self.baseline_ended += u32::from(in_baseline);
        let counts = {
            let mut tally = lock(&self.tally);
            tally.add(sample, late);
            tally.counts()
        };
        if let Expect::Follow(follow) = &due.control.expect {
            self.note_lag(follow.back);
        }
        let baseline_done = self.baseline_ended >= self.spec.baseline;
        self.progress.send_modify(|progress| {
            progress.counts = counts;
            progress.baseline_done = baseline_done;
            progress.baseline_failures += if in_baseline { failed } else { 0 };
            progress.counted_failures += if counting { failed } else { 0 };
        });
    }

    /// Reports how far the addresses follow the last write.
    fn note_lag(&self, back: bool) {
        lock(&self.tally).follows(back, self.following.lag());
        let addresses: Vec<String> = self.client.addresses().iter().map(ToString::to_string).collect();
        let followed = self.following.followed(addresses.iter().map(String::as_str));
        self.progress.send_if_modified(|progress| {
            let changed = progress.followed != followed;
            progress.followed = followed;
            changed
        });
    }

    /// Judges the version of an answer. Returns whether it is a late answer of the side where prod was before, which
    /// counts for nothing.
    fn is_late_answer(&mut self, sample: &mut Sample, due: &Due) -> bool {
        let (reported, failed) = (sample.version.as_deref(), sample.failure.is_some());
        let verdict = match &due.control.expect {
            Expect::Anything => return false,
            Expect::Either(_) if failed => return false,
            Expect::Either(versions) => follow::judge_either(versions, reported),
            Expect::Follow(follow) => {
                let addresses = self.client.addresses().len();
                let needed = follow::in_a_row(follow.limit, self.spec.interval, addresses);
                let answer = Answer { from: &sample.address, due: due.at, reported, failed };
                self.following.judge(follow, &answer, needed)
            }
        };
        match verdict {
            Verdict::Good => false,
            Verdict::Late => true,
            Verdict::Wrong(why) => {
                (sample.failure, sample.detail) = (Some(Failure::Version), Some(why));
                false
            }
        }
    }
}

/// Turns a reply into a sample.
struct Judge {
    ok: StatusSet,
    expected: Option<String>,
    origin: Instant,
    timeout: Duration,
}

impl Judge {
    fn sample(&self, due: Due, sent: Option<Instant>, to: (String, Connection), reply: Reply) -> Ended {
        let failure = self.failure(&due.control, &reply);
        let (failure, detail) = failure.map_or((None, None), |(failure, text)| (Some(failure), Some(text)));
        let us = |instant: Instant| {
            let elapsed = instant.saturating_duration_since(self.origin);
            u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
        };
        let sample = Sample {
            sequence: due.sequence,
            phase: due.control.phase,
            scheduled_us: us(due.at),
            sent_us: sent.map(us),
            first_byte_us: reply.first_byte.map(us),
            done_us: us(Instant::now()),
            address: to.0,
            connection: to.1,
            status: reply.status,
            version: reply.version,
            bytes: reply.bytes,
            failure,
            detail,
        };
        Ended { sample, late: sent.is_some_and(|sent| sent.saturating_duration_since(due.at) > LATE), due }
    }

    fn failure(&self, control: &Control, reply: &Reply) -> Option<(Failure, String)> {
        if let Some(failure) = &reply.failure {
            return Some(failure.clone());
        }
        let status = reply.status.unwrap_or_default();
        if !self.ok.contains(status) {
            return Some((Failure::Status, format!("status {status}")));
        }
        // The version is judged when the sample is noted, if there is a version.
        let verifying = control.verifying && control.expect == Expect::Anything;
        let expected = self.expected.as_deref().filter(|_| verifying)?;
        (reply.version.as_deref() != Some(expected)).then(|| {
            let reported = reply.version.as_deref().unwrap_or("none");
            (Failure::Version, format!("version {reported} instead of {expected}"))
        })
    }
}
