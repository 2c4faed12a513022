//! Reading lines back.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::SystemTime;

use crate::entry::{Line, written};
use crate::error::{AuditError, at};
use crate::files;
use crate::limits::AUDIT_READ_LINES_MAX;

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// From this number on.
    pub from: u64,
    /// Only of this time and later.
    pub since: Option<SystemTime>,
    /// Only of who is of this tenant.
    pub tenant: Option<String>,
    /// Only of who is bound to this namespace.
    pub namespace: Option<String>,
}

/// Some of the lines that are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// As they stand in the file, the oldest first.
    pub lines: Vec<String>,
    /// From which number on to ask for more.
    pub next: u64,
    /// Whether these were the last of those there are.
    pub is_end: bool,
}

/// The lines of one file, up to [`AUDIT_READ_LINES_MAX`], of those before `end`.
pub(crate) fn page(folder: &Path, query: &Query, end: u64) -> Result<Page, AuditError> {
    let done = Page { lines: Vec::new(), next: end.max(query.from), is_end: true };
    if query.from >= end {
        return Ok(done);
    }
    let files = files::listed(folder)?;
    let Some((first, _)) = files.first() else { return Ok(done) };
    let from = query.from.max(*first);
    let at_file = files.iter().rposition(|(first, _)| *first <= from).unwrap_or(0);
    let path = &files[at_file].1;
    let text = match fs::read(path) {
        // It was the oldest, and there are newer ones now.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Page { is_end: false, next: from, ..Page::default() });
        }
        text => text.map_err(at("read", path))?,
    };
    let since = query.since.map(written);
    let mut page = Page { next: from, ..Page::default() };
    for text in text.split(|byte| *byte == b'\n') {
        let Some((number, time)) = head(text) else { continue };
        if number < from {
            continue;
        }
        if number >= end || page.lines.len() == AUDIT_READ_LINES_MAX {
            break;
        }
        page.next = number + 1;
        if since.as_deref().is_some_and(|since| time < since) {
            continue;
        }
        let text = String::from_utf8_lossy(text).into_owned();
        if is_of(&text, query) {
            page.lines.push(text);
        }
    }
    // What a file lacks that was damaged is not waited for.
    let next_file = files.get(at_file + 1).map(|(first, _)| *first);
    if page.lines.len() < AUDIT_READ_LINES_MAX {
        page.next = next_file.unwrap_or(end).max(page.next).min(end);
    }
    page.is_end = page.next >= end;
    Ok(page)
}

/// The number and the time of a line, which stand first.
fn head(line: &[u8]) -> Option<(u64, &str)> {
    let text = std::str::from_utf8(line).ok()?;
    let (number, rest) = text.strip_prefix("{\"number\":")?.split_once(",\"time\":\"")?;
    Some((number.parse().ok()?, rest.split_once('"')?.0))
}

fn is_of(text: &str, query: &Query) -> bool {
    if query.tenant.is_none() && query.namespace.is_none() {
        return true;
    }
    let Ok(line) = serde_json::from_str::<Line>(text) else { return false };
    query.tenant.as_ref().is_none_or(|tenant| line.entry.tenant.as_ref() == Some(tenant))
        && query.namespace.as_ref().is_none_or(|namespace| line.entry.namespace.as_ref() == Some(namespace))
}
