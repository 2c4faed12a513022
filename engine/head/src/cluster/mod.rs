//! The head of a cluster: the lines of its nodes, and what clients ask of all of them.

mod backend;
mod jobs;
mod lines;
mod merge;
mod requests;

pub use backend::ClusterBackend;
pub use lines::ClusterService;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use engine_core::head::{Effect, Notice};
use engine_core::{Error, ErrorCode, JobId, NodeId, Time};
use engine_net::cluster::NodeClient;
use engine_proto::convert::peer;
use engine_proto::v1::{self, head_message};
use futures::channel::mpsc::UnboundedSender;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::background::{self, Kind};
use crate::service::Head;

/// How a head is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// The limits of its state machine.
    pub limits: engine_core::head::Limits,
    /// Bytes of all components.
    pub component_store_bytes_max: u64,
    /// Where components are kept between runs; none: nowhere.
    pub data_dir: Option<std::path::PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: engine_core::head::Limits::default(),
            component_store_bytes_max: 2 << 30,
            data_dir: None,
        }
    }
}

/// Nodes that have died, that listings show.
const DEAD_NODES_SHOWN_MAX: usize = 100;

/// The head of a cluster.
pub struct ClusterHead {
    id: NodeId,
    pub(crate) head: Head,
    clock: Clock,
    nodes: Mutex<Nodes>,
    /// The views of jobs that have ended, as the nodes of their roots gave them.
    ended: Mutex<HashMap<JobId, v1::JobView>>,
    /// Something has changed that somebody may wait for: a job's end, a node's death.
    news: watch::Sender<u64>,
    timer: Timer,
}

#[derive(Default)]
struct Nodes {
    alive: HashMap<NodeId, Line>,
    dead: VecDeque<v1::Member>,
    /// Counts lines, so that the end of an old one is not taken for that of a new one.
    lines: u64,
}

/// A node that lives.
struct Line {
    number: u64,
    member: v1::Member,
    client: NodeClient,
    /// What is said to it, while there is a line.
    say: Option<UnboundedSender<v1::HeadMessage>>,
}

struct Clock {
    start: Instant,
    wall: SystemTime,
}

impl Clock {
    fn now(&self) -> Time {
        Time(self.start.elapsed().as_nanos() as u64)
    }
}

/// When the state machine wants to be called.
#[derive(Default)]
struct Timer {
    at: Mutex<Option<Time>>,
    changed: Notify,
}

impl ClusterHead {
    /// A head without nodes. Must be called inside a tokio runtime.
    ///
    /// `id_key`: fresh random bits, so that ids cannot be guessed.
    pub fn start(id_key: [u8; 16], options: &Options) -> Arc<Self> {
        let folder = options.data_dir.as_ref().map(|dir| dir.join("components"));
        let components = crate::Components::new(folder, options.component_store_bytes_max);
        let head = Head::new(id_key, options.limits.clone(), components);
        let id = head.lock().new_node_id();
        let head = Arc::new(Self {
            id,
            head,
            clock: Clock { start: Instant::now(), wall: SystemTime::now() },
            nodes: Mutex::default(),
            ended: Mutex::default(),
            news: watch::Sender::new(0),
            timer: Timer::default(),
        });
        drop(background::spawn(Kind::Timer, head.clone().keep_time()));
        head
    }

    /// Nodes that live.
    pub fn nodes_alive(&self) -> usize {
        self.nodes.lock().alive.len()
    }

    /// Resolves when so many nodes live.
    pub async fn wait_for_nodes(&self, count: usize) {
        self.wait(|nodes| nodes >= count).await;
    }

    /// Resolves when no node lives.
    pub async fn wait_for_no_node(&self) {
        self.wait(|nodes| nodes == 0).await;
    }

    async fn wait(&self, is_reached: impl Fn(usize) -> bool) {
        let mut news = self.news.subscribe();
        while !is_reached(self.nodes_alive()) {
            if news.changed().await.is_err() {
                return;
            }
        }
    }

    /// Calls the state machine when it asks for it, as long as the process lives.
    async fn keep_time(self: Arc<Self>) {
        loop {
            let at = *self.timer.at.lock();
            let until = at.map(|at| self.clock.start + Duration::from_nanos(at.0));
            tokio::select! {
                () = self.timer.changed.notified() => {}
                () = sleep_until(until) => {
                    self.timer.at.lock().take();
                    self.event(|core, now, fx| core.timer(now, fx));
                }
            }
        }
    }

    /// Brings an event to the state machine and carries out what follows.
    fn event<R>(&self, event: impl FnOnce(&mut engine_core::head::Head, Time, &mut Vec<Effect>) -> R) -> R {
        let mut fx = Vec::new();
        let mut core = self.head.lock();
        let now = self.clock.now();
        let result = event(&mut core, now, &mut fx);
        // In the order of the events: under the lock.
        for effect in fx {
            self.carry_out(effect);
        }
        drop(core);
        result
    }

    fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::ArmTimer(at) => {
                *self.timer.at.lock() = Some(at);
                self.timer.changed.notify_one();
            }
            Effect::Tell(to, notice) => {
                let nodes = self.nodes.lock();
                let message = match notice {
                    Notice::Joined(info) => match nodes.alive.get(&info.id) {
                        Some(line) => head_message::Message::Joined(line.member.clone()),
                        None => return,
                    },
                    Notice::Dead(id, reason) => {
                        head_message::Message::Dead(v1::DeadNode { node_id: id.to_string(), reason })
                    }
                    Notice::Group(notice) => head_message::Message::Group(peer::group_notice(&notice)),
                    Notice::Loads(loads) => {
                        let load = |(id, load): &(NodeId, engine_core::node::Load)| v1::NodeLoad {
                            node_id: id.to_string(),
                            load: Some(peer::load(load)),
                        };
                        head_message::Message::Loads(v1::Loads { loads: loads.iter().map(load).collect() })
                    }
                };
                if let Some(line) = nodes.alive.get(&to) {
                    line.say(message);
                }
            }
            Effect::JobForgotten(job) => drop(self.ended.lock().remove(&job)),
            Effect::Died(id, reason) => {
                self.bury(id, reason);
                self.news.send_modify(|news| *news += 1);
            }
        }
    }

    /// A node is dead: its line ends.
    fn bury(&self, id: NodeId, reason: String) {
        let mut nodes = self.nodes.lock();
        let Some(line) = nodes.alive.remove(&id) else { return };
        tracing::info!(node = %id, reason, "a node is dead");
        nodes.dead.push_back(line.member);
        if nodes.dead.len() > DEAD_NODES_SHOWN_MAX {
            nodes.dead.pop_front();
        }
    }

    /// The way to a node.
    fn client(&self, node: NodeId) -> Result<NodeClient, Error> {
        let client = self.nodes.lock().alive.get(&node).map(|line| line.client.clone());
        client.ok_or_else(|| {
            Error::new(ErrorCode::NodeDied, format!("{node} is not, or not any more, a node of this cluster"))
        })
    }

    /// The ways to all nodes, by id.
    fn clients(&self) -> Vec<(NodeId, NodeClient)> {
        let nodes = self.nodes.lock();
        let mut clients: Vec<_> = nodes.alive.iter().map(|(id, line)| (*id, line.client.clone())).collect();
        clients.sort_by_key(|(id, _)| *id);
        clients
    }
}

impl Line {
    fn say(&self, message: head_message::Message) {
        if let Some(say) = &self.say {
            // A line that has just broken is noticed by whoever reads it.
            drop(say.unbounded_send(v1::HeadMessage { message: Some(message) }));
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
