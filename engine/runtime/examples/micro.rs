//! What the runtime costs on top of wasmtime, in CPU time: a fresh sandbox for a call that does nothing, raw and
//! through the runtime, a warm call, and what an idle sandbox takes.
//! `cargo run --release -p engine-runtime --example micro -- [COMPONENT FUNCTION]`: the function has no
//! arguments and one result.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use engine_core::ids::IdGenerator;
use engine_core::options::{ActorOptions, CallOptions, Returns, TaskOptions};
use engine_core::resources::Resources;
use engine_core::work::{Call, CallReport, Entry, GoneReport, Life, Start, StopReason};
use engine_core::{
    ActorId, Argument, Error, Handle, InstanceId, LaneId, ObjectId, Outcome, Place, TaskId, Value,
};
use engine_runtime::host::{
    Caller, FunctionName, Host, LogLine, Next, NodeInfo, Spawned, Until, Wait, Waitable,
};
use engine_runtime::{JobContext, Options, Runtime};
use parking_lot::{Condvar, Mutex};
use wasmtime::component::{Component, Linker, Resource, ResourceType, Val};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

#[allow(dead_code)]
#[path = "../tests/runtime/guests.rs"]
mod guests;

/// CPU time of this process: steadier than the clock on a busy machine.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A component, the function to run, and how many values that returns.
type Guest = (Vec<u8>, String, u32);

/// A node that knows nothing and starts the next task when one is gone.
struct Node {
    runtime: Runtime,
    job: Arc<JobContext>,
    start: Start,
    next: AtomicU64,
    left: AtomicU64,
    running: AtomicU64,
    stays: AtomicBool,
    over: Mutex<bool>,
    wake: Condvar,
}

impl Node {
    fn take(&self) -> Option<u64> {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).ok()
    }

    fn start_one(&self) {
        let mut start = self.start.clone();
        start.instance = InstanceId(self.next.fetch_add(1, Ordering::Relaxed));
        self.runtime.start(start, self.job.clone());
    }

    fn ended(&self) {
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            *self.over.lock() = true;
            self.wake.notify_all();
        }
    }

    fn wait(&self) {
        let mut over = self.over.lock();
        while !*over {
            self.wake.wait(&mut over);
        }
        *over = false;
    }
}

impl Host for Node {
    fn place(&self, _bytes: Vec<u8>) -> Result<Place, Error> {
        Ok(Place::default())
    }
    fn put(&self, _from: Caller, _value: Value) -> Result<ObjectId, Error> {
        Err(Error::internal("not here"))
    }
    fn acquire(&self, _from: Caller, _handle: Handle) {}
    fn release(&self, _from: Caller, _handle: Handle) {}
    fn is_ready(&self, _from: Caller, _object: ObjectId) -> bool {
        false
    }
    fn outcome(&self, _from: Caller, _object: ObjectId) -> Option<Outcome> {
        None
    }
    fn wait(&self, _from: Caller, _items: &[Waitable], _until: Until, _timeout: Option<Duration>) -> Wait {
        Wait::Ready
    }
    fn is_waitable_ready(&self, _from: Caller, _item: Waitable) -> bool {
        false
    }
    fn next(&self, _from: Caller, _stream: TaskId) -> Next {
        Next::End
    }
    fn spawn(&self, _: Caller, _: FunctionName, _: Vec<Argument>, _: TaskOptions) -> Result<Spawned, Error> {
        Err(Error::internal("not here"))
    }
    fn cancel(&self, _from: Caller, _task: TaskId, _force: bool, _recursive: bool) -> Result<(), Error> {
        Ok(())
    }
    fn emit(&self, _from: Caller, _value: Value) -> Result<Wait, Error> {
        Ok(Wait::Ready)
    }
    fn create_actor(
        &self,
        _: Caller,
        _: FunctionName,
        _: Vec<Argument>,
        _: ActorOptions,
    ) -> Result<ActorId, Error> {
        Err(Error::internal("not here"))
    }
    fn lookup_actor(&self, _from: Caller, _name: &str, _namespace: Option<&str>) -> Result<ActorId, Error> {
        Err(Error::internal("not here"))
    }
    fn new_lane(&self) -> LaneId {
        LaneId(0)
    }
    fn call_actor(
        &self,
        _: Caller,
        _: ActorId,
        _: LaneId,
        _: String,
        _: Vec<Argument>,
        _: CallOptions,
    ) -> Result<Spawned, Error> {
        Err(Error::internal("not here"))
    }
    fn kill_actor(&self, _from: Caller, _actor: ActorId, _restart: bool) -> Result<(), Error> {
        Ok(())
    }
    fn nodes(&self, _from: Caller) -> Vec<NodeInfo> {
        Vec::new()
    }
    fn log(&self, _line: LogLine) {}
    fn finished(&self, instance: InstanceId, report: CallReport) {
        assert!(report.result.is_ok(), "{report:?}");
        if self.stays.load(Ordering::Relaxed) {
            self.ended();
        } else if self.take().is_some() {
            self.runtime.deliver(instance, self.start.call.clone());
        } else {
            self.runtime.stop(instance, StopReason::Retired);
        }
    }
    fn gone(&self, report: GoneReport) {
        assert!(report.cause.is_none(), "{report:?}");
        if self.start.life == Life::Task && self.take().is_some() {
            self.start_one();
        } else {
            self.ended();
        }
    }
}

/// Fresh sandbox, call, drop: nothing but wasmtime.
fn raw(guest: &Guest, count: u64) -> f64 {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(1 << 20)
        .async_stack_size(3 << 19);
    let mut pool = PoolingAllocationConfig::new();
    pool.linear_memory_keep_resident(128 << 10).table_keep_resident(16 << 10).pagemap_scan(Enabled::Auto);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config).unwrap();
    let component = Component::new(&engine, &guest.0).unwrap();
    let mut linker = Linker::<()>::new(&engine);
    linker
        .instance("engine:compute/types@0.1.0")
        .unwrap()
        .resource("invocation", ResourceType::host::<()>(), |_, _| Ok(()))
        .unwrap();
    // All of WASI that a guest of the SDK uses when it does nothing.
    for version in ["0.2.6", "0.2.0"] {
        linker
            .instance(&format!("wasi:random/insecure-seed@{version}"))
            .unwrap()
            .func_wrap("insecure-seed", |_, ()| Ok(((1u64, 2u64),)))
            .unwrap();
    }
    linker.define_unknown_imports_as_traps(&component).unwrap();
    let pre = linker.instantiate_pre(&component).unwrap();
    let program = component.get_export_index(None, "engine:compute/program@0.1.0").unwrap();
    let run = component.get_export_index(Some(&program), "run").unwrap();
    let began = cpu_time();
    for _ in 0..count {
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1 << 40);
        let instance = pre.instantiate(&mut store).unwrap();
        let run = instance.get_func(&mut store, run).unwrap();
        let invocation = Resource::<()>::new_own(0).try_into_resource_any(&mut store).unwrap();
        let arguments = [Val::Resource(invocation), Val::String(guest.1.clone()), Val::List(Vec::new())];
        run.call(&mut store, &arguments, &mut [Val::Bool(false)]).unwrap();
        invocation.resource_drop(&mut store).unwrap();
    }
    (cpu_time() - began).as_secs_f64() * 1e6 / count as f64
}

/// A node that runs `bytes`.
fn node(runtime: &Runtime, guest: &Guest, life: Life) -> Arc<Node> {
    let component = runtime.load(&guest.0).unwrap().id;
    let mut ids = IdGenerator::new([1; 16]);
    let job = Arc::new(JobContext {
        job: ids.job(),
        node: ids.node(),
        tenant: String::new(),
        namespace: String::new(),
        components: Default::default(),
        env: Vec::new(),
        directories: Vec::new(),
    });
    let call = Call {
        task: ids.task(),
        attempt: 0,
        entry: Entry::Run(guest.1.as_str().into()),
        arguments: Vec::new(),
        returns: Returns::Fixed(guest.2),
        cpu_time: None,
    };
    let start = Start {
        instance: InstanceId(0),
        job: job.job,
        component,
        env: Arc::from([]),
        memory_bytes_max: 64 << 20,
        assigned: Arc::new(Resources::default()),
        life,
        call,
    };
    let node = Arc::new(Node {
        runtime: runtime.clone(),
        job,
        start,
        next: AtomicU64::new(1),
        left: AtomicU64::new(0),
        running: AtomicU64::new(0),
        stays: AtomicBool::new(false),
        over: Mutex::new(false),
        wake: Condvar::new(),
    });
    runtime.attach(node.clone());
    node
}

/// The same through the runtime; with `lanes` sandboxes at once.
fn through(guest: &Guest, life: Life, threads: usize, lanes: u64, count: u64) -> f64 {
    let options = Options { guest_threads: threads, instances_max: 200, ..Options::default() };
    let runtime = Runtime::new(options).unwrap();
    let node = node(&runtime, guest, life);
    let round = |count: u64| {
        node.left.store(count, Ordering::Relaxed);
        node.running.store(lanes, Ordering::Relaxed);
        let began = cpu_time();
        for _ in 0..lanes {
            node.start_one();
        }
        node.wait();
        (cpu_time() - began).as_secs_f64() * 1e6 / count as f64
    };
    round(count / 10);
    let micros = round(count);
    runtime.shutdown();
    micros
}

/// Resident bytes and mappings of this process.
fn resident() -> (u64, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kib: u64 = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    (kib * 1024, maps.lines().count())
}

/// So many sandboxes alive at once that have served a call and wait for the next.
fn idle(guest: &Guest, count: u64) {
    let runtime = Runtime::new(Options::default()).unwrap();
    let node = node(&runtime, guest, Life::Warm);
    node.stays.store(true, Ordering::Relaxed);
    let (before, _) = resident();
    node.running.store(count, Ordering::Relaxed);
    for _ in 0..count {
        node.start_one();
    }
    node.wait();
    let (after, mappings) = resident();
    println!("{count} idle: {} KiB each, {mappings} mappings", (after - before) / 1024 / count);
    if std::env::var_os("MICRO_HOLD").is_some() {
        std::thread::sleep(Duration::from_secs(20));
    }
    runtime.shutdown();
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let guest: Guest = match (arguments.next(), arguments.next()) {
        (Some(path), Some(function)) => (std::fs::read(path).unwrap(), function, 1),
        _ => (guests::no_op(), "f".to_owned(), 0),
    };
    raw(&guest, 2_000);
    println!("raw, fresh          {:>8.2} µs", raw(&guest, 40_000));
    println!("runtime, fresh, 1   {:>8.2} µs", through(&guest, Life::Task, 1, 1, 40_000));
    println!("runtime, fresh, 8/1 {:>8.2} µs", through(&guest, Life::Task, 1, 8, 40_000));
    println!("runtime, fresh, 8/2 {:>8.2} µs", through(&guest, Life::Task, 2, 8, 40_000));
    println!("runtime, warm, 1    {:>8.2} µs", through(&guest, Life::Warm, 1, 1, 400_000));
    idle(&guest, 10_000);
}
