//! Everything at once while nodes and the head die or are cut off: `cargo xtask chaos` runs it for longer.
//!
//! Jobs of the guest `chaos` check all that they get. A job may fail for one reason: the node of its root
//! task has died, and it was not to be run again.

use std::time::{Duration, Instant};

use engine_tests::{Network, Place, Running, how_to_join, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const NODES: usize = 4;
/// Which member of the network the head is; the nodes are the next ones.
const HEAD: usize = 0;
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
    /// Where it is in the network.
    member: usize,
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
    /// Run again as often as its root's node dies.
    is_run_again: bool,
}

#[derive(Default)]
struct Seen {
    killed: u32,
    frozen: u32,
    cut: u32,
    heads: u32,
    exact: u32,
    /// Among these, those of which a run was lost.
    run_again: u32,
    lost_with_their_root: u32,
}

struct Cluster {
    agents: Vec<Agent>,
    head: Option<Running>,
    at: String,
    /// What an agent needs to join.
    join: Vec<String>,
    /// What does not go from one member to another, and until when.
    cuts: Vec<(Instant, usize, usize)>,
    jobs: Vec<Job>,
    submitted: u64,
    random: Random,
    seen: Seen,
    // The last, so that the others end before their folder and their network go.
    place: Place,
    /// None where only root may have one: then nothing is cut.
    network: Option<Network>,
}

impl Cluster {
    fn start(seed: u64) -> Self {
        let place = Place::new();
        let network = Network::new(1 + NODES);
        let listen = network.as_ref().map(|network| format!("{}:7420", network.address(HEAD)));
        let (head, join) = start_head(&place, network.as_ref(), listen.as_deref().unwrap_or("127.0.0.1:0"));
        let mut cluster = Self {
            agents: Vec::new(),
            head: Some(head),
            at: join[1].clone(),
            join,
            cuts: Vec::new(),
            jobs: Vec::new(),
            submitted: 0,
            // Zero would stay zero.
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            seen: Seen::default(),
            place,
            network,
        };
        for node in 0..NODES {
            cluster.start_agent(1 + node);
        }
        for agent in &mut cluster.agents {
            agent.running.wait_for_stderr("has joined the cluster");
        }
        cluster
    }

    fn start_agent(&mut self, member: usize) {
        let sizes = ["agent", "--cpus", "2", "--memory", "4GiB", "--store-memory", "64MiB"];
        let command = self.place.engine(sizes.into_iter().chain(self.join.iter().map(String::as_str)));
        let command = match &self.network {
            Some(network) => network.inside(member, command),
            None => command,
        };
        self.agents.push(Agent { running: command.start(), member, frozen_until: None });
    }

    /// Submits a job, or one that the head has not answered, again.
    fn submit(&mut self) {
        while self.jobs.len() < JOBS {
            self.submitted += 1;
            let seed = self.random.below(1 << 40).to_string();
            let submission = format!("chaos-{}", self.submitted);
            let is_run_again = self.submitted.is_multiple_of(2);
            self.jobs.push(Job { submission, seed, is_accepted: false, is_run_again });
        }
        for job in self.jobs.iter_mut().filter(|job| !job.is_accepted) {
            let retries = if job.is_run_again { "100" } else { "0" };
            let options = ["--no-wait", "--submission-id", &job.submission, "--job-retries", retries];
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
                Some("SUCCEEDED") => {
                    seen.exact += 1;
                    seen.run_again += u32::from(view["run"].as_u64().is_some_and(|run| run > 0));
                }
                Some("FAILED") if view["error"]["code"] == "NODE_DIED" && !job.is_run_again => {
                    seen.lost_with_their_root += 1;
                }
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
        match self.random.below(if self.network.is_some() { 14 } else { 10 }) {
            0..4 if healthy.len() > NODES / 2 => {
                self.seen.killed += 1;
                let Agent { running, member, .. } = self.agents.swap_remove(victim);
                assert_is_sound(&running.kill().stderr);
                self.start_agent(member);
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
                self.head = Some(start_head(&self.place, self.network.as_ref(), &self.at).0);
            }
            10..14 if self.cuts.is_empty() => self.cut(self.agents[victim].member),
            _ => {}
        }
    }

    /// Cuts a node off: from all, one way from or to the head, or from another node.
    fn cut(&mut self, member: usize) {
        let Some(network) = &self.network else { return };
        self.seen.cut += 1;
        let until = Instant::now() + Duration::from_millis(200 + self.random.below(6_000));
        let other =
            (0..=NODES).filter(|other| *other != member).nth(self.random.below(NODES as u64) as usize);
        let other = other.expect("there are others");
        let pairs: Vec<(usize, usize)> = match self.random.below(4) {
            0 => (0..=NODES)
                .filter(|end| *end != member)
                .flat_map(|end| [(member, end), (end, member)])
                .collect(),
            1 => vec![(member, HEAD)],
            2 => vec![(HEAD, member)],
            _ => vec![(member, other), (other, member)],
        };
        for (from, to) in pairs {
            network.cut(from, to);
            self.cuts.push((until, from, to));
        }
    }

    fn heal(&mut self, all: bool) {
        let Some(network) = &self.network else { return };
        self.cuts.retain(|(until, from, to)| {
            let is_over = all || *until <= Instant::now();
            if is_over {
                network.heal(*from, *to);
            }
            !is_over
        });
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

/// Starts the head; also what an agent needs to join: `--head`, where that is, and more.
fn start_head(place: &Place, network: Option<&Network>, listen: &str) -> (Running, Vec<String>) {
    let memory = place.path("head");
    let memory = memory.to_str().expect("a path of text");
    let command = place.engine(["head", "--listen", listen, "--data-dir", memory]);
    let command = match network {
        Some(network) => network.inside(HEAD, command),
        None => command,
    };
    let mut head = command.start();
    let said = head.wait_for_stderr("listening on ");
    (head, how_to_join(&said))
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
            cluster.heal(false);
            cluster.look();
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    cluster.thaw(true);
    cluster.heal(true);
    until("all jobs end", || {
        cluster.jobs.retain(|job| job.is_accepted);
        cluster.look();
        match cluster.jobs.first() {
            None => Ok(()),
            Some(job) => Err(cluster.place.engine(["job", "status", &job.submission]).run().to_string()),
        }
    });
    until("nothing is left", || cluster.is_idle());
    let Seen { killed, frozen, cut, heads, exact, run_again, lost_with_their_root } = cluster.seen;
    println!(
        "seed {seed}, {seconds} s: {killed} nodes killed, {frozen} frozen, {cut} cut off, the head killed {heads} times; {exact} jobs were exact, {run_again} of them run again, {lost_with_their_root} ended with the node of their root"
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
