//! `engine worker`: a process that runs the guests of one tenant, started by a node.

use clap::Args;

use crate::failure::Failure;

/// Run the guests of one tenant of a node, which starts this itself
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  engine worker TENANT    as a node starts it, with the line to itself as standard input"
)]
pub(crate) struct Worker {
    /// The tenant, for whoever lists processes
    #[arg(value_name = "TENANT")]
    tenant: String,
}

/// Before there is any other thread: what a process gives up, its threads to come give up too.
pub(crate) fn run(args: &Worker) -> Result<(), Failure> {
    let failed = |why| Failure::Other(format!("a worker of the tenant {} does not run: {why}", args.tenant));
    engine_worker::run().map_err(failed)
}
