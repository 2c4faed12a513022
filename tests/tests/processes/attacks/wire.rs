//! Kind 7: messages that are none, and tokens that were changed, to every method.

use bytes::{Buf, BufMut};
use engine_proto::methods::METHODS;
use engine_proto::version;
use engine_tests::{Up, until};
use futures::stream;
use serde_json::json;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;

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
            let next = tokio::time::timeout(std::time::Duration::from_millis(200), answers.message());
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
