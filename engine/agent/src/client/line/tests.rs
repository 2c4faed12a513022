//! A client's line, message by message, through connections that break.

use std::time::Duration;

use bytes::Bytes;
use engine_core::{Codec, ErrorCode, Handle, JobId, ObjectId};
use engine_net::{Backend, JobKey, Replies, Scope};
use engine_proto::convert::client::{Came, handle, value, value_from};
use engine_proto::convert::peer::{id, id_from};
use engine_proto::limits::{LINE_BYTES_MAX, PIECE_BYTES_MAX};
use engine_proto::v1;
use engine_proto::v1::client_answer::Answer;
use engine_proto::v1::client_message::{Attach, Message};
use engine_proto::v1::client_reply::Message as Reply;
use engine_proto::v1::client_request::{Get, Request, Wait};
use futures::StreamExt;
use futures::channel::mpsc;

use crate::node::Node;
use crate::options::Options;

const KEY: [u8; 16] = [7; 16];
/// Beyond it something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

async fn node(client_grace: Duration) -> (Node, JobId) {
    let mut options = Options::detect();
    options.store_bytes_max = 64 << 20;
    options.limits.client_grace = client_grace;
    let node = Node::start(options).await.expect("a node");
    let spec = v1::JobSpec {
        namespace: "n".to_owned(),
        entry: Some(v1::job_spec::Entry::Client(v1::ClientEntry {})),
        attached: true,
        ..v1::JobSpec::default()
    };
    let view = node.backend().submit(&Scope::ALL, spec).await.expect("a job");
    let job = view.job_id.parse().expect("its id");
    (node, job)
}

/// One connection, and what was heard on it.
struct Connection {
    say: mpsc::UnboundedSender<Result<v1::ClientMessage, engine_core::Error>>,
    replies: Replies<v1::ClientReply>,
    heard: u64,
}

async fn attach(
    node: &Node,
    job: JobId,
    key: [u8; 16],
    heard: u64,
) -> Result<Connection, engine_core::Error> {
    let (say, said) = mpsc::unbounded();
    let attach = Message::Attach(Attach { job: Some(id(job)), key: key.to_vec() });
    say.unbounded_send(Ok(v1::ClientMessage { number: 0, heard, message: Some(attach) }))
        .expect("it listens");
    let mut replies = node.backend().attach_client(&Scope::ALL, said.boxed()).await?;
    let first = replies.next().await.expect("an answer").expect("it is attached");
    let Some(Reply::Attached(attached)) = first.message else { panic!("it is not attached: {first:?}") };
    assert_eq!((attached.namespace.as_str(), attached.tenant.as_str()), ("n", "default"));
    Ok(Connection { say, replies, heard })
}

impl Connection {
    fn say(&self, number: u64, message: Message) {
        let said = v1::ClientMessage { number, heard: self.heard, message: Some(message) };
        self.say.unbounded_send(Ok(said)).expect("it listens");
    }

    fn ask(&self, number: u64, request: Request) {
        self.say(number, Message::Request(v1::ClientRequest { request: Some(request) }));
    }

    async fn hear(&mut self) -> Option<Reply> {
        let reply = tokio::time::timeout(PATIENCE, self.replies.next()).await.expect("it says something")?;
        let reply = reply.expect("a reply");
        self.heard = self.heard.max(reply.number);
        reply.message
    }

    async fn answer(&mut self, to: u64) -> Answer {
        match self.hear().await {
            Some(Reply::Answer(answer)) if answer.to == to => answer.answer.expect("an answer"),
            other => panic!("{other:?} instead of the answer to {to}"),
        }
    }

    async fn put(&mut self, number: u64, bytes: &'static [u8]) -> ObjectId {
        self.ask(number, Request::Put(raw(bytes)));
        self.object(number).await
    }

    async fn object(&mut self, to: u64) -> ObjectId {
        let Answer::Object(object) = self.answer(to).await else { panic!("no object") };
        id_from(object)
    }
}

fn raw(bytes: &'static [u8]) -> v1::ClientValue {
    value(Codec::Raw, &[], Came::Inline(Bytes::from_static(bytes)))
}

fn get(object: ObjectId) -> Request {
    Request::Get(Get { objects: vec![id(object)], timeout_ns: None })
}

fn is_failure(answer: &Answer, code: ErrorCode) -> bool {
    matches!(answer, Answer::Failed(failed) if failed.error.as_ref().is_some_and(|e| e.code == code.as_str()))
}

// contract: J3
#[tokio::test(flavor = "multi_thread")]
async fn a_client_comes_back_and_finds_everything_and_nothing_happened_twice() {
    let (node, job) = node(Duration::from_secs(30)).await;
    let mut first = attach(&node, job, KEY, 0).await.expect("it is expected");
    let object = first.put(1, b"abc").await;
    // The answer to this one is never heard.
    first.ask(2, Request::Put(raw(b"xyz")));
    assert!(matches!(first.replies.next().await, Some(Ok(_))), "it was answered");
    let stranger = attach(&node, job, [8; 16], 0).await.err().expect("it is another one's");
    assert_eq!(stranger.code(), ErrorCode::PermissionDenied, "{stranger}");
    drop(first);

    let mut back = attach(&node, job, KEY, 1).await.expect("it is back");
    let second = back.object(2).await;
    back.ask(2, Request::Put(raw(b"xyz")));
    back.ask(3, get(second));
    let Answer::Values(values) = back.answer(3).await else { panic!("no values") };
    let (codec, _, came) = value_from(values.values[0].clone()).expect("a value");
    assert_eq!((codec, came), (Codec::Raw, Came::Inline(Bytes::from_static(b"xyz"))));
    let list = v1::Kind::Object;
    let listed = node.backend().list(&Scope::ALL, list, <_>::default(), 10).await.expect("objects");
    assert_eq!(listed.total, 2, "what was said again had no effect");

    // Two more handles, and all of them given back.
    back.say(4, Message::Hold(handle(Handle::Object(object))));
    for (number, handle_of) in [(5, object), (6, object), (7, second), (8, second)] {
        back.say(number, Message::Release(handle(Handle::Object(handle_of))));
    }
    back.ask(9, get(object));
    let gone = back.answer(9).await;
    assert!(
        is_failure(&gone, ErrorCode::InvalidArgument) || is_failure(&gone, ErrorCode::PermissionDenied),
        "{gone:?}"
    );
    back.ask(10, Request::End(v1::Heard {}));
    let mut last = Vec::new();
    while let Some(message) = back.hear().await {
        last.push(message);
        back.say(0, Message::Nothing(v1::Heard {}));
    }
    let is_end = |said: &Reply| matches!(said, Reply::Ended(ended) if ended.error.is_none());
    assert!(last.iter().any(is_end), "{last:?}");
    assert_eq!(node.leftover(), None);
    let view = node.backend().get_job(&Scope::ALL, JobKey::Id(job)).await.expect("the job");
    assert_eq!(view.state(), v1::JobState::Succeeded);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_travel_in_pieces_as_they_are_heard() {
    let (node, job) = node(Duration::from_secs(30)).await;
    let mut line = attach(&node, job, KEY, 0).await.expect("it is expected");
    let pieces = LINE_BYTES_MAX / PIECE_BYTES_MAX + 4;
    for n in 0..pieces {
        let bytes = Bytes::from(vec![n as u8; PIECE_BYTES_MAX]);
        line.say(1 + n as u64, Message::Piece(v1::Piece { of: 5, bytes }));
    }
    let asked = pieces as u64 + 1;
    line.ask(asked, Request::Put(value(Codec::Raw, &[], Came::Pieces(5))));
    let object = loop {
        match line.hear().await {
            Some(Reply::Nothing(_)) => {}
            Some(Reply::Answer(v1::ClientAnswer { to, answer: Some(Answer::Object(object)) })) => {
                assert_eq!(to, asked);
                break id_from::<ObjectId>(object);
            }
            other => panic!("{other:?}"),
        }
    };
    line.ask(asked + 1, get(object));
    let (mut came, mut unheard) = (Vec::new(), 0);
    let of = loop {
        match line.hear().await {
            Some(Reply::Piece(piece)) => {
                came.extend_from_slice(&piece.bytes);
                unheard += piece.bytes.len();
                assert!(unheard <= LINE_BYTES_MAX, "it does not wait to be heard");
                if unheard == LINE_BYTES_MAX {
                    unheard = 0;
                    line.say(0, Message::Nothing(v1::Heard {}));
                }
            }
            Some(Reply::Answer(answer)) => {
                let Some(Answer::Values(values)) = answer.answer else { panic!("no values") };
                let (_, _, Came::Pieces(of)) = value_from(values.values[0].clone()).expect("a value") else {
                    panic!("it was too large to go with it")
                };
                break of;
            }
            Some(Reply::Nothing(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of, 1);
    let sent: Vec<u8> = (0..pieces).flat_map(|n| vec![n as u8; PIECE_BYTES_MAX]).collect();
    assert!(came == sent, "{} bytes of {}", came.len(), sent.len());
    line.ask(asked + 2, Request::Put(value(Codec::Raw, &[], Came::Pieces(6))));
    assert!(is_failure(&line.answer(asked + 2).await, ErrorCode::LimitExceeded), "there are no such pieces");
    drop(line);
    node.shutdown().await;
}

// contract: J3
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stays_away_is_lost_and_its_job_with_it() {
    let (node, job) = node(Duration::from_millis(300)).await;
    let mut line = attach(&node, job, KEY, 0).await.expect("it is expected");
    line.put(1, b"abc").await;
    drop(line);
    let ended = async {
        loop {
            let view = node.backend().get_job(&Scope::ALL, JobKey::Id(job)).await.expect("the job");
            if view.state().is_final() {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let view = tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
    assert_eq!(view.state(), v1::JobState::Failed);
    assert_eq!(view.error.expect("why").code, ErrorCode::WorkerDied.as_str());
    assert_eq!(node.leftover(), None);
    // It hears so, however late it comes.
    let mut late = attach(&node, job, KEY, 1).await.expect("it is still known");
    let Some(Reply::Ended(ended)) = late.hear().await else { panic!("it was not told") };
    assert_eq!(ended.error.expect("why").code, ErrorCode::WorkerDied.as_str());
    let unknown = attach(&node, JobId::from_bits(1, 0), KEY, 0).await.err().expect("there is no such job");
    assert_eq!(unknown.code(), ErrorCode::NotFound);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_and_what_is_given_up_is_not_answered() {
    let (node, job) = node(Duration::from_secs(30)).await;
    let mut line = attach(&node, job, KEY, 0).await.expect("it is expected");
    line.say(1, Message::Request(v1::ClientRequest::default()));
    assert!(is_failure(&line.answer(1).await, ErrorCode::InvalidArgument));
    line.ask(
        2,
        Request::Wait(Wait { items: vec![v1::ClientWaitable::default()], num_ready: 1, timeout_ns: None }),
    );
    assert!(is_failure(&line.answer(2).await, ErrorCode::InvalidArgument));
    // What it was never given, it cannot hold; nor can it use a lane that it has not opened.
    let foreign = ObjectId::from_bits(99, 1);
    line.say(3, Message::Hold(handle(Handle::Object(foreign))));
    line.say(4, Message::Release(handle(Handle::Object(foreign))));
    line.ask(5, Request::KillActor(v1::client_request::KillActor { lane: 4, restart: false }));
    assert!(is_failure(&line.answer(5).await, ErrorCode::InvalidArgument));
    let bundle = v1::GroupBundle {
        resources: Some(v1::Resources { cpus: 10_000_000, ..v1::Resources::default() }),
        labels: Vec::new(),
    };
    line.ask(
        6,
        Request::CreateGroup(v1::client_request::CreateGroup {
            bundles: vec![bundle],
            strategy: v1::GroupStrategy::Pack.into(),
            name: None,
        }),
    );
    let Answer::Group(group) = line.answer(6).await else { panic!("no group") };
    line.ask(7, Request::GroupReady(group));
    let ready = line.object(7).await;
    line.ask(8, get(ready));
    line.say(9, Message::GiveUp(8));
    line.ask(10, Request::Nodes(v1::Heard {}));
    let Answer::Nodes(nodes) = line.answer(10).await else { panic!("no nodes") };
    assert_eq!(nodes.nodes.len(), 1);
    // A message that skips one ends the connection, and not the client.
    line.say(12, Message::Nothing(v1::Heard {}));
    assert!(line.hear().await.is_none());
    let mut back = attach(&node, job, KEY, line.heard).await.expect("it is back");
    back.ask(11, Request::RemoveGroup(group));
    assert!(matches!(back.answer(11).await, Answer::Done(_)));
    drop(back);
    node.shutdown().await;
}
