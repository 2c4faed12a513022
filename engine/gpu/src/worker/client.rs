//! The other side of a worker: starts it, asks it, and ends it.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{Code, Error, Result, internal, invalid};
use crate::worker::background::{Kind, start};
use crate::worker::frame::{self, FRAME_BYTES_MAX};
use crate::worker::messages::{Answer, Ask, Open, Reply, Request};

/// A worker process with a session. It ends when this is dropped.
pub struct Worker {
    socket: Mutex<UnixStream>,
    process: Arc<Process>,
}

/// The process, and who waits for it.
struct Process {
    id: u32,
    /// None once it is ended.
    child: Mutex<Option<Child>>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    answers: HashMap<u64, SyncSender<Result<Answer>>>,
    ended: Option<Error>,
}

impl Worker {
    /// Starts a worker with this command, whose process calls [`crate::worker::serve_stdin`], and opens its
    /// session. The deadline is for both.
    ///
    /// # Errors
    /// INTERNAL when the process does not start; those of [`crate::Device::open`]; DEADLINE_EXCEEDED;
    /// WORKER_DIED.
    pub fn start(mut command: Command, open: Open, deadline: Duration) -> Result<Self> {
        let (ours, theirs) = UnixStream::pair().map_err(|error| internal(format!("no sockets: {error}")))?;
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
        let child =
            command.spawn().map_err(|error| internal(format!("the GPU worker does not start: {error}")))?;
        // The command keeps the worker's end, and the worker's death is heard when the last end is closed.
        drop(command);
        let process =
            Arc::new(Process { id: child.id(), child: Mutex::new(Some(child)), waiting: Mutex::default() });
        let (heard, process_of_hearer) = (ours.try_clone(), process.clone());
        let begun = heard.and_then(|heard| start(Kind::Hear, move || hear(heard, &process_of_hearer)));
        let worker = Self { socket: Mutex::new(ours), process };
        begun.map_err(|error| internal(format!("a GPU worker's answers: {error}")))?;
        worker.ask(Ask::Open(open), deadline)?;
        Ok(worker)
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.process.id
    }

    /// Asks, and waits for the answer. Past the deadline the worker is ended, and with it everything it had.
    ///
    /// # Errors
    /// What the worker says; INVALID_ARGUMENT for a request of more than [`FRAME_BYTES_MAX`];
    /// DEADLINE_EXCEEDED once any request has passed its deadline; WORKER_DIED once the process has ended
    /// otherwise.
    pub fn ask(&self, ask: Ask, deadline: Duration) -> Result<Answer> {
        let until = Instant::now() + deadline;
        let (sender, answer) = sync_channel(1);
        let id = {
            let mut waiting = self.process.waiting.lock();
            if let Some(ended) = &waiting.ended {
                return Err(ended.clone());
            }
            waiting.next += 1;
            let id = waiting.next;
            waiting.answers.insert(id, sender);
            id
        };
        self.send(Request { id, ask: Some(ask) }, until)?;
        let outcome = match answer.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => Err(self.process.end(too_late(deadline))),
            Err(RecvTimeoutError::Disconnected) => Err(self.process.end(died("it gives no answers"))),
        };
        match outcome? {
            Answer::Failed(failed) => {
                let code = Code::parse(&failed.code).unwrap_or(Code::Internal);
                Err(Error::new(code, failed.message))
            }
            answer => Ok(answer),
        }
    }

    fn send(&self, request: Request, until: Instant) -> Result<()> {
        let id = request.id;
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let socket = &mut *self.socket.lock();
        let written = socket.set_write_timeout(Some(left)).and_then(|()| frame::write(socket, &request));
        match written.map_err(|error| error.kind()) {
            Ok(()) => Ok(()),
            Err(ErrorKind::InvalidInput) => {
                self.process.waiting.lock().answers.remove(&id);
                invalid(format!("a request of more than {FRAME_BYTES_MAX} bytes: send it in pieces"))
            }
            // A part of it may be on its way, after which nothing can be said.
            Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(self.process.end(too_late(left))),
            Err(_) => Err(self.process.end(died("its socket is closed"))),
        }
    }
}

fn too_late(deadline: Duration) -> Error {
    Error::new(
        Code::DeadlineExceeded,
        format!(
            "the device had not done what was asked of it within {deadline:?}; its worker was ended, and what it \
             had on the device is gone: give it more time, or less to do"
        ),
    )
}

fn died(how: &str) -> Error {
    Error::new(
        Code::WorkerDied,
        format!("the GPU worker has ended ({how}); what it had on the device is gone"),
    )
}

impl Process {
    /// Ends the process and tells everybody who waits; the reason that came first counts, and comes back.
    fn end(&self, reason: Error) -> Error {
        let (reason, answers) = {
            let mut waiting = self.waiting.lock();
            let reason = waiting.ended.get_or_insert(reason).clone();
            (reason, std::mem::take(&mut waiting.answers))
        };
        if let Some(mut child) = self.child.lock().take() {
            // One that has ended already is only reaped. A process that is deep in its driver takes its time
            // to go, for which nobody should wait; without a thread it stays a zombie.
            let _ = child.kill();
            let _ = start(Kind::Reap, move || drop(child.wait()));
        }
        for sender in answers.into_values() {
            let _ = sender.try_send(Err(reason.clone()));
        }
        reason
    }
}

/// Takes answers until there are no more.
fn hear(mut socket: UnixStream, process: &Process) {
    loop {
        let how = match frame::read::<Reply>(&mut socket) {
            Ok(Some(Reply { id, answer: Some(answer) })) => {
                let sender = process.waiting.lock().answers.remove(&id);
                // Nobody waits for what has come too late.
                if let Some(sender) = sender {
                    let _ = sender.try_send(Ok(answer));
                }
                continue;
            }
            Ok(Some(_)) => "an answer without content".to_owned(),
            Ok(None) => "its socket is closed".to_owned(),
            Err(error) => format!("what it says cannot be read: {error}"),
        };
        process.end(died(&how));
        return;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.process.end(died("it was given back"));
    }
}
