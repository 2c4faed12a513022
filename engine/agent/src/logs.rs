//! A job's log: the latest lines, numbered, and whoever follows them.

use std::collections::VecDeque;
use std::time::SystemTime;

use engine_core::{JobId, TaskId};
use engine_proto::v1;
use engine_runtime::host::{LogLine, LogSource};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

/// What one line costs beside its text and its end.
const LINE_OVERHEAD_BYTES: usize = 127;
/// What one field of a record costs beside its texts.
const FIELD_OVERHEAD_BYTES: usize = 64;
/// Lines given to a follower at once.
pub(crate) const BATCH_LINES_MAX: usize = 1_000;
/// Bytes of text given to a follower at once.
const BATCH_BYTES_MAX: usize = 512 << 10;

/// The latest lines of one job.
pub(crate) struct LogBook {
    lines: Mutex<Lines>,
    bytes_max: usize,
    /// The number of the next line: followers wait for it to change.
    next: watch::Sender<u64>,
}

#[derive(Default)]
struct Lines {
    kept: VecDeque<Line>,
    bytes: usize,
    next: u64,
    /// The task of the last line and what it runs, as most lines come from the task of the one before.
    last: Option<(TaskId, String, bool)>,
}

/// A line and what is said of it.
pub(crate) struct Line {
    line: LogLine,
    time: SystemTime,
    function: String,
    root: bool,
    /// The node that it comes from; none: this one.
    node: Option<String>,
}

/// Bytes that a guest has written with a line, as those of a task are counted.
pub(crate) fn bytes_of(line: &LogLine) -> usize {
    let field = |(name, value): &(String, String)| name.len() + value.len() + FIELD_OVERHEAD_BYTES;
    let fields: usize = line.fields.iter().map(field).sum();
    line.text.len() + 1 + line.target.as_ref().map_or(0, String::len) + fields
}

impl LogBook {
    /// `first`: the number of the first line.
    pub(crate) fn new(bytes_max: usize, first: u64) -> Self {
        let lines = Lines { next: first, ..Lines::default() };
        Self { lines: Mutex::new(lines), bytes_max, next: watch::Sender::new(first) }
    }

    /// Keeps a line; the oldest go when there are too many. `function_of` is asked when the line's
    /// task is not that of the line before.
    pub(crate) fn push(
        &self,
        line: LogLine,
        time: SystemTime,
        function_of: impl FnOnce(TaskId) -> Option<(String, bool)>,
    ) {
        let known = self
            .lines
            .lock()
            .last
            .as_ref()
            .and_then(|(task, function, root)| (*task == line.task).then(|| (function.clone(), *root)));
        // Not under the lock: it asks the core, and effects of the core write lines too.
        let (function, root) = known.unwrap_or_else(|| function_of(line.task).unwrap_or_default());
        let mut lines = self.lines.lock();
        lines.last = Some((line.task, function.clone(), root));
        let line = Line::new(line, time, function, root);
        self.keep(lines, line);
    }

    /// Keeps a line that comes from another node.
    pub(crate) fn push_line(&self, line: Line) {
        self.keep(self.lines.lock(), line);
    }

    fn keep(&self, mut lines: MutexGuard<'_, Lines>, line: Line) {
        lines.bytes += line.bytes();
        lines.kept.push_back(line);
        lines.next += 1;
        while lines.bytes > self.bytes_max
            && let Some(oldest) = lines.kept.pop_front()
        {
            lines.bytes -= oldest.bytes();
        }
        let next = lines.next;
        drop(lines);
        self.next.send_replace(next);
    }

    /// Follows the number of the next line.
    pub(crate) fn follow(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    /// The number of the first of the last `tail` lines that match.
    pub(crate) fn tail(&self, task: Option<TaskId>, tail: u64) -> u64 {
        let lines = self.lines.lock();
        let first = lines.next - lines.kept.len() as u64;
        let matching = lines.kept.iter().enumerate().rev().filter(|(_, line)| line.is_of(task));
        matching.take(tail as usize).last().map_or(lines.next, |(at, _)| first + at as u64)
    }

    /// Lines from a number on, as many as go into one batch, and the number to go on from. Lines that
    /// are not kept any more are passed over: the numbers show it.
    pub(crate) fn read(&self, node: &str, from: u64, task: Option<TaskId>) -> (Vec<v1::LogLine>, u64) {
        let lines = self.lines.lock();
        let first = lines.next - lines.kept.len() as u64;
        let mut at = from.max(first);
        let mut batch = Vec::new();
        let mut bytes = 0;
        for line in lines.kept.range((at - first).min(lines.kept.len() as u64) as usize..) {
            if batch.len() >= BATCH_LINES_MAX || bytes >= BATCH_BYTES_MAX {
                break;
            }
            if line.is_of(task) {
                bytes += line.bytes();
                batch.push(line.view(node, at));
            }
            at += 1;
        }
        (batch, at)
    }

    /// Bytes that the lines take.
    pub(crate) fn bytes(&self) -> usize {
        self.lines.lock().bytes
    }

    /// Drops all lines.
    pub(crate) fn clear(&self) {
        let mut lines = self.lines.lock();
        lines.kept = VecDeque::new();
        lines.bytes = 0;
    }
}

impl Line {
    pub(crate) fn new(line: LogLine, time: SystemTime, function: String, root: bool) -> Self {
        Self { line, time, function, root, node: None }
    }

    /// A line as another node has sent it.
    pub(crate) fn from_view(job: JobId, task: TaskId, view: v1::LogLine) -> Self {
        let source = match view.source() {
            v1::LogSource::Stderr => LogSource::Stderr,
            v1::LogSource::Record => LogSource::Record,
            v1::LogSource::Stdout | v1::LogSource::Unspecified => LogSource::Stdout,
        };
        let level = ["trace", "debug", "info", "warn", "error"].into_iter().find(|name| *name == view.level);
        let time =
            view.time.as_ref().and_then(engine_proto::convert::system_time).unwrap_or(SystemTime::UNIX_EPOCH);
        let line = LogLine {
            job,
            task,
            source,
            level,
            target: (!view.target.is_empty()).then_some(view.target),
            text: view.text,
            fields: view.fields.into_iter().map(|field| (field.name, field.value)).collect(),
        };
        Self { line, time, function: view.function, root: view.root, node: Some(view.node_id) }
    }

    fn bytes(&self) -> usize {
        bytes_of(&self.line) + self.function.len() + LINE_OVERHEAD_BYTES
    }

    fn is_of(&self, task: Option<TaskId>) -> bool {
        task.is_none_or(|task| self.line.task == task)
    }

    /// As it is shown, when it comes from this node or from another.
    pub(crate) fn view(&self, node: &str, sequence: u64) -> v1::LogLine {
        let source = match self.line.source {
            LogSource::Stdout => v1::LogSource::Stdout,
            LogSource::Stderr => v1::LogSource::Stderr,
            LogSource::Record => v1::LogSource::Record,
        };
        v1::LogLine {
            sequence,
            task_id: self.line.task.to_string(),
            function: self.function.clone(),
            node_id: self.node.clone().unwrap_or_else(|| node.to_owned()),
            time: Some(engine_proto::convert::timestamp(self.time)),
            source: source.into(),
            level: self.line.level.unwrap_or_default().to_owned(),
            target: self.line.target.clone().unwrap_or_default(),
            text: self.line.text.clone(),
            fields: self
                .line
                .fields
                .iter()
                .map(|(name, value)| v1::LogField { name: name.clone(), value: value.clone() })
                .collect(),
            root: self.root,
        }
    }
}

#[cfg(test)]
mod tests {
    use engine_core::ids::IdGenerator;

    use super::*;

    fn push(book: &LogBook, task: TaskId, job: engine_core::JobId, text: &str) {
        let line = LogLine {
            job,
            task,
            source: LogSource::Stdout,
            level: None,
            target: None,
            text: text.to_owned(),
            fields: Vec::new(),
        };
        book.push(line, SystemTime::UNIX_EPOCH, |_| Some(("f".to_owned(), true)));
    }

    #[test]
    fn what_a_line_keeps_beside_its_text_counts_too() {
        let mut ids = IdGenerator::new([0; 16]);
        let (job, task) = (ids.job(), ids.task());
        let line = |target: &str, fields: usize| {
            let book = LogBook::new(1 << 20, 0);
            let line = LogLine {
                job,
                task,
                source: LogSource::Record,
                level: Some("info"),
                target: Some(target.to_owned()),
                text: String::new(),
                fields: vec![(String::new(), String::new()); fields],
            };
            book.push(line, SystemTime::UNIX_EPOCH, |_| None);
            book.bytes()
        };
        let empty = line("", 0);
        assert_eq!(line(&"t".repeat(1_000), 0) - empty, 1_000);
        assert!(line("", 1_000) - empty >= 1_000 * size_of::<(String, String)>());
        // One that is larger than all that is kept is not kept.
        assert_eq!(line(&"t".repeat(2 << 20), 0), 0);
    }

    #[test]
    fn the_oldest_lines_go_first_and_the_numbers_show_it() {
        let mut ids = IdGenerator::new([0; 16]);
        let (job, a, b) = (ids.job(), ids.task(), ids.task());
        let book = LogBook::new(10 * (LINE_OVERHEAD_BYTES + 3), 0);
        for n in 0..25 {
            push(&book, if n % 2 == 0 { a } else { b }, job, &(n % 10).to_string());
        }
        let (lines, next) = book.read("node", 0, None);
        assert_eq!((lines.len(), next), (10, 25));
        assert_eq!((lines[0].sequence, lines[0].text.as_str()), (15, "5"));
        let (lines, next) = book.read("node", 20, Some(a));
        assert_eq!((lines.len(), next), (3, 25));
        assert_eq!(book.tail(Some(b), 2), 21);
        assert_eq!(book.tail(None, 0), 25);
        assert_eq!(book.read("node", 25, None), (Vec::new(), 25));
        assert_eq!(book.read("node", 99, None).0, Vec::new());
        let elsewhere = Line::from_view(job, a, book.read("another", 24, None).0.remove(0));
        book.push_line(elsewhere);
        let (lines, _) = book.read("node", 25, None);
        assert_eq!((lines[0].node_id.as_str(), lines[0].sequence), ("another", 25));
        book.clear();
        assert_eq!(book.bytes(), 0);
        assert_eq!(book.read("node", 0, None), (Vec::new(), 26));
    }
}
