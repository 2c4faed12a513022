//! A worker that lies: what it says comes from here, and clients stand in the place of its sandboxes.

use std::io::Write;

use engine_core::{Codec, Handle, ObjectId, Value};
use engine_proto::convert::client::handle;
use engine_proto::convert::worker::{Travels, value};
use engine_proto::v1::from_worker::{self as says, Message};

use super::*;
use crate::client::Client;
use crate::node::Node;
use crate::options::Options;

/// A worker of nobody, with a sandbox that is really a client, and the client of another job.
struct Lies {
    node: Node,
    worker: Arc<Worker>,
    own: (InstanceId, TaskId),
    other: (InstanceId, TaskId),
    number: u64,
    _clients: [Client; 2],
}

async fn client(node: &Node) -> (Client, InstanceId, TaskId) {
    let spec = v1::JobSpec {
        entry: Some(v1::job_spec::Entry::Client(v1::ClientEntry {})),
        ..v1::JobSpec::default()
    };
    let client = node.attach_client(spec).await.expect("a client");
    let there = node.driver().read(|node| node.client_of(client.job())).expect("it is there");
    (client, there.instance, there.task)
}

impl Lies {
    async fn begin() -> Self {
        let mut options = Options::detect();
        options.store_bytes_max = 64 << 20;
        let setup = WorkerOptions::of(&options, 10, false);
        let node = Node::start(options).await.expect("a node");
        let (own, instance, task) = client(&node).await;
        let (neighbour, other, other_task) = client(&node).await;
        let tenant = "liar".parse().expect("a name");
        let worker = Arc::new(Worker::new(node.driver(), tenant, setup));
        worker.books.lock().sandboxes.insert(instance, Sandbox::new(own.job(), task));
        worker.books.lock().enters(instance, task);
        let _clients = [own, neighbour];
        Self { node, worker, own: (instance, task), other: (other, other_task), number: 0, _clients }
    }

    /// Has it say something, with these bytes behind.
    fn say(&mut self, from: (InstanceId, TaskId), message: Message, bytes: &[u8]) -> Result<(), String> {
        self.number += 1;
        let (instance, task) = (from.0.0, Some(id(from.1)));
        let said = v1::FromWorker { number: self.number, instance, task, message: Some(message) };
        let message = wire::encoded(&said, bytes.len() as u64).expect("it is small");
        let (mut there, here) = UnixStream::pair().expect("a line");
        there.write_all(&message).expect("written");
        there.write_all(bytes).expect("written");
        drop(there);
        self.worker.serve(&mut BufReader::new(here))
    }

    /// The answer to what it says.
    fn answer(&mut self, from: (InstanceId, TaskId), message: Message, bytes: &[u8]) -> Answer {
        self.say(from, message, bytes).expect("it is heard");
        let said = self.worker.queue.lock().said.pop_back().expect("an answer");
        let Said::Answer(answer, _) = said else { panic!("no answer") };
        assert_eq!(answer.to, self.number);
        answer.answer.expect("an answer")
    }

    fn refused(&mut self, from: (InstanceId, TaskId), message: Message) -> ErrorCode {
        match self.answer(from, message, b"") {
            Answer::Failed(failed) => Error::from(failed.error.expect("an error")).code(),
            Answer::Outcome(outcome) => match outcome.outcome {
                Some(v1::worker_answer::outcome::Outcome::Failed(failed)) => {
                    Error::from(failed.error.expect("an error")).code()
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn put(&mut self, from: (InstanceId, TaskId), handles: &[Handle]) -> Answer {
        self.answer(from, Message::Put(raw(b"abc", handles)), b"")
    }

    /// An object of the other client.
    fn foreign(&self) -> ObjectId {
        let value = Value { place: engine_objects::on_heap(b"secret".to_vec()), size: 6, ..Value::empty() };
        let (instance, task) = self.other;
        let from = engine_core::node::Caller { instance, task };
        self.node.driver().event(|node, now, fx| node.put(now, from, value, fx)).expect("room")
    }
}

fn raw(bytes: &'static [u8], handles: &[Handle]) -> v1::WorkerValue {
    let given = Value {
        codec: Codec::Raw,
        size: bytes.len() as u64,
        handles: handles.into(),
        place: Place::default(),
    };
    value(&given, &|_| Travels::Inline(bytes::Bytes::from_static(bytes)))
}

fn object(answer: &Answer) -> ObjectId {
    match answer {
        Answer::Id(given) => engine_proto::convert::peer::id_from(*given),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_anothers_is_out_of_its_reach() {
    let mut lies = Lies::begin().await;
    let (own, other, foreign) = (lies.own, lies.other, lies.foreign());
    let held = Handle::Object(foreign);
    let denied = ErrorCode::PermissionDenied;
    // As itself, and as the other.
    assert_eq!(lies.refused(own, Message::Outcome(id(foreign))), denied);
    assert_eq!(lies.refused(other, Message::Outcome(id(foreign))), denied);
    assert_eq!(lies.refused((own.0, other.1), Message::Outcome(id(foreign))), denied);
    for message in [Message::Put(raw(b"x", &[held])), Message::Emit(raw(b"x", &[held]))] {
        assert_eq!(lies.refused(own, message), denied, "inside of what it gives");
    }
    let spawn = |arguments| {
        let function = Some(says::FunctionName { component: None, name: "f".to_owned() });
        Message::Spawn(says::Spawn { function, arguments, options: None })
    };
    let inside = v1::worker_argument::Argument::Value(raw(b"x", &[held]));
    let inside = v1::WorkerArgument { argument: Some(inside) };
    assert_eq!(lies.refused(own, spawn(vec![inside])), denied);
    // It has never been shown it, so it cannot take it; letting it go changes nothing.
    assert!(lies.say(own, Message::Acquire(handle(held)), b"").expect_err("a lie").contains("never shown"));
    lies.say(own, Message::Release(handle(held)), b"").expect("it is heard");
    lies.say(other, Message::Release(handle(held)), b"").expect("it is heard");
    assert!(lies.node.driver().read(|node| node.holds(other.0, &[held])));
    assert!(!lies.node.driver().read(|node| node.holds(own.0, &[held])));
    // Nor can it end what is not its tenant's.
    let cancel = says::Cancel { task: Some(id(other.1)), force: true, recursive: true };
    assert!(matches!(lies.answer(own, Message::Cancel(cancel), b""), Answer::Done(_)));
    assert!(lies.node.driver().read(|node| node.task(other.1)).is_some_and(|task| task.error.is_none()));
}

#[tokio::test]
async fn what_it_was_given_it_may_use() {
    let mut lies = Lies::begin().await;
    let own = lies.own;
    let inner = object(&lies.put(own, &[]));
    let outer = object(&lies.put(own, &[Handle::Object(inner)]));
    lies.say(own, Message::Release(handle(Handle::Object(inner))), b"").expect("it is heard");
    let take = Message::Acquire(handle(Handle::Object(inner)));
    assert!(lies.say(own, take.clone(), b"").is_err(), "it holds it no more, and has not seen it again");
    assert!(matches!(lies.answer(own, Message::Outcome(id(outer)), b""), Answer::Outcome(_)));
    lies.say(own, take, b"").expect("it has seen it inside of what it got");
    assert!(lies.node.driver().read(|node| node.holds(own.0, &[Handle::Object(inner)])));
}

#[tokio::test]
async fn bytes_are_kept_and_read_by_their_number_alone() {
    let mut lies = Lies::begin().await;
    let own = lies.own;
    let bytes = vec![7; 200 << 10];
    let Answer::Kept(number) = lies.answer(own, Message::Write(v1::Heard {}), &bytes) else {
        panic!("no room")
    };
    let read = |kept, offset, length| Message::Read(says::Read { kept, offset, length });
    assert!(matches!(lies.answer(own, read(number, 100, 1_000), b""), Answer::Done(_)));
    for wrong in [read(number, 0, 1 << 40), read(number, u64::MAX, 2), read(number + 1, 0, 1), read(0, 0, 1)]
    {
        assert_eq!(lies.refused(own, wrong), ErrorCode::InvalidArgument);
    }
    // The size is that of the bytes, whatever it says.
    let said = v1::WorkerValue {
        size: 1 << 50,
        place: Some(v1::worker_value::Place::Kept(number)),
        ..raw(b"", &[])
    };
    let put = object(&lies.answer(own, Message::Put(said), b""));
    let view = lies.node.driver().read(|node| node.object(put)).expect("it is there");
    assert_eq!(view.size, bytes.len() as u64);
    lies.say(own, Message::Drop(says::Numbers { numbers: vec![number, 77] }), b"").expect("it is heard");
    assert_eq!(lies.refused(own, read(number, 0, 1)), ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn what_cannot_be_said_in_order_is_its_end() {
    let mut lies = Lies::begin().await;
    let (own, other) = (lies.own, lies.other);
    let report = |task| v1::WorkerReport {
        task: Some(id(task)),
        result: Some(v1::worker_report::Result::Values(v1::WorkerValues::default())),
        ..v1::WorkerReport::default()
    };
    let finished = |instance: InstanceId, task| {
        Message::Finished(says::Finished { instance: instance.0, report: Some(report(task)) })
    };
    let gone = |instance: InstanceId, task| {
        Message::Gone(says::Gone { instance: instance.0, calls: vec![report(task)], cause: None })
    };
    for lie in [
        finished(other.0, other.1),
        finished(own.0, other.1),
        gone(other.0, other.1),
        gone(own.0, other.1),
        Message::Gone(says::Gone { instance: other.0.0, ..says::Gone::default() }),
        Message::Acquire(v1::Handle::default()),
    ] {
        lies.say(own, lie.clone(), b"").expect_err(&format!("{lie:?}"));
    }
    assert!(lies.say(own, Message::NewLane(v1::Heard {}), b"bytes").expect_err("a lie").contains("5 bytes"));
    let job = lies.node.driver().read(|node| node.task(other.1)).expect("it runs").job;
    let log =
        says::Log { job: Some(id(job)), task: Some(id(other.1)), text: "x".to_owned(), ..<_>::default() };
    lies.say(own, Message::Log(log), b"").expect("it is heard, and nobody else hears it");
    assert_eq!(lies.node.driver().jobs.get(job).expect("it is known").logs.bytes(), 0);
    let read = |node: &engine_core::node::Node| node.task(other.1).is_some_and(|task| task.error.is_none());
    assert!(lies.node.driver().read(read), "nothing of it had an effect");
}
