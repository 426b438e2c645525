//! Passes a person's command to a run in progress, through the ledger, because the run may be in another process. Must
//! not know what the run does with it.

use super::Stack;
use crate::balancer::Balancer;
use crate::probe::Clients;
use ledger::ObjectStore;
use model::Request;
use model::lease::Purpose;
use model::request::new_id;
use model::steering::{Command, Given, SteeringAnswer};

impl<B: Balancer, S: ObjectStore, C: Clients> Stack<B, S, C> {
    /// Passes the command to the run that holds the lease.
    pub(super) async fn steer(&self, request: &Request) -> SteeringAnswer {
        let refused = |run: Option<String>, message: String, hint: &str| {
            let hint = (!hint.is_empty()).then(|| hint.to_owned());
            SteeringAnswer { run, accepted: false, message: format!("Refused: {message}."), hint }
        };
        let Some(command) = Command::of(request.op) else {
            return refused(None, format!("{} is not a command for a run", request.op), "");
        };
        let holder = match self.ledger.holder().await {
            Ok(holder) => holder.filter(|holder| holder.info.purpose == Purpose::Cutover),
            Err(error) => return refused(None, error.to_string(), "Ask again when the ledger can be reached."),
        };
        let Some(run) = holder.map(|holder| holder.info.holder) else {
            return refused(None, "no cutover is under way".to_owned(), "Look at the status.");
        };
        if let Some(named) = request.id.as_ref().filter(|named| **named != run) {
            let message = format!("run {named} is not under way; run {run} is");
            return refused(Some(run), message, "Look at the status.");
        }
        match self.ledger.load(&run).await {
            Ok(Some(record)) if record.is_final() => {
                return refused(Some(run), format!("it has ended already: {}", record.message), "");
            }
            Ok(Some(record)) if command != Command::Abort && record.request.shift.is_empty() => {
                let message = format!("run {run} shifts prod at once, in no steps");
                return refused(Some(run), message, "It can be aborted.");
            }
            Ok(_) => {}
            Err(error) => return refused(Some(run), error.to_string(), "Ask again when the ledger can be reached."),
        }
        let given = Given { command, by: request.by.clone(), at: self.clock.now(), id: new_id() };
        match self.ledger.steer(&run, &given).await {
            Ok(()) => SteeringAnswer {
                accepted: true,
                message: format!("Run {run}: {} requested.", request.op),
                run: Some(run),
                hint: None,
            },
            Err(error) => refused(Some(run), error.to_string(), "Ask again."),
        }
    }
}
