//! `calls`: recent API calls, from the journal of the gateway.

use super::{block_on, print};
use crate::control::{self, Question};
use crate::error::{Context, Result};
use crate::gateway::{Caller, Entry};
use crate::instance::{Layout, Record};
use std::process::ExitCode;

/// Prints the calls after the call with a number.
pub(crate) fn calls(layout: &Layout, json: bool, after: u64, caller: Option<Caller>) -> Result<ExitCode> {
    Record::running(layout)?;
    let calls: Vec<Entry> = block_on(control::ask(&layout.control_socket(), &Question::Calls { after, caller }))?;
    let text = if json {
        serde_json::to_string_pretty(&calls).context(|| "cannot print the calls".into())? + "\n"
    } else {
        calls.iter().map(|entry| line(entry) + "\n").collect()
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn line(entry: &Entry) -> String {
    let caller = match entry.call.caller {
        Caller::Function => "function",
        Caller::Client => "client",
    };
    let status = entry.status.map_or_else(|| "dropped".to_owned(), |status| status.to_string());
    let fault = entry.fault.as_ref().map(|fault| format!(" (fault: {fault})")).unwrap_or_default();
    let name = format!("{}:{}", entry.call.service, entry.call.action);
    let resources = entry.call.resources.join(" ");
    let took = format!("{} ms", entry.took_ms);
    format!("{:>6} {caller:<8} {status:<7} {took:>8} {name}{fault} {resources}", entry.number).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Call;

    #[test]
    fn a_call_is_one_line() {
        let entry = Entry {
            number: 7,
            at: jiff::Timestamp::UNIX_EPOCH,
            call: Call {
                service: "s3".into(),
                action: "PutObject".into(),
                resources: vec!["arn:aws:s3:::b/k".into()],
                caller: Caller::Function,
            },
            status: None,
            fault: Some("drop-answer".into()),
            took_ms: 3,
        };
        assert_eq!(line(&entry), "     7 function dropped     3 ms s3:PutObject (fault: drop-answer) arn:aws:s3:::b/k");
    }
}
