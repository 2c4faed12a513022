//! The process of a worker: started with its line and nothing else, and ended for good.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Arc;

use engine_core::{Error, ErrorCode, TenantName};
use parking_lot::Mutex;

use crate::background::{self, Kind};

/// This program, also when its file was replaced meanwhile.
const PROGRAM: &str = "/proc/self/exe";
/// Bytes of a line that a worker writes to its standard error; of longer ones the rest is another line.
const LINE_BYTES_MAX: u64 = 4 << 10;
/// Lines of it that are logged of one worker.
const LINES_MAX: usize = 1_000;

/// The process of a worker.
pub(super) struct Process {
    child: Child,
    /// What it has said last, in words.
    said: Arc<Mutex<String>>,
    listener: Option<std::thread::JoinHandle<()>>,
}

/// How it ended.
pub(super) struct Ended {
    /// By itself, and in error.
    pub(super) has_failed: bool,
    /// For people.
    pub(super) how: String,
}

impl Process {
    /// Starts a worker; gives this end of its line. Its environment is empty, and nothing is open in it but the line
    /// and its standard error, whose lines go to the log.
    pub(super) fn start(tenant: &TenantName) -> Result<(Self, UnixStream), Error> {
        let failed = |error: std::io::Error| {
            Error::new(
                ErrorCode::WorkerDied,
                format!("no worker of the tenant {tenant} can be started: {error}"),
            )
        };
        let (here, there) = UnixStream::pair().map_err(failed)?;
        let mut command = Command::new(PROGRAM);
        command
            .arg0("engine")
            .args(["worker", tenant.as_str()])
            .env_clear()
            .current_dir("/")
            .stdin(OwnedFd::from(there))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let said = Arc::new(Mutex::new(String::new()));
        let (heard, name) = (said.clone(), tenant.clone());
        let listener = child.stderr.take().and_then(|stderr| {
            background::thread(Kind::WorkerErrors, move || listen(&name, stderr, &heard)).ok()
        });
        Ok((Self { child, said, listener }, here))
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it, whatever it does, and waits for that.
    pub(super) fn end(mut self) -> Ended {
        // Of one that has ended by itself nothing is changed.
        drop(self.child.kill());
        let status = self.child.wait().ok();
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
        let said = self.said.lock().clone();
        let how = match status.as_ref().map(described) {
            Some(how) if said.is_empty() => how,
            Some(how) => format!("{how}: {said}"),
            None => "it is gone".to_owned(),
        };
        let code = status.and_then(|status| status.code());
        Ended { has_failed: code.is_some_and(|code| code != 0), how }
    }
}

fn described(status: &ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with {code}"),
        (None, Some(signal)) => format!("signal {signal} ended it"),
        (None, None) => "it ended".to_owned(),
    }
}

/// Passes on what a worker says to people.
fn listen(tenant: &TenantName, stderr: ChildStderr, said: &Mutex<String>) {
    let mut reader = BufReader::new(stderr);
    for count in 0.. {
        let mut line = Vec::new();
        match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        // It is not to write to a terminal.
        let text = String::from_utf8_lossy(&line).trim_end().escape_debug().to_string();
        if count < LINES_MAX {
            tracing::warn!(%tenant, "its worker says: {text}");
        }
        *said.lock() = text;
    }
}
