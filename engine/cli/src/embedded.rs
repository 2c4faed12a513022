//! An engine inside this process: the same node, served on a private socket, talked to by the same
//! client.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use clap::Args;
use engine_agent::{Node, Options};
use engine_client::Address;
use engine_net::{Server, Services, UnixSocket};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::parse::{Cpus, cpus, size};

/// What an engine of our own has.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "An engine for this job alone")]
pub(crate) struct EngineArgs {
    /// Run in an engine that lives as long as the job, even if one is running on this machine
    #[arg(long)]
    pub(crate) embedded: bool,
    /// The same, and it has so many CPUs; default: all of this machine's
    #[arg(long, value_name = "N", value_parser = cpus)]
    pub(crate) engine_cpus: Option<Cpus>,
    /// The same, and its guests may use so much memory; default: 70 % of this machine's
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) engine_memory: Option<u64>,
    /// The same, and its objects may use so much memory; default: 20 % of this machine's
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) engine_store_memory: Option<u64>,
    /// The same, and objects that memory has no room for go to this folder, or to s3://bucket/prefix;
    /// default: the user's cache
    #[arg(long, value_name = "DIR")]
    pub(crate) engine_spill_dir: Option<PathBuf>,
}

impl EngineArgs {
    /// Whether an engine of our own is asked for.
    pub(crate) fn is_wanted(&self) -> bool {
        self.embedded
            || self.engine_cpus.is_some()
            || self.engine_memory.is_some()
            || self.engine_store_memory.is_some()
            || self.engine_spill_dir.is_some()
    }

    fn options(&self) -> Options {
        let mut options = Options::detect();
        options.data_dir = data_dir();
        if let Some(cpus) = self.engine_cpus {
            options.cpus = cpus;
        }
        if let Some(memory) = self.engine_memory {
            options.memory_bytes = memory;
        }
        if let Some(memory) = self.engine_store_memory {
            options.store_bytes_max = memory;
        }
        options.spill_folder = spill_folder(self.engine_spill_dir.clone(), &options);
        options
    }
}

/// Where components and their machine code are kept between runs: in the user's cache. Without one
/// they are compiled anew each time.
pub(crate) fn data_dir() -> Option<PathBuf> {
    match engine_toolchain::cache_dir() {
        Ok(cache) => Some(cache.join("node")),
        Err(error) => {
            tracing::warn!(%error, "nothing is kept for the next run");
            None
        }
    }
}

/// Where is kept what must not be lost: `$ENGINE_STATE_DIR`, else `$XDG_STATE_HOME/engine`, else
/// `~/.local/state/engine`. A cache may be emptied at any time, and this may not.
pub(crate) fn state_dir() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    of("ENGINE_STATE_DIR")
        .or_else(|| of("XDG_STATE_HOME").map(|base| base.join("engine")))
        .or_else(|| of("HOME").map(|home| home.join(".local/state/engine")))
}

/// Where objects go that memory has no room for: the folder named, else next to what is kept between
/// runs.
pub(crate) fn spill_folder(named: Option<PathBuf>, options: &Options) -> Option<PathBuf> {
    named.or_else(|| options.data_dir.as_ref().map(|dir| dir.join("spill")))
}

/// A running node, and the server in front of it.
pub(crate) struct Embedded {
    node: Node,
    address: Address,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), engine_net::ServerError>>,
    _directory: TempDir,
}

impl Embedded {
    /// Starts a node and serves it where only this user can reach it.
    pub(crate) async fn start(args: &EngineArgs) -> Result<Self, Failure> {
        let directory = tempfile::Builder::new()
            .prefix("engine-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|error| Failure::Other(format!("cannot make a temporary directory: {error}")))?;
        let path = directory.path().join("engine.sock");
        let socket = UnixSocket::bind(&path).map_err(|error| Failure::Other(error.to_string()))?;
        let node = start(args.options()).await?;
        let (stop, stopped) = oneshot::channel();
        let backend = node.backend();
        let server = tokio::spawn(async {
            // A sender that is gone says the same as a message.
            Server::new().unix(socket).run(Services::new(backend), async { drop(stopped.await) }).await
        });
        Ok(Self { node, address: Address::Unix(path), stop, server, _directory: directory })
    }

    /// Where it is served.
    pub(crate) fn address(&self) -> Address {
        self.address.clone()
    }

    /// Ends the node, and whatever still runs on it.
    pub(crate) async fn shutdown(self) {
        drop(self.stop);
        match self.server.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the embedded engine's server failed"),
            Err(error) => tracing::warn!(%error, "the embedded engine's server was lost"),
        }
        self.node.shutdown().await;
    }

    /// Leaves the node to the end of the process, which is near, and cleans up its directory.
    pub(crate) fn abandon(self) {
        // Dropping a node may wait for its threads.
        std::mem::forget(self.node);
    }
}

/// Starts a node.
pub(crate) async fn start(options: Options) -> Result<Node, Failure> {
    Node::start(options).await.map_err(|error| Failure::Client(error.into()))
}
