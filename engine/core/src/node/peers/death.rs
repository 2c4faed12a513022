//! The death of another node (contract O8, O9, T7, H3).

use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::{NodeId, ObjectId};
use crate::node::class::Class;
use crate::node::edges::{Object, State};
use crate::node::task::{Kind, Task};
use crate::node::{Effects, Node, TaskKey};
use crate::time::Time;
use crate::value::{Handle, Residence};
use crate::work::StopReason;

impl Node {
    /// The head has declared a node dead. Nothing that it still sends has an effect, and nothing waits
    /// for it.
    pub fn node_dead(&mut self, now: Time, dead: NodeId, fx: &mut Effects) {
        if dead == self.id || !self.peers.dead.insert(dead) {
            return;
        }
        self.peers.set_timer(dead, None);
        self.peers.nodes.remove(&dead);
        self.peers.refused.forget(dead);
        self.peers.spread_bytes.forget_node(dead);
        self.peers.draining.remove(&dead);
        self.peers.outbox.retain(|node| *node != dead);
        self.end_foreign_of(now, dead, fx);
        self.lose_incarnations_at(now, dead, fx);
        self.lose_attempts_at(now, dead, fx);
        self.forget_ahead(dead);
        self.lose_objects_of(now, dead, fx);
        self.drop_references_of(now, dead, fx);
        self.end_jobs_of(now, dead, fx);
        self.fail_what_never_fits(now, fx);
        self.schedule(now, fx);
    }

    /// Tasks in line that only the dead node could have run fail (contract E2).
    fn fail_what_never_fits(&mut self, now: Time, fx: &mut Effects) {
        let in_line = |class: &Class| class.queue.iter().map(|(_, key)| *key).collect::<Vec<TaskKey>>();
        let lines: Vec<Vec<TaskKey>> = self.classes.values().map(in_line).collect();
        for line in lines {
            // Those of one class ask for the same.
            for key in line {
                if !self.tasks.contains_key(key) {
                    continue;
                }
                let Some(error) = self.never_fits(key) else { break };
                self.remove_from_line(key);
                self.fail_task(now, key, error, fx);
            }
        }
    }

    /// The tasks that a dead node owned end, and their children: nobody waits for them.
    fn end_foreign_of(&mut self, now: Time, dead: NodeId, fx: &mut Effects) {
        let keys: Vec<TaskKey> =
            self.tasks.iter().filter(|(_, task)| task.owner() == Some(dead)).map(|(key, _)| key).collect();
        for key in keys {
            if !self.tasks.contains_key(key) {
                continue;
            }
            self.cancel_descendants(now, key, false, fx);
            let message = format!("{dead}, the node that owns it, is dead");
            let error = Error::new(ErrorCode::OwnerDied, message);
            match self.tasks.get(key) {
                // It ends with its actor.
                Some(task) if task.behalf().is_some() => {}
                Some(Task { kind: Kind::Call(_), .. }) => self.orphan_call(now, key, error, true, fx),
                _ => self.end_now(now, key, error, StopReason::Cancelled, fx),
            }
        }
        self.end_hosted_of(now, dead, fx);
    }

    /// The attempts that a dead node was given are lost.
    fn lose_attempts_at(&mut self, now: Time, dead: NodeId, fx: &mut Effects) {
        let is_there = |task: &Task| task.away() == Some(dead);
        let keys: Vec<TaskKey> =
            self.tasks.iter().filter(|(_, task)| is_there(task)).map(|(key, _)| key).collect();
        for key in keys {
            if self.tasks.contains_key(key) {
                self.come_back(key);
                if let Kind::Sent(call) = &self.tasks[key].kind {
                    let message = format!("{}: {dead}, the node that it lived on, is dead", call.actor);
                    let error = Error::new(ErrorCode::ActorDied, message);
                    self.attempt_failed(now, key, error, fx);
                    continue;
                }
                let message = format!("{dead}, the node that it ran on, is dead");
                self.attempt_failed(now, key, Error::new(ErrorCode::NodeDied, message), fx);
            }
        }
    }

    fn lose_objects_of(&mut self, now: Time, dead: NodeId, fx: &mut Effects) {
        let mut ids: Vec<ObjectId> = self.objects.keys().copied().collect();
        // The order must be the same in every run.
        ids.sort();
        let cause = Error::new(ErrorCode::NodeDied, format!("{dead}, which had its bytes, is dead"));
        for id in ids {
            let Some(object) = self.objects.get_mut(&id) else { continue };
            if let Some(afar) = &mut object.afar {
                afar.waiting.retain(|node| *node != dead);
            }
            let is_away = object.state.value().is_some_and(|v| v.place.residence() == Residence::Remote);
            let is_orphan = object.owner() == Some(dead);
            let was_there = self.storage.remote_place(id).is_some_and(|remote| remote.holder == dead);
            if is_orphan && (is_away || matches!(object.state, State::Pending)) {
                self.fail_orphan(now, id, dead, fx);
            } else if is_orphan || was_there {
                // A copy that is here is all there is from now on.
                if !self.storage.adopt(id) && was_there {
                    self.lose(now, id, &cause, fx);
                }
            }
        }
    }

    /// An object whose owner is dead, and whose value is not here, fails (contract O9).
    pub(in crate::node) fn fail_orphan(&mut self, now: Time, id: ObjectId, owner: NodeId, fx: &mut Effects) {
        self.fail_object(now, id, orphaned(id, owner), fx);
    }

    /// Gives an object that is owned elsewhere an error, whatever it was.
    pub(in crate::node) fn fail_object(&mut self, now: Time, id: ObjectId, error: Error, fx: &mut Effects) {
        self.not_wanted(id);
        let Some(object) = self.objects.get_mut(&id) else { return };
        let error = Arc::new(error);
        let before = std::mem::replace(&mut object.state, State::Failed(error.clone()));
        let counted_for = object.counted_for();
        self.value_gone(id, counted_for, &before);
        self.hold_up_users(id);
        self.tell_waiters(now, id, Some(&error), fx);
        for handle in before.handles() {
            self.remove_edge(now, *handle, fx);
        }
    }

    /// A handle came whose owner is dead already.
    pub(super) fn owner_is_dead(&mut self, handle: Handle, owner: NodeId) {
        let Handle::Object(id) = handle else { return };
        let Some(object) = self.objects.get_mut(&id) else { return };
        if matches!(object.state, State::Pending) {
            object.state = State::Failed(Arc::new(orphaned(id, owner)));
        }
    }

    /// The owner of what a handle names does not know it.
    pub(super) fn is_gone(&mut self, now: Time, handle: Handle, fx: &mut Effects) {
        let Handle::Object(id) = handle else { return };
        let is_pending = |object: &Object| matches!(object.state, State::Pending);
        if self.objects.get(&id).is_some_and(is_pending) {
            let message = format!(
                "{id} was freed before this node could say that it holds it: whoever gave it was lost meanwhile"
            );
            self.fail_object(now, id, Error::new(ErrorCode::ObjectLost, message), fx);
        }
    }
}

fn orphaned(id: ObjectId, owner: NodeId) -> Error {
    let message = format!("{owner}, the node that owns {id}, is dead: what it owned went with it");
    Error::new(ErrorCode::OwnerDied, message)
}
