//! The folder and its files, each named by the number of its first line.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::entry::{Line, hash};
use crate::error::{AuditError, at};
use crate::limits::Limits;

/// Keeps other engines from the folder as long as it lives.
pub(crate) fn lock(folder: &Path) -> Result<File, AuditError> {
    let path = folder.join("lock");
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let file = file.map_err(at("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AuditError::Locked(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(at("lock", &path)(source)),
    }
}

/// The files that there are, the oldest first, each with the number of its first line.
pub(crate) fn listed(folder: &Path) -> Result<Vec<(u64, PathBuf)>, AuditError> {
    let entries = fs::read_dir(folder).map_err(at("list", folder))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(at("list", folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix("audit-").and_then(|rest| rest.strip_suffix(".jsonl"));
        if let Some(number) = number.and_then(|digits| digits.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

fn named(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("audit-{first:012}.jsonl"))
}

/// The end of the log, where lines are added.
pub(crate) struct End {
    folder: PathBuf,
    limits: Limits,
    /// The file that is written; none: the next line begins one.
    file: Option<(File, PathBuf)>,
    /// Its bytes that are whole lines.
    bytes: u64,
    /// The number of the next line.
    pub(crate) next: u64,
    /// What the next line has of the one before.
    pub(crate) previous: String,
}

impl End {
    /// Goes on where the last engine has stopped. What it left of a line that it had not written whole goes.
    pub(crate) fn open(folder: &Path, limits: Limits) -> Result<Self, AuditError> {
        let folder = folder.to_owned();
        let mut end = Self { folder, limits, file: None, bytes: 0, next: 1, previous: String::new() };
        for (first, path) in listed(&end.folder)?.into_iter().rev() {
            let bytes = fs::read(&path).map_err(at("read", &path))?;
            let whole = memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1);
            if end.file.is_none() {
                let file = OpenOptions::new().append(true).open(&path).map_err(at("open", &path))?;
                if whole < bytes.len() {
                    tracing::warn!(file = %path.display(), "a line of the audit log was not written whole, and goes");
                    file.set_len(whole as u64).map_err(at("shorten", &path))?;
                }
                (end.file, end.bytes, end.next) = (Some((file, path.clone())), whole as u64, first);
            }
            let Some(last) = bytes[..whole].split(|byte| *byte == b'\n').rfind(|line| !line.is_empty())
            else {
                continue;
            };
            let line: Line = serde_json::from_slice(last).map_err(|error| AuditError::Line {
                path: path.clone(),
                line: bytes[..whole].iter().filter(|byte| **byte == b'\n').count(),
                what: format!(
                    "it is no line that an engine writes ({error}): move the folder away to begin anew"
                ),
            })?;
            (end.next, end.previous) = (line.number + 1, hash(last));
            break;
        }
        Ok(end)
    }

    /// Adds whole lines, and has them on disk. When that fails nothing of them is there.
    pub(crate) fn append(&mut self, lines: &[u8], first: u64) -> Result<(), AuditError> {
        if self.bytes > 0 && self.bytes + lines.len() as u64 > self.limits.audit_file_bytes_max {
            self.file = None;
        }
        if self.file.is_none() {
            self.begin(first)?;
        }
        let Some((file, path)) = &mut self.file else { return Ok(()) };
        if let Err(error) = file.write_all(lines).and_then(|()| file.sync_data()) {
            // Half a line in the middle would break the chain for ever.
            let shortened = file.set_len(self.bytes);
            return Err(at("write", path)(shortened.err().unwrap_or(error)));
        }
        self.bytes += lines.len() as u64;
        Ok(())
    }

    fn begin(&mut self, first: u64) -> Result<(), AuditError> {
        let path = named(&self.folder, first);
        // One that an earlier attempt has left has nothing in it.
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = file.map_err(at("make", &path))?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(at("write", &self.folder))?;
        let files = listed(&self.folder)?;
        for (_, old) in files.iter().rev().skip(self.limits.audit_files_max.max(1)) {
            fs::remove_file(old).map_err(at("remove", old))?;
        }
        (self.file, self.bytes) = (Some((file, path)), 0);
        Ok(())
    }
}
