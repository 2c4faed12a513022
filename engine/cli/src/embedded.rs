//! An engine inside this process: what it has, and where things are kept.

use std::path::PathBuf;

use clap::Args;
use engine_agent::{Node, Options};
pub(crate) use engine_embedded::{Embedded, data_dir, spill_folder};

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

/// Where is kept what must not be lost: `$ENGINE_STATE_DIR`, else `$XDG_STATE_HOME/engine`, else
/// `~/.local/state/engine`. A cache may be emptied at any time, and this may not.
pub(crate) fn state_dir() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    of("ENGINE_STATE_DIR")
        .or_else(|| of("XDG_STATE_HOME").map(|base| base.join("engine")))
        .or_else(|| of("HOME").map(|home| home.join(".local/state/engine")))
}

/// Starts a node with a server in front of it.
pub(crate) async fn start_embedded(args: &EngineArgs) -> Result<Embedded, Failure> {
    Embedded::start(args.options()).await.map_err(|error| match error {
        engine_embedded::Error::Node(error) => Failure::Client(error.into()),
        error => Failure::Other(error.to_string()),
    })
}

/// Starts a node.
pub(crate) async fn start(options: Options) -> Result<Node, Failure> {
    Node::start(options).await.map_err(|error| Failure::Client(error.into()))
}
