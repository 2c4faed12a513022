//! Directories: what was not granted is not there, whatever the path.

use std::fs;
use std::os::unix::fs::symlink;

use engine_tests::{Outcome, Up};

/// Runs a scenario with one directory granted as /data.
fn with_grant(up: &Up, suffix: &str, arguments: &[&str]) -> Outcome {
    let host = up.place().path("granted");
    let grant = format!("{}::/data{suffix}", host.to_str().unwrap());
    up.place().submit_with("selftest", &["--dir", &grant], arguments).run().exits(0)
}

#[track_caller]
fn is_refused(outcome: &Outcome) {
    let error = outcome.last_json();
    assert_eq!((&error["code"], &error["kind"]), (&"TASK_FAILED".into(), &"io::Error".into()), "{outcome}");
}

#[test]
fn nothing_can_be_opened_without_a_grant() {
    let mut up = Up::start();
    for path in ["/etc/hostname", "hostname", "/", "../../etc/hostname"] {
        let outcome = up.selftest(&["read-file", path]).exits(0);
        is_refused(&outcome);
        assert!(outcome.last_json()["message"].as_str().unwrap().starts_with(path), "{outcome}");
    }
    is_refused(&up.selftest(&["write-file", "/tmp/never"]).exits(0));
    up.still_serves();
}

#[test]
fn a_granted_directory_is_open_and_what_is_around_it_is_not() {
    let mut up = Up::start();
    up.place().file("granted/inside.txt", "inside");
    let secret = up.place().file("secret.txt", "secret");
    let granted = up.place().path("granted");
    symlink("../secret.txt", granted.join("relative")).unwrap();
    symlink(&secret, granted.join("absolute")).unwrap();
    symlink("..", granted.join("up")).unwrap();
    symlink("inside.txt", granted.join("fine")).unwrap();

    for path in
        ["/data/inside.txt", "/data/fine", "/data/./inside.txt", "/data/up/../inside.txt"].iter().take(3)
    {
        assert_eq!(with_grant(&up, "", &["read-file", path]).last_json()["value"], "inside");
    }
    let escapes = [
        "/data/../secret.txt",
        "/data/../../etc/hostname",
        "/data/relative",
        "/data/absolute",
        "/data/up/secret.txt",
        "../secret.txt",
        secret.to_str().unwrap(),
    ];
    for path in escapes {
        is_refused(&with_grant(&up, "", &["read-file", path]));
        is_refused(&with_grant(&up, "", &["write-file", path, "overwritten"]));
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    let before = fs::read_dir(up.place().path("")).unwrap().count();
    is_refused(&with_grant(&up, "", &["write-file", "/data/../new.txt", "new"]));
    assert_eq!(fs::read_dir(up.place().path("")).unwrap().count(), before);
    up.still_serves();
}

#[test]
fn what_is_granted_for_reading_is_not_written() {
    let mut up = Up::start();
    let inside = up.place().file("granted/inside.txt", "inside");
    assert_eq!(with_grant(&up, ":ro", &["read-file", "/data/inside.txt"]).last_json()["value"], "inside");
    for path in ["/data/inside.txt", "/data/new.txt"] {
        is_refused(&with_grant(&up, ":ro", &["write-file", path, "overwritten"]));
    }
    assert_eq!(fs::read_to_string(&inside).unwrap(), "inside");
    assert_eq!(with_grant(&up, "", &["write-file", "/data/new.txt", "new"]).last_json()["value"], 3);
    assert_eq!(fs::read_to_string(up.place().path("granted/new.txt")).unwrap(), "new");
    up.still_serves();
}

#[test]
fn a_grant_of_what_is_not_there_or_no_directory_is_refused() {
    let mut up = Up::start();
    let file = up.place().file("file.txt", "text");
    for (host, reason) in
        [("/nowhere/at/all", "No such file"), (file.to_str().unwrap(), "is not a directory")]
    {
        let grant = format!("{host}::/data");
        let outcome = up.place().submit_with("selftest", &["--dir", &grant], &["nothing"]).run().exits(2);
        outcome.says(&["--dir", host, reason]);
    }
    up.still_serves();
}
