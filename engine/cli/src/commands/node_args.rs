//! What a node has, as `engine up` and `engine agent` are told.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use engine_agent::Options;
use engine_core::resources::Quantity;

use crate::embedded;
use crate::parse::{Cpus, Pair, cpus, pair, quantity_pair, size};

/// What a node has.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodeArgs {
    /// CPUs for guests; default: all of this machine's
    #[arg(long, value_name = "N", value_parser = cpus)]
    pub(crate) cpus: Option<Cpus>,
    /// Memory for guests; default: 70 % of this machine's
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) memory: Option<u64>,
    /// Memory for objects; default: 20 % of this machine's
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) store_memory: Option<u64>,
    /// Where objects go that memory has no room for: a folder, or s3://bucket/prefix with endpoint,
    /// region and keys in the environment as AWS_…; default: the user's cache
    #[arg(long, value_name = "DIR")]
    pub(crate) spill_dir: Option<PathBuf>,
    /// A custom resource that tasks can ask for
    #[arg(long, value_name = "NAME=NUMBER", value_parser = quantity_pair)]
    pub(crate) resources: Vec<(String, Quantity)>,
    /// A label that tasks can select the node by
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) labels: Vec<Pair>,
    /// How long the client that a job is bound to may be away before the job is stopped; default: 30s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) client_grace: Option<Duration>,
    /// How long the process of a tenant's guests is kept that has none; default: 5min
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) worker_idle: Option<Duration>,
}

impl NodeArgs {
    pub(crate) fn options(self) -> Options {
        let mut options = Options::detect();
        options.data_dir = embedded::data_dir();
        options.is_worker_program = true;
        if let Some(idle) = self.worker_idle {
            options.worker_idle_max = idle;
        }
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
        if let Some(grace) = self.client_grace {
            options.limits.client_grace = grace;
        }
        options
    }

    /// The arguments of one of `nodes` nodes on this machine: what was not said is shared out.
    pub(crate) fn shared_out(&self, nodes: u32) -> Vec<OsString> {
        let machine = Options::detect();
        let nodes = u64::from(nodes.max(1));
        let whole = Quantity::units(1);
        let cpus =
            self.cpus.unwrap_or_else(|| Quantity(machine.cpus.0 / nodes / whole.0 * whole.0).max(whole));
        let memory = self.memory.unwrap_or(machine.memory_bytes / nodes);
        let store = self.store_memory.unwrap_or(machine.store_bytes_max / nodes);
        let mut words: Vec<OsString> = Vec::new();
        let mut say = |name: &str, value: OsString| words.extend([OsString::from(name), value]);
        say("--cpus", cpus.to_string().into());
        say("--memory", memory.to_string().into());
        say("--store-memory", store.to_string().into());
        if let Some(dir) = &self.spill_dir {
            say("--spill-dir", dir.into());
        }
        if let Some(grace) = self.client_grace {
            say("--client-grace", humantime::format_duration(grace).to_string().into());
        }
        if let Some(idle) = self.worker_idle {
            say("--worker-idle", humantime::format_duration(idle).to_string().into());
        }
        for (name, quantity) in &self.resources {
            say("--resources", format!("{name}={quantity}").into());
        }
        for (name, value) in &self.labels {
            say("--labels", format!("{name}={value}").into());
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn parsed(line: &str) -> NodeArgs {
        let Command::Up(up) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!("not up") };
        up.node
    }

    #[test]
    fn the_node_is_sized_by_its_arguments() {
        let options = parsed("engine up --cpus 1.5 --memory 64MiB --store-memory 1MiB --resources licence=2 --labels disk=ssd --labels zone=a").options();
        assert_eq!(options.cpus, Quantity(15_000));
        assert_eq!((options.memory_bytes, options.store_bytes_max), (64 << 20, 1 << 20));
        assert_eq!(options.resources, [("licence".to_owned(), Quantity::units(2))]);
        assert_eq!(options.labels.len(), 2);
    }

    #[test]
    fn what_was_said_is_passed_on_and_the_rest_is_shared_out() {
        let words = parsed("engine up --cpus 1.5 --memory 64MiB --resources licence=0.5 --labels zone=a --client-grace 1500ms --worker-idle 7s")
            .shared_out(4);
        let line = ["engine".into(), "up".into()].into_iter().chain(words);
        let Command::Up(up) = Cli::try_parse_from(line).unwrap().command else { panic!("not up") };
        let machine = Options::detect();
        let options = up.node.options();
        assert_eq!((options.cpus, options.memory_bytes), (Quantity(15_000), 64 << 20));
        assert_eq!(options.limits.client_grace, Duration::from_millis(1_500));
        assert_eq!(options.worker_idle_max, Duration::from_secs(7));
        assert_eq!(options.store_bytes_max, machine.store_bytes_max / 4);
        assert_eq!(options.resources, [("licence".to_owned(), Quantity(5_000))]);
        assert_eq!(options.labels, [("zone".to_owned(), "a".to_owned())]);
    }
}
