//! The lines from this node to the others: packets and log lines, in batches.
//!
//! What was given to a line that broke may be lost: the core's sessions send packets again. Each line
//! is one long-lived stream of frames; what comes while a frame is on its way goes into the next.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use engine_core::node::Packet;
use engine_core::{Error, JobId, NodeId, Place};
use engine_proto::convert::peer;
use engine_proto::limits::MESSAGE_BYTES_MAX;
use engine_proto::prost::Message;
use engine_proto::v1;
use engine_proto::v1::peer_client::PeerClient;
use futures::stream;
use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, mpsc};
use tonic::transport::Channel;

use crate::cluster::{channel, error_of, request};
use crate::limits::{PEER_LOG_LINES_MAX, PEER_PACKETS_MAX};

/// Packets of one frame.
const FRAME_PACKETS_MAX: usize = 256;
/// Log lines of one frame.
const FRAME_LOG_LINES_MAX: usize = 1_000;
/// A frame that has so many bytes takes no further packet.
const FRAME_BYTES: usize = 1 << 20;

/// What happens to lines.
pub trait PeerEvents: Send + Sync + 'static {
    /// The line to a node was made anew: what was on its way may be lost.
    fn reconnected(&self, node: NodeId);
}

/// Gives the bytes of a value that travels.
type Encode = Arc<dyn Fn(&Place) -> Bytes + Send + Sync>;

/// The lines to the other nodes.
pub struct Peers {
    encode: Encode,
    lines: Mutex<HashMap<NodeId, Sender>>,
}

struct Sender {
    address: SocketAddr,
    channel: Channel,
    packets: mpsc::Sender<Box<Packet>>,
    logs: mpsc::Sender<v1::PeerLogLine>,
}

/// The other end of the queues to one node: to be run as long as the node lives.
pub struct Line {
    node: NodeId,
    channel: Channel,
    queues: Arc<tokio::sync::Mutex<Queues>>,
}

struct Queues {
    packets: mpsc::Receiver<Box<Packet>>,
    logs: mpsc::Receiver<v1::PeerLogLine>,
    /// Taken from the queues and not yet given to the connection.
    #[expect(clippy::vec_box, reason = "they come boxed, and would be moved once more")]
    batch: Vec<Box<Packet>>,
    lines: Vec<v1::PeerLogLine>,
    encode: Encode,
}

impl Peers {
    /// No lines. `encode` gives the bytes of a value that lies on the heap.
    pub fn new(encode: impl Fn(&Place) -> Bytes + Send + Sync + 'static) -> Self {
        Self { encode: Arc::new(encode), lines: Mutex::default() }
    }

    /// A node is there. The line is to be run; it ends when the node is removed. None: it has one.
    pub fn add(&self, node: NodeId, address: SocketAddr) -> Option<Line> {
        let mut lines = self.lines.lock();
        if lines.contains_key(&node) {
            return None;
        }
        let channel = channel(address);
        let (packets, packets_end) = mpsc::channel(PEER_PACKETS_MAX);
        let (logs, logs_end) = mpsc::channel(PEER_LOG_LINES_MAX);
        lines.insert(node, Sender { address, channel: channel.clone(), packets, logs });
        let queues = Queues {
            packets: packets_end,
            logs: logs_end,
            batch: Vec::new(),
            lines: Vec::new(),
            encode: self.encode.clone(),
        };
        Some(Line { node, channel, queues: Arc::new(tokio::sync::Mutex::new(queues)) })
    }

    /// A node is dead: its line ends.
    pub fn remove(&self, node: NodeId) {
        self.lines.lock().remove(&node);
    }

    /// Sends a packet. One to a node without a line, or whose queue is full, is lost like one on a line
    /// that breaks.
    pub fn send(&self, packet: Box<Packet>) {
        let lines = self.lines.lock();
        let Some(line) = lines.get(&packet.to) else {
            tracing::debug!(to = %packet.to, "a packet for a node that has no line");
            return;
        };
        if line.packets.try_send(packet).is_err() {
            tracing::debug!("a packet for a node whose line is full");
        }
    }

    /// Sends a log line. False: there is no room, and it is lost.
    pub fn log(&self, node: NodeId, line: v1::PeerLogLine) -> bool {
        self.lines.lock().get(&node).is_some_and(|to| to.logs.try_send(line).is_ok())
    }

    /// Where a node is.
    pub fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.lines.lock().get(&node).map(|line| line.address)
    }

    /// What the guests of a job are granted, asked of the node of its root task.
    ///
    /// # Errors
    /// NODE_DIED when that node is not reached, NOT_FOUND when it does not know the job.
    pub async fn grants(&self, home: NodeId, job: JobId) -> Result<v1::JobGrants, Error> {
        let channel = self.lines.lock().get(&home).map(|line| line.channel.clone());
        let channel = channel.ok_or_else(|| {
            Error::new(engine_core::ErrorCode::NodeDied, format!("{home} is not among the nodes"))
        })?;
        let mut client = PeerClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let asked = client.grants(request(v1::GrantsRequest { job_id: job.to_string() })).await;
        asked.map(tonic::Response::into_inner).map_err(|status| error_of(&status, &home.to_string()))
    }
}

impl Line {
    /// Carries what is sent until the node is removed.
    pub async fn run(self, events: Arc<dyn PeerEvents>) {
        let Self { node, channel, queues } = self;
        let mut is_first = true;
        loop {
            // A connection is made when there is something to say.
            if !queues.clone().lock_owned().await.fill().await {
                return;
            }
            if !std::mem::replace(&mut is_first, false) {
                events.reconnected(node);
            }
            let frames = stream::unfold(queues.clone().lock_owned().await, next_frame);
            let mut client = PeerClient::new(channel.clone());
            match client.send(request(frames)).await {
                Ok(_) => tracing::debug!(%node, "the line was closed by the other side"),
                Err(status) => tracing::debug!(%node, %status, "the line broke"),
            }
            // What was meant for a line that broke is sent again when its time has come.
            queues.clone().lock_owned().await.drop_packets();
        }
    }
}

async fn next_frame(mut queues: OwnedMutexGuard<Queues>) -> Option<(v1::PeerFrame, OwnedMutexGuard<Queues>)> {
    queues.fill().await.then(|| (queues.frame(), queues))
}

impl Queues {
    /// Waits until there is something to send; false when there will be nothing any more.
    async fn fill(&mut self) -> bool {
        if !self.batch.is_empty() || !self.lines.is_empty() {
            return true;
        }
        let Self { packets, logs, batch, lines, .. } = self;
        let count = tokio::select! {
            biased;
            count = packets.recv_many(batch, FRAME_PACKETS_MAX) => count,
            count = logs.recv_many(lines, FRAME_LOG_LINES_MAX) => count,
        };
        count > 0
    }

    /// What is there, as much as goes into one frame.
    fn frame(&mut self) -> v1::PeerFrame {
        let mut bytes = 0;
        let mut packets = Vec::new();
        let mut taken = 0;
        for packet in &self.batch {
            if bytes >= FRAME_BYTES {
                break;
            }
            let packet = peer::packet(packet, &*self.encode);
            bytes += packet.encoded_len();
            packets.push(packet);
            taken += 1;
        }
        self.batch.drain(..taken);
        // After the packets were taken: the lines that a call wrote before its end go no later than it.
        while self.lines.len() < FRAME_LOG_LINES_MAX
            && let Ok(line) = self.logs.try_recv()
        {
            self.lines.push(line);
        }
        v1::PeerFrame { packets, logs: std::mem::take(&mut self.lines) }
    }

    fn drop_packets(&mut self) {
        self.batch.clear();
        while self.packets.try_recv().is_ok() {}
    }
}
