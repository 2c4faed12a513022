//! The folder of the authority.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::TlsError;
use crate::limits::FILE_BYTES_MAX;

/// The text of a file that holds secrets; none when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, TlsError> {
    Ok(engine_private::read_text(path, FILE_BYTES_MAX)?)
}

/// Holds others off who want to change the files of a folder, until it is dropped.
pub(crate) fn lock(folder: &Path) -> Result<File, TlsError> {
    let path = folder.join("lock");
    let at = |action| {
        let path = path.clone();
        move |source| TlsError::File { action, path, source }
    };
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(at("open"))?;
    file.lock().map_err(at("lock"))?;
    Ok(file)
}
