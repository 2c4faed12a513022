//! Disks that take long for what they are asked (`engine/net/src/faults/disk.rs`): work goes on, and nobody
//! is taken for dead.

use engine_tests::{Place, Running, Up};
use serde_json::{Value, json};

const VARIABLE: &str = "ENGINE_TEST_FAULTS";

/// A head and three nodes with little memory for objects.
struct Cluster {
    // Before the head, so that they end before it.
    nodes: Vec<Running>,
    up: Up,
}

impl Cluster {
    fn start(head_disk: &str, node_disks: &str) -> Self {
        let place = Place::new();
        let folder = place.path("memory");
        let memory = ["--data-dir", folder.to_str().expect("text")];
        let head = place.engine(["head", "--listen", "127.0.0.1:0"].iter().chain(&memory));
        let mut head = head.env(VARIABLE, head_disk).start();
        let said = head.wait_for_stderr("listening on ");
        let at = engine_tests::how_to_join(&said).swap_remove(1);
        let node = |n| {
            let spill = place.path(&format!("spill-{n}"));
            std::fs::create_dir(&spill).expect("a folder");
            let spill = spill.to_str().expect("text");
            let words =
                ["agent", "--head", &at, "--cpus", "1", "--memory", "4GiB", "--store-memory", "16MiB"];
            let node = place.engine(words.iter().chain(&["--spill-dir", spill]));
            let mut node = node.env(VARIABLE, node_disks).start();
            node.wait_for_stderr("has joined the cluster");
            node
        };
        let nodes = (0..3).map(node).collect();
        Self { nodes, up: Up::around(head, place) }
    }

    /// Nobody was taken for dead, and nothing is left.
    #[track_caller]
    fn ends(mut self) {
        assert_eq!(self.up.list("nodes", &["state=ALIVE"]).len(), 3);
        assert_eq!(self.up.list("events", &["kind=NODE_DIED"]), Vec::<Value>::new());
        self.up.wait_until_idle();
        for node in &mut self.nodes {
            assert!(!node.has_ended(), "{}", node.stderr_so_far());
        }
    }
}

// contract: O7
#[test]
fn objects_go_to_slow_disks_and_come_back_whole() {
    let late = "delay:0.25:200ms";
    let cluster = Cluster::start("", &format!("Disk.SpillWrite={late};Disk.SpillRead={late};seed=5"));
    let outcome = cluster.up.place().submit("external-sort", &["96", "2"]).run().exits(0);
    let result = outcome.last_json();
    assert_eq!((&result["sorted"], &result["bytes"]), (&json!(true), &json!(96 << 20)), "{outcome}");
    cluster.ends();
}

/// Each commit takes longer than a node may be silent.
// contract: H1
#[test]
fn a_head_whose_disk_is_slow_knows_who_lives_and_remembers_what_it_said() {
    let cluster = Cluster::start("Disk.Commit=delay:1:3500ms", "");
    let running = cluster.up.submit_no_wait(&[], &["sleeps", "3", "12000"]);
    let seen = cluster.up.place().submit("selftest", &["named-actor"]).run().exits(0).last_json();
    assert_eq!((&seen["taken"]["code"], &seen["found"]), (&json!("ALREADY_EXISTS"), &json!(6)), "{seen}");
    assert_eq!(cluster.up.wait_for_end(&running)["state"], "SUCCEEDED");
    cluster.ends();
}
