//! Whether the lines are those that were written.

use std::fs;
use std::path::Path;

use crate::entry::{Line, hash};
use crate::error::{AuditError, at};
use crate::files;

/// A log whose lines follow one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many files there are.
    pub files: usize,
    /// The number of the first line that is kept; 1, or later when older files were removed as there were enough.
    pub first: u64,
    /// The number of the last line.
    pub last: u64,
    /// The hash of the last line. Who keeps it elsewhere sees later whether lines were cut off at the end.
    pub hash: String,
    /// Whether the hash that was asked for is that of one of the lines.
    pub has_known: bool,
}

/// Looks at every line: each has the number after, and the hash of, the line before. `known`: the hash of a line,
/// as it was told earlier.
///
/// # Errors
/// The first line that does not follow, and how.
pub fn verify(folder: &Path, known: Option<&str>) -> Result<Verified, AuditError> {
    let files = files::listed(folder)?;
    let mut last: Option<(u64, String)> = None;
    let (mut first, mut has_known) = (0, false);
    for (named, path) in &files {
        let text = fs::read(path).map_err(at("read", path))?;
        for (index, text) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let wrong = |what: String| AuditError::Line { path: path.clone(), line: index + 1, what };
            let Some(text) = text.strip_suffix(b"\n") else {
                return Err(wrong(
                    "the line is not whole: the engine that wrote it was cut off, or writes it now".into(),
                ));
            };
            let line: Line = serde_json::from_slice(text)
                .map_err(|error| wrong(format!("it is no line that an engine writes ({error})")))?;
            if index == 0 && line.number != *named {
                return Err(wrong(format!(
                    "the file's name says that it begins with line {named}, and it begins with {}",
                    line.number
                )));
            }
            match &last {
                None => first = line.number,
                Some((number, _)) if line.number != number + 1 => {
                    return Err(wrong(format!(
                        "line {} stands after line {number}: lines are missing, or were moved",
                        line.number
                    )));
                }
                Some((number, hash)) if line.previous != *hash => {
                    return Err(wrong(format!(
                        "line {number} is not the one that was written: its hash is {hash}, and the next line has {}",
                        line.previous
                    )));
                }
                Some(_) => {}
            }
            if first == 1 && line.number == 1 && !line.previous.is_empty() {
                return Err(wrong(
                    "it says that it is the first line, and has the hash of one before".to_owned(),
                ));
            }
            let hash = hash(text);
            has_known |= known == Some(hash.as_str());
            last = Some((line.number, hash));
        }
    }
    let Some((last, hash)) = last else { return Err(AuditError::None(folder.to_owned())) };
    Ok(Verified { files: files.len(), first, last, hash, has_known })
}
