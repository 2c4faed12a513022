//! A running engine.

use std::path::Path;

use serde_json::Value;

use crate::place::{Invocation, Place};
use crate::running::Running;
use crate::until::until;
use crate::{Outcome, engine_binary};

/// An `engine up` on a socket of its own; killed when dropped.
#[derive(Debug)]
pub struct Up {
    // Before the place, so that it ends before its directory does.
    running: Running,
    place: Place,
}

/// How many nodes an engine has whose test does not say: one, or `$ENGINE_TEST_NODES`. `cargo xtask test`
/// runs the tests of one node again with three.
///
/// # Panics
/// When that is no number.
pub fn nodes() -> usize {
    let named = std::env::var("ENGINE_TEST_NODES").unwrap_or_default();
    if named.is_empty() { 1 } else { named.parse().expect("ENGINE_TEST_NODES is a number") }
}

/// Whether guests run in processes of their tenant's own where a test does not say: when
/// `$ENGINE_TEST_ISOLATION` is `process`.
fn is_isolated() -> bool {
    std::env::var("ENGINE_TEST_ISOLATION").is_ok_and(|isolation| isolation == "process")
}

impl Up {
    /// Starts one with 2 CPUs and 4 GiB for guests, and waits until it listens. Memory is only a number
    /// in its ledger, and no test takes as much.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same with further options of `engine up`.
    pub fn with(options: &[&str]) -> Self {
        Self::in_place(Place::new(), options)
    }

    /// The same in a place that is there already.
    ///
    /// # Panics
    /// When it does not come to listen.
    pub fn in_place(place: Place, options: &[&str]) -> Self {
        let mut words = vec!["up"];
        for default in [["--memory", "4GiB"], ["--cpus", "2"]] {
            if !options.contains(&default[0]) {
                words.extend(default);
            }
        }
        words.extend(options);
        let nodes = nodes().to_string();
        if nodes != "1" && !options.contains(&"--nodes") {
            words.extend(["--nodes", &nodes]);
        }
        let mut running = place.engine(words).start();
        running.wait_for_stderr("listening on ");
        let up = Self { running, place };
        if is_isolated() {
            up.isolate("default");
        }
        up
    }

    /// A head of a cluster that listens already, in this place.
    pub fn around(running: Running, place: Place) -> Self {
        Self { running, place }
    }

    /// Has the guests of this tenant's next jobs run in a process of its own.
    #[track_caller]
    pub fn isolate(&self, tenant: &str) {
        self.engine(&["tenant", "set", tenant, "--isolation", "process"]).exits(0);
    }

    /// The processes of nodes that run guests: of which tenant, and their ids, by tenant.
    ///
    /// # Panics
    /// When a listing is not as it is documented.
    #[track_caller]
    pub fn workers(&self) -> Vec<(String, u32)> {
        let nodes = self.list("nodes", &[]);
        let workers = nodes.iter().flat_map(|node| node["workers"].as_array().expect("a list"));
        let worker = |worker: &Value| {
            let process = worker["process_id"].as_u64().and_then(|id| u32::try_from(id).ok());
            (worker["tenant"].as_str().expect("a name").to_owned(), process.expect("an id"))
        };
        let mut workers: Vec<_> = workers.map(worker).collect();
        workers.sort();
        workers
    }

    /// Where it runs.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The id of its process.
    pub fn process_id(&self) -> u32 {
        self.running.id()
    }

    /// What it has written to standard error so far.
    pub fn stderr_so_far(&self) -> String {
        self.running.stderr_so_far()
    }

    /// Runs a command against it, to its end.
    #[track_caller]
    pub fn engine(&self, arguments: &[&str]) -> Outcome {
        self.place.engine(arguments).run()
    }

    /// Runs a command that ends well and writes JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let words: Vec<&str> = arguments.iter().copied().chain(["--format", "json"]).collect();
        self.engine(&words).exits(0).json()
    }

    /// What a listing of this kind gives under these conditions.
    #[track_caller]
    pub fn list(&self, kind: &str, filters: &[&str]) -> Vec<Value> {
        let mut words = vec!["list", kind];
        for filter in filters {
            words.extend(["--filter", filter]);
        }
        match self.json(&words)["items"].take() {
            Value::Array(items) => items,
            other => panic!("no list: {other}"),
        }
    }

    /// Waits until a listing gives something, and gives the first of it.
    #[track_caller]
    pub fn wait_for_one(&self, kind: &str, filters: &[&str]) -> Value {
        until(&format!("there is one of the {kind} {filters:?}"), || {
            self.list(kind, filters).into_iter().next().ok_or_else(|| format!("{:?}", self.list(kind, &[])))
        })
    }

    /// A submit of a file that is no guest example, not run yet.
    pub fn submit_file(&self, module: &Path, options: &[&str]) -> Invocation {
        let module = module.to_str().expect("a path of ours");
        self.place.engine(["submit", module].iter().chain(options))
    }

    /// Runs a scenario of the selftest guest, to its end.
    #[track_caller]
    pub fn selftest(&self, arguments: &[&str]) -> Outcome {
        self.place.submit("selftest", arguments).run()
    }

    /// Runs one whose job succeeds, and gives its last line.
    #[track_caller]
    pub fn scenario(&self, arguments: &[&str]) -> Value {
        self.selftest(arguments).exits(0).last_json()
    }

    /// Submits a job of the selftest guest and leaves it; gives its id.
    #[track_caller]
    pub fn submit_no_wait(&self, options: &[&str], arguments: &[&str]) -> String {
        let options: Vec<&str> = options.iter().copied().chain(["--no-wait"]).collect();
        let outcome = self.place.submit_with("selftest", &options, arguments).run().exits(0);
        outcome.stdout.trim().to_owned()
    }

    /// Waits for the end of a job, and gives it.
    #[track_caller]
    pub fn wait_for_end(&self, job: &str) -> Value {
        until(&format!("{job} ends"), || {
            let view = self.json(&["job", "status", job]);
            let has_ended = ["SUCCEEDED", "FAILED", "STOPPED"].iter().any(|state| view["state"] == *state);
            if has_ended { Ok(view) } else { Err(view.to_string()) }
        })
    }

    /// Checks that this very engine, which met something bad, serves the next job.
    #[track_caller]
    pub fn still_serves(&mut self) {
        assert!(!self.running.has_ended(), "the engine is gone ({})", engine_binary().display());
        assert_eq!(self.scenario(&["identity", "7"])["value"], 7);
    }

    /// Waits until nothing is left of all jobs: resources, sandboxes, objects, tasks. For engines where
    /// no detached actor lives.
    ///
    /// # Panics
    /// When something stays.
    #[track_caller]
    pub fn wait_until_idle(&self) {
        until("nothing is left of the jobs", || {
            let status = self.json(&["status"]);
            let counters = &status["counters"];
            let zeros = [
                "live_instances",
                "queued_tasks",
                "running_tasks",
                "blocked_tasks",
                "actors_alive",
                "objects",
                "store_used_bytes",
                "spilled_bytes",
                // The store's own: the books above may be right and the arena not empty.
                "arena_objects",
                "spill_file_bytes",
            ];
            let idle = status["available"] == status["total"] && zeros.iter().all(|name| counters[name] == 0);
            if idle { Ok(()) } else { Err(format!("{status:#}")) }
        });
    }

    /// Ends it as Ctrl-C does.
    #[track_caller]
    pub fn stop(self) -> (Outcome, Place) {
        let Self { running, place } = self;
        running.interrupt();
        (running.wait(), place)
    }

    /// Ends it as a crash does.
    #[track_caller]
    pub fn kill(self) -> Place {
        let Self { running, place } = self;
        running.kill();
        place
    }
}
