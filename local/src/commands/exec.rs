//! `exec` and `env`: the environment that points a program at the local cloud.

use super::print;
use crate::environment::{REMOVED, variables};
use crate::error::{Error, Result};
use crate::instance::{Layout, Record};
use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Replaces this process with the command.
pub(crate) fn exec(layout: &Layout, command: &[OsString]) -> Result<ExitCode> {
    let record = Record::running(layout)?;
    let Some((program, arguments)) = command.split_first() else {
        return Err(Error::new("no command to run").hint("local-cloud exec -- COMMAND ARGUMENTS"));
    };
    let mut command = Command::new(program);
    command.args(arguments).envs(variables(layout, &record)?);
    for name in REMOVED {
        command.env_remove(name);
    }
    let error = command.exec();
    Err(Error::new(format!("cannot run {}: {error}", program.to_string_lossy())))
}

/// Prints the environment for a shell.
pub(crate) fn env(layout: &Layout) -> Result<ExitCode> {
    let record = Record::running(layout)?;
    let mut text = format!("unset {}\n", REMOVED.join(" "));
    for (name, value) in variables(layout, &record)? {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "export {name}='{}'", value.replace('\'', r"'\''"));
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
