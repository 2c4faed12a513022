//! Two tenants with tokens, on one engine and on a cluster with TLS: what is one's is not there for the other.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use engine_client::{AccessToken, Address, Client, Session, session};
use engine_tests::{Outcome, Place, Running, Up, guest, how_to_join, until};
use serde_json::{Value, json};

/// Somebody with a token, and how its commands reach the engine.
pub(super) struct Tenant<'a> {
    pub(super) place: &'a Place,
    pub(super) address: Option<&'a str>,
    pub(super) token: String,
}

impl Tenant<'_> {
    pub(super) fn engine(&self, words: &[&str]) -> Outcome {
        self.start(words).wait()
    }

    pub(super) fn start(&self, words: &[&str]) -> Running {
        let named = self.address.map(|at| ["--address", at]);
        let words: Vec<&str> = named.iter().flatten().chain(words).copied().collect();
        self.place.engine(words).env("ENGINE_TOKEN", &self.token).start()
    }

    pub(super) fn json(&self, words: &[&str]) -> Value {
        let words: Vec<&str> = words.iter().copied().chain(["--format", "json"]).collect();
        self.engine(&words).exits(0).json()
    }

    pub(super) fn items(&self, kind: &str) -> Vec<Value> {
        self.json(&["list", kind])["items"].as_array().expect("a list").clone()
    }

    /// The words that submit a scenario of the selftest guest.
    pub(super) fn submit(&self, options: &[&str], arguments: &[&str]) -> Outcome {
        let module = guest("selftest");
        let head = ["submit", module.to_str().expect("text")];
        let words: Vec<&str> = head.iter().chain(options).chain(&["--"]).chain(arguments).copied().collect();
        self.engine(&words)
    }

    pub(super) fn submitted(&self, options: &[&str], arguments: &[&str]) -> String {
        let options: Vec<&str> = options.iter().copied().chain(["--no-wait"]).collect();
        self.submit(&options, arguments).exits(0).stdout.trim().to_owned()
    }

    /// The same with another token, as `engine token narrow` makes it of this one.
    pub(super) fn narrowed(&self, by: &[&str]) -> Self {
        let words: Vec<&str> = ["token", "narrow"].iter().chain(by).copied().collect();
        let token = self.engine(&words).exits(0).stdout.trim().to_owned();
        Self { token, ..*self }
    }

    pub(super) fn token_id(&self) -> String {
        let said = self.engine(&["token", "inspect"]).exits(0).stdout;
        let mut ids = said.lines().filter_map(|line| line.trim().strip_prefix("id:"));
        ids.next_back().expect("an id").trim().to_owned()
    }
}

pub(super) fn create(place: &Place, options: &[&str]) -> Outcome {
    let words: Vec<&str> = ["token", "create"].iter().chain(options).copied().collect();
    place.engine(words).run()
}

pub(super) fn tenant<'a>(place: &'a Place, address: Option<&'a str>, name: &str, role: &str) -> Tenant<'a> {
    let token = create(place, &["--tenant", name, "--role", role]).exits(0).stdout;
    assert_eq!(token.lines().count(), 1, "the token alone: {token}");
    Tenant { place, address, token: token.trim().to_owned() }
}

/// What is missing says the same as what never was, but for its name.
#[track_caller]
pub(super) fn as_if_never_there(asks: &Tenant<'_>, verb: &[&str], id: &str, never: &str) {
    let ask = |id: &str| {
        let words: Vec<&str> = verb.iter().copied().chain([id]).collect();
        asks.engine(&words).exits(2)
    };
    let (hidden, missing) = (ask(id), ask(never));
    assert_eq!(hidden.stderr.replace(id, never), missing.stderr, "{verb:?}");
    assert!(hidden.stderr.contains("NOT_FOUND"), "{hidden}");
}

/// Another id of the same kind.
pub(super) fn never(id: &str) -> String {
    let (kind, digits) = id.rsplit_once('-').expect("an id");
    // The ends of some have a form.
    let (begin, end) = digits.split_at(8);
    format!(
        "{kind}-{}{end}",
        begin.chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect::<String>()
    )
}

/// Whatever somebody asks, what is one tenant's is not there for the other.
fn see_nothing_of_one_another(operator: &dyn Fn(&[&str]) -> Outcome, a: &Tenant<'_>, b: &Tenant<'_>) {
    let job = a.submitted(
        &["--submission-id", "nightly", "--name", "secret"],
        &["group-sleeps", "pack", "1", "60000"],
    );
    let sleeping = a.submitted(&[], &["sleeps", "1", "60000"]);
    let named = a.submitted(&["--namespace", "shared"], &["detach", "known"]);
    until("it has ended", || match a.json(&["job", "status", &named])["state"].as_str() {
        Some("SUCCEEDED") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    for kind in ["jobs", "tasks", "actors", "objects", "placement-groups", "events"] {
        until(&format!("there are {kind}"), || match a.items(kind).is_empty() {
            false => Ok(()),
            true => Err("none".to_owned()),
        });
        let seen = b.json(&["list", kind]);
        assert_eq!(seen["items"], json!([]), "{kind}");
        assert_eq!(seen["total"].as_u64().unwrap_or(0), 0, "{kind}");
    }
    assert_eq!(b.json(&["job", "list"])["total"], 0);
    assert!(a.json(&["job", "list", "--limit", "1"])["total"].as_u64() >= Some(3));

    let first = |kind: &str, field: &str| a.items(kind)[0][field].as_str().expect("an id").to_owned();
    let task = first("tasks", "task_id");
    let event = a.items("events")[0]["event_id"].as_str().expect("an id").to_owned();
    for (verb, id) in [
        (["job", "status"].as_slice(), &job),
        (&["job", "stop"], &sleeping),
        (&["job", "delete"], &named),
        (&["logs"], &job),
        (&["logs", "-f"], &sleeping),
        (&["explain"], &task),
        (&["get", "task"], &task),
        (&["get", "job"], &job),
        (&["get", "actor"], &first("actors", "actor_id")),
        (&["get", "object"], &first("objects", "object_id")),
        (&["get", "placement-group"], &first("placement-groups", "placement_group_id")),
        (&["get", "event"], &event),
    ] {
        as_if_never_there(b, verb, id, &never(id));
        assert_eq!(a.json(&["job", "status", &sleeping])["state"], "RUNNING", "{verb:?} did nothing");
    }
    as_if_never_there(b, &["job", "status"], "nightly", "daily");

    // Names, namespaces, submission ids and components are each tenant's own.
    let other = b.submitted(&["--submission-id", "nightly"], &["nothing"]);
    assert_ne!(other, job);
    let lookup =
        |who: &Tenant<'_>| who.submit(&["--namespace", "shared"], &["attach", "known"]).exits(0).last_json();
    assert_eq!(lookup(b)["code"], "NOT_FOUND");
    assert!(lookup(a)["value"].is_number());
    let around = b.submit(&[], &["context"]).exits(0).last_json();
    assert_eq!(around["value"]["tenant"], "b", "{around}");

    // Figures of others are nobody's to see.
    let status = b.json(&["status"]);
    assert_eq!(status["jobs"].get("RUNNING"), None, "{status}");
    for hidden in ["available", "counters"] {
        assert!(status[hidden].is_null() || status[hidden] == json!({}), "{hidden}: {status}");
    }
    let node = &b.items("nodes")[0];
    assert!(node["total"]["cpus"].as_f64() > Some(0.0), "{node}");
    assert!(node["hostname"].as_str().is_none_or(str::is_empty), "{node}");

    // The operator sees all, and whose it is.
    let all = operator(&["list", "jobs", "--format", "json"]).exits(0).json();
    let owners = |all: &Value| -> std::collections::BTreeSet<String> {
        let items = all["items"].as_array().expect("a list").iter();
        items.map(|job| job["tenant"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(owners(&all), ["a", "b"].map(str::to_owned).into(), "{all}");
    let one = operator(&["list", "jobs", "--filter", "tenant=b", "--format", "json"]).exits(0).json();
    assert_eq!(owners(&one), ["b".to_owned()].into());
    for job in [&job, &sleeping] {
        a.engine(&["job", "stop", job]).exits(0);
    }
    a.submit(&["--namespace", "shared"], &["kill-named", "known"]).exits(0);
}

// contract: I1
#[test]
fn two_tenants_of_one_engine_see_nothing_of_one_another() {
    let up = Up::with(&["--cpus", "4"]);
    let [a, b] = ["a", "b"].map(|name| tenant(up.place(), None, name, "submitter"));
    see_nothing_of_one_another(&|words| up.engine(words), &a, &b);
    up.wait_until_idle();
    for who in [&a, &b] {
        assert!(!up.stderr_so_far().contains(&who.token[10..60]), "no token is logged");
    }
}

/// A head with TLS and two nodes.
pub(super) struct Secure {
    pub(super) nodes: Vec<Running>,
    pub(super) head: Running,
    pub(super) place: Place,
    pub(super) at: String,
}

impl Secure {
    pub(super) fn start(options: &[&str]) -> Self {
        let place = Place::new();
        let folder = place.path("memory");
        let words =
            ["head", "--tls", "--listen", "127.0.0.1:0", "--data-dir", folder.to_str().expect("text")];
        let mut head = place.engine(words.iter().chain(options)).start();
        let said = head.wait_for_stderr("listening on ");
        let [_, at, _, join_token] = how_to_join(&said).try_into().expect("four words");
        let node = || {
            let words =
                ["agent", "--head", &at, "--cpus", "2", "--memory", "4GiB", "--join-token", &join_token];
            let mut node = place.engine(words).start();
            node.wait_for_stderr("has joined the cluster");
            node
        };
        let nodes = vec![node(), node()];
        Self { nodes, head, place, at }
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.place.path("memory").join("tls")
    }
}

// contract: I1
#[test]
fn two_tenants_of_a_cluster_with_tls_see_nothing_of_one_another() {
    let cluster = Secure::start(&[]);
    // From elsewhere: with nothing but the address and the token.
    let elsewhere = Place::new();
    let [a, b] = ["a", "b"].map(|name| {
        let made = tenant(&cluster.place, None, name, "submitter");
        Tenant { place: &elsewhere, address: Some(&cluster.at), token: made.token }
    });
    let operator = |words: &[&str]| cluster.place.engine(words).run();
    see_nothing_of_one_another(&operator, &a, &b);
    // Who shows neither a certificate nor a token is let in by nobody.
    elsewhere.engine(["--address", &cluster.at, "status"]).run().exits(3);
    // A node takes tickets of the head's, and no tokens.
    let said = cluster.nodes[0].stderr_so_far();
    let (_, at) = said.split_once("listening on ").expect("it says where");
    let node = at.split_whitespace().next().expect("an address");
    let refused = Tenant { address: Some(node), ..a.narrowed(&["--can", "view"]) }.engine(&["status"]);
    refused.exits(2).says(&["UNAUTHENTICATED", "ask the head"]);
    for running in cluster.nodes.iter().chain([&cluster.head]) {
        for who in [&a, &b] {
            assert!(!running.stderr_so_far().contains(&who.token[10..60]), "no token is logged");
        }
    }
    let mode = fs::metadata(cluster.folder().join("token-key")).expect("it is there").mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_client_with_a_token_is_attached_to_a_node_of_a_cluster_with_tls() {
    let cluster = Secure::start(&[]);
    let [a, b] = ["a", "b"].map(|name| tenant(&cluster.place, None, name, "submitter").token);
    let connect = async |token: &str| {
        let token: AccessToken = token.parse().expect("a token");
        let address: Address = cluster.at.parse().expect("an address");
        Client::connect_as(address, Some(token)).await.expect("it is let in")
    };
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let client = connect(&a).await;
        let spec = engine_client::messages::JobSpec::default();
        let session =
            Session::start(&client, spec, session::Options::default()).await.expect("it is attached");
        assert_eq!(session.tenant(), "a");
        let other = connect(&b).await;
        let hidden = other.job(session.job().to_string()).await.expect_err("it is another's");
        assert_eq!(hidden.code(), Some(engine_client::ErrorCode::NotFound));
        let seen = client.job(session.job().to_string()).await.expect("it is its own");
        assert_eq!(seen.id(), session.job().to_string());
        session.end().await;
    });
}

#[test]
fn a_narrowed_token_may_less_and_never_more() {
    let up = Up::start();
    let a = tenant(up.place(), None, "a", "tenant-admin");
    let job = a.submitted(&["--namespace", "other"], &["nothing"]);

    let views = a.narrowed(&["--can", "view"]);
    views.json(&["job", "status", &job]);
    let refused = views.submit(&[], &["nothing"]).exits(2);
    let refused = refused.says(&["PERMISSION_DENIED", "verb submit", "may: view"]);
    assert!(!refused.stderr.contains(&views.token[10..60]), "{refused}");
    views.engine(&["job", "stop", &job]).exits(2).says(&["PERMISSION_DENIED", "verb stop"]);
    views.engine(&["token", "create", "--role", "viewer"]).exits(2).says(&["PERMISSION_DENIED"]);
    let again = views.narrowed(&["--can", "view,submit,stop,token,operate"]);
    again.submit(&[], &["nothing"]).exits(2).says(&["PERMISSION_DENIED"]);

    let bound = a.narrowed(&["--namespace", "n"]);
    as_if_never_there(&bound, &["job", "status"], &job, &never(&job));
    bound.submit(&["--namespace", "other"], &["nothing"]).exits(2).says(&["PERMISSION_DENIED", "\"n\""]);
    let own = bound.submitted(&[], &["nothing"]);
    assert_eq!(bound.json(&["job", "status", &own])["namespace"], "n");

    // The tenant's admin makes tokens of its own tenant, and of no other.
    let made = a.engine(&["token", "create", "--role", "submitter", "--can", "submit,view"]).exits(0);
    let made = Tenant { token: made.stdout.trim().to_owned(), ..a.narrowed(&["--can", "view"]) };
    made.json(&["job", "status", &job]);
    made.engine(&["job", "stop", &job]).exits(2).says(&["may: view, submit"]);
    let words = ["token", "create", "--tenant", "b", "--role", "viewer"];
    a.engine(&words).exits(2).says(&["PERMISSION_DENIED", "tenant a"]);
    a.engine(&["drain", "node-000000000000000000000000"]).exits(2).says(&["PERMISSION_DENIED", "operate"]);
    // Directories of the machine are the operator's to grant.
    let directory = format!("{}::/data", up.place().path("").display());
    a.submit(&["--dir", &directory], &["nothing"]).exits(2).says(&["PERMISSION_DENIED", "directories"]);
}

#[test]
fn a_token_is_taken_back_and_expires_while_the_engine_runs() {
    let up = Up::start();
    let [a, b] = ["a", "b"].map(|name| tenant(up.place(), None, name, "tenant-admin"));
    let less = a.narrowed(&["--can", "view"]);
    let sleeping = a.submitted(&[], &["sleeps", "1", "60000"]);
    let mut follower = a.start(&["logs", "-f", &sleeping]);
    // Of another tenant's tokens nobody can take one back.
    b.engine(&["token", "revoke", &a.token_id()]).exits(0);
    a.json(&["job", "list"]);
    a.engine(&["token", "revoke", &a.token_id()]).exits(0).says(&["is revoked"]);
    for who in [&a, &less] {
        who.engine(&["job", "list"]).exits(2).says(&["UNAUTHENTICATED", "revoked"]);
    }
    until("who followed a job is cut off", || match follower.has_ended() {
        true => Ok(()),
        false => Err("it follows".to_owned()),
    });
    b.json(&["job", "list"]);
    up.engine(&["job", "stop", &sleeping]).exits(0);

    let soon = b.narrowed(&["--expires", "2s"]);
    until("it has expired", || match soon.engine(&["job", "list"]).stderr {
        said if said.contains("has expired") => Ok(()),
        said => Err(said),
    });
    for bad in ["x", "egt1-", &b.token[..b.token.len() - 20]] {
        let bad = Tenant { token: bad.to_owned(), ..b.narrowed(&["--can", "view"]) };
        let said = bad.engine(&["job", "list"]).exits(2);
        assert!(said.stderr.contains("token") && !said.stderr.contains(&b.token[5..40]), "{said}");
    }
    // A token of another engine.
    let other = Up::start();
    let stranger = Tenant {
        token: tenant(other.place(), None, "b", "submitter").token,
        ..b.narrowed(&["--can", "view"])
    };
    stranger.engine(&["job", "list"]).exits(2).says(&["UNAUTHENTICATED", "key"]);
}

#[test]
fn an_engine_that_wants_a_token_of_everybody_gives_the_operator_one() {
    let mut place = Place::new();
    let mut token = String::new();
    for start in 0..2 {
        let mut running = place.engine(["up", "--require-token", "--cpus", "2", "--memory", "4GiB"]).start();
        let said = running.wait_for_stderr("listening on ");
        let line =
            said.lines().find(|line| line.contains("the operator's stands in")).expect("it says where");
        let path = line.rsplit(' ').next().expect("a path").to_owned();
        assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, 0o600);
        let up = Up::around(running, place);
        up.engine(&["job", "list"]).exits(2).says(&["UNAUTHENTICATED", "--require-token", "ENGINE_TOKEN"]);
        up.engine(&["--token-file", &path, "job", "list"]).exits(0);
        if start == 0 {
            let words = ["--token-file", &path, "token", "create", "--tenant", "a", "--role", "submitter"];
            token = up.engine(&words).exits(0).stdout.trim().to_owned();
        }
        // Its key is kept: a token outlives the engine.
        let a = Tenant { place: up.place(), address: None, token: token.clone() };
        a.submit(&[], &["nothing"]).exits(0);
        place = up.stop().1;
    }
    let words = ["head", "--require-token", "--listen", "127.0.0.1:0"];
    Place::new().engine(words).run().exits(2).says(&["--tls"]);
    let cluster = Secure::start(&["--require-token"]);
    cluster.place.engine(["job", "list"]).run().exits(2).says(&["UNAUTHENTICATED"]);
    let credentials = cluster.folder().join("credentials.pem");
    let named =
        ["--address", &cluster.at, "--credentials", credentials.to_str().expect("text"), "job", "list"];
    cluster.place.engine(named).run().exits(0);
}

/// What a tenant uses of its quotas, as the operator sees it.
pub(super) fn usage(place: &Place, name: &str) -> Value {
    let listed = place.engine(&["tenant", "usage", name, "--format", "json"]).run().exits(0).json();
    listed["items"][0].clone()
}

#[test]
fn a_tenant_has_what_its_quotas_say_and_sees_it() {
    let up = Up::with(&["--cpus", "2"]);
    let place = up.place();
    let terms = ["--cpus-max", "1", "--queued-tasks-max", "2000", "--actors-max", "0", "--weight", "3"];
    let create: Vec<&str> = ["tenant", "create", "red"].into_iter().chain(terms).collect();
    place.engine(&create).run().exits(0);
    place.engine(&create).run().exits(2).says(&["ALREADY_EXISTS", "engine tenant set"]);

    let red = tenant(place, None, "red", "submitter");
    let pi = guest("pi");
    let job = red.start(&["submit", pi.to_str().expect("text")]);
    let mut most = 0.0;
    until("a hundred tasks have ended", || {
        let usage = usage(place, "red");
        most = f64::max(most, usage["used"]["cpus"].as_f64().expect("a number"));
        match usage["tasks_ended"].as_u64() {
            Some(101..) => Ok(()),
            _ => Err(usage.to_string()),
        }
    });
    job.wait().exits(0);
    assert!(most <= 1.0, "{most} CPUs of a quota of 1");
    until("all is given back", || match usage(place, "red") {
        usage if usage["used"]["cpus"] == json!(0.0) => Ok(()),
        usage => Err(usage.to_string()),
    });

    // What it may have is its own to see, and not to change.
    let seen = red.json(&["tenant", "usage"]);
    assert_eq!(seen["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(seen["items"][0]["quotas"]["cpus_max"], json!(1.0));
    red.engine(&["tenant", "usage", "default"]).exits(2).says(&["NOT_FOUND"]);
    red.engine(&["tenant", "set", "red"]).exits(2).says(&["PERMISSION_DENIED", "verb operate"]);

    // Fewer tasks than the program spawns.
    place.engine(&["tenant", "set", "red", "--queued-tasks-max", "10"]).run().exits(0);
    let refused = red.engine(&["submit", pi.to_str().expect("text")]).exits(1);
    refused.says(&["QUOTA_EXCEEDED", "queued_tasks_max"]);
    place.engine(&["tenant", "delete", "red"]).run().exits(0);
    red.engine(&["submit", pi.to_str().expect("text")]).exits(0);
}
