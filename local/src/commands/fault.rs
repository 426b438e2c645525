//! `fault`: rules that make API calls and tasks fail, and the lag of the load balancer.

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

/// The subcommands of `fault`.
#[derive(Debug, Subcommand)]
pub(crate) enum FaultCommand {
    /// Make API calls fail; without filters, all calls
    Add(AddArgs),
    /// Make tasks fail; without filters, all tasks
    Task(TaskArgs),
    /// Delay the last node of the load balancer: it follows changes of listeners and rules later
    ///
    /// The other node follows each change within 0.3 s, as without a lag. With 0, both nodes follow at once, before the
    /// API answers. The lag applies until `fault clear`.
    Lag {
        /// Lag, such as 500ms, 3s, or 2m
        #[arg(value_name = "TIME", value_parser = time)]
        by: Duration,
    },
    /// List the active faults and how many calls or requests matched each
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove all faults
    Clear {
        /// Remove only the fault with this id
        id: Option<u64>,
    },
}

/// A fault of API calls.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Effect on a matching call
    effect: Effect,
    /// Match only calls of this service, by its IAM prefix: elasticloadbalancing, s3, ecs
    #[arg(long)]
    service: Option<String>,
    /// Match only this action, by its IAM name: `ModifyListener`
    #[arg(long)]
    action: Option<String>,
    /// Match only calls on a resource whose ARN contains this text
    #[arg(long, value_name = "TEXT")]
    resource: Option<String>,
    /// Match only calls of this kind of caller
    #[arg(long)]
    caller: Option<Caller>,
    /// Matching calls to let through first
    #[arg(long, value_name = "CALLS", default_value_t = 0)]
    skip: u64,
    /// Stop after this many failures
    #[arg(long, value_name = "CALLS")]
    times: Option<u64>,
    /// Delay of the effects `delay` and `late`
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000)]
    ms: u64,
}

/// A fault of tasks.
#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    /// Effect on a matching task
    effect: TaskEffect,
    /// Match only tasks whose service, task definition, or image name contains this text
    #[arg(long, value_name = "TEXT")]
    of: Option<String>,
    /// Match only requests through this listener port; health checks fail from the first such request on
    #[arg(long, value_name = "PORT")]
    listener: Option<u16>,
    /// Matching requests to let through first
    #[arg(long, value_name = "REQUESTS", default_value_t = 0)]
    skip: u64,
    /// Stop after this many failed requests
    #[arg(long, value_name = "REQUESTS")]
    times: Option<u64>,
    /// Delay of the effect `slow`
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 3000)]
    ms: u64,
    /// Response status of the effect `status`
    #[arg(long, value_name = "STATUS", default_value_t = 500, value_parser = clap::value_parser!(u16).range(400..=599))]
    status: u16,
}

/// Adds, lists, or removes faults of a running local cloud.
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
    let call = |fault: &Fault| format!("fault {}: {}; matched {} calls\n", fault.id, describe(fault), fault.turns.met);
    let task = |fault: &TaskFault| {
        format!("fault {}: {}; matched {} requests\n", fault.id, describe_task(fault), fault.turns.met)
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
        Effect::DropAnswer => "drop the responses of".to_owned(),
        Effect::Late => format!("drop, and perform {} ms later,", fault.ms),
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
        TaskEffect::Crash => "aborts on a request".to_owned(),
        TaskEffect::Oom => "runs out of memory on a request".to_owned(),
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

/// A whole number with its unit; 0 needs no unit.
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
    ms.map(Duration::from_millis).ok_or_else(|| "expected a whole number with ms, s, or m, such as 500ms".to_owned())
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
        let expected = "drop, and perform 500 ms later, elasticloadbalancing:* by functions, after 1 calls, 2 times";
        assert_eq!(describe(&fault), expected);
    }
}
