//! Attached clients: a program in no sandbox that is the root of a job on a node in its own process
//! (contract J3). What it asks for it asks of the same host as guests do.

mod attached;
mod handles;
mod line;

use std::sync::Arc;
use std::time::Duration;

use engine_core::node::Next;
use engine_core::options::{ActorOptions, CallOptions, TaskOptions};
use engine_core::value::no_handles;
use engine_core::work::{CallReport, Usage};
use engine_core::{
    ActorId, Argument, Codec, Error, ErrorCode, Handle, JobId, NodeId, ObjectId, Place, TaskId, Value,
};
use engine_net::{JobKey, LogsQuery, Replies, Scope};
use engine_proto::v1;
use engine_runtime::host::{
    Bundle, Caller, FunctionName, GroupStrategy, Host, NodeInfo, PlacementGroupId, Until, Wait, Waitable,
};
use engine_runtime::storage::{house, value_in_memory};
use engine_runtime::{check_wait, ready_indexes, timed_out};
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::watch;

use crate::backend::{follow_logs, submit_job};
use crate::driver::Driver;
use crate::host::GuestHost;

pub(crate) use attached::{Attached, ClientWait, Entry as AttachedEntry};
pub use handles::{ActorRef, Call, Held};
pub(crate) use line::{Lines, locate};

/// A program that is the root of a job. Clones are the same client; when the last is dropped without
/// [`Client::end`] it is lost, and its job fails once `client_grace` has passed.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    driver: Arc<Driver>,
    host: Arc<dyn Host>,
    from: Caller,
    ended: watch::Receiver<attached::End>,
    /// Whether it is there: one whose connection broke is not, until it is back.
    is_here: Mutex<bool>,
}

impl Inner {
    fn release(&self, handle: Handle) {
        self.host.release(self.from, handle);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let job = self.from.job;
        if std::mem::take(self.is_here.get_mut()) {
            self.driver.event(|node, now, fx| node.client_detached(now, job, fx));
        }
    }
}

impl Client {
    pub(crate) async fn attach(driver: &Arc<Driver>, spec: v1::JobSpec) -> Result<Self, Error> {
        engine_net::check_job_spec(&spec)?;
        let view = submit_job(driver, &Scope::ALL, spec).await?;
        let job: JobId = view.job_id.parse().map_err(|_| Error::internal("a job came with no id"))?;
        Self::take(driver, job).ok_or_else(|| {
            Error::invalid_argument(format!(
                "{job} has no place for a client: its root is none, or another is attached to it"
            ))
        })
    }

    /// Takes the place of the client that a job of this node expects, if it does.
    fn take(driver: &Arc<Driver>, job: JobId) -> Option<Self> {
        let (from, ended) = driver.attached.take(job)?;
        driver.event(|node, _, _| node.client_attached(job));
        let host = GuestHost { driver: Arc::downgrade(driver), is_client: true };
        let from = Caller { instance: from.instance, task: from.task, job };
        let (driver, is_here) = (driver.clone(), Mutex::new(true));
        Some(Self { inner: Arc::new(Inner { driver, host: Arc::new(host), from, ended, is_here }) })
    }

    /// It is away, or is back: while it is away its `client_grace` passes.
    fn set_here(&self, is_here: bool) {
        let Inner { driver, from, is_here: known, .. } = &*self.inner;
        let mut known = known.lock();
        if std::mem::replace(&mut *known, is_here) != is_here {
            driver.event(|node, now, fx| match is_here {
                true => node.client_attached(from.job),
                false => node.client_detached(now, from.job, fx),
            });
        }
    }

    /// Its job.
    pub fn job(&self) -> JobId {
        self.inner.from.job
    }

    /// The task that it is in listings.
    pub fn task(&self) -> TaskId {
        self.inner.from.task
    }

    /// The node that it is attached to.
    pub fn node(&self) -> NodeId {
        self.inner.driver.read(|node| node.id())
    }

    /// Where the names of its actors are found.
    pub fn namespace(&self) -> String {
        let context = self.inner.driver.jobs.context(self.job());
        context.map(|context| context.namespace.clone()).unwrap_or_default()
    }

    /// To whom its job belongs.
    pub fn tenant(&self) -> String {
        let context = self.inner.driver.jobs.context(self.job());
        context.map(|context| context.tenant.to_string()).unwrap_or_default()
    }

    /// Ends the job in order, and waits until nothing of it is left. Nothing when it has ended.
    pub async fn end(&self) {
        let Inner { driver, from, .. } = &*self.inner;
        let entry = driver.jobs.get(from.job);
        if let Some(client) = driver.attached.leave(from.instance) {
            let report =
                CallReport { task: from.task, result: Ok(vec![Value::empty()]), usage: Usage::default() };
            driver.client_ends(client, SmallVec::from_elem(report, 1));
        }
        if let Some(entry) = entry {
            // A job that is forgotten has ended.
            drop(entry.ended.subscribe().wait_for(|ended| *ended).await);
        }
    }

    /// Whether it has ended, or was ended.
    pub fn has_ended(&self) -> bool {
        self.inner.ended.borrow().is_some()
    }

    /// Resolves once it has ended, or was ended.
    pub async fn ended(&self) {
        // A sender that is gone says the same.
        drop(self.inner.ended.clone().wait_for(Option::is_some).await);
    }

    /// Its job's log: what is kept and what comes, to the end of the job.
    ///
    /// # Errors
    /// NOT_FOUND when nothing is kept of the job any more.
    pub fn logs(&self) -> Result<Replies<v1::LogBatch>, Error> {
        let query = LogsQuery { task: None, follow: true, tail: None };
        follow_logs(&self.inner.driver, &Scope::ALL, &JobKey::Id(self.job()), query)
    }

    /// Why it was ended; none: it was not, or ended itself.
    fn why_ended(&self) -> Option<Arc<Error>> {
        self.inner.ended.borrow().clone().flatten()
    }

    fn over(&self) -> Error {
        let why = self.why_ended().map_or_else(|| "it was closed".to_owned(), |error| error.to_string());
        Error::new(ErrorCode::OwnerDied, format!("this client has ended, and its job with it: {why}"))
    }

    fn check(&self) -> Result<(), Error> {
        match self.has_ended() {
            true => Err(self.over()),
            false => Ok(()),
        }
    }

    /// What `work` gives, as long as the client lives.
    async fn alive<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.check()?;
        let result = tokio::select! {
            result = work => result,
            () = self.ended() => return Err(self.over()),
        };
        // What was refused because of the end says so.
        result.or_else(|error| self.check().and(Err(error)))
    }

    fn now<T>(&self, work: impl FnOnce(&dyn Host, Caller) -> Result<T, Error>) -> Result<T, Error> {
        self.check()?;
        work(&*self.inner.host, self.inner.from).or_else(|error| self.check().and(Err(error)))
    }

    /// A handle of its own to something that it holds, or that is inside a value it was given.
    pub fn hold(&self, handle: Handle) -> Held {
        self.inner.host.acquire(self.inner.from, handle);
        Held::given(self, handle)
    }

    /// The same for an actor: with a queue of its own.
    pub fn hold_actor(&self, actor: ActorId) -> ActorRef {
        self.inner.host.acquire(self.inner.from, Handle::Actor(actor));
        ActorRef::given(self, actor)
    }

    /// Copies these parts, one after the other, to where they stay: once, when there is room for them.
    ///
    /// # Errors
    /// STORE_FULL when there is none, and none can be made.
    pub fn place(&self, parts: &[&[u8]]) -> Result<Place, Error> {
        self.now(|host, _| match parts.iter().all(|part| part.is_empty()) {
            true => Ok(Place::default()),
            false => match host.write(parts) {
                Err(error) if error.code() == ErrorCode::StoreFull && host.can_spill() => {
                    Ok(engine_objects::on_heap(parts.concat()))
                }
                placed => placed,
            },
        })
    }

    /// A value of the bytes that lie there. Waits for room, or writes them to disk, when there was none.
    ///
    /// # Errors
    /// OUT_OF_DISK or STORE_FULL when there is neither.
    pub async fn value(
        &self,
        codec: Codec,
        size: u64,
        place: Place,
        handles: &[Handle],
    ) -> Result<Value, Error> {
        let handles = if handles.is_empty() { no_handles() } else { handles.into() };
        let mut value = Value { codec, size, handles, place };
        self.alive(async {
            house(&self.inner.host, self.inner.from, &mut value).await?;
            Ok(value)
        })
        .await
    }

    /// Makes an object of a value.
    ///
    /// # Errors
    /// As the host says, and OWNER_DIED once the client has ended: so do all that follow.
    pub fn put(&self, value: Value) -> Result<Held, Error> {
        let object = self.now(|host, from| host.put(from, value))?;
        Ok(Held::given(self, Handle::Object(object)))
    }

    /// The values of these objects, in this order, in memory: each keeps its bytes where they are.
    ///
    /// # Errors
    /// The first failure in this order of those that are known, and GET_TIMEOUT.
    pub async fn get(&self, objects: &[ObjectId], timeout: Option<Duration>) -> Result<Vec<Value>, Error> {
        let (host, from) = (&self.inner.host, self.inner.from);
        let nanoseconds = timeout.map(|timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        self.alive(async {
            let waitables: Vec<Waitable> = objects.iter().map(|id| Waitable::Value(*id)).collect();
            if !waitables.is_empty()
                && let Wait::Blocked(over) = host.wait(from, &waitables, Until::AllOrFailure, timeout)
            {
                over.await;
            }
            let outcomes: Vec<_> = objects.iter().map(|id| host.outcome(from, *id)).collect();
            if let Some(error) = outcomes.iter().flatten().find_map(|outcome| outcome.as_ref().err()) {
                return Err(Error::clone(error));
            }
            let missing = outcomes.iter().filter(|outcome| outcome.is_none()).count();
            if missing > 0 {
                return Err(timed_out(&format!("{missing} of {} objects", objects.len()), nanoseconds));
            }
            let mut values = Vec::with_capacity(objects.len());
            for (id, value) in objects.iter().zip(outcomes.into_iter().flatten().flatten()) {
                values.push(match value.place.residence().is_memory() {
                    true => value,
                    false => value_in_memory(host, from, *id, nanoseconds, u64::MAX).await?,
                });
            }
            Ok(values)
        })
        .await
    }

    /// Waits until `num_ready` of `items` are ready, or the timeout; the indexes of those that are, at most
    /// so many.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a thing that is there twice, and for another number than there are.
    pub async fn wait(
        &self,
        items: &[Waitable],
        num_ready: u32,
        timeout: Option<Duration>,
    ) -> Result<Vec<u32>, Error> {
        let (host, from) = (&self.inner.host, self.inner.from);
        check_wait(items, num_ready)?;
        self.alive(async {
            if items.is_empty() {
                return Ok(Vec::new());
            }
            if let Wait::Blocked(over) = host.wait(from, items, Until::Count(num_ready), timeout) {
                over.await;
            }
            Ok(ready_indexes(&**host, from, items, num_ready))
        })
        .await
    }

    /// Whether a wait for this would end now.
    pub fn is_ready(&self, item: Waitable) -> bool {
        self.inner.host.is_waitable_ready(self.inner.from, item)
    }

    /// The next object of a stream; none at its end.
    ///
    /// # Errors
    /// The stream's failure, and GET_TIMEOUT.
    pub async fn next(&self, stream: TaskId, timeout: Option<Duration>) -> Result<Option<Held>, Error> {
        let (host, from) = (&self.inner.host, self.inner.from);
        let next = self.alive(async {
            loop {
                match host.next(from, stream) {
                    Next::Object(object) => return Ok(Some(object)),
                    Next::End => return Ok(None),
                    Next::Failed(error) => return Err(Error::clone(&error)),
                    Next::Pending => {}
                }
                let item = Waitable::NextOf(stream);
                if let Wait::Blocked(over) = host.wait(from, &[item], Until::Count(1), timeout) {
                    over.await;
                }
                if !host.is_waitable_ready(from, item) {
                    let nanoseconds = timeout.map(|t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX));
                    return Err(timed_out(&format!("the next object of {stream}"), nanoseconds));
                }
            }
        });
        Ok(next.await?.map(|object| Held::given(self, Handle::Object(object))))
    }

    /// Spawns a task.
    ///
    /// # Errors
    /// As the host says.
    pub fn spawn(
        &self,
        function: FunctionName,
        arguments: Vec<Argument>,
        options: TaskOptions,
    ) -> Result<Call, Error> {
        let spawned = self.now(|host, from| host.spawn(from, function, arguments, options))?;
        Ok(Call::new(self, spawned))
    }

    /// Cancels a task or call.
    ///
    /// # Errors
    /// As the host says.
    pub fn cancel(&self, task: TaskId, force: bool, recursive: bool) -> Result<(), Error> {
        self.now(|host, from| host.cancel(from, task, force, recursive))
    }

    /// Creates an actor, or finds the one of that name with `get_if_exists`.
    ///
    /// # Errors
    /// As the host says.
    pub async fn create_actor(
        &self,
        class: FunctionName,
        arguments: Vec<Argument>,
        options: ActorOptions,
    ) -> Result<ActorRef, Error> {
        let (host, from) = (&self.inner.host, self.inner.from);
        let actor = self.alive(async { host.create_actor(from, class, arguments, options).await }).await?;
        Ok(ActorRef::given(self, actor))
    }

    /// Finds a named actor.
    ///
    /// # Errors
    /// NOT_FOUND when there is none.
    pub async fn lookup_actor(&self, name: String, namespace: Option<String>) -> Result<ActorRef, Error> {
        let (host, from) = (&self.inner.host, self.inner.from);
        let actor = self.alive(async { host.lookup_actor(from, name, namespace).await }).await?;
        Ok(ActorRef::given(self, actor))
    }

    /// Calls a method.
    ///
    /// # Errors
    /// As the host says.
    pub fn call_actor(
        &self,
        actor: &ActorRef,
        method: String,
        arguments: Vec<Argument>,
        options: CallOptions,
    ) -> Result<Call, Error> {
        let spawned = self
            .now(|host, from| host.call_actor(from, actor.actor, actor.lane, method, arguments, options))?;
        Ok(Call::new(self, spawned))
    }

    /// Ends an actor's incarnation; with `restart`, its budget applies.
    ///
    /// # Errors
    /// As the host says.
    pub fn kill_actor(&self, actor: &ActorRef, restart: bool) -> Result<(), Error> {
        self.now(|host, from| host.kill_actor(from, actor.actor, restart))
    }

    /// Asks for a placement group.
    ///
    /// # Errors
    /// As the host says.
    pub async fn create_group(
        &self,
        bundles: Vec<Bundle>,
        strategy: GroupStrategy,
        name: Option<String>,
    ) -> Result<Held, Error> {
        let (host, from) = (&self.inner.host, self.inner.from);
        let group = self.alive(async { host.create_group(from, bundles, strategy, name).await }).await?;
        Ok(Held::given(self, Handle::PlacementGroup(group)))
    }

    /// Finds a placement group by its name.
    ///
    /// # Errors
    /// NOT_FOUND when there is none.
    pub async fn lookup_group(&self, name: String) -> Result<Held, Error> {
        let (host, from) = (&self.inner.host, self.inner.from);
        let group = self.alive(async { host.lookup_group(from, name).await }).await?;
        Ok(Held::given(self, Handle::PlacementGroup(group)))
    }

    /// An object that becomes ready once all bundles of a group are reserved.
    ///
    /// # Errors
    /// As the host says.
    pub fn group_ready(&self, group: PlacementGroupId) -> Result<Held, Error> {
        let object = self.now(|host, from| host.group_ready(from, group))?;
        Ok(Held::given(self, Handle::Object(object)))
    }

    /// Removes a placement group.
    ///
    /// # Errors
    /// As the host says.
    pub fn remove_group(&self, group: PlacementGroupId) -> Result<(), Error> {
        self.now(|host, from| host.remove_group(from, group))
    }

    /// The nodes that it may use.
    ///
    /// # Errors
    /// OWNER_DIED once the client has ended.
    pub fn nodes(&self) -> Result<Vec<NodeInfo>, Error> {
        self.now(|host, from| Ok(host.nodes(from)))
    }
}
