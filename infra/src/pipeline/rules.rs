//! The listener rules that carry traffic, for a stack of an older version that has none.

use aws::rules::Rules;
use deploy::Traffic;
use model::route::{Listener, Route};
use stack::outputs::Outputs;

use super::Job;
use crate::error::{Error, Result};

/// Tries of making the rules of a stack that has none.
const TRIES: u32 = 3;

/// Creates the rules that carry traffic, equal to the default actions of a stack of an older version: after that
/// no update of the stack can move users. A rule precedes the equal default action, so users notice nothing.
pub(super) async fn make(job: Job<'_>, outputs: &Outputs, traffic: Traffic) -> Result<Traffic> {
    let Job { context, cloud, .. } = job;
    let (Some(prod), Some(dev)) = (traffic.prod.route(), traffic.dev.route()) else { return Ok(traffic) };
    if traffic.by_rules {
        return Ok(traffic);
    }
    let timer = context.listener.start("create the listener rules of prod and dev");
    let rules = cloud.rules(&context.stack, outputs);
    let mut tries = 0;
    loop {
        let written = write(&rules, prod, dev).await;
        let found = cloud.traffic(&context.stack, outputs).await?;
        if found.by_rules && (found.prod.route(), found.dev.route()) == (Some(prod), Some(dev)) {
            timer.finish(&*context.listener, "traffic was not moved");
            return Ok(found);
        }
        tries += 1;
        if tries == TRIES {
            let error = Error::failed("cannot create the listener rules: traffic was not moved");
            return Err(written.err().into_iter().fold(error, Error::because));
        }
    }
}

/// Writes both rules, whether or not the first one can be written; the first error counts.
async fn write(rules: &Rules, prod: Route, dev: Route) -> Result<(), aws::rules::BalancerError> {
    let first = rules.write(Listener::Prod, prod).await;
    first.and(rules.write(Listener::Dev, dev).await)
}
