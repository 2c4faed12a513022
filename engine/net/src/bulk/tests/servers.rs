//! What a server bounds, and its end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use std::thread;

use engine_core::transfer::Way;
use engine_core::{ErrorCode, NodeId};

use super::support::*;
use crate::bulk::protocol::{Hello, Request, TO_THE_END, VERSION, Welcome};
use crate::bulk::server::Bounds;
use crate::bulk::{Asked, Asking, BulkServer, BulkSource, Opened};
use crate::listen::BindError;

fn bind(source: impl BulkSource + 'static, bounds: Bounds) -> BulkServer {
    BulkServer::with_bounds(LOOPBACK.parse().unwrap(), node(), Arc::new(source), None, bounds).unwrap()
}

fn greet(server: &BulkServer, hello: Hello) -> (TcpStream, Welcome) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    hello.write(&mut stream).unwrap();
    let welcome = Welcome::read(&mut stream).unwrap();
    (stream, welcome)
}

fn own() -> Hello {
    Hello { version: VERSION, node: node() }
}

#[test]
fn only_loopback_is_listened_on() {
    for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
        let source = Arc::new(Objects::default());
        let error = BulkServer::bind(address.parse().unwrap(), node(), source, None).unwrap_err();
        assert!(matches!(error, BindError::NotLoopback { .. }), "{error}");
    }
    let server = Objects::default().serve();
    assert_ne!(server.address().port(), 0);
    let error = BulkServer::bind(server.address(), node(), Arc::new(Objects::default()), None).unwrap_err();
    assert!(matches!(error, BindError::Io { .. }), "{error}");
}

#[test]
fn whoever_means_another_node_or_version_is_told_so() {
    let server = Objects::default().serve();
    assert_eq!(greet(&server, own()).1, Welcome::Ok);
    let other = Hello { node: NodeId::from_bits(0xabcd, 0), ..own() };
    assert_eq!(greet(&server, other).1, Welcome::AnotherNode);
    let newer = Hello { version: VERSION + 1, ..own() };
    assert_eq!(greet(&server, newer).1, Welcome::WrongVersion { oldest: VERSION, newest: VERSION });
    let other = Asking { holder: NodeId::from_bits(1, 0), ..asking(server.address(), 1) };
    let error = patient().fetch(&other, None, &mut Memory::default()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ObjectLost);
    assert!(error.message().contains("another node"), "{error}");
}

#[test]
fn one_connection_too_many_is_refused_and_has_room_when_another_ends() {
    let server = bind(Objects::default().with(1, pattern(10)), Bounds { connections_max: 2, ..bounds() });
    let (first, second) = (greet(&server, own()), greet(&server, own()));
    assert_eq!((first.1, second.1), (Welcome::Ok, Welcome::Ok));
    let client = patient();
    let error = fetch(&client, server.address(), 1).unwrap_err();
    assert_eq!(error.code(), ErrorCode::LimitExceeded, "{error}");
    drop(first);
    // Its thread takes a moment to see that.
    let bytes = loop {
        match fetch(&client, server.address(), 1) {
            Ok(bytes) => break bytes,
            Err(error) => assert_eq!(error.code(), ErrorCode::LimitExceeded, "{error}"),
        }
    };
    assert_eq!(bytes, pattern(10));
}

#[test]
fn clients_that_are_stuck_are_let_go() {
    let stuck = Bounds { connections_max: 1, stall: SOON, ..bounds() };
    let server = bind(Only(|| Ok(Endless)), stuck);
    // It asks, and takes nothing.
    let (mut taker, welcome) = greet(&server, own());
    assert_eq!(welcome, Welcome::Ok);
    Request { object: object(1), offset: 0, length: TO_THE_END, asker: asker(), way: Way::First }
        .write(&mut taker)
        .unwrap();
    while greet(&server, own()).1 != Welcome::Ok {
        thread::yield_now();
    }
    // It never says whom it wants.
    let server = bind(Objects::default(), Bounds { hello: SOON, ..bounds() });
    let mut mute = TcpStream::connect(server.address()).unwrap();
    assert_eq!(mute.read(&mut [0]).unwrap(), 0);
}

#[test]
fn who_says_a_word_now_and_then_makes_room_too() {
    let server = bind(Objects::default(), Bounds { connections_max: 1, hello: SOON, ..bounds() });
    let mut slow = TcpStream::connect(server.address()).unwrap();
    let mut hello = Vec::new();
    own().write(&mut hello).unwrap();
    let all = hello.len();
    // Each word in time for the read that waits for it: together they take many times as long.
    let drips = thread::spawn(move || {
        let said = hello.iter().take_while(|word| {
            thread::sleep(SOON * 2 / 3);
            slow.write_all(&[**word]).is_ok()
        });
        said.count()
    });
    while greet(&server, own()).1 != Welcome::Ok {
        thread::yield_now();
    }
    let said = drips.join().unwrap();
    assert!(said < all, "it was heard to its end");
}

#[test]
fn garbage_of_a_client_ends_its_connection_only() {
    let server = Objects::default().with(1, pattern(10)).serve();
    let mut web = TcpStream::connect(server.address()).unwrap();
    web.write_all(b"GET / HTTP/1.1\r\nHost: example\r\n\r\n").unwrap();
    // Closed with bytes unread: an end, or a reset.
    assert!(!matches!(web.read(&mut [0]), Ok(1)));
    let (mut stream, _) = greet(&server, own());
    stream.write_all(&[0xff; 100]).unwrap();
    drop(stream);
    assert_eq!(fetch(&patient(), server.address(), 1).unwrap(), pattern(10));
}

#[test]
fn a_source_that_panics_ends_that_connection_only() {
    struct Panics(Objects);
    impl BulkSource for Panics {
        fn open(&self, asked: Asked) -> Result<Opened, engine_core::Error> {
            assert_ne!(asked.object, object(9), "this panic is meant");
            self.0.open(asked)
        }
    }
    let server = bind(Panics(Objects::default().with(1, pattern(10))), bounds());
    assert_lost(&fetch(&patient(), server.address(), 9).unwrap_err(), 9, "it broke 4 times");
    assert_eq!(fetch(&patient(), server.address(), 1).unwrap(), pattern(10));
}

#[test]
fn shutdown_ends_what_is_under_way_and_what_is_idle() {
    let source = Arc::new(Only(|| Ok(Endless)));
    let server =
        BulkServer::with_bounds(LOOPBACK.parse().unwrap(), node(), source.clone(), None, bounds()).unwrap();
    let (address, client) = (server.address(), patient());
    let (idle, _) = greet(&server, own());
    let mute = TcpStream::connect(address).unwrap();
    let (moved, has_moved) = mpsc::channel();
    let fetches: Vec<_> = (0..3)
        .map(|_| {
            let (client, moved) = (client.clone(), moved.clone());
            thread::spawn(move || {
                let mut sink = Watched(0, |written| {
                    if written == 3 << 20 {
                        moved.send(()).unwrap();
                    }
                });
                client.fetch(&asking(address, 1), None, &mut sink)
            })
        })
        .collect();
    (0..3).for_each(|_| has_moved.recv().unwrap());
    server.shutdown();
    // No thread of it holds the source any more.
    assert_eq!(Arc::strong_count(&source), 1);
    for fetch in fetches {
        assert_lost(&fetch.join().unwrap().unwrap_err(), 1, "");
    }
    until_closed(idle);
    until_closed(mute);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_server_that_is_made_anew_serves_those_who_knew_the_old_one() {
    let client = patient();
    let server = Objects::default().with(1, pattern(10)).serve();
    let address = server.address();
    fetch(&client, address, 1).unwrap();
    drop(server);
    let again = Arc::new(Objects::default().with(1, pattern(20)));
    let _server = BulkServer::bind(address, node(), again, None).unwrap();
    assert_eq!(fetch(&client, address, 1).unwrap(), pattern(20));
    assert_eq!(client.idle_connections(), 1);
}
