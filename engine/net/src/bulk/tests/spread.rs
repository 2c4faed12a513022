//! Nodes that are being given an object give it on; several give parts of one.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use engine_core::transfer::{Parts, RANGE_BYTES, Way};
use engine_core::{Error, ErrorCode, NodeId};
use parking_lot::{Condvar, Mutex};

use super::support::*;
use crate::bulk::limits::{CHUNK_BYTES_MAX, SIGN_EVERY, SIGNS_MAX};
use crate::bulk::{Asked, Asking, BulkObject, BulkServer, BulkSink, BulkSource, Fetched, Opened};

const SIZE: usize = (6 << 20) + 9;

/// An object that is on its way to a node: its client writes it, and its server reads it.
#[derive(Clone, Default)]
struct OnItsWay(Arc<(Mutex<Come>, Condvar)>);

#[derive(Default)]
struct Come {
    size: Option<u64>,
    bytes: Vec<u8>,
    is_over: bool,
    /// Requests that were opened, and the offset of the first byte that each was sent.
    sent_from: Vec<u64>,
}

impl OnItsWay {
    fn serve(&self) -> BulkServer {
        BulkServer::bind(LOOPBACK.parse().unwrap(), node(), Arc::new(self.clone()), None).unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut Come)) {
        change(&mut self.0.0.lock());
        self.0.1.notify_all();
    }

    /// So many bytes have come, of all of them.
    fn has(&self, bytes: &[u8]) {
        self.change(|come| {
            come.size = Some(SIZE as u64);
            come.bytes = bytes.to_vec();
        });
    }

    fn wait<T>(&self, find: impl Fn(&Come) -> Option<T>) -> Result<Option<T>, Error> {
        let mut come = self.0.0.lock();
        loop {
            if let Some(found) = find(&come) {
                return Ok(Some(found));
            }
            if come.is_over {
                return Err(Error::new(ErrorCode::ObjectLost, "its own fetch has failed"));
            }
            if self.0.1.wait_for(&mut come, SIGN_EVERY).timed_out() {
                return Ok(find(&come));
            }
        }
    }

    /// Blocks until so many bytes have come.
    fn until(&self, bytes: usize) {
        while self.wait(|come| (come.bytes.len() >= bytes).then_some(())).unwrap().is_none() {}
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.0.lock().bytes.clone()
    }
}

impl BulkSource for OnItsWay {
    fn open(&self, asked: Asked) -> Result<Opened, Error> {
        assert_eq!(asked.asker, asker());
        match asked.way.takes_what_is_coming() {
            true => Ok(Opened::Here(Box::new(Reader(self.clone(), true)))),
            false => Err(Error::new(ErrorCode::ObjectLost, "it is not here")),
        }
    }
}

/// And whether nothing was sent yet.
struct Reader(OnItsWay, bool);

impl BulkObject for Reader {
    fn size(&self) -> Result<Option<u64>, Error> {
        self.0.wait(|come| come.size)
    }

    fn read(&self, offset: u64, length: usize) -> Result<Option<Cow<'_, [u8]>>, Error> {
        let range = offset as usize..offset as usize + length;
        self.0.wait(|come| come.bytes.get(range.clone()).map(|bytes| bytes.to_vec().into()))
    }

    fn sent(&mut self, offset: u64, _: u64) {
        if std::mem::take(&mut self.1) {
            self.0.change(|come| come.sent_from.push(offset));
        }
    }
}

impl BulkSink for OnItsWay {
    fn size(&mut self, bytes: u64) -> Result<(), Error> {
        self.change(|come| come.size = Some(bytes));
        Ok(())
    }

    fn written(&self) -> u64 {
        self.0.0.lock().bytes.len() as u64
    }

    fn room(
        &mut self,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut bytes = vec![0; length];
        fill(&mut bytes)?;
        self.change(|come| come.bytes.extend(bytes));
        Ok(())
    }
}

fn sent_on_to(server: &BulkServer) -> Asking {
    Asking { way: Way::SentOn, ..asking(server.address(), 1) }
}

#[test]
fn each_of_a_chain_gives_on_what_it_has_so_far() {
    let bytes = pattern(SIZE);
    let nodes: Vec<OnItsWay> = (0..5).map(|_| OnItsWay::default()).collect();
    let servers: Vec<BulkServer> = nodes.iter().map(OnItsWay::serve).collect();
    thread::scope(|scope| {
        // Before anybody knows how many bytes there are.
        for (mut to, from) in nodes[1..].iter().cloned().zip(&servers) {
            scope.spawn(move || {
                let fetched = patient().fetch(&sent_on_to(from), None, &mut to);
                assert_eq!(fetched.unwrap(), Fetched::All);
            });
        }
        for end in [CHUNK_BYTES_MAX, 3 * CHUNK_BYTES_MAX + 5] {
            nodes[0].has(&bytes[..end]);
            // The last has what came in whole chunks before the first has more.
            nodes[4].until(end - end % CHUNK_BYTES_MAX);
            assert!(nodes[4].bytes().len() <= end);
        }
        nodes[0].has(&bytes);
    });
    assert!(nodes.iter().all(|node| node.bytes() == bytes));
}

#[test]
fn one_whose_own_fetch_fails_says_so_and_another_goes_on_where_it_was() {
    let bytes = pattern(SIZE);
    let (breaks, sound) = (OnItsWay::default(), OnItsWay::default());
    let (breaking, serving) = (breaks.serve(), sound.serve());
    breaks.has(&bytes[..2 * CHUNK_BYTES_MAX]);
    sound.has(&bytes);
    let mut to = OnItsWay::default();
    thread::scope(|scope| {
        let fetching = scope.spawn(|| patient().fetch(&sent_on_to(&breaking), None, &mut to.clone()));
        to.until(2 * CHUNK_BYTES_MAX);
        breaks.change(|come| come.is_over = true);
        let error = fetching.join().unwrap().unwrap_err();
        assert!(error.message().contains("its own fetch has failed"), "{error}");
    });
    // Two chunks are here and stay.
    assert_eq!(patient().fetch(&sent_on_to(&serving), None, &mut to).unwrap(), Fetched::All);
    assert!(to.bytes() == bytes);
    assert_eq!(sound.0.0.lock().sent_from, [2 * CHUNK_BYTES_MAX as u64]);
    // One that has failed before anybody knew its size.
    let never = OnItsWay::default();
    never.change(|come| come.is_over = true);
    let server = never.serve();
    let error = patient().fetch(&sent_on_to(&server), None, &mut Memory::default()).unwrap_err();
    assert!(error.message().contains("its own fetch has failed"), "{error}");
}

#[test]
fn a_transfer_that_breaks_goes_on_at_a_node_that_is_being_given_it() {
    let bytes = pattern(SIZE);
    let node = OnItsWay::default();
    let server = node.serve();
    node.has(&bytes);
    let cut = 40 + CHUNK_BYTES_MAX as u64;
    let network = Network::to(server.address(), move |n| if n == 0 { Fault::Cut(cut) } else { Fault::None });
    let mut to = Memory::default();
    let from = Asking { at: network.address, ..sent_on_to(&server) };
    assert_eq!(patient().fetch(&from, None, &mut to).unwrap(), Fetched::All);
    assert!(to.bytes == bytes && network.accepted() == 2);
}

#[test]
fn a_holder_that_waits_itself_is_not_waited_for_for_ever() {
    /// Waits for its size, or for its bytes.
    struct Waits(Option<u64>, Arc<AtomicUsize>);
    impl BulkObject for Waits {
        fn size(&self) -> Result<Option<u64>, Error> {
            self.1.fetch_add(usize::from(self.0.is_none()), Ordering::SeqCst);
            Ok(self.0)
        }
        fn read(&self, _: u64, _: usize) -> Result<Option<Cow<'_, [u8]>>, Error> {
            self.1.fetch_add(1, Ordering::SeqCst);
            Ok(None)
        }
        fn sent(&mut self, _: u64, _: u64) {
            panic!("it has nothing");
        }
    }
    for size in [None, Some(100)] {
        let signs = Arc::<AtomicUsize>::default();
        let count = signs.clone();
        let source = Arc::new(Only(move || Ok(Waits(size, count.clone()))));
        let server = BulkServer::bind(LOOPBACK.parse().unwrap(), node(), source, None).unwrap();
        let error = patient().fetch(&sent_on_to(&server), None, &mut Memory::default()).unwrap_err();
        assert_lost(&error, 1, "waits for the bytes itself");
        assert!(signs.load(Ordering::SeqCst) > SIGNS_MAX as usize);
    }
}

/// Answers each request in the same way.
struct Answers(fn() -> Opened);

impl BulkSource for Answers {
    fn open(&self, asked: Asked) -> Result<Opened, Error> {
        assert_eq!(asked.way, Way::First);
        Ok((self.0)())
    }
}

#[test]
fn a_holder_sends_on_or_names_others() {
    fn other(n: u64) -> NodeId {
        NodeId::from_bits(n, n)
    }
    let bind = |answer| {
        BulkServer::bind(LOOPBACK.parse().unwrap(), node(), Arc::new(Answers(answer)), None).unwrap()
    };
    let (ask, several) =
        (bind(|| Opened::Ask(other(3))), bind(|| Opened::Several(77, vec![other(4), other(5)])));
    let client = patient();
    for _ in 0..3 {
        let mut sink = Memory::default();
        let fetched = client.fetch(&asking(ask.address(), 1), None, &mut sink).unwrap();
        assert_eq!((fetched, sink.sizes), (Fetched::Ask(other(3)), 0));
    }
    assert_eq!(client.idle_connections(), 1, "the connection is as good as before");
    let mut sink = Memory::default();
    let fetched = client.fetch(&asking(several.address(), 1), None, &mut sink).unwrap();
    assert_eq!((fetched, sink.bytes.len()), (Fetched::Several(vec![other(4), other(5)]), 77));
}

/// The whole of an object that comes in parts.
#[derive(Default)]
struct Whole(Mutex<Vec<Option<u8>>>);

/// A part of it.
struct Part<'a> {
    whole: &'a Whole,
    start: usize,
    written: usize,
}

impl BulkSink for Part<'_> {
    fn size(&mut self, bytes: u64) -> Result<(), Error> {
        assert_eq!(bytes, self.whole.0.lock().len() as u64);
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
        let mut bytes = vec![0; length];
        fill(&mut bytes)?;
        let mut whole = self.whole.0.lock();
        for (place, byte) in whole[self.start + self.written..].iter_mut().zip(bytes) {
            assert_eq!(place.replace(byte), None, "each byte is written once");
        }
        self.written += length;
        Ok(())
    }
}

/// Fetches an object from these in parts.
fn in_parts(size: usize, sources: &[Asking]) -> Result<Vec<u8>, Error> {
    let whole = Whole(Mutex::new(vec![None; size]));
    let parts = Parts::new(size as u64, sources.len());
    patient().fetch_parts(parts, sources, |part| {
        Ok(Part { whole: &whole, start: part.start as usize, written: 0 })
    })?;
    Ok(whole.0.into_inner().into_iter().map(|byte| byte.expect("it was written")).collect())
}

#[test]
fn parts_come_from_all_that_have_them() {
    let size = 5 * RANGE_BYTES as usize + 11;
    let bytes = pattern(size);
    let servers: Vec<BulkServer> =
        (0..3).map(|_| Objects::default().with(1, bytes.clone()).serve()).collect();
    let part = |at| Asking { way: Way::Part, ..asking(at, 1) };
    let sources: Vec<Asking> = servers.iter().map(|server| part(server.address())).collect();
    assert!(in_parts(size, &sources).unwrap() == bytes);
    // One breaks off in the middle of a part, one has not got it, one flips a bit now and then, one is away.
    let breaks = Objects::default().with_broken(1, bytes.clone(), RANGE_BYTES + (3 << 20)).serve();
    let has_not = Objects::default().serve();
    let flips = Network::to(servers[0].address(), |n| match n {
        n if n % 2 == 0 => Fault::Flip((2 << 20) + 77),
        _ => Fault::None,
    });
    let away = std::net::TcpListener::bind(LOOPBACK).unwrap().local_addr().unwrap();
    let bad = [breaks.address(), has_not.address(), flips.address, away].map(part);
    assert!(in_parts(size, &bad).unwrap() == bytes);
    let always_flips = Network::to(servers[0].address(), |_| Fault::Flip(500_000));
    assert!(in_parts(size, &[part(always_flips.address), sources[1]]).unwrap() == bytes);
    let error = in_parts(size, &[part(always_flips.address), bad[1], bad[3]]).unwrap_err();
    assert!([ErrorCode::ObjectLost, ErrorCode::ObjectFreed].contains(&error.code()), "{error}");
    assert_eq!(in_parts(size, &[]).unwrap_err().code(), ErrorCode::ObjectLost);
    assert!(in_parts(0, &sources).unwrap().is_empty());
}
