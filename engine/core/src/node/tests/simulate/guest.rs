//! What guests do, at random.

use std::time::Duration;

use super::checker::{arc, token};
use super::simulation::{MIB, Simulation, Waiting};
use crate::error::{Error, ErrorCode};
use crate::ids::{ActorId, LaneId, ObjectId, TaskId};
use crate::node::tests::harness::{error, failure, function};
use crate::node::{ActorCreation, Caller, Next, Room, RoomTicket, Spawned, Until, WaitState, Waitable};
use crate::options::{ActorOptions, CallOptions, Lifetime, Placement, Retries, Returns, Reuse, TaskOptions};
use crate::resources::Quantity;
use crate::value::{Argument, Handle, Place, Residence, Value};
use crate::work::Entry;

impl Simulation {
    /// Calls whose guests can act: they are begun, do not wait, and do not stand still.
    pub fn awake(&self) -> Vec<TaskId> {
        let mut awake = self.unblocked();
        awake.retain(|task| !self.world.paused.contains(&self.world.caller(*task).instance));
        awake
    }

    fn unblocked(&self) -> Vec<TaskId> {
        self.world.running.keys().copied().filter(|task| !self.waiting.contains_key(task)).collect()
    }

    pub fn guest_acts(&mut self) {
        // One that is paused may do something yet before it hears of it.
        let awake = if self.random.once_in(3) { self.unblocked() } else { self.awake() };
        let Some(task) = self.random.pick(&awake) else { return };
        let guest = self.world.caller(task);
        if self.tickets.contains_key(&task) {
            return self.wants_room(guest);
        }
        match self.random.below(100) {
            0..=27 => self.spawns(guest),
            28..=33 => self.puts(guest),
            34..=44 => self.waits(guest),
            45 => self.wants_room(guest),
            46..=50 => self.reads(guest),
            51..=55 => self.reads_stream(guest),
            56..=61 => self.emits(guest),
            62..=65 => self.creates(guest),
            66..=77 => self.calls(guest),
            78 => self.kills(guest),
            79..=80 => self.cancels(),
            81..=86 => self.drops(guest),
            _ => self.ends(task),
        }
    }

    pub fn value(&mut self, handles: &[Handle]) -> Value {
        self.next_token += 1;
        let residence = self.random.of([Residence::Inline, Residence::Inline, Residence::Arena]);
        let residence = match self.random.once_in(20) {
            true if residence == Residence::Arena => Residence::Spilled,
            _ => residence,
        };
        let place = Place::of(arc(self.next_token), residence);
        Value { size: 1 + self.next_token % 7, handles: handles.into(), place, ..Value::empty() }
    }

    fn held_by(&self, guest: Caller) -> Vec<Handle> {
        self.held.get(&guest.instance).cloned().unwrap_or_default()
    }

    fn objects_of(&self, guest: Caller) -> Vec<ObjectId> {
        let objects = self.held_by(guest).into_iter().filter_map(|handle| match handle {
            Handle::Object(id) => Some(id),
            _ => None,
        });
        objects.collect()
    }

    /// A few handles that may travel inside a value.
    fn some_handles(&mut self, guest: Caller) -> Vec<Handle> {
        let mut held = self.held_by(guest);
        held.retain(|handle| !matches!(handle, Handle::Stream(_)));
        (0..self.random.of([0, 0, 1, 3])).filter_map(|_| self.random.pick(&held)).collect()
    }

    fn arguments(&mut self, guest: Caller) -> Vec<Argument> {
        let objects = self.objects_of(guest);
        let mut arguments = Vec::new();
        for _ in 0..self.random.of([0, 0, 1, 2, 3]) {
            match self.random.pick(&objects) {
                Some(object) if self.random.once_in(2) => arguments.push(Argument::Object(object)),
                _ => {
                    let handles = self.some_handles(guest);
                    arguments.push(Argument::Value(self.value(&handles)));
                }
            }
        }
        arguments
    }

    fn placement(&mut self) -> Placement {
        let disk = Quantity(self.random.of([0, 0, 0, 0, 5_000, 12_345]));
        Placement {
            cpus: self
                .random
                .of([None, None, None, Some(0), Some(3_333), Some(20_000), Some(1_000_000)])
                .map(Quantity),
            gpus: Quantity(self.random.of([0, 0, 0, 0, 0, 5_000])),
            resources: if disk == Quantity::ZERO { Vec::new() } else { vec![("disk".into(), disk)] },
            memory: Some(self.random.of([0, MIB, MIB, 30 * MIB, 60 * MIB, 1 << 45])),
            priority: self.random.of([0, 0, 0, 1, -1]),
            ..Placement::default()
        }
    }

    fn retries(&mut self) -> Retries {
        let kinds = if self.random.once_in(2) { vec!["Flaky".to_owned()] } else { Vec::new() };
        Retries { system: self.random.of([0, 0, 1, 3]), application: self.random.of([0, 0, 2]), kinds }
    }

    fn returns(&mut self) -> Returns {
        self.random.of([
            Returns::Fixed(1),
            Returns::Fixed(1),
            Returns::Fixed(0),
            Returns::Fixed(3),
            Returns::Streaming(None),
            Returns::Streaming(Some(1)),
            Returns::Streaming(Some(3)),
        ])
    }

    fn deadline(&mut self) -> Option<Duration> {
        self.random.of([None, None, None, None, Some(0), Some(100), Some(2_000)]).map(Duration::from_millis)
    }

    fn spawns(&mut self, guest: Caller) {
        let arguments = self.arguments(guest);
        let env = self.random.of(["", "", "A", "B"]);
        let options = TaskOptions {
            placement: self.placement(),
            returns: self.returns(),
            retries: self.retries(),
            deadline: self.deadline(),
            env: if env.is_empty() { arc([]) } else { arc([(env.to_owned(), "1".to_owned())]) },
            reuse: self.random.of([Reuse::Never, Reuse::Job]),
            ..TaskOptions::default()
        };
        let name = self.random.of(["f", "g"]);
        let placement = options.placement.clone();
        let given = arguments.clone();
        let spawned =
            self.world.event(|node, now, fx| node.spawn(now, guest, function(name), given, options, fx));
        if let Some(task) = self.accepted(guest, spawned, arguments) {
            self.checker.task_spawned(task, &placement);
        }
    }

    fn accepted(
        &mut self,
        guest: Caller,
        spawned: Result<Spawned, Error>,
        arguments: Vec<Argument>,
    ) -> Option<TaskId> {
        match spawned {
            Ok(Spawned { task, outputs }) => {
                match outputs {
                    Some(count) => {
                        (0..count).for_each(|index| self.got(guest, Handle::Object(task.output(index))));
                    }
                    None => self.got(guest, Handle::Stream(task)),
                }
                self.tasks.insert(task, arguments);
                Some(task)
            }
            Err(error) => {
                self.checker.refused(&error);
                None
            }
        }
    }

    fn puts(&mut self, guest: Caller) {
        let handles = self.some_handles(guest);
        let value = self.value(&handles);
        match self.world.event(|node, now, fx| node.put(now, guest, value, fx)) {
            Ok(object) => self.got(guest, Handle::Object(object)),
            Err(error) => self.checker.refused(&error),
        }
    }

    fn waits(&mut self, guest: Caller) {
        let held = self.held_by(guest);
        let items: Vec<Waitable> = (0..self.random.of([1, 1, 2, 4]))
            .filter_map(|_| self.random.pick(&held))
            .filter_map(|handle| match handle {
                Handle::Object(id) if id.output_index().is_some() => Some(Waitable::Object(id)),
                Handle::Object(id) => Some(Waitable::Value(id)),
                Handle::Stream(id) => Some(Waitable::NextOf(id)),
                _ => None,
            })
            .collect();
        let items: Vec<Waitable> = items
            .into_iter()
            .map(|item| match item {
                Waitable::Object(id) if self.random.once_in(2) => Waitable::Value(id),
                item => item,
            })
            .collect();
        let until = match self.random.below(2) {
            0 => Until::AllOrFailure,
            _ => Until::Count(1 + self.random.below(items.len()) as u32),
        };
        let timeout = self.random.of([None, None, Some(0), Some(300)]).map(Duration::from_millis);
        let state = self.world.event(|node, now, fx| node.wait(now, guest, &items, until, timeout, fx));
        self.may_block(guest, state, items);
    }

    pub fn may_block(&mut self, guest: Caller, state: Result<WaitState, Error>, items: Vec<Waitable>) {
        match state {
            Ok(WaitState::Blocked(wait)) => {
                if !self.world.woken.contains(&wait) {
                    let instance = guest.instance;
                    self.waiting.insert(guest.task, Waiting { instance, wait, items });
                }
            }
            Ok(WaitState::Ready) => {}
            Err(error) => self.checker.refused(&error),
        }
    }

    fn wants_room(&mut self, guest: Caller) {
        let fresh = RoomTicket::new(self.random.of([1, 5, 20, 100_000]));
        let mut ticket = self.tickets.remove(&guest.task).unwrap_or(fresh);
        match self.world.event(|node, now, fx| node.make_room(now, guest, &mut ticket, fx)) {
            Ok(Room::Wait(wait)) => {
                self.tickets.insert(guest.task, ticket);
                self.may_block(guest, Ok(WaitState::Blocked(wait)), Vec::new());
            }
            Ok(Room::OnDisk) => {}
            Err(error) => self.checker.refused(&error),
        }
    }

    fn reads(&mut self, guest: Caller) {
        let objects = self.objects_of(guest);
        let Some(object) = self.random.pick(&objects) else { return };
        let Some(outcome) = self.world.outcome(guest, object) else { return };
        self.checker.read(object, &outcome);
        let handles = match &outcome {
            Ok(value) => {
                assert!(token(value).is_some() || value.size == 0, "a value that no guest made");
                value.handles.clone()
            }
            Err(error) => {
                self.checker.refused(error);
                error.payload().map(|payload| payload.handles.clone()).unwrap_or_default()
            }
        };
        for handle in handles.iter() {
            self.take(guest, *handle);
        }
    }

    fn reads_stream(&mut self, guest: Caller) {
        let streams: Vec<TaskId> = self
            .held_by(guest)
            .into_iter()
            .filter_map(|handle| match handle {
                Handle::Stream(id) => Some(id),
                _ => None,
            })
            .collect();
        let Some(stream) = self.random.pick(&streams) else { return };
        if let Next::Object(object) = self.world.next(guest, stream) {
            self.got(guest, Handle::Object(object));
        }
    }

    fn emits(&mut self, guest: Caller) {
        let handles = self.some_handles(guest);
        let value = self.value(&handles);
        let state = self.world.event(|node, now, fx| node.emit(now, guest, value, fx));
        self.may_block(guest, state, Vec::new());
    }

    fn creates(&mut self, guest: Caller) {
        let arguments = self.arguments(guest);
        let mut placement = self.placement();
        placement.cpus = self.random.of([None, None, Some(0), Some(5_000)]).map(Quantity);
        let groups = self.random.of([0, 0, 1, 2]);
        let options = ActorOptions {
            name: self.random.once_in(2).then(|| "name".to_owned()),
            lifetime: if self.random.once_in(6) { Lifetime::Detached } else { Lifetime::Job },
            placement,
            max_restarts: self.random.of([0, 0, 1, 3]),
            max_task_retries: self.random.of([0, 0, 2]),
            max_concurrency: self.random.of([1, 1, 2]),
            concurrency_groups: (0..groups).map(|n| (["x", "y"][n].to_owned(), 1 + n as u32)).collect(),
            max_pending_calls: self.random.of([None, None, Some(2)]),
            ..ActorOptions::default()
        };
        let detached = options.lifetime == Lifetime::Detached;
        let id = self.world.event(|node, _, _| node.new_actor_id());
        self.checker.actor_created(id, &options);
        let creation = ActorCreation { id, class: function("Actor"), arguments, options };
        match self.world.event(|node, now, fx| node.create_actor(now, guest, creation, fx)) {
            Ok(actor) => {
                self.got(guest, Handle::Actor(actor));
                self.detached.extend(detached.then_some(actor));
            }
            Err(error) => self.checker.refused(&error),
        }
    }

    fn lane(&mut self, guest: Caller, actor: ActorId) -> LaneId {
        if let Some(lane) = self.lanes.get(&(guest.instance, actor)) {
            return *lane;
        }
        let lane = self.world.lane();
        self.lanes.insert((guest.instance, actor), lane);
        lane
    }

    fn an_actor(&mut self, guest: Caller) -> Option<ActorId> {
        let mut actors = self.held_by(guest);
        actors.retain(|handle| matches!(handle, Handle::Actor(_)));
        match self.random.pick(&actors) {
            Some(Handle::Actor(actor)) => Some(actor),
            _ => None,
        }
    }

    fn calls(&mut self, guest: Caller) {
        let Some(actor) = self.an_actor(guest) else { return };
        let lane = self.lane(guest, actor);
        let group = self.random.of([None, None, None, Some("x"), Some("y")]).map(str::to_owned);
        let options = CallOptions {
            returns: self.returns(),
            retries: Retries { system: self.random.of([0, 0, 0, 1]), ..self.retries() },
            deadline: self.deadline(),
            concurrency_group: group.clone(),
            ..CallOptions::default()
        };
        let retries = options.retries.system != 0 || options.retries.application != 0;
        let arguments = self.arguments(guest);
        let given = arguments.clone();
        let spawned = self
            .world
            .event(|node, now, fx| node.call_actor(now, guest, actor, lane, "m".into(), given, options, fx));
        if let Some(task) = self.accepted(guest, spawned, arguments) {
            self.checker.call_made(actor, lane, group, task, retries);
        }
    }

    fn kills(&mut self, guest: Caller) {
        let Some(actor) = self.an_actor(guest) else { return };
        let restart = self.random.once_in(2);
        let killed = self.world.event(|node, now, fx| node.kill_actor(now, guest, actor, restart, fx));
        if let Err(error) = killed {
            self.checker.refused(&error);
        }
    }

    fn cancels(&mut self) {
        let tasks: Vec<TaskId> = self.tasks.keys().copied().collect();
        let Some(task) = self.random.pick(&tasks) else { return };
        let (force, recursive) = (self.random.once_in(3), self.random.once_in(2));
        self.world.cancel(task, force, recursive);
    }

    fn drops(&mut self, guest: Caller) {
        let Some(held) = self.held.get_mut(&guest.instance) else { return };
        if held.is_empty() {
            return;
        }
        let at = self.random.below(held.len());
        let handle = held.swap_remove(at);
        self.world.release(guest, handle);
    }

    fn ends(&mut self, task: TaskId) {
        let is_root = self.world.roots.values().any(|root| *root == task);
        if is_root && !self.random.once_in(30) {
            return;
        }
        let guest = self.world.caller(task);
        let payload = self.random.once_in(4).then(|| {
            let handles = self.some_handles(guest);
            self.value(&handles)
        });
        match self.random.below(12) {
            0 => self.world.fail(task, failure("Flaky").with_payload(payload)),
            1 => self.world.fail(task, failure("Other").with_payload(payload)),
            2 => self.world.trap(task, error(self.random.of([ErrorCode::Trapped, ErrorCode::OutOfMemory]))),
            3 => self.world.lose(task),
            4 => {
                // It passes on what it read, or what it made up.
                let objects = self.objects_of(guest);
                let read = self.random.pick(&objects).and_then(|object| self.world.outcome(guest, object));
                let passed_on = match read {
                    Some(Err(error)) => Error::clone(&error).with_kind("Flaky"),
                    _ => error(self.random.of([
                        ErrorCode::TaskCancelled,
                        ErrorCode::GetTimeout,
                        ErrorCode::ActorDied,
                    ])),
                };
                self.world.fail(task, passed_on);
            }
            _ => self.finishes(task),
        }
    }

    /// Ends a call well.
    pub fn finishes(&mut self, task: TaskId) {
        let guest = self.world.caller(task);
        let (_, call) = &self.world.running[&task];
        let count = match (&call.entry, call.returns) {
            (Entry::Create(_), _) | (_, Returns::Streaming(_)) => 0,
            (_, Returns::Fixed(count)) => count,
        };
        let mut values = Vec::new();
        for _ in 0..count {
            let handles = self.some_handles(guest);
            values.push(self.value(&handles));
        }
        self.world.finish_with(task, values);
    }
}
