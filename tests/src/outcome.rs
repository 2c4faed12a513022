//! What came of a command.

use std::fmt;

use serde_json::Value;

/// What a command that has ended wrote, and how it ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The exit status; 128 and more: the number of the signal that ended it is 128 less.
    pub status: i32,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
    /// What was run, for messages.
    pub(crate) command: String,
}

impl Outcome {
    /// Itself, when it ended with this exit status.
    ///
    /// # Panics
    /// With all that it wrote when it ended with another.
    #[track_caller]
    pub fn exits(self, status: i32) -> Self {
        assert!(self.status == status, "exit status {status} was expected\n{self}");
        self
    }

    /// Itself, when standard error holds each of these.
    ///
    /// # Panics
    /// With all that it wrote when one of them is missing.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "standard error does not say {text:?}\n{self}");
        }
        self
    }

    /// Itself, when standard output holds each of these.
    ///
    /// # Panics
    /// With all that it wrote when one of them is missing.
    #[track_caller]
    pub fn prints(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stdout.contains(text), "standard output does not hold {text:?}\n{self}");
        }
        self
    }

    /// The last line of standard output, which is a JSON value.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn last_json(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("the last line is not JSON ({error})\n{self}"))
    }

    /// All of standard output, which is one JSON value.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("standard output is not JSON ({error})\n{self}"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}\n[exit status {}]", self.command, self.status)?;
        writeln!(f, "[standard output]\n{}[standard error]\n{}", clipped(&self.stdout), clipped(&self.stderr))
    }
}

/// The beginning and the end of a long text.
fn clipped(text: &str) -> String {
    const SIDE_CHARS: usize = 4_000;
    let count = text.chars().count();
    if count <= 2 * SIDE_CHARS {
        return text.to_owned();
    }
    let start: String = text.chars().take(SIDE_CHARS).collect();
    let end: String = text.chars().skip(count - SIDE_CHARS).collect();
    format!("{start}\n[… {} characters …]\n{end}", count - 2 * SIDE_CHARS)
}

/// What an agent needs to join, as a head has said: `--head`, where that is, and more when it speaks TLS.
///
/// # Panics
/// When it has not said so.
#[track_caller]
pub fn how_to_join(said: &str) -> Vec<String> {
    let (_, words) = said.split_once("engine agent ").expect("it says how nodes join");
    words.lines().next().expect("a line").split_whitespace().map(str::to_owned).collect()
}
