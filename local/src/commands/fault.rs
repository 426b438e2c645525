//! `fault`: rules by which API calls and tasks fail on purpose, and how late the load balancer is.

use super::{block_on, print};
use crate::balancer::Lag;
use crate::control::{self, Question};
use crate::error::{Context, Result};
use crate::gateway::{Caller, Effect, Fault};
use crate::instance::{Layout, Record};
use crate::rule::Turns;
use crate::task_fault::{TaskEffect, TaskFault};
use clap::{Args, Subcommand};
use std::process::ExitCode;
use std::time::Duration;

/// What is done with faults.
#[derive(Debug, Subcommand)]
pub(crate) enum FaultCommand {
    /// Let calls fail; all calls where nothing narrows it down
    Add(AddArgs),
    /// Let tasks fail; all tasks where nothing narrows it down
    Task(TaskArgs),
    /// Let the load balancer's last node follow changes of listeners and rules so much later
    ///
    /// The other node follows as ever: each change within 0.3 s. After 0s both follow at once, before the API answers. In
    /// force until `clear`.
    Lag {
        /// How much later, such as 500ms, 3s or 2m
        #[arg(value_name = "TIME", value_parser = time)]
        by: Duration,
    },
    /// The faults there are, and how many calls or requests each has met
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Let calls, tasks and the load balancer be as they are again
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

/// A fault of tasks.
#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    /// What happens to a task
    effect: TaskEffect,
    /// Only tasks with this in the name of their service, task definition or image
    #[arg(long, value_name = "TEXT")]
    of: Option<String>,
    /// Only requests through this listener port; health checks fail from the first such request on
    #[arg(long, value_name = "PORT")]
    listener: Option<u16>,
    /// Let so many requests pass first
    #[arg(long, value_name = "REQUESTS", default_value_t = 0)]
    skip: u64,
    /// Let so many requests fail, then none
    #[arg(long, value_name = "REQUESTS")]
    times: Option<u64>,
    /// How much later, for slow
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 3000)]
    ms: u64,
    /// Which status, for status
    #[arg(long, value_name = "STATUS", default_value_t = 500, value_parser = clap::value_parser!(u16).range(400..=599))]
    status: u16,
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
        FaultCommand::Task(args) => {
            let fault: TaskFault = block_on(control::ask(&socket, &Question::AddTaskFault(args.into())))?;
            format!("fault {}: {}\n", fault.id, describe_task(&fault))
        }
        FaultCommand::Lag { by } => {
            let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            let lag: Lag = block_on(control::ask(&socket, &Question::SetLag(ms)))?;
            format!("fault {}: {}\n", lag.id, describe_lag(&lag))
        }
        FaultCommand::List { json } => {
            let faults: Vec<Fault> = block_on(control::ask(&socket, &Question::Faults))?;
            let of_tasks: Vec<TaskFault> = block_on(control::ask(&socket, &Question::TaskFaults))?;
            let lag: Option<Lag> = block_on(control::ask(&socket, &Question::Lag))?;
            if json { as_json(&faults, &of_tasks, lag.as_ref())? } else { as_lines(&faults, &of_tasks, lag.as_ref()) }
        }
        FaultCommand::Clear { id } => {
            let cleared: usize = block_on(control::ask(&socket, &Question::ClearFaults(id)))?;
            format!("{cleared} faults cleared\n")
        }
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn as_json(faults: &[Fault], of_tasks: &[TaskFault], lag: Option<&Lag>) -> Result<String> {
    let all = serde_json::json!({ "calls": faults, "tasks": of_tasks, "lag": lag });
    Ok(serde_json::to_string_pretty(&all).context(|| "cannot print the faults".into())? + "\n")
}

fn as_lines(faults: &[Fault], of_tasks: &[TaskFault], lag: Option<&Lag>) -> String {
    let call = |fault: &Fault| format!("fault {}: {}; {} calls met it\n", fault.id, describe(fault), fault.turns.met);
    let task = |fault: &TaskFault| {
        format!("fault {}: {}; {} requests met it\n", fault.id, describe_task(fault), fault.turns.met)
    };
    let lag = lag.map(|lag| format!("fault {}: {}\n", lag.id, describe_lag(lag)));
    let lines: String = faults.iter().map(call).chain(of_tasks.iter().map(task)).chain(lag).collect();
    if lines.is_empty() { "No faults.\n".to_owned() } else { lines }
}

impl From<TaskArgs> for TaskFault {
    fn from(args: TaskArgs) -> Self {
        Self {
            id: 0,
            effect: args.effect,
            of: args.of,
            listener: args.listener,
            turns: Turns { skip: args.skip, times: args.times, met: 0 },
            ms: args.ms,
            status: args.status,
        }
    }
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
            turns: Turns { skip: args.skip, times: args.times, met: 0 },
            ms: args.ms,
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
    text + &fault.turns.in_words("calls")
}

fn describe_task(fault: &TaskFault) -> String {
    let what = match fault.effect {
        TaskEffect::Slow => format!("answers {} ms later", fault.ms),
        TaskEffect::Status => format!("answers {}", fault.status),
        TaskEffect::Crash => "aborts at a request".to_owned(),
        TaskEffect::Oom => "is out of memory at a request".to_owned(),
        TaskEffect::Unhealthy => "fails its health checks".to_owned(),
    };
    let of = fault.of.as_ref().map_or_else(String::new, |of| format!(" of *{of}*"));
    let mut text = format!("every task{of} {what}");
    if let Some(listener) = fault.listener {
        text += &format!(", through listener port {listener}");
    }
    text + &fault.turns.in_words("requests")
}

fn describe_lag(lag: &Lag) -> String {
    match lag.ms {
        0 => "the load balancer follows changes of listeners and rules at once".to_owned(),
        ms => format!("the load balancer's last node follows changes of listeners and rules {ms} ms later"),
    }
}

/// A whole number with its unit; 0 needs none.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: Option<u64> = number.parse().ok();
    let ms = number.and_then(|number| match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "" if number == 0 => Some(0),
        _ => None,
    });
    ms.map(Duration::from_millis).ok_or_else(|| "a time is a whole number with ms, s or m, such as 500ms".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_its_unit() {
        let ms = |text: &str| time(text).map(|time| time.as_millis());
        assert_eq!([ms("500ms"), ms("3s"), ms("2m"), ms("0"), ms("0s")], [500, 3000, 120_000, 0, 0].map(Ok));
        for wrong in ["", "3", "s", "-1s", "1.5s", "3 s", "1h", "99999999999999999999s"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_lag_is_listed_with_the_other_faults() {
        assert_eq!(as_lines(&[], &[], None), "No faults.\n");
        let lag = |ms| as_lines(&[], &[], Some(&Lag { id: 4, ms }));
        let late = "fault 4: the load balancer's last node follows changes of listeners and rules 3000 ms later\n";
        assert_eq!(lag(3000), late);
        assert_eq!(lag(0), "fault 4: the load balancer follows changes of listeners and rules at once\n");
    }

    #[test]
    fn a_fault_of_tasks_is_described_by_whom_it_means_and_what_happens() {
        let fault = TaskFault {
            id: 1,
            effect: TaskEffect::Status,
            of: Some("shop-blue".into()),
            listener: Some(80),
            turns: Turns { skip: 20, times: Some(3), met: 0 },
            ms: 0,
            status: 503,
        };
        let expected = "every task of *shop-blue* answers 503, through listener port 80, after 20 requests, 3 times";
        assert_eq!(describe_task(&fault), expected);
    }

    #[test]
    fn a_fault_is_described_by_what_it_does_to_what_and_how_often() {
        let fault = Fault {
            id: 1,
            effect: Effect::Late,
            service: Some("elasticloadbalancing".into()),
            action: None,
            resource: None,
            caller: Some(Caller::Function),
            turns: Turns { skip: 1, times: Some(2), met: 0 },
            ms: 500,
        };
        let expected = "drop, and do 500 ms later, elasticloadbalancing:* by functions, after 1 calls, 2 times";
        assert_eq!(describe(&fault), expected);
    }
}
