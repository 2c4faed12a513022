//! `cargo xtask scaling`: the core of whole clusters in virtual time; figures and plots of
//! docs/scaling.md.

mod plots;

use crate::workspace::{cargo, root, succeed, target_dir};
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The head alone is measured with so many.
const HEAD_NODES: [u64; 5] = [100, 1_000, 3_000, 10_000, 100_000];

/// As in the example.
const CPUS_PER_NODE: u64 = 4;

/// Where figures and plots are kept.
fn folder() -> PathBuf {
    root().join("docs/scaling")
}

/// Runs a cluster of each size, keeps what was seen with what is known of other sizes, and draws it.
pub(crate) fn run(nodes: &[u64], tasks: u64, seed: u64, only_draw: bool) -> Result<()> {
    let file = folder().join("figures.json");
    if !only_draw {
        let known = std::fs::read_to_string(&file).ok();
        let known = known.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null);
        let figures = measure(nodes, tasks, seed, &known)?;
        std::fs::create_dir_all(folder()).context("cannot create docs/scaling")?;
        let text = serde_json::to_string_pretty(&figures)? + "\n";
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}: run `cargo xtask scaling` first", file.display()))?;
    let figures = Figures(serde_json::from_str(&text).context("the figures are not JSON")?);
    plots::draw(&figures, &folder())?;
    print_table(&figures);
    Ok(())
}

/// Each size in a process of its own, so that memory is that of one cluster. What is known of other sizes
/// stays.
fn measure(nodes: &[u64], tasks: u64, seed: u64, known: &Value) -> Result<Value> {
    succeed(&mut cargo(&["build", "--release", "--package", "engine-core", "--example", "scaling"]))?;
    let ask = |arguments: &[String]| -> Result<Value> {
        let mut command = Command::new(target_dir().join("release/examples/scaling"));
        let output = command.args(arguments).stderr(Stdio::inherit()).output().context("cannot run it")?;
        if !output.status.success() {
            bail!("`scaling {}` failed ({})", arguments.join(" "), output.status);
        }
        serde_json::from_slice(&output.stdout).context("what it prints is not JSON")
    };
    let mut bytes = Map::new();
    for name in ["view-bytes", "head-bytes", "task-bytes"] {
        bytes.insert(name.replace('-', "_"), ask(&[name.to_owned(), "100000".to_owned()])?);
    }
    let mut head = Vec::new();
    for nodes in HEAD_NODES {
        head.push(ask(&["head-costs".to_owned(), nodes.to_string()])?);
    }
    let is_other = |run: &&Value| !nodes.iter().any(|nodes| run["nodes"].as_f64() == Some(*nodes as f64));
    let mut runs: Vec<Value> =
        known["runs"].as_array().into_iter().flatten().filter(is_other).cloned().collect();
    for nodes in nodes {
        let tasks = tasks.min(nodes * 2_000);
        // Two seconds of work at least: the head passes loads on ten times a second.
        let task_ms = (2_000 * nodes * CPUS_PER_NODE / tasks).max(10);
        let run = ask(&[nodes, &tasks, &task_ms, &seed].map(u64::to_string))?;
        eprintln!("{run}");
        runs.push(run);
    }
    runs.sort_by(|one, other| {
        one["nodes"].as_f64().unwrap_or(0.0).total_cmp(&other["nodes"].as_f64().unwrap_or(0.0))
    });
    Ok(json!({ "bytes": bytes, "head": head, "runs": runs }))
}

/// What was measured.
struct Figures(Value);

impl Figures {
    /// A field of each run, by nodes.
    fn of(&self, field: &str) -> Vec<(f64, f64)> {
        let runs = self.0["runs"].as_array().into_iter().flatten();
        runs.filter_map(|run| Some((run["nodes"].as_f64()?, run[field].as_f64()?))).collect()
    }

    /// What an event takes at the head alone, by nodes, times `unit`.
    fn at_head(&self, field: &str, unit: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        let sizes = self.0["head"].as_array().into_iter().flatten();
        let point = |size: &Value| Some((size["nodes"].as_f64()?, size[field].as_f64()?));
        sizes.filter_map(point).map(|(nodes, value)| (nodes, value * unit(nodes))).collect()
    }

    /// Bytes of a table's entry.
    fn bytes(&self, name: &str) -> f64 {
        self.0["bytes"][name].as_f64().unwrap_or(0.0)
    }
}

/// The rows of the table: what is shown, from which field, in which unit, with how many decimals.
const ROWS: [(&str, &str, f64, usize); 28] = [
    ("owners", "owners", 1.0, 0),
    ("tasks", "tasks", 1.0, 0),
    ("a task runs for, ms", "task_ms", 1.0, 0),
    ("every node knows all", "full_views", 1.0, 0),
    ("tasks/s, virtual", "tasks_per_virtual_s", 1.0, 0),
    ("CPUs idle", "idle_cpus", 1.0, 0),
    ("tasks in line at owners", "in_line_at_owners", 1.0, 0),
    ("tasks in line elsewhere", "in_line_at_runners", 1.0, 0),
    ("owner's core, µs per task", "owner_ns_per_task", 1e-3, 1),
    ("runner's core, µs per task", "runner_ns_per_task", 1e-3, 1),
    ("tasks/s of one owner's control path", "owner_tasks_per_cpu_s", 1.0, 0),
    ("packets per task", "packets_per_task", 1.0, 2),
    ("refusals per task", "refused_per_task", 1.0, 3),
    ("loads of others, CPU of a node that knows all, %", "view_cpu_per_node", 100.0, 2),
    ("head: beats/s in", "head_beats_per_s", 1.0, 0),
    ("head: CPU per beat, µs", "head_beat_ns", 1e-3, 1),
    ("head: notices/s out", "head_notices_per_s", 1.0, 0),
    ("head: loads/s out", "head_loads_per_s", 1.0, 0),
    ("head: MB/s out", "head_bytes_out_per_s", 1e-6, 2),
    ("head: CPUs busy", "head_cpu", 1.0, 4),
    ("head: CPU per node, µs/s", "head_cpu_us_per_node", 1.0, 0),
    ("join of all, virtual ms", "join_virtual_ms", 1.0, 0),
    ("join of all, CPU of the head, ms", "join_head_cpu_ms", 1.0, 0),
    ("silence to the head's word, ms", "silent_declared_ms", 1.0, 0),
    ("silence to lost tasks elsewhere, ms", "silent_recovered_ms", 1.0, 0),
    ("broken connection to the head's word, ms", "broken_declared_ms", 1.0, 0),
    ("broken connection to lost tasks elsewhere, ms", "broken_recovered_ms", 1.0, 0),
    ("the simulation's memory, GB", "peak_bytes", 1e-9, 2),
];

/// The table as docs/scaling.md shows it.
fn print_table(figures: &Figures) {
    let nodes: Vec<String> = figures.of("nodes").iter().map(|(nodes, _)| format!("{nodes}")).collect();
    println!("| nodes | {} |", nodes.join(" | "));
    println!("|---|{}", "--:|".repeat(nodes.len()));
    for (name, field, unit, decimals) in ROWS {
        let values: Vec<String> =
            figures.of(field).iter().map(|(_, value)| format!("{:.decimals$}", value * unit)).collect();
        println!("| {name} | {} |", values.join(" | "));
    }
    let bytes = ["view_bytes", "head_bytes", "task_bytes"].map(|name| figures.bytes(name));
    println!("\n| the head alone, nodes | a beat, µs | all loads to all, ms | a join, ms | a leave, ms |");
    println!("|--:|--:|--:|--:|--:|");
    let column = |field| figures.at_head(field, |_| 1e-6);
    let columns = ["beat_ns", "pass_on_all_ns", "join_ns", "leave_ns"].map(column);
    for (at, (nodes, beat)) in columns[0].iter().enumerate() {
        let [pass_on, join, leave] = [1, 2, 3].map(|column: usize| columns[column][at].1);
        println!("| {nodes} | {:.1} | {pass_on:.1} | {join:.2} | {leave:.2} |", beat * 1e3);
    }
    println!();
    println!(
        "Bytes: {} of each other node, {} at the head of each node, {} at the owner of each task in line.",
        bytes[0], bytes[1], bytes[2]
    );
}
