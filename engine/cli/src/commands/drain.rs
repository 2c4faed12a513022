//! `engine drain`: has a node leave its cluster in order.

use std::time::{Duration, Instant};

use clap::Args;
use engine_client::messages::{DrainResponse, NodeDrain, NodeState};
use engine_client::{Client, ErrorCode};
use engine_core::resources::bytes;
use engine_proto::convert::std_duration;
use serde_json::json;

use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::output::time::short;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  engine drain node-0123456789abcdef01234567
  engine drain node-0123456789abcdef01234567 --deadline 300
  engine drain node-0123456789abcdef01234567 --no-wait        … and look: engine list nodes
  engine list nodes --filter state=DRAINING
  engine drain node-0123456789abcdef01234567 --revoke         … also when it is dead

The node takes nothing new. What waits there goes to other nodes; tasks that run may end; actors that may
be restarted are made anew elsewhere when no call is inside, which counts against their max_restarts;
objects that it keeps for others are copied; bundles of placement groups are placed elsewhere. Then its
process ends, and it is listed as LEFT. Of a cluster with TLS its certificate is good no more from then on.

What only the node itself owns cannot move, and is waited for: jobs whose root tasks run there, actors
that its tasks have created or that may not be restarted, objects that its tasks have put and others
hold. At the deadline tasks of others are ended and run again elsewhere, which costs none of their
max_retries (a task with max_retries = 0 fails); the rest ends as if the node had died. Said again, the
shorter deadline counts. Ctrl-C ends this command only; the drain goes on, across restarts of the head
too.";

/// Longest deadline of a drain: a year.
pub(crate) const DEADLINE_SECONDS_MAX: u64 = 366 * 24 * 3600;

/// Between two looks at how far the node is.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Between two lines that say so.
const LINE_INTERVAL: Duration = Duration::from_secs(2);
/// How long a head may be away, or know nothing of the node yet, meanwhile.
const HEAD_AWAY_MAX: Duration = Duration::from_secs(60);

/// Have a node leave the cluster in order, and wait until it has
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Drain {
    /// The node's id
    node: String,
    /// When what still runs there is ended, in seconds from now; default: it may take as long as it does
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=DEADLINE_SECONDS_MAX))]
    deadline: Option<u64>,
    /// Also one that is dead, which may have been frozen or cut off: it does not come back by the certificate that
    /// it has
    #[arg(long)]
    revoke: bool,
    /// Do not wait until it has left
    #[arg(long)]
    no_wait: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Drain, target: Target) -> Result<(), Failure> {
    let client = connect::running(target).await?;
    let deadline = args.deadline.map(Duration::from_secs);
    let first = match args.revoke {
        true => client.drain_or_revoke(&args.node, deadline).await?,
        false => client.drain(&args.node, deadline).await?,
    };
    if first.nodes_that_stay == 0 && first.state() == NodeState::Draining {
        eprintln!("warning: no other node takes work: until one joins, new work waits");
    }
    let last = match args.no_wait {
        true => first,
        false => tokio::select! {
            last = wait(&client, &args, first) => last?,
            _ = tokio::signal::ctrl_c() => {
                eprintln!("{} goes on draining; see: engine list nodes", args.node);
                return Err(Failure::Interrupted);
            }
        },
    };
    match args.format {
        Format::Table => output::print(&format!("{} {}\n", args.node, said(&last))),
        Format::Json => output::print_json(&described(&args.node, &last)),
    }?;
    match last.state() {
        NodeState::Dead => Err(Failure::Other(format!(
            "{} died before it had left: what ran there runs elsewhere, as far as it may be run again",
            args.node
        ))),
        _ => Ok(()),
    }
}

/// Waits until the node has left, and says meanwhile what is left on it.
async fn wait(client: &Client, args: &Drain, first: DrainResponse) -> Result<DrainResponse, Failure> {
    let (mut latest, mut heard) = (first, Instant::now());
    let (mut line, mut spoken) = (String::new(), None);
    while latest.state() == NodeState::Draining {
        let is_time = spoken.is_none_or(|at: Instant| at.elapsed() >= LINE_INTERVAL);
        if is_time
            && args.format == Format::Table
            && let Some(left) = &latest.left
        {
            let now = rest(left);
            if now != line {
                eprintln!("{} drains: {now}", args.node);
                (line, spoken) = (now, Some(Instant::now()));
            }
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
        match client.drain(&args.node, None).await {
            Ok(response) => (latest, heard) = (response, Instant::now()),
            // A head that is started again goes on with it, once the node is back there.
            Err(error)
                if (error.is_unreachable() || error.code() == Some(ErrorCode::NotFound))
                    && heard.elapsed() < HEAD_AWAY_MAX => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(latest)
}

/// What is left on a node, for people.
fn rest(left: &NodeDrain) -> String {
    let counts = [
        (left.jobs, "job", "jobs"),
        (left.tasks, "task", "tasks"),
        (left.actors, "actor", "actors"),
        (left.objects, "object", "objects"),
    ];
    let mut parts: Vec<String> = counts
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many }))
        .collect();
    if left.object_bytes > 0 {
        parts.push(bytes(left.object_bytes));
    }
    let what = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
    match left.time_left.as_ref().and_then(std_duration) {
        Some(span) => format!("{what} left, {} until it is ended", short(span)),
        None => format!("{what} left"),
    }
}

fn said(last: &DrainResponse) -> String {
    match (last.state(), &last.left) {
        (NodeState::Left, _) => "has left".to_owned(),
        (NodeState::Draining, Some(left)) => format!("drains: {}", rest(left)),
        (NodeState::Draining, None) => "drains".to_owned(),
        _ => "is dead".to_owned(),
    }
}

fn described(node: &str, last: &DrainResponse) -> serde_json::Value {
    json!({
        "node_id": node,
        "state": last.state().name(),
        "left": last.left.as_ref().map(output::json::node_drain),
        "nodes_that_stay": last.nodes_that_stay,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_said_in_numbers() {
        let seconds = |seconds| engine_proto::prost_types::Duration { seconds, nanos: 0 };
        let left = NodeDrain {
            tasks: 2,
            actors: 1,
            objects: 3,
            object_bytes: 5 << 20,
            time_left: Some(seconds(90)),
            ..NodeDrain::default()
        };
        assert_eq!(rest(&left), "2 tasks, 1 actor, 3 objects, 5 MiB left, 1m 30s until it is ended");
        assert_eq!(rest(&NodeDrain::default()), "nothing left");
        let gone = DrainResponse { state: NodeState::Left.into(), ..DrainResponse::default() };
        assert_eq!(said(&gone), "has left");
        assert_eq!(described("node-1", &gone)["state"], "LEFT");
    }
}
