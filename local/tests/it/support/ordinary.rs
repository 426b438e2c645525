//! An ordinary user for tests that run as root.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user, and its group.
pub const USER: u32 = 54_321;

/// A Python with the packages of `python` that the user can run: this one, or one in `folder`. None if there is none.
pub fn python_for_user(python: &Path, folder: &Path) -> Option<PathBuf> {
    let packages = python.parent().and_then(Path::parent).unwrap().join("lib");
    let packages = std::fs::read_dir(packages).unwrap().flatten().next()?.path();
    // The interpreter of the project can be in the home of root. The one of the system reads the same packages.
    let version = packages.file_name()?.to_str()?.to_owned();
    let own = folder.join("python");
    let script = format!(
        "#!/bin/sh\nPYTHONPATH=$PYTHONPATH:{}/site-packages exec /usr/bin/{version} \"$@\"\n",
        packages.display()
    );
    std::fs::write(&own, script).unwrap();
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).unwrap();
    let runs = |python: &PathBuf| {
        let output = Command::new(python).args(["-c", "import ministack, docker"]).uid(USER).gid(USER).output();
        output.is_ok_and(|output| output.status.success())
    };
    [python.to_owned(), own].into_iter().find(runs)
}
