//! The runtime's host: what guests ask for becomes an event of the core.

use std::sync::{Arc, Weak};
use std::time::Duration;

use engine_core::node::{self, GroupRequest, Next, Spawned, Until, WaitState, Waitable};
use engine_core::options::{ActorOptions, CallOptions, Function, TaskOptions};
use engine_core::work::{CallReport, GoneReport};
use engine_core::{
    ActorId, Argument, ComponentId, Error, ErrorCode, Handle, InstanceId, JobId, LaneId, ObjectId, Outcome,
    Place, TaskId, Value,
};
use engine_objects::Draft;
use engine_runtime::host::{
    Bundle, Caller, DiskDraft, FunctionName, GroupStrategy, Host, Later, LogLine, Lost, NodeInfo,
    PlacementGroupId, Wait,
};
use engine_runtime::{ComponentWorld, JobComponent};

use crate::backend::{load_on_demand, world_for};
use crate::check;
use crate::client::ClientWait;
use crate::cluster;
use crate::driver::Driver;
use crate::groups;
use crate::storage;

/// What the runtime holds of the node: weakly, as the node holds the runtime.
pub(crate) struct GuestHost {
    pub(crate) driver: Weak<Driver>,
    /// Whether it is a client that asks, which may give a wait up and go on.
    pub(crate) is_client: bool,
}

pub(crate) fn caller(from: Caller) -> node::Caller {
    node::Caller { instance: from.instance, task: from.task }
}

fn stopped() -> Error {
    Error::new(ErrorCode::NodeDied, "the node is shutting down")
}

impl GuestHost {
    fn driver(&self) -> Result<Arc<Driver>, Error> {
        self.driver.upgrade().ok_or_else(stopped)
    }

    /// Asks whoever knows names: `given` is a namespace, else the job's own is meant.
    fn ask_by_name<T, Answer>(
        &self,
        from: Caller,
        given: Option<&str>,
        ask: impl FnOnce(Arc<Driver>, String) -> Answer,
    ) -> Later<T>
    where
        T: Send + 'static,
        Answer: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let asked = self.driver().and_then(|driver| {
            let namespace = driver.namespace(from.job, given)?;
            Ok(ask(driver, namespace))
        });
        match asked {
            Ok(answer) => Box::pin(answer),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

impl Driver {
    /// The component and name that a guest means.
    fn resolve(&self, from: Caller, function: FunctionName) -> Result<Function, Error> {
        let component = match &function.component {
            Some(component) => self.component(from, component)?,
            None => self.read(|node| node.component_of(caller(from)))?,
        };
        Ok(Function { component, name: function.name.into() })
    }

    /// The component of the guest's job that has this name, or this digest.
    fn component(&self, from: Caller, name: &str) -> Result<ComponentId, Error> {
        let context = self.jobs.context(from.job).ok_or_else(stopped)?;
        let named = context.components.get(name).map(|component| component.id);
        named.or_else(|| by_digest(&context.components, name)).ok_or_else(|| {
            let known: Vec<&str> = context.components.keys().map(String::as_str).collect();
            Error::new(
                ErrorCode::NotFound,
                format!(
                    "the job has no component {name:?}; it brought {known:?}: submit it with --with NAME=FILE"
                ),
            )
        })
    }

    /// A namespace of the job's tenant, as it is named among those of all.
    fn namespace(&self, job: JobId, given: Option<&str>) -> Result<String, Error> {
        let context = self.jobs.context(job).ok_or_else(stopped)?;
        given.map_or(Ok(()), |given| check::name("namespace", given))?;
        Ok(context.tenant.scoped(given.unwrap_or(&context.namespace)))
    }
}

fn by_digest(
    components: &std::collections::BTreeMap<String, JobComponent>,
    digest: &str,
) -> Option<ComponentId> {
    components.values().map(|component| component.id).find(|id| id.to_string() == digest)
}

impl Host for GuestHost {
    fn place(&self, bytes: Vec<u8>) -> Result<Place, Error> {
        self.driver()?.store.place(bytes)
    }

    fn write(&self, parts: &[&[u8]]) -> Result<Place, Error> {
        self.driver()?.store.write(parts)
    }

    fn load(&self, component: ComponentId) -> Later<()> {
        match self.driver() {
            Ok(driver) => Box::pin(async move { load_on_demand(&driver, component).await.map(drop) }),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn inline_object_bytes_max(&self) -> usize {
        self.driver().map_or(usize::MAX, |driver| driver.inline_object_bytes_max())
    }

    fn allocate(&self, size: usize) -> Result<Draft, Error> {
        self.driver()?.store.allocate(size)
    }

    fn can_spill(&self) -> bool {
        self.driver().is_ok_and(|driver| driver.store.can_spill())
    }

    fn append_on_disk(&self, draft: Option<DiskDraft>, bytes: Vec<u8>) -> Later<DiskDraft> {
        match self.driver() {
            Ok(driver) => Box::pin(storage::append(driver, draft, bytes)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn seal_on_disk(&self, draft: DiskDraft) -> Later<Place> {
        match self.driver() {
            Ok(driver) => Box::pin(storage::seal(driver, draft)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn store_when_room(&self, from: Caller, place: Place) -> Later<Place> {
        match self.driver() {
            Ok(driver) => Box::pin(storage::store_when_room(driver, from, place)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn read(&self, place: Place, offset: u64, length: u64) -> Later<Vec<u8>> {
        match self.driver() {
            Ok(driver) => Box::pin(storage::read(driver, place, offset, length)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn lost(&self, object: Lost, cause: &Error) {
        let Ok(driver) = self.driver() else { return };
        driver.event(|node, now, fx| match object {
            Lost::Object(id) => node.lost(now, id, cause, fx),
            Lost::Argument(task, index) => node.argument_lost(now, task, index, cause, fx),
        });
    }

    fn put(&self, from: Caller, value: Value) -> Result<ObjectId, Error> {
        self.driver()?.event(|node, now, fx| node.put(now, caller(from), value, fx))
    }

    fn acquire(&self, from: Caller, handle: Handle) {
        if let Ok(driver) = self.driver() {
            driver.event(|node, _, _| node.acquire(from.instance, handle));
        }
    }

    fn release(&self, from: Caller, handle: Handle) {
        if let Ok(driver) = self.driver() {
            driver.event(|node, now, fx| node.release(now, from.instance, handle, fx));
        }
    }

    fn is_ready(&self, from: Caller, object: ObjectId) -> bool {
        self.is_waitable_ready(from, Waitable::Object(object))
    }

    fn outcome(&self, from: Caller, object: ObjectId) -> Option<Outcome> {
        match self.driver() {
            Ok(driver) => driver.read(|node| node.outcome(caller(from), object)),
            Err(error) => Some(Err(Arc::new(error))),
        }
    }

    fn wait(&self, from: Caller, items: &[Waitable], until: Until, timeout: Option<Duration>) -> Wait {
        let Ok(driver) = self.driver() else { return Wait::Ready };
        driver.event(|node, now, fx| {
            match node.wait(now, caller(from), items, until, timeout, fx) {
                Ok(WaitState::Blocked(id)) if self.is_client => {
                    let over = driver.waits.register(id);
                    Wait::Blocked(Box::pin(ClientWait { over, id, driver: self.driver.clone() }))
                }
                Ok(WaitState::Blocked(id)) => Wait::Blocked(Box::pin(driver.waits.register(id))),
                // What is wrong is seen by whoever looks at what was waited for.
                Ok(WaitState::Ready) | Err(_) => Wait::Ready,
            }
        })
    }

    fn is_waitable_ready(&self, from: Caller, item: Waitable) -> bool {
        self.driver().is_ok_and(|driver| driver.read(|node| node.is_ready(caller(from), item)))
    }

    fn next(&self, from: Caller, stream: TaskId) -> Next {
        match self.driver() {
            Ok(driver) => driver.event(|node, now, fx| node.next(now, caller(from), stream, fx)),
            Err(error) => Next::Failed(Arc::new(error)),
        }
    }

    fn spawn(
        &self,
        from: Caller,
        function: FunctionName,
        arguments: Vec<Argument>,
        options: TaskOptions,
    ) -> Result<Spawned, Error> {
        if options.cache {
            return Err(Error::new(
                ErrorCode::Unsupported,
                "not yet: a task cannot be spawned with `cache`; leave the option out",
            ));
        }
        check::task(&options)?;
        let driver = self.driver()?;
        let FunctionName { component, name } = function;
        let component = component.map(|component| driver.component(from, &component)).transpose()?;
        let name = name.into();
        driver.event(|node, now, fx| {
            let component = match component {
                Some(component) => component,
                None => node.component_of(caller(from))?,
            };
            let function = Function { component, name };
            node.spawn(now, caller(from), function, arguments, options, fx)
        })
    }

    fn cancel(&self, from: Caller, task: TaskId, force: bool, recursive: bool) -> Result<(), Error> {
        self.driver()?.event(|node, now, fx| {
            // A guest has a handle to what it cancels. A client names it, and could name what is another's:
            // that is as if it were not there.
            let is_own = |task: node::TaskView| task.job.job() == from.job.job();
            if !self.is_client || node.task(task).is_some_and(is_own) {
                node.cancel(now, task, force, recursive, fx);
            }
        });
        Ok(())
    }

    fn emit(&self, from: Caller, value: Value) -> Result<Wait, Error> {
        let driver = self.driver()?;
        driver.event(|node, now, fx| {
            Ok(match node.emit(now, caller(from), value, fx)? {
                WaitState::Blocked(id) => Wait::Blocked(Box::pin(driver.waits.register(id))),
                WaitState::Ready => Wait::Ready,
            })
        })
    }

    fn create_actor(
        &self,
        from: Caller,
        class: FunctionName,
        arguments: Vec<Argument>,
        options: ActorOptions,
    ) -> Later<ActorId> {
        let prepared = self.driver().and_then(|driver| {
            check::actor(&options)?;
            let class = driver.resolve(from, class)?;
            let namespace = driver.namespace(from.job, options.namespace.as_deref())?;
            Ok((driver, class, namespace))
        });
        match prepared {
            Ok((driver, class, namespace)) => Box::pin(async move {
                check_concurrency(&driver, from.job, class.component, &options).await?;
                cluster::create_actor(driver, from, namespace, (class, arguments, options)).await
            }),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn lookup_actor(&self, from: Caller, name: String, namespace: Option<String>) -> Later<ActorId> {
        if let Err(error) = check::name("actor's name", &name) {
            return Box::pin(std::future::ready(Err(error)));
        }
        self.ask_by_name(from, namespace.as_deref(), |driver, namespace| {
            cluster::lookup_actor(driver, from, namespace, name)
        })
    }

    fn create_group(
        &self,
        from: Caller,
        bundles: Vec<Bundle>,
        strategy: GroupStrategy,
        name: Option<String>,
    ) -> Later<PlacementGroupId> {
        let named = name.as_deref().map_or(Ok(()), |name| check::name("placement group's name", name));
        if let Err(error) = named.and_then(|()| check::bundles(&bundles)) {
            return Box::pin(std::future::ready(Err(error)));
        }
        self.ask_by_name(from, None, |driver, namespace| {
            groups::create_group(driver, from, GroupRequest { bundles, strategy, name, namespace })
        })
    }

    fn lookup_group(&self, from: Caller, name: String) -> Later<PlacementGroupId> {
        if let Err(error) = check::name("placement group's name", &name) {
            return Box::pin(std::future::ready(Err(error)));
        }
        self.ask_by_name(from, None, |driver, namespace| groups::lookup_group(driver, from, namespace, name))
    }

    fn group_ready(&self, from: Caller, group: PlacementGroupId) -> Result<ObjectId, Error> {
        self.driver()?.event(|node, _, fx| node.group_ready(caller(from), group, fx))
    }

    fn remove_group(&self, from: Caller, group: PlacementGroupId) -> Result<(), Error> {
        self.driver()?.event(|node, now, fx| node.remove_group(now, caller(from), group, fx))
    }

    fn new_lane(&self) -> LaneId {
        match self.driver() {
            Ok(driver) => driver.event(|node, _, _| node.new_lane()),
            Err(_) => LaneId(0),
        }
    }

    fn call_actor(
        &self,
        from: Caller,
        actor: ActorId,
        lane: LaneId,
        method: String,
        arguments: Vec<Argument>,
        options: CallOptions,
    ) -> Result<Spawned, Error> {
        check::call(&options)?;
        self.driver()?.event(|node, now, fx| {
            node.call_actor(now, caller(from), actor, lane, method.into(), arguments, options, fx)
        })
    }

    fn kill_actor(&self, from: Caller, actor: ActorId, restart: bool) -> Result<(), Error> {
        self.driver()?.event(|node, now, fx| node.kill_actor(now, caller(from), actor, restart, fx))
    }

    fn nodes(&self, _from: Caller) -> Vec<NodeInfo> {
        let Ok(driver) = self.driver() else { return Vec::new() };
        driver.read(|node| {
            let (total, free) = node.ledger();
            let here = NodeInfo {
                id: node.id().to_string(),
                labels: node.labels().to_vec(),
                total: amounts(total),
                available: amounts(free),
            };
            let others = node.members().into_iter().map(|(info, free)| NodeInfo {
                id: info.id.to_string(),
                labels: info.labels,
                total: amounts(&info.total),
                available: amounts(&free),
            });
            std::iter::once(here).chain(others).collect()
        })
    }

    fn log(&self, line: LogLine) {
        if let Ok(driver) = self.driver() {
            driver.guest_writes(line);
        }
    }

    fn finished(&self, instance: InstanceId, report: CallReport) {
        if let Ok(driver) = self.driver() {
            driver.event(|node, now, fx| node.finished(now, instance, report, fx));
        }
    }

    fn gone(&self, report: GoneReport) {
        if let Ok(driver) = self.driver() {
            driver.event(|node, now, fx| node.gone(now, report, fx));
        }
    }
}

/// Calls can only interleave inside a component that was built for it (contract A7).
async fn check_concurrency(
    driver: &Arc<Driver>,
    job: JobId,
    component: ComponentId,
    options: &ActorOptions,
) -> Result<(), Error> {
    if options.max_concurrency <= 1 && options.concurrency_groups.is_empty() {
        return Ok(());
    }
    if world_for(driver, job, component).await? == ComponentWorld::Concurrent {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::InvalidComponent,
        format!(
            "max_concurrency above 1 and concurrency groups need a component of the world `concurrent-component`, and {component} is not one: build it with the SDK's feature `concurrent`, or leave max_concurrency at 1"
        ),
    ))
}

fn amounts(resources: &engine_core::resources::Resources) -> Vec<(String, engine_core::resources::Quantity)> {
    let memory = engine_core::resources::Quantity::units(resources.memory);
    let mut amounts = vec![
        ("cpus".to_owned(), resources.cpus),
        ("gpus".to_owned(), resources.gpus),
        ("memory".to_owned(), memory),
    ];
    amounts.extend(resources.custom().iter().map(|(name, quantity)| (name.to_string(), *quantity)));
    amounts
}
