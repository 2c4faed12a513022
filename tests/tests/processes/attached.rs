//! Jobs that are bound to the clients that submitted them (contract J3).

use std::io::{Read, Write, copy};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use engine_tests::{Place, Up, until};
use serde_json::json;

use super::cluster::start_head_with;

/// A way to an engine's socket that can be cut.
struct Proxy {
    path: PathBuf,
    open: Arc<Mutex<Vec<UnixStream>>>,
}

impl Proxy {
    fn start(path: PathBuf, engine: &Path) -> Self {
        let listener = UnixListener::bind(&path).expect("a socket of ours");
        let open: Arc<Mutex<Vec<UnixStream>>> = Arc::default();
        let (connections, engine) = (open.clone(), engine.to_owned());
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Ok(server) = UnixStream::connect(&engine) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let from = from.try_clone().expect("a descriptor");
                    let to = to.try_clone().expect("a descriptor");
                    thread::spawn(move || pass_on(from, to));
                }
                connections.lock().expect("nobody panics").extend([client, server]);
            }
        });
        Self { path, open }
    }

    fn address(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    /// Cuts all connections; new ones can be made.
    fn cut(&self) {
        let open = std::mem::take(&mut *self.open.lock().expect("nobody panics"));
        assert!(!open.is_empty(), "somebody is connected");
        for stream in open {
            // The other end may have gone first.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass_on(mut from: impl Read, mut to: impl Write) {
    // It ends with either end.
    let _ = copy(&mut from, &mut to);
}

// contract: J3
#[test]
fn a_job_whose_client_is_killed_is_stopped_after_the_grace() {
    for options in [&["--client-grace", "1s"][..], &["--client-grace", "1s", "--nodes", "2", "--cpus", "1"]] {
        let up = Up::with(options);
        let free = up.submit_no_wait(&["--name", "free"], &["sleeps", "1", "60000"]);
        let submit =
            up.place().submit_with("selftest", &["--name", "bound"], &["sleeps", "2", "60000"]).start();
        let bound = up.wait_for_one("jobs", &["name=bound", "state=RUNNING"]);
        let bound = bound["job_id"].as_str().expect("text");
        until("its client is attached and its tasks run", || {
            let running = up.list("tasks", &[&format!("job={bound}"), "state=RUNNING"]);
            if running.is_empty() { Err("none does".to_owned()) } else { Ok(()) }
        });
        submit.kill();
        let ended = up.wait_for_end(bound);
        assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("STOPPED"), &json!("TASK_CANCELLED")));
        let message = ended["error"]["message"].as_str().expect("text");
        assert!(message.contains("client_grace") && message.contains("1s"), "{message}");
        let other = up.json(&["job", "status", &free]);
        assert_eq!(other["state"], "RUNNING", "it is bound to nobody: {other:#}");
        up.engine(&["job", "stop", &free]).exits(0);
        up.wait_until_idle();
    }
}

// contract: J3
#[test]
fn a_client_whose_connection_breaks_comes_back_and_misses_nothing() {
    for options in [&[][..], &["--nodes", "2", "--cpus", "1"]] {
        let up = Up::with(options);
        let proxy = Proxy::start(up.place().path("way.sock"), &up.place().socket());
        let address = proxy.address();
        let words = ["--address", &address, "--name", "bound"];
        let mut submit = up.place().submit_with("selftest", &words, &["sayings", "16", "500"]).start();
        for cut in 0..3 {
            submit.wait_for_stdout(&format!("number {}", cut * 4));
            proxy.cut();
            until("it says so", || {
                let said = submit.wait_for_stderr("connected again");
                let times = said.matches("connected again").count();
                if times > cut { Ok(()) } else { Err(said) }
            });
        }
        let outcome = submit.wait().exits(0);
        assert_eq!(outcome.stderr.matches("the connection broke").count(), 3, "{outcome}");
        for n in 0..16 {
            let text = format!("number {n}");
            let lines = outcome.stdout.lines().filter(|line| line.ends_with(&text)).count();
            assert_eq!(lines, 1, "{text}: {outcome}");
        }
        assert_eq!(up.list("jobs", &["name=bound"])[0]["state"], "SUCCEEDED");
        up.wait_until_idle();
    }
}

// contract: J3, H2
#[test]
fn a_job_whose_head_is_away_for_longer_than_the_grace_goes_on_with_its_client() {
    let place = Place::new();
    let folder = place.path("memory");
    let memory = ["--data-dir", folder.to_str().expect("text")];
    let (head, at) = start_head_with(&place, "127.0.0.1:0", &memory);
    let sizes = ["--cpus", "1", "--memory", "4GiB", "--client-grace", "3s"];
    let mut node = place.engine(["agent", "--head", &at].iter().chain(&sizes)).start();
    node.wait_for_stderr("has joined the cluster");
    let mut submit = place.submit("selftest", &["sleeps", "3", "4000"]).start();
    until("its tasks run", || {
        let running = place.engine(["list", "tasks", "--filter", "function=good::sleep", "--format", "json"]);
        let running = running.run().exits(0).json();
        if running["total"] == 3 { Ok(()) } else { Err(running.to_string()) }
    });
    head.kill();
    submit.wait_for_stderr("the connection broke");
    // What takes longer than the grace.
    let meanwhile =
        place.submit_with("selftest", &["--embedded", "--engine-cpus", "1"], &["sleeps", "1", "4000"]);
    meanwhile.run().exits(0);
    let (_head, again) = start_head_with(&place, &at, &memory);
    assert_eq!(again, at);
    let outcome = submit.wait().exits(0);
    assert_eq!(outcome.last_json()["value"], json!([0, 1, 2]), "{outcome}");
    assert!(outcome.stderr.contains("connected again"), "{outcome}");
}
