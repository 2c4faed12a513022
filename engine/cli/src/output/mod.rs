//! What people and programs read.

pub(crate) mod details;
pub(crate) mod error;
pub(crate) mod json;
pub(crate) mod logs;
pub(crate) mod progress;
pub(crate) mod progress_text;
pub(crate) mod rows;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod time;
pub(crate) mod trace;

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;

use crate::failure::Failure;

/// How state is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    #[value(alias = "text")]
    Table,
    /// For programs
    Json,
}

/// How a job's run is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum RunFormat {
    /// The job's output as it comes, and the result of an invoke
    #[default]
    Text,
    /// One JSON object when the job has ended; its output goes to standard error
    Json,
}

/// Prints text that ends with a newline, or adds one. Nothing in it drives a terminal.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_as_is(&terminal::text(text))
}

/// Prints what a program gave: to a file or another program as it is.
pub(crate) fn print_result(text: &str) -> Result<(), Failure> {
    match io::stdout().is_terminal() {
        true => print(text),
        false => print_as_is(text),
    }
}

fn print_as_is(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') && !text.is_empty() {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Prints JSON, indented.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print_as_is(&terminal::json(&format!("{value:#}")))
}
