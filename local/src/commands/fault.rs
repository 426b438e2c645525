//! `fault`: rules by which API calls fail on purpose.

use super::{block_on, print};
use crate::control::{self, Question};
use crate::error::{Context, Result};
use crate::gateway::{Caller, Effect, Fault};
use crate::instance::{Layout, Record};
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// What is done with faults.
#[derive(Debug, Subcommand)]
pub(crate) enum FaultCommand {
    /// Let calls fail; all calls where nothing narrows it down
    Add(AddArgs),
    /// The faults there are, and how many calls each has met
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Let calls pass again
    Clear {
        /// Only this one
        id: Option<u64>,
    },
}

/// A fault.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// What happens to a call
    effect: Effect,
    /// Only calls of this service, as IAM calls it: elasticloadbalancing, s3, ecs
    #[arg(long)]
    service: Option<String>,
    /// Only this action, as IAM calls it: `ModifyListener`
    #[arg(long)]
    action: Option<String>,
    /// Only calls on a resource with this in its ARN
    #[arg(long, value_name = "TEXT")]
    resource: Option<String>,
    /// Only calls of functions, or of clients
    #[arg(long)]
    caller: Option<Caller>,
    /// Let so many pass first
    #[arg(long, value_name = "CALLS", default_value_t = 0)]
    skip: u64,
    /// Let so many fail, then none
    #[arg(long, value_name = "CALLS")]
    times: Option<u64>,
    /// How much later, for delay and late
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000)]
    ms: u64,
}

/// Adds, lists or clears faults of a running local cloud.
pub(crate) fn fault(layout: &Layout, command: FaultCommand) -> Result<ExitCode> {
    Record::running(layout)?;
    let socket = layout.control_socket();
    let text = match command {
        FaultCommand::Add(args) => {
            let fault: Fault = block_on(control::ask(&socket, &Question::AddFault(args.into())))?;
            format!("fault {}: {}\n", fault.id, describe(&fault))
        }
        FaultCommand::List { json } => {
            let faults: Vec<Fault> = block_on(control::ask(&socket, &Question::Faults))?;
            match (json, faults.is_empty()) {
                (true, _) => serde_json::to_string_pretty(&faults).context(|| "cannot print the faults".into())? + "\n",
                (false, true) => "No faults.\n".to_owned(),
                (false, false) => {
                    let line =
                        |fault: &Fault| format!("fault {}: {}; {} calls met it", fault.id, describe(fault), fault.met);
                    faults.iter().map(line).collect::<Vec<_>>().join("\n") + "\n"
                }
            }
        }
        FaultCommand::Clear { id } => {
            let cleared: usize = block_on(control::ask(&socket, &Question::ClearFaults(id)))?;
            format!("{cleared} faults cleared\n")
        }
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

impl From<AddArgs> for Fault {
    fn from(args: AddArgs) -> Self {
        Self {
            id: 0,
            effect: args.effect,
            service: args.service,
            action: args.action,
            resource: args.resource,
            caller: args.caller,
            skip: args.skip,
            times: args.times,
            ms: args.ms,
            met: 0,
        }
    }
}

fn describe(fault: &Fault) -> String {
    let what = match fault.effect {
        Effect::Throttle => "throttle".to_owned(),
        Effect::Error => "fail".to_owned(),
        Effect::Delay => format!("delay by {} ms", fault.ms),
        Effect::Hold => "never answer".to_owned(),
        Effect::Drop => "drop".to_owned(),
        Effect::DropAnswer => "drop the answers of".to_owned(),
        Effect::Late => format!("drop, and do {} ms later,", fault.ms),
    };
    let any = |text: &Option<String>| text.clone().unwrap_or_else(|| "*".to_owned());
    let mut text = format!("{what} {}:{}", any(&fault.service), any(&fault.action));
    if let Some(resource) = &fault.resource {
        text += &format!(" on *{resource}*");
    }
    if let Some(caller) = fault.caller {
        text += match caller {
            Caller::Function => " by functions",
            Caller::Client => " by clients",
        };
    }
    if fault.skip > 0 {
        text += &format!(", after {} calls", fault.skip);
    }
    if let Some(times) = fault.times {
        text += &format!(", {times} times");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_described_by_what_it_does_to_what_and_how_often() {
        let fault = Fault {
            id: 1,
            effect: Effect::Late,
            service: Some("elasticloadbalancing".into()),
            action: None,
            resource: None,
            caller: Some(Caller::Function),
            skip: 1,
            times: Some(2),
            ms: 500,
            met: 0,
        };
        let expected = "drop, and do 500 ms later, elasticloadbalancing:* by functions, after 1 calls, 2 times";
        assert_eq!(describe(&fault), expected);
    }
}
