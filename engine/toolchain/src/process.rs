//! Runs a program to its end or to a time limit, and keeps what it said.

use crate::{Error, progress::Step};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Of what a failing program wrote, so much of the end goes into the error.
const ERROR_OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// What a program left behind when it ended well.
#[derive(Debug)]
pub(crate) struct Output {
    pub stdout: String,
    /// Its end, if it was very long.
    pub stderr: String,
}

enum Piece {
    Stdout(Vec<u8>),
    Stderr(String),
}

/// Runs `command` for at most `limit`, each line of its stderr shown as a detail of `step`.
pub(crate) fn run(
    command: &mut Command,
    limit: Duration,
    hint: &'static str,
    step: Option<&Step>,
) -> Result<Output, Error> {
    let shown = shown(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| Error::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
        hint,
    })?;
    let pieces = read_both(&mut child);
    let deadline = Instant::now() + limit;
    let mut stdout = Vec::new();
    let mut stderr = String::new();
    loop {
        match pieces.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Piece::Stdout(bytes)) => stdout = bytes,
            Ok(Piece::Stderr(line)) => {
                if let Some(step) = step {
                    step.detail(&line);
                }
                stderr.push_str(&line);
                keep_the_end(&mut stderr);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                // It may have ended at this very moment; then there is nothing to kill.
                let _ = child.kill();
                let _ = child.wait();
                let status = format!("stopped after {} s", limit.as_secs());
                return Err(Error::Failed { command: shown, status, output: stderr });
            }
        }
    }
    let status = child.wait().map_err(Error::io("cannot wait for", shown.clone()))?;
    if !status.success() {
        return Err(Error::Failed { command: shown, status: status.to_string(), output: stderr });
    }
    Ok(Output { stdout: String::from_utf8_lossy(&stdout).into_owned(), stderr })
}

/// One reader for each pipe, or a program that fills one while we read the other would hang. The
/// readers end when the program and whatever inherited its pipes have ended.
fn read_both(child: &mut Child) -> mpsc::Receiver<Piece> {
    let (sender, receiver) = mpsc::channel();
    if let Some(mut stdout) = child.stdout.take() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // A pipe that breaks ends the output; the exit status tells the rest.
            let _ = stdout.read_to_end(&mut bytes);
            let _ = sender.send(Piece::Stdout(bytes));
        });
    }
    if let Some(stderr) = child.stderr.take() {
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stderr);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).into_owned();
                if sender.send(Piece::Stderr(text)).is_err() {
                    return;
                }
                line.clear();
            }
        });
    }
    receiver
}

fn keep_the_end(text: &mut String) {
    if text.len() > 2 * ERROR_OUTPUT_BYTES_MAX {
        let mut cut = text.len() - ERROR_OUTPUT_BYTES_MAX;
        while !text.is_char_boundary(cut) {
            cut += 1;
        }
        text.drain(..cut);
    }
}

fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    if text.chars().count() > 200 {
        text = text.chars().take(199).collect();
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<Output, Error> {
        run(Command::new("sh").args(["-c", script]), limit, "install a shell", None)
    }

    #[test]
    fn both_pipes_are_read_whole() {
        let script = "i=0; while [ $i -lt 2000 ]; do echo 0123456789012345678901234567890123456789; \
                      echo 0123456789012345678901234567890123456789 >&2; i=$((i+1)); done";
        let output = shell(script, Duration::from_secs(60)).unwrap();
        assert_eq!(output.stdout.lines().count(), 2000);
    }

    #[test]
    fn a_failure_carries_status_and_stderr() {
        let error = shell("echo it broke >&2; exit 3", Duration::from_secs(60)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.contains("it broke"), "{text}");
    }

    #[test]
    fn a_program_past_its_limit_is_stopped() {
        let error = shell("exec sleep 600", Duration::from_millis(10)).unwrap_err();
        assert!(error.to_string().contains("stopped after"), "{error}");
    }

    #[test]
    fn a_missing_program_says_what_to_do() {
        let error =
            run(&mut Command::new("no-such-program-here"), Duration::from_secs(1), "install it", None)
                .unwrap_err();
        assert!(error.to_string().contains("install it"), "{error}");
    }
}
