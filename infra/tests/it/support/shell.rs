//! A shell as of a user who follows a page of the documentation.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{BLUEGREEN, Cloud, Said, local_cloud};

/// A shell in a folder, with the commands on the path and a separate local cloud.
pub struct Shell<'a> {
    cloud: &'a Cloud,
    folder: PathBuf,
    commands: tempfile::TempDir,
}

impl<'a> Shell<'a> {
    pub fn new(cloud: &'a Cloud, folder: &Path) -> Self {
        let commands = tempfile::tempdir().unwrap();
        for program in [Path::new(BLUEGREEN).to_owned(), local_cloud()] {
            let name = program.file_name().unwrap().to_owned();
            std::os::unix::fs::symlink(&program, commands.path().join(name)).unwrap();
        }
        Self { cloud, folder: folder.to_owned(), commands }
    }

    /// Runs commands in the last folder of the previous commands.
    pub fn run(&mut self, commands: &str) -> Said {
        let here = self.commands.path().join("here");
        let script = format!("set -euo pipefail\ntrap 'pwd > {}' EXIT\n{commands}", here.display());
        let mut shell = Command::new("bash");
        shell.args(["-c", &script]).current_dir(&self.folder).stdin(Stdio::null());
        let path = std::env::var("PATH").unwrap();
        shell.env("PATH", format!("{}:{path}", self.commands.path().display()));
        let said = Said::of(shell.env("LOCAL_CLOUD_STATE", self.cloud.state()).output().unwrap());
        self.folder = std::fs::read_to_string(here).unwrap().trim_end().into();
        said
    }
}
