//! The client of a session: of an engine in this process, or of one elsewhere. Values are the core's either
//! way: those of one elsewhere lie on the heap.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine_client::session;
use engine_core::node::Waitable;
use engine_core::options::{ActorOptions, CallOptions, TaskOptions};
use engine_core::value::no_handles;
use engine_core::{ActorId, Argument, Codec, Error, Handle, NodeId, ObjectId, Place, TaskId, Value};
use engine_proto::v1;
use engine_runtime::host::{Bundle, FunctionName, GroupStrategy, NodeInfo, PlacementGroupId};
use futures::StreamExt;
use futures::stream::BoxStream;

/// A program that is the root of a job.
#[derive(Clone)]
pub(crate) enum Client {
    /// Of an engine in this process.
    Here(engine_agent::Client),
    /// Of one elsewhere.
    Remote(engine_client::Session),
}

/// A handle of a client's: dropping it gives it back.
pub(crate) enum Held {
    Here(engine_agent::Held),
    Remote(session::Held),
}

impl Held {
    pub(crate) fn handle(&self) -> Handle {
        match self {
            Self::Here(held) => held.handle(),
            Self::Remote(held) => held.handle(),
        }
    }

    pub(crate) fn object(&self) -> Option<ObjectId> {
        match self.handle() {
            Handle::Object(id) => Some(id),
            _ => None,
        }
    }

    pub(crate) fn group(&self) -> Option<PlacementGroupId> {
        match self.handle() {
            Handle::PlacementGroup(id) => Some(id),
            _ => None,
        }
    }
}

/// Several of them, as the client gives them.
pub(crate) enum ManyHeld {
    Here(Vec<engine_agent::Held>),
    Remote(Vec<session::Held>),
}

impl ManyHeld {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Here(held) => held.len(),
            Self::Remote(held) => held.len(),
        }
    }

    /// Takes them out.
    pub(crate) fn take(&mut self) -> Vec<Held> {
        match self {
            Self::Here(held) => held.drain(..).map(Held::Here).collect(),
            Self::Remote(held) => held.drain(..).map(Held::Remote).collect(),
        }
    }
}

/// A task or an actor call that a client made.
pub(crate) struct Call {
    pub(crate) task: TaskId,
    pub(crate) outputs: ManyHeld,
    pub(crate) stream: Option<Held>,
}

impl From<engine_agent::Call> for Call {
    fn from(call: engine_agent::Call) -> Self {
        let engine_agent::Call { task, outputs, stream } = call;
        Self { task, outputs: ManyHeld::Here(outputs), stream: stream.map(Held::Here) }
    }
}

impl From<session::Call> for Call {
    fn from(call: session::Call) -> Self {
        let session::Call { task, outputs, stream } = call;
        Self { task, outputs: ManyHeld::Remote(outputs), stream: stream.map(Held::Remote) }
    }
}

/// An actor, and the queue of the calls made through this handle.
pub(crate) enum ActorRef {
    Here(engine_agent::ActorRef),
    Remote(session::ActorRef),
}

impl ActorRef {
    pub(crate) fn actor(&self) -> ActorId {
        match self {
            Self::Here(actor) => actor.actor,
            Self::Remote(actor) => actor.actor,
        }
    }
}

fn other_session() -> Error {
    Error::invalid_argument("the actor's handle is of another session: look the actor up in this one")
}

// What a session elsewhere does is boxed: here everything is small, and moved about with each call.
impl Client {
    pub(crate) fn job(&self) -> String {
        match self {
            Self::Here(client) => client.job().to_string(),
            Self::Remote(session) => session.job().to_string(),
        }
    }

    pub(crate) fn node(&self) -> NodeId {
        match self {
            Self::Here(client) => client.node(),
            Self::Remote(session) => session.node(),
        }
    }

    pub(crate) fn namespace(&self) -> String {
        match self {
            Self::Here(client) => client.namespace(),
            Self::Remote(session) => session.namespace().to_owned(),
        }
    }

    /// Ends the job in order, and waits until nothing of it is left.
    pub(crate) async fn end(&self) {
        match self {
            Self::Here(client) => client.end().await,
            Self::Remote(session) => session.end().await,
        }
    }

    /// The job's log, to the end of the job.
    pub(crate) fn logs(&self) -> Result<BoxStream<'static, Result<v1::LogBatch, Error>>, Error> {
        Ok(match self {
            Self::Here(client) => client.logs()?,
            Self::Remote(session) => {
                session.logs().map(|batch| batch.map_err(engine_client::Error::into_engine)).boxed()
            }
        })
    }

    pub(crate) fn hold(&self, handle: Handle) -> Held {
        match self {
            Self::Here(client) => Held::Here(client.hold(handle)),
            Self::Remote(session) => Held::Remote(session.hold(handle)),
        }
    }

    pub(crate) fn hold_actor(&self, actor: ActorId) -> ActorRef {
        match self {
            Self::Here(client) => ActorRef::Here(client.hold_actor(actor)),
            Self::Remote(session) => ActorRef::Remote(session.hold_actor(actor)),
        }
    }

    /// Copies these parts, one after the other, to where they stay, or to where they leave from.
    pub(crate) fn place(&self, parts: &[&[u8]]) -> Result<Place, Error> {
        match self {
            Self::Here(client) => client.place(parts),
            Self::Remote(_) => Ok(on_heap(parts.concat())),
        }
    }

    /// A value of the bytes that lie there.
    pub(crate) async fn value(
        &self,
        codec: Codec,
        size: u64,
        place: Place,
        handles: &[Handle],
    ) -> Result<Value, Error> {
        match self {
            Self::Here(client) => client.value(codec, size, place, handles).await,
            Self::Remote(_) => {
                let handles = if handles.is_empty() { no_handles() } else { handles.into() };
                Ok(Value { codec, size, handles, place })
            }
        }
    }

    pub(crate) async fn put(&self, value: Value) -> Result<Held, Error> {
        match self {
            Self::Here(client) => client.put(value).map(Held::Here),
            Self::Remote(session) => {
                Box::pin(session.put(leaving(value))).await.map(Held::Remote).map_err(failed)
            }
        }
    }

    pub(crate) async fn get(
        &self,
        objects: &[ObjectId],
        timeout: Option<Duration>,
    ) -> Result<Vec<Value>, Error> {
        match self {
            Self::Here(client) => client.get(objects, timeout).await,
            Self::Remote(session) => {
                let values = Box::pin(session.get(objects, timeout)).await.map_err(failed)?;
                Ok(values.into_iter().map(came).collect())
            }
        }
    }

    pub(crate) async fn wait(
        &self,
        items: &[Waitable],
        num_ready: u32,
        timeout: Option<Duration>,
    ) -> Result<Vec<u32>, Error> {
        match self {
            Self::Here(client) => client.wait(items, num_ready, timeout).await,
            Self::Remote(session) => Box::pin(session.wait(items, num_ready, timeout)).await.map_err(failed),
        }
    }

    pub(crate) async fn is_ready(&self, item: Waitable) -> Result<bool, Error> {
        match self {
            Self::Here(client) => Ok(client.is_ready(item)),
            Self::Remote(session) => session.is_ready(item).await.map_err(failed),
        }
    }

    pub(crate) async fn next(
        &self,
        stream: TaskId,
        timeout: Option<Duration>,
    ) -> Result<Option<Held>, Error> {
        Ok(match self {
            Self::Here(client) => client.next(stream, timeout).await?.map(Held::Here),
            Self::Remote(session) => {
                Box::pin(session.next(stream, timeout)).await.map_err(failed)?.map(Held::Remote)
            }
        })
    }

    pub(crate) async fn spawn(
        &self,
        function: FunctionName,
        arguments: Vec<Argument>,
        options: TaskOptions,
    ) -> Result<Call, Error> {
        match self {
            Self::Here(client) => client.spawn(function, arguments, options).map(Call::from),
            Self::Remote(session) => {
                let (component, name) = named(function)?;
                let arguments = all_leaving(arguments);
                Box::pin(session.spawn(component, name, &arguments, &options))
                    .await
                    .map(Call::from)
                    .map_err(failed)
            }
        }
    }

    pub(crate) async fn cancel(&self, task: TaskId, force: bool, recursive: bool) -> Result<(), Error> {
        match self {
            Self::Here(client) => client.cancel(task, force, recursive),
            Self::Remote(session) => session.cancel(task, force, recursive).await.map_err(failed),
        }
    }

    pub(crate) async fn create_actor(
        &self,
        class: FunctionName,
        arguments: Vec<Argument>,
        options: ActorOptions,
    ) -> Result<ActorRef, Error> {
        match self {
            Self::Here(client) => client.create_actor(class, arguments, options).await.map(ActorRef::Here),
            Self::Remote(session) => {
                let (component, name) = named(class)?;
                let arguments = all_leaving(arguments);
                let created = Box::pin(session.create_actor(component, name, &arguments, &options)).await;
                created.map(ActorRef::Remote).map_err(failed)
            }
        }
    }

    pub(crate) async fn lookup_actor(
        &self,
        name: String,
        namespace: Option<String>,
    ) -> Result<ActorRef, Error> {
        match self {
            Self::Here(client) => client.lookup_actor(name, namespace).await.map(ActorRef::Here),
            Self::Remote(session) => {
                session.lookup_actor(name, namespace).await.map(ActorRef::Remote).map_err(failed)
            }
        }
    }

    pub(crate) async fn call_actor(
        &self,
        actor: &ActorRef,
        method: String,
        arguments: Vec<Argument>,
        options: CallOptions,
    ) -> Result<Call, Error> {
        match (self, actor) {
            (Self::Here(client), ActorRef::Here(actor)) => {
                client.call_actor(actor, method, arguments, options).map(Call::from)
            }
            (Self::Remote(session), ActorRef::Remote(actor)) => {
                let arguments = all_leaving(arguments);
                let called = Box::pin(session.call_actor(actor, method, &arguments, &options)).await;
                called.map(Call::from).map_err(failed)
            }
            _ => Err(other_session()),
        }
    }

    pub(crate) async fn kill_actor(&self, actor: &ActorRef, restart: bool) -> Result<(), Error> {
        match (self, actor) {
            (Self::Here(client), ActorRef::Here(actor)) => client.kill_actor(actor, restart),
            (Self::Remote(session), ActorRef::Remote(actor)) => {
                session.kill_actor(actor, restart).await.map_err(failed)
            }
            _ => Err(other_session()),
        }
    }

    pub(crate) async fn create_group(
        &self,
        bundles: Vec<Bundle>,
        strategy: GroupStrategy,
        name: Option<String>,
    ) -> Result<Held, Error> {
        match self {
            Self::Here(client) => client.create_group(bundles, strategy, name).await.map(Held::Here),
            Self::Remote(session) => {
                session.create_group(&bundles, strategy, name).await.map(Held::Remote).map_err(failed)
            }
        }
    }

    pub(crate) async fn lookup_group(&self, name: String) -> Result<Held, Error> {
        match self {
            Self::Here(client) => client.lookup_group(name).await.map(Held::Here),
            Self::Remote(session) => session.lookup_group(name).await.map(Held::Remote).map_err(failed),
        }
    }

    pub(crate) async fn group_ready(&self, group: PlacementGroupId) -> Result<Held, Error> {
        match self {
            Self::Here(client) => client.group_ready(group).map(Held::Here),
            Self::Remote(session) => session.group_ready(group).await.map(Held::Remote).map_err(failed),
        }
    }

    pub(crate) async fn remove_group(&self, group: PlacementGroupId) -> Result<(), Error> {
        match self {
            Self::Here(client) => client.remove_group(group),
            Self::Remote(session) => session.remove_group(group).await.map_err(failed),
        }
    }

    pub(crate) async fn nodes(&self) -> Result<Vec<NodeInfo>, Error> {
        match self {
            Self::Here(client) => client.nodes(),
            Self::Remote(session) => {
                let node = |node: session::NodeInfo| {
                    let session::NodeInfo { id, labels, total, available } = node;
                    NodeInfo { id, labels, total, available }
                };
                Ok(session.nodes().await.map_err(failed)?.into_iter().map(node).collect())
            }
        }
    }
}

fn named(function: FunctionName) -> Result<(String, String), Error> {
    let FunctionName { component, name } = function;
    let component = component.ok_or_else(|| {
        Error::invalid_argument(format!("a client is no component: name that of {name} too"))
    })?;
    Ok((component, name))
}

fn on_heap(bytes: Vec<u8>) -> Place {
    match bytes.is_empty() {
        true => Place::default(),
        false => engine_objects::on_heap(bytes),
    }
}

/// Bytes that stay where they are as long as they are sent.
struct Leaving(Place);

impl AsRef<[u8]> for Leaving {
    fn as_ref(&self) -> &[u8] {
        engine_objects::slice(&self.0).unwrap_or_default()
    }
}

fn leaving(value: Value) -> session::Value {
    let Value { codec, handles, place, .. } = value;
    session::Value::new(codec, Bytes::from_owner(Leaving(place)), handles.to_vec())
}

fn all_leaving(arguments: Vec<Argument>) -> Vec<session::Argument> {
    let argument = |argument| match argument {
        Argument::Value(value) => session::Argument::Value(leaving(value)),
        Argument::Object(id) => session::Argument::Object(id),
    };
    arguments.into_iter().map(argument).collect()
}

/// Where a value lies that came with handles inside, which it holds.
struct Came {
    bytes: Place,
    _held: Vec<session::Held>,
}

fn came(value: session::Value) -> Value {
    let (codec, handles) = (value.codec, value.handles.as_slice().into());
    let (bytes, held) = value.into_parts();
    let size = bytes.len() as u64;
    let bytes = on_heap(bytes.into());
    let place = match held.is_empty() {
        true => bytes,
        false => Place::new(Arc::new(Came { bytes, _held: held })),
    };
    Value { codec, size, handles, place }
}

/// Where the bytes of a value lie.
pub(crate) fn place_of(value: &Value) -> &Place {
    match value.handles.is_empty() {
        true => &value.place,
        false => value.place.downcast::<Came>().map_or(&value.place, |came| &came.bytes),
    }
}

fn failed(failure: session::Failure) -> Error {
    let session::Failure { error, payload } = failure;
    error.with_payload(payload.map(came))
}
