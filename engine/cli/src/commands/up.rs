//! `engine up`: keeps an engine running on this machine.

use std::path::PathBuf;

use clap::Args;
use engine_agent::Options;
use engine_client::Address;
use engine_core::resources::{Quantity, bytes};
use engine_net::{Backend, Server, TcpSocket, UnixSocket};

use crate::embedded;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::parse::{Cpus, Pair, cpus, pair, quantity_pair, size};

const EXAMPLES: &str = "\
Examples:
  engine up
  engine up --cpus 4 --memory 8GiB --resources licence=2 --labels disk=ssd
  engine up --address 127.0.0.1:7420        a loopback port instead of a socket

It listens on --address, else $ENGINE_ADDRESS, else $XDG_RUNTIME_DIR/engine/engine.sock, else
/tmp/engine-UID/engine.sock; only this user and root may speak on a socket. Ctrl-C or SIGTERM stops it
and the jobs in it.";

/// Keep an engine running on this machine, in the foreground
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Up {
    /// CPUs for guests; default: all of this machine's
    #[arg(long, value_name = "N", value_parser = cpus)]
    cpus: Option<Cpus>,
    /// Memory for guests; default: 70 % of this machine's
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// Memory for objects; default: 20 % of this machine's
    #[arg(long, value_name = "SIZE", value_parser = size)]
    store_memory: Option<u64>,
    /// Where objects go that memory has no room for: a folder, or s3://bucket/prefix with endpoint,
    /// region and keys in the environment as AWS_…; default: the user's cache
    #[arg(long, value_name = "DIR")]
    spill_dir: Option<PathBuf>,
    /// A custom resource that tasks can ask for
    #[arg(long, value_name = "NAME=NUMBER", value_parser = quantity_pair)]
    resources: Vec<(String, Quantity)>,
    /// A label that tasks can select the node by
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    labels: Vec<Pair>,
}

impl Up {
    fn options(self) -> Options {
        let mut options = Options::detect();
        options.data_dir = embedded::data_dir();
        if let Some(cpus) = self.cpus {
            options.cpus = cpus;
        }
        if let Some(memory) = self.memory {
            options.memory_bytes = memory;
        }
        if let Some(memory) = self.store_memory {
            options.store_bytes_max = memory;
        }
        options.spill_folder = embedded::spill_folder(self.spill_dir, &options);
        options.resources = self.resources;
        options.labels = self.labels;
        options
    }
}

pub(crate) async fn run(args: Up, address: Option<Address>) -> Result<(), Failure> {
    let address = match address {
        Some(address) => address,
        None => {
            Address::default_here().map_err(|error| Failure::Usage(format!("$ENGINE_ADDRESS: {error}")))?
        }
    };
    let signals = |error| Failure::Other(format!("cannot wait for signals: {error}"));
    let mut interrupts = Interrupts::new().map_err(signals)?;
    let (server, address) = bind(address).await?;
    let options = args.options();
    let has = format!("{} CPUs and {} for guests", options.cpus, bytes(options.memory_bytes));
    let node = embedded::start(options)?;
    let backend = node.backend();
    eprintln!("engine {} is running: {} with {has}", env!("CARGO_PKG_VERSION"), backend.node_id());
    eprintln!("listening on {address}");
    eprintln!("give it work with:  {}engine submit MODULE.wasm", prefix(&address));
    eprintln!("stop it with Ctrl-C");
    let served = server.run(backend, async { interrupts.next().await }).await;
    eprintln!("stopping; once more to leave at once");
    tokio::select! {
        () = node.shutdown() => {}
        () = interrupts.next() => return Err(Failure::Abandoned),
    }
    eprintln!("stopped");
    served.map_err(|error| Failure::Other(error.to_string()))
}

async fn bind(address: Address) -> Result<(Server, Address), Failure> {
    let refuse = |error: engine_net::BindError| Failure::Usage(error.to_string());
    match address {
        Address::Unix(path) => {
            let socket = UnixSocket::bind(&path).map_err(refuse)?;
            Ok((Server::new().unix(socket), Address::Unix(path)))
        }
        Address::Tcp(at) => {
            let socket = TcpSocket::bind(at).await.map_err(refuse)?;
            let at = socket.address();
            Ok((Server::new().tcp(socket), Address::Tcp(at)))
        }
    }
}

/// What has to stand before a command so that it finds this engine; nothing when it looks here.
fn prefix(address: &Address) -> String {
    match Address::default_here() {
        Ok(default) if default == *address => String::new(),
        _ => format!("ENGINE_ADDRESS={address} "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    #[test]
    fn the_node_is_sized_by_its_arguments() {
        let line = "engine up --cpus 1.5 --memory 64MiB --store-memory 1MiB --resources licence=2 --labels disk=ssd --labels zone=a";
        let Command::Up(up) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!("not up") };
        let options = up.options();
        assert_eq!(options.cpus, Quantity(15_000));
        assert_eq!((options.memory_bytes, options.store_bytes_max), (64 << 20, 1 << 20));
        assert_eq!(options.resources, [("licence".to_owned(), Quantity::units(2))]);
        assert_eq!(options.labels.len(), 2);
    }

    #[tokio::test]
    async fn a_port_beyond_loopback_is_refused() {
        let Err(Failure::Usage(text)) = bind("0.0.0.0:7420".parse().unwrap()).await else {
            panic!("it was bound")
        };
        assert!(text.contains("loopback"), "{text}");
    }
}
