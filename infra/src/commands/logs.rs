//! `bluegreen logs`: what an environment's tasks or the cutover function have written, and what they write from now on.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_cloudwatchlogs::types::FilteredLogEvent;
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
use model::color::Color;
use serde::Serialize;

use crate::args::duration;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::session::{Session, json_line, print_text};
use crate::ui::Style;
use aws::Calling as _;
use deploy::{Cloud, DeployedStack};

/// The pause between two reads of a followed log. The log service allows five requests per second and account.
const LOOK: Duration = Duration::from_secs(1);

/// The overlap of two reads: lines of several tasks do not arrive in order.
const OVERLAP: Duration = Duration::from_secs(10);

/// The arguments of `logs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Log to show.
    #[arg(value_enum)]
    source: Source,
    /// Keep printing new lines until interrupted.
    #[arg(long, short)]
    follow: bool,
    /// Show lines from this time ago, such as 30s, 10m, 2h.
    #[arg(long, default_value = "10m", value_parser = duration)]
    since: Duration,
}

impl Args {
    /// Prints the lines.
    pub async fn run(&self, session: &Session) -> Result<()> {
        let (style, json) = (Style::of_stdout(), session.json);
        let mut print = move |line: &Line| {
            if json {
                return print_text(&json_line(line)?);
            }
            let head = format!("{} {}", line.time.strftime("%H:%M:%S"), line.stream);
            // A program may write control characters, which must not reach the terminal.
            let text: String =
                line.text.chars().map(|it| if it.is_control() && it != '\t' { '\u{fffd}' } else { it }).collect();
            print_text(&format!("{} {text}\n", style.dim(&head)))
        };
        follow(&session.context, self, &mut print).await
    }
}

/// The log to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// The blue environment.
    Blue,
    /// The green environment.
    Green,
    /// The environment that serves prod, or both while a cutover splits prod.
    Prod,
    /// The environment that dev points at.
    Dev,
    /// The cutover function.
    Cutover,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// When it was written.
    pub time: jiff::Timestamp,
    /// The task's short id, or the stream's name; prefixed with the environment if lines of both are shown.
    pub stream: String,
    /// What was written.
    pub text: String,
}

/// Gives every line to `sink`, until there are no more or it fails.
async fn follow(context: &Context, request: &Args, sink: &mut (dyn FnMut(&Line) -> Result<()> + Send)) -> Result<()> {
    let cloud = Cloud::connect(&context.settings).await?;
    let groups = log_groups(context, &cloud, request.source).await?;
    let now = jiff::Timestamp::now().as_millisecond();
    let mut from = now - i64::try_from(request.since.as_millis()).unwrap_or(i64::MAX);
    let overlap = i64::try_from(OVERLAP.as_millis()).unwrap_or_default();
    let mut seen = HashSet::new();
    loop {
        match read_all(&cloud, &groups, from).await {
            Ok(events) => {
                for (of, event) in &events {
                    if seen.insert(event.event_id().unwrap_or_default().to_owned()) {
                        sink(&line(*of, event))?;
                    }
                }
                if let Some(newest) = events.iter().filter_map(|(_, event)| event.timestamp()).max() {
                    from = from.max(newest - overlap);
                }
            }
            // A single failed request is not reported while following a log.
            Err(error) if request.follow && error.is_transient() => {}
            Err(error) => return Err(error),
        }
        if !request.follow {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A log group, and its environment if there are several.
type Group = (Option<Color>, String);

async fn log_groups(context: &Context, cloud: &Cloud, source: Source) -> Result<Vec<Group>> {
    let stack = DeployedStack::require(cloud, &context.stack).await?;
    let outputs = stack.outputs()?;
    let of = |color| Ok(vec![(None, outputs.log_group(color).to_owned())]);
    match source {
        Source::Blue => of(Color::Blue),
        Source::Green => of(Color::Green),
        Source::Prod => {
            let traffic = cloud.traffic(&stack.name, &outputs).await?;
            let split = traffic.prod.route().filter(|route| route.whole().is_none());
            let Some(split) = split else { return of(traffic.require_live()?) };
            context.listener.note(format!("prod is split into {split}: showing the logs of both environments"));
            Ok(Color::ALL.into_iter().map(|color| (Some(color), outputs.log_group(color).to_owned())).collect())
        }
        Source::Dev => of(cloud.traffic(&stack.name, &outputs).await?.dev_color().ok_or_else(|| {
            Error::refused("dev does not forward to an environment of this stack")
                .hint("name an environment: bluegreen logs blue")
        })?),
        Source::Cutover => Ok(vec![(None, function_log_group(cloud, &stack).await?)]),
    }
}

async fn function_log_group(cloud: &Cloud, stack: &DeployedStack) -> Result<String> {
    let answer = cloud
        .cloudformation
        .describe_stack_resource()
        .stack_name(&stack.id)
        .logical_resource_id("CutoverLogGroup")
        .send()
        .await
        .calling(|| "find the log of the cutover function".to_owned())?;
    answer.stack_resource_detail.and_then(|detail| detail.physical_resource_id).ok_or_else(|| {
        Error::failed("the cutover function has no log group yet").hint("finish the deployment: bluegreen deploy")
    })
}

/// The events of all groups since `from` (milliseconds), in the order of their times.
async fn read_all(cloud: &Cloud, groups: &[Group], from: i64) -> Result<Vec<(Option<Color>, FilteredLogEvent)>> {
    let reads = groups.iter().map(|(of, group)| async move {
        let events = read(cloud, group, from).await?;
        Ok::<_, Error>(events.into_iter().map(|event| (*of, event)).collect::<Vec<_>>())
    });
    let mut events = futures_util::future::try_join_all(reads).await?.concat();
    events.sort_by_key(|(_, event)| event.timestamp());
    Ok(events)
}

/// The events of a group since `from` (milliseconds).
async fn read(cloud: &Cloud, group: &str, from: i64) -> Result<Vec<FilteredLogEvent>> {
    let mut pages =
        cloud.logs.filter_log_events().log_group_name(group).start_time(from.max(0)).into_paginator().send();
    let mut events = Vec::new();
    while let Some(page) = pages.next().await {
        match page {
            Ok(page) => events.extend(page.events.unwrap_or_default()),
            // Nothing has been written yet.
            Err(error) if error.code() == Some("ResourceNotFoundException") => break,
            Err(error) => Err(error).calling(|| format!("read log {group}"))?,
        }
    }
    Ok(events)
}

fn line(of: Option<Color>, event: &FilteredLogEvent) -> Line {
    let time = event.timestamp().and_then(|at| jiff::Timestamp::from_millisecond(at).ok()).unwrap_or_default();
    let stream = event.log_stream_name().unwrap_or_default();
    // `app/app/<task id>`: the start of the id identifies the task.
    let stream = match stream.strip_prefix("app/app/") {
        Some(task) => task.chars().take(8).collect(),
        None => stream.to_owned(),
    };
    let stream = of.map_or(stream.clone(), |color| format!("{color}/{stream}"));
    Line { time, stream, text: event.message().unwrap_or_default().trim_end().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_and_which_task() {
        let event = FilteredLogEvent::builder()
            .timestamp(1_763_892_000_123)
            .log_stream_name("app/app/3f2a9c0d1e5b4a6f8c7d9e0b1a2c3d4e")
            .message("listening\n")
            .build();
        assert_eq!(line(Some(Color::Blue), &event).stream, "blue/3f2a9c0d");
        let line = line(None, &event);
        assert_eq!((line.stream.as_str(), line.text.as_str()), ("3f2a9c0d", "listening"));
        assert_eq!(line.time.to_string(), "2025-11-23T10:00:00.123Z");
    }
}
