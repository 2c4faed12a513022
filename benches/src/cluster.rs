//! Several nodes: real processes on this machine, against plain TCP between two of them.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::Plan;
use crate::process::cpu_time_of;
use crate::report::{Report, median};
use crate::tcp::Tcp;

const NODES: usize = 4;
/// Bytes of the object that goes to another node.
const OBJECT_BYTES: usize = 64 << 20;
/// Callers that each have one placement group on its way.
const GROUP_ASKERS: u64 = 1_000;
/// How long something may take that a bench waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster of processes, as `engine up --nodes` starts it.
struct Cluster {
    up: Child,
    folder: PathBuf,
    engine: PathBuf,
    guest: PathBuf,
}

impl Cluster {
    fn start(plan: &Plan) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("engine-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let nodes = NODES.to_string();
        let sizes = ["--cpus", "1", "--memory", "2GiB", "--store-memory", "512MiB"];
        let mut up = command(&plan.engine, &folder)
            .args(["up", "--nodes", &nodes])
            .args(sizes)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", plan.engine.display()))?;
        let mut said = BufReader::new(up.stderr.take().context("it has no standard error")?);
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            ensure!(said.read_line(&mut line)? > 0, "the engine ended before it listened");
        }
        // What it says later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::stderr()));
        let cluster = Self { up, folder, engine: plan.engine.clone(), guest: plan.guest.clone() };
        cluster.until("all nodes are there", |cluster| Ok(cluster.nodes()?.len() == NODES))?;
        Ok(cluster)
    }

    fn output(&self, words: &[&str]) -> Result<String> {
        let output = command(&self.engine, &self.folder).args(words).output()?;
        if !output.status.success() {
            bail!("engine {} failed:\n{}", words.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn json(&self, words: &[&str]) -> Result<Value> {
        let text = self.output(&[words, &["--format", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("engine {}: {text}", words.join(" ")))
    }

    fn submit<'a>(&'a self, options: &[&'a str], scenario: &[&'a str]) -> Result<String> {
        let guest = self.guest.to_str().context("the guest's path is no text")?;
        self.output(&[&["submit"], options, &[guest, "--"], scenario].concat())
    }

    /// Runs a scenario of the guest to its end; the JSON object that it writes last.
    fn run(&self, scenario: &[&str]) -> Result<Value> {
        let text = self.submit(&[], scenario)?;
        serde_json::from_str(text.lines().last().unwrap_or_default())
            .with_context(|| format!("{scenario:?} wrote {text:?}"))
    }

    /// So many of something in a second, by the guest's clock.
    fn per_second(&self, scenario: &[&str], count: u64) -> Result<f64> {
        let seconds = self.run(scenario)?["seconds"].as_f64().context("no seconds")?;
        Ok(count as f64 / seconds)
    }

    /// Each node that lives: its id and its process.
    fn nodes(&self) -> Result<Vec<(String, u32)>> {
        let listed = self.json(&["list", "nodes", "--filter", "state=ALIVE"])?;
        let node = |view: &Value| {
            let process = view["process_id"].as_u64().context("a node without a process")?;
            Ok((text(&view["node_id"]), u32::try_from(process)?))
        };
        listed["items"].as_array().context("no items")?.iter().map(node).collect()
    }

    /// The node of the root task of the newest job.
    fn home(&self) -> Result<String> {
        let jobs = self.json(&["list", "jobs", "--limit", "1"])?;
        let root = text(&jobs["items"][0]["root_task_id"]);
        Ok(text(&self.json(&["get", "task", &root])?["node_id"]))
    }

    fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> Result<bool>) -> Result<Duration> {
        let start = Instant::now();
        while !is_so(self)? {
            ensure!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(start.elapsed())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = signal("TERM", self.up.id());
        drop(self.up.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn command(engine: &PathBuf, folder: &PathBuf) -> Command {
    let mut command = Command::new(engine);
    command.env("XDG_RUNTIME_DIR", folder).env("ENGINE_CACHE_DIR", folder).env("RUST_LOG", "error");
    command.env_remove("ENGINE_ADDRESS");
    command
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn signal(name: &str, process: u32) -> Result<()> {
    let status = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status()?;
    ensure!(status.success(), "kill -{name} {process} failed");
    Ok(())
}

pub(crate) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let cluster = Cluster::start(plan)?;
    round_trips(plan, &cluster, report)?;
    warm_tasks(plan, &cluster, report)?;
    objects(plan, &cluster, report)?;
    broadcast(plan, &cluster, report)?;
    let each = 10 / plan.scale.min(10);
    let (askers, groups) = (GROUP_ASKERS.to_string(), GROUP_ASKERS * each);
    cluster.run(&["groups", &askers, "1"])?;
    let rates = (0..plan.runs).map(|_| cluster.per_second(&["groups", &askers, &each.to_string()], groups));
    report.row(
        &format!("placement groups made and removed, {GROUP_ASKERS} callers"),
        format!("{:.0}/s", median(rates.collect::<Result<_>>()?)),
        "each waits until its bundle is reserved; the callers' sandboxes included".to_owned(),
        "2 000/s",
    );
    let actors = 2_000 / plan.scale;
    let rates = (0..plan.runs).map(|_| cluster.per_second(&["far-actors", &actors.to_string()], actors));
    report.row(
        "actors placed over all nodes",
        format!("{:.0}/s", median(rates.collect::<Result<_>>()?)),
        "each made and called once by one caller".to_owned(),
        "1 000/s",
    );
    drop(cluster);
    for (name, how, goal) in [("KILL", "killed", "below 1 s"), ("STOP", "frozen", "below 5 s")] {
        let times = (0..plan.runs.min(3)).map(|_| until_tasks_run_elsewhere(plan, name));
        report.row(
            &format!("from an agent's being {how} to its task running elsewhere"),
            format!("{:.2} s", median(times.collect::<Result<_>>()?)),
            "as `engine list tasks` shows it".to_owned(),
            goal,
        );
    }
    Ok(())
}

fn round_trips(plan: &Plan, cluster: &Cluster, report: &mut Report) -> Result<()> {
    let mut tcp = Tcp::start()?;
    let count = 5_000 / plan.scale;
    let (mut ratios, mut trips, mut limits) = (Vec::new(), Vec::new(), Vec::new());
    cluster.run(&["far-round-trip", "100"])?;
    for _ in 0..plan.runs {
        let raw = tcp.round_trip(20_000 / plan.scale)?;
        let trip = 1.0 / cluster.per_second(&["far-round-trip", &count.to_string()], count)?;
        ratios.push(trip / raw);
        trips.push(trip * 1e6);
        limits.push(raw * 1e6);
    }
    report.row(
        "a task on another node and back",
        format!("{:.0} µs, {:.1} framed TCP round trips", median(trips), median(ratios)),
        format!("framed TCP round trip between two processes: {:.0} µs", median(limits)),
        "below 10 times",
    );
    Ok(())
}

fn warm_tasks(plan: &Plan, cluster: &Cluster, report: &mut Report) -> Result<()> {
    let count = 100_000 / plan.scale;
    let (mut rates, mut at_home, mut elsewhere) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let nodes = cluster.nodes()?;
        let before: Vec<Duration> = nodes.iter().map(|(_, process)| cpu_time_of(*process)).collect();
        rates.push(cluster.per_second(&["far-warm", &count.to_string()], count)?);
        let home = cluster.home()?;
        let mut others = 0.0;
        for ((id, process), before) in nodes.iter().zip(before) {
            let micros = (cpu_time_of(*process) - before).as_secs_f64() * 1e6 / count as f64;
            match *id == home {
                true => at_home.push(micros),
                false => others += micros,
            }
        }
        elsewhere.push(others);
    }
    report.row(
        "no-op tasks on reused instances of other nodes",
        format!("{:.0}/s", median(rates)),
        format!(
            "CPU time per task: {:.0} µs on the caller's node, {:.0} µs on that which runs it",
            median(at_home),
            median(elsewhere)
        ),
        "30 000/s",
    );
    Ok(())
}

fn objects(plan: &Plan, cluster: &Cluster, report: &mut Report) -> Result<()> {
    let pairs = against_tcp(plan, cluster, "far-bytes")?;
    let rates = pairs.iter().map(|(_, seconds)| OBJECT_BYTES as f64 / seconds / 1e9);
    let ratios = pairs.iter().map(|(raw, seconds)| raw / seconds);
    report.row(
        &format!("an object of {} MiB to a task on another node", OBJECT_BYTES >> 20),
        format!("{:.2} GB/s, {:.2} of TCP", median(rates.collect()), median(ratios.collect())),
        "from the spawn to the task's answer; as many bytes by TCP between two processes".to_owned(),
        "0.7",
    );
    Ok(())
}

fn broadcast(plan: &Plan, cluster: &Cluster, report: &mut Report) -> Result<()> {
    let pairs = against_tcp(plan, cluster, "broadcast")?;
    let times = pairs.iter().map(|(_, seconds)| seconds * 1e3);
    let ratios = pairs.iter().map(|(raw, seconds)| seconds / raw);
    report.row(
        &format!("an object of {} MiB to tasks on the {} other nodes at once", OBJECT_BYTES >> 20, NODES - 1),
        format!("{:.0} ms, {:.1} TCP transfers of it", median(times.collect()), median(ratios.collect())),
        "from the spawns to the last answer; as many bytes by TCP between two processes".to_owned(),
        "-",
    );
    Ok(())
}

/// Of each run: how long an object takes by TCP between two processes, and in this scenario, in seconds.
fn against_tcp(plan: &Plan, cluster: &Cluster, scenario: &str) -> Result<Vec<(f64, f64)>> {
    let mut tcp = Tcp::start()?;
    let (count, bytes) = (5, OBJECT_BYTES.to_string());
    let mut pair = || {
        let raw: Result<Vec<f64>> = (0..count).map(|_| tcp.transfer(OBJECT_BYTES)).collect();
        let seen = cluster.run(&[scenario, &count.to_string(), &bytes])?;
        let seconds = seen["seconds"].as_array().context("no seconds")?;
        Ok((median(raw?), median(seconds.iter().filter_map(Value::as_f64).collect())))
    };
    (0..plan.runs).map(|_| pair()).collect()
}

/// Ends or freezes a node that runs a task, not the one of the job's root; how long until the task runs
/// on another.
fn until_tasks_run_elsewhere(plan: &Plan, how: &str) -> Result<f64> {
    let cluster = Cluster::start(plan)?;
    cluster.submit(&["--no-wait"], &["sleeps", &(2 * NODES).to_string(), "3600000"])?;
    let running = |cluster: &Cluster, filter: &str| {
        let filters = ["--filter", "function=sleep", "--filter", "state=RUNNING", "--filter", filter];
        let listed = cluster.json(&[&["list", "tasks"], &filters[..]].concat())?;
        listed["items"].as_array().cloned().context("no items")
    };
    cluster.until("all tasks run", |cluster| Ok(running(cluster, "attempts=1")?.len() == 2 * NODES))?;
    let home = cluster.home()?;
    let away = |task: &&Value| text(&task["node_id"]) != home;
    let tasks = running(&cluster, "attempts=1")?;
    let victim = text(&tasks.iter().find(away).context("all tasks run on one node")?["node_id"]);
    let lost = tasks.iter().filter(|task| text(&task["node_id"]) == victim).count();
    let nodes = cluster.nodes()?;
    let process = nodes.iter().find(|(id, _)| *id == victim).context("the node is not listed")?.1;
    signal(how, process)?;
    let took = cluster
        .until("its tasks run elsewhere", |cluster| Ok(running(cluster, "attempts=2")?.len() == lost))?;
    if how == "STOP" {
        signal("KILL", process)?;
    }
    Ok(took.as_secs_f64())
}
