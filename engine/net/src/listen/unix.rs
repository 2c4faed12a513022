//! A socket in the file system that only its user can reach.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use super::BindError;

/// Bytes of a path that fit into `sockaddr_un`, without the zero at its end.
const PATH_BYTES_MAX: usize = 107;

/// A socket of mode 600 in a directory of mode 700. The socket is removed when this is dropped.
#[derive(Debug)]
pub struct UnixSocket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    /// Locked as long as this lives: how the next engine knows whether the socket is stale.
    _lock: File,
}

impl UnixSocket {
    /// Listens on a path. Its directory is made when it is missing, and refused when others can reach
    /// it. The socket that an engine left behind when it was killed is replaced; one that is listened
    /// on is [`BindError::AlreadyRunning`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        if path.as_os_str().len() > PATH_BYTES_MAX {
            return Err(BindError::PathTooLong { path: path.to_owned(), max: PATH_BYTES_MAX });
        }
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        private_directory(directory)?;
        let lock = lock(path)?;
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(io("listen on", path))?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(io("set the mode of", path))?;
        Ok(Self { listener, path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        // The lock is held until after this, so that the socket is still ours.
        let _ = fs::remove_file(&self.path);
    }
}

fn private_directory(directory: &Path) -> Result<(), BindError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(io("make the directory", directory))?;
    let metadata = fs::metadata(directory).map_err(io("look at", directory))?;
    let mode = metadata.mode() & 0o7777;
    if metadata.uid() != rustix::process::geteuid().as_raw() || mode & 0o077 != 0 {
        return Err(BindError::DirectoryOpen { path: directory.to_owned(), owner: metadata.uid(), mode });
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, BindError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&name)
        .map_err(io("open the lock file", &name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BindError::AlreadyRunning { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io("lock", &name)(source)),
    }
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io("look at", path)(error)),
        Ok(metadata) if metadata.file_type().is_socket() => {
            fs::remove_file(path).map_err(io("remove the stale socket", path))
        }
        Ok(_) => Err(BindError::NotASocket { path: path.to_owned() }),
    }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BindError {
    let at = path.display().to_string();
    move |source| BindError::Io { action, at, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn a_socket_is_reachable_by_its_user_only_and_goes_with_its_engine() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("run/engine.sock");
        let socket = UnixSocket::bind(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        drop(socket);
        assert!(!path.exists());
        UnixSocket::bind(&path).unwrap();
    }

    #[tokio::test]
    async fn a_live_socket_is_left_alone_and_a_stale_one_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("engine.sock");
        fs::set_permissions(temp.path(), Permissions::from_mode(0o700)).unwrap();
        // As a killed engine leaves it: bound, not removed, not locked.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = UnixSocket::bind(&path).unwrap();
        let error = UnixSocket::bind(&path).unwrap_err();
        assert!(matches!(error, BindError::AlreadyRunning { .. }), "{error}");
        assert!(path.exists());
        drop(first);
    }

    #[tokio::test]
    async fn a_directory_that_others_can_reach_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), Permissions::from_mode(0o755)).unwrap();
        let error = UnixSocket::bind(&temp.path().join("engine.sock")).unwrap_err();
        assert!(error.to_string().contains("mode 755"), "{error}");
    }

    #[tokio::test]
    async fn what_is_not_a_socket_is_not_removed() {
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), Permissions::from_mode(0o700)).unwrap();
        let path = temp.path().join("notes.txt");
        fs::write(&path, "mine").unwrap();
        assert!(matches!(UnixSocket::bind(&path), Err(BindError::NotASocket { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }

    #[tokio::test]
    async fn a_path_that_does_not_fit_is_refused_in_words() {
        let error = UnixSocket::bind(Path::new(&format!("/tmp/{}", "x".repeat(200)))).unwrap_err();
        assert!(matches!(error, BindError::PathTooLong { .. }), "{error}");
    }
}
