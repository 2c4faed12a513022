//! What a guest writes: cut into lines, each with the task that was being served, and bounded.

use std::sync::Arc;

use engine_core::{JobId, TaskId};

use crate::host::{Host, LogLine, LogSource};

/// What one field of a record costs beside its texts: a record of a million empty ones is no small one.
const FIELD_OVERHEAD_BYTES: usize = 64;
/// Bytes of standard error that are kept for the message of a trap.
const TAIL_BYTES: usize = 1 << 10;

/// The log of one sandbox.
pub(crate) struct Logs {
    host: Arc<dyn Host>,
    job: JobId,
    task: TaskId,
    bytes_max: u64,
    line_bytes_max: usize,
    left: u64,
    dropped: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    tail: Vec<u8>,
}

impl Logs {
    pub(crate) fn new(
        host: Arc<dyn Host>,
        job: JobId,
        task: TaskId,
        bytes_max: u64,
        line_bytes_max: usize,
    ) -> Self {
        Self {
            host,
            job,
            task,
            bytes_max,
            line_bytes_max: line_bytes_max.max(1),
            left: bytes_max,
            dropped: 0,
            stdout: Vec::new(),
            stderr: Vec::new(),
            tail: Vec::new(),
        }
    }

    /// A call begins: what is written from now on is its log.
    pub(crate) fn begin(&mut self, task: TaskId) {
        self.finish();
        self.task = task;
        self.left = self.bytes_max;
        self.tail.clear();
    }

    /// Another of the calls inside goes on: they share what may be kept.
    pub(crate) fn turn_to(&mut self, task: TaskId) {
        self.task = task;
    }

    /// A call has ended: a last line without its end is a line too.
    pub(crate) fn finish(&mut self) {
        for source in [LogSource::Stdout, LogSource::Stderr] {
            let rest = std::mem::take(self.buffer(source));
            if !rest.is_empty() {
                self.line(source, &rest);
            }
        }
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            let max = engine_core::resources::bytes(self.bytes_max);
            let dropped = engine_core::resources::bytes(dropped);
            let text = format!("{dropped} more were written and dropped: log_bytes_per_task_max is {max}");
            self.emit(LogSource::Record, Some("warn"), Some("engine".to_owned()), text, Vec::new());
        }
    }

    fn buffer(&mut self, source: LogSource) -> &mut Vec<u8> {
        match source {
            LogSource::Stdout => &mut self.stdout,
            _ => &mut self.stderr,
        }
    }

    /// What the guest wrote to one of its streams.
    pub(crate) fn write(&mut self, source: LogSource, mut bytes: &[u8]) {
        if source == LogSource::Stderr {
            self.keep_tail(bytes);
        }
        while !bytes.is_empty() {
            if self.left == 0 {
                self.dropped = self.dropped.saturating_add(bytes.len() as u64);
                return;
            }
            let room = self.line_bytes_max.saturating_sub(self.buffer(source).len()).max(1);
            let part = &bytes[..bytes.len().min(room)];
            let (taken, is_line) = match part.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (part.len(), false),
            };
            self.buffer(source).extend_from_slice(&part[..taken - usize::from(is_line)]);
            bytes = &bytes[taken..];
            if is_line || self.buffer(source).len() >= self.line_bytes_max {
                let line = std::mem::take(self.buffer(source));
                self.line(source, &line);
                // The buffer's pages are used again.
                let mut line = line;
                line.clear();
                *self.buffer(source) = line;
            }
        }
    }

    fn line(&mut self, source: LogSource, line: &[u8]) {
        if self.spend(line.len() as u64 + 1) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.emit(source, None, None, String::from_utf8_lossy(line).into_owned(), Vec::new());
        }
    }

    /// A record of the logging interface.
    pub(crate) fn record(
        &mut self,
        level: &'static str,
        mut target: String,
        mut text: String,
        fields: Vec<(String, String)>,
    ) {
        let field_bytes = |(name, value): &(String, String)| name.len() + value.len() + FIELD_OVERHEAD_BYTES;
        let fields_bytes: usize = fields.iter().map(field_bytes).sum();
        if self.spend((target.len() + text.len() + fields_bytes) as u64 + 1) {
            cut(&mut target, self.line_bytes_max);
            cut(&mut text, self.line_bytes_max);
            let fields = if fields_bytes > self.line_bytes_max { Vec::new() } else { fields };
            self.emit(LogSource::Record, Some(level), Some(target), text, fields);
        }
    }

    /// Takes so many bytes from what may still be kept; false when it is used up.
    fn spend(&mut self, bytes: u64) -> bool {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.left = 0;
                self.dropped = self.dropped.saturating_add(bytes);
                false
            }
        }
    }

    fn emit(
        &self,
        source: LogSource,
        level: Option<&'static str>,
        target: Option<String>,
        text: String,
        fields: Vec<(String, String)>,
    ) {
        self.host.log(LogLine { job: self.job, task: self.task, source, level, target, text, fields });
    }

    fn keep_tail(&mut self, bytes: &[u8]) {
        let keep = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        let excess = (self.tail.len() + keep.len()).saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
        self.tail.extend_from_slice(keep);
    }

    /// The last of what the call wrote to standard error.
    pub(crate) fn stderr_tail(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.tail);
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl Drop for Logs {
    /// A guest that was stopped in the middle of a line has written it all the same.
    fn drop(&mut self) {
        self.finish();
    }
}

fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let edge = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(edge);
    }
}
