//! Files that only their user can read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::error::OpenError;

/// Bytes of a file that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Makes a folder of mode 700 where there is none; refuses one that others can reach.
pub(crate) fn folder(path: &Path) -> Result<(), OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(at("make the folder", path))?;
    check(path, "700")
}

fn check(path: &Path, wanted: &'static str) -> Result<(), OpenError> {
    let metadata = fs::metadata(path).map_err(at("look at", path))?;
    let mode = metadata.mode() & 0o7777;
    let (owner, me) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if (owner != me && owner != 0) || mode & 0o077 != 0 {
        return Err(OpenError::Open { path: path.to_owned(), mode, wanted });
    }
    Ok(())
}

/// Puts a file of mode 600 in place, whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = Path::new(&name);
    // One of a process that was killed meanwhile; it may have another mode.
    let _ = fs::remove_file(new);
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(new);
    let mut file = file.map_err(at("make", new))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at("write", new))?;
    fs::rename(new, path).map_err(at("put in place", path))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at("write", folder))
}

/// The text of a file that only its user can read; none when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, OpenError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(at("open", path))?,
    };
    check(path, "600")?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(at("read", path))?;
    if read as u64 > FILE_BYTES_MAX {
        let what = format!("it has more than {FILE_BYTES_MAX} bytes");
        return Err(OpenError::Damaged { path: path.to_owned(), what });
    }
    Ok(Some(text))
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::File { action, path, source }
}
