//! The audit log of an engine and of a cluster: who did what, and that nobody changes it unseen.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use engine_tests::{Place, Up, guest, how_to_join, until};
use serde_json::Value;

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn token(place: &Place, tenant: &str, role: &str) -> String {
    let words = ["token", "create", "--tenant", tenant, "--role", role];
    place.engine(words).run().exits(0).stdout.trim().to_owned()
}

/// What `engine audit` shows, with these options.
fn lines(place: &Place, token: Option<&str>, options: &[&str]) -> Vec<Value> {
    let words = ["audit", "--format", "json"].iter().chain(options);
    let command = place.engine(words);
    let command = match token {
        Some(token) => command.env("ENGINE_TOKEN", token),
        None => command,
    };
    let shown = command.run().exits(0).stdout;
    shown.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn of<'a>(lines: &'a [Value], method: &str, outcome: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["method"] == method && line["outcome"] == outcome).collect()
}

/// The lines, once there is one of this method and outcome.
fn with(place: &Place, method: &str, outcome: &str) -> Vec<Value> {
    until(&format!("{method} {outcome} is told of"), || {
        let lines = lines(place, None, &[]);
        if of(&lines, method, outcome).is_empty() { Err(format!("{lines:#?}")) } else { Ok(lines) }
    })
}

/// What lies in the files of a folder.
fn kept(folder: &Path) -> String {
    let paths = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    paths.map(|path| fs::read_to_string(path).expect("text")).collect()
}

#[test]
fn an_engine_tells_who_did_what_and_keeps_it() {
    let place = Place::new();
    let folder = place.path("audit");
    let options = ["--audit-log", text(&folder)];
    let up = Up::in_place(place, &options);
    assert!(up.stderr_so_far().contains(text(&folder)), "it says where");
    let place = up.place();
    let (admin, viewer) = (token(place, "red", "tenant-admin"), token(place, "red", "viewer"));
    let blue = token(place, "blue", "tenant-admin");
    let module = guest("selftest");
    let submit = |token: &str, name: &str| {
        let words =
            ["submit", text(&module), "--submission-id", name, "--no-wait", "--env", "KEY=hidden-value"];
        place
            .engine(words.iter().chain(&["--", "nothing", "hidden-argument"]))
            .env("ENGINE_TOKEN", token)
            .run()
    };
    let job = submit(&admin, "nightly").exits(0).stdout.trim().to_owned();
    submit(&viewer, "daily").exits(2).says(&["PERMISSION_DENIED"]);
    submit(&blue, "blue").exits(0);
    place.engine(["job", "list"]).env("ENGINE_TOKEN", &viewer[..viewer.len() - 20]).run().exits(2);
    place.engine(["job", "stop", &job]).run().exits(0);
    place.engine(["tenant", "create", "red", "--cpus-max", "1"]).run().exits(0);

    let all = with(place, "Tenants.Set", "OK");
    let submitted = of(&all, "Jobs.Submit", "OK");
    assert_eq!(submitted.len(), 2, "{all:#?}");
    let first = submitted[0];
    assert_eq!(
        (&first["who"], &first["tenant"], &first["verb"]),
        (&"token".into(), &"red".into(), &"submit".into())
    );
    assert_eq!(
        (&first["on"]["job_id"], &first["on"]["submission_id"]),
        (&job.as_str().into(), &"nightly".into())
    );
    assert!(first["on"]["component"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{first}");
    assert!(
        first["from"].as_str().is_some_and(|from| from.starts_with("uid=") && from.contains(" pid=")),
        "{first}"
    );
    let made = of(&all, "Tokens.Create", "OK");
    assert_eq!((made.len(), &made[0]["who"]), (3, &"operator".into()));
    assert_eq!((&made[0]["on"]["tenant"], &made[0]["on"]["token_id"]), (&"red".into(), &first["token_id"]));
    let refused = &all.iter().find(|line| line["outcome"] == "PERMISSION_DENIED").expect("a refusal");
    assert_eq!((&refused["tenant"], &refused["who"]), (&"red".into(), &"token".into()));
    assert!(
        all.iter().any(|line| line["outcome"] == "UNAUTHENTICATED" && line["who"] == "nobody"),
        "{all:#?}"
    );
    assert_eq!(of(&all, "Jobs.Stop", "OK")[0]["on"]["job_id"], job.as_str());
    assert_eq!(of(&all, "Tenants.Set", "OK")[0]["on"]["tenant"], "red");

    // A tenant's admin sees what was asked for that tenant, and nobody else sees anything.
    let own = lines(place, Some(&admin), &[]);
    assert!(!own.is_empty() && own.iter().all(|line| line["tenant"] == "red"), "{own:#?}");
    assert_eq!(own, lines(place, None, &["--tenant", "red"]).into_iter().take(own.len()).collect::<Vec<_>>());
    let asks = |token: &str, words: &[&str]| place.engine(words).env("ENGINE_TOKEN", token).run();
    asks(&viewer, &["audit"]).exits(2).says(&["PERMISSION_DENIED", "verb audit"]);
    asks(&admin, &["audit", "--tenant", "blue"]).exits(2).says(&["PERMISSION_DENIED"]);
    assert!(lines(place, None, &["--since", "2999-01-01T00:00:00Z"]).is_empty());
    let rows = place.engine(["audit", "--output", "csv"]).run().exits(0).stdout;
    assert!(rows.starts_with("number,time,method,") && rows.contains(&format!("job_id={job}")), "{rows}");
    place.engine(["audit"]).run().exits(0).prints(&["OK Jobs.Submit by token tok-", "of tenant red"]);

    // What happens while somebody follows is shown.
    let mut follower = place.engine(["audit", "--follow"]).start();
    follower.wait_for_stdout("Tenants.Set");
    place.engine(["tenant", "delete", "red"]).run().exits(0);
    follower.wait_for_stdout("OK Tenants.Delete by operator");

    let (_, place) = up.stop();
    let said = kept(&folder);
    for hidden in ["hidden-value", "hidden-argument", &admin[10..60], &viewer[10..60], &blue[10..60]] {
        assert!(!said.contains(hidden), "{hidden}");
    }
    let file = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let file: PathBuf = file.into_iter().find(|path| path.extension().is_some()).expect("a file");
    assert_eq!(fs::metadata(&file).expect("it is there").mode() & 0o777, 0o600);
    let verify =
        |options: &[&str]| place.engine(["audit", "verify", text(&folder)].iter().chain(options)).run();
    let said = verify(&[]).exits(0).stdout;
    let hash = said.trim().rsplit(' ').next().expect("a hash").to_owned();
    verify(&["--knows", &hash]).exits(0);

    // It goes on in the next engine, and what was changed meanwhile is seen.
    let up = Up::in_place(place, &options);
    up.engine(&["tenant", "create", "green"]).exits(0);
    let (_, place) = up.stop();
    let verify =
        |options: &[&str]| place.engine(["audit", "verify", text(&folder)].iter().chain(options)).run();
    verify(&["--knows", &hash]).exits(0);
    let whole = fs::read_to_string(&file).expect("text");
    let without: String =
        whole.lines().filter(|line| !line.contains("Jobs.Stop")).map(|line| format!("{line}\n")).collect();
    fs::write(&file, without).expect("it is ours");
    verify(&[]).exits(1).says(&["stands after line", "missing"]);
    fs::write(&file, whole.replacen("\"Jobs.Stop\"", "\"Jobs.List\"", 1)).expect("it is ours");
    verify(&[]).exits(1).says(&["is not the one that was written"]);
    place.engine(["audit"]).run().exits(3);
}

#[test]
fn a_head_tells_who_joined_and_by_what() {
    let place = Place::new();
    let memory = place.path("memory");
    let mut head =
        place.engine(["head", "--tls", "--listen", "127.0.0.1:0", "--data-dir", text(&memory)]).start();
    let said = head.wait_for_stderr("listening on ");
    let words = how_to_join(&said);
    let at = words[1].clone();
    let words = ["agent"].into_iter().map(str::to_owned).chain(words).collect::<Vec<_>>();
    let mut node =
        place.engine(words.iter().map(String::as_str).chain(["--cpus", "1", "--memory", "1GiB"])).start();
    node.wait_for_stderr("has joined the cluster");
    let all = with(&place, "Cluster.Join", "OK");
    let joined = of(&all, "Cluster.Join", "OK")[0];
    assert_eq!(joined["who"], "certificate");
    let node_id = joined["on"]["node_id"].as_str().expect("an id");
    assert!(joined["certificate"].as_str().is_some_and(|name| name.contains(node_id)), "{joined}");
    assert!(joined["from"].as_str().is_some_and(|from| from.starts_with("127.0.0.1:")), "{joined}");
    let enrolled = of(&all, "Enrollment.Enroll", "OK")[0];
    let token = words.last().expect("a join token");
    let id = token.split('-').nth(1).expect("an id");
    assert_eq!((&enrolled["on"]["join_token_id"], &enrolled["on"]["node_id"]), (&id.into(), &node_id.into()));

    // Who has no certificate is refused, and told of.
    let stranger = Place::new();
    let token = token_of(&place);
    stranger.engine(["--address", &at, "drain", node_id]).env("ENGINE_TOKEN", &token).run().exits(2);
    let all = with(&place, "Nodes.Drain", "PERMISSION_DENIED");
    assert_eq!(of(&all, "Nodes.Drain", "PERMISSION_DENIED")[0]["tenant"], "red");
    head.interrupt();
    head.wait();
    let folder = memory.join("audit");
    let kept = kept(&folder);
    assert!(!kept.contains(words.last().expect("a join token")) && !kept.contains(&token[10..60]));
    place.engine(["audit", "verify", text(&folder)]).run().exits(0);
}

fn token_of(place: &Place) -> String {
    token(place, "red", "submitter")
}

#[test]
fn an_engine_that_keeps_nothing_says_so() {
    let up = Up::start();
    up.engine(&["audit"]).exits(2).says(&["UNSUPPORTED", "--audit-log"]);
    up.place().engine(["audit", "verify", "nowhere"]).run().exits(1).says(&["nowhere"]);
}
