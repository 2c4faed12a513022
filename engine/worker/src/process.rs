//! The process: locks itself in, and then does what the node says.

use std::collections::HashMap;
use std::io::{BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use engine_core::tenant::Isolation;
use engine_core::{Error, ErrorCode, InstanceId, JobId};
use engine_proto::convert;
use engine_proto::convert::peer::id_from;
use engine_proto::convert::worker::{call_from, failure, pairs_from, start_from, stop_reason_from};
use engine_proto::v1;
use engine_proto::v1::from_worker::{self, Message};
use engine_proto::v1::to_worker::{self, Message as Told};
use engine_runtime::apart::close_other_descriptors;
use engine_runtime::{ComponentWorld, JobContext, Options, Runtime};

use crate::background::Kind;
use crate::host::NodeHost;
use crate::line::{Dropped, Line, node_is_gone};
use crate::lock::{Locks, lock_in};
use crate::wire;

/// Bytes that are read of the line at once.
const READ_BYTES: usize = 64 << 10;
/// Values that are let go of in one message.
const DROPS_PER_MESSAGE_MAX: usize = 1_000;

/// Runs a worker until its node ends it. The process has one thread so far, and the line as its standard input.
///
/// # Errors
/// Why it cannot run, for people.
pub fn run() -> Result<(), String> {
    // Before anything is opened here, which would be closed too.
    let closed = close_other_descriptors().map(drop);
    let no_line = |error| format!("the standard input is no line to a node: {error}");
    let line = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(no_line)?);
    let writer = line.try_clone().map_err(no_line)?;
    let mut reader = BufReader::with_capacity(READ_BYTES, line);
    let setup = match wire::read::<v1::ToWorker>(&mut reader) {
        Ok((v1::ToWorker { message: Some(Told::Setup(setup)) }, 0)) => setup,
        Ok(_) => return Err("the node did not say how the worker is to run".to_owned()),
        Err(error) => return Err(format!("the node did not say how the worker is to run: {error}")),
    };
    let locks = lock_in(closed)?;
    let runtime = Runtime::new(options(&setup)).map_err(|error| error.to_string())?;
    let (drops, dropped) = channel();
    let worker = Worker { line: Line::new(writer, drops), runtime, jobs: HashMap::new() };
    worker.runtime.attach(Arc::new(NodeHost {
        line: worker.line.clone(),
        runtime: worker.runtime.clone(),
        inline_object_bytes_max: usize::try_from(setup.inline_object_bytes_max).unwrap_or(usize::MAX),
        can_spill: setup.can_spill,
        loading: Arc::default(),
    }));
    let sweeper = worker.line.clone();
    Kind::Sweeper
        .start(move || sweep(&sweeper, &dropped))
        .map_err(|error| format!("starting a thread: {error}"))?;
    let Locks { hold, missing } = locks;
    let ready = Message::Ready(from_worker::Ready { locks: hold, missing });
    worker.line.tell(None, ready).map_err(|error| error.to_string())?;
    worker.serve(&mut reader)
}

fn options(setup: &to_worker::Setup) -> Options {
    Options {
        guest_threads: (setup.guest_threads as usize).max(1),
        instances_max: setup.instances_max,
        memory_bytes_per_guest_max: setup.memory_bytes_per_guest_max,
        value_bytes_max: setup.value_bytes_max,
        writer_memory_bytes_max: setup.writer_memory_bytes_max,
        // A file of machine code that a guest could write to would run with the next worker.
        compile_cache: None,
        ..Options::default()
    }
}

/// Compiles on a thread of its own.
pub(crate) fn compile(work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    Kind::Compiler.start(work).map_err(|error| {
        Error::new(
            ErrorCode::LimitExceeded,
            format!("there is no thread to compile the component on: {error}"),
        )
    })
}

/// Tells the node of what is not needed any more, much at once.
fn sweep(line: &Line, dropped: &Receiver<Dropped>) {
    while let Ok(first) = dropped.recv() {
        let mut numbers = Vec::new();
        for one in std::iter::once(first).chain(dropped.try_iter()).take(DROPS_PER_MESSAGE_MAX) {
            match one {
                Dropped::Kept(number) => numbers.push(number),
                Dropped::Draft(number) => drop(line.tell(None, Message::DropDraft(number))),
            }
        }
        if !numbers.is_empty() {
            drop(line.tell(None, Message::Drop(from_worker::Numbers { numbers })));
        }
    }
}

struct Worker {
    line: Arc<Line>,
    runtime: Runtime,
    jobs: HashMap<JobId, Arc<JobContext>>,
}

impl Worker {
    fn serve(mut self, reader: &mut impl Read) -> Result<(), String> {
        loop {
            let (told, payload) = match wire::read::<v1::ToWorker>(reader) {
                Ok(told) => told,
                Err(wire::BadFrame::Broken(_)) => node_is_gone(),
                Err(error) => return Err(format!("the node said {error}")),
            };
            let mut bytes = Vec::new();
            match reader.take(payload).read_to_end(&mut bytes) {
                Ok(read) if read as u64 == payload => {}
                _ => node_is_gone(),
            }
            self.told(told, bytes).map_err(|error| format!("the node said what cannot be: {error}"))?;
        }
    }

    fn told(&mut self, told: v1::ToWorker, payload: Vec<u8>) -> Result<(), Error> {
        let line = self.line.clone();
        let take = |travels, size| line.take(travels, size);
        let missing = || Error::invalid_argument("ToWorker.message is missing");
        match told.message.ok_or_else(missing)? {
            Told::Setup(_) => return Err(Error::invalid_argument("a worker is set up once")),
            Told::Job(job) => self.job(job)?,
            Told::CloseJob(job) => drop(self.jobs.remove(&id_from(job))),
            Told::Start(start) => {
                let start = start_from(start, &take)?;
                let job = self.jobs.get(&start.job).cloned();
                let unknown = || Error::invalid_argument(format!("{} was not told of", start.job));
                let job = job.ok_or_else(unknown)?;
                self.runtime.start(start, job);
            }
            Told::Deliver(deliver) => {
                let call = deliver.call.ok_or_else(|| Error::invalid_argument("Deliver.call is missing"))?;
                self.runtime.deliver(InstanceId(deliver.instance), call_from(call, &take)?);
            }
            Told::Stop(stop) => {
                self.runtime.stop(InstanceId(stop.instance), stop_reason_from(stop.reason)?);
            }
            Told::Interrupt(interrupt) => {
                if let Some(task) = interrupt.task {
                    self.runtime.interrupt(InstanceId(interrupt.instance), id_from(task));
                }
            }
            Told::Pause(instance) => self.runtime.pause(InstanceId(instance)),
            Told::GoOn(instance) => self.runtime.go_on(InstanceId(instance)),
            Told::Load(load) => self.load(load.number, payload)?,
            Told::Answer(v1::WorkerAnswer { to, answer }) => {
                if let Some(answer) = answer {
                    line.answered(to, answer, payload);
                }
            }
        }
        Ok(())
    }

    fn job(&mut self, job: to_worker::Job) -> Result<(), Error> {
        let missing = |field: &str| Error::invalid_argument(format!("Job.{field} is missing"));
        let context = JobContext {
            job: id_from(job.job.ok_or_else(|| missing("job"))?),
            node: id_from(job.node.ok_or_else(|| missing("node"))?),
            tenant: convert::tenant(&job.tenant, "Job.tenant")?,
            namespace: job.namespace,
            components: std::collections::BTreeMap::new(),
            env: pairs_from(job.env),
            directories: Vec::new(),
            isolation: Isolation::Process,
        };
        self.jobs.insert(context.job, Arc::new(context));
        Ok(())
    }

    /// Compiles a component for a job that is about to begin.
    fn load(&self, number: u64, bytes: Vec<u8>) -> Result<(), Error> {
        let (line, runtime) = (self.line.clone(), self.runtime.clone());
        compile(move || {
            let loaded = catch_unwind(AssertUnwindSafe(|| runtime.load(&bytes)));
            let loaded = loaded.unwrap_or_else(|_| Err(Error::internal("compiling the component panicked")));
            let is_concurrent = loaded.as_ref().is_ok_and(|info| info.world == ComponentWorld::Concurrent);
            let failed = loaded.err().map(|error| failure(&error, &|_| convert::worker::Travels::Kept(0)));
            let loaded = from_worker::Loaded { number, failed, is_concurrent };
            drop(line.tell(None, Message::Loaded(loaded)));
        })
    }
}
