//! What nodes tell one another.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::error::Error;
use crate::ids::{ActorId, ComponentId, JobId, LaneId, NodeId, ObjectId, TaskId};
use crate::options::{CallOptions, Function, TaskOptions};
use crate::resources::{Quantity, Resources};
use crate::tenant::TenantName;
use crate::value::{Handle, Place, Residence, Value};
use crate::work::{Entry, StopReason};

/// Messages from one node to another, in order, and what the sender has heard of the other.
#[derive(Debug, Clone)]
pub struct Packet {
    /// Who sends.
    pub from: NodeId,
    /// Who is meant. A node that has started afresh has another id, and takes nothing that was meant for
    /// the one before.
    pub to: NodeId,
    /// The number of the first message; the first one between two nodes is 1.
    pub first: u64,
    /// The messages.
    pub messages: Vec<Message>,
    /// The number of the last message that the sender has from the other, with all before it.
    pub received: u64,
    /// What the sender has free, with all that it has received counted.
    pub load: Load,
}

/// What a node has free.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Load {
    /// Free resources.
    pub free: Resources,
    /// Counts what the node has said of itself: the larger is the newer, whichever way it came.
    pub version: u64,
}

/// One thing that a node tells another.
#[derive(Debug, Clone)]
pub enum Message {
    /// The owner of a task has it run here; of an actor, its constructor, or a call inside it.
    Run(Box<RemoteTask>),
    /// There is no room for this attempt now: its owner finds another node, or waits.
    Refused {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: u32,
    },
    /// The node has ended this attempt, which is no fault of its own.
    Preempted {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: u32,
        /// For whom.
        by: PreemptedBy,
    },
    /// A node that has refused has more room than it had then.
    HasRoom,
    /// An attempt has ended.
    Ended {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: u32,
        /// How long it ran; none: it never began, or is not a task.
        ran: Option<Duration>,
        /// What it returned, or why it failed.
        result: Result<Vec<Parcel>, Failure>,
    },
    /// An attempt has yielded an object.
    Emitted {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: u32,
        /// Which object.
        index: u32,
        /// Its value.
        parcel: Parcel,
    },
    /// So many of the objects that a task has yielded were read.
    Read {
        /// The task.
        task: TaskId,
        /// How many.
        read: u32,
    },
    /// A call of an actor on this node.
    Call(Box<RemoteCall>),
    /// A call is cancelled: it is taken out of its line, or asked to end.
    CancelCall {
        /// The call.
        task: TaskId,
        /// Whether the actor's incarnation ends when the call is inside.
        force: bool,
        /// Its children too.
        recursive: bool,
    },
    /// An actor on this node is to end; whether it may be restarted.
    KillActor(ActorId, bool),
    /// An incarnation of the sender's actor is to end, if it has not. That it has ended follows.
    EndIncarnation(Incarnation, StopReason),
    /// An incarnation has ended, or is not going to be there. To the actor's owner.
    IncarnationEnded {
        /// Which.
        incarnation: Incarnation,
        /// Calls that it cut short, its constructor among them, each with its own error if it has one. What
        /// is not among them, and was not told of before, was never begun.
        calls: Vec<(TaskId, Option<Failure>)>,
        /// Why it died, when it was not asked to end.
        cause: Option<Failure>,
    },
    /// A detached actor of the sender's has ended: what descends from it ends.
    EndScope(ActorId, Arc<str>),
    /// This attempt is to end.
    Cancel {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: u32,
        /// Why.
        reason: StopReason,
        /// Its children too.
        recursive: bool,
        /// Whether actors end whose calls are among those.
        force: bool,
    },

    /// The sender was given a handle by somebody else and holds it now; to the owner.
    Borrow(Handle),
    /// The answer: the owner has noted it, or there is no such thing any more.
    Borrowed(Handle, bool),
    /// The sender holds, with its owner's knowledge, what it was given by the other.
    Received(Handle),
    /// The sender holds it no more; to the owner. How often the owner had given or granted it.
    Release(Handle, u64),

    /// The sender wants to know what becomes of an object; to the owner.
    Want(ObjectId),
    /// What became of it.
    Outcome(ObjectId, Result<Parcel, Failure>),
    /// The bytes of an object could not be had from this node; to the owner.
    Missing(ObjectId, NodeId, Failure),
    /// The bytes that the other keeps for the sender, who owns the object, are not needed any more.
    Drop(ObjectId),
    /// The sender keeps the bytes of this object for its owner, and who was to tell it so is dead.
    Keeps(ObjectId),

    /// Something of this job runs on the sender's node; to the node of its root.
    JobHere(JobId),
    /// The job has ended: nothing of it may run. From the node of its root, and passed on by whoever has
    /// given tasks of it to others.
    EndJob(JobId, Arc<str>),
    /// Nothing of it runs any more on the sender's node, nor where that one passed its end on.
    JobGone {
        /// The job.
        job: JobId,
        /// The nodes that this is about.
        nodes: Vec<NodeId>,
    },
    /// What of a job that has ended is held on the receiver's node?
    WhatIsHeld(JobId),
    /// The answer.
    Held {
        /// The job.
        job: JobId,
        /// Whether somebody who goes on holds objects of it there, or a handle to one is on its way.
        retains: bool,
        /// What its objects that are owned there are lent, less what is borrowed there: over all nodes it is
        /// zero when whatever was lent has arrived, and is known there as the job's.
        balance: u64,
    },
    /// Less of this job, which has ended, is held on the sender's node than before; to the node of its root.
    LessIsHeld(JobId),
    /// Nothing of it runs anywhere, and nobody who goes on holds objects of it: they are all free.
    SweepJob(JobId),
}

/// A task for another node than its owner's.
#[derive(Debug, Clone)]
pub struct RemoteTask {
    /// Its id.
    pub id: TaskId,
    /// Counted from 0.
    pub attempt: u32,
    /// Its job.
    pub job: RemoteJob,
    /// What it runs.
    pub function: Function,
    /// Which export.
    pub entry: Entry,
    /// Its arguments, all of them there.
    pub arguments: Vec<RemoteArgument>,
    /// What it asked for. The memory is said.
    pub options: TaskOptions,
    /// For people.
    pub name: Option<String>,
    /// Of a stream: objects that were read already, of an earlier attempt.
    pub read: u32,
    /// Which part of an actor it is, when it is one.
    pub part: Option<ActorPart>,
    /// Whether it may wait in line there: it was given ahead of room, and comes back if it waits for long.
    pub may_wait: bool,
    /// Whether it may be ended there and begun anew, when a tenant comes for its guaranteed share.
    pub may_preempt: bool,
}

/// One life of an actor, from its constructor to the end of its sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation {
    /// The actor.
    pub actor: ActorId,
    /// Restarts before it.
    pub number: u32,
}

/// A part of an actor whose incarnation is on another node than its owner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorPart {
    /// Its constructor: with it the incarnation comes to where it runs.
    Constructor {
        /// Which it makes.
        incarnation: Incarnation,
        /// Calls inside at once, over all groups.
        max_concurrency: u32,
        /// CPUs that it holds for life; what else it asks for it holds too.
        cpus: Quantity,
        /// Whether it outlives its job.
        detached: bool,
    },
    /// A call, which may enter now.
    Call {
        /// Which it enters.
        incarnation: Incarnation,
        /// The node of whoever made it, which owns its objects.
        owner: NodeId,
    },
}

/// For whom an attempt was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreemptedBy {
    /// The node drains, and its deadline has passed.
    Drain,
    /// Another tenant came for its guaranteed share.
    Share,
}

/// What a node must know of a job of which it runs something.
#[derive(Debug, Clone)]
pub struct RemoteJob {
    /// The job.
    pub id: JobId,
    /// The node of its root task.
    pub home: NodeId,
    /// Tasks and calls of it that have not ended, at once, on one node.
    pub unfinished_tasks_max: Option<usize>,
    /// Guest memory of its tasks that do not say.
    pub task_memory_bytes: Option<u64>,
    /// To whom it belongs.
    pub tenant: TenantName,
}

/// An argument that travels with its task.
#[derive(Debug, Clone)]
pub enum RemoteArgument {
    /// A small value.
    Value(Parcel),
    /// An object above the inline bound, and where its bytes are.
    Object(ObjectId, NodeId, Parcel),
    /// An object that is not there yet, and who owns it.
    Handle(ObjectId, NodeId),
}

/// A call of an actor on another node than the caller's.
#[derive(Debug, Clone)]
pub struct RemoteCall {
    /// Its id.
    pub id: TaskId,
    /// Its job.
    pub job: RemoteJob,
    /// The actor.
    pub actor: ActorId,
    /// The lane, by the caller's node's numbers.
    pub lane: LaneId,
    /// What the caller runs in.
    pub component: ComponentId,
    /// The method.
    pub method: Arc<str>,
    /// Its arguments.
    pub arguments: Vec<RemoteArgument>,
    /// What it asks for. The deadline is the caller's node's to keep.
    pub options: CallOptions,
}

/// A value that travels: small bytes with it, large ones by where they are.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// The value. Its place is on the heap, or [`Residence::Remote`].
    pub value: Value,
    /// Who owns what its handles name, by index.
    pub owners: Arc<[NodeId]>,
}

/// An error that travels.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The error.
    pub error: Error,
    /// Who owns what the handles of its payload name, by index.
    pub owners: Arc<[NodeId]>,
}

/// Where the bytes of an object are that are on another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemotePlace {
    /// The object.
    pub object: ObjectId,
    /// Who has its bytes.
    pub holder: NodeId,
}

impl RemotePlace {
    /// The place of a value whose bytes are there.
    pub fn place(self) -> Place {
        Place::of(Arc::new(self), Residence::Remote)
    }

    /// Where the bytes of a place are, when it is on another node.
    pub fn of(place: &Place) -> Option<RemotePlace> {
        match place.residence() {
            Residence::Remote => place.downcast().copied(),
            _ => None,
        }
    }
}

impl Failure {
    /// One whose payload holds nothing.
    pub fn plain(error: Error) -> Self {
        Self { error, owners: Arc::from([]) }
    }
}

/// What the head tells of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its id.
    pub id: NodeId,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// What it has.
    pub total: Resources,
}

/// Handles of one message, each held until the message has been dealt with.
pub(super) type Held = SmallVec<[Handle; 4]>;
