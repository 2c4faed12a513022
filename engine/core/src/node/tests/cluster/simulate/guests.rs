//! What the guests of the simulated cluster do, and what they may see.

use std::sync::Arc;
use std::time::Duration;

use super::Simulation;
use crate::error::ErrorCode;
use crate::ids::{ActorId, NodeId, ObjectId, TaskId};
use crate::node::tests::harness::{failure, function, options};
use crate::node::{Caller, Next, TaskState, Until, Waitable};
use crate::options::{ActorOptions, CallOptions, Lifetime, Returns, Strategy, TaskOptions};
use crate::resources::Quantity;
use crate::value::{Argument, Handle, Outcome, Place, Residence, Value};
use crate::work::Entry;

impl Simulation {
    pub(super) fn guest_acts(&mut self) {
        let guests: Vec<(usize, TaskId)> = self
            .alive()
            .into_iter()
            .flat_map(|index| {
                let world = &self.cluster.worlds[index];
                let is_stopping = |instance| world.stops.iter().any(|(stopped, _)| *stopped == instance);
                let running = world.running.iter();
                let serves = running.filter(move |(_, (instance, _))| !is_stopping(*instance));
                serves.map(move |(task, _)| (index, *task))
            })
            .collect();
        let Some((index, task)) = self.random.pick(&guests) else { return };
        let guest = self.cluster.worlds[index].caller(task);
        let is_root = self.cluster.worlds[index].roots.values().any(|root| *root == task);
        match self.random.below(100) {
            0..=4 => self.create(index, guest),
            5..=19 => self.call(index, guest),
            20..=34 => self.spawn(index, guest),
            35..=45 => self.put(index, guest),
            46..=49 => self.group_act(index, guest),
            50..=64 => self.look_at(index, guest),
            65..=67 => self.drop_handle(index, guest),
            68..=72 => self.read_on(index, guest),
            73..=75 => self.cancel(index, guest),
            79..=96 if self.is_streaming(index, task) => self.yield_one(index, guest),
            76..=78 if !is_root => self.cluster.worlds[index].fail(task, failure("oops")),
            79..=99 if !is_root || self.random.once_in(40) => self.finish(index, task),
            _ => {}
        }
    }

    pub(super) fn objects(&self, index: usize, guest: Caller) -> Vec<ObjectId> {
        let handles = self.held.get(&(index, guest.instance));
        let object = |handle: &Handle| match handle {
            Handle::Object(id) => Some(*id),
            _ => None,
        };
        handles.into_iter().flatten().filter_map(object).collect()
    }

    pub(super) fn some_handles(&mut self, index: usize, guest: Caller) -> Vec<Handle> {
        let held = self.held.get(&(index, guest.instance)).cloned().unwrap_or_default();
        let count = self.random.below(3);
        let travels = |handle: &Handle| !matches!(handle, Handle::Stream(_));
        let held: Vec<Handle> = held.into_iter().filter(travels).collect();
        (0..count).filter_map(|_| self.random.pick(&held)).collect()
    }

    /// A value with a token of its own, small or large, with some handles that the guest has.
    pub(super) fn value(&mut self, index: usize, guest: Caller) -> (Value, u64) {
        let handles = self.some_handles(index, guest);
        self.next_token += 1;
        let token = self.next_token;
        let is_large = self.random.once_in(3);
        let residence = if is_large { Residence::Arena } else { Residence::Inline };
        let place = Place::of(Arc::new(token), residence);
        (Value { size: 10, handles: handles.into(), place, ..Value::empty() }, token)
    }

    pub(super) fn spawn(&mut self, index: usize, guest: Caller) {
        if self.random.once_in(4) {
            return self.spawn_alike(index, guest);
        }
        let objects = self.objects(index, guest);
        let count = self.random.of([0, 0, 1, 2]);
        let mut arguments: Vec<Argument> =
            (0..count).filter_map(|_| self.random.pick(&objects)).map(Argument::Object).collect();
        if self.random.once_in(2) {
            arguments.push(Argument::Value(self.value(index, guest).0));
        }
        let fixed = Returns::Fixed(self.random.of([1, 1, 2]));
        let streams = Returns::Streaming(self.random.of([None, Some(1), Some(3)]));
        let returns = if self.random.once_in(3) { streams } else { fixed };
        let mut options = TaskOptions { returns, ..options() };
        options.retries.system = self.random.of([0, 3, -1]);
        options.retries.application = self.random.of([0, 0, 2]);
        options.placement.cpus = self.random.of([None, Some(Quantity(5_000)), Some(Quantity::ZERO)]);
        options.placement.strategy = self.strategy(index, guest);
        if self.random.once_in(20) {
            options.deadline = Some(Duration::from_millis(self.random.of([5, 100])));
        }
        let spawned = self.cluster.worlds[index]
            .event(|node, now, fx| node.spawn(now, guest, function("f"), arguments, options, fx));
        if let Ok(spawned) = spawned {
            let held = self.held.entry((index, guest.instance)).or_default();
            match spawned.outputs {
                None => held.push(Handle::Stream(spawned.task)),
                Some(count) => held.extend((0..count).map(|at| Handle::Object(spawned.task.output(at)))),
            }
        }
    }

    /// Tasks of one kind, a few at once: their owner gets to know how long they run.
    fn spawn_alike(&mut self, index: usize, guest: Caller) {
        let mut options = options();
        if self.random.once_in(2) {
            options.placement.strategy = Strategy::Spread;
        }
        for _ in 0..self.random.of([1, 2, 8]) {
            let options = options.clone();
            let spawned = self.cluster.worlds[index]
                .event(|node, now, fx| node.spawn(now, guest, function("f"), Vec::new(), options, fx));
            if let Ok(spawned) = spawned {
                let held = self.held.entry((index, guest.instance)).or_default();
                held.push(Handle::Object(spawned.task.output(0)));
            }
        }
    }

    fn strategy(&mut self, index: usize, guest: Caller) -> Strategy {
        let nodes: Vec<NodeId> = self.cluster.worlds.iter().map(|world| world.node.id()).collect();
        match self.random.below(6) {
            0 => Strategy::Spread,
            1 => Strategy::Node(self.random.pick(&nodes).expect("a node"), true),
            2..=3 => self.in_some_group(index, guest).unwrap_or_default(),
            _ => Strategy::Default,
        }
    }

    /// Whether a call streams, and is not held up.
    pub(super) fn is_streaming(&self, index: usize, task: TaskId) -> bool {
        let world = &self.cluster.worlds[index];
        let streams = matches!(world.running[&task].1.returns, Returns::Streaming(_));
        streams && world.state(task) == TaskState::Running
    }

    pub(super) fn yield_one(&mut self, index: usize, guest: Caller) {
        let (value, token) = self.value(index, guest);
        self.yielded.insert(token);
        // What is wrong is seen by the guest only.
        let _ = self.cluster.worlds[index].event(|node, now, fx| node.emit(now, guest, value, fx));
    }

    pub(super) fn read_on(&mut self, index: usize, guest: Caller) {
        let handles = self.held.get(&(index, guest.instance)).cloned().unwrap_or_default();
        let streams: Vec<TaskId> = handles
            .iter()
            .filter_map(|handle| match handle {
                Handle::Stream(task) => Some(*task),
                _ => None,
            })
            .collect();
        let Some(stream) = self.random.pick(&streams) else { return };
        match self.cluster.worlds[index].next(guest, stream) {
            Next::Object(id) => {
                let place = self.read_places.entry(stream).or_insert(0);
                assert_eq!(id, stream.output(*place), "the objects of a stream come in order");
                *place += 1;
                self.summary.read += 1;
                self.held.entry((index, guest.instance)).or_default().push(Handle::Object(id));
            }
            Next::Pending => {
                let item = [Waitable::NextOf(stream)];
                let timeout = Some(Duration::from_millis(30));
                self.cluster.worlds[index].wait(guest, &item, Until::AllOrFailure, timeout);
            }
            Next::End | Next::Failed(_) => {}
        }
    }

    pub(super) fn actors(&self, index: usize, guest: Caller) -> Vec<ActorId> {
        let handles = self.held.get(&(index, guest.instance));
        let actor = |handle: &Handle| match handle {
            Handle::Actor(id) => Some(*id),
            _ => None,
        };
        handles.into_iter().flatten().filter_map(actor).collect()
    }

    pub(super) fn create(&mut self, index: usize, guest: Caller) {
        let mut options = ActorOptions { max_restarts: self.random.of([0, 1, 5]), ..ActorOptions::default() };
        options.placement.cpus = self.random.of([None, Some(Quantity::ZERO), Some(Quantity(5_000))]);
        options.placement.strategy = self.strategy(index, guest);
        options.max_pending_calls = self.random.of([None, Some(3)]);
        options.max_concurrency = self.random.of([1, 1, 2]);
        options.max_task_retries = self.random.of([0, 0, 2]);
        if self.random.once_in(8) {
            options.lifetime = Lifetime::Detached;
        }
        let objects = self.objects(index, guest);
        let arguments: Vec<Argument> = self.random.pick(&objects).map(Argument::Object).into_iter().collect();
        let (is_retried, max) = (options.max_task_retries > 0, options.max_restarts);
        if let Ok(id) = self.cluster.worlds[index].try_create(guest, arguments, options) {
            if is_retried && max > 0 {
                self.retrying.insert(id);
            }
            self.held.entry((index, guest.instance)).or_default().push(Handle::Actor(id));
        }
    }

    pub(super) fn call(&mut self, index: usize, guest: Caller) {
        let actors = self.actors(index, guest);
        let Some(actor) = self.random.pick(&actors) else { return };
        if self.random.once_in(30) {
            let restart = self.random.once_in(2);
            self.cluster.worlds[index].kill(guest, actor, restart);
            return;
        }
        let objects = self.objects(index, guest);
        let arguments: Vec<ObjectId> = self.random.pick(&objects).into_iter().collect();
        let world = &mut self.cluster.worlds[index];
        let lane = *self.lanes.entry((index, guest.instance, actor)).or_insert_with(|| world.lane());
        let deadline = self.random.once_in(30).then(|| Duration::from_millis(50));
        let streams = self.random.once_in(4);
        let bound = self.random.of([None, Some(2)]);
        let returns = if streams { Returns::Streaming(bound) } else { Returns::Fixed(1) };
        let options = CallOptions { deadline, returns, ..CallOptions::default() };
        if let Ok(call) = world.call_with(guest, actor, lane, &arguments, options) {
            let place = self.calls.len() as u64 + 1;
            let is_retried = self.retrying.contains(&actor);
            self.calls.insert(call, super::Made { lane: (index, lane), place, is_retried });
            let held = self.held.entry((index, guest.instance)).or_default();
            held.push(if streams { Handle::Stream(call) } else { Handle::Object(call.output(0)) });
        }
    }

    pub(super) fn put(&mut self, index: usize, guest: Caller) {
        let (value, token) = self.value(index, guest);
        let id = self.cluster.worlds[index].event(|node, now, fx| node.put(now, guest, value, fx));
        if let Ok(id) = id {
            assert!(!self.made.contains_key(&id), "{id} was put twice");
            self.made.entry(id).or_default().insert(token);
            self.held.entry((index, guest.instance)).or_default().push(Handle::Object(id));
        }
    }

    pub(super) fn look_at(&mut self, index: usize, guest: Caller) {
        let objects = self.objects(index, guest);
        let Some(id) = self.random.pick(&objects) else { return };
        match self.cluster.worlds[index].outcome(guest, id) {
            Some(outcome) if !is_away(&outcome) => {
                self.check(id, &outcome);
                let handles = match &outcome {
                    Ok(value) => value.handles.clone(),
                    Err(_) => return,
                };
                for handle in handles.iter() {
                    self.take(index, guest, *handle);
                }
            }
            _ => {
                let timeout = self.random.of([None, Some(Duration::from_millis(30))]);
                self.cluster.worlds[index].wait(guest, &[Waitable::Value(id)], Until::AllOrFailure, timeout);
            }
        }
    }

    /// What a guest sees that holds an object is a value that was made for it, or an error with a cause.
    pub(super) fn check(&mut self, id: ObjectId, outcome: &Outcome) {
        match outcome {
            Ok(value) => {
                let Some(token) = value.place.downcast::<u64>() else { return };
                let made = self.made.get(&id).is_some_and(|made| made.contains(token));
                assert!(made || self.yielded.contains(token), "{id} has a value that nobody made");
            }
            Err(error) => {
                let code = error.code();
                self.summary.codes.insert(code);
                assert_ne!(code, ErrorCode::ObjectFreed, "{id} was freed while it was held: {error}");
                assert_ne!(code, ErrorCode::Internal, "{error}");
                if [ErrorCode::OwnerDied, ErrorCode::NodeDied].contains(&code) {
                    assert!(self.deaths > 0, "nobody died: {error}");
                }
            }
        }
    }

    pub(super) fn drop_handle(&mut self, index: usize, guest: Caller) {
        let Some(held) = self.held.get_mut(&(index, guest.instance)) else { return };
        if held.is_empty() {
            return;
        }
        let at = self.random.below(held.len());
        let handle = held.swap_remove(at);
        self.cluster.worlds[index].release(guest, handle);
    }

    pub(super) fn cancel(&mut self, index: usize, guest: Caller) {
        let objects = self.objects(index, guest);
        let Some(id) = self.random.pick(&objects) else { return };
        let recursive = self.random.once_in(2);
        let force = self.random.once_in(4);
        self.cluster.worlds[index].cancel(id.task(), force, recursive);
    }

    pub(super) fn finish(&mut self, index: usize, task: TaskId) {
        let (instance, call) = self.cluster.worlds[index].running[&task].clone();
        let count = match (&call.entry, call.returns) {
            (Entry::Create(_), _) | (_, Returns::Streaming(_)) => 0,
            (_, Returns::Fixed(count)) => count,
        };
        let guest = Caller { instance, task };
        let mut values = Vec::new();
        for output in 0..count {
            let (value, token) = self.value(index, guest);
            let id = self.known_as(index, task);
            self.made.entry(id.output(output)).or_default().insert(token);
            values.push(value);
        }
        self.cluster.worlds[index].finish_with(task, values);
    }
}

fn is_away(outcome: &Outcome) -> bool {
    outcome
        .as_ref()
        .is_ok_and(|value| matches!(value.place.residence(), Residence::Remote | Residence::Spilled))
}
