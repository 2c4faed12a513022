//! The host of a worker's runtime: the node, asked over the line.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use engine_core::options::{ActorOptions, CallOptions, TaskOptions};
use engine_core::work::{CallReport, GoneReport};
use engine_core::{
    ActorId, Argument, ComponentId, Error, Handle, InstanceId, LaneId, ObjectId, Outcome, Place, Residence,
    TaskId, Value,
};
use engine_objects::Draft;
use engine_proto::convert::client::{actor_options, bundle, call_options, handle, task_options};
use engine_proto::convert::peer::{WireId, id, id_from};
use engine_proto::convert::worker::{
    Travels, amounts_from, arguments, component, failure, failure_from, pairs, pairs_from, report, value,
    value_from, waitable,
};
use engine_proto::v1;
use engine_proto::v1::from_worker::{self as from_worker, Message};
use engine_proto::v1::worker_answer::{Answer, next, outcome};
use engine_runtime::Runtime;
use engine_runtime::host::{
    Bundle, Caller, DiskDraft, FunctionName, GroupStrategy, Host, Later, LogLine, LogSource, Lost, Next,
    NodeInfo, PlacementGroupId, Spawned, Until, Wait, Waitable,
};

use crate::line::{Answered, Dropped, Line, tell_dropped};

/// The node, as the runtime asks it.
pub(crate) struct NodeHost {
    pub(crate) line: Arc<Line>,
    pub(crate) runtime: Runtime,
    pub(crate) inline_object_bytes_max: usize,
    pub(crate) can_spill: bool,
    /// Held while a component is loaded that a sandbox needs: the others that need it wait.
    pub(crate) loading: Arc<futures::lock::Mutex<()>>,
}

/// A value that the node keeps, for as long as this lives.
struct Kept {
    number: u64,
    drops: Sender<Dropped>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        tell_dropped(&self.drops, Dropped::Kept(self.number));
    }
}

/// An object on disk that the node writes, for as long as this lives.
struct DraftThere {
    number: u64,
    drops: Option<Sender<Dropped>>,
}

impl Drop for DraftThere {
    fn drop(&mut self) {
        if let Some(drops) = &self.drops {
            tell_dropped(drops, Dropped::Draft(self.number));
        }
    }
}

fn unexpected(answer: &Answer) -> Error {
    Error::internal(format!("the node gave an answer that nobody asked for: {answer:?}"))
}

impl Line {
    /// A place for what the node keeps. It is read like what lies on disk: from afar.
    fn kept(&self, number: u64) -> Place {
        Place::of(Arc::new(Kept { number, drops: self.drops.clone() }), Residence::Spilled)
    }

    /// Where the bytes of a value lie that has come.
    pub(crate) fn take(&self, travels: Travels, size: u64) -> Result<(Place, u64), Error> {
        Ok(match travels {
            Travels::Inline(bytes) if bytes.is_empty() => (Place::default(), 0),
            Travels::Inline(bytes) => (engine_objects::on_heap(bytes.into()), size),
            Travels::Kept(number) => (self.kept(number), size),
        })
    }

    /// An answer, or the failure that it is.
    fn opened(&self, (answer, payload): Answered) -> Result<Answered, Error> {
        match answer {
            Answer::Failed(failed) => {
                Err(failure_from(failed, &|travels, size| self.take(travels, size)).unwrap_or_else(|e| e))
            }
            answer => Ok((answer, payload)),
        }
    }

    fn asked_now(self: &Arc<Self>, from: Option<Caller>, message: Message) -> Result<Answer, Error> {
        let answered = self.ask(from, message, &[])?.wait();
        self.opened(answered).map(|(answer, _)| answer)
    }
}

/// How the bytes of a value travel to the node.
fn lay(value: &Value) -> Travels {
    match value.place.downcast::<Kept>() {
        Some(kept) => Travels::Kept(kept.number),
        None => Travels::Inline(engine_objects::bytes(value).to_vec().into()),
    }
}

fn function(name: FunctionName) -> from_worker::FunctionName {
    from_worker::FunctionName { component: name.component, name: name.name }
}

fn refused<T: Send + 'static>(error: Error) -> Later<T> {
    Box::pin(std::future::ready(Err(error)))
}

impl NodeHost {
    fn now(&self, from: Caller, message: Message) -> Result<Answer, Error> {
        self.line.asked_now(Some(from), message)
    }

    fn tell(&self, from: Option<Caller>, message: Message) {
        if let Err(error) = self.line.tell(from, message) {
            tracing::error!("the node was not told of something: {error}");
        }
    }

    /// What takes its time.
    fn later<T: Send + 'static>(
        &self,
        from: Option<Caller>,
        message: Message,
        payload: &[&[u8]],
        read: impl FnOnce(&Line, Answered) -> Result<T, Error> + Send + 'static,
    ) -> Later<T> {
        match self.line.ask(from, message, payload) {
            Ok(asked) => {
                let line = self.line.clone();
                Box::pin(async move {
                    let answered = line.opened(asked.await)?;
                    read(&line, answered)
                })
            }
            Err(error) => refused(error),
        }
    }

    fn later_id<I: WireId + Send + 'static>(&self, from: Caller, message: Message) -> Later<I> {
        self.later(Some(from), message, &[], |_, (answer, _)| match answer {
            Answer::Id(given) => Ok(id_from(given)),
            other => Err(unexpected(&other)),
        })
    }

    fn id_now<I: WireId>(&self, from: Caller, message: Message) -> Result<I, Error> {
        match self.now(from, message)? {
            Answer::Id(given) => Ok(id_from(given)),
            other => Err(unexpected(&other)),
        }
    }

    fn done_now(&self, from: Caller, message: Message) -> Result<(), Error> {
        match self.now(from, message)? {
            Answer::Done(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn spawned(&self, from: Caller, message: Message) -> Result<Spawned, Error> {
        match self.now(from, message)? {
            Answer::Spawned(v1::client_answer::Call { task: Some(task), outputs }) => {
                Ok(Spawned { task: id_from(task), outputs })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Whether there is anything to wait for, and then until when.
    fn wait_for(&self, from: Caller, message: Message) -> Result<Wait, Error> {
        let mut asked = self.line.ask(Some(from), message, &[])?;
        let answered = asked.wait();
        match self.line.opened(answered)?.0 {
            Answer::Blocked(_) => Ok(Wait::Blocked(Box::pin(async move {
                asked.await;
            }))),
            _ => Ok(Wait::Ready),
        }
    }

    fn failed(&self, failed: v1::WorkerFailure) -> Error {
        failure_from(failed, &|travels, size| self.line.take(travels, size)).unwrap_or_else(|error| error)
    }
}

impl Host for NodeHost {
    fn place(&self, bytes: Vec<u8>) -> Result<Place, Error> {
        if bytes.len() <= self.inline_object_bytes_max {
            return Ok(engine_objects::on_heap(bytes));
        }
        self.write(&[&bytes])
    }

    fn write(&self, parts: &[&[u8]]) -> Result<Place, Error> {
        if parts.iter().map(|part| part.len()).sum::<usize>() <= self.inline_object_bytes_max {
            return Ok(engine_objects::on_heap(parts.concat()));
        }
        let answered = self.line.ask(None, Message::Write(v1::Heard {}), parts)?.wait();
        match self.line.opened(answered)?.0 {
            Answer::Kept(number) => Ok(self.line.kept(number)),
            other => Err(unexpected(&other)),
        }
    }

    fn load(&self, needed: ComponentId) -> Later<()> {
        let (line, runtime, loading) = (self.line.clone(), self.runtime.clone(), self.loading.clone());
        Box::pin(async move {
            let _one = loading.lock().await;
            if runtime.component(needed).is_some() {
                return Ok(());
            }
            let asked = line.ask(None, Message::Need(component(needed)), &[])?;
            let (_, bytes) = line.opened(asked.await)?;
            let (done, loaded) = futures::channel::oneshot::channel();
            crate::process::compile(move || {
                // Whoever needed it may have ended meanwhile.
                drop(done.send(runtime.load(&bytes).map(drop)));
            })?;
            loaded.await.unwrap_or_else(|_| Err(Error::internal("compiling the component did not end")))
        })
    }

    fn inline_object_bytes_max(&self) -> usize {
        self.inline_object_bytes_max
    }

    fn allocate(&self, size: usize) -> Result<Draft, Error> {
        Ok(Draft::on_heap(size))
    }

    fn can_spill(&self) -> bool {
        self.can_spill
    }

    fn append_on_disk(&self, draft: Option<DiskDraft>, bytes: Vec<u8>) -> Later<DiskDraft> {
        let draft = match draft.map(DiskDraft::into_inner::<DraftThere>).transpose() {
            Ok(draft) => draft,
            Err(error) => return refused(error),
        };
        let number = draft.as_ref().map_or(0, |draft| draft.number);
        self.later(None, Message::Append(number), &[&bytes], move |line, (answer, _)| match answer {
            Answer::Draft(number) => Ok(DiskDraft::new(
                draft.unwrap_or_else(|| DraftThere { number, drops: Some(line.drops.clone()) }),
            )),
            other => Err(unexpected(&other)),
        })
    }

    fn seal_on_disk(&self, draft: DiskDraft) -> Later<Place> {
        let mut draft = match draft.into_inner::<DraftThere>() {
            Ok(draft) => draft,
            Err(error) => return refused(error),
        };
        // From now on it is the node's alone.
        draft.drops = None;
        self.later(None, Message::Seal(draft.number), &[], |line, (answer, _)| match answer {
            Answer::Kept(number) => Ok(line.kept(number)),
            other => Err(unexpected(&other)),
        })
    }

    fn store_when_room(&self, from: Caller, place: Place) -> Later<Place> {
        let bytes = engine_objects::slice(&place).unwrap_or_default();
        self.later(Some(from), Message::WriteWhenRoom(v1::Heard {}), &[bytes], |line, (answer, _)| {
            match answer {
                Answer::Kept(number) => Ok(line.kept(number)),
                other => Err(unexpected(&other)),
            }
        })
    }

    fn read(&self, place: Place, offset: u64, length: u64) -> Later<Vec<u8>> {
        let Some(kept) = place.downcast::<Kept>() else {
            return refused(Error::internal("a value that the node does not keep was read from it"));
        };
        let message = Message::Read(from_worker::Read { kept: kept.number, offset, length });
        // The place is kept until it was read.
        self.later(None, message, &[], move |_, (_, bytes)| {
            drop(place);
            Ok(bytes)
        })
    }

    /// The node has seen it itself, when it read the bytes.
    fn lost(&self, _: Lost, _: &Error) {}

    fn put(&self, from: Caller, given: Value) -> Result<ObjectId, Error> {
        self.id_now(from, Message::Put(value(&given, &lay)))
    }

    fn acquire(&self, from: Caller, held: Handle) {
        self.tell(Some(from), Message::Acquire(handle(held)));
    }

    fn release(&self, from: Caller, held: Handle) {
        self.tell(Some(from), Message::Release(handle(held)));
    }

    fn is_ready(&self, from: Caller, object: ObjectId) -> bool {
        self.is_waitable_ready(from, Waitable::Object(object))
    }

    fn outcome(&self, from: Caller, object: ObjectId) -> Option<Outcome> {
        let outcome = match self.now(from, Message::Outcome(id(object))) {
            Ok(Answer::Outcome(outcome)) => outcome.outcome?,
            Ok(other) => return Some(Err(Arc::new(unexpected(&other)))),
            Err(error) => return Some(Err(Arc::new(error))),
        };
        Some(match outcome {
            outcome::Outcome::Value(given) => {
                value_from(given, &|travels, size| self.line.take(travels, size)).map_err(Arc::new)
            }
            outcome::Outcome::Failed(failed) => Err(Arc::new(self.failed(failed))),
        })
    }

    fn wait(&self, from: Caller, items: &[Waitable], until: Until, timeout: Option<Duration>) -> Wait {
        let wait = from_worker::Wait {
            items: items.iter().copied().map(waitable).collect(),
            count: match until {
                Until::AllOrFailure => None,
                Until::Count(count) => Some(count),
            },
            timeout_ns: timeout.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        };
        // What is wrong is seen by whoever looks at what was waited for.
        self.wait_for(from, Message::Wait(wait)).unwrap_or(Wait::Ready)
    }

    fn is_waitable_ready(&self, from: Caller, item: Waitable) -> bool {
        matches!(self.now(from, Message::IsReady(waitable(item))), Ok(Answer::Is(true)))
    }

    fn next(&self, from: Caller, stream: TaskId) -> Next {
        let next = match self.now(from, Message::Next(id(stream))) {
            Ok(Answer::Next(next)) => next.next,
            Ok(other) => return Next::Failed(Arc::new(unexpected(&other))),
            Err(error) => return Next::Failed(Arc::new(error)),
        };
        match next {
            Some(next::Next::Object(object)) => Next::Object(id_from(object)),
            Some(next::Next::End(_)) => Next::End,
            Some(next::Next::Failed(failed)) => Next::Failed(Arc::new(self.failed(failed))),
            Some(next::Next::Pending(_)) | None => Next::Pending,
        }
    }

    fn spawn(
        &self,
        from: Caller,
        name: FunctionName,
        given: Vec<Argument>,
        options: TaskOptions,
    ) -> Result<Spawned, Error> {
        let spawn = from_worker::Spawn {
            function: Some(function(name)),
            arguments: arguments(&given, &lay),
            options: task_options(&options),
        };
        self.spawned(from, Message::Spawn(spawn))
    }

    fn cancel(&self, from: Caller, task: TaskId, force: bool, recursive: bool) -> Result<(), Error> {
        let cancel = from_worker::Cancel { task: Some(id(task)), force, recursive };
        self.done_now(from, Message::Cancel(cancel))
    }

    fn emit(&self, from: Caller, given: Value) -> Result<Wait, Error> {
        self.wait_for(from, Message::Emit(value(&given, &lay)))
    }

    fn create_actor(
        &self,
        from: Caller,
        class: FunctionName,
        given: Vec<Argument>,
        options: ActorOptions,
    ) -> Later<ActorId> {
        let create = from_worker::CreateActor {
            class: Some(function(class)),
            arguments: arguments(&given, &lay),
            options: Some(actor_options(&options)),
        };
        self.later_id(from, Message::CreateActor(create))
    }

    fn lookup_actor(&self, from: Caller, name: String, namespace: Option<String>) -> Later<ActorId> {
        self.later_id(from, Message::LookupActor(from_worker::LookupActor { name, namespace }))
    }

    fn create_group(
        &self,
        from: Caller,
        bundles: Vec<Bundle>,
        strategy: GroupStrategy,
        name: Option<String>,
    ) -> Later<PlacementGroupId> {
        let create = from_worker::CreateGroup {
            bundles: bundles.iter().map(bundle).collect(),
            strategy: v1::GroupStrategy::from(strategy).into(),
            name,
        };
        self.later_id(from, Message::CreateGroup(create))
    }

    fn lookup_group(&self, from: Caller, name: String) -> Later<PlacementGroupId> {
        self.later_id(from, Message::LookupGroup(name))
    }

    fn group_ready(&self, from: Caller, group: PlacementGroupId) -> Result<ObjectId, Error> {
        self.id_now(from, Message::GroupReady(id(group)))
    }

    fn remove_group(&self, from: Caller, group: PlacementGroupId) -> Result<(), Error> {
        self.done_now(from, Message::RemoveGroup(id(group)))
    }

    fn new_lane(&self) -> LaneId {
        match self.line.asked_now(None, Message::NewLane(v1::Heard {})) {
            Ok(Answer::Lane(lane)) => LaneId(lane),
            _ => LaneId(0),
        }
    }

    fn call_actor(
        &self,
        from: Caller,
        actor: ActorId,
        lane: LaneId,
        method: String,
        given: Vec<Argument>,
        options: CallOptions,
    ) -> Result<Spawned, Error> {
        let call = from_worker::CallActor {
            actor: Some(id(actor)),
            lane: lane.0,
            method,
            arguments: arguments(&given, &lay),
            options: call_options(&options),
        };
        self.spawned(from, Message::CallActor(call))
    }

    fn kill_actor(&self, from: Caller, actor: ActorId, restart: bool) -> Result<(), Error> {
        let kill = from_worker::KillActor { actor: Some(id(actor)), restart };
        self.done_now(from, Message::KillActor(kill))
    }

    fn nodes(&self, from: Caller) -> Vec<NodeInfo> {
        let Ok(Answer::Nodes(nodes)) = self.now(from, Message::Nodes(v1::Heard {})) else {
            return Vec::new();
        };
        let node = |node: v1::worker_answer::Node| NodeInfo {
            id: node.node_id,
            labels: pairs_from(node.labels),
            total: amounts_from(node.total),
            available: amounts_from(node.available),
        };
        nodes.nodes.into_iter().map(node).collect()
    }

    fn log(&self, line: LogLine) {
        let stream = match line.source {
            LogSource::Stdout => "stdout",
            LogSource::Stderr => "stderr",
            LogSource::Record => line.level.unwrap_or("info"),
        };
        let log = from_worker::Log {
            job: Some(id(line.job)),
            task: Some(id(line.task)),
            stream: stream.to_owned(),
            target: line.target,
            text: line.text,
            fields: pairs(&line.fields),
        };
        self.tell(None, Message::Log(log));
    }

    fn finished(&self, instance: InstanceId, said: CallReport) {
        let finished = |said: &CallReport| {
            let report = Some(report(said, &lay));
            Message::Finished(from_worker::Finished { instance: instance.0, report })
        };
        if let Err(error) = self.line.tell(None, finished(&said)) {
            self.tell(None, finished(&CallReport { result: Err(error), ..said }));
        }
    }

    fn gone(&self, said: GoneReport) {
        let gone = |said: &GoneReport| {
            Message::Gone(from_worker::Gone {
                instance: said.instance.0,
                calls: said.calls.iter().map(|call| report(call, &lay)).collect(),
                cause: said.cause.as_ref().map(|cause| failure(cause, &lay)),
            })
        };
        if let Err(error) = self.line.tell(None, gone(&said)) {
            let failed = |call: CallReport| CallReport { result: Err(error.clone()), ..call };
            let calls = said.calls.into_iter().map(failed).collect();
            self.tell(None, gone(&GoneReport { calls, ..said }));
        }
    }
}
