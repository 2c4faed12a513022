//! Who and where the running code is.
use crate::actor::ActorRef;
use crate::bindings::engine::compute::{context as wit, types};
use crate::error::{Error, Result};
use crate::placement::units;
use scoped_tls::scoped_thread_local;

scoped_thread_local!(static INVOCATION: types::Invocation);

/// Runs `body` as the call that `invocation` stands for.
pub(crate) fn serving<T>(invocation: &types::Invocation, body: impl FnOnce() -> T) -> T {
    INVOCATION.set(invocation, body)
}

/// The call that is being served, if any is.
pub(crate) fn invocation<T>(body: impl FnOnce(&types::Invocation) -> T) -> Option<T> {
    INVOCATION.is_set().then(|| INVOCATION.with(body))
}

/// Who and where the running code is, and what there is around it.
pub fn context() -> Context {
    Context(())
}

/// Who and where the running code is; from [`context()`]. Each method asks the host.
#[derive(Clone, Copy, Debug)]
pub struct Context(());

/// What the running task or actor was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Resources {
    /// CPUs.
    pub cpus: f64,
    /// The ids of the GPUs.
    pub gpus: Vec<String>,
    /// Custom resources, by name.
    pub custom: Vec<(String, f64)>,
}

/// A node that the tenant may use, as last heard of.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The node's id.
    pub id: String,
    /// Its labels, by key.
    pub labels: Vec<(String, String)>,
    /// All of its resources, by name.
    pub total: Vec<(String, f64)>,
    /// What is free of them.
    pub available: Vec<(String, f64)>,
}

impl Context {
    /// The job's id.
    pub fn job_id(&self) -> String {
        wit::job_id()
    }

    /// The id of the node that this runs on.
    pub fn node_id(&self) -> String {
        wit::node_id()
    }

    /// The tenant that the job belongs to.
    pub fn tenant(&self) -> String {
        wit::tenant()
    }

    /// The namespace in which actor names are made and found.
    pub fn namespace(&self) -> String {
        wit::namespace()
    }

    /// The id of the running task or actor call.
    pub fn task_id(&self) -> String {
        invocation(types::Invocation::task_id).unwrap_or_default()
    }

    /// Which attempt of the task this is, from 0.
    pub fn attempt(&self) -> u32 {
        invocation(types::Invocation::attempt).unwrap_or_default()
    }

    /// True once the caller has cancelled: an actor call should then return soon. (A task is
    /// stopped without being asked.)
    pub fn is_cancelled(&self) -> bool {
        invocation(types::Invocation::is_cancelled).unwrap_or_default()
    }

    /// What the running task or actor was given.
    pub fn resources(&self) -> Resources {
        let wit::Assigned { cpus, gpus, resources } = wit::resources();
        Resources { cpus: units(cpus), gpus, custom: in_units(resources) }
    }

    /// A handle to the actor that this instance is.
    pub fn current_actor(&self) -> Option<ActorRef> {
        wit::current_actor().map(ActorRef::from_wire)
    }

    /// Whether the actor that this instance is was made anew after a failure.
    pub fn was_restarted(&self) -> bool {
        wit::was_restarted()
    }

    /// The nodes that the tenant may use, as last heard of.
    ///
    /// # Errors
    /// When the cluster could not be asked.
    pub fn nodes(&self) -> Result<Vec<Node>> {
        let nodes = wit::nodes().map_err(Error::from_wire)?.into_iter();
        let nodes = nodes.map(|wit::Node { id, labels, total, available }| Node {
            id,
            labels,
            total: in_units(total),
            available: in_units(available),
        });
        Ok(nodes.collect())
    }
}

fn in_units(resources: Vec<(String, types::Quantity)>) -> Vec<(String, f64)> {
    resources.into_iter().map(|(name, amount)| (name, units(amount))).collect()
}
