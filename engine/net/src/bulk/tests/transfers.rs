//! What is fetched is what is held.

use std::sync::Arc;
use std::thread;

use engine_core::{Error, ErrorCode};

use super::support::*;
use crate::bulk::limits::{CHUNK_BYTES_MAX, IDLE_PER_HOLDER_MAX};
use crate::bulk::{BulkClient, BulkServer, BulkSink};

const SIZES: [usize; 6] = [0, 1, CHUNK_BYTES_MAX - 1, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1, (10 << 20) + 3];

fn of_all_sizes() -> Objects {
    SIZES
        .iter()
        .enumerate()
        .fold(Objects::default(), |objects, (n, size)| objects.with(n as u64, pattern(*size)))
}

#[test]
fn objects_of_all_sizes_arrive_over_one_connection() {
    let server = of_all_sizes().serve();
    let network = Network::to(server.address(), |_| Fault::None);
    let client = patient();
    for (n, size) in SIZES.iter().enumerate() {
        assert!(fetch(&client, network.address, n as u64).unwrap() == pattern(*size), "{size}");
    }
    assert_eq!((network.accepted(), client.idle_connections()), (1, 1));
}

#[test]
fn ranges_are_what_lies_there() {
    let (server, client) = (of_all_sizes().serve(), patient());
    let whole = pattern(SIZES[5]);
    let read = |offset, length| client.read(server.address(), node(), object(5), offset, length);
    let size = whole.len() as u64;
    for (offset, length) in [(0, 0), (0, 10), (1, size - 1), (size, 0), (size - 1, 1), (5 << 20, 3 << 20)] {
        let bytes = read(offset, length).unwrap();
        assert!(bytes == whole[offset as usize..][..length as usize], "{offset} {length}");
    }
    for (offset, length) in [(0, size + 1), (size, 1), (size + 1, 0), (u64::MAX, u64::MAX), (1, u64::MAX)] {
        let error = read(offset, length).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
    }
    assert!(client.read(server.address(), node(), object(0), 0, 0).unwrap().is_empty());
    assert_eq!(client.idle_connections(), 1, "an error of the holder leaves the connection as it is");
}

#[test]
fn many_threads_fetch_at_once() {
    let (server, client) = (of_all_sizes().serve(), patient());
    thread::scope(|scope| {
        for start in 0..12 {
            let (client, at) = (client.clone(), server.address());
            scope.spawn(move || {
                for n in (0..SIZES.len()).cycle().skip(start).take(SIZES.len()) {
                    assert!(fetch(&client, at, n as u64).unwrap() == pattern(SIZES[n]), "{n}");
                }
            });
        }
    });
    assert!((1..=IDLE_PER_HOLDER_MAX).contains(&client.idle_connections()));
}

#[test]
fn what_another_holder_began_goes_on() {
    let bytes = pattern((3 << 20) + 7);
    let broken = Objects::default().with_broken(1, bytes.clone(), 2 << 20).serve();
    let sound = Objects::default().with(1, bytes.clone()).serve();
    let (client, mut sink) = (patient(), Memory::default());
    let error = client.fetch(&asking(broken.address(), 1), None, &mut sink).unwrap_err();
    assert_eq!((error.code(), sink.written), (ErrorCode::OutOfDisk, 2 << 20));
    client.fetch(&asking(sound.address(), 1), None, &mut sink).unwrap();
    assert!(sink.bytes == bytes && sink.written == bytes.len());
}

#[test]
fn the_holders_errors_come_with_their_code() {
    let server = Objects::default().with_broken(1, pattern(4 << 20), 3 << 20).with(2, pattern(9)).serve();
    let network = Network::to(server.address(), |_| Fault::None);
    let client = patient();
    let error = fetch(&client, network.address, 7).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ObjectFreed);
    assert!(error.message().contains("it was freed") && error.message().contains(&node().to_string()));
    let error = fetch(&client, network.address, 1).unwrap_err();
    assert_eq!(error.code(), ErrorCode::OutOfDisk);
    assert!(error.message().contains("the disk is broken"), "{error}");
    assert_eq!(fetch(&client, network.address, 2).unwrap(), pattern(9));
    assert_eq!(network.accepted(), 1, "after an error the connection is as good as before");
}

#[test]
fn a_source_that_reads_another_number_of_bytes_is_found_out() {
    struct Short;
    impl crate::bulk::BulkObject for Short {
        fn size(&self) -> Result<Option<u64>, Error> {
            Ok(Some(10))
        }
        fn read(&self, _: u64, length: usize) -> Result<Option<std::borrow::Cow<'_, [u8]>>, Error> {
            Ok(Some(vec![0; length - 1].into()))
        }
        fn sent(&mut self, _: u64, _: u64) {}
    }
    let source = Arc::new(Only(|| Ok(Short)));
    let server = BulkServer::bind(LOOPBACK.parse().unwrap(), node(), source, None).unwrap();
    assert_eq!(fetch(&patient(), server.address(), 1).unwrap_err().code(), ErrorCode::Internal);
}

/// A sink that fails in one way.
struct Bad(&'static str, Memory);

impl BulkSink for Bad {
    fn size(&mut self, bytes: u64) -> Result<(), Error> {
        match self.0 {
            "size" => Err(Error::new(ErrorCode::StoreFull, "no room")),
            _ => self.1.size(bytes),
        }
    }

    fn written(&self) -> u64 {
        self.1.written()
    }

    fn room(
        &mut self,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match self.0 {
            "room" => Err(Error::new(ErrorCode::StoreFull, "no room")),
            "nothing" => Ok(()),
            "twice" => {
                self.1.room(length, fill)?;
                fill(&mut vec![0; length])
            }
            "short" => self.1.room(length - 1, fill),
            _ => fill(&mut vec![0; length]),
        }
    }
}

#[test]
fn a_sink_that_fails_or_errs_ends_the_fetch() {
    let server = Objects::default().with(1, pattern(3 << 20)).serve();
    let network = Network::to(server.address(), |_| Fault::None);
    for (how, code) in [
        ("size", ErrorCode::StoreFull),
        ("room", ErrorCode::StoreFull),
        ("nothing", ErrorCode::Internal),
        ("twice", ErrorCode::Internal),
        ("short", ErrorCode::Internal),
        ("uncounted", ErrorCode::Internal),
    ] {
        let before = network.accepted();
        let client = BulkClient::new(asker(), None);
        let error =
            client.fetch(&asking(network.address, 1), None, &mut Bad(how, Memory::default())).unwrap_err();
        assert_eq!(error.code(), code, "{how}: {error}");
        assert_eq!(network.accepted(), before + 1, "{how}: another connection cannot help");
        assert_eq!(client.idle_connections(), 0, "{how}: bytes are left on the connection");
    }
}
