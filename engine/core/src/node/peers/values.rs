//! Values that travel, and objects whose owner or whose bytes are on another node.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::{JobId, NodeId, ObjectId};
use crate::node::edges::{Object, State};
use crate::node::peers::message::{Failure, Held, Message, Parcel, RemotePlace};
use crate::node::peers::references::Kept;
use crate::node::task::Results;
use crate::node::{Effects, Node};
use crate::time::Time;
use crate::value::{Handle, Place, Residence, Value};

/// How often the owner of an object is asked for its bytes that could not be had.
const ROUNDS_MAX: u32 = 16;

impl Node {
    // ---- packing ----

    /// Packs a small value for another node, which holds its handles from now on.
    pub(super) fn pack(&mut self, to: NodeId, value: &Value) -> Parcel {
        let owners: Arc<[NodeId]> = value.handles.iter().map(|handle| self.give(to, *handle)).collect();
        Parcel { value: value.clone(), owners }
    }

    /// Packs the value of an object: a large one by where its bytes are.
    pub(super) fn pack_object(&mut self, to: NodeId, id: ObjectId, value: &Value) -> Parcel {
        let place = match value.place.residence() {
            Residence::Inline | Residence::Remote => value.place.clone(),
            Residence::Arena | Residence::Spilled => {
                // A copy here of bytes that are kept elsewhere may go at any time.
                let holder = self.storage.remote_place(id).map_or(self.id, |remote| remote.holder);
                RemotePlace { object: id, holder }.place()
            }
        };
        self.pack(to, &Value { place, ..value.clone() })
    }

    pub(super) fn pack_error(&mut self, to: NodeId, error: &Error) -> Failure {
        match error.payload() {
            None => Failure::plain(error.clone()),
            Some(payload) if payload.place.residence() == Residence::Inline => {
                let owners = payload.handles.iter().map(|handle| self.give(to, *handle)).collect();
                Failure { error: error.clone(), owners }
            }
            // A large one has no object by which its bytes could be fetched.
            Some(_) => Failure::plain(error.clone().with_payload(None)),
        }
    }

    /// Unpacks what a task returned or yielded elsewhere. What was made on this very node is at home again.
    pub(super) fn unpack_result(
        &mut self,
        from: NodeId,
        job: JobId,
        (id, parcel): (ObjectId, Parcel),
        held: &mut Held,
    ) -> Value {
        let value = self.unpack(from, job, parcel, held);
        match RemotePlace::of(&value.place) {
            Some(RemotePlace { holder, .. }) if holder == self.id => {
                let place = self.take_returning(from, id).unwrap_or_else(|| value.place.clone());
                Value { place, ..value }
            }
            _ => value,
        }
    }

    fn take_returning(&mut self, via: NodeId, id: ObjectId) -> Option<Place> {
        let (_, places) = self.peers.references.returning.get_mut(&id).filter(|(from, _)| *from == via)?;
        let place = places.pop_front();
        if places.is_empty() {
            self.peers.references.returning.remove(&id);
        }
        place
    }

    /// Unpacks a value; its handles are held until the message was dealt with.
    pub(super) fn unpack(&mut self, from: NodeId, job: JobId, parcel: Parcel, held: &mut Held) -> Value {
        let Parcel { value, owners } = parcel;
        self.take_handles(from, job, &value.handles, &owners, held);
        value
    }

    pub(super) fn unpack_error(
        &mut self,
        from: NodeId,
        job: JobId,
        failure: Failure,
        held: &mut Held,
    ) -> Error {
        let Failure { error, owners } = failure;
        if let Some(payload) = error.payload() {
            let handles = payload.handles.clone();
            self.take_handles(from, job, &handles, &owners, held);
        }
        error
    }

    // ---- what becomes of an object of another node ----

    /// Asks the owner what becomes of an object, when somebody here waits for it.
    pub(in crate::node) fn want(&mut self, id: ObjectId) {
        let Some(object) = self.objects.get_mut(&id) else { return };
        let Some(owner) = object.owner() else { return };
        if matches!(object.state, State::Pending) && !object.is_wanted() {
            self.ask(owner, id);
        }
    }

    fn ask(&mut self, owner: NodeId, id: ObjectId) {
        let Some(object) = self.objects.get_mut(&id) else { return };
        self.peers.wanted += usize::from(!std::mem::replace(&mut object.afar().wanted, true));
        self.tell(owner, Message::Want(id));
    }

    /// The owner of an object has answered, or is not asked any more.
    pub(in crate::node) fn not_wanted(&mut self, id: ObjectId) -> bool {
        let Some(object) = self.objects.get_mut(&id) else { return false };
        let was = object.afar.as_mut().is_some_and(|afar| std::mem::take(&mut afar.wanted));
        self.peers.wanted -= usize::from(was);
        was
    }

    pub(super) fn wanted_by(&mut self, from: NodeId, id: ObjectId) {
        match self.objects.get_mut(&id) {
            None => {
                let failure = Failure::plain(crate::node::spawn::freed(id));
                self.tell(from, Message::Outcome(id, Err(failure)));
            }
            Some(object) if matches!(object.state, State::Pending) => {
                let waiting = &mut object.afar().waiting;
                if !waiting.contains(&from) {
                    waiting.push(from);
                }
                self.want(id);
            }
            Some(_) => self.send_outcome(from, id),
        }
    }

    /// Tells another node what became of an object.
    pub(in crate::node) fn send_outcome(&mut self, to: NodeId, id: ObjectId) {
        let result = match self.objects.get(&id).map(|object| &object.state) {
            Some(State::Ready(value)) => {
                let value = value.clone();
                Ok(self.pack_object(to, id, &value))
            }
            Some(State::Failed(error)) => {
                let error = error.clone();
                Err(self.pack_error(to, &error))
            }
            Some(State::Pending) | None => return,
        };
        self.tell(to, Message::Outcome(id, result));
    }

    pub(super) fn outcome_from(
        &mut self,
        now: Time,
        from: NodeId,
        id: ObjectId,
        result: Result<Parcel, Failure>,
        fx: &mut Effects,
    ) {
        let mut held = Held::new();
        let object = self.objects.get(&id).filter(|object| object.owner() == Some(from));
        let is_pending = object.is_some_and(|object| matches!(object.state, State::Pending));
        let job = object.map_or(JobId::from_bits(0, 0), |object| object.job);
        let wanted = object.is_some() && self.not_wanted(id) && is_pending;
        let outcome = match result {
            Ok(parcel) => Ok(self.unpack(from, job, parcel, &mut held)),
            Err(failure) => Err(Arc::new(self.unpack_error(from, job, failure, &mut held))),
        };
        if wanted {
            match outcome.as_ref().ok().and_then(|value| RemotePlace::of(&value.place)) {
                Some(RemotePlace { holder, .. }) if self.is_lost_at(holder) => {
                    let error = Error::new(ErrorCode::NodeDied, format!("{holder} does not have it"));
                    self.ask_again(id, holder, &error);
                }
                _ => self.set_outcome(now, id, outcome, fx),
            }
        }
        self.let_go(now, held, fx);
    }

    /// Whether bytes cannot be had from there: it is dead, or this very node, which has not got them.
    fn is_lost_at(&self, holder: NodeId) -> bool {
        holder == self.id || self.peers.dead.contains(&holder)
    }

    /// The bytes of an object of another node could not be had: its owner is asked again, unless it is dead
    /// or was asked often enough.
    pub(in crate::node) fn ask_owner_again(
        &mut self,
        now: Time,
        id: ObjectId,
        holder: NodeId,
        cause: &Error,
        fx: &mut Effects,
    ) {
        let Some(object) = self.objects.get_mut(&id) else { return };
        let Some(owner) = object.owner() else { return };
        let rounds = &mut object.afar().rounds;
        *rounds += 1;
        if *rounds > ROUNDS_MAX {
            let message = format!(
                "{id}: its bytes could not be had {ROUNDS_MAX} times, the last time from {holder}: {}",
                cause.message()
            );
            self.fail_object(now, id, Error::new(ErrorCode::ObjectLost, message), fx);
        } else if self.peers.dead.contains(&owner) {
            self.fail_orphan(now, id, owner, fx);
        } else {
            self.ask_again(id, holder, cause);
        }
    }

    /// The bytes of an object of another node could not be had: its owner is told, and asked again.
    pub(in crate::node) fn ask_again(&mut self, id: ObjectId, holder: NodeId, cause: &Error) {
        let Some(owner) = self.objects.get(&id).and_then(Object::owner) else { return };
        self.tell(owner, Message::Missing(id, holder, Failure::plain(cause.clone())));
        self.ask(owner, id);
    }

    pub(super) fn missing_at(
        &mut self,
        now: Time,
        from: NodeId,
        id: ObjectId,
        holder: NodeId,
        failure: Failure,
        fx: &mut Effects,
    ) {
        // Of bytes here this node knows better.
        let is_there = self.storage.remote_place(id).is_some_and(|remote| remote.holder == holder);
        if !is_there {
            return;
        }
        // A copy that is here will do.
        if self.storage.adopt(id) {
            self.tell(holder, Message::Drop(id));
            return;
        }
        let Failure { error, .. } = failure;
        let message = format!("{from} could not get its bytes from {holder}: {}", error.message());
        self.lose(now, id, &Error::new(ErrorCode::ObjectLost, message), fx);
    }

    // ---- bytes that are kept for an owner elsewhere ----

    /// Packs what a task of another node's returned, for the node that is told: large values stay here,
    /// kept for the owner.
    pub(super) fn pack_result(
        &mut self,
        now: Time,
        to: NodeId,
        Results { owner, job, .. }: Results,
        (id, value): (ObjectId, &Value),
        fx: &mut Effects,
    ) -> Parcel {
        if matches!(value.place.residence(), Residence::Inline | Residence::Remote) {
            return self.pack(to, value);
        }
        let place = RemotePlace { object: id, holder: self.id }.place();
        if owner == self.id {
            let new = || (to, VecDeque::new());
            let (_, places) = self.peers.references.returning.entry(id).or_insert_with(new);
            places.push_back(value.place.clone());
            return self.pack(to, &Value { place, ..value.clone() });
        }
        // Nobody but the node that is told will ask for what a dead node owned.
        let keeps_for = if self.peers.dead.contains(&owner) { to } else { owner };
        self.know_object(id, keeps_for, job);
        let via = (keeps_for != to).then_some(to);
        self.peers.references.kept.insert(id, Kept { owner: keeps_for, via });
        // Bytes of an earlier attempt may be in use here: they stay what they are.
        if self.bytes_of(id).is_none() {
            self.replace_value(now, id, value.clone(), fx);
        }
        let value = self.bytes_of(id).map_or_else(|| value.clone(), |(value, _)| value);
        self.pack(to, &Value { place, ..value })
    }

    /// Gives an object of another node the value that lies here, whatever was known of it before.
    fn replace_value(&mut self, now: Time, id: ObjectId, value: Value, fx: &mut Effects) {
        for handle in value.handles.iter() {
            self.add_edge(*handle);
        }
        let Some(object) = self.objects.get_mut(&id) else { return };
        let before = std::mem::replace(&mut object.state, State::Ready(value));
        let counted_for = object.counted_for();
        self.value_gone(id, counted_for, &before);
        self.note_stored(id, fx);
        for handle in before.handles() {
            self.remove_edge(now, *handle, fx);
        }
        self.tell_waiters(now, id, None, fx);
    }

    pub(super) fn drop_kept(&mut self, now: Time, from: NodeId, id: ObjectId, fx: &mut Effects) {
        let kept = self.peers.references.kept.get(&id);
        if kept.is_some_and(|kept| kept.owner == from || kept.via == Some(from)) {
            self.forget_kept(now, id, fx);
        } else {
            self.take_returning(from, id);
        }
    }

    /// The bytes of an object are not kept for its owner any more.
    pub(super) fn forget_kept(&mut self, now: Time, id: ObjectId, fx: &mut Effects) {
        self.peers.references.kept.remove(&id);
        // Its edges decide: the last of them may have gone before.
        self.add_edge(Handle::Object(id));
        self.remove_edge(now, Handle::Object(id), fx);
    }

    /// The bytes of an object, for another node that fetches them; none when they are not here.
    pub fn bytes_of(&self, id: ObjectId) -> Option<(Value, Place)> {
        let value = self.objects.get(&id)?.state.value()?;
        match value.place.residence() {
            Residence::Arena | Residence::Spilled => Some((value.clone(), value.place.clone())),
            Residence::Inline | Residence::Remote => None,
        }
    }

    /// Whoever keeps the bytes of a value is told that they are not needed, unless an object here has
    /// them.
    pub(super) fn drop_unless_stored(&mut self, holder: NodeId, id: ObjectId) {
        if self.storage.remote_place(id).is_none_or(|remote| remote.holder != holder) && holder != self.id {
            self.tell(holder, Message::Drop(id));
        }
    }

    /// An object that is owned here has lost its value, or is gone: its bytes elsewhere are not needed.
    pub(in crate::node) fn drop_remote_bytes(&mut self, id: ObjectId) {
        if let Some(remote) = self.storage.remote_place(id) {
            self.tell(remote.holder, Message::Drop(id));
        }
    }
}
