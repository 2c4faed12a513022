//! A task or an actor call, from its spawn to its end.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Frame};
use crate::group::BundleId;
use crate::ids::{ActorId, InstanceId, JobId, LaneId, NodeId, TaskId, WaitId};
use crate::node::peers::Incarnation;
use crate::node::view::AttemptView;
use crate::node::{ClassKey, Node, TaskKey};
use crate::time::Time;
use crate::value::Argument;
use crate::work::Entry;

/// Where a task stands (contract, "Tasks").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum TaskState {
    /// An argument does not exist yet.
    PendingArgs,
    /// Waits for resources.
    PendingPlacement,
    /// Waits for room in the object store.
    PendingStoreMemory,
    /// Its arguments are on their way.
    FetchingArgs,
    /// Handed to its sandbox or actor, which has not begun it.
    Submitted,
    /// Runs.
    Running,
    /// Waits in get, wait or emit.
    Blocked,
    /// Ended well.
    Finished,
    /// Ended with an error.
    Failed,
    /// Was cancelled.
    Cancelled,
}

impl TaskState {
    /// How many states there are.
    pub const COUNT: usize = 10;

    /// Every state, in order.
    pub const ALL: [TaskState; Self::COUNT] = [
        Self::PendingArgs,
        Self::PendingPlacement,
        Self::PendingStoreMemory,
        Self::FetchingArgs,
        Self::Submitted,
        Self::Running,
        Self::Blocked,
        Self::Finished,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The state as it is printed: `PENDING_ARGS`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PendingArgs => "PENDING_ARGS",
            Self::PendingPlacement => "PENDING_PLACEMENT",
            Self::PendingStoreMemory => "PENDING_STORE_MEMORY",
            Self::FetchingArgs => "FETCHING_ARGS",
            Self::Submitted => "SUBMITTED",
            Self::Running => "RUNNING",
            Self::Blocked => "BLOCKED",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Whether the task has ended.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

pub(super) enum Kind {
    /// The job's root.
    Root,
    Function,
    /// The constructor of an actor's incarnation.
    Create(ActorId),
    /// A call of an actor.
    Call(Box<CallKind>),
    /// A call of an actor on another node.
    Sent(Box<SentCall>),
}

pub(super) struct SentCall {
    pub actor: ActorId,
}

pub(super) struct CallKind {
    pub actor: ActorId,
    pub lane: LaneId,
    pub group: u32,
    /// Its place among the calls of its lane.
    pub order: u64,
    /// Retries after its actor's incarnation died under it.
    pub system_retries: i32,
}

pub(super) struct Task {
    pub id: TaskId,
    pub job: JobId,
    pub class: ClassKey,
    pub kind: Kind,
    pub entry: Entry,
    pub state: TaskState,
    pub attempt: u32,
    /// Failures of each sort so far, each with a budget of its own.
    pub system_failures: u32,
    pub application_failures: u32,
    pub unready_arguments: u32,
    pub puts: u32,
    pub children_spawned: u32,
    /// Objects yielded by the attempt that runs.
    pub emitted: u32,
    pub arguments: Box<[Argument]>,
    /// Bytes of the values among the arguments, as the store's ledger counts them.
    pub argument_bytes: u64,
    pub instance: Option<InstanceId>,
    /// It keeps the objects among its arguments where they are.
    pub pinned: bool,
    /// Its flag was raised: whatever it does, it is not tried again.
    pub cancelled: bool,
    /// Why it must end with this error, whatever its sandbox says.
    pub doom: Option<Arc<Error>>,
    pub submitted: Time,
    pub started: Time,
    pub deadline: Option<Time>,
    pub extra: Option<Box<Extra>>,
    pub parent: Option<TaskKey>,
    pub first_child: Option<TaskKey>,
    pub next_sibling: Option<TaskKey>,
    pub previous_sibling: Option<TaskKey>,
}

/// What few tasks have.
#[derive(Default)]
pub(super) struct Extra {
    pub name: Option<String>,
    pub attempts: Vec<AttemptView>,
    /// The node that owns it, when that is another.
    pub owner: Option<NodeId>,
    /// Where its attempt is, when that is another node.
    pub away: Option<NodeId>,
    /// Where the attempt was that ended last, when that is another node.
    pub ran_on: Option<NodeId>,
    /// What the ids of the objects that it puts follow from: on another node than its owner's, not its
    /// own id, as an attempt elsewhere may have put others.
    pub puts_as: Option<TaskId>,
    /// Of a streaming task whose reader is on another node: how many objects were read there.
    pub read: u32,
    /// Its wait, when its reader is too far behind.
    pub emitter: Option<WaitId>,
    /// The bundle of its placement group that its attempt is or was in.
    pub bundle: Option<u32>,
    /// Of a call inside an actor whose owner is another node.
    pub behalf: Option<Box<Behalf>>,
    /// It was given to another node ahead of its room; of another node's task: it may wait here.
    pub ahead: bool,
    /// Its owner is told of its end in another way.
    pub untold: bool,
    /// Of another node's task: it may be ended here and begun anew.
    pub may_preempt: bool,
    /// How often its attempts were ended for other tenants' shares.
    pub preemptions: u32,
    /// The attempt that runs was ended for another tenant's share.
    pub was_preempted: bool,
}

/// Whose a call is that is inside an actor whose owner is another node.
pub(super) struct Behalf {
    pub incarnation: Incarnation,
    pub results: Results,
}

/// The objects that a task of another node's makes.
#[derive(Clone, Copy)]
pub(super) struct Results {
    /// Who owns them.
    pub owner: NodeId,
    /// The job of the task.
    pub job: JobId,
    /// The task that their ids follow from.
    pub id: TaskId,
}

/// Whom the end of a task must be told.
pub(super) struct Telling {
    pub owner: NodeId,
    pub results: Results,
    pub attempt: u32,
    /// When its attempt began; none: it never did, or nobody asks.
    pub began: Option<Time>,
}

impl Task {
    pub fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// The node that owns it, when that is another.
    pub fn owner(&self) -> Option<NodeId> {
        self.extra.as_ref()?.owner
    }

    /// Whether it is another node's, and has not begun here: it may go back as if it had never come.
    pub fn is_unbegun_of_another(&self) -> bool {
        let begins = matches!(self.kind, Kind::Function | Kind::Create(_));
        begins && self.owner().is_some() && self.instance.is_none()
    }

    /// Where its attempt is or was, when that is another node.
    pub fn ran_on(&self) -> Option<NodeId> {
        let extra = self.extra.as_ref()?;
        extra.away.or(extra.ran_on)
    }

    /// Where its attempt is, when that is another node.
    pub fn away(&self) -> Option<NodeId> {
        self.extra.as_ref()?.away
    }

    /// Whether it was given to another node ahead of its room, or is another node's and may wait here.
    pub fn is_ahead(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.ahead)
    }

    /// The bundle of its placement group that its attempt is or was in.
    pub fn bundle(&self) -> Option<u32> {
        self.extra.as_ref()?.bundle
    }

    /// Of a call inside an actor whose owner is another node: whose it is.
    pub fn behalf(&self) -> Option<&Behalf> {
        self.extra.as_ref()?.behalf.as_deref()
    }

    /// Whether a call is inside its actor, wherever that lives.
    pub fn is_inside(&self) -> bool {
        self.instance.is_some() || self.away().is_some()
    }

    /// Whether it is on another node, and its job counts it there: what others own they count.
    pub fn is_counted_away(&self) -> bool {
        self.away().is_some() && self.owner().is_none()
    }

    /// The attempt that its owner knows, when that is another node: the attempts of a call are the
    /// actor's owner's own.
    pub fn attempt_for_owner(&self) -> u32 {
        match (&self.kind, self.behalf()) {
            (Kind::Call(_), None) => 0,
            _ => self.attempt,
        }
    }

    /// Whom it must be told when it has ended, and what of.
    pub fn telling(&self) -> Option<Telling> {
        let owner = self.owner()?;
        // Of a constructor without a sandbox the end of its incarnation tells.
        let never_began = matches!(self.kind, Kind::Create(_)) && self.instance.is_none();
        if never_began || self.extra.as_ref().is_some_and(|extra| extra.untold) {
            return None;
        }
        let has_begun = matches!(self.kind, Kind::Function) && self.instance.is_some();
        let (results, attempt) = (self.results(owner), self.attempt_for_owner());
        Some(Telling { owner, results, attempt, began: has_begun.then_some(self.started) })
    }

    /// What its owner, another node, knows of its objects.
    pub fn results(&self, owner: NodeId) -> Results {
        match self.behalf() {
            Some(behalf) => behalf.results,
            None => Results { owner, job: self.job, id: self.id },
        }
    }
}

impl Node {
    pub(super) fn set_state(&mut self, key: TaskKey, state: TaskState) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        let was = std::mem::replace(&mut task.state, state);
        self.changes += 1;
        let is_active = |state| state == TaskState::Running && !matches!(task.entry, Entry::Client);
        let (was_active, is_active) = (is_active(was), is_active(state));
        self.active_calls -= usize::from(was_active);
        self.active_calls += usize::from(is_active);
        if task.is_ahead() {
            let owner = task.owner();
            let waits = |state| state == TaskState::PendingPlacement;
            self.peers.note_in_line(owner, waits(was), waits(state));
        }
        let fetches = |state| matches!(state, TaskState::PendingStoreMemory | TaskState::FetchingArgs);
        self.storage.fetching_tasks += usize::from(fetches(state));
        self.storage.fetching_tasks -= usize::from(fetches(was));
        // What an actor holds it holds for life.
        if was_active != is_active && matches!(task.kind, Kind::Root | Kind::Function) {
            let class = &self.classes[task.class];
            match (class.group, is_active) {
                (Some((group, _)), _) => {
                    if let Some(index) = task.bundle() {
                        self.groups.note_running(BundleId { group, index }, &class.needs, is_active);
                    }
                }
                (None, true) => self.held_by_running.give(&class.needs),
                (None, false) => self.held_by_running.take(&class.needs),
            }
        }
        if let Some(job) = self.jobs.get_mut(&task.job) {
            job.by_state[was as usize] -= 1;
            job.by_state[state as usize] += 1;
            let is_foreign = u64::from(task.owner().is_some());
            job.foreign[was as usize] -= is_foreign;
            job.foreign[state as usize] += is_foreign;
        }
    }

    /// What people call it: the function, or the actor's class and method.
    pub(super) fn function_name(&self, task: &Task) -> String {
        let name = task.entry.name();
        match &task.kind {
            Kind::Call(call) => match self.actors.get(&call.actor) {
                Some(actor) => format!("{}.{name}", actor.function.name),
                None => name.to_owned(),
            },
            _ => name.to_owned(),
        }
    }

    pub(super) fn frame(&self, task: &Task) -> Frame {
        Frame {
            task: task.id.to_string(),
            function: self.function_name(task),
            node: task.ran_on().unwrap_or(self.id).to_string(),
            attempt: task.attempt,
        }
    }

    /// Makes `child` the first child of `parent`.
    pub(super) fn link_child(&mut self, parent: TaskKey, child: TaskKey) {
        let Some(next) = self.tasks.get_mut(parent).map(|p| p.first_child.replace(child)) else { return };
        if let Some(next) = next {
            self.tasks[next].previous_sibling = Some(child);
        }
        let task = &mut self.tasks[child];
        task.parent = Some(parent);
        task.next_sibling = next;
    }

    /// Takes a task that ends out of the tree; its children go on without a parent.
    pub(super) fn unlink(&mut self, key: TaskKey) {
        let task = &mut self.tasks[key];
        let (parent, next, previous) =
            (task.parent.take(), task.next_sibling.take(), task.previous_sibling.take());
        let mut child = task.first_child.take();
        if let Some(next) = next {
            self.tasks[next].previous_sibling = previous;
        }
        match previous {
            Some(previous) => self.tasks[previous].next_sibling = next,
            None => {
                if let Some(parent) = parent.and_then(|parent| self.tasks.get_mut(parent)) {
                    parent.first_child = next;
                }
            }
        }
        while let Some(at) = child {
            let orphan = &mut self.tasks[at];
            orphan.parent = None;
            orphan.previous_sibling = None;
            child = orphan.next_sibling.take();
        }
    }
}
