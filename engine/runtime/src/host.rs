//! What the runtime asks of the node it runs in. The agent implements it over the core.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use engine_core::group::{Bundle, GroupStrategy};
pub use engine_core::ids::PlacementGroupId;
pub use engine_core::node::{Next, Spawned, Until, Waitable};
use engine_core::options::{ActorOptions, CallOptions, TaskOptions};
use engine_core::work::{CallReport, GoneReport};
use engine_core::{
    ActorId, Argument, ComponentId, Error, ErrorCode, Handle, InstanceId, JobId, LaneId, ObjectId, Outcome,
    Place, TaskId, Value,
};
use engine_objects::Draft;

/// Who asks: the sandbox, and the call that it is serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The sandbox.
    pub instance: InstanceId,
    /// The call.
    pub task: TaskId,
    /// The job of both.
    pub job: JobId,
}

/// The answer to a wait.
pub enum Wait {
    /// There is nothing to wait for (also when the timeout is zero).
    Ready,
    /// Resolves when the wait is over, by readiness or by its timeout, and the caller has its CPUs
    /// again. Then look at what was waited for.
    Blocked(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// What becomes of something that takes its time.
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// An object on disk that is being written: whatever its host makes of it. Dropped, it is given up.
pub struct DiskDraft(Box<dyn Any + Send>);

impl DiskDraft {
    /// One that is this to its host.
    pub fn new<T: Any + Send>(draft: T) -> Self {
        Self(Box::new(draft))
    }

    /// What it was made of.
    ///
    /// # Errors
    /// INTERNAL when another host has made it.
    pub fn into_inner<T: Any>(self) -> Result<T, Error> {
        let other = |_| Error::internal("an object on disk is another host's");
        self.0.downcast().map(|draft| *draft).map_err(other)
    }
}

/// Something whose bytes are not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// An object.
    Object(ObjectId),
    /// The argument of this index of a task or call.
    Argument(TaskId, usize),
}

/// A function as a guest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionName {
    /// Name or digest as the job knows it; none: the caller's own component.
    pub component: Option<String>,
    /// The function or class.
    pub name: String,
}

/// A node as guests see it.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    /// Its id.
    pub id: String,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// What it has: name and amount.
    pub total: Vec<(String, engine_core::resources::Quantity)>,
    /// What is free.
    pub available: Vec<(String, engine_core::resources::Quantity)>,
}

/// Where a log line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// The logging interface.
    Record,
}

/// A line that a guest wrote.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// The job.
    pub job: JobId,
    /// The task or call that was being served.
    pub task: TaskId,
    /// Where it came from.
    pub source: LogSource,
    /// `trace`, `debug`, `info`, `warn` or `error`, for a record.
    pub level: Option<&'static str>,
    /// Who says so, for a record.
    pub target: Option<String>,
    /// Without the line's end; invalid UTF-8 replaced.
    pub text: String,
    /// Further fields of a record.
    pub fields: Vec<(String, String)>,
}

/// The node that the runtime runs in. Every call is checked against what the caller holds.
///
/// No method blocks. Errors are for the guest: the runtime hands them on as they are.
pub trait Host: Send + Sync + 'static {
    /// Stores bytes: in the arena above the inline bound, else on the heap. STORE_FULL when there is
    /// no room.
    fn place(&self, bytes: Vec<u8>) -> Result<Place, Error>;
    /// The same for bytes that lie in parts, one after the other, which are copied to where they stay:
    /// out of a guest's memory with nothing in between.
    fn write(&self, parts: &[&[u8]]) -> Result<Place, Error> {
        self.place(parts.concat())
    }

    /// Loads a component that a job brought to be loaded on demand. NOT_FOUND when nobody has it.
    fn load(&self, component: ComponentId) -> Later<()> {
        let error = Error::internal(format!("component {component} was started before it was loaded"));
        Box::pin(std::future::ready(Err(error)))
    }

    /// Values above this many bytes do not stay on the heap.
    fn inline_object_bytes_max(&self) -> usize {
        usize::MAX
    }
    /// Room in memory for an object that is written piece by piece, of at most `size` bytes. STORE_FULL
    /// when there is none.
    fn allocate(&self, size: usize) -> Result<Draft, Error> {
        let _ = size;
        Err(Error::new(ErrorCode::StoreFull, "there is no arena here"))
    }
    /// Whether there is a disk for what memory has no room for.
    fn can_spill(&self) -> bool {
        false
    }
    /// Writes bytes at the end of an object on disk, which is begun when there is none yet. OUT_OF_DISK
    /// when there is no room.
    fn append_on_disk(&self, draft: Option<DiskDraft>, bytes: Vec<u8>) -> Later<DiskDraft> {
        let _ = (draft, bytes);
        Box::pin(std::future::ready(Err(Error::internal("there is no disk here"))))
    }
    /// Ends an object on disk.
    fn seal_on_disk(&self, draft: DiskDraft) -> Later<Place> {
        let _ = draft;
        Box::pin(std::future::ready(Err(Error::internal("there is no disk here"))))
    }
    /// Finds a place for a value that is on the heap because there was no room for it: waits until there
    /// is, or writes it to disk. OUT_OF_DISK or STORE_FULL when there is neither.
    fn store_when_room(&self, from: Caller, place: Place) -> Later<Place> {
        let _ = from;
        Box::pin(std::future::ready(Ok(place)))
    }
    /// Bytes of a value that lies on disk. OBJECT_LOST when they are not what was written.
    fn read(&self, place: Place, offset: u64, length: u64) -> Later<Vec<u8>> {
        let _ = (place, offset, length);
        Box::pin(std::future::ready(Err(Error::internal("nothing lies on disk here"))))
    }
    /// A read has found that bytes are lost.
    fn lost(&self, what: Lost, cause: &Error) {
        let _ = (what, cause);
    }

    /// Makes an object of a value; the caller holds a handle to it.
    fn put(&self, from: Caller, value: Value) -> Result<ObjectId, Error>;
    /// One more handle to something that the caller holds, or that is inside a value it was given.
    fn acquire(&self, from: Caller, handle: Handle);
    /// One handle less.
    fn release(&self, from: Caller, handle: Handle);
    /// Whether the object's value or failure is there.
    fn is_ready(&self, from: Caller, object: ObjectId) -> bool;
    /// The object's value or failure; none while it is not there.
    fn outcome(&self, from: Caller, object: ObjectId) -> Option<Outcome>;
    /// Waits; none as a timeout waits as long as the caller lives.
    fn wait(&self, from: Caller, items: &[Waitable], until: Until, timeout: Option<Duration>) -> Wait;
    /// Whether a wait for this would end now.
    fn is_waitable_ready(&self, from: Caller, item: Waitable) -> bool;
    /// Takes the next object of a stream.
    fn next(&self, from: Caller, stream: TaskId) -> Next;

    /// Spawns a task.
    fn spawn(
        &self,
        from: Caller,
        function: FunctionName,
        arguments: Vec<Argument>,
        options: TaskOptions,
    ) -> Result<Spawned, Error>;
    /// Cancels a task or call.
    fn cancel(&self, from: Caller, task: TaskId, force: bool, recursive: bool) -> Result<(), Error>;
    /// Yields one object of the streaming call that is being served; `Blocked` when the caller has to
    /// wait until the reader has caught up.
    fn emit(&self, from: Caller, value: Value) -> Result<Wait, Error>;

    /// Creates an actor, or finds the one of that name with `get_if_exists`; the caller holds a
    /// handle to it.
    fn create_actor(
        &self,
        from: Caller,
        class: FunctionName,
        arguments: Vec<Argument>,
        options: ActorOptions,
    ) -> Later<ActorId>;
    /// Finds a named actor; the caller holds a handle to it.
    fn lookup_actor(&self, from: Caller, name: String, namespace: Option<String>) -> Later<ActorId>;
    /// Asks for a placement group; the caller holds a handle to it.
    fn create_group(
        &self,
        from: Caller,
        bundles: Vec<Bundle>,
        strategy: GroupStrategy,
        name: Option<String>,
    ) -> Later<PlacementGroupId> {
        let _ = (from, bundles, strategy, name);
        Box::pin(std::future::ready(Err(no_groups())))
    }
    /// Finds a placement group by its name in the job's namespace; the caller holds a handle to it.
    fn lookup_group(&self, from: Caller, name: String) -> Later<PlacementGroupId> {
        let _ = (from, name);
        Box::pin(std::future::ready(Err(no_groups())))
    }
    /// An object that becomes ready once all bundles of a group are reserved; the caller holds a handle to
    /// it.
    fn group_ready(&self, from: Caller, group: PlacementGroupId) -> Result<ObjectId, Error> {
        let _ = (from, group);
        Err(no_groups())
    }
    /// Removes a placement group.
    fn remove_group(&self, from: Caller, group: PlacementGroupId) -> Result<(), Error> {
        let _ = (from, group);
        Err(no_groups())
    }

    /// A lane for a handle that was created, looked up or received.
    fn new_lane(&self) -> LaneId;
    /// Calls a method.
    fn call_actor(
        &self,
        from: Caller,
        actor: ActorId,
        lane: LaneId,
        method: String,
        arguments: Vec<Argument>,
        options: CallOptions,
    ) -> Result<Spawned, Error>;
    /// Ends an actor's incarnation; with `restart`, its budget applies.
    fn kill_actor(&self, from: Caller, actor: ActorId, restart: bool) -> Result<(), Error>;

    /// The nodes that the caller's tenant may use.
    fn nodes(&self, from: Caller) -> Vec<NodeInfo>;
    /// Keeps a line of log.
    fn log(&self, line: LogLine);

    /// A call has ended and its sandbox serves on.
    fn finished(&self, instance: InstanceId, report: CallReport);
    /// A sandbox has ended and its memory is free.
    fn gone(&self, report: GoneReport);
}

fn no_groups() -> Error {
    Error::internal("there are no placement groups here")
}
