//! The state machine of one node: the tasks spawned here, the objects they make, the actors that
//! live here, and the ledger of what the node has.
//!
//! Each event is a method that takes the time and appends to [`Effects`] what the outside must do.
//! Nothing here blocks, and nothing here knows what the bytes of a value are.

mod actor;
mod actor_calls;
mod attached;
mod cancel;
mod class;
mod clients;
mod cycles;
mod drain;
mod edges;
mod events;
mod explain;
mod finish;
mod groups;
mod history;
mod holders;
mod incarnation;
mod instance;
mod invariants;
mod job;
mod kill;
mod leases;
mod limits;
mod line;
mod lineage;
mod metering;
mod moves;
mod peers;
mod place;
mod planted;
mod schedule;
mod shares;
mod spawn;
mod standstill;
mod storage;
mod stream;
mod task;
mod tenants;
mod timers;
mod view;
mod wait;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use slotmap::{SlotMap, new_key_type};

use crate::error::Error;
use crate::events::Events;
use crate::group::GroupMessage;
use crate::ids::{
    ActorId, ComponentId, IdGenerator, IdMap, InstanceId, JobId, LaneId, NodeId, ObjectId, PlacementGroupId,
    TaskId, WaitId,
};
use crate::quota::LedgerReport;
use crate::resources::Resources;
use crate::time::Time;
use crate::value::{Outcome, Place};
use crate::work::{Call, Start, StopReason};

pub use actor::ActorCreation;
pub use drain::DrainView;
pub use explain::Demand;
pub use groups::{BundleView, GroupRequest};
pub use holders::{Holder, HolderKind};
pub use job::{JobEnd, JobSpec, Progress, RootEntry};
pub use limits::Limits;
pub use peers::{
    ActorPart, Failure, Incarnation, Load, Message, NodeInfo, Packet, Parcel, PreemptedBy, RemoteArgument,
    RemoteCall, RemoteJob, RemotePlace, RemoteTask, Serve, Transfer,
};
pub use standstill::Standstill;
pub use storage::{Room, RoomTicket};
pub use stream::Next;
pub use task::TaskState;
pub use view::{ActorView, AttemptView, Counters, NodeView, ObjectView, TaskView};
pub use wait::{Until, WaitState, Waitable};

new_key_type! {
    /// A task in the node's table. Keys are never given twice, so a stale one finds nothing.
    struct TaskKey;
    /// A scheduling class in the node's table.
    struct ClassKey;
    /// A tenant in the node's table.
    struct TenantKey;
}

/// What the outside must do, in this order.
pub type Effects = Vec<Effect>;

/// One thing that the outside must do.
#[derive(Debug)]
pub enum Effect {
    /// Start this sandbox.
    Start(Box<Start>),
    /// Have a running sandbox serve this call too.
    Deliver(InstanceId, Box<Call>),
    /// End this sandbox now; `gone` follows.
    Stop(InstanceId, StopReason),
    /// Have this sandbox stand still, wherever it is, until it goes on.
    Pause(InstanceId),
    /// Have a sandbox that stands still go on.
    GoOn(InstanceId),
    /// Raise the flag that tells this call that it was cancelled.
    Interrupt(InstanceId, TaskId),
    /// This wait is over.
    Wake(WaitId),
    /// Call `timer` at this time, whatever was armed before.
    ArmTimer(Time),
    /// A job has ended: its root's result, or why it has none.
    JobEnded(JobId, JobEnd),
    /// Nothing of an ended job is left, no detached actor of it either: no sandbox of it will be
    /// started any more.
    JobForgotten(JobId),
    /// An actor's name is free again.
    ReleaseName(ActorId),
    /// Write these objects to disk; `spilled` follows.
    Spill(Vec<(ObjectId, Place)>),
    /// Bring this object back into memory from where it was written to, or from the node that has its
    /// bytes; `restored` follows.
    Restore(ObjectId, Place),
    /// Send this to the node that it names.
    Send(Box<Packet>),
    /// Tell the head, in order.
    ToHead(Box<GroupMessage>),
    /// Tell the head that nothing of this lost run of a job is left here.
    RunGone(JobId),
    /// Tell the head whether this node is to hear what others have free. As long as the head has not heard
    /// it on a line, the node is told.
    AskForLoads(bool),
    /// Tell the head that this node, which drains, may go: nothing is on it (`in_order`), or its deadline has
    /// passed. `not_let_go` follows if the head does not agree.
    Leave {
        /// Whether nothing is on it.
        in_order: bool,
    },
    /// Tell the head what of the tenants' quotas is used here and wanted.
    TellLedger(LedgerReport),
    /// The head has accepted a placement group that was asked for, or has not.
    GroupAnswered(PlacementGroupId, Result<(), Error>),
}

/// Who asks: a sandbox, and the call that it is serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The sandbox.
    pub instance: InstanceId,
    /// The call.
    pub task: TaskId,
}

/// A task or call that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spawned {
    /// The task.
    pub task: TaskId,
    /// How many objects it will make; none: it streams.
    pub outputs: Option<u32>,
}

/// The state machine of one node.
pub struct Node {
    id: NodeId,
    limits: Limits,
    labels: Vec<(String, String)>,
    ids: IdGenerator,
    total: Resources,
    free: Resources,
    jobs: IdMap<JobId, job::Job>,
    tasks: SlotMap<TaskKey, task::Task>,
    task_index: IdMap<TaskId, TaskKey>,
    classes: SlotMap<ClassKey, class::Class>,
    class_by_spec: HashMap<Arc<class::ClassSpec>, ClassKey, BuildHasherDefault<DefaultHasher>>,
    tenants: tenants::Tenants,
    objects: IdMap<ObjectId, edges::Object>,
    streams: IdMap<TaskId, stream::Stream>,
    actors: IdMap<ActorId, actor::Actor>,
    instances: IdMap<InstanceId, instance::Instance>,
    warm: instance::WarmPool,
    waits: IdMap<WaitId, wait::WaitRecord>,
    /// Waits that are over and whose calls have yet to go on: those that need no CPUs come first, then those
    /// that lack CPUs of their bundles. Those that lack CPUs of the node are with their tenants.
    resuming: VecDeque<WaitId>,
    timers: timers::Timers,
    history: VecDeque<history::Ended>,
    dead_actors: VecDeque<ActorView>,
    events: Events,
    counters: Counters,
    /// Bytes of the values on the heap: objects and arguments.
    inline_bytes: u64,
    storage: storage::Storage,
    lineage: lineage::Lineage,
    peers: peers::Peers,
    clients: clients::Clients,
    groups: groups::Groups,
    drain: drain::Drain,
    /// Calls that are on a guest thread: not queued, not blocked, and not a client's.
    active_calls: usize,
    /// How often a task has changed its state.
    changes: u64,
    /// What tasks hold that run, and give back when they end or block.
    held_by_running: Resources,
    next_instance: u64,
    next_lane: u64,
    next_wait: u64,
    next_sequence: u64,
    stopping: instance::Stopping,
    /// Jobs that have just ended and whose objects have yet to be looked through.
    ended_jobs: Vec<JobId>,
    /// Tasks that end with an argument's failure, so that a chain of any length fails without
    /// recursion.
    failing: Vec<(TaskKey, Arc<Error>)>,
    /// Edges to be removed, so that a chain of any length is freed without recursion.
    freeing: Vec<crate::value::Handle>,
    #[cfg(test)]
    planted: Option<planted::Planted>,
}

impl Node {
    /// A node that has `total` to give. `id_key`: fresh random bits, so that ids cannot be guessed.
    pub fn new(id_key: [u8; 16], total: Resources, labels: Vec<(String, String)>, limits: Limits) -> Self {
        let mut ids = IdGenerator::new(id_key);
        Self {
            id: ids.node(),
            events: Events::new(id_key, limits.events_max),
            limits,
            labels,
            ids,
            free: total.clone(),
            total,
            jobs: IdMap::default(),
            tasks: SlotMap::with_key(),
            task_index: IdMap::default(),
            classes: SlotMap::with_key(),
            class_by_spec: HashMap::default(),
            tenants: tenants::Tenants::default(),
            objects: IdMap::default(),
            streams: IdMap::default(),
            actors: IdMap::default(),
            instances: IdMap::default(),
            warm: instance::WarmPool::default(),
            waits: IdMap::default(),
            resuming: VecDeque::new(),
            timers: timers::Timers::default(),
            history: VecDeque::new(),
            dead_actors: VecDeque::new(),
            counters: Counters::default(),
            inline_bytes: 0,
            storage: storage::Storage::default(),
            lineage: lineage::Lineage::default(),
            peers: peers::Peers::default(),
            clients: clients::Clients::default(),
            groups: groups::Groups::default(),
            drain: drain::Drain::default(),
            active_calls: 0,
            changes: 0,
            held_by_running: Resources::default(),
            next_instance: 0,
            next_lane: 0,
            next_wait: 0,
            next_sequence: 0,
            stopping: instance::Stopping::default(),
            ended_jobs: Vec::new(),
            failing: Vec::new(),
            freeing: Vec::new(),
            #[cfg(test)]
            planted: None,
        }
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// This node's labels.
    pub fn labels(&self) -> &[(String, String)] {
        &self.labels
    }

    /// The component that runs in a sandbox, of which a guest means a function unless it names another.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when a client asks, which has none; TASK_CANCELLED when there is no such sandbox.
    pub fn component_of(&self, from: Caller) -> Result<ComponentId, Error> {
        match self.instances.get(&from.instance) {
            Some(instance) => instance.component.ok_or_else(attached::no_component),
            None => Err(spawn::not_served(from.task)),
        }
    }

    /// The limits that bind here.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A lane for a handle that was created, looked up or received.
    pub fn new_lane(&mut self) -> LaneId {
        self.next_lane += 1;
        LaneId(self.next_lane)
    }

    fn new_instance(&mut self) -> InstanceId {
        self.next_instance += 1;
        InstanceId(self.next_instance)
    }

    fn sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }

    /// The value or failure of an object that the caller holds; none while it is not there.
    pub fn outcome(&self, from: Caller, object: ObjectId) -> Option<Outcome> {
        if let Err(error) = self.check_holds(from, crate::value::Handle::Object(object)) {
            return Some(Err(Arc::new(error)));
        }
        match self.objects.get(&object) {
            Some(object) => object.outcome(),
            None => Some(Err(Arc::new(spawn::freed(object)))),
        }
    }

    /// Whether a sandbox holds all of these: for who does not trust what runs it.
    pub fn holds(&self, instance: InstanceId, handles: &[crate::value::Handle]) -> bool {
        let Some(holder) = self.instances.get(&instance) else { return false };
        handles.iter().all(|handle| holder.handles.contains_key(handle))
    }

    fn check_holds(&self, from: Caller, handle: crate::value::Handle) -> Result<(), Error> {
        let holds = self.instances.get(&from.instance).is_some_and(|i| i.handles.contains_key(&handle));
        if holds {
            return Ok(());
        }
        Err(Error::new(
            crate::error::ErrorCode::PermissionDenied,
            format!("{from:?} does not hold {handle:?}: a guest may use only the handles that it was given"),
        ))
    }
}
