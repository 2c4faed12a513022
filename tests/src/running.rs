//! A command while it runs.

use std::fmt;
use std::io::{BufRead, BufReader, Read, empty, pipe};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::Outcome;
use crate::until::until;

/// A command that runs in a process group of its own, which is killed when this is dropped.
pub struct Running {
    child: Child,
    command: String,
    status: Option<ExitStatus>,
    stdout: Captured,
    stderr: Captured,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.command, self.child.id())
    }
}

/// What was written to a stream so far.
struct Captured {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Captured {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let text: Arc<Mutex<Vec<u8>>> = Arc::default();
        let shared = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            loop {
                let Ok(bytes) = stream.fill_buf() else { return };
                if bytes.is_empty() {
                    return;
                }
                let count = bytes.len();
                shared.lock().expect("no reader panics").extend_from_slice(bytes);
                stream.consume(count);
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().expect("no reader panics")).into_owned()
    }

    /// All of it; whoever could still write is gone.
    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no reader panics");
        }
        self.so_far()
    }
}

impl Running {
    /// Starts it; with `unread`, nobody reads its standard output from the beginning.
    pub(crate) fn start(mut command: Command, unread: bool) -> Self {
        let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
        let shown = std::iter::once("engine".to_owned()).chain(words).collect::<Vec<_>>().join(" ");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        if unread {
            let (reader, writer) = pipe().expect("a pipe");
            drop(reader);
            command.stdout(writer);
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run `{shown}`: {error}"));
        // Our own copy of a pipe's end would keep it open.
        drop(command);
        let stdout = match child.stdout.take() {
            Some(stream) => Captured::of(stream),
            None => Captured::of(empty()),
        };
        let stderr = Captured::of(child.stderr.take().expect("it is piped"));
        Self { child, command: shown, status: None, stdout, stderr }
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until standard output holds this text, and gives all of it so far.
    ///
    /// # Panics
    /// When the command ends before, or does not write it within [`PATIENCE`](crate::PATIENCE).
    #[track_caller]
    pub fn wait_for_stdout(&mut self, text: &str) -> String {
        self.wait_for(text, |running| running.stdout.so_far())
    }

    /// The same of standard error.
    ///
    /// # Panics
    /// As [`wait_for_stdout`](Self::wait_for_stdout).
    #[track_caller]
    pub fn wait_for_stderr(&mut self, text: &str) -> String {
        self.wait_for(text, |running| running.stderr.so_far())
    }

    #[track_caller]
    fn wait_for(&mut self, text: &str, so_far: fn(&Self) -> String) -> String {
        until(&format!("`{}` writes {text:?}", self.command), || {
            // In this order: what it wrote before its end is seen.
            let ended = self.has_ended();
            let written = so_far(self);
            if written.contains(text) {
                return Ok(written);
            }
            assert!(!ended, "it ended before it wrote {text:?}\n{}", self.take_outcome());
            Err(format!("{written}\n{}", self.stderr.so_far()))
        })
    }

    /// What it has written to standard error so far.
    pub fn stderr_so_far(&self) -> String {
        self.stderr.so_far()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("it is our child");
        }
        self.status.is_some()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`](crate::PATIENCE).
    #[track_caller]
    pub fn wait(mut self) -> Outcome {
        until(&format!("`{}` ends", self.command), || match self.has_ended() {
            true => Ok(()),
            false => Err(format!("{}\n{}", self.stdout.so_far(), self.stderr.so_far())),
        });
        self.take_outcome()
    }

    /// Ctrl-C, as far as this process can tell.
    ///
    /// # Panics
    /// When it has ended.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Kills it, with no chance to clean up, and waits for its end.
    ///
    /// # Panics
    /// When it has ended.
    pub fn kill(self) -> Outcome {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// Asks it to end.
    ///
    /// # Panics
    /// When it has ended.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What it wrote, when it has ended.
    fn take_outcome(&mut self) -> Outcome {
        // Whatever it left behind would hold the streams open.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let status = self.status.expect("it has ended");
        Outcome {
            status: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            stdout: self.stdout.whole(),
            stderr: self.stderr.whole(),
            command: self.command.clone(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = kill_process_group(self.pid(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
