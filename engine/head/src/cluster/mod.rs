//! The head of a cluster: the lines of its nodes, and what clients ask of all of them.

mod backend;
mod drain;
mod enrollment;
mod jobs;
mod lines;
mod memory;
mod merge;
mod records;
mod requests;
#[cfg(test)]
mod tests;

pub use backend::ClusterBackend;
pub use enrollment::Enrollment;
pub use lines::ClusterService;
pub use memory::MemoryLimits;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use engine_core::head::{Effect, JobRecord, NodeStanding, Notice};
use engine_core::{Error, ErrorCode, JobId, NodeId, Time};
use engine_net::cluster::NodeClient;
use engine_proto::convert::peer;
use engine_proto::v1::{self, head_message};
use engine_tls::Identity;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::background::{self, Kind};
use crate::cluster::memory::{Memory, Writer};
use crate::cluster::records::{Restored, Starting};
use crate::meta::{Embedded, MetaError, MetaStore, with_faults};
use crate::policies::Policies;
use crate::secrets::Secrets;
use crate::service::Head;

/// How a head is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// The limits of its state machine.
    pub limits: engine_core::head::Limits,
    /// Bytes of all components.
    pub component_store_bytes_max: u64,
    /// Where components are kept between runs; none: nowhere.
    pub data_dir: Option<PathBuf>,
    /// The folder of the head's memory, of this head alone. Its components are there too, whatever
    /// `data_dir` says. None: the head starts afresh each time, and learns from its nodes what they know.
    pub memory_dir: Option<PathBuf>,
    /// What bounds that which waits for the memory's disk.
    pub memory: MemoryLimits,
    /// What the head shows to its nodes; none: there is no TLS.
    pub identity: Option<Identity>,
    /// By what nodes judge the tickets of clients that attach themselves to them; empty: they take none.
    pub ticket_key: Vec<u8>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: engine_core::head::Limits::default(),
            component_store_bytes_max: 2 << 30,
            data_dir: None,
            memory_dir: None,
            memory: MemoryLimits::default(),
            identity: None,
            ticket_key: Vec::new(),
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
    identity: Option<Identity>,
    ticket_key: Vec<u8>,
    nodes: Mutex<Nodes>,
    /// The views of jobs that have ended, as the nodes of their roots gave them.
    ended: Mutex<HashMap<JobId, v1::JobView>>,
    /// What jobs are to run that may have to be started.
    starting: Mutex<HashMap<JobId, Starting>>,
    memory: Arc<Memory>,
    /// None: the head has no memory but its own.
    writer: Mutex<Option<Writer>>,
    /// Something has changed that somebody may wait for: a job's end, a node's death.
    news: watch::Sender<u64>,
    timer: Timer,
    this: Weak<Self>,
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
    say: Option<memory::Sender>,
}

/// The time of the state machine: nanoseconds since 1970, so that times in the head's memory stay true.
/// It never goes back while the process lives.
struct Clock {
    start: Instant,
    /// When that was.
    origin: Duration,
}

impl Clock {
    fn new() -> Self {
        let origin = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), origin }
    }

    fn now(&self) -> Time {
        Time((self.origin + self.start.elapsed()).as_nanos() as u64)
    }

    /// For people.
    fn wall(time: Time) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(time.0)
    }

    /// When it is that time for a timer.
    fn instant(&self, time: Time) -> Instant {
        self.start + Duration::from_nanos(time.0).saturating_sub(self.origin)
    }
}

/// When the state machine wants to be called.
#[derive(Default)]
struct Timer {
    at: Mutex<Option<Time>>,
    changed: Notify,
}

impl ClusterHead {
    /// A head. Must be called inside a tokio runtime. With a folder for its memory it comes back with what
    /// it remembers; its nodes are expected back too.
    ///
    /// `id_key`: fresh random bits, so that ids cannot be guessed.
    ///
    /// # Errors
    /// When its memory cannot be used; see [`MetaError`].
    pub fn start(id_key: [u8; 16], options: &Options) -> Result<Arc<Self>, MetaError> {
        let Some(folder) = &options.memory_dir else {
            let folder = options.data_dir.as_ref().map(|dir| dir.join("components"));
            let components = crate::Components::new(folder, options.component_store_bytes_max);
            let mut core = engine_core::head::Head::new(id_key, options.limits.clone());
            core.started(Clock::new().now());
            let kept = (components, (Secrets::default(), Policies::default()));
            return Ok(Self::of(options, core, kept, None));
        };
        let mut store: Box<dyn MetaStore> = with_faults(Embedded::open(folder)?, folder);
        let restored = records::read(&mut *store, folder, options.identity.as_ref())?;
        let components = folder.join("components");
        let components = crate::Components::durable(components, options.component_store_bytes_max);
        let key = folder.join("tls/secret-key");
        let secrets = Secrets::open(&folder.join("secrets"), &key).map_err(|error| MetaError::Io {
            what: "use what is in",
            path: folder.clone(),
            why: error.to_string(),
        })?;
        let policies = Policies::open(&folder.join("component-policies")).map_err(|error| MetaError::Io {
            what: "use what is in",
            path: folder.clone(),
            why: error.to_string(),
        })?;
        Self::restore(id_key, options, (components, (secrets, policies)), store, restored)
    }

    fn restore(
        id_key: [u8; 16],
        options: &Options,
        kept: (crate::Components, (Secrets, Policies)),
        mut store: Box<dyn MetaStore>,
        mut restored: Restored,
    ) -> Result<Arc<Self>, MetaError> {
        let now = Clock::new().now();
        let records = std::mem::take(&mut restored.records);
        let count = records.len();
        let mut fx = Vec::new();
        let mut core =
            engine_core::head::Head::restore(id_key, options.limits.clone(), now, records, &mut fx);
        if restored.head.is_none() {
            let id = core.new_node_id();
            restored.head = Some(id);
            restored.revision = store.commit(restored.revision, &[records::head(id)])?;
        }
        let revision = restored.revision;
        tracing::info!(records = count, revision = revision.0, "the head's memory is open");
        let head = Self::of(options, core, kept, Some(restored));
        for effect in fx {
            head.carry_out(0, effect);
        }
        let weak = Arc::downgrade(&head);
        let take = move |begin: &dyn Fn() -> u64| {
            let head = weak.upgrade()?;
            let mut core = head.head.lock();
            let changes = core.take_changes();
            Some((begin(), head.writes(changes)))
        };
        let writer = Writer::start(&head.memory, store, revision, take).map_err(|error| MetaError::Io {
            what: "start the thread that writes",
            path: options.memory_dir.clone().unwrap_or_default(),
            why: error.to_string(),
        })?;
        *head.writer.lock() = Some(writer);
        Ok(head)
    }

    fn of(
        options: &Options,
        mut core: engine_core::head::Head,
        (components, kept): (crate::Components, (Secrets, Policies)),
        restored: Option<Restored>,
    ) -> Arc<Self> {
        let known = restored.as_ref().and_then(|restored| restored.head);
        let id = known.unwrap_or_else(|| core.new_node_id());
        let (nodes, ended, starting) = match restored {
            Some(Restored { alive, dead, ended, starting, .. }) => {
                (Nodes { alive, dead, lines: 0 }, ended, starting)
            }
            None => Default::default(),
        };
        if let Some(identity) = &options.identity {
            core.nodes_left().for_each(|node| identity.revoke(node));
        }
        let head = Arc::new_cyclic(|this| Self {
            id,
            head: Head::of(core, components, kept),
            clock: Clock::new(),
            identity: options.identity.clone(),
            ticket_key: options.ticket_key.clone(),
            nodes: Mutex::new(nodes),
            ended: Mutex::new(ended),
            starting: Mutex::new(starting),
            memory: Arc::new(Memory::new(options.memory.clone())),
            writer: Mutex::default(),
            news: watch::Sender::new(0),
            timer: Timer::default(),
            this: this.clone(),
        });
        drop(background::spawn(Kind::Timer, head.clone().keep_time()));
        head
    }

    /// Resolves when the head cannot remember anything more, with why: nobody is answered from then on, and
    /// the process is to end. What was answered before is kept.
    pub async fn failed(&self) -> Error {
        self.memory.failed().await
    }

    /// Ends what the head does, and lets go of its memory. What was answered is kept; what was not is lost,
    /// as when the process is killed.
    pub fn close(&self) {
        self.memory.close();
        let writer = self.writer.lock().take();
        if let Some(mut writer) = writer {
            writer.stop();
        }
    }

    /// Resolves once everything is durable that anybody can have seen so far.
    ///
    /// # Errors
    /// Why it never will be.
    async fn settled(&self) -> Result<(), Error> {
        self.memory.committed(self.memory.latest()).await
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

    /// Calls the state machine when it asks for it, until the head ends.
    async fn keep_time(self: Arc<Self>) {
        loop {
            let at = *self.timer.at.lock();
            let until = at.map(|at| self.clock.instant(at));
            tokio::select! {
                _ = self.memory.failed() => return,
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
        let after = self.memory.note(core.changes_waiting());
        if fx.iter().any(|effect| matches!(effect, Effect::Died(..))) {
            // What jobs were to run that ended with their nodes.
            self.starting.lock().retain(|job, _| core.job(*job).is_ok_and(JobRecord::may_start));
        }
        for effect in &fx {
            if let Effect::Died(id, _) | Effect::Tell(_, Notice::Dead(id, _)) = effect {
                self.revoke_if_left(&core, *id);
            }
        }
        // In the order of the events: under the lock.
        for effect in fx {
            self.carry_out(after, effect);
        }
        drop(core);
        result
    }

    /// The certificate of a node that has left is good no more.
    fn revoke_if_left(&self, core: &engine_core::head::Head, id: NodeId) {
        if core.standing(id) == Some(NodeStanding::Left)
            && let Some(identity) = &self.identity
        {
            identity.revoke(id);
        }
    }

    fn is_revoked(&self, id: NodeId) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.is_revoked(id))
    }

    /// Does at once what concerns this head alone. What is said to nodes waits for the transaction.
    fn carry_out(&self, after: u64, effect: Effect) {
        match effect {
            Effect::ArmTimer(at) => {
                *self.timer.at.lock() = Some(at);
                self.timer.changed.notify_one();
            }
            Effect::Tell(to, notice) => self.tell(after, to, notice),
            Effect::JobForgotten(run) => drop(self.ended.lock().remove(&run.job())),
            Effect::StartRun(run, home) => self.start_run(run, home),
            Effect::Alert(message) => tracing::warn!("{message}"),
            Effect::Died(id, reason) => {
                self.bury(after, id, reason);
                self.news.send_modify(|news| *news += 1);
            }
        }
    }

    fn tell(&self, mut after: u64, to: NodeId, notice: Notice) {
        let nodes = self.nodes.lock();
        let message = match notice {
            Notice::Joined(infos) => {
                let others = infos.iter().filter(|info| info.id != to);
                let lines = others.filter_map(|info| nodes.alive.get(&info.id));
                let members: Vec<v1::Member> = lines.map(|line| line.member.clone()).collect();
                if members.is_empty() {
                    return;
                }
                self.memory.note_admission(after);
                head_message::Message::Joined(v1::Members { members })
            }
            Notice::Dead(id, reason) => {
                let is_revoked = self.is_revoked(id);
                head_message::Message::Dead(v1::DeadNode { node_id: id.to_string(), reason, is_revoked })
            }
            Notice::Draining(id, deadline) => head_message::Message::Draining(v1::DrainingNode {
                node_id: id.to_string(),
                deadline: deadline.map(engine_proto::convert::duration),
            }),
            Notice::Left(id, reason) => {
                let is_revoked = self.is_revoked(id);
                head_message::Message::Left(v1::DeadNode { node_id: id.to_string(), reason, is_revoked })
            }
            Notice::Group(notice) => head_message::Message::Group(peer::group_notice(&notice)),
            Notice::Tenant(news) => head_message::Message::Tenant(engine_proto::convert::tenant_news(&news)),
            Notice::BreakDeadlock(changes) => {
                head_message::Message::BreakDeadlock(v1::Standstill { changes, waits: true })
            }
            Notice::EndRun(run) => head_message::Message::EndRun(v1::JobRun { run_id: run.to_string() }),
            Notice::Loads(loads) => {
                after = self.memory.after_admissions();
                let load = |(id, load): &(NodeId, engine_core::node::Load)| v1::NodeLoad {
                    node_id: id.to_string(),
                    load: Some(peer::load(load)),
                };
                head_message::Message::Loads(v1::Loads { loads: loads.iter().map(load).collect() })
            }
        };
        let line = nodes.alive.get(&to).and_then(|line| line.say.clone());
        drop(nodes);
        if let Some(line) = line {
            self.memory.say(after, line, Some(message));
        }
    }

    /// A node is dead: its line ends once that is durable.
    fn bury(&self, after: u64, id: NodeId, reason: String) {
        let mut nodes = self.nodes.lock();
        let Some(line) = nodes.alive.remove(&id) else { return };
        tracing::info!(node = %id, reason, "a node is no member any more");
        nodes.dead.push_back(line.member);
        if nodes.dead.len() > DEAD_NODES_SHOWN_MAX {
            nodes.dead.pop_front();
        }
        drop(nodes);
        if let Some(line) = line.say {
            self.memory.say(after, line, None);
        }
    }

    /// Whether a node lives, as far as this head knows.
    pub(super) fn is_member(&self, node: NodeId) -> bool {
        self.nodes.lock().alive.contains_key(&node)
    }

    /// The way to a node.
    fn client(&self, node: NodeId) -> Result<NodeClient, Error> {
        let client = self.nodes.lock().alive.get(&node).map(|line| line.client.clone());
        client.ok_or_else(|| {
            Error::new(ErrorCode::NodeDied, format!("{node} is not, or not any more, a node of this cluster"))
        })
    }

    /// Where a node serves clients.
    fn address_of(&self, node: NodeId) -> Result<String, Error> {
        let nodes = self.nodes.lock();
        let line = nodes.alive.get(&node).ok_or_else(|| {
            let message = format!("{node} is away: it comes back, or its jobs end");
            Error::new(ErrorCode::NodeDied, message)
        })?;
        Ok(line.member.address.clone())
    }

    /// The ways to all nodes, by id.
    fn clients(&self) -> Vec<(NodeId, NodeClient)> {
        let nodes = self.nodes.lock();
        let mut clients: Vec<_> = nodes.alive.iter().map(|(id, line)| (*id, line.client.clone())).collect();
        clients.sort_by_key(|(id, _)| *id);
        clients
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
