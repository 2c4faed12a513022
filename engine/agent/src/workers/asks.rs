//! What guests in a worker ask for, done as guests in this process would have it.

use std::sync::Arc;
use std::time::Duration;

use engine_core::node::{Next, Until};
use engine_core::{Argument, Error, ErrorCode, InstanceId, JobId, LaneId, Value};
use engine_proto::convert::client::{
    actor_options_from, bundle_from, call_options_from, strategy_from, task_options_from,
};
use engine_proto::convert::peer::{WireId, id, id_from};
use engine_proto::convert::worker::{Travels, amounts, arguments_from, pairs, value_from, waitable_from};
use engine_proto::prost::Message as _;
use engine_proto::v1;
use engine_proto::v1::from_worker::{self as asks, Message};
use engine_proto::v1::worker_answer::{self as answers, Answer, next};
use engine_runtime::host::{Caller, FunctionName, Host, NodeInfo, Spawned};

use super::laid::check_held;
use super::serve::{Done, Request};
use super::worker::Worker;
use crate::driver::Driver;

fn done() -> Done {
    Some(Answer::Done(v1::Heard {}))
}

fn given<I: WireId>(given: I) -> Done {
    Some(Answer::Id(id(given)))
}

pub(super) fn missing(field: &str) -> Error {
    Error::invalid_argument(format!("{field} is missing"))
}

impl Worker {
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

    pub(super) fn asks(
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
            Message::NewLane(_) => return Ok(Some(Answer::Lane(self.host.new_lane().0))),
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
                Some(self.outcome(from.instance, object, host.outcome(from, object)))
            }
            Message::Wait(wait) => {
                let items = wait.items.into_iter().map(waitable_from).collect::<Result<Vec<_>, _>>()?;
                let until = wait.count.map_or(Until::AllOrFailure, Until::Count);
                let timeout = wait.timeout_ns.map(Duration::from_nanos);
                self.blocks(request, host.wait(from, &items, until, timeout))?
            }
            Message::IsReady(item) => Some(Answer::Is(host.is_waitable_ready(from, waitable_from(item)?))),
            Message::Next(stream) => Some(self.next_of(from.instance, host.next(from, id_from(stream)))),
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
                Some(Answer::Nodes(answers::Nodes { nodes }))
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
    Some(Answer::Spawned(v1::client_answer::Call { task: Some(id(task)), outputs }))
}

fn node(node: NodeInfo) -> answers::Node {
    answers::Node {
        node_id: node.id,
        labels: pairs(&node.labels),
        total: amounts(&node.total),
        available: amounts(&node.available),
    }
}
