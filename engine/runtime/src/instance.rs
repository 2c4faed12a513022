//! The life of one sandbox: made, calls served, dropped, reported.

// The failure that the generated code returns is large; it is looked at once per call.
#![allow(clippy::result_large_err)]

use std::collections::BTreeMap;
use std::sync::Arc;

use engine_core::options::Returns;
use engine_core::work::{Call, CallReport, Entry, GoneReport, Life, Start, Usage};
use engine_core::{Error, ErrorCode, Value};
use smallvec::{SmallVec, smallvec};
use wasmtime::component::{Instance, Resource, ResourceTable};
use wasmtime::{Store, UpdateDeadline};

use crate::bindings::engine::compute::types as wit;
use crate::control::{Control, Ended, Watched};
use crate::errors::HostError;
use crate::guest::{Guest, Serving};
use crate::handles::Handles;
use crate::host::Host;
use crate::imports::too_much_returned;
use crate::info::ComponentInfo;
use crate::job::JobContext;
use crate::lent::LentValue;
use crate::limiter::MemoryLimiter;
use crate::load::{Kind, Loaded};
use crate::mapped::MappedObjects;
use crate::program::{Export, Program};
use crate::received::{Receiver, ReturnedValue};
use crate::runtime::Inner;
use crate::storage::{arguments_in_memory, house_all};
use crate::{concurrent, plain};

/// How a sandbox came to its end by itself.
#[derive(Default)]
pub(crate) struct End {
    pub(crate) calls: SmallVec<[CallReport; 1]>,
    pub(crate) cause: Option<Error>,
}

/// How a call came back.
pub(crate) enum Served {
    /// The sandbox can serve on.
    Alive(Result<Vec<Value>, Error>),
    /// It cannot.
    Dead(Error),
}

impl From<HostError> for Served {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Guest(error) => Served::Alive(Err(error)),
            HostError::Trap(trap) => {
                Served::Dead(Error::internal(format!("a value could not be passed: {trap:#}")))
            }
        }
    }
}

/// Starts a sandbox on the guest threads.
pub(crate) fn start(runtime: &Arc<Inner>, start: Start, job: Arc<JobContext>) {
    let Some(host) = runtime.host().cloned() else {
        tracing::error!(instance = %start.instance, "a sandbox was started before the runtime was given its host");
        return;
    };
    let control = Arc::new(Control::default());
    if !runtime.instances.insert(start.instance, control.clone()) {
        tracing::error!(instance = %start.instance, "two sandboxes have the same id");
    }
    let (tenant, cpus) = (job.tenant.clone(), start.cpus());
    runtime.spawn(&tenant, cpus, run(runtime.clone(), host, start, job, control));
}

async fn run(
    runtime: Arc<Inner>,
    host: Arc<dyn Host>,
    start: Start,
    job: Arc<JobContext>,
    control: Arc<Control>,
) {
    let instance = start.instance;
    control.began(start.call.task, start.call.cpu_time, 0);
    let receiver = Receiver { host: host.clone(), bytes_max: runtime.options.value_bytes_max };
    let serving = receiver.scope(serve(runtime.clone(), host.clone(), start, job, control.clone()));
    // Resolves when the store is dropped: what is reported gone has given its memory back.
    let end = match Watched::new(serving, &control).await {
        Ended::Done(end) => end,
        Ended::Stopped => {
            runtime.counts.stops.up();
            End::default()
        }
        Ended::CpuTimeOver => End::of_all(control.unfinished(|limit, used| {
            Error::new(
                ErrorCode::DeadlineExceeded,
                format!(
                    "the call had {:?} of CPU time (`cpu_time`) and has used {used:?}",
                    limit.unwrap_or_default()
                ),
            )
        })),
        Ended::Panicked(message) => {
            tracing::error!(%instance, "the host's code panicked in a sandbox: {message}");
            End::of_all(control.unfinished(|_, _| {
                Error::internal(format!("the host's code panicked while it served the guest: {message}"))
            }))
        }
    };
    runtime.instances.remove(instance);
    host.gone(GoneReport { instance, calls: end.calls, cause: end.cause });
}

impl End {
    /// The end of a sandbox by something that all calls inside share.
    fn of_all(calls: SmallVec<[CallReport; 1]>) -> Self {
        let cause = calls.first().and_then(|call| call.result.as_ref().err().cloned());
        Self { calls, cause }
    }

    /// The end of a sandbox by its call.
    pub(crate) fn of_call(report: CallReport, cause: Option<Error>) -> Self {
        Self { calls: smallvec![report], cause }
    }
}

async fn serve(
    runtime: Arc<Inner>,
    host: Arc<dyn Host>,
    start: Start,
    job: Arc<JobContext>,
    control: Arc<Control>,
) -> End {
    let Start { instance, component, env, memory_bytes_max, assigned, life, call, job: _ } = start;
    let loaded = match runtime.component(component) {
        Some(loaded) => Ok(loaded),
        None => host.load(&job.tenant, component).await.and_then(|()| {
            let missing = || Error::internal(format!("component {component} was loaded, and is not there"));
            runtime.component(component).ok_or_else(missing)
        }),
    };
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            let report = CallReport { task: call.task, result: Err(error.clone()), usage: Usage::default() };
            return End::of_call(report, Some(error));
        }
    };
    let (actor, was_restarted) = match &life {
        Life::Actor { actor, was_restarted, .. } => (Some(*actor), *was_restarted),
        Life::Task | Life::Warm => (None, false),
    };
    let arguments: Arc<[String]> = match (&loaded.kind, &call.entry) {
        (Kind::Plain(_), Entry::Main(arguments)) => plain::command_arguments(arguments),
        _ => Arc::from([]),
    };
    // Only where nothing comes after: in a sandbox that serves on, an object would stay pinned for as
    // long as that lives, and its pages would pass from one call to the next.
    let maps = life == Life::Task && matches!(loaded.kind, Kind::Program(_)) && runtime.plain.is_pool;
    let mapped = maps.then(|| {
        let untouched_bytes = usize::try_from(loaded.info.initial_memory_bytes).unwrap_or(usize::MAX);
        let max = runtime.options.mapped_objects_max;
        MappedObjects::new(runtime.mapped.clone(), max, untouched_bytes, loaded.allocator.clone())
    });
    let memory_max = memory_bytes_max.min(runtime.options.memory_bytes_per_guest_max);
    let guest = Guest {
        limiter: MemoryLimiter::new(memory_max, runtime.options.table_elements_max, control.clone()),
        task: call.task,
        instance,
        env,
        assigned,
        actor,
        was_restarted,
        arguments,
        job,
        control,
        host,
        runtime,
        handles: Handles::default(),
        serving: BTreeMap::new(),
        invocations: 0,
        guest_tasks: Vec::new(),
        panicked: None,
        logs: None,
        mapped,
        table: ResourceTable::new(),
        wasi: None,
    };
    let (store, made) = match &loaded.kind {
        Kind::Program(pre) => {
            let mut store = store(pre.engine(), guest);
            let made = pre.instantiate(&mut store).await.map(Made::Program);
            (store, made)
        }
        Kind::Plain(pre) => {
            let mut store = store(pre.engine(), guest);
            let made = pre.instantiate_async(&mut store).await;
            (store, made.map(|instance| Made::Plain(&loaded.info, instance)))
        }
        Kind::Concurrent(pre) => return concurrent::serve(pre, &loaded, guest, life, call).await,
    };
    match made {
        Ok(made) => serve_calls(store, made, life, call).await,
        Err(error) => not_started(store, &loaded, &call, &error),
    }
}

/// An instance that can be called.
enum Made<'a> {
    Program(Program<'a>),
    Plain(&'a ComponentInfo, Instance),
}

/// A store for a guest, with its limits.
pub(crate) fn store(engine: &wasmtime::Engine, guest: Guest) -> Store<Guest> {
    // Lifting a list may take as much of the host's memory as one value may have, and a little more
    // for what is around it.
    let lifted_max = usize::try_from(guest.runtime.options.value_bytes_max).unwrap_or(usize::MAX);
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| &mut guest.limiter);
    store.set_hostcall_fuel(lifted_max.saturating_add(64 << 20));
    // The bound that the guest is told of binds first; wasmtime's own would trap it. While a handle is
    // lent it counts twice.
    let handles_max = store.data().runtime.options.handles_per_instance_max;
    store.set_max_component_handles(handles_max.saturating_mul(2));
    // A slice ends with the tick: the guest's future goes to the end of the queue, and `Watched`
    // looks whether it is to end.
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
    store.set_epoch_deadline(1);
    store.data().runtime.counts.instantiations.up();
    store
}

/// The end of a sandbox that could not be made.
pub(crate) fn not_started(
    mut store: Store<Guest>,
    loaded: &Loaded,
    call: &Call,
    error: &wasmtime::Error,
) -> End {
    let guest = store.data_mut();
    let error = guest.error_of_start(error, loaded.info.initial_memory_bytes);
    let usage = guest.control.usage_of(call.task);
    drop(store);
    End::of_call(CallReport { task: call.task, result: Err(error.clone()), usage }, Some(error))
}

/// Serves the first call and, unless the sandbox is for one call only, those that come after it.
async fn serve_calls(mut store: Store<Guest>, mut made: Made<'_>, life: Life, mut call: Call) -> End {
    let mut calls: u64 = 0;
    loop {
        let task = call.task;
        let guest = store.data_mut();
        let index = begin(guest, &call, calls);
        let (host, from, max) = (guest.host.clone(), guest.caller(), guest.limiter.max());
        let served = match arguments_in_memory(&host, &mut call, max).await {
            Err(error) => Served::Alive(Err(error)),
            Ok(()) => match &mut made {
                Made::Program(program) => enter(program, &mut store, &call, index).await,
                Made::Plain(info, instance) => plain::enter(info, *instance, &mut store, &call).await,
            },
        };
        let served = match served {
            Served::Alive(result) => Served::Alive(house_all(&host, from, result).await),
            dead => dead,
        };
        drop(call);
        calls += 1;
        let guest = store.data_mut();
        guest.leave(index);
        let usage = guest.control.finished(task);
        let result = match served {
            Served::Alive(result) => result,
            Served::Dead(error) => {
                guest.runtime.counts.traps.up();
                drop(store);
                return End::of_call(CallReport { task, result: Err(error.clone()), usage }, Some(error));
            }
        };
        let report = CallReport { task, result, usage };
        if life == Life::Task || (life == Life::Warm && is_worn(guest, calls)) {
            drop(store);
            return End::of_call(report, None);
        }
        let (host, control, instance) = (guest.host.clone(), guest.control.clone(), guest.instance);
        host.finished(instance, report);
        guest.release_moved();
        call = control.next_call().await;
    }
}

/// Notes that a call begins. The first one was noted when the sandbox was started, so that making it
/// counts as the call's time.
pub(crate) fn begin(guest: &mut Guest, call: &Call, calls: u64) -> u32 {
    if calls > 0 {
        guest.control.began(call.task, call.cpu_time, 1);
    }
    guest.runtime.counts.calls.up();
    if let Some(assigned) = &call.assigned {
        guest.assigned = assigned.clone();
    }
    guest.enter(Serving { task: call.task, attempt: call.attempt, returns: call.returns, returned_bytes: 0 })
}

/// Whether a warm sandbox is retired now (contract T3).
fn is_worn(guest: &Guest, calls: u64) -> bool {
    let options = &guest.runtime.options;
    calls >= options.warm_calls_max || guest.limiter.used() > options.warm_memory_bytes_max
}

/// One call into an SDK's component.
async fn enter(program: &mut Program<'_>, store: &mut Store<Guest>, call: &Call, index: u32) -> Served {
    let arguments = match store.data_mut().arguments_to_guest(call) {
        Ok(arguments) => arguments,
        Err(error) => return error.into(),
    };
    let invocation = Resource::new_borrow(index);
    let returned = match &call.entry {
        Entry::Main(arguments) => {
            let returned = program.main(store, invocation, arguments).await;
            returned.map(|result| result.map(|value| vec![value]))
        }
        Entry::Run(name) => program.call(store, Export::Run, invocation, name, &arguments).await,
        Entry::Invoke(text) => {
            let (name, arguments) = match plain::untyped_call(text) {
                Ok(called) => called,
                Err(error) => return Served::Alive(Err(error)),
            };
            let arguments: Vec<_> = arguments.into_iter().map(LentValue::msgpack).collect();
            program.call(store, Export::Run, invocation, &name, &arguments).await
        }
        Entry::Create(class) => {
            let returned = program.create(store, invocation, class, &arguments).await;
            returned.map(|result| result.map(|()| Vec::new()))
        }
        Entry::Method(name) => program.call(store, Export::Call, invocation, name, &arguments).await,
        Entry::Client => return Served::Alive(Err(crate::errors::no_client())),
    };
    store.data_mut().served(call, index, returned)
}

impl Guest {
    /// The arguments of a call as the guest gets them.
    pub(crate) fn arguments_to_guest(&mut self, call: &Call) -> Result<Vec<LentValue>, HostError> {
        let mut arguments = Vec::with_capacity(call.arguments.len());
        for value in &call.arguments {
            arguments.push(self.lend(value).map_err(|error| {
                // Too many handles is the guest's doing.
                match error.downcast::<Error>() {
                    Ok(own) => HostError::Guest(own),
                    Err(error) => HostError::Trap(error),
                }
            })?);
        }
        Ok(arguments)
    }

    /// What became of a call, from what its export returned.
    pub(crate) fn served(
        &mut self,
        call: &Call,
        index: u32,
        returned: wasmtime::Result<Result<Vec<ReturnedValue>, wit::Failure>>,
    ) -> Served {
        match returned {
            Ok(Ok(values)) => match self.values_from_guest(call, index, values) {
                Ok(values) => Served::Alive(Ok(values)),
                Err(error) => error.into(),
            },
            Ok(Err(failure)) => match self.failure_from_guest(failure) {
                Ok(error) => Served::Alive(Err(error)),
                Err(trap) => Served::Dead(self.error_of_trap(&trap)),
            },
            // A program that exits well has done what it had to.
            Err(trap)
                if matches!(call.entry, Entry::Main(_))
                    && matches!(trap.downcast_ref(), Some(wasmtime_wasi::I32Exit(0))) =>
            {
                Served::Alive(Ok(vec![Value::empty()]))
            }
            Err(trap) => Served::Dead(self.error_of_trap(&trap)),
        }
    }

    fn values_from_guest(
        &mut self,
        call: &Call,
        index: u32,
        values: Vec<ReturnedValue>,
    ) -> Result<Vec<Value>, HostError> {
        let expected = match (&call.entry, call.returns) {
            (Entry::Main(_) | Entry::Create(_), _) => values.len(),
            (_, Returns::Fixed(count)) => count as usize,
            (_, Returns::Streaming(_)) => 0,
        };
        if values.len() != expected {
            let what = match call.returns {
                Returns::Fixed(_) => format!("{expected} are expected (`num_returns`)"),
                Returns::Streaming(_) => {
                    "its objects are streamed: they are yielded, not returned".to_owned()
                }
            };
            return Err(Error::new(
                ErrorCode::TaskFailed,
                format!("`{}` returned {} values, and {what}", call.entry.name(), values.len()),
            )
            .with_kind("returns")
            .into());
        }
        let before = self.serving.get(&index).map_or(0, |serving| serving.returned_bytes);
        let bytes = values.iter().fold(before, |sum, value| sum.saturating_add(value.bytes.size));
        let max = self.runtime.options.returned_bytes_per_task_max;
        if bytes > max {
            return Err(too_much_returned(bytes, max).into());
        }
        values.into_iter().map(|value| self.value_from_guest(value)).collect()
    }
}
