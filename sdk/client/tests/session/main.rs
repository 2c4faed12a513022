//! A session, and a node of a few lines, over a real Unix socket whose connections break.

mod node;

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use engine_client::messages as v1;
use engine_client::session::{Argument, Options, Value};
use engine_client::{EngineError, ErrorCode};
use engine_core::options::TaskOptions;
use engine_core::{Codec, Handle, ObjectId};
use engine_proto::limits::{CLIENT_REQUESTS_MAX, LINE_BYTES_MAX, PIECE_BYTES_MAX};
use engine_proto::v1::client_answer::{self as answers, Answer};
use engine_proto::v1::client_message::Message;
use engine_proto::v1::client_request::Request;
use futures::StreamExt;
use futures::future::poll_immediate;
use node::{Node, object, releases, task};

/// An object that nobody has put.
static UNKNOWN: LazyLock<[ObjectId; 1]> = LazyLock::new(|| [ObjectId::from_bits(8, 8)]);

fn value(bytes: impl Into<Bytes>) -> Value {
    Value::new(Codec::Msgpack, bytes, Vec::new())
}

fn large() -> Bytes {
    (0..20 * PIECE_BYTES_MAX + 5).map(|n| (n % 251) as u8).collect()
}

// contract: J3
#[tokio::test]
async fn a_reply_comes_after_the_connection_broke() {
    let node = Node::start();
    let session = node.session(Options::default()).await.unwrap();
    assert_eq!((session.namespace(), session.tenant()), ("space", "us"));
    assert_eq!(session.task(), task(9));
    let get = session.get(&*UNKNOWN, None);
    let answered = async {
        let number = node.request(|request| matches!(request, Request::Get(_))).await;
        node.cut();
        node.until(|state| state.keys.len() == 2).await;
        let inline = engine_proto::convert::client::Came::Inline(Bytes::from_static(b"there"));
        let there = engine_proto::convert::client::value(Codec::Raw, &[], inline);
        node.answer(number, Answer::Values(answers::Values { values: vec![there] }));
    };
    let (got, ()) = tokio::join!(get, answered);
    assert_eq!(got.unwrap()[0].bytes, "there");
    let state = node.state.lock();
    assert_eq!(state.keys[0].len(), 16);
    assert_eq!(state.keys[0], state.keys[1], "it is the same client");
    assert_eq!(state.came, 1, "what was heard is not said again");
}

#[tokio::test]
async fn what_is_said_twice_takes_effect_once() {
    let node = Node::start();
    let session = node.session(Options::default()).await.unwrap();
    // Cut before it could say that it has heard; the node says its answers twice, too.
    node.set(|state| state.cut_at = Some(2));
    let first = session.put(value("a")).await.unwrap();
    let second = session.put(value("b")).await.unwrap();
    let got = session.get(&[first.object().unwrap(), second.object().unwrap()], None).await.unwrap();
    assert_eq!([&got[0].bytes, &got[1].bytes], ["a", "b"]);
    let state = node.state.lock();
    let puts = |(_, message): &&(u64, Message)| matches!(message, Message::Request(request) if matches!(request.request, Some(Request::Put(_))));
    assert_eq!(state.effects.iter().filter(puts).count(), 2);
    assert_eq!((state.keys.len(), state.came), (2, 4), "one of three came twice");
    assert_eq!(releases(&state, Handle::Object(object(1))), 0, "an answer was taken twice");
}

#[tokio::test]
async fn large_values_go_both_ways_in_pieces() {
    let node = Node::start();
    let session = node.session(Options::default()).await.unwrap();
    let held = session.put(value(large())).await.unwrap();
    let got = session.get(&[held.object().unwrap()], None).await.unwrap();
    assert_eq!(got[0].bytes, large());
    assert_eq!(got[0].codec, Codec::Msgpack);
    let state = node.state.lock();
    assert!(state.unheard_max <= LINE_BYTES_MAX, "{} bytes were on their way", state.unheard_max);
    assert!(state.pieces.is_empty());
}

#[tokio::test]
async fn what_is_small_goes_with_its_request() {
    let node = Node::start();
    let session = node.session(Options::default()).await.unwrap();
    let arguments = [
        Argument::Value(value(vec![1; 200 << 10])),
        Argument::Value(value(vec![2; 100 << 10])),
        Argument::Object(UNKNOWN[0]),
        Argument::Value(value(vec![3; 50 << 10])),
    ];
    let call = session.spawn("c".into(), "f".into(), &arguments, &TaskOptions::default()).await.unwrap();
    assert_eq!((call.outputs.len(), call.stream.is_none()), (2, true));
    let number = node.request(|request| matches!(request, Request::Spawn(_))).await;
    assert_eq!((number, call.task), (2, task(2)), "one value went in a piece, before");
    assert_eq!(node.state.lock().pieces[&1], vec![2; 100 << 10]);
    drop(call);
    let outputs = [0, 1].map(|index| Handle::Object(task(2).output(index)));
    node.until(|state| outputs.iter().all(|output| releases(state, *output) == 1)).await;
}

#[tokio::test]
async fn what_nobody_waits_for_is_given_up_and_given_back() {
    let node = Node::start();
    let session = node.session(Options::default()).await.unwrap();
    node.set(|state| state.is_slow = true);
    let mut put = Box::pin(session.put(value("late")));
    assert!(poll_immediate(&mut put).await.is_none());
    let number = node.request(|request| matches!(request, Request::Put(_))).await;
    drop(put);
    let given_up = (number + 1, Message::GiveUp(number));
    node.until(|state| state.effects.contains(&given_up)).await;
    node.answer(number, Answer::Object(engine_proto::convert::peer::id(object(number))));
    node.until(|state| releases(state, Handle::Object(object(number))) == 1).await;
}

#[tokio::test]
async fn a_value_that_is_given_up_on_its_way_leaves_nothing() {
    let node = Node::start();
    let session = node.session(Options::default()).await.unwrap();
    node.set(|state| state.is_silent = true);
    let mut put = Box::pin(session.put(value(large())));
    let full = LINE_BYTES_MAX / PIECE_BYTES_MAX;
    tokio::select! {
        _ = &mut put => panic!("nothing was heard"),
        () = node.until(|state| state.came == full as u64) => {}
    }
    drop(put);
    let number = node.request(|request| matches!(request, Request::Put(_))).await;
    assert_eq!(number, full as u64 + 1, "no piece follows");
    node.until(|state| releases(state, Handle::Object(object(number))) == 1).await;
    assert!(node.state.lock().pieces.is_empty());
}

#[tokio::test]
async fn a_value_holds_what_is_inside_it() {
    let node = Node::start();
    let session = node.session(Options::default()).await.unwrap();
    let inside = Handle::Object(object(77));
    node.make(UNKNOWN[0], "x".into(), vec![inside]);
    let got = session.get(&*UNKNOWN, None).await.unwrap();
    assert_eq!(got[0].handles, [inside]);
    let held = session.hold(inside);
    drop(got);
    node.until(|state| releases(state, inside) == 1).await;
    drop(held);
    node.until(|state| releases(state, inside) == 2).await;
    let state = node.state.lock();
    let hold = Message::Hold(engine_proto::convert::client::handle(inside));
    let at = |wanted: &Message| state.effects.iter().position(|(_, message)| message == wanted);
    let release = Message::Release(engine_proto::convert::client::handle(inside));
    assert!(at(&hold) < at(&release), "the second handle comes before the first one goes");
}

#[tokio::test]
async fn the_end_in_order() {
    let node = Node::start();
    let session = node.session(Options::default()).await.unwrap();
    let get = session.get(&*UNKNOWN, None);
    let end = async {
        node.request(|request| matches!(request, Request::Get(_))).await;
        session.end().await;
    };
    let (got, ()) = tokio::join!(get, end);
    for failed in [got.map(drop), session.put(value("x")).await.map(drop)] {
        let error = failed.unwrap_err().error;
        assert_eq!(error.code(), ErrorCode::OwnerDied);
        assert!(error.message().contains("it was closed"), "{error}");
    }
    assert!(session.has_ended());
    session.ended().await;
    session.end().await;
}

#[tokio::test]
async fn whoever_waits_hears_why_the_node_has_ended_it() {
    let node = Node::start();
    let session = node.session(Options::default()).await.unwrap();
    let get = session.get(&*UNKNOWN, None);
    let end = async {
        node.request(|request| matches!(request, Request::Get(_))).await;
        node.end(Some(EngineError::new(ErrorCode::TaskCancelled, "somebody stopped the job")));
    };
    let (got, ()) = tokio::join!(get, end);
    let error = got.unwrap_err().error;
    assert_eq!(error.code(), ErrorCode::OwnerDied);
    assert!(error.message().contains("somebody stopped the job"), "{error}");
}

async fn fails_once_away(node: Node, options: Options, change: impl FnOnce(&mut node::State)) -> EngineError {
    let session = node.session(options).await.unwrap();
    let get = session.get(&*UNKNOWN, None);
    let cut = async {
        node.request(|request| matches!(request, Request::Get(_))).await;
        node.set(change);
        node.cut();
    };
    let (got, ()) = tokio::join!(get, cut);
    session.ended().await;
    let error = got.unwrap_err().error;
    assert_eq!(error.code(), ErrorCode::OwnerDied);
    error
}

// contract: J3
#[tokio::test]
async fn a_job_that_ended_meanwhile_says_why() {
    let error = fails_once_away(Node::start(), Options::default(), |state| {
        state.refuses = Some(EngineError::new(ErrorCode::NotFound, "no such client"));
        state.job.set_state(v1::JobState::Failed);
        state.job.error = Some((&EngineError::new(ErrorCode::WorkerDied, "the client was away")).into());
    });
    let error = error.await;
    assert!(error.message().contains("WORKER_DIED: the client was away"), "{error}");
}

#[tokio::test]
async fn a_node_that_does_not_believe_it_is_not_asked_again() {
    let error = fails_once_away(Node::start(), Options::default(), |state| {
        state.refuses = Some(EngineError::new(ErrorCode::PermissionDenied, "another client is the root"));
    });
    let error = error.await;
    assert!(error.message().contains("another client is the root"), "{error}");
}

#[tokio::test]
async fn a_node_that_stays_away_is_given_up() {
    let options = Options { reconnect_max: Duration::from_millis(200), ..Options::default() };
    let error = fails_once_away(Node::start(), options, |state| {
        state.refuses = Some(EngineError::new(ErrorCode::NodeDied, "the node is shutting down"));
    });
    let error = error.await;
    assert!(error.message().contains("others were tried for 200ms"), "{error}");
}

#[tokio::test]
async fn a_wait_ends_at_its_timeout_though_the_node_is_away() {
    let node = Node::start();
    let session = node.session(Options::default()).await.unwrap();
    node.set(|state| state.refuses = Some(EngineError::new(ErrorCode::NodeDied, "not now")));
    node.cut();
    let error = session.get(&*UNKNOWN, Some(Duration::from_millis(1))).await.unwrap_err().error;
    assert_eq!(error.code(), ErrorCode::GetTimeout);
    node.set(|state| state.refuses = None);
    let held = session.put(value("back")).await.unwrap();
    assert_eq!(session.get(&[held.object().unwrap()], None).await.unwrap()[0].bytes, "back");
}

#[tokio::test]
async fn a_session_that_does_not_begin_leaves_no_job() {
    let node = Node::start();
    node.set(|state| state.refuses = Some(EngineError::invalid_argument("not like this")));
    let error = node.session(Options::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidArgument));
    assert_eq!(node.state.lock().job.state(), v1::JobState::Stopped);
}

#[tokio::test]
async fn the_log_is_followed_to_the_end_of_the_job() {
    let node = Node::start();
    let session = node.session(Options::default()).await.unwrap();
    let mut logs = session.logs();
    let lines = logs.next().await.unwrap().unwrap().lines;
    assert_eq!(lines.iter().map(|line| &line.text[..]).collect::<Vec<_>>(), ["line 0", "line 1"]);
    node.set(|state| state.job.set_state(v1::JobState::Succeeded));
    assert!(logs.next().await.is_none());
}

#[tokio::test]
async fn requests_without_an_answer_are_bounded() {
    let node = Node::start();
    let session = node.session(Options::default()).await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..CLIENT_REQUESTS_MAX {
        let mut get = Box::pin(session.get(&*UNKNOWN, None));
        assert!(poll_immediate(&mut get).await.is_none());
        waiting.push(get);
    }
    let error = session.get(&*UNKNOWN, None).await.unwrap_err().error;
    assert_eq!(error.code(), ErrorCode::LimitExceeded);
    assert!(error.message().contains("client_requests_max"), "{error}");
    waiting.pop();
    assert!(poll_immediate(Box::pin(session.get(&*UNKNOWN, None))).await.is_none(), "there is room again");
}
