//! A node among others: the lines to them, the bytes of objects, and the line to the head.

mod backend;
mod bytes;
mod coming;
mod drain;
mod enroll;
mod fetch;
mod line;
mod logs;
mod names;
mod requests;
mod starts;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use ::bytes::Bytes;
use engine_core::ids::IdMap;
use engine_core::node::NodeInfo;
use engine_core::{ActorId, Error, NodeId};
use engine_net::bulk::{BulkClient, BulkServer};
use engine_net::cluster::{HeadLink, PeerAddress, PeerEvents, PeerPort, Peers};
use engine_net::{BindError, Gate};
use engine_proto::v1;
use engine_tls::Identity;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::background::{self, Kind};
use crate::driver::Driver;

pub use backend::NodePeer;
pub(crate) use drain::{leave, say_that_it_drains};
pub(crate) use enroll::renew;
pub use enroll::{NodeKey, enroll};
pub(crate) use line::HeadLine;
pub(crate) use names::{create_actor, lookup_actor};
pub(crate) use starts::Starts;

pub(crate) use requests::Found;
use requests::Requests;

/// Where a node finds its cluster, and where the cluster finds it.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Where the head serves.
    pub head: SocketAddr,
    /// Where this node serves others and clients.
    pub address: SocketAddr,
    /// Where it serves the bytes of its objects; port 0 takes a free one.
    pub bulk_address: SocketAddr,
    /// What its id is made of.
    pub key: NodeKey,
    /// What it shows the head and the other nodes, and names it by that id; none: there is no TLS.
    pub identity: Option<Identity>,
}

/// How a node stands with its cluster.
#[derive(Debug, Clone)]
pub enum Membership {
    /// The head was not reached yet.
    Joining,
    /// It is a node of the cluster. That the head is away does not change that.
    Member,
    /// It was drained and let go: it is to end.
    Left,
    /// The head refuses it, or has declared it dead: it is to end, and what it did has no effect.
    Refused(Error),
}

/// What a node has of its cluster.
pub(crate) struct Network {
    pub(crate) options: ClusterOptions,
    node: NodeId,
    pub(crate) peers: Peers,
    pub(crate) head: HeadLink,
    pub(crate) bulk: Arc<BulkClient>,
    bulk_server: BulkServer,
    /// Objects that others are giving this node.
    pub(crate) coming: Arc<coming::AllComing>,
    /// Until it is run.
    peer_port: Mutex<Option<PeerPort>>,
    peer_address: SocketAddr,
    /// What the head has told of the others.
    members: Mutex<HashMap<NodeId, v1::Member>>,
    pub(crate) requests: Requests,
    membership: watch::Sender<Membership>,
    /// Judges the tickets of clients that attach themselves here.
    pub(crate) gate: Arc<Gate>,
    /// The head that has welcomed this node, as it calls itself; empty when none has.
    welcomed_by: Mutex<String>,
    /// It drains, and has asked the head to be let go.
    asked_to_leave: Mutex<bool>,
    /// The names of this node's actors.
    named: Mutex<IdMap<ActorId, v1::ClaimName>>,
}

impl Network {
    /// Binds the ports for bytes and packets. Nothing is said to anybody yet.
    pub(crate) async fn new(
        options: ClusterOptions,
        node: NodeId,
        driver: Weak<Driver>,
    ) -> Result<Self, Error> {
        let refused = |error: BindError| Error::invalid_argument(error.to_string());
        let source = Arc::new(bytes::HeldBytes(driver));
        let bulk_server = BulkServer::bind(options.bulk_address, node, source, options.identity.clone())
            .map_err(refused)?;
        let any_port = SocketAddr::new(options.address.ip(), 0);
        let peer_port = PeerPort::bind(any_port, node, options.identity.clone()).await.map_err(refused)?;
        let encode = |place: &engine_core::Place| {
            Bytes::copy_from_slice(engine_objects::slice(place).unwrap_or_default())
        };
        Ok(Self {
            node,
            peers: Peers::new(node, options.identity.clone(), encode),
            head: HeadLink::new(options.head, options.identity.clone()),
            bulk: Arc::new(BulkClient::new(node, options.identity.clone())),
            options,
            bulk_server,
            coming: Arc::default(),
            peer_address: peer_port.address(),
            peer_port: Mutex::new(Some(peer_port)),
            members: Mutex::default(),
            requests: Requests::default(),
            membership: watch::Sender::new(Membership::Joining),
            gate: Arc::new(Gate::for_tickets()),
            welcomed_by: Mutex::default(),
            asked_to_leave: Mutex::default(),
            named: Mutex::default(),
        })
    }

    /// Takes what other nodes send, as long as it is run.
    pub(crate) fn take_packets(&self, backend: Arc<NodePeer>) -> impl Future<Output = ()> + Send + 'static {
        let port = self.peer_port.lock().take();
        async move {
            if let Some(port) = port {
                port.run(backend).await;
            }
        }
    }

    /// Follows how this node stands with its cluster.
    pub(crate) fn membership(&self) -> watch::Receiver<Membership> {
        self.membership.subscribe()
    }

    /// Where the bytes of a node's objects are.
    pub(crate) fn bulk_address(&self, node: NodeId) -> Option<SocketAddr> {
        self.members.lock().get(&node)?.bulk_address.parse().ok()
    }

    /// Whether a node is a member, as far as the head has told.
    pub(crate) fn knows(&self, node: NodeId) -> bool {
        self.members.lock().contains_key(&node)
    }

    /// This node as it tells of itself.
    fn member(&self, driver: &Driver) -> v1::Member {
        let view = driver.read(|node| node.node_view());
        v1::Member {
            node_id: view.id.to_string(),
            total: Some((&view.total).into()),
            labels: view.labels.into_iter().collect(),
            address: self.options.address.to_string(),
            bulk_address: self.bulk_server.address().to_string(),
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            version: engine_proto::version::VERSION.to_owned(),
            process_id: std::process::id(),
            peer_address: self.peer_address.to_string(),
        }
    }

    /// What it says first on its line to the head.
    fn join(&self, driver: &Driver) -> v1::Join {
        v1::Join {
            protocol: engine_proto::version::PROTOCOL,
            node: Some(self.member(driver)),
            peers: self.members.lock().values().cloned().collect(),
            names: self.named.lock().values().cloned().collect(),
            jobs: crate::backend::known_jobs(driver),
            welcomed_by: self.welcomed_by.lock().clone(),
        }
    }

    /// A node is there.
    fn add(&self, driver: &Arc<Driver>, member: v1::Member) -> Result<(), Error> {
        let info: NodeInfo = engine_proto::convert::node_info(&member)?;
        let parsed = |text: &str| {
            text.parse()
                .map_err(|_| Error::invalid_argument(format!("an address of {} is none: {text:?}", info.id)))
        };
        let address =
            PeerAddress { packets: parsed(&member.peer_address)?, services: parsed(&member.address)? };
        if info.id == self.node {
            return Ok(());
        }
        self.members.lock().insert(info.id, member);
        if let Some(line) = self.peers.add(info.id, address) {
            let events = Arc::new(Reconnected(Arc::downgrade(driver)));
            drop(background::spawn_on(&driver.background, Kind::PeerLine, line.run(events)));
        }
        driver.event(|node, now, fx| node.node_joined(now, info, fx));
        Ok(())
    }

    /// A node is dead, or has left with nothing on it.
    fn remove(&self, driver: &Driver, node: NodeId, has_left: bool) {
        self.members.lock().remove(&node);
        self.peers.remove(node);
        self.bulk.forget(node);
        driver.event(|core, now, fx| match has_left {
            true => core.node_left(now, node, fx),
            false => core.node_dead(now, node, fx),
        });
    }
}

/// Tells the core of lines that were made anew.
struct Reconnected(Weak<Driver>);

impl PeerEvents for Reconnected {
    fn reconnected(&self, peer: NodeId) {
        if let Some(driver) = self.0.upgrade() {
            driver.event(|node, now, fx| node.reconnected(now, peer, fx));
        }
    }
}
