//! A node of a few lines, which keeps its side of a client's line and can be told to break it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use engine_client::messages as v1;
use engine_client::{Address, Client, EngineError, Session, session};
use engine_core::ids::IdGenerator;
use engine_core::{Codec, Handle, NodeId, ObjectId, TaskId};
use engine_proto::convert::client::{Came, handle, value, value_from};
use engine_proto::convert::peer::{id, id_from};
use engine_proto::limits::{LINE_BYTES_MAX, PIECE_BYTES_MAX};
use engine_proto::line::{Inbox, Outbox};
use engine_proto::status_from_error;
use engine_proto::v1::client_answer::{self as answers, Answer};
use engine_proto::v1::client_message::Message;
use engine_proto::v1::client_reply::{Attached, Ended, Message as Reply};
use engine_proto::v1::client_request::Request;
use engine_proto::v1::clients_server::{Clients, ClientsServer};
use engine_proto::v1::handshake_server::{Handshake, HandshakeServer};
use engine_proto::v1::jobs_server::{Jobs, JobsServer};
use futures::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request as Asked, Response, Status, Streaming};

type Answered<T> = Result<Response<T>, Status>;
type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the node knows, and what it was told to do.
#[derive(Default)]
pub(crate) struct State {
    inbox: Inbox,
    outbox: Outbox<Reply>,
    connection: u64,
    /// The key of each connection, in order.
    pub(crate) keys: Vec<Vec<u8>>,
    /// What took effect, in order, less pieces.
    pub(crate) effects: Vec<(u64, Message)>,
    /// Numbered messages that came, also those that came before.
    pub(crate) came: u64,
    pub(crate) pieces: HashMap<u64, Vec<u8>>,
    objects: HashMap<ObjectId, (Codec, Vec<Handle>, Bytes)>,
    /// Bytes of pieces that came and that it has not said to have heard, now and at most.
    unheard: usize,
    pub(crate) unheard_max: usize,
    /// The connection is cut as this message takes effect, and it says then that it has not heard it.
    pub(crate) cut_at: Option<u64>,
    /// It does not say how far it has heard.
    pub(crate) is_silent: bool,
    /// It says that it has not heard the last so many messages, which it has, until they come again.
    pub(crate) forgotten: u64,
    /// What whoever attaches itself hears.
    pub(crate) refuses: Option<EngineError>,
    /// It gives no answers by itself.
    pub(crate) is_slow: bool,
    pub(crate) job: v1::JobView,
}

impl State {
    /// How far it says that it has heard.
    fn heard(&self) -> u64 {
        self.inbox.heard() - self.forgotten
    }
}

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) state: Arc<Mutex<State>>,
    news: watch::Sender<()>,
    _directory: Arc<TempDir>,
    path: PathBuf,
}

impl Node {
    pub(crate) fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("e.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let job = v1::JobView {
            job_id: IdGenerator::new([7; 16]).job().to_string(),
            state: v1::JobState::Running.into(),
            ..v1::JobView::default()
        };
        let state = Arc::new(Mutex::new(State { job, ..State::default() }));
        let node = Self { state, news: watch::Sender::new(()), _directory: Arc::new(directory), path };
        let server = tonic::transport::Server::builder()
            .add_service(HandshakeServer::new(node.clone()))
            .add_service(JobsServer::new(node.clone()))
            .add_service(ClientsServer::new(node.clone()))
            .serve_with_incoming(UnixListenerStream::new(listener));
        tokio::spawn(server);
        node
    }

    /// A session that this is the node of.
    pub(crate) async fn session(&self, options: session::Options) -> engine_client::Result<Session> {
        let client = Client::connect(Address::Unix(self.path.clone())).await.unwrap();
        Session::start(&client, v1::JobSpec::default(), options).await
    }

    /// Waits until the node is as wanted.
    pub(crate) async fn until(&self, is: impl Fn(&State) -> bool) {
        let mut news = self.news.subscribe();
        while !is(&self.state.lock()) {
            news.changed().await.unwrap();
        }
    }

    /// Changes the node.
    pub(crate) fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.news.send_replace(());
    }

    /// Breaks the connection.
    pub(crate) fn cut(&self) {
        self.set(|state| state.connection += 1);
    }

    pub(crate) fn say(&self, reply: Reply) {
        self.set(|state| {
            state.outbox.say(reply, 0);
        });
    }

    pub(crate) fn answer(&self, to: u64, answer: Answer) {
        self.say(Reply::Answer(v1::ClientAnswer { to, answer: Some(answer) }));
    }

    pub(crate) fn end(&self, error: Option<EngineError>) {
        self.say(Reply::Ended(Ended { error: error.as_ref().map(Into::into) }));
    }

    /// An object of the node's own making.
    pub(crate) fn make(&self, object: ObjectId, bytes: Bytes, inside: Vec<Handle>) {
        self.set(|state| {
            state.objects.insert(object, (Codec::Python, inside, bytes));
        });
    }

    /// Waits for a request that this chooses, and gives its number.
    pub(crate) async fn request(&self, is: impl Fn(&Request) -> bool) -> u64 {
        let wanted = |state: &State| {
            state.effects.iter().find_map(|(number, message)| match message {
                Message::Request(request) if request.request.as_ref().is_some_and(&is) => Some(*number),
                _ => None,
            })
        };
        self.until(|state| wanted(state).is_some()).await;
        wanted(&self.state.lock()).unwrap()
    }

    fn hear(&self, connection: u64, said: v1::ClientMessage) -> bool {
        let mut state = self.state.lock();
        if state.connection != connection {
            return false;
        }
        state.outbox.heard(said.heard).unwrap();
        state.came += u64::from(said.number > 0);
        let is_new = said.number > 0 && state.inbox.hear(said.number).unwrap();
        if said.number > 0 && !is_new {
            state.forgotten = state.forgotten.saturating_sub(1);
        }
        let mut answer = None;
        match said.message.filter(|_| is_new) {
            Some(Message::Piece(piece)) => {
                state.unheard += piece.bytes.len();
                state.unheard_max = state.unheard_max.max(state.unheard);
                state.pieces.entry(piece.of).or_default().extend_from_slice(&piece.bytes);
            }
            Some(message) => {
                if let Message::Request(request) = &message
                    && !state.is_slow
                {
                    answer = request.request.clone();
                }
                state.effects.push((said.number, message));
            }
            None => {}
        }
        if is_new && state.cut_at == Some(said.number) {
            (state.connection, state.forgotten) = (state.connection + 1, 1);
        }
        drop(state);
        self.news.send_replace(());
        if let Some(request) = answer {
            self.fulfil(said.number, request);
        }
        true
    }

    fn fulfil(&self, number: u64, request: Request) {
        match request {
            Request::Put(put) => {
                let object = object(number);
                let (codec, handles, came) = value_from(put).unwrap();
                let mut state = self.state.lock();
                let bytes = match came {
                    Came::Inline(bytes) => bytes,
                    Came::Pieces(number) => state.pieces.remove(&number).unwrap().into(),
                };
                state.objects.insert(object, (codec, handles, bytes));
                drop(state);
                self.answer(number, Answer::Object(id(object)));
            }
            Request::Get(get) => {
                let state = self.state.lock();
                let found = |wanted: &v1::Id| state.objects.get(&id_from(*wanted)).cloned();
                let found: Option<Vec<_>> = get.objects.iter().map(found).collect();
                drop(state);
                let Some(found) = found else { return };
                let node = self.clone();
                tokio::spawn(async move {
                    let mut values = Vec::new();
                    for (codec, handles, bytes) in found {
                        let came = match bytes.len() > PIECE_BYTES_MAX {
                            true => node.say_pieces(number, bytes).await,
                            false => Came::Inline(bytes),
                        };
                        values.push(value(codec, &handles, came));
                    }
                    node.answer(number, Answer::Values(answers::Values { values }));
                });
            }
            Request::Spawn(_) => {
                let call = answers::Call { task: Some(id(task(number))), outputs: Some(2) };
                self.answer(number, Answer::Call(call));
            }
            Request::End(_) => {
                self.answer(number, Answer::Done(v1::Heard {}));
                self.end(None);
            }
            _ => {}
        }
    }

    async fn say_pieces(&self, of: u64, mut bytes: Bytes) -> Came {
        while !bytes.is_empty() {
            self.until(|state| state.outbox.bytes() < LINE_BYTES_MAX).await;
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES_MAX));
            let length = piece.len();
            self.set(|state| {
                state.outbox.say(Reply::Piece(v1::Piece { of, bytes: piece }), length);
            });
        }
        Came::Pieces(of)
    }

    /// What there is to say after `at`; none: the connection was cut.
    fn next(&self, connection: u64, at: &mut u64) -> Option<Option<v1::ClientReply>> {
        let mut state = self.state.lock();
        if state.connection != connection {
            return None;
        }
        let heard = if state.is_silent { 0 } else { state.heard() };
        if let Some((number, message)) = state.outbox.after(*at) {
            *at = number;
            state.unheard = if state.is_silent { state.unheard } else { 0 };
            return Some(Some(v1::ClientReply { number, heard, message: Some(message) }));
        }
        if state.unheard == 0 || state.is_silent {
            return Some(None);
        }
        state.unheard = 0;
        let nothing = Some(Reply::Nothing(v1::Heard {}));
        Some(Some(v1::ClientReply { number: 0, heard, message: nothing }))
    }
}

/// The object that the put of this number makes.
pub(crate) fn object(number: u64) -> ObjectId {
    ObjectId::from_bits(1, number)
}

/// The task that the spawn of this number makes.
pub(crate) fn task(number: u64) -> TaskId {
    TaskId::from_bits(number, 0)
}

/// How often the client has said that it holds one handle less to this.
pub(crate) fn releases(state: &State, of: Handle) -> usize {
    state.effects.iter().filter(|(_, message)| *message == Message::Release(handle(of))).count()
}

#[tonic::async_trait]
impl Clients for Node {
    type AttachStream = Replies<v1::ClientReply>;

    async fn locate(&self, _: Asked<v1::LocateClientRequest>) -> Answered<v1::LocateClientResponse> {
        Ok(Response::new(v1::LocateClientResponse::default()))
    }

    async fn attach(&self, request: Asked<Streaming<v1::ClientMessage>>) -> Answered<Self::AttachStream> {
        let mut messages = request.into_inner();
        let first = messages.message().await?.unwrap();
        let Some(Message::Attach(attach)) = first.message else {
            return Err(Status::invalid_argument("no Attach"));
        };
        let mut state = self.state.lock();
        if let Some(error) = &state.refuses {
            return Err(status_from_error(error));
        }
        state.outbox.heard(first.heard).unwrap();
        state.keys.push(attach.key);
        state.connection += 1;
        let (connection, heard) = (state.connection, state.heard());
        drop(state);
        self.news.send_replace(());
        let hears = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(said)) = messages.message().await {
                if !hears.hear(connection, said) {
                    return;
                }
            }
        });
        let attached = Attached {
            node: Some(id(NodeId::from_bits(5, 6))),
            task: Some(id(task(9))),
            namespace: "space".to_owned(),
            tenant: "us".to_owned(),
        };
        let first = v1::ClientReply { number: 0, heard, message: Some(Reply::Attached(attached)) };
        // It says again what it does not know to be heard, also what was.
        let says = (self.clone(), self.news.subscribe(), 0, false);
        let rest = stream::unfold(says, move |(node, mut news, mut at, is_cut)| async move {
            loop {
                news.borrow_and_update();
                match node.next(connection, &mut at) {
                    None if is_cut => return None,
                    None => return Some((Err(Status::unavailable("cut")), (node, news, at, true))),
                    Some(Some(said)) => return Some((Ok(said), (node, news, at, false))),
                    Some(None) => news.changed().await.ok()?,
                }
            }
        });
        Ok(Response::new(stream::iter([Ok(first)]).chain(rest).boxed()))
    }
}

#[tonic::async_trait]
impl Handshake for Node {
    async fn hello(&self, _: Asked<v1::HelloRequest>) -> Answered<v1::HelloResponse> {
        Ok(Response::new(v1::HelloResponse::default()))
    }
}

#[tonic::async_trait]
impl Jobs for Node {
    type WatchStream = Replies<v1::JobEvent>;
    type LogsStream = Replies<v1::LogBatch>;

    async fn submit(&self, request: Asked<v1::SubmitRequest>) -> Answered<v1::JobView> {
        let spec = request.into_inner().spec.unwrap();
        assert!(spec.attached && matches!(spec.entry, Some(v1::job_spec::Entry::Client(_))));
        Ok(Response::new(self.state.lock().job.clone()))
    }

    async fn get(&self, _: Asked<v1::GetJobRequest>) -> Answered<v1::JobView> {
        Ok(Response::new(self.state.lock().job.clone()))
    }

    async fn stop(&self, _: Asked<v1::StopJobRequest>) -> Answered<v1::JobView> {
        self.set(|state| state.job.set_state(v1::JobState::Stopped));
        Ok(Response::new(self.state.lock().job.clone()))
    }

    async fn watch(&self, request: Asked<v1::WatchJobRequest>) -> Answered<Self::WatchStream> {
        use v1::job_event::Event;
        let asked = request.into_inner();
        assert!(!asked.attach, "the line keeps the job");
        let line = |sequence| v1::LogLine { sequence, text: format!("line {sequence}"), ..<_>::default() };
        let node = self.clone();
        let lines = (0..2).filter(|sequence| *sequence >= asked.next_sequence).map(line).collect();
        let logs = stream::iter([Ok(v1::JobEvent { event: Some(Event::Logs(v1::LogBatch { lines })) })]);
        let end = stream::once(async move {
            node.until(|state| state.job.state().is_final()).await;
            Ok(v1::JobEvent { event: Some(Event::Job(node.state.lock().job.clone())) })
        });
        Ok(Response::new(logs.chain(end).boxed()))
    }

    async fn list(&self, _: Asked<v1::ListJobsRequest>) -> Answered<v1::ListJobsResponse> {
        Err(Status::unimplemented("list"))
    }

    async fn delete(&self, _: Asked<v1::DeleteJobRequest>) -> Answered<v1::DeleteJobResponse> {
        Err(Status::unimplemented("delete"))
    }

    async fn logs(&self, _: Asked<v1::LogsRequest>) -> Answered<Self::LogsStream> {
        Err(Status::unimplemented("logs"))
    }
}
