//! Says what is being done: a spinner on a terminal, plain lines elsewhere. All of it on stderr.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Where the steps of a long build are told.
#[derive(Debug, Clone)]
pub struct Progress {
    mode: Mode,
}

#[derive(Debug, Clone, Copy)]
enum Mode {
    Quiet,
    Lines,
    Spinner,
}

impl Progress {
    /// A spinner if stderr is a terminal, plain lines if not.
    pub fn stderr() -> Self {
        let mode = if std::io::stderr().is_terminal() { Mode::Spinner } else { Mode::Lines };
        Self { mode }
    }

    /// Says nothing.
    pub fn quiet() -> Self {
        Self { mode: Mode::Quiet }
    }

    /// Begins a step; it ends when what is returned is finished or dropped.
    pub fn step(&self, what: impl Into<String>) -> Step {
        let what = what.into();
        let bar = match self.mode {
            Mode::Spinner => {
                let bar = ProgressBar::new_spinner().with_message(what.clone());
                if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
                    bar.set_style(style);
                }
                bar.enable_steady_tick(Duration::from_millis(120));
                Some(bar)
            }
            Mode::Lines => {
                eprintln!("{what} …");
                None
            }
            Mode::Quiet => None,
        };
        Step { what, bar, mode: self.mode, begun: Instant::now() }
    }

    /// One line that stays.
    pub fn note(&self, line: &str) {
        if !matches!(self.mode, Mode::Quiet) {
            eprintln!("{line}");
        }
    }
}

/// A step that is under way.
#[derive(Debug)]
pub struct Step {
    what: String,
    bar: Option<ProgressBar>,
    mode: Mode,
    begun: Instant,
}

impl Step {
    /// Shows a detail of the step, on a terminal only.
    pub fn detail(&self, line: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {}", self.what, line.trim()));
        }
    }

    /// Ends the step well, and says how long it took if that was long enough to wonder.
    pub fn finish(self) {
        let took = self.begun.elapsed();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if !matches!(self.mode, Mode::Quiet) && took >= Duration::from_secs(1) {
            eprintln!("{} … done in {:.0} s", self.what, took.as_secs_f64());
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
