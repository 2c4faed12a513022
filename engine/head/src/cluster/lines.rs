//! The lines of nodes: joining, signs of life, questions.

use std::sync::Arc;

use async_trait::async_trait;
use engine_core::group::GroupMessage;
use engine_core::node::Standstill;
use engine_core::quota::LedgerReport;
use engine_core::{ComponentId, Error, ErrorCode, NodeId};
use engine_net::Replies;
use engine_net::cluster::{ClusterBackend, NodeClient};
use engine_proto::convert::ledger_report_from;
use engine_proto::convert::{node_info, peer};
use engine_proto::v1::{self, head_message, node_message};
use engine_proto::version;
use engine_tls::Identity;
use futures::StreamExt;
use futures::channel::mpsc::unbounded;
use futures::stream::BoxStream;

use crate::background::{self, Kind};
use crate::cluster::{ClusterHead, Line};

/// The head as nodes see it.
pub struct ClusterService(pub Arc<ClusterHead>);

type Messages = BoxStream<'static, Result<v1::NodeMessage, Error>>;

#[async_trait]
impl ClusterBackend for ClusterService {
    async fn connect(&self, mut messages: Messages) -> Result<Replies<v1::HeadMessage>, Error> {
        let first = messages.next().await.transpose()?.and_then(|message| message.message);
        let Some(node_message::Message::Join(join)) = first else {
            return Err(Error::invalid_argument("the first message of a node's line is not its join"));
        };
        version::check(join.protocol).inspect_err(|error| self.0.refused(&join, error))?;
        let joined = self.0.join(join);
        let line = joined.as_ref().ok().map(|(id, number, _)| (*id, *number));
        let mut unwelcomed = Unwelcomed { head: &self.0, line };
        if self.0.settled().await.is_err() {
            // A refusal would be taken for the head's. The process ends, and the next one answers.
            return std::future::pending().await;
        }
        unwelcomed.line = None;
        let (id, number, replies) = joined?;
        self.0.event(|core, now, fx| core.node_welcomed(now, id, fx));
        self.0.start_orphaned(id);
        self.0.stop_again(id);
        drop(background::spawn(Kind::NodeLine, listen(self.0.clone(), id, number, messages)));
        Ok(replies)
    }

    fn component(&self, id: ComponentId) -> Result<Arc<[u8]>, Error> {
        self.0
            .head
            .components()
            .get(id)
            .ok_or_else(|| Error::new(ErrorCode::NotFound, format!("the component {id} was not uploaded")))
    }
}

/// A line on which nobody listens yet. Dropped with it, the line broke before the node was welcome.
struct Unwelcomed<'a> {
    head: &'a ClusterHead,
    line: Option<(NodeId, u64)>,
}

impl Drop for Unwelcomed<'_> {
    fn drop(&mut self) {
        if let Some((id, number)) = self.line {
            self.head.line_broke(id, number);
        }
    }
}

/// Hears what a node says until its line breaks.
async fn listen(head: Arc<ClusterHead>, id: NodeId, number: u64, mut messages: Messages) {
    while let Some(Ok(message)) = messages.next().await {
        match message.message {
            Some(node_message::Message::Load(load)) => match peer::load_from(&load) {
                Ok(load) => {
                    if !head.event(|core, now, fx| core.heard_of(now, id, load, fx)) {
                        break;
                    }
                }
                Err(error) => tracing::warn!(node = %id, %error, "a node says nonsense"),
            },
            Some(node_message::Message::Request(request)) => head.request(id, request),
            Some(node_message::Message::Group(message)) => match peer::group_message_from(message) {
                Ok(message) => head.group_message(id, number, message),
                Err(error) => tracing::warn!(node = %id, %error, "a node says nonsense"),
            },
            Some(node_message::Message::Ledger(report)) => match ledger_report_from(report) {
                Ok(report) => head.ledger_report(id, number, &report),
                Err(error) => {
                    tracing::warn!(node = %id, %error, "what a node says of quotas is not understood")
                }
            },
            Some(node_message::Message::WantsLoads(wants)) => {
                head.event(|core, _, fx| core.wants_loads(id, wants, fx));
            }
            Some(node_message::Message::Standstill(v1::Standstill { changes, waits })) => {
                let said = Standstill { changes, waits };
                head.event(|core, now, fx| core.stands_still(now, id, said, fx));
            }
            Some(node_message::Message::Join(_)) | None => {}
        }
    }
    head.line_broke(id, number);
}

impl ClusterHead {
    fn join(&self, mut join: v1::Join) -> Result<(NodeId, u64, Replies<v1::HeadMessage>), Error> {
        let missing = || Error::invalid_argument("Join.node is missing");
        let member = join.node.ok_or_else(missing)?;
        let info = node_info(&member)?;
        let id = info.id;
        let (say, replies) = unbounded();
        // This head knows all that such a node can tell of others, and of before.
        let is_back = join.welcomed_by == self.id.to_string();
        if is_back {
            join.peers.clear();
            join.names.clear();
        }
        let number = self.event(|core, now, fx| {
            core.admit(now, id, is_back)?;
            let mut nodes = self.nodes.lock();
            nodes.lines += 1;
            let number = nodes.lines;
            let line = Line {
                number,
                client: client(id, &member, self.identity.as_ref())?,
                member,
                say: Some(say.clone()),
            };
            let welcome = v1::Welcome {
                members: Vec::new(),
                load_interval_ms: core.load_interval().as_millis() as u32,
                head_id: self.id.to_string(),
                departed_node_ids: core.latest_departed().map(|id| id.to_string()).collect(),
                ticket_key: self.ticket_key.clone(),
                revoked_node_ids: match &self.identity {
                    Some(_) => core.nodes_left().map(|id| id.to_string()).collect(),
                    None => Vec::new(),
                },
            };
            nodes.alive.insert(id, line);
            for known in std::mem::take(&mut join.peers) {
                let Ok(info) = node_info(&known) else { continue };
                if core.check_join(info.id).is_ok()
                    && !core.is_alive(info.id)
                    && let Ok(client) = client(info.id, &known, self.identity.as_ref())
                {
                    nodes.alive.insert(info.id, Line { number: 0, member: known, client, say: None });
                    core.node_is_known(now, info, fx);
                }
            }
            let others = nodes.alive.iter().filter(|(other, _)| **other != id);
            let members = others.map(|(_, line)| line.member.clone()).collect();
            drop(nodes);
            // Nobody reads the line before all of this is durable.
            let welcome = head_message::Message::Welcome(v1::Welcome { members, ..welcome });
            drop(say.unbounded_send(v1::HeadMessage { message: Some(welcome) }));
            core.node_joins(now, info, fx)?;
            core.welcome_waits(now, id, fx);
            Ok::<u64, Error>(number)
        })?;
        self.remember(id, join.names, join.jobs, is_back);
        tracing::info!(node = %id, "a node has joined");
        self.news.send_modify(|news| *news += 1);
        Ok((id, number, replies.map(Ok).boxed()))
    }

    /// A process is refused before it is looked at as a node.
    fn refused(&self, join: &v1::Join, error: &Error) {
        let id = join.node.as_ref().and_then(|node| node.node_id.parse().ok());
        self.event(|core, now, _| core.note_refusal(now, id, error));
    }

    /// What a node knows that a head knew which has started afresh. One that goes on, or has come back,
    /// knows it already, but for what became of its jobs.
    fn remember(&self, node: NodeId, names: Vec<v1::ClaimName>, jobs: Vec<v1::KnownJob>, is_back: bool) {
        for name in names {
            if let Err(error) = self.claim(node, &name) {
                tracing::warn!(%node, name = name.name, %error, "an actor has lost its name");
            }
        }
        for job in jobs {
            if let Err(error) = self.remember_job(node, job, is_back) {
                tracing::warn!(%node, %error, "a node tells of a job that cannot be understood");
            }
        }
    }

    fn line_broke(&self, id: NodeId, number: u64) {
        let mut nodes = self.nodes.lock();
        let Some(line) = nodes.alive.get_mut(&id).filter(|line| line.number == number) else { return };
        line.say = None;
        drop(nodes);
        tracing::debug!(node = %id, "the line of a node broke");
        self.event(|core, now, fx| core.connection_broke(now, id, fx));
    }

    /// A node has told something of its placement groups. What an old line still brings was said before
    /// the new line's report, and must not be taken for later.
    fn group_message(&self, from: NodeId, number: u64, message: GroupMessage) {
        self.event(|core, now, fx| {
            if self.nodes.lock().alive.get(&from).is_some_and(|line| line.number == number) {
                core.group_message(now, from, message, fx);
            }
        });
    }

    /// A node has told what it uses and wants of quotas. What an old line still brings is not taken for later.
    fn ledger_report(&self, from: NodeId, number: u64, report: &LedgerReport) {
        self.event(|core, now, fx| {
            if self.nodes.lock().alive.get(&from).is_some_and(|line| line.number == number) {
                core.ledger_report(now, from, report, fx);
            }
        });
    }

    /// Says something to a node, once all that it may follow from is durable.
    pub(super) fn say(&self, to: NodeId, message: head_message::Message) {
        let line = self.nodes.lock().alive.get(&to).and_then(|line| line.say.clone());
        if let Some(line) = line {
            self.memory.say(self.memory.latest(), line, Some(message));
        }
    }
}

pub(super) fn client(
    id: NodeId,
    member: &v1::Member,
    identity: Option<&Identity>,
) -> Result<NodeClient, Error> {
    let address = member.address.parse().map_err(|_| {
        Error::invalid_argument(format!("Member.address is no address: {:?}", member.address))
    })?;
    Ok(NodeClient::new(id, address, identity.cloned()))
}
