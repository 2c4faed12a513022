//! The lines from this node to the others: packets and log lines.
//!
//! Whoever has something to send writes it to the connection itself when that takes it at once, so that
//! a packet costs no hop; what does not go at once, or comes while another writes or right after, the
//! line's own task sends on, many packets at once. What was given to a line that broke may be lost: the core's sessions
//! send packets again.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use engine_core::node::Packet;
use engine_core::{Error, ErrorCode, JobId, NodeId, Place};
use engine_proto::convert::peer;
use engine_proto::limits::MESSAGE_BYTES_MAX;
use engine_proto::prost::Message;
use engine_proto::v1;
use engine_proto::v1::peer_client::PeerClient;
use engine_tls::{Expected, Identity};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tonic::transport::Channel;

use crate::cluster::{CONNECT_TIMEOUT, channel, error_of, request, wire};
use crate::limits::{PEER_LOG_BYTES_MAX, PEER_LOG_LINES_MAX, PEER_PACKETS_MAX};

/// Log lines of one frame.
const FRAME_LOG_LINES_MAX: usize = 1_000;
/// What comes so soon after the last write is one of many: it goes with those that come meanwhile.
const BUSY_GAP: Duration = Duration::from_micros(100);
/// So many bytes are written before a further frame is put behind them.
const UNSENT_BYTES_MAX: usize = 1 << 20;

/// What happens to lines.
pub trait PeerEvents: Send + Sync + 'static {
    /// The line to a node was made anew: what was on its way may be lost.
    fn reconnected(&self, node: NodeId);
}

/// Gives the bytes of a value that travels.
type Encode = Arc<dyn Fn(&Place) -> Bytes + Send + Sync>;

/// Where a node is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress {
    /// Where it takes packets.
    pub packets: SocketAddr,
    /// Where it serves what is asked now and then.
    pub services: SocketAddr,
}

/// The lines to the other nodes.
pub struct Peers {
    node: NodeId,
    /// What this node shows the others; none: there is no TLS.
    identity: Option<Identity>,
    encode: Encode,
    lines: Mutex<HashMap<NodeId, Line>>,
}

struct Line {
    channel: Channel,
    shared: Arc<Shared>,
}

/// What senders and the task of a line share.
struct Shared {
    queue: Mutex<Queue>,
    /// Held by whoever writes; the queue's lock is never held for longer than a push.
    writer: Mutex<Writer>,
    /// There is something that the task is to see to.
    work: Notify,
    encode: Encode,
}

#[derive(Default)]
struct Queue {
    packets: VecDeque<Box<Packet>>,
    logs: VecDeque<v1::PeerLogLine>,
    /// Bytes that these take on the wire.
    log_bytes: usize,
    is_removed: bool,
}

#[derive(Default)]
struct Writer {
    connection: Option<engine_tls::Line>,
    /// Of a frame that was not taken whole.
    unsent: BytesMut,
    /// When something was written last.
    wrote: Option<Instant>,
}

/// What is left to do after a write.
#[derive(Debug, PartialEq, Eq)]
enum Written {
    All,
    /// The connection takes no more now.
    Blocked,
    /// There is none.
    NotConnected,
}

/// The task of a line: to be run as long as the node lives.
pub struct LineTask {
    from: NodeId,
    to: NodeId,
    address: SocketAddr,
    identity: Option<Identity>,
    shared: Arc<Shared>,
}

impl Peers {
    /// The lines of this node; none yet. `encode` gives the bytes of a value that lies on the heap.
    /// With an identity they are made by TLS, each to the node that is meant.
    pub fn new(
        node: NodeId,
        identity: Option<Identity>,
        encode: impl Fn(&Place) -> Bytes + Send + Sync + 'static,
    ) -> Self {
        Self { node, identity, encode: Arc::new(encode), lines: Mutex::default() }
    }

    /// A node is there. The task is to be run; it ends when the node is removed. None: it has a line.
    pub fn add(&self, node: NodeId, address: PeerAddress) -> Option<LineTask> {
        let mut lines = self.lines.lock();
        if lines.contains_key(&node) {
            return None;
        }
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            writer: Mutex::default(),
            work: Notify::new(),
            encode: self.encode.clone(),
        });
        let identity = self.identity.clone();
        let channel = channel(address.services, identity.clone(), Expected::Node(node));
        lines.insert(node, Line { channel, shared: shared.clone() });
        Some(LineTask { from: self.node, to: node, address: address.packets, identity, shared })
    }

    /// A node is dead: its line ends.
    pub fn remove(&self, node: NodeId) {
        if let Some(line) = self.lines.lock().remove(&node) {
            line.shared.queue.lock().is_removed = true;
            line.shared.work.notify_one();
        }
    }

    fn shared(&self, node: NodeId) -> Option<Arc<Shared>> {
        self.lines.lock().get(&node).map(|line| line.shared.clone())
    }

    /// Sends a packet. One to a node without a line, or whose queue is full, is lost like one on a line
    /// that breaks.
    pub fn send(&self, packet: Box<Packet>) {
        let Some(shared) = self.shared(packet.to) else {
            tracing::debug!(to = %packet.to, "a packet for a node that has no line");
            return;
        };
        {
            let mut queue = shared.queue.lock();
            if queue.packets.len() >= PEER_PACKETS_MAX {
                tracing::debug!(to = %packet.to, "a packet for a node whose line is full");
                return;
            }
            queue.packets.push_back(packet);
        }
        shared.write_or_leave();
    }

    /// Sends a log line. False: there is no room, and it is lost.
    pub fn log(&self, node: NodeId, line: v1::PeerLogLine) -> bool {
        let Some(shared) = self.shared(node) else { return false };
        {
            let mut queue = shared.queue.lock();
            let bytes = queue.log_bytes + line.encoded_len();
            if queue.logs.len() >= PEER_LOG_LINES_MAX || bytes > PEER_LOG_BYTES_MAX {
                return false;
            }
            queue.log_bytes = bytes;
            queue.logs.push_back(line);
        }
        // Nobody waits for it: many go at once.
        shared.work.notify_one();
        true
    }

    /// What the guests of a job are granted, asked of the node of its root task.
    ///
    /// # Errors
    /// NODE_DIED when that node is not reached, NOT_FOUND when it does not know the job.
    pub async fn grants(&self, home: NodeId, job: JobId) -> Result<v1::JobGrants, Error> {
        let not_there = || Error::new(ErrorCode::NodeDied, format!("{home} is not among the nodes"));
        let channel = self.lines.lock().get(&home).map(|line| line.channel.clone()).ok_or_else(not_there)?;
        let mut client = PeerClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let asked = client.grants(request(v1::GrantsRequest { job_id: job.to_string() })).await;
        asked.map(tonic::Response::into_inner).map_err(|status| error_of(&status, &home.to_string()))
    }
}

impl Shared {
    /// Writes what is there, unless somebody does so already, who will see it.
    fn write_or_leave(&self) {
        loop {
            let Some(mut writer) = self.writer.try_lock() else { return };
            if writer.wrote.is_some_and(|wrote| wrote.elapsed() < BUSY_GAP) {
                return self.work.notify_one();
            }
            let written = writer.write(self);
            drop(writer);
            match written {
                Written::All if self.queue.lock().packets.is_empty() => return,
                // It came after the writer had looked.
                Written::All => {}
                Written::Blocked | Written::NotConnected => return self.work.notify_one(),
            }
        }
    }

    /// The next packet, and the log lines that are there: together one frame.
    fn next_frame(&self) -> Option<v1::PeerFrame> {
        let mut queue = self.queue.lock();
        let packet = queue.packets.pop_front();
        // Taken with the packet: what a call wrote before its end goes no later than that.
        let lines = queue.logs.len().min(FRAME_LOG_LINES_MAX);
        let logs: Vec<v1::PeerLogLine> = queue.logs.drain(..lines).collect();
        let gone: usize = logs.iter().map(Message::encoded_len).sum();
        queue.log_bytes = queue.log_bytes.saturating_sub(gone);
        drop(queue);
        if packet.is_none() && logs.is_empty() {
            return None;
        }
        let packets = packet.iter().map(|packet| peer::packet(packet, &*self.encode)).collect();
        Some(v1::PeerFrame { packets, logs })
    }

    fn has_work(&self) -> bool {
        let queue = self.queue.lock();
        !queue.packets.is_empty() || !queue.logs.is_empty()
    }
}

impl Writer {
    /// Writes until nothing is left or the connection takes no more.
    fn write(&mut self, shared: &Shared) -> Written {
        loop {
            let Some(connection) = &mut self.connection else { return Written::NotConnected };
            while self.unsent.len() < UNSENT_BYTES_MAX {
                match shared.next_frame() {
                    Some(frame) => wire::put_frame(&frame, &mut self.unsent),
                    None => break,
                }
            }
            let written = match self.unsent.is_empty() {
                true => connection.try_flush().map(|()| 0),
                false => connection.try_write(&self.unsent),
            };
            match written {
                Ok(_) if self.unsent.is_empty() => return Written::All,
                Ok(count) => {
                    self.unsent.advance(count);
                    self.wrote = Some(Instant::now());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Written::Blocked,
                Err(error) => {
                    tracing::debug!(%error, "a line broke");
                    self.broke();
                    return Written::NotConnected;
                }
            }
        }
    }

    fn broke(&mut self) {
        self.connection = None;
        self.unsent.clear();
    }
}

impl LineTask {
    /// Carries what is sent until the node is removed.
    pub async fn run(self, events: Arc<dyn PeerEvents>) {
        let Self { from, to, address, identity, shared } = self;
        let mut is_first = true;
        while !shared.queue.lock().is_removed {
            if !shared.has_work() {
                shared.work.notified().await;
                continue;
            }
            // A connection is made when there is something to say.
            match connect(from, to, address, identity.as_ref()).await {
                Ok(connection) => {
                    let connection = engine_tls::Line::new(connection);
                    let stream = connection.stream();
                    shared.writer.lock().connection = Some(connection);
                    if !std::mem::replace(&mut is_first, false) {
                        events.reconnected(to);
                    }
                    hold(&shared, &stream).await;
                    shared.writer.lock().broke();
                }
                Err(error) => tracing::debug!(%to, %error, "a node is not reached"),
            }
            // What was meant for a line that broke is sent again when its time has come.
            shared.queue.lock().packets.clear();
        }
        shared.writer.lock().broke();
    }
}

/// Sends on what senders leave until the connection breaks or the node is removed.
async fn hold(shared: &Shared, connection: &TcpStream) {
    loop {
        let written = shared.writer.lock().write(shared);
        if written == Written::NotConnected || shared.queue.lock().is_removed {
            return;
        }
        // Who came while this task was writing has left it to it.
        if written == Written::All && shared.has_work() {
            continue;
        }
        tokio::select! {
            ready = connection.writable(), if written == Written::Blocked => {
                if ready.is_err() {
                    return;
                }
            }
            () = shared.work.notified() => {}
            // The other side says nothing on it: what comes is its end.
            ready = connection.readable() => {
                let mut writer = shared.writer.lock();
                if ready.is_err() || writer.connection.as_mut().is_none_or(engine_tls::Line::has_ended) {
                    return;
                }
            }
        }
    }
}

async fn connect(
    from: NodeId,
    to: NodeId,
    address: SocketAddr,
    identity: Option<&Identity>,
) -> io::Result<engine_tls::Io> {
    let connect = async {
        let mut connection = engine_tls::connect(address, identity, Expected::Node(to)).await?;
        connection.write_all(&wire::hello(from, to)).await?;
        connection.flush().await?;
        let why = match connection.read_u8().await? {
            wire::WELCOME => return Ok(connection),
            wire::OTHER_PROTOCOL => "it does not speak this node's protocol: update the older of the two",
            wire::OTHER_SENDER => "it does not believe that this node is the one that its certificate names",
            wire::OTHER_NODE => "another node listens there",
            _ => "it takes no line",
        };
        Err(io::Error::new(io::ErrorKind::ConnectionRefused, why))
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn log_lines_that_wait_are_bounded_in_number_and_in_bytes() {
        let (here, there) = (NodeId::from_bits(1, 0), NodeId::from_bits(2, 0));
        let peers = Peers::new(here, None, |_| Bytes::new());
        let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
        let line = peers.add(there, PeerAddress { packets: nobody, services: nobody });
        assert!(line.is_some(), "it is the first");
        let of = |bytes: usize| v1::PeerLogLine {
            job_id: String::new(),
            line: Some(v1::LogLine { text: "x".repeat(bytes), ..v1::LogLine::default() }),
        };
        let taken = (0..1_000).take_while(|_| peers.log(there, of(1 << 20))).count();
        assert_eq!(taken, PEER_LOG_BYTES_MAX / (1 << 20) - 1, "each takes a little more than a mebibyte");
        // What has gone makes room.
        let shared = peers.shared(there).expect("it is there");
        assert_eq!(shared.next_frame().map(|frame| frame.logs.len()), Some(taken));
        assert_eq!(shared.queue.lock().log_bytes, 0);
        let taken = (0..1_000_000).take_while(|_| peers.log(there, of(0))).count();
        assert_eq!(taken, PEER_LOG_LINES_MAX);
    }
}
