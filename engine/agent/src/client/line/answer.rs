//! What a client elsewhere asks for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine_core::{Argument, Error, Value};
use engine_proto::convert::client::{
    Came, actor_options_from, amounts, bundle_from, call_options_from, strategy_from, task_options_from,
    value, value_from, waitable_from,
};
use engine_proto::convert::peer::{id, id_from};
use engine_proto::limits::{CLIENT_REQUESTS_MAX, VALUES_INLINE_BYTES_MAX};
use engine_proto::v1;
use engine_proto::v1::client_answer::{self as answers, Answer};
use engine_proto::v1::client_reply::Message as Reply;
use engine_proto::v1::client_request::{self as requests, Request};
use engine_runtime::host::FunctionName;
use futures::FutureExt;

use super::session::{Session, too_many};
use crate::background::{self, Kind};
use crate::client::{Call, Held};

impl Session {
    /// Begins to do what the client asks for; most of it is done at once.
    pub(super) fn begin(self: &Arc<Self>, number: u64, request: v1::ClientRequest) {
        if self.waiting.lock().len() >= CLIENT_REQUESTS_MAX {
            let error = Some((&too_many(CLIENT_REQUESTS_MAX)).into());
            return self.reply(number, Answer::Failed(answers::Failed { error, payload: None }));
        }
        // What makes something is done to its end, so that what it makes is the client's.
        let may_be_given_up =
            matches!(request.request, Some(Request::Get(_) | Request::Wait(_) | Request::Next(_)));
        let session = self.clone();
        let mut work = Box::pin(async move { session.answer(number, request).await });
        if work.as_mut().now_or_never().is_some() {
            return;
        }
        let mut waiting = self.waiting.lock();
        let session = self.clone();
        let ends = EndsWaiting(session, number);
        let task = background::spawn(Kind::Client, async move {
            work.await;
            drop(ends);
        });
        waiting.insert(number, may_be_given_up.then(|| task.abort_handle()));
    }

    fn reply(&self, number: u64, answer: Answer) {
        self.say(Reply::Answer(v1::ClientAnswer { to: number, answer: Some(answer) }));
    }

    async fn answer(self: Arc<Self>, number: u64, request: v1::ClientRequest) {
        let answer = match self.fulfil(request).await {
            Ok(answer) => answer,
            Err(error) => {
                let mut payload = None;
                if let Some(attached) = error.payload() {
                    payload = Some(self.lay_out(attached, &mut { VALUES_INLINE_BYTES_MAX }).await);
                    self.give_inside(attached);
                }
                Answer::Failed(answers::Failed { error: Some((&error).into()), payload })
            }
        };
        // Nothing is given up between giving and saying so.
        self.reply(number, answer);
    }

    async fn fulfil(&self, request: v1::ClientRequest) -> Result<Answer, Error> {
        let missing = || Error::invalid_argument("ClientRequest.request is missing, or not known here");
        let done = Answer::Done(v1::Heard {});
        Ok(match request.request.ok_or_else(missing)? {
            Request::Put(value) => {
                let value = self.take_value(value).await?;
                self.object(self.client().put(value)?)
            }
            Request::Get(get) => self.get(get).await?,
            Request::Wait(wait) => {
                let items = wait.items.into_iter().map(waitable_from).collect::<Result<Vec<_>, _>>()?;
                let timeout = wait.timeout_ns.map(Duration::from_nanos);
                let indexes = self.client().wait(&items, wait.num_ready, timeout).await?;
                Answer::Ready(answers::Ready { indexes })
            }
            Request::IsReady(item) => Answer::Is(self.client().is_ready(waitable_from(item)?)),
            Request::Next(next) => {
                let stream = needed(next.stream, "Next.stream")?;
                let timeout = next.timeout_ns.map(Duration::from_nanos);
                let next = self.client().next(id_from(stream), timeout).await?;
                let object = next.and_then(|held| held.object().map(id).inspect(|_| self.holding.give(held)));
                Answer::Next(answers::Next { object })
            }
            Request::Spawn(spawn) => self.spawn(spawn).await?,
            Request::Cancel(cancel) => {
                let task = id_from(needed(cancel.task, "Cancel.task")?);
                self.client().cancel(task, cancel.force, cancel.recursive)?;
                done
            }
            Request::CreateActor(create) => self.create_actor(create).await?,
            Request::LookupActor(lookup) => {
                let actor = self.client().lookup_actor(lookup.name, lookup.namespace).await?;
                let answer = Answer::Actor(id(actor.actor));
                self.holding.give_lane(lookup.lane, actor)?;
                answer
            }
            Request::CallActor(call) => self.call_actor(call).await?,
            Request::KillActor(kill) => {
                let actor = self.holding.lane(kill.lane)?;
                self.client().kill_actor(&actor, kill.restart)?;
                done
            }
            Request::CreateGroup(create) => {
                let strategy = strategy_from(create.strategy, "CreateGroup.strategy")?;
                let bundles = create.bundles.into_iter().map(bundle_from).collect::<Result<Vec<_>, _>>()?;
                self.group(self.client().create_group(bundles, strategy, create.name).await?)
            }
            Request::LookupGroup(name) => self.group(self.client().lookup_group(name).await?),
            Request::GroupReady(group) => self.object(self.client().group_ready(id_from(group))?),
            Request::RemoveGroup(group) => {
                self.client().remove_group(id_from(group))?;
                done
            }
            Request::Nodes(_) => self.nodes()?,
            Request::End(_) => {
                self.client().end().await;
                done
            }
        })
    }

    fn object(&self, held: Held) -> Answer {
        let object = held.object().map(id);
        self.holding.give(held);
        object.map_or(Answer::Done(v1::Heard {}), Answer::Object)
    }

    fn group(&self, held: Held) -> Answer {
        let group = held.group().map(id);
        self.holding.give(held);
        group.map_or(Answer::Done(v1::Heard {}), Answer::Group)
    }

    async fn get(&self, get: requests::Get) -> Result<Answer, Error> {
        let objects: Vec<_> = get.objects.into_iter().map(id_from).collect();
        let values = self.client().get(&objects, get.timeout_ns.map(Duration::from_nanos)).await?;
        let mut inline_left = VALUES_INLINE_BYTES_MAX;
        let mut given = Vec::with_capacity(values.len());
        for value in &values {
            given.push(self.lay_out(value, &mut inline_left).await);
        }
        values.iter().for_each(|value| self.give_inside(value));
        Ok(Answer::Values(answers::Values { values: given }))
    }

    async fn spawn(&self, spawn: requests::Spawn) -> Result<Answer, Error> {
        let function = FunctionName { component: Some(spawn.component), name: spawn.function };
        let arguments = self.take_arguments(spawn.arguments).await?;
        let options = task_options_from(spawn.options)?;
        Ok(self.call(self.client().spawn(function, arguments, options)?))
    }

    async fn create_actor(&self, create: requests::CreateActor) -> Result<Answer, Error> {
        let class = FunctionName { component: Some(create.component), name: create.class };
        let arguments = self.take_arguments(create.arguments).await?;
        let options = actor_options_from(needed(create.options, "CreateActor.options")?)?;
        let actor = self.client().create_actor(class, arguments, options).await?;
        let answer = Answer::Actor(id(actor.actor));
        self.holding.give_lane(create.lane, actor)?;
        Ok(answer)
    }

    async fn call_actor(&self, call: requests::CallActor) -> Result<Answer, Error> {
        let actor = self.holding.lane(call.lane)?;
        let arguments = self.take_arguments(call.arguments).await?;
        let options = call_options_from(call.options)?;
        Ok(self.call(self.client().call_actor(&actor, call.method, arguments, options)?))
    }

    fn call(&self, call: Call) -> Answer {
        let Call { task, outputs, stream } = call;
        let count = u32::try_from(outputs.len()).unwrap_or(u32::MAX);
        let answer = answers::Call { task: Some(id(task)), outputs: stream.is_none().then_some(count) };
        outputs.into_iter().chain(stream).for_each(|held| self.holding.give(held));
        Answer::Call(answer)
    }

    fn nodes(&self) -> Result<Answer, Error> {
        let node = |node: engine_runtime::host::NodeInfo| answers::Node {
            node_id: node.id,
            labels: node.labels.into_iter().collect(),
            total: amounts(node.total),
            available: amounts(node.available),
        };
        let nodes = self.client().nodes()?.into_iter().map(node).collect();
        Ok(Answer::Nodes(answers::Nodes { nodes }))
    }

    async fn take_arguments(&self, arguments: Vec<v1::ClientArgument>) -> Result<Vec<Argument>, Error> {
        use v1::client_argument::Argument as Wire;
        let mut taken = Vec::with_capacity(arguments.len());
        for argument in arguments {
            taken.push(match needed(argument.argument, "ClientArgument.argument")? {
                Wire::Value(value) => Argument::Value(self.take_value(value).await?),
                Wire::Object(object) => Argument::Object(id_from(object)),
            });
        }
        Ok(taken)
    }

    /// A value of the client's, where it stays.
    async fn take_value(&self, value: v1::ClientValue) -> Result<Value, Error> {
        let (codec, handles, came) = value_from(value)?;
        let (size, place) = match came {
            Came::Inline(bytes) => (bytes.len(), self.client().place(&[&bytes])?),
            Came::Pieces(number) => {
                let bytes = self.pieces.lock().take(number)?;
                (bytes.len(), self.client().place(&[&bytes])?)
            }
        };
        self.client().value(codec, size as u64, place, &handles).await
    }

    /// A value for the client; the bytes of one that does not fit into what is left go before it.
    async fn lay_out(&self, given: &Value, inline_left: &mut usize) -> v1::ClientValue {
        let bytes = Bytes::from_owner(Placed(given.clone()));
        let came = match bytes.len() <= *inline_left {
            true => {
                *inline_left -= bytes.len();
                Came::Inline(bytes)
            }
            false => Came::Pieces(self.say_pieces(bytes).await),
        };
        value(given.codec, &given.handles, came)
    }

    /// The client gets what is inside a value.
    fn give_inside(&self, given: &Value) {
        given.handles.iter().for_each(|handle| self.holding.give(self.client().hold(*handle)));
    }
}

/// A request that waits until this is dropped.
struct EndsWaiting(Arc<Session>, u64);

impl Drop for EndsWaiting {
    fn drop(&mut self) {
        self.0.waiting.lock().remove(&self.1);
    }
}

/// The bytes of a value, which stay where they are as long as they are sent.
struct Placed(Value);

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        engine_objects::bytes(&self.0)
    }
}

fn needed<T>(field: Option<T>, name: &str) -> Result<T, Error> {
    field.ok_or_else(|| Error::invalid_argument(format!("{name} is missing")))
}
