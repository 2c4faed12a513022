//! Workers: processes that run the guests of one tenant each, apart from this one.
//!
//! A worker has a runtime as this process has, and its host calls come here over a socket, where the very
//! [`GuestHost`](crate::host::GuestHost) answers them ([`serve`]). A worker is believed nothing: what it may name is in its
//! [`Books`](books::Books). Its end costs the sandboxes that were in it, and nobody else.

mod asks;
mod books;
mod laid;
mod payload;
mod process;
mod serve;
mod tells;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use engine_core::ids::IdMap;
use engine_core::tenant::{Isolation, Tenancy};
use engine_core::work::{Call, CallReport, GoneReport, Start, StopReason, Usage};
use engine_core::{ComponentId, Error, ErrorCode, InstanceId, JobId, TaskId, TenantName};
use engine_proto::v1;
use engine_runtime::{ComponentWorld, JobContext};
use parking_lot::Mutex;
use smallvec::smallvec;

use crate::background::{self, Kind};
use crate::driver::Driver;
use crate::options::Options;

pub(crate) use worker::Worker;

/// How long a tenant whose worker has died waits for the next; twice as long after each that follows, and at most
/// [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A worker that has lived for so long counts as one that works.
const LIVED_MIN: Duration = Duration::from_secs(30);

/// The workers of this node.
pub(crate) struct Workers {
    options: WorkerOptions,
    seats: Mutex<HashMap<TenantName, Seat>>,
    by_instance: Mutex<IdMap<InstanceId, Arc<Worker>>>,
    /// Sandboxes in workers: mostly none, which is seen without a lock.
    sandboxes: AtomicUsize,
    /// Sandboxes that were started in one.
    started: AtomicU64,
    /// The node ends.
    is_over: AtomicBool,
}

/// How workers are run.
#[derive(Debug, Clone)]
pub(crate) struct WorkerOptions {
    /// Whether this program can be one.
    pub(crate) is_possible: bool,
    /// How long one is kept that has nothing to do.
    pub(crate) idle_max: Duration,
    /// What each is told at first.
    pub(crate) setup: v1::to_worker::Setup,
    /// Bytes that values may take in the arena that a worker has written and nothing holds yet.
    pub(crate) written_bytes_max: u64,
    /// Bytes of names, environment and options of one request.
    pub(crate) option_bytes_max: usize,
}

/// The place of a tenant's worker.
#[derive(Default)]
struct Seat {
    worker: Option<Arc<Worker>>,
    deaths: u32,
}

impl WorkerOptions {
    /// Those of a node. `instances_max`: as its runtime has them.
    pub(crate) fn of(options: &Options, instances_max: usize, can_spill: bool) -> Self {
        let runtime = &options.runtime;
        Self {
            is_possible: options.is_worker_program,
            idle_max: options.worker_idle_max,
            setup: v1::to_worker::Setup {
                guest_threads: u32::try_from(runtime.guest_threads).unwrap_or(u32::MAX),
                instances_max: u32::try_from(instances_max).unwrap_or(u32::MAX),
                memory_bytes_per_guest_max: runtime.memory_bytes_per_guest_max,
                inline_object_bytes_max: options.inline_object_bytes_max as u64,
                can_spill,
                value_bytes_max: runtime.value_bytes_max,
                writer_memory_bytes_max: runtime.writer_memory_bytes_max.min(WRITER_MEMORY_BYTES_MAX),
            },
            written_bytes_max: options.store_bytes_max / 2,
            option_bytes_max: runtime.option_bytes_per_task_max,
        }
    }
}

/// What is written piece by piece is on a worker's heap until it is whole, and goes to disk above so many bytes.
const WRITER_MEMORY_BYTES_MAX: u64 = 32 << 20;

impl Workers {
    pub(crate) fn new(options: WorkerOptions) -> Self {
        Self {
            options,
            seats: Mutex::default(),
            by_instance: Mutex::default(),
            sandboxes: AtomicUsize::new(0),
            started: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// Whether the guests of a job can be run apart as its tenant wants them to.
    ///
    /// # Errors
    /// UNSUPPORTED when this program has no workers, or the job is granted directories.
    pub(crate) fn check(&self, tenancy: &Tenancy, has_directories: bool) -> Result<(), Error> {
        let tenant = &tenancy.tenant;
        match tenancy.isolation {
            Isolation::Thread => Ok(()),
            Isolation::Process if !self.options.is_possible => Err(Error::new(
                ErrorCode::Unsupported,
                format!(
                    "the guests of the tenant {tenant} run in a process of their own (isolation = process), and this engine is inside another program, which cannot start one: submit the job to an engine that `engine up` or `engine head` runs"
                ),
            )),
            Isolation::Process if has_directories => Err(Error::new(
                ErrorCode::Unsupported,
                format!(
                    "a job of the tenant {tenant} cannot be granted directories: its guests run in a process that can open nothing (isolation = process); pass the data as objects"
                ),
            )),
            Isolation::Process => Ok(()),
        }
    }

    /// Starts a sandbox in its tenant's worker, which is started when there is none.
    pub(crate) fn start(&self, driver: &Arc<Driver>, start: Start, context: Arc<JobContext>) {
        let (instance, task) = (start.instance, start.call.task);
        let mut seats = self.seats.lock();
        let worker = match self.worker(&mut seats, driver, &context.tenant) {
            Ok(worker) => worker,
            Err(error) => return not_started(driver, instance, task, error),
        };
        self.by_instance.lock().insert(instance, worker.clone());
        self.sandboxes.fetch_add(1, Ordering::Relaxed);
        self.started.fetch_add(1, Ordering::Relaxed);
        // It lives: nobody can have ended it while its seat is locked.
        worker.start(start, context);
    }

    /// A tenant's worker, started when there is none.
    fn worker(
        &self,
        seats: &mut HashMap<TenantName, Seat>,
        driver: &Arc<Driver>,
        tenant: &TenantName,
    ) -> Result<Arc<Worker>, Error> {
        if self.is_over() {
            return Err(Error::new(ErrorCode::NodeDied, "the node is shutting down"));
        }
        let seat = seats.entry(tenant.clone()).or_default();
        if let Some(worker) = &seat.worker {
            return Ok(worker.clone());
        }
        let doublings = seat.deaths.saturating_sub(1).min(16);
        let pause = match seat.deaths {
            0 => Duration::ZERO,
            _ => (PAUSE_MIN * 2_u32.pow(doublings)).min(PAUSE_MAX),
        };
        let worker = Worker::begin(driver, tenant.clone(), self.options.clone(), Instant::now() + pause)?;
        seat.worker = Some(worker.clone());
        Ok(worker)
    }

    /// Has a tenant's worker compile a component.
    ///
    /// # Errors
    /// What is wrong with the component, WORKER_DIED when the worker dies of it, UNSUPPORTED when none can run here.
    pub(crate) async fn load(
        &self,
        driver: &Arc<Driver>,
        tenant: &TenantName,
        id: ComponentId,
        bytes: Arc<[u8]>,
    ) -> Result<ComponentWorld, Error> {
        let loading = {
            let mut seats = self.seats.lock();
            self.worker(&mut seats, driver, tenant)?.load(id, bytes)
        };
        loading.await
    }

    /// What is known of a component that a tenant's worker has compiled.
    pub(crate) fn world(&self, tenant: &TenantName, id: ComponentId) -> Option<ComponentWorld> {
        self.seats.lock().get(tenant)?.worker.as_ref()?.world(id)
    }

    /// The worker that a sandbox is in; none: it is in this process, or nowhere.
    fn of(&self, instance: InstanceId) -> Option<Arc<Worker>> {
        if self.sandboxes.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.by_instance.lock().get(&instance).cloned()
    }

    /// Has a sandbox serve a further call; gives it back when it is in no worker.
    pub(crate) fn deliver(&self, instance: InstanceId, call: Box<Call>) -> Option<Box<Call>> {
        match self.of(instance) {
            Some(worker) => {
                worker.deliver(instance, call);
                None
            }
            None => Some(call),
        }
    }

    /// Ends a sandbox; false: it is in no worker.
    pub(crate) fn stop(&self, instance: InstanceId, reason: StopReason) -> bool {
        self.of(instance).inspect(|worker| worker.stop(instance, reason)).is_some()
    }

    /// Raises the flag of a call; false: it is in no worker.
    pub(crate) fn interrupt(&self, instance: InstanceId, task: TaskId) -> bool {
        self.of(instance).inspect(|worker| worker.interrupt(instance, task)).is_some()
    }

    /// Has a sandbox stand still, or go on; false: it is in no worker.
    pub(crate) fn pause(&self, instance: InstanceId, pauses: bool) -> bool {
        self.of(instance).inspect(|worker| worker.pause(instance, pauses)).is_some()
    }

    /// No sandbox of this job will be started any more.
    pub(crate) fn close_job(&self, job: JobId) {
        for worker in self.living() {
            worker.close_job(job);
        }
    }

    fn living(&self) -> Vec<Arc<Worker>> {
        self.seats.lock().values().filter_map(|seat| seat.worker.clone()).collect()
    }

    /// Sandboxes that were started in workers since the node began.
    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// The workers that run.
    pub(crate) fn views(&self) -> Vec<v1::NodeWorker> {
        let mut views: Vec<_> = self.living().iter().filter_map(|worker| worker.view()).collect();
        views.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        views
    }

    /// A sandbox is in no worker any more.
    fn left(&self, instance: InstanceId) {
        if self.by_instance.lock().remove(&instance).is_some() {
            self.sandboxes.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A worker takes nothing any more: the next one of its tenant is another. `lived`: for how long, when it has
    /// died; none: it had nothing to do.
    fn leaves(&self, worker: &Arc<Worker>, lived: Option<Duration>) {
        let mut seats = self.seats.lock();
        let Some(seat) = seats.get_mut(worker.tenant()) else { return };
        if !seat.worker.as_ref().is_some_and(|there| Arc::ptr_eq(there, worker)) {
            return;
        }
        seat.worker = None;
        match lived {
            Some(lived) if lived < LIVED_MIN => seat.deaths = seat.deaths.saturating_add(1),
            Some(_) => seat.deaths = 1,
            None => drop(seats.remove(worker.tenant())),
        }
    }

    /// The same for one that may have been given something just now; false: it was, and stays.
    fn leaves_if_idle(&self, worker: &Arc<Worker>) -> bool {
        let mut seats = self.seats.lock();
        if !worker.is_idle() {
            return false;
        }
        seats.remove(worker.tenant());
        true
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Ends all workers, without reports.
    pub(crate) fn shutdown(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        for worker in self.living() {
            worker.end("its node ends");
        }
    }
}

/// A sandbox that no worker could be started for.
fn not_started(driver: &Arc<Driver>, instance: InstanceId, task: TaskId, error: Error) {
    // An effect never calls back into the core.
    let this = driver.clone();
    let report = async move {
        let call = CallReport { task, result: Err(error.clone()), usage: Usage::default() };
        let gone = GoneReport { instance, calls: smallvec![call], cause: Some(error) };
        this.event(|node, now, fx| node.gone(now, gone, fx));
    };
    drop(background::spawn_on(&driver.background, Kind::Prepare, report));
}
