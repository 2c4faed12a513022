//! A program outside that is the root of a job, attached to the node that owns on its behalf (contract J3).
//!
//! What both sides say goes on a line that outlives its connections: when one breaks others are tried, and
//! everything goes on where it was.

mod answer;
mod handles;
mod keep;
mod line;
mod saying;
mod value;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine_core::group::{Bundle, GroupStrategy};
use engine_core::node::Waitable;
use engine_core::options::{ActorOptions, CallOptions, TaskOptions};
use engine_core::{ActorId, Error as EngineError, ErrorCode, Handle, JobId, NodeId, ObjectId};
use engine_core::{PlacementGroupId, TaskId};
use engine_proto::convert::client as wire;
use engine_proto::convert::peer::{id, id_from};
use engine_proto::limits::CLIENT_KEY_BYTES;
use engine_proto::v1;
use engine_proto::v1::client_message::{Lane, Message};
use engine_proto::v1::client_reply::Attached;
use engine_proto::v1::client_request::{self as requests, Request};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::task::AbortHandle;

use crate::attach::{Seen, patience};
use crate::background::{self, Kind};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::job::{Event, Job};
use answer::Answer;
use keep::{Keeper, Over};
use line::Line;
use saying::Saying;

pub use handles::{ActorRef, Call, Held};
pub use value::{Argument, Failure, NodeInfo, Value};

/// How long a session is tried to be started while its node does not answer.
const START_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the engine may take to say that nothing of an ended job is left, once the session has ended.
const END_TIME_MAX: Duration = Duration::from_secs(10);

/// The result of something that a session asks for.
pub type Answered<T> = std::result::Result<T, Failure>;

/// How a session is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long other connections are tried when one breaks. The node waits for its `client_grace`, 30 s if
    /// nothing else is said there.
    pub reconnect_max: Duration,
    /// The file with credentials that the node is shown; none: those of the client's address.
    pub credentials: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { reconnect_max: Duration::from_secs(30), credentials: None }
    }
}

/// A program that is the root of a job of a running engine. Clones are the same; when the last is dropped
/// without [`Session::end`] it is lost, and its job fails once the node's `client_grace` has passed.
///
/// Every method that asks the node for something fails with OWNER_DIED once the session has ended, and with
/// LIMIT_EXCEEDED when more is asked for at once than `client_requests_max`. What is asked for and dropped
/// before its answer is given up.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    line: Arc<Line>,
    job: Job,
    id: JobId,
    attached: Attached,
    away_max: Duration,
    keeps: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.keeps.abort();
        self.line.over(None);
        self.line.disconnected();
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({})", self.job())
    }
}

impl Session {
    /// Starts a job whose root is this program: of `spec`, whose components were uploaded, what says how it
    /// is started is set here. Must be called inside a tokio runtime, which keeps the session.
    ///
    /// # Errors
    /// What is wrong with `spec`; what keeps the engine or the node from being reached.
    pub async fn start(client: &Client, mut spec: v1::JobSpec, options: Options) -> Result<Self> {
        spec.entry = Some(v1::job_spec::Entry::Client(v1::ClientEntry {}));
        spec.attached = true;
        let key = key()?;
        let job = client.submit(spec).await?;
        match Self::attach(job.clone(), key, options).await {
            Ok(session) => Ok(session),
            Err(error) => {
                // Nobody is attached to it. If this fails too, the job ends with the node's `client_grace`.
                drop(tokio::time::timeout(END_TIME_MAX, job.stop()).await);
                Err(error.into())
            }
        }
    }

    async fn attach(job: Job, key: Vec<u8>, options: Options) -> std::result::Result<Self, EngineError> {
        let id: JobId = job.id().parse().map_err(|_| EngineError::internal("a job came with no id"))?;
        let away_max = patience(job.client(), options.reconnect_max);
        let line = Line::new();
        let mut keeper = Keeper {
            line: line.clone(),
            job: job.clone(),
            id,
            key,
            credentials: options.credentials,
            node: None,
            unknown_since: None,
        };
        let (connection, attached) = keeper.reach(None, START_TIME_MAX).await.map_err(|over| match over {
            Over::Closed => {
                EngineError::new(ErrorCode::OwnerDied, "the job ended before its client was there")
            }
            Over::Because(error) => error,
        })?;
        let gone = Ended(line.clone());
        let keeps = background::spawn(Kind::Line, async move {
            let _gone = gone;
            keeper.keep(connection, away_max).await;
        });
        Ok(Self { inner: Arc::new(Inner { line, job, id, attached, away_max, keeps }) })
    }

    fn line(&self) -> &Arc<Line> {
        &self.inner.line
    }

    /// Its job.
    pub fn job(&self) -> JobId {
        self.inner.id
    }

    /// The task that it is in listings.
    pub fn task(&self) -> TaskId {
        id_from(self.inner.attached.task.unwrap_or_default())
    }

    /// The node that it is attached to.
    pub fn node(&self) -> NodeId {
        id_from(self.inner.attached.node.unwrap_or_default())
    }

    /// Where the names of its actors are found.
    pub fn namespace(&self) -> &str {
        &self.inner.attached.namespace
    }

    /// To whom its job belongs.
    pub fn tenant(&self) -> &str {
        &self.inner.attached.tenant
    }

    /// Ends the job in order, and waits until nothing of it is left. Nothing when it has ended.
    pub async fn end(&self) {
        if self.has_ended() {
            return;
        }
        let ended = self.ask(Request::End(v1::Heard {})).await.and_then(Answer::done);
        if ended.is_err() {
            // It ended before it could say that nothing is left: the engine does.
            drop(tokio::time::timeout(END_TIME_MAX, self.inner.job.wait()).await);
        }
        self.line().over(None);
    }

    /// Whether it has ended, or was ended.
    pub fn has_ended(&self) -> bool {
        self.line().has_ended()
    }

    /// Resolves once it has ended, or was ended.
    pub async fn ended(&self) {
        // A sender that is gone says the same.
        drop(self.line().ended().wait_for(Option::is_some).await);
    }

    /// Its job's log: what is kept and what comes, to the end of the job, through connections that break.
    pub fn logs(&self) -> BoxStream<'static, Result<v1::LogBatch>> {
        let seen = self.inner.job.follow(self.inner.away_max);
        let batch = |seen: Result<Seen>| async move {
            match seen {
                Ok(Seen::Event(event)) => match *event {
                    Event::Logs(batch) => Some(Ok(batch)),
                    Event::Progress(_) | Event::Job(_) => None,
                },
                Ok(Seen::Away(_) | Seen::Back) => None,
                Err(error) => Some(Err(error)),
            }
        };
        seen.filter_map(batch).boxed()
    }

    async fn ask(&self, request: Request) -> Answered<Answer> {
        Saying::new(self.line()).ask(request, None).await
    }

    /// The same; none when the time has passed and the node cannot be heard.
    async fn ask_for(&self, request: Request, timeout: Option<Duration>) -> Option<Answered<Answer>> {
        tokio::select! {
            answer = self.ask(request) => Some(answer),
            () = self.line().timed_out_away(timeout) => None,
        }
    }

    /// A handle of its own to something that it holds, or that is inside a value it was given and still has.
    pub fn hold(&self, handle: Handle) -> Held {
        self.line().say(Message::Hold(wire::handle(handle)));
        Held::given(self.line(), handle)
    }

    /// The same for an actor: with a queue of its own.
    pub fn hold_actor(&self, actor: ActorId) -> ActorRef {
        let lane = self.line().new_lane();
        self.line().say(Message::OpenLane(Lane { lane, actor: Some(id(actor)) }));
        ActorRef::given(self.line(), actor, lane)
    }

    /// Makes an object of a value.
    ///
    /// # Errors
    /// As the node says.
    pub async fn put(&self, value: Value) -> Answered<Held> {
        let mut saying = Saying::new(self.line());
        let value = saying.value(&value).await?;
        saying.ask(Request::Put(value), None).await?.object()
    }

    /// The values of these objects, in this order.
    ///
    /// # Errors
    /// The first failure in this order of those that are known, and GET_TIMEOUT.
    pub async fn get(&self, objects: &[ObjectId], timeout: Option<Duration>) -> Answered<Vec<Value>> {
        let get = requests::Get {
            objects: objects.iter().copied().map(id).collect(),
            timeout_ns: timeout.map(nanoseconds),
        };
        match self.ask_for(Request::Get(get), timeout).await {
            Some(answer) => answer?.values(),
            None => Err(away(&format!("what became of {} objects", objects.len()), timeout)),
        }
    }

    /// Waits until `num_ready` of `items` are ready, or the timeout; the indexes of those that are, at most
    /// so many.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a thing that is there twice, and for another number than there are.
    pub async fn wait(
        &self,
        items: &[Waitable],
        num_ready: u32,
        timeout: Option<Duration>,
    ) -> Answered<Vec<u32>> {
        let items = items.iter().copied().map(wire::waitable).collect();
        let wait = requests::Wait { items, num_ready, timeout_ns: timeout.map(nanoseconds) };
        match self.ask_for(Request::Wait(wait), timeout).await {
            Some(answer) => answer?.ready(),
            // As far as is known here.
            None => Ok(Vec::new()),
        }
    }

    /// Whether a wait for this would end now.
    ///
    /// # Errors
    /// As every method.
    pub async fn is_ready(&self, item: Waitable) -> Answered<bool> {
        self.ask(Request::IsReady(wire::waitable(item))).await?.is()
    }

    /// The next object of a stream; none at its end.
    ///
    /// # Errors
    /// The stream's failure, and GET_TIMEOUT.
    pub async fn next(&self, stream: TaskId, timeout: Option<Duration>) -> Answered<Option<Held>> {
        let next = requests::Next { stream: Some(id(stream)), timeout_ns: timeout.map(nanoseconds) };
        match self.ask_for(Request::Next(next), timeout).await {
            Some(answer) => answer?.next(),
            None => Err(away(&format!("the next object of {stream}"), timeout)),
        }
    }

    /// Spawns a task: the function of this name of a component of the job's.
    ///
    /// # Errors
    /// As the node says.
    pub async fn spawn(
        &self,
        component: String,
        function: String,
        arguments: &[Argument],
        options: &TaskOptions,
    ) -> Answered<Call> {
        let mut saying = Saying::new(self.line());
        let arguments = saying.arguments(arguments).await?;
        let options = wire::task_options(options);
        let spawn = requests::Spawn { component, function, arguments, options };
        saying.ask(Request::Spawn(spawn), None).await?.call()
    }

    /// Cancels a task or call.
    ///
    /// # Errors
    /// As the node says.
    pub async fn cancel(&self, task: TaskId, force: bool, recursive: bool) -> Answered<()> {
        let cancel = requests::Cancel { task: Some(id(task)), force, recursive };
        self.ask(Request::Cancel(cancel)).await?.done()
    }

    /// Creates an actor of this class of a component of the job's, or finds the one of that name with
    /// `get_if_exists`.
    ///
    /// # Errors
    /// As the node says.
    pub async fn create_actor(
        &self,
        component: String,
        class: String,
        arguments: &[Argument],
        options: &ActorOptions,
    ) -> Answered<ActorRef> {
        let mut saying = Saying::new(self.line());
        let arguments = saying.arguments(arguments).await?;
        let (lane, options) = (self.line().new_lane(), Some(wire::actor_options(options)));
        let create = requests::CreateActor { lane, component, class, arguments, options };
        saying.ask(Request::CreateActor(create), Some(lane)).await?.actor()
    }

    /// Finds a named actor.
    ///
    /// # Errors
    /// NOT_FOUND when there is none.
    pub async fn lookup_actor(&self, name: String, namespace: Option<String>) -> Answered<ActorRef> {
        let lane = self.line().new_lane();
        let lookup = requests::LookupActor { lane, name, namespace };
        Saying::new(self.line()).ask(Request::LookupActor(lookup), Some(lane)).await?.actor()
    }

    /// Calls a method.
    ///
    /// # Errors
    /// As the node says.
    pub async fn call_actor(
        &self,
        actor: &ActorRef,
        method: String,
        arguments: &[Argument],
        options: &CallOptions,
    ) -> Answered<Call> {
        let mut saying = Saying::new(self.line());
        let arguments = saying.arguments(arguments).await?;
        let options = wire::call_options(options);
        let call = requests::CallActor { lane: actor.lane, method, arguments, options };
        saying.ask(Request::CallActor(call), None).await?.call()
    }

    /// Ends an actor's incarnation; with `restart`, its budget applies.
    ///
    /// # Errors
    /// As the node says.
    pub async fn kill_actor(&self, actor: &ActorRef, restart: bool) -> Answered<()> {
        let kill = requests::KillActor { lane: actor.lane, restart };
        self.ask(Request::KillActor(kill)).await?.done()
    }

    /// Asks for a placement group.
    ///
    /// # Errors
    /// As the node says.
    pub async fn create_group(
        &self,
        bundles: &[Bundle],
        strategy: GroupStrategy,
        name: Option<String>,
    ) -> Answered<Held> {
        let bundles = bundles.iter().map(wire::bundle).collect();
        let strategy = v1::GroupStrategy::from(strategy).into();
        self.ask(Request::CreateGroup(requests::CreateGroup { bundles, strategy, name })).await?.group()
    }

    /// Finds a placement group by its name.
    ///
    /// # Errors
    /// NOT_FOUND when there is none.
    pub async fn lookup_group(&self, name: String) -> Answered<Held> {
        self.ask(Request::LookupGroup(name)).await?.group()
    }

    /// An object that becomes ready once all bundles of a group are reserved.
    ///
    /// # Errors
    /// As the node says.
    pub async fn group_ready(&self, group: PlacementGroupId) -> Answered<Held> {
        self.ask(Request::GroupReady(id(group))).await?.object()
    }

    /// Removes a placement group.
    ///
    /// # Errors
    /// As the node says.
    pub async fn remove_group(&self, group: PlacementGroupId) -> Answered<()> {
        self.ask(Request::RemoveGroup(id(group))).await?.done()
    }

    /// The nodes that it may use, its own first.
    ///
    /// # Errors
    /// As every method.
    pub async fn nodes(&self) -> Answered<Vec<NodeInfo>> {
        self.ask(Request::Nodes(v1::Heard {})).await?.nodes()
    }
}

/// Whoever waits hears of the end, also when what keeps the line is lost.
struct Ended(Arc<Line>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.over(Some(EngineError::internal("what keeps the line to the node was lost")));
    }
}

fn key() -> Result<Vec<u8>> {
    let mut key = vec![0; CLIENT_KEY_BYTES];
    match rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty()) {
        Ok(bytes) if bytes == CLIENT_KEY_BYTES => Ok(key),
        Ok(_) => Err(Error::Engine(EngineError::internal("the system gave too few random bytes"))),
        Err(error) => Err(Error::Engine(EngineError::internal(format!("random bytes: {error}")))),
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn away(what: &str, timeout: Option<Duration>) -> Failure {
    let message = format!(
        "{what} was not known after {:?}, as the connection to the node is broken; others are being tried, and it can be waited for again",
        timeout.unwrap_or_default()
    );
    EngineError::new(ErrorCode::GetTimeout, message).into()
}
