//! Secrets of jobs: guests have them, and nobody else is shown one.

use std::fs;
use std::path::Path;

use engine_tests::{Outcome, Place, Running, Up, guest, how_to_join, until};
use serde_json::Value;

const SHOWN: &str = "a-value-that-a-guest-prints";
const HIDDEN: &str = "a-value-that-nobody-prints";

/// Somebody with a token; none: the operator.
struct Asker<'a> {
    place: &'a Place,
    token: Option<String>,
}

impl<'a> Asker<'a> {
    fn of(place: &'a Place, tenant: &str, role: &str) -> Self {
        let words = ["token", "create", "--tenant", tenant, "--role", role];
        Self { place, token: Some(place.engine(words).run().exits(0).stdout.trim().to_owned()) }
    }

    fn ask(&self, words: &[&str], input: &str) -> Outcome {
        let command = self.place.engine(words).input(input);
        match &self.token {
            Some(token) => command.env("ENGINE_TOKEN", token).run(),
            None => command.run(),
        }
    }

    fn engine(&self, words: &[&str]) -> Outcome {
        self.ask(words, "")
    }

    fn set(&self, name: &str, value: &str) -> Outcome {
        self.ask(&["secret", "set", name], value)
    }

    fn names(&self) -> Vec<String> {
        let listed = self.engine(&["secret", "list", "--format", "json"]).exits(0).json();
        let items = listed["items"].as_array().expect("a list").iter();
        items.map(|secret| secret["name"].as_str().expect("a name").to_owned()).collect()
    }

    fn submit(&self, options: &[&str], arguments: &[&str]) -> Outcome {
        let module = guest("selftest");
        let head = ["submit", module.to_str().expect("text")];
        let words: Vec<&str> = head.iter().chain(options).chain(&["--"]).chain(arguments).copied().collect();
        self.engine(&words)
    }

    /// The environment of a guest that is given these.
    fn environment(&self, options: &[&str]) -> Value {
        self.submit(options, &["context"]).exits(0).last_json()["value"]["env"].clone()
    }
}

fn has(environment: &Value, name: &str, value: &str) -> bool {
    environment.as_array().expect("a list").contains(&serde_json::json!([name, value]))
}

/// Every file below a folder that has this text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if path.is_file() {
            let bytes = fs::read(&path).unwrap_or_default();
            if bytes.windows(text.len()).any(|part| part == text.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

fn head(place: &Place, listen: &str) -> (Running, Vec<String>) {
    let memory = place.path("memory");
    let words = ["head", "--tls", "--listen", listen, "--data-dir", memory.to_str().expect("text")];
    let mut head = place.engine(words).start();
    let said = head.wait_for_stderr("listening on ");
    (head, how_to_join(&said))
}

#[test]
fn guests_of_a_cluster_have_them_and_nothing_else_does() {
    let place = Place::new();
    let (head_before, join) = head(&place, "127.0.0.1:0");
    let words: Vec<&str> = ["agent", "--cpus", "2", "--memory", "4GiB"]
        .into_iter()
        .chain(join.iter().map(String::as_str))
        .collect();
    let node = || {
        let mut node = place.engine(&words).start();
        node.wait_for_stderr("has joined the cluster");
        node
    };
    let nodes = [node(), node()];
    let [admin, submitter, viewer] =
        ["tenant-admin", "submitter", "viewer"].map(|role| Asker::of(&place, "red", role));
    let blue = Asker::of(&place, "blue", "tenant-admin");
    let operator = Asker { place: &place, token: None };

    admin.set("hidden", &format!("{HIDDEN}\n")).exits(0);
    admin.set("shown.key", "another value").exits(0);
    admin.set("shown.key", SHOWN).exits(0);
    operator.ask(&["secret", "set", "own", "--tenant", "blue"], "of blue").exits(0);
    for who in [&admin, &submitter] {
        assert_eq!(who.names(), ["hidden", "shown.key"]);
    }
    assert_eq!(blue.names(), ["own"]);
    viewer.engine(&["secret", "list"]).exits(2).says(&["PERMISSION_DENIED"]);
    submitter.set("more", "x").exits(2).says(&["PERMISSION_DENIED", "verb secret"]);
    submitter.engine(&["secret", "delete", "hidden"]).exits(2).says(&["PERMISSION_DENIED"]);
    blue.engine(&["secret", "list", "--tenant", "red"]).exits(2).says(&["PERMISSION_DENIED"]);

    let missing = blue.submit(&["--secret", "hidden"], &["nothing"]).exits(2);
    missing.says(&["NOT_FOUND", "the tenant blue has no secret \"hidden\""]);
    submitter.submit(&["--secret", "A=hidden", "--env", "A=1"], &["nothing"]).exits(2).says(&["twice"]);

    // On each node of the cluster.
    let sleeping = ["--no-wait", "--secret", "HIDDEN=hidden", "--name", "sleeper"];
    let job = submitter.submit(&sleeping, &["sleeps", "4", "600000"]).exits(0).stdout.trim().to_owned();
    let running = || {
        operator.engine(&["list", "tasks", "--filter", "state=RUNNING", "--format", "json"]).exits(0).json()
    };
    until("its tasks run on both nodes", || {
        let tasks = running();
        let items = tasks["items"].as_array().expect("a list").iter();
        let on: std::collections::HashSet<&str> = items.filter_map(|task| task["node_id"].as_str()).collect();
        if on.len() == 2 { Ok(()) } else { Err(tasks.to_string()) }
    });
    let task = running()["items"][0]["task_id"].as_str().expect("an id").to_owned();
    for words in [
        ["job", "status", &job, "--format", "json"].as_slice(),
        &["get", "job", &job],
        &["list", "jobs", "--format", "json"],
        &["list", "tasks", "--format", "json"],
        &["list", "events", "--format", "json"],
        &["explain", &task],
        &["logs", &job],
        &["status", "--format", "json"],
        &["secret", "list", "--tenant", "red", "--format", "json"],
        &["audit", "--format", "json"],
    ] {
        let told = operator.engine(words).exits(0);
        assert!(!told.stdout.contains(HIDDEN) && !told.stderr.contains(HIDDEN), "{words:?}");
    }
    for process in nodes.iter().chain([&head_before]) {
        assert!(!process.stderr_so_far().contains(HIDDEN), "{process:?}");
        for file in ["cmdline", "environ"] {
            let text = fs::read(format!("/proc/{}/{file}", process.id())).expect("it runs");
            assert!(!String::from_utf8_lossy(&text).contains(HIDDEN), "{file} of {process:?}");
        }
    }
    let all = place.path("");
    let all = all.parent().expect("the folder of the place");
    assert!(all.join("files/memory/secrets/red.hidden").exists(), "it is kept, sealed");
    assert_eq!(files_with(all, HIDDEN), [] as [String; 0]);
    operator.engine(&["job", "stop", &job]).exits(0);

    // A head that was killed has them again.
    head_before.kill();
    let (_head, _) = head(&place, &join[1]);
    assert_eq!(submitter.names(), ["hidden", "shown.key"]);
    let environment = submitter.environment(&["--secret", "hidden", "--secret", "KEY=shown.key"]);
    assert!(has(&environment, "hidden", HIDDEN) && has(&environment, "KEY", SHOWN), "{environment}");
    admin.engine(&["secret", "delete", "shown.key"]).exits(0);
    submitter.submit(&["--secret", "KEY=shown.key"], &["nothing"]).exits(2).says(&["NOT_FOUND", "shown.key"]);
    admin.engine(&["secret", "delete", "shown.key"]).exits(2).says(&["NOT_FOUND"]);
}

#[test]
fn an_engine_of_one_node_holds_them_in_memory() {
    let up = Up::start();
    let operator = Asker { place: up.place(), token: None };
    operator.set("key", SHOWN).exits(0);
    assert_eq!(operator.names(), ["key"]);
    let environment = operator.environment(&["--secret", "key"]);
    assert!(has(&environment, "key", SHOWN), "{environment}");
    let wrong = operator.set("hunter 2", "x").exits(2);
    assert!(!wrong.stderr.contains("hunter"), "a name that is none may be a value: {wrong}");
    operator.set("long", &"x".repeat(40_000)).exits(2).says(&["LIMIT_EXCEEDED", "secret_bytes_max"]);
    up.wait_until_idle();
    let (_, place) = up.stop();
    let up = Up::in_place(place, &[]);
    let operator = Asker { place: up.place(), token: None };
    assert!(operator.names().is_empty());
    let missing = operator.submit(&["--secret", "key"], &["nothing"]).exits(2);
    missing.says(&["NOT_FOUND", "engine secret set key"]);
}
