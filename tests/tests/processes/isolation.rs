//! Tenants whose guests run in a process of their own: the same results, and a wall around them.

use std::fs;

use engine_tests::{Place, Up, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::tenants::{Tenant, tenant};

/// An engine of one node, with tokens, and these tenants, each of whose guests run apart.
fn up_with<'a>(up: &'a Up, names: &[&str]) -> Vec<Tenant<'a>> {
    let isolated = |name: &&str| {
        up.engine(&["tenant", "create", name, "--isolation", "process"]).exits(0);
        tenant(up.place(), None, name, "submitter")
    };
    names.iter().map(isolated).collect()
}

fn one_node() -> Up {
    Up::in_place(Place::new(), &["--nodes", "1"])
}

fn kill(process: u32) {
    let process = Pid::from_raw(process.try_into().expect("an id")).expect("an id");
    kill_process(process, Signal::KILL).expect("it runs");
}

/// The process that runs a tenant's guests.
#[track_caller]
fn worker(up: &Up, tenant: &str) -> u32 {
    until(&format!("there is a worker of {tenant}"), || {
        let workers = up.workers();
        let found = workers.iter().find(|(name, _)| name == tenant);
        found.map(|(_, process)| *process).ok_or_else(|| format!("{workers:?}"))
    })
}

/// A field of what the kernel says of a process, as its words.
fn status(process: u32, field: &str) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{field} is missing in {status}"))
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// What the selftest guest gives on threads of the node, it gives in a process of its own.
#[test]
fn results_are_the_same_in_a_process_of_their_own() {
    let up = one_node();
    let tenants = up_with(&up, &["apart"]);
    let apart = &tenants[0];
    let scenarios: [&[&str]; 23] = [
        &["nothing"],
        &["identity", "18446744073709551615"],
        &["noop-warm", "100"],
        &["nested", "10"],
        &["nest", "10"],
        &["fan-out", "50"],
        &["bytes", "0"],
        &["bytes", "102400"],
        &["bytes", "102401"],
        &["bytes", "4194304"],
        &["many-returns", "10"],
        &["warm", "5"],
        &["cancel"],
        &["stream", "10"],
        &["stream-bounded", "10"],
        &["stream-fail", "3"],
        &["counter", "5"],
        &["actor-order", "10"],
        &["actor-restart"],
        &["actor-handles"],
        &["wait", "10"],
        &["flaky", "2"],
        &["payload"],
    ];
    // Ids and places in source text differ by nothing; what names a task does.
    let without_ids = |value: Value| {
        let text = value.to_string();
        let digits = |text: &str| text.chars().take_while(char::is_ascii_hexdigit).count();
        let mut plain = String::new();
        let mut rest = text.as_str();
        while let Some(at) = ["task-", "obj-", "node-", "actor-"]
            .iter()
            .filter_map(|prefix| rest.find(prefix).map(|at| at + prefix.len()))
            .min()
        {
            plain.push_str(&rest[..at]);
            rest = &rest[at + digits(&rest[at..])..];
        }
        plain + rest
    };
    let mut wrong = Vec::new();
    for arguments in scenarios {
        let (here, there) = (up.selftest(arguments), apart.submit(&[], arguments));
        if here.status != there.status || without_ids(here.last_json()) != without_ids(there.last_json()) {
            wrong.push(format!("{arguments:?}: here {here}\nthere {there}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (arguments, code) in [
        (["panic", "why"].as_slice(), "TRAPPED"),
        (&["unreachable"], "TRAPPED"),
        (&["allocate-forever"], "OUT_OF_MEMORY"),
    ] {
        let error = apart.submit(&[], arguments).exits(0).last_json();
        assert_eq!(error["code"], code, "{arguments:?}: {error}");
    }
    let logged = apart.submit(&[], &["log"]).exits(0);
    assert!(logged.stdout.lines().any(|line| line.ends_with("a line of output")), "{logged}");
    logged.says(&["INFO an info record"]);
    assert_eq!(up.workers().len(), usize::from(std::env::var("ENGINE_TEST_ISOLATION").is_ok()) + 1);
    up.wait_until_idle();
}

/// What the kernel says of a worker, and what is open in it.
#[test]
fn a_worker_has_nothing_but_its_line() {
    let up = one_node();
    let tenants = up_with(&up, &["apart"]);
    tenants[0].submit(&[], &["nothing"]).exits(0);
    let process = worker(&up, "apart");
    assert_eq!(status(process, "Seccomp"), ["2"]);
    assert_eq!(status(process, "NoNewPrivs"), ["1"]);
    for held in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(process, held), ["0000000000000000"], "{held}");
    }
    if rustix::process::geteuid().is_root() {
        for who in ["Uid", "Gid"] {
            assert_eq!(status(process, who), ["65534"; 4], "{who}");
        }
        assert_eq!(status(process, "Groups"), [""; 0]);
        assert_eq!(status(process, "CapBnd"), ["0000000000000000"]);
        let environment = fs::read(format!("/proc/{process}/environ")).expect("it runs");
        assert!(environment.is_empty(), "{}", String::from_utf8_lossy(&environment));
        let names = fs::read_dir(format!("/proc/{process}/fd")).expect("it runs");
        let open = names.map(|name| fs::read_link(name.expect("a name").path()).expect("open"));
        let mut other: Vec<_> = open.map(|path| path.display().to_string()).collect();
        // Standard output; components' first memory; the line, its copies, and standard error.
        other.retain(|path| {
            path != "/dev/null"
                && !path.starts_with("/memfd:")
                && !path.starts_with("socket:")
                && !path.starts_with("pipe:")
        });
        assert_eq!(other, [""; 0]);
    }
    let locks = &up.list("nodes", &[])[0]["workers"];
    let apart = locks.as_array().expect("a list").iter().find(|worker| worker["tenant"] == "apart");
    let locks = &apart.expect("one")["locks"];
    assert!(locks.as_array().expect("a list").contains(&json!("seccomp")), "{locks}");
    up.engine(&["status"]).exits(0).prints(&["worker:    apart (process "]);
}

/// The end of a worker costs its tenant what ran in it, and nobody else anything.
#[test]
fn a_worker_that_dies_costs_nobody_else_anything() {
    let up = Up::in_place(Place::new(), &["--nodes", "1", "--cpus", "4"]);
    let tenants = up_with(&up, &["first", "second"]);
    let [first, second] = &tenants[..] else { panic!("two tenants") };
    let for_long = ["sleeps", "1", "600000"];
    let jobs = [first, second].map(|tenant| tenant.submitted(&[], &for_long));
    let here = up.submit_no_wait(&[], &for_long);
    for job in jobs.iter().chain([&here]) {
        up.wait_for_one("tasks", &[&format!("job={job}"), "state=RUNNING", "function=good::sleep"]);
    }
    let (one, other) = (worker(&up, "first"), worker(&up, "second"));
    assert_ne!(one, other, "each tenant has a process of its own");
    kill(one);

    // Its main was in it, and is not begun again behind its back (contract J2).
    let end = up.wait_for_end(&jobs[0]);
    assert_eq!((&end["state"], &end["error"]["code"]), (&json!("FAILED"), &json!("WORKER_DIED")), "{end}");
    assert!(end["error"]["message"].as_str().expect("text").contains("signal 9 ended it"), "{end}");
    first.submit(&[], &["identity", "7"]).exits(0);
    assert_ne!(worker(&up, "first"), one);
    assert_eq!(worker(&up, "second"), other);
    for job in [&jobs[1], &here] {
        let tasks = up.list("tasks", &[&format!("job={job}")]);
        let goes_on = |task: &Value| {
            let is_first = task["attempts"].as_array().is_some_and(|attempts| attempts.len() == 1);
            is_first && matches!(task["state"].as_str(), Some("RUNNING" | "BLOCKED"))
        };
        assert!(tasks.iter().all(goes_on), "{tasks:?}");
        up.engine(&["job", "stop", job]).exits(0);
    }
    up.wait_until_idle();
}

/// Tasks and actors that were in a worker which dies are run again as their retries allow.
#[test]
fn what_ran_in_a_worker_that_died_is_run_again() {
    let up = Up::in_place(Place::new(), &["--nodes", "2", "--cpus", "2"]);
    let tenants = up_with(&up, &["apart"]);
    let job = tenants[0].submitted(&[], &["sleeps", "4", "4000"]);
    let of_job = format!("job={job}");
    // One of the workers has the main, which waits, and the other only tasks.
    let other = until("tasks run beside the main, on another node", || {
        let tasks = up.list("tasks", &[&of_job]);
        let home = tasks.iter().find(|task| task["function"] == "main").map(|task| &task["node_id"]);
        let away = tasks.iter().filter(|task| task["state"] == "RUNNING" && Some(&task["node_id"]) != home);
        match away.map(|task| task["node_id"].clone()).find(|node| node.is_string()) {
            Some(node) if home.is_some_and(Value::is_string) => Ok(node),
            _ => Err(format!("{tasks:?}")),
        }
    });
    kill(until("its worker is listed", || {
        let nodes = up.list("nodes", &[]);
        let node = nodes.iter().find(|node| node["node_id"] == other);
        let process = node.and_then(|node| node["workers"][0]["process_id"].as_u64()?.try_into().ok());
        process.ok_or_else(|| format!("{nodes:?}"))
    }));
    let end = up.wait_for_end(&job);
    assert_eq!(end["state"], "SUCCEEDED", "{end}");
    let tasks = up.list("tasks", &[&of_job]);
    let attempts = tasks.iter().flat_map(|task| task["attempts"].as_array().expect("a list"));
    let died = attempts.filter(|attempt| attempt["cause"]["code"] == "WORKER_DIED").count();
    assert!(died > 0, "what was in it was run again: {tasks:?}");
    up.wait_until_idle();
}

#[test]
fn workers_that_die_again_and_again_are_made_anew() {
    let up = one_node();
    let tenants = up_with(&up, &["apart"]);
    let mut before = 0;
    for _ in 0..3 {
        tenants[0].submit(&[], &["counter", "3"]).exits(0);
        let process = worker(&up, "apart");
        assert_ne!(process, before);
        kill(process);
        until("it is seen to be gone", || match up.workers().iter().any(|(_, id)| *id == process) {
            false => Ok(()),
            true => Err("it is still there".to_owned()),
        });
        before = process;
    }
    up.wait_until_idle();
}

#[test]
fn a_worker_with_nothing_to_do_ends() {
    let up = Up::in_place(Place::new(), &["--nodes", "1", "--worker-idle", "100ms"]);
    let tenants = up_with(&up, &["apart"]);
    for _ in 0..2 {
        tenants[0].submit(&[], &["nothing"]).exits(0);
        until("it has ended", || match up.workers().iter().any(|(name, _)| name == "apart") {
            false => Ok(()),
            true => Err("it is there".to_owned()),
        });
    }
}

#[test]
fn what_cannot_be_run_apart_is_refused() {
    let up = one_node();
    let tenants = up_with(&up, &["apart"]);
    let folder = up.place().path("data");
    fs::create_dir(&folder).expect("a folder");
    let granted = format!("{}::/data", folder.display());
    up.engine(&["tenant", "set", "default", "--isolation", "process"]).exits(0);
    let refused = up.place().submit_with("selftest", &["--dir", &granted], &["read-file", "/data/x"]).run();
    refused.exits(2).says(&["UNSUPPORTED", "cannot be granted directories"]);
    let module = up.place().file("broken.wasm", b"\0asm\x0d\0\x01\0broken");
    tenants[0].engine(&["submit", module.to_str().expect("text")]).exits(2).says(&["INVALID_COMPONENT"]);
}
