//! The cache folder, outside any build folder so that `cargo clean` leaves it alone.

use crate::{Error, progress::Progress};
use std::fs::{self, File, TryLockError};
use std::path::PathBuf;

/// Where things are kept that take long to make: `$ENGINE_CACHE_DIR`, else
/// `$XDG_CACHE_HOME/engine`, else `~/.cache/engine`. Created if it is not there.
pub fn cache_dir() -> Result<PathBuf, Error> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let dir = if let Some(dir) = of("ENGINE_CACHE_DIR") {
        PathBuf::from(dir)
    } else if let Some(base) = of("XDG_CACHE_HOME") {
        PathBuf::from(base).join("engine")
    } else if let Some(home) = of("HOME") {
        PathBuf::from(home).join(".cache/engine")
    } else {
        std::env::temp_dir().join("engine-cache")
    };
    // Wrappers in it are run from other folders.
    let dir = std::path::absolute(&dir).map_err(Error::io("cannot resolve", dir))?;
    fs::create_dir_all(&dir).map_err(Error::io("cannot create the cache folder", &dir))?;
    Ok(dir)
}

/// Holds the named lock of the cache until it is dropped; waits while another process holds it.
pub(crate) fn lock(name: &str, progress: &Progress) -> Result<File, Error> {
    let path = cache_dir()?.join(format!("{name}.lock"));
    let file = File::create(&path).map_err(Error::io("cannot create the lock", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let step = progress.step(format!("waiting for another process that holds {}", path.display()));
            file.lock().map_err(Error::io("cannot lock", &path))?;
            step.finish();
        }
        Err(TryLockError::Error(source)) => {
            return Err(Error::Io { what: "cannot lock", path, source });
        }
    }
    Ok(file)
}
