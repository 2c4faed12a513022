//! The end that needs an object.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use engine_core::transfer::Way;
use engine_core::{Error, ErrorCode, NodeId, ObjectId, resources};
use engine_tls::{Identity, Wire};

use super::limits::{CONNECT_MAX, RESUMES_MAX, SIGNS_MAX, SILENCE_MAX};
use super::pool::{Lease, Pool};
use super::protocol::{self, ChunkHeader, Hello, Next, Reply, Request, TO_THE_END, VERSION, Welcome};
use super::{BulkSink, is_timeout, prepare};

/// Fetches objects from other nodes. Its clones share their connections; each thread that calls one has
/// a connection of its own while it does.
#[derive(Clone)]
pub struct BulkClient(Arc<Inner>);

struct Inner {
    pool: Pool,
    /// This node, as holders are told.
    node: NodeId,
    /// What this node shows to holders; none: there is no TLS.
    identity: Option<Identity>,
    timeouts: Timeouts,
}

/// How long is waited.
#[derive(Clone, Copy)]
pub(super) struct Timeouts {
    pub connect: Duration,
    /// For the next bytes of a holder.
    pub silence: Duration,
}

/// Whom an object is asked of.
#[derive(Debug, Clone, Copy)]
pub struct Asking {
    /// Its bulk port.
    pub at: SocketAddr,
    /// The node.
    pub holder: NodeId,
    /// The object.
    pub object: ObjectId,
    /// How it comes that this node is asked.
    pub way: Way,
}

/// How a fetch ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The sink has all that was asked for.
    All,
    /// This node is to be asked; the sink has what it had.
    Ask(NodeId),
    /// These nodes have the object too. The sink knows its size, and nothing came.
    Several(Vec<NodeId>),
}

/// What is fetched, and from whom.
struct Wanted {
    at: SocketAddr,
    holder: NodeId,
    object: ObjectId,
    /// Where in the object the sink's first byte lies.
    offset: u64,
    /// Bytes from there on, or [`TO_THE_END`].
    length: u64,
    asker: NodeId,
    way: Way,
}

/// How an attempt ended.
enum Failure {
    /// The connection was closed before it brought anything: an idle one may have been for long.
    Closed(String),
    /// The connection broke, or what it brought is not right. Another may do better.
    Broken(String),
    /// Nothing better is to be expected.
    Lost(String),
    /// The holder's answer, after which the connection can be used again.
    Told(Error),
    /// An error of this side, or one that is not of the object.
    Final(Error),
}

impl BulkClient {
    /// The client of this node, without connections. With an identity they are made by TLS, each to the
    /// holder that is meant.
    pub fn new(node: NodeId, identity: Option<Identity>) -> Self {
        Self::with_timeouts(node, identity, Timeouts { connect: CONNECT_MAX, silence: SILENCE_MAX })
    }

    pub(super) fn with_timeouts(node: NodeId, identity: Option<Identity>, timeouts: Timeouts) -> Self {
        Self(Arc::new(Inner { pool: Pool::default(), node, identity, timeouts }))
    }

    /// Receives what the sink does not have yet of an object, up to its end, or of `part` of it, where the
    /// sink begins. Blocks as long as bytes come, or signs that they will. A chunk whose checksum does not
    /// hold and a connection that breaks are made good over a new connection, at most [`RESUMES_MAX`] times;
    /// a holder that cannot be reached, or is silent for a few seconds, is not waited for again.
    ///
    /// # Errors
    /// - OBJECT_LOST naming object, holder and reason, when the bytes cannot be had there.
    /// - What the holder says, with its code: what it cannot open or read.
    /// - LIMIT_EXCEEDED when the holder has too many connections.
    /// - UNSUPPORTED when it speaks another version of the protocol.
    /// - What the sink returned.
    ///
    /// What was received before stays in the sink.
    pub fn fetch(
        &self,
        from: &Asking,
        part: Option<std::ops::Range<u64>>,
        sink: &mut dyn BulkSink,
    ) -> Result<Fetched, Error> {
        let Asking { at, holder, object, way } = *from;
        let (offset, length) = match part {
            Some(part) => (part.start, part.end.saturating_sub(part.start)),
            None => (0, TO_THE_END),
        };
        self.transfer(&Wanted { at, holder, object, offset, length, asker: self.0.node, way }, sink)
    }

    /// Bytes `offset .. offset + length` of an object. The caller bounds the length, which memory is
    /// taken for.
    ///
    /// # Errors
    /// As [`Self::fetch`]; INVALID_ARGUMENT when the object ends before.
    pub fn read(
        &self,
        at: SocketAddr,
        holder: NodeId,
        object: ObjectId,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, Error> {
        // As a length, the largest number means another thing; no object has so many bytes.
        let length = length.min(TO_THE_END - 1);
        let mut sink = Range { bytes: Vec::new(), length };
        let wanted = Wanted { at, holder, object, offset, length, asker: self.0.node, way: Way::Part };
        match self.transfer(&wanted, &mut sink)? {
            Fetched::All => Ok(sink.bytes),
            Fetched::Ask(_) | Fetched::Several(_) => Err(wanted.lost("it sends on who wants a part")),
        }
    }

    /// Closes the connections to a node that is dead. Transfers from it fail with OBJECT_LOST.
    pub fn forget(&self, holder: NodeId) {
        self.0.pool.forget(holder);
    }

    #[cfg(test)]
    pub(super) fn idle_connections(&self) -> usize {
        self.0.pool.idle()
    }

    fn transfer(&self, wanted: &Wanted, sink: &mut dyn BulkSink) -> Result<Fetched, Error> {
        let lease = self.0.pool.lease(wanted.holder);
        let mut size = None;
        let mut breaks = 0;
        let mut idle = lease.idle(wanted.at);
        loop {
            let was_idle = idle.is_some();
            let failure = match self.attempt(wanted, &lease, idle.take(), &mut size, sink) {
                Ok(fetched) => return Ok(fetched),
                Err(failure) => failure,
            };
            let reason = match failure {
                Failure::Final(error) | Failure::Told(error) => return Err(error),
                Failure::Lost(reason) => return Err(wanted.lost(&reason)),
                Failure::Closed(_) if was_idle && !lease.is_forgotten() => continue,
                Failure::Closed(reason) | Failure::Broken(reason) => reason,
            };
            if lease.is_forgotten() {
                return Err(wanted.lost("the node is dead"));
            }
            if breaks == RESUMES_MAX {
                return Err(wanted.lost(&format!("it broke {} times, last: {reason}", breaks + 1)));
            }
            breaks += 1;
            tracing::warn!(
                object = %wanted.object, holder = %wanted.holder, at = %wanted.at, received = sink.written(),
                reason, "a transfer broke and goes on over a new connection"
            );
        }
    }

    /// Receives over this connection, or a new one.
    fn attempt(
        &self,
        wanted: &Wanted,
        lease: &Lease<'_>,
        idle: Option<Wire>,
        size: &mut Option<u64>,
        sink: &mut dyn BulkSink,
    ) -> Result<Fetched, Failure> {
        let mut wire = match idle {
            Some(wire) => wire,
            None => self.connect(wanted, lease)?,
        };
        let result = receive(&mut wire, wanted, size, sink);
        if matches!(result, Ok(_) | Err(Failure::Told(_))) {
            lease.keep(wanted.at, wire);
        }
        result
    }

    fn connect(&self, wanted: &Wanted, lease: &Lease<'_>) -> Result<Wire, Failure> {
        let Timeouts { connect, silence } = self.0.timeouts;
        let stream = TcpStream::connect_timeout(&wanted.at, connect)
            .and_then(|stream| prepare(&stream, silence, silence).map(|()| Arc::new(stream)))
            .map_err(|error| Failure::Lost(format!("it cannot be connected to: {error}")))?;
        if !lease.uses(&stream) {
            return Err(Failure::Lost("the node is dead".into()));
        }
        let mut wire = Wire::to_node(stream, self.0.identity.as_ref(), wanted.holder).map_err(broken)?;
        let hello = Hello { version: VERSION, node: wanted.holder };
        hello.write(&mut wire).map_err(broken)?;
        match Welcome::read(&mut wire).map_err(broken)? {
            Welcome::Ok => Ok(wire),
            Welcome::NotANode => {
                Err(Failure::Lost("it does not believe that this is a node of its cluster".into()))
            }
            Welcome::AnotherNode => {
                Err(Failure::Lost("another node listens there now, so that this one has ended".into()))
            }
            Welcome::WrongVersion { oldest, newest } => Err(Failure::Final(Error::new(
                ErrorCode::Unsupported,
                format!(
                    "{} at {} speaks versions {oldest} to {newest} of the bulk protocol, and this node version \
                     {VERSION}; run the same version of the engine on both",
                    wanted.holder, wanted.at
                ),
            ))),
            Welcome::Busy => Err(Failure::Final(Error::new(
                ErrorCode::LimitExceeded,
                format!(
                    "{} cannot be had from {} at {} now: it serves as many connections as it may; fetch fewer \
                     objects from it at once",
                    wanted.object, wanted.holder, wanted.at
                ),
            ))),
        }
    }
}

/// Asks for what the sink lacks and receives it.
fn receive(
    wire: &mut Wire,
    wanted: &Wanted,
    size: &mut Option<u64>,
    sink: &mut dyn BulkSink,
) -> Result<Fetched, Failure> {
    let before = sink.written();
    let offset = wanted.offset.saturating_add(before);
    let length = match wanted.length {
        TO_THE_END => TO_THE_END,
        length => length.saturating_sub(before),
    };
    let way = match wanted.way {
        Way::Part => Way::Part,
        // The holder has said before that it gives them.
        _ if size.is_some() => Way::Again,
        way => way,
    };
    let request = Request { object: wanted.object, offset, length, asker: wanted.asker, way };
    request.write(wire).map_err(closed)?;
    let mut signs = 0;
    let total = loop {
        match protocol::read_reply(wire).map_err(closed)? {
            Reply::Size(total) => {
                announce(size, total, sink)?;
                break total;
            }
            Reply::Refused(error) => return Err(wanted.told(&error)),
            Reply::Ask(node) => return Ok(Fetched::Ask(node)),
            Reply::StillComing => sign(&mut signs)?,
            Reply::Several(total, others) => {
                announce(size, total, sink)?;
                return Ok(Fetched::Several(others));
            }
        }
    };
    let mut left = match length {
        TO_THE_END => total.checked_sub(offset),
        length => offset.checked_add(length).filter(|end| *end <= total).map(|_| length),
    }
    .ok_or_else(|| {
        Failure::Lost(format!("the holder says that it has {total} bytes, fewer than were asked for"))
    })?;
    let mut signs = 0;
    while left > 0 {
        match Next::read(wire, left).map_err(broken)? {
            Next::Chunk(header) => {
                left -= receive_chunk(wire, wanted, header, sink)?;
                signs = 0;
            }
            Next::StillComing => sign(&mut signs)?,
            Next::Error => return Err(wanted.told(&protocol::read_error(wire).map_err(broken)?)),
        }
    }
    Ok(Fetched::All)
}

/// The holder says how many bytes the whole object has.
fn announce(size: &mut Option<u64>, total: u64, sink: &mut dyn BulkSink) -> Result<(), Failure> {
    match *size {
        None => sink.size(total).map_err(Failure::Final)?,
        Some(known) if known == total => {}
        Some(known) => {
            return Err(Failure::Lost(format!("its size was {known} bytes and then {total}")));
        }
    }
    *size = Some(total);
    Ok(())
}

/// The holder has said once more that it waits for the bytes itself.
fn sign(signs: &mut u32) -> Result<(), Failure> {
    *signs += 1;
    match *signs > SIGNS_MAX {
        true => Err(Failure::Lost("the holder waits for the bytes itself".into())),
        false => Ok(()),
    }
}

/// Before anything came: an idle connection may have been closed for long.
fn closed(error: io::Error) -> Failure {
    if is_timeout(&error) || error.kind() == io::ErrorKind::InvalidData {
        return broken(error);
    }
    Failure::Closed(error.to_string())
}

/// Receives a chunk into the sink; answers how many bytes it had.
fn receive_chunk(
    wire: &mut Wire,
    wanted: &Wanted,
    header: ChunkHeader,
    sink: &mut dyn BulkSink,
) -> Result<u64, Failure> {
    let length = header.length as usize;
    let before = sink.written();
    let offset = wanted.offset.saturating_add(before);
    let mut failure = None;
    let mut is_received = false;
    let outcome = sink.room(length, &mut |room| {
        if room.len() != length || is_received {
            return Err(Error::internal("room for a chunk is not what was asked for"));
        }
        let bad = match io::Read::read_exact(wire, room) {
            Ok(()) if protocol::checksum(room, offset) == header.checksum => {
                is_received = true;
                return Ok(());
            }
            Ok(()) => Failure::Broken(format!("the {length} bytes at {offset} do not have their checksum")),
            Err(error) => broken(error),
        };
        failure = Some(bad);
        // Not seen by anybody: the failure is what counts.
        Err(wanted.lost("its bytes did not come"))
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    outcome.map_err(Failure::Final)?;
    if !is_received || sink.written() != before + length as u64 {
        return Err(Failure::Final(Error::internal("a sink did not take the bytes of a chunk")));
    }
    Ok(length as u64)
}

/// A holder that is silent is not asked again: it had its time, and the caller's is bounded.
fn broken(error: io::Error) -> Failure {
    if is_timeout(&error) {
        return Failure::Lost("the holder is silent".into());
    }
    Failure::Broken(match error.kind() {
        io::ErrorKind::UnexpectedEof => "the connection was closed in the middle".into(),
        _ => error.to_string(),
    })
}

impl Wanted {
    fn told(&self, error: &Error) -> Failure {
        Failure::Told(Error::new(error.code(), format!("{} (said by {})", error.message(), self.holder)))
    }

    fn lost(&self, reason: &str) -> Error {
        Error::new(
            ErrorCode::ObjectLost,
            format!(
                "the bytes of {} cannot be had from {} at {}: {reason}; look whether that node lives and can be \
                 reached from here",
                self.object, self.holder, self.at
            ),
        )
    }
}

/// A range that is read onto the heap.
struct Range {
    bytes: Vec<u8>,
    length: u64,
}

impl BulkSink for Range {
    fn size(&mut self, bytes: u64) -> Result<(), Error> {
        let room = usize::try_from(self.length.min(bytes)).unwrap_or(usize::MAX);
        self.bytes.try_reserve_exact(room).map_err(|_| {
            Error::new(
                ErrorCode::StoreFull,
                format!("there is no memory for {}; read less at once", resources::bytes(room as u64)),
            )
        })
    }

    fn written(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn room(
        &mut self,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let before = self.bytes.len();
        self.bytes.resize(before + length, 0);
        fill(&mut self.bytes[before..]).inspect_err(|_| self.bytes.truncate(before))
    }
}
