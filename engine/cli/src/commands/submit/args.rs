use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::embedded::EngineArgs;
use crate::output::RunFormat;
use crate::output::progress::ProgressMode;
use crate::parse::{Cpus, DirectoryArg, Pair, cpus, directory, env, pair, size};

const EXAMPLES: &str = "\
Examples:
  engine submit hello.wasm -- Ada                      its main, with an argument
  engine submit add.wasm --invoke 'add(1, 2)'          one of its functions, in WAVE
  engine submit guest-examples/pi                      a crate: built first
  engine submit squares.py -- 10                       a Python program
  engine submit words.wasm --dir ./texts::/texts:ro --env LANG -- /texts
  engine submit main.wasm --with math=math.wasm        a job of several components
  engine submit pi.wasm --engine-cpus 4                an own engine with 4 CPUs
  engine submit pi.wasm --no-wait --submission-id pi-1 hand it to `engine up`, and leave
  engine submit pi.wasm --job-retries 2                run it again when its node dies, twice at most

Without --address and $ENGINE_ADDRESS the job runs in the engine of this machine, else in one that
lives as long as the job. What the job's root task writes is shown as it is, what its other tasks
write behind `(function task-…)`; standard output goes to standard output, standard error and
log records to standard error. Ctrl-C stops the job; once more leaves at once.

The job is bound to this command: when the connection breaks, the command comes back by itself and goes
on where it was; when it does not within the node's --client-grace, the job is stopped. With --no-wait
the job is bound to nobody.

Exit status: 0 the job succeeded, 1 it failed or was stopped, 2 the command was wrong,
3 no engine was reached, 130 interrupted by Ctrl-C.";

/// Run a program
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Submit {
    /// A component, the folder of a crate that makes one, or a Python program
    pub(crate) module: PathBuf,
    /// Call this function instead of main: add(1, 2)
    #[arg(long, value_name = "EXPR", conflicts_with = "arguments")]
    pub(crate) invoke: Option<String>,
    /// A further component that the job's tasks can call by this name
    #[arg(long, value_name = "NAME=OTHER.wasm", value_parser = pair)]
    pub(crate) with: Vec<Pair>,
    /// The signature of the module, or of the component NAME; default: the file of its name with .sig after it, where
    /// there is one
    #[arg(long, value_name = "[NAME=]FILE")]
    pub(crate) signature: Vec<String>,
    /// Print the job's id and leave it to the engine
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// A name for people; default: that of the module
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Where the names of the job's actors are found; default: one of its own
    #[arg(long)]
    pub(crate) namespace: Option<String>,
    /// Submitting twice with the same id runs one job
    #[arg(long, value_name = "ID")]
    pub(crate) submission_id: Option<String>,
    /// An environment variable of the guests; NAME alone takes the value from here
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = env)]
    pub(crate) env: Vec<Pair>,
    /// A secret that the guests find in their environment, as VARIABLE, else under its own name (engine secret)
    #[arg(long, value_name = "[VARIABLE=]NAME")]
    pub(crate) secret: Vec<String>,
    /// A directory that the guests may open; `:ro` for reading only
    #[arg(long, value_name = "HOST[::GUEST][:ro]", value_parser = directory)]
    pub(crate) dir: Vec<DirectoryArg>,
    /// CPUs that the job's root task asks for; default: 0, as it mostly waits
    #[arg(long, value_name = "N", value_parser = cpus)]
    pub(crate) cpus: Option<Cpus>,
    /// Memory that the job's root task asks for and may use
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) memory: Option<u64>,
    /// Memory of each task that does not ask for an amount itself
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) task_memory: Option<u64>,
    /// Tasks of the job that may wait and run at once; a spawn beyond them fails
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) queued_tasks_max: Option<u64>,
    /// The job fails when it has not ended after this long: 30s, 5m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) deadline: Option<Duration>,
    /// How often the job is run again when the node of its root task dies; a job that fails by itself is not
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) job_retries: u32,
    /// For how long another connection is tried when the one to the engine breaks
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) reconnect_max: Duration,
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: RunFormat,
    /// How far the job is, on standard error
    #[arg(long, value_enum, default_value_t)]
    pub(crate) progress: ProgressMode,
    /// Arguments of main
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) arguments: Vec<String>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

#[cfg(test)]
pub(super) fn parse(line: &str) -> Result<Submit, clap::Error> {
    use crate::cli::{Cli, Command};
    use clap::Parser;
    match Cli::try_parse_from(["engine", "submit"].into_iter().chain(line.split_whitespace()))?.command {
        Command::Submit(submit) => Ok(*submit),
        other => panic!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_core::resources::Quantity;

    #[test]
    fn everything_before_the_dashes_is_ours_and_after_them_the_programs() {
        let line = "m.wasm --with b=b.wasm --env A=1 --env B=2 --dir d::/d:ro --cpus 0.5 --memory 64MiB \
                    --deadline 5m --engine-cpus 2 -- --cpus many";
        let submit = parse(line).unwrap();
        assert_eq!(submit.module, PathBuf::from("m.wasm"));
        assert_eq!(submit.with, [("b".to_owned(), "b.wasm".to_owned())]);
        assert_eq!(submit.env.len(), 2);
        assert!(submit.dir[0].read_only);
        assert_eq!(submit.cpus, Some(Quantity(5_000)));
        assert_eq!(submit.memory, Some(64 << 20));
        assert_eq!(submit.deadline, Some(Duration::from_secs(300)));
        assert!(submit.engine.is_wanted());
        assert_eq!(submit.arguments, ["--cpus", "many"]);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for line in [
            "",
            "m.wasm --cpus many",
            "m.wasm --memory much",
            "m.wasm --with other.wasm",
            "m.wasm --dir ::",
            "m.wasm --invoke f() -- argument",
            "m.wasm stray",
            "m.wasm --frobnicate",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
