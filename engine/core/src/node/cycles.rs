//! Objects that hold one another. Edges alone never free them: two tasks that return each other's
//! outputs make such a cycle. They go when their job does (contract J2).

use crate::ids::{IdMap, JobId, ObjectId};
use crate::node::edges::State;
use crate::node::{Effects, Node};
use crate::time::Time;
use crate::value::Handle;

impl Node {
    /// Frees the objects of jobs that have just ended which nothing but such objects hold.
    pub(super) fn free_cycles(&mut self, now: Time, fx: &mut Effects) {
        while let Some(job) = self.peers.sweeping.pop() {
            self.sweep_job(now, job, fx);
        }
        while let Some(job) = self.ended_jobs.pop() {
            let unreachable = self.unreachable_objects(job);
            // Each is held by this function until all of them are empty.
            for id in &unreachable {
                self.add_edge(Handle::Object(*id));
            }
            for id in &unreachable {
                self.empty_object(now, *id, fx);
            }
            for id in unreachable {
                self.remove_edge(now, Handle::Object(id), fx);
            }
            self.say_less_is_held(job);
        }
    }

    /// Of the objects that a job made, those that nobody else holds, directly or through others.
    fn unreachable_objects(&self, job: JobId) -> Vec<ObjectId> {
        let mut held_by_others = self.edges_from_outside(job);
        for (id, count) in &mut held_by_others {
            // Their owners, elsewhere, hold them.
            *count += u32::from(self.peers.references.kept.contains_key(id));
        }
        let held = held_by_others.iter().filter(|(_, count)| **count > 0);
        let mut reachable: Vec<ObjectId> = held.map(|(id, _)| *id).collect();
        while let Some(id) = reachable.pop() {
            if held_by_others.remove(&id).is_some() {
                reachable.extend(self.objects_inside(id));
            }
        }
        held_by_others.into_keys().collect()
    }

    /// Whether somebody who is not of a job that has ended, and is on this node, may reach objects of it.
    pub(super) fn retains_objects_of(&self, job: JobId) -> bool {
        let mut by_others = self.edges_from_outside(job);
        self.peers.references.for_each_holder(|_, handle| {
            if let Handle::Object(id) = handle
                && let Some(count) = by_others.get_mut(&id)
            {
                *count -= 1;
            }
        });
        by_others.values().any(|count| *count > 0)
    }

    /// The objects that a job made, each with its edges but those of such objects.
    fn edges_from_outside(&self, job: JobId) -> IdMap<ObjectId, u32> {
        let own = self.objects.iter().filter(|(_, object)| object.job == job);
        let mut edges: IdMap<ObjectId, u32> = own.map(|(id, object)| (*id, object.edges)).collect();
        let ids: Vec<ObjectId> = edges.keys().copied().collect();
        for held in ids.into_iter().flat_map(|id| self.objects_inside(id)) {
            if let Some(count) = edges.get_mut(&held) {
                *count -= 1;
            }
        }
        edges
    }

    /// The objects that an object's value or failure names.
    fn objects_inside(&self, id: ObjectId) -> impl Iterator<Item = ObjectId> + '_ {
        let handles = self.objects.get(&id).map_or(&[][..], |object| object.state.handles());
        handles.iter().filter_map(|handle| match handle {
            Handle::Object(id) => Some(*id),
            _ => None,
        })
    }

    fn empty_object(&mut self, now: Time, id: ObjectId, fx: &mut Effects) {
        let Some(object) = self.objects.get(&id) else { return };
        if object.owner().is_none() {
            self.drop_remote_bytes(id);
        }
        let Some(object) = self.objects.get_mut(&id) else { return };
        let state = std::mem::replace(&mut object.state, State::Pending);
        let counted_for = object.counted_for();
        self.value_gone(id, counted_for, &state);
        for handle in state.handles() {
            self.remove_edge(now, *handle, fx);
        }
    }
}
