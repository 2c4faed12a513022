//! Scheduling classes: what tasks of one function with the same options have in common, kept once.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::ids::{ActorId, JobId, PlacementGroupId};
use crate::node::instance::{ReuseKey, ReuseKind};
use crate::node::peers::Ahead;
use crate::node::{ClassKey, Node, TaskKey, TenantKey};
use crate::options::{Function, Retries, Returns, Reuse, TaskOptions};
use crate::resources::{Quantity, Resources};

/// What makes tasks alike for the scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ClassSpec {
    pub job: JobId,
    /// The detached actor that its tasks descend from; none: the job.
    pub scope: Option<ActorId>,
    pub function: Function,
    pub options: TaskOptions,
}

pub(super) struct Class {
    pub spec: Arc<ClassSpec>,
    /// Whose job it is of.
    pub tenant: TenantKey,
    pub needs: Arc<Resources>,
    pub reuse: Option<ReuseKey>,
    /// The placement group that its tasks run in, and which bundle of it; no bundle: any.
    pub group: Option<(PlacementGroupId, Option<u32>)>,
    /// Tasks of this class that have not ended.
    pub tasks: u32,
    /// Tasks whose arguments are there, with their place in the order of the node.
    pub queue: VecDeque<(u64, TaskKey)>,
    /// Entries of the queue whose tasks have ended there. Its head is never one.
    pub ended_in_queue: usize,
    /// Starts of others since the head of the queue could not be started.
    pub passed_over: u32,
    /// No other node had room for the head of the queue when so many had got some.
    pub no_room_at: Option<u64>,
    /// Of its tasks that run elsewhere.
    pub ahead: Ahead,
}

impl Class {
    pub fn retries(&self) -> &Retries {
        &self.spec.options.retries
    }

    /// CPUs of the node's own that a task of it needs.
    pub fn node_cpus(&self) -> Quantity {
        if self.group.is_some() { Quantity::ZERO } else { self.needs.cpus }
    }

    pub fn returns(&self) -> Returns {
        self.spec.options.returns
    }
}

impl Node {
    /// The class of these tasks: the one there is, or a new one.
    pub(super) fn class_of(&mut self, spec: ClassSpec, memory_default: u64) -> ClassKey {
        // A program spawns the same function many times in a row, mostly.
        if let Some(job) = self.jobs.get(&spec.job) {
            for key in &job.recent_classes {
                if self.classes.get(*key).is_some_and(|class| *class.spec == spec) {
                    return *key;
                }
            }
        }
        if let Some(key) = self.class_by_spec.get(&spec).copied() {
            self.note_recent_class(spec.job, key);
            return key;
        }
        let needs = Arc::new(self.needs_of(&spec.options, memory_default));
        let group = spec.options.placement.group();
        // A warm sandbox keeps memory, which in a bundle would be others'.
        let is_warm = spec.options.reuse == Reuse::Job && group.is_none();
        let reuse = is_warm.then(|| {
            ReuseKey::new(ReuseKind {
                job: spec.job,
                scope: spec.scope,
                component: spec.function.component,
                env: spec.options.env.clone(),
                memory: needs.memory,
            })
        });
        let tenant = match self.jobs.get(&spec.job) {
            Some(job) => job.tenant,
            None => self.tenants.of_default(),
        };
        let spec = Arc::new(spec);
        let key = self.classes.insert(Class {
            spec: spec.clone(),
            tenant,
            needs,
            reuse,
            group,
            tasks: 0,
            queue: VecDeque::new(),
            ended_in_queue: 0,
            passed_over: 0,
            no_room_at: None,
            ahead: Ahead::default(),
        });
        if let Some((group, _)) = group {
            self.add_group_class(group);
        }
        self.note_recent_class(spec.job, key);
        self.class_by_spec.insert(spec, key);
        key
    }

    fn note_recent_class(&mut self, job: JobId, key: ClassKey) {
        let Some(job) = self.jobs.get_mut(&job) else { return };
        job.recent_classes.rotate_right(1);
        let evicted = std::mem::replace(&mut job.recent_classes[0], key);
        self.forget_class_if_unused(evicted);
    }

    /// Drops a class that has no tasks and that the next spawn is not likely to want.
    pub(super) fn forget_class_if_unused(&mut self, key: ClassKey) {
        let Some(class) = self.classes.get(key).filter(|class| class.tasks == 0) else { return };
        let recent = self.jobs.get(&class.spec.job).is_some_and(|job| job.recent_classes.contains(&key));
        if !recent {
            self.remove_class(key);
        }
    }

    fn remove_class(&mut self, key: ClassKey) {
        if let Some(class) = self.classes.remove(key) {
            self.class_by_spec.remove(&class.spec);
            if let Some((group, _)) = class.group {
                self.remove_group_class(group);
            }
        }
    }

    /// Guest memory of a job's tasks that do not say.
    pub(super) fn task_memory_default(&self, job: JobId) -> u64 {
        let said = self.jobs.get(&job).and_then(|job| job.spec.task_memory_bytes);
        said.unwrap_or(self.limits.task_memory_bytes_default)
    }

    /// What the ledger takes for a task or an actor while it is placed.
    pub(super) fn needs_of(&self, options: &TaskOptions, memory_default: u64) -> Resources {
        let placement = &options.placement;
        let mut needs = Resources {
            cpus: placement.cpus.unwrap_or(Quantity::units(1)),
            gpus: placement.gpus,
            memory: placement.memory.unwrap_or(memory_default),
            ..Resources::default()
        };
        for (name, quantity) in &placement.resources {
            needs.set_custom(name, *quantity);
        }
        needs
    }
}
