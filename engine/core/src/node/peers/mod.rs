//! The other nodes: what this one knows of them, and what it tells them.
//!
//! Between two nodes messages arrive once and in order ([`session`]). On that stand the references
//! across nodes ([`references`]), the tasks that run on another node than their owner's ([`tasks`]), the
//! actors that live on another ([`hosts`], [`hosted`]), and the objects whose bytes or whose owner are
//! elsewhere ([`values`]). What is left of an ended job on several nodes [`sweep`] frees.
//!
//! A node's id is that of its incarnation: one that was declared dead and comes back has another, and
//! what its former self still sends has no effect (contract H3).

mod actors;
mod ahead;
mod arguments;
mod choose;
mod death;
mod drain;
mod hosted;
mod hosts;
mod jobs;
mod message;
mod references;
mod room;
mod runs;
mod session;
mod spread;
mod streams;
mod sweep;
mod tasks;
mod values;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ids::{IdSet, JobId, NodeId};
use crate::node::planted::Planted;
use crate::node::{Effect, Effects, Node, TaskKey};
use crate::resources::Resources;
use crate::time::Time;

pub(super) use ahead::{Ahead, BEFORE_MAX, Before};
pub(super) use choose::Where;
pub(super) use hosts::Host;
pub use message::{
    ActorPart, Failure, Incarnation, Load, Message, NodeInfo, Packet, Parcel, PreemptedBy, RemoteArgument,
    RemoteCall, RemoteJob, RemotePlace, RemoteTask,
};
pub(super) use references::References;
use session::{Batch, Session};
pub use spread::{Serve, Transfer};

/// What a node knows of the others.
#[derive(Default)]
pub(super) struct Peers {
    /// By id: the order in which they are looked at must be the same in every run.
    nodes: BTreeMap<NodeId, Peer>,
    /// Nodes that were declared dead.
    dead: IdSet<NodeId>,
    /// Nodes among the others that drain.
    pub draining: BTreeSet<NodeId>,
    /// Peers that are to be told something.
    outbox: Vec<NodeId>,
    /// Sessions that want to be looked at, by time.
    due: BTreeSet<(Time, NodeId)>,
    pub references: References,
    /// Incarnations of other nodes' actors.
    hosting: hosted::Hosting,
    /// Tasks of this node that are on another.
    pub away: usize,
    /// Objects whose owners were asked what becomes of them.
    pub wanted: usize,
    /// Jobs that have ended elsewhere, so that what comes late of them is refused.
    ended_jobs: jobs::EndedJobs,
    /// Lost runs of jobs that end here, of which the head is to hear that nothing is left.
    ending_runs: BTreeSet<JobId>,
    /// Jobs that have ended everywhere and whose objects are about to be freed.
    pub sweeping: Vec<JobId>,
    /// Jobs of this node that have ended and of which objects may be left on several.
    sweeps: sweep::Sweeps,
    spread: u64,
    /// Who was given the bytes of objects that are here.
    pub spread_bytes: spread::Spread,
    /// Whether the head tells this node what others have free.
    pub asking: room::Asking,
    /// Nodes whose tasks were refused here.
    refused: room::RefusedHere,
    /// How often this node has said what it has free.
    loads_said: u64,
    /// Tasks that other nodes gave ahead of room here and that are in line, and when each goes back. Those
    /// that have begun meanwhile stay for a while.
    waiting: VecDeque<(Time, TaskKey)>,
    /// How many tasks are in line here that were given ahead.
    pub ahead_in_line: usize,
    /// Nodes that have got room.
    news: choose::News,
    /// Where the next look for a node begins.
    cursor: Option<NodeId>,
}

/// Another node.
struct Peer {
    labels: Vec<(String, String)>,
    /// What it has; nothing as long as the head has not said.
    total: Resources,
    /// What it is thought to have free.
    room: room::Room,
    session: Session,
    /// When the session wants to be looked at.
    timer: Option<Time>,
    /// It is in the outbox.
    is_queued: bool,
    /// How many tasks of its are in line here that it has given ahead.
    in_line: usize,
    /// Of what it has free, in its packet that is being dealt with.
    load_version: u64,
}

impl Peers {
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many other nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The other nodes.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.keys().copied()
    }

    /// A task here that was given ahead was in line, or is now.
    pub fn note_in_line(&mut self, owner: Option<NodeId>, was: bool, is: bool) {
        self.ahead_in_line -= usize::from(was);
        self.ahead_in_line += usize::from(is);
        if let Some(peer) = owner.and_then(|owner| self.nodes.get_mut(&owner)) {
            peer.in_line -= usize::from(was);
            peer.in_line += usize::from(is);
        }
    }

    /// How many tasks of a node are in line here that it has given ahead.
    pub fn in_line_of(&self, node: NodeId) -> usize {
        self.nodes.get(&node).map_or(0, |peer| peer.in_line)
    }

    pub fn is_known(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    /// Whether something that happens elsewhere may let a call here go on or end.
    pub fn may_change_something(&self) -> bool {
        self.away > 0 || self.wanted > 0
    }

    /// Whether something is on its way to another node, or may be.
    pub fn has_unacknowledged(&self) -> bool {
        self.nodes.values().any(|peer| peer.session.unacknowledged() > 0)
    }

    /// Whether incarnations of other nodes' actors are here.
    pub fn is_hosting(&self) -> bool {
        !self.hosting.incarnations.is_empty()
    }

    /// What is left in the books.
    pub fn left(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let hosting = &self.hosting;
        let hosted = [
            ("incarnations of other nodes' actors", hosting.incarnations.len()),
            ("detached actors of other nodes", hosting.scopes.len()),
            ("calls by another id", hosting.aliases.len()),
            ("runs that are ending", self.ending_runs.len()),
            ("copies of objects at other nodes", self.spread_bytes.len()),
        ];
        self.references.left().into_iter().chain(hosted)
    }

    /// When a session is to be looked at, a task that was given ahead goes back, somebody hears of room, or
    /// it is looked whether this node still wants to hear of room.
    pub fn next_timer(&self) -> Option<Time> {
        let session = self.due.first().map(|(at, _)| *at);
        let waiting = self.waiting.front().map(|(at, _)| *at);
        [session, waiting, self.refused.at, self.asking.at].into_iter().flatten().min()
    }

    fn set_timer(&mut self, node: NodeId, at: Option<Time>) {
        let Some(peer) = self.nodes.get_mut(&node) else { return };
        if let Some(before) = std::mem::replace(&mut peer.timer, at) {
            self.due.remove(&(before, node));
        }
        if let Some(at) = at {
            self.due.insert((at, node));
        }
    }
}

impl Node {
    /// The head has told of a node: it has joined, or it has changed.
    pub fn node_joined(&mut self, now: Time, info: NodeInfo, fx: &mut Effects) {
        if info.id == self.id || self.peers.dead.contains(&info.id) {
            return;
        }
        let peer = self.peer(info.id);
        if peer.room.is_unknown() {
            peer.room.is_said(Load { free: info.total.clone(), version: 0 }, 0);
        }
        (peer.labels, peer.total) = (info.labels, info.total);
        self.peers.news.add(info.id);
        self.move_actors(now, fx);
        self.schedule(now, fx);
    }

    /// The head has told what a node has free.
    pub fn node_load(&mut self, now: Time, node: NodeId, load: Load, fx: &mut Effects) {
        let Some(peer) = self.peers.nodes.get_mut(&node) else { return };
        let acknowledged = peer.session.acknowledged();
        if peer.room.is_said(load, acknowledged) {
            self.peers.news.add(node);
            self.schedule(now, fx);
        }
    }

    /// The other nodes that live, and what each is thought to have free.
    pub fn members(&self) -> Vec<(NodeInfo, Resources)> {
        let member = |(id, peer): (&NodeId, &Peer)| {
            let info = NodeInfo { id: *id, labels: peer.labels.clone(), total: peer.total.clone() };
            (info, peer.room.free.clone())
        };
        self.peers.nodes.iter().map(member).collect()
    }

    /// The node of a job's root task; none when this node knows nothing of the job.
    pub fn home_of(&self, job: JobId) -> Option<NodeId> {
        self.jobs.get(&job).map(|job| job.home.unwrap_or(self.id))
    }

    /// The node to ask what the guests of a job are granted; none when this node knows nothing of the job.
    /// That of its root task may be dead or have forgotten a job of which a detached actor lives here: the
    /// actor's owner knows.
    pub fn grants_from(&self, job: JobId) -> Option<NodeId> {
        self.peers.owner_of_detached(job).or_else(|| self.home_of(job))
    }

    /// What this node has free, for the others.
    pub fn load(&mut self) -> Load {
        self.peers.loads_said += 1;
        // Nobody is to count on a node that drains.
        let free = if self.is_draining() { Resources::default() } else { self.free.clone() };
        Load { free, version: self.peers.loads_said }
    }

    fn peer(&mut self, node: NodeId) -> &mut Peer {
        self.peers.nodes.entry(node).or_insert_with(|| Peer {
            labels: Vec::new(),
            total: Resources::default(),
            room: room::Room::default(),
            session: Session::new(),
            timer: None,
            is_queued: false,
            in_line: 0,
            load_version: 0,
        })
    }

    /// Queues a message; its number. Nothing is told to the dead.
    pub(super) fn tell(&mut self, to: NodeId, message: Message) -> u64 {
        debug_assert_ne!(to, self.id, "{message:?}");
        if self.peers.dead.contains(&to) {
            return 0;
        }
        let peer = self.peer(to);
        let number = peer.session.push(message);
        if !std::mem::replace(&mut peer.is_queued, true) {
            self.peers.outbox.push(to);
        }
        number
    }

    /// Queues a message of a very short task, which waits for others to go with as long as fewer than
    /// `others` wait already, [`session::HOLD_MAX`] at the most: a packet for each would cost both nodes more
    /// than the tasks do. Its number.
    pub(super) fn tell_with_others(&mut self, now: Time, to: NodeId, message: Message, others: usize) -> u64 {
        let has_others = |peer: &&mut Peer| peer.session.held() < others;
        let Some(peer) = self.peers.nodes.get_mut(&to).filter(has_others) else {
            return self.tell(to, message);
        };
        let number = peer.session.push_held(now, message);
        if peer.session.held() == 1 {
            let next = peer.session.next_timer();
            self.peers.set_timer(to, next);
        }
        number
    }

    /// Sends what was queued. Called after every event.
    pub fn flush(&mut self, now: Time, fx: &mut Effects) {
        self.flush_groups(fx);
        self.flush_runs(fx);
        self.tell_of_room(now);
        self.look_whether_asking(now, fx);
        self.look_whether_drained(now, fx);
        self.add_up_usage(now);
        self.flush_leases(now, fx);
        if self.peers.outbox.is_empty() && self.peers.next_timer() == self.timers.peers {
            return;
        }
        for to in std::mem::take(&mut self.peers.outbox) {
            self.send_batch(now, to, fx);
        }
        self.arm_timer(fx);
    }

    fn send_batch(&mut self, now: Time, to: NodeId, fx: &mut Effects) {
        let load = self.load();
        let Some(peer) = self.peers.nodes.get_mut(&to) else { return };
        peer.is_queued = false;
        if let Some(Batch { first, messages, received }) = peer.session.take_batch(now) {
            let packet = Packet { from: self.id, to, first, messages, received, load };
            fx.push(Effect::Send(Box::new(packet)));
        }
        let next = peer.session.next_timer();
        self.peers.set_timer(to, next);
    }

    /// A packet has come.
    pub fn packet(&mut self, now: Time, packet: Packet, fx: &mut Effects) {
        let Packet { from, to, first, messages, received, load } = packet;
        let is_dead = self.peers.dead.contains(&from) && !self.has_planted(Planted::FencedFinish);
        if to != self.id || from == self.id || is_dead {
            return;
        }
        if self.has_planted(Planted::ReleaseTwice) {
            self.release_again(now, from, first, &messages, fx);
        }
        let peer = self.peer(from);
        peer.load_version = load.version;
        let has_more = peer.room.is_said(load, received);
        let was_behind = peer.session.unacknowledged();
        let messages = peer.session.take_in(now, Batch { first, messages, received });
        let max = self.limits.unacknowledged_messages_max;
        if has_more || was_behind >= max {
            self.peers.news.add(from);
        }
        for message in messages {
            self.message(now, from, message, fx);
        }
        // An acknowledgement may be due, now or later.
        if !std::mem::replace(&mut self.peer(from).is_queued, true) {
            self.peers.outbox.push(from);
        }
        self.schedule(now, fx);
    }

    /// A planted bug: a release that comes again is counted again.
    fn release_again(&mut self, now: Time, from: NodeId, first: u64, messages: &[Message], fx: &mut Effects) {
        let received = self.peer(from).session.received();
        for (number, message) in (first..).zip(messages) {
            if let (Message::Release(handle, _), true) = (message, number <= received) {
                self.remove_edge(now, *handle, fx);
            }
        }
    }

    /// The connection to a node was made anew.
    pub fn reconnected(&mut self, now: Time, node: NodeId, fx: &mut Effects) {
        let is_reset = self.has_planted(Planted::SequenceReset);
        if let Some(peer) = self.peers.nodes.get_mut(&node) {
            peer.session.reconnected(is_reset);
            self.send_batch(now, node, fx);
            self.arm_timer(fx);
        }
    }

    pub(super) fn peer_timers(&mut self, now: Time, fx: &mut Effects) {
        while let Some((at, node)) = self.peers.due.first().copied()
            && at <= now
        {
            self.peers.set_timer(node, None);
            self.send_batch(now, node, fx);
        }
        self.tell_of_room(now);
        self.look_whether_asking(now, fx);
    }

    fn message(&mut self, now: Time, from: NodeId, message: Message, fx: &mut Effects) {
        match message {
            Message::Run(task) => self.run_foreign(now, from, *task, fx),
            Message::Refused { task, attempt } => self.refused(now, from, task, attempt, fx),
            Message::Preempted { task, attempt, by } => self.preempted(now, from, (task, attempt), by, fx),
            // What is free stands in its packet.
            Message::HasRoom => {}
            Message::Ended { task, attempt, ran, result } => {
                self.ended_elsewhere(now, from, (task, attempt, ran), result, fx);
            }
            Message::Emitted { task, attempt, index, parcel } => {
                self.emitted_elsewhere(now, from, (task, attempt, index), parcel, fx);
            }
            Message::Read { task, read } => self.read_by_owner(from, task, read),
            Message::Call(call) => self.call_from(now, from, *call, fx),
            Message::CancelCall { task, force, recursive } => {
                self.cancel_call_from(now, from, task, (force, recursive), fx);
            }
            Message::KillActor(actor, restart) => self.kill_from(now, from, actor, restart, fx),
            Message::EndIncarnation(incarnation, reason) => {
                self.end_hosted(now, from, incarnation, reason, fx);
            }
            Message::IncarnationEnded { incarnation, calls, cause } => {
                self.incarnation_ended_there(now, from, incarnation, (calls, cause), fx);
            }
            Message::EndScope(actor, why) => self.end_scope(now, from, actor, &why, fx),
            Message::Cancel { task, attempt, reason, recursive, force } => {
                self.cancel_foreign(now, from, (task, attempt), reason, (recursive, force), fx);
            }
            Message::Borrow(handle) => self.lend_on_request(from, handle),
            Message::Borrowed(handle, is_there) => self.borrowed(now, from, handle, is_there, fx),
            Message::Received(handle) => self.received(now, from, handle, fx),
            Message::Release(handle, grants) => self.released_by(now, from, handle, grants, fx),
            Message::Want(object) => self.wanted_by(from, object),
            Message::Outcome(object, result) => self.outcome_from(now, from, object, result, fx),
            Message::Missing(object, holder, failure) => {
                self.missing_at(now, from, object, holder, failure, fx);
            }
            Message::Drop(object) => self.drop_kept(now, from, object, fx),
            Message::Keeps(object) => self.drop_unless_stored(from, object),
            Message::EndJob(job, why) => self.end_job_here(now, from, job, &why, fx),
            Message::JobHere(job) => self.job_here(from, job),
            Message::JobGone { job, nodes } => self.job_gone_at(from, job, nodes, fx),
            Message::WhatIsHeld(job) => self.say_what_is_held(from, job),
            Message::Held { job, retains, balance } => self.held_at(from, job, retains, balance),
            Message::LessIsHeld(job) => self.look_for_sweep(job),
            Message::SweepJob(job) => self.sweep_job(now, job, fx),
        }
    }
}
