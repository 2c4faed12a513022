//! Where the packets of other nodes come in.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::BytesMut;
use engine_core::NodeId;
use engine_proto::v1;
use engine_tls::{Callers, Identity};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::cluster::{CONNECT_TIMEOUT, PeerBackend, wire};
use crate::connection::{Connection, Listener, incoming};
use crate::faults::{self, Frame};
use crate::limits::PEER_LINES_MAX;
use crate::listen::{BindError, Security, TcpSocket};

/// Packets that are dealt with in one go.
const PACKETS_AT_ONCE_MAX: usize = 64;
/// Bytes that there is room for at each read.
const READ_BYTES: usize = 256 << 10;

/// A port where the packets of other nodes come in.
pub struct PeerPort {
    socket: TcpSocket,
    node: NodeId,
}

impl PeerPort {
    /// Listens on an address; port 0 takes a free one.
    ///
    /// # Errors
    /// When it cannot, or the address lies beyond this machine and there is no identity, and so no TLS.
    pub async fn bind(
        address: SocketAddr,
        node: NodeId,
        identity: Option<Identity>,
    ) -> Result<Self, BindError> {
        let security = identity.map(|identity| Security { identity, callers: Callers::Proven });
        Ok(Self { socket: TcpSocket::bind(address, security).await?, node })
    }

    /// The address with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.socket.address()
    }

    /// Gives what comes to the backend, as long as it is run.
    pub async fn run(self, backend: Arc<dyn PeerBackend>) {
        let mut lines = JoinSet::new();
        let mut incoming = pin!(incoming(vec![Listener::Tcp(self.socket)], PEER_LINES_MAX));
        loop {
            tokio::select! {
                Some(accepted) = incoming.next() => if let Ok(connection) = accepted {
                    lines.spawn(line(connection, self.node, backend.clone()));
                },
                Some(_) = lines.join_next() => {}
            }
        }
    }
}

/// Takes what comes on one line.
async fn line(mut connection: Connection, node: NodeId, backend: Arc<dyn PeerBackend>) {
    let begun = tokio::time::timeout(CONNECT_TIMEOUT, begin(&mut connection, node)).await;
    let Ok(Some(from)) = begun else { return };
    let mut bytes = BytesMut::with_capacity(READ_BYTES);
    loop {
        let mut is_more = true;
        while is_more {
            let (mut frame, next) = take_frames(&mut bytes);
            let mut breaks = false;
            if let Some(faults) = faults::installed() {
                Frame { taken: frame, breaks } = faults::of_frame(faults, frame).await;
            }
            let taken = backend.frame(frame).map_err(|error| error.to_string());
            match taken.and(next.map_err(|error| error.to_string())) {
                Ok(more) => is_more = more,
                Err(error) => {
                    tracing::warn!(%from, error, "a node says what this one does not understand: its line is closed");
                    return;
                }
            }
            if breaks {
                return;
            }
        }
        bytes.reserve(READ_BYTES);
        match connection.read_buf(&mut bytes).await {
            Ok(count) if count > 0 => {}
            _ => return,
        }
    }
}

/// The frames that are there as one, and whether there may be more, or what is wrong with the next.
///
/// What has come together is dealt with together: one event of the node for all of it, and one answer.
fn take_frames(bytes: &mut BytesMut) -> (v1::PeerFrame, Result<bool, wire::BadFrame>) {
    let mut all = v1::PeerFrame::default();
    while all.packets.len() < PACKETS_AT_ONCE_MAX {
        match wire::take_frame(bytes) {
            Ok(Some(frame)) => {
                all.logs.extend(frame.logs);
                all.packets.extend(frame.packets);
            }
            Ok(None) => return (all, Ok(false)),
            Err(error) => return (all, Err(error)),
        }
    }
    (all, Ok(true))
}

/// Answers the hello; who sends, when it is welcome.
async fn begin(connection: &mut Connection, node: NodeId) -> Option<NodeId> {
    let mut hello = [0; wire::HELLO_BYTES];
    connection.read_exact(&mut hello).await.ok()?;
    let answer = wire::answer(&hello, node, connection.peer);
    if answer == Err(wire::OTHER_SENDER) {
        tracing::warn!(peer = ?connection.peer, "a node says that it is another than its certificate names: refused");
    }
    connection.write_u8(answer.err().unwrap_or(wire::WELCOME)).await.ok()?;
    connection.flush().await.ok()?;
    answer.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use bytes::Bytes;
    use engine_core::node::{Load, Packet};
    use engine_core::{Error, JobId};
    use parking_lot::Mutex;
    use tokio::sync::watch;

    use super::*;
    use crate::cluster::{PeerAddress, PeerEvents, Peers};
    use crate::testing::TestCluster;

    struct Heard {
        packets: watch::Sender<Vec<u64>>,
        logs: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl PeerBackend for Heard {
        fn frame(&self, frame: v1::PeerFrame) -> Result<(), Error> {
            self.logs.lock().extend(frame.logs.into_iter().map(|line| line.job_id));
            let first = frame.packets.iter().map(|packet| packet.first);
            self.packets.send_modify(|heard| heard.extend(first));
            Ok(())
        }

        fn grants(&self, _job: JobId) -> Result<v1::JobGrants, Error> {
            Err(Error::internal("not asked"))
        }

        fn progress(&self, _job: JobId) -> v1::JobProgress {
            v1::JobProgress::default()
        }

        async fn start_job(
            &self,
            _job: JobId,
            _tenancy: engine_core::tenant::Tenancy,
            _spec: v1::JobSpec,
            _secrets: std::collections::HashMap<String, String>,
            _policy: Option<v1::ComponentPolicy>,
        ) -> Result<v1::JobView, Error> {
            Err(Error::internal("not asked"))
        }
    }

    #[derive(Default)]
    struct Again(AtomicUsize);

    impl PeerEvents for Again {
        fn reconnected(&self, _node: NodeId) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn node(n: u64) -> NodeId {
        NodeId::from_bits(n, 0)
    }

    fn packet(first: u64) -> Box<Packet> {
        let (from, to) = (node(1), node(2));
        Box::new(Packet { from, to, first, messages: Vec::new(), received: 0, load: Load::default() })
    }

    async fn port(at: &str) -> (PeerPort, Arc<Heard>) {
        secure_port(at, None).await
    }

    async fn secure_port(at: &str, identity: Option<Identity>) -> (PeerPort, Arc<Heard>) {
        let heard = Heard { packets: watch::Sender::default(), logs: Mutex::default() };
        (PeerPort::bind(at.parse().unwrap(), node(2), identity).await.unwrap(), Arc::new(heard))
    }

    #[tokio::test]
    async fn packets_arrive_in_order_and_lines_before_them() {
        let (port, heard) = port("127.0.0.1:0").await;
        let peers = Peers::new(node(1), None, |_| Bytes::new());
        let address = PeerAddress { packets: port.address(), services: port.address() };
        let line = peers.add(node(2), address).expect("new");
        assert!(peers.add(node(2), address).is_none());
        let sending = async {
            for first in 1..=3_000 {
                if first == 3_000 {
                    assert!(peers.log(node(2), v1::PeerLogLine { job_id: "said".into(), line: None }));
                }
                peers.send(packet(first));
                if first % 100 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            let mut packets = heard.packets.subscribe();
            packets.wait_for(|heard| heard.len() == 3_000).await.expect("it is there");
            assert_eq!(*heard.logs.lock(), ["said"]);
            peers.remove(node(2));
        };
        let line = line.run(Arc::new(Again::default()));
        tokio::select! {
            ((), ()) = async { tokio::join!(sending, line) } => {}
            () = port.run(heard.clone()) => unreachable!("it runs for ever"),
        }
        assert_eq!(*heard.packets.borrow(), (1..=3_000).collect::<Vec<u64>>());
    }

    #[tokio::test]
    async fn a_line_that_broke_is_made_anew_and_that_is_told() {
        let (first, heard) = port("127.0.0.1:0").await;
        let at = first.address();
        let peers = Peers::new(node(1), None, |_| Bytes::new());
        let line = peers.add(node(2), PeerAddress { packets: at, services: at }).expect("new");
        let again = Arc::new(Again::default());
        let scene = async {
            let mut packets = heard.packets.subscribe();
            peers.send(packet(1));
            tokio::select! {
                () = first.run(heard.clone()) => {}
                heard = packets.wait_for(|heard| heard.len() == 1) => drop(heard.expect("it is there")),
            }
            // The port is gone, and the connections with it.
            let (second, heard) = port(&at.to_string()).await;
            let mut packets = heard.packets.subscribe();
            let sending = async {
                while packets.borrow_and_update().is_empty() {
                    peers.send(packet(2));
                    drop(tokio::time::timeout(Duration::from_millis(20), packets.changed()).await);
                }
            };
            tokio::select! {
                () = second.run(heard.clone()) => {}
                () = sending => {}
            }
            peers.remove(node(2));
        };
        tokio::join!(scene, line.run(again.clone()));
        assert_eq!(again.0.load(Ordering::Relaxed), 1);
    }

    /// Sends packets until one is there, or the port has closed lines so often; whether one was there.
    async fn arrives(port: Option<Identity>, sender: Option<Identity>) -> bool {
        let (port, heard) = secure_port("127.0.0.1:0", port).await;
        let peers = Peers::new(node(1), sender, |_| Bytes::new());
        let address = PeerAddress { packets: port.address(), services: port.address() };
        let line = peers.add(node(2), address).expect("new");
        let mut packets = heard.packets.subscribe();
        let sending = async {
            for _ in 0..20 {
                peers.send(packet(1));
                let came = tokio::time::timeout(Duration::from_millis(50), packets.changed()).await;
                if came.is_ok() {
                    return true;
                }
            }
            false
        };
        tokio::select! {
            arrived = sending => arrived,
            () = line.run(Arc::new(Again::default())) => unreachable!("it is not removed"),
            () = port.run(heard.clone()) => unreachable!("it runs for ever"),
        }
    }

    #[tokio::test]
    async fn with_tls_a_packet_comes_from_the_node_that_its_certificate_names() {
        let (ours, theirs) = (TestCluster::new(), TestCluster::new());
        let port = || Some(ours.node(node(2)));
        assert!(arrives(port(), Some(ours.node(node(1)))).await);
        assert!(!arrives(port(), Some(ours.node(node(3)))).await, "in the name of another node");
        assert!(!arrives(port(), Some(ours.head())).await, "the head is no node");
        assert!(!arrives(port(), Some(theirs.node(node(1)))).await, "of another cluster");
        assert!(!arrives(port(), None).await, "without TLS");
        assert!(!arrives(None, Some(ours.node(node(1)))).await, "to one without TLS");
        assert!(
            !arrives(Some(ours.node(node(4))), Some(ours.node(node(1)))).await,
            "to one in another's name"
        );
    }
}
