//! A node that does as little as it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use engine_core::ids::IdGenerator;
use engine_core::options::{ActorOptions, CallOptions, Returns, TaskOptions};
use engine_core::resources::Resources;
use engine_core::work::{Call, CallReport, Entry, GoneReport, Life, Start, StopReason};
use engine_core::{
    ActorId, Argument, Error, Handle, InstanceId, LaneId, ObjectId, Outcome, Place, TaskId, Value,
};
use engine_objects::{Options, Store};
use engine_runtime::host::{
    Caller, FunctionName, Host, Later, LogLine, Next, NodeInfo, Spawned, Until, Wait, Waitable,
};
use engine_runtime::{JobContext, Runtime};
use parking_lot::{Condvar, Mutex};

use crate::Guest;

/// A node that knows nothing and starts the next task when one is gone.
pub(crate) struct Node {
    runtime: Runtime,
    job: Arc<JobContext>,
    pub(crate) start: Start,
    next: AtomicU64,
    pub(crate) left: AtomicU64,
    pub(crate) running: AtomicU64,
    pub(crate) stays: AtomicBool,
    over: Mutex<bool>,
    wake: Condvar,
    pub(crate) store: Store,
    /// What every object is.
    pub(crate) object: Mutex<Option<Value>>,
    /// When an object was got, and when a guest asked whether one is there.
    pub(crate) got: Mutex<Option<Instant>>,
    pub(crate) asked: Mutex<Option<Instant>>,
}

impl Node {
    fn take(&self) -> Option<u64> {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).ok()
    }

    pub(crate) fn start_one(&self) {
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

    pub(crate) fn wait(&self) {
        let mut over = self.over.lock();
        while !*over {
            self.wake.wait(&mut over);
        }
        *over = false;
    }
}

impl Host for Node {
    fn place(&self, bytes: Vec<u8>) -> Result<Place, Error> {
        self.store.place(bytes)
    }
    fn write(&self, parts: &[&[u8]]) -> Result<Place, Error> {
        self.store.write(parts)
    }
    fn put(&self, from: Caller, _value: Value) -> Result<ObjectId, Error> {
        Ok(from.task.put(0))
    }
    fn acquire(&self, _from: Caller, _handle: Handle) {}
    fn release(&self, _from: Caller, _handle: Handle) {}
    fn is_ready(&self, _from: Caller, _object: ObjectId) -> bool {
        *self.asked.lock() = Some(Instant::now());
        false
    }
    fn outcome(&self, _from: Caller, _object: ObjectId) -> Option<Outcome> {
        let object = self.object.lock().clone();
        self.got.lock().get_or_insert_with(Instant::now);
        object.map(Ok)
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
    fn create_actor(&self, _: Caller, _: FunctionName, _: Vec<Argument>, _: ActorOptions) -> Later<ActorId> {
        Box::pin(std::future::ready(Err(Error::internal("not here"))))
    }
    fn lookup_actor(&self, _from: Caller, _name: String, _namespace: Option<String>) -> Later<ActorId> {
        Box::pin(std::future::ready(Err(Error::internal("not here"))))
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

/// A node that runs `bytes`.
pub(crate) fn node(runtime: &Runtime, guest: &Guest, life: Life) -> Arc<Node> {
    let store = Store::new(&Options { arena_bytes_max: 1 << 20, ..Options::default() }).unwrap();
    node_with(runtime, guest, life, Vec::new(), store)
}

/// The same with arguments, and a store of the caller's: a node and its runtime keep each other alive.
pub(crate) fn node_with(
    runtime: &Runtime,
    guest: &Guest,
    life: Life,
    arguments: Vec<Value>,
    store: Store,
) -> Arc<Node> {
    let component = runtime.load(&guest.0).unwrap().id;
    let mut ids = IdGenerator::new([1; 16]);
    let job = Arc::new(JobContext {
        job: ids.job(),
        node: ids.node(),
        tenant: engine_core::TenantName::default(),
        namespace: String::new(),
        components: Default::default(),
        env: Vec::new(),
        directories: Vec::new(),
        isolation: engine_core::tenant::Isolation::Thread,
    });
    let call = Call {
        task: ids.task(),
        attempt: 0,
        entry: Entry::Run(guest.1.as_str().into()),
        arguments,
        returns: Returns::Fixed(guest.2),
        cpu_time: None,
        assigned: None,
    };
    let start = Start {
        instance: InstanceId(0),
        job: job.job,
        component,
        env: Arc::from([]),
        memory_bytes_max: 3 << 30,
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
        store,
        object: Mutex::new(None),
        got: Mutex::new(None),
        asked: Mutex::new(None),
    });
    runtime.attach(node.clone());
    node
}
