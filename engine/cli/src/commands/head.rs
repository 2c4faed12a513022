//! `engine head`: the head of a cluster.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use engine_client::Address;
use engine_head::cluster::{ClusterBackend, ClusterHead, ClusterService, Options};
use engine_net::{Server, Services, TcpSocket};

use crate::commands::up::{address_or_default, bind, prefix, signals};
use crate::embedded;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  engine head
  engine head --listen 127.0.0.1:7420
  engine agent --head 127.0.0.1:7420        … a node that joins it, on the same machine

Clients are served on --address, else $ENGINE_ADDRESS, else $XDG_RUNTIME_DIR/engine/engine.sock, else
/tmp/engine-UID/engine.sock; nodes and clients on --listen. The head runs no guest itself. Ctrl-C or
SIGTERM stops it; its nodes go on, and come back to a head that listens there again.";

/// Run the head of a cluster, in the foreground
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HeadArgs {
    /// Where nodes join: an address of this machine alone
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7420")]
    listen: SocketAddr,
}

/// A head that is served.
pub(crate) struct RunningHead {
    pub(crate) head: Arc<ClusterHead>,
    /// Where nodes join.
    pub(crate) at: SocketAddr,
    server: Server,
}

impl RunningHead {
    /// Starts a head that listens there too.
    pub(crate) async fn start(server: Server, listen: SocketAddr) -> Result<Self, Failure> {
        let socket = TcpSocket::bind(listen).await.map_err(|error| Failure::Usage(error.to_string()))?;
        let at = socket.address();
        let options = Options { data_dir: embedded::data_dir(), ..Options::default() };
        let key = engine_agent::random_key().map_err(|error| Failure::Client(error.into()))?;
        let head = ClusterHead::start(key, &options);
        Ok(Self { head, at, server: server.tcp(socket) })
    }

    /// Serves it until `shutdown` resolves.
    pub(crate) async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), Failure> {
        let services = Services::new(Arc::new(ClusterBackend(self.head.clone())))
            .cluster(Arc::new(ClusterService(self.head.clone())));
        self.server.run(services, shutdown).await.map_err(|error| Failure::Other(error.to_string()))
    }
}

pub(crate) async fn run(args: HeadArgs, address: Option<Address>) -> Result<(), Failure> {
    let mut interrupts = signals()?;
    let (server, address) = bind(address_or_default(address)?).await?;
    let head = RunningHead::start(server, args.listen).await?;
    eprintln!("engine {} is running as the head of a cluster", env!("CARGO_PKG_VERSION"));
    eprintln!("nodes join with:    engine agent --head {}", head.at);
    eprintln!("give it work with:  {}engine submit MODULE.wasm", prefix(&address));
    eprintln!("stop it with Ctrl-C");
    eprintln!("listening on {address}");
    let served = head.serve(async { interrupts.next().await }).await;
    eprintln!("stopped");
    served
}
