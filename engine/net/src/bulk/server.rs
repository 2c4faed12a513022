//! The end that holds objects.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use engine_core::{Error, NodeId};
use engine_tls::{Identity, Name, Peer, Wire};

use super::background::Kind;
use super::limits::{BULK_CONNECTIONS_MAX, BULK_REFUSALS_MAX, CHUNK_BYTES_MAX, HELLO_MAX, STALL_MAX};
use super::protocol::{self, ChunkHeader, Hello, Request, TO_THE_END, VERSION, Welcome, write_both};
use super::{Asked, BulkObject, BulkSource, Opened, is_timeout, prepare};
use crate::faults::{self, Loss};
use crate::listen::{BindError, check};

/// After a refusal of the system, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Gives the objects of a source to other nodes, one thread per connection, at most
/// [`BULK_CONNECTIONS_MAX`]. Dropping it is [`Self::shutdown`].
#[derive(Debug)]
pub struct BulkServer {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    is_ending: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

/// What a server bounds.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub connections_max: usize,
    pub hello: Duration,
    /// How long a client may take nothing.
    pub stall: Duration,
}

/// What all connections share.
struct Shared {
    node: NodeId,
    source: Arc<dyn BulkSource>,
    /// What this node shows; none: there is no TLS.
    identity: Option<Identity>,
    bounds: Bounds,
}

/// A connection whose thread may have ended.
struct Connection {
    stream: Weak<TcpStream>,
    is_served: bool,
    since: Instant,
    /// Whether it has said whom it wants.
    is_welcome: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl BulkServer {
    /// Listens on an address, as this node; port 0 takes a free one. With an identity only nodes of its
    /// cluster are answered.
    ///
    /// # Errors
    /// [`BindError::NotLoopback`] beyond loopback without an identity, [`BindError::Io`] when the system
    /// refuses.
    pub fn bind(
        address: SocketAddr,
        node: NodeId,
        source: Arc<dyn BulkSource>,
        identity: Option<Identity>,
    ) -> Result<Self, BindError> {
        let bounds = Bounds { connections_max: BULK_CONNECTIONS_MAX, hello: HELLO_MAX, stall: STALL_MAX };
        Self::with_bounds(address, node, source, identity, bounds)
    }

    pub(super) fn with_bounds(
        address: SocketAddr,
        node: NodeId,
        source: Arc<dyn BulkSource>,
        identity: Option<Identity>,
        bounds: Bounds,
    ) -> Result<Self, BindError> {
        check(address, identity.is_some())?;
        let io = |source| BindError::Io { action: "listen on", at: address.to_string(), source };
        let listener = Arc::new(TcpListener::bind(address).map_err(io)?);
        let address = listener.local_addr().map_err(io)?;
        let is_ending = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared { node, source, identity, bounds });
        let acceptor = Kind::Acceptor
            .start({
                let (listener, is_ending) = (listener.clone(), is_ending.clone());
                move || accept_all(&listener, &is_ending, &shared)
            })
            .map_err(io)?;
        Ok(Self { address, listener, is_ending, acceptor: Some(acceptor) })
    }

    /// The address with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port and all connections, and waits until their threads have ended: as long as the
    /// source takes for what it is reading.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        self.is_ending.store(true, Ordering::Release);
        // It wakes the acceptor. Where the system does not do that, the connection does.
        if rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both).is_err() {
            let _ = TcpStream::connect(self.address);
        }
        acceptor.thread().unpark();
        // A panic of it was printed when it happened.
        let _ = acceptor.join();
    }
}

impl Drop for BulkServer {
    fn drop(&mut self) {
        self.end();
    }
}

fn accept_all(listener: &TcpListener, is_ending: &AtomicBool, shared: &Arc<Shared>) {
    let mut connections: Vec<Connection> = Vec::new();
    while !is_ending.load(Ordering::Acquire) {
        let accepted = listener.accept();
        if is_ending.load(Ordering::Acquire) {
            break;
        }
        match accepted {
            Ok((stream, _)) => {
                connections.retain(|connection| !connection.thread.is_finished());
                let_go_of_slow(&connections, shared.bounds.hello);
                connections.extend(start(stream, &connections, shared));
            }
            Err(error) => {
                tracing::warn!(%error, "a bulk connection was not accepted");
                thread::park_timeout(ACCEPT_PAUSE);
            }
        }
    }
    for stream in connections.iter().filter_map(|connection| connection.stream.upgrade()) {
        // It fails when the client has closed it already.
        let _ = stream.shutdown(Shutdown::Both);
    }
    for connection in connections {
        // A panic of it was printed when it happened.
        let _ = connection.thread.join();
    }
}

/// Makes room for who comes: a word now and then keeps the time of each read, and not that of all of them.
fn let_go_of_slow(connections: &[Connection], hello: Duration) {
    let is_slow = |connection: &&Connection| {
        !connection.is_welcome.load(Ordering::Relaxed) && connection.since.elapsed() > hello
    };
    for stream in connections.iter().filter(is_slow).filter_map(|connection| connection.stream.upgrade()) {
        // It fails when the client has closed it already.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn start(stream: TcpStream, connections: &[Connection], shared: &Arc<Shared>) -> Option<Connection> {
    let served = connections.iter().filter(|connection| connection.is_served).count();
    let is_served = served < shared.bounds.connections_max;
    if !is_served && connections.len() - served >= BULK_REFUSALS_MAX {
        return None;
    }
    let stream = Arc::new(stream);
    let weak = Arc::downgrade(&stream);
    let is_welcome = Arc::new(AtomicBool::new(false));
    let thread = Kind::Connection.start({
        let (shared, is_welcome) = (shared.clone(), is_welcome.clone());
        move || {
            if let Err(error) = serve(stream, is_served, &is_welcome, &shared)
                && error.kind() != io::ErrorKind::UnexpectedEof
            {
                tracing::debug!(%error, "a bulk connection ended");
            }
        }
    });
    match thread {
        Ok(thread) => Some(Connection { stream: weak, is_served, since: Instant::now(), is_welcome, thread }),
        Err(error) => {
            tracing::warn!(%error, "a bulk connection was closed: there is no thread for it");
            None
        }
    }
}

/// Until the client closes the connection, or something is wrong with it.
fn serve(
    stream: Arc<TcpStream>,
    is_served: bool,
    is_welcome: &AtomicBool,
    shared: &Shared,
) -> io::Result<()> {
    prepare(&stream, shared.bounds.hello, shared.bounds.stall)?;
    let (mut wire, peer) = Wire::accepted(stream, shared.identity.as_ref())?;
    // Heard in any case: a connection that is closed with bytes unread may lose what was answered.
    let hello = Hello::read(&mut wire)?;
    let welcome = if !is_served {
        Welcome::Busy
    } else if !matches!(peer, Peer::Local | Peer::Proven(Name::Node(_))) {
        Welcome::NotANode
    } else if hello.version != VERSION {
        Welcome::WrongVersion { oldest: VERSION, newest: VERSION }
    } else if hello.node != shared.node {
        Welcome::AnotherNode
    } else {
        Welcome::Ok
    };
    welcome.write(&mut wire)?;
    if welcome != Welcome::Ok {
        return Ok(());
    }
    is_welcome.store(true, Ordering::Relaxed);
    wire.socket().set_read_timeout(None)?;
    loop {
        let request = Request::read(&mut wire)?;
        let is_lost = is_lost(faults::BULK_REQUEST);
        if is_lost == Some(Loss::Request) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let Request { object, asker, way, .. } = request;
        let opened = match peer {
            Peer::Proven(Name::Node(node)) if node != asker => {
                Err(Error::invalid_argument(format!("{node} asks for {object} as {asker}; it may not")))
            }
            _ => shared.source.open(Asked { object, asker, way }),
        };
        let reply = match opened {
            Ok(Opened::Here(mut object)) => match send(&mut wire, &mut *object, request)? {
                Ok(()) => None,
                Err(error) => Some(protocol::refusal(&error)),
            },
            Ok(Opened::Ask(node)) => Some(protocol::ask(node)),
            Ok(Opened::Several(size, others)) => Some(protocol::several(size, &others)),
            Err(error) => Some(protocol::refusal(&error)),
        };
        if let Some(reply) = reply {
            write(&mut wire, &reply)?;
        }
        if is_lost.is_some() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }
}

/// Whether a fault ends the connection here; after a while, when there is a delay.
fn is_lost(name: &str) -> Option<Loss> {
    faults::installed().and_then(|faults| faults.fate(name).delayed_here())
}

/// How many bytes are to be sent of an object of `size` bytes.
fn in_range(size: u64, request: Request) -> Result<u64, Error> {
    let Request { offset, length, .. } = request;
    let length = match length {
        TO_THE_END => size.checked_sub(offset),
        length => offset.checked_add(length).filter(|end| *end <= size).map(|_| length),
    };
    length.ok_or_else(|| {
        Error::invalid_argument(format!(
            "a value of {size} bytes was asked for bytes from offset {offset} on that it does not have; ask for a \
             range that lies within it"
        ))
    })
}

/// Sends what was asked for, or gives the error that is to be sent in its place.
fn send(wire: &mut Wire, object: &mut dyn BulkObject, request: Request) -> io::Result<Result<(), Error>> {
    let size = loop {
        match object.size() {
            Ok(Some(size)) => break size,
            Ok(None) => write(wire, &protocol::reply_is_coming())?,
            Err(error) => return Ok(Err(error)),
        }
    };
    let mut left = match in_range(size, request) {
        Ok(left) => left,
        Err(error) => return Ok(Err(error)),
    };
    let mut offset = request.offset;
    // Goes out with the first chunk.
    let mut head = protocol::reply(size);
    while left > 0 {
        let length = left.min(CHUNK_BYTES_MAX as u64) as usize;
        let bytes = match object.read(offset, length) {
            Ok(Some(bytes)) if bytes.len() == length => bytes,
            Ok(None) => {
                head.extend(protocol::chunk_is_coming());
                write(wire, &head)?;
                head.clear();
                continue;
            }
            other => {
                let error = other.err().unwrap_or_else(|| {
                    Error::internal(format!("{length} bytes at {offset} were read as another number"))
                });
                head.extend(protocol::broken_off(&error));
                break;
            }
        };
        head.extend(ChunkHeader::of(&bytes, offset).encode());
        let is_lost = is_lost(faults::BULK_CHUNK);
        if is_lost == Some(Loss::Request) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        write_both(wire, &head, &bytes).map_err(stalled)?;
        if is_lost.is_some() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        drop(bytes);
        head.clear();
        let end = offset + length as u64;
        object.sent(offset, end);
        offset = end;
        left -= length as u64;
    }
    write(wire, &head).map(Ok)
}

fn write(wire: &mut Wire, bytes: &[u8]) -> io::Result<()> {
    write_both(wire, bytes, &[]).and_then(|()| io::Write::flush(wire)).map_err(stalled)
}

fn stalled(error: io::Error) -> io::Error {
    if is_timeout(&error) { io::Error::new(error.kind(), "the client takes nothing any more") } else { error }
}
