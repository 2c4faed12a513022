//! Files that only their user can read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::error::TlsError;
use crate::limits::FILE_BYTES_MAX;

/// Makes a folder of mode 700 where there is none; refuses one that others can reach.
pub(crate) fn private(folder: &Path) -> Result<(), TlsError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(at("make the folder", folder))?;
    check(folder, true)
}

fn check(path: &Path, is_folder: bool) -> Result<(), TlsError> {
    let metadata = fs::metadata(path).map_err(at("look at", path))?;
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let me = rustix::process::geteuid().as_raw();
    // Root's files are no secret from root, whoever this is then.
    if (owner != me && owner != 0) || mode & 0o077 != 0 {
        return Err(TlsError::Open { path: path.to_owned(), owner, mode, is_folder });
    }
    Ok(())
}

/// Puts a file of mode 600 in place, whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), TlsError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = Path::new(&name);
    // One of a process that was killed meanwhile; it may have another mode.
    let _ = fs::remove_file(new);
    let mut file =
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(new).map_err(at("make", new))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at("write", new))?;
    fs::rename(new, path).map_err(at("put in place", path))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at("write", folder))
}

/// The text of a file that holds secrets; none when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, TlsError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(at("open", path))?,
    };
    check(path, false)?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(at("read", path))?;
    if read as u64 > FILE_BYTES_MAX {
        let what = format!("it has more than {FILE_BYTES_MAX} bytes");
        return Err(TlsError::Damaged { path: path.to_owned(), what });
    }
    Ok(Some(text))
}

/// Holds others off who want to change the files of a folder, until it is dropped.
pub(crate) fn lock(folder: &Path) -> Result<File, TlsError> {
    let path = folder.join("lock");
    let file =
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(at("open", &path))?;
    file.lock().map_err(at("lock", &path))?;
    Ok(file)
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TlsError {
    let path = path.to_owned();
    move |source| TlsError::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_are_for_their_user_alone() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("a/tls");
        private(&folder).unwrap();
        let path = folder.join("secret");
        assert!(read(&path).unwrap().is_none());
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left");

        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        let error = private(&folder).unwrap_err().to_string();
        assert!(error.contains("chmod 700"), "{error}");
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("large");
        write(&path, &vec![b'x'; FILE_BYTES_MAX as usize + 1]).unwrap();
        assert!(matches!(read(&path), Err(TlsError::Damaged { .. })));
    }
}
