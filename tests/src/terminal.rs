//! A command at a terminal.

use std::process::Command;

use crate::Outcome;
use crate::running::Running;

/// All that a command writes to the terminal that it is run at, standard output and standard error, to its end.
/// `script` makes the terminal, which every Linux has.
pub(crate) fn run(command: &Command) -> Outcome {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''")));
    let line = quoted.collect::<Vec<_>>().join(" ");
    let mut at_terminal = Command::new("script");
    at_terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => at_terminal.env(name, value),
            None => at_terminal.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        at_terminal.current_dir(directory);
    }
    at_terminal.env("SHELL", "/bin/sh").env("TERM", "xterm").stdin(std::process::Stdio::null());
    Running::start(at_terminal, false).wait()
}
