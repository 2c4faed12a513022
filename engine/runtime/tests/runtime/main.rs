//! Guests on a runtime, against a node in memory.

mod concurrent;
mod failures;
mod grants;
mod guests;
mod host;
mod imports;
mod life;
mod loading;
mod mapped;
mod plain;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine_core::ids::IdGenerator;
use engine_core::options::Returns;
use engine_core::resources::Resources;
use engine_core::work::{Call, CallReport, Entry, Life, Start};
use engine_core::{Codec, ComponentId, InstanceId, TaskId, Value};
use engine_runtime::{JobContext, Options, Runtime};
use host::{Events, FakeHost};
use parking_lot::Mutex;

/// A runtime with its host.
pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    pub(crate) host: Arc<FakeHost>,
    pub(crate) events: Events,
    pub(crate) job: Arc<JobContext>,
    ids: Mutex<IdGenerator>,
    next_instance: AtomicU64,
}

pub(crate) fn options() -> Options {
    Options {
        guest_threads: 2,
        instances_max: 64,
        concurrent_instances_max: 16,
        tick: Duration::from_millis(1),
        ..Options::default()
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(options(), |_| {})
    }

    pub(crate) fn with(options: Options, change: impl FnOnce(&mut JobContext)) -> Self {
        let runtime = Runtime::new(options).unwrap();
        let (host, events) = FakeHost::new();
        runtime.attach(host.clone());
        let mut ids = IdGenerator::new([3; 16]);
        let mut job = JobContext {
            job: ids.job(),
            node: ids.node(),
            tenant: engine_core::TenantName::default(),
            namespace: "default".to_owned(),
            components: Default::default(),
            env: Vec::new(),
            directories: Vec::new(),
            isolation: engine_core::tenant::Isolation::Thread,
        };
        change(&mut job);
        Self {
            runtime,
            host,
            events,
            job: Arc::new(job),
            ids: Mutex::new(ids),
            next_instance: AtomicU64::new(1),
        }
    }

    pub(crate) fn load(&self, bytes: &[u8]) -> ComponentId {
        self.runtime.load(bytes).unwrap_or_else(|error| panic!("{error}")).id
    }

    pub(crate) fn task(&self) -> TaskId {
        self.ids.lock().task()
    }

    pub(crate) fn call(&self, entry: Entry) -> Call {
        Call {
            task: self.task(),
            attempt: 0,
            entry,
            arguments: Vec::new(),
            returns: Returns::Fixed(0),
            cpu_time: None,
            assigned: None,
        }
    }

    pub(crate) fn run(&self, name: &str) -> Call {
        self.call(Entry::Run(name.into()))
    }

    pub(crate) fn of(&self, component: ComponentId, call: Call) -> Start {
        Start {
            instance: InstanceId(self.next_instance.fetch_add(1, Ordering::Relaxed)),
            job: self.job.job,
            component,
            env: Arc::from([]),
            memory_bytes_max: 64 << 20,
            assigned: Arc::new(Resources::default()),
            life: Life::Task,
            call,
        }
    }

    pub(crate) fn start(&self, start: Start) -> InstanceId {
        let instance = start.instance;
        self.runtime.start(start, self.job.clone());
        instance
    }

    /// Runs one task to its end.
    pub(crate) fn end(&self, start: Start) -> (CallReport, Option<engine_core::Error>) {
        let instance = self.start(start);
        let report = self.events.gone();
        assert_eq!(report.instance, instance);
        assert_eq!(report.calls.len(), 1, "{report:?}");
        (report.calls.into_iter().next().unwrap(), report.cause)
    }

    /// Loads, and runs one task to its end.
    pub(crate) fn end_of(&self, component: &[u8]) -> (CallReport, Option<engine_core::Error>) {
        let component = self.load(component);
        self.end(self.of(component, self.run("f")))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.runtime.clone().shutdown();
    }
}

pub(crate) fn value(codec: Codec, bytes: &[u8]) -> Value {
    Value {
        codec,
        size: bytes.len() as u64,
        handles: engine_core::value::no_handles(),
        place: host::store().place(bytes.to_vec()).unwrap(),
    }
}

pub(crate) fn bytes(report: &CallReport) -> Vec<Vec<u8>> {
    let values = report.result.as_ref().unwrap_or_else(|error| panic!("{error}\n{:?}", error.backtrace()));
    values.iter().map(|value| engine_objects::bytes(value).to_vec()).collect()
}
