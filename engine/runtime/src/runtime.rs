//! The handle that the node holds.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use engine_core::resources::Quantity;
use engine_core::work::{Call, Start, StopReason};
use engine_core::{ComponentId, Error, InstanceId, JobId, TaskId, TenantName};
use parking_lot::{Mutex, RwLock};
use wasmtime_wasi::filesystem::WasiFilesystemCtx;

use crate::compile_cache::CompileCache;
use crate::compiling::Compiling;
use crate::control::Control;
use crate::counters::{Counters, Counts};
use crate::engine::World;
use crate::host::Host;
use crate::info::ComponentInfo;
use crate::instance;
use crate::job::JobContext;
use crate::load::{self, Loaded};
use crate::mapped::Budget;
use crate::options::Options;
use crate::ticker::Ticks;
use crate::turns::Turns;
use crate::wasi::Grants;

/// Runs sandboxes. Cheap to clone; all clones are one runtime.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

/// What all handles and sandboxes share.
pub(crate) struct Inner {
    pub(crate) options: Options,
    host: OnceLock<Arc<dyn Host>>,
    pub(crate) plain: World,
    concurrent: OnceLock<World>,
    making_concurrent: Mutex<()>,
    pub(crate) cache: CompileCache,
    compiling: Compiling,
    components: RwLock<HashMap<ComponentId, Arc<Loaded>>>,
    pub(crate) instances: Instances,
    pub(crate) grants: Grants,
    pub(crate) counts: Counts,
    /// What sandboxes have mapped of large objects.
    pub(crate) mapped: Arc<Budget>,
    ticks: Arc<Ticks>,
    executor: Mutex<Option<tokio::runtime::Runtime>>,
    handle: tokio::runtime::Handle,
    /// Whose sandboxes run next.
    turns: Arc<Turns>,
}

impl Runtime {
    /// A runtime with threads of its own. Nothing can be started before [`Self::attach`].
    ///
    /// # Errors
    /// INTERNAL when the engine or its threads cannot be started.
    pub fn new(options: Options) -> Result<Self, Error> {
        let plain = World::plain(&options)?;
        let ticks = Arc::new(Ticks::default());
        let executor = executor(&options, &ticks)?;
        let inner = Arc::new(Inner {
            host: OnceLock::new(),
            plain,
            concurrent: OnceLock::new(),
            making_concurrent: Mutex::new(()),
            compiling: Compiling::default(),
            cache: CompileCache::new(options.compile_cache.clone(), options.compile_cache_bytes_max),
            components: RwLock::default(),
            instances: Instances::default(),
            grants: Grants::default(),
            counts: Counts::default(),
            mapped: Arc::new(Budget::new(options.mapped_objects_of_all_max)),
            ticks: ticks.clone(),
            handle: executor.handle().clone(),
            turns: Turns::new(options.guest_threads),
            executor: Mutex::new(Some(executor)),
            options,
        });
        inner.start_ticker()?;
        Ok(Self(inner))
    }

    /// Sandboxes of plain components that can be alive at once: as many as were asked for, or fewer
    /// where the kernel's `vm.max_map_count` or the address space does not allow that.
    pub fn instances_max(&self) -> usize {
        self.0.plain.instances_max as usize
    }

    /// The node that sandboxes talk to. The first one counts. The runtime keeps it as long as any of
    /// its handles lives: a node that holds the runtime gives a host that holds the node weakly.
    pub fn attach(&self, host: Arc<dyn Host>) {
        if self.0.host.set(host).is_err() {
            tracing::warn!("a second host was given to a runtime that has one: it is ignored");
        }
    }

    /// Makes a component ready to be started: validates it, and compiles it or takes its machine code
    /// from the compile cache. Takes long: not for a thread that others wait for.
    ///
    /// # Errors
    /// INVALID_COMPONENT or LIMIT_EXCEEDED, with what is wrong and what to do.
    pub fn load(&self, bytes: &[u8]) -> Result<ComponentInfo, Error> {
        let id = load::component_id(bytes);
        if let Some(loaded) = self.0.component(id) {
            return Ok(loaded.info.clone());
        }
        self.0.compiling.one_at_a_time(id, || {
            if let Some(loaded) = self.0.component(id) {
                return Ok(loaded.info.clone());
            }
            let loaded = load::load(&self.0, bytes)?;
            let info = loaded.info.clone();
            self.0.components.write().entry(id).or_insert(loaded);
            Ok(info)
        })
    }

    /// What is known of a loaded component.
    pub fn component(&self, id: ComponentId) -> Option<ComponentInfo> {
        Some(self.0.component(id)?.info.clone())
    }

    /// Forgets a component. Sandboxes that run it go on.
    pub fn unload(&self, id: ComponentId) {
        self.0.components.write().remove(&id);
    }

    /// Opens the directories that a job grants, so that what is wrong with them is known before its
    /// first guest runs.
    ///
    /// # Errors
    /// NOT_FOUND, PERMISSION_DENIED or INVALID_ARGUMENT with the directory's name.
    pub fn check_directories(&self, job: &Arc<JobContext>) -> Result<(), Error> {
        self.0.directories(job).map(drop)
    }

    /// Closes the directories of a job that has ended. Sandboxes that use them, such as detached actors,
    /// keep them until their own end.
    pub fn close_directories(&self, job: JobId) {
        self.0.grants.close(job);
    }

    /// Starts a sandbox and has it serve its first call. Does not block; how it went comes by
    /// [`Host::finished`] and [`Host::gone`].
    pub fn start(&self, start: Start, job: Arc<JobContext>) {
        instance::start(&self.0, start, job);
    }

    /// Has a warm sandbox or an actor serve a further call, after those delivered before. An actor of
    /// the concurrent world serves it at once.
    pub fn deliver(&self, instance: InstanceId, call: Call) {
        // One that is gone has said so, or is about to: the core knows what to do with its calls.
        if let Some(control) = self.0.instances.get(instance) {
            let task = call.task;
            if !control.deliver(call, self.0.options.mailbox_calls_max) {
                tracing::error!(%instance, %task, "the mailbox of a sandbox is full: its actor is stopped");
                control.stop(StopReason::ActorEnded);
            }
        }
    }

    /// Ends a sandbox, in a busy loop too. [`Host::gone`] follows once, without calls.
    pub fn stop(&self, instance: InstanceId, reason: StopReason) {
        if let Some(control) = self.0.instances.get(instance) {
            control.stop(reason);
        }
    }

    /// Has a sandbox stand still within a tick, in a busy loop too, whatever it waits for, until
    /// [`Self::go_on`]. It may be stopped meanwhile.
    pub fn pause(&self, instance: InstanceId) {
        if let Some(control) = self.0.instances.get(instance) {
            control.pause(true);
        }
    }

    /// Has a sandbox that stands still go on.
    pub fn go_on(&self, instance: InstanceId) {
        if let Some(control) = self.0.instances.get(instance) {
            control.pause(false);
        }
    }

    /// Raises the flag of a call that is being served: its guest sees it by `is-cancelled`.
    pub fn interrupt(&self, instance: InstanceId, task: TaskId) {
        if let Some(control) = self.0.instances.get(instance) {
            control.interrupt(task);
        }
    }

    /// What has been done so far.
    pub fn counters(&self) -> Counters {
        let inner = &self.0;
        Counters {
            instantiations: inner.counts.instantiations.get(),
            calls: inner.counts.calls.get(),
            traps: inner.counts.traps.get(),
            stops: inner.counts.stops.get(),
            mapped_objects: inner.counts.mapped_objects.get(),
            live_instances: inner.instances.len() as u64,
            loaded_components: inner.components.read().len() as u64,
            compile_cache_hits: inner.cache.hits.get(),
            compilations: inner.cache.compilations.get(),
            guest_threads: inner.options.guest_threads as u64,
        }
    }

    /// Ends the runtime's threads and every sandbox with them, without reports.
    pub fn shutdown(self) {
        self.0.finish();
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn host(&self) -> Option<&Arc<dyn Host>> {
        self.host.get()
    }

    pub(crate) fn component(&self, id: ComponentId) -> Option<Arc<Loaded>> {
        self.components.read().get(&id).cloned()
    }

    /// The job's directories, opened once.
    pub(crate) fn directories(&self, job: &Arc<JobContext>) -> Result<Arc<WasiFilesystemCtx>, Error> {
        self.grants.directories(job, self.options.blocks_on_files)
    }

    /// The engine of the concurrent world, made when it is first needed.
    pub(crate) fn concurrent(&self) -> Result<&World, Error> {
        let _one = self.making_concurrent.lock();
        if let Some(world) = self.concurrent.get() {
            return Ok(world);
        }
        let world = World::concurrent(&self.options)?;
        Ok(self.concurrent.get_or_init(|| world))
    }

    /// Runs the future of a sandbox, which holds so many CPUs, on the guest threads.
    pub(crate) fn spawn(
        &self,
        tenant: &TenantName,
        cpus: Quantity,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        self.turns.spawn(&self.handle, tenant, cpus, future);
    }

    fn start_ticker(self: &Arc<Self>) -> Result<(), Error> {
        let (ticks, tick) = (self.ticks.clone(), self.options.tick);
        // Not to keep the runtime alive.
        let weak = Arc::downgrade(self);
        let advance = move || {
            if let Some(inner) = weak.upgrade() {
                inner.plain.engine.increment_epoch();
                if let Some(world) = inner.concurrent.get() {
                    world.engine.increment_epoch();
                }
            }
        };
        self.turns.hurry_by(advance.clone());
        std::thread::Builder::new()
            .name("guest-ticker".to_owned())
            .spawn(move || ticks.run(tick, advance))
            .map_err(|error| Error::internal(format!("starting the ticker's thread: {error}")))?;
        Ok(())
    }

    fn finish(&self) {
        self.ticks.finish();
        if let Some(executor) = self.executor.lock().take() {
            executor.shutdown_background();
        }
        self.turns.finish();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.finish();
    }
}

fn executor(options: &Options, ticks: &Arc<Ticks>) -> Result<tokio::runtime::Runtime, Error> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let ticks = ticks.clone();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.guest_threads.max(1))
        .max_blocking_threads(32)
        // New sandboxes come from outside: behind guests that compute they would wait for dozens of slices.
        .global_queue_interval(4)
        .thread_name_fn(move || format!("guest-{}", next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)))
        .on_thread_start(move || ticks.register_thread())
        .enable_time()
        .build()
        .map_err(|error| Error::internal(format!("starting the guest threads: {error}")))
}

/// The sandboxes that there are, in shards so that threads seldom meet.
#[derive(Default)]
pub(crate) struct Instances {
    shards: [Mutex<HashMap<InstanceId, Arc<Control>>>; SHARDS],
}

const SHARDS: usize = 16;

impl Instances {
    fn shard(&self, instance: InstanceId) -> &Mutex<HashMap<InstanceId, Arc<Control>>> {
        &self.shards[(instance.0 % SHARDS as u64) as usize]
    }

    /// Adds a sandbox; false when there is one of this id.
    pub(crate) fn insert(&self, instance: InstanceId, control: Arc<Control>) -> bool {
        self.shard(instance).lock().insert(instance, control).is_none()
    }

    pub(crate) fn get(&self, instance: InstanceId) -> Option<Arc<Control>> {
        self.shard(instance).lock().get(&instance).cloned()
    }

    pub(crate) fn remove(&self, instance: InstanceId) {
        self.shard(instance).lock().remove(&instance);
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}
