//! What guests write, as it comes.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use console::Style;
use engine_client::messages::{LogLine, LogSource};
use engine_proto::limits::LOG_LINES_PER_RUN_MAX;

use crate::output::terminal;

/// Writes the lines of a job: those of its root task as they are, those of others behind
/// `(function task-…)`, records with their level. What goes to a terminal does not drive it.
pub(crate) struct LogPrinter<O, E> {
    stdout: O,
    stderr: E,
    /// Where the guests' standard output goes: to ours, or to standard error.
    stdout_to_stderr: bool,
    dim_stdout: Style,
    dim_stderr: Style,
    /// Whether each is a terminal.
    is_shown: [bool; 2],
    next_sequence: Option<u64>,
}

impl LogPrinter<io::Stdout, io::Stderr> {
    /// Writes to the standard streams.
    pub(crate) fn new(stdout_to_stderr: bool) -> Self {
        Self {
            stdout: io::stdout(),
            stderr: io::stderr(),
            stdout_to_stderr,
            dim_stdout: Style::new().dim(),
            dim_stderr: Style::new().for_stderr().dim(),
            is_shown: [io::stdout().is_terminal(), io::stderr().is_terminal()],
            next_sequence: None,
        }
    }
}

impl<O: Write, E: Write> LogPrinter<O, E> {
    /// Writes lines, and says so when some before them were lost. Fails when nobody reads any more.
    pub(crate) fn print(&mut self, lines: &[LogLine]) -> io::Result<()> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        for line in lines {
            self.gap(line, &mut err)?;
            let to_stdout = line.source() == LogSource::Stdout && !self.stdout_to_stderr;
            let (dim, is_shown, target) = match to_stdout {
                true => (&self.dim_stdout, self.is_shown[0], &mut out),
                false => (&self.dim_stderr, self.is_shown[1], &mut err),
            };
            write_line(line, dim, is_shown, target)?;
        }
        self.stdout.write_all(&out)?;
        self.stdout.flush()?;
        self.stderr.write_all(&err)?;
        self.stderr.flush()
    }

    /// Lines are numbered within their job; a watcher that falls behind does not get them all.
    fn gap(&mut self, line: &LogLine, err: &mut Vec<u8>) -> io::Result<()> {
        // A job that is run again has written nothing of that run before.
        let first = line.sequence / LOG_LINES_PER_RUN_MAX * LOG_LINES_PER_RUN_MAX;
        let missed = self.next_sequence.map_or(0, |next| line.sequence.saturating_sub(next.max(first)));
        self.next_sequence = Some(line.sequence + 1);
        if missed > 0 {
            let text = format!("({missed} lines were dropped because they came faster than they were read)");
            writeln!(err, "{}", self.dim_stderr.apply_to(text))?;
        }
        Ok(())
    }

    /// Lines come from a filtered listing, so that gaps mean nothing.
    pub(crate) fn print_filtered(&mut self, lines: &[LogLine]) -> io::Result<()> {
        self.next_sequence = None;
        for line in lines {
            self.print(std::slice::from_ref(line))?;
            self.next_sequence = None;
        }
        Ok(())
    }
}

fn write_line(line: &LogLine, dim: &Style, is_shown: bool, target: &mut Vec<u8>) -> io::Result<()> {
    if !line.root {
        let prefix = format!("({} {})", terminal::line(&line.function), short_id(&line.task_id));
        write!(target, "{} ", dim.apply_to(prefix))?;
    }
    // What a program writes goes to a file or another program as it is.
    let text = match is_shown {
        true => terminal::written(&line.text),
        false => Cow::Borrowed(line.text.as_str()),
    };
    if line.source() != LogSource::Record {
        return writeln!(target, "{text}");
    }
    write!(target, "{} {text}", line.level.to_uppercase())?;
    for field in &line.fields {
        write!(target, " {}={}", terminal::line(&field.name), terminal::line(&field.value))?;
    }
    if !line.target.is_empty() {
        write!(target, " {}", dim.apply_to(format!("[{}]", terminal::line(&line.target))))?;
    }
    writeln!(target)
}

/// Enough of an id to tell tasks apart by eye: `task-0123abcd`.
fn short_id(id: &str) -> &str {
    id.char_indices().nth("task-".len() + 8).map_or(id, |(end, _)| &id[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_client::messages::LogField;

    fn printer(stdout_to_stderr: bool) -> LogPrinter<Vec<u8>, Vec<u8>> {
        LogPrinter {
            stdout: Vec::new(),
            stderr: Vec::new(),
            stdout_to_stderr,
            dim_stdout: Style::new().force_styling(false),
            dim_stderr: Style::new().force_styling(false),
            is_shown: [false; 2],
            next_sequence: None,
        }
    }

    fn line(sequence: u64, root: bool, source: LogSource, text: &str) -> LogLine {
        LogLine {
            sequence,
            task_id: "task-0123456789abcdef01234567".into(),
            function: "count".into(),
            source: source.into(),
            text: text.into(),
            root,
            ..LogLine::default()
        }
    }

    fn written(printer: LogPrinter<Vec<u8>, Vec<u8>>) -> (String, String) {
        (String::from_utf8(printer.stdout).unwrap(), String::from_utf8(printer.stderr).unwrap())
    }

    #[test]
    fn the_root_speaks_plainly_and_others_say_who_they_are() {
        let mut printer = printer(false);
        let lines = [
            line(0, true, LogSource::Stdout, "hello"),
            line(1, false, LogSource::Stdout, "from a task"),
            line(2, true, LogSource::Stderr, "oops"),
        ];
        printer.print(&lines).unwrap();
        let (out, err) = written(printer);
        assert_eq!(out, "hello\n(count task-01234567) from a task\n");
        assert_eq!(err, "oops\n");
    }

    #[test]
    fn standard_output_is_kept_free_for_json() {
        let mut printer = printer(true);
        printer.print(&[line(0, true, LogSource::Stdout, "hello")]).unwrap();
        assert_eq!(written(printer), (String::new(), "hello\n".into()));
    }

    #[test]
    fn records_have_a_level_and_fields() {
        let mut record = line(0, true, LogSource::Record, "slow");
        record.level = "warn".into();
        record.target = "app".into();
        record.fields = vec![LogField { name: "ms".into(), value: "12".into() }];
        let mut printer = printer(false);
        printer.print(&[record]).unwrap();
        assert_eq!(written(printer).1, "WARN slow ms=12 [app]\n");
    }

    #[test]
    fn a_terminal_is_not_driven_and_a_file_gets_what_was_written() {
        let mut driving = line(0, false, LogSource::Stdout, "\u{1b}]0;title\u{7}\u{1b}[31mred");
        driving.function = "f\u{1b}[2J".into();
        for (is_shown, text) in
            [(true, "\\u{1b}]0;title\\u{7}\u{1b}[31mred\u{1b}[0m"), (false, driving.text.clone().as_str())]
        {
            let mut printer = LogPrinter { is_shown: [is_shown; 2], ..printer(false) };
            printer.print(std::slice::from_ref(&driving)).unwrap();
            assert_eq!(written(printer).0, format!("(f\\u{{1b}}[2J task-01234567) {text}\n"));
        }
    }

    #[test]
    fn lost_lines_are_told_but_filtered_ones_are_not() {
        let lines = [line(0, true, LogSource::Stderr, "a"), line(5, true, LogSource::Stderr, "b")];
        let mut told = printer(false);
        told.print(&lines[..1]).unwrap();
        told.print(&lines[1..]).unwrap();
        let err = written(told).1;
        assert!(err.contains("(4 lines were dropped"), "{err}");
        let again = LOG_LINES_PER_RUN_MAX;
        let mut run_again = printer(false);
        for sequence in [0, again + 2] {
            run_again.print(&[line(sequence, true, LogSource::Stderr, "a")]).unwrap();
        }
        let err = written(run_again).1;
        assert!(err.contains("(2 lines were dropped"), "of the second run: {err}");
        let mut filtered = printer(false);
        filtered.print_filtered(&lines).unwrap();
        assert_eq!(written(filtered).1, "a\nb\n");
    }
}
