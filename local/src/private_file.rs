//! Files and directories that only their user can read, whatever the file mode creation mask is. A symbolic link in place
//! of a file is not followed.

use crate::error::{Context, Error, Result};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Options to create or open a private file; without access until the caller adds it.
fn options() -> OpenOptions {
    let mut options = File::options();
    options.create(true).mode(FILE_MODE).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// Opens a file for writing, and keeps its content.
pub(crate) fn open(path: &Path) -> Result<File> {
    let file =
        options().truncate(false).write(true).open(path).context(|| format!("cannot open {}", path.display()))?;
    restrict(path, file)
}

/// Creates a file, or empties it.
pub(crate) fn create(path: &Path) -> Result<File> {
    let file =
        options().truncate(true).write(true).open(path).context(|| format!("cannot write {}", path.display()))?;
    restrict(path, file)
}

/// A file of an earlier version may have more permissions.
fn restrict(path: &Path, file: File) -> Result<File> {
    let set = file.set_permissions(Permissions::from_mode(FILE_MODE));
    set.context(|| format!("cannot restrict the access to {}", path.display()))?;
    Ok(file)
}

/// Writes a file and renames it, so that a reader never sees a partial file.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let staged = path.with_file_name(name);
    create(&staged)?.write_all(content).context(|| format!("cannot write {}", staged.display()))?;
    fs::rename(&staged, path).context(|| format!("cannot write {}", path.display()))
}

/// Creates a directory that only its user can enter, or restricts an existing one. Fails if it belongs to another user,
/// who could replace its files.
pub(crate) fn directory(path: &Path) -> Result<()> {
    let shown = path.display();
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path).context(|| format!("cannot create {shown}"))?;
    let found = fs::metadata(path).context(|| format!("cannot read {shown}"))?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::new(format!("the directory {shown} belongs to another user"))
            .hint("select a directory of your own: --state DIR"));
    }
    if found.permissions().mode() & 0o777 != DIRECTORY_MODE {
        let set = fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE));
        set.context(|| format!("cannot restrict the access to {shown}"))?;
    }
    Ok(())
}

/// Creates a directory that only its user can enter. Fails if there is anything at its path.
pub(crate) fn new_directory(path: &Path) -> Result<()> {
    DirBuilder::new().mode(DIRECTORY_MODE).create(path).context(|| format!("cannot create {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_and_directories_are_private_even_if_they_were_not() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("a/state");
        directory(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        directory(&dir).unwrap();
        assert_eq!(mode(&dir), 0o700);
        let file = dir.join("log");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        replace(&dir.join("record"), b"{}").unwrap();
        open(&file).unwrap();
        assert_eq!((mode(&file), mode(&dir.join("record"))), (0o600, 0o600));
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        create(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "");
    }

    #[test]
    fn a_link_in_place_of_a_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("lock"), folder.path().join("precious"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(open(&link).is_err() && create(&link).is_err());
        assert!(!target.exists());
        replace(&link, b"own").unwrap();
        assert!(!target.exists(), "the link is replaced, not followed");
    }
}
