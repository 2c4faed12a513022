//! One worker, from its start to its end: what it is told, in order, and what becomes of its sandboxes.

use std::collections::VecDeque;
use std::io::BufReader;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use engine_core::work::{Call, GoneReport, Start, StopReason};
use engine_core::{ComponentId, Error, ErrorCode, InstanceId, JobId, Place, TaskId, TenantName};
use engine_proto::convert::peer::id;
use engine_proto::convert::worker::{pairs, stop_reason};
use engine_proto::v1;
use engine_proto::v1::to_worker::{self, Message as Tell};
use engine_proto::v1::worker_answer::Answer;
use engine_runtime::{ComponentWorld, JobContext};
use engine_worker::wire;
use futures::channel::oneshot;
use parking_lot::{Condvar, Mutex};
use smallvec::SmallVec;

use super::WorkerOptions;
use super::books::{Books, Sandbox};
use super::process::Process;
use crate::background::{self, Kind};
use crate::driver::Driver;
use crate::host::GuestHost;

/// A sandbox that was told to end and does not for so long takes its worker with it.
const STOP_MAX: Duration = Duration::from_secs(30);
/// How often that is looked at.
const STOP_LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A worker that takes nothing of its line for so long is ended.
const TELL_MAX: Duration = Duration::from_secs(30);
/// Bytes that were read from disk for a worker and are not written to its line: above, it is not heard.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// Bytes that are read of a line at once.
const READ_BYTES: usize = 64 << 10;

/// A worker.
pub(crate) struct Worker {
    tenant: TenantName,
    pub(super) options: WorkerOptions,
    pub(super) driver: Weak<Driver>,
    pub(super) host: GuestHost,
    pub(super) books: Mutex<Books>,
    /// This end of its line, for whoever writes; none: it is not there yet.
    line: Mutex<Option<UnixStream>>,
    queue: Mutex<Queue>,
    /// Something is to be written, or was.
    wake: Condvar,
    /// So many reads from disk at once.
    pub(super) disk: Arc<tokio::sync::Semaphore>,
    state: Mutex<State>,
}

/// What is known of the process.
#[derive(Default)]
struct State {
    process: Option<u32>,
    /// What it says of how it is locked in; none: it is not ready.
    ready: Option<v1::from_worker::Ready>,
    /// Its line, to be closed under whoever reads or writes.
    line: Option<UnixStream>,
}

#[derive(Default)]
struct Queue {
    said: VecDeque<Said>,
    /// Bytes of answers on the heap.
    answer_bytes: u64,
    /// Why nothing is said any more.
    ended: Option<String>,
}

/// What a worker is told.
enum Said {
    Start(Box<Start>, Arc<JobContext>),
    Deliver(InstanceId, Box<Call>),
    Stop(InstanceId, StopReason),
    Interrupt(InstanceId, TaskId),
    Pause(InstanceId, bool),
    CloseJob(JobId),
    Load(u64, Arc<[u8]>),
    Answer(Box<v1::WorkerAnswer>, Bytes),
}

/// Bytes that follow an answer.
pub(super) enum Bytes {
    None,
    Heap(Vec<u8>),
    Component(Arc<[u8]>),
    /// A part of a place in memory.
    Place(Place, std::ops::Range<usize>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Heap(bytes) => bytes,
            Self::Component(bytes) => bytes,
            Self::Place(place, range) => {
                engine_objects::slice(place).and_then(|bytes| bytes.get(range.clone())).unwrap_or_default()
            }
        }
    }

    /// Bytes on the heap that are its alone.
    fn heap(&self) -> u64 {
        match self {
            Self::Heap(bytes) => bytes.len() as u64,
            Self::None | Self::Component(_) | Self::Place(..) => 0,
        }
    }
}

/// Reads from disk for one worker at once: each has as many bytes on the heap as a guest may have.
const DISK_READS_MAX: usize = 2;

impl Worker {
    /// Starts a worker, not before `not_before`. What it is told meanwhile waits.
    pub(super) fn begin(
        driver: &Arc<Driver>,
        tenant: TenantName,
        options: WorkerOptions,
        not_before: Instant,
    ) -> Result<Arc<Self>, Error> {
        let worker = Arc::new(Self::new(driver, tenant, options));
        let this = worker.clone();
        background::thread(Kind::WorkerLine, move || this.live(not_before)).map_err(|error| {
            Error::new(ErrorCode::WorkerDied, format!("there is no thread for a worker's line: {error}"))
        })?;
        Ok(worker)
    }

    fn new(driver: &Arc<Driver>, tenant: TenantName, options: WorkerOptions) -> Self {
        let driver = Arc::downgrade(driver);
        Self {
            tenant,
            options,
            host: GuestHost { driver: driver.clone(), is_client: false },
            driver,
            books: Mutex::default(),
            line: Mutex::default(),
            queue: Mutex::default(),
            wake: Condvar::new(),
            disk: Arc::new(tokio::sync::Semaphore::new(DISK_READS_MAX)),
            state: Mutex::default(),
        }
    }

    pub(super) fn tenant(&self) -> &TenantName {
        &self.tenant
    }

    pub(super) fn start(&self, start: Start, context: Arc<JobContext>) {
        let sandbox = Sandbox::new(start.job, start.call.task);
        self.books.lock().sandboxes.insert(start.instance, sandbox);
        self.say(Said::Start(Box::new(start), context));
    }

    pub(super) fn deliver(&self, instance: InstanceId, call: Box<Call>) {
        self.say(Said::Deliver(instance, call));
    }

    pub(super) fn stop(&self, instance: InstanceId, reason: StopReason) {
        self.say(Said::Stop(instance, reason));
    }

    pub(super) fn interrupt(&self, instance: InstanceId, task: TaskId) {
        self.say(Said::Interrupt(instance, task));
    }

    pub(super) fn pause(&self, instance: InstanceId, pauses: bool) {
        self.say(Said::Pause(instance, pauses));
    }

    pub(super) fn close_job(&self, job: JobId) {
        self.say(Said::CloseJob(job));
    }

    /// Has it compile a component, unless it has.
    pub(super) fn load(
        &self,
        component: ComponentId,
        bytes: Arc<[u8]>,
    ) -> impl Future<Output = Result<ComponentWorld, Error>> + use<> {
        let (done, loaded) = oneshot::channel();
        let mut books = self.books.lock();
        match books.worlds.get(&component) {
            Some(world) => drop(done.send(Ok(*world))),
            None => {
                let number = books.next_load();
                books.loads.insert(number, (component, done));
                drop(books);
                self.say(Said::Load(number, bytes));
            }
        }
        let tenant = self.tenant.clone();
        async move { loaded.await.unwrap_or_else(|_| Err(died(&tenant, "it was ended"))) }
    }

    pub(super) fn world(&self, component: ComponentId) -> Option<ComponentWorld> {
        self.books.lock().worlds.get(&component).copied()
    }

    /// It runs, locked in so.
    pub(super) fn is_ready(&self, ready: v1::from_worker::Ready) {
        tracing::info!(tenant = %self.tenant, locks = ?ready.locks, missing = ?ready.missing, "a worker runs");
        self.state.lock().ready = Some(ready);
    }

    /// For people; none while it is not ready.
    pub(super) fn view(&self) -> Option<v1::NodeWorker> {
        let state = self.state.lock();
        let ready = state.ready.clone()?;
        Some(v1::NodeWorker {
            tenant: self.tenant.to_string(),
            process_id: state.process?,
            locks: ready.locks,
            missing: ready.missing,
        })
    }

    /// Answers a request at once, for whoever hears the worker: that saves a hop to the thread that tells it. Answers
    /// overtake what is in line, which none depends on.
    pub(super) fn answer_now(&self, to: u64, answer: Answer) {
        if self.line.lock().is_none() {
            return self.answer(to, answer, Bytes::None);
        }
        let answer = Tell::Answer(v1::WorkerAnswer { to, answer: Some(answer) });
        if let Err(error) = self.send(answer, &[]) {
            self.end(&format!("its line broke: {error}"));
        }
    }

    /// Answers a request.
    pub(super) fn answer(&self, to: u64, answer: Answer, bytes: Bytes) {
        let answer = Box::new(v1::WorkerAnswer { to, answer: Some(answer) });
        self.say(Said::Answer(answer, bytes));
    }

    fn say(&self, said: Said) {
        let mut queue = self.queue.lock();
        if let Said::Answer(_, bytes) = &said {
            queue.answer_bytes += bytes.heap();
        }
        queue.said.push_back(said);
        drop(queue);
        self.wake.notify_all();
    }

    /// Waits until there are few bytes that the worker asked for and has not taken.
    pub(super) fn wait_for_room(&self) {
        let mut queue = self.queue.lock();
        while queue.answer_bytes > ANSWER_BYTES_MAX && queue.ended.is_none() {
            self.wake.wait(&mut queue);
        }
    }

    /// Has it end, for this reason. The first counts.
    pub(super) fn end(&self, why: &str) {
        self.queue.lock().ended.get_or_insert_with(|| why.to_owned());
        self.wake.notify_all();
        if let Some(line) = &self.state.lock().line {
            // It is closed already, or is now.
            drop(line.shutdown(Shutdown::Both));
        }
    }

    /// Nothing is in it, and nothing on its way.
    pub(super) fn is_idle(&self) -> bool {
        let books = self.books.lock();
        books.sandboxes.is_empty() && books.loads.is_empty() && self.queue.lock().said.is_empty()
    }

    fn live(self: Arc<Self>, not_before: Instant) {
        let begun = self.wait_until(not_before);
        let (how, is_at_fault, began) = match begun.then(|| Process::start(&self.tenant)) {
            None => ("it was ended before it began".to_owned(), false, Instant::now()),
            Some(Err(error)) => (error.message().to_owned(), false, Instant::now()),
            Some(Ok((process, line))) => {
                let began = Instant::now();
                let run = || self.run(&line, process.id());
                match catch_unwind(AssertUnwindSafe(run)) {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => self.end(&format!("its line broke: {error}")),
                    Err(_) => self.end("telling it panicked"),
                }
                let ended = process.end();
                let why = self.queue.lock().ended.clone().unwrap_or_default();
                let is_at_fault = ended.has_failed && self.state.lock().ready.is_none();
                (format!("{why}; {}", ended.how), is_at_fault, began)
            }
        };
        self.over(&how, is_at_fault, began.elapsed());
    }

    /// False: it was ended meanwhile.
    fn wait_until(&self, at: Instant) -> bool {
        let mut queue = self.queue.lock();
        while queue.ended.is_none() && Instant::now() < at {
            self.wake.wait_until(&mut queue, at);
        }
        queue.ended.is_none()
    }

    /// Tells it all that is to be said, until the end.
    fn run(self: &Arc<Self>, line: &UnixStream, process: u32) -> std::io::Result<()> {
        // One that is frozen does not hold up whoever tells it something for longer.
        line.set_write_timeout(Some(TELL_MAX))?;
        let heard = line.try_clone()?;
        *self.line.lock() = Some(line.try_clone()?);
        *self.state.lock() = State { process: Some(process), ready: None, line: Some(line.try_clone()?) };
        let this = self.clone();
        let reader = background::thread(Kind::WorkerLine, move || {
            let line = BufReader::with_capacity(READ_BYTES, heard);
            let heard = catch_unwind(AssertUnwindSafe(|| this.hear(line)));
            this.end(&heard.unwrap_or_else(|_| "hearing it panicked".to_owned()));
        })?;
        self.send(Tell::Setup(self.options.setup), &[])?;
        while let Some(said) = self.next() {
            if let Err(error) = self.tell(said) {
                self.end(&format!("its line broke: {error}"));
            }
        }
        drop(line.shutdown(Shutdown::Both));
        // It answers nobody any more, and its requests have ended with the line.
        drop(reader.join());
        Ok(())
    }

    /// Does what the worker asks for, until its line breaks, or it says what it may not; which of that.
    fn hear(self: &Arc<Self>, mut line: BufReader<UnixStream>) -> String {
        loop {
            self.wait_for_room();
            if let Err(why) = self.serve(&mut line) {
                return why;
            }
        }
    }

    /// What is to be said next; none: it is to end.
    fn next(self: &Arc<Self>) -> Option<Said> {
        let mut idle_since = Instant::now();
        loop {
            {
                let mut queue = self.queue.lock();
                if queue.ended.is_some() {
                    return None;
                }
                if let Some(said) = queue.said.pop_front() {
                    if let Said::Answer(_, bytes) = &said {
                        queue.answer_bytes -= bytes.heap();
                        self.wake.notify_all();
                    }
                    return Some(said);
                }
                self.wake.wait_for(&mut queue, STOP_LOOK_INTERVAL.min(self.options.idle_max));
            }
            if !self.is_idle() {
                idle_since = Instant::now();
            }
            if self.has_stuck_sandbox() {
                self.end("it has not ended a sandbox that it was told to end");
            }
            if idle_since.elapsed() >= self.options.idle_max
                && self.driver.upgrade().is_none_or(|driver| driver.workers.leaves_if_idle(self))
            {
                self.end("it has had nothing to do");
            }
        }
    }

    fn has_stuck_sandbox(&self) -> bool {
        let books = self.books.lock();
        books
            .sandboxes
            .values()
            .any(|sandbox| sandbox.stopping.is_some_and(|since| since.elapsed() > STOP_MAX))
    }

    fn tell(&self, said: Said) -> std::io::Result<()> {
        let (message, bytes) = match said {
            Said::Start(start, context) => {
                self.introduce(&context)?;
                (Tell::Start(self.start_message(&start)), Bytes::None)
            }
            Said::Deliver(instance, call) => {
                let call = Some(self.call(instance, &call));
                (Tell::Deliver(to_worker::Deliver { instance: instance.0, call }), Bytes::None)
            }
            Said::Stop(instance, reason) => {
                let mut books = self.books.lock();
                let Some(sandbox) = books.sandboxes.get_mut(&instance) else { return Ok(()) };
                sandbox.stopping.get_or_insert_with(Instant::now);
                let reason = stop_reason(reason).into();
                (Tell::Stop(to_worker::Stop { instance: instance.0, reason }), Bytes::None)
            }
            Said::Interrupt(instance, task) => {
                let interrupt = to_worker::Interrupt { instance: instance.0, task: Some(id(task)) };
                (Tell::Interrupt(interrupt), Bytes::None)
            }
            Said::Pause(instance, true) => (Tell::Pause(instance.0), Bytes::None),
            Said::Pause(instance, false) => (Tell::GoOn(instance.0), Bytes::None),
            Said::CloseJob(job) => {
                if self.books.lock().jobs.remove(&job).is_none() {
                    return Ok(());
                }
                (Tell::CloseJob(id(job)), Bytes::None)
            }
            Said::Load(number, bytes) => (Tell::Load(to_worker::Load { number }), Bytes::Component(bytes)),
            Said::Answer(answer, bytes) => (Tell::Answer(*answer), bytes),
        };
        self.send(message, bytes.as_slice())
    }

    /// Tells it of a job of which a sandbox is about to start.
    fn introduce(&self, context: &Arc<JobContext>) -> std::io::Result<()> {
        if self.books.lock().jobs.insert(context.job, context.clone()).is_some() {
            return Ok(());
        }
        let job = to_worker::Job {
            job: Some(id(context.job)),
            node: Some(id(context.node)),
            tenant: context.tenant.to_string(),
            namespace: context.namespace.clone(),
            env: pairs(&context.env),
        };
        self.send(Tell::Job(job), &[])
    }

    fn send(&self, message: Tell, bytes: &[u8]) -> std::io::Result<()> {
        let message = v1::ToWorker { message: Some(message) };
        let too_large = || std::io::Error::other("a message to a worker is larger than one may be");
        let message = wire::encoded(&message, bytes.len() as u64).ok_or_else(too_large)?;
        match &*self.line.lock() {
            Some(line) => wire::write(&mut &*line, &message, &[bytes]),
            None => Err(std::io::ErrorKind::NotConnected.into()),
        }
    }

    /// It is no more: its sandboxes have ended with it.
    fn over(self: &Arc<Self>, how: &str, is_at_fault: bool, lived: Duration) {
        let Some(driver) = self.driver.upgrade() else { return };
        // Whoever comes from now on finds another.
        driver.workers.leaves(self, Some(lived));
        let error = match is_at_fault {
            true => cannot_run(&self.tenant, how),
            false => died(&self.tenant, how),
        };
        let sandboxes = self.books.lock().close(&error);
        if driver.workers.is_over() {
            return;
        }
        match sandboxes.len() {
            0 => tracing::info!(tenant = %self.tenant, "a worker with nothing in it has ended: {how}"),
            count => {
                tracing::warn!(tenant = %self.tenant, "a worker has ended, and {count} sandboxes with it: {how}")
            }
        }
        for instance in sandboxes {
            driver.workers.left(instance);
            let gone = GoneReport { instance, calls: SmallVec::new(), cause: Some(error.clone()) };
            driver.event(|node, now, fx| node.gone(now, gone, fx));
        }
    }
}

fn died(tenant: &TenantName, how: &str) -> Error {
    Error::new(
        ErrorCode::WorkerDied,
        format!(
            "the process that ran the guests of the tenant {tenant} on this node has ended ({how}), and the call was not at fault as far as is known: it is retried as max_retries allows"
        ),
    )
}

fn cannot_run(tenant: &TenantName, how: &str) -> Error {
    Error::new(
        ErrorCode::Unsupported,
        format!(
            "the guests of the tenant {tenant} run in a process of their own (isolation = process), and this node cannot lock one in: {how}"
        ),
    )
}

#[cfg(test)]
mod tests;
