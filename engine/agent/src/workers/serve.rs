//! Does what a worker asks for. What it says is believed to be hostile: who asks is looked up in its books, what is
//! inside of what it gives has to be held, and whatever cannot be is its end.

use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use engine_core::node::{Next, Until};
use engine_core::work::{CallReport, GoneReport};
use engine_core::{Argument, Error, ErrorCode, Handle, InstanceId, JobId, LaneId, Place, TaskId, Value};
use engine_proto::convert::client::{
    actor_options_from, bundle_from, call_options_from, handle_from, strategy_from, task_options_from,
};
use engine_proto::convert::peer::{WireId, id, id_from};
use engine_proto::convert::worker::{
    Travels, amounts, arguments_from, component_from, failure_from, pairs, pairs_from, report_from,
    value_from, waitable_from,
};
use engine_proto::prost::Message as _;
use engine_proto::v1;
use engine_proto::v1::from_worker::{self as asks, Message};
use engine_proto::v1::worker_answer::{self as answers, Answer, next};
use engine_runtime::ComponentWorld;
use engine_runtime::host::{Caller, FunctionName, Host, Later, LogLine, LogSource, NodeInfo, Spawned, Wait};
use engine_worker::wire;

use super::books::Kept;
use super::laid::check_held;
use super::payload::{self, Missed};
use super::worker::{Bytes, Worker};
use crate::backend::component_bytes;
use crate::driver::Driver;

/// Bytes of a line of log; of longer ones the rest is dropped, as a runtime cuts them before.
const LOG_LINE_BYTES_MAX: usize = 64 << 10;
/// Bytes of one line of log with its fields: larger ones are dropped.
const LOG_RECORD_BYTES_MAX: usize = 1 << 20;

/// Why a worker is ended.
type Misdeed = String;

/// What becomes of a request at once.
enum Done {
    /// This.
    Now(Answer),
    /// Something else answers it.
    Elsewhere,
}

/// A request.
struct Request {
    number: u64,
    instance: InstanceId,
    task: TaskId,
}

fn done() -> Done {
    Done::Now(Answer::Done(v1::Heard {}))
}

fn given<I: WireId>(given: I) -> Done {
    Done::Now(Answer::Id(id(given)))
}

fn missing(field: &str) -> Error {
    Error::invalid_argument(format!("{field} is missing"))
}

impl Worker {
    /// Hears one message.
    ///
    /// # Errors
    /// Why the worker is to end.
    pub(super) fn serve(self: &Arc<Self>, line: &mut BufReader<UnixStream>) -> Result<(), Misdeed> {
        let (said, length) = wire::read::<v1::FromWorker>(line).map_err(|error| error.to_string())?;
        let Some(driver) = self.driver.upgrade() else { return Err("its node ends".to_owned()) };
        let request = Request {
            number: said.number,
            instance: InstanceId(said.instance),
            task: said.task.map_or(TaskId::from_bits(0, 0), id_from),
        };
        let message = said.message.ok_or("it said nothing that is known")?;
        let takes_bytes =
            matches!(message, Message::Write(_) | Message::WriteWhenRoom(_) | Message::Append(_));
        if length > if takes_bytes { self.options.setup.value_bytes_max } else { 0 } {
            return Err(format!("it sent {length} bytes where it may not"));
        }
        let answered = match message {
            Message::Write(_) => self.write(&driver, line, length)?,
            Message::WriteWhenRoom(_) => self.write_when_room(&driver, &request, line, length)?,
            Message::Append(draft) => {
                let bytes = payload::bytes(line, length).map_err(|_| "its line broke")?;
                self.append(&request, draft, bytes)
            }
            message => match self.tells(&driver, &request, message) {
                Told::Heard => return Ok(()),
                Told::Misdeed(why) => return Err(why),
                Told::Asks(message) => self.asks(&driver, &request, message),
            },
        };
        if request.number == 0 {
            return Err("it asks and wants no answer".to_owned());
        }
        match answered {
            Ok(Done::Elsewhere) => {}
            Ok(Done::Now(answer)) => self.answer(request.number, answer, Bytes::None),
            Err(error) => self.refuse(&request, &error),
        }
        Ok(())
    }

    fn refuse(&self, request: &Request, error: &Error) {
        let known = (request.instance != InstanceId(0)).then_some(request.instance);
        self.answer(request.number, Answer::Failed(self.failure(known, error)), Bytes::None);
    }

    /// Keeps what was written, until it is put somewhere or let go.
    fn keep_written(&self, place: Place, size: u64) -> Result<Answer, Error> {
        let kept = Kept { place, size, origin: None, is_written: true };
        self.books.lock().keep(kept).map(Answer::Kept)
    }

    fn check_written(&self, more: u64) -> Result<(), Error> {
        let max = self.options.written_bytes_max;
        if self.books.lock().written_bytes().saturating_add(more) <= max {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::LimitExceeded,
            format!(
                "the tenant's guests on this node have written {max} bytes of values that nothing holds yet (written_bytes_max): let some of them end first"
            ),
        ))
    }

    fn write(
        &self,
        driver: &Arc<Driver>,
        line: &mut BufReader<UnixStream>,
        length: u64,
    ) -> Result<Result<Done, Error>, Misdeed> {
        if let Err(error) = self.check_written(length) {
            return match payload::skip(line, length) {
                Ok(()) => Ok(Err(error)),
                Err(_) => Err("its line broke".to_owned()),
            };
        }
        let size = usize::try_from(length).map_err(|_| "it writes more than there is")?;
        match payload::place(line, size, &driver.store) {
            Ok(place) => Ok(self.keep_written(place, length).map(Done::Now)),
            Err(Missed::NoRoom(error)) => Ok(Err(error)),
            Err(Missed::Broken) => Err("its line broke".to_owned()),
        }
    }

    fn write_when_room(
        self: &Arc<Self>,
        driver: &Arc<Driver>,
        request: &Request,
        line: &mut BufReader<UnixStream>,
        length: u64,
    ) -> Result<Result<Done, Error>, Misdeed> {
        let bytes = payload::bytes(line, length).map_err(|_| "its line broke")?;
        let from = self.check_written(length).and_then(|()| self.caller(request));
        let from = match from {
            Ok(from) => from,
            Err(error) => return Ok(Err(error)),
        };
        let this = self.clone();
        let stored = match driver.store.write(&[&bytes]) {
            Err(error) if error.code() == ErrorCode::StoreFull => {
                self.host.store_when_room(from, engine_objects::on_heap(bytes))
            }
            stored => Box::pin(std::future::ready(stored)),
        };
        Ok(self.later(request, stored, move |place| this.keep_written(place, length)))
    }

    fn append(self: &Arc<Self>, request: &Request, draft: u64, bytes: Vec<u8>) -> Result<Done, Error> {
        let (number, draft) = self.books.lock().take_draft(draft)?;
        let (this, failed, appended) = (self.clone(), self.clone(), self.host.append_on_disk(draft, bytes));
        let appended: Later<_> = Box::pin(async move {
            let appended = appended.await;
            // What could not be written can never be whole.
            appended.inspect_err(|_| failed.books.lock().put_draft(number, None))
        });
        self.later(request, appended, move |draft| {
            this.books.lock().put_draft(number, Some(draft));
            Ok(Answer::Draft(number))
        })
    }

    fn caller(&self, request: &Request) -> Result<Caller, Error> {
        self.books.lock().caller(request.instance, request.task)
    }

    /// Answers when that has come to its end, unless it is given up before.
    fn later<T: Send + 'static>(
        self: &Arc<Self>,
        request: &Request,
        later: Later<T>,
        answer: impl FnOnce(T) -> Result<Answer, Error> + Send + 'static,
    ) -> Result<Done, Error> {
        let (this, number, instance) = (self.clone(), request.number, request.instance);
        self.answers_later(request, async move {
            let answered = later.await.and_then(answer);
            if this.books.lock().waits_no_more(number).is_none() {
                return;
            }
            match answered {
                Ok(answer) => this.answer(number, answer, Bytes::None),
                Err(error) => {
                    this.refuse(&Request { number, instance, task: TaskId::from_bits(0, 0) }, &error);
                }
            }
        })
    }

    fn answers_later(
        &self,
        request: &Request,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Done, Error> {
        let driver = self.driver.upgrade().ok_or_else(|| Error::internal("the node ends"))?;
        // The work ends by taking what is entered here out again.
        let mut books = self.books.lock();
        let task = crate::background::spawn_on(&driver.background, crate::background::Kind::Worker, work);
        match books.waits(request.number, task.abort_handle()) {
            true => Ok(Done::Elsewhere),
            false => Err(Error::new(
                ErrorCode::LimitExceeded,
                "the tenant's guests on this node wait for as much as they may (waiting_max)",
            )),
        }
    }

    fn blocks(self: &Arc<Self>, request: &Request, wait: Wait) -> Result<Done, Error> {
        let Wait::Blocked(over) = wait else { return Ok(done()) };
        self.answer(request.number, Answer::Blocked(v1::Heard {}), Bytes::None);
        let over: Later<()> = Box::pin(async move {
            over.await;
            Ok(())
        });
        self.later(request, over, |()| Ok(Answer::Done(v1::Heard {})))
    }

    fn read(self: &Arc<Self>, request: &Request, read: &asks::Read) -> Result<Done, Error> {
        let kept = self.books.lock().kept(read.kept)?.clone();
        let end = read.offset.checked_add(read.length).filter(|end| *end <= kept.size);
        let end = end.ok_or_else(|| Error::invalid_argument("a value is read beyond its end"))?;
        if engine_objects::slice(&kept.place).is_some_and(|bytes| bytes.len() as u64 >= end) {
            let answer = Answer::Done(v1::Heard {});
            let range = read.offset as usize..end as usize;
            self.answer(request.number, answer, Bytes::Place(kept.place, range));
            return Ok(Done::Elsewhere);
        }
        let max = self.options.setup.memory_bytes_per_guest_max;
        if read.length > max {
            let message = format!("{} bytes are read at once, and {max} are as many as may be", read.length);
            return Err(Error::new(ErrorCode::LimitExceeded, message));
        }
        let (this, number, instance) = (self.clone(), request.number, request.instance);
        let (offset, length) = (read.offset, read.length);
        self.answers_later(request, async move {
            let turn = this.disk.clone().acquire_owned().await;
            let read = this.host.read(kept.place, offset, length).await;
            if let (Err(error), Some(origin)) = (&read, kept.origin)
                && error.code() == ErrorCode::ObjectLost
            {
                this.host.lost(origin, error);
            }
            if this.books.lock().waits_no_more(number).is_none() {
                return;
            }
            match read {
                Ok(bytes) => this.answer(number, Answer::Done(v1::Heard {}), Bytes::Heap(bytes)),
                Err(error) => {
                    this.refuse(&Request { number, instance, task: TaskId::from_bits(0, 0) }, &error);
                }
            }
            drop(turn);
        })
    }

    /// The bytes of a component that one of the jobs brought that the worker was told of.
    fn needs(self: &Arc<Self>, request: &Request, digest: &bytes::Bytes) -> Result<Done, Error> {
        let component = component_from(digest, "FromWorker.need")?;
        let is_brought = |job: &Arc<engine_runtime::JobContext>| {
            job.components.values().any(|brought| brought.id == component)
        };
        if !self.books.lock().jobs.values().any(is_brought) {
            let message = format!("no job of the tenant {} has brought {component}", self.tenant());
            return Err(Error::new(ErrorCode::NotFound, message));
        }
        let (this, number, instance) = (self.clone(), request.number, request.instance);
        self.answers_later(request, async move {
            let bytes = match this.driver.upgrade() {
                Some(driver) => component_bytes(&driver, component).await,
                None => Err(Error::internal("the node ends")),
            };
            if this.books.lock().waits_no_more(number).is_none() {
                return;
            }
            match bytes {
                Ok(bytes) => this.answer(number, Answer::Done(v1::Heard {}), Bytes::Component(bytes)),
                Err(error) => {
                    this.refuse(&Request { number, instance, task: TaskId::from_bits(0, 0) }, &error);
                }
            }
        })
    }

    /// A value of a sandbox, which holds what is inside.
    fn value(
        &self,
        driver: &Arc<Driver>,
        instance: InstanceId,
        value: v1::WorkerValue,
    ) -> Result<Value, Error> {
        let value = value_from(value, &|travels: Travels, _| self.take(driver, travels))?;
        check_held(driver, instance, std::iter::once(&value))?;
        Ok(value)
    }

    fn arguments(
        &self,
        driver: &Arc<Driver>,
        instance: InstanceId,
        arguments: Vec<v1::WorkerArgument>,
    ) -> Result<Vec<Argument>, Error> {
        let arguments = arguments_from(arguments, &|travels, _| self.take(driver, travels))?;
        let values = arguments.iter().filter_map(|argument| match argument {
            Argument::Value(value) => Some(value),
            Argument::Object(_) => None,
        });
        check_held(driver, instance, values)?;
        Ok(arguments)
    }

    fn check_options(&self, bytes: usize) -> Result<(), Error> {
        let max = self.options.option_bytes_max;
        match bytes <= max {
            true => Ok(()),
            false => Err(Error::new(
                ErrorCode::LimitExceeded,
                format!(
                    "names, environment and options take {bytes} bytes, and option_bytes_per_task_max is {max}"
                ),
            )),
        }
    }

    fn asks(
        self: &Arc<Self>,
        driver: &Arc<Driver>,
        request: &Request,
        message: Message,
    ) -> Result<Done, Error> {
        match &message {
            Message::Need(digest) => return self.needs(request, digest),
            Message::Read(read) => return self.read(request, read),
            Message::Seal(draft) => {
                let (number, draft) = self.books.lock().take_draft(*draft)?;
                self.books.lock().put_draft(number, None);
                let draft = draft.ok_or_else(|| missing("FromWorker.seal"))?;
                let (this, sealed) = (self.clone(), self.host.seal_on_disk(draft));
                return self.later(request, sealed, move |place| {
                    let size = engine_objects::size(&place);
                    this.keep_written(place, size)
                });
            }
            Message::NewLane(_) => return Ok(Done::Now(Answer::Lane(self.host.new_lane().0))),
            _ => {}
        }
        let from = self.caller(request)?;
        self.asks_as(driver, request, from, message)
    }

    /// What a guest asks for.
    fn asks_as(
        self: &Arc<Self>,
        driver: &Arc<Driver>,
        request: &Request,
        from: Caller,
        message: Message,
    ) -> Result<Done, Error> {
        let host = &self.host;
        Ok(match message {
            Message::Put(value) => given(host.put(from, self.value(driver, from.instance, value)?)?),
            Message::Outcome(object) => {
                let object = id_from(object);
                Done::Now(self.outcome(from.instance, object, host.outcome(from, object)))
            }
            Message::Wait(wait) => {
                let items = wait.items.into_iter().map(waitable_from).collect::<Result<Vec<_>, _>>()?;
                let until = wait.count.map_or(Until::AllOrFailure, Until::Count);
                let timeout = wait.timeout_ns.map(Duration::from_nanos);
                self.blocks(request, host.wait(from, &items, until, timeout))?
            }
            Message::IsReady(item) => {
                Done::Now(Answer::Is(host.is_waitable_ready(from, waitable_from(item)?)))
            }
            Message::Next(stream) => Done::Now(self.next_of(from.instance, host.next(from, id_from(stream)))),
            Message::Emit(value) => {
                let wait = host.emit(from, self.value(driver, from.instance, value)?)?;
                self.blocks(request, wait)?
            }
            Message::Spawn(spawn) => {
                let function = self.function(spawn.function)?;
                self.check_options(spawn.options.as_ref().map_or(0, |options| options.encoded_len()))?;
                let arguments = self.arguments(driver, from.instance, spawn.arguments)?;
                spawned(host.spawn(from, function, arguments, task_options_from(spawn.options)?)?)
            }
            Message::Cancel(cancel) => {
                let task = id_from(cancel.task.ok_or_else(|| missing("Cancel.task"))?);
                // A guest has a handle to what it cancels, which here nobody has shown.
                let job: Option<JobId> = driver.read(|node| node.task(task).map(|task| task.job));
                if job.is_some_and(|job| driver.jobs.is_of(self.tenant(), job)) {
                    host.cancel(from, task, cancel.force, cancel.recursive)?;
                }
                done()
            }
            Message::CreateActor(create) => {
                let class = self.function(create.class)?;
                let options = create.options.ok_or_else(|| missing("CreateActor.options"))?;
                self.check_options(options.encoded_len())?;
                let arguments = self.arguments(driver, from.instance, create.arguments)?;
                let actor = host.create_actor(from, class, arguments, actor_options_from(options)?);
                self.later(request, actor, |actor| Ok(Answer::Id(id(actor))))?
            }
            Message::LookupActor(lookup) => {
                let actor = host.lookup_actor(from, lookup.name, lookup.namespace);
                self.later(request, actor, |actor| Ok(Answer::Id(id(actor))))?
            }
            Message::CreateGroup(create) => {
                let strategy = strategy_from(create.strategy, "CreateGroup.strategy")?;
                let bundles = create.bundles.into_iter().map(bundle_from).collect::<Result<Vec<_>, _>>()?;
                let group = host.create_group(from, bundles, strategy, create.name);
                self.later(request, group, |group| Ok(Answer::Id(id(group))))?
            }
            Message::LookupGroup(name) => {
                self.later(request, host.lookup_group(from, name), |group| Ok(Answer::Id(id(group))))?
            }
            Message::GroupReady(group) => given(host.group_ready(from, id_from(group))?),
            Message::RemoveGroup(group) => {
                host.remove_group(from, id_from(group))?;
                done()
            }
            Message::CallActor(call) => {
                self.check_options(
                    call.method.len() + call.options.as_ref().map_or(0, |options| options.encoded_len()),
                )?;
                let actor = id_from(call.actor.ok_or_else(|| missing("CallActor.actor"))?);
                let arguments = self.arguments(driver, from.instance, call.arguments)?;
                let (lane, options) = (LaneId(call.lane), call_options_from(call.options)?);
                spawned(host.call_actor(from, actor, lane, call.method, arguments, options)?)
            }
            Message::KillActor(kill) => {
                let actor = id_from(kill.actor.ok_or_else(|| missing("KillActor.actor"))?);
                host.kill_actor(from, actor, kill.restart)?;
                done()
            }
            Message::Nodes(_) => {
                let nodes = host.nodes(from).into_iter().map(node).collect();
                Done::Now(Answer::Nodes(answers::Nodes { nodes }))
            }
            _ => return Err(Error::invalid_argument("a worker asks for what is not known here")),
        })
    }

    fn function(&self, function: Option<asks::FunctionName>) -> Result<FunctionName, Error> {
        let function = function.ok_or_else(|| missing("FunctionName"))?;
        self.check_options(function.encoded_len())?;
        Ok(FunctionName { component: function.component, name: function.name })
    }

    fn next_of(&self, instance: InstanceId, next: Next) -> Answer {
        let next = match next {
            Next::Object(object) => next::Next::Object(id(object)),
            Next::End => next::Next::End(v1::Heard {}),
            Next::Pending => next::Next::Pending(v1::Heard {}),
            Next::Failed(error) => next::Next::Failed(self.failure(Some(instance), &error)),
        };
        Answer::Next(answers::Next { next: Some(next) })
    }
}

fn spawned(spawned: Spawned) -> Done {
    let Spawned { task, outputs } = spawned;
    Done::Now(Answer::Spawned(v1::client_answer::Call { task: Some(id(task)), outputs }))
}

fn node(node: NodeInfo) -> answers::Node {
    answers::Node {
        node_id: node.id,
        labels: pairs(&node.labels),
        total: amounts(&node.total),
        available: amounts(&node.available),
    }
}

/// What a message was that may want no answer.
enum Told {
    Heard,
    Asks(Message),
    Misdeed(Misdeed),
}

impl Worker {
    /// What a worker tells, which wants no answer.
    fn tells(self: &Arc<Self>, driver: &Arc<Driver>, request: &Request, message: Message) -> Told {
        match message {
            Message::Ready(ready) => self.is_ready(ready),
            Message::Loaded(loaded) => self.loaded(loaded),
            Message::Acquire(handle) => {
                let Ok(handle) = handle_from(handle) else {
                    return Told::Misdeed("it takes nothing".to_owned());
                };
                if let Err(why) = self.acquire(driver, request, handle) {
                    return Told::Misdeed(why);
                }
            }
            Message::Release(handle) => {
                let Ok(handle) = handle_from(handle) else {
                    return Told::Misdeed("it drops nothing".to_owned());
                };
                let from = self.books.lock().holder(request.instance, request.task);
                if let Some(from) = from {
                    self.host.release(from, handle);
                }
            }
            Message::Log(log) => self.log(log),
            Message::Finished(finished) => {
                if let Err(error) = self.finished(driver, finished) {
                    return Told::Misdeed(error.to_string());
                }
            }
            Message::Gone(gone) => {
                if let Err(error) = self.gone(driver, gone) {
                    return Told::Misdeed(error.to_string());
                }
            }
            Message::GiveUp(number) => {
                let waited = self.books.lock().waits_no_more(number);
                if let Some(task) = waited {
                    task.abort();
                }
            }
            Message::Drop(dropped) => {
                let mut books = self.books.lock();
                dropped.numbers.into_iter().for_each(|number| books.let_go(number));
            }
            Message::DropDraft(draft) => self.books.lock().put_draft(draft, None),
            message => return Told::Asks(message),
        }
        Told::Heard
    }

    fn loaded(&self, loaded: asks::Loaded) {
        let world = match loaded.is_concurrent {
            true => ComponentWorld::Concurrent,
            false => ComponentWorld::Program,
        };
        let mut books = self.books.lock();
        let Some((component, done)) = books.loads.remove(&loaded.number) else { return };
        let result = match loaded.failed {
            None => {
                books.worlds.insert(component, world);
                Ok(world)
            }
            Some(failed) => {
                let none = |_, _| Err(Error::invalid_argument("a component gives nothing"));
                Err(failure_from(failed, &none).unwrap_or_else(|error| error))
            }
        };
        // Nobody waits for it when its job is not submitted any more.
        drop(done.send(result));
    }

    /// A sandbox takes a handle: one more of what it holds, or one of what it was shown.
    fn acquire(&self, driver: &Arc<Driver>, request: &Request, handle: Handle) -> Result<(), Misdeed> {
        let books = self.books.lock();
        let Some(from) = books.holder(request.instance, request.task) else { return Ok(()) };
        let was_shown = books.was_shown(request.instance, &handle);
        drop(books);
        if !was_shown && !driver.read(|node| node.holds(request.instance, &[handle])) {
            return Err(format!("it takes {handle:?}, which it was never shown"));
        }
        self.host.acquire(from, handle);
        Ok(())
    }

    fn log(&self, log: asks::Log) {
        let (Some(job), Some(task)) = (log.job, log.task) else { return };
        let job = id_from(job);
        if !self.books.lock().jobs.contains_key(&job) || log.encoded_len() > LOG_RECORD_BYTES_MAX {
            return;
        }
        let level = |name: &str| {
            ["trace", "debug", "info", "warn", "error"]
                .into_iter()
                .find(|level| *level == name)
                .unwrap_or("info")
        };
        let (source, level) = match log.stream.as_str() {
            "stdout" => (LogSource::Stdout, None),
            "stderr" => (LogSource::Stderr, None),
            stream => (LogSource::Record, Some(level(stream))),
        };
        let mut text = log.text;
        text.truncate(text.floor_char_boundary(LOG_LINE_BYTES_MAX));
        let fields = pairs_from(log.fields);
        let task = id_from(task);
        self.host.log(LogLine { job, task, source, level, target: log.target, text, fields });
    }

    /// The report of a call that is inside, of which nothing is given that is not held.
    fn report(
        &self,
        driver: &Arc<Driver>,
        instance: InstanceId,
        report: v1::WorkerReport,
    ) -> Result<CallReport, Error> {
        let report = report_from(report, &|travels, _| self.take(driver, travels))?;
        match &report.result {
            Ok(values) => check_held(driver, instance, values.iter())?,
            Err(error) => check_held(driver, instance, error.payload().into_iter())?,
        }
        if !self.books.lock().left(instance, report.task) {
            return Err(Error::invalid_argument(format!("{} is not inside of {instance}", report.task)));
        }
        Ok(report)
    }

    fn finished(&self, driver: &Arc<Driver>, finished: asks::Finished) -> Result<(), Error> {
        let instance = InstanceId(finished.instance);
        let report = finished.report.ok_or_else(|| missing("Finished.report"))?;
        let report = self.report(driver, instance, report)?;
        self.host.finished(instance, report);
        Ok(())
    }

    fn gone(&self, driver: &Arc<Driver>, gone: asks::Gone) -> Result<(), Error> {
        let instance = InstanceId(gone.instance);
        let calls = gone.calls.into_iter().map(|call| self.report(driver, instance, call));
        let calls = calls.collect::<Result<_, Error>>()?;
        let take = |travels, _| self.take(driver, travels);
        let cause = gone.cause.map(|cause| failure_from(cause, &take)).transpose()?;
        if let Some(cause) = &cause {
            check_held(driver, instance, cause.payload().into_iter())?;
        }
        if self.books.lock().sandboxes.remove(&instance).is_none() {
            return Err(Error::invalid_argument(format!("the sandbox {instance} is not its own")));
        }
        driver.workers.left(instance);
        self.host.gone(GoneReport { instance, calls, cause });
        Ok(())
    }
}
