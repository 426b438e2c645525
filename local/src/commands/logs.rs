//! `logs`: output of a task, of MiniStack or of the daemon.

use super::print;
use super::status::engine_status;
use crate::engine::TaskReport;
use crate::error::{Context, Error, Result};
use crate::instance::{Layout, Record};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Prints a log. With `follow`, also prints new output until interrupted.
pub(crate) fn logs(layout: &Layout, what: &str, follow: bool) -> Result<ExitCode> {
    let path = match what {
        "daemon" => layout.daemon_log(),
        "ministack" => layout.ministack_log(),
        task => task_log(layout, task)?,
    };
    copy(&path, follow)?;
    Ok(ExitCode::SUCCESS)
}

fn task_log(layout: &Layout, wanted: &str) -> Result<PathBuf> {
    Record::running(layout)?;
    let tasks = engine_status(layout)?.tasks;
    let matches = |task: &&TaskReport| {
        task.id.starts_with(wanted)
            || task.task.as_deref().is_some_and(|id| id.starts_with(wanted))
            || task.service.as_deref() == Some(wanted)
    };
    // The newest task is last; of the tasks of a service, it is the one to show.
    tasks.iter().rfind(matches).map(|task| task.log.clone()).ok_or_else(|| {
        Error::new(format!("no task or service is named {wanted:?}")).hint("local-cloud status lists them")
    })
}

fn copy(path: &Path, follow: bool) -> Result<()> {
    let mut file = File::open(path).context(|| format!("cannot read {}", path.display()))?;
    loop {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).context(|| format!("cannot read {}", path.display()))?;
        print(&String::from_utf8_lossy(&bytes))?;
        if !follow {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200));
        // A restart truncates the file.
        let position = file.stream_position().unwrap_or(0);
        if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() < position) {
            file.seek(SeekFrom::Start(0)).context(|| format!("cannot read {}", path.display()))?;
        }
    }
}
