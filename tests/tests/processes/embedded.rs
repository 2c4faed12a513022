//! A submit with no engine running: it brings its own, and takes it along.

use std::fs;

use engine_tests::{Place, Up, guest};

/// The processes whose environment names this place.
fn processes_of(place: &Place) -> Vec<String> {
    let mark = place.path("").parent().expect("the place").as_os_str().as_encoded_bytes().to_vec();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("processes").flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.windows(mark.len()).any(|part| part == mark) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

#[track_caller]
fn nothing_is_left(place: &Place) {
    assert_eq!(processes_of(place), Vec::<String>::new());
    assert!(place.temporary_files().is_empty(), "{:?}", place.temporary_files());
}

#[test]
fn a_submit_alone_runs_and_leaves_no_process_socket_or_file() {
    let place = Place::new();
    let outcome = place.submit("selftest", &["fan-out", "100"]).run().exits(0);
    assert_eq!(outcome.last_json()["value"], 4950);
    assert_eq!(outcome.stdout.lines().count(), 1, "nothing but the program's own output\n{outcome}");
    nothing_is_left(&place);
    place.submit("selftest", &["fail-here"]).run().exits(1).says(&["TASK_FAILED", "Custom"]);
    nothing_is_left(&place);
    let arguments =
        ["submit", guest("plain-component").to_str().unwrap(), "--invoke", "add(1, 2)"].map(str::to_owned);
    assert_eq!(place.engine(&arguments).run().exits(0).stdout, "3\n");
    nothing_is_left(&place);
}

#[test]
fn ctrl_c_ends_an_embedded_engine() {
    let place = Place::new();
    let mut submit = place.submit("selftest", &["spin-forever-here"]).start();
    submit.wait_for_stdout("spinning");
    submit.interrupt();
    submit.wait().exits(130).says(&["stopping job-", "STOPPED"]);
    nothing_is_left(&place);
}

#[test]
fn an_embedded_engine_is_as_large_as_it_is_told() {
    let place = Place::new();
    let options = ["--engine-cpus", "1", "--engine-memory", "512MiB"];
    let outcome = place.submit_with("selftest", &options, &["nest", "5"]).run().exits(0);
    assert_eq!(outcome.last_json()["value"], 5);
    let too_many = place.submit_with("selftest", &["--engine-cpus", "1", "--cpus", "2"], &["nothing"]).run();
    assert!([1, 2].contains(&too_many.status), "{too_many}");
    too_many.says(&["UNSCHEDULABLE"]);
    nothing_is_left(&place);
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    let place = Place::new();
    place
        .submit_with("selftest", &["--no-wait"], &["nothing"])
        .run()
        .exits(2)
        .says(&["--no-wait", "engine up"]);
    let both = ["--embedded", "--address", "127.0.0.1:1"];
    place.submit_with("selftest", &both, &["nothing"]).run().exits(2).says(&["--address", "--embedded"]);
    nothing_is_left(&place);
}

#[test]
fn an_embedded_engine_is_apart_from_the_one_that_runs() {
    let up = Up::start();
    up.place().submit_with("selftest", &["--embedded"], &["identity", "7"]).run().exits(0);
    assert_eq!(up.json(&["job", "list"])["total"], 0);
    up.place().submit("selftest", &["identity", "7"]).run().exits(0);
    assert_eq!(up.json(&["job", "list"])["total"], 1);
}

#[test]
fn a_program_whose_reader_has_gone_is_stopped() {
    let place = Place::new();
    // As in `engine submit … | head -1`.
    let submit = place.submit("selftest", &["spam-log", "1000000"]).run_unread();
    assert_eq!(submit.status, 141, "{submit}");
    nothing_is_left(&place);
}
