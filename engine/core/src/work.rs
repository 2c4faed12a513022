//! What the core tells the runtime to run, and what the runtime tells back.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::error::Error;
use crate::ids::{ActorId, ComponentId, InstanceId, JobId, TaskId};
use crate::options::Returns;
use crate::resources::{Quantity, Resources};
use crate::value::Value;

/// Start a sandbox and have it serve a first call.
#[derive(Debug, Clone)]
pub struct Start {
    /// The sandbox.
    pub instance: InstanceId,
    /// The job whose grants it has.
    pub job: JobId,
    /// What runs in it.
    pub component: ComponentId,
    /// Environment on top of the job's.
    pub env: Arc<[(String, String)]>,
    /// Bytes of guest memory that it may grow to.
    pub memory_bytes_max: u64,
    /// What the ledger took for it.
    pub assigned: Arc<Resources>,
    /// How long it lives.
    pub life: Life,
    /// What it serves first.
    pub call: Call,
}

/// How long a sandbox lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// For one call: gone when that has ended.
    Task,
    /// Warm: serves calls until it is stopped, or has grown past its bound.
    Warm,
    /// It is an actor: the first call is its constructor.
    Actor {
        /// The actor.
        actor: ActorId,
        /// Whether an earlier incarnation died.
        was_restarted: bool,
        /// Calls inside at once, over all groups.
        max_concurrency: u32,
        /// What it holds for life, once its constructor has ended.
        cpus: Quantity,
    },
}

impl Start {
    /// CPUs that the sandbox holds while it serves.
    pub fn cpus(&self) -> Quantity {
        match self.life {
            Life::Actor { cpus, .. } => cpus,
            Life::Task | Life::Warm => self.assigned.cpus,
        }
    }
}

/// One call into a sandbox.
#[derive(Debug, Clone)]
pub struct Call {
    /// The task or actor call.
    pub task: TaskId,
    /// Counted from 0.
    pub attempt: u32,
    /// Which export.
    pub entry: Entry,
    /// The values of the arguments, in order.
    pub arguments: Vec<Value>,
    /// How many values come back, or that they are emitted.
    pub returns: Returns,
    /// CPU time that it may use.
    pub cpu_time: Option<Duration>,
    /// What the ledger took for it, when its sandbox was started for another task.
    pub assigned: Option<Arc<Resources>>,
}

/// Which export of the component is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The job's main, with the job's arguments.
    Main(Arc<[String]>),
    /// A plain component's export, called with a WAVE expression: `add(1, 2)`.
    Invoke(Arc<str>),
    /// A function.
    Run(Arc<str>),
    /// The constructor of a class.
    Create(Arc<str>),
    /// A method of the actor.
    Method(Arc<str>),
    /// None: a job's root that is a client outside, which no sandbox stands for.
    Client,
}

impl Entry {
    /// The function's name, for people.
    pub fn name(&self) -> &str {
        match self {
            Entry::Main(_) => "main",
            Entry::Client => "client",
            Entry::Invoke(text) | Entry::Run(text) | Entry::Create(text) | Entry::Method(text) => text,
        }
    }
}

/// How a call ended, as the runtime saw it.
#[derive(Debug, Clone)]
pub struct CallReport {
    /// The call.
    pub task: TaskId,
    /// The values returned, or what went wrong; the core adds the call's frame to the error's path.
    pub result: Result<Vec<Value>, Error>,
    /// What it used.
    pub usage: Usage,
}

/// What a call used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on a guest thread.
    pub cpu: Duration,
    /// Bytes of guest memory at the end; linear memory never shrinks.
    pub memory_bytes: u64,
}

/// How a sandbox ended.
#[derive(Debug, Clone)]
pub struct GoneReport {
    /// The sandbox.
    pub instance: InstanceId,
    /// Calls that ended with it and were not reported before.
    pub calls: SmallVec<[CallReport; 1]>,
    /// Why it died, when it was neither asked to end nor done.
    pub cause: Option<Error>,
}

/// Why a sandbox is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Its call was cancelled.
    Cancelled,
    /// The deadline of its call passed.
    Deadline,
    /// Its actor was killed or has no handles left.
    ActorEnded,
    /// Its job ended.
    JobEnded,
    /// It is warm, idle, and no longer wanted.
    Retired,
}
