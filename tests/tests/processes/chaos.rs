//! Everything at once while nodes and the head die: `cargo xtask chaos` runs it for longer.
//!
//! Jobs of the guest `chaos` check all that they get. A job may fail for one reason: the node of its root
//! task has died.

use std::time::{Duration, Instant};

use engine_tests::{Place, Running, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const NODES: usize = 4;
const JOBS: usize = 3;

fn number(variable: &str, otherwise: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// The numbers that follow from a seed (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

struct Agent {
    running: Running,
    /// When it goes on, when it is frozen.
    frozen_until: Option<Instant>,
}

impl Agent {
    fn signal(&self, signal: Signal) {
        let process = Pid::from_raw(self.running.id() as i32).expect("it has an id");
        kill_process(process, signal).expect("it runs");
    }

    fn thaw(&mut self) {
        if self.frozen_until.take().is_some() {
            self.signal(Signal::CONT);
        }
    }
}

/// What a job has been told to do, and the id that it was submitted with.
struct Job {
    submission: String,
    seed: String,
    is_accepted: bool,
}

#[derive(Default)]
struct Seen {
    killed: u32,
    frozen: u32,
    heads: u32,
    exact: u32,
    lost_with_their_root: u32,
}

struct Cluster {
    agents: Vec<Agent>,
    head: Option<Running>,
    at: String,
    jobs: Vec<Job>,
    submitted: u64,
    random: Random,
    seen: Seen,
    // The last, so that the others end before their folder goes.
    place: Place,
}

impl Cluster {
    fn start(seed: u64) -> Self {
        let place = Place::new();
        let (head, at) = start_head(&place, "127.0.0.1:0");
        let mut cluster = Self {
            agents: Vec::new(),
            head: Some(head),
            at,
            jobs: Vec::new(),
            submitted: 0,
            // Zero would stay zero.
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            seen: Seen::default(),
            place,
        };
        for _ in 0..NODES {
            cluster.start_agent();
        }
        for agent in &mut cluster.agents {
            agent.running.wait_for_stderr("has joined the cluster");
        }
        cluster
    }

    fn start_agent(&mut self) {
        let sizes = ["--cpus", "2", "--memory", "4GiB", "--store-memory", "64MiB"];
        let words = ["agent", "--head", &self.at].into_iter().chain(sizes);
        self.agents.push(Agent { running: self.place.engine(words).start(), frozen_until: None });
    }

    /// Submits a job, or one that the head has not answered, again.
    fn submit(&mut self) {
        while self.jobs.len() < JOBS {
            self.submitted += 1;
            let seed = self.random.below(1 << 40).to_string();
            let submission = format!("chaos-{}", self.submitted);
            self.jobs.push(Job { submission, seed, is_accepted: false });
        }
        for job in self.jobs.iter_mut().filter(|job| !job.is_accepted) {
            let options = ["--no-wait", "--submission-id", &job.submission];
            let outcome = self.place.submit_with("chaos", &options, &[&job.seed, "6"]).run();
            // 2: the head was not reached, or had no node.
            assert!(matches!(outcome.status, 0 | 2), "{outcome}");
            job.is_accepted = outcome.status == 0;
        }
    }

    /// What jobs have come to.
    fn look(&mut self) {
        let Self { jobs, place, seen, .. } = self;
        jobs.retain(|job| {
            if !job.is_accepted {
                return true;
            }
            let outcome = place.engine(["job", "status", &job.submission, "--format", "json"]).run();
            if outcome.status != 0 {
                assert!(!outcome.stderr.contains("NOT_FOUND"), "a job was forgotten: {outcome}");
                return true;
            }
            let view: Value = outcome.json();
            match view["state"].as_str() {
                Some("SUCCEEDED") => seen.exact += 1,
                Some("FAILED") if view["error"]["code"] == "NODE_DIED" => seen.lost_with_their_root += 1,
                Some("PENDING" | "RUNNING") => return true,
                _ => panic!("seed {}: {view:#}\n{}", job.seed, place.engine(["logs", &job.submission]).run()),
            }
            false
        });
    }

    /// Something bad, or nothing.
    fn strike(&mut self) {
        let healthy: Vec<usize> =
            (0..self.agents.len()).filter(|at| self.agents[*at].frozen_until.is_none()).collect();
        let victim = healthy[self.random.below(healthy.len() as u64) as usize];
        match self.random.below(10) {
            0..4 if healthy.len() > NODES / 2 => {
                self.seen.killed += 1;
                let agent = self.agents.swap_remove(victim);
                assert_is_sound(&agent.running.kill().stderr);
                self.start_agent();
            }
            4..7 if healthy.len() > NODES / 2 => {
                self.seen.frozen += 1;
                let long = Duration::from_millis(200 + self.random.below(5_000));
                self.agents[victim].signal(Signal::STOP);
                self.agents[victim].frozen_until = Some(Instant::now() + long);
            }
            7 | 8 => {
                self.seen.heads += 1;
                assert_is_sound(&self.head.take().expect("it runs").kill().stderr);
                std::thread::sleep(Duration::from_millis(self.random.below(1_500)));
                self.head = Some(start_head(&self.place, &self.at).0);
            }
            _ => {}
        }
    }

    fn thaw(&mut self, all: bool) {
        for agent in &mut self.agents {
            if agent.frozen_until.is_some_and(|until| all || until <= Instant::now()) {
                agent.thaw();
            }
        }
    }

    fn listed(&self, kind: &str, filters: &[&str]) -> Result<Vec<Value>, String> {
        let mut words = vec!["list", kind, "--format", "json"];
        filters.iter().for_each(|filter| words.extend(["--filter", filter]));
        let outcome = self.place.engine(words).run();
        match outcome.status {
            0 => Ok(outcome.json()["items"].as_array().expect("a list").clone()),
            _ => Err(outcome.to_string()),
        }
    }

    /// Nothing is left of all the jobs on the nodes that live.
    fn is_idle(&self) -> Result<(), String> {
        let nodes = self.listed("nodes", &["state=ALIVE"])?;
        if nodes.len() != self.agents.len() || nodes.iter().any(|node| node["available"] != node["total"]) {
            let brief = |node: &Value| {
                format!(
                    "{} {} of {}, {}",
                    node["node_id"], node["available"], node["total"], node["counters"]
                )
            };
            return Err(nodes.iter().map(brief).collect::<Vec<_>>().join("\n"));
        }
        for (kind, filters) in [
            ("objects", &[][..]),
            ("actors", &["state!=DEAD"]),
            ("tasks", &["state=RUNNING"]),
            ("placement-groups", &["state!=REMOVED"]),
        ] {
            let left = self.listed(kind, filters)?;
            if !left.is_empty() {
                return Err(format!("{kind}: {left:#?}"));
            }
        }
        Ok(())
    }
}

fn start_head(place: &Place, listen: &str) -> (Running, String) {
    let memory = place.path("head");
    let memory = memory.to_str().expect("a path of text");
    let mut head = place.engine(["head", "--listen", listen, "--data-dir", memory]).start();
    let said = head.wait_for_stderr("listening on ");
    let (_, at) = said.split_once("engine agent --head ").expect("it says how nodes join");
    let at = at.split_whitespace().next().expect("an address").to_owned();
    (head, at)
}

#[track_caller]
fn assert_is_sound(said: &str) {
    assert!(!said.contains("panicked") && !said.contains("leaked: "), "{said}");
}

// contract: T7, O8, O9, A2, A3, P3, H1, H2, H3
#[test]
fn jobs_are_exact_while_nodes_and_the_head_die() {
    let seconds = number("ENGINE_CHAOS_SECONDS", 20);
    let seed = number("ENGINE_CHAOS_SEED", 1);
    let mut cluster = Cluster::start(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        cluster.submit();
        cluster.strike();
        let pause = Duration::from_millis(300 + cluster.random.below(2_000));
        let until = Instant::now() + pause;
        while Instant::now() < until {
            cluster.thaw(false);
            cluster.look();
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    cluster.thaw(true);
    until("all jobs end", || {
        cluster.jobs.retain(|job| job.is_accepted);
        cluster.look();
        match cluster.jobs.first() {
            None => Ok(()),
            Some(job) => Err(cluster.place.engine(["job", "status", &job.submission]).run().to_string()),
        }
    });
    until("nothing is left", || cluster.is_idle());
    let Seen { killed, frozen, heads, exact, lost_with_their_root } = cluster.seen;
    println!(
        "seed {seed}, {seconds} s: {killed} nodes killed, {frozen} frozen, the head {heads} times; {exact} jobs were exact, {lost_with_their_root} ended with the node of their root"
    );
    assert!(exact > 0, "no job came to its end");
    for agent in &cluster.agents {
        agent.running.terminate();
    }
    for agent in std::mem::take(&mut cluster.agents) {
        let outcome = agent.running.wait();
        assert_is_sound(&outcome.stderr);
    }
    assert_is_sound(&cluster.head.take().expect("it runs").kill().stderr);
}
