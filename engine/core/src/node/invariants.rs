//! What must hold between any two events. Tests and soaks call it after each; it recomputes from
//! the holders' side what the tables say from the side of what is held.

use crate::ids::{IdMap, ObjectId};

use crate::node::edges::{State, for_each_handle};
use crate::node::instance::Role;
use crate::node::task::{Kind, Task};
use crate::node::{Node, TaskKey, TaskState};
use crate::options::Lifetime;
use crate::resources::Resources;
use crate::value::{Argument, Handle};
use crate::work::Entry;

impl Node {
    /// Says what does not hold; none when all does.
    pub fn broken_invariant(&self) -> Option<String> {
        self.broken_edges()
            .or_else(|| self.broken_ledger())
            .or_else(|| self.broken_tenants())
            .or_else(|| self.broken_counts())
            .or_else(|| self.misplaced_sandbox())
            .or_else(|| self.broken_sent())
            .or_else(|| self.broken_hosting())
            .or_else(|| {
                let is_here = |id| self.storage.view(id).is_some();
                self.peers.spread_bytes.broken_invariant(&self.limits, is_here)
            })
    }

    fn broken_edges(&self) -> Option<String> {
        let mut edges: IdMap<Handle, u32> = IdMap::default();
        let mut add = |handle| *edges.entry(handle).or_insert(0) += 1;
        for instance in self.instances.values() {
            instance.handles.keys().copied().for_each(&mut add);
        }
        for task in self.tasks.values() {
            for_each_handle(&task.arguments, &mut add);
        }
        for (id, actor) in &self.actors {
            for_each_handle(&actor.arguments, &mut add);
            if actor.options.lifetime == Lifetime::Detached && actor.arguments_held() {
                add(Handle::Actor(*id));
            }
        }
        for stream in self.streams.values() {
            stream.failure_handles().iter().copied().for_each(&mut add);
            stream.unread.iter().for_each(|id| add(Handle::Object(*id)));
        }
        for object in self.objects.values() {
            object.state.handles().iter().copied().for_each(&mut add);
        }
        self.peers.references.for_each_holder(|_, handle| add(handle));
        let held = |handle: &Handle| edges.get(handle).copied().unwrap_or(0);
        for (id, object) in &self.objects {
            let counted = held(&Handle::Object(*id));
            let is_kept = self.peers.references.kept.contains_key(id);
            if counted != object.edges || (counted == 0 && !is_kept) {
                return Some(format!("{id} says {} holders and has {counted}", object.edges));
            }
        }
        for (id, actor) in &self.actors {
            let counted = held(&Handle::Actor(*id));
            if counted != actor.edges {
                return Some(format!("{id} says {} holders and has {counted}", actor.edges));
            }
        }
        for (id, edges) in self.group_edges() {
            let counted = held(&Handle::PlacementGroup(id));
            if counted != edges {
                return Some(format!("{id} says {edges} holders and has {counted}"));
            }
        }
        for (id, actor) in &self.peers.references.actors {
            let counted = held(&Handle::Actor(*id));
            if counted != actor.edges || counted == 0 {
                return Some(format!("{id}, elsewhere, says {} holders and has {counted}", actor.edges));
            }
        }
        for (id, stream) in &self.streams {
            let counted = held(&Handle::Stream(*id));
            if counted != stream.edges || counted == 0 {
                return Some(format!("the stream of {id} says {} holders and has {counted}", stream.edges));
            }
        }
        None
    }

    fn broken_ledger(&self) -> Option<String> {
        let mut sum = self.free.clone();
        match self.reserved_by_bundles() {
            Ok(reserved) => sum.give(&reserved),
            Err(broken) => return Some(broken),
        }
        for instance in self.instances.values().filter(|instance| instance.bundle.is_none()) {
            let mut held = Resources::clone(&instance.held);
            held.cpus.0 -= instance.lent_cpus.0;
            sum.give(&held);
        }
        if sum != self.total {
            return Some(format!("free and held make {sum:?} of a total of {:?}", self.total));
        }
        let mut running = Resources::default();
        for task in self.tasks.values().filter(|task| task.state == TaskState::Running) {
            let class = &self.classes[task.class];
            if matches!(task.kind, Kind::Root | Kind::Function) && class.group.is_none() {
                running.give(&class.needs);
            }
        }
        if running != self.held_by_running {
            return Some(format!(
                "running tasks hold {running:?} and the books say {:?}",
                self.held_by_running
            ));
        }
        let values = self.objects.values().filter_map(|object| match &object.state {
            State::Ready(value) => Some(value.inline_bytes()),
            _ => None,
        });
        let arguments = self.tasks.values().map(|task| task.argument_bytes);
        let actors = self.actors.values().map(|actor| actor.argument_bytes);
        let stored: u64 = values.chain(arguments).chain(actors).sum();
        (stored != self.inline_bytes)
            .then(|| format!("small values take {stored} bytes and the books say {}", self.inline_bytes))
    }

    fn broken_counts(&self) -> Option<String> {
        let is_active =
            |task: &&Task| task.state == TaskState::Running && !matches!(task.entry, Entry::Client);
        let running = self.tasks.values().filter(is_active).count();
        if running != self.active_calls {
            return Some(format!("{running} calls are running and the books say {}", self.active_calls));
        }
        let queued: usize = self.classes.values().map(|class| class.queue.len() - class.ended_in_queue).sum();
        if queued != self.tenants.tasks_in_line {
            return Some(format!(
                "{queued} tasks are in line and the books say {}",
                self.tenants.tasks_in_line
            ));
        }
        for (id, instance) in &self.instances {
            let blocked =
                |key: &&TaskKey| self.tasks.get(**key).is_some_and(|t| t.state == TaskState::Blocked);
            let counted = instance.calls.iter().filter(blocked).count();
            if counted != instance.blocked {
                return Some(format!("{id} says {} blocked calls and has {counted}", instance.blocked));
            }
            for key in &instance.calls {
                if self.tasks.get(*key).is_none_or(|task| task.instance != Some(*id)) {
                    return Some(format!("{id} serves a call that does not know it"));
                }
            }
            if matches!(instance.role, Role::Task) && instance.calls.is_empty() && instance.stopping.is_none()
            {
                return Some(format!("{id} serves nothing and was not told to end"));
            }
        }
        let stopping = self.instances.values().filter(|instance| instance.stopping.is_some()).count();
        if stopping != self.stopping.sandboxes {
            return Some(format!("{stopping} sandboxes end and the books say {}", self.stopping.sandboxes));
        }
        let mut pinned: IdMap<ObjectId, u32> = IdMap::default();
        for task in self.tasks.values().filter(|task| task.pinned) {
            for id in task.arguments.iter().filter_map(Argument::object) {
                *pinned.entry(id).or_insert(0) += 1;
            }
        }
        if let Some(broken) = self.storage.broken_invariant(&pinned) {
            return Some(broken);
        }
        if self.class_by_spec.len() != self.classes.len() {
            return Some(format!(
                "{} classes are indexed of {}",
                self.class_by_spec.len(),
                self.classes.len()
            ));
        }
        let away = self.tasks.values().filter(|task| task.away().is_some()).count();
        let wanted = self.objects.values().filter(|object| object.is_wanted()).count();
        if (away, wanted) != (self.peers.away, self.peers.wanted) {
            return Some(format!(
                "{away} tasks are away and {wanted} objects are asked for, and the books say {} and {}",
                self.peers.away, self.peers.wanted
            ));
        }
        if let Some(broken) = self.broken_ahead() {
            return Some(broken);
        }
        if let Some(broken) = self.broken_progress() {
            return Some(broken);
        }
        if self.task_index.len() != self.tasks.len() {
            return Some(format!("{} tasks are indexed of {}", self.task_index.len(), self.tasks.len()));
        }
        None
    }

    fn broken_ahead(&self) -> Option<String> {
        for (key, class) in &self.classes {
            let of_it = || self.tasks.values().filter(|task| task.class == key && task.is_ahead());
            let away = of_it().filter(|task| task.away().is_some()).count();
            let mut said = 0;
            for (node, given) in class.ahead.given() {
                let counted = of_it().filter(|task| task.away() == Some(node)).count();
                if counted != given || given > self.limits.ahead_tasks_max {
                    return Some(format!(
                        "{node} was given {counted} tasks ahead, and the books say {given}"
                    ));
                }
                said += given;
            }
            if away != said {
                return Some(format!("{away} tasks were given ahead, and the books say {said}"));
            }
        }
        let is_in_line = |task: &&Task| {
            task.owner().is_some() && task.is_ahead() && task.state == TaskState::PendingPlacement
        };
        let (in_line, said) = (self.tasks.values().filter(is_in_line).count(), self.peers.ahead_in_line);
        for peer in self.peers.ids() {
            let counted = self.tasks.values().filter(is_in_line).filter(|task| task.owner() == Some(peer));
            let (counted, said) = (counted.count(), self.peers.in_line_of(peer));
            if counted != said {
                return Some(format!("{counted} of {peer} wait ahead of room, and the books say {said}"));
            }
        }
        (in_line != said).then(|| format!("{in_line} of others wait ahead of room, and the books say {said}"))
    }

    fn broken_progress(&self) -> Option<String> {
        for (id, job) in &self.jobs {
            let tasks = || self.tasks.values().filter(|task| task.job == *id);
            for state in TaskState::ALL.iter().filter(|state| !state.is_end()) {
                let here = tasks().filter(|task| task.state == *state).count() as u64;
                let foreign = tasks().filter(|task| task.state == *state && task.owner().is_some());
                let counted = (here, foreign.count() as u64);
                let said = (job.by_state[*state as usize], job.foreign[*state as usize]);
                if counted != said {
                    return Some(format!(
                        "{id}: {counted:?} tasks, others' among them, are {state} and the books say {said:?}"
                    ));
                }
            }
            let away = tasks().filter(|task| task.is_counted_away()).count() as u64;
            if away != job.away {
                return Some(format!("{id}: {away} tasks are away and the books say {}", job.away));
            }
        }
        None
    }

    /// Says what is left on a node whose jobs have all ended; none when nothing is.
    pub fn leftover(&self) -> Option<String> {
        let left: Vec<(&str, usize)> = [
            ("jobs", self.jobs.len()),
            ("tasks", self.tasks.len()),
            ("classes", self.classes.len()),
            ("objects", self.objects.len()),
            ("streams", self.streams.len()),
            ("actors", self.actors.len()),
            ("instances", self.instances.len()),
            ("waits", self.waits.len()),
            ("bytes of small values", self.inline_bytes as usize),
            ("stored objects", self.storage.len()),
            ("objects that are to come here", self.storage.moves.len()),
            ("records of lineage", self.lineage.len()),
            ("tasks in line", self.tenants.tasks_in_line),
            ("deadlines and timeouts", self.timers.pending()),
            ("kinds of warm sandboxes", self.warm.keys()),
            ("sandboxes that are ending", self.stopping.sandboxes),
            ("jobs that are bound to clients", self.clients.len()),
        ]
        .into_iter()
        .chain(self.peers.left())
        .chain(self.groups.left())
        .collect();
        let left: Vec<String> = left
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        if !left.is_empty() {
            return Some(left.join(", "));
        }
        (self.free != self.total).then(|| format!("{:?} is free of {:?}", self.free, self.total))
    }
}
