//! An engine inside this process: a node with a head of its own, served on a private socket, so that the
//! same client talks to it as to any other. The command line starts one for a job alone, and a Python
//! program for as long as it runs.

mod folders;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use engine_agent::{Client, Node, Options};
use engine_head::Components;
use engine_net::{Backend, BindError, Gate, Scope, Server, Services, UnixSocket};
use engine_proto::address::Address;
use engine_proto::v1;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use folders::{data_dir, spill_folder};

/// Why there is no engine here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no place for its socket.
    #[error("cannot make a temporary directory: {0}")]
    Directory(#[from] std::io::Error),
    /// Its socket cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The node does not start.
    #[error(transparent)]
    Node(#[from] engine_core::Error),
}

/// A running node, and the server in front of it.
pub struct Embedded {
    node: Node,
    address: Address,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), engine_net::ServerError>>,
    _directory: TempDir,
}

impl Embedded {
    /// Starts a node and serves it where only this user can reach it. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What the system does not give.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let directory = tempfile::Builder::new()
            .prefix("engine-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?;
        let path: PathBuf = directory.path().join("engine.sock");
        let socket = UnixSocket::bind(&path)?;
        let node = Node::start(options).await?;
        let (stop, stopped) = oneshot::channel();
        // Nobody else reaches it: it knows no tokens.
        let (backend, gate) = (node.backend(), Arc::new(Gate::for_tickets()));
        let server = tokio::spawn(async {
            // A sender that is gone says the same as a message.
            Server::new().unix(socket).run(Services::new(backend, gate), async { drop(stopped.await) }).await
        });
        Ok(Self { node, address: Address::Unix(path), stop, server, _directory: directory })
    }

    /// Where it is served.
    pub fn address(&self) -> Address {
        self.address.clone()
    }

    /// Gives the node a component, under this name in the job that will bring it.
    ///
    /// # Errors
    /// INVALID_COMPONENT for what is none.
    pub async fn add_component(
        &self,
        name: &str,
        bytes: Vec<u8>,
    ) -> Result<v1::JobComponent, engine_core::Error> {
        let id = Components::id_of(&bytes);
        let backend = self.node.backend();
        if !backend.missing(&Scope::ALL, vec![id]).await?.is_empty() {
            backend.upload(&Scope::ALL, id, Bytes::from(bytes), &[]).await?;
        }
        let digest = engine_proto::convert::digest(id);
        Ok(v1::JobComponent { name: name.to_owned(), digest, ..v1::JobComponent::default() })
    }

    /// The same for a component that few jobs use: it is looked at, and compiled, when something of it is to start.
    ///
    /// # Errors
    /// LIMIT_EXCEEDED when the node keeps no more.
    pub fn add_component_on_demand(
        &self,
        name: &str,
        bytes: &[u8],
    ) -> Result<v1::JobComponent, engine_core::Error> {
        let digest = engine_proto::convert::digest(self.node.keep_component(bytes)?);
        Ok(v1::JobComponent { name: name.to_owned(), digest, on_demand: true, ..v1::JobComponent::default() })
    }

    /// Starts a job whose root is this program.
    ///
    /// # Errors
    /// What is wrong with `spec`.
    pub async fn attach(&self, spec: v1::JobSpec) -> Result<Client, engine_core::Error> {
        self.node.attach_client(spec).await
    }

    /// What is left when all jobs have ended; none when nothing is. Tests ask.
    pub fn leftover(&self) -> Option<String> {
        self.node.leftover()
    }

    /// Ends the node, and whatever still runs on it.
    pub async fn shutdown(self) {
        drop(self.stop);
        match self.server.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the embedded engine's server failed"),
            Err(error) => tracing::warn!(%error, "the embedded engine's server was lost"),
        }
        self.node.shutdown().await;
    }

    /// Leaves the node to the end of the process, which is near, and cleans up its directory.
    pub fn abandon(self) {
        // Dropping a node may wait for its threads.
        std::mem::forget(self.node);
    }
}
