//! How long reads may fail during an operation of AWS: a failed read says nothing about the operation.
//! Must not know what is read.

use std::time::{Duration, Instant};

use super::event::Listener;
use super::poll::Poll;
use crate::error::{Error, Result};

/// How long AWS may be unreachable before this command stops following it. Operations there continue.
const LIMIT: Duration = Duration::from_mins(5);

/// Since when there is no answer.
#[derive(Debug, Default)]
pub(super) struct Silence {
    since: Option<Instant>,
}

impl Silence {
    /// There is an answer again.
    pub(super) fn ended(&mut self, listener: &dyn Listener) {
        if self.since.take().is_some() {
            listener.note("AWS responds again");
        }
    }

    /// A read failed; an error if it is useless to try again.
    pub(super) fn continues(&mut self, error: Error, listener: &dyn Listener) -> Result<()> {
        self.lasts(error, listener, LIMIT)
    }

    fn lasts(&mut self, error: Error, listener: &dyn Listener, limit: Duration) -> Result<()> {
        if error.is_lasting() {
            return Err(Error::Unobserved(Box::new(error)));
        }
        let since = *self.since.get_or_insert_with(|| {
            let why = error.call().and_then(|call| call.causes().first());
            let why = why.map_or_else(String::new, |cause| format!(" ({cause})"));
            listener.warn(format!("AWS does not respond{why}; retrying while started operations continue"));
            Instant::now()
        });
        if since.elapsed() < limit { Ok(()) } else { Err(Error::Unobserved(Box::new(error))) }
    }
}

/// Reads again until AWS responds: a failed read after an operation must not fail a successful operation.
pub async fn until_answered<T>(listener: &dyn Listener, read: impl AsyncFn() -> Result<T>) -> Result<T> {
    let (mut silence, mut poll) = (Silence::default(), Poll::default());
    loop {
        match read().await {
            Err(error) if error.is_transient() => silence.continues(error, listener)?,
            answer => {
                silence.ended(listener);
                return answer;
            }
        }
        poll.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use aws::CallError;

    use super::*;
    use crate::Event;

    #[derive(Default)]
    struct Heard(Mutex<Vec<Event>>);

    impl Listener for Heard {
        fn on(&self, event: &Event) {
            self.0.lock().unwrap().push(event.clone());
        }
    }

    fn unanswered(cause: &str) -> Error {
        CallError::unanswered("read", &[cause.to_owned()]).into()
    }

    fn answered(code: &str) -> Error {
        CallError::answered("read", code, "no").into()
    }

    #[test]
    fn a_failed_read_is_reported_once_and_tolerated_until_the_limit() {
        let heard = Heard::default();
        let mut silence = Silence::default();
        let errors = [answered("Throttling"), unanswered("timeout"), answered("Unheard"), unanswered("closed")];
        for error in errors {
            assert!(silence.continues(error, &heard).is_ok());
        }
        assert_eq!(heard.0.lock().unwrap().len(), 1);
        silence.ended(&heard);
        silence.ended(&heard);
        assert_eq!(heard.0.lock().unwrap().len(), 2);
    }

    #[test]
    fn after_the_limit_the_error_says_that_the_operation_is_not_observed_any_more() {
        let error = Silence::default().lasts(unanswered("timeout"), &Heard::default(), Duration::ZERO).unwrap_err();
        assert!(matches!(error, Error::Unobserved(_)), "{error:?}");
    }

    #[tokio::test]
    async fn a_read_is_tried_again_until_there_is_an_answer_or_an_error_that_stays() {
        let tries = std::cell::Cell::new(0);
        let heard = Heard::default();
        let answer = until_answered(&heard, async || {
            tries.set(tries.get() + 1);
            if tries.get() < 3 { Err(answered("Throttling")) } else { Ok(tries.get()) }
        });
        assert_eq!(answer.await.unwrap(), 3);
        let stays = until_answered::<()>(&Heard::default(), async || Err(answered("ValidationError"))).await;
        assert!(matches!(stays, Err(Error::Call(_))), "{stays:?}");
    }

    #[test]
    fn what_no_waiting_changes_is_an_error_at_once() {
        for code in ["AccessDenied", "ExpiredToken", "InvalidClientTokenId", "RequestTimeTooSkewed"] {
            let error = Silence::default().continues(answered(code), &Heard::default()).unwrap_err();
            assert!(matches!(error, Error::Unobserved(_)), "{code}");
        }
    }
}
