//! Kind 7, inside a connection: frames that cost who sends them less than who gets them.

use std::time::Duration;

use engine_tests::Place;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::floods::resident_bytes;
use super::tls::{PREFACE, authority, frame};
use super::{batches, runtime};
use crate::tenants::{Secure, Tenant, tenant};

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Names and values as HPACK has them when nothing is compressed.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| {
        let mut bytes = Vec::new();
        match text.len() {
            short @ 0..127 => bytes.push(short as u8),
            long => {
                bytes.push(127);
                let mut rest = long - 127;
                while rest > 127 {
                    bytes.push(rest as u8 | 0x80);
                    rest >>= 7;
                }
                bytes.push(rest as u8);
            }
        }
        bytes
    };
    [vec![0], length(name), name.into(), length(value), value.into()].concat()
}

/// The headers of a request for this path with a token.
fn request(path: &str, token: &str) -> Vec<u8> {
    [
        literal(":method", "POST"),
        literal(":scheme", "http"),
        literal(":path", path),
        literal(":authority", "head"),
        literal("content-type", "application/grpc"),
        literal("te", "trailers"),
        literal("authorization", &format!("Bearer {token}")),
    ]
    .concat()
}

/// An attack: whether its connection must end, for what costs the engine more than who sends it; and what is sent
/// again and again, `turn` after `turn`.
type Attack<'a> = (&'a str, bool, Box<dyn Fn(u32) -> Vec<u8> + 'a>);

/// Sends it so often, or until the other end has had enough; true: it had.
async fn flooded(mut io: engine_tls::Io, times: u32, part: &(dyn Fn(u32) -> Vec<u8> + '_)) -> bool {
    if io.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()).await.is_err() {
        return true;
    }
    let mut answer = vec![0; 64 << 10];
    for turn in 0..times {
        let bytes = part(turn);
        // Who takes nothing any more has had enough as well.
        let sent = tokio::time::timeout(Duration::from_secs(5), async {
            io.write_all(&bytes).await?;
            if turn % 64 == 0 {
                io.flush().await?;
            }
            Ok::<(), std::io::Error>(())
        });
        if !matches!(sent.await, Ok(Ok(()))) {
            return true;
        }
        if turn % 256 == 0 {
            let read = tokio::time::timeout(Duration::from_millis(1), io.read(&mut answer)).await;
            if matches!(read, Ok(Ok(0) | Err(_))) {
                return true;
            }
        }
    }
    false
}

// contract: L1
#[test]
fn floods_of_frames_end_their_connection_and_take_no_memory() {
    let cluster = Secure::start(&[]);
    let elsewhere = Place::new();
    let [red, blue] = ["red", "blue"].map(|name| {
        let made = tenant(&cluster.place, None, name, "submitter");
        Tenant { place: &elsewhere, address: Some(&cluster.at), token: made.token }
    });
    let token: engine_client::AccessToken = red.token.parse().expect("a token");
    let list = request("/engine.v1.Jobs/List", token.secret());
    let long = literal("x", &"y".repeat(16_000));
    let attacks: [Attack<'_>; 7] = [
        (
            "a request that is taken back at once, over and over",
            true,
            Box::new(|turn| {
                let stream = 2 * turn + 1;
                [frame(HEADERS, END_HEADERS, stream, &list), frame(RESET, 0, stream, &8_u32.to_be_bytes())]
                    .concat()
            }),
        ),
        (
            "headers without an end",
            true,
            Box::new(|turn| match turn {
                0 => frame(HEADERS, 0, 1, &list),
                _ => frame(CONTINUATION, 0, 1, &long),
            }),
        ),
        (
            "headers without an end and without a word",
            true,
            Box::new(|turn| match turn {
                0 => frame(HEADERS, 0, 1, &list),
                _ => frame(CONTINUATION, 0, 1, b""),
            }),
        ),
        (
            "headers that are too large",
            true,
            Box::new(|turn| {
                let stream = 2 * turn + 1;
                let parts =
                    (0..40).map(|_| frame(CONTINUATION, 0, stream, &long)).collect::<Vec<_>>().concat();
                [frame(HEADERS, 0, stream, &list), parts, frame(CONTINUATION, END_HEADERS, stream, b"")]
                    .concat()
            }),
        ),
        (
            "signs of life that are to be answered",
            false,
            Box::new(|_| frame(PING, 0, 0, b"12345678").repeat(20)),
        ),
        (
            "settings that are to be confirmed",
            false,
            Box::new(|turn| {
                let value = (4_096 + turn % 2).to_be_bytes();
                frame(SETTINGS, 0, 0, &[&[0, 1], value.as_slice()].concat()).repeat(20)
            }),
        ),
        (
            "requests whose answers there is no room for",
            false,
            Box::new(|turn| match turn {
                0 => frame(SETTINGS, 0, 0, b"\x00\x04\x00\x00\x00\x00"),
                _ => {
                    let stream = 2 * turn + 1;
                    [
                        frame(HEADERS, END_HEADERS, stream, &list),
                        frame(0, 1, stream, &[0; 5]),
                        frame(WINDOW, 0, 0, &1_u32.to_be_bytes()),
                    ]
                    .concat()
                }
            }),
        ),
    ];
    let runtime = runtime();
    let before = resident_bytes(cluster.head.id());
    let at = cluster.at.parse().expect("an address");
    for (what, must_end, part) in &attacks {
        let mut ended = 0;
        batches(what, 1, 100, 1, |_, _| {
            runtime.block_on(async {
                let connect = engine_tls::connect_unproven(at, authority(&red), engine_tls::Expected::Server);
                let io = connect.await.expect("it is let in");
                ended += u32::from(flooded(io, 20_000, part.as_ref()).await);
            });
        });
        // Whether it was ended or taken in its stride: nothing is kept of it, and others are served.
        let grown = resident_bytes(cluster.head.id()).saturating_sub(before);
        assert!(grown < 256 << 20, "{what}: the head took {grown} bytes");
        assert_eq!(blue.json(&["job", "list"])["total"], 0, "{what}");
        assert!(ended > 0 || !must_end, "{what}: it goes on");
    }
    assert_eq!(blue.attacks("honest", &[json!(100)])["right"], 100);
}
