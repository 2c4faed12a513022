//! `engine agent`: a node of a cluster.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::Args;
use engine_agent::{ClusterOptions, Membership, Node, NodeKey, Options};
use engine_core::ErrorCode;
use engine_core::resources::bytes;
use engine_net::{Security, Server, Services, TcpSocket};
use engine_tls::{Callers, Identity, JoinToken};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use crate::commands::node_args::NodeArgs;
use crate::commands::up::signals;
use crate::embedded;
use crate::failure::Failure;
use crate::interrupt::Interrupts;

const EXAMPLES: &str = "\
Examples:
  engine agent --head 127.0.0.1:7420
  engine agent --head 127.0.0.1:7420 --cpus 4 --memory 8GiB --labels zone=a
  engine agent --head 192.0.2.1:7420 --join-token ejt1-…    a head on another machine, as it has printed

With a join token everything goes by TLS: the node makes a key of its own and gets a certificate of the
head's authority, which the token names by its fingerprint. The token can stand in $ENGINE_JOIN_TOKEN, where
other users of the machine do not see it. Nothing of it is kept on disk, and the certificate is renewed by
itself. The node then listens on its address on the way to the head, unless --listen names another.

It waits until the head is there, and comes back to it when the head was away. Ctrl-C or SIGTERM stops
it: what ran there runs elsewhere, as far as it may be run again.";

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
    #[command(flatten)]
    node: NodeArgs,
    /// End when the standard input does, and say little: for whoever starts nodes
    #[arg(long, hide = true)]
    child: bool,
}

/// Why a node ends.
enum End {
    Stopped,
    Refused(engine_core::Error),
}

/// How the node stands with its cluster before it starts.
struct Joining {
    head: SocketAddr,
    token: Option<JoinToken>,
    listen: Option<SocketAddr>,
    child: bool,
    /// What it showed as the node that it was before.
    before: Option<Identity>,
}

pub(crate) async fn run(args: AgentArgs) -> Result<(), Failure> {
    let mut interrupts = signals()?;
    let AgentArgs { head, join_token, listen, node, child } = args;
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
    let mut joining = Joining { head, token, listen, child, before: None };
    loop {
        match serve(&options, &mut joining, &mut interrupts).await? {
            End::Stopped => return Ok(()),
            // What it was is dead; with a new id it is welcome.
            End::Refused(error) if error.code() == ErrorCode::NodeDied => {
                eprintln!("{}: starting afresh", error.message());
            }
            End::Refused(error) => return Err(Failure::Client(error.into())),
        }
    }
}

impl Joining {
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
        let waits = |why: &str| {
            if !child {
                eprintln!("waiting for the head at {head}: {why}");
            }
        };
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
}

/// Runs one incarnation of the node.
async fn serve(
    options: &Options,
    joining: &mut Joining,
    interrupts: &mut Interrupts,
) -> Result<End, Failure> {
    let (head, child) = (joining.head, joining.child);
    let key = NodeKey::new().map_err(|error| Failure::Client(error.into()))?;
    let Some((listen, identity)) = joining.enroll(key, interrupts).await? else { return Ok(End::Stopped) };
    let security = identity.clone().map(|identity| Security { identity, callers: Callers::Proven });
    let socket =
        TcpSocket::bind(listen, security).await.map_err(|error| Failure::Usage(error.to_string()))?;
    let address = socket.address();
    let bulk_address = SocketAddr::new(address.ip(), 0);
    let mut options = options.clone();
    options.cluster = Some(ClusterOptions { head, address, bulk_address, key, identity });
    let has = format!("{} CPUs and {} for guests", options.cpus, bytes(options.memory_bytes));
    let node = embedded::start(options).await?;
    let services = Services::new(node.backend()).peer(node.peer());
    let mut end = End::Stopped;
    let until = async {
        tokio::select! {
            () = interrupts.next() => {}
            () = parent_gone(child) => {}
            error = refused(&node, [head, address], child, &has) => end = End::Refused(error),
        }
    };
    let served = Server::new().tcp(socket).run(services, until).await;
    if !child {
        eprintln!("stopping; once more to leave at once");
    }
    tokio::select! {
        () = node.shutdown() => {}
        () = interrupts.next() => return Err(Failure::Abandoned),
    }
    served.map_err(|error| Failure::Other(error.to_string()))?;
    Ok(end)
}

/// Says how the node stands with its cluster, and resolves when it is refused.
async fn refused(node: &Node, [head, own]: [SocketAddr; 2], child: bool, has: &str) -> engine_core::Error {
    let Some(mut membership) = node.membership() else { return std::future::pending().await };
    if !child {
        eprintln!("joining the cluster of the head at {head}, listening on {own}");
    }
    let mut was_member = false;
    loop {
        let now = membership.borrow_and_update().clone();
        match now {
            Membership::Refused(error) => return error,
            Membership::Member if !std::mem::replace(&mut was_member, true) && !child => {
                eprintln!("{} has joined the cluster: {has}", engine_net::Backend::node_id(&*node.backend()));
                eprintln!("stop it with Ctrl-C");
            }
            Membership::Member | Membership::Joining => {}
        }
        if changed(&mut membership).await.is_none() {
            return std::future::pending().await;
        }
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
