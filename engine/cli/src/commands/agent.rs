//! `engine agent`: a node of a cluster.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::Args;
use engine_agent::{ClusterOptions, Membership, Node, Options};
use engine_core::ErrorCode;
use engine_core::resources::bytes;
use engine_net::{Server, Services, TcpSocket};
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

It waits until the head is there, and comes back to it when the head was away. Ctrl-C or SIGTERM stops
it: what ran there runs elsewhere, as far as it may be run again.";

/// Run a node of a cluster, in the foreground
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AgentArgs {
    /// Where the head listens
    #[arg(long, value_name = "ADDRESS:PORT")]
    head: SocketAddr,
    /// Where other nodes reach this one: an address of this machine alone; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))]
    listen: SocketAddr,
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

pub(crate) async fn run(args: AgentArgs) -> Result<(), Failure> {
    let mut interrupts = signals()?;
    let AgentArgs { head, listen, node, child } = args;
    let options = node.options();
    loop {
        match serve(&options, head, listen, child, &mut interrupts).await? {
            End::Stopped => return Ok(()),
            // What it was is dead; with a new id it is welcome.
            End::Refused(error) if error.code() == ErrorCode::NodeDied => {
                eprintln!("{}: starting afresh", error.message());
            }
            End::Refused(error) => return Err(Failure::Client(error.into())),
        }
    }
}

/// Runs one incarnation of the node.
async fn serve(
    options: &Options,
    head: SocketAddr,
    listen: SocketAddr,
    child: bool,
    interrupts: &mut Interrupts,
) -> Result<End, Failure> {
    let socket = TcpSocket::bind(listen).await.map_err(|error| Failure::Usage(error.to_string()))?;
    let address = socket.address();
    let bulk_address = SocketAddr::new(address.ip(), 0);
    let mut options = options.clone();
    options.cluster = Some(ClusterOptions { head, address, bulk_address });
    let has = format!("{} CPUs and {} for guests", options.cpus, bytes(options.memory_bytes));
    let node = embedded::start(options).await?;
    let services = Services::new(node.backend()).peer(node.peer());
    let mut end = End::Stopped;
    let until = async {
        tokio::select! {
            () = interrupts.next() => {}
            () = parent_gone(child) => {}
            error = refused(&node, head, child, &has) => end = End::Refused(error),
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
async fn refused(node: &Node, head: SocketAddr, child: bool, has: &str) -> engine_core::Error {
    let Some(mut membership) = node.membership() else { return std::future::pending().await };
    if !child {
        eprintln!("joining the cluster of the head at {head}");
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
