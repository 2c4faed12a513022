//! A job's log: the latest lines, numbered, and whoever follows them.

use std::collections::VecDeque;
use std::time::SystemTime;

use engine_core::TaskId;
use engine_proto::v1;
use engine_runtime::host::{LogLine, LogSource};
use parking_lot::Mutex;
use tokio::sync::watch;

/// What one line costs beside its text.
const LINE_OVERHEAD_BYTES: usize = 128;
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

struct Line {
    line: LogLine,
    time: SystemTime,
    function: String,
    root: bool,
}

impl LogBook {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { lines: Mutex::default(), bytes_max, next: watch::Sender::new(0) }
    }

    /// Keeps a line; the oldest go when there are too many. `function_of` is asked when the line's
    /// task is not that of the line before.
    pub(crate) fn push(
        &self,
        line: LogLine,
        time: SystemTime,
        function_of: impl FnOnce(TaskId) -> Option<(String, bool)>,
    ) {
        let mut lines = self.lines.lock();
        let (function, root) = match &lines.last {
            Some((task, function, root)) if *task == line.task => (function.clone(), *root),
            _ => function_of(line.task).unwrap_or_default(),
        };
        lines.last = Some((line.task, function.clone(), root));
        let line = Line { line, time, function, root };
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
    fn bytes(&self) -> usize {
        let fields: usize = self.line.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.line.text.len() + self.function.len() + fields + LINE_OVERHEAD_BYTES
    }

    fn is_of(&self, task: Option<TaskId>) -> bool {
        task.is_none_or(|task| self.line.task == task)
    }

    fn view(&self, node: &str, sequence: u64) -> v1::LogLine {
        let source = match self.line.source {
            LogSource::Stdout => v1::LogSource::Stdout,
            LogSource::Stderr => v1::LogSource::Stderr,
            LogSource::Record => v1::LogSource::Record,
        };
        v1::LogLine {
            sequence,
            task_id: self.line.task.to_string(),
            function: self.function.clone(),
            node_id: node.to_owned(),
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
    fn the_oldest_lines_go_first_and_the_numbers_show_it() {
        let mut ids = IdGenerator::new([0; 16]);
        let (job, a, b) = (ids.job(), ids.task(), ids.task());
        let book = LogBook::new(10 * (LINE_OVERHEAD_BYTES + 2));
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
        book.clear();
        assert_eq!(book.bytes(), 0);
        assert_eq!(book.read("node", 0, None), (Vec::new(), 25));
    }
}
