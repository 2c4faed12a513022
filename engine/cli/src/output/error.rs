//! Errors as people read them.

use std::fmt::Write;

use console::Style;
use engine_client::EngineError;

use crate::output::terminal;

/// What every error begins with.
pub(crate) fn label() -> String {
    Style::new().for_stderr().red().bold().apply_to("error:").to_string()
}

/// An error in full: what happened, on which path, where in the guest, and where to read more.
pub(crate) fn render(error: &EngineError) -> String {
    let mut text = format!("{} {}\n", label(), terminal::text(&error.to_string()));
    for (n, frame) in error.path().iter().enumerate() {
        let how = if n == 0 { "in" } else { "awaited by" };
        let attempt = match frame.attempt {
            0 => String::new(),
            n => format!(", attempt {}", n + 1),
        };
        // Writing to a string cannot fail.
        let frame = format!("{} ({}{attempt}, on {})", frame.function, frame.task, frame.node);
        let _ = writeln!(text, "  {how} {}", terminal::line(&frame));
    }
    if let Some(backtrace) = error.backtrace() {
        text.push_str("  backtrace, innermost first:\n");
        for line in backtrace.trim_end().lines() {
            let _ = writeln!(text, "    {}", terminal::line(line));
        }
    }
    let _ = writeln!(text, "  `engine error {}` says what this means and what to do", error.code());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_client::ErrorCode;
    use engine_core::Frame;

    #[test]
    fn an_error_shows_its_path_and_backtrace() {
        let frame = |function: &str, attempt| Frame {
            task: format!("task-{function}"),
            function: function.into(),
            node: "node-1".into(),
            attempt,
        };
        let error = EngineError::new(ErrorCode::TaskFailed, "it is odd")
            .with_kind("ValueError")
            .with_frame(frame("halve", 2))
            .with_frame(frame("main", 0))
            .with_backtrace(Some("0: halve\n1: run\n".into()));
        let expected = "\
error: TASK_FAILED (ValueError): it is odd
  in halve (task-halve, attempt 3, on node-1)
  awaited by main (task-main, on node-1)
  backtrace, innermost first:
    0: halve
    1: run
  `engine error TASK_FAILED` says what this means and what to do
";
        assert_eq!(console::strip_ansi_codes(&render(&error)), expected);
    }
}
