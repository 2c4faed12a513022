//! `cargo xtask test`: every check that a change must pass, in order, each with its time.

use crate::debian;
use crate::test_servers;
use crate::vulkan;
use crate::workspace::{cargo, root, succeed};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

struct Step {
    name: &'static str,
    run: fn() -> Result<()>,
    /// Whether the steps after it make no sense without it.
    required: bool,
}

const STEPS: [Step; 12] = [
    Step { name: "format", run: format, required: false },
    Step { name: "house rules", run: crate::tidy::run, required: false },
    Step { name: "build and lints", run: build_and_lint, required: false },
    Step { name: "guests", run: crate::guests::run, required: true },
    Step { name: "test servers", run: test_servers, required: false },
    Step { name: "network tools", run: network_tools, required: false },
    Step { name: "Vulkan", run: vulkan::provide, required: false },
    Step { name: "tests", run: tests, required: false },
    Step { name: "three nodes", run: tests_on_three_nodes, required: false },
    Step { name: "worker process", run: tests_in_workers, required: false },
    Step { name: "guest tests", run: guest_tests, required: false },
    Step { name: "Python", run: crate::python::test, required: false },
];

/// Runs them all; a failure is reported at once and again at the end.
pub(crate) fn run() -> Result<()> {
    let begun = Instant::now();
    let mut lines = Vec::new();
    let mut failed = Vec::new();
    for (index, step) in STEPS.iter().enumerate() {
        println!("── {}/{} {}", index + 1, STEPS.len(), step.name);
        let step_begun = Instant::now();
        let outcome = (step.run)();
        let took = format!("{:.0} s", step_begun.elapsed().as_secs_f64());
        match outcome {
            Ok(()) => {
                println!("── {}: ok in {took}", step.name);
                lines.push(format!("  ok      {:<15} {took}", step.name));
            }
            Err(error) => {
                println!("── {}: FAILED in {took}: {error:#}", step.name);
                lines.push(format!("  FAILED  {:<15} {took}: {error:#}", step.name));
                failed.push(step.name);
                if step.required {
                    break;
                }
            }
        }
    }
    println!("\n{}", lines.join("\n"));
    let took = begun.elapsed().as_secs_f64();
    if !failed.is_empty() {
        bail!("{} of {} steps failed in {took:.0} s: {}", failed.len(), STEPS.len(), failed.join(", "));
    }
    println!("all {} steps passed in {took:.0} s", STEPS.len());
    Ok(())
}

fn format() -> Result<()> {
    succeed(&mut cargo(&["fmt", "--all", "--check"]))?;
    for other in ["guest-examples", "fuzz"] {
        succeed(cargo(&["fmt", "--all", "--check"]).current_dir(root().join(other)))?;
    }
    Ok(())
}

/// A command of cargo's that builds the workspace's own crates with Clippy. Its driver compiles as rustc
/// does, so that one build of all the dependencies is enough for lints and tests.
fn linted(arguments: &[&str]) -> Command {
    let mut command = cargo(arguments);
    command.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
    command
}

/// Builds everything, also the parts of the guest SDK that its default leaves out; any warning is an error,
/// of which all are shown.
fn build_and_lint() -> Result<()> {
    let warnings = warnings_of(linted(&["build", "--workspace", "--all-targets", "--all-features"]))?;
    ensure!(warnings == 0, "{warnings} warnings");
    Ok(())
}

/// Runs a build, shows what the compiler says, and counts its warnings.
fn warnings_of(mut build: Command) -> Result<usize> {
    build.arg("--message-format=json-diagnostic-rendered-ansi").stdout(Stdio::piped());
    let mut child = build.spawn().context("cannot run cargo")?;
    let mut warnings = 0;
    for line in BufReader::new(child.stdout.take().context("cargo's output is piped")?).lines() {
        let message: Value = serde_json::from_str(&line?).context("cargo writes JSON")?;
        if let Some(rendered) = message["message"]["rendered"].as_str() {
            eprint!("{rendered}");
            warnings += usize::from(message["message"]["level"] == "warning");
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "the build failed ({status})");
    Ok(warnings)
}

/// Provides the servers that tests run against, and prints where they are.
pub(crate) fn test_servers() -> Result<()> {
    test_servers::provide()
        .map(|programs| programs.iter().for_each(|program| println!("{}", program.display())))
}

/// Provides `ip`, for the tests whose network drops packets. Only root may have such a network.
pub(crate) fn network_tools() -> Result<()> {
    if debian::is_root() && !debian::is_good(Command::new("ip").arg("-V")) {
        debian::install(
            "iproute2",
            "the program `ip` is missing: tests that cut the network fail without it",
        )?;
    }
    Ok(())
}

/// The engine's binary, which many of them run, is built with them: its package has tests of its own.
fn tests() -> Result<()> {
    // Where there is none, the step before has failed, and the tests that need it are ignored.
    let servers = test_servers::installed();
    let test = |arguments: &[&str]| {
        let mut command = linted(arguments);
        command.envs(servers.iter().map(|(variable, program)| (variable, program)));
        // From here on a machine whose device is not found fails.
        command.envs(vulkan::is_there().then_some((vulkan::VARIABLE, "wgpu")));
        succeed(&mut command)
    };
    if !has_nextest() {
        return test(&["test", "--workspace", "--all-features"]);
    }
    let words =
        ["nextest", "run", "--workspace", "--all-features", "--no-fail-fast", "--status-level", "fail"];
    test(&words)?;
    test(&["test", "--workspace", "--all-features", "--doc"])
}

/// What of the tests with real processes is about one node and must hold on several all the same.
const OF_ANY_CLUSTER: [&str; 9] = [
    "actors::",
    "bad_guests::",
    "clients::",
    "concurrent::",
    "errors::",
    "placement_groups::",
    "plain::",
    "scenarios::",
    "storage::",
];

/// Among them, what is about the line of one node.
const OF_ONE_NODE: &str = "a_million_tasks_at_once_are_taken";

/// Modules of `processes` that hold too when all guests run in a process of their own (`isolation = process`).
const OF_ANY_ISOLATION: [&str; 4] = ["actors::", "concurrent::", "errors::", "scenarios::"];

/// Runs them once more, with three nodes where they had one.
fn tests_on_three_nodes() -> Result<()> {
    again(&OF_ANY_CLUSTER, "ENGINE_TEST_NODES", "3")
}

/// Runs them once more, with guests in workers where they had threads of the node.
fn tests_in_workers() -> Result<()> {
    again(&OF_ANY_ISOLATION, "ENGINE_TEST_ISOLATION", "process")
}

/// Runs these modules of `processes` once more, with this variable.
fn again(modules: &[&str], variable: &str, value: &str) -> Result<()> {
    let servers = test_servers::installed();
    let mut command = match has_nextest() {
        true => {
            let tests: Vec<String> = modules.iter().map(|module| format!("test(/^{module}/)")).collect();
            let tests = format!("binary(processes) & ({}) & !test({OF_ONE_NODE})", tests.join(" | "));
            let mut run = linted(&["nextest", "run", "--workspace", "--all-features", "--no-fail-fast"]);
            run.args(["--status-level", "fail", "-E", &tests]);
            run
        }
        false => {
            let mut run = linted(&["test", "--workspace", "--all-features", "--test", "processes", "--"]);
            run.args(modules).args(["--skip", OF_ONE_NODE]);
            run
        }
    };
    command.envs(servers.iter().map(|(variable, program)| (variable, program)));
    succeed(command.env(variable, value))
}

fn has_nextest() -> bool {
    let mut command = Command::new("cargo");
    command.args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The parts of the examples that need no sandbox, on the machine itself.
fn guest_tests() -> Result<()> {
    let guests = root().join("guest-examples");
    succeed(cargo(&["test", "--workspace", "--quiet"]).current_dir(guests))
}
