//! How long reads may fail during an operation of AWS: a failed read says nothing about the operation.
//! Must not know what is read.

use std::time::{Duration, Instant};

use super::event::Listener;
use super::poll::Poll;
use crate::error::Error;

/// How long AWS may be unreachable before this command stops following it. Operations there continue.
const LIMIT: Duration = Duration::from_mins(5);

/// Error codes that no waiting changes: who asks has to do something first.
pub const LASTING: [&str; 11] = [
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "RequestTimeTooSkewed",
];

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
    pub(super) fn goes_on(&mut self, error: Error, listener: &dyn Listener) -> Result<(), Error> {
        self.lasts(error, listener, LIMIT)
    }

    fn lasts(&mut self, error: Error, listener: &dyn Listener, limit: Duration) -> Result<(), Error> {
        if is_lasting(&error) {
            return Err(goes_on(error));
        }
        let since = *self.since.get_or_insert_with(|| {
            let why = error.causes().first().map_or_else(String::new, |cause| format!(" ({cause})"));
            listener.warn(format!("AWS does not respond{why}; retrying while started operations continue"));
            Instant::now()
        });
        if since.elapsed() < limit { Ok(()) } else { Err(goes_on(error)) }
    }
}

/// Whether the call fails until a person fixes the cause.
fn is_lasting(error: &Error) -> bool {
    let code = error.causes().first().and_then(|cause| cause.split_once(": ")).map(|(code, _)| code);
    !error.is_transient() && code.is_some_and(|code| LASTING.contains(&code))
}

/// An error of the reads, not of the operation.
pub(super) fn goes_on(error: Error) -> Error {
    error.hint("run the command again to follow the operation, which CloudFormation finishes by itself")
}

/// Reads again until AWS responds: a failed read after an operation must not fail a successful operation.
pub async fn until_answered<T>(listener: &dyn Listener, read: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    let (mut silence, mut poll) = (Silence::default(), Poll::default());
    loop {
        match read().await {
            Err(error) if error.is_transient() => silence.goes_on(error, listener)?,
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

    use super::*;
    use crate::deploy::Event;

    #[derive(Default)]
    struct Heard(Mutex<Vec<Event>>);

    impl Listener for Heard {
        fn on(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }

    fn failed(cause: &str) -> Error {
        Error::failed("cannot read").because(cause)
    }

    #[test]
    fn a_failed_read_is_told_once_and_tolerated_until_the_limit() {
        let heard = Heard::default();
        let mut silence = Silence::default();
        for cause in ["Throttling: Rate exceeded", "timeout", "Unheard: of", "connection closed"] {
            assert!(silence.goes_on(failed(cause), &heard).is_ok(), "{cause}");
        }
        assert_eq!(heard.0.lock().unwrap().len(), 1);
        silence.ended(&heard);
        silence.ended(&heard);
        assert_eq!(heard.0.lock().unwrap().len(), 2);
    }

    #[test]
    fn after_the_limit_the_error_says_that_the_operation_goes_on() {
        let error = Silence::default().lasts(failed("timeout"), &Heard::default(), Duration::ZERO).unwrap_err();
        assert!(error.hints()[0].contains("finishes by itself"), "{:?}", error.hints());
    }

    #[tokio::test]
    async fn a_read_is_tried_again_until_there_is_an_answer_or_an_error_that_stays() {
        let tries = std::cell::Cell::new(0);
        let busy = || crate::error::service_error("read".to_owned(), "Throttling", "Rate exceeded");
        let heard = Heard::default();
        let answer = until_answered(&heard, async || {
            tries.set(tries.get() + 1);
            if tries.get() < 3 { Err(busy()) } else { Ok(tries.get()) }
        });
        assert_eq!(answer.await.unwrap(), 3);
        assert!(until_answered::<()>(&Heard::default(), async || Err(failed("no such stack"))).await.is_err());
    }

    #[test]
    fn what_no_waiting_changes_is_an_error_at_once() {
        for code in LASTING {
            let error = Silence::default().goes_on(failed(&format!("{code}: no")), &Heard::default()).unwrap_err();
            assert!(error.hints()[0].contains("finishes by itself"), "{code}");
        }
    }
}
