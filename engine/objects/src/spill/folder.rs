//! A folder of our own within the spill folder, and what dead processes left there.
//!
//! Each process holds a lock (flock(2)) on a file beside its folder, which the system lets go when the
//! process ends, however it ends. A folder whose lock can be taken is nobody's, and is removed.

use std::fs::{self, DirBuilder, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What the names of our folders begin with.
const PREFIX: &str = "engine-spill-";
/// What the names of their locks end with.
const LOCK_SUFFIX: &str = ".lock";
/// A new lock is made so often at most; each time another process took it for a dead one's.
const LOCK_TRIES_MAX: u32 = 100;

/// A folder that is removed, with what is in it, when this is dropped.
pub struct OwnFolder {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: fs::File,
}

impl OwnFolder {
    /// Makes a folder in `parent`, which is made too where it does not exist, and removes those whose
    /// processes are dead.
    pub fn new(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        remove_dead(parent)?;
        for number in 0..LOCK_TRIES_MAX {
            let name = format!("{PREFIX}{}-{}-{number}", std::process::id(), random()?);
            let lock_path = parent.join(format!("{name}{LOCK_SUFFIX}"));
            let Some(lock) = take_lock(&lock_path)? else { continue };
            let path = parent.join(name);
            let made = DirBuilder::new().mode(0o700).create(&path);
            let folder = Self { path, lock_path, _lock: lock };
            return made.map(|()| folder);
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "no lock file stayed ours"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OwnFolder {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next process that starts here.
        let _ = fs::remove_dir_all(&self.path);
        let _ = fs::remove_file(&self.lock_path);
    }
}

pub(super) fn random() -> io::Result<String> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

/// The lock of this path, made where it does not exist; none when another process holds it, or
/// removed it meanwhile.
fn take_lock(path: &Path) -> io::Result<Option<fs::File>> {
    // No link is followed: the folder may be one that others write to.
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes the folders in `parent` whose processes are dead. One that cannot be removed stays.
fn remove_dead(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let name = name.strip_suffix(LOCK_SUFFIX).unwrap_or(name);
        let lock_path = parent.join(format!("{name}{LOCK_SUFFIX}"));
        if let Ok(Some(_lock)) = take_lock(&lock_path) {
            let removed = fs::remove_dir_all(parent.join(name));
            if !removed.is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
                let _ = fs::remove_file(&lock_path);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(path: &Path) -> usize {
        fs::read_dir(path).expect("a folder").count()
    }

    #[test]
    fn what_dead_processes_left_is_removed_and_what_others_use_is_not() {
        let parent = tempfile::tempdir().expect("a folder");
        let parent = parent.path();
        // As a killed process leaves it: the folder and an unlocked lock, or one of the two.
        for name in ["engine-spill-1-a-0", "engine-spill-2-b-0"] {
            fs::create_dir(parent.join(name)).expect("made");
            fs::write(parent.join(name).join("0"), b"bytes").expect("written");
        }
        fs::write(parent.join("engine-spill-1-a-0.lock"), b"").expect("written");
        fs::write(parent.join("engine-spill-3-c-0.lock"), b"").expect("written");
        fs::write(parent.join("of somebody else"), b"").expect("written");
        let first = OwnFolder::new(parent).expect("a folder");
        fs::write(first.path().join("0"), b"bytes").expect("written");
        assert_eq!(entries(parent), 3, "our folder, its lock, and somebody else's");
        let second = OwnFolder::new(parent).expect("a folder");
        assert_eq!(entries(first.path()), 1);
        assert_eq!(entries(parent), 5);
        drop(first);
        drop(second);
        assert_eq!(entries(parent), 1);
    }

    #[test]
    fn many_may_start_at_once() {
        let parent = tempfile::tempdir().expect("a folder");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let own = OwnFolder::new(parent.path()).expect("a folder");
                        fs::write(own.path().join("0"), b"bytes").expect("still there");
                    }
                });
            }
        });
        assert_eq!(entries(parent.path()), 0);
    }
}
