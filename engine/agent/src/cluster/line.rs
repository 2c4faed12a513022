//! The line to the head: membership, what the others have free, and answers.
//!
//! It is kept on a thread of its own, which never waits for the core: a node that is busy with a long
//! event still gives its signs of life.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use engine_core::ids::ParseIdError;
use engine_core::node::Load;
use engine_core::quota::LedgerReport;
use engine_core::{Error, ErrorCode, NodeId};
use engine_net::Replies;
use engine_net::cluster::{HeadLink, NotConnected};
use engine_proto::convert::{peer, std_duration};
use engine_proto::v1::{self, head_message};
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};

use crate::background::{self, Kind};
use crate::cluster::{Membership, Network, say_that_it_drains};
use crate::driver::Driver;

/// Between two looks for a head that is away.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// How often the node looks what it has free, until the head says.
const TURN: Duration = Duration::from_millis(100);
/// A node whose resources do not change says so at every so many of its turns.
const TURNS_PER_SIGN_OF_LIFE: u32 = 5;
/// A node whose core does not answer for so many turns gives no sign of life any more.
const BUSY_TURNS_MAX: u32 = 600;

/// What is heard of the head.
enum Heard {
    Said(Box<v1::HeadMessage>),
    /// The line to it broke.
    Broke,
}

/// A line, and what is done with what comes on it. Ends when it is dropped.
pub(crate) struct HeadLine {
    _line: oneshot::Sender<()>,
    messages: JoinHandle<()>,
}

impl HeadLine {
    /// Keeps a line as long as the node is one of the cluster.
    pub(crate) fn start(driver: &Arc<Driver>, network: &Arc<Network>) -> Result<Self, Error> {
        let (hear, messages) = unbounded();
        let line = run(Arc::downgrade(driver), network.clone(), hear);
        let _line = background::on_thread(Kind::HeadLine, line)?;
        let doing = do_what_is_said(Arc::downgrade(driver), network.clone(), messages);
        Ok(Self { _line, messages: background::spawn(Kind::HeadMessages, doing) })
    }
}

impl Drop for HeadLine {
    fn drop(&mut self) {
        self.messages.abort();
    }
}

async fn run(driver: Weak<Driver>, network: Arc<Network>, hear: UnboundedSender<Heard>) {
    // Of this thread's own: the connection's work is done here too.
    let head = HeadLink::new(network.options.head, network.options.identity.clone());
    let mut not_reached = String::new();
    loop {
        let messages = match driver.upgrade() {
            Some(driver) => network.requests.open(network.join(&driver)),
            None => return,
        };
        let end = match head.connect(messages).await {
            Ok(replies) => hold(&driver, &network, replies, &hear).await,
            Err(refused) => Err(refused),
        };
        network.requests.close();
        drop(hear.unbounded_send(Heard::Broke));
        match end {
            Ok(()) => tracing::debug!("the line to the head broke"),
            Err(NotConnected::Unreached(why)) if why != not_reached => {
                tracing::info!(why, "the head was not reached");
                not_reached = why;
            }
            Err(NotConnected::Unreached(_)) => {}
            Err(NotConnected::Refused(error)) => {
                network.membership.send_replace(network.unwanted(error));
                return;
            }
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

/// What a node has said of itself on a line.
#[derive(Default)]
struct Said {
    load: Option<Load>,
    silent_turns: u32,
    busy_turns: u32,
}

/// Serves a line until it breaks. An error: the head does not want this node any more.
async fn hold(
    driver: &Weak<Driver>,
    network: &Network,
    mut replies: Replies<v1::HeadMessage>,
    hear: &UnboundedSender<Heard>,
) -> Result<(), NotConnected> {
    let mut turns = every(TURN);
    let mut said = Said::default();
    loop {
        tokio::select! {
            reply = replies.next() => match reply {
                Some(Ok(message)) => {
                    if let Some(head_message::Message::Welcome(welcome)) = &message.message {
                        turns = every(Duration::from_millis(u64::from(welcome.load_interval_ms.clamp(10, 1_000))));
                    }
                    // Whoever hears is gone with the node.
                    drop(hear.unbounded_send(Heard::Said(Box::new(message))));
                }
                Some(Err(error)) if error.code() == ErrorCode::NodeDied => return Ok(()),
                Some(Err(error)) => return Err(NotConnected::Refused(error)),
                None => return Ok(()),
            },
            _ = turns.tick() => {
                let Some(driver) = driver.upgrade() else { return Ok(()) };
                if network.requests.takes_ledger()
                    && let Some(usage) = driver.usage_to_tell()
                {
                    let report = LedgerReport { is_whole: false, leases: Vec::new(), usage };
                    network.requests.tell_ledger(&report);
                }
                let (load, still) = driver.try_look().unzip();
                if let Some(load) = said.next(load) {
                    network.requests.say_load(peer::load(&load));
                    if let Some(still) = still.flatten() {
                        network.requests.say_standstill(still);
                    }
                }
            }
        }
    }
}

fn every(interval: Duration) -> Interval {
    let mut turns = tokio::time::interval(interval);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns
}

impl Said {
    /// What is to be said at this turn: what is free when that has changed, and every so often in any
    /// case; while the core is busy, what was said last.
    fn next(&mut self, load: Option<Load>) -> Option<Load> {
        self.silent_turns += 1;
        self.busy_turns = if load.is_some() { 0 } else { self.busy_turns + 1 };
        let free = |load: &Option<Load>| load.as_ref().map(|load| load.free.clone());
        let is_news = load.is_some() && free(&load) != free(&self.load);
        let is_time = self.silent_turns >= TURNS_PER_SIGN_OF_LIFE && self.busy_turns <= BUSY_TURNS_MAX;
        if !is_news && !is_time {
            return None;
        }
        self.silent_turns = 0;
        self.load = load.or(self.load.take());
        self.load.clone()
    }
}

async fn do_what_is_said(
    driver: Weak<Driver>,
    network: Arc<Network>,
    mut messages: UnboundedReceiver<Heard>,
) {
    while let Some(message) = messages.next().await {
        let Some(driver) = driver.upgrade() else { return };
        match message {
            Heard::Said(message) => heard(&driver, &network, *message),
            Heard::Broke => driver.event(|node, _, _| node.head_is_away()),
        }
    }
}

fn heard(driver: &Arc<Driver>, network: &Network, message: v1::HeadMessage) {
    let nonsense = |error: Error| {
        tracing::error!(%error, "the head says what this node does not understand");
    };
    match message.message {
        Some(head_message::Message::Welcome(welcome)) => {
            network.gate.learn(&welcome.ticket_key);
            *network.welcomed_by.lock() = welcome.head_id;
            welcome
                .revoked_node_ids
                .iter()
                .filter_map(|id| node_id(id).ok())
                .for_each(|id| network.revoke(id));
            welcomed(driver, network, welcome.members, &welcome.departed_node_ids);
            driver.event(|node, now, fx| {
                node.head_line_anew();
                node.head_is_back(now, fx);
            });
            // A head without its memory has forgotten it.
            say_that_it_drains(driver);
        }
        Some(head_message::Message::Joined(joined)) => {
            for member in joined.members {
                network.add(driver, member).unwrap_or_else(nonsense);
            }
        }
        Some(head_message::Message::Dead(dead)) => match node_id(&dead.node_id) {
            Ok(id) => {
                tracing::info!(node = %id, reason = dead.reason, "a node is dead");
                if dead.is_revoked {
                    network.revoke(id);
                }
                network.remove(driver, id, false);
            }
            Err(error) => nonsense(error),
        },
        Some(head_message::Message::Left(left)) => match node_id(&left.node_id) {
            Ok(id) if id == network.node => {
                network.membership.send_replace(Membership::Left);
            }
            Ok(id) => {
                tracing::info!(node = %id, reason = left.reason, "a node has left");
                if left.is_revoked {
                    network.revoke(id);
                }
                network.remove(driver, id, true);
            }
            Err(error) => nonsense(error),
        },
        Some(head_message::Message::Draining(draining)) => match node_id(&draining.node_id) {
            Ok(id) => {
                let deadline = draining.deadline.as_ref().and_then(std_duration);
                driver.event(|node, now, fx| node.node_drains(now, id, deadline, fx));
            }
            Err(error) => nonsense(error),
        },
        Some(head_message::Message::Loads(loads)) => {
            for load in loads.loads {
                let said = load.node_id.parse::<NodeId>().ok().zip(load.load.as_ref().map(peer::load_from));
                match said {
                    Some((id, Ok(load))) => driver.event(|node, now, fx| node.node_load(now, id, load, fx)),
                    Some((_, Err(error))) => nonsense(error),
                    None => nonsense(Error::invalid_argument("NodeLoad says nothing")),
                }
            }
        }
        Some(head_message::Message::Reply(reply)) => network.requests.answered(reply),
        Some(head_message::Message::Group(notice)) => match peer::group_notice_from(notice) {
            Ok(notice) => driver.event(|node, now, fx| node.group_notice(now, notice, fx)),
            Err(error) => nonsense(error),
        },
        Some(head_message::Message::Tenant(news)) => match engine_proto::convert::tenant_news_from(news) {
            Ok(news) => driver.tenant_news(news),
            Err(error) => nonsense(error),
        },
        Some(head_message::Message::BreakDeadlock(still)) => {
            driver.event(|node, now, fx| node.break_standstill(now, still.changes, fx));
        }
        Some(head_message::Message::EndRun(run)) => match run.run_id.parse() {
            Ok(run) => driver.event(|node, now, fx| node.end_run(now, run, fx)),
            Err(error) => nonsense(Error::invalid_argument(ParseIdError::to_string(&error))),
        },
        None => {}
    }
}

fn node_id(text: &str) -> Result<NodeId, Error> {
    text.parse().map_err(|error: ParseIdError| Error::invalid_argument(error.to_string()))
}

/// The node is a member: whom it knew and the head does not is dead.
fn welcomed(driver: &Arc<Driver>, network: &Network, members: Vec<v1::Member>, departed: &[String]) {
    for id in departed {
        match node_id(id) {
            Ok(id) => network.remove(driver, id, false),
            Err(error) => tracing::error!(%error, "the head tells of a node that cannot be understood"),
        }
    }
    let alive: HashSet<&str> = members.iter().map(|member| member.node_id.as_str()).collect();
    let known: Vec<NodeId> =
        driver.read(|node| node.members().into_iter().map(|(info, _)| info.id).collect());
    for id in known {
        if !alive.contains(id.to_string().as_str()) {
            network.remove(driver, id, false);
        }
    }
    for member in members {
        if let Err(error) = network.add(driver, member) {
            tracing::error!(%error, "the head tells of a node that cannot be understood");
        }
    }
    network.membership.send_replace(Membership::Member);
}

#[cfg(test)]
mod tests {
    use engine_core::resources::Resources;

    use super::*;

    #[test]
    fn a_node_says_what_has_changed_and_lives_on_while_it_is_busy() {
        let load = |memory, version| {
            let mut free = Resources::default();
            free.memory = memory;
            Load { free, version }
        };
        let mut said = Said::default();
        assert_eq!(said.next(Some(load(1, 1))), Some(load(1, 1)));
        for version in 2..=u64::from(TURNS_PER_SIGN_OF_LIFE) {
            assert_eq!(said.next(Some(load(1, version))), None, "nothing has changed");
        }
        assert_eq!(said.next(Some(load(1, 9))), Some(load(1, 9)), "a sign of life");
        assert_eq!(said.next(Some(load(2, 10))), Some(load(2, 10)));
        // An event is under way that takes long: what was said last is said again, and not for ever.
        let signs = (0..10_000).filter(|_| said.next(None) == Some(load(2, 10))).count() as u32;
        assert_eq!(signs, BUSY_TURNS_MAX / TURNS_PER_SIGN_OF_LIFE);
    }
}
