//! Follows a run by its record until it has ended, even if the connection fails in between, and returns what the
//! end means. Must not know how a run is asked for.

use std::time::Duration;

use deploy::{EventKind, Listener};
use ledger::SILENCE;
use model::{Outcome, Record};
use tokio::time::{Instant, sleep};

use crate::error::{Error, Kind, Result};
use stack::FUNCTION_TIMEOUT;

/// Longer than any cold start, queue and first write of the record take together.
pub const BEGIN_LIMIT: Duration = Duration::from_secs(75);

/// By then a run has ended, even if it started late: the timeout of the function is not longer than this.
const RUN_LIMIT: Duration = FUNCTION_TIMEOUT.saturating_add(BEGIN_LIMIT);

/// The pause between two reads of the record.
const LOOK: Duration = Duration::from_millis(200);

/// Follows the run of this id to its end. A record that cannot be read is read again until the run must have ended.
pub(super) async fn follow<E: std::fmt::Display>(
    id: &str,
    read: impl AsyncFn() -> Result<Option<Record>, E>,
    listener: &dyn Listener,
) -> Result<Record> {
    let began = Instant::now();
    let mut last: Option<(jiff::Timestamp, Instant)> = None;
    let mut in_sight = true;
    loop {
        let record = match read().await {
            Ok(record) => record,
            Err(error) => {
                let why = error.to_string();
                if began.elapsed() > RUN_LIMIT || aws::names_lasting_code(&why) {
                    return Err(out_of_sight(id, &why));
                }
                if std::mem::take(&mut in_sight) {
                    listener.send(EventKind::Reconnecting);
                }
                sleep(LOOK).await;
                continue;
            }
        };
        // A record that could not be read in between was not silent.
        let back = !std::mem::replace(&mut in_sight, true);
        if let Some(record) = record {
            listener.send(EventKind::Run(Box::new(record.clone())));
            if record.is_final() {
                return Ok(record);
            }
            if back || last.is_none_or(|(updated, _)| updated != record.updated) {
                last = Some((record.updated, Instant::now()));
            }
        }
        match last {
            None if began.elapsed() > BEGIN_LIMIT => {
                return Err(Error::failed(format!("run {id} has not started"))
                    .because("the function was invoked but has not written a record")
                    .hint("check the log of the cutover function: bluegreen logs cutover (nothing was changed)")
                    .hint("run the command again: the event has expired"));
            }
            Some((_, seen)) if seen.elapsed() > SILENCE => {
                return Err(Error::failed(format!("run {id} stopped updating its record"))
                    .because("the function was probably stopped before it finished")
                    .hint("repair the listeners: bluegreen reconcile"));
            }
            _ => sleep(LOOK).await,
        }
    }
}

fn out_of_sight(id: &str, why: &str) -> Error {
    Error::failed(format!("lost track of run {id}"))
        .because(why)
        .hint(format!("check the result of the run, which continues without this command: bluegreen report {id}"))
}

/// What the end of a run means for the exit code; `None` where what was asked for is so.
pub fn verdict(record: &Record) -> Option<Error> {
    let outcome = record.outcome?;
    let kind = match outcome {
        Outcome::Done | Outcome::Noop | Outcome::Planned => return None,
        // It put an interrupted run right before it was refused: something was changed.
        Outcome::Refused if !record.recovered.is_empty() => Kind::RolledBack,
        Outcome::Refused => Kind::Refused,
        Outcome::RolledBack => Kind::RolledBack,
        Outcome::Held | Outcome::Failed => Kind::Failed,
    };
    let mut error = Error::new(kind, record.message.clone());
    if let Some(probes) = &record.probes {
        for failure in probes.failures.iter().take(3) {
            let why = failure.failure.map_or_else(String::new, |failure| failure.to_string());
            let detail = failure.detail.as_deref().unwrap_or_default();
            error = error.because(format!("probe {} in {}: {why} {detail}", failure.sequence, failure.phase));
        }
    }
    if let Some(hint) = &record.hint {
        error = error.hint(hint.clone());
    }
    Some(if outcome == Outcome::Refused {
        error
    } else {
        error.hint(format!("see every probe of the run: bluegreen report {}", record.id))
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU32, Ordering};

    use deploy::{Event, Silent};
    use model::request::Request;

    use super::*;

    /// Counts outages.
    #[derive(Default)]
    struct Outages(AtomicU32);

    impl Listener for Outages {
        fn on(&self, event: &Event) {
            if event.kind == EventKind::Reconnecting {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn record(outcome: Option<Outcome>) -> Record {
        let mut record = Record::begin("x".to_owned(), Request::default(), jiff::Timestamp::now(), String::new());
        record.outcome = outcome;
        record
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_is_followed_through_a_network_that_comes_and_goes() {
        let began = Instant::now();
        // Away from second 4 to 64, longer than a living function is ever silent, and for a moment more later.
        let read = async || match began.elapsed().as_secs() {
            4..64 | 70 => Err("dispatch failure"),
            80.. => Ok(Some(record(Some(Outcome::Done)))),
            _ => {
                let mut record = record(None);
                record.updated = jiff::Timestamp::from_second(began.elapsed().as_secs().try_into().unwrap()).unwrap();
                Ok(Some(record))
            }
        };
        let outages = Outages::default();
        let ended = follow("x", read, &outages).await.unwrap();
        assert_eq!(ended.outcome, Some(Outcome::Done));
        assert_eq!(outages.0.into_inner(), 2, "once each time it is out of sight");
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_out_of_sight_is_given_up_only_when_it_must_have_ended() {
        let began = Instant::now();
        let error = follow("x", async || Err("dispatch failure"), &Silent).await.unwrap_err();
        assert!(began.elapsed() > Duration::from_mins(15), "{:?}", began.elapsed());
        assert_eq!(error.kind().exit_code(), 1);
        assert!(error.hints()[0].contains("bluegreen report x"), "{:?}", error.hints());
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_have_expired_are_said_at_once() {
        let began = Instant::now();
        let read = async || Err("cannot read cutover/runs/x.json: ExpiredToken: the token has expired");
        let error = follow("x", read, &Silent).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(1) && error.causes()[0].contains("ExpiredToken"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_does_not_begin_or_falls_silent_is_said() {
        let error = follow("x", async || Ok::<_, String>(None), &Silent).await.unwrap_err();
        assert!(error.message().contains("has not started"), "{error}");
        let looks = Cell::new(0);
        let read = async || {
            looks.set(looks.get() + 1);
            Ok::<_, String>(Some(record(None)))
                .map(|it| it.map(|it| Record { updated: jiff::Timestamp::UNIX_EPOCH, ..it }))
        };
        let error = follow("x", read, &Silent).await.unwrap_err();
        assert!(error.message().contains("stopped updating"), "{error}");
        assert!(looks.get() > 200);
    }

    #[test]
    fn outcomes_have_their_exit_codes() {
        for (outcome, code) in [
            (Outcome::Done, None),
            (Outcome::Noop, None),
            (Outcome::Refused, Some(3)),
            (Outcome::RolledBack, Some(4)),
            (Outcome::Held, Some(1)),
            (Outcome::Failed, Some(1)),
        ] {
            assert_eq!(verdict(&record(Some(outcome))).map(|error| error.kind().exit_code()), code);
        }
    }
}
