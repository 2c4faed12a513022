//! A cluster with TLS, on loopback: who gets in and who does not.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use engine_tests::{Outcome, Place, Running, how_to_join, until};
use serde_json::{Value, json};

/// A head with TLS, in a place of its own.
struct Head {
    running: Running,
    place: Place,
    at: String,
    token: String,
}

impl Head {
    fn start() -> Self {
        Self::in_place(Place::new(), "127.0.0.1:0", &[])
    }

    fn in_place(place: Place, listen: &str, options: &[&str]) -> Self {
        let folder = place.path("memory");
        let words = ["head", "--tls", "--listen", listen, "--data-dir", folder.to_str().expect("text")];
        let mut running = place.engine(words.iter().chain(options)).start();
        let said = running.wait_for_stderr("listening on ");
        let [_, at, flag, token] = how_to_join(&said).try_into().expect("four words");
        assert_eq!(flag, "--join-token");
        Self { running, place, at, token }
    }

    fn folder(&self) -> PathBuf {
        self.place.path("memory").join("tls")
    }

    fn credentials(&self) -> PathBuf {
        self.folder().join("credentials.pem")
    }

    /// An agent that joins with this token.
    fn agent(&self, token: &str) -> Running {
        let words = ["agent", "--head", &self.at, "--cpus", "1", "--memory", "4GiB", "--join-token", token];
        self.place.engine(words).start()
    }

    fn node(&self) -> Running {
        let mut node = self.agent(&self.token);
        node.wait_for_stderr("has joined the cluster");
        node
    }

    /// A command that shows these credentials to an engine at this address, with no other way to it.
    fn client(&self, address: &str, credentials: &str, words: &[&str]) -> Outcome {
        let named = ["--address", address, "--credentials", credentials];
        Place::new().engine(named.iter().chain(words)).run()
    }

    /// The same to the head with its own.
    fn shown(&self, words: &[&str]) -> Outcome {
        self.client(&self.at, self.credentials().to_str().expect("text"), words)
    }

    /// Another token of it.
    fn new_token(&self, ttl: &str) -> Outcome {
        let folder = self.place.path("memory");
        let words = ["head", "token", "--ttl", ttl, "--data-dir", folder.to_str().expect("text")];
        self.place.engine(words).run()
    }
}

/// Where a node listens, as it has said.
fn address_of(node: &Running) -> String {
    let said = node.stderr_so_far();
    let (_, at) = said.split_once("listening on ").expect("it says where");
    at.split_whitespace().next().expect("an address").to_owned()
}

fn nodes_of(head: &Head) -> Vec<Value> {
    let nodes = head.shown(&["list", "nodes", "--format", "json"]).exits(0).json();
    nodes["items"].as_array().expect("a list").clone()
}

// contract: O5
#[test]
fn a_cluster_with_tls_runs_jobs_whose_objects_cross_nodes() {
    let head = Head::start();
    let nodes = [head.node(), head.node()];
    // By the socket of this machine's user, and by TLS with credentials.
    let seen = head.place.submit("selftest", &["bytes", "3000000"]).run().exits(0).last_json();
    assert_eq!((&seen["length"], &seen["sum"]), (&json!(3_000_000), &json!(9_000_000)), "{seen}");
    let sorted = head.place.submit("sort-tree", &[]).run().exits(0).last_json();
    assert_eq!((&sorted["sorted"], &sorted["count"]), (&json!(true), &json!(1_000_000)));
    let module = engine_tests::guest("selftest");
    let words = ["submit", module.to_str().expect("text"), "--", "sleeps", "6", "300"];
    let seen = head.shown(&words).exits(0).last_json();
    assert_eq!(seen["value"], (0..6).collect::<Value>());
    let tasks = head.shown(&["list", "tasks", "--format", "json"]).exits(0).json();
    let homes: std::collections::HashSet<String> =
        tasks["items"].as_array().expect("a list").iter().map(|task| task["node_id"].to_string()).collect();
    assert_eq!(homes.len(), 2, "both nodes had some: {homes:?}");
    // A client may speak with a node too.
    let credentials = head.credentials();
    head.client(&address_of(&nodes[0]), credentials.to_str().expect("text"), &["status"]).exits(0);
    for secret in ["ca.pem", "join-tokens", "join-command", "credentials.pem"] {
        let mode = fs::metadata(head.folder().join(secret)).expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let command = fs::read_to_string(head.folder().join("join-command")).expect("text");
    assert_eq!(command.trim(), format!("engine agent --head {} --join-token {}", head.at, head.token));
}

#[test]
fn wrong_tokens_are_refused_with_what_to_do() {
    let head = Head::start();
    let refused = |token: &str| head.agent(token).wait();
    // The secret of another token of the same head's authority.
    let mut parts: Vec<&str> = head.token.split('-').collect();
    let secret = "0".repeat(32);
    parts[2] = &secret;
    refused(&parts.join("-")).exits(2).says(&[
        "UNAUTHENTICATED",
        "does not know this join token",
        "engine head token",
    ]);
    let other = Head::start();
    refused(&other.token).exits(2).says(&["of another cluster", "join token"]);
    let cut = refused(&head.token[..40]).exits(2).says(&["no join token"]);
    assert!(!cut.stderr.contains(&head.token[..30]), "the secret is not shown");
    let soon = head.new_token("1s").exits(0).stdout;
    until("the token has expired", || {
        let mut agent = head.agent(soon.trim());
        let joined = until("it is let in or not", || {
            let ended = agent.has_ended();
            let said = agent.stderr_so_far();
            match ended || said.contains("has joined the cluster") {
                true => Ok(!ended),
                false => Err(said),
            }
        });
        match joined {
            true => {
                agent.interrupt();
                Err(agent.wait().to_string())
            }
            false => Ok(agent.wait()),
        }
    })
    .exits(2)
    .says(&["has expired", "join_token_ttl", "engine head token"]);
    let token = head.new_token("1h").exits(0).stdout;
    head.agent(token.trim()).wait_for_stderr("has joined the cluster");
    head.new_token("31d").exits(2).says(&["30 days"]);
}

#[test]
fn without_tls_nobody_gets_in() {
    let head = Head::start();
    let node = head.node();
    let plain = Place::new();
    for at in [head.at.clone(), address_of(&node)] {
        plain
            .engine(["--address", &at, "list", "nodes"])
            .run()
            .exits(3)
            .says(&["speaks TLS", "--credentials"]);
        plain
            .engine(["--address", &format!("https://{at}"), "status"])
            .run()
            .exits(3)
            .says(&["--credentials"]);
    }
    let agent = plain.engine(["agent", "--head", &head.at, "--cpus", "1", "--memory", "4GiB"]).run();
    agent.exits(2).says(&["speaks TLS", "--join-token"]);
}

#[test]
fn credentials_of_another_cluster_or_none_are_refused() {
    let (head, other) = (Head::start(), Head::start());
    let path = |head: &Head| head.credentials().to_str().expect("text").to_owned();
    head.client(&head.at, &path(&other), &["status"]).exits(3).says(&["of another cluster"]);
    let missing = head.place.path("missing.pem");
    let missing = missing.to_str().expect("text");
    head.client(&head.at, missing, &["status"]).exits(3).says(&["missing.pem", "there is no such file"]);
    let open = head.place.file("open.pem", fs::read(path(&head)).expect("they are there"));
    head.client(&head.at, open.to_str().expect("text"), &["status"]).exits(3).says(&["chmod 600"]);
    // To a head without TLS.
    let plain = Place::new();
    let mut running = plain.engine(["head", "--listen", "127.0.0.1:0", "--in-memory"]).start();
    let said = running.wait_for_stderr("listening on ");
    let at = said.split_once("engine agent --head ").and_then(|(_, at)| at.split_whitespace().next());
    let at = at.expect("an address");
    head.client(at, &path(&head), &["status"]).exits(3).says(&["does not speak TLS"]);
    let agent = plain.engine(["agent", "--head", at, "--join-token", &head.token]).run();
    agent.exits(2).says(&["does not speak TLS"]);
}

// contract: H2
#[test]
fn a_head_that_comes_back_is_the_one_that_its_nodes_know() {
    let head = Head::start();
    let _nodes = [head.node(), head.node()];
    let ca = fs::read(head.folder().join("ca.pem")).expect("it is there");
    let credentials = head.place.file("kept.pem", "");
    fs::copy(head.credentials(), &credentials).expect("they are copied, with their mode");
    let before = nodes_of(&head);
    let Head { running, place, at, token } = head;
    running.kill();
    let head = Head::in_place(place, &at, &[]);
    assert_eq!(head.at, at);
    assert_eq!(fs::read(head.folder().join("ca.pem")).expect("it is there"), ca);
    assert_ne!(head.token, token, "it makes a new one");
    let ids = |nodes: &[Value]| {
        let mut ids: Vec<String> = nodes.iter().map(|node| node["node_id"].to_string()).collect();
        ids.sort();
        ids
    };
    until("both nodes are back, with the ids that they had", || {
        let words = ["status", "--format", "json"];
        head.client(&at, credentials.to_str().expect("text"), &words).exits(0);
        let nodes = nodes_of(&head);
        if ids(&nodes) == ids(&before) { Ok(()) } else { Err(format!("{nodes:?}")) }
    });
    let done = head.place.submit("selftest", &["sleeps", "6", "300"]).run().exits(0);
    assert_eq!(done.last_json()["value"], (0..6).collect::<Value>());
    // The old token is good for another node.
    head.agent(&token).wait_for_stderr("has joined the cluster");
}

// contract: H1, H3
#[test]
fn a_frozen_node_comes_back_with_another_id_and_certificate() {
    let head = Head::start();
    let (node, _other) = (head.node(), head.node());
    let of_process = |nodes: &[Value]| {
        nodes.iter().find(|view| view["process_id"] == node.id() && view["state"] == "ALIVE").cloned()
    };
    let before = of_process(&nodes_of(&head)).expect("it is there");
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill").args([name, &node.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    };
    signal("-STOP");
    until("it is dead", || {
        let nodes = nodes_of(&head);
        if of_process(&nodes).is_none() { Ok(()) } else { Err(format!("{nodes:?}")) }
    });
    signal("-CONT");
    let after = until("it is back", || {
        let nodes = nodes_of(&head);
        of_process(&nodes).ok_or_else(|| format!("{nodes:?}"))
    });
    assert_ne!(after["node_id"], before["node_id"]);
    let done = head.place.submit("selftest", &["sleeps", "6", "300"]).run().exits(0);
    assert_eq!(done.last_json()["value"], (0..6).collect::<Value>());
}

#[test]
fn the_certificate_of_a_node_that_has_left_is_good_no_more() {
    let head = Head::start();
    let (leaves, frozen, _stays) = (head.node(), head.node(), head.node());
    let of_process = |process: u32| {
        let nodes = nodes_of(&head);
        nodes.into_iter().find(|view| view["process_id"] == process).expect("it is listed")
    };
    let id_of = |process: u32| of_process(process)["node_id"].as_str().expect("an id").to_owned();
    // In order, over the connections that it has.
    head.place.engine(["drain", &id_of(leaves.id())]).run().exits(0).prints(&["has left"]);
    leaves.wait().exits(0).says(&["has left the cluster"]);

    // One that was frozen would come back by its certificate.
    let id = id_of(frozen.id());
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill").args([name, &frozen.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    };
    signal("-STOP");
    until("it is dead", || match of_process(frozen.id()) {
        view if view["state"] == "DEAD" => Ok(()),
        view => Err(view.to_string()),
    });
    head.place.engine(["drain", &id]).run().exits(2).says(&["is dead"]);
    head.place.engine(["drain", &id, "--revoke"]).run().exits(0).prints(&["has left"]);
    assert_eq!(of_process(frozen.id())["state"], "LEFT");
    // The token that it has joined with is another matter.
    fs::remove_file(head.folder().join("join-tokens")).expect("it is there");
    signal("-CONT");
    frozen.wait().exits(2).says(&["starting afresh", "does not know this join token"]);
    let alive = nodes_of(&head).into_iter().filter(|view| view["state"] == "ALIVE").count();
    assert_eq!(alive, 1, "the one that stays");

    // A new token lets a node join again.
    let token = head.new_token("1h").exits(0).stdout;
    head.agent(token.trim()).wait_for_stderr("has joined the cluster");
}

#[test]
fn beyond_loopback_there_is_tls_by_itself() {
    let place = Place::new();
    let head = Head::in_place(place, "0.0.0.0:0", &[]);
    let at: SocketAddr = head.at.parse().expect("one that others can reach");
    assert!(!at.ip().is_unspecified());
    let here = format!("127.0.0.1:{}", at.port());
    let credentials = head.credentials();
    head.client(&here, credentials.to_str().expect("text"), &["list", "nodes"]).exits(0);
    Place::new().engine(["--address", &here, "list", "nodes"]).run().exits(3).says(&["speaks TLS"]);
    // Without a folder there is no authority, and without TLS nothing listens beyond loopback.
    let place = Place::new();
    place.engine(["head", "--listen", "0.0.0.0:0", "--in-memory"]).run().exits(2).says(&["--data-dir"]);
    place.engine(["up", "--address", "0.0.0.0:0"]).run().exits(2).says(&["loopback", "engine head --listen"]);
    let agent = ["agent", "--head", "127.0.0.1:1", "--listen", "192.0.2.1:0"];
    place.engine(agent).run().exits(2).says(&["loopback", "join token"]);
    let agent = ["agent", "--head", "127.0.0.1:1", "--listen", "0.0.0.0:0"];
    place.engine(agent).run().exits(2).says(&["no address that other nodes could reach"]);
}
