//! Arguments that travel with their task or call.

use crate::ids::{JobId, NodeId, ObjectId};
use crate::node::edges::{Object, State};
use crate::node::peers::message::{Held, RemoteArgument, RemotePlace};
use crate::node::{Effects, Node, TaskKey};
use crate::time::Time;
use crate::value::{Argument, Handle, Residence, Value};

impl Node {
    /// Packs the arguments of a task: values, and objects that are there as values; those that are not,
    /// which only a call may have, by name.
    pub(super) fn pack_arguments(&mut self, to: NodeId, key: TaskKey) -> Vec<RemoteArgument> {
        let arguments = self.tasks[key].arguments.clone();
        let mut packed = Vec::with_capacity(arguments.len());
        for argument in &arguments {
            packed.push(match argument {
                Argument::Value(value) => RemoteArgument::Value(self.pack(to, value)),
                Argument::Object(id) => self.pack_argument(to, *id),
            });
        }
        packed
    }

    fn pack_argument(&mut self, to: NodeId, id: ObjectId) -> RemoteArgument {
        let object = self.objects.get(&id);
        let owner = object.and_then(Object::owner).unwrap_or(self.id);
        let Some(value) = object.and_then(|object| object.state.value()).cloned() else {
            return RemoteArgument::Handle(id, self.give(to, Handle::Object(id)));
        };
        match value.place.residence() {
            Residence::Inline => RemoteArgument::Value(self.pack(to, &value)),
            _ => RemoteArgument::Object(id, owner, self.pack_object(to, id, &value)),
        }
    }

    /// Takes an argument that came with a task or call.
    pub(super) fn take_argument(
        &mut self,
        now: Time,
        from: NodeId,
        job: JobId,
        argument: RemoteArgument,
        held: &mut Held,
        fx: &mut Effects,
    ) -> Argument {
        match argument {
            RemoteArgument::Value(parcel) => Argument::Value(self.unpack(from, job, parcel, held)),
            RemoteArgument::Object(object, owner, parcel) => {
                let value = self.unpack(from, job, parcel, held);
                self.take_loan(now, (object, owner), job, value, held, fx);
                Argument::Object(object)
            }
            RemoteArgument::Handle(object, owner) => {
                self.take_handles(from, job, &[Handle::Object(object)], &[owner], held);
                Argument::Object(object)
            }
        }
    }

    /// An object that its owner holds for as long as a task of its own runs here.
    fn take_loan(
        &mut self,
        now: Time,
        (id, owner): (ObjectId, NodeId),
        job: JobId,
        value: Value,
        held: &mut Held,
        fx: &mut Effects,
    ) {
        if owner != self.id {
            self.know_object(id, owner, job);
        }
        let handle = Handle::Object(id);
        self.add_edge(handle);
        held.push(handle);
        if self.peers.dead.contains(&owner) {
            self.owner_is_dead(handle, owner);
        }
        let is_here = RemotePlace::of(&value.place).is_some_and(|place| place.holder == self.id);
        if !is_here && matches!(self.objects.get(&id).map(|object| &object.state), Some(State::Pending)) {
            self.set_outcome(now, id, Ok(value), fx);
        }
    }
}
