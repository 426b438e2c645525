//! `bluegreen abort`: stops the run in progress, which sends users back to the old side.

use std::process::ExitCode;

use crate::error::Result;
use crate::interrupt::INTERRUPTED;
use crate::runs::{attend, steer};
use crate::session::{Session, print_json};

/// The arguments of `abort`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: steer::Which,
}

impl Args {
    /// Aborts the run, and follows it to its end.
    pub async fn run(&self, session: &Session) -> Result<ExitCode> {
        let work = async {
            match steer::abort(&session.context, self.which.id.clone(), &*session.context.listener).await? {
                (_, Some(record)) => attend::end(&record, steer::verdict(&record), session.json),
                (answer, None) => {
                    if session.json {
                        print_json(&answer)?;
                    }
                    steer::refusal(&answer).map_or(Ok(()), Err)
                }
            }
        };
        tokio::select! {
            result = work => result.map(|()| ExitCode::SUCCESS),
            _ = session.next_signal() => {
                session.say_last("interrupted. The run stops without this command: bluegreen status shows its result.");
                Ok(ExitCode::from(INTERRUPTED))
            }
        }
    }
}
