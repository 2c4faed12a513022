//! Files that only their user can read: keys, tokens, what is refused. They are put in place whole or not at all,
//! and one that others can reach is not used.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file or folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others can reach it.
    #[error(
        "{} is open to others (owner {owner}, mode {mode:o}): make it yours alone, with `chmod {}`",
        path.display(),
        if *is_folder { "700" } else { "600" }
    )]
    Open {
        /// What is open.
        path: PathBuf,
        /// Its owner's id.
        owner: u32,
        /// Its permission bits.
        mode: u32,
        /// Whether it is a folder.
        is_folder: bool,
    },
    /// It is larger than anything that an engine writes there.
    #[error("{} has more than {bytes_max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What it may have.
        bytes_max: u64,
    },
}

/// What files are called that are not in place yet.
const NEW: &str = ".new-";

/// Makes a folder of mode 700 where there is none.
///
/// # Errors
/// When it cannot be made, or others can reach it.
pub fn folder(path: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(at("make the folder", path))?;
    check(path, true)
}

fn check(path: &Path, is_folder: bool) -> Result<(), Error> {
    let metadata = fs::metadata(path).map_err(at("look at", path))?;
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let me = rustix::process::geteuid().as_raw();
    // Root's files are no secret from root, whoever this is then.
    if (owner != me && owner != 0) || mode & 0o077 != 0 {
        return Err(Error::Open { path: path.to_owned(), owner, mode, is_folder });
    }
    Ok(())
}

/// Puts a file of mode 600 in place, whole or not at all; it is on disk when this returns.
///
/// # Errors
/// When it cannot be written. What was there before is there then.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut name = std::ffi::OsString::from(NEW);
    name.push(path.file_name().unwrap_or_default());
    let new = folder.join(name);
    // One of a process that was killed meanwhile; it may have another mode.
    let _ = fs::remove_file(&new);
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new);
    let mut file = file.map_err(at("make", &new))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at("write", &new))?;
    fs::rename(&new, path).map_err(at("put in place", path))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at("write", folder))
}

/// Whether a file of this name is one that [`write()`] had not put in place when its process ended.
pub fn is_unfinished(name: &str) -> bool {
    name.starts_with(NEW)
}

/// What is in a file; none when there is none.
///
/// # Errors
/// When it cannot be read, others can reach it, or it has more than `bytes_max` bytes.
pub fn read(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(at("open", path))?,
    };
    check(path, false)?;
    let mut bytes = Vec::new();
    let read = file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(at("read", path))?;
    match read as u64 > bytes_max {
        true => Err(Error::TooLarge { path: path.to_owned(), bytes_max }),
        false => Ok(Some(bytes)),
    }
}

/// The text of a file; none when there is none.
///
/// # Errors
/// As [`read`]; when it is no text.
pub fn read_text(path: &Path, bytes_max: u64) -> Result<Option<String>, Error> {
    let Some(bytes) = read(path, bytes_max)? else { return Ok(None) };
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|error| at("read", path)(io::Error::new(io::ErrorKind::InvalidData, error)))
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_are_for_their_user_alone() {
        let temp = tempfile::tempdir().unwrap();
        let own = temp.path().join("a/tls");
        folder(&own).unwrap();
        let path = own.join("secret");
        assert!(read(&path, 10).unwrap().is_none());
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read_text(&path, 3).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&own).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&own).unwrap().count(), 1, "nothing else is left");

        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = read(&path, 10).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        fs::set_permissions(&own, Permissions::from_mode(0o755)).unwrap();
        let error = folder(&own).unwrap_err().to_string();
        assert!(error.contains("chmod 700"), "{error}");
    }

    #[test]
    fn what_a_killed_process_has_left_does_not_stand_in_the_way() {
        let temp = tempfile::tempdir().unwrap();
        let (path, left) = (temp.path().join("key"), temp.path().join(".new-key"));
        fs::write(&left, "half").unwrap();
        fs::set_permissions(&left, Permissions::from_mode(0o644)).unwrap();
        assert!(is_unfinished(".new-key") && !is_unfinished("key.new"));
        write(&path, b"whole").unwrap();
        assert_eq!(read(&path, 10).unwrap().as_deref(), Some(b"whole".as_slice()));
        assert!(!left.exists());
    }

    #[test]
    fn what_is_too_large_or_no_text_is_not_read() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("large");
        write(&path, b"\xff1234").unwrap();
        assert!(matches!(read(&path, 4), Err(Error::TooLarge { bytes_max: 4, .. })));
        assert!(matches!(read_text(&path, 5), Err(Error::File { action: "read", .. })));
    }
}
