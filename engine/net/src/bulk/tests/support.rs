//! Sources, sinks, a network that can be bad, and ends worked by hand.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use engine_core::transfer::Way;
use engine_core::{Error, ErrorCode, NodeId, ObjectId};

use crate::bulk::client::Timeouts;
use crate::bulk::protocol::{Hello, Request, Welcome};
use crate::bulk::server::Bounds;
use crate::bulk::{Asked, Asking, BulkClient, BulkObject, BulkServer, BulkSink, BulkSource, Fetched, Opened};

pub const LOOPBACK: &str = "127.0.0.1:0";

pub fn node() -> NodeId {
    NodeId::from_bits(0xabcd, 0x1234_0000_0000)
}

/// The node whose clients fetch.
pub fn asker() -> NodeId {
    NodeId::from_bits(7, 7 << 32)
}

pub fn object(n: u64) -> ObjectId {
    ObjectId::from_bits(n, 1)
}

/// Bytes that differ from place to place.
pub fn pattern(size: usize) -> Vec<u8> {
    let mut state = size as u64;
    let words = (0..size.div_ceil(8)).flat_map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ state >> 29).to_le_bytes()
    });
    words.take(size).collect()
}

/// Objects in memory; one may break off.
#[derive(Default)]
pub struct Objects(HashMap<ObjectId, (Arc<Vec<u8>>, Option<u64>)>);

struct InMemory {
    bytes: Arc<Vec<u8>>,
    breaks_off_at: Option<u64>,
}

impl Objects {
    pub fn with(mut self, n: u64, bytes: Vec<u8>) -> Self {
        self.0.insert(object(n), (Arc::new(bytes), None));
        self
    }

    pub fn with_broken(mut self, n: u64, bytes: Vec<u8>, at: u64) -> Self {
        self.0.insert(object(n), (Arc::new(bytes), Some(at)));
        self
    }

    pub fn serve(self) -> BulkServer {
        BulkServer::bind(LOOPBACK.parse().unwrap(), node(), Arc::new(self), None).unwrap()
    }
}

impl BulkSource for Objects {
    fn open(&self, asked: Asked) -> Result<Opened, Error> {
        let (bytes, breaks_off_at) =
            self.0.get(&asked.object).ok_or_else(|| Error::new(ErrorCode::ObjectFreed, "it was freed"))?;
        Ok(Opened::Here(Box::new(InMemory { bytes: bytes.clone(), breaks_off_at: *breaks_off_at })))
    }
}

impl BulkObject for InMemory {
    fn size(&self) -> Result<Option<u64>, Error> {
        Ok(Some(self.bytes.len() as u64))
    }

    fn read(&self, offset: u64, length: usize) -> Result<Option<Cow<'_, [u8]>>, Error> {
        let range = offset as usize..offset as usize + length;
        match self.breaks_off_at {
            Some(at) if range.contains(&(at as usize)) => {
                Err(Error::new(ErrorCode::OutOfDisk, "the disk is broken"))
            }
            // Both kinds: as from the arena, and as from disk.
            _ if offset.is_multiple_of(3) => Ok(Some(Cow::Owned(self.bytes[range].to_vec()))),
            _ => Ok(Some(Cow::Borrowed(&self.bytes[range]))),
        }
    }

    fn sent(&mut self, _: u64, _: u64) {}
}

/// A source of this one object.
pub struct Only<F>(pub F);

impl<F, O> BulkSource for Only<F>
where
    F: Fn() -> Result<O, Error> + Send + Sync,
    O: BulkObject + 'static,
{
    fn open(&self, _: Asked) -> Result<Opened, Error> {
        Ok(Opened::Here(Box::new((self.0)()?)))
    }
}

/// An object without an end that matters, made of zeros.
pub struct Endless;

impl BulkObject for Endless {
    fn size(&self) -> Result<Option<u64>, Error> {
        Ok(Some(1 << 60))
    }

    fn read(&self, _: u64, length: usize) -> Result<Option<Cow<'_, [u8]>>, Error> {
        Ok(Some(Cow::Owned(vec![0; length])))
    }

    fn sent(&mut self, _: u64, _: u64) {}
}

/// Room of the size that was announced.
#[derive(Default)]
pub struct Memory {
    pub bytes: Vec<u8>,
    pub written: usize,
    pub sizes: usize,
}

impl BulkSink for Memory {
    fn size(&mut self, bytes: u64) -> Result<(), Error> {
        self.sizes += 1;
        self.bytes.resize(bytes as usize, 0xee);
        Ok(())
    }

    fn written(&self) -> u64 {
        self.written as u64
    }

    fn room(
        &mut self,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        fill(&mut self.bytes[self.written..][..length])?;
        self.written += length;
        Ok(())
    }
}

/// Keeps nothing, and calls back after each chunk.
pub struct Watched<F>(pub u64, pub F);

impl<F: FnMut(u64)> BulkSink for Watched<F> {
    fn size(&mut self, _: u64) -> Result<(), Error> {
        Ok(())
    }

    fn written(&self) -> u64 {
        self.0
    }

    fn room(
        &mut self,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        fill(&mut vec![0; length])?;
        self.0 += length as u64;
        self.1(self.0);
        Ok(())
    }
}

/// The holder of all tests but those of several, asked as the first.
pub fn asking(at: SocketAddr, n: u64) -> Asking {
    Asking { at, holder: node(), object: object(n), way: Way::First }
}

pub fn fetch(client: &BulkClient, at: SocketAddr, n: u64) -> Result<Vec<u8>, Error> {
    let mut sink = Memory::default();
    assert_eq!(client.fetch(&asking(at, n), None, &mut sink)?, Fetched::All);
    assert_eq!((sink.written, sink.sizes), (sink.bytes.len(), 1));
    Ok(sink.bytes)
}

/// The error names what was wanted, and says why it was not had.
pub fn assert_lost(error: &Error, n: u64, reason: &str) {
    assert_eq!(error.code(), ErrorCode::ObjectLost, "{error}");
    for part in [&object(n).to_string(), &node().to_string(), reason] {
        assert!(error.message().contains(part), "{error} does not say {part}");
    }
}

/// Long enough that it is never reached.
pub const NEVER: Duration = Duration::from_secs(600);
/// Short enough that a test does not last.
pub const SOON: Duration = Duration::from_millis(60);

pub fn patient() -> BulkClient {
    BulkClient::with_timeouts(asker(), None, Timeouts { connect: NEVER, silence: NEVER })
}

pub fn impatient() -> BulkClient {
    BulkClient::with_timeouts(asker(), None, Timeouts { connect: NEVER, silence: SOON })
}

pub fn bounds() -> Bounds {
    Bounds { connections_max: 100, hello: NEVER, stall: NEVER }
}

/// What a network does to what the holder sends on one connection.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    None,
    /// Ends after so many bytes.
    Cut(u64),
    /// Flips a bit of this byte.
    Flip(u64),
}

/// A network between client and holder, with a fault for each connection.
pub struct Network {
    pub address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Network {
    pub fn to(holder: SocketAddr, fault: impl Fn(usize) -> Fault + Send + Sync + 'static) -> Self {
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = accepted.clone();
        let address = listen(move |client| {
            let fault = fault(count.fetch_add(1, Ordering::SeqCst));
            let Ok(server) = TcpStream::connect(holder) else { return };
            let (up, down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || carry(&up, &server, Fault::None));
            carry(&down, &client, fault);
        });
        Self { address, accepted }
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

fn carry(mut from: &TcpStream, mut to: &TcpStream, fault: Fault) {
    let (mut buffer, mut done) = (vec![0; 64 << 10], 0_u64);
    while let Ok(count) = from.read(&mut buffer) {
        let mut bytes = &mut buffer[..count];
        let mut is_last = count == 0;
        match fault {
            Fault::Flip(at) if (done..done + count as u64).contains(&at) => {
                bytes[(at - done) as usize] ^= 0x10;
            }
            Fault::Cut(after) if after <= done + count as u64 => {
                bytes = &mut bytes[..(after - done) as usize];
                is_last = true;
            }
            _ => {}
        }
        done += bytes.len() as u64;
        if to.write_all(bytes).is_err() || is_last {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Something else than a holder: each connection is given to `talk`, in a thread of its own.
pub fn listen(talk: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind(LOOPBACK).unwrap();
    let address = listener.local_addr().unwrap();
    let talk = Arc::new(talk);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (talk, stream) = (talk.clone(), stream.unwrap());
            thread::spawn(move || talk(stream));
        }
    });
    address
}

/// A holder that hears the first request properly and then does what it likes.
pub fn holder_that(answers: impl Fn(Request, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    listen(move |mut stream| {
        let Ok(hello) = Hello::read(&mut stream) else { return };
        assert_eq!(hello.node, node());
        Welcome::Ok.write(&mut stream).unwrap();
        if let Ok(request) = Request::read(&mut stream) {
            answers(request, stream);
        }
    })
}

/// Blocks until the other end closes.
pub fn until_closed(mut stream: TcpStream) {
    let mut byte = [0];
    while matches!(stream.read(&mut byte), Ok(1)) {}
}
