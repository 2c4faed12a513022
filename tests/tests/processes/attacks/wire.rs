//! Kind 7: messages that are none, and tokens that were changed, to every method.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use engine_proto::methods::METHODS;
use engine_proto::prost::Message as _;
use engine_proto::{v1, version};
use engine_tests::{Up, until};
use futures::stream;
use http_body::Frame;
use serde_json::json;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tower::{Service as _, ServiceExt as _};

use super::client_lines::{channel, stamped};
use super::floods::{open_files, resident_bytes};
use super::ids::Random;
use super::{batches, runtime, two, unharmed};

/// Bytes as they are.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}

/// What a method says to these messages; none: it took them.
async fn said(channel: &Channel, token: &str, path: &'static str, messages: Vec<Vec<u8>>) -> Option<Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.expect("it is connected");
    let request = stamped(token, stream::iter(messages));
    match grpc.streaming(request, PathAndQuery::from_static(path), Raw).await {
        Err(status) => Some(status),
        // One that answers by a stream says at its end what it thinks; nobody waits for one without an end.
        Ok(answer) => {
            let mut answers = answer.into_inner();
            let next = tokio::time::timeout(Duration::from_millis(200), answers.message());
            next.await.ok().and_then(Result::err)
        }
    }
}

/// Bytes that look like a message more or less: fields of all types, nested, cut off, with lengths that lie.
fn message(random: &mut Random, depth: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(6) {
        let number = 1 + random.below(20);
        let wire = random.one_of(&[0_u64, 1, 2, 2, 2, 5, 3, 4, 6, 7]);
        varint(&mut bytes, number << 3 | wire);
        match wire {
            0 => varint(&mut bytes, random.next() >> random.below(64)),
            1 => bytes.extend(random.next().to_le_bytes()),
            5 => bytes.extend((random.next() as u32).to_le_bytes()),
            2 => {
                let inner = match random.below(4) {
                    0 if depth < 8 => message(random, depth + 1),
                    1 => b"job-0123456789abcdef01234567".to_vec(),
                    2 => (0..random.below(40)).map(|_| random.next() as u8).collect(),
                    _ => "\u{1b}]0;x\u{7}/../\u{202e}".repeat(random.below(4) as usize).into_bytes(),
                };
                let length = match random.below(10) {
                    0 => random.next() >> random.below(64),
                    _ => inner.len() as u64,
                };
                varint(&mut bytes, length);
                bytes.extend(inner);
            }
            _ => {}
        }
    }
    bytes
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[test]
fn no_message_brings_a_method_down() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    let operator_only = up.place().engine(["token", "create", "--role", "operator"]).run();
    let all = operator_only.exits(0).stdout.trim().to_owned();
    let victim = blue.attacks_on(&[], "keep", &[json!("x")]);
    let runtime = runtime();
    let channel = runtime.block_on(channel(up.place()));
    let mut random = Random(11);
    batches("messages were sent to methods", 2_000, 1_000_000, 1_000, |_, count| {
        runtime.block_on(async {
            for _ in 0..count {
                let method = &METHODS[random.below(METHODS.len() as u64) as usize];
                let messages = (0..1 + random.below(2)).map(|_| message(&mut random, 0)).collect();
                // An operator gets further into it; but not to where it ends what the other test looks at.
                let is_harmless = !["Jobs.Stop", "Jobs.Delete", "Tokens.Revoke"].contains(&method.name);
                let token = if is_harmless && random.below(2) == 0 { &all } else { &red.token };
                if let Some(status) = said(&channel, token, method.path, messages).await {
                    let bad = [tonic::Code::Unknown, tonic::Code::DataLoss];
                    assert!(!bad.contains(&status.code()), "{}: {status:?}", method.name);
                    assert!(!status.message().contains("panicked"), "{}: {status:?}", method.name);
                }
            }
        });
    });
    // Nested deeper than anything is read, and larger than anything may be.
    runtime.block_on(async {
        let mut deep = Vec::new();
        for _ in 0..5_000 {
            let mut outer = vec![1 << 3 | 2];
            varint(&mut outer, deep.len() as u64);
            outer.extend(deep);
            deep = outer;
        }
        let large = vec![0; 80 << 20];
        for path in ["/engine.v1.Jobs/Submit", "/engine.v1.State/List", "/engine.v1.Clients/Attach"] {
            for bad in [&deep, &large] {
                assert!(said(&channel, &red.token, path, vec![bad.clone()]).await.is_some(), "{path}");
            }
        }
    });
    assert_eq!(blue.json(&["job", "status", &victim])["state"], "RUNNING");
    blue.engine(&["job", "stop", &victim]).exits(0);
    assert!(resident_bytes(up.process_id()) < 1 << 30);
    for job in up.list("jobs", &["state=RUNNING"]) {
        up.engine(&["job", "stop", job["job_id"].as_str().expect("an id")]).exits(0);
    }
    unharmed(up);
}

/// Each character of a token, changed; each beginning of it; two at once; nothing of it is taken.
#[test]
fn a_token_that_was_changed_is_no_token() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    let runtime = runtime();
    let channel = runtime.block_on(channel(up.place()));
    let list = "/engine.v1.Jobs/List";
    let secret = red.token.clone();
    let ask = |bearer: String| {
        let channel = channel.clone();
        async move {
            let mut grpc = tonic::client::Grpc::new(channel);
            grpc.ready().await.expect("it is connected");
            let mut request = tonic::Request::new(stream::iter(vec![Vec::new()]));
            request.metadata_mut().insert(version::PROTOCOL_KEY, version::PROTOCOL.into());
            if let Ok(value) = bearer.parse() {
                request.metadata_mut().insert("authorization", value);
            }
            grpc.streaming(request, PathAndQuery::from_static(list), Raw).await.map(drop)
        }
    };
    runtime.block_on(async {
        let stamp = stamped(&secret, ());
        let good =
            stamp.metadata().get("authorization").expect("it is there").to_str().expect("text").to_owned();
        ask(good.clone()).await.expect("it is good");
        let mut changed: Vec<String> = (7..good.len())
            .map(|at| {
                let mut bytes = good.clone().into_bytes();
                bytes[at] = match bytes[at] {
                    b'A' => b'B',
                    _ => b'A',
                };
                String::from_utf8(bytes).expect("text")
            })
            .collect();
        changed.extend((7..good.len()).step_by(7).map(|end| good[..end].to_owned()));
        changed.extend([
            format!("{good}A"),
            good.replace("Bearer ", "bearer "),
            good.replace("Bearer ", "Basic "),
            format!("Bearer Bearer {}", &good[7..]),
            format!("Bearer {}", "A".repeat(6_000)),
        ]);
        for bearer in changed {
            let status = ask(bearer.clone()).await.err();
            let status = status.unwrap_or_else(|| panic!("{bearer:?} was let in"));
            assert_eq!(status.code(), tonic::Code::Unauthenticated, "{bearer:?}: {status:?}");
            assert!(!status.message().contains(&good[20..40]), "it is not shown: {status:?}");
        }
    });
    assert_eq!(blue.attacks("honest", &[json!(50)])["right"], 50);
    unharmed(up);
}

/// Connections of one tenant are bounded, and it has no more of them by having more tokens.
#[test]
fn one_tenant_does_not_have_all_connections() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    let before = open_files(up.process_id());
    let runtime = runtime();
    runtime.block_on(async {
        let narrowed = red.narrowed(&["--can", "view"]);
        let mut held = Vec::new();
        let refused = loop {
            assert!(held.len() <= 300, "there is no end of them");
            let channel = channel(up.place()).await;
            let token = if held.len() % 2 == 0 { &red.token } else { &narrowed.token };
            match said(&channel, token, "/engine.v1.Jobs/List", vec![Vec::new()]).await {
                None => held.push(channel),
                Some(status) => break status,
            }
        };
        assert_eq!((held.len(), refused.code()), (256, tonic::Code::ResourceExhausted), "{refused:?}");
        assert!(refused.message().contains("connections_of_tenant_max"), "{refused:?}");
        // Whoever else is let in.
        let channel = channel(up.place()).await;
        assert!(said(&channel, &blue.token, "/engine.v1.Jobs/List", vec![Vec::new()]).await.is_none());
        up.engine(&["job", "list"]).exits(0);
    });
    until("their connections are gone", || match open_files(up.process_id()) {
        now if now <= before + 2 => Ok(()),
        now => Err(format!("{now} open files instead of {before}")),
    });
    red.json(&["job", "list"]);
    unharmed(up);
}

/// The answer to a request with this body.
fn asked(
    mut channel: Channel,
    token: &str,
    path: &str,
    body: tonic::body::Body,
) -> impl Future<Output = Result<http::Response<tonic::body::Body>, tonic::transport::Error>> + use<> {
    let mut request = http::Request::new(body);
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = format!("http://localhost{path}").parse().expect("a path");
    *request.headers_mut() = stamped(token, ()).into_parts().0.into_headers();
    request.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
    request.headers_mut().insert("te", http::HeaderValue::from_static("trailers"));
    async move { channel.ready().await?.call(request).await }
}

/// A message of the largest size, of which so many bytes come, and then nothing.
struct Begun {
    bytes_left: usize,
    has_header: bool,
}

impl http_body::Body for Begun {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if !std::mem::replace(&mut self.has_header, true) {
            let header = [&[0], (64_u32 << 20).to_be_bytes().as_slice()].concat();
            return Poll::Ready(Some(Ok(Frame::data(header.into()))));
        }
        let next = self.bytes_left.min(64 << 10);
        self.bytes_left -= next;
        match next {
            0 => Poll::Pending,
            next => Poll::Ready(Some(Ok(Frame::data(vec![0; next].into())))),
        }
    }
}

/// A body of these parts.
struct Parts(Pin<Box<dyn stream::Stream<Item = Bytes> + Send>>);

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.as_mut().poll_next(cx).map(|next| Some(Ok(Frame::data(next?))))
    }
}

// contract: L1
#[test]
fn messages_that_are_begun_and_never_ended_are_bounded() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    let before = resident_bytes(up.process_id());
    let runtime = runtime();
    runtime.block_on(async {
        let begun = |channel: Channel, token: &str| {
            let body = Begun { bytes_left: 60 << 20, has_header: false };
            Box::pin(asked(channel, token, "/engine.v1.Jobs/Submit", tonic::body::Body::new(body)))
        };
        let mut requests = Vec::new();
        for _ in 0..8 {
            requests.push(begun(channel(up.place()).await, &red.token));
        }
        let (answer, _, others) = futures::future::select_all(requests).await;
        let answer = answer.expect("an answer");
        let refused = Status::from_header_map(answer.headers()).expect("a status");
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused:?}");
        assert!(refused.message().contains("unfinished_bytes_of_tenant_max"), "{refused:?}");
        // Its own bound is not the others'.
        let mut honest = begun(channel(up.place()).await, &blue.token);
        assert!(futures::poll!(&mut honest).is_pending());
        blue.json(&["job", "list"]);
        let grown = resident_bytes(up.process_id()).saturating_sub(before);
        assert!(grown < 1 << 30, "the engine took {grown} bytes");
        drop((others, honest));
    });
    // What was given up counts no more: one that is large and whole is read, and found to be none.
    until("there is room again", || {
        let whole = vec![vec![0xff; 60 << 20]];
        let read = runtime.block_on(async {
            said(&channel(up.place()).await, &red.token, "/engine.v1.Jobs/Submit", whole).await
        });
        match read {
            Some(status) if status.code() == tonic::Code::ResourceExhausted => Err(format!("{status:?}")),
            _ => Ok(()),
        }
    });
    unharmed(up);
}

// contract: L1
#[test]
fn uploads_that_take_for_ever_keep_nobody_else_waiting() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    let part = |part| v1::UploadRequest { part: Some(part) };
    let framed = |message: v1::UploadRequest| {
        let bytes = message.encode_to_vec();
        let length = u32::try_from(bytes.len()).expect("a small one").to_be_bytes();
        Bytes::from([&[0], length.as_slice(), &bytes].concat())
    };
    let digest = engine_proto::convert::digest(engine_core::ComponentId([7; 32]));
    let header = v1::UploadHeader { digest, size_bytes: 1 << 20, ..Default::default() };
    let header = framed(part(v1::upload_request::Part::Header(header)));
    let chunk = framed(part(v1::upload_request::Part::Chunk(vec![0].into())));
    let runtime = runtime();
    let slow: Vec<_> = runtime.block_on(async {
        let mut slow = Vec::new();
        for _ in 0..32 {
            // A byte now and then: each comes in time.
            let (header, chunk) = (header.clone(), chunk.clone());
            let parts = stream::unfold(0, move |turn| {
                let part = if turn == 0 { header.clone() } else { chunk.clone() };
                async move {
                    tokio::time::sleep(Duration::from_secs(turn)).await;
                    Some((part, 1))
                }
            });
            let body = tonic::body::Body::new(Parts(Box::pin(parts)));
            let channel = channel(up.place()).await;
            slow.push(tokio::spawn(asked(channel, &red.token, "/engine.v1.Components/Upload", body)));
        }
        slow
    });
    assert_eq!(blue.attacks("honest", &[json!(10)])["right"], 10);
    assert!(slow.iter().all(|upload| !upload.is_finished()), "they go on");
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    unharmed(up);
}

/// What was uploaded is looked at as it comes: nothing is kept of what has another digest, or no end.
#[test]
fn uploads_that_lie_leave_nothing() {
    let up = Up::start();
    let [red, _] = two(up.place());
    let runtime = runtime();
    let channel = runtime.block_on(channel(up.place()));
    let mut random = Random(5);
    runtime.block_on(async {
        for _ in 0..50 {
            let parts = (0..random.below(5)).map(|_| message(&mut random, 0)).collect();
            let refused = said(&channel, &red.token, "/engine.v1.Components/Upload", parts).await;
            let refused = refused.expect("it is no component");
            // As the library says it of bytes that are no message.
            let is_read = !refused.message().contains("failed to decode");
            assert!(refused.code() != tonic::Code::Internal || !is_read, "{refused:?}");
        }
    });
    unharmed(up);
}
