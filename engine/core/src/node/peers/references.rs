//! References across nodes.
//!
//! Whoever owns an object or an actor counts, besides the holders on its own node, each other node that
//! holds it as one edge. A node that is given a handle has its edge before the giver lets go:
//!
//! - given by the owner: the owner adds the edge as it sends;
//! - given by a third node: that one holds it on the receiver's behalf (in transit) until the receiver
//!   says `Received`, and the receiver says so once the owner has answered its `Borrow`;
//! - given to the owner: it is at home; the giver's own `Release` comes later in the same session.
//!
//! A node that holds it no more sends `Release` with the number of times that the owner has given or
//! granted it. When the owner has given it again meanwhile, the numbers differ and the edge stays.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};

use crate::error::{Error, ErrorCode};
use crate::ids::{ActorId, IdMap, IdSet, InstanceId, JobId, NodeId, ObjectId};
use crate::node::edges::{Object, State};
use crate::node::job::Job;
use crate::node::peers::message::{Held, Message};
use crate::node::{Effects, Node};
use crate::time::Time;
use crate::value::{Handle, Place};

/// The books of references that cross nodes.
#[derive(Default)]
pub(in crate::node) struct References {
    /// What this node owns and others hold: how often each was given it.
    lent: BTreeMap<(NodeId, Handle), u64>,
    /// What this node holds and others own.
    borrows: IdMap<Handle, Borrow>,
    /// What this node holds until the receiver has its own edge: how many of its answers are to come.
    transits: BTreeMap<(NodeId, Handle), u32>,
    /// Bytes that this node keeps for an owner elsewhere: not an edge, as the owner's own holders include
    /// this node when somebody here has a handle.
    pub kept: IdMap<ObjectId, Kept>,
    /// Bytes of this node's own objects that were made here inside an actor of another node's, which has yet
    /// to say so: the actor's node, and the places in the order in which they were told to it.
    pub returning: BTreeMap<ObjectId, (NodeId, VecDeque<Place>)>,
    /// Actors that are elsewhere.
    pub actors: IdMap<ActorId, RemoteActor>,
}

/// For whom bytes are kept.
pub(in crate::node) struct Kept {
    pub owner: NodeId,
    /// The node of the actor that made them, when it has yet to tell the owner.
    pub via: Option<NodeId>,
}

/// What is held of another node's.
struct Borrow {
    owner: NodeId,
    /// How often the owner has given or granted it.
    grants: u64,
    /// The owner was asked to note it.
    asked: bool,
    /// Those who gave it and are answered when the owner has noted it.
    givers: Vec<NodeId>,
    /// Nobody here holds it any more, and the owner was asked.
    released: bool,
}

/// An actor that is elsewhere.
pub(in crate::node) struct RemoteActor {
    pub owner: NodeId,
    pub edges: u32,
}

impl References {
    /// The edges that these books are: the node, and what it holds.
    pub fn for_each_holder(&self, mut visit: impl FnMut(NodeId, Handle)) {
        let lent = self.lent.keys().chain(self.transits.keys());
        lent.for_each(|(node, handle)| visit(*node, *handle));
    }

    /// What the objects among these are lent, less what is borrowed of them; and whether a handle to one of
    /// them is on its way by a third node.
    pub fn balance(&self, node: NodeId, is_among: impl Fn(&ObjectId) -> bool) -> (u64, bool) {
        let is_meant = |handle: &Handle| matches!(handle, Handle::Object(id) if is_among(id));
        let line = |owner: NodeId, holder: NodeId, handle: Handle, grants: u64| {
            let mut hasher = DefaultHasher::new();
            (owner, holder, handle, grants).hash(&mut hasher);
            hasher.finish()
        };
        let mut balance = 0u64;
        for ((holder, handle), grants) in self.lent.iter().filter(|((_, handle), _)| is_meant(handle)) {
            balance = balance.wrapping_add(line(node, *holder, *handle, *grants));
        }
        let mut moves = self.transits.keys().any(|(_, handle)| is_meant(handle));
        for (handle, borrow) in self.borrows.iter().filter(|(handle, _)| is_meant(handle)) {
            balance = balance.wrapping_sub(line(borrow.owner, node, *handle, borrow.grants));
            moves |= borrow.asked || borrow.grants == 0;
        }
        (balance, moves)
    }

    /// Whether nobody holds something by this node's word alone.
    pub fn is_settled(&self) -> bool {
        self.transits.is_empty() && self.kept.is_empty() && self.returning.is_empty()
    }

    /// Whether a node holds what this one owns.
    pub fn holds(&self, node: NodeId, handle: Handle) -> bool {
        self.lent.contains_key(&(node, handle))
    }

    /// What is left in the books.
    pub fn left(&self) -> [(&'static str, usize); 6] {
        [
            ("handles lent to other nodes", self.lent.len()),
            ("handles borrowed of other nodes", self.borrows.len()),
            ("handles in transit", self.transits.len()),
            ("objects kept for other nodes", self.kept.len()),
            ("objects on their way back", self.returning.len()),
            ("actors of other nodes", self.actors.len()),
        ]
    }
}

impl Node {
    /// Who owns what a handle names.
    fn owner_of(&self, handle: Handle) -> NodeId {
        let owner = match handle {
            Handle::Object(id) => self.objects.get(&id).and_then(Object::owner),
            Handle::Actor(id) => self.peers.references.actors.get(&id).map(|actor| actor.owner),
            Handle::PlacementGroup(_) | Handle::Stream(_) => None,
        };
        owner.unwrap_or(self.id)
    }

    /// Gives a handle to another node; who owns it.
    pub(super) fn give(&mut self, to: NodeId, handle: Handle) -> NodeId {
        let owner = self.owner_of(handle);
        if self.peers.dead.contains(&to) || !self.is_there(handle) || owner == to {
            return owner;
        }
        let references = &mut self.peers.references;
        let is_new = if owner == self.id {
            let grants = references.lent.entry((to, handle)).or_insert(0);
            *grants += 1;
            *grants == 1
        } else {
            let answers = references.transits.entry((to, handle)).or_insert(0);
            *answers += 1;
            *answers == 1
        };
        if is_new {
            self.add_edge(handle);
        }
        owner
    }

    fn is_there(&self, handle: Handle) -> bool {
        match handle {
            Handle::Object(id) => self.objects.contains_key(&id),
            Handle::Actor(id) => {
                self.actors.contains_key(&id) || self.peers.references.actors.contains_key(&id)
            }
            Handle::PlacementGroup(_) | Handle::Stream(_) => false,
        }
    }

    /// Takes handles that came with a message. Each is held for the time of its handling.
    pub(super) fn take_handles(
        &mut self,
        from: NodeId,
        job: JobId,
        handles: &[Handle],
        owners: &[NodeId],
        held: &mut Held,
    ) {
        for (handle, owner) in handles.iter().zip(owners) {
            self.take_handle(from, job, *handle, *owner);
            self.add_edge(*handle);
            held.push(*handle);
        }
    }

    /// The message was dealt with.
    pub(super) fn let_go(&mut self, now: Time, held: Held, fx: &mut Effects) {
        for handle in held {
            self.remove_edge(now, handle, fx);
        }
    }

    fn take_handle(&mut self, from: NodeId, job: JobId, handle: Handle, owner: NodeId) {
        if owner == self.id {
            return;
        }
        match handle {
            Handle::Object(id) => self.know_object(id, owner, job),
            Handle::Actor(id) => {
                self.peers.references.actors.entry(id).or_insert(RemoteActor { owner, edges: 0 });
            }
            Handle::PlacementGroup(_) | Handle::Stream(_) => return,
        }
        if self.peers.dead.contains(&owner) {
            self.owner_is_dead(handle, owner);
            if from != owner {
                self.tell(from, Message::Received(handle));
            }
            return;
        }
        let new = Borrow { owner, grants: 0, asked: false, givers: Vec::new(), released: false };
        let borrow = self.peers.references.borrows.entry(handle).or_insert(new);
        borrow.released = false;
        if from == owner {
            borrow.grants += 1;
            return self.look_for_cycles(handle);
        }
        if borrow.grants > 0 && !borrow.asked {
            self.tell(from, Message::Received(handle));
            return;
        }
        borrow.givers.push(from);
        if !std::mem::replace(&mut borrow.asked, true) {
            self.tell(owner, Message::Borrow(handle));
        }
    }

    /// A sandbox has found a named actor of this node or another: it holds a handle to it. That the actor
    /// is gone meanwhile, its calls say.
    ///
    /// # Errors
    /// ACTOR_DIED when its node is dead.
    pub fn found_actor(&mut self, from: InstanceId, actor: ActorId, owner: NodeId) -> Result<(), Error> {
        let handle = Handle::Actor(actor);
        if owner != self.id && self.instances.contains_key(&from) {
            if self.peers.dead.contains(&owner) {
                let message = format!("{actor} is gone, with its node {owner}");
                return Err(Error::new(ErrorCode::ActorDied, message));
            }
            self.borrow_actor(actor, owner);
        }
        self.acquire(from, handle);
        Ok(())
    }

    /// Somebody here is about to hold an actor of another node's that nobody gave him.
    pub(super) fn borrow_actor(&mut self, actor: ActorId, owner: NodeId) {
        let handle = Handle::Actor(actor);
        let references = &mut self.peers.references;
        references.actors.entry(actor).or_insert(RemoteActor { owner, edges: 0 });
        let new = Borrow { owner, grants: 0, asked: false, givers: Vec::new(), released: false };
        let borrow = references.borrows.entry(handle).or_insert(new);
        borrow.released = false;
        if borrow.grants == 0 && !std::mem::replace(&mut borrow.asked, true) {
            self.tell(owner, Message::Borrow(handle));
        }
    }

    /// Has an entry for an object of another node.
    pub(super) fn know_object(&mut self, id: ObjectId, owner: NodeId, job: JobId) {
        if !self.objects.contains_key(&id) {
            let mut object = Object::new(job, State::Pending);
            object.afar().owner = Some(owner);
            self.insert_object(id, object);
        }
    }

    /// Another node says that it holds what this one owns.
    pub(super) fn lend_on_request(&mut self, from: NodeId, handle: Handle) {
        let is_there = self.is_there(handle) && self.owner_of(handle) == self.id;
        if is_there {
            self.give(from, handle);
        }
        self.tell(from, Message::Borrowed(handle, is_there));
    }

    /// The owner's answer.
    pub(super) fn borrowed(
        &mut self,
        now: Time,
        from: NodeId,
        handle: Handle,
        is_there: bool,
        fx: &mut Effects,
    ) {
        let Some(borrow) = self.peers.references.borrows.get_mut(&handle) else { return };
        if borrow.owner != from {
            return;
        }
        borrow.asked = false;
        borrow.grants += u64::from(is_there);
        let (released, gone) = (borrow.released, borrow.grants == 0);
        let givers = std::mem::take(&mut borrow.givers);
        for giver in givers {
            self.tell(giver, Message::Received(handle));
        }
        if released || gone {
            self.send_release(handle);
        }
        if gone && !released {
            self.is_gone(now, handle, fx);
        }
        self.look_for_cycles(handle);
    }

    /// A receiver has its own edge.
    pub(super) fn received(&mut self, now: Time, from: NodeId, handle: Handle, fx: &mut Effects) {
        let transits = &mut self.peers.references.transits;
        let Some(answers) = transits.get_mut(&(from, handle)) else { return };
        *answers -= 1;
        if *answers == 0 {
            transits.remove(&(from, handle));
            self.remove_edge(now, handle, fx);
            self.look_for_cycles(handle);
        }
    }

    /// Nobody on this node holds a handle of another node's any more.
    pub(in crate::node) fn release_borrow(&mut self, handle: Handle) {
        let Some(borrow) = self.peers.references.borrows.get_mut(&handle) else { return };
        match borrow.asked {
            false => self.send_release(handle),
            true => borrow.released = true,
        }
    }

    fn send_release(&mut self, handle: Handle) {
        let Some(borrow) = self.peers.references.borrows.remove(&handle) else { return };
        if borrow.grants > 0 {
            self.tell(borrow.owner, Message::Release(handle, borrow.grants));
        }
    }

    /// Another node holds something of this one no more.
    pub(super) fn released_by(
        &mut self,
        now: Time,
        from: NodeId,
        handle: Handle,
        grants: u64,
        fx: &mut Effects,
    ) {
        let lent = &mut self.peers.references.lent;
        let Some(given) = lent.get_mut(&(from, handle)) else { return };
        *given = given.saturating_sub(grants);
        if *given == 0 {
            lent.remove(&(from, handle));
            self.remove_edge(now, handle, fx);
            self.look_for_cycles(handle);
        }
    }

    /// Of an object whose job has ended, which somebody held until now: what is left may hold itself.
    pub(in crate::node) fn look_for_cycles(&mut self, handle: Handle) {
        let Handle::Object(id) = handle else { return };
        let Some(job) = self.objects.get(&id).map(|object| object.job) else { return };
        if self.jobs.get(&job).is_none_or(Job::is_ending) && !self.ended_jobs.contains(&job) {
            self.ended_jobs.push(job);
        }
    }

    /// Nobody on this node holds an actor of another node's any more.
    pub(in crate::node) fn forget_remote_actor(&mut self, id: ActorId) {
        self.peers.references.actors.remove(&id);
        self.release_borrow(Handle::Actor(id));
    }

    /// A node is dead: what it held it holds no more, and what is on its way to it arrives nowhere.
    pub(super) fn drop_references_of(&mut self, now: Time, dead: NodeId, fx: &mut Effects) {
        let references = &mut self.peers.references;
        let lent = references.lent.extract_if(.., |(node, _), _| *node == dead).map(|((_, h), _)| h);
        let mut gone: Vec<Handle> = lent.collect();
        gone.extend(references.transits.extract_if(.., |(node, _), _| *node == dead).map(|((_, h), _)| h));
        let mut kept: Vec<ObjectId> =
            references.kept.iter().filter(|(_, kept)| kept.owner == dead).map(|(id, _)| *id).collect();
        kept.sort();
        references.returning.retain(|_, (via, _)| *via != dead);
        let untold = references.kept.iter_mut().filter(|(_, kept)| kept.via == Some(dead));
        let mut untold: Vec<(NodeId, ObjectId)> = untold
            .map(|(id, kept)| {
                kept.via = None;
                (kept.owner, *id)
            })
            .collect();
        untold.sort();
        let mut answers = Vec::new();
        references.borrows.retain(|handle, borrow| {
            borrow.givers.retain(|giver| *giver != dead);
            if borrow.owner == dead {
                answers.extend(borrow.givers.iter().map(|giver| (*giver, *handle)));
            }
            borrow.owner != dead
        });
        answers.sort();
        for (giver, handle) in answers {
            self.tell(giver, Message::Received(handle));
        }
        for (owner, id) in untold {
            self.tell(owner, Message::Keeps(id));
        }
        for handle in gone {
            self.remove_edge(now, handle, fx);
        }
        for id in kept {
            self.forget_kept(now, id, fx);
        }
    }

    /// Forgets that other nodes hold these, whoever they are.
    pub(super) fn forget_lent(&mut self, now: Time, objects: &[ObjectId], fx: &mut Effects) {
        let objects: IdSet<ObjectId> = objects.iter().copied().collect();
        let wanted = |handle: &Handle| matches!(handle, Handle::Object(id) if objects.contains(id));
        let references = &mut self.peers.references;
        let lent = references.lent.extract_if(.., |(_, handle), _| wanted(handle)).map(|((_, h), _)| h);
        let mut gone: Vec<Handle> = lent.collect();
        gone.extend(references.transits.extract_if(.., |(_, handle), _| wanted(handle)).map(|((_, h), _)| h));
        for handle in gone {
            self.remove_edge(now, handle, fx);
        }
    }
}
