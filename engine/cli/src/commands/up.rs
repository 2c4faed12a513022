//! `engine up`: keeps an engine running on this machine, of one node or of several.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;

use clap::Args;
use engine_access::Gate;
use engine_audit::AuditLog;
use engine_client::Address;
use engine_core::head::UsageLimits;
use engine_core::resources::bytes;
use engine_head::cluster::ClusterHead;
use engine_net::{Backend, Security, Server, Services, TcpSocket, UnixSocket};
use engine_oidc::Oidc;
use tokio::process::{Child, ChildStdin, Command};

use crate::commands::audit::AuditArgs;
use crate::commands::gate;
use crate::commands::head::RunningHead;
use crate::commands::node_args::NodeArgs;
use crate::commands::oidc::OidcArgs;
use crate::embedded;
use crate::failure::Failure;
use crate::interrupt::Interrupts;

const EXAMPLES: &str = "\
Examples:
  engine up
  engine up --cpus 4 --memory 8GiB --resources licence=2 --labels disk=ssd
  engine up --nodes 3                       a cluster of three processes, each with a third of the machine
  engine up --address 127.0.0.1:7420        a loopback port instead of a socket

It listens on --address, else $ENGINE_ADDRESS, else $XDG_RUNTIME_DIR/engine/engine.sock, else
/tmp/engine-UID/engine.sock; only this user and root may speak on a socket. Ctrl-C or SIGTERM stops it
and the jobs in it.

Whoever can connect may do everything, unless a token is shown, which says what (engine token create): it is good
until the engine stops. With --require-token everybody has to show one; the key is then kept below
$ENGINE_STATE_DIR, $XDG_STATE_HOME/engine or ~/.local/state/engine, with a token of the operator's, and the audit
log (engine audit); without, that is kept where --audit-log says.";

/// Keep an engine running on this machine, in the foreground
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Up {
    /// So many nodes, each a process of its own, and a head. Sizes are then those of each node;
    /// default: its share of this machine
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=NODES_MAX))]
    nodes: Option<u32>,
    /// Let nobody in without a token, on this machine neither; the operator's is written to a folder
    #[arg(long, conflicts_with = "nodes")]
    require_token: bool,
    #[command(flatten)]
    oidc: OidcArgs,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

/// Nodes of one `engine up`.
const NODES_MAX: i64 = 1_000;

/// The address that was given, or that of this user on this machine.
pub(crate) fn address_or_default(address: Option<Address>) -> Result<Address, Failure> {
    match address {
        Some(address) => Ok(address),
        None => Address::default_here().map_err(|error| Failure::Usage(format!("$ENGINE_ADDRESS: {error}"))),
    }
}

pub(crate) fn signals() -> Result<Interrupts, Failure> {
    Interrupts::new().map_err(|error| Failure::Other(format!("cannot wait for signals: {error}")))
}

pub(crate) async fn run(args: Up, address: Option<Address>) -> Result<(), Failure> {
    let interrupts = signals()?;
    let (server, address) = bind(address_or_default(address)?, None).await?;
    let folder = gate::folder_of_up(&address).filter(|_| args.require_token);
    let gate = gate::gate(folder.as_deref(), args.require_token, None)?;
    let audit = args.audit.open(folder.as_deref())?;
    let edge = Edge { gate, login: args.oidc.open()?, audit };
    match args.nodes {
        Some(nodes) => several(nodes, &args.node, edge, server, &address, interrupts).await,
        None => one(args.node, edge, server, &address, interrupts).await,
    }
}

/// What stands between clients and the engine.
struct Edge {
    gate: Arc<Gate>,
    login: Option<Arc<Oidc>>,
    audit: Option<Arc<AuditLog>>,
}

async fn one(
    args: NodeArgs,
    edge: Edge,
    server: Server,
    address: &Address,
    mut interrupts: Interrupts,
) -> Result<(), Failure> {
    let options = args.options();
    let has = format!("{} CPUs and {} for guests", options.cpus, bytes(options.memory_bytes));
    let node = embedded::start(options).await?;
    let backend = node.backend();
    eprintln!("engine {} is running: {} with {has}", env!("CARGO_PKG_VERSION"), backend.node_id());
    usage(address);
    let services = Services::new(backend, edge.gate).tokens(None, edge.login).audit(edge.audit);
    let served = server.run(services, async { interrupts.next().await }).await;
    eprintln!("stopping; once more to leave at once");
    tokio::select! {
        () = node.shutdown() => {}
        () = interrupts.next() => return Err(Failure::Abandoned),
    }
    eprintln!("stopped");
    served.map_err(|error| Failure::Other(error.to_string()))
}

fn usage(address: &Address) {
    eprintln!("listening on {address}");
    eprintln!("give it work with:  {}engine submit MODULE.wasm", prefix(address));
    eprintln!("stop it with Ctrl-C");
}

/// A head in this process, and nodes that are its children.
async fn several(
    count: u32,
    args: &NodeArgs,
    edge: Edge,
    server: Server,
    address: &Address,
    mut interrupts: Interrupts,
) -> Result<(), Failure> {
    let any_port = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let limits = UsageLimits::default();
    let running = RunningHead::start(server, edge.gate, any_port, None, None, limits).await?;
    let running = running.audited(edge.audit).with_logins(edge.login);
    let (head, at) = (running.head.clone(), running.at);
    let mut nodes = Nodes::start(count, args, at)?;
    let until = async {
        tokio::select! {
            () = head.wait_for_nodes(count as usize) => {
                eprintln!(
                    "engine {} is running: {count} nodes, and a head that others join at {at}",
                    env!("CARGO_PKG_VERSION")
                );
                usage(address);
                tokio::select! {
                    () = interrupts.next() => {}
                    () = none_left(&mut nodes, &head) => eprintln!("no node is left"),
                }
            }
            () = interrupts.next() => {}
            () = nodes.all_ended() => eprintln!("no node came up"),
        }
        eprintln!("stopping; once more to leave at once");
        // The head is there for its nodes until they have ended.
        tokio::select! {
            () = nodes.stop() => {}
            () = interrupts.next() => {}
        }
    };
    let served = running.serve(until).await;
    eprintln!("stopped");
    served
}

/// Resolves when no node is left, of this command's or of those that joined.
async fn none_left(nodes: &mut Nodes, head: &ClusterHead) {
    nodes.all_ended().await;
    head.wait_for_no_node().await;
}

/// The processes of nodes.
struct Nodes {
    children: Vec<Child>,
    /// Apart from them: whoever waits for a child's end closes what it still has of it.
    inputs: Vec<ChildStdin>,
}

impl Nodes {
    fn start(count: u32, args: &NodeArgs, head: SocketAddr) -> Result<Self, Failure> {
        let failed = |error| Failure::Other(format!("cannot start a node's process: {error}"));
        let program = std::env::current_exe().map_err(failed)?;
        let node = || {
            Command::new(&program)
                .args(["agent", "--child", "--head", &head.to_string()])
                .args(args.shared_out(count))
                // It ends when this end of the pipe is gone, whatever becomes of this process.
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .kill_on_drop(true)
                .spawn()
        };
        let mut children = (0..count).map(|_| node()).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let inputs = children.iter_mut().filter_map(|child| child.stdin.take()).collect();
        Ok(Self { children, inputs })
    }

    /// Resolves when none is left; says so of each that ends.
    async fn all_ended(&mut self) {
        while !self.children.is_empty() {
            let ends = self.children.iter_mut().map(|child| {
                Box::pin(async move {
                    let id = child.id();
                    (id, child.wait().await)
                })
            });
            let ((id, end), at, _) = futures::future::select_all(ends).await;
            let how = end.map_or_else(|error| error.to_string(), |status| status.to_string());
            eprintln!("the node of process {} has ended: {how}", id.unwrap_or_default());
            drop(self.children.remove(at));
        }
    }

    async fn stop(&mut self) {
        self.inputs.clear();
        for child in &mut self.children {
            if let Err(error) = child.wait().await {
                tracing::warn!(%error, "a node's process is lost");
            }
        }
    }
}

/// Listens there; with `security` by TLS, where it is no socket of this machine's alone.
pub(crate) async fn bind(address: Address, security: Option<Security>) -> Result<(Server, Address), Failure> {
    let refuse = |error: engine_net::BindError| Failure::Usage(error.to_string());
    match address {
        Address::Unix(path) => {
            let socket = UnixSocket::bind(&path).map_err(refuse)?;
            Ok((Server::new().unix(socket), Address::Unix(path)))
        }
        Address::Tcp(at) => {
            let has_tls = security.is_some();
            let socket = TcpSocket::bind(at, security).await.map_err(refuse)?;
            let at = socket.address();
            let address = if has_tls { Address::Tls { at, credentials: None } } else { Address::Tcp(at) };
            Ok((Server::new().tcp(socket), address))
        }
        Address::Tls { at, .. } => Err(Failure::Usage(format!(
            "--address https://{at}: `engine up` has no TLS, and `engine head` uses it by itself where it is needed; say \
             --address {at}"
        ))),
    }
}

/// What has to stand before a command so that it finds this engine; nothing when it looks here.
pub(crate) fn prefix(address: &Address) -> String {
    match Address::default_here() {
        Ok(default) if default == *address => String::new(),
        _ => format!("ENGINE_ADDRESS={address} "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_beyond_loopback_is_refused() {
        let Err(Failure::Usage(text)) = bind("0.0.0.0:7420".parse().unwrap(), None).await else {
            panic!("it was bound")
        };
        assert!(text.contains("loopback"), "{text}");
    }
}
