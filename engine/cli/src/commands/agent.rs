//! `engine agent`: a node of a cluster.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use engine_agent::{ClusterOptions, Membership, Node, NodeKey, Options};
use engine_core::ErrorCode;
use engine_core::resources::bytes;
use engine_net::{Backend, Gate, Security, Server, Services, TcpSocket};
use engine_tls::{Callers, Identity, JoinToken};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use crate::commands::drain::DEADLINE_SECONDS_MAX;
use crate::commands::node_args::NodeArgs;
use crate::commands::up::signals;
use crate::embedded;
use crate::failure::Failure;
use crate::interrupt::Interrupts;

const EXAMPLES: &str = "\
Examples:
  engine agent --head 127.0.0.1:7420
  engine agent --head 127.0.0.1:7420 --cpus 4 --memory 8GiB --labels zone=a
  engine agent --head 127.0.0.1:7420 --drain-deadline 600    … give what runs ten minutes when it stops
  engine agent --head 192.0.2.1:7420 --join-token ejt1-…    a head on another machine, as it has printed

With a join token everything goes by TLS: the node makes a key of its own and gets a certificate of the
head's authority, which the token names by its fingerprint. The token can stand in $ENGINE_JOIN_TOKEN, where
other users of the machine do not see it. Nothing of it is kept on disk, and the certificate is renewed by
itself. The node then listens on its address on the way to the head, unless --listen names another.

It waits until the head is there, and comes back to it when the head was away. Ctrl-C or SIGTERM has it
leave in order, as `engine drain` does: it takes nothing new, tasks that run may end, actors and objects
go to other nodes, and at the deadline what still runs is ended and runs elsewhere, as far as it may be
run again. Once more stops it at once.";

/// Run a node of a cluster, in the foreground
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AgentArgs {
    /// Where the head listens
    #[arg(long, value_name = "ADDRESS:PORT")]
    head: SocketAddr,
    /// What a head with TLS lets the node in for; `engine head` prints it
    #[arg(long, value_name = "TOKEN", env = "ENGINE_JOIN_TOKEN", hide_env_values = true)]
    join_token: Option<String>,
    /// Where other nodes reach this one; port 0 takes a free one. Default: this machine alone, and with
    /// a join token the address on the way to the head
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// How long what runs may take when it is told to stop, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 25, value_parser = clap::value_parser!(u64).range(..=DEADLINE_SECONDS_MAX))]
    drain_deadline: u64,
    #[command(flatten)]
    node: NodeArgs,
    /// End when the standard input does, and say little: for whoever starts nodes
    #[arg(long, hide = true)]
    child: bool,
}

/// How long the head has to let the node go, once its deadline has passed.
const LET_GO_MAX: Duration = Duration::from_secs(5);
/// A node on which nothing is left, and whose head is away for so long, ends.
const UNHEARD_MAX: Duration = Duration::from_secs(2);
const UNHEARD_LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Why a node ends.
enum End {
    Stopped,
    /// It was drained.
    Left,
    Refused(engine_core::Error),
}

/// How a node is run.
struct Agent {
    head: SocketAddr,
    token: Option<JoinToken>,
    listen: Option<SocketAddr>,
    drain_deadline: Duration,
    child: bool,
    /// What it showed as the node that it was before.
    before: Option<Identity>,
}

pub(crate) async fn run(args: AgentArgs) -> Result<(), Failure> {
    let mut interrupts = signals()?;
    let AgentArgs { head, join_token, listen, drain_deadline, node, child } = args;
    // Not by clap, which would show the text of a token that is wrong.
    let token = join_token.filter(|text| !text.is_empty()).map(|text| text.parse::<JoinToken>());
    let token = token.transpose().map_err(|error| Failure::Usage(format!("--join-token: {error}")))?;
    if let Some(listen) = listen.filter(|listen| listen.ip().is_unspecified()) {
        return Err(Failure::Usage(format!(
            "--listen {listen} is no address that other nodes could reach this one at: name an address of this machine, \
             or leave it away"
        )));
    }
    let options = node.options();
    let drain_deadline = Duration::from_secs(drain_deadline);
    let mut agent = Agent { head, token, listen, drain_deadline, child, before: None };
    loop {
        match agent.serve(&options, &mut interrupts).await? {
            End::Stopped | End::Left => return Ok(()),
            // What it was is dead; with a new id it is welcome.
            End::Refused(error) if error.code() == ErrorCode::NodeDied => {
                eprintln!("{}: starting afresh", error.message());
            }
            End::Refused(error) => return Err(Failure::Client(error.into())),
        }
    }
}

impl Agent {
    /// The node's certificate, and where it listens; none: it was stopped meanwhile.
    async fn enroll(
        &mut self,
        key: NodeKey,
        interrupts: &mut Interrupts,
    ) -> Result<Option<(SocketAddr, Option<Identity>)>, Failure> {
        let Some(token) = &self.token else {
            let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
            return Ok(Some((self.listen.unwrap_or(here), None)));
        };
        let (head, child) = (self.head, self.child);
        let waits = |why: &str| self.say(format_args!("waiting for the head at {head}: {why}"));
        let enrolled = tokio::select! {
            enrolled = engine_agent::enroll(head, token, self.before.as_ref(), key.node_id(), waits) => enrolled,
            () = interrupts.next() => return Ok(None),
            () = parent_gone(child) => return Ok(None),
        };
        let enrolled = enrolled.map_err(|error| Failure::Client(error.into()))?;
        self.before = Some(enrolled.identity.clone());
        let here = SocketAddr::new(enrolled.own_address.ip(), 0);
        Ok(Some((self.listen.unwrap_or(here), Some(enrolled.identity))))
    }

    /// Runs one incarnation of the node.
    async fn serve(&mut self, options: &Options, interrupts: &mut Interrupts) -> Result<End, Failure> {
        let key = NodeKey::new().map_err(|error| Failure::Client(error.into()))?;
        let Some((listen, identity)) = self.enroll(key, interrupts).await? else { return Ok(End::Stopped) };
        let security = identity.clone().map(|identity| Security { identity, callers: Callers::Joining });
        let socket =
            TcpSocket::bind(listen, security).await.map_err(|error| Failure::Usage(error.to_string()))?;
        let address = socket.address();
        let bulk_address = SocketAddr::new(address.ip(), 0);
        let mut options = options.clone();
        options.cluster = Some(ClusterOptions { head: self.head, address, bulk_address, key, identity });
        let has = format!("{} CPUs and {} for guests", options.cpus, bytes(options.memory_bytes));
        let node = embedded::start(options).await?;
        let gate = node.gate().unwrap_or_else(|| Arc::new(Gate::for_tickets()));
        let services = Services::new(node.backend(), gate).peer(node.peer());
        let mut end = End::Stopped;
        let until = async {
            self.say(format_args!(
                "joining the cluster of the head at {}, listening on {address}",
                self.head
            ));
            let is_told = tokio::select! {
                () = interrupts.next() => true,
                () = parent_gone(self.child) => false,
                reached = self.is_no_member(&node, &has) => {
                    end = reached;
                    false
                }
            };
            if is_told {
                end = self.leave(&node, interrupts).await;
            }
        };
        let served = Server::new().tcp(socket).run(services, until).await;
        match end {
            End::Left => eprintln!("{} has left the cluster", node.backend().node_id()),
            _ => self.say("stopping; once more to leave at once"),
        }
        let is_lost = matches!(end, End::Refused(_)) && node.is_draining();
        tokio::select! {
            () = node.shutdown() => {}
            () = interrupts.next() => return Err(Failure::Abandoned),
        }
        served.map_err(|error| Failure::Other(error.to_string()))?;
        match end {
            // It is not to come back with a new id.
            End::Refused(error) if is_lost => {
                Err(Failure::Other(format!("it was declared dead before it had left: {}", error.message())))
            }
            end => Ok(end),
        }
    }

    /// Has the node leave in order, as long as that may take; how it ends.
    async fn leave(&self, node: &Node, interrupts: &mut Interrupts) -> End {
        let is_member = node.membership().is_some_and(|now| matches!(*now.borrow(), Membership::Member));
        if !is_member {
            return End::Stopped;
        }
        let seconds = self.drain_deadline.as_secs();
        self.say(format_args!(
            "leaving: what runs here may end within {seconds} s (--drain-deadline); once more to stop at once"
        ));
        node.leave(self.drain_deadline);
        tokio::select! {
            () = interrupts.next() => End::Stopped,
            () = parent_gone(self.child) => End::Stopped,
            end = self.is_no_member(node, "") => end,
            () = is_unheard(node) => {
                self.say("the head is away, and nothing is left here");
                End::Stopped
            }
            () = tokio::time::sleep(self.drain_deadline + LET_GO_MAX) => {
                self.say("the head has not let it go in time");
                End::Stopped
            }
        }
    }

    /// Says how the node stands with its cluster, and resolves when it is not a member any more.
    async fn is_no_member(&self, node: &Node, has: &str) -> End {
        let Some(mut membership) = node.membership() else { return std::future::pending().await };
        let mut was_member = has.is_empty();
        loop {
            let now = membership.borrow_and_update().clone();
            match now {
                Membership::Refused(error) => return End::Refused(error),
                Membership::Left => return End::Left,
                Membership::Member if !std::mem::replace(&mut was_member, true) => {
                    self.say(format_args!("{} has joined the cluster: {has}", node.backend().node_id()));
                    self.say("stop it with Ctrl-C");
                }
                Membership::Member | Membership::Joining => {}
            }
            if changed(&mut membership).await.is_none() {
                return std::future::pending().await;
            }
        }
    }

    fn say(&self, what: impl std::fmt::Display) {
        if !self.child {
            eprintln!("{what}");
        }
    }
}

/// Resolves when nothing is left on the node, and its head has been away for a while.
async fn is_unheard(node: &Node) {
    let mut since = None;
    loop {
        since = node.is_unheard().then(|| since.unwrap_or_else(Instant::now));
        if since.is_some_and(|since| since.elapsed() >= UNHEARD_MAX) {
            return;
        }
        tokio::time::sleep(UNHEARD_LOOK_INTERVAL).await;
    }
}

async fn changed(membership: &mut watch::Receiver<Membership>) -> Option<()> {
    membership.changed().await.ok()
}

/// Resolves when whoever started this node is gone.
async fn parent_gone(child: bool) {
    if !child {
        return std::future::pending().await;
    }
    let mut input = tokio::io::stdin();
    let mut buffer = [0; 64];
    while matches!(input.read(&mut buffer).await, Ok(count) if count > 0) {}
}
