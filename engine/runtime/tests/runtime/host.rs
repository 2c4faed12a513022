//! A node in memory: just enough of one to run guests against.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use engine_core::ids::IdGenerator;
use engine_core::options::{ActorOptions, CallOptions, Returns, TaskOptions};
use engine_core::work::{CallReport, GoneReport};
use engine_core::{
    ActorId, Argument, Error, ErrorCode, Handle, InstanceId, LaneId, ObjectId, Outcome, Place, TaskId, Value,
};
use engine_runtime::Runtime;
use engine_runtime::host::{
    Caller, FunctionName, Host, Later, LogLine, Next, NodeInfo, PlacementGroupId, Spawned, Until, Wait,
    Waitable,
};
use parking_lot::Mutex;
use tokio::sync::watch;

/// What the runtime told the node.
#[derive(Debug)]
pub(crate) enum Event {
    Finished(CallReport),
    Gone(GoneReport),
}

/// Where all tests keep their bytes.
pub(crate) fn store() -> &'static engine_objects::Store {
    static STORE: std::sync::OnceLock<engine_objects::Store> = std::sync::OnceLock::new();
    STORE.get_or_init(|| {
        let options =
            engine_objects::Options { arena_bytes_max: 64 << 20, ..engine_objects::Options::default() };
        engine_objects::Store::new(&options).unwrap()
    })
}

/// What happens when a call has ended, from within `Host::finished`.
type OnFinished = Box<dyn Fn(&Runtime, InstanceId, &CallReport) + Send + Sync>;

pub(crate) struct FakeHost {
    events: Mutex<Sender<Event>>,
    pub(crate) state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    lanes: AtomicU64,
    pub(crate) on_finished: Mutex<Option<(Runtime, OnFinished)>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) outcomes: HashMap<ObjectId, Outcome>,
    pub(crate) held: HashMap<Handle, i64>,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) spawned: Vec<(Caller, String, usize, TaskOptions)>,
    pub(crate) calls: Vec<(ActorId, LaneId, String)>,
    pub(crate) emitted: Vec<Vec<u8>>,
    pub(crate) removed_groups: Vec<PlacementGroupId>,
    pub(crate) blocked: usize,
    ids: Option<IdGenerator>,
    puts: u32,
}

impl State {
    fn new_task(&mut self) -> TaskId {
        self.ids.get_or_insert_with(|| IdGenerator::new([9; 16])).task()
    }

    fn new_actor(&mut self) -> ActorId {
        self.ids.get_or_insert_with(|| IdGenerator::new([9; 16])).actor()
    }
}

impl FakeHost {
    pub(crate) fn new() -> (Arc<Self>, Events) {
        let (sender, receiver) = channel();
        let host = Arc::new(Self {
            events: Mutex::new(sender),
            state: Arc::default(),
            changed: watch::channel(0).0,
            lanes: AtomicU64::new(0),
            on_finished: Mutex::new(None),
        });
        (host, Events(receiver))
    }

    fn send(&self, event: Event) {
        drop(self.events.lock().send(event));
    }

    fn is_waitable_ready(state: &State, item: Waitable) -> bool {
        match item {
            Waitable::Object(object) | Waitable::Value(object) => state.outcomes.contains_key(&object),
            Waitable::NextOf(_) => false,
        }
    }

    fn is_over(state: &State, items: &[Waitable], until: Until) -> bool {
        let ready = items.iter().filter(|item| Self::is_waitable_ready(state, **item)).count();
        let failed = items.iter().any(
            |item| matches!(item, Waitable::Object(object) if matches!(state.outcomes.get(object), Some(Err(_)))),
        );
        match until {
            Until::AllOrFailure => failed || ready == items.len(),
            Until::Count(count) => ready >= count as usize,
        }
    }

    /// Makes an object be there.
    pub(crate) fn resolve(&self, object: ObjectId, outcome: Outcome) {
        self.state.lock().outcomes.insert(object, outcome);
        self.changed.send_modify(|version| *version += 1);
    }

    /// Waits until the state is as wanted.
    pub(crate) fn until(&self, what: &str, condition: impl Fn(&State) -> bool) {
        for _ in 0..2_000 {
            if condition(&self.state.lock()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("never: {what}");
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.state.lock().logs.iter().map(|line| line.text.clone()).collect()
    }
}

/// The reports, in order.
pub(crate) struct Events(Receiver<Event>);

impl Events {
    pub(crate) fn next(&self) -> Event {
        match self.0.recv_timeout(Duration::from_secs(60)) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => panic!("no report within a minute"),
            Err(RecvTimeoutError::Disconnected) => panic!("the host is gone"),
        }
    }

    pub(crate) fn gone(&self) -> GoneReport {
        match self.next() {
            Event::Gone(report) => report,
            other => panic!("expected the end of a sandbox, got {other:?}"),
        }
    }

    pub(crate) fn finished(&self) -> CallReport {
        match self.next() {
            Event::Finished(report) => report,
            other => panic!("expected the end of a call, got {other:?}"),
        }
    }

    /// Nothing more has been reported.
    pub(crate) fn assert_none(&self) {
        if let Ok(event) = self.0.recv_timeout(Duration::from_millis(50)) {
            panic!("one report too many: {event:?}");
        }
    }
}

impl Host for FakeHost {
    fn place(&self, bytes: Vec<u8>) -> Result<Place, Error> {
        store().place(bytes)
    }

    fn write(&self, parts: &[&[u8]]) -> Result<Place, Error> {
        store().write(parts)
    }

    fn put(&self, from: Caller, value: Value) -> Result<ObjectId, Error> {
        let mut state = self.state.lock();
        let object = from.task.put(state.puts);
        state.puts += 1;
        state.outcomes.insert(object, Ok(value));
        *state.held.entry(Handle::Object(object)).or_insert(0) += 1;
        Ok(object)
    }

    fn acquire(&self, _from: Caller, handle: Handle) {
        *self.state.lock().held.entry(handle).or_insert(0) += 1;
    }

    fn release(&self, _from: Caller, handle: Handle) {
        *self.state.lock().held.entry(handle).or_insert(0) -= 1;
    }

    fn is_ready(&self, _from: Caller, object: ObjectId) -> bool {
        self.state.lock().outcomes.contains_key(&object)
    }

    fn outcome(&self, _from: Caller, object: ObjectId) -> Option<Outcome> {
        self.state.lock().outcomes.get(&object).cloned()
    }

    fn wait(&self, _from: Caller, items: &[Waitable], until: Until, timeout: Option<Duration>) -> Wait {
        let mut changed = self.changed.subscribe();
        let mut state = self.state.lock();
        if timeout == Some(Duration::ZERO) || Self::is_over(&state, items, until) {
            return Wait::Ready;
        }
        state.blocked += 1;
        let (items, shared) = (items.to_vec(), self.state.clone());
        let over = async move {
            while !Self::is_over(&shared.lock(), &items, until) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        Wait::Blocked(Box::pin(async move {
            match timeout {
                Some(timeout) => drop(tokio::time::timeout(timeout, over).await),
                None => over.await,
            }
        }))
    }

    fn is_waitable_ready(&self, _from: Caller, item: Waitable) -> bool {
        Self::is_waitable_ready(&self.state.lock(), item)
    }

    fn next(&self, _from: Caller, _stream: TaskId) -> Next {
        Next::End
    }

    fn spawn(
        &self,
        from: Caller,
        function: FunctionName,
        arguments: Vec<Argument>,
        options: TaskOptions,
    ) -> Result<Spawned, Error> {
        let mut state = self.state.lock();
        let task = state.new_task();
        let outputs = match options.returns {
            Returns::Fixed(count) => Some(count),
            Returns::Streaming(_) => None,
        };
        for index in 0..outputs.unwrap_or(0) {
            *state.held.entry(Handle::Object(task.output(index))).or_insert(0) += 1;
        }
        state.spawned.push((from, function.name, arguments.len(), options));
        Ok(Spawned { task, outputs })
    }

    fn cancel(&self, _from: Caller, _task: TaskId, _force: bool, _recursive: bool) -> Result<(), Error> {
        Ok(())
    }

    fn emit(&self, _from: Caller, value: Value) -> Result<Wait, Error> {
        self.state.lock().emitted.push(engine_objects::bytes(&value).to_vec());
        Ok(Wait::Ready)
    }

    fn create_actor(
        &self,
        _from: Caller,
        _class: FunctionName,
        _arguments: Vec<Argument>,
        _options: ActorOptions,
    ) -> Later<ActorId> {
        let mut state = self.state.lock();
        let actor = state.new_actor();
        *state.held.entry(Handle::Actor(actor)).or_insert(0) += 1;
        Box::pin(std::future::ready(Ok(actor)))
    }

    fn lookup_actor(&self, _from: Caller, name: String, _namespace: Option<String>) -> Later<ActorId> {
        let error = Error::new(ErrorCode::NotFound, format!("no actor is named {name}"));
        Box::pin(std::future::ready(Err(error)))
    }

    fn lookup_group(&self, _from: Caller, name: String) -> Later<PlacementGroupId> {
        let found = match name.as_str() {
            "ours" => {
                let group = PlacementGroupId::from_bits(7, 8);
                *self.state.lock().held.entry(Handle::PlacementGroup(group)).or_insert(0) += 1;
                Ok(group)
            }
            _ => Err(Error::new(ErrorCode::NotFound, format!("no placement group is named {name}"))),
        };
        Box::pin(std::future::ready(found))
    }

    fn remove_group(&self, _from: Caller, group: PlacementGroupId) -> Result<(), Error> {
        self.state.lock().removed_groups.push(group);
        Ok(())
    }

    fn new_lane(&self) -> LaneId {
        LaneId(self.lanes.fetch_add(1, Ordering::Relaxed))
    }

    fn call_actor(
        &self,
        _from: Caller,
        actor: ActorId,
        lane: LaneId,
        method: String,
        _arguments: Vec<Argument>,
        _options: CallOptions,
    ) -> Result<Spawned, Error> {
        let mut state = self.state.lock();
        state.calls.push((actor, lane, method));
        let task = state.new_task();
        Ok(Spawned { task, outputs: Some(0) })
    }

    fn kill_actor(&self, _from: Caller, _actor: ActorId, _restart: bool) -> Result<(), Error> {
        Ok(())
    }

    /// A bug of the node's own, for tests.
    fn nodes(&self, _from: Caller) -> Vec<NodeInfo> {
        panic!("the list of nodes is broken")
    }

    fn log(&self, line: LogLine) {
        self.state.lock().logs.push(line);
    }

    fn finished(&self, instance: InstanceId, report: CallReport) {
        let on_finished = self.on_finished.lock();
        if let Some((runtime, action)) = &*on_finished {
            action(runtime, instance, &report);
        }
        drop(on_finished);
        self.send(Event::Finished(report));
    }

    fn gone(&self, report: GoneReport) {
        self.send(Event::Gone(report));
    }
}
