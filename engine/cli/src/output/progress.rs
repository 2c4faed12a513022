//! How far a job is, shown while it runs.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use engine_client::messages::JobProgress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::progress_text::Progress;
use crate::output::time::short;

/// Between two plain lines.
pub(crate) const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// Between two turns of the spinner.
const TICK: Duration = Duration::from_millis(120);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ProgressMode {
    /// A bar when standard error is a terminal, else a line every few seconds
    #[default]
    Auto,
    /// A bar
    Bar,
    /// A line every few seconds
    Plain,
    /// Nothing
    None,
}

/// Shows progress on standard error until it is dropped.
pub(crate) struct ProgressView {
    started: Instant,
    progress: Progress,
    shown: Shown,
}

enum Shown {
    Bar(ProgressBar),
    Plain,
    Nothing,
}

impl ProgressView {
    /// Begins to show.
    pub(crate) fn new(mode: ProgressMode) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let shown = match mode {
            ProgressMode::Auto if terminal => Shown::Bar(bar()),
            ProgressMode::Bar => Shown::Bar(bar()),
            ProgressMode::Auto | ProgressMode::Plain => Shown::Plain,
            ProgressMode::None => Shown::Nothing,
        };
        Self { started: Instant::now(), progress: Progress::default(), shown }
    }

    /// Takes in what the engine says.
    pub(crate) fn observe(&mut self, progress: &JobProgress) {
        let elapsed = self.started.elapsed();
        self.progress.observe(elapsed, progress);
        match &mut self.shown {
            Shown::Bar(bar) => {
                let (position, length) = self.progress.position();
                bar.set_length(length.max(1));
                bar.set_position(position);
                bar.set_message(self.progress.text());
            }
            Shown::Plain | Shown::Nothing => {}
        }
    }

    /// Called every [`PLAIN_INTERVAL`]: prints a line, where lines are what is shown.
    pub(crate) fn beat(&self) {
        if let Shown::Plain = self.shown {
            eprintln!("engine: {}: {}", short(self.started.elapsed()), self.progress.text());
        }
    }

    /// Takes the bar away while something else is written, and puts it back below.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.shown {
            Shown::Bar(bar) => bar.suspend(write),
            Shown::Plain | Shown::Nothing => write(),
        }
    }
}

impl Drop for ProgressView {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
    // The template is a constant, and right.
    if let Ok(style) =
        ProgressStyle::with_template("{spinner:.cyan} {elapsed:>4} {bar:24.cyan/dim} {wide_msg}")
    {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar.set_message("starting");
    bar.enable_steady_tick(TICK);
    bar
}
