//! The line to the head: membership, what the others have free, and answers.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use engine_core::resources::Resources;
use engine_core::{ErrorCode, NodeId};
use engine_net::Replies;
use engine_net::cluster::NotConnected;
use engine_proto::convert::peer;
use engine_proto::v1::{self, head_message};
use futures::StreamExt;
use tokio::time::MissedTickBehavior;

use crate::cluster::{Membership, Network};
use crate::driver::Driver;

/// Between two looks for a head that is away.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// A node whose resources do not change says so at every so many of its turns.
const TURNS_PER_SIGN_OF_LIFE: u32 = 5;

/// Keeps the line as long as the node is one of the cluster.
pub(crate) async fn run(driver: Weak<Driver>, network: Arc<Network>) {
    loop {
        let messages = match driver.upgrade() {
            Some(driver) => network.requests.open(network.join(&driver)),
            None => return,
        };
        let end = match network.head.connect(messages).await {
            Ok(replies) => hold(&driver, &network, replies).await,
            Err(refused) => Err(refused),
        };
        network.requests.close();
        match end {
            Ok(()) => tracing::debug!("the line to the head broke"),
            Err(NotConnected::Unreached(why)) => tracing::debug!(why, "the head was not reached"),
            Err(NotConnected::Refused(error)) => {
                network.membership.send_replace(Membership::Refused(error));
                return;
            }
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

/// Serves a line until it breaks. An error: the head does not want this node any more.
async fn hold(
    driver: &Weak<Driver>,
    network: &Arc<Network>,
    mut replies: Replies<v1::HeadMessage>,
) -> Result<(), NotConnected> {
    let mut turns = tokio::time::interval(Duration::from_millis(100));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said: Option<Resources> = None;
    let mut silent = 0;
    loop {
        tokio::select! {
            reply = replies.next() => {
                let Some(driver) = driver.upgrade() else { return Ok(()) };
                match reply {
                    Some(Ok(message)) => heard(&driver, network, message, &mut turns)?,
                    Some(Err(error)) if error.code() == ErrorCode::NodeDied => return Ok(()),
                    Some(Err(error)) => return Err(NotConnected::Refused(error)),
                    None => return Ok(()),
                }
            }
            _ = turns.tick() => {
                let Some(driver) = driver.upgrade() else { return Ok(()) };
                let free = driver.read(|node| node.ledger().1.clone());
                silent += 1;
                if said.as_ref() != Some(&free) || silent >= TURNS_PER_SIGN_OF_LIFE {
                    let load = driver.event(|node, _, _| node.load());
                    network.requests.say_load(peer::load(&load));
                    (said, silent) = (Some(free), 0);
                }
            }
        }
    }
}

fn heard(
    driver: &Arc<Driver>,
    network: &Network,
    message: v1::HeadMessage,
    turns: &mut tokio::time::Interval,
) -> Result<(), NotConnected> {
    let nonsense = |error: engine_core::Error| {
        tracing::error!(%error, "the head says what this node does not understand");
    };
    match message.message {
        Some(head_message::Message::Welcome(welcome)) => {
            let interval = Duration::from_millis(u64::from(welcome.load_interval_ms.clamp(10, 1_000)));
            *turns = tokio::time::interval(interval);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            welcomed(driver, network, welcome.members);
        }
        Some(head_message::Message::Joined(member)) => {
            network.add(driver, member).unwrap_or_else(nonsense);
        }
        Some(head_message::Message::Dead(dead)) => match dead.node_id.parse::<NodeId>() {
            Ok(id) => {
                tracing::info!(node = %id, reason = dead.reason, "a node is dead");
                network.remove(driver, id);
            }
            Err(error) => nonsense(engine_core::Error::invalid_argument(error.to_string())),
        },
        Some(head_message::Message::Loads(loads)) => {
            for load in loads.loads {
                let said = load.node_id.parse::<NodeId>().ok().zip(load.load.as_ref().map(peer::load_from));
                match said {
                    Some((id, Ok(load))) => driver.event(|node, now, fx| node.node_load(now, id, load, fx)),
                    Some((_, Err(error))) => nonsense(error),
                    None => nonsense(engine_core::Error::invalid_argument("NodeLoad says nothing")),
                }
            }
        }
        Some(head_message::Message::Reply(reply)) => network.requests.answered(reply),
        None => {}
    }
    Ok(())
}

/// The node is a member: whom it knew and the head does not is dead.
fn welcomed(driver: &Arc<Driver>, network: &Network, members: Vec<v1::Member>) {
    let alive: HashSet<&str> = members.iter().map(|member| member.node_id.as_str()).collect();
    let known: Vec<NodeId> = driver.read(|node| node.members().into_iter().map(|(info, _)| info.id).collect());
    for id in known {
        if !alive.contains(id.to_string().as_str()) {
            network.remove(driver, id);
        }
    }
    for member in members {
        if let Err(error) = network.add(driver, member) {
            tracing::error!(%error, "the head tells of a node that cannot be understood");
        }
    }
    network.membership.send_replace(Membership::Member);
}
