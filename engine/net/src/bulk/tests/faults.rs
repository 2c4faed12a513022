//! A bad network, and holders that misbehave.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use engine_core::ErrorCode;

use super::support::*;
use crate::bulk::limits::RESUMES_MAX;
use crate::bulk::protocol::{self, ChunkHeader, Hello, Welcome};

/// What a holder says of an object of 3 MiB and a bit: welcome, reply and chunks.
const SIZE: usize = (3 << 20) + 5;
const WELCOME: u64 = 9;
const REPLY: u64 = 9;
const HEADER: u64 = 12;

#[test]
fn a_transfer_that_is_cut_goes_on_where_it_was() {
    let server = Objects::default().with(1, pattern(SIZE)).serve();
    let first_chunk = WELCOME + REPLY + HEADER + (1 << 20);
    for cut in [
        0,
        3,
        WELCOME,
        WELCOME + 4,
        WELCOME + REPLY,
        WELCOME + REPLY + 5,
        WELCOME + REPLY + HEADER,
        WELCOME + REPLY + HEADER + 1000,
        first_chunk - 1,
        first_chunk,
        first_chunk + 1,
        first_chunk + (2 << 20),
    ] {
        let network =
            Network::to(server.address(), move |n| if n == 0 { Fault::Cut(cut) } else { Fault::None });
        assert!(fetch(&patient(), network.address, 1).unwrap() == pattern(SIZE), "{cut}");
        assert_eq!(network.accepted(), 2, "{cut}");
    }
}

#[test]
fn each_new_connection_brings_what_is_missing_and_no_more() {
    let server = Objects::default().with(1, pattern(SIZE)).serve();
    // Each lets one whole chunk through; the fourth has only the last five bytes to bring.
    let one_chunk = WELCOME + REPLY + HEADER + (1 << 20) + 10;
    let network = Network::to(server.address(), move |_| Fault::Cut(one_chunk));
    assert!(fetch(&patient(), network.address, 1).unwrap() == pattern(SIZE));
    assert_eq!(network.accepted(), 4);
}

#[test]
fn a_transfer_that_is_always_cut_is_lost() {
    let server = Objects::default().with(1, pattern(SIZE)).serve();
    for cut in [0, WELCOME, WELCOME + REPLY, WELCOME + REPLY + HEADER + 5000] {
        let network = Network::to(server.address(), move |_| Fault::Cut(cut));
        let mut sink = Memory::default();
        let error = patient().fetch(&asking(network.address, 1), None, &mut sink).unwrap_err();
        assert_lost(&error, 1, "it broke 4 times");
        assert_eq!((network.accepted(), sink.written), (RESUMES_MAX + 1, 0), "{cut}");
    }
}

#[test]
fn a_flipped_bit_is_found_and_made_good() {
    let server = Objects::default().with(1, pattern(SIZE)).serve();
    // In a chunk's length, its checksum, its bytes; in the second chunk.
    let second = (1 << 20) + HEADER;
    for flip in [2, 4, 13, 500_000, second, second + 5, second + 77_777] {
        let at = WELCOME + REPLY + flip;
        let network =
            Network::to(server.address(), move |n| if n == 0 { Fault::Flip(at) } else { Fault::None });
        assert!(fetch(&patient(), network.address, 1).unwrap() == pattern(SIZE), "{flip}");
        assert_eq!(network.accepted(), 2, "{flip}");
        let network =
            Network::to(server.address(), move |n| if n == 0 { Fault::Flip(at) } else { Fault::None });
        let bytes = patient().read(network.address, node(), object(1), 7, (2 << 20) - 7).unwrap();
        assert!(bytes == pattern(SIZE)[7..2 << 20], "{flip}");
    }
}

#[test]
fn a_bit_that_is_always_flipped_loses_the_object() {
    let server = Objects::default().with(1, pattern(SIZE)).serve();
    let network = Network::to(server.address(), |_| Fault::Flip(WELCOME + REPLY + HEADER + 1234));
    let mut sink = Memory::default();
    let error = patient().fetch(&asking(network.address, 1), None, &mut sink).unwrap_err();
    assert_lost(&error, 1, "do not have their checksum");
    assert_eq!((network.accepted(), sink.written), (RESUMES_MAX + 1, 0));
    let error = patient().read(network.address, node(), object(1), 5, 5000).unwrap_err();
    assert_lost(&error, 1, "do not have their checksum");
}

#[test]
fn an_idle_connection_that_was_closed_is_no_failure() {
    let server = Objects::default().with(1, pattern(SIZE)).with(2, pattern(100)).serve();
    // The first ends right after the first object; then as many breaks as are made good.
    let network = Network::to(server.address(), |n| match n {
        0 => Fault::Cut(WELCOME + REPLY + HEADER + 100),
        n if n <= RESUMES_MAX => Fault::Cut(WELCOME + 1),
        _ => Fault::None,
    });
    let client = patient();
    assert_eq!(fetch(&client, network.address, 2).unwrap(), pattern(100));
    assert_eq!((network.accepted(), client.idle_connections()), (1, 1));
    assert!(fetch(&client, network.address, 1).unwrap() == pattern(SIZE));
    assert_eq!(network.accepted(), RESUMES_MAX + 2);
}

#[test]
fn a_holder_that_is_silent_or_away_fails_the_fetch() {
    let says_nothing = listen(until_closed);
    assert_lost(&fetch(&impatient(), says_nothing, 1).unwrap_err(), 1, "silent");
    let no_reply = holder_that(|_, stream| until_closed(stream));
    assert_lost(&fetch(&impatient(), no_reply, 1).unwrap_err(), 1, "silent");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let stops = holder_that(move |_, mut stream| {
        count.fetch_add(1, Ordering::SeqCst);
        stream.write_all(&protocol::reply(100)).unwrap();
        stream.write_all(&ChunkHeader::of(&[0; 100], 0).encode()).unwrap();
        stream.write_all(&[0; 60]).unwrap();
        until_closed(stream);
    });
    assert_lost(&fetch(&impatient(), stops, 1).unwrap_err(), 1, "silent");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "one that is silent is not asked again");
    let away = TcpListener::bind(LOOPBACK).unwrap().local_addr().unwrap();
    assert_lost(&fetch(&impatient(), away, 1).unwrap_err(), 1, "cannot be connected to");
}

#[test]
fn one_of_another_version_or_another_node_is_not_asked_again() {
    let answered = Arc::new(AtomicUsize::new(0));
    let answer = |welcome: Welcome| {
        let answered = answered.clone();
        listen(move |mut stream| {
            Hello::read(&mut stream).unwrap();
            answered.fetch_add(1, Ordering::SeqCst);
            welcome.write(&mut stream).unwrap();
        })
    };
    let error = fetch(&patient(), answer(Welcome::WrongVersion { oldest: 3, newest: 5 }), 1).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unsupported);
    assert!(error.message().contains("versions 3 to 5"), "{error}");
    let error = fetch(&patient(), answer(Welcome::AnotherNode), 1).unwrap_err();
    assert_lost(&error, 1, "another node");
    let error = fetch(&patient(), answer(Welcome::Busy), 1).unwrap_err();
    assert_eq!(error.code(), ErrorCode::LimitExceeded, "{error}");
    assert_eq!(answered.load(Ordering::SeqCst), 3);
}

#[test]
fn garbage_and_absurd_lengths_lose_the_object_and_nothing_else() {
    let web = listen(|mut stream| {
        let _ = Hello::read(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    assert_lost(&fetch(&patient(), web, 1).unwrap_err(), 1, "no bulk port");
    let chunk = |length: u32| ChunkHeader { length, checksum: 1 }.encode();
    let answers: [(Vec<u8>, &str); 6] = [
        (vec![0xff; 64], "unknown status 255"),
        ([protocol::reply(1 << 20), chunk(u32::MAX - 1)].concat(), "chunk of 4294967294 bytes"),
        ([protocol::reply(3 << 20), chunk((1 << 20) + 1)].concat(), "chunk of 1048577 bytes"),
        ([protocol::reply(10), chunk(11)].concat(), "where 10 were left"),
        ([protocol::reply(10), chunk(0), vec![255; 3]].concat(), "code of 255 and a message of 65535"),
        ([&[1; 9][..], &[255; 3]].concat(), "code of 255"),
    ];
    for (answer, reason) in answers {
        let holder = holder_that(move |_, mut stream| {
            let _ = stream.write_all(&answer);
            until_closed(stream);
        });
        assert_lost(&fetch(&patient(), holder, 1).unwrap_err(), 1, reason);
    }
    // A ranged read takes memory for what was asked for, whatever the holder says.
    let huge = holder_that(|_, mut stream| {
        let _ = stream.write_all(&[protocol::reply(u64::MAX), vec![0; 12]].concat());
    });
    assert_lost(&patient().read(huge, node(), object(1), 5, 10).unwrap_err(), 1, "closed in the middle");
    let small = holder_that(|_, mut stream| stream.write_all(&protocol::reply(7)).unwrap());
    assert_lost(
        &patient().read(small, node(), object(1), 5, 10).unwrap_err(),
        1,
        "fewer than were asked for",
    );
}

#[test]
fn an_object_whose_size_changes_is_lost() {
    let is_first = AtomicBool::new(true);
    let holder = holder_that(move |_, mut stream| {
        let size = if is_first.swap(false, Ordering::SeqCst) { 100 } else { 200 };
        let _ = stream.write_all(&protocol::reply(size));
    });
    assert_lost(&fetch(&patient(), holder, 1).unwrap_err(), 1, "100 bytes and then 200");
}

#[test]
fn bytes_of_another_place_are_not_taken() {
    let holder = holder_that(|_, mut stream| {
        let head = [protocol::reply(20), ChunkHeader::of(&[7; 10], 10).encode()].concat();
        let _ = stream.write_all(&[head, vec![7; 10]].concat());
    });
    assert_lost(&fetch(&patient(), holder, 1).unwrap_err(), 1, "do not have their checksum");
}

#[test]
fn transfers_from_a_node_that_is_forgotten_end() {
    let (asked, is_asked) = mpsc::channel();
    let holder = holder_that(move |_, stream| {
        asked.send(()).unwrap();
        until_closed(stream);
    });
    let client = patient();
    let fetching = thread::spawn({
        let client = client.clone();
        move || fetch(&client, holder, 1)
    });
    is_asked.recv().unwrap();
    client.forget(node());
    assert_lost(&fetching.join().unwrap().unwrap_err(), 1, "the node is dead");
    let server = Objects::default().with(2, pattern(10)).serve();
    fetch(&client, server.address(), 2).unwrap();
    assert_eq!(client.idle_connections(), 1);
    client.forget(node());
    assert_eq!(client.idle_connections(), 0);
    fetch(&client, server.address(), 2).unwrap();
}
