//! What a failed call to AWS means for the command: its causes, and what to do about it.

use aws::{CallError, CallErrorKind};

use super::{Error, Kind};

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        let mut ours = error.causes().iter().fold(Self::new(Kind::Failed, error.to_string()), Self::because);
        if error.is_transient() {
            ours = ours.for_now();
        }
        match hint(error.kind()) {
            Some(hint) => ours.hint(hint),
            None => ours,
        }
    }
}

fn hint(kind: CallErrorKind) -> Option<String> {
    let hint = match kind {
        CallErrorKind::Busy => "run the command again in a moment: AWS is busy or throttles this account",
        CallErrorKind::ExpiredCredentials => {
            "log in again, for example with aws sso login: the credentials have expired"
        }
        CallErrorKind::RejectedCredentials => "check AWS_PROFILE or the access key: AWS rejected the credentials",
        CallErrorKind::Denied => "request the permission that the error names: the credentials do not allow this call",
        CallErrorKind::ClockSkew => "set the clock of this machine: it differs too much from the clock of AWS",
        CallErrorKind::NoCredentials => {
            "set AWS_PROFILE, log in with aws sso login, or use the local cloud (local-cloud exec; with make, CLOUD=local): \
             no AWS credentials found"
        }
        CallErrorKind::NoRegion => "set AWS_REGION, for example AWS_REGION=eu-central-1",
        CallErrorKind::ConnectionLost => "run the command again: the connection to AWS was lost",
        CallErrorKind::Unreachable => {
            return Some(match std::env::var("AWS_ENDPOINT_URL") {
                Ok(endpoint) => format!(
                    "check the local cloud (local-cloud status): nothing responds at {endpoint} (AWS_ENDPOINT_URL)"
                ),
                Err(_) => "check the network and the region: AWS cannot be reached".to_owned(),
            });
        }
        CallErrorKind::Other | CallErrorKind::NotSent => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_work_in_a_moment_is_reported_from_what_will_not() {
        let busy = Error::from(CallError::answered("read it", "Throttling", "Rate exceeded"));
        assert!(busy.is_transient());
        let expired = Error::from(CallError::answered("read it", "ExpiredToken", "The security token is expired"));
        assert!(!expired.is_transient() && expired.hints()[0].contains("aws sso login"));
        let skewed = Error::from(CallError::answered("read it", "RequestTimeTooSkewed", "too large"));
        assert!(skewed.hints()[0].contains("clock"), "{:?}", skewed.hints());
        let missing = Error::from(CallError::unanswered("x", &["dispatch failure".into(), "no credentials".into()]));
        assert!(missing.hints()[0].contains("AWS_PROFILE"));
        assert_eq!((missing.message(), missing.causes()), ("cannot x", &["no credentials".to_owned()][..]));
    }
}
