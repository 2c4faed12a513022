//! Kind 7, before there is a request: who speaks no TLS, an older one, or nothing at all.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use engine_tests::until;
use engine_tls::Fingerprint;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::floods::open_files;
use super::runtime;
use crate::tenants::{Secure, Tenant, tenant};

/// A hello of TLS 1.2, which offers no later version.
const HELLO_OF_TLS_1_2: &[u8] = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03\
    01234567890123456789012345678901\x00\x00\x04\xc0\x2f\xc0\x30\x01\x00";

/// What an HTTP/2 connection begins with.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An HTTP/2 frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// By what the cluster of this token is known.
pub(super) fn authority(who: &Tenant<'_>) -> Fingerprint {
    let token: engine_client::AccessToken = who.token.parse().expect("a token");
    token.fingerprint().expect("it is of a cluster with TLS")
}

/// What comes back to these bytes, until the other end closes.
fn answered(at: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(at).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
    stream.write_all(bytes).expect("it is sent");
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut part) {
        answer.extend_from_slice(&part[..count]);
        // It waits for this end to close as well.
        if answer.len() >= 7 {
            break;
        }
    }
    answer
}

#[test]
fn who_speaks_no_tls_of_today_is_told_so_and_no_more() {
    let cluster = Secure::start(&[]);
    for hello in [
        b"GET / HTTP/1.1\r\nHost: head\r\n\r\n".as_slice(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        b"SSH-2.0-x\r\n",
        HELLO_OF_TLS_1_2,
        b"\x16\x03\x01\xff\xff\x01\xff\xff\xff",
        b"\x16\x02\x00\x00\x01\x00\x00",
        &[0x16; 40],
    ] {
        let answer = answered(&cluster.at, hello);
        // Of TLS an alert, or nothing: a record of kind 21, a fatal one.
        let is_alert = answer.len() >= 6 && answer[0] == 21 && answer[5] == 2;
        assert!(is_alert || answer.is_empty(), "{answer:?} to {hello:?}");
    }
    // handshake_failure or protocol_version.
    let told = answered(&cluster.at, HELLO_OF_TLS_1_2);
    assert!(matches!(told.get(5..7), Some([2, 40 | 70])), "{told:?}");
    cluster.place.engine(["job", "list"]).run().exits(0);
}

// contract: H1
/// Connections that say nothing, before, in and after the handshake, and ones that ask what nobody may: each is
/// closed, and nobody who may waits for that.
#[test]
fn strangers_who_stay_silent_hold_up_nobody() {
    let cluster = Secure::start(&[]);
    let made = tenant(&cluster.place, None, "blue", "submitter");
    let blue = Tenant { address: Some(&cluster.at), token: made.token.clone(), place: &cluster.place };
    let before = open_files(cluster.head.id());
    let at: std::net::SocketAddr = cluster.at.parse().expect("an address");
    // More than there are places for handshakes.
    let silent: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(at).expect("it listens")).collect();
    let half: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(at).expect("it listens");
            stream.write_all(b"\x16\x03\x01\x02").expect("it is sent");
            stream
        })
        .collect();
    // Who keeps the engine comes by its own socket, and waits for none of them.
    cluster.place.engine(["job", "list"]).run().exits(0);
    runtime().block_on(async {
        let connect = || engine_tls::connect_unproven(at, authority(&made), engine_tls::Expected::Server);
        // One after the handshake, one in HTTP/2, and one that goes on asking what it may not.
        let (mut after, mut idle, mut asks) = loop {
            // While they have all places, the handshake of others waits, and may be over before its turn comes.
            if let (Ok(after), Ok(idle), Ok(asks)) = (connect().await, connect().await, connect().await) {
                break (after, idle, asks);
            }
        };
        let settings = [PREFACE, &frame(4, 0, 0, b"")].concat();
        idle.write_all(&settings).await.expect("it is sent");
        asks.write_all(&settings).await.expect("it is sent");
        let asking = async {
            // HEADERS with nothing that HTTP/2 wants, over and over, and a PING.
            for stream in (1..).step_by(2) {
                let bad = [frame(1, 5, stream, b"\x82"), frame(6, 0, 0, b"12345678")].concat();
                if asks.write_all(&bad).await.is_err() || asks.flush().await.is_err() {
                    break;
                }
                let mut part = [0; 4096];
                if matches!(asks.read(&mut part).await, Ok(0) | Err(_)) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        async fn closed(io: &mut engine_tls::Io) {
            let mut rest = Vec::new();
            let _ = io.read_to_end(&mut rest).await;
        }
        let all = async { tokio::join!(closed(&mut after), closed(&mut idle), asking) };
        tokio::time::timeout(engine_tests::PATIENCE, all).await.expect("they are closed");
    });
    until("the head has let go of them", || match open_files(cluster.head.id()) {
        now if now <= before + 3 => Ok(()),
        now => Err(format!("{now} open files instead of {before}")),
    });
    drop((silent, half));
    // Who has a token comes in as ever, and is not closed for saying nothing after.
    assert_eq!(blue.attacks("honest", &[json!(100)])["right"], 100);
}
